package verify

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// works is a result of three nodes on which every path works.
func works() *Result {
	r := &Result{}
	names := []string{"a", "b", "c"}
	for i, n := range names {
		r.Nodes = append(r.Nodes, Node{Name: n, Index: i})
	}
	for _, from := range names {
		for i, to := range names {
			path := Path{From: from, To: to, Family: "IPv4", Outcome: wire.OK}
			for _, kind := range []PathKind{PathPod, PathClusterIP} {
				path.Kind = kind
				r.Paths = append(r.Paths, path)
			}
			path.Kind, path.Via = PathNodePort, to
			r.Paths = append(r.Paths, path)
			path.To = names[(i+1)%3]
			r.Paths = append(r.Paths, path)
		}
	}
	return r
}

func spoil(r *Result, o wire.Outcome, which func(Path) bool) {
	for i := range r.Paths {
		if which(r.Paths[i]) {
			r.Paths[i].Outcome = o
		}
	}
}

// TestJudge holds every kind of finding to a case that shows it, to the result
// of works, which shows none, and to a row of the documentation's table.
func TestJudge(t *testing.T) {
	shown := map[string]bool{}
	between := func(p Path, x, y string) bool { return p.From == x && p.To == y }
	for _, c := range []struct {
		name  string
		spoil func(*Result)
		ports map[string][]int32
		want  []string
		// says is part of the first finding.
		says    string
		verdict kmod.Answer
	}{
		{"all works", func(*Result) {}, nil, nil, "", kmod.AnswerTrue},
		{"nothing was tried", func(r *Result) { r.Paths = nil }, nil, nil, "", kmod.AnswerUnknown},
		{"dropped between two, Services with it", func(r *Result) {
			spoil(r, wire.Dropped, func(p Path) bool { return between(p, "a", "b") })
		}, nil, []string{FindingDropped}, "a → b", kmod.AnswerFalse},
		{"each way has its own cause", func(r *Result) {
			spoil(r, wire.Dropped, func(p Path) bool { return between(p, "a", "b") })
			spoil(r, wire.OneWay, func(p Path) bool { return between(p, "b", "a") })
		}, nil, []string{FindingDropped, FindingOneWay}, "", kmod.AnswerFalse},
		{"the network is down", func(r *Result) {
			spoil(r, wire.NetworkDown, func(p Path) bool { return between(p, "a", "b") })
		}, nil, []string{FindingNetworkDown}, "neither SCTP nor TCP", kmod.AnswerFalse},
		{"a firewall rejects", func(r *Result) {
			spoil(r, wire.NoRoute, func(p Path) bool { return between(p, "a", "b") })
			spoil(r, wire.Refused, func(p Path) bool { return between(p, "b", "c") })
		}, nil, []string{FindingNoRoute, FindingRefused}, "a → b", kmod.AnswerFalse},
		{"large messages are lost", func(r *Result) {
			spoil(r, wire.Lost, func(p Path) bool { return between(p, "a", "b") })
			for i := range r.Paths {
				if r.Paths[i].Outcome == wire.Lost {
					r.Paths[i].FailedSize = 9000
				}
			}
		}, nil, []string{FindingMessagesLost}, "a message of 9000 bytes", kmod.AnswerFalse},
		{"kube-proxy does not run on b", func(r *Result) {
			spoil(r, wire.Dropped, func(p Path) bool {
				return p.Kind == PathClusterIP && p.From == "b" || p.Kind == PathNodePort && p.Via == "b"
			})
		}, nil, []string{FindingServices, FindingNodePorts}, "node b does not serve", kmod.AnswerFalse},
		{"one Service fails", func(r *Result) {
			spoil(r, wire.Dropped, func(p Path) bool { return p.Kind == PathClusterIP && between(p, "a", "b") })
		}, nil, []string{FindingServiceBroken}, "a → b", kmod.AnswerFalse},
		{"one node port does not forward", func(r *Result) {
			spoil(r, wire.Dropped, func(p Path) bool { return p.Kind == PathNodePort && p.Via == "b" && p.To == "c" })
		}, nil, []string{FindingNodePortBroken}, "through node b", kmod.AnswerFalse},
		{"a node port cannot forward where the pods do not reach each other", func(r *Result) {
			spoil(r, wire.Dropped, func(p Path) bool { return p.From == "b" && p.To == "c" || p.Via == "b" && p.To == "c" })
		}, nil, []string{FindingDropped}, "b → c", kmod.AnswerFalse},
		{"what leads over a broken pair is not spoken of", func(r *Result) {
			spoil(r, wire.NotTried, func(p Path) bool { return p.To == "b" || p.Via == "b" })
			spoil(r, wire.OneWay, func(p Path) bool { return p.Kind == PathPod && p.To == "b" })
			spoil(r, wire.OK, func(p Path) bool { return p.From == "b" })
		}, nil, []string{FindingOneWay}, "c → b", kmod.AnswerFalse},
		{"wrong target port, and some paths to it were not tried", func(r *Result) {
			spoil(r, wire.Refused, func(p Path) bool { return p.Kind != PathPod && p.To == "b" })
			spoil(r, wire.NotTried, func(p Path) bool { return p.Kind != PathPod && between(p, "a", "b") })
			spoil(r, wire.Dropped, func(p Path) bool { return p.Kind == PathPod && between(p, "a", "b") })
		}, map[string][]int32{"b": {9}}, []string{FindingDropped, FindingTargetPort}, "a → b", kmod.AnswerFalse},
		{"wrong target port", func(r *Result) {
			spoil(r, wire.Refused, func(p Path) bool { return p.Kind != PathPod && p.To == "b" })
		}, map[string][]int32{"a": {EchoPort}, "b": {9, 9}, "c": {EchoPort}}, []string{FindingTargetPort}, "sends to port 9", kmod.AnswerFalse},
		{"no module", func(r *Result) {
			r.Nodes[1].Fault = wire.ModuleMissing
			r.Paths = slices.DeleteFunc(r.Paths, func(p Path) bool { return p.From == "b" || p.To == "b" || p.Via == "b" })
		}, nil, []string{FindingModuleMissing}, "node b", kmod.AnswerFalse},
		{"a node was not tested", func(r *Result) {
			r.Nodes[1].Fault, r.Nodes[1].Detail = wire.Unknown, "ErrImagePull"
		}, nil, []string{FindingUndecided}, "ErrImagePull", kmod.AnswerUnknown},
		{"an image that asks for a secret", func(r *Result) {
			r.Nodes[1].Fault, r.Nodes[1].Detail = wire.Unknown, "its listener did not start: ImagePullBackOff: Back-off"
		}, nil, []string{FindingUndecided}, "ImagePullBackOff", kmod.AnswerUnknown},
		{"policy not enforced", func(r *Result) { policyPaths(r, tried{wire.OK, wire.OK, wire.OK}) }, nil, []string{FindingNotEnforced}, "reached", kmod.AnswerFalse},
		{"policy blocks what it allows", func(r *Result) { policyPaths(r, tried{wire.OK, wire.Dropped, wire.Unknown}) }, nil, []string{FindingPolicyBlocks}, "", kmod.AnswerFalse},
		{"a client said nothing of node ports", func(r *Result) {
			spoil(r, wire.Unknown, func(p Path) bool { return p.Kind == PathNodePort && p.Via == "b" })
		}, nil, []string{FindingUndecided}, "through node b", kmod.AnswerUnknown},
		{"a client said nothing at all", func(r *Result) {
			spoil(r, wire.Unknown, func(p Path) bool { return p.From == "b" })
		}, nil, []string{FindingUndecided}, "b → a", kmod.AnswerUnknown},
		{"a path was not tried, and what it leads over works after all", func(r *Result) {
			spoil(r, wire.NotTried, func(p Path) bool { return p.Kind == PathClusterIP && between(p, "a", "b") })
		}, nil, []string{FindingUndecided}, "a → b", kmod.AnswerUnknown},
		{"a load balancer does not forward", func(r *Result) {
			r.LoadBalancer = &LoadBalancer{To: "a", Addresses: []string{"198.51.100.7"}}
			r.Paths = append(r.Paths, Path{Kind: PathLoadBalancer, From: "b", To: "a", Family: "IPv4", Outcome: wire.Dropped})
		}, nil, []string{FindingLoadBalancer}, "b → a", kmod.AnswerFalse},
		{"a path in a second network is down", func(r *Result) {
			r.Network = &Network{Name: "ran/n2"}
			r.Paths = append(r.Paths, Path{Kind: PathNetwork, From: "a", To: "b", Family: "IPv4", Outcome: wire.PathDown, Errno: "192.168.7.2 unconfirmed"})
		}, nil, []string{FindingPathDown}, "192.168.7.2 unconfirmed", kmod.AnswerFalse},
		{"a client is served again soon", func(r *Result) { r.Failovers = []Failover{{Outcome: wire.OK, Seconds: 4}} }, nil, nil, "", kmod.AnswerTrue},
		{"a client is served again late", func(r *Result) { r.Failovers = []Failover{{Outcome: wire.OK, Seconds: 31}} }, nil, []string{FindingFailoverSlow}, "more than 30 s", kmod.AnswerFalse},
		{"each family has its own trouble", func(r *Result) {
			r.Failovers = []Failover{{Family: "IPv4", Outcome: wire.Dropped, OtherPortSeconds: 2}, {Family: "IPv6", Outcome: wire.NoRoute}}
		}, nil, []string{FindingFailoverStale, FindingFailoverFailed}, "IPv4", kmod.AnswerFalse},
		{"failover could not be tried", func(r *Result) { r.Failovers = []Failover{} }, nil, []string{FindingUndecided}, "not tried", kmod.AnswerUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := works()
			c.spoil(r)
			r.Findings = judge(r, c.ports, "")
			if got := kindsOf(r); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			for _, f := range r.Findings {
				shown[f.Kind] = true
				for _, e := range f.Evidence {
					if strings.Contains(e, string(wire.NotTried)) && f.Kind != FindingUndecided {
						t.Errorf("what was not tried is no evidence: %s", e)
					}
				}
			}
			if len(r.Findings) > 0 {
				f := r.Findings[0]
				if pull := strings.Contains(c.says, "ImagePull"); pull != strings.Contains(f.Fix, "--image-pull-secret") {
					t.Errorf("the remedy is %q", f.Fix)
				}
				if text := f.Message + "\n" + strings.Join(f.Evidence, "\n"); !strings.Contains(text, c.says) {
					t.Errorf("it does not say %q: %s", c.says, text)
				}
			}
			if got := r.Verdict(); got != c.verdict {
				t.Errorf("verdict %s, want %s", got, c.verdict)
			}
		})
	}
	text, err := os.ReadFile("../../docs/verify.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("judge.go")
	if err != nil {
		t.Fatal(err)
	}
	kinds := regexp.MustCompile(`(?m)^\tFinding\w+ += "(\w+)"$`).FindAllStringSubmatch(string(source), -1)
	if len(kinds) < 15 {
		t.Errorf("only %d kinds found", len(kinds))
	}
	_, documented, _ := strings.Cut(string(text), "\n## What it finds\n")
	documented, _, _ = strings.Cut(documented, "\n## ")
	for _, m := range regexp.MustCompile("(?m)^\\| (`.+?`) \\|").FindAllStringSubmatch(documented, -1) {
		for name := range strings.SplitSeq(m[1], ", ") {
			if !slices.ContainsFunc(kinds, func(k []string) bool { return "`"+k[1]+"`" == name }) {
				t.Errorf("docs/verify.md has %s, the code does not", name)
			}
		}
	}
	for _, k := range kinds {
		if !strings.Contains(string(text), "`"+k[1]+"`") {
			t.Errorf("docs/verify.md does not have %s", k[1])
		}
		if !shown[k[1]] {
			t.Errorf("no case shows %s", k[1])
		}
	}
}

