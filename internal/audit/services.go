package audit

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

func endpointsOnUnreadyNodes(v *view, found report) {
	for _, s := range v.Services {
		var bad []string
		good := 0
		seen := map[string]bool{}
		for _, e := range s.Endpoints {
			// Nothing is sent where it is not ready; each of several ports has
			// it once, and so has a pod with an address of each family.
			key := cmp.Or(e.Pod, e.Address)
			if !e.Ready || seen[key] {
				continue
			}
			seen[key] = true
			n := v.nodes[e.Node]
			if n == nil || n.SCTP() != kmod.AnswerFalse {
				good++
				continue
			}
			bad = append(bad, fmt.Sprintf("endpoint %s (pod %s) on node %s: %s", e.Address, cmp.Or(e.Pod, "(none)"), n.Name, n.Reason))
		}
		if len(bad) > 0 {
			slices.SortFunc(bad, cluster.CompareNames)
			message := fmt.Sprintf("%d of its %d ready endpoints are on nodes without SCTP", len(bad), len(bad)+good)
			if more := len(bad) - mostEvidence; more > 0 {
				bad = append(bad[:mostEvidence], fmt.Sprintf("and %d further endpoints", more))
			}
			found(Finding{Object: s.object(), Message: message, Evidence: bad})
		}
	}
}

func servicesWithoutEndpoints(v *view, found report) {
	for _, s := range v.Services {
		if s.Type == corev1.ServiceTypeExternalName || slices.ContainsFunc(s.Endpoints, func(e Endpoint) bool { return e.Ready }) {
			continue
		}
		message := "it has no SCTP endpoints"
		if n := len(s.Endpoints); n > 0 {
			message = fmt.Sprintf("none of its SCTP endpoints is ready (%d)", n)
		}
		found(Finding{Object: s.object(), Message: message, Evidence: s.portTexts()})
	}
}

func (s *Service) object() Object {
	return Object{Kind: "Service", Namespace: s.Namespace, Name: s.Name}
}

// portTexts are its SCTP ports.
func (s *Service) portTexts() []string {
	out := make([]string, len(s.Ports))
	for i, p := range s.Ports {
		out[i] = fmt.Sprintf("port %d/SCTP", p.Port)
	}
	return out
}

func unsuitableServices(v *view, found report) {
	for _, s := range v.Services {
		ports := s.portTexts()
		switch {
		case s.Type == corev1.ServiceTypeExternalName:
			found(Finding{
				Object: s.object(), Evidence: ports,
				Message: "an ExternalName Service carries no traffic, its SCTP ports have no effect",
				Fix:     "address the name itself: an ExternalName is an alias in DNS, and has no ports",
			})
		case s.Type == corev1.ServiceTypeLoadBalancer && len(s.Addresses) == 0:
			found(Finding{
				Object: s.object(), Evidence: append(ports, "status.loadBalancer is empty"),
				Message: "no load balancer serves it: many providers do not support SCTP",
			})
		}
	}
}
