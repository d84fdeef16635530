package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sctp-agent/sctp-agent/internal/audit"
	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/internal/meshview"
	"github.com/sctp-agent/sctp-agent/internal/terminal"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

func newAuditCommand() *cobra.Command {
	var (
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
	)
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show the whole cluster: every node's verdict, and what is wrong",
		Long: `audit reads what the agents wrote on the Nodes, and which pods, Services,
NetworkPolicies and MachineConfigs have to do with SCTP. It prints a table of
the nodes, then what is wrong, the worst first, each with its evidence and fix.

It needs read-only rights. What it may not read is printed as "Not seen",
with what was therefore not checked.

With --mesh it also asks the mesh's agents ("kubectl sctp mesh") which nodes and
paths fail. That needs the right to get pods/proxy in their namespace.

With -f it reads files in place of a cluster: must-gathers (directories or
archives), the output of "oc adm inspect", of "kubectl get -o yaml" and -o json.
Ages are as of the time of the dump. What the files do not contain is printed as
not seen.

Exit status: 0 nothing found (at or above --fail-on), 1 something was, 2 nothing
was found but not all could be seen, or the command failed or was misused.`,
		Example: `  kubectl sctp audit
  kubectl sctp audit -l node-role.kubernetes.io/worker --fail-on critical
  kubectl sctp audit --require node-role.kubernetes.io/worker --accept pool=ci
  kubectl sctp audit -o html > sctp.html
  kubectl sctp audit --mesh --watch
  kubectl sctp audit -f must-gather.tar.gz -f inspect.local.123/`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && len(files) == 0 {
				return fmt.Errorf("unexpected argument %q (files are read with -f)", args[0])
			}
			fail, err := severity(failOn)
			if err != nil {
				return err
			}
			if interval < time.Second || timeout <= 0 {
				return fmt.Errorf("--interval wants at least 1s, and --timeout more than 0")
			}
			if watch && output.Output == "html" {
				return errors.New("--watch cannot be combined with -o html")
			}
			table.wide = output.Output == "wide"
			if err := intent.load(cmd.Context()); err != nil {
				return err
			}
			if opts.Mesh != "" && len(files) > 0 {
				return errors.New("--mesh needs a cluster: it cannot be combined with -f")
			}
			if watch && len(files) > 0 {
				return errors.New("--watch needs a cluster: it cannot be combined with -f")
			}
			look := func(ctx context.Context) (audit.Result, error) {
				return auditFiles(ctx, cmd.InOrStdin(), cmd.ErrOrStderr(), append(files, args...), connect.prefix, opts, &intent) // -f takes one file; a shell's pattern makes more
			}
			if len(files) == 0 {
				client, keys, err := connect.open(cmd.ErrOrStderr())
				if err != nil {
					return err
				}
				opts.Keys = keys
				look = func(ctx context.Context) (audit.Result, error) { return runAudit(ctx, client, opts, &intent) }
			}
			once := func(ctx context.Context) (audit.Result, error) {
				ctx, cancel := context.WithTimeout(ctx, timeout)
				defer cancel()
				return look(ctx)
			}
			out := cmd.OutOrStdout()
			show := func(r audit.Result) error {
				if watch && output.Output == "yaml" {
					fmt.Fprintln(out, "---") // a further document; what fails, fails below
				}
				print := func(w io.Writer, p terminal.Palette) error {
					if len(files) > 0 {
						fmt.Fprintf(w, "As of %s, when the files were written.\n\n", r.Time.UTC().Format(time.RFC3339))
					}
					return printAudit(w, p, r, table)
				}
				err := output.Print(out, r, map[command.Output]form{
					"table": print,
					"wide":  print,
					"name":  func(w io.Writer, p terminal.Palette) error { return printNames(w, p, r) },
					"html":  func(w io.Writer, _ terminal.Palette) error { return audit.WriteHTML(w, r) },
				})
				if err != nil {
					return fmt.Errorf("print the audit: %w", err)
				}
				return nil
			}
			if watch {
				return watchAudit(cmd.Context(), interval, once, show, cmd.ErrOrStderr())
			}
			r, err := once(cmd.Context())
			if err != nil {
				return err
			}
			if err := show(r); err != nil {
				return err
			}
			return auditExit(r, fail)
		},
	}
	flags := cmd.Flags()
	connect.register(cmd)
	output.register(cmd, "wide", "name", "html")
	flags.StringArrayVarP(&files, "filename", "f", nil, `read these must-gathers or dumps ("-": standard input) instead of a cluster`)
	flags.StringVarP(&opts.NodeSelector, "selector", "l", "", "look at the nodes with these labels only")
	flags.StringSliceVarP(&opts.Namespaces, "namespace", "n", nil, "look at workloads in this namespace only; repeatable (default: all)")
	flags.BoolP("all-namespaces", "A", false, "look at workloads in all namespaces, as without -n")
	cmd.MarkFlagsMutuallyExclusive("namespace", "all-namespaces")
	flags.StringVar(&opts.AgentSelector, "agent-selector", audit.AgentSelector, "labels of the agent's pods")
	flags.StringVar(&opts.Mesh, "mesh", "", "also report what the mesh's agents in this namespace see")
	flags.Lookup("mesh").NoOptDefVal = meshview.DefaultNamespace
	intent.register(flags)
	flags.StringVar(&failOn, "fail-on", string(audit.Warning), `lowest severity that makes the exit status 1: "critical", "warning", "info" or "never"`)
	flags.BoolVar(&table.each, "nodes", false, fmt.Sprintf("print every node; from %d on they are otherwise grouped by cause", manyNodes))
	flags.BoolVar(&table.bare, "no-headers", false, "print the table of nodes without the names of its columns")
	flags.BoolVarP(&watch, "watch", "w", false, "repeat, and print when something has changed")
	flags.DurationVar(&interval, "interval", 30*time.Second, "time between two looks of --watch")
	flags.DurationVar(&timeout, "timeout", 2*time.Minute, "deadline of reading the cluster once")
	completeObjects(cmd, &connect, "namespace", func(ctx context.Context, c *cluster.Client, each func(*corev1.Namespace)) error {
		return cluster.List(ctx, "namespaces", "", c.Kube.CoreV1().Namespaces().List, metav1.ListOptions{}, each)
	})
	completeValues(cmd, "fail-on", "critical", "warning", "info", "never")
	completeFiles(cmd, "filename")
	cmd.ValidArgsFunction = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
	return cmd
}

