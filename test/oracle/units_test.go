package oracle

import (
	"math/rand/v2"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
)

// TestUnits: on generated trees of units, the real systemd starts at boot what the
// inspection says (systemd --test): systemd-modules-load.service, and services of
// one's own with their commands.
func TestUnits(t *testing.T) {
	needPrograms(t)
	roots := 400
	if testing.Short() {
		roots = 40
	}
	for _, v := range Versions {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			r, err := CompareUnits(t.Context(), v, 1, 0, roots, place(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Log(r)
			for _, w := range r.Wrong {
				t.Error(w)
			}
			for _, state := range []string{"loaded", "masked"} {
				if r.States[state] < roots/20 {
					t.Errorf("only %d trees have the unit %s", r.States[state], state)
				}
			}
			if r.Sure < r.Services/3 {
				t.Errorf("of %d services only %d are surely started", r.Services, r.Sure)
			}
		})
	}
}

// TestLinksToUnits: a link to a unit's own name in another directory of units does
// not count, and any other does, whatever is there.
func TestLinksToUnits(t *testing.T) {
	needPrograms(t)
	const lib, etc = "usr/lib/systemd/system/", "etc/systemd/system/"
	unit := func(dir string) hostcase.Entry {
		return hostcase.Entry{Kind: hostcase.File, Path: dir + "a.service", Content: "[Service]\nExecStart=/bin/x /" + dir + "\n"}
	}
	for _, v := range Versions {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			dir := place(t)
			tools, err := Prepare(t.Context(), v, filepath.Join(dir, "programs"))
			if err != nil {
				t.Fatal(err)
			}
			root, err := tools.NewRoot(filepath.Join(dir, "root"))
			if err != nil {
				t.Fatal(err)
			}
			for target, runs := range map[string]string{
				"/usr/lib/systemd/system/a.service": "/bin/x /run/systemd/system/", "../system.control/a.service": "/bin/x /run/systemd/system/",
				"/opt/a.service": "", "nowhere.service": "", "/dev/null": "",
			} {
				g := &unitGenerator{generator: generator{Rand: rand.New(rand.NewPCG(1, 1)), c: &hostcase.Case{Kmod: v.Kmod, Systemd: v.Systemd}}, taken: map[string]bool{}}
				g.shipped()
				c := g.c
				c.Entries = slices.DeleteFunc(c.Entries, func(e hostcase.Entry) bool {
					name := path.Base(e.Path)
					return path.Ext(name) != ".target" && name != modulesLoadUnit
				})
				c.Entries = append(c.Entries, unit(lib), unit("run/systemd/system/"),
					hostcase.Entry{Kind: hostcase.Link, Path: lib + "multi-user.target.wants/a.service", Content: "../a.service"},
					hostcase.Entry{Kind: hostcase.Link, Path: etc + "a.service", Content: target})
				wrong, real, _, err := root.compareUnits(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				if is := strings.Join(real.Started["a.service"], "; "); is != runs || len(wrong) > 0 {
					t.Errorf("%s: systemd runs %q, not %q; %q", target, is, runs, wrong)
				}
			}
		})
	}
}
