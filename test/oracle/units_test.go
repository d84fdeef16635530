package oracle

import (
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
	const lib = shippedUnits + "/"
	unit := func(name, text string) hostcase.Entry {
		return hostcase.Entry{Kind: hostcase.File, Path: name, Content: text}
	}
	for _, v := range Versions {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			root := newRoot(t, v)
			for target, runs := range map[string]string{
				"/usr/lib/systemd/system/a.service": "/bin/run", "../system.control/a.service": "/bin/run",
				"/opt/a.service": "", "nowhere.service": "", "/dev/null": "",
			} {
				c := &hostcase.Case{Kmod: v.Kmod, Systemd: v.Systemd, Entries: []hostcase.Entry{
					unit(lib+"sysinit.target", "[Unit]\n"), unit(lib+"shutdown.target", "[Unit]\nDefaultDependencies=no\n"),
					unit(lib+"basic.target", "[Unit]\nRequires=sysinit.target\nAfter=sysinit.target\n"),
					unit(lib+"multi-user.target", "[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n"),
					{Kind: hostcase.Link, Path: lib + "default.target", Content: "multi-user.target"},
					unit(lib+"a.service", "[Service]\nExecStart=/bin/lib\n"), unit("run/systemd/system/a.service", "[Service]\nExecStart=/bin/run\n"),
					{Kind: hostcase.Link, Path: lib + "multi-user.target.wants/a.service", Content: "../a.service"},
					{Kind: hostcase.Link, Path: "etc/systemd/system/a.service", Content: target},
				}}
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
