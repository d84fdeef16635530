package meshview

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
)

// join makes one picture of what the agents see.
func join(now time.Time, agents []*agent) *Result {
	r := &Result{
		APIVersion: APIVersion, Kind: ResultKind, Time: now.UTC().Truncate(time.Second),
		Findings: []Finding{}, Unseen: []Unseen{}, Nodes: []Node{}, Zones: []ZonePair{}, Pairs: []Pair{},
	}
	slices.SortFunc(agents, func(a, b *agent) int { return cluster.CompareNames(a.node, b.node) })
	at := map[string]int{}
	for i, a := range agents {
		at[a.node] = i
		n := Node{Name: a.node, Seen: a.picture != nil, Self: picture.Self{State: picture.StateUnknown}}
		why := a.trouble
		if p := a.picture; p != nil {
			n.Zone, n.Version, n.Self = bounded(p.Zone), bounded(p.Version), p.Self
			n.Self.Cause = bounded(p.Self.Cause)
			if n.Self.State == picture.StateUnknown && n.Self.Cause != "" {
				why = "it probes nothing: " + n.Self.Cause
			}
			r.Summary.Seen++
		}
		if why != "" {
			r.Unseen = append(r.Unseen, Unseen{Node: a.node, Why: cluster.Bounded(why, 500)})
		}
		r.Nodes = append(r.Nodes, n)
	}
	r.Summary.Nodes = len(r.Nodes)
	for i, a := range agents {
		if a.picture == nil {
			continue
		}
		shown := map[string]bool{a.node: true}
		for _, peer := range a.picture.Peers {
			to, found := at[peer.Node]
			if !found || shown[peer.Node] {
				continue // its agent is gone: a node that has left
			}
			shown[peer.Node] = true
			if r.Nodes[to].Zone == "" { // of one that does not answer
				r.Nodes[to].Zone = bounded(peer.Zone)
			}
			r.Pairs = append(r.Pairs, pairOf(&r.Nodes[i], peer))
		}
	}
	for i := range r.Pairs {
		p := &r.Pairs[i]
		p.fromZone, p.toZone = r.Nodes[at[p.From]].Zone, r.Nodes[at[p.To]].Zone
		switch p.State {
		case picture.StateOK:
			r.Summary.OK++
		case picture.StateFailed:
			r.Summary.Failed++
		default:
			r.Summary.Unknown++
		}
	}
	r.Summary.Pairs = len(r.Pairs)
	r.Zones = zonePairs(r.Pairs)
	r.Findings = judge(r.Nodes, r.Pairs)
	return r
}

func pairOf(from *Node, peer picture.Peer) Pair {
	p := Pair{
		From: from.Name, To: peer.Node, New: peer.New, Kept: peer.Kept, TCP: peer.TCP,
		Conclusion: peer.Conclusion, Scope: peer.Scope, Since: peer.Since, Asked: peer.Asked, AlsoFail: peer.AlsoFail,
	}
	for _, probe := range []*picture.Probe{&p.New, &p.Kept, &p.TCP} {
		probe.Cause = bounded(probe.Cause)
	}
	switch {
	case p.unconcluded():
		p.State = picture.StateUnknown // or there is just no agent
	case peer.New.State == picture.StateFailed || peer.Kept.State == picture.StateFailed:
		p.State = picture.StateFailed
	case peer.New.State == picture.StateOK:
		p.State = picture.StateOK
	default:
		p.State = picture.StateUnknown
	}
	return p
}

// bounded is text of an agent's, of which a few words are expected.
func bounded(s string) string { return cluster.Bounded(s, 200) }

type zones struct{ from, to string }

func (a zones) compare(b zones) int {
	return cmp.Or(cluster.CompareNames(a.from, b.from), cluster.CompareNames(a.to, b.to))
}

