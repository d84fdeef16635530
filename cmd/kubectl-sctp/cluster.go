package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/sctp-agent/sctp-agent/internal/buildinfo"
	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/internal/terminal"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
)

// clusterFlags say which cluster is spoken to, and as whom, by kubectl's own
// flags; audit, verify and cleanup share them.
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
func (f *clusterFlags) open(warnings io.Writer) (*cluster.Client, nodelabel.Keys, error) {
	keys, err := nodelabel.NewKeys(f.prefix)
	if err != nil {
		return nil, keys, fmt.Errorf("--prefix: %w", err)
	}
	cfg, err := f.kubectl.ToRESTConfig()
	if err != nil {
		return nil, keys, fmt.Errorf("find the API server (kubeconfig %s): %w", f.kubectl.ToRawKubeConfigLoader().ConfigAccess().GetDefaultFilename(), err)
	}
	if cfg.Host == unconfigured && *f.kubectl.APIServer == "" {
		return nil, keys, fmt.Errorf("no kubeconfig names an API server (looked at %s): set KUBECONFIG, or give --kubeconfig FILE",
			f.kubectl.ToRawKubeConfigLoader().ConfigAccess().GetDefaultFilename())
	}
	client, err := cluster.Connect(cfg, "kubectl-sctp", buildinfo.Current().Version, warnings)
	return client, keys, err
}

// pageFlag is -o for commands whose result can also be one HTML page.
type pageFlag struct{ command.Output }

func (o *pageFlag) Register(cmd *cobra.Command) {
	o.Output = "table"
	cmd.Flags().VarP(o, "output", "o", `"table" for people, "html" for a page to keep, "json" or "yaml" for programs`)
	completeValues(cmd, "output", "table", "html", "json", "yaml")
}

func (o *pageFlag) Set(s string) error {
	if s == "html" {
		o.Output = "html"
		return nil
	}
	if o.Output.Set(s) != nil {
		return fmt.Errorf(`want "table", "json", "yaml" or "html"`)
	}
	return nil
}

func (o *pageFlag) Print(w io.Writer, value any, table func(io.Writer, terminal.Palette) error, page func(io.Writer) error) error {
	if o.Output == "html" {
		return page(w)
	}
	return o.Output.Print(w, value, table)
}
