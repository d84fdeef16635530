// Command kubectl-sctp is a kubectl plugin that reports, tests and enables SCTP in
// a Kubernetes cluster. kubectl runs it as "kubectl sctp".
package main

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sctp-agent/sctp-agent/internal/buildinfo"
	"github.com/sctp-agent/sctp-agent/internal/command"
)

func main() {
	// 5,000 nodes and 20,000 findings from files take 130 MB, and 165 MB with Go's
	// default of 100.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	args := os.Args[1:]
	// kubectl runs a program of this name for shell completion.
	if strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe") == "kubectl_complete-sctp" {
		args = append([]string{cobra.ShellCompRequestCmd}, args...)
	}
	os.Exit(command.Main(newRootCommand(), args, os.Stdout, os.Stderr))
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "kubectl-sctp",
		Short: "Show which nodes can run SCTP workloads, and what is wrong in the cluster",
		Long: `kubectl sctp shows which nodes of a cluster can really run SCTP (RFC 9260)
workloads, why the others cannot, and what is wrong with the workloads that use
it. The verdicts of nodes are those of sctp-agent, a DaemonSet.`,
		Example: `  kubectl sctp audit                  # every node, and what is wrong
  kubectl sctp verify                 # prove SCTP between pods
  kubectl sctp mesh                   # where it fails between nodes, now
  kubectl sctp host sosreport.tar.xz  # one host, by its files
  kubectl sctp machineconfig | oc apply -f -`,
		Version:     buildinfo.Current().Version,
		Args:        command.NoSuchCommand,
		RunE:        func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl sctp"},
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.AddCommand(
		newAuditCommand(), newVerifyCommand(), newMeshCommand(), newMachineConfigCommand(), newHostCommand(), newCleanupCommand(),
		command.NewVersion("kubectl-sctp"),
	)
	return root
}
