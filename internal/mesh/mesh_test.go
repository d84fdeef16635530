package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/backoff"
	"github.com/sctp-agent/sctp-agent/internal/mesh/conclusion"
	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
	"github.com/sctp-agent/sctp-agent/internal/mesh/ring"
)

// traffic is what a rule of the network below sees.
type traffic string

const (
	newAssociation  traffic = "new"
	keptAssociation traffic = "kept"
	tcp             traffic = "tcp"
)

// world is a cluster in virtual time: agents, and what becomes of what they send
// each other.
type world struct {
	ctx     context.Context
	agents  map[string]*Agent
	stop    map[string]context.CancelFunc
	mu      sync.Mutex
	list    []Peer
	apiDown bool
	random  *rand.Rand
	loss    float64 // of each packet
	// drops reports whether traffic from one node to another, begun by the first,
	// gets no answer; refuses, whether it is refused.
	drops, refuses func(from, to string, t traffic) bool
	changes        []report
	news           int // associations
	questions      int
	// tokens are until when a node has one for another; requests are those of
	// each node to the API server for them, and lists for the list of peers.
	tokens          map[[2]string]time.Time
	failed          map[string]time.Time
	requests, lists map[string]int
}

type report struct {
	node string
	conclusion.Change
}

func (w *world) name(address netip.Addr) string {
	at := slices.IndexFunc(w.list, func(p Peer) bool { return p.Address == address })
	if at < 0 {
		return ""
	}
	return w.list[at].Node
}

func (w *world) address(node string) netip.Addr {
	at := slices.IndexFunc(w.list, func(p Peer) bool { return p.Node == node })
	if at < 0 {
		return netip.Addr{}
	}
	return w.list[at].Address
}

// send returns how a try ends, after the time it takes.
func (w *world) send(ctx context.Context, from string, to netip.Addr, t traffic) conclusion.Outcome {
	began := time.Now()
	w.mu.Lock()
	name := w.name(to)
	dropped := name == "" || w.drops != nil && w.drops(from, name, t)
	refused := name != "" && w.refuses != nil && w.refuses(from, name, t)
	if t == newAssociation {
		w.news++
	}
	took := time.Millisecond
	resend, exchanges := 250*time.Millisecond, 3 // INIT, COOKIE-ECHO, DATA
	switch t {
	case keptAssociation:
		exchanges = 1
	case tcp:
		resend, exchanges = time.Second, 1
	}
	for range exchanges {
		for ; w.random.Float64() < 1-(1-w.loss)*(1-w.loss); took += resend {
		}
	}
	if a := w.agents[name]; a != nil && t != tcp && !dropped && !refused {
		if source := w.address(from); source.IsValid() {
			if !a.Knows(source) {
				a.Stranger(source)
			}
		}
	}
	w.mu.Unlock()
	o := conclusion.Outcome{State: picture.StateOK, RTT: time.Millisecond, Began: began}
	deadline, _ := ctx.Deadline()
	switch {
	case dropped || time.Now().Add(took).After(deadline):
		backoff.Sleep(ctx, time.Until(deadline))
		o.State, o.Cause = picture.StateFailed, conclusion.CauseSilence
	case refused:
		backoff.Sleep(ctx, took)
		o.State, o.Cause = picture.StateFailed, conclusion.CauseRefused
	default:
		backoff.Sleep(ctx, took)
	}
	o.Ended = time.Now()
	return o
}

type kept struct {
	*world
	from string
	to   netip.Addr
}

func (k kept) Echo(ctx context.Context) conclusion.Outcome {
	return k.send(ctx, k.from, k.to, keptAssociation)
}
func (k kept) Close() {}

func nodeName(i int) string { return fmt.Sprintf("node-%d", i) }

func (w *world) peer(i int) Peer {
	return Peer{
		Node: nodeName(i), Zone: fmt.Sprintf("zone-%d", i%3),
		Address: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), Ready: true,
	}
}

