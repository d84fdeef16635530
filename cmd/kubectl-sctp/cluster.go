package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sctp-agent/sctp-agent/internal/command"
	api "github.com/sctp-agent/sctp-agent/internal/kubeapi"
	"github.com/sctp-agent/sctp-agent/internal/terminal"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
)

// clusterFlags say which cluster is spoken to; audit, verify and cleanup share
// them.
type clusterFlags struct {
	access api.Access
	prefix string
}

func (f *clusterFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.access.Kubeconfig, "kubeconfig", "", "kubeconfig file (default: $KUBECONFIG, then ~/.kube/config)")
	flags.StringVar(&f.access.Context, "context", "", "context of the kubeconfig (default: its current one)")
	flags.StringVar(&f.prefix, "prefix", nodelabel.DefaultPrefix, "prefix of the agent's labels and annotations")
}

func (f *clusterFlags) open() (*api.Client, nodelabel.Keys, error) {
	keys, err := nodelabel.NewKeys(f.prefix)
	if err != nil {
		return nil, keys, fmt.Errorf("--prefix: %w", err)
	}
	cfg, err := f.access.Config()
	if err != nil {
		return nil, keys, err
	}
	client, err := api.New(cfg)
	return client, keys, err
}

// pageFlag is -o for commands whose result can also be one HTML page.
type pageFlag struct{ command.Output }

func (o *pageFlag) Register(cmd *cobra.Command) {
	o.Output = "table"
	cmd.Flags().VarP(o, "output", "o", `"table" for people, "html" for a page to keep, "json" or "yaml" for programs`)
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
