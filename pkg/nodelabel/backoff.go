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
	own := b.next()
	asked := askedDelay(err)
	if asked == 0 {
		return own
	}
	window := min(firstWindow<<min(b.failures-1, 10), lastWindow)
	return max(own, asked+within(window))
}

func (b *backoff) reset() { b.failures = 0 }

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
