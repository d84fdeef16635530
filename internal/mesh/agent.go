// Package mesh is one node of the mesh: it probes its peers, asks others about
// those that fail, and concludes what is broken. It does not depend on sockets or
// Kubernetes: what it needs of them is in [Config].
//
// Each peer on the ring gets a new association every ten seconds, and, half that
// time later, an echo on an association that is kept; one roaming peer gets a new
// association. From the first try that fails, others are asked; after the second,
// all peers are probed at once, to distinguish a broken path from this node's own
// failure, and the list of peers is read again; the third counts.
package mesh

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/backoff"
	"github.com/sctp-agent/sctp-agent/internal/mesh/conclusion"
	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
	"github.com/sctp-agent/sctp-agent/internal/mesh/ring"
)

const (
	// period is how often a peer on the ring is probed in each way, and how
	// long a roaming peer is one.
	period = 10 * time.Second
	// tryTimeout bounds a try, and is how far tries are apart.
	tryTimeout = time.Second
	// tcpTimeout leaves time for a SYN to be sent three times.
	tcpTimeout = 3500 * time.Millisecond
	// relist is how often the list of peers is read while nothing fails.
	relist = 10 * time.Minute
	// listTimeout bounds reading the list, and relistTimeout where a
	// conclusion waits for it.
	listTimeout, relistTimeout = time.Minute, 2500 * time.Millisecond
	// calm is the least time between two attempts to read the list, and
	// strangersCalm if it is because of an address that is not in it.
	calm, strangersCalm = 2 * time.Second, 30 * time.Second
	// mostRoaming are the roaming peers with a conclusion that are probed on.
	mostRoaming = 10
)

// Peer is a node of the list.
type Peer struct {
	Node, Zone string
	Address    netip.Addr
	// Pod and its UID are who may ask in this node's name.
	Pod, UID string
	// Ready, by the list. Leaving: its pod is about to end, and is not probed.
	Ready, Leaving bool
}

// Kept is an association that is kept.
type Kept interface {
	Echo(context.Context) conclusion.Outcome
	Close()
}

// Config is what a node needs.
type Config struct {
	Node, Version string
	// New probes with a new association, TCP with a connection; Keep is an
	// association that is set up with its first echo.
	New, TCP func(context.Context, netip.Addr) conclusion.Outcome
	Keep     func(netip.Addr) Kept
	// Ask asks a peer whether it fails towards another one.
	Ask func(ctx context.Context, asked Peer, about string, kind conclusion.Kind) (picture.State, error)
	// List is all nodes, this one included.
	List func(context.Context) ([]Peer, error)
	// Changed hears of each conclusion that is new, another one, or gone. It
	// must not wait.
	Changed func(conclusion.Change)
	Metrics *Metrics
	Log     *slog.Logger
}

// Agent is a node of the mesh.
type Agent struct {
	cfg Config
	// epoch is when this node's periods begin.
	epoch time.Time
	// relist requests that the list is read.
	relist chan struct{}
	// checks are those made for others.
	checks checks
	// judged is when that was done last, in nanoseconds of Unix time.
	judged atomic.Int64

	mu sync.Mutex
	// missing is why nothing is probed.
	missing  string
	table    conclusion.Table
	list     []Peer
	ring     ring.Ring
	listFrom time.Time
	// listTried is when an attempt to read the list ended last.
	listTried time.Time
	greeted   bool
	watches   []*watch // of the ring, in its order
	roaming   []*watch
	// introductions are those made to nodes that were asked.
	introductions introductions
	swept         map[conclusion.Kind]time.Time
	stranger      time.Time // when the list was or will be read because of one
	working       sync.WaitGroup
}

// New makes a node, which does nothing yet.
func New(cfg Config) *Agent {
	return &Agent{
		cfg:           cfg,
		epoch:         time.Now().Add(-backoff.Within(period)), // not all nodes at once
		relist:        make(chan struct{}, 1),
		checks:        checks{by: map[string]*check{}},
		swept:         map[conclusion.Kind]time.Time{},
		introductions: introductions{made: map[netip.Addr]time.Time{}},
	}
}

// Await sets in the picture why nothing is probed yet.
func (a *Agent) Await(missing string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.missing = missing
	a.judged.Store(time.Now().UnixNano())
}

// Run probes until ctx ends.
func (a *Agent) Run(ctx context.Context) {
	a.Await("")
	a.working.Go(func() { a.readLists(ctx) })
	a.working.Go(func() { a.roam(ctx) })
	for ctx.Err() == nil {
		backoff.Sleep(ctx, time.Second)
		a.judge()
		a.cfg.Metrics.show(a.Picture())
	}
	a.mu.Lock()
	watches := slices.Concat(a.watches, a.roaming)
	a.mu.Unlock()
	a.working.Wait()
	for _, w := range watches {
		w.stop()
	}
}