// start runs an agent until the test or ctx ends.
func (w *world) start(ctx context.Context, i int) {
	name := nodeName(i)
	a := New(Config{
		Node: name,
		New: func(ctx context.Context, to netip.Addr) conclusion.Outcome {
			return w.send(ctx, name, to, newAssociation)
		},
		TCP: func(ctx context.Context, to netip.Addr) conclusion.Outcome {
			return w.send(ctx, name, to, tcp)
		},
		Keep: func(to netip.Addr) Kept { return kept{w, name, to} },
		Ask: func(ctx context.Context, asked Peer, about string, k conclusion.Kind) (picture.State, error) {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			if o := w.send(ctx, name, asked.Address, tcp); o.State != picture.StateOK {
				return picture.StateUnknown, conclusion.ErrUnreached
			}
			w.mu.Lock()
			w.questions++
			a, noToken := w.agents[asked.Node], w.apiDown
			if pair := [2]string{name, asked.Node}; time.Now().After(w.tokens[pair]) {
				// internal/mesh/kube waits as long after a request that failed.
				if now := time.Now(); now.Sub(w.failed[name]) >= 5*time.Second {
					w.requests[name]++
					if noToken {
						w.failed[name] = now
					}
				}
				if !noToken {
					w.tokens[pair] = time.Now().Add(9 * time.Minute)
				}
			}
			w.mu.Unlock()
			if noToken {
				return picture.StateUnknown, errors.New("the API server is away")
			}
			answering, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			state, known := a.Check(answering, about, k)
			if !known {
				return state, errors.New("no such peer")
			}
			return state, nil
		},
		List: func(ctx context.Context) ([]Peer, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.lists[name]++
			if w.apiDown {
				return nil, errors.New("the API server is away")
			}
			return slices.Clone(w.list), nil
		},
		Changed: func(c conclusion.Change) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.changes = append(w.changes, report{name, c})
		},
		Log: slog.New(slog.DiscardHandler),
	})
	w.mu.Lock()
	w.agents[name] = a
	ctx, w.stop[name] = context.WithCancel(ctx)
	w.mu.Unlock()
	go a.Run(ctx)
}

// inWorld runs a test with that many nodes, once they have probed each other.
func inWorld(t *testing.T, nodes int, test func(*world)) {
	// With several threads the race detector of Go 1.26 sometimes crashes in itself,
	// in the thousands of timers of such a test (SIGSEGV in StackDepot).
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, func(t *testing.T) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed) // Go's scheduler has its own part in it
		ctx, cancel := context.WithCancel(t.Context())
		w := &world{
			ctx: ctx, agents: map[string]*Agent{}, stop: map[string]context.CancelFunc{}, random: rand.New(rand.NewPCG(seed, 0)),
			tokens: map[[2]string]time.Time{}, failed: map[string]time.Time{}, requests: map[string]int{}, lists: map[string]int{},
		}
		for i := range nodes {
			w.list = append(w.list, w.peer(i))
		}
		for i := range nodes {
			w.start(ctx, i)
		}
		time.Sleep(time.Minute)
		test(w)
		cancel()
		time.Sleep(time.Minute)
	})
}

// reported are the changes that agents have reported.
func (w *world) reported() []report {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.changes)
}

// number is one of the numbers below n, by chance.
func (w *world) number(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.IntN(n)
}

// seen is what each node concludes about others and itself, where it does.
func (w *world) seen() map[string]string {
	all := map[string]string{}
	for name, a := range w.agents {
		p := a.Picture()
		for _, peer := range p.Failing() {
			all[name+" "+peer.Node] = fmt.Sprintf("%s, %s", peer.Conclusion, peer.Scope)
		}
		if p.Self.State != picture.StateOK {
			all[name] = fmt.Sprintf("%s, %s", p.Self.State, p.Self.Scope)
		}
	}
	return all
}

