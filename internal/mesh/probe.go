package mesh

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/backoff"
	"github.com/sctp-agent/sctp-agent/internal/mesh/conclusion"
	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
)

const (
	// questions is how many others are asked about a peer that fails, and
	// askAgain how often while it does.
	questions = 3
	askAgain  = 30 * time.Second
	// askOnce: both kinds of probes fail towards a dead node, and one question
	// about it will do.
	askOnce = 8 * time.Second
	// sweepAgain is how soon all peers may be probed at once again.
	sweepAgain = 3 * time.Second
)

// round tries until it works, or the failures count. One that has counted is
// tried once in a round.
func (a *Agent) round(ctx context.Context, w *watch, k conclusion.Kind) {
	for {
		began := time.Now()
		o := a.try(ctx, w, k)
		if ctx.Err() != nil {
			return // it was this process that ended it
		}
		a.mu.Lock()
		failures := a.table.Try(w.peer.Node, k, o)
		a.mu.Unlock()
		if o.State == picture.StateFailed && failures > 0 {
			a.failed(ctx, w, k, failures)
		}
		a.cfg.Metrics.tried(k, o, w.peer.Zone)
		a.judge()
		if o.State != picture.StateFailed || failures == 0 || failures >= conclusion.Tries {
			return
		}
		backoff.Sleep(ctx, tryTimeout-time.Since(began))
	}
}

// try once. One that failed and took much longer than it may is this machine's
// failure, which stood still.
func (a *Agent) try(ctx context.Context, w *watch, k conclusion.Kind) conclusion.Outcome {
	trying, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	var o conclusion.Outcome
	if k == conclusion.Kept && w.kept != nil {
		o = w.kept.Echo(trying)
	} else {
		o = a.cfg.New(trying, w.peer.Address)
	}
	if o.State == picture.StateFailed && o.Ended.Sub(o.Began) > 3*tryTimeout {
		o.State = picture.StateUnknown
	}
	return o
}

// failed does what is to be done besides, after that many failures in a row.
func (a *Agent) failed(ctx context.Context, w *watch, k conclusion.Kind, failures int) {
	now := time.Now()
	a.mu.Lock()
	askNow := now.Sub(w.asked) >= askAgain || failures == 1 && now.Sub(w.asked) >= askOnce
	if askNow {
		w.asked = now
	}
	listAgain := now.Sub(a.listTried) >= askAgain
	a.mu.Unlock()
	if failures == 1 || failures > conclusion.Tries {
		a.working.Go(func() { a.tryTCP(ctx, w) })
	}
	if askNow {
		a.working.Go(func() { a.askOthers(ctx, w, k) })
	}
	if failures == 2 || listAgain && failures > conclusion.Tries {
		a.readList()
	}
	if failures == 2 {
		a.sweep(w, k)
	}
}

// sweep probes the other peers on the ring at once.
func (a *Agent) sweep(except *watch, k conclusion.Kind) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if now.Sub(a.swept[k]) < sweepAgain {
		return
	}
	a.swept[k] = now
	for _, w := range a.watches {
		if w == except {
			continue
		}
		select {
		case w.hurry[k] <- struct{}{}:
		default:
		}
	}
}

// tryTCP distinguishes dropped SCTP from a network that is down.
func (a *Agent) tryTCP(ctx context.Context, w *watch) {
	trying, cancel := context.WithTimeout(ctx, tcpTimeout)
	defer cancel()
	o := a.cfg.TCP(trying, w.peer.Address)
	if ctx.Err() != nil {
		return
	}
	a.mu.Lock()
	a.table.TCP(w.peer.Node, o)
	a.mu.Unlock()
	a.judge()
}

// askOthers asks some of those that probe the peer; where none of these answers, as
// they fail, too, some others.
func (a *Agent) askOthers(ctx context.Context, w *watch, k conclusion.Kind) {
	first := a.others(w, nil)
	asked, alsoFail := a.ask(ctx, w, k, first)
	if asked == 0 {
		asked, alsoFail = a.ask(ctx, w, k, a.others(w, first))
	}
	if ctx.Err() != nil {
		return
	}
	a.mu.Lock()
	a.table.Answers(w.peer.Node, asked, alsoFail, time.Now())
	a.mu.Unlock()
	a.judge()
}

// ask returns how many have answered, and how many of these fail towards the peer.
func (a *Agent) ask(ctx context.Context, w *watch, k conclusion.Kind, others []Peer) (asked, alsoFail int) {
	answers := make(chan picture.State, len(others))
	for _, other := range others {
		a.working.Go(func() {
			state, err := a.cfg.Ask(ctx, other, w.peer.Node, k)
			if err != nil {
				a.mu.Lock()
				a.introductions.failed(other, !errors.Is(err, conclusion.ErrUnreached))
				a.mu.Unlock()
				a.cfg.Log.Debug("no answer about a peer", "error", err.Error())
			}
			a.cfg.Metrics.asked(err)
			answers <- state
		})
	}
	for range others {
		switch <-answers {
		case picture.StateFailed:
			alsoFail++
			asked++
		case picture.StateOK:
			asked++
		}
	}
	return asked, alsoFail
}

// others are those that probe the peer and are asked about it: first those that
// this node reaches, and among them those that it has asked before. Those that it
// has just asked are none.
func (a *Agent) others(w *watch, just []Peer) (chosen []Peer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	var others []Peer
	for _, name := range a.ring.Probers(w.peer.Node) {
		p, there := a.stays(name)
		if there && name != a.cfg.Node && !slices.ContainsFunc(just, func(p Peer) bool { return p.Node == name }) {
			others = append(others, p)
		}
	}
	rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	last := func(p Peer) (rank int) {
		if a.table.Fails(p.Node) {
			rank += 2
		}
		if a.introductions.needed(p, now) {
			rank++
		}
		return rank
	}
	slices.SortStableFunc(others, func(p, q Peer) int { return last(p) - last(q) })
	for _, p := range others {
		if len(chosen) < questions && (!a.introductions.needed(p, now) || a.introductions.make(p, now)) {
			chosen = append(chosen, p)
		}
	}
	return chosen
}
