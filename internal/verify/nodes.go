package verify

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// MostUnnamed nodes are tried unless they were named. Each is tried against each:
// 100 are 10,000 pairs and 100 node ports, and 1,000 would be a million and a
// third of the node ports that a cluster has.
const MostUnnamed = 100

// chooseNodes reads the nodes that take part.
func (r *run) chooseNodes(ctx context.Context) error {
	wanted := map[string]bool{}
	for _, name := range r.opts.Nodes {
		wanted[name] = true
	}
	ready := 0
	err := cluster.List(ctx, "nodes", "", r.c.CoreV1().Nodes().List, metav1.ListOptions{}, func(n *corev1.Node) {
		hasSCTP := n.Labels[r.opts.Keys.Ready()] == string(kmod.AnswerTrue)
		if hasSCTP {
			ready++
		}
		if len(wanted) > 0 && !wanted[n.Name] || len(wanted) == 0 && !hasSCTP {
			return
		}
		delete(wanted, n.Name)
		node := Node{Name: n.Name, Index: len(r.result.Nodes), Addresses: []string{}, PodAddresses: []string{}}
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
	// wanted has become empty when all were found.
	for _, name := range r.opts.Nodes {
		if !slices.ContainsFunc(r.result.Nodes, func(n Node) bool { return n.Name == name }) {
			return fmt.Errorf("there is no node %q", name)
		}
	}
	if n := len(r.result.Nodes); n > MostUnnamed && len(r.opts.Nodes) == 0 {
		return fmt.Errorf("%d nodes are ready for SCTP, and each would be tried against each: name some, of different pools or zones, with --node (more than %d if you mean it)", n, MostUnnamed)
	}
	if len(r.result.Nodes) == 0 {
		return fmt.Errorf("no node is ready for SCTP (label %s=true): see \"kubectl sctp audit\", or name nodes", r.opts.Keys.Ready())
	}
	return nil
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
