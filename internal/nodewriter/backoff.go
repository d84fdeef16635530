package nodewriter

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"time"
)

// backoff grows from first to last by doubling, each time spread over half to
// one and a half of it: agents that failed together do not come back together.
type backoff struct {
	first, last time.Duration
	failures    int
	overruns    int // in a row, by a server that is overrun
}

func (b *backoff) next() time.Duration {
	d := b.last
	if b.failures < 20 {
		d = min(b.first<<b.failures, b.last)
	}
	b.failures++
	return spread(d)
}

// The spread window of those who met a server that is overrun: the first time,
// and at most.
const firstWindow, lastWindow = 8 * time.Second, 32 * time.Second

// after says how long to wait after a failure.
//
// A server that is overrun tells everybody to come back in the same second
// (API priority and fairness says "Retry-After: 1"), or has no time to answer at
// all. They come no sooner than asked, and from then on at any time within a
// window, which doubles as long as that is still too many at once: of 5,000, an
// API server queues some hundreds.
func (b *backoff) after(err error) time.Duration {
	asked := askedDelay(err)
	switch {
	case asked > 0:
		// It answers: what failed before is no measure any more.
		b.failures = 1
	case timedOut(err):
		b.failures++
	default:
		b.overruns = 0
		return b.next()
	}
	b.overruns++
	return asked + within(min(firstWindow<<min(b.overruns-1, 10), lastWindow))
}

// timedOut says that there was no answer, or not even a TLS handshake, in time.
func timedOut(err error) bool {
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
}

func (b *backoff) reset() { b.failures, b.overruns = 0, 0 }

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
