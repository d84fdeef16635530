package hostroot

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAutomount: a mount point of autofs is distinguished from a directory, and
// looking at it wakes no daemon.
func TestAutomount(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"boot", "efi"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// Another process group is the daemon's: its members would not wake it.
	daemon := exec.CommandContext(t.Context(), "sleep", "1000")
	daemon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = daemon.Process.Kill(); _ = daemon.Wait() })
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_DIRECT); err != nil {
		t.Fatal(err)
	}
	options := fmt.Sprintf("fd=%d,pgrp=%d,minproto=5,maxproto=5,direct", pipe[1], daemon.Process.Pid)
	err := unix.Mount("test", filepath.Join(root, "boot"), "autofs", 0, options)
	unix.Close(pipe[1])
	t.Cleanup(func() { unix.Close(pipe[0]) }) // what waits is released
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENODEV): // no right to, no autofs in this kernel
		t.Skipf("autofs cannot be mounted here: %v", err)
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(filepath.Join(root, "boot"), unix.MNT_DETACH) })

	live, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	for name, want := range map[string]bool{"/boot": true, "/efi": false, "/none": false} {
		if got := live.Automount(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if n, err := unix.Read(pipe[0], make([]byte, 512)); n > 0 {
		t.Errorf("the daemon was asked to mount: %d bytes, %v", n, err)
	}
}