// zonePairs counts pairs by zones.
func zonePairs(pairs []Pair) []ZonePair {
	sums := map[zones]*ZonePair{}
	trips := map[zones][]float64{}
	for _, p := range pairs {
		key := zones{p.fromZone, p.toZone}
		z := sums[key]
		if z == nil {
			z = &ZonePair{From: key.from, To: key.to}
			sums[key] = z
		}
		z.Pairs++
		switch p.State {
		case picture.StateOK:
			z.OK++
		case picture.StateFailed:
			z.Failed++
		}
		if p.New.State == picture.StateOK {
			trips[key] = append(trips[key], p.New.RTT)
		}
	}
	out := make([]ZonePair, 0, len(sums))
	for key, z := range sums {
		if list := trips[key]; len(list) > 0 {
			slices.Sort(list)
			z.RTT = list[len(list)/2]
		}
		out = append(out, *z)
	}
	slices.SortFunc(out, func(a, b ZonePair) int { return zones{a.From, a.To}.compare(zones{b.From, b.To}) })
	return out
}

// judge explains every pair that fails once, by the widest thing that explains it:
// a node that reaches no peer, a pair of zones, a node that most do not reach, a
// single path.
func judge(nodes []Node, pairs []Pair) []Finding {
	out := []Finding{}
	// What a node that reaches no peer reports of others is about itself.
	out, rest := lonely(out, nodes, pairs)
	out, rest = betweenZones(out, rest)
	out, rest = unreachable(out, rest)
	out = paths(out, rest, pairs)
	for i := range out {
		out[i].explain()
	}
	slices.SortStableFunc(out, func(a, b Finding) int {
		return cmp.Or(
			strings.Compare(string(a.Kind), string(b.Kind)), // nodes first
			compareTrue(b.Zones, a.Zones),
			zones{a.Node + a.From, a.To}.compare(zones{b.Node + b.From, b.To}),
		)
	})
	return out
}

func compareTrue(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}

// lonely finds the nodes that conclude that they themselves fail; rest are the
// pairs that others probe.
func lonely(out []Finding, nodes []Node, pairs []Pair) (found []Finding, rest []Pair) {
	self := map[string]int{}
	for _, n := range nodes {
		if n.Self.State == picture.StateFailed {
			self[n.Name] = len(out)
			out = append(out, Finding{Kind: NodeUnreachableBySCTP, Node: n.Name, Direction: DirectionOut, Scope: n.Self.Scope, Since: n.Self.Since})
		}
	}
	own := map[string][]Pair{}
	for _, p := range pairs {
		if _, alone := self[p.From]; alone {
			own[p.From] = append(own[p.From], p)
			continue
		}
		rest = append(rest, p)
	}
	known := reached(pairs)
	for name, i := range self {
		scope := out[i].Scope
		out[i].count(own[name], func(p Pair) string { return p.To })
		out[i].Scope = cmp.Or(scope, out[i].Scope)
		for _, p := range own[name] {
			if p.State == picture.StateFailed && !known[p.To] {
				out[i].unreached = append(out[i].unreached, p.To)
			}
		}
	}
	return out, rest
}

// reached are the nodes that some other node reaches, itself or as it answered.
func reached(pairs []Pair) map[string]bool {
	known := map[string]bool{}
	for _, p := range pairs {
		if p.State == picture.StateOK || p.Asked > p.AlsoFail {
			known[p.To] = true
		}
	}
	return known
}

