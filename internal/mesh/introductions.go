package mesh

import (
	"maps"
	"net/netip"
	"time"
)

const (
	// introductionsAtOnce is how many nodes may be asked for the first time at
	// once; then one more each introduceAgain. Each needs two requests to the API
	// server, a token and its review: where a zone of thousands of nodes fails, all
	// agents make them together.
	introductionsAtOnce, introduceAgain = 6, 10 * time.Second
	// acquainted is how long these serve: less than a token (internal/mesh/kube).
	acquainted = 8 * time.Minute
)

// introductions limits how often this node asks others for the first time.
type introductions struct {
	made map[netip.Addr]time.Time
	// used is a token bucket as a time: each introduceAgain between it and now
	// allows one introduction.
	used time.Time
}

// needed reports whether a node was not asked lately.
func (i *introductions) needed(p Peer, now time.Time) bool {
	return now.Sub(i.made[p.Address]) >= acquainted
}

// make an introduction, if it is allowed.
func (i *introductions) make(p Peer, now time.Time) bool {
	if most := now.Add(-introductionsAtOnce * introduceAgain); i.used.Before(most) {
		i.used = most
	}
	if i.used.Add(introduceAgain).After(now) {
		return false
	}
	i.used = i.used.Add(introduceAgain)
	maps.DeleteFunc(i.made, func(_ netip.Addr, at time.Time) bool { return now.Sub(at) >= acquainted })
	i.made[p.Address] = now
	return true
}

// failed: the node gave no answer, and another one may. If it was not reached, no
// token was asked for.
func (i *introductions) failed(p Peer, reached bool) {
	if !reached && time.Since(i.made[p.Address]) < introduceAgain {
		i.used = i.used.Add(-introduceAgain)
	}
	delete(i.made, p.Address)
}
