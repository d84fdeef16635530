// Package places limits what a server does at the same time, by source, so that a
// flood from some addresses does not exclude the peers.
package places

import (
	"net/netip"
	"sync"
)

// Limits of what is served at once.
type Limits struct {
	// PerPeer is for each address that is a peer's.
	PerPeer int
	// PerStranger is for each other address, Strangers for all of those.
	PerStranger, Strangers int
	// All is for everybody together.
	All int
}

// Places are taken and left by several goroutines.
type Places struct {
	limits Limits

	mu             sync.Mutex
	by             map[netip.Addr]int
	all, strangers int
}

// New has all places free.
func New(limits Limits) *Places { return &Places{limits: limits, by: map[netip.Addr]int{}} }

// Take takes a place, if there is one, until leave is called.
func (p *Places) Take(source netip.Addr, peer bool) (leave func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	limit, stranger := p.limits.PerPeer, 0
	if !peer {
		limit, stranger = p.limits.PerStranger, 1
	}
	if p.by[source] >= limit || p.all >= p.limits.All || p.strangers+stranger > p.limits.Strangers {
		return nil, false
	}
	add := func(n int) {
		p.by[source] += n
		p.all += n
		p.strangers += n * stranger
		if p.by[source] == 0 {
			delete(p.by, source)
		}
	}
	add(1)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		add(-1)
	}, true
}
