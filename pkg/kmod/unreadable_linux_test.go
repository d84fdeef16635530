package kmod_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// TestNothingButFilesIsOpened: FIFOs, sockets and devices in every place are
// named and left alone, and the answers they could change are unknown.
func TestNothingButFilesIsOpened(t *testing.T) {
	for _, place := range []string{
		"etc/modprobe.d/x.conf", "usr/lib/modprobe.d/x.conf",
		"usr/lib/modules/" + hostcase.Release + "/modules.softdep",
	} {
		t.Run(place, func(t *testing.T) {
			_, opts := host(t, hostcase.Entry{Kind: hostcase.FIFO, Path: place})
			ins := inspect(t, opts)
			if ins.Autoload.Allowed != kmod.AnswerUnknown || ins.Autoload.Cause != kmod.CauseUnreadable {
				t.Errorf("autoload: %+v", ins.Autoload)
			}
			want := "/" + place
			want = strings.Replace(want, "/usr/lib/mod", "/lib/mod", 1)
			if ins.Autoload.Evidence[0].File != want {
				t.Errorf("evidence names %s, want %s", ins.Autoload.Evidence[0].File, want)
			}
			found := false
			for _, f := range ins.Findings {
				found = found || f.Kind == kmod.FindingIncomplete
			}
			if !found {
				t.Error("no finding says that something was skipped")
			}
		})
	}
	t.Run("what the kernel refuses all the same", func(t *testing.T) {
		root, opts := host(t, hostcase.Entry{Kind: hostcase.FIFO, Path: "etc/modprobe.d/x.conf"})
		if err := os.WriteFile(filepath.Join(root, "proc/sys/kernel/modules_disabled"), []byte("1\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		ins := inspect(t, opts)
		for _, d := range []kmod.Decision{ins.ByName, ins.Autoload, ins.BootLoad.Decision} {
			if d.Allowed != kmod.AnswerFalse || d.Cause != kmod.CauseLoadingDisabled {
				t.Errorf("got %+v", d)
			}
		}
	})
	t.Run("modules-load.d", func(t *testing.T) {
		_, opts := host(t, hostcase.Entry{Kind: hostcase.FIFO, Path: "etc/modules-load.d/x.conf"})
		ins := inspect(t, opts)
		if ins.BootLoad.Requested != kmod.AnswerUnknown || ins.Autoload.Allowed != kmod.AnswerTrue {
			t.Errorf("requested %s, autoload %s", ins.BootLoad.Requested, ins.Autoload.Allowed)
		}
	})
	t.Run("index", func(t *testing.T) {
		root, opts := host(t)
		index := filepath.Join(root, "usr/lib/modules", hostcase.Release, "modules.dep.bin")
		if err := os.Remove(index); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mkfifo(index, 0o644); err != nil {
			t.Fatal(err)
		}
		ins := inspect(t, opts)
		if ins.ByName.Allowed != kmod.AnswerUnknown || ins.State != kmod.StateUnknown {
			t.Errorf("by name %+v, state %s", ins.ByName, ins.State)
		}
		for _, e := range ins.ByName.Evidence {
			if e.Cause == kmod.CauseMissing {
				t.Errorf("what could not be read is said to be missing: %v", e)
			}
		}
	})
}

// openToAll lets other users into a directory of t.TempDir, and into the one that
// it is in. It takes no right away: what is above is shared with the whole machine.
func openToAll(t *testing.T, dir string) {
	t.Helper()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		fi, err := os.Stat(d)
		if err == nil {
			err = os.Chmod(d, fi.Mode()|0o055)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestUnreadable: what may not be read is distinguished from what is missing. As
// root everything can be read, so it runs as another user.
func TestUnreadable(t *testing.T) {
	root, opts := host(t, file("etc/modprobe.d/x.conf", "# nothing\n"), file("run/modprobe.d/y.conf", "blacklist sctp\n"))
	openToAll(t, root)
	asOther := func(t *testing.T, check func(*kmod.Inspection)) {
		t.Helper()
		ins, err := inspectAs(t, 65534, opts)
		if err != nil {
			t.Fatal(err)
		}
		check(ins)
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to become another user")
	}
	asOther(t, func(ins *kmod.Inspection) {
		if ins.Autoload.Allowed != kmod.AnswerFalse {
			t.Errorf("readable: %+v", ins.Autoload)
		}
	})
	dir := filepath.Join(root, "etc/modprobe.d")
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	asOther(t, func(ins *kmod.Inspection) {
		// /etc may hide the file in /run that blacklists.
		if ins.Autoload.Allowed != kmod.AnswerUnknown || ins.Autoload.Cause != kmod.CauseUnreadable || ins.Autoload.Evidence[0].File != "/etc/modprobe.d" {
			t.Errorf("unreadable directory: %+v", ins.Autoload)
		}
		if ins.ByName.Allowed != kmod.AnswerUnknown {
			t.Errorf("by name: %+v", ins.ByName)
		}
	})
	os.Chmod(dir, 0o755)
	if err := os.Chmod(filepath.Join(dir, "x.conf"), 0); err != nil {
		t.Fatal(err)
	}
	asOther(t, func(ins *kmod.Inspection) {
		// Nothing in a file takes a blacklist back.
		if ins.Autoload.Allowed != kmod.AnswerFalse || ins.Autoload.Cause != kmod.CauseBlacklist {
			t.Errorf("unreadable file: %+v", ins.Autoload)
		}
		if ins.ByName.Allowed != kmod.AnswerUnknown {
			t.Errorf("by name: %+v", ins.ByName)
		}
	})
}

// TestUnreadableUnits: whether systemd-modules-load runs is not known, and no
// unit is called masked.
func TestUnreadableUnits(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to become another user")
	}
	root, opts := host(t, file("etc/modules-load.d/x.conf", "sctp\n"),
		file("usr/lib/systemd/systemd", "x"), file("usr/lib/systemd/system/systemd-modules-load.service", "[Service]\nExecStart=/usr/lib/systemd/systemd-modules-load\n"))
	openToAll(t, root)
	if err := os.Chmod(filepath.Join(root, "usr/lib/systemd/system"), 0); err != nil {
		t.Fatal(err)
	}
	ins, err := inspectAs(t, 65534, opts)
	if err != nil {
		t.Fatal(err)
	}
	if ins.BootLoad.Allowed != kmod.AnswerUnknown || ins.BootLoad.Unit != kmod.UnitUnknown {
		t.Errorf("unit %s, at boot %+v", ins.BootLoad.Unit, ins.BootLoad.Decision)
	}
	const want = "/usr/lib/systemd/system could not be read: permission denied"
	for _, f := range ins.Findings {
		if f.Kind != kmod.FindingIncomplete || f.Message != want {
			t.Errorf("finding %s: %s; want %s: %s", f.Kind, f.Message, kmod.FindingIncomplete, want)
		}
	}
	if len(ins.Findings) != 1 {
		t.Errorf("%d findings, want one", len(ins.Findings))
	}
}

// TestUnreadableExtensions: the next boot may have what is in them.
func TestUnreadableExtensions(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to become another user")
	}
	const units = "usr/lib/systemd/system/"
	root, opts := host(t, file("usr/lib/systemd/systemd", "x"), file(units+"sysinit.target", "[Unit]\nWants=systemd-sysext.service\n"),
		file(units+"systemd-sysext.service", "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/usr/bin/systemd-sysext\n"), file("var/lib/extensions/none", ""))
	openToAll(t, root)
	if err := os.Chmod(filepath.Join(root, "var/lib/extensions"), 0); err != nil {
		t.Fatal(err)
	}
	ins, err := inspectAs(t, 65534, opts)
	if err != nil {
		t.Fatal(err)
	}
	if ins.Next.Known || len(ins.Next.Pending) != 1 || ins.Next.Pending[0].File != "/var/lib/extensions" {
		t.Errorf("next boot: %+v", ins.Next)
	}
}

// TestUnreadableSysctls: what the kernel may forbid and could not be looked up is
// not "allowed".
func TestUnreadableSysctls(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to become another user")
	}
	for sysctl, byName := range map[string]kmod.Answer{"modprobe": kmod.AnswerTrue, "modules_disabled": kmod.AnswerUnknown} {
		for conf, autoload := range map[string]kmod.Answer{"": kmod.AnswerUnknown, "blacklist sctp\n": kmod.AnswerFalse} {
			t.Run(sysctl+" "+conf, func(t *testing.T) {
				root, opts := host(t, file("etc/modprobe.d/x.conf", conf))
				openToAll(t, root)
				if err := os.Chmod(filepath.Join(root, "proc/sys/kernel", sysctl), 0); err != nil {
					t.Fatal(err)
				}
				ins, err := inspectAs(t, 65534, opts)
				if err != nil {
					t.Fatal(err)
				}
				if ins.Autoload.Allowed != autoload {
					t.Errorf("autoload: %+v, want %s", ins.Autoload, autoload)
				}
				if autoload == kmod.AnswerUnknown && ins.Autoload.Evidence[0].File != "/proc/sys/kernel/"+sysctl {
					t.Errorf("the evidence does not name it: %+v", ins.Autoload)
				}
				if ins.ByName.Allowed != byName {
					t.Errorf("by name: %+v, want %s", ins.ByName, byName)
				}
			})
		}
	}
}
