package verify

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/internal/mesh/ring"
	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// Up to AllPairsByDefault nodes are tried each against each, and up to
// mostAllPairs if that is asked for: 100 are 10,000 pairs and 100 node ports, and
// 1,000 would be a million pairs and a third of the node ports that a cluster
// has. Otherwise each tries the next [ring.Peers] on the mesh's ring.
const (
	AllPairsByDefault = 12
	mostAllPairs      = 100
)

// ringServices is the distance in the ring between nodes that have a Service of
// their own: among the next ten of each node are two, and at the
// ring's end one more.
const ringServices = 5

// ringVias is how many of the next nodes in the ring are tried for their node
// ports: each node's port by as many others.
const ringVias = 3

// chooseNodes reads the nodes that take part.
func (r *run) chooseNodes(ctx context.Context) error {
	takesPart := func(n *corev1.Node) bool {
		if len(r.opts.Nodes) > 0 {
			return slices.Contains(r.opts.Nodes, n.Name)
		}
		return n.Labels[r.opts.Keys.Ready()] == string(kmod.AnswerTrue)
	}
	err := cluster.List(ctx, "nodes", "", r.c.CoreV1().Nodes().List, metav1.ListOptions{}, func(n *corev1.Node) {
		if !takesPart(n) {
			return
		}
		node := Node{
			Name: n.Name, Index: len(r.result.Nodes), Zone: n.Labels[corev1.LabelTopologyZone],
			Addresses: []string{}, PodAddresses: []string{},
		}
		for _, a := range n.Status.Addresses {
			if a.Type == corev1.NodeInternalIP {
				node.Addresses = append(node.Addresses, a.Address)
			}
		}
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
				node.Fault, node.Detail = wire.Unknown, "kubelet is not ready: "+c.Message
			}
		}
		r.result.Nodes = append(r.result.Nodes, node)
	})
	if err != nil {
		return err
	}
	for _, name := range r.opts.Nodes {
		if !slices.ContainsFunc(r.result.Nodes, func(n Node) bool { return n.Name == name }) {
			return fmt.Errorf("there is no node %q", name)
		}
	}
	switch n := len(r.result.Nodes); {
	case n == 0:
		return fmt.Errorf("no node is ready for SCTP (label %s=true): see \"%s\", or name nodes", r.opts.Keys.Ready(), cluster.ForPrefix(r.opts.Keys, "kubectl sctp audit"))
	case n > mostAllPairs && r.opts.AllPairs:
		return fmt.Errorf("--all-pairs takes at most %d nodes, and these are %d: name some, of different pools or zones, with --node, or try a ring", mostAllPairs, n)
	}
	return nil
}

// plan decides, when the nodes that take part are known, which try which.
func (r *run) plan() {
	r.result.Plan = PlanAllPairs
	if len(r.taking()) > AllPairsByDefault && !r.opts.AllPairs {
		r.result.Plan = PlanRing
	}
}

// ordered are the nodes whose listener listens, in the order in which they try
// each other.
func (r *run) ordered() []*Node {
	all := r.taking()
	if r.result.Plan != PlanRing {
		return all
	}
	byName := map[string]*Node{}
	var names []string
	for _, n := range all {
		byName[n.Name] = n
		names = append(names, n.Name)
	}
	nodes := ring.New(names)
	for i := 1; i < len(all); i++ {
		all[i] = byName[nodes.Next(all[i-1].Name)[0]]
	}
	return all
}

// taking are the nodes whose listener listens.
func (r *run) taking() []*Node {
	var out []*Node
	for i := range r.result.Nodes {
		if n := &r.result.Nodes[i]; n.Fault == "" {
			out = append(out, n)
		}
	}
	return out
}

// served are the nodes that get a Service of their own: in a ring, not all.
func (r *run) served() (out []*Node) {
	step := 1
	if r.result.Plan == PlanRing {
		step = ringServices
	}
	for i, n := range r.ordered() {
		if i%step == 0 {
			out = append(out, n)
		}
	}
	return out
}
