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

func (b *backoff) reset() { b.failures = 0 }

// spread is a random duration from d/2 to 3d/2.
func spread(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d/2 + rand.N(d)
}
