package audit

import (
	"fmt"
	"slices"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// podsOn finds the pods that use SCTP on nodes of which this is known.
func (v *view) podsOn(what kmod.Answer, found report) {
	var pods []*Pod
	for i := range v.Pods {
		// Pods that are not scheduled yet, or are on a node that was not asked for,
		// do not match.
		if n := v.nodes[v.Pods[i].Node]; n != nil && n.SCTP() == what {
			pods = append(pods, &v.Pods[i])
		}
	}
	lack := "does not have SCTP"
	if what == kmod.AnswerUnknown {
		lack = "has not proved SCTP"
	}
	for _, group := range podsByOwner(pods) {
		p := group[0]
		f := Finding{Object: p.Owner, Count: len(group), Evidence: p.uses()}
		if v.nodes[p.Node].Foreign {
			f.Fix = `move the pod to a node on which an agent runs: nodeSelector {sctp-agent/ready: "true"}`
		}
		if p.Owner.Kind == "Pod" {
			n := v.nodes[p.Node]
			f.Message = fmt.Sprintf("on node %s, which %s", n.Name, lack)
			f.Evidence = append(f.Evidence, n.why())
			found(f)
			continue
		}
		f.Members = podNames(group)
		var on []*Node
		for _, p := range group {
			if n := v.nodes[p.Node]; !slices.Contains(on, n) {
				on = append(on, n)
			}
		}
		f.Message = fmt.Sprintf("%s on a node that %s", cluster.Count(len(group), "pod"), lack)
		if len(on) > 1 {
			f.Message = fmt.Sprintf("%s on %s, each of which %s", cluster.Count(len(group), "pod"), cluster.Count(len(on), "node"), lack)
		}
		f.Evidence = append(f.Evidence, lines(groupNodes(on))...)
		found(f)
	}
}

// uses is how a pod uses SCTP.
func (p *Pod) uses() []string {
	var out []string
	for _, port := range p.Ports {
		out = append(out, fmt.Sprintf("container %s declares port %d/SCTP", port.Container, port.Number))
	}
	for i, s := range p.Services {
		out = append(out, fmt.Sprintf("Service %s sends to its port %d/SCTP", s, p.Listens[i]))
	}
	return out
}
