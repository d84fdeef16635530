package verify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
)

// A scope is a set of paths that may fail for one reason.
type scope struct {
	kind scopeKind
	// a and b are nodes or zones.
	a, b string
	// family is "" for both.
	family string
}

// scopeKind, from the narrowest to the widest: of two scopes that explain the same
// paths, the narrower is meant.
type scopeKind int

const (
	toNode scopeKind = iota
	fromNode
	atNode
	zonePair
	toZone
	fromZone
	atZone
	everywhere
)

// leastGroup paths make a row; fewer are named one by one.
const leastGroup = 5

// share of a scope's paths that must fail for the scope to be the cause: around a
// node there are few paths, some of which another fault may spare.
func (k scopeKind) share() float64 {
	if k <= atNode {
		return 0.5
	}
	return 0.9
}

// text describes a scope of paths of a kind.
func (s scope) text(kind PathKind) string {
	to := "to"
	if kind == PathNodePort {
		to = "through"
	}
	var text string
	switch s.kind {
	case toNode:
		text = to + " node " + s.a
	case fromNode:
		text = "from node " + s.a
	case atNode:
		text = to + " and from node " + s.a
	case zonePair:
		text = fmt.Sprintf("from zone %s %s zone %s", s.a, to, s.b)
		if s.a == s.b {
			text = "within zone " + s.a
		}
	case toZone:
		text = to + " zone " + s.a + " from others"
	case fromZone:
		text = "from zone " + s.a + " to others"
	case atZone:
		text = "between zone " + s.a + " and others"
	case everywhere:
		text = "between all nodes"
	}
	if s.family != "" {
		text += ", " + s.family
	}
	return text
}

// causes groups paths by what they have in common: a node, a zone, a pair of
// zones, a family.
type causes struct {
	kind  PathKind
	zones map[string]string
	// total is how many paths of a scope were tried.
	total map[scope]int
}

// newCauses counts the paths of a kind that were tried.
func newCauses(r *Result, kind PathKind) *causes {
	c := &causes{kind: kind, zones: map[string]string{}, total: map[scope]int{}}
	for _, n := range r.Nodes {
		c.zones[n.Name] = n.Zone
	}
	for i := range r.Paths {
		if p := &r.Paths[i]; p.Kind == kind && p.Outcome != wire.NotTried {
			for _, s := range c.scopes(p) {
				c.total[s]++
			}
		}
	}
	return c
}

// scopes are those that a path belongs to.
func (c *causes) scopes(p *Path) []scope {
	to := cmp.Or(p.Via, p.To)
	list := []scope{{kind: everywhere}, {kind: toNode, a: to}, {kind: fromNode, a: p.From}, {kind: atNode, a: to}}
	if to != p.From {
		list = append(list, scope{kind: atNode, a: p.From})
	}
	if a, b := c.zones[p.From], c.zones[to]; a != "" && b != "" {
		list = append(list, scope{kind: zonePair, a: a, b: b})
		if a != b {
			list = append(list, scope{kind: toZone, a: b}, scope{kind: fromZone, a: a}, scope{kind: atZone, a: a}, scope{kind: atZone, a: b})
		}
	}
	for _, s := range list {
		s.family = p.Family
		list = append(list, s)
	}
	return list
}

// rows describes failed paths: the scopes that explain most of them first, each
// with one path as an example, then the paths that none explains. Each path is in
// one row.
func (c *causes) rows(failed []*Path) (out []string) {
	bad := map[scope]int{}
	members := map[scope][]int{}
	for i, p := range failed {
		for _, s := range c.scopes(p) {
			bad[s]++
			members[s] = append(members[s], i)
		}
	}
	// A scope qualifies by all that fails in it, and counts by what no other
	// scope has explained yet.
	maps.DeleteFunc(members, func(s scope, list []int) bool {
		return len(list) < leastGroup || float64(len(list)) < s.kind.share()*float64(c.total[s])
	})
	explained := make([]bool, len(failed))
	for len(members) > 0 {
		best := slices.MaxFunc(slices.Collect(maps.Keys(members)), func(a, b scope) int {
			return cmp.Or(
				cmp.Compare(bad[a], bad[b]),
				-cmp.Compare(c.total[a], c.total[b]),
				-cmp.Compare(a.kind, b.kind),
				-cmp.Compare(a.family, b.family),
				-strings.Compare(a.a+" "+a.b, b.a+" "+b.b),
			)
		})
		if bad[best] < leastGroup {
			break
		}
		var example *Path
		for _, i := range members[best] {
			if explained[i] {
				continue
			}
			explained[i] = true
			if example == nil {
				example = failed[i]
			}
			for _, s := range c.scopes(failed[i]) {
				bad[s]--
			}
		}
		out = append(out, fmt.Sprintf("%s: %d of %d paths, such as %s", best.text(c.kind), len(members[best]), max(len(members[best]), c.total[best]), example.text()))
		delete(members, best)
	}
	for i, p := range failed {
		if !explained[i] {
			out = append(out, p.text())
		}
	}
	return out
}