// readLists reads the list of peers repeatedly.
func (a *Agent) readLists(ctx context.Context) {
	again := backoff.Backoff{First: calm, Last: time.Minute}
	timeout := listTimeout
	for ctx.Err() == nil {
		reading, cancel := context.WithTimeout(ctx, timeout)
		list, err := a.cfg.List(reading)
		cancel()
		wait := backoff.Spread(relist, 0.1)
		switch {
		case err != nil:
			a.cfg.Log.Warn("the list of peers could not be read", "error", err.Error())
			wait = again.Next()
		case !a.published(list):
			wait = again.Next()
		default:
			again.Reset()
		}
		a.listed(ctx, list, err == nil)
		calmly := time.Now().Add(calm)
		timeout = listTimeout
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		case <-a.relist:
			timeout = relistTimeout
			backoff.Sleep(ctx, time.Until(calmly))
		}
	}
}

// published reports whether others find this node in the list. An agent often runs
// before its pod's address is there.
func (a *Agent) published(list []Peer) bool {
	return slices.ContainsFunc(list, func(p Peer) bool { return p.Node == a.cfg.Node && !p.Leaving })
}

// readList has the list read, soon.
func (a *Agent) readList() {
	select {
	case a.relist <- struct{}{}:
	default:
	}
}

// Stranger hears of an address that probes this node, or asks it, and is not in the
// list, or as another's: a node that has joined, or another pod, perhaps.
func (a *Agent) Stranger(netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if a.stranger.After(now) {
		return // the list is about to be read
	}
	if a.stranger = a.stranger.Add(strangersCalm); a.stranger.Before(now) {
		a.stranger = now
	}
	time.AfterFunc(a.stranger.Sub(now), a.readList)
}

// At is the peer that has an address.
func (a *Agent) At(address netip.Addr) (Peer, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return find(a.list, func(p Peer) bool { return p.Address == address })
}

// Knows reports whether an address is that of a peer which stays: the one after it
// may have the same address, as where pods have that of their node.
func (a *Agent) Knows(address netip.Addr) bool {
	p, known := a.At(address)
	return known && !p.Leaving
}

// named is the node of the list with this name. a.mu is held.
func (a *Agent) named(node string) (Peer, bool) {
	return find(a.list, func(p Peer) bool { return p.Node == node })
}

// stays is the same of those that are not about to end. a.mu is held.
func (a *Agent) stays(node string) (Peer, bool) {
	p, found := a.named(node)
	return p, found && !p.Leaving
}

func find(list []Peer, is func(Peer) bool) (Peer, bool) {
	if at := slices.IndexFunc(list, is); at >= 0 {
		return list[at], true
	}
	return Peer{}, false
}

// listed takes a list in. Without one, the last one stays.
func (a *Agent) listed(ctx context.Context, list []Peer, read bool) {
	now := time.Now()
	defer a.judge()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.listTried = now
	a.table.Listed(now)
	if !read {
		return
	}
	a.list, a.listFrom = list, now
	a.cfg.Metrics.listed(a.zone(), list)
	names := make([]string, 0, len(list)+1)
	for _, p := range list {
		names = append(names, p.Node)
	}
	a.ring = ring.New(append(names, a.cfg.Node))
	a.keepWatches(ctx)
	if !a.greeted && a.published(list) {
		a.greeted = true
		a.greet(ctx)
	}
}

// greet tells the nodes that have to probe this one that it exists: they do not
// know its address yet.
func (a *Agent) greet(ctx context.Context) {
	for _, name := range a.ring.Probers(a.cfg.Node) {
		p, there := a.stays(name)
		if !there {
			continue
		}
		a.working.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, tryTimeout)
			defer cancel()
			a.cfg.New(ctx, p.Address)
		})
	}
}

// judge concludes, and reports what has changed.
func (a *Agent) judge() {
	a.mu.Lock()
	changes := a.table.Judge(time.Now())
	a.judged.Store(time.Now().UnixNano())
	a.mu.Unlock()
	for _, c := range changes {
		a.cfg.Log.Info("the conclusion has changed", "peer", c.Peer.Node, "from", string(c.From), "to", string(c.To), "scope", string(cmp.Or(c.Peer.Scope, c.Self.Scope)))
		a.cfg.Changed(c)
	}
}

// Picture is what this node sees.
func (a *Agent) Picture() picture.Picture {
	a.mu.Lock()
	defer a.mu.Unlock()
	self := a.table.Self()
	if self.State == "" {
		self.State = picture.StateUnknown
	}
	switch self.Cause = a.missing; {
	case self.Cause != "":
	case a.listFrom.IsZero():
		self.Cause = "the list of nodes has not been read yet"
	case a.ring.Size() < 2:
		self.Cause = "no other node is in the list, with an address of this pod's family"
	}
	return picture.Picture{
		APIVersion: picture.APIVersion, Kind: picture.Kind,
		Node: a.cfg.Node, Zone: a.zone(), Version: a.cfg.Version, Time: time.Now(),
		Self: self, Nodes: a.ring.Size(), PeersFrom: a.listFrom, Peers: a.table.Picture(),
	}
}

// zone of this node, as the list has it. a.mu is held.
func (a *Agent) zone() string {
	own, _ := a.named(a.cfg.Node)
	return own.Zone
}
