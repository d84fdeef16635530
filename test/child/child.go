// Package child runs programs: those that do not outlive this one, and those that it
// waits for.
package child

import (
	"bytes"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
)

// Process is a program that was started.
type Process struct {
	Cmd  *exec.Cmd
	Done chan struct{} // closed when it has ended
	Err  error         // how it ended; valid after Done
}

// Start starts a command in a process group of its own, so that Ctrl-C on a terminal
// leaves its end to this process.
func Start(cmd *exec.Cmd) (*Process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	p := &Process{Cmd: cmd, Done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// PR_SET_PDEATHSIG(2const): the signal comes when the thread that forked
		// ends, and Go ends threads. This one stays for the child's life.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.Err = cmd.Wait()
			close(p.Done)
		}
	}()
	return p, <-started
}

// Output runs a command to its end, and returns its standard output. The error has
// what it wrote to standard error.
func Output(cmd *exec.Cmd) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", cmd, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}
