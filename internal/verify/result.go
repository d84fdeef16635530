// Package verify tests SCTP from pod to pod in a cluster: it runs listeners and
// clients as pods in a namespace of its own, tries every path between them,
// reports why paths fail, and deletes the namespace.
//
// It connects to the API server only; results come back as the pods' termination
// messages, so neither logs nor exec, and no route to any node, is needed.
package verify

import (
	"slices"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// The result's type, as its JSON names it.
const (
	APIVersion = verdict.APIVersion
	ResultKind = "Verify"
)

// Result is what was found. Its JSON is public API.
type Result struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Time       time.Time `json:"time"`
	// DurationMillis is how long all of it took.
	DurationMillis int64  `json:"durationMillis"`
	Image          string `json:"image"`
	// Plan is which nodes were tried against which.
	Plan Plan `json:"plan"`
	// Policy is "enforced", "not-enforced", "partly-enforced" or "unknown", ""
	// when NetworkPolicy was not asked for.
	Policy string `json:"policy,omitempty"`
	// LoadBalancer is absent when it was not asked for.
	LoadBalancer *LoadBalancer `json:"loadBalancer,omitempty"`
	// Network is absent when it was not asked for.
	Network *Network `json:"network,omitempty"`
	// Failovers are of a Service's client, over each address family; absent when
	// they were not asked for, empty when what they need did not work.
	Failovers []Failover `json:"failovers,omitzero"`
	Findings  []Finding  `json:"findings"`
	Nodes     []Node     `json:"nodes"`
	Paths     []Path     `json:"paths"`
}

// Plan of a run.
type Plan string

const (
	// PlanAllPairs tries each node against each, itself too.
	PlanAllPairs Plan = "all-pairs"
	// PlanRing tries each node against the next ten in a ring.
	PlanRing Plan = "ring"
)

// Node is one node that took part.
type Node struct {
	Name  string `json:"name"`
	Index int    `json:"index"`
	// Zone of the node, "" where it has none.
	Zone string `json:"zone,omitempty"`
	// Addresses of the node, and of its listener.
	Addresses    []string `json:"addresses"`
	PodAddresses []string `json:"podAddresses"`
	// Fault is why its pods could not work, "" when they could.
	Fault  wire.Outcome `json:"fault,omitempty"`
	Detail string       `json:"detail,omitempty"`
}

// PathKind is what a path goes through.
type PathKind string

const (
	// PathPod goes straight to the listener's address.
	PathPod PathKind = "pod"
	// PathClusterIP goes through a Service's cluster address.
	PathClusterIP PathKind = "clusterIP"
	// PathNodePort goes through a port of the node Via.
	PathNodePort PathKind = "nodePort"
	// PathLoadBalancer goes through a load balancer's address, from another node
	// than the listener's.
	PathLoadBalancer PathKind = "loadBalancer"
	// PathNetwork goes straight to a listener that is in a second network, too, by
	// an association with a path in each.
	PathNetwork PathKind = "network"
	// PathAllowed and PathDenied go to ports that a NetworkPolicy allows and does
	// not allow; PathBefore is the latter before there is a policy.
	PathAllowed PathKind = "policyAllowed"
	PathDenied  PathKind = "policyDenied"
	PathBefore  PathKind = "policyBefore"
)

// Path is one way from a node's pod to another's.
type Path struct {
	Kind PathKind `json:"kind"`
	From string   `json:"from"`
	To   string   `json:"to"`
	// Via is the node whose port is used, for PathNodePort.
	Via string `json:"via,omitempty"`
	// Family is "IPv4" or "IPv6".
	Family  string       `json:"family"`
	Address string       `json:"address"`
	Outcome wire.Outcome `json:"outcome"`
	Errno   string       `json:"errno,omitempty"`
	// FailedSize is the size of the message that was lost.
	FailedSize int `json:"failedSize,omitempty"`
	// States of the association's paths, by the listener's addresses, for
	// PathNetwork: active, inactive, potentially-failed, unconfirmed (no
	// heartbeat was answered), not-offered (no address of the listener's).
	States          map[string]string `json:"states,omitempty"`
	HandshakeMicros int64             `json:"handshakeMicros"`
	RTTMicros       int64             `json:"rttMicros"`

	// unasked: it is silent, and was not looked into, since too many are.
	unasked bool
}

// Finding is one thing that is wrong, with all the paths that show it.
type Finding struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`
	// Evidence is what was seen.
	Evidence []string `json:"evidence"`
	Fix      string   `json:"fix"`
}

// Good reports whether the path is as it should be: a port that a NetworkPolicy
// does not allow must be blocked, everything else reached.
func (p *Path) Good() bool {
	if p.Kind == PathDenied {
		return p.Outcome == wire.Blocked
	}
	return p.Outcome == wire.OK
}

// Count is how many paths are as expected, and how many were not tried because what
// they depend on is not.
func (r *Result) Count() (good, notTried int) {
	for _, p := range r.Paths {
		switch {
		case p.Good():
			good++
		case p.Outcome == wire.NotTried:
			notTried++
		}
	}
	return good, notTried
}

// Verdict of the whole: Yes when every path works as it should, No when one does
// not, Undecided when that is not known.
func (r *Result) Verdict() kmod.Answer {
	if slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Kind != FindingUndecided }) {
		return kmod.AnswerFalse
	}
	if len(r.Findings) > 0 || len(r.Paths) == 0 {
		return kmod.AnswerUnknown
	}
	return kmod.AnswerTrue
}
