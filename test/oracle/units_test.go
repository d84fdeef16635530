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

// onEach runs a test with each release's programs, in a root of its own.
func onEach(t *testing.T, test func(t *testing.T, v Version, root *Root)) {
	needPrograms(t)
	for _, v := range Versions {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			test(t, v, newRoot(t, v))
		})
	}
}

// TestLinksToUnits: a link to a unit's own name in another directory of units does
// not count, and any other does, whatever is there.
func TestLinksToUnits(t *testing.T) {
	const lib = shippedUnits + "/"
	onEach(t, func(t *testing.T, v Version, root *Root) {
		for target, runs := range map[string]string{
			"/usr/lib/systemd/system/a.service": "/bin/run", "../system.control/a.service": "/bin/run",
			"/opt/a.service": "", "nowhere.service": "", "/dev/null": "",
		} {
			c := bootingCase(v,
				unit(lib+"a.service", "[Service]\nExecStart=/bin/lib\n"), unit("run/systemd/system/a.service", "[Service]\nExecStart=/bin/run\n"),
				hostcase.Entry{Kind: hostcase.Link, Path: lib + "multi-user.target.wants/a.service", Content: "../a.service"},
				hostcase.Entry{Kind: hostcase.Link, Path: "etc/systemd/system/a.service", Content: target})
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

// TestLinksToMasks: a link in a target's directory that resolves, by another link, to the
// null device or to an empty file does not start the unit of that name, which another
// directory has.
func TestLinksToMasks(t *testing.T) {
	const lib = shippedUnits + "/"
	onEach(t, func(t *testing.T, v Version, root *Root) {
		for shipped, runs := range map[hostcase.Entry]string{
			unit(lib+"a.service", "[Service]\nExecStart=/bin/lib\n"):                          "/bin/etc",
			unit(lib+"a.service", ""):                                                         "",
			{Kind: hostcase.Link, Path: lib + "a.service", Content: "/dev/null"}:              "",
			{Kind: hostcase.Link, Path: lib + "a.service", Content: "/usr/lib/nowhere"}:       "/bin/etc",
			{Kind: hostcase.Link, Path: lib + "a.service", Content: "/usr/lib/systemd/empty"}: "",
		} {
			c := bootingCase(v, shipped, unit("usr/lib/systemd/empty", ""), unit("etc/systemd/system/a.service", "[Service]\nExecStart=/bin/etc\n"),
				hostcase.Entry{Kind: hostcase.Link, Path: lib + "multi-user.target.wants/a.service", Content: "../a.service"})
			wrong, real, _, err := root.compareUnits(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if is := strings.Join(real.Started["a.service"], "; "); is != runs || len(wrong) > 0 {
				t.Errorf("%+v: systemd runs %q, not %q; %q", shipped, is, runs, wrong)
			}
		}
	})
}

func unit(name, text string) hostcase.Entry {
	return hostcase.Entry{Kind: hostcase.File, Path: name, Content: text}
}

// bootingCase is a host whose default target a boot reaches, with further files.
func bootingCase(v Version, more ...hostcase.Entry) *hostcase.Case {
	const lib = shippedUnits + "/"
	return &hostcase.Case{Kmod: v.Kmod, Systemd: v.Systemd, Entries: append([]hostcase.Entry{
		unit(lib+"sysinit.target", "[Unit]\n"), unit(lib+"shutdown.target", "[Unit]\nDefaultDependencies=no\n"),
		unit(lib+"basic.target", "[Unit]\nRequires=sysinit.target\nAfter=sysinit.target\n"),
		unit(lib+"multi-user.target", "[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n"),
		{Kind: hostcase.Link, Path: lib + "default.target", Content: "multi-user.target"},
	}, more...)}
}
