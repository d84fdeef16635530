package audit

import (
	"fmt"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// unusedPolicyPorts looks for SCTP ports in policies that no pod they concern
// listens on, as far as pods and Services declare it.
func unusedPolicyPorts(v *view, found report) {
	for _, p := range v.Policies {
		var unused []string
		// Without types, rules of a direction put it into force.
		inForce := func(t networkingv1.PolicyType) bool {
			return len(p.Spec.PolicyTypes) == 0 || slices.Contains(p.Spec.PolicyTypes, t)
		}
		for i, r := range p.Spec.Ingress {
			if !inForce(networkingv1.PolicyTypeIngress) {
				break
			}
			pods := v.selected(p.Namespace, p.Spec.PodSelector)
			for _, port := range r.Ports {
				if isSCTP(port) && !anyListens(pods, port) {
					unused = append(unused, fmt.Sprintf("spec.ingress[%d] allows %s, and none of the pods it selects declares it or gets it from a Service", i, portText(port)))
				}
			}
		}
		for i, r := range p.Spec.Egress {
			if !inForce(networkingv1.PolicyTypeEgress) || v.leavesView(r.To) {
				continue // who listens there cannot be seen from here
			}
			for _, port := range r.Ports {
				if isSCTP(port) && !anyListens(v.Pods, port) {
					unused = append(unused, fmt.Sprintf("spec.egress[%d] allows %s, and no pod of the cluster declares it or gets it from a Service", i, portText(port)))
				}
			}
		}
		if len(unused) > 0 {
			found(Finding{
				Object:  Object{Kind: "NetworkPolicy", Namespace: p.Namespace, Name: p.Name},
				Message: "names an SCTP port that no pod declares", Evidence: unused,
			})
		}
	}
}

// selected are the pods of a namespace that a policy selects.
func (v *view) selected(namespace string, selector metav1.LabelSelector) []Pod {
	s, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil {
		return nil // the API server accepts no such policy
	}
	var out []Pod
	for _, p := range v.Pods {
		if p.Namespace == namespace && s.Matches(labels.Set(p.Labels)) {
			out = append(out, p)
		}
	}
	return out
}

func anyListens(pods []Pod, port networkingv1.NetworkPolicyPort) bool {
	return slices.ContainsFunc(pods, func(p Pod) bool { return p.listens(port) })
}

func (p *Pod) listens(port networkingv1.NetworkPolicyPort) bool {
	if port.Port == nil {
		return true // any SCTP port, and the pod has one
	}
	if port.Port.Type == intstr.String {
		return slices.ContainsFunc(p.Ports, func(have Port) bool { return have.Name == port.Port.StrVal })
	}
	first, last := port.Port.IntVal, port.Port.IntVal
	if port.EndPort != nil {
		last = *port.EndPort
	}
	within := func(n int32) bool { return first <= n && n <= last }
	return slices.ContainsFunc(p.Ports, func(have Port) bool { return within(have.Number) }) || slices.ContainsFunc(p.Listens, within)
}

// leavesView reports whether a rule's peers may be outside the cluster, or in
// namespaces whose pods were not read.
func (v *view) leavesView(to []networkingv1.NetworkPolicyPeer) bool {
	return len(to) == 0 || slices.ContainsFunc(to, func(p networkingv1.NetworkPolicyPeer) bool {
		return p.IPBlock != nil || v.Narrowed && p.NamespaceSelector != nil
	})
}

func portText(p networkingv1.NetworkPolicyPort) string {
	switch {
	case p.Port == nil:
		return "all SCTP ports"
	case p.EndPort != nil:
		return fmt.Sprintf("ports %s-%d/SCTP", p.Port.String(), *p.EndPort)
	default:
		return "port " + p.Port.String() + "/SCTP"
	}
}
