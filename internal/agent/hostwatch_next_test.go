package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// TestWhatIsReadIsWatched: whatever an inspection goes by is watched, also where it did
// not exist.
func TestWhatIsReadIsWatched(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(root+name), 0o755), os.WriteFile(root+name, []byte(text), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	const units = "/usr/lib/systemd/system"
	for name, text := range map[string]string{
		"/usr/lib/systemd/systemd": "\x7fELF", units + "/systemd-modules-load.service": "[Service]\nExecStart=/usr/lib/systemd/systemd-modules-load\n", "/lib/modules/6.1.0/modules.order": "",
		units + "/sysinit.target": "[Unit]", units + "/basic.target": "[Unit]", units + "/multi-user.target": "[Unit]", units + "/default.target": "[Unit]\nWants=multi-user.target\n",
		"/etc/systemd/system/x.service": "[Unit]\nConditionPathExists=!/etc/no-sctp\n[Service]\nType=oneshot\nEnvironmentFile=-/etc/default/x\nExecStart=/opt/x/load\nExecStart=/sbin/sysctl -p\nExecStart=/sbin/modprobe sctp\n",
		"/opt/x/load":                   "#!/bin/sh\n/usr/local/sbin/more\n", "/etc/modprobe.d/x.conf": "install sctp /opt/y/load\n", "/boot/loader/entries/x.conf": "linux /boot/vmlinuz-6.1.0\n",
		"/etc/modules": "x\n", "/etc/kernel/x": "", markDir + "/x": "",
	} {
		write(name, text)
	}
	for name, target := range map[string]string{
		"/sbin": "usr/sbin", "/usr/sbin/init": "../lib/systemd/systemd", "/etc/modules-load.d/modules.conf": "../modules", "/usr/sbin/modprobe": "/opt/kmod/kmod",
		"/etc/systemd/system/multi-user.target.wants/x.service": "../x.service",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(root+name), 0o755), os.Symlink(target, root+name)); err != nil {
			t.Fatal(err)
		}
	}
	w := NewHostWatch(root)
	fired := run(t, w, func() {
		if _, err := kmod.Inspect(context.WithoutCancel(t.Context()), kmod.Options{Root: root, KernelRelease: "6.1.0", Looked: w.Looked}, kmod.SCTP()); err != nil {
			t.Error(err)
		}
		look := w.looked // and the mark's directory
		w.Looked(kmod.Looked{Names: look.Names, Lists: append(slices.Clone(look.Lists), markDir)})
	})
	for _, file := range []string{
		"/boot/loader/entries/x.conf", "/boot/grub2/grubenv", "/etc/default/grub", "/etc/kernel/cmdline", "/usr/lib/kernel/cmdline",
		"/etc/systemd/system.conf", "/etc/systemd/system.conf.d/x.conf",
		"/etc/sysctl.d/99-hardening.conf", "/usr/lib/bootc/kargs.d/10-cis.toml", "/run/ostree/staged-deployment",
		"/lib/modules/6.2.0/modules.dep.bin",
		"/etc/systemd/system/systemd-modules-load.service", "/etc/systemd/system/multi-user.target.wants/load.service",
		"/etc/systemd/system/basic.target.requires/load.service", "/etc/systemd/system/systemd-.service.d/x.conf",
		"/run/systemd/system/service.d/x.conf", "/usr/local/lib/systemd/system/x.service.d/x.conf",
		"/usr/lib/systemd/system/load.service", "/etc/systemd/system.control/x.service.d/50.conf",
		"/etc/udev/rules.d/90-sctp.rules", "/etc/cron.d/sctp", "/etc/containers/systemd/sctp.container", "/etc/kubernetes/manifests/sctp.yaml", "/etc/systemd/system-generators/sctp",
		"/etc/sysctl.conf", "/etc/modules", "/etc/crontab", "/etc/rc3.d/S99x", "/etc/network/interfaces", "/etc/network/if-up.d/x", "/etc/NetworkManager/dispatcher.d/x", "/etc/cloud/cloud.cfg",
		"/var/lib/cloud/instance/user-data.txt", "/var/lib/cloud/scripts/per-boot/x", "/oem/grub.cfg", "/boot/extlinux/extlinux.conf", "/boot/efi/loader/entries/x.conf", "/efi/EFI/Linux/x.efi",
		"/etc/no-sctp", "/etc/default/x", "/opt/x/load", "/usr/local/sbin/more", "/opt/kmod/kmod", "/usr/sbin/sysctl", "/etc/os-release", "/run/systemd/generator.early/systemd-modules-load.service",
	} {
		if err := os.MkdirAll(filepath.Dir(root+file), 0o755); err != nil {
			t.Fatal(err)
		}
		handled(t, fired, root)
		before, err := os.ReadFile(root + file)
		write(file, string(before)+"\n")
		if got := handled(t, fired, root); len(got) == 0 && file != "/lib/modules/6.2.0/modules.dep.bin" {
			t.Errorf("nothing is fired when %s is written", file)
		}
		if err != nil {
			_ = os.Remove(root + file)
		}
	}
}

