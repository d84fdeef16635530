// Package command has what the command lines of all programs have in common:
// exit statuses, signals, usage texts, -o, and the command "version".
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sctp-agent/sctp-agent/internal/terminal"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// Exit codes.
const (
	ExitYes     = 0 // ready; all good
	ExitNo      = 1 // not ready; something is not
	ExitUnknown = 2 // not known, or the command itself failed, or was misused
)

// Exit ends the program with a code and prints nothing more: the result has
// been printed.
type Exit int

func (e Exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// Main runs a program's root command, and returns the exit code.
func Main(root *cobra.Command, args []string, stdout, stderr io.Writer) int {
	// A reader that went away must not end the process by a signal: agents and the
	// mesh continue.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second Ctrl-C ends a command that takes its time to clean up.
	context.AfterFunc(ctx, stop)

	// Errors quote what others wrote.
	stderr = terminal.Filter(stderr)
	root.SilenceUsage = true
	root.SilenceErrors = true
	root.SetUsageFunc(printUsage)
	root.SetFlagErrorFunc(unknownFlag)
	root.InitDefaultHelpCmd()
	if help, _, err := root.Find([]string{"help"}); err == nil && help != root {
		help.Args = noSuchTopic
	}
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	code, answered := errors.AsType[Exit](err)
	switch {
	case err == nil:
		return ExitYes
	case answered:
		return int(code)
	case readerGone(err):
		return ExitUnknown // the rest is not needed, as after "| head"
	default:
		fmt.Fprintf(stderr, "%s: %v\n", root.Name(), err)
		return ExitUnknown
	}
}

// readerGone reports whether what read the standard output has ended. A broken
// connection to the API server is something else.
func readerGone(err error) bool {
	pe, ok := errors.AsType[*fs.PathError](err)
	return ok && pe.Path == os.Stdout.Name() && errors.Is(pe.Err, syscall.EPIPE)
}

// Answered is the exit status of an answer: nil for yes.
func Answered(a kmod.Answer) error {
	switch a {
	case kmod.AnswerTrue:
		return nil
	case kmod.AnswerFalse:
		return Exit(ExitNo)
	default:
		return Exit(ExitUnknown)
	}
}

// KernelRelease refuses what is no release of a kernel, which is the name of a
// directory; "" means the default.
func KernelRelease(release string) error {
	if release == "." || release == ".." || strings.ContainsAny(release, "/\x00") {
		return fmt.Errorf("--kernel-release %q: want a kernel's release, as uname -r prints it", release)
	}
	return nil
}

// RuleVersions refuses versions of kmod and systemd, whose rules a command applies,
// that do not exist; 0 means the default.
func RuleVersions(kmod, systemd int) error {
	if kmod < 0 || systemd < 0 {
		return errors.New("--kmod-version and --systemd-version want a positive number")
	}
	return nil
}
