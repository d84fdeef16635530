package hostcase

import (
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Automount makes dir a mount point of autofs until the test ends, and returns what
// its daemon would read: a request for each process that enters it, which waits until
// then. The caller is no part of the daemon's process group, whose members may enter.
// The test is skipped where autofs cannot be mounted.
func Automount(tb testing.TB, dir string) (requests int) {
	tb.Helper()
	daemon := exec.CommandContext(tb.Context(), "sleep", "1000")
	daemon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := daemon.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = daemon.Process.Kill(); _ = daemon.Wait() })
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_DIRECT); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { unix.Close(pipe[0]) }) // what waits is released
	err := unix.Mount("test", dir, "autofs", 0, fmt.Sprintf("fd=%d,pgrp=%d,minproto=5,maxproto=5,direct", pipe[1], daemon.Process.Pid))
	unix.Close(pipe[1])
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENODEV): // no right to, no autofs in this kernel
		tb.Skipf("autofs cannot be mounted here: %v", err)
	case err != nil:
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return pipe[0]
}
