package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sctp-agent/sctp-agent/internal/agent"
	"github.com/sctp-agent/sctp-agent/internal/assess"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

const (
	// assessName is the hidden command of the process that makes one assessment.
	assessName = "assess"
	// assessMargin is how much earlier that process ends with what it has than it is
	// given up.
	assessMargin = time.Second
	// busTimeout bounds its question to systemd.
	busTimeout = 2 * time.Second
	// hung is why that process does not end, as far as anybody can tell from here.
	hung = "most likely a file system of the host does not answer"
)

// assessment is what run asks of that process, as JSON on its standard input.
type assessment struct {
	Options   assess.Options
	SystemBus string // run's flag
	Timeout   time.Duration
}

// assessed is its answer, as JSON on its standard output.
type assessed struct {
	Report verdict.Report
	// Looked is what to watch, nil if that is not known.
	Looked *kmod.Looked
}

// assessor makes each assessment in a process of its own, this program once more. What
// an assessment takes, as much memory as the agent keeps, goes with that process, and
// so do threads that wait for a file system which does not answer.
type assessor struct {
	assessment
	looked  func(kmod.Looked)
	program string // this one
	// alone has room for one: none is started beside one that hangs in the kernel.
	alone chan struct{}
}

// assess always has a report, as [assess.Assess].
func (a *assessor) assess(ctx context.Context) verdict.Report {
	got, err := a.ask(ctx)
	if err != nil {
		return verdict.Judge(verdict.Facts{Node: a.Options.Node, InspectionError: fmt.Errorf("the process that assesses: %w", err)})
	}
	if got.Looked != nil {
		a.looked(*got.Looked)
	}
	return got.Report
}

func (a *assessor) ask(ctx context.Context) (got assessed, err error) {
	select {
	case a.alone <- struct{}{}:
	case <-ctx.Done():
		return got, fmt.Errorf("the one before has not ended: %s", hung)
	}
	cmd, out, err := a.start(ctx)
	if err != nil {
		<-a.alone
		return got, err
	}
	answered := make(chan error, 1)
	var answer assessed
	go func() {
		defer func() { <-a.alone }()
		// Not to the end of the pipe: a thread that hangs keeps it open.
		err := json.NewDecoder(out).Decode(&answer)
		if err == nil {
			answered <- nil
		}
		ended := cmd.Wait()
		if err != nil {
			answered <- cmp.Or(ended, err)
		}
	}()
	select {
	case err := <-answered:
		return answer, err
	case <-ctx.Done():
		return got, fmt.Errorf("it does not end: %s: %w", hung, ctx.Err())
	}
}

func (a *assessor) start(ctx context.Context) (*exec.Cmd, io.Reader, error) {
	task := a.assessment
	if end, ok := ctx.Deadline(); ok {
		task.Timeout = time.Until(end) - assessMargin
	}
	text, err := json.Marshal(task)
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, a.program, assessName)
	cmd.Args[0] = "sctp-agent"
	cmd.Stdin = bytes.NewReader(text)
	cmd.Stderr = os.Stderr
	// A signal to the caller's terminal does not reach it half-way.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	return cmd, out, cmd.Start()
}

// newAssessCommand is the process's side.
func newAssessCommand() *cobra.Command {
	return &cobra.Command{
		Use:    assessName,
		Short:  "Run by run: make one assessment (standard input)",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var task assessment
			if err := json.NewDecoder(cmd.InOrStdin()).Decode(&task); err != nil {
				return fmt.Errorf("read the task: %w", err)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), task.Timeout)
			defer cancel()
			if task.SystemBus != "" {
				task.Options.ModulesLoadUnit = func(ctx context.Context) string {
					ctx, cancel := context.WithTimeout(ctx, busTimeout)
					defer cancel()
					return agent.ModulesLoadUnit(ctx, task.SystemBus)
				}
			}
			var answer assessed
			task.Options.Host.Looked = func(at kmod.Looked) { answer.Looked = &at }
			answer.Report = assess.Assess(ctx, task.Options)
			return json.NewEncoder(cmd.OutOrStdout()).Encode(answer)
		},
	}
}
