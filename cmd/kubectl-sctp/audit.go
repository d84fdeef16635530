package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/sctp-agent/sctp-agent/internal/audit"
	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/internal/meshview"
	"github.com/sctp-agent/sctp-agent/internal/terminal"
)

// auditCommand is the flags of audit.
type auditCommand struct {
	connect  clusterFlags
	output   outputFlags
	opts     audit.Options
	failOn   string
	intent   intentFlags
	watch    bool
	table    tableOptions
	interval time.Duration
	timeout  time.Duration
	files    []string
}

func newAuditCommand() *cobra.Command {
	var c auditCommand
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show the whole cluster: every node's verdict, and what is wrong",
		Long: `audit reads what the agents wrote on the Nodes, and which pods, Services,
NetworkPolicies and MachineConfigs have to do with SCTP. It prints a table of
the nodes, then what is wrong, the worst first, each with its evidence and fix.

It needs read-only rights. What it may not read is printed as "Not seen",
with what was not checked.

With --mesh it also asks the mesh's agents ("kubectl sctp mesh") which nodes and
paths fail. That needs the right to get pods/proxy in their namespace.

With -f it reads files in place of a cluster: must-gathers (directories or
archives), the output of "oc adm inspect", of "kubectl cluster-info dump", of
"kubectl get -o yaml" and -o json. Ages are as of the time of the dump. What the
files do not contain is printed as not seen.

Exit status: 0 nothing found (at or above --fail-on), 1 something was, 2 nothing
was found but not all could be seen, or the command failed or was misused.`,
		Example: `  kubectl sctp audit
  kubectl sctp audit -l node-role.kubernetes.io/worker --fail-on critical
  kubectl sctp audit --require node-role.kubernetes.io/worker --accept pool=ci
  kubectl sctp audit -o html > sctp.html
  kubectl sctp audit --mesh --watch
  kubectl sctp audit -f must-gather.tar.gz -f inspect.local.123/`,
		Args: cobra.ArbitraryArgs,
		RunE: c.run,
	}
	flags := cmd.Flags()
	c.connect.register(cmd)
	c.output.register(cmd, "wide", "name", "html")
	flags.StringArrayVarP(&c.files, "filename", "f", nil, `read these must-gathers or dumps ("-": standard input) instead of a cluster`)
	flags.StringVarP(&c.opts.NodeSelector, "selector", "l", "", "look at the nodes with these labels only")
	flags.StringSliceVarP(&c.opts.Namespaces, "namespace", "n", nil, "look at workloads in this namespace only; repeatable (default: all)")
	flags.BoolP("all-namespaces", "A", false, "look at workloads in all namespaces, as without -n")
	cmd.MarkFlagsMutuallyExclusive("namespace", "all-namespaces")
	flags.StringVar(&c.opts.AgentSelector, "agent-selector", audit.AgentSelector, "labels of the agent's pods")
	flags.StringVar(&c.opts.Mesh, "mesh", "", "also report what the mesh's agents in this namespace see")
	flags.Lookup("mesh").NoOptDefVal = meshview.DefaultNamespace
	c.intent.register(flags)
	flags.StringVar(&c.failOn, "fail-on", string(audit.Warning), `lowest severity that makes the exit status 1: "critical", "warning", "info" or "never"`)
	flags.BoolVar(&c.table.each, "nodes", false, fmt.Sprintf("print every node; from %d on they are otherwise grouped by cause", manyNodes))
	flags.BoolVar(&c.table.bare, "no-headers", false, "print the table of nodes without the names of its columns")
	flags.BoolVarP(&c.watch, "watch", "w", false, "repeat, and print when something has changed")
	flags.DurationVar(&c.interval, "interval", 30*time.Second, "time between two looks of --watch")
	flags.DurationVar(&c.timeout, "timeout", 2*time.Minute, "deadline of reading the cluster once")
	completeObjects(cmd, &c.connect, "namespace", func(c *cluster.Client) listing[*corev1.NamespaceList] { return c.Kube.CoreV1().Namespaces().List })
	completeValues(cmd, "fail-on", "critical", "warning", "info", "never")
	completeFiles(cmd, "filename")
	cmd.ValidArgsFunction = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
	return cmd
}

