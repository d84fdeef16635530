package verify

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/sctp-agent/sctp-agent/internal/mesh/ring"
	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// newRing is a run on n nodes of three zones that try a ring, in which some have
// no listener.
func newRing(n int, down func(*Node) bool) *run {
	r := newPlan(n, true)
	for i := range r.result.Nodes {
		n := &r.result.Nodes[i]
		n.Zone = []string{"z0", "z1", "z2"}[i*7%10/4]
		if down(n) {
			n.Fault = wire.Unknown
		}
	}
	r.plan()
	services := r.services
	r.services = map[int]*corev1.Service{}
	for _, n := range r.served() {
		r.services[n.Index] = services[n.Index]
	}
	return r
}

// TestRing: of a thousand nodes each tries ten others and is tried by ten; each
// one's cluster addresses and node port are tried, by pods whose way there is
// tried too; and that takes one client for each node.
func TestRing(t *testing.T) {
	for _, c := range []struct {
		nodes int
		down  func(*Node) bool
	}{
		{1000, func(*Node) bool { return false }},
		{1000, func(n *Node) bool { return n.Index%10 == 3 }},
		{1000, func(n *Node) bool { return n.Zone == "z1" }},
		{AllPairsByDefault + 1, func(*Node) bool { return false }},
	} {
		r := newRing(c.nodes, c.down)
		paths := r.paths()
		type end struct{ node, family string }
		to, from, clusterIP, via := map[end]int{}, map[end]int{}, map[end]int{}, map[end]int{}
		direct := map[[3]string]bool{}
		byNode := map[string][]int{}
		for i, p := range paths {
			byNode[p.From] = append(byNode[p.From], i)
			switch p.Kind {
			case PathPod:
				if p.From == p.To || direct[p.ends()] {
					t.Errorf("%d nodes: %+v", c.nodes, p.Path)
				}
				direct[p.ends()] = true
				to[end{p.To, p.Family}]++
				from[end{p.From, p.Family}]++
			case PathClusterIP:
				clusterIP[end{p.From, p.Family}]++
			case PathNodePort:
				via[end{p.Via, p.Family}]++
			}
		}
		for _, n := range r.taking() {
			for _, family := range []string{"IPv4", "IPv6"} {
				e := end{n.Name, family}
				if from[e] != ring.Peers || to[e] != ring.Peers || clusterIP[e] < 2 || via[e] < ringVias {
					t.Errorf("%d nodes: %v tries %d, is tried by %d, cluster addresses %d, node port %d", c.nodes, e, from[e], to[e], clusterIP[e], via[e])
				}
			}
			if got := jobs(paths, byNode[n.Name]); len(got) != 1 {
				t.Errorf("%d nodes: %s has %d clients", c.nodes, n.Name, len(got))
			}
		}
		for _, p := range paths {
			first := p.Path
			if p.Via != "" {
				first.To = p.Via
			}
			if !direct[first.ends()] || !direct[p.ends()] || p.Via != "" && p.Via != p.To && !direct[[3]string{p.Via, p.To, p.Family}] {
				t.Errorf("%d nodes: what lies on the way is not tried: %+v", c.nodes, p.Path)
			}
		}
		t.Logf("%d of %d nodes: %d Services, %d paths, %d of them direct", len(r.taking()), c.nodes, len(r.services), len(paths), len(direct))
	}
}

