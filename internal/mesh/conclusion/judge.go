package conclusion

import (
	"slices"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
)

// Judge applies the rules to what is known now:
//
//   - most of the others who were asked fail towards the peer, too: the node;
//   - this node fails towards seven of its ten peers, not counting those nodes, or
//     it reaches no peer, and others reach two of them: itself;
//   - else the path to the peer.
//
// A conclusion waits until nothing that may change it is still to come, and
// stays until everything has worked for a while.
func (t *Table) Judge(now time.Time) (changes []Change) {
	for _, p := range t.peers {
		if p.conclusion != picture.ConclusionNone && !p.fails() && now.Sub(p.failed) >= p.steady {
			changes = append(changes, p.conclude(picture.ConclusionNone, "", now)...)
			p.since, p.counted, p.cleared = time.Time{}, time.Time{}, now
		}
	}
	self := t.failsItself()
	for _, p := range t.peers {
		if !p.fails() || !p.reached || p.agentless() || !t.settled(p, now) {
			continue
		}
		var to picture.Conclusion
		switch {
		case p.confirmed():
			to = picture.ConclusionNode
		case self:
			to = picture.ConclusionSelf
		default:
			to = picture.ConclusionPath
		}
		if !t.mayTurn(p, to) {
			to = p.conclusion
		}
		p.renewed = false
		changes = append(changes, p.conclude(to, p.scopeNow(), now)...)
	}
	return append(changes, t.judgeSelf(now)...)
}

// failsItself: towards seven of the ten peers on the ring, and others do not
// confirm that it is they. Where several nodes fail at once, they do confirm it to
// each other: then that others reach two peers, and this node none, is enough.
func (t *Table) failsItself() bool {
	ring, fail, reached := 0, 0, 0
	for _, p := range t.peers {
		if p.Role != picture.RoleRing {
			continue
		}
		ring++
		if (p.fails() || p.conclusion == picture.ConclusionSelf) && !p.confirmed() && !p.agentless() {
			fail++
			if p.asked > p.alsoFail {
				reached++
			}
		}
	}
	return fail >= 2 && (10*fail >= 7*ring || reached >= 2 && t.Alone())
}

// Alone reports whether the latest tries failed towards every peer on the ring, of
// at least two: such a node cannot judge others.
func (t *Table) Alone() bool {
	ring := 0
	for _, p := range t.peers {
		if p.Role != picture.RoleRing {
			continue
		}
		ring++
		if !p.failing() {
			return false
		}
	}
	return ring >= 2
}

// settled: the others have answered, TCP was tried, the list was read again, and
// each peer on the ring was probed, all since the failure began; or there was
// time enough for that.
func (t *Table) settled(p *peer, now time.Time) bool {
	if p.conclusion != picture.ConclusionNone || now.Sub(p.counted) >= settling {
		return true
	}
	if p.answered.Before(p.since) || p.tcp.At.Before(p.since) || t.listed.Before(p.since) {
		return false
	}
	for _, k := range Kinds() {
		if !p.lines[k].counts() {
			continue
		}
		for _, q := range t.peers {
			if l := q.lines[k]; q.Role == picture.RoleRing && !l.counts() && l.works.Before(p.lines[k].since) {
				return false
			}
		}
	}
	return true
}

// mayTurn reports whether a conclusion may become another one. Failures of single
// peers may become this node's own failure at any time; other changes need new
// answers, and while some peers have recovered from that failure, the others will
// soon.
func (t *Table) mayTurn(p *peer, to picture.Conclusion) bool {
	switch p.conclusion {
	case picture.ConclusionNone, to:
		return true
	case picture.ConclusionSelf:
		return p.renewed && !slices.ContainsFunc(t.peers, func(q *peer) bool {
			return q.conclusion == picture.ConclusionSelf && !q.fails()
		})
	default:
		return to == picture.ConclusionSelf || p.renewed
	}
}

// scopeNow is SCTP alone again only when TCP has worked a few times in a row:
// where everything fails now and then, one of them works before the other.
func (p *peer) scopeNow() picture.Scope {
	switch {
	case p.tcpWorks > 0 && (p.scope != picture.ScopeEverything || p.tcpWorks >= Tries):
		return picture.ScopeSCTP
	case p.tcp.State == picture.StateFailed && p.tcpWorks == 0:
		return picture.ScopeEverything
	}
	return p.scope
}

// conclude returns what is to be reported: what has to do with this node itself
// is so once, by judgeSelf.
func (p *peer) conclude(to picture.Conclusion, scope picture.Scope, now time.Time) []Change {
	from := p.conclusion
	if from == to && p.scope == scope {
		return nil
	}
	if from == picture.ConclusionNone {
		if p.since.Sub(p.cleared) <= relapse {
			p.steady = min(2*p.steady, mostSteady)
		} else {
			p.steady = steady
		}
	}
	shown := p.picture() // with since, where it ends
	p.conclusion, p.scope = to, scope
	if to != picture.ConclusionNone {
		shown = p.picture()
	}
	if to == picture.ConclusionSelf || from == picture.ConclusionSelf && to == picture.ConclusionNone {
		return nil
	}
	return []Change{{Peer: shown, From: from, To: to, At: now}}
}

func (t *Table) judgeSelf(now time.Time) []Change {
	last, next := t.self, picture.Self{State: picture.StateUnknown, Since: now}
	everything := 0
	for _, p := range t.peers {
		switch {
		case p.conclusion == picture.ConclusionSelf:
			next.State = picture.StateFailed
			if p.since.Before(next.Since) {
				next.Since = p.since
			}
			if p.scope == picture.ScopeEverything {
				everything++
			} else {
				everything--
			}
		case next.State == picture.StateUnknown && slices.ContainsFunc(Kinds(), func(k Kind) bool { return p.lines[k].last.State == picture.StateOK }):
			next.State = picture.StateOK
		}
	}
	if next.State == last.State {
		next.Since = last.Since
	}
	t.self = next
	was, is := last.State == picture.StateFailed, next.State == picture.StateFailed
	if is {
		t.self.Scope = picture.ScopeSCTP
		if everything > 0 {
			t.self.Scope = picture.ScopeEverything
		}
	}
	switch {
	case is && (!was || t.self.Scope != last.Scope):
		return []Change{{Self: t.self, To: picture.ConclusionSelf, At: now}}
	case was && !is:
		return []Change{{Self: last, From: picture.ConclusionSelf, At: now}}
	}
	return nil
}
