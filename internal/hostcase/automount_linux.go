package hostcase

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Automounted runs a test in a process of its own, in which it returns a host root whose
// directory boot is a mount point of autofs, and whose directory share has a file system
// that never answers. In the test itself, which then has nothing more to do, it returns
// false. The test fails if the process asks to have boot mounted or asks share for
// anything, for which it would wait for ever, and is skipped where these cannot be mounted.
func Automounted(t *testing.T) (root string, ok bool) {
	const variable = "TEST_AUTOMOUNTED_ROOT"
	if root := os.Getenv(variable); root != "" {
		return root, true
	}
	root = t.TempDir()
	boot, share := filepath.Join(root, "boot"), filepath.Join(root, "share")
	if err := errors.Join(os.Mkdir(boot, 0o755), os.Mkdir(share, 0o755)); err != nil {
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
	// Nobody reads what the kernel asks (Documentation/filesystems/fuse).
	fuse, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err == nil {
		t.Cleanup(func() { fuse.Close() })
		err = unix.Mount("test", share, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse.Fd()))
	}
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV): // no right to, no FUSE in this kernel
		t.Skipf("a file system that does not answer cannot be mounted here: %v", err)
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(share, unix.MNT_DETACH) })

	var output bytes.Buffer
	child := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.timeout=1m")
	child.Env = append(os.Environ(), variable+"="+root)
	child.Stdout, child.Stderr = &output, &output
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- child.Wait() }()
	for poll := []unix.PollFd{{Fd: int32(pipe[0]), Events: unix.POLLIN}}; ; {
		if n, err := unix.Poll(poll, 100); err == nil && n > 0 && poll[0].Revents&unix.POLLIN != 0 {
			t.Error("the daemon was asked to mount")
			_ = child.Process.Kill()
			<-done
			return "", false
		}
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("%v: %s", err, &output)
			}
			return "", false
		default:
		}
	}
}