// betweenZones finds zones from which another is not reached, although its nodes
// are reached from elsewhere; rest are the pairs that this does not explain.
func betweenZones(out []Finding, pairs []Pair) (found []Finding, rest []Pair) {
	groups := map[zones][]Pair{}
	reachedFrom := map[string]map[string]bool{} // node: zones that reach it
	for _, p := range pairs {
		if p.fromZone != "" && p.toZone != "" && p.fromZone != p.toZone {
			groups[zones{p.fromZone, p.toZone}] = append(groups[zones{p.fromZone, p.toZone}], p)
		}
		if p.State == picture.StateOK {
			if reachedFrom[p.To] == nil {
				reachedFrom[p.To] = map[string]bool{}
			}
			reachedFrom[p.To][p.fromZone] = true
		}
	}
	cut := map[zones]bool{}
	for _, key := range slices.SortedFunc(maps.Keys(groups), zones.compare) {
		group := groups[key]
		from, to := map[string]bool{}, map[string]bool{}
		failed, known, elsewhere := 0, 0, 0
		for _, p := range group {
			if p.State != picture.StateUnknown {
				known++
			}
			if p.State != picture.StateFailed {
				continue
			}
			failed++
			from[p.From] = true
			if to[p.To] {
				continue
			}
			to[p.To] = true
			others := maps.Clone(reachedFrom[p.To])
			delete(others, key.from)
			if len(others) > 0 {
				elsewhere++
			}
		}
		// Most pairs, several nodes at either end, and nodes that others reach.
		if len(from) > 1 && len(to) > 1 && failed*4 >= known*3 && elsewhere*2 > len(to) {
			cut[key] = true
			f := Finding{Kind: PathBroken, Zones: true, From: key.from, To: key.to}
			f.count(group, func(p Pair) string { return p.From + " → " + p.To })
			out = append(out, f)
		}
	}
	for _, p := range pairs {
		if !cut[zones{p.fromZone, p.toZone}] {
			rest = append(rest, p)
		}
	}
	return bothWays(out), rest
}

// unreachable finds the nodes towards which most of those that probe them fail;
// rest are the pairs towards other nodes.
func unreachable(out []Finding, pairs []Pair) (found []Finding, rest []Pair) {
	towards := map[string][]Pair{}
	for _, p := range pairs {
		towards[p.To] = append(towards[p.To], p)
	}
	down := map[string]bool{}
	for name, group := range towards {
		var failing []Pair
		ok, others := 0, 0
		for _, p := range group {
			switch p.State {
			case picture.StateFailed:
				failing = append(failing, p)
				// Of those that were asked, some may not be seen.
				others = max(others, p.Asked-p.AlsoFail)
			case picture.StateOK:
				ok++
			}
		}
		// A single one has asked others, and concluded.
		if len(failing) <= max(ok, others) || len(failing) == 1 && failing[0].Conclusion != picture.ConclusionNode {
			continue
		}
		down[name] = true
		f := Finding{Kind: NodeUnreachableBySCTP, Node: name, Direction: DirectionIn}
		f.count(group, func(p Pair) string { return p.From })
		if i := slices.IndexFunc(out, func(g Finding) bool { return g.Kind == f.Kind && g.Node == name }); i >= 0 {
			f.Direction = DirectionBoth
			f.Since = earlier(f.Since, out[i].Since)
			out[i] = f
			continue
		}
		out = append(out, f)
	}
	for _, p := range pairs {
		if !down[p.To] {
			rest = append(rest, p)
		}
	}
	return out, rest
}

// paths finds the single paths that fail; all are the pairs that show which nodes
// are reached.
func paths(out []Finding, pairs, all []Pair) []Finding {
	known := reached(all)
	for _, p := range pairs {
		if p.State == picture.StateFailed {
			f := Finding{Kind: PathBroken, From: p.From, To: p.To}
			f.count([]Pair{p}, nil)
			if !known[p.To] {
				f.unreached = []string{p.To}
			}
			out = append(out, f)
		}
	}
	return bothWays(out)
}

// bothWays makes one finding of a path and its way back.
func bothWays(list []Finding) []Finding {
	at := map[zones]int{}
	var out []Finding
	for _, f := range list {
		i, back := at[zones{f.To, f.From}]
		if f.Kind != PathBroken || !back || out[i].Zones != f.Zones || out[i].BothWays {
			if f.Kind == PathBroken {
				at[zones{f.From, f.To}] = len(out)
			}
			out = append(out, f)
			continue
		}
		g := &out[i]
		if cluster.CompareNames(f.From, g.From) < 0 {
			g.From, g.To = f.From, f.To
		}
		g.BothWays = true
		g.Failed += f.Failed
		g.Probed += f.Probed
		g.Since = earlier(g.Since, f.Since)
		g.Evidence = append(g.Evidence, f.Evidence...)
		g.unreached = append(g.unreached, f.unreached...)
		if f.Scope != g.Scope {
			g.Scope = picture.ScopeSCTP
		}
		if f.Associations != g.Associations {
			g.Associations = AssociationsAll
		}
	}
	return out
}

