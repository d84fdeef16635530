// Package cluster tests the administrator's commands, as programs, against a
// real API server and real nodes.
package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sctp-agent/sctp-agent/test/controlplane"
	"github.com/sctp-agent/sctp-agent/test/schemas"
)

// controlPlane starts a control plane for one test.
func controlPlane(t *testing.T, opts controlplane.Options) *controlplane.ControlPlane {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute) // it may have to be built
	defer cancel()
	opts.Progress = func(p controlplane.Progress) { t.Log(p) }
	cp, err := controlplane.Start(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cp.Stop)
	return cp
}

// clientFor makes a typed client that does not pace itself.
func clientFor(t *testing.T, cfg *rest.Config) kubernetes.Interface {
	t.Helper()
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1
	c, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// program builds one of the programs, "kubectl-sctp" or "sctp-agent", as it is
// released.
func program(t *testing.T, name string) string {
	t.Helper()
	return buildProgram(t, "../..", "./cmd/"+name)
}

// buildProgram builds a package by its path in the module at dir.
func buildProgram(t *testing.T, dir, pkg string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(pkg))
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, pkg)
	build.Dir = dir
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// kubeconfig writes a kubeconfig for a user.
func kubeconfig(t *testing.T, cp *controlplane.ControlPlane, user string, groups ...string) string {
	t.Helper()
	cfg, err := cp.ClientConfig(user, groups...)
	if err != nil {
		t.Fatal(err)
	}
	text, err := controlplane.Kubeconfig(cfg, cp.URL())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// ran is what a run of the program gave.
type ran struct {
	stdout, stderr string
	code           int
	elapsed        time.Duration
	peakKiB        int64
}

// run runs the program to its end.
func run(t *testing.T, path string, args ...string) ran {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	peak := make(chan int64)
	ended := make(chan struct{})
	go func() { peak <- peakMemory(cmd.Process.Pid, ended) }()
	err := cmd.Wait()
	close(ended)
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	r := ran{stdout: stdout.String(), stderr: stderr.String(), code: cmd.ProcessState.ExitCode(), elapsed: time.Since(start), peakKiB: <-peak}
	// kubectl's own output has kubectl's schema.
	ours := filepath.Base(path) != "kubectl" || args[0] == "sctp"
	if ours && strings.Contains(strings.Join(args, " "), "-o json") && json.Valid(stdout.Bytes()) {
		if err := schemas.Validate("../..", stdout.Bytes()); err != nil {
			t.Errorf("%q does not fit its schema: %v", args, err)
		}
	}
	return r
}

// peakMemory of a process until it ends, in KiB, as it was a moment before
// (VmHWM of proc_pid_status(5); getrusage(2) tells that of its parent, too, whose
// memory it has until it calls execve(2)).
func peakMemory(pid int, ended <-chan struct{}) (peak int64) {
	for {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if _, rest, found := strings.Cut(string(text), "VmHWM:"); found {
			_, _ = fmt.Sscan(rest, &peak)
		}
		select {
		case <-ended:
			return peak
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// fits fails for lines that a terminal of 80 columns breaks, and for colour.
func fits(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if n := len([]rune(line)); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
		if strings.ContainsRune(line, '\x1b') {
			t.Errorf("an escape sequence in a pipe: %q", line)
		}
	}
}

// interrupt is what Ctrl-C sends.
const interrupt = syscall.SIGINT

// onTerminal runs the program on a terminal, at which somebody types, and
// returns what that shows and the exit status.
func onTerminal(t *testing.T, typed, path string, args ...string) (screen string, code int) {
	t.Helper()
	// pty(7): the new terminal's other side is /dev/pts/N.
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	cmd.Env = append(os.Environ(), "TERM=xterm")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	terminal.Close()
	if _, err := master.WriteString(typed); err != nil {
		t.Fatal(err)
	}
	shown, _ := io.ReadAll(master) // EIO when nobody has the other side any more
	err = cmd.Wait()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(shown), "\r\n", "\n"), cmd.ProcessState.ExitCode()
}