func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// anyOf is a rule for some kinds of traffic.
func anyOf(kinds ...traffic) func(traffic) bool {
	return func(t traffic) bool { return slices.Contains(kinds, t) }
}

func TestConclusions(t *testing.T) {
	sctp := anyOf(newAssociation, keptAssociation)
	everything := anyOf(newAssociation, keptAssociation, tcp)
	const all, few = 13 * time.Second, 16 * time.Second
	for _, c := range []struct {
		name string
		// between selects the pairs: the dialling node, and its peer. bad is one
		// node, and peer the first on the ring after it.
		between func(bad, peer, from, to string) bool
		of      func(traffic) bool
		within  time.Duration
		// want of an observer's peer, and of the bad node itself.
		want, wantSelf string
	}{
		{"a node without SCTP", func(bad, _, from, to string) bool { return bad == from || bad == to }, sctp, all, "node, sctp", "failed, sctp"},
		{"a dead node", func(bad, _, from, to string) bool { return bad == from || bad == to }, everything, all, "node, everything", "failed, everything"},
		{"a node that lets no association in", func(bad, _, _, to string) bool { return bad == to }, anyOf(newAssociation), few, "node, sctp", ""},
		{"a node that has lost its connection tracking", func(bad, _, _, to string) bool { return bad == to }, anyOf(keptAssociation), few, "node, sctp", ""},
		{"a node that gets nothing out", func(bad, _, from, _ string) bool { return bad == from }, sctp, all, "", "failed, sctp"},
		{"a node that sets no association up", func(bad, _, from, _ string) bool { return bad == from }, anyOf(newAssociation), few, "", "failed, sctp"},
		{"a path", func(bad, peer, from, to string) bool { return bad == from && peer == to }, sctp, all, "path, sctp", ""},
		{"a path, and TCP", func(bad, peer, from, to string) bool { return bad == from && peer == to }, everything, all, "path, everything", ""},
		{"a path, new associations", func(bad, peer, from, to string) bool { return bad == from && peer == to }, anyOf(newAssociation), few, "path, sctp", ""},
		{"a path, kept associations", func(bad, peer, from, to string) bool { return bad == from && peer == to }, anyOf(keptAssociation), few, "path, sctp", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, 40, func(w *world) {
				bad := w.list[w.number(len(w.list))].Node
				peer := w.agents[bad].Picture().Peers[w.number(10)].Node
				drops := func(from, to string, t traffic) bool { return c.between(bad, peer, from, to) && c.of(t) }
				start := time.Now()
				w.set(func() { w.drops = drops })
				time.Sleep(c.within)
				want := map[string]string{}
				for name, a := range w.agents {
					for _, p := range a.Picture().Peers {
						concerned := slices.ContainsFunc([]traffic{newAssociation, keptAssociation}, func(k traffic) bool { return drops(name, p.Node, k) })
						switch {
						case !concerned || p.Role != picture.RoleRing:
						case name == bad && c.wantSelf != "":
							want[name+" "+p.Node] = "self" + c.wantSelf[len("failed"):]
						default:
							want[name+" "+p.Node] = c.want
						}
					}
				}
				if c.wantSelf != "" {
					want[bad] = c.wantSelf
				}
				got := w.seen()
				ring := maps.Clone(got)
				maps.DeleteFunc(ring, func(key, _ string) bool { // a roaming peer that happens to be concerned
					_, wanted := want[key]
					return !wanted
				})
				if !maps.Equal(ring, want) {
					t.Errorf("after %v: %v, want %v; changes %+v", time.Since(start), got, want, w.reported())
				}
				for _, r := range w.reported() {
					if r.To == picture.ConclusionNode && r.Peer.Node != bad || r.To == picture.ConclusionSelf && r.node != bad ||
						c.want != "path, sctp" && c.want != "path, everything" && r.To == picture.ConclusionPath {
						t.Errorf("%s concluded %+v", r.node, r.Change)
					}
				}
				time.Sleep(2 * time.Minute)
				w.set(func() { w.drops = nil })
				time.Sleep(8 * time.Second) // what was about to be concluded
				w.set(func() { w.changes = nil })
				time.Sleep(22 * time.Second)
				if got := w.seen(); len(got) > 0 {
					t.Errorf("30 s after the end: %v", got)
				}
				for _, r := range w.reported() {
					if r.To != picture.ConclusionNone {
						t.Errorf("after the end, %s concluded %+v", r.node, r.Change)
					}
				}
			})
		})
	}
}

