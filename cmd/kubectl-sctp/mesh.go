package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/internal/meshview"
	"github.com/sctp-agent/sctp-agent/internal/terminal"
)

func newMeshCommand() *cobra.Command {
	var (
		connect clusterFlags
		output  outputFlags
		opts    meshview.Options
		timeout time.Duration
		each    bool
		quiet   bool
	)
	cmd := &cobra.Command{
		Use:   "mesh",
		Short: "Show between which nodes SCTP fails, as the mesh's agents see it",
		Long: `mesh asks each agent of the mesh which of its peers fail, and combines the
answers: a finding is a node that most of those that probe it do not reach, a
path between two nodes, or all paths from one zone to another. Each has the time
since when it fails, whether TCP fails, too, and what to try next.

The mesh is an optional DaemonSet (docs/mesh.md). Its agents are asked through
the API server: this needs the rights to list pods and to get pods/proxy in
their namespace (the Role sctp-mesh-reader), and no route to any node. Agents
that do not answer are printed as not seen.

Exit status: 0 nothing fails, 1 something does, 2 unknown: not all agents were
seen or have concluded, or the command failed or was misused.`,
		Example: `  kubectl sctp mesh
  kubectl sctp mesh -o html > mesh.html
  kubectl sctp audit --mesh`,
		Args: noArguments("the namespace of the mesh is given with -n"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if timeout <= 0 || opts.Timeout <= 0 {
				return errors.New("--timeout and --agent-timeout must be more than 0")
			}
			client, keys, err := connect.open(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			opts.Progress = progress(cmd.ErrOrStderr(), quiet)
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), timeout, fmt.Errorf("not done within %v", timeout))
			defer cancel()
			r, err := meshview.Collect(ctx, client.Kube, opts)
			if err != nil {
				return err
			}
			for i := range r.Findings {
				r.Findings[i].Fix = cluster.ForPrefix(keys, r.Findings[i].Fix)
			}
			err = output.Print(cmd.OutOrStdout(), r, map[command.Output]form{
				"table": func(w io.Writer, p terminal.Palette) error { return printMesh(w, p, r, each) },
				"html":  func(w io.Writer, _ terminal.Palette) error { return meshview.WriteHTML(w, r) },
			})
			if err != nil {
				return fmt.Errorf("print the mesh: %w", err)
			}
			return command.Answered(r.Verdict())
		},
	}
	connect.register(cmd)
	output.register(cmd, "html")
	flags := cmd.Flags()
	flags.StringVarP(&opts.Namespace, "namespace", "n", meshview.DefaultNamespace, "namespace of the mesh")
	flags.BoolVar(&each, "all", false, fmt.Sprintf("print every finding; otherwise %d of a kind", most))
	flags.DurationVar(&timeout, "timeout", 2*time.Minute, "deadline of the whole")
	flags.DurationVar(&opts.Timeout, "agent-timeout", meshview.DefaultTimeout, "deadline of one agent's answer")
	flags.BoolVarP(&quiet, "quiet", "q", false, "suppress progress output")
	completeObjects(cmd, &connect, "namespace", func(c *cluster.Client) listing[*corev1.NamespaceList] { return c.Kube.CoreV1().Namespaces().List })
	return cmd
}

// printMesh prints the conclusions, and what there is between zones.
func printMesh(w io.Writer, p terminal.Palette, r *meshview.Result, each bool) error {
	t := p.Writer(w)
	printMeshSummary(t, r)
	var kinds cluster.Groups[meshview.Kind, meshview.Finding]
	for _, f := range r.Findings {
		kinds.Add(f.Kind, f)
	}
	for _, list := range kinds.All() {
		printMeshFindings(t, r.Time, list, each)
	}
	printZones(t, r.Zones)
	if len(r.Unseen) > 0 {
		t.Line("")
		t.Line("%s", p.Warn("Not seen"))
		for i, u := range r.Unseen {
			if i == most && !each {
				t.Line("  … and %d more (--all prints them)", len(r.Unseen)-most)
				break
			}
			t.Wrapped(2, u.Node+": "+u.Why)
		}
	}
	t.Line("")
	printMeshSummary(t, r)
	return t.Err
}

func printMeshSummary(t *terminal.Writer, r *meshview.Result) {
	s := r.Summary
	t.Line("%s, %d seen; %d pairs are probed: %d work, %d fail, %d unknown", cluster.Count(s.Nodes, "node"), s.Seen, s.Pairs, s.OK, s.Failed, s.Unknown)
	kinds := map[meshview.Kind]int{}
	for _, f := range r.Findings {
		kinds[f.Kind]++
	}
	fails := fmt.Sprintf("SCTP fails; nodes: %d, paths: %d", kinds[meshview.NodeUnreachableBySCTP], kinds[meshview.PathBroken])
	t.Line("%s", t.Answer(r.Verdict(), "SCTP works on every pair", fails, "No failure is known"))
}

// printMeshFindings prints the findings of one kind.
func printMeshFindings(t *terminal.Writer, now time.Time, list []meshview.Finding, each bool) {
	t.Line("")
	t.Line("%s", t.Bad(string(list[0].Kind)))
	for i, f := range list {
		if i == most && !each {
			t.Line("  … and %d more (--all prints them)", len(list)-most)
			break
		}
		since := ""
		if !f.Since.IsZero() {
			since = "; for " + age(now, &f.Since)
		}
		t.Wrapped(2, f.Subject()+": "+f.Message+since)
		for _, e := range f.Evidence {
			t.Wrapped(6, e)
		}
		// The same fix is printed once, after the last it is for.
		if next := i + 1; next >= len(list) || next == most && !each || list[next].Fix != f.Fix {
			t.Wrapped(4, "→ "+f.Fix)
		}
	}
}

// manyZones is from how many pairs of zones on those without failures are left
// out.
const manyZones = 30

// printZones prints a row for each pair of zones.
func printZones(t *terminal.Writer, zones []meshview.ZonePair) {
	var rows [][]string
	for _, z := range zones {
		if len(zones) < manyZones || z.Failed > 0 {
			trip := "-"
			if z.RTT > 0 {
				trip = rtt(int64(z.RTT * 1e6))
			}
			rows = append(rows, []string{terminal.OrDash(z.From), terminal.OrDash(z.To), fmt.Sprint(z.Pairs), fmt.Sprint(z.Failed), trip})
		}
	}
	if len(zones) < 2 || len(rows) == 0 {
		return
	}
	t.Line("")
	t.Table([]terminal.Column{{Head: "FROM ZONE", Shrink: true}, {Head: "TO ZONE", Shrink: true}, {Head: "PAIRS"}, {Head: "FAIL"}, {Head: "MEDIAN RTT"}}, rows,
		func(column int, cell, padded string) string {
			if column == 3 && cell != "0" {
				return t.Bad(padded)
			}
			return padded
		},
		func(int) string { return "" })
	if left := len(zones) - len(rows); left > 0 {
		t.Line("… and %d pairs of zones without failures", left)
	}
}
