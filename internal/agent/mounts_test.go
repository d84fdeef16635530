package agent

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// ownMounts runs the test again as a child in a mount namespace of its own, and
// reports whether this is it. What the child mounts ends with it.
func ownMounts(t *testing.T) bool {
	t.Helper()
	const env = "AGENT_TEST_OWN_MOUNTS"
	if os.Getenv(env) != "" {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("only root may mount")
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), env+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	} else {
		t.Logf("%s", out)
	}
	return false
}

// TestHostWatchUnderMounts: file systems come and go over the directories, and
// over what they are in. That is noticed, and what is there then is watched.
func TestHostWatchUnderMounts(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	tmpfs := func(t *testing.T, dir string) { must(t, unix.Mount("none", dir, "tmpfs", 0, "")) }
	bind := func(t *testing.T, from, dir string) { must(t, unix.Mount(from, dir, "", unix.MS_BIND, "")) }
	umount := func(t *testing.T, dir string) {
		err := unix.Unmount(dir, 0)
		// The watch may be looking at it in this very moment.
		for deadline := time.Now().Add(20 * time.Second); err == unix.EBUSY && time.Now().Before(deadline); err = unix.Unmount(dir, 0) {
			time.Sleep(time.Millisecond)
		}
		must(t, err)
	}
	detach := func(t *testing.T, dir string) { must(t, unix.Unmount(dir, unix.MNT_DETACH)) }
	for _, tt := range []struct {
		name       string
		before, do func(t *testing.T, root string)
		noticed    bool
	}{
		{"mounted over it", nil, func(t *testing.T, root string) { tmpfs(t, root+"/etc/modprobe.d") }, true},
		{"unmounted from it",
			func(t *testing.T, root string) { tmpfs(t, root+"/etc/modprobe.d") },
			func(t *testing.T, root string) { umount(t, root+"/etc/modprobe.d") }, true},
		{"unmounted from it while it is in use",
			func(t *testing.T, root string) {
				tmpfs(t, root+"/etc/modprobe.d")
				f, err := os.Create(root + "/etc/modprobe.d/held")
				must(t, err)
				t.Cleanup(func() { f.Close() })
			},
			func(t *testing.T, root string) { detach(t, root+"/etc/modprobe.d") }, true},
		{"replaced by one with the same numbers",
			func(t *testing.T, root string) { tmpfs(t, root+"/etc/modprobe.d") },
			func(t *testing.T, root string) {
				umount(t, root+"/etc/modprobe.d")
				tmpfs(t, root+"/etc/modprobe.d")
			}, true},
		{"mounted over what it is in",
			func(t *testing.T, root string) { must(t, os.MkdirAll(root+"/other/modprobe.d", 0o755)) },
			func(t *testing.T, root string) { bind(t, root+"/other", root+"/etc") }, true},
		{"mounted over what it is in, and empty",
			func(t *testing.T, root string) { must(t, os.Mkdir(root+"/other", 0o755)) },
			func(t *testing.T, root string) { bind(t, root+"/other", root+"/etc") }, true},
		{"another of the directories, under two names until now",
			func(t *testing.T, root string) {
				must(t, os.MkdirAll(root+"/usr/local/lib/modprobe.d", 0o755))
				bind(t, root+"/usr/local/lib/modprobe.d", root+"/etc/modprobe.d")
			},
			func(t *testing.T, root string) { umount(t, root+"/etc/modprobe.d") }, true},
		{"a pod's volumes", nil, func(t *testing.T, root string) {
			dir := root + "/run/pod"
			must(t, os.Mkdir(dir, 0o755))
			for range 50 {
				tmpfs(t, dir)
				umount(t, dir)
			}
		}, false},
		{"the same directory over itself", nil, func(t *testing.T, root string) { bind(t, root+"/etc/modprobe.d", root+"/etc/modprobe.d") }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			for _, d := range []string{"/etc/modprobe.d", "/run", "/usr"} {
				must(t, os.MkdirAll(root+d, 0o755))
			}
			t.Cleanup(func() {
				for _, d := range []string{"/etc/modprobe.d", "/etc"} {
					for unix.Unmount(root+d, unix.MNT_DETACH) == nil {
					}
				}
			})
			if tt.before != nil {
				tt.before(t, root)
			}
			fired := startWatch(t, root, "/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", markDir)
			// The other tests' mounts are noticed, too, and mean nothing here.
			collect(fired, 2*mountPause)
			tt.do(t, root)
			var got []string
			for deadline := time.Now().Add(20 * time.Second); tt.noticed && len(got) == 0 && time.Now().Before(deadline); {
				got = collect(fired, mountPause)
			}
			got = append(got, collect(fired, 2*mountPause)...)
			if noticed := strings.Contains(strings.Join(got, "\n"), "mounts changed"); noticed != tt.noticed {
				t.Errorf("fired: %q", got)
			}
			// And what is there now is watched.
			for _, dir := range []string{"/etc/modprobe.d", "/usr/local/lib/modprobe.d"} {
				must(t, os.MkdirAll(root+dir, 0o755))
				handled(t, fired, root)
				must(t, os.WriteFile(filepath.Join(root, dir, "sctp.conf"), nil, 0o644))
				await(t, fired, dir+"/sctp.conf")
			}
		})
	}
}

// BenchmarkMountElsewhere is what a mount costs that has nothing to do with the
// configuration.
func BenchmarkMountElsewhere(b *testing.B) {
	root := b.TempDir()
	for _, d := range []string{"/etc/modprobe.d", "/etc/modules-load.d", "/run", "/usr/lib/modprobe.d", "/usr/lib/modules-load.d"} {
		if err := os.MkdirAll(root+d, 0o755); err != nil {
			b.Fatal(err)
		}
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	watch := NewHostWatch(root)
	if _, err := kmod.Inspect(b.Context(), kmod.Options{Root: root, Looked: watch.Looked}, kmod.SCTP()); err != nil {
		b.Fatal(err)
	}
	s := dirWatch{HostWatch: watch, w: w, watched: map[string]inode{}}
	if _, err := s.scan(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !s.unchanged() {
			b.Fatal("nothing has changed")
		}
	}
}
