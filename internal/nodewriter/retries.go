package nodewriter

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/backoff"
)

// retries are the attempts at one kind of request that follow failures.
type retries struct {
	backoff.Backoff
	overruns int // failures in a row of a server that is overrun
	refusals int // 403 in a row
}

// The spread window of those who met a server that is overrun: the first time,
// and at most.
const firstWindow, lastWindow = 8 * time.Second, 32 * time.Second

// An API server that has just started answers 403 until it has read the roles and
// the admission policies: the first refusals in a row are retried after about this
// time, doubling, and not yet reported as forbidden.
const firstRefusal, unbelieved = time.Second, 3

// after is how long to wait after a failure.
//
// An overloaded server asks all clients to retry in the same second (API priority
// and fairness sends "Retry-After: 1"), or does not answer at all. So agents retry
// no sooner than asked, and at a random time within a window, which doubles while
// that is still too many at once: of 5,000, an API server queues some hundreds.
func (r *retries) after(err error) time.Duration {
	if isForbidden(err) {
		r.refusals++
	} else {
		r.refusals = 0
	}
	asked := askedDelay(err)
	if asked > 0 || r.refusals == 1 {
		// It answers: earlier failures no longer count.
		r.Reset()
	}
	switch {
	case asked > 0, timedOut(err):
		r.Fail()
		r.overruns++
		return asked + backoff.Within(min(firstWindow<<min(r.overruns-1, 10), lastWindow))
	case r.notReady():
		r.Fail()
		return backoff.Spread(firstRefusal<<(r.refusals-1), 0.5)
	}
	r.overruns = 0
	return r.Next()
}

// notReady: the last failure was a refusal that may be temporary.
func (r *retries) notReady() bool { return r.refusals > 0 && r.refusals <= unbelieved }

func (r *retries) reset() {
	r.Reset()
	r.overruns, r.refusals = 0, 0
}

// timedOut: there was no answer, or not even a TLS handshake, in time.
func timedOut(err error) bool {
	network, ok := errors.AsType[net.Error](err)
	return errors.Is(err, context.DeadlineExceeded) || ok && network.Timeout()
}
