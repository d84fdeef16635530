// Command sctp-agent reports whether a node can run SCTP workloads, and why not;
// see README.md.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/sctp-agent/sctp-agent/internal/buildinfo"
	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/internal/verify/peer"
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
		Short: "Show which nodes can run SCTP workloads, and why the others cannot",
		Long: `sctp-agent shows which nodes can really run SCTP (RFC 9260) workloads, and why
the others cannot.

It keeps three facts apart: what the host's configuration allows and requests
(policy), whether the module is in the kernel (state), and whether SCTP really
works (a probe with loopback sockets). It never changes the host, and never
causes the module to be loaded unless --autoload=allow is given.`,
		Example: `  sctp-agent check                     # this host: verdict, evidence, remedy
  sctp-agent check --root /host -o json
  NODE_NAME=worker-0 sctp-agent run    # keep the Node's labels true`,
		Version: buildinfo.Current().Version,
		Args:    command.NoSuchCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		newCheckCommand(), newRunCommand(), newAssessCommand(), command.NewVersion("sctp-agent"),
		newPeerCommand("verify-listen", "echo SCTP messages", peer.Listen),
		newPeerCommand("verify-dial", "try paths", peer.Dial),
		newPeerCommand("verify-client", "follow a Service", peer.Client),
	)
	for _, name := range []string{"audit", "verify", "cleanup", "machineconfig"} {
		root.AddCommand(newMovedCommand(name))
	}
	return root
}

// newMovedCommand names the program that has the command, for any arguments. People
// look for it here, as this program is on every node.
func newMovedCommand(name string) *cobra.Command {
	return &cobra.Command{
		Use:                name,
		Short:              "Is a command of kubectl-sctp",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error {
			return fmt.Errorf("%s is a command of the kubectl plugin, not of the node's program: kubectl sctp %s", name, name)
		},
	}
}
