package mesh

import (
	"context"
	"slices"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/backoff"
	"github.com/sctp-agent/sctp-agent/internal/mesh/conclusion"
	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
	"github.com/sctp-agent/sctp-agent/internal/mesh/ring"
)

// watch is what is done about one peer.
type watch struct {
	peer Peer // as it was when the watch began
	role picture.Role
	// slot is its place in the period, other than that of any other peer.
	slot int
	// kept is nil for a roaming peer.
	kept Kept
	// hurry has a kind of probe made at once.
	hurry map[conclusion.Kind]chan struct{}
	// asked is when others were asked last.
	asked time.Time
	end   context.CancelFunc
}

func (w *watch) stop() {
	w.end()
	if w.kept != nil {
		go w.kept.Close() // a try may be under way
	}
}

// keepWatches has the right peers watched: the next ones on the ring that are
// there. a.mu is held.
func (a *Agent) keepWatches(ctx context.Context) {
	old := a.watches
	a.watches = nil
	for _, name := range a.ring.Next(a.cfg.Node) {
		p, there := a.stays(name)
		if !there {
			continue
		}
		at := slices.IndexFunc(old, func(w *watch) bool { return w.peer.Node == p.Node && w.peer.Address == p.Address })
		if at >= 0 {
			a.watches = append(a.watches, old[at])
			old = slices.Delete(old, at, at+1)
			continue
		}
		a.watches = append(a.watches, &watch{peer: p, role: picture.RoleRing, slot: -1})
	}
	for _, w := range old {
		w.stop()
	}
	for _, w := range a.watches {
		if w.slot < 0 {
			a.begin(ctx, w)
		}
	}
	// A roaming peer that is on the ring now, or has left, is none.
	a.roaming = slices.DeleteFunc(a.roaming, func(r *watch) bool {
		p, there := a.stays(r.peer.Node)
		return !there || p.Address != r.peer.Address ||
			slices.ContainsFunc(a.watches, func(w *watch) bool { return w.peer.Node == r.peer.Node })
	})
	a.setMembers()
}

// setMembers has the table know who is watched. a.mu is held.
func (a *Agent) setMembers() {
	var members []conclusion.Member
	for _, w := range slices.Concat(a.watches, a.roaming) {
		now, _ := a.named(w.peer.Node)
		members = append(members, conclusion.Member{
			Node: w.peer.Node, Zone: w.peer.Zone, Address: w.peer.Address.String(), Role: w.role, Ready: now.Ready,
		})
	}
	a.table.Members(members)
}

// begin the lines of a peer on the ring. a.mu is held.
func (a *Agent) begin(ctx context.Context, w *watch) {
	taken := map[int]bool{}
	for _, other := range a.watches {
		taken[other.slot] = true
	}
	for w.slot = 0; taken[w.slot]; w.slot++ {
	}
	ctx, w.end = context.WithCancel(ctx)
	w.kept = a.cfg.Keep(w.peer.Address)
	w.hurry = map[conclusion.Kind]chan struct{}{}
	for _, k := range conclusion.Kinds() {
		w.hurry[k] = make(chan struct{}, 1)
	}
	for _, k := range conclusion.Kinds() {
		a.working.Go(func() { a.line(ctx, w, k) })
	}
}

// line is one kind of probes of one peer, in its place of each period.
func (a *Agent) line(ctx context.Context, w *watch, k conclusion.Kind) {
	phase := time.Duration(w.slot) * period / ring.Peers
	if k == conclusion.Kept {
		phase += period / 2
	}
	for {
		due := time.NewTimer(period - (time.Since(a.epoch)-phase+2*period)%period)
		select {
		case <-ctx.Done():
		case <-due.C:
		case <-w.hurry[k]:
		}
		due.Stop()
		if ctx.Err() != nil {
			return
		}
		a.round(ctx, w, k)
	}
}

// roam visits the others, one after the other, and those again about which
// something was concluded.
func (a *Agent) roam(ctx context.Context) {
	for {
		backoff.Sleep(ctx, period-(time.Since(a.epoch)+period-tryTimeout/2)%period)
		if ctx.Err() != nil {
			return
		}
		for _, w := range a.nextRoaming(time.Now().Unix() / int64(period/time.Second)) {
			a.working.Go(func() { a.round(ctx, w, conclusion.New) })
		}
	}
}

func (a *Agent) nextRoaming(turn int64) []*watch {
	a.mu.Lock()
	defer a.mu.Unlock()
	concluded := map[string]bool{}
	for _, p := range a.table.Picture() {
		concluded[p.Node] = p.Conclusion != picture.ConclusionNone
	}
	a.roaming = slices.DeleteFunc(a.roaming, func(w *watch) bool { return !concluded[w.peer.Node] })
	name := a.ring.Roaming(a.cfg.Node, turn)
	if p, there := a.stays(name); there && len(a.roaming) < mostRoaming && !concluded[name] {
		a.roaming = append(a.roaming, &watch{peer: p, role: picture.RoleRoaming, end: func() {}})
	}
	a.setMembers()
	return slices.Clone(a.roaming)
}
