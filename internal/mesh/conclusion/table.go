// Package conclusion turns the results of probes into what is broken: a node,
// the path to it, or this node itself; SCTP alone, or everything.
//
// It is a table of peers, and rules. It opens no socket, starts no goroutine and
// reads no clock: its callers pass the times.
package conclusion

import (
	"errors"
	"slices"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
)

// Kind of a probe of SCTP.
type Kind string

const (
	// New associations: handshake, echo, shutdown.
	New Kind = "new"
	// Kept associations: an echo. They show what new ones do not, such as a
	// lost entry of connection tracking.
	Kept Kind = "kept"
)

// Kinds are all of them.
func Kinds() []Kind { return []Kind{New, Kept} }

const (
	// Tries that fail in a row count as a failure.
	Tries = 3
	// settling is how long, after a failure counts, the conclusion waits for
	// what is still to come: other nodes' answers, and this node's other
	// peers.
	settling = 4 * time.Second
	// steady is how long everything must work until a conclusion is dropped. It
	// doubles, up to mostSteady, each time the conclusion returns within relapse: a
	// path that fails now and then keeps its conclusion, without an Event each
	// time.
	steady, mostSteady = 15 * time.Second, 2 * time.Minute
	relapse            = 30 * time.Second
)

// Causes that a rule knows; others are for people.
const (
	// CauseRefused: a host answered that nothing listens.
	CauseRefused = "refused"
	CauseSilence = "no answer"
)

// ErrUnreached is of a node that was to be asked about a peer, and is not reached.
var ErrUnreached = errors.New("not reached")

// Outcome of one try. Its state is [picture.StateUnknown] where it proves nothing
// about the peer, such as when this process had no file descriptors.
type Outcome struct {
	State        picture.State
	Cause        string
	RTT          time.Duration
	Began, Ended time.Time
}

// Member is a peer to be watched.
type Member struct {
	Node    string
	Zone    string
	Address string
	Role    picture.Role
	// Ready is the peer's state in the list of peers. One that never was ready, and
	// never answered, has not started yet.
	Ready bool
}

// line is the tries of one kind towards one peer.
type line struct {
	last picture.Probe
	// failures in a row, when the first of them began, and when the last
	// one that worked did.
	failures     int
	since, works time.Time
}

func (l *line) counts() bool { return l.failures >= Tries }

type peer struct {
	Member
	lines map[Kind]*line
	tcp   picture.Probe
	// tcpWorks is how often in a row it did; a refusal has come all the way,
	// too.
	tcpWorks int
	// absent: TCP was refused, and so there was no agent; back is when it
	// worked again.
	absent bool
	back   time.Time
	// reached at this address, or ready once.
	reached bool
	// since is when the first try failed, counted when the failures became
	// one, failed when the latest try did.
	since, counted, failed time.Time
	// answered is when the last question to others came to its end.
	answered        time.Time
	asked, alsoFail int
	// renewed: answers have arrived since the last conclusion.
	renewed bool

	conclusion picture.Conclusion
	scope      picture.Scope
	// cleared is when the last conclusion was dropped, after everything had
	// worked for steady.
	cleared time.Time
	steady  time.Duration
}

func (p *peer) fails() bool {
	return slices.ContainsFunc(Kinds(), func(k Kind) bool { return p.lines[k].counts() })
}

// failing: the latest try of a kind failed.
func (p *peer) failing() bool {
	return slices.ContainsFunc(Kinds(), func(k Kind) bool { return p.lines[k].failures > 0 })
}

// confirmed: most of the others that were asked fail, too.
func (p *peer) confirmed() bool { return 2*p.alsoFail > p.asked }

// agentless: who answers is the peer's kernel, to TCP and to SCTP. The agent
// there has just ended, and the path works. Or it is just starting: TCP works
// already, and SCTP was tried before.
func (p *peer) agentless() bool {
	return p.absent && !slices.ContainsFunc(Kinds(), func(k Kind) bool {
		return p.lines[k].counts() && p.lines[k].last.Cause != CauseRefused
	})
}

// Table is the peers of one node. It is for one goroutine at a time.
type Table struct {
	peers []*peer
	// listed is when an attempt to read the list of peers ended last.
	listed time.Time
	self   picture.Self
}

// Change of a conclusion. Without a peer it is about this node itself.
type Change struct {
	Peer     picture.Peer
	Self     picture.Self
	From, To picture.Conclusion
	At       time.Time
}

// Members replaces the peers. What is known of one that stays at its address
// stays.
func (t *Table) Members(members []Member) {
	old := t.peers
	t.peers = nil
	for _, m := range members {
		at := slices.IndexFunc(old, func(p *peer) bool { return p.Node == m.Node && p.Address == m.Address })
		var p *peer
		if at >= 0 {
			p = old[at]
		} else {
			p = &peer{lines: map[Kind]*line{}, tcp: picture.Probe{State: picture.StateUnknown}}
			for _, k := range Kinds() {
				p.lines[k] = &line{last: picture.Probe{State: picture.StateUnknown}}
			}
		}
		if m.Ready {
			p.reach()
		}
		p.Member = m
		t.peers = append(t.peers, p)
	}
}

