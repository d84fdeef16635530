package inguest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
)

// fault is what is injected, and what is to be concluded from it.
type fault struct {
	name  string
	rules []string
	// few: only new or only kept associations suffer.
	few bool
	// node that the others cannot reach, self that reaches no other, and pairs
	// of an observer and a peer that it cannot reach; "" and nil for none.
	node, self string
	pairs      [][2]string
	scope      picture.Scope
}

const (
	// all and few are how long it may take until everybody concerned has
	// concluded, for 99 of 100 faults.
	all, few = 13 * time.Second, 16 * time.Second
	// looked is when what is concluded is looked at, and cleared how long
	// after the end nothing may be left of it.
	looked, cleared = 17 * time.Second, 30 * time.Second
	// relapse is how long a failure that comes back counts as the same one
	// (internal/mesh/conclusion), and takes longer to be cleared.
	relapse = 31 * time.Second
)

// kinds of faults.
const kinds = 14

// random makes a fault of a kind, of a node that nobody concerned by the last
// one probes, and that probes none of them. Where there is none, it waits until
// the last fault is forgotten.
func random(t *testing.T, r *rand.Rand, kind int, pictures map[string]picture.Picture, last []string) (f fault, concerned []string) {
	t.Helper()
	pick := func(from []string) string { return from[r.IntN(len(from))] }
	var names []string
	for i := range len(pictures) {
		if !slices.Contains(last, nodeName(i)) {
			names = append(names, nodeName(i))
		}
	}
	if len(names) == 0 {
		time.Sleep(relapse)
		return random(t, r, kind, pictures, nil)
	}
	x := pick(names)
	var ring []string
	for _, p := range pictures[x].Peers {
		if p.Role == picture.RoleRing {
			ring = append(ring, p.Node)
		}
	}
	y := pick(ring)
	i, j := number(x), number(y)
	both := func(a, b string) [][2]string { return [][2]string{{a, b}, {b, a}} }

	f.scope = picture.ScopeSCTP
	if r.IntN(2) == 0 {
		f.scope = picture.ScopeEverything
	}
	// What is dropped, beside who sends or gets it.
	what := map[picture.Scope]string{picture.ScopeSCTP: "ip protocol sctp", picture.ScopeEverything: ""}[f.scope]
	set := func(name string, rules ...string) { f.name, f.rules = name, rules }
	from, to := fmt.Sprintf("forward iifname %s ", port(i)), fmt.Sprintf("forward oifname %s ", port(i))
	there, back := fmt.Sprintf("forward iifname %s oifname %s ", port(i), port(j)), fmt.Sprintf("forward iifname %s oifname %s ", port(j), port(i))
	// A node that loses everything loses the API server, too.
	var fromAPI, toAPI []string
	if f.scope == picture.ScopeEverything {
		toAPI = []string{fmt.Sprintf("input iifname %s tcp dport %d", port(i), apiPort)}
		fromAPI = []string{fmt.Sprintf("output oifname %s tcp sport %d", port(i), apiPort)}
	}
	// What is dialled, from the side of the node that dials.
	dialled := []string{fmt.Sprintf("sctp dport %d", meshPort)}
	if f.scope == picture.ScopeEverything {
		dialled = append(dialled, fmt.Sprintf("tcp dport %d", meshPort))
	}
	each := func(prefix string, expressions []string) (list []string) {
		for _, e := range expressions {
			list = append(list, prefix+e)
		}
		return list
	}
	const initiation = "sctp chunk init exists"
	switch kind {
	case 0:
		set("node, both ways", slices.Concat([]string{from + what, to + what}, fromAPI, toAPI)...)
		f.node, f.self = x, x
	case 1:
		set("node, what it gets", append(fromAPI, to+what)...)
		f.node, f.self = x, x
	case 2:
		set("node, what it sends", append(toAPI, from+what)...)
		f.node, f.self = x, x
	case 3:
		set("node, as it is dialled", each(to, dialled)...)
		f.node = x
	case 4:
		set("self, as it dials", each(from, dialled)...)
		f.self = x
	case 5:
		set("path, both ways", there+what, back+what)
		f.pairs = both(x, y)
	case 6:
		set("path, there", there+what)
		f.pairs = both(x, y)
	case 7:
		set("path, back", back+what)
		f.pairs = both(x, y)
	case 8:
		set("node, new associations", to+initiation)
		f.node, f.few = x, true
	case 9:
		set("self, new associations", from+initiation)
		f.self, f.few = x, true
	case 10:
		set("path, new associations", there+initiation)
		f.pairs, f.few = [][2]string{{x, y}}, true
	case 11:
		set("node, kept associations", lost(t, "", i)...)
		f.node, f.few = x, true
	case 12:
		var to []int
		for _, p := range ring {
			to = append(to, number(p))
		}
		set("self, kept associations", lost(t, address(i, 0), to...)...)
		f.self, f.few = x, true
	case 13:
		set("path, kept associations", lost(t, address(i, 0), j)...)
		f.pairs, f.few = [][2]string{{x, y}}, true
	}
	if f.few {
		f.scope = picture.ScopeSCTP
	}
	f.name += ", " + string(f.scope) + ": " + x
	if f.pairs != nil {
		f.name += ", " + y
	}
	for observer, p := range pictures {
		for _, peer := range p.Peers {
			if f.wanted(observer, peer.Node) != "" {
				concerned = append(concerned, observer, peer.Node)
			}
		}
	}
	return f, concerned
}

// wanted is what an observer is to conclude about a peer, "" for nothing.
func (f fault) wanted(observer, peer string) string {
	switch {
	case observer == f.self:
		return said(picture.ConclusionSelf, f.scope)
	case peer == f.node:
		return said(picture.ConclusionNode, f.scope)
	case slices.Contains(f.pairs, [2]string{observer, peer}):
		return said(picture.ConclusionPath, f.scope)
	}
	return ""
}

