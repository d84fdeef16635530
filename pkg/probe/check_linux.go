package probe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/sctp"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// A check is one behaviour to prove. The list in suite_linux.go is the whole
// suite; everything else here only runs it.
type check struct {
	name string
	// rfc is the section that demands the behaviour.
	rfc string
	// suite is the smallest one that the check belongs to.
	suite result.Suite
	// required: a failure means that SCTP is not ready.
	required bool
	// current: also run in the current network namespace, where the others
	// run in one of their own.
	current bool
	// private: changes the network namespace (addresses, links, sysctls), so
	// it runs only where the namespace is the probe's own.
	private bool
	family  family
	// prove returns nil, or a *stop with the stage and the cause.
	prove func(context.Context, *env) error
}

// stop is why a check did not pass. Its zero stage is a wrong answer, not a
// missing one.
type stop struct {
	outcome result.Outcome // "" is concluded from err
	stage   result.Stage
	// cut: the deadline of the whole run came before that of the step, so
	// that nothing can be concluded from its passing.
	cut bool
	// since is when the wait began that ended without an answer.
	since  time.Time
	detail string
	err    error
}

func (s *stop) Error() string {
	text := s.detail
	if s.err != nil {
		if text != "" {
			text += ": "
		}
		text += s.err.Error()
	}
	if s.stage != "" {
		text = string(s.stage) + ": " + text
	}
	return text
}

func (s *stop) Unwrap() error { return s.err }

// wrong: the kernel answered, and the answer breaks the RFC.
func wrong(format string, args ...any) error {
	return &stop{outcome: result.OutcomeFail, detail: fmt.Sprintf(format, args...)}
}

// skip: the check does not apply here.
func skip(format string, args ...any) error {
	return &stop{outcome: result.OutcomeSkip, detail: fmt.Sprintf(format, args...)}
}

// undecided: something other than SCTP kept the check from concluding.
func undecided(stage result.Stage, err error, format string, args ...any) error {
	return &stop{outcome: result.OutcomeUnknown, stage: stage, err: err, detail: fmt.Sprintf(format, args...)}
}

// concluded is a result that is one already: the child's.
type concluded result.Check

func (c concluded) Error() string { return c.Detail }

// conclude turns what a check returned into its result.
func (c check) conclude(err error, took time.Duration) result.Check {
	res := result.Check{Name: c.name, RFC: c.rfc, Required: c.required, Result: result.OutcomePass, Duration: took}
	if err == nil {
		return res
	}
	if have, ok := errors.AsType[concluded](err); ok {
		return result.Check(have)
	}
	s, ok := errors.AsType[*stop](err)
	if !ok {
		s = &stop{outcome: result.OutcomeUnknown, err: err}
	}
	res.Stage = s.stage
	res.Result = s.outcome
	res.Detail = err.Error()
	errno, ok := errors.AsType[unix.Errno](err)
	if ok {
		res.Errno = errnoName(errno)
	}
	res.TimedOut = errors.Is(err, os.ErrDeadlineExceeded)
	if res.Result == "" {
		switch {
		case errors.As(err, new(sctp.Answered)):
			res.Result = result.OutcomeFail
		case errors.Is(err, context.Canceled), errors.Is(err, os.ErrNoDeadline), s.cut, inconclusive(errno):
			res.Result = result.OutcomeUnknown
		case s.stage == result.StageSocket && errno == unix.ENOSYS:
			// What a seccomp profile answers to calls that it does not list
			// (containers/common, seccomp.json, defaultErrnoRet), and the
			// kernel never to this one.
			res.Result = result.OutcomeUnknown
		default:
			res.Result = result.OutcomeFail
		}
	}
	if res.Result != result.OutcomeFail {
		res.TimedOut = res.TimedOut && !s.cut
	}
	return res
}

// silence reports whether a check stopped because nothing came for too long, by the
// step's clock or by the kernel's, and since when it had waited.
func silence(err error) (since time.Time, silent bool) {
	late := errors.Is(err, os.ErrDeadlineExceeded) && !errors.As(err, new(sctp.Answered))
	if !late && !errors.Is(err, unix.ETIMEDOUT) {
		return since, false
	}
	if s, ok := errors.AsType[*stop](err); ok {
		since = s.since
	}
	return since, true
}

// inconclusive error numbers mean that the probe was refused, or lacked a resource,
// not that the protocol does not work.
func inconclusive(e unix.Errno) bool {
	switch e {
	case unix.EPERM, unix.EACCES, // seccomp, LSM, cgroup BPF
		unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS, unix.EAGAIN, unix.ENOSPC,
		unix.EADDRINUSE,    // with port 0: no ephemeral port left
		unix.EADDRNOTAVAIL: // no loopback address in this namespace
		return true
	}
	return false
}

func errnoName(e unix.Errno) string {
	if name := unix.ErrnoName(e); name != "" {
		return name
	}
	return fmt.Sprintf("errno %d", int(e))
}

// runChecks runs the checks side by side, so that a black hole costs one
// step's deadline and not one per check, and hands each result to emit as it
// comes. It returns when all have concluded or the context ends, whichever is
// first: a call that hangs in the kernel cannot be taken back, only left.
func runChecks(ctx context.Context, checks []check, proc string, step time.Duration, private bool, emit func(result.Check)) {
	type numbered struct {
		i int
		result.Check
	}
	late := watchLag(proc, step, private)
	defer late.end()
	warmUp(ctx, step)
	results := make(chan numbered, len(checks))
	for i, c := range checks {
		go func() {
			began := time.Now()
			e := &env{family: c.family, proc: proc, step: step}
			err := e.run(ctx, c.prove)
			now := time.Now()
			found := c.conclude(err, now.Sub(began))
			if since, silent := silence(err); silent && found.Result == result.OutcomeFail {
				if doubt := late.doubt(since, now); doubt != "" {
					found.Result = result.OutcomeUnknown
					found.Detail += " (inconclusive: " + doubt + ")"
				}
			}
			results <- numbered{i, found}
		}()
	}
	// The sockets' deadlines follow the context's, so the checks end with it by
	// themselves; the margin is for their results to arrive.
	const margin = 20 * time.Millisecond
	expired := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		time.Sleep(margin)
		close(expired)
	})()
	left := map[int]bool{}
	for i := range checks {
		left[i] = true
	}
	for len(left) > 0 {
		select {
		case r := <-results:
			delete(left, r.i)
			emit(r.Check)
		case <-expired:
			for i := range left {
				emit(checks[i].conclude(undecided("", nil, "a call into the kernel did not return in time"), 0))
			}
			return
		}
	}
}

// warmUp lets the kernel find the hash of the cookie's MAC once (listen
// allocates it: net/sctp/socket.c, sctp_listen_start): the first search may
// run modprobe, and a dozen checks side by side would each have it do so.
func warmUp(ctx context.Context, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Whatever fails here fails again in the checks, which report it.
		e := &env{family: ipv4, step: limit}
		defer e.close()
		if s, _, err := e.bound(nil, unix.SOCK_STREAM, nil); err == nil {
			s.listen()
		}
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