// reach takes in that the peer is there. What failed before does not count.
func (p *peer) reach() {
	if p.reached {
		return
	}
	p.reached = true
	for _, k := range Kinds() {
		p.lines[k].failures = 0
	}
	p.since, p.counted = time.Time{}, time.Time{}
}

// Listed is when an attempt to read the list of peers ended.
func (t *Table) Listed(at time.Time) { t.listed = at }

func (t *Table) find(node string) *peer {
	at := slices.IndexFunc(t.peers, func(p *peer) bool { return p.Node == node })
	if at < 0 {
		return nil
	}
	return t.peers[at]
}

// Try takes the outcome of a try in, and returns how many have failed in a row.
func (t *Table) Try(node string, k Kind, o Outcome) int {
	p := t.find(node)
	if p == nil {
		return 0
	}
	l := p.lines[k]
	switch o.State {
	case picture.StateUnknown:
		l.last = picture.Probe{State: o.State, Cause: o.Cause, RTT: l.last.RTT, At: o.Ended}
	case picture.StateOK:
		p.reach()
		*l = line{last: picture.Probe{State: picture.StateOK, RTT: o.RTT.Seconds(), At: o.Ended}, works: o.Began}
		if p.conclusion == picture.ConclusionNone && !p.failing() {
			p.since, p.counted = time.Time{}, time.Time{}
			p.asked, p.alsoFail = 0, 0
			p.tcp, p.tcpWorks = picture.Probe{State: picture.StateUnknown}, 0
			p.absent, p.back = false, time.Time{}
		}
	case picture.StateFailed:
		if l.failures == 0 {
			l.since = o.Began
		}
		if p.since.IsZero() {
			p.since = o.Began
		}
		l.failures++
		p.failed = o.Ended
		if !p.back.IsZero() && o.Began.After(p.back) {
			p.absent, p.back = false, time.Time{}
		}
		if l.counts() {
			l.last = picture.Probe{State: picture.StateFailed, Cause: o.Cause, RTT: l.last.RTT, At: o.Ended}
			if p.counted.IsZero() {
				p.counted = o.Ended
			}
		}
	}
	return l.failures
}

// TCP takes a connection beside a failure in.
func (t *Table) TCP(node string, o Outcome) {
	if p := t.find(node); p != nil {
		p.tcp = picture.Probe{State: o.State, Cause: o.Cause, At: o.Ended}
		if o.State == picture.StateOK || o.Cause == CauseRefused {
			p.tcpWorks++
		} else {
			p.tcpWorks = 0
		}
		switch {
		case o.Cause == CauseRefused:
			p.absent, p.back = true, time.Time{}
		case o.State == picture.StateFailed:
			p.absent, p.back = false, time.Time{}
		case o.State == picture.StateOK && p.absent && p.back.IsZero():
			p.back = o.Ended
		}
	}
}

// Answers adds the answers of others about a peer: how many there are, and how many
// of them fail towards it. Where nobody answers, earlier answers stand.
func (t *Table) Answers(node string, asked, alsoFail int, at time.Time) {
	p := t.find(node)
	if p == nil {
		return
	}
	p.answered = at
	if asked > 0 || p.asked == 0 {
		p.asked, p.alsoFail, p.renewed = asked, alsoFail, true
	}
}

// State is whether a kind of probes fails towards a peer; unknown while tries go
// on.
func (t *Table) State(node string, k Kind) picture.State {
	p := t.find(node)
	switch {
	case p == nil || p.lines[k].failures > 0 && !p.lines[k].counts():
		return picture.StateUnknown
	default:
		return p.lines[k].last.State
	}
}

// Fails reports whether the latest try of a kind failed towards a peer.
func (t *Table) Fails(node string) bool {
	p := t.find(node)
	return p != nil && p.failing()
}

// Self is what is concluded about this node.
func (t *Table) Self() picture.Self { return t.self }

// Picture is the peers as they are shown.
func (t *Table) Picture() []picture.Peer {
	list := make([]picture.Peer, 0, len(t.peers))
	for _, p := range t.peers {
		list = append(list, p.picture())
	}
	return list
}

func (p *peer) picture() picture.Peer {
	shown := picture.Peer{
		Node: p.Node, Zone: p.Zone, Address: p.Address, Role: p.Role,
		New: p.lines[New].last, Kept: p.lines[Kept].last, TCP: p.tcp,
		Conclusion: p.conclusion, Scope: p.scope,
	}
	if p.conclusion != picture.ConclusionNone {
		shown.Since, shown.Asked, shown.AlsoFail = p.since, p.asked, p.alsoFail
	}
	return shown
}
