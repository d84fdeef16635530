// Package programtest runs the programs of this module as processes in their tests,
// and checks their output for characters that no terminal should get.
package programtest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/internal/terminal"
)

// Program is a program under test, built once: exit codes, signals and closed
// pipes are those of a process.
type Program struct{ Path string }

// Main builds the program of the current directory, runs the tests, and returns
// their exit code.
func (p *Program) Main(m *testing.M, name string) int {
	dir, err := os.MkdirTemp("", name)
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	p.Path = filepath.Join(dir, name)
	build := exec.Command("go", "build", "-buildvcs=false", "-o", p.Path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(string(out))
	}
	return m.Run()
}

// Outcome is the result of a run.
type Outcome struct {
	Stdout, Stderr string
	Code           int
	// CPU is the processor time it took.
	CPU time.Duration
}

// Run runs the program; no run may crash or take long. edit, if not nil, changes
// the process before it starts.
func (p *Program) Run(t *testing.T, edit func(*exec.Cmd), args ...string) Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.Path, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if edit != nil {
		edit(cmd)
	}
	err := cmd.Run()
	o := Outcome{Stdout: stdout.String(), Stderr: stderr.String()}
	if cmd.ProcessState != nil {
		o.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		o.Code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(o.Stderr, "goroutine ") || strings.Contains(o.Stderr, "panic") {
		t.Errorf("a stack trace:\n%s", o.Stderr)
	}
	if o.Code < 0 {
		t.Errorf("%q died by a signal:\n%s", args, o.Stderr)
	}
	return o
}

// ReaderGone tests that a command fails if its result could not be delivered:
// without a message where its reader went away, with one where the disk is full.
func (p *Program) ReaderGone(t *testing.T, args ...string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	o := p.Run(t, func(c *exec.Cmd) { c.Stdout = w }, args...)
	w.Close()
	if o.Code != command.ExitUnknown || o.Stderr != "" {
		t.Errorf("%q into a closed pipe: exit %d, %q", args, o.Code, o.Stderr)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	o = p.Run(t, func(c *exec.Cmd) { c.Stdout = full }, args...)
	full.Close()
	if o.Code != command.ExitUnknown || !strings.Contains(o.Stderr, "no space left") {
		t.Errorf("%q onto a full disk: exit %d, %q", args, o.Code, o.Stderr)
	}
}

// Fits fails for lines that a terminal of 80 columns breaks, and for colour. A
// single word to be copied may be longer, and so may the line of a file, which
// begins with the file's path; see [terminal.Width].
func Fits(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		words := strings.Fields(line)
		if terminal.Columns(line) > terminal.Width && len(words) > 1 && !strings.HasPrefix(words[0], "/") {
			t.Errorf("%d columns: %s", terminal.Columns(line), line)
		}
		if strings.ContainsRune(line, '\x1b') {
			t.Errorf("an escape sequence in a pipe: %q", line)
		}
	}
}

// HelpFits tests that the help of every command of the program fits into the width,
// and has what cobra's own has. It returns how many commands there are.
func (p *Program) HelpFits(t *testing.T, root *cobra.Command) (seen int) {
	t.Helper()
	var visit func(*cobra.Command, []string)
	visit = func(cmd *cobra.Command, args []string) {
		for _, sub := range cmd.Commands() {
			if sub.DisableFlagParsing {
				continue // it has no help: --help is an argument of another program's
			}
			visit(sub, append(args[:len(args):len(args)], sub.Name()))
		}
		seen++
		t.Run(strings.Join(append([]string{"help"}, args...), " "), func(t *testing.T) {
			o := p.Run(t, func(c *exec.Cmd) { c.Env = []string{"HOME=/root"} }, append(args, "--help")...)
			if o.Code != 0 || o.Stderr != "" {
				t.Errorf("exit %d, %s", o.Code, o.Stderr)
			}
			Fits(t, o.Stdout)
			for _, flag := range strings.Fields(cmd.LocalFlags().FlagUsages()) {
				if strings.HasPrefix(flag, "--") && !strings.Contains(o.Stdout, flag) {
					t.Errorf("it does not name %s", flag)
				}
			}
			for _, sub := range cmd.Commands() {
				if sub.IsAvailableCommand() && !strings.Contains(o.Stdout, "\n  "+sub.Name()+" ") {
					t.Errorf("it does not name %s", sub.Name())
				}
			}
			if !strings.Contains(o.Stdout, "\nUsage:\n  "+cmd.CommandPath()) || !strings.Contains(o.Stdout, cmd.Example) {
				t.Errorf("no usage, or no examples:\n%s", o.Stdout)
			}
		})
	}
	visit(root, nil)
	return seen
}
