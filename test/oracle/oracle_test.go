package oracle

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
)

// needPrograms skips where the real programs cannot run at all.
func needPrograms(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the real programs run in a chroot, which needs root")
	}
	if runtime.GOARCH != "amd64" {
		t.Skip("the stand-in kernel is written for amd64")
	}
}

// place is a directory in memory if there is one.
func place(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "kmod-oracle")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// newRoot is a root for the programs of a version.
func newRoot(t *testing.T, v Version) *Root {
	t.Helper()
	dir := place(t)
	tools, err := Prepare(t.Context(), v, filepath.Join(dir, "programs"))
	if err != nil {
		t.Fatal(err)
	}
	root, err := tools.NewRoot(filepath.Join(dir, "root"))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// TestGenerated holds the library against the real modprobe and
// systemd-modules-load on a slice of the generated roots; kmod-oracle runs
// many more. 100 % is the bar.
func TestGenerated(t *testing.T) {
	needPrograms(t)
	roots := 200
	if testing.Short() {
		roots = 25
	}
	for _, v := range Versions {
		t.Run(fmt.Sprintf("kmod%d-systemd%d", v.Kmod, v.Systemd), func(t *testing.T) {
			t.Parallel()
			report := compared(t, v, roots)
			for caller, c := range report.Callers {
				// A generator whose roots all end alike proves nothing.
				if c.Loaded < roots/10 || c.Loaded > roots*9/10 {
					t.Errorf("%s: %d of %d roots end with the module loaded; the roots are too much alike", caller, c.Loaded, roots)
				}
				if c.Compared < roots*8/10 {
					t.Errorf("%s: only %d of %d roots compared", caller, c.Compared, roots)
				}
			}
		})
	}
}

// compared compares roots that are made by chance, and reports where the library
// and the programs disagree.
func compared(t *testing.T, v Version, roots int) *Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	report, err := Compare(ctx, v, 1, 0, roots, 1, place(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + report.String())
	for _, d := range report.Disagreements {
		t.Errorf("%s\n%s", d.Case.Story, d)
	}
	return report
}

// TestBusyBox: BusyBox reads modprobe.d by rules of its own, which differ between
// its versions and builds. Of what it loads the library says nothing but what the
// kernel decides, and that is so.
func TestBusyBox(t *testing.T) {
	needPrograms(t)
	roots := 200
	if testing.Short() {
		roots = 60
	}
	for _, v := range BusyBoxes {
		t.Run(string(v.Suite), func(t *testing.T) {
			t.Parallel()
			report := compared(t, v, roots)
			for _, caller := range Callers[:3] {
				c := report.Callers[caller]
				if c.Loaded < roots/10 || c.Compared < roots/20 || c.Unknown < roots/2 {
					t.Errorf("%s: %d roots loaded, %d compared, %d unknown: too few of a kind", caller, c.Loaded, c.Compared, c.Unknown)
				}
			}
		})
	}
}

// cases are the named cases of pkg/kmod.
func cases(t *testing.T) map[string]*hostcase.Case {
	t.Helper()
	files, err := filepath.Glob("../../pkg/kmod/testdata/cases/*.case")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	all := map[string]*hostcase.Case{}
	for _, file := range files {
		text, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		c, err := hostcase.Parse(text)
		text.Close()
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".case")] = c
	}
	return all
}

// TestCases runs the real programs on the named cases of pkg/kmod: what those
// expect is what really happens.
func TestCases(t *testing.T) {
	needPrograms(t)
	roots := map[Version]*Root{}
	for _, v := range Versions {
		roots[v] = newRoot(t, v)
	}
	for name, c := range cases(t) {
		t.Run(name, func(t *testing.T) {
			if slices.ContainsFunc(c.Entries, func(e hostcase.Entry) bool { return e.Kind == hostcase.FIFO }) {
				t.Skip("the real programs would wait for ever")
			}
			// The first release with this kmod, with its own systemd; the case's
			// where there is one with both.
			var root *Root
			for _, v := range Versions {
				if v.Kmod == c.Kmod && (root == nil || v.Systemd == c.Systemd) {
					root = roots[v]
				}
			}
			if root == nil {
				t.Skipf("no real kmod %d here", c.Kmod)
			}
			c.Systemd = root.tools.Systemd
			real, ours, err := root.Compare(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			// What systemd starts is not asked here (TestUnits): such a case
			// states what else matters to it.
			units := strings.HasPrefix(filepath.Base(name), "unit-")
			for _, caller := range Callers {
				want := c.Want[caller]
				if units && (want == "" || caller == "boot" || caller == "requested") {
					continue
				}
				if want != "unknown" && real[caller] != "" && real[caller] != want {
					t.Errorf("%s: the real programs say %s, the case %s", caller, real[caller], want)
				}
				if ours[caller] != want {
					t.Errorf("%s: the library says %s, the case %s", caller, ours[caller], want)
				}
			}
			if t.Failed() {
				t.Log(root.Log.String())
			}
		})
	}
}
