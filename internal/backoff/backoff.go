// Package backoff spaces the attempts at something that fails. Each wait is
// about twice as long as the one before, and random, so that programs that failed
// together do not retry together.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff counts failures in a row. It is for one goroutine.
type Backoff struct {
	// First is the mean wait after the first failure. It doubles with each
	// further one, up to Last.
	First, Last time.Duration

	failures int
}

// spread of a wait: from half of its mean to one and a half of it.
const spread = 0.5

// Next counts a failure and returns how long to wait after it.
func (b *Backoff) Next() time.Duration {
	d := b.Last
	// Beyond that, the doubled time could overflow.
	if b.failures < 20 {
		d = min(b.First<<b.failures, b.Last)
	}
	b.failures++
	return Spread(d, spread)
}

// Keep runs what should never end, repeatedly until ctx ends. ended is called after
// each end, before the wait; ends in a row count as failures until one run has
// lasted longer than Last.
func (b *Backoff) Keep(ctx context.Context, run func() error, ended func(err error)) {
	for {
		start := time.Now()
		err := run()
		if ctx.Err() != nil {
			return
		}
		if time.Since(start) > b.Last {
			b.Reset()
		}
		ended(err)
		Sleep(ctx, b.Next())
		if ctx.Err() != nil {
			return
		}
	}
}

// Fail counts a failure after which the caller waits by a rule of its own.
func (b *Backoff) Fail() { b.failures++ }

// Failures in a row, so far.
func (b *Backoff) Failures() int { return b.failures }

// Reset forgets the failures: something succeeded.
func (b *Backoff) Reset() { b.failures = 0 }

// Spread is a random duration that is by at most that part shorter or longer
// than d.
func Spread(d time.Duration, part float64) time.Duration {
	off := time.Duration(float64(d) * part)
	return d - off + Within(2*off)
}

// Within is a random duration from 0 to d.
func Within(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}

// Sleep waits, until ctx ends at the latest.
func Sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
