package mesh

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/backoff"
	"github.com/sctp-agent/sctp-agent/internal/mesh/conclusion"
	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
)

// fresh is how long the result of a check made for one node serves the others:
// all who probe a dead node ask at the same time.
const fresh = 2 * time.Second

// checks are those under way, and the latest. There is at most one per peer and
// kind.
type checks struct {
	mu sync.Mutex
	by map[string]*check
}

type check struct {
	done  chan struct{}
	state picture.State
	ended time.Time
}

// Check answers another node whether this one fails towards a peer. Only a peer of
// the list is probed.
func (a *Agent) Check(ctx context.Context, about string, kind conclusion.Kind) (picture.State, bool) {
	a.mu.Lock()
	peer, known := a.named(about)
	self, state, alone := a.table.Self(), a.table.State(about, kind), a.table.Alone()
	at := slices.IndexFunc(a.watches, func(w *watch) bool { return w.peer.Node == about })
	w := &watch{peer: peer}
	if at >= 0 {
		w = a.watches[at]
	}
	a.mu.Unlock()
	switch {
	case !known || about == a.cfg.Node:
		return picture.StateUnknown, false
	case peer.Leaving || self.State == picture.StateFailed || alone && state == picture.StateFailed:
		return picture.StateUnknown, true // this node itself fails, and cannot judge
	case state == picture.StateFailed:
		return picture.StateFailed, true
	}
	key := about + " " + string(kind)
	a.checks.mu.Lock()
	for k, c := range a.checks.by {
		if !c.ended.IsZero() && time.Since(c.ended) > fresh {
			delete(a.checks.by, k)
		}
	}
	c, found := a.checks.by[key]
	if !found {
		c = &check{done: make(chan struct{}), state: picture.StateUnknown}
		a.checks.by[key] = c
		go func() {
			// Its result is also for others that asked later.
			state := a.tries(context.WithoutCancel(ctx), w, kind)
			a.mu.Lock()
			if state == picture.StateFailed && a.table.Alone() {
				state = picture.StateUnknown
			}
			a.mu.Unlock()
			a.checks.mu.Lock()
			c.state, c.ended = state, time.Now()
			a.checks.mu.Unlock()
			close(c.done)
		}()
	}
	a.checks.mu.Unlock()
	select {
	case <-c.done:
		return c.state, true
	case <-ctx.Done():
		return picture.StateUnknown, true
	}
}

// tries as a round does, without taking the outcome in.
func (a *Agent) tries(ctx context.Context, w *watch, k conclusion.Kind) picture.State {
	for try := 1; ; try++ {
		began := time.Now()
		o := a.try(ctx, w, k)
		if o.State != picture.StateFailed || try == conclusion.Tries {
			return o.State
		}
		backoff.Sleep(ctx, tryTimeout-time.Since(began))
	}
}