func severity(s string) (audit.Severity, error) {
	for _, known := range []audit.Severity{audit.Critical, audit.Warning, audit.Info} {
		if s == string(known) {
			return known, nil
		}
	}
	if s == "never" {
		return "", nil
	}
	return "", fmt.Errorf(`--fail-on %q: want "critical", "warning", "info" or "never"`, s)
}

func runAudit(ctx context.Context, client *cluster.Client, opts audit.Options, intent *intentFlags) (audit.Result, error) {
	snapshot, err := audit.Collect(ctx, client, opts)
	if err != nil {
		return audit.Result{}, err
	}
	return intent.examine(snapshot), nil
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

// watchAudit shows each result that differs from the one before, until the
// context ends. An API server that is away for a while is no reason to end.
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

// most is how many findings of one kind, or failures, are shown in full.
const most = 5

// manyNodes is from how many nodes on the table has a row per cause, not per node.
const manyNodes = 30

// tableOptions are what the table of nodes has.
type tableOptions struct {
	each bool // a row per node, however many there are
	wide bool // the same, with more columns, and nothing shortened
	bare bool // no heads
}

func printAudit(w io.Writer, p terminal.Palette, r audit.Result, o tableOptions) error {
	if o.wide {
		p = p.Unlimited()
	}
	t := p.Writer(w)
	t.Bare = o.bare
	printSummary(t, p, r.Summary)
	t.Line("")
	if o.each || o.wide || len(r.Nodes) < manyNodes {
		printNodes(t, p, r, o.wide)
	} else {
		printFleet(t, p, r.Fleet())
	}

	if len(r.Pools) > 0 {
		t.Line("")
		t.Line("%s", p.Head("Machine config pools"))
		for _, pool := range r.Pools {
			word := p.Warn("unknown")
			switch pool.Enables {
			case kmod.AnswerTrue:
				word = p.Good("enables SCTP")
			case kmod.AnswerFalse:
				word = p.Bad("does not enable SCTP")
			}
			t.Line("  %s: %s, %d of %d nodes updated", pool.Name, word, pool.Updated, pool.Nodes)
			t.Wrapped(6, pool.Message)
		}
	}

	for start := 0; start < len(r.Findings); {
		end := start
		for end < len(r.Findings) && r.Findings[end].Kind == r.Findings[start].Kind {
			end++
		}
		printFindings(t, p, r.Findings[start:end])
		start = end
	}

	if len(r.Unseen) > 0 {
		t.Line("")
		t.Line("%s", p.Warn("Not seen"))
		for _, u := range r.Unseen {
			t.Wrapped(2, u.Why)
			if len(u.NotChecked) > 0 {
				t.Wrapped(6, "therefore not checked: "+strings.Join(kindNames(u.NotChecked), ", "))
			}
		}
	}

	t.Line("")
	if n := len(r.Accepted); n > 0 {
		t.Line("Accepted by the intent: %d.", n)
	}
	if n := len(r.Known); n > 0 {
		t.Line("Known from the baseline: %d.", n)
	}
	printSummary(t, p, r.Summary)
	return t.Err
}

// printNames prints the objects that findings are about, each once, as kubectl
// does: without their namespaces.
func printNames(w io.Writer, p terminal.Palette, r audit.Result) error {
	t := p.Writer(w)
	printed := map[audit.Object]bool{}
	for _, f := range r.Findings {
		for _, o := range f.Subjects() {
			if !printed[o] && o.InAPI() {
				printed[o] = true
				t.Line("%s/%s", strings.ToLower(o.Kind), o.Name)
			}
		}
	}
	return t.Err
}

// printSummary stands first, for who reads the beginning, and last, where a long
// page leaves the cursor.
func printSummary(t *terminal.Writer, p terminal.Palette, s audit.Summary) {
	t.Line("%d nodes: %d ready, %d not ready, %d unknown", s.Nodes, s.Ready, s.NotReady, s.Unknown)
	t.Line("%s", findingsText(p, s))
}

// printNodes prints a row per node.
func printNodes(t *terminal.Writer, p terminal.Palette, r audit.Result, wide bool) {
	agentsSeen := !slices.ContainsFunc(r.Unseen, func(u audit.Unseen) bool {
		return u.Source == audit.SourcePods || u.Source == audit.SourceAgents
	})
	rows := make([][]string, len(r.Nodes))
	for i, n := range r.Nodes {
		rows[i] = []string{n.Name, terminal.OrDash(n.Pool), string(n.Ready), string(n.OnBoot), string(n.Module), age(r.Time, n.Since), agentText(n.Agent, agentsSeen)}
	}
	columns := []terminal.Column{
		{Head: "NODE", Shrink: true, Hosts: true}, {Head: "POOL", Shrink: true}, {Head: "READY"}, {Head: "ON-BOOT"}, {Head: "MODULE", Shrink: true}, {Head: "SINCE"}, {Head: "AGENT", Shrink: true},
	}
	if wide {
		columns = append(columns, terminal.Column{Head: "REASON"}, terminal.Column{Head: "AGENT-POD"})
		for i, n := range r.Nodes {
			pod := ""
			if n.Agent != nil {
				pod = n.Agent.Pod
			}
			rows[i] = append(rows[i], terminal.OrDash(string(n.Reason)), terminal.OrDash(pod))
		}
	}
	t.Table(p, columns, rows,
		func(c int, cell, padded string) string {
			switch {
			case c == 2:
				return answerColour(p, cell, padded)
			case c == 3 && cell == string(verdict.OnBootBlocked):
				return p.Bad(padded)
			case c == 6 && (cell == "none" || cell == "not ready"):
				return p.Warn(padded)
			}
			return padded
		},
		func(row int) string { return nodeNote(r.Nodes[row]) })
}

// printFleet prints a row per pool and cause.
func printFleet(t *terminal.Writer, p terminal.Palette, groups []audit.NodeGroup) {
	rows := make([][]string, len(groups))
	for i, g := range groups {
		rows[i] = []string{terminal.OrDash(g.Pool), string(g.Ready), fmt.Sprint(len(g.Nodes))}
	}
	t.Table(p, []terminal.Column{{Head: "POOL", Shrink: true}, {Head: "READY"}, {Head: "NODES"}}, rows,
		func(c int, cell, padded string) string {
			if c == 1 {
				return answerColour(p, cell, padded)
			}
			return padded
		},
		func(row int) string {
			if groups[row].Ready == kmod.AnswerTrue {
				return ""
			}
			return groups[row].Note()
		})
}

func answerColour(p terminal.Palette, cell, padded string) string {
	switch cell {
	case string(kmod.AnswerTrue):
		return p.Good(padded)
	case string(kmod.AnswerFalse):
		return p.Bad(padded)
	}
	return p.Warn(padded)
}

func findingsText(p terminal.Palette, s audit.Summary) string {
	if s.Critical+s.Warnings+s.Infos == 0 {
		return p.Good("Nothing found.")
	}
	return fmt.Sprintf("Findings: %d critical, %d warnings, %d infos.", s.Critical, s.Warnings, s.Infos)
}

// printFindings prints the findings of one kind.
func printFindings(t *terminal.Writer, p terminal.Palette, list []audit.Finding) {
	head := strings.ToUpper(string(list[0].Severity))
	switch list[0].Severity {
	case audit.Critical:
		head = p.Bad(head)
	case audit.Warning:
		head = p.Warn(head)
	}
	t.Line("")
	t.Line("%s  %s", head, p.Head(list[0].Kind.Title()))
	for i, f := range list {
		if i == most {
			t.Line("  … and %d more (-o json lists all)", len(list)-most)
			break
		}
		t.Wrapped(2, f.Subject()+": "+f.Message)
		if f.Object.Kind != "Node" && len(f.Members) > 0 {
			t.Wrapped(6, "pods: "+listed(f.Members))
		}
		for _, e := range f.Evidence {
			t.Wrapped(6, e)
		}
		// The same fix is said once, behind the last it is for.
		if next := i + 1; next >= len(list) || next == most || list[next].Fix != f.Fix {
			t.Wrapped(4, "→ "+f.Fix)
		}
	}
}

// listed is the first few of many names.
func listed(names []string) string {
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

func kindNames(kinds []audit.Kind) []string {
	out := make([]string, len(kinds))
	for i, k := range kinds {
		out[i] = string(k)
	}
	return out
}

// nodeNote says why a node is not ready, below its row.
func nodeNote(n audit.NodeRow) string {
	if n.Ready == kmod.AnswerTrue && n.Reason == verdict.ReasonProbePassed {
		return ""
	}
	text := strings.TrimSuffix(string(n.Reason)+": "+n.Message, ": ")
	if n.Reason == "" {
		text = n.Message
	}
	// Two lines at most: the finding, or -o json, has all of it.
	if r := []rune(text); len(r) > 2*terminal.Width-12 {
		text = string(r[:2*terminal.Width-13]) + "…"
	}
	return text
}

func agentText(a *audit.AgentRow, agentsSeen bool) string {
	switch {
	case a == nil && !agentsSeen:
		return "?"
	case a == nil:
		return "none"
	case !a.Ready:
		return "not ready"
	default:
		return a.Version
	}
}

// age is how long ago something was, in the largest unit that fits.
func age(now time.Time, since *time.Time) string {
	if since == nil {
		return "-"
	}
	d := max(0, now.Sub(*since))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
}
