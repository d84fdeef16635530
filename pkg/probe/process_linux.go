package probe

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// answer is everything that one child wrote.
type answer struct {
	checks []result.Check
	// unusable is why its own network namespace cannot be used.
	unusable string
	// err is why the answer is incomplete: the child was killed, or too late.
	err error
}

// startChild starts the program with a task, in a new network namespace if the task
// says so. The child is killed when the context ends, in any state, and ends with
// this process. Its answer arrives once.
//
// Only the call to start it fails here, or is not waited for any longer when
// the context ends; everything after is in the answer.
func startChild(ctx context.Context, program string, t task) (<-chan answer, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	errRead, errWrite, err := os.Pipe()
	if err != nil {
		outRead.Close()
		outWrite.Close()
		return nil, err
	}
	cmd := &exec.Cmd{
		Path: program,
		Args: []string{"sctp-agent-probe", childArg},
		Env:  []string{},
		Dir:  "/",
		// A pipe holds far more than a task, so the write does not wait for the
		// child. A child that has ended gives no answer.
		Stdin:  bytes.NewReader(text),
		Stdout: outWrite,
		Stderr: errWrite,
		SysProcAttr: &syscall.SysProcAttr{
			// A group of its own, so that a signal to the caller's terminal
			// does not reach it half-way, and one kill reaches all of it.
			Setpgid:   true,
			Pdeathsig: syscall.SIGKILL,
		},
	}
	if t.Isolated {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET
	}
	// SIGKILL at the parent's death is really at the death of the thread that
	// started the child (prctl(2), PR_SET_PDEATHSIG), so that thread stays
	// until the child is gone. It is not given back to the runtime, which
	// would keep it for good.
	started := make(chan error, 1)
	exited := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := ctx.Err()
		if err == nil {
			err = cmd.Start()
		}
		closeAll(outWrite, errWrite)
		started <- err
		if err == nil {
			exited <- cmd.Wait()
		}
	}()
	select {
	case err = <-started:
	case <-ctx.Done():
		// The kernel takes its time, to make a network namespace for example,
		// or other processes are started first (syscall.ForkLock).
		err = ctx.Err()
		go func() {
			if <-started == nil {
				unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
			}
		}()
	}
	if err != nil {
		closeAll(outRead, errRead)
		return nil, err
	}
	answers := make(chan answer, 1)
	go func() {
		defer closeAll(outRead, errRead)
		kill := func() { unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
		answers <- listen(ctx, kill, outRead, errRead, exited)
	}()
	return answers, nil
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// After the deadline, or after the child's last line, nothing is waited for longer
// than twice endGrace, for its end, and wordsGrace, for its last words: 45 ms in
// all (docs/how-it-works/probe.md).
const (
	endGrace   = 20 * time.Millisecond
	wordsGrace = 5 * time.Millisecond
)

// pipe is the end of a pipe at which it is read. A deadline wakes the reader;
// closing would race with it.
type pipe interface {
	io.Reader
	SetReadDeadline(time.Time) error
}

// listen records what the child writes until it is done or the context ends, and
// waits for its end.
func listen(ctx context.Context, kill func(), out, stderr pipe, exited <-chan error) answer {
	var a answer
	lastWords := hearLastWords(stderr)
	// Wakes the reads below.
	stop := context.AfterFunc(ctx, func() { out.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	lines := json.NewDecoder(out)
	done := false
	var readErr error
	for !done && readErr == nil {
		var l line
		if readErr = lines.Decode(&l); readErr != nil {
			break
		}
		if l.Check != nil {
			a.checks = append(a.checks, *l.Check)
		}
		if l.Unusable != "" {
			a.unusable = l.Unusable
		}
		done = l.Done
	}
	if !done && readErr != io.EOF {
		// Late, or talking nonsense. A stopped process takes this signal too;
		// one that hangs in the kernel does when the kernel lets it.
		kill()
	}
	var exit error
	select {
	case exit = <-exited:
	case <-time.After(endGrace):
		kill()
		// To learn why the answer is incomplete, use the time that is left: on a
		// busy machine, this process may see the child's end only later.
		rest, cancel := context.WithCancel(ctx)
		if done {
			cancel()
		}
		exit = awaitEnd(rest, exited)
		cancel()
	}
	words := lastWords()
	switch {
	case done:
	case ctx.Err() != nil:
		a.err = fmt.Errorf("the probe process did not finish: %w", ctx.Err())
	case exit != nil:
		a.err = fmt.Errorf("the probe process ended half-way: %w%s", exit, words)
	default:
		a.err = fmt.Errorf("the probe process ended half-way%s", words)
	}
	return a
}

// awaitEnd waits for the end of a process that was killed until the context's,
// and endGrace longer.
func awaitEnd(ctx context.Context, exited <-chan error) error {
	select {
	case exit := <-exited:
		return exit
	case <-ctx.Done():
	}
	select {
	case exit := <-exited:
		return exit
	case <-time.After(endGrace):
		return errors.New("it cannot be killed: a call hangs in the kernel")
	}
}

// hearLastWords reads a process's standard error: a crash in the full suite writes
// more than a pipe holds, and would block. The returned function ends that, and
// returns the first line.
func hearLastWords(stderr pipe) func() string {
	said := make(chan string, 1)
	go func() {
		text := bufio.NewReaderSize(stderr, 512)
		line, _, _ := text.ReadLine()
		first := strings.ToValidUTF8(string(line), "?")
		io.Copy(io.Discard, text)
		said <- first
	}()
	return func() string {
		// Of a process that has ended, everything is there.
		stderr.SetReadDeadline(time.Now().Add(wordsGrace))
		first := <-said
		if first == "" {
			return ""
		}
		return ": " + first
	}
}
