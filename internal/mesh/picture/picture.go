// Package picture is the JSON of /mesh: what one node of the mesh sees of SCTP
// towards its peers. The node's program writes it, the administrator's program
// reads it; it imports neither.
package picture

import "time"

// What every picture has in its first two fields.
const (
	APIVersion = "sctp-agent/v1"
	Kind       = "Mesh"
)

// Picture is one node's view.
type Picture struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Node that looks, its zone ("" where it has none), and the program's
	// version.
	Node    string `json:"node"`
	Zone    string `json:"zone,omitempty"`
	Version string `json:"version"`
	// Time of this picture.
	Time time.Time `json:"time"`
	// Self: this node itself fails.
	Self Self `json:"self"`
	// Nodes in the ring, this one included.
	Nodes int `json:"nodes"`
	// PeersFrom is when the list of nodes was read; zero: never.
	PeersFrom time.Time `json:"peersFrom,omitzero"`
	// Peers that this node probes, in the order of the ring, the roaming ones
	// last.
	Peers []Peer `json:"peers"`
}

// State of a probe, or of this node.
type State string

const (
	StateOK State = "ok"
	// StateFailed: it failed, and so did the tries that followed at once.
	StateFailed State = "failed"
	// StateUnknown: nothing is known yet, or no longer.
	StateUnknown State = "unknown"
)

// Self is what a node concludes about itself.
type Self struct {
	// State is StateFailed where most peers cannot be reached from here, and no
	// other nodes confirm that it is they that fail.
	State State     `json:"state"`
	Scope Scope     `json:"scope,omitempty"`
	Since time.Time `json:"since,omitzero"`
	// Cause, where the state is unknown: why nothing is probed, such as a
	// kernel without SCTP.
	Cause string `json:"cause,omitempty"`
}

// Role of a peer.
type Role string

const (
	// RoleRing: one of the next nodes on the ring, probed all the time.
	RoleRing Role = "ring"
	// RoleRoaming: one of the others, probed in turn, and for as long as
	// something about it has been concluded.
	RoleRoaming Role = "roaming"
)

// Conclusion is what is broken.
type Conclusion string

const (
	// ConclusionNone: nothing, or it is not concluded yet.
	ConclusionNone Conclusion = ""
	// ConclusionNode: the peer; others fail towards it, too.
	ConclusionNode Conclusion = "node"
	// ConclusionPath: the way from here to the peer; others that were asked, if
	// any, reach it.
	ConclusionPath Conclusion = "path"
	// ConclusionSelf: this node; it fails towards most of its peers.
	ConclusionSelf Conclusion = "self"
)

// Scope is how much of the traffic is concerned.
type Scope string

const (
	// ScopeSCTP: TCP works.
	ScopeSCTP Scope = "sctp"
	// ScopeEverything: TCP fails, too.
	ScopeEverything Scope = "everything"
)

// Peer is what is seen of one peer.
type Peer struct {
	Node    string `json:"node"`
	Zone    string `json:"zone,omitempty"`
	Address string `json:"address"`
	Role    Role   `json:"role"`
	// New is the last new association: handshake, echo, shutdown.
	New Probe `json:"new"`
	// Kept is the last echo on the association that is kept. Roaming peers
	// have none, and its state is unknown.
	Kept Probe `json:"kept"`
	// TCP is the last connection beside a failure.
	TCP Probe `json:"tcp"`

	// Conclusion, how much is concerned, and since when: the first failure.
	// "" and zero where nothing is concluded.
	Conclusion Conclusion `json:"conclusion,omitempty"`
	Scope      Scope      `json:"scope,omitempty"`
	Since      time.Time  `json:"since,omitzero"`
	// Asked is how many other nodes that probe the peer answered when they
	// were asked about it, and AlsoFail how many of those fail towards it.
	Asked    int `json:"asked,omitempty"`
	AlsoFail int `json:"alsoFail,omitempty"`
}

// Probe is the last of its kind.
type Probe struct {
	State State `json:"state"`
	// Cause of a failure, in a few words, such as "no answer".
	Cause string `json:"cause,omitempty"`
	// RTT is the round trip of the last echo that came back, in seconds.
	RTT float64 `json:"rtt,omitempty"`
	// At is when it ended; zero: it never did.
	At time.Time `json:"at,omitzero"`
}

// Failing are the peers about which something is concluded.
func (p Picture) Failing() (failing []Peer) {
	for _, peer := range p.Peers {
		if peer.Conclusion != ConclusionNone {
			failing = append(failing, peer)
		}
	}
	return failing
}
