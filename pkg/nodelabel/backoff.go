package nodelabel

import (
	"math/rand/v2"
	"time"
)

// backoff grows from first to last by doubling, each time spread over half to
// one and a half of it: agents that failed together do not come back together.
type backoff struct {
	first, last time.Duration
	failures    int
	turnedAway  int // in a row, by a server that asked for patience
}

func (b *backoff) next() time.Duration {
	d := b.last
	if b.failures < 20 {
		d = min(b.first<<b.failures, b.last)
	}
	b.failures++
	return spread(d)
}

// Spread of those who were turned away: the first time, and at most.
const firstWindow, lastWindow = 8 * time.Second, 32 * time.Second

// after says how long to wait after a failure.
//
// A server that is overrun tells everybody to come back in the same second
// (API priority and fairness says "Retry-After: 1"). They come no sooner, and
// from then on at any time within a window, which grows as long as that is
// still too many at once: of 5,000, an API server queues some hundreds.
func (b *backoff) after(err error) time.Duration {
	asked := askedDelay(err)
	if asked == 0 {
		b.turnedAway = 0
		return b.next()
	}
	// It answers: what failed before is no measure any more.
	b.failures = 1
	b.turnedAway++
	return asked + within(min(firstWindow<<min(b.turnedAway-1, 10), lastWindow))
}

func (b *backoff) reset() { b.failures, b.turnedAway = 0, 0 }

// spread is a random duration from d/2 to 3d/2.
func spread(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d/2 + rand.N(d)
}

// within is a random duration from 0 to d.
func within(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}
