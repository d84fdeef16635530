package meshview

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

var (
	now    = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	broken = now.Add(-5 * time.Minute)
)

const degree = 10

// fake is a cluster in which some pairs fail.
type fake struct {
	nodes int
	// zone of a node, by its number.
	zone func(int) string
	// fails reports whether SCTP fails from one node to another, and how much.
	fails func(from, to int) picture.Scope
	// associations that fail; "" means all.
	associations Associations
	// silent agents do not answer, nor do those that are asked if unanswered.
	silent     []int
	unanswered bool
}

func name(i int) string { return fmt.Sprintf("worker-%d", i) }

// peers are those that a node probes: the next on the ring.
func (f fake) peers(from int) (out []int) {
	for i := 1; i <= min(degree, f.nodes-1); i++ {
		out = append(out, (from+i)%f.nodes)
	}
	return out
}

// agents are what the real ones would see and conclude.
func (f fake) agents() []*agent {
	var out []*agent
	for i := range f.nodes {
		a := &agent{node: name(i), pod: "sctp-mesh-" + name(i)}
		if slices.Contains(f.silent, i) {
			a.trouble = "no answer"
		} else {
			p := f.picture(i)
			a.picture = &p
		}
		out = append(out, a)
	}
	return out
}

func (f fake) picture(from int) picture.Picture {
	p := picture.Picture{
		APIVersion: picture.APIVersion, Kind: picture.Kind, Node: name(from), Zone: f.zone(from), Version: "v0.2.0", Time: now,
		Self: picture.Self{State: picture.StateOK}, Nodes: f.nodes, PeersFrom: now, Peers: []picture.Peer{},
	}
	failed := 0
	for _, to := range f.peers(from) {
		scope := f.fails(from, to)
		peer := picture.Peer{
			Node: name(to), Zone: f.zone(to), Address: fmt.Sprintf("192.0.2.%d", to%250), Role: picture.RoleRing,
			New: picture.Probe{State: picture.StateOK, RTT: 0.0005, At: now}, Kept: picture.Probe{State: picture.StateOK, RTT: 0.0003, At: now}, TCP: picture.Probe{State: picture.StateUnknown},
		}
		if scope != "" {
			failed++
			peer.Scope, peer.Since, peer.Conclusion = scope, broken, picture.ConclusionPath
			lost := picture.Probe{State: picture.StateFailed, Cause: "no answer", At: now}
			if f.associations != AssociationsKept {
				peer.New = lost
			}
			if f.associations != AssociationsNew {
				peer.Kept = lost
			}
			peer.TCP = picture.Probe{State: picture.StateOK, At: now}
			if scope == picture.ScopeEverything {
				peer.TCP = lost
			}
			for other := range f.nodes {
				if !f.unanswered && other != from && other != to && peer.Asked < 3 && slices.Contains(f.peers(other), to) {
					peer.Asked++
					if f.fails(other, to) != "" {
						peer.AlsoFail++
					}
				}
			}
			if peer.AlsoFail >= 2 {
				peer.Conclusion = picture.ConclusionNode
			}
		}
		p.Peers = append(p.Peers, peer)
	}
	if failed >= 2 && failed*10 >= 7*len(p.Peers) {
		p.Self = picture.Self{State: picture.StateFailed, Scope: picture.ScopeSCTP, Since: broken}
	}
	return p
}

// subjects are what is found, "kind subject scope".
func subjects(r *Result) []string {
	var out []string
	for _, f := range r.Findings {
		out = append(out, fmt.Sprintf("%s %s %s", f.Kind, f.Subject(), f.Scope))
	}
	return out
}

