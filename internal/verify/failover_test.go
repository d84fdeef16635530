package verify

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// The endpoint that serves a client is deleted once the client has an association,
// and the client's result is judged; where that cannot be tried, it is reported,
// and nothing is deleted.
func TestFailover(t *testing.T) {
	role := func(p *corev1.Pod, role string) bool { return p.Labels[labelRole] == role }
	says := func(r wire.Recovery) func(*server) {
		return func(s *server) { s.recovery = func(wire.Target) wire.Recovery { return r } }
	}
	leaves := func(say wire.Say) func(*server) {
		return func(s *server) {
			text, err := wire.Encode("test", say)
			if err != nil {
				t.Fatal(err)
			}
			s.messages = map[string]string{roleFailover: text}
		}
	}
	for _, c := range []struct {
		name    string
		prepare func(*server)
		verdict kmod.Answer
		kinds   []string
		// says is part of the last finding, or of the result where there is none.
		says    string
		deleted bool
	}{
		{"another answers", func(*server) {}, kmod.AnswerTrue, nil, "from port 40000: the endpoint on node n0 answered 3.0 s after that on node n1", true},
		{"at the bound", says(wire.Recovery{Outcome: wire.OK, Peer: 1, Gap: 30_000}), kmod.AnswerTrue, nil, "30.0 s", true},
		{"late", says(wire.Recovery{Outcome: wire.OK, Peer: 1, Gap: 30_001, OtherPort: 2_000}), kmod.AnswerFalse, []string{FindingFailoverSlow}, "from other ports after 2.0 s", true},
		{"another port only", says(wire.Recovery{Outcome: wire.Dropped, Peer: -1, Gap: 60_000, OtherPort: 1_500}), kmod.AnswerFalse, []string{FindingFailoverStale}, "no answer within 60 s", true},
		{"none", says(wire.Recovery{Outcome: wire.Refused, Peer: -1, Gap: 60_000}), kmod.AnswerFalse, []string{FindingFailoverFailed}, "(refused)", true},
		{"the endpoint never served the client", leaves(wire.Say{Recoveries: []wire.Recovery{{Outcome: wire.NotTried, Errno: "only listener 1 answers", Peer: -1}}}),
			kmod.AnswerUnknown, []string{FindingUndecided}, "only listener 1 answers", false},
		{"the client cannot work", leaves(wire.Say{Fault: wire.Unknown, Detail: "no port"}), kmod.AnswerUnknown, []string{FindingUndecided}, "no port", false},
		{"the client is gone", func(s *server) { s.vanishes = "failover-client" }, kmod.AnswerUnknown, []string{FindingUndecided}, "its client is gone", false},
		{"the client does not start", func(s *server) { s.hold = func(p *corev1.Pod) bool { return role(p, roleFailover) } }, kmod.AnswerUnknown, []string{FindingUndecided}, "did not end", false},
		{"an endpoint does not start", func(s *server) { s.hold = func(p *corev1.Pod) bool { return p.Name == "endpoint-1" } },
			kmod.AnswerUnknown, []string{FindingUndecided}, "pod endpoint-1 did not start", false},
		{"an endpoint is gone", func(s *server) { s.vanishes = "endpoint-0" }, kmod.AnswerUnknown, []string{FindingUndecided}, "an endpoint is gone", false},
		{"Services are not served", func(s *server) {
			s.outcome = func(_ wire.Job, target wire.Target) wire.Outcome {
				if target.Address == "10.1.0.1:38412" {
					return wire.Dropped
				}
				return wire.OK
			}
		}, kmod.AnswerFalse, []string{FindingServices, FindingUndecided}, "failover was not tried", false},
	} {
		inBubble(t, c.name, func(t *testing.T) {
			s := newServer()
			c.prepare(s)
			s.tries(t, Options{Failover: true}, c.verdict, c.kinds, c.says)
			if got := slices.ContainsFunc(s.requests, func(r string) bool {
				return strings.HasPrefix(r, http.MethodDelete) && strings.HasSuffix(r, "/pods/endpoint-0")
			}); got != c.deleted {
				t.Errorf("endpoint deleted: %v, want %v", got, c.deleted)
			}
		})
	}
}

// The client's node reaches the endpoints' nodes and Services, and the endpoints
// are elsewhere, as far as there are nodes.
func TestFailoverNodes(t *testing.T) {
	for _, c := range []struct {
		name  string
		nodes int
		// broken are direct paths, "0-1", and unserved a node without Services.
		broken   []string
		unserved int
		want     string
	}{
		{"one node", 1, nil, -1, "n0: n0 n0"},
		{"two nodes", 2, nil, -1, "n0: n1 n0"},
		{"three nodes", 3, nil, -1, "n0: n1 n2"},
		{"the first has no Services", 3, nil, 0, "n1: n2 n0"},
		{"the first reaches only itself", 3, []string{"0-1", "0-2"}, -1, "n1: n2 n0"},
		{"the first does not reach the second", 3, []string{"0-1"}, -1, "n0: n2 n0"},
		{"nobody reaches another", 2, []string{"0-1", "1-0"}, -1, "n0: n0 n0"},
		{"nobody reaches anything", 2, []string{"0-0", "0-1", "1-0", "1-1"}, -1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newPlan(c.nodes, false)
			index := func(name string) string { return strings.TrimPrefix(name, "n") }
			for _, p := range r.paths() {
				p.Path.Outcome = wire.OK
				if p.Kind == PathPod && slices.Contains(c.broken, index(p.From)+"-"+index(p.To)) || p.Kind == PathClusterIP && p.From == fmt.Sprintf("n%d", c.unserved) {
					p.Path.Outcome = wire.Dropped
				}
				r.result.Paths = append(r.result.Paths, p.Path)
			}
			from, ends := r.failoverNodes()
			got := ""
			if from != nil {
				got = fmt.Sprintf("%s: %s %s", from.Name, ends[0].Name, ends[1].Name)
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
