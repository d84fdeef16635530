package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/sctp-agent/sctp-agent/internal/buildinfo"
	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
)

// clusterFlags are kubectl's own flags for the cluster and the credentials; audit,
// verify and cleanup share them.
type clusterFlags struct {
	kubectl *genericclioptions.ConfigFlags
	prefix  string
}

func (f *clusterFlags) register(cmd *cobra.Command) {
	// Without user name and password, which no API server has taken since
	// Kubernetes 1.19: they make client-go ask a terminal for them.
	f.kubectl = genericclioptions.NewConfigFlags(true)
	*f.kubectl.Timeout = cluster.RequestTimeout.String()
	// Nodes are in no namespace; a command that looks into some has its own flag.
	f.kubectl.Namespace = nil
	f.kubectl.CacheDir = nil // nothing is cached
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.kubectl.AddFlags(flags)
	command.AddConnectionFlags(cmd, flags)
	f.complete(cmd)
	cmd.Flags().StringVar(&f.prefix, "prefix", nodelabel.DefaultPrefix, "prefix of the agent's labels and annotations")
}

// unconfigured is client-go's server where nothing names one (clientcmd,
// getDefaultServer).
const unconfigured = "http://localhost:8080"

// open sends nothing yet. Warnings of the API server go to this writer.
func (f *clusterFlags) open(ctx context.Context, warnings io.Writer) (*cluster.Client, nodelabel.Keys, error) {
	keys, err := nodelabel.NewKeys(f.prefix)
	if err != nil {
		return nil, keys, fmt.Errorf("--prefix: %w", err)
	}
	file := f.kubectl.ToRawKubeConfigLoader().ConfigAccess().GetDefaultFilename()
	cfg, err := until(ctx, file, f.kubectl.ToRESTConfig)
	if err != nil {
		return nil, keys, fmt.Errorf("find the API server (kubeconfig %s): %w", file, err)
	}
	if cfg.Host == unconfigured && *f.kubectl.APIServer == "" {
		return nil, keys, fmt.Errorf("no API server is configured (kubeconfig %s): give --context NAME or --kubeconfig FILE, or set KUBECONFIG", file)
	}
	client, err := cluster.Connect(cfg, "kubectl-sctp", buildinfo.Current().Version, warnings)
	return client, keys, err
}

// noArguments refuses arguments, and names what is meant instead.
func noArguments(instead string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("unexpected argument %q (%s)", args[0], instead)
		}
		return nil
	}
}