// An hour without a fault (in make test twenty minutes): nothing is concluded, also where
// packets are lost now and then, and it costs what it should.
func TestQuiet(t *testing.T) {
	quiet := time.Hour
	if testing.Short() {
		quiet = 20 * time.Minute
	}
	for _, loss := range []float64{0.01, 0.05} {
		t.Run(fmt.Sprint(loss), func(t *testing.T) {
			inWorld(t, 40, func(w *world) {
				w.set(func() { w.loss, w.news = loss, 0 })
				time.Sleep(quiet)
				if len(w.reported()) > 0 || len(w.seen()) > 0 {
					t.Errorf("%v; %+v", w.seen(), w.reported())
				}
				perSecond := float64(w.news) / 40 / quiet.Seconds()
				t.Logf("%.2f new associations per node and second, %d questions", perSecond, w.questions)
				if perSecond > 1.11 && loss < 0.05 {
					t.Errorf("%.2f new associations per node and second, want 1.1", perSecond)
				}
			})
		})
	}
}

// Agents that restart, one after the other, at their address and at another one,
// are no fault, and neither are nodes that leave and join, or an API server that
// is away.
func TestComingAndGoing(t *testing.T) {
	nodes := 40
	if testing.Short() {
		nodes = 24
	}
	inWorld(t, nodes, func(w *world) {
		check := func(doing string) {
			t.Helper()
			if len(w.reported()) > 0 || len(w.seen()) > 0 {
				t.Fatalf("%s: %v; %+v", doing, w.seen(), w.reported())
			}
		}
		for i := range nodes {
			// Nobody listens there for a while.
			w.set(func() { w.refuses = func(_, to string, _ traffic) bool { return to == nodeName(i) } })
			time.Sleep(20 * time.Second)
			w.set(func() { w.refuses = nil })
		}
		check("agents restart")
		// Four at a time, as the DaemonSet's controller does.
		for first := 0; first < nodes; first += 4 {
			each := func(do func(i int)) {
				for i := first; i < first+4; i++ {
					do(i)
				}
			}
			w.set(func() { each(func(i int) { w.list[i].Leaving = true }) })
			each(func(i int) { w.stop[nodeName(i)]() })
			time.Sleep(time.Second)
			w.set(func() {
				absent := map[string]bool{}
				each(func(i int) {
					w.list[i] = w.peer(i)
					w.list[i].Address = netip.AddrFrom4([4]byte{10, 1, 0, byte(i)})
					w.list[i].Ready = false
					absent[nodeName(i)] = true
				})
				w.drops = func(_, to string, _ traffic) bool { return absent[to] }
			})
			time.Sleep(15 * time.Second)
			w.set(func() { w.drops = nil })
			each(func(i int) { w.start(w.ctx, i) })
			time.Sleep(5 * time.Second)
			w.set(func() { each(func(i int) { w.list[i].Ready = true }) })
			time.Sleep(10 * time.Second) // minReadySeconds
		}
		time.Sleep(time.Minute)
		check("pods are replaced")

		probers := func(node string) (n int) {
			for _, a := range w.agents {
				if slices.ContainsFunc(a.Picture().Peers, func(p picture.Peer) bool { return p.Node == node && p.Role == picture.RoleRing }) {
					n++
				}
			}
			return n
		}
		gone := nodeName(7)
		w.set(func() {
			w.list = slices.DeleteFunc(slices.Clone(w.list), func(p Peer) bool { return p.Node == gone })
			delete(w.agents, gone)
		})
		w.stop[gone]()
		time.Sleep(time.Minute)
		if n := probers(gone); n > 0 {
			t.Errorf("a minute after %s has left, %d nodes probe it", gone, n)
		}
		check("a node leaves")

		// Its agent runs before its address is in the list.
		w.start(w.ctx, nodes)
		time.Sleep(5 * time.Second)
		w.set(func() { w.list = append(slices.Clone(w.list), w.peer(nodes)) })
		time.Sleep(time.Minute)
		if n := probers(nodeName(nodes)); n != ring.Peers {
			t.Errorf("a minute after %s has joined, %d nodes probe it", nodeName(nodes), n)
		}
		check("a node joins")

		// Its pod's successor gets the same address, and the list was read just
		// before that.
		replaced := nodeName(8)
		leaving := func(is bool) {
			w.set(func() {
				w.list = slices.Clone(w.list)
				w.list[slices.IndexFunc(w.list, func(p Peer) bool { return p.Node == replaced })].Leaving = is
			})
		}
		leaving(true)
		for _, a := range w.agents {
			a.readList()
		}
		time.Sleep(5 * time.Second)
		w.stop[replaced]()
		time.Sleep(time.Second)
		leaving(false)
		w.start(w.ctx, 8)
		time.Sleep(time.Minute)
		if n := probers(replaced); n != ring.Peers {
			t.Errorf("a minute after the pod on %s was replaced, %d nodes probe it", replaced, n)
		}
		check("a pod is replaced at its address")

		time.Sleep(2 * relist) // roaming peers that have left are forgotten
		w.set(func() { w.apiDown = true })
		time.Sleep(10 * time.Minute)
		w.set(func() { w.apiDown = false })
		check("the API server is away")
	})
}

