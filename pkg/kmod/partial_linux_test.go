package kmod_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// TestPartialRoot: a container that is given /etc, /usr and /lib of a host one by
// one does not see the target of a link into /opt. That is unknown, while the same
// link in a whole root is dangling, as modprobe would find; a link to /dev/null is
// a mask in both.
func TestPartialRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may mount")
	}
	for _, tt := range []struct {
		name  string
		entry hostcase.Entry
		want  kmod.Answer
	}{
		{"into what is not mounted", link("etc/modprobe.d/x.conf", "/opt/x.conf"), kmod.AnswerUnknown},
		{"a directory that is not mounted", link("etc/modprobe.d", "/opt/modprobe.d"), kmod.AnswerUnknown},
		{"to the null device", link("etc/modprobe.d/x.conf", "/dev/null"), kmod.AnswerTrue},
		{"inside of what is mounted", link("etc/modprobe.d/x.conf", "../x.conf"), kmod.AnswerTrue},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root, opts := host(t, tt.entry, file("etc/x.conf", "# nothing\n"))
			if got := inspect(t, opts).ByName.Allowed; got != kmod.AnswerTrue {
				t.Errorf("in a whole root: %s, want %s", got, kmod.AnswerTrue)
			}
			opts.Root = mountParts(t, root)
			if got := inspect(t, opts).ByName.Allowed; got != tt.want {
				t.Errorf("in a partial root: %s, want %s", got, tt.want)
			}
		})
	}
}

// TestWholeRoot: a root is whole if it has a mount point for /dev, as every host
// has, or if it lies on one file system, as an image does that is unpacked. Then a
// dangling link is dangling on the host, too.
func TestWholeRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may mount")
	}
	root, opts := host(t, link("etc/modprobe.d/x.conf", "/opt/x.conf"))
	kernel := filepath.Join(t.TempDir(), "proc")
	if err := os.Rename(opts.Proc, kernel); err != nil {
		t.Fatal(err)
	}
	opts.Proc = kernel
	if got := inspect(t, opts).ByName.Allowed; got != kmod.AnswerTrue {
		t.Errorf("on one file system: %s, want %s", got, kmod.AnswerTrue)
	}
	opts.Root = mountParts(t, root)
	if err := os.Mkdir(filepath.Join(opts.Root, "dev"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := inspect(t, opts).ByName.Allowed; got != kmod.AnswerTrue {
		t.Errorf("with a mount point: %s, want %s", got, kmod.AnswerTrue)
	}
}

// TestPartialRootPrograms: /sbin is a link to usr/sbin on most hosts, and not among
// the directories that a container is given. A program below it is recognised by
// its name, and does not count as missing; below /usr it can be seen to be missing.
func TestPartialRootPrograms(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may mount")
	}
	for command, want := range map[string]kmod.Answer{
		"/sbin/modprobe -i sctp":              kmod.AnswerTrue,
		"/bin/true && /sbin/modprobe -i sctp": kmod.AnswerTrue,
		"/bin/true":                           kmod.AnswerFalse,
		"/sbin/load-sctp":                     kmod.AnswerUnknown,
		"/usr/local/sbin/modprobe -i sctp":    kmod.AnswerFalse,
	} {
		t.Run(command, func(t *testing.T) {
			root, opts := host(t, file("etc/modprobe.d/x.conf", "install sctp "+command+"\n"))
			opts.Root = mountParts(t, root)
			if got := inspect(t, opts).ByName.Allowed; got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

// mountParts mounts the directories of a host, but no more than the hardened
// manifests do, into an empty root. The rest of the test runs in a mount
// namespace of its own thread, which ends with it.
func mountParts(t *testing.T, host string) string {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread is not to be used again
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	// The thread shares its root and working directory with the others.
	must("unshare", unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS))
	must("making mounts private", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	root := t.TempDir()
	must("mounting an empty root", unix.Mount("tmpfs", root, "tmpfs", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(root, unix.MNT_DETACH) })
	for _, dir := range []string{"etc", "usr", "lib"} {
		from := filepath.Join(host, dir)
		if _, err := os.Stat(from); err != nil {
			continue
		}
		to := filepath.Join(root, dir)
		must("making "+to, os.Mkdir(to, 0o755))
		must("mounting "+dir, unix.Mount(from, to, "", unix.MS_BIND, ""))
	}
	return root
}