// most is how many names a finding lists.
const most = 5

// count adds to a finding what its pairs report; name is what the evidence calls a
// pair among several.
func (f *Finding) count(pairs []Pair, name func(Pair) string) {
	var failing, reached []string
	causes := map[string]int{}
	tcpWorks, tcpFails, newFails, keptFails, newWorks, keptWorks := 0, 0, 0, 0, 0, 0
	for _, p := range pairs {
		if p.State == picture.StateUnknown {
			continue
		}
		f.Probed++
		if p.State != picture.StateFailed {
			if name != nil {
				reached = append(reached, name(p))
			}
			continue
		}
		f.Failed++
		f.Since = earlier(f.Since, p.Since)
		switch {
		case p.Scope == picture.ScopeEverything || p.Scope == "" && p.TCP.State == picture.StateFailed:
			tcpFails++
		case p.Scope == picture.ScopeSCTP || p.TCP.State == picture.StateOK:
			tcpWorks++
		}
		why := map[string]bool{}
		for _, kind := range []struct {
			probe        picture.Probe
			fails, works *int
		}{{p.New, &newFails, &newWorks}, {p.Kept, &keptFails, &keptWorks}} {
			switch kind.probe.State {
			case picture.StateFailed:
				*kind.fails++
				why[cmp.Or(kind.probe.Cause, "no cause is known")] = true
			case picture.StateOK:
				*kind.works++
			}
		}
		for cause := range why {
			causes[cause]++
		}
		if name != nil {
			failing = append(failing, name(p))
		} else {
			f.Evidence = append(f.Evidence, p.seen())
		}
	}
	switch {
	case tcpFails > tcpWorks:
		f.Scope = picture.ScopeEverything
	case tcpWorks > 0:
		f.Scope = picture.ScopeSCTP
	}
	f.Associations = AssociationsAll
	switch {
	case keptFails == 0 && keptWorks*2 > f.Failed:
		f.Associations = AssociationsNew
	case newFails == 0 && newWorks*2 > f.Failed:
		f.Associations = AssociationsKept
	}
	if name == nil {
		return
	}
	f.Evidence = append(f.Evidence, "fail: "+cluster.FirstNames(failing, most))
	if len(reached) > 0 {
		f.Evidence = append(f.Evidence, "work: "+cluster.FirstNames(reached, most))
	}
	list := slices.SortedFunc(maps.Keys(causes), func(a, b string) int {
		return cmp.Or(causes[b]-causes[a], strings.Compare(a, b))
	})
	for i, cause := range list {
		list[i] = fmt.Sprintf("%s (%d)", cause, causes[cause])
	}
	if len(list) > 0 {
		f.Evidence = append(f.Evidence, "causes: "+cluster.FirstNames(list, most))
	}
}

// seen is what one pair saw.
func (p Pair) seen() string {
	text := fmt.Sprintf("%s → %s: new association %s, kept one %s, TCP %s", p.From, p.To, outcome(p.New), outcome(p.Kept), outcome(p.TCP))
	if p.Asked > 0 {
		text += fmt.Sprintf("; of %d others that probe %s, %d fail", p.Asked, p.To, p.AlsoFail)
	}
	return text
}

func outcome(p picture.Probe) string {
	switch p.State {
	case picture.StateOK:
		return "ok"
	case picture.StateFailed:
		return "failed (" + cmp.Or(p.Cause, "no cause is known") + ")"
	default:
		return "not known"
	}
}

// earlier is the first of two times, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