// The list is read slowly unless a question waits for it: a reading because of an
// unknown address ends soon, and there are few.
func TestListing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var took []time.Duration
		a := New(Config{
			Node: "node-0", Log: slog.New(slog.DiscardHandler),
			List: func(ctx context.Context) ([]Peer, error) {
				began := time.Now()
				<-ctx.Done()
				took = append(took, time.Since(began))
				return nil, ctx.Err()
			},
		})
		go a.Run(ctx)
		time.Sleep(listTimeout)
		synctest.Wait()
		for range 300 { // for half a minute
			a.Stranger(netip.MustParseAddr("192.0.2.1"))
			time.Sleep(100 * time.Millisecond)
		}
		if got := a.Picture().Self; got.State != picture.StateUnknown || got.Cause != "the list of nodes has not been read yet" {
			t.Errorf("without a list: %+v", got)
		}
		if len(took) < 2 || len(took) > 3 || took[0] != listTimeout || took[1] != relistTimeout {
			t.Errorf("the list was read for %v", took)
		}
		cancel()
		time.Sleep(time.Minute)
	})
}

// Where many peers fail, at once and for long, each agent asks the API server for
// few tokens, rarely reads the list, and still concludes in time.
func TestRequests(t *testing.T) {
	toPeers := func(bad string, peers []string, from, to string) bool {
		return from == bad && slices.Contains(peers, to)
	}
	betweenZones := func(_ string, _ []string, from, to string) bool {
		zone := func(node string) int {
			var i int
			_, _ = fmt.Sscanf(node, "node-%d", &i)
			return i % 3
		}
		return (zone(from) == 0) != (zone(to) == 0)
	}
	for name, c := range map[string]struct {
		drops   func(bad string, peers []string, from, to string) bool
		apiDown bool
	}{
		"ten peers":                     {toPeers, false},
		"ten peers, and the API server": {toPeers, true},
		"a zone":                        {betweenZones, false},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 40, func(w *world) {
				bad := w.list[w.number(len(w.list))].Node
				var peers []string
				for _, p := range w.agents[bad].Picture().Peers[:ring.Peers] {
					peers = append(peers, p.Node)
				}
				drops := func(from, to string, t traffic) bool { return t != tcp && c.drops(bad, peers, from, to) }
				w.set(func() {
					w.drops, w.apiDown = drops, c.apiDown
					clear(w.requests)
					clear(w.lists)
				})
				start := time.Now()
				time.Sleep(13 * time.Second)
				for name, a := range w.agents {
					for _, p := range a.Picture().Peers {
						if p.Role == picture.RoleRing && drops(name, p.Node, newAssociation) && p.Conclusion == picture.ConclusionNone {
							t.Errorf("%s concludes nothing about %s", name, p.Node)
						}
					}
				}
				for _, after := range []time.Duration{time.Minute, 3 * time.Minute} {
					time.Sleep(after - time.Since(start))
					w.mu.Lock()
					tokens, lists := slices.Max(slices.Collect(maps.Values(w.requests))), slices.Max(slices.Collect(maps.Values(w.lists)))
					w.mu.Unlock()
					t.Logf("in %v, an agent asks for %d tokens and reads the list %d times at most", after, tokens, lists)
					if most := 6 + int(after.Seconds())/10; tokens > most {
						t.Errorf("an agent asks for %d tokens in %v, want %d at most", tokens, after, most)
					}
					// Each roaming peer that fails, too, has it read.
					if most := 18 + int(after.Seconds())/30; lists > most {
						t.Errorf("an agent reads the list %d times in %v, want %d at most", lists, after, most)
					}
				}
			})
		})
	}
}

