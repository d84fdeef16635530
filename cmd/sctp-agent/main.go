// Command sctp-agent tells whether a node can really run SCTP workloads, and
// why not; see README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sctp-agent/sctp-agent/pkg/probe"
)

// Exit codes of check, audit and verify.
const (
	exitYes     = 0 // ready; all good
	exitNo      = 1 // not ready; something is not
	exitUnknown = 2 // could not tell, the command itself failed, or was misused
)

// exitError ends the program with a code and without a further word: the
// result has been printed.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func main() {
	if probe.ChildMain(os.Args) {
		return
	}
	os.Exit(realMain(os.Args[1:], os.Stdout, os.Stderr))
}

func realMain(args []string, stdout, stderr io.Writer) int {
	// A reader that went away is an error to report, not a death by signal.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second Ctrl-C ends a command that takes its time to clean up.
	context.AfterFunc(ctx, stop)

	cmd := newRootCommand()
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(ctx)
	var code exitError
	switch {
	case err == nil:
		return exitYes
	case errors.As(err, &code):
		return int(code)
	default:
		fmt.Fprintf(stderr, "sctp-agent: %v\n", err)
		return exitUnknown
	}
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "sctp-agent",
		Short: "Tell which nodes can really run SCTP workloads, and why the others cannot",
		Long: `sctp-agent tells which nodes can really run SCTP (RFC 9260) workloads, and why
the others cannot.

It keeps three facts apart: what the host's configuration allows and requests
(policy), whether the module is in the kernel (state), and whether SCTP really
works (a probe with loopback sockets). It never changes the host, and never
causes the module to be loaded unless told to.`,
		Example: `  sctp-agent check                     # this host: verdict, evidence, remedy
  sctp-agent check --root /host -o json
  NODE_NAME=worker-0 sctp-agent run    # keep the Node's labels true`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	if filepath.Base(os.Args[0]) == "kubectl-sctp" {
		// kubectl runs plugins by this name.
		root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl sctp"}
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetUsageFunc(printUsage)
	root.AddCommand(
		newCheckCommand(), newRunCommand(),
		newAuditCommand(), newVerifyCommand(), newMachineConfigCommand(), newCleanupCommand(),
		newVersionCommand(),
		newVerifyListenCommand(), newVerifyDialCommand(),
	)
	return root
}
