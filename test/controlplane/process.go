package controlplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/test/child"
)

// process is a component that runs.
type process struct {
	*child.Process
	name    string
	logPath string
}

func startProcess(name, logPath string, argv ...string) (*process, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	// etcd leaves its peers' socket in its working directory.
	cmd.Dir = filepath.Dir(logPath)
	cmd.Stdout, cmd.Stderr = log, log
	p, err := child.Start(cmd)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return &process{p, name, logPath}, nil
}

func (p *process) signal(sig syscall.Signal) error {
	select {
	case <-p.Done:
		return fmt.Errorf("signalling %s: it has ended: %v", p.name, p.Err)
	default:
	}
	if err := p.Cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("signalling %s: %w", p.name, err)
	}
	return nil
}

// awaitStopped waits until the last thread has stopped. kill(2) only queues
// SIGSTOP, for one thread, which tells the others when it runs: on a busy
// machine they go on answering for a while. The parent is told when the group
// has stopped (signal(7), kernel/signal.c do_signal_stop).
func (p *process) awaitStopped() error {
	const cldStopped = 5 // CLD_STOPPED, include/uapi/asm-generic/siginfo.h
	for {
		var info unix.Siginfo
		// WNOWAIT: how it ended is for Wait to collect.
		err := unix.Waitid(unix.P_PID, p.Cmd.Process.Pid, &info, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return fmt.Errorf("waiting for %s to stop: %w", p.name, err)
		case info.Code != cldStopped:
			return fmt.Errorf("waiting for %s to stop: it has ended", p.name)
		default:
			return nil
		}
	}
}

// stop ends it, the hard way if it does not go within the grace.
func (p *process) stop(grace time.Duration) {
	// A stopped process does not see SIGTERM.
	_ = p.signal(syscall.SIGCONT)
	_ = p.signal(syscall.SIGTERM)
	select {
	case <-p.Done:
		return
	case <-time.After(grace):
	}
	_ = p.signal(syscall.SIGKILL)
	<-p.Done
}

// await polls ready until it returns nil, and gives up early if the process
// ends.
func (p *process) await(ctx context.Context, ready func(context.Context) error) error {
	var last error
	for {
		attempt, cancel := context.WithTimeout(ctx, 15*time.Second)
		last = ready(attempt)
		cancel()
		if last == nil {
			return nil
		}
		select {
		case <-p.Done:
			return &endedError{p.name, p.Err, tail(p.logPath)}
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s to be ready: %w (last: %v)\n%s", p.name, context.Cause(ctx), last, tail(p.logPath))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// endedError: a process ended before it was ready.
type endedError struct {
	name string
	err  error
	log  string
}

func (e *endedError) Error() string {
	return fmt.Sprintf("%s ended before it was ready: %v\n%s", e.name, e.err, e.log)
}

// addressTaken says that somebody else took the port between picking it and
// binding it.
func addressTaken(err error) bool {
	ended, ok := errors.AsType[*endedError](err)
	return ok && strings.Contains(ended.log, "address already in use")
}

// tail of a log, enough to see why a program gave up.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	if len(b) > 4000 {
		b = b[len(b)-4000:]
	}
	return string(b)
}
