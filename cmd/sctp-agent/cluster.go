package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	api "github.com/sctp-agent/sctp-agent/internal/kubeapi"
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
type pageFlag struct{ outputFlag }

func (o *pageFlag) register(cmd *cobra.Command) {
	o.outputFlag = "table"
	cmd.Flags().VarP(o, "output", "o", `"table" for people, "html" for a page to keep, "json" or "yaml" for programs`)
}

func (o *pageFlag) Set(s string) error {
	if s == "html" {
		o.outputFlag = "html"
		return nil
	}
	if o.outputFlag.Set(s) != nil {
		return fmt.Errorf(`want "table", "json", "yaml" or "html"`)
	}
	return nil
}

func (o *pageFlag) print(w io.Writer, value any, table func(io.Writer, palette) error, page func(io.Writer) error) error {
	if o.outputFlag == "html" {
		return page(w)
	}
	return o.outputFlag.print(w, value, table)
}