// What fails is found as what it is, and each pair that fails is explained once.
func TestFindings(t *testing.T) {
	thirds := func(i int) string { return string(rune('a' + i%3)) }
	none := func(int) string { return "" }
	never := func(int, int) picture.Scope { return "" }
	when := func(scope picture.Scope, cond func(from, to int) bool) func(int, int) picture.Scope {
		return func(from, to int) picture.Scope {
			if cond(from, to) {
				return scope
			}
			return ""
		}
	}
	const node, path = "NodeUnreachableBySCTP ", "PathBroken "
	for _, c := range []struct {
		name string
		fake fake
		want []string
		// says are parts of the first finding's message, evidence and fix.
		says []string
	}{
		{"nothing", fake{nodes: 40, zone: thirds, fails: never}, nil, nil},
		{"a node that is off", fake{nodes: 40, zone: thirds, silent: []int{5}, fails: when(picture.ScopeEverything, func(_, to int) bool { return to == 5 })},
			[]string{node + "worker-5 everything"}, []string{"SCTP fails from 10 of 10 nodes that probe it; TCP fails, too", "no answer (10)", "kubectl describe node worker-5"}},
		{"SCTP towards a node is dropped", fake{nodes: 40, zone: none, fails: when(picture.ScopeSCTP, func(_, to int) bool { return to == 5 })},
			[]string{node + "worker-5 sctp"}, []string{"TCP works", "IP protocol 132"}},
		{"most do not reach a node", fake{nodes: 40, zone: none, fails: when(picture.ScopeSCTP, func(from, to int) bool { return to == 20 && from%4 != 0 })},
			[]string{node + "worker-20 sctp"}, []string{"from 8 of 10 nodes", "work: worker-12, worker-16", "fail: worker-10, worker-11, worker-13, worker-14, worker-15 and 3 more"}},
		{"a node that reaches nobody", fake{nodes: 40, zone: none, fails: when(picture.ScopeSCTP, func(from, _ int) bool { return from == 7 })},
			[]string{node + "worker-7 sctp"}, []string{"SCTP fails from it towards 10 of 10 peers, which others reach"}},
		{"a node that is cut off", fake{nodes: 40, zone: thirds, fails: when(picture.ScopeSCTP, func(from, to int) bool { return from == 7 || to == 7 })},
			[]string{node + "worker-7 sctp"}, []string{"from 10 of 10 nodes that probe it, and from it towards most of its peers"}},
		{"one path", fake{nodes: 40, zone: none, fails: when(picture.ScopeSCTP, func(from, to int) bool { return from == 3 && to == 5 })},
			[]string{path + "worker-3 → worker-5 sctp"}, []string{"and others reach the node", "of 3 others that probe worker-5, 0 fail", "kubectl sctp verify --node worker-3 --node worker-5"}},
		{"one path, both ways", fake{nodes: 8, zone: none, fails: when(picture.ScopeEverything, func(from, to int) bool { return from+to == 9 && from*to == 14 })},
			[]string{path + "worker-2 ↔ worker-7 everything"}, []string{"worker-2 → worker-7: ", "worker-7 → worker-2: ", "it is not SCTP alone"}},
		{"two nodes, and nobody to ask", fake{nodes: 2, zone: none, fails: when(picture.ScopeSCTP, func(from, _ int) bool { return from == 0 })},
			[]string{path + "worker-0 → worker-1 sctp"}, []string{"SCTP fails on this path, and whether others reach worker-1 is not known; TCP works"}},
		{"kept associations are lost", fake{nodes: 40, zone: none, associations: AssociationsKept, fails: when(picture.ScopeSCTP, func(from, to int) bool { return from == 3 && to == 5 })},
			[]string{path + "worker-3 → worker-5 sctp"}, []string{"kept SCTP associations fail on", "new association ok, kept one failed (no answer), TCP ok", "conntrack -L -p sctp"}},
		{"new associations are dropped", fake{nodes: 40, zone: none, associations: AssociationsNew, fails: when(picture.ScopeSCTP, func(_, to int) bool { return to == 5 })},
			[]string{node + "worker-5 sctp"}, []string{"new SCTP associations fail", "drop INIT"}},
		{"from one zone to another", fake{nodes: 60, zone: thirds, fails: when(picture.ScopeSCTP, func(from, to int) bool { return from%3 == 0 && to%3 == 1 })},
			[]string{path + "zone a → zone b sctp"}, []string{"between 80 of 80 pairs", "firewalls, security groups and routers"}},
		{"between two zones", fake{nodes: 60, zone: thirds, fails: when(picture.ScopeEverything, func(from, to int) bool { return from%3+to%3 == 1 })},
			[]string{path + "zone a ↔ zone b everything"}, nil},
		{"between zones, and a node that is off in one", fake{nodes: 60, zone: thirds, silent: []int{30}, fails: func(from, to int) picture.Scope {
			switch {
			case to == 30:
				return picture.ScopeEverything
			case from%3 == 0 && to%3 == 1:
				return picture.ScopeSCTP
			}
			return ""
		}}, []string{node + "worker-30 everything", path + "zone a → zone b sctp"}, nil},
		{"the last one of three", fake{nodes: 3, zone: none, silent: []int{1, 2}, fails: when(picture.ScopeEverything, func(_, _ int) bool { return true }), unanswered: true},
			[]string{node + "worker-0 sctp"}, []string{"from it towards 2 of 2 peers, and whether others reach them is not known"}},
		{"two paths, and those that reach the node are not seen", fake{nodes: 40, zone: none, silent: []int{10, 11, 12, 14, 15, 16, 18, 19}, fails: when(picture.ScopeSCTP, func(from, to int) bool { return to == 20 && (from == 13 || from == 17) })},
			[]string{path + "worker-13 → worker-20 sctp", path + "worker-17 → worker-20 sctp"}, []string{"and others reach the node"}},
		// Its nodes are not reached from anywhere: they are down, whatever the
		// zone.
		{"a zone without power", fake{nodes: 12, zone: func(i int) string { return string(rune('a' + i/9)) }, silent: []int{9, 10, 11}, fails: when(picture.ScopeEverything, func(_, to int) bool { return to >= 9 })},
			[]string{node + "worker-9 everything", node + "worker-10 everything", node + "worker-11 everything"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := join(now, c.fake.agents())
			if got := subjects(r); !slices.Equal(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			if len(r.Findings) > 0 {
				f := r.Findings[0]
				text := f.Message + "\n" + strings.Join(f.Evidence, "\n") + "\n" + f.Fix
				for _, part := range c.says {
					if !strings.Contains(text, part) {
						t.Errorf("it does not say %q:\n%s", part, text)
					}
				}
			}
			explained := 0
			for _, f := range r.Findings {
				explained += f.Failed
				if !f.Since.Equal(broken) {
					t.Errorf("%s since %v", f.Subject(), f.Since)
				}
			}
			// Those of a node that is cut off are from it and to it.
			if explained > r.Summary.Failed || len(r.Findings) == 0 && r.Summary.Failed > 0 {
				t.Errorf("%d of %d pairs are explained", explained, r.Summary.Failed)
			}
			if len(r.Unseen) != len(c.fake.silent) || r.Summary.Seen != c.fake.nodes-len(c.fake.silent) {
				t.Errorf("not seen: %+v", r.Unseen)
			}
		})
	}
}

// A thousand nodes with many faults are read in an instant, and each fault is
// one finding.
func TestThousandNodes(t *testing.T) {
	down := map[int]bool{}
	for i := range 20 {
		down[i*47] = true
	}
	f := fake{nodes: 1000, zone: func(i int) string { return string(rune('a' + i%3)) }, fails: func(from, to int) picture.Scope {
		switch {
		case down[to]:
			return picture.ScopeEverything
		case from%100 == 1 && to == from+1:
			return picture.ScopeSCTP
		}
		return ""
	}}
	for i := range down {
		f.silent = append(f.silent, i)
	}
	r := join(now, f.agents())
	kinds := map[Kind]int{}
	for _, f := range r.Findings {
		kinds[f.Kind]++
	}
	broken := 0
	for i := 1; i < 1000; i += 100 {
		if !down[i] && !down[i+1] {
			broken++
		}
	}
	if kinds[NodeUnreachableBySCTP] != len(down) || kinds[PathBroken] != broken || r.Summary.Pairs != 9800 {
		t.Errorf("%v, want %d and %d; %+v", kinds, len(down), broken, r.Summary)
	}
}

// What an agent reports of itself, of nodes that have left, and in long texts.
func TestPictures(t *testing.T) {
	agents := fake{nodes: 12, zone: func(int) string { return "" }, fails: func(int, int) picture.Scope { return "" }}.agents()
	agents[0].picture.Peers = append(agents[0].picture.Peers, picture.Peer{
		Node: "gone", New: picture.Probe{State: picture.StateFailed, Cause: "no answer"}, Conclusion: picture.ConclusionNode,
	})
	// A peer counts once, and no agent is its own.
	twice := agents[3].picture.Peers[0]
	twice.New.State, twice.Conclusion = picture.StateFailed, picture.ConclusionPath
	agents[3].picture.Peers = append(agents[3].picture.Peers, twice, twice, picture.Peer{Node: name(3), New: twice.New, Conclusion: twice.Conclusion})
	agents[1].picture.Self = picture.Self{State: picture.StateUnknown, Cause: "the kernel has no SCTP"}
	agents[1].picture.Peers = nil
	agents[2].picture.Peers[0].New = picture.Probe{State: picture.StateFailed, Cause: strings.Repeat("many words ", 100)}
	agents[2].picture.Peers[0].Conclusion = picture.ConclusionPath
	// The agent there is just starting, and nothing is concluded.
	for _, i := range []int{6, 7, 8} {
		agents[i].picture.Peers[9-i].New = picture.Probe{State: picture.StateFailed, Cause: "refused"}
	}
	r := join(now, agents)
	if v := (&Result{Summary: r.Summary, Pairs: r.Pairs}).Verdict(); v != kmod.AnswerUnknown {
		t.Errorf("without what is concluded: %v", v)
	}
	if got := subjects(r); !slices.Equal(got, []string{"PathBroken worker-2 → worker-3 "}) || len(r.Findings[0].Evidence[0]) > 400 {
		t.Errorf("%+v", r.Findings)
	}
	if want := (Unseen{"worker-1", "it probes nothing: the kernel has no SCTP"}); len(r.Unseen) != 1 || r.Unseen[0] != want {
		t.Errorf("%+v", r.Unseen)
	}
	if want := (Summary{Nodes: 12, Seen: 12, Pairs: 110, OK: 106, Failed: 1, Unknown: 3}); r.Summary != want {
		t.Errorf("%+v, want %+v", r.Summary, want)
	}
	if want := (ZonePair{Pairs: 110, OK: 106, Failed: 1, RTT: 0.0005}); len(r.Zones) != 1 || r.Zones[0] != want {
		t.Errorf("%+v, want %+v", r.Zones, want)
	}
}
