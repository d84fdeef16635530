package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sctp-agent/sctp-agent/pkg/cluster/api"
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

// width is what the tables are made for: every terminal has it.
const width = 80

// wrapped prints text broken at blanks, so that it fits the width; lines after
// the first are indented by two more. What cannot be broken stays whole, to be
// copied.
func (t *textWriter) wrapped(indent int, text string) {
	line, margin := "", indent
	flush := func() {
		t.line("%s%s", strings.Repeat(" ", margin), line)
		line, margin = "", indent+2
	}
	for _, word := range strings.Fields(text) {
		if line != "" && margin+len([]rune(line))+1+len([]rune(word)) > width {
			flush()
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		flush()
	}
}

// column of a table. Those that may shrink lose the middle of long values when
// the table would be wider than the terminal.
type column struct {
	head   string
	shrink bool
}

// table prints rows under heads, at most as wide as the terminal. paint colours
// a cell that has been padded already; notes are printed below their rows.
func (t *textWriter) table(p palette, columns []column, rows [][]string, paint func(column int, cell, padded string) string, note func(row int) string) {
	widths := make([]int, len(columns))
	total := 2 * (len(columns) - 1)
	for i, c := range columns {
		widths[i] = len(c.head)
		for _, row := range rows {
			widths[i] = max(widths[i], len([]rune(row[i])))
		}
		total += widths[i]
	}
	const smallest = 8
	for total > width {
		widest := -1
		for i, c := range columns {
			if c.shrink && widths[i] > smallest && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
		total--
	}
	cells := make([]string, len(columns))
	for i, c := range columns {
		cells[i] = p.head(pad(c.head, widths[i]))
	}
	t.line("%s", strings.TrimRight(strings.Join(cells, "  "), " "))
	for r, row := range rows {
		for i, cell := range row {
			cells[i] = paint(i, cell, pad(shorten(cell, widths[i]), widths[i]))
		}
		t.line("%s", strings.TrimRight(strings.Join(cells, "  "), " "))
		if text := note(r); text != "" {
			t.wrapped(2, text)
		}
	}
}

func pad(s string, n int) string {
	return s + strings.Repeat(" ", max(0, n-len([]rune(s))))
}

// shorten takes characters out of the middle: names differ at both ends.
func shorten(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	tail := (n - 1) / 2
	head := n - 1 - tail
	return string(r[:head]) + "…" + string(r[len(r)-tail:])
}