// tried is what trying a pair with a NetworkPolicy gave: the port that it does
// not allow before there was a policy, the port that it allows, and the former
// again.
type tried struct{ before, allowed, denied wire.Outcome }

func policyPaths(r *Result, pairs ...tried) {
	r.Policy = policyUnknown
	for i, pair := range pairs {
		from, to := r.Nodes[i%3].Name, r.Nodes[(i+1)%3].Name
		for kind, o := range map[PathKind]wire.Outcome{PathBefore: pair.before, PathAllowed: pair.allowed, PathDenied: pair.denied} {
			r.Paths = append(r.Paths, Path{Kind: kind, From: from, To: to, Family: "IPv4", Outcome: o})
		}
	}
}

// TestJudgePolicy: the answer about NetworkPolicy needs evidence: an echo where
// none may come, or failures confirmed by the client while the port beside works.
// One timeout is neither, and contradictions are reported.
func TestJudgePolicy(t *testing.T) {
	open := tried{wire.OK, wire.OK, wire.OK}
	shut := tried{wire.OK, wire.OK, wire.Blocked}
	timeout := tried{wire.OK, wire.OK, wire.Dropped}
	for _, c := range []struct {
		name   string
		pairs  []tried
		policy string
		want   []string
		// lists is how many paths are the first finding's evidence.
		lists   int
		verdict kmod.Answer
	}{
		{"enforced", []tried{shut, shut, shut}, "enforced", nil, 0, kmod.AnswerTrue},
		{"enforced, and one path did not work before", []tried{shut, {wire.Dropped, wire.OK, wire.Blocked}}, "enforced", nil, 0, kmod.AnswerTrue},
		{"not enforced", []tried{open, open}, "not-enforced", []string{FindingNotEnforced}, 2, kmod.AnswerFalse},
		// Seen on an overloaded machine: the timeout is evidence neither against
		// the echo nor for it.
		{"not enforced, and one path timed out", []tried{timeout, open}, "not-enforced", []string{FindingNotEnforced}, 1, kmod.AnswerFalse},
		{"every path timed out once", []tried{timeout, timeout}, "unknown", []string{FindingUndecided}, 2, kmod.AnswerUnknown},
		{"one timed out, one is blocked", []tried{timeout, shut}, "unknown", []string{FindingUndecided}, 2, kmod.AnswerUnknown},
		{"enforced on one node only", []tried{open, shut, open}, "partly-enforced", []string{FindingNotEnforced}, 3, kmod.AnswerFalse},
		{"nothing worked before", []tried{{wire.Dropped, wire.OK, wire.Blocked}}, "unknown", []string{FindingUndecided}, 0, kmod.AnswerUnknown},
		{"the client said nothing", []tried{{wire.OK, wire.Unknown, wire.Unknown}}, "unknown", []string{FindingUndecided}, 1, kmod.AnswerUnknown},
		{"the allowed port fails too", []tried{{wire.OK, wire.Dropped, wire.Unknown}}, "unknown", []string{FindingPolicyBlocks}, 1, kmod.AnswerFalse},
		{"blocked, and the allowed port failed later", []tried{{wire.OK, wire.Refused, wire.Blocked}}, "unknown", []string{FindingPolicyBlocks}, 1, kmod.AnswerFalse},
		{"the allowed port fails on one path", []tried{shut, {wire.OK, wire.Dropped, wire.Unknown}}, "unknown", []string{FindingPolicyBlocks}, 1, kmod.AnswerFalse},
		{"the denied port is reached, the allowed one is not", []tried{{wire.OK, wire.Dropped, wire.OK}}, "not-enforced", []string{FindingNotEnforced, FindingPolicyBlocks}, 1, kmod.AnswerFalse},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := works()
			policyPaths(r, c.pairs...)
			r.Findings = judge(r, nil, "")
			got := kindsOf(r)
			if !slices.Equal(got, c.want) || r.Policy != c.policy || r.Verdict() != c.verdict {
				t.Fatalf("policy %s, findings %q, verdict %s; want %s, %q, %s", r.Policy, got, r.Verdict(), c.policy, c.want, c.verdict)
			}
			if len(got) > 0 && len(r.Findings[0].Evidence) != c.lists {
				t.Errorf("evidence %q, want %d", r.Findings[0].Evidence, c.lists)
			}
		})
	}
}