func scanner(t *testing.T, root string, dirs ...string) *dirWatch {
	t.Helper()
	w, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	watch := NewHostWatch(root)
	look(t, watch, dirs...)
	return &dirWatch{HostWatch: watch, w: w, watched: map[string]inode{}}
}

// TestWatchWithoutPermission: a directory that the agent may not read keeps it from
// no other.
func TestWatchWithoutPermission(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to become another user")
	}
	root := t.TempDir()
	for dir, mode := range map[string]os.FileMode{"/etc/modprobe.d": 0o700, "/etc/modules-load.d": 0o755} {
		if err := os.MkdirAll(root+dir, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{filepath.Dir(root), root, root + "/etc", root + "/etc/modules-load.d"} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := scanner(t, root, "/etc/modprobe.d", "/etc/modules-load.d")
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its user
		if err := unix.Setfsuid(65534); err != nil {
			failed <- err
			return
		}
		_, err := s.scan()
		failed <- err
	}()
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{"/etc/modprobe.d": false, "/etc/modules-load.d": true} {
		if _, got := s.watched[root+dir]; got != want {
			t.Errorf("%s is watched: %v", dir, got)
		}
	}
}

// TestWatchNoLogs: a directory that changes all the time, and has nothing that decides, is
// not watched.
func TestWatchNoLogs(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"/var/log", "/etc/cron.d"} {
		if err := os.MkdirAll(root+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := scanner(t, root, "/etc/cron.d")
	s.looked.Names = []string{"/var/log/backup"}
	if _, err := s.scan(); err != nil {
		t.Fatal(err)
	}
	if _, logs := s.watched[root+"/var/log"]; logs || len(s.watched) == 0 {
		t.Errorf("watched: %v", s.watched)
	}
}

// TestWatchLoop: a loop of links keeps the watch from no other directory, and is seen
// to be replaced.
func TestWatchLoop(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(root+"/etc/modules-load.d", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/modprobe.d", root+"/etc/modprobe.d"); err != nil {
		t.Fatal(err)
	}
	s := scanner(t, root, "/etc/modprobe.d", "/etc/modules-load.d")
	if _, err := s.scan(); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.watched[root+"/etc/modules-load.d"]; !ok {
		t.Error("the other directory is not watched")
	}
	if what, structural := s.concerns(fsnotify.Event{Name: root + "/etc/modprobe.d", Op: fsnotify.Create}); what == "" || !structural {
		t.Errorf("a replaced loop: %q, %v", what, structural)
	}
}

// TestWatchNotEntered: nothing below an automount is looked at, which would mount
// it, nor below a file system that does not answer. Another process does the looking, because one that waits can only be killed.
func TestWatchNotEntered(t *testing.T) {
	root, ok := hostcase.Automounted(t)
	if !ok {
		return
	}
	s := scanner(t, root)
	s.looked = kmod.Looked{Names: []string{"/boot", "/boot/loader/entries/x.conf", "/share", "/share/load", "/share/x/load"}, Lists: []string{"/boot/loader/entries"}}
	if _, err := s.scan(); err != nil {
		t.Fatal(err)
	}
}