// TestRingLocalisesFaults: the rows of each finding name the cause, not its
// paths, in a ring of a thousand nodes.
func TestRingLocalisesFaults(t *testing.T) {
	never := func(*Path) bool { return false }
	whole := newRing(1000, func(*Node) bool { return false })
	zone := map[string]string{}
	for _, n := range whole.result.Nodes {
		zone[n.Name] = n.Zone
	}
	pair, serviceOf := whole.paths()[0], whole.served()[9].Name
	for _, c := range []struct {
		name string
		// drops says of a direct path that it fails, and unserved of one
		// through a Service.
		drops, unserved func(*Path) bool
		want            []string // kind: beginning of a row
	}{
		{"all works", never, never, nil},
		{"one node", func(p *Path) bool { return p.From == "n7" || p.To == "n7" }, never,
			[]string{"SCTPDropped: to and from node n7: 40 of 40 paths, such as "}},
		{"to one node", func(p *Path) bool { return p.To == "n7" }, never,
			[]string{"SCTPDropped: to node n7: 20 of 20 paths, such as "}},
		{"to one node, over IPv6", func(p *Path) bool { return p.To == "n7" && p.Family == "IPv6" }, never,
			[]string{"SCTPDropped: to node n7, IPv6: 10 of 10 paths, such as "}},
		{"two nodes", func(p *Path) bool { return p.From == "n7" || p.To == "n7" || p.From == "n500" }, never,
			[]string{"SCTPDropped: to and from node n7: 40 of 40 paths, such as ", "SCTPDropped: from node n500: 20 of 20 paths, such as "}},
		{"one pair", func(p *Path) bool { return p.From == pair.From && p.To == pair.To }, never,
			[]string{"SCTPDropped: " + pair.From + " → " + pair.To + ", IPv4 (" + pair.Address + "): dropped", "SCTPDropped: " + pair.From + " → " + pair.To + ", IPv6 ("}},
		{"one zone", func(p *Path) bool { return zone[p.From] == "z2" || zone[p.To] == "z2" }, never,
			[]string{"SCTPDropped: between zone z2 and others: ", "SCTPDropped: within zone z2: "}},
		{"one zone from others", func(p *Path) bool { return zone[p.From] != "z2" && zone[p.To] == "z2" }, never,
			[]string{"SCTPDropped: to zone z2 from others: "}},
		{"from one zone to another, and a node", func(p *Path) bool { return zone[p.From] == "z0" && zone[p.To] == "z1" || p.To == "n10" }, never,
			[]string{"SCTPDropped: from zone z0 to zone z1: ", "SCTPDropped: to node n10: 20 of 20 paths, such as "}},
		{"everywhere", func(p *Path) bool { return true }, never,
			[]string{"SCTPDropped: between all nodes: 20000 of 20000 paths, such as "}},
		{"kube-proxy of one node", never, func(p *Path) bool { return p.Kind == PathClusterIP && p.From == "n7" || p.Via == "n7" },
			[]string{"ServicesNotServed: n7 → n", "ServicesNotServed: n7 → n", "ServicesNotServed: n7 → n", "ServicesNotServed: n7 → n", "NodePortsNotServed: through node n7: "}},
		{"kube-proxy of a zone", never, func(p *Path) bool { return p.Kind == PathClusterIP && zone[p.From] == "z2" },
			[]string{"ServicesNotServed: nodes n", "ServicesNotServed: from zone z2 to others: ", "ServicesNotServed: within zone z2: "}},
		{"one Service", never, func(p *Path) bool { return p.Kind == PathClusterIP && p.To == serviceOf },
			[]string{"ServiceBroken: to node " + serviceOf + ": 20 of 20 paths, such as "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRing(1000, func(*Node) bool { return false })
			planned := r.paths()
			bad := map[[3]string]bool{}
			for i := range planned {
				p := planned[i].Path
				p.Outcome = wire.OK
				if p.Kind == PathPod && c.drops(&p) {
					p.Outcome = wire.Dropped
					bad[p.ends()] = true
				}
				if p.Kind == PathPod {
					r.result.Paths = append(r.result.Paths, p)
				}
			}
			for i := range planned {
				p := planned[i].Path
				p.Outcome = wire.OK
				switch {
				case p.Kind != PathClusterIP && p.Kind != PathNodePort:
					continue
				case bad[p.ends()] || p.Via != "" && bad[[3]string{p.From, p.Via, p.Family}]:
					p.Outcome = wire.NotTried
				case c.unserved(&p) || p.Via != "" && bad[[3]string{p.Via, p.To, p.Family}]:
					p.Outcome = wire.Dropped
				}
				r.result.Paths = append(r.result.Paths, p)
			}
			var got []string
			for _, f := range judge(r.result, nil, "") {
				for _, e := range f.Evidence {
					got = append(got, f.Kind+": "+e)
				}
			}
			if !slices.EqualFunc(got, c.want, strings.HasPrefix) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got[:min(len(got), 20)], "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// A zone whose nodes have no SCTP is one finding.
func TestManyNodesOfOneTrouble(t *testing.T) {
	r := newRing(1000, func(*Node) bool { return false })
	for i := range r.result.Nodes {
		switch n := &r.result.Nodes[i]; {
		case n.Zone == "z2":
			n.Fault, n.Detail = wire.ModuleMissing, "no SCTP"
		case i == 1:
			n.Fault, n.Detail = wire.Unknown, "its listener did not start: ErrImagePull"
		case i < 20:
			n.Fault, n.Detail = wire.Unknown, fmt.Sprintf("its listener did not start: reason %d", i%2)
		}
	}
	var got []string
	for _, f := range judge(r.result, nil, "") {
		got = append(got, fmt.Sprintf("%s: %s: %q", f.Kind, f.Message, f.Evidence))
	}
	t.Logf("%s", strings.Join(got, "\n"))
	if len(got) != 3 {
		t.Errorf("%d findings", len(got))
	}
}

// A run on two hundred nodes is a ring; on few, or where it is asked for, all
// pairs.
func TestPlan(t *testing.T) {
	for _, c := range []struct {
		nodes            int
		allPairs         bool
		plan             Plan
		direct, services int
	}{
		{200, false, PlanRing, 2000, 40},
		{AllPairsByDefault, false, PlanAllPairs, 144, 12},
		{20, true, PlanAllPairs, 400, 20},
	} {
		inBubble(t, fmt.Sprintf("%d nodes, all pairs %t", c.nodes, c.allPairs), func(t *testing.T) {
			s := newServer()
			s.nodes = c.nodes
			r, err := s.runWith(t.Context(), t, Options{Image: "x", AllPairs: c.allPairs})
			if err != nil || r.Verdict() != kmod.AnswerTrue {
				t.Fatalf("%v, %+v", err, r)
			}
			services := 0
			for _, request := range s.requests {
				if strings.HasPrefix(request, "POST ") && strings.HasSuffix(request, "/services") {
					services++
				}
			}
			if got := len(r.reached(PathPod)); r.Plan != c.plan || got != c.direct || services != c.services {
				t.Errorf("plan %s, %d direct paths, %d Services", r.Plan, got, services)
			}
			s.deleted(t)
		})
	}
}
