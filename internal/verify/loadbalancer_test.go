package verify

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// A load balancer is tried from the nodes without its endpoint, once it has an
// address; where it gets none, its events have the reason.
func TestLoadBalancer(t *testing.T) {
	const address = "198.51.100.7"
	fails := func(failing string) func(wire.Job, wire.Target) wire.Outcome {
		return func(_ wire.Job, target wire.Target) wire.Outcome {
			if strings.HasPrefix(target.Address, failing) {
				return wire.Dropped
			}
			return wire.OK
		}
	}
	got := []corev1.LoadBalancerIngress{{IP: address}}
	event := func(kind, reason string, minute int) corev1.Event {
		return corev1.Event{Type: kind, Reason: reason, Message: "it says", LastTimestamp: metav1.Time{Time: time.Unix(int64(minute)*60, 0)}}
	}
	for _, c := range []struct {
		name    string
		nodes   int
		prepare func(*server)
		verdict kmod.Answer
		kinds   []string
		// says is part of the last finding.
		says string
		// paths go through the load balancer.
		paths []string
	}{
		{"it forwards", 3, func(s *server) { s.ingress = got }, kmod.AnswerTrue, nil, "", []string{"n1 n0 ok", "n2 n0 ok"}},
		{"it does not forward", 2, func(s *server) { s.ingress, s.outcome = got, fails(address) }, kmod.AnswerFalse, []string{FindingLoadBalancer}, "n1 → n0", []string{"n1 n0 dropped"}},
		{"a warning tells why", 2, func(s *server) {
			s.events = []corev1.Event{event("Normal", "EnsuringLoadBalancer", 3), event("Warning", "Old", 1), event("Warning", "SyncLoadBalancerFailed", 2), event("Normal", "EnsuringLoadBalancer", 4)}
		}, kmod.AnswerUnknown, []string{FindingUndecided}, "event SyncLoadBalancerFailed: it says", nil},
		{"nobody tells why", 2, func(s *server) { s.events = []corev1.Event{} }, kmod.AnswerUnknown, []string{FindingUndecided}, "is there a controller", nil},
		{"events may not be read", 2, func(*server) {}, kmod.AnswerUnknown, []string{FindingUndecided}, "the right to list events is missing", nil},
		{"a host name", 2, func(s *server) { s.ingress = []corev1.LoadBalancerIngress{{Hostname: "lb.example.com"}} },
			kmod.AnswerUnknown, []string{FindingUndecided}, "lb.example.com", nil},
		{"one node", 1, func(s *server) { s.ingress = got }, kmod.AnswerUnknown, []string{FindingUndecided}, "no node reaches the pod of another", nil},
		{"the first node is not reached", 2, func(s *server) { s.ingress, s.outcome = got, fails("10.0.0.0:") }, kmod.AnswerFalse, []string{FindingDropped}, "", []string{"n0 n1 ok"}},
	} {
		inBubble(t, c.name, func(t *testing.T) {
			s := newServer()
			s.nodes = c.nodes
			c.prepare(s)
			start := time.Now()
			r := s.tries(t, Options{LoadBalancer: true}, c.verdict, c.kinds, c.says)
			if got := outcomesOf(r, PathLoadBalancer); !slices.Equal(got, c.paths) {
				t.Errorf("paths %q, want %q", got, c.paths)
			}
			if took := time.Since(start); took > addressPatience+time.Minute {
				t.Errorf("it took %v", took)
			}
		})
	}
}
