// Command sctp-agent tells whether a node can really run SCTP workloads, and
// why not; see README.md.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/pkg/probe"
)

func main() {
	if probe.ChildMain(os.Args) {
		return
	}
	os.Exit(command.Main(newRootCommand(), os.Args[1:], os.Stdout, os.Stderr))
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
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		newCheckCommand(), newRunCommand(), command.NewVersion("sctp-agent"),
		newVerifyListenCommand(), newVerifyDialCommand(),
	)
	return root
}