// judge what is seen during the fault: what each observer should say of its
// peers on the ring it says, and nobody says anything else. It returns by whom
// what is wanted.
func (f fault) judge(t *testing.T, pictures map[string]picture.Picture) (want map[string]string) {
	t.Helper()
	want = map[string]string{}
	got := seen(pictures)
	for observer, p := range pictures {
		for _, peer := range p.Peers {
			key := observer + " " + peer.Node
			w := f.wanted(observer, peer.Node)
			if w != "" && peer.Role == picture.RoleRing {
				want[key] = w
			}
			// A roaming peer may not have been probed yet, and is none any
			// more for some.
			if g := got[key]; g != w && (g != "" || peer.Role == picture.RoleRing) {
				t.Errorf("%s says of %s: %q, want %q; asked %d, also fail %d; new %+v, kept %+v, TCP %+v",
					observer, peer.Node, g, w, peer.Asked, peer.AlsoFail, peer.New, peer.Kept, peer.TCP)
			}
		}
		w := ""
		if observer == f.self {
			w = said(picture.ConclusionSelf, f.scope)
			want[observer] = w
		}
		if got[observer] != w {
			t.Errorf("%s says of itself: %q, want %q", observer, got[observer], w)
		}
	}
	return want
}

// told is how long after the start everybody had concluded what is wanted, and
// who the last one was. Conclusions of others that were wrong for a while are
// errors; another scope at first is not.
func (f fault) told(t *testing.T, start time.Time, want map[string]string, changes []change) (time.Duration, string) {
	t.Helper()
	at := map[string]time.Time{}
	for _, c := range changes {
		key, w := c.observer, ""
		if c.Peer != "" {
			key += " " + c.Peer
			w = f.wanted(c.observer, c.Peer)
		} else if c.observer == f.self {
			w = said(picture.ConclusionSelf, f.scope)
		}
		switch conclusion, _, _ := strings.Cut(w, ","); {
		case string(c.To) != conclusion:
			t.Errorf("%v: want %q", c, w)
		case said(c.To, c.Scope) == want[key]:
			at[key] = c.Time
		case at[key].IsZero():
			t.Logf("at first, %v", c)
		}
	}
	var last time.Time
	var who string
	for key, w := range want {
		// What a node says of its peers when it is itself that fails comes
		// with what it says of itself.
		if strings.HasPrefix(w, string(picture.ConclusionSelf)) && strings.Contains(key, " ") {
			continue
		}
		switch {
		case at[key].IsZero():
			t.Errorf("%s: never told: %s", key, w)
		case at[key].After(last):
			last, who = at[key], key
		}
	}
	return last.Sub(start), who
}

// TestFaults injects one fault after the other.
func TestFaults(t *testing.T) {
	m := newMesh(t, *nodes)
	r := chance(t)
	times := map[bool][]time.Duration{}
	var order []int // each kind before any comes again
	var last []string
	for n := range *faults {
		if len(order) == 0 {
			order = r.Perm(kinds)
		}
		var f fault
		f, last = random(t, r, order[0], m.pictures(), last)
		order = order[1:]
		time.Sleep(time.Duration(r.IntN(int(10 * time.Second))))
		ok := t.Run(fmt.Sprintf("%d %s", n+1, f.name), func(t *testing.T) {
			start := time.Now()
			drop(t, f.rules...)
			time.Sleep(looked - time.Since(start))
			pictures := m.pictures()
			want := f.judge(t, pictures)
			if len(want) == 0 {
				t.Fatal("nobody is concerned")
			}
			took, who := f.told(t, start, want, m.said(start))
			t.Logf("told by all %d after %.1f s, last by %s", len(want), took.Seconds(), who)
			times[f.few] = append(times[f.few], took)
			time.Sleep(time.Duration(r.IntN(int(3 * time.Second))))
			// Then associations that are kept are set up again (internal/mesh/echo).
			if time.Since(start) > 50*time.Second {
				t.Errorf("this guest is too slow: it took %v", time.Since(start))
			}

			end := time.Now()
			drop(t)
			time.Sleep(cleared)
			if now := seen(m.pictures()); len(now) > 0 {
				t.Errorf("%v after the end: %v", time.Since(end), now)
			}
			for _, c := range m.said(end) {
				// Of what began before the end; TCP, which is tried last, may work again.
				w, _, _ := strings.Cut(f.wanted(c.observer, c.Peer), ",")
				if c.To != picture.ConclusionNone && (c.Time.Sub(end) > 8*time.Second || string(c.To) != w) {
					t.Errorf("%v after the end: %v", c.Time.Sub(end), c)
				}
			}
		})
		if !ok {
			t.Logf("all that was said since the fault began: %v", lines(m.said(time.Now().Add(-2*time.Minute))))
		}
	}
	for isFew, bound := range map[bool]time.Duration{false: all, true: few} {
		took := times[isFew]
		if len(took) == 0 {
			continue
		}
		slices.Sort(took)
		// The 99th of 100, and the last of less.
		p99 := took[len(took)-1-len(took)/100]
		t.Logf("%d faults, few=%v: told after %.1f s (median), %.1f s (p99), %.1f s (all)", len(took), isFew,
			took[len(took)/2].Seconds(), p99.Seconds(), took[len(took)-1].Seconds())
		if p99 >= bound {
			t.Errorf("few=%v: told after %v, want less than %v", isFew, p99, bound)
		}
	}
	for what, n := range m.api.counted() {
		t.Logf("API server: %d × %s", n, what)
	}
}