// Without the API server no node can ask others: all that probe a node that fails
// conclude failing paths, and nothing else.
func TestWithoutAPIServer(t *testing.T) {
	inWorld(t, 40, func(w *world) {
		w.set(func() { w.apiDown = true })
		bad := nodeName(3)
		w.set(func() { w.drops = func(from, to string, _ traffic) bool { return from == bad || to == bad } })
		time.Sleep(13 * time.Second)
		paths := 0
		for who, what := range w.seen() {
			switch {
			case who == bad || strings.HasPrefix(who, bad+" "):
				if !strings.HasSuffix(what, ", everything") || strings.HasPrefix(what, "path") {
					t.Errorf("%s: %s", who, what)
				}
			case strings.HasSuffix(who, " "+bad) && what == "path, everything":
				paths++
			default:
				t.Errorf("%s: %s", who, what)
			}
		}
		if paths < ring.Peers {
			t.Errorf("%d nodes conclude that their path to it is broken, want %d", paths, ring.Peers)
		}
	})
}

// A path that works half of the time stays concluded: one change, not one for
// each time.
func TestFlapping(t *testing.T) {
	inWorld(t, 12, func(w *world) {
		bad := nodeName(3)
		peer := w.agents[bad].Picture().Peers[0].Node
		start := time.Now()
		w.set(func() {
			w.drops = func(from, to string, _ traffic) bool {
				return from == bad && to == peer && int(time.Since(start)/(12*time.Second))%2 == 0
			}
		})
		time.Sleep(10 * time.Minute)
		if len(w.reported()) == 0 || len(w.reported()) > 5 {
			t.Errorf("%d changes: %+v", len(w.reported()), w.reported())
		}
	})
}

// A node alone probes nothing, and reports why.
func TestAlone(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		if got := w.agents[nodeName(0)].Picture().Self; got.State != picture.StateUnknown || !strings.Contains(got.Cause, "no other node") {
			t.Errorf("%+v", got)
		}
	})
}