// run reads the cluster, or files in its place, and prints what it finds.
func (c *auditCommand) run(cmd *cobra.Command, args []string) error {
	if len(args) > 0 && len(c.files) == 0 {
		return fmt.Errorf("unexpected argument %q (files are read with -f)", args[0])
	}
	fail, err := severity(c.failOn)
	if err != nil {
		return err
	}
	if c.interval < time.Second || c.timeout <= 0 {
		return fmt.Errorf("--interval must be at least 1s, and --timeout more than 0")
	}
	if c.watch && c.output.Output == "html" {
		return errors.New("--watch cannot be combined with -o html")
	}
	c.table.wide = c.output.Output == "wide"
	if err := c.intent.load(cmd.Context()); err != nil {
		return err
	}
	if c.opts.Mesh != "" && len(c.files) > 0 {
		return errors.New("--mesh needs a cluster: it cannot be combined with -f")
	}
	if c.watch && len(c.files) > 0 {
		return errors.New("--watch needs a cluster: it cannot be combined with -f")
	}
	look := func(ctx context.Context) (*audit.Snapshot, error) {
		return auditFiles(ctx, cmd.InOrStdin(), cmd.ErrOrStderr(), append(c.files, args...), c.connect.prefix, c.opts) // -f takes one file; a shell's pattern makes more
	}
	if len(c.files) == 0 {
		client, keys, err := c.connect.open(cmd.Context(), cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		c.opts.Keys = keys
		look = func(ctx context.Context) (*audit.Snapshot, error) { return audit.Collect(ctx, client, c.opts) }
	}
	once := func(ctx context.Context) (r audit.Result, err error) {
		ctx, cancel := context.WithTimeout(ctx, c.timeout)
		defer cancel()
		snapshot, err := look(ctx)
		if err != nil {
			return r, err
		}
		return c.intent.examine(snapshot), nil
	}
	show := func(r audit.Result) error { return c.print(cmd.OutOrStdout(), r) }
	if c.watch {
		return watchAudit(cmd.Context(), c.interval, once, show, cmd.ErrOrStderr())
	}
	r, err := once(cmd.Context())
	if err != nil {
		return err
	}
	if err := show(r); err != nil {
		return err
	}
	return auditExit(r, fail)
}

func (c *auditCommand) print(out io.Writer, r audit.Result) error {
	if c.watch && c.output.Output == "yaml" {
		fmt.Fprintln(out, "---") // a further document; what fails, fails below
	}
	table := func(w io.Writer, p terminal.Palette) error {
		if len(c.files) > 0 {
			fmt.Fprintf(w, "As of %s, when the files were written.\n\n", r.Time.UTC().Format(time.RFC3339))
		}
		return printAudit(w, p, r, c.table)
	}
	err := c.output.Print(out, r, map[command.Output]form{
		"table": table,
		"wide":  table,
		"name":  func(w io.Writer, p terminal.Palette) error { return printNames(w, p, r) },
		"html":  func(w io.Writer, _ terminal.Palette) error { return audit.WriteHTML(w, r) },
	})
	if err != nil {
		return fmt.Errorf("print the audit: %w", err)
	}
	return nil
}

func severity(s string) (audit.Severity, error) {
	if s == "never" {
		return "", nil
	}
	if known := audit.Severity(s); known.Rank() >= 0 {
		return known, nil
	}
	return "", fmt.Errorf(`--fail-on %q: want "critical", "warning", "info" or "never"`, s)
}

// auditExit turns a result into the exit status. fail is "" for never.
func auditExit(r audit.Result, fail audit.Severity) error {
	if fail == "" {
		return nil
	}
	if worst := r.Worst(); worst != "" && worst.Rank() <= fail.Rank() {
		return command.Exit(command.ExitNo)
	}
	if slices.ContainsFunc(r.Unseen, func(u audit.Unseen) bool { return !u.Unknown }) {
		return command.Exit(command.ExitUnknown)
	}
	return nil
}

// watchAudit shows each result that differs from the one before, until the context
// ends. It continues when the API server does not answer for a while.
func watchAudit(ctx context.Context, interval time.Duration, once func(context.Context) (audit.Result, error), show func(audit.Result) error, stderr io.Writer) error {
	var last audit.Result
	shown := false
	for {
		r, err := once(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !shown:
			return err
		case err != nil:
			fmt.Fprintf(stderr, "kubectl-sctp: %v; retrying in %v\n", err, interval)
		default:
			changed := r
			changed.Time, changed.Labels = last.Time, last.Labels // no change that is shown
			if !shown || !reflect.DeepEqual(changed, last) {
				if err := show(r); err != nil {
					return err
				}
				last, shown = r, true
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(interval):
		}
	}
}
