package oracle

import (
	"fmt"
	"math/rand/v2"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// TestSysctl: on generated directories of sysctl.d, the real systemd-sysctl sets
// what the next boot is said to have.
func TestSysctl(t *testing.T) {
	needPrograms(t)
	roots := 2000
	if testing.Short() {
		roots = 200
	}
	for _, v := range Versions {
		if v.needsProc() {
			continue // it would set them in the real kernel
		}
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			root := newRoot(t, v)
			seen := map[string]int{}
			for n := range roots {
				c := generateSysctls(v, n)
				real, ours := root.compareSysctls(t, c)
				if real != ours {
					t.Errorf("root %d: systemd-sysctl sets %s, we say %s\n%s\n%s", n, real, ours, c.Format(), root.Log.String())
				}
				seen[real]++
			}
			t.Logf("%d roots: %v", roots, seen)
			if len(seen) < 6 {
				t.Errorf("the roots are too much alike: %v", seen)
			}
		})
	}
}

func generateSysctls(v Version, n int) *hostcase.Case {
	g := &generator{Rand: rand.New(rand.NewPCG(uint64(v.Systemd), uint64(n))), c: &hostcase.Case{Kmod: v.Kmod, Systemd: v.Systemd}}
	g.layout()
	taken := map[string]bool{}
	for range 1 + g.IntN(4) {
		name := path.Join(pick(g, g.dirs("sysctl.d")...), pick(g, "10-a.conf", "50-b.conf", "99-sysctl.conf", "Z.conf", "x", "y.conf~", ".h.conf"))
		if taken[name] {
			continue
		}
		taken[name] = true
		if g.chance(8) {
			g.c.Entries = append(g.c.Entries, hostcase.Entry{Kind: hostcase.Link, Path: name, Content: "/dev/null"})
			continue
		}
		var b strings.Builder
		for range g.IntN(4) {
			key := g.weighted(map[string]int{
				"kernel.modprobe": 10, "kernel/modprobe": 4, "kernel.modules_disabled": 10, "kernel/modules_disabled": 3, "-kernel.modprobe": 3,
				"-kernel.modules_disabled": 3, "kernel.modpro*": 2, "kernel.mod*": 2, "kernel.*_disabled": 2, "-kernel.mod*": 1, "kernel.modprobe.x": 1, "kernel..modprobe": 1,
				"kernel.Modprobe": 1, "- kernel.modprobe": 1, "#kernel.modprobe": 1, ";kernel.modprobe": 1, " kernel.modprobe": 2, "kernel.modprobe ": 2, "kernel.modprob?": 1,
			})
			value := pick(g, "/bin/true", "/x/modprobe", "", "1", "0", " 1", "1 ", "\"1\"", "1 # x", "01", "1\r")
			b.WriteString(key + pick(g, "=", "=", "=", " = ", "", " ") + value + pick(g, "\n", "\n", "\n", "\r\n", "\n\n", "\x00", "\\\n"))
		}
		g.file(name, g.smudge(b.String()))
	}
	return g.c
}

// compareSysctls returns what both sides say of the two sysctls.
func (r *Root) compareSysctls(t *testing.T, c *hostcase.Case) (real, ours string) {
	t.Helper()
	defer func() {
		if err := r.clear(); err != nil {
			t.Fatal(err)
		}
	}()
	r.Log.Reset()
	if err := c.Build(r.dir); err != nil {
		t.Fatal(err)
	}
	ins, err := kmod.Inspect(t.Context(), kmod.Options{
		Root: r.dir, Proc: filepath.Join(r.dir, "proc"), Sys: filepath.Join(r.dir, "sys"), KmodVersion: c.Kmod, SystemdVersion: c.Systemd,
	}, kmod.SCTP())
	if err != nil {
		t.Fatal(err)
	}
	helper, disabled := "/sbin/modprobe", "0"
	for _, e := range ins.Next.Pending {
		if !strings.Contains(e.File, "sysctl.d") {
			continue
		}
		if _, value, _ := strings.Cut(e.Text, "="); strings.Contains(e.Effect, "loading off") {
			disabled = "1"
		} else {
			helper = strings.TrimSpace(value)
		}
	}
	_, log, err := r.run(t.Context(), sysctl)
	if err != nil {
		t.Fatal(err)
	}
	realHelper, realDisabled := "/sbin/modprobe", "0"
	for _, m := range setting.FindAllStringSubmatch(log, -1) {
		switch {
		case m[1] == "modprobe":
			realHelper = shown(m[2])
		case one.MatchString(m[2]): // what else is written, the kernel refuses
			realDisabled = "1"
		}
	}
	return fmt.Sprintf("%q, %s", realHelper, realDisabled), fmt.Sprintf("%q, %s", helper, disabled)
}

// shown is a value as evidence shows it.
func shown(value string) string {
	var b strings.Builder
	for _, r := range value {
		switch {
		case r == '\t':
			b.WriteByte(' ')
		case r < ' ' || r == '\uFFFD':
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

var (
	setting = regexp.MustCompile(`(?m)^Setting '(?:/proc/sys/)?kernel/(modprobe|modules_disabled)' to '(.*)'\.?$`)
	one     = regexp.MustCompile(`^0?1([ \t]|$)`) // kernel/sysctl.c, proc_get_long
)
