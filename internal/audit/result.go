package audit

import (
	"cmp"
	"time"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// The result's type, as its JSON names it.
const (
	APIVersion = verdict.APIVersion
	ResultKind = "Audit"
)

// Result of an audit. Its JSON is public API.
type Result struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Time       time.Time `json:"time"`
	Summary    Summary   `json:"summary"`
	Nodes      []NodeRow `json:"nodes"`
	Pools      []PoolRow `json:"pools"`
	Findings   []Finding `json:"findings"`
	// Accepted are findings that the intent accepts, Known those that the
	// baseline has. Neither counts.
	Accepted []Finding `json:"accepted,omitempty"`
	Known    []Finding `json:"known,omitempty"`
	// Unseen is what could not be looked at.
	Unseen []Unseen `json:"unseen"`
	// Labels are those of the nodes, for the page, which groups nodes by them.
	Labels []map[string]string `json:"-"`
}

// Summary counts nodes by what is known of SCTP on them, and findings by
// severity.
type Summary struct {
	Nodes    int `json:"nodes"`
	Ready    int `json:"ready"`
	NotReady int `json:"notReady"`
	Unknown  int `json:"unknown"`
	Critical int `json:"critical"`
	Warnings int `json:"warnings"`
	Infos    int `json:"infos"`
	// Undecoded counts what is in the files and could not be decoded, and so is
	// not judged.
	Undecoded int `json:"undecoded,omitempty"`
}

// NodeRow is one node of the table.
type NodeRow struct {
	Name   string         `json:"name"`
	Pool   string         `json:"pool"`
	Ready  kmod.Answer    `json:"ready"`
	OnBoot verdict.OnBoot `json:"onBoot"`
	Module kmod.State     `json:"module"`
	Reason verdict.Reason `json:"reason"`
	// Message is one sentence for people.
	Message string `json:"message"`
	// Since is when ready or reason last changed; null when not known.
	Since *time.Time `json:"since"`
	// Agent is null when no agent's pod was seen on the node.
	Agent *AgentRow `json:"agent"`
}

// AgentRow is the agent on one node.
type AgentRow struct {
	Pod     string `json:"pod"`
	Version string `json:"version"`
	Ready   bool   `json:"ready"`
}

// PoolRow is one machine config pool.
type PoolRow struct {
	Name string `json:"name"`
	// Enables: whether the pool's target loads sctp at boot.
	Enables kmod.Answer `json:"enables"`
	Message string      `json:"message"`
	Updated int         `json:"updated"`
	Nodes   int         `json:"nodes"`
}

// Examine judges a snapshot. The same snapshot gives the same result.
func Examine(s *Snapshot) Result {
	r := Result{
		APIVersion: APIVersion, Kind: ResultKind, Time: s.Time.UTC().Truncate(time.Second),
		Nodes: make([]NodeRow, 0, len(s.Nodes)), Pools: []PoolRow{},
	}
	for i := range s.Nodes {
		row := s.Nodes[i].row()
		r.Nodes = append(r.Nodes, row)
		r.Labels = append(r.Labels, s.Nodes[i].Labels)
		r.Summary.Nodes++
		switch row.Ready {
		case kmod.AnswerTrue:
			r.Summary.Ready++
		case kmod.AnswerFalse:
			r.Summary.NotReady++
		default:
			r.Summary.Unknown++
		}
	}
	for _, p := range s.Pools {
		row := PoolRow{Name: p.Name, Enables: kmod.AnswerUnknown, Updated: p.Updated, Nodes: p.Machines}
		if e := p.Target.Effect; e != nil {
			row.Enables, row.Message = e.Enabled, e.Why()
		}
		r.Pools = append(r.Pools, row)
	}
	r.Findings, r.Unseen = examine(s)
	for _, u := range r.Unseen {
		r.Summary.Undecoded += u.Objects
	}
	r.count()
	return r
}

// count counts the findings.
func (r *Result) count() {
	s := &r.Summary
	s.Critical, s.Warnings, s.Infos = 0, 0, 0
	for _, f := range r.Findings {
		switch f.Severity {
		case Critical:
			s.Critical++
		case Warning:
			s.Warnings++
		default:
			s.Infos++
		}
	}
}

func (n *Node) row() NodeRow {
	row := NodeRow{
		Name: n.Name, Pool: n.Pool, Ready: n.SCTP(),
		OnBoot: cmp.Or(verdict.OnBoot(n.OnBoot), verdict.OnBootUnknown), Module: kmod.StateUnknown,
		Reason: n.Reason, Message: n.Message,
	}
	if n.Report != nil && !n.Stale() {
		row.Module = n.Report.Module.State
	}
	if n.Stale() {
		row.OnBoot = verdict.OnBootUnknown
		row.Message = "the report is from before the node's last boot"
	}
	if !n.Since.IsZero() {
		since := n.Since.UTC()
		row.Since = &since
	}
	if n.Agent != nil {
		row.Agent = &AgentRow{Pod: n.Agent.Namespace + "/" + n.Agent.Name, Version: n.Agent.Version, Ready: n.Agent.Ready}
	}
	return row
}

// Worst is the worst severity found, "" when nothing was.
func (r *Result) Worst() Severity {
	switch {
	case r.Summary.Critical > 0:
		return Critical
	case r.Summary.Warnings > 0:
		return Warning
	case r.Summary.Infos > 0:
		return Info
	}
	return ""
}
