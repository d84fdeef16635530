// Command kubectl-sctp shows, proves and repairs SCTP in a Kubernetes cluster
// from the administrator's desk; kubectl runs it as "kubectl sctp".
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/sctp-agent/sctp-agent/internal/command"
)

func main() {
	os.Exit(command.Main(newRootCommand(), os.Args[1:], os.Stdout, os.Stderr))
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "kubectl-sctp",
		Short: "Show which nodes can run SCTP workloads, and what is wrong in the cluster",
		Long: `kubectl sctp shows which nodes of a cluster can really run SCTP (RFC 9260)
workloads, why the others cannot, and what is wrong with the workloads that use
it. The nodes' part is what sctp-agent, a DaemonSet, writes on the Nodes.`,
		Example: `  kubectl sctp audit                  # every node, and what is wrong
  kubectl sctp verify                 # prove SCTP between pods
  kubectl sctp machineconfig | oc apply -f -`,
		Args:        cobra.NoArgs,
		RunE:        func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl sctp"},
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		newAuditCommand(), newVerifyCommand(), newMachineConfigCommand(), newCleanupCommand(),
		command.NewVersion("kubectl-sctp"),
	)
	return root
}
