package verify

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// Pods ask for the second network, after everything else was tried without it;
// each node's association to the next has the second address to reach.
func TestNetwork(t *testing.T) {
	const network = "ran/n2"
	status := func(p *corev1.Pod) string {
		return fmt.Sprintf(`[{"name":"pods","interface":"eth0","ips":["10.0.0.%[1]s"],"default":true},{"name":%[2]q,"interface":"net1","ips":["192.168.7.%[1]s","fd07::%[1]s"]}]`,
			p.Labels[labelIndex], p.Annotations[annotationNetworks])
	}
	for _, c := range []struct {
		name    string
		prepare func(*server)
		verdict kmod.Answer
		kinds   []string
		says    string
		paths   []string
	}{
		{"both paths work", func(s *server) { s.status = status }, kmod.AnswerTrue, nil, "", []string{"n0 n1 ok", "n1 n0 ok"}},
		{"one path is down", func(s *server) {
			s.status = status
			s.outcome = func(_ wire.Job, target wire.Target) wire.Outcome {
				if slices.Equal(target.Also, []string{"192.168.7.1"}) {
					return wire.PathDown
				}
				return wire.OK
			}
		}, kmod.AnswerFalse, []string{FindingPathDown}, "n0 → n1", []string{"n0 n1 path-down", "n1 n0 ok"}},
		{"no Multus", func(*server) {}, kmod.AnswerUnknown, []string{FindingUndecided}, "is Multus installed?", nil},
		{"no address", func(s *server) { s.status = func(*corev1.Pod) string { return `[{"name":"pods","ips":["10.0.0.1"]}]` } },
			kmod.AnswerUnknown, []string{FindingUndecided}, "node n1: no address", nil},
		{"not to be read", func(s *server) { s.status = func(*corev1.Pod) string { return "x" } }, kmod.AnswerUnknown, []string{FindingUndecided}, "invalid character", nil},
		{"a pod does not start", func(s *server) {
			s.status = status
			s.hold = func(p *corev1.Pod) bool { return p.Name == "network-1" }
		}, kmod.AnswerUnknown, []string{FindingUndecided}, "node n1: its pod did not start", nil},
	} {
		inBubble(t, c.name, func(t *testing.T) {
			s := newServer()
			c.prepare(s)
			r := s.tries(t, Options{Network: network}, c.verdict, c.kinds, c.says)
			if got := outcomesOf(r, PathNetwork); !slices.Equal(got, c.paths) {
				t.Errorf("paths %q, want %q", got, c.paths)
			}
			for _, p := range s.pods {
				asks := p.Annotations[annotationNetworks] == network
				if wants := p.Labels[labelRole] == roleNetwork || p.Name == "client-2" || p.Name == "client-3"; asks != wants {
					t.Errorf("%s asks for the network: %v", p.Name, asks)
				}
			}
		})
	}
}