// In small clusters all nodes are peers, and two nodes are too few to distinguish a
// node from the path to it.
func TestSmall(t *testing.T) {
	for nodes, want := range map[int]string{2: "path, everything", 3: "node, everything", 4: "node, everything", 11: "node, everything"} {
		t.Run(fmt.Sprint(nodes), func(t *testing.T) {
			inWorld(t, nodes, func(w *world) {
				w.set(func() {
					w.drops = func(from, to string, _ traffic) bool { return from == nodeName(0) || to == nodeName(0) }
				})
				time.Sleep(14 * time.Second)
				for i := 1; i < nodes; i++ {
					if got := w.seen()[nodeName(i)+" "+nodeName(0)]; got != want {
						t.Errorf("%s: %q, want %q", nodeName(i), got, want)
					}
				}
				if got := w.seen()[nodeName(0)]; nodes > 2 && got != "failed, everything" {
					t.Errorf("itself: %q", got)
				}
			})
		})
	}
}

// Several nodes that fail at once, by SCTP alone, answer each other's questions: as
// long as two others reach each other, each concludes what is so. Where three of five
// fail, one or two of a hundred need a second round of questions for that, 31 s.
func TestSeveral(t *testing.T) {
	for nodes, bad := range map[int]int{4: 2, 5: 3, 6: 3, 11: 2, 12: 3} {
		t.Run(fmt.Sprint(nodes, bad), func(t *testing.T) {
			inWorld(t, nodes, func(w *world) {
				isBad := map[string]bool{}
				for _, p := range w.list[:bad] {
					isBad[p.Node] = true
				}
				w.set(func() {
					w.drops = func(from, to string, t traffic) bool { return t != tcp && (isBad[from] || isBad[to]) }
				})
				time.Sleep(48 * time.Second)
				for name, a := range w.agents {
					p := a.Picture()
					if (p.Self.State == picture.StateFailed) != isBad[name] {
						t.Errorf("%s itself: %s", name, p.Self.State)
					}
					for _, peer := range p.Failing() {
						right := peer.Conclusion == picture.ConclusionNode && isBad[peer.Node] || peer.Conclusion == picture.ConclusionSelf && isBad[name]
						if !right && peer.Role == picture.RoleRing {
							t.Errorf("%s concludes about %s: %s", name, peer.Node, peer.Conclusion)
						}
					}
				}
			})
		})
	}
}

// Where two of three zones are gone, the nodes of the third first ask some that are
// gone, too; then others. None takes the failure for its own.
func TestZonesGone(t *testing.T) {
	for _, nodes := range []int{6, 9, 12} {
		t.Run(fmt.Sprint(nodes), func(t *testing.T) {
			inWorld(t, nodes, func(w *world) {
				gone := map[string]bool{}
				for _, p := range w.list {
					gone[p.Node] = p.Zone != "zone-0"
				}
				w.set(func() { w.drops = func(from, to string, _ traffic) bool { return gone[from] || gone[to] } })
				time.Sleep(16 * time.Second)
				node, other := 0, 0
				for name, a := range w.agents {
					p := a.Picture()
					if p.Self.State != picture.StateOK && !gone[name] {
						t.Errorf("%s itself: %s", name, p.Self.State)
					}
					for _, peer := range p.Failing() {
						switch {
						case gone[name]:
						case peer.Conclusion == picture.ConclusionNode:
							node++
						default:
							other++
						}
					}
				}
				if node < 2*other {
					t.Errorf("%d conclusions about nodes, and %d others", node, other)
				}
			})
		})
	}
}

// Nodes that are not reached cost the API server nothing, and so are not counted.
func TestIntroductions(t *testing.T) {
	now := time.Now()
	for reached, want := range map[bool]int{false: 20, true: introductionsAtOnce} {
		i := introductions{made: map[netip.Addr]time.Time{}}
		made := 0
		for n := range 20 {
			p := Peer{Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(n)})}
			if i.make(p, now) {
				made++
				i.failed(p, reached)
			}
		}
		if made != want {
			t.Errorf("reached %v: %d introductions, want %d", reached, made, want)
		}
	}
}
