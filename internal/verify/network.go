package verify

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
)

// Annotations of the Network Plumbing Working Group's specification, which Multus
// implements: the networks that a pod asks for, and those that it got.
const (
	annotationNetworks      = "k8s.v1.cni.cncf.io/networks"
	annotationNetworkStatus = "k8s.v1.cni.cncf.io/network-status"
)

// Network is a second network of pods.
type Network struct {
	// Name of its NetworkAttachmentDefinition, NAMESPACE/NAME.
	Name string `json:"name"`
	// Missing are the nodes whose pods got no address in it, with the reasons.
	Missing []string `json:"missing"`
}

// tryNetwork tries associations between pods that are in a second network, too:
// one path in each.
func (r *run) tryNetwork(ctx context.Context) error {
	if r.result.Network == nil {
		return nil
	}
	r.network = r.result.Network.Name
	all := r.ordered()
	r.opts.Progress(fmt.Sprintf("network %s: a listener on each of %s", r.network, cluster.Count(len(all), "node")))
	err := each(ctx, all, func(ctx context.Context, n *Node) error {
		return r.startListener(ctx, n, roleNetwork, n.Index)
	})
	if err != nil {
		return err
	}
	list, err := r.awaitStart(ctx, roleNetwork, len(all))
	if err != nil {
		return err
	}
	there := map[*Node]*corev1.Pod{}
	for i := range list {
		there[r.nodeOf(&list[i])] = &list[i]
	}
	second := map[*Node][]string{}
	for _, n := range all {
		p := there[n]
		why := ""
		switch {
		case p == nil:
			why = "its pod is gone"
		case !isReady(p):
			why = "its pod did not start: " + trouble(p)
		default:
			second[n], why = addressesIn(p, r.network)
		}
		if why != "" {
			r.result.Network.Missing = append(r.result.Network.Missing, "node "+n.Name+": "+why)
		}
	}
	var paths []planned
	for _, from := range all {
		to := next(all, from)
		if len(second[from]) == 0 || len(second[to]) == 0 {
			continue
		}
		for _, ip := range there[to].Status.PodIPs {
			var also []string
			for _, a := range second[to] {
				if family(a) == family(ip.IP) && hasFamily(second[from], a) {
					also = append(also, a)
				}
			}
			if len(also) == 0 || !hasFamily(from.PodAddresses, ip.IP) {
				continue
			}
			p := newPath(PathNetwork, from, to, ip.IP, EchoPort, 0)
			p.target.Also = also
			paths = append(paths, p)
		}
	}
	return r.dial(ctx, paths)
}

// addressesIn are a pod's addresses in a network, or why it has none.
func addressesIn(p *corev1.Pod, network string) (addresses []string, why string) {
	text := p.Annotations[annotationNetworkStatus]
	if text == "" {
		return nil, "no annotation " + annotationNetworkStatus + ": is Multus installed?"
	}
	var list []struct {
		Name string   `json:"name"`
		IPs  []string `json:"ips"`
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Sprintf("annotation %s: %v", annotationNetworkStatus, err)
	}
	for _, n := range list {
		if n.Name == network {
			addresses = append(addresses, n.IPs...)
		}
	}
	if len(addresses) == 0 {
		why = "no address in annotation " + annotationNetworkStatus
	}
	return addresses, why
}
