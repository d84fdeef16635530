package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// TestWatchHost: the files by which the next boot differs are watched, also where
// none of them existed.
func TestWatchHost(t *testing.T) {
	root := t.TempDir()
	w := WatchHost(kmod.Options{Root: root, KernelRelease: "6.1.0"})
	fired := make(chan string, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	if err := os.MkdirAll(root+markDir, 0o755); err != nil {
		t.Fatal(err)
	}
	go func() { done <- w.Run(ctx, func(why string) { fired <- why }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-fired
	for _, file := range []string{
		"/boot/loader/entries/x.conf", "/boot/grub2/grubenv", "/etc/default/grub", "/etc/kernel/cmdline", "/usr/lib/kernel/cmdline",
		"/etc/systemd/system.conf", "/etc/systemd/system.conf.d/x.conf",
		"/etc/sysctl.d/99-hardening.conf", "/usr/lib/bootc/kargs.d/10-cis.toml", "/run/ostree/staged-deployment",
		"/lib/modules/6.2.0/modules.dep.bin",
		"/etc/systemd/system/systemd-modules-load.service", "/etc/systemd/system/multi-user.target.wants/load.service",
		"/etc/systemd/system/basic.target.requires/load.service", "/etc/systemd/system/systemd-.service.d/x.conf",
		"/run/systemd/system/service.d/x.conf", "/usr/local/lib/systemd/system/load.service.d/x.conf",
		"/usr/lib/systemd/system/load.service", "/etc/systemd/system.control/load.service.d/50.conf",
		"/etc/udev/rules.d/90-sctp.rules", "/etc/cron.d/sctp", "/etc/containers/systemd/sctp.container", "/etc/systemd/system-generators/sctp",
	} {
		if err := os.MkdirAll(filepath.Dir(root+file), 0o755); err != nil {
			t.Fatal(err)
		}
		handled(t, fired, root)
		if err := os.WriteFile(root+file, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := handled(t, fired, root); len(got) == 0 && file != "/lib/modules/6.2.0/modules.dep.bin" {
			t.Errorf("nothing is fired when %s is written", file)
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
	return &dirWatch{ConfigDirs: ConfigDirs{Root: root, Dirs: dirs}, w: w, watched: map[string]inode{}}
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
		failed <- s.scan()
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
	if err := s.scan(); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.watched[root+"/etc/modules-load.d"]; !ok {
		t.Error("the other directory is not watched")
	}
	if what, structural := s.concerns(fsnotify.Event{Name: root + "/etc/modprobe.d", Op: fsnotify.Create}); what == "" || !structural {
		t.Errorf("a replaced loop: %q, %v", what, structural)
	}
}

// TestWatchNoAutomount: nothing below an automount is looked at, which would mount
// it. Another process does the looking, because one that waits can only be killed.
func TestWatchNoAutomount(t *testing.T) {
	const rootOfChild = "TEST_WATCH_ROOT"
	if root := os.Getenv(rootOfChild); root != "" {
		if err := scanner(t, root, (kmod.Options{}).NextBootDirs()...).scan(); err != nil {
			t.Fatal(err)
		}
		return
	}
	root := t.TempDir()
	boot := filepath.Join(root, "boot")
	if err := os.Mkdir(boot, 0o755); err != nil {
		t.Fatal(err)
	}
	daemon := exec.CommandContext(t.Context(), "sleep", "1000") // its process group is autofs' daemon
	daemon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = daemon.Process.Kill(); _ = daemon.Wait() })
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_DIRECT); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pipe[0]) })
	err := unix.Mount("test", boot, "autofs", 0, fmt.Sprintf("fd=%d,pgrp=%d,minproto=5,maxproto=5,direct", pipe[1], daemon.Process.Pid))
	unix.Close(pipe[1])
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENODEV): // no right to, no autofs in this kernel
		t.Skipf("autofs cannot be mounted here: %v", err)
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(boot, unix.MNT_DETACH) })

	child := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestWatchNoAutomount$")
	child.Env = append(os.Environ(), rootOfChild+"="+root)
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- child.Wait() }()
	poll := []unix.PollFd{{Fd: int32(pipe[0]), Events: unix.POLLIN}}
	for {
		if n, err := unix.Poll(poll, 100); err == nil && n > 0 && poll[0].Revents&unix.POLLIN != 0 {
			t.Error("the daemon was asked to mount")
			_ = child.Process.Kill()
			<-done
			return
		}
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("the scan: %v", err)
			}
			return
		default:
		}
	}
}
