// Package meshview joins what the agents of the mesh see into one result for the
// cluster: which nodes and which paths fail, since when, and what to try.
//
// [Collect] reads the agents' pictures through the API server; the rest is a
// pure function of them.
package meshview

import (
	"slices"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// The result's type, as its JSON names it.
const (
	APIVersion = picture.APIVersion
	ResultKind = "ClusterMesh"
)

// Result is what all agents see together. Its JSON is public API.
type Result struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Time       time.Time  `json:"time"`
	Summary    Summary    `json:"summary"`
	Findings   []Finding  `json:"findings"`
	Unseen     []Unseen   `json:"unseen"`
	Nodes      []Node     `json:"nodes"`
	Zones      []ZonePair `json:"zones"`
	Pairs      []Pair     `json:"pairs"`
}

// Summary counts nodes and pairs.
type Summary struct {
	// Nodes with an agent, and how many of these were seen.
	Nodes int `json:"nodes"`
	Seen  int `json:"seen"`
	// Pairs that are probed, by what is known of them.
	Pairs   int `json:"pairs"`
	OK      int `json:"ok"`
	Failed  int `json:"failed"`
	Unknown int `json:"unknown"`
}

// Node has an agent of the mesh.
type Node struct {
	Name string `json:"name"`
	Zone string `json:"zone,omitempty"`
	// Seen: its agent answered.
	Seen    bool   `json:"seen"`
	Version string `json:"version,omitempty"`
	// Self is what it concludes about itself.
	Self picture.Self `json:"self"`
}

// Pair is a node that probes another.
type Pair struct {
	From string `json:"from"`
	To   string `json:"to"`
	// State is failed where new associations or the kept one fail, and something is
	// concluded from that: not where an agent starts, or is replaced.
	State picture.State `json:"state"`
	New   picture.Probe `json:"new"`
	Kept  picture.Probe `json:"kept"`
	TCP   picture.Probe `json:"tcp"`
	// Conclusion is that of the node that probes, with the others that it asked.
	Conclusion picture.Conclusion `json:"conclusion,omitempty"`
	Scope      picture.Scope      `json:"scope,omitempty"`
	Since      time.Time          `json:"since,omitzero"`
	Asked      int                `json:"asked,omitempty"`
	AlsoFail   int                `json:"alsoFail,omitempty"`

	fromZone, toZone string
}

func (p Pair) unconcluded() bool {
	return p.Conclusion == picture.ConclusionNone && (p.New.State == picture.StateFailed || p.Kept.State == picture.StateFailed)
}

// ZonePair is all pairs from the nodes of one zone to those of another.
type ZonePair struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Pairs  int    `json:"pairs"`
	OK     int    `json:"ok"`
	Failed int    `json:"failed"`
	// RTT is the median round trip, in seconds.
	RTT float64 `json:"rtt,omitempty"`
}

// Kind of a finding. The values are those of the audit, and public API.
type Kind string

const (
	// NodeUnreachableBySCTP: most nodes that probe it fail, or it fails towards
	// most of its peers.
	NodeUnreachableBySCTP Kind = "NodeUnreachableBySCTP"
	// PathBroken: from one node or zone to another, which is not known to be broken
	// as a whole.
	PathBroken Kind = "PathBroken"
)

// Direction of a finding about a node.
type Direction string

const (
	// DirectionIn: others do not reach the node.
	DirectionIn Direction = "in"
	// DirectionOut: the node reaches none of its peers.
	DirectionOut Direction = "out"
	// DirectionBoth is both of these.
	DirectionBoth Direction = "both"
)

// Associations that fail.
type Associations string

const (
	// AssociationsAll: new ones, and those that are kept.
	AssociationsAll Associations = "all"
	// AssociationsNew only: kept ones work.
	AssociationsNew Associations = "new"
	// AssociationsKept only: new ones work.
	AssociationsKept Associations = "kept"
)

// Finding is one thing that is broken.
type Finding struct {
	Kind Kind `json:"kind"`
	// Node of NodeUnreachableBySCTP, and the direction that fails.
	Node      string    `json:"node,omitempty"`
	Direction Direction `json:"direction,omitempty"`
	// From and To are nodes, or zones, of PathBroken. BothWays: the
	// way back is probed, too, and fails.
	From     string `json:"from,omitempty"`
	To       string `json:"to,omitempty"`
	Zones    bool   `json:"zones,omitempty"`
	BothWays bool   `json:"bothWays,omitempty"`
	// Failed of Probed pairs that show it.
	Failed int `json:"failed"`
	Probed int `json:"probed"`
	// Scope is whether TCP fails, too, "" where that is not known; Associations
	// are those of SCTP that fail.
	Scope        picture.Scope `json:"scope,omitempty"`
	Associations Associations  `json:"associations,omitempty"`
	// Since is the first failure that has not ended; zero: not known.
	Since   time.Time `json:"since,omitzero"`
	Message string    `json:"message"`
	// Evidence is what was seen.
	Evidence []string `json:"evidence"`
	// Fix is what to try next.
	Fix string `json:"fix"`

	// unreached are the ends of a path, or the peers, that, as far as is known, no
	// other node reaches.
	unreached []string
}

// Subject is what the finding is about, as people read it.
func (f Finding) Subject() string {
	arrow := " → "
	if f.BothWays {
		arrow = " ↔ "
	}
	switch {
	case f.Kind == NodeUnreachableBySCTP:
		return f.Node
	case f.Zones:
		return "zone " + f.From + arrow + "zone " + f.To
	default:
		return f.From + arrow + f.To
	}
}

// Unseen is a node whose agent did not answer, or does not probe.
type Unseen struct {
	Node string `json:"node"`
	Why  string `json:"why"`
}

// Verdict of the whole: No where something fails, Yes where all nodes were seen
// and nothing does, else Unknown, as where a failure is not concluded yet.
func (r *Result) Verdict() kmod.Answer {
	switch {
	case len(r.Findings) > 0:
		return kmod.AnswerFalse
	case len(r.Unseen) > 0 || r.Summary.OK == 0 || slices.ContainsFunc(r.Pairs, Pair.unconcluded):
		return kmod.AnswerUnknown
	default:
		return kmod.AnswerTrue
	}
}
