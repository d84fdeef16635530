package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/audit"
	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/internal/terminal"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

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
	printSummary(t, r.Summary)
	t.Line("")
	if o.each || o.wide || len(r.Nodes) < manyNodes {
		printNodes(t, r, o.wide)
	} else {
		printFleet(t, r.Fleet())
	}

	if len(r.Pools) > 0 {
		t.Line("")
		t.Line("%s", p.Head("Machine config pools"))
		for _, pool := range r.Pools {
			word := p.Answer(pool.Enables, "enables SCTP", "does not enable SCTP", "unknown")
			t.Line("  %s: %s, %d of %s updated", pool.Name, word, pool.Updated, cluster.Count(pool.Nodes, "node"))
			t.Wrapped(6, pool.Message)
		}
	}

	var kinds cluster.Groups[audit.Kind, audit.Finding]
	for _, f := range r.Findings {
		kinds.Add(f.Kind, f)
	}
	for _, list := range kinds.All() {
		printFindings(t, list)
	}

	if len(r.Unseen) > 0 {
		t.Line("")
		t.Line("%s", p.Warn("Not seen"))
		for _, u := range r.Unseen {
			t.Wrapped(2, u.Why)
			if len(u.NotChecked) > 0 {
				t.Wrapped(6, "therefore not checked: "+strings.Join(texts(u.NotChecked), ", "))
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
	printSummary(t, r.Summary)
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

// printSummary is printed first, for those who read the beginning, and last, where
// a long output leaves the cursor.
func printSummary(t *terminal.Writer, s audit.Summary) {
	t.Line("%s: %d ready, %d not ready, %d unknown", cluster.Count(s.Nodes, "node"), s.Ready, s.NotReady, s.Unknown)
	if s.Critical+s.Warnings+s.Infos == 0 {
		t.Line("%s", t.Good("Nothing found."))
	} else {
		t.Line("Findings: %d critical, %d warnings, %d infos.", s.Critical, s.Warnings, s.Infos)
	}
	if s.Undecoded > 0 {
		t.Line("%s", t.Warn(fmt.Sprintf("Not decoded, and so not judged: %d (see \"Not seen\").", s.Undecoded)))
	}
}

// printNodes prints a row per node.
func printNodes(t *terminal.Writer, r audit.Result, wide bool) {
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
	t.Table(columns, rows,
		func(c int, cell, padded string) string {
			switch {
			case c == 2:
				return t.Answer(kmod.Answer(cell), padded, padded, padded)
			case c == 3 && cell == string(verdict.OnBootBlocked):
				return t.Bad(padded)
			case c == 6 && (cell == "none" || cell == "not ready"):
				return t.Warn(padded)
			}
			return padded
		},
		func(row int) string { return nodeNote(r.Nodes[row]) })
}

// printFleet prints a row per pool and cause.
func printFleet(t *terminal.Writer, groups []audit.NodeGroup) {
	rows := make([][]string, len(groups))
	for i, g := range groups {
		rows[i] = []string{terminal.OrDash(g.Pool), string(g.Ready), fmt.Sprint(len(g.Nodes))}
	}
	t.Table([]terminal.Column{{Head: "POOL", Shrink: true}, {Head: "READY"}, {Head: "NODES"}}, rows,
		func(c int, cell, padded string) string {
			if c == 1 {
				return t.Answer(kmod.Answer(cell), padded, padded, padded)
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

// printFindings prints the findings of one kind.
func printFindings(t *terminal.Writer, list []audit.Finding) {
	head := strings.ToUpper(string(list[0].Severity))
	switch list[0].Severity {
	case audit.Critical:
		head = t.Bad(head)
	case audit.Warning:
		head = t.Warn(head)
	}
	t.Line("")
	t.Line("%s  %s", head, t.Head(list[0].Kind.Title()))
	for i, f := range list {
		if i == most {
			t.Line("  … and %d more (-o json lists all)", len(list)-most)
			break
		}
		t.Wrapped(2, f.Subject()+": "+f.Message)
		if f.Object.Kind != "Node" && len(f.Members) > 0 {
			t.Wrapped(6, "pods: "+cluster.FirstNames(f.Members, most))
		}
		for _, e := range f.Evidence {
			t.Wrapped(6, e)
		}
		// The same fix is printed once, after the last finding that it is for.
		if next := i + 1; next >= len(list) || next == most || list[next].Fix != f.Fix {
			t.Wrapped(4, "→ "+f.Fix)
		}
	}
}

// nodeNote is why a node is not ready, printed below its row.
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
