package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/sctp"
	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
)

// A path counts as blocked on evidence alone: it fails several times in a row while
// the path beside it works. One that is reached when time is up is open, however
// often it failed before, and what is not known is unknown.
func TestBlocked(t *testing.T) {
	const denied, beside = "denied", "beside"
	// A story is what tries of the two give, one after the other: "o" is OK, "x"
	// dropped; the last one repeats.
	for _, c := range []struct {
		name           string
		denied, beside string
		want           wire.Outcome
		tries          int // of the denied path; 0: any number
	}{
		{"blocked from the start", "x", "o", wire.Blocked, denials},
		{"blocked after a while", "ooox", "o", wire.Blocked, 3 + denials},
		{"open", "o", "o", wire.OK, 0},
		{"open, and one try is lost", "xo", "o", wire.OK, 0},
		{"open, and tries are lost now and then", "oxxooxo", "o", wire.OK, 0},
		{"open, and one try fewer than it takes is lost", "xxo", "o", wire.OK, 0},
		{"nothing gets through", "x", "x", wire.Unknown, 0},
		{"nothing gets through for a while, then all does", "xxxxo", "xxxxo", wire.OK, 0},
		{"nothing gets through for a while, then one is blocked", "x", "xxo", wire.Blocked, 2 + denials},
		{"the path beside it fails now and then", "x", "oxoxooo", wire.Blocked, 4 + denials},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := map[string]int{}
				try := func(address string) wire.Result {
					story := map[string]string{denied: c.denied, beside: c.beside}[address]
					now := story[min(tries[address], len(story)-1)]
					tries[address]++
					time.Sleep(10 * time.Millisecond)
					if now == 'o' {
						return wire.Result{ID: 7, Outcome: wire.OK}
					}
					return wire.Result{ID: 7, Outcome: wire.Dropped, Errno: "ETIMEDOUT"}
				}
				start := time.Now()
				r := blocked(t.Context(), wire.Target{ID: 7, Address: denied, Beside: beside}, start.Add(20*time.Second), try)
				if r.Outcome != c.want || r.ID != 7 {
					t.Errorf("got %+v, want %s", r, c.want)
				}
				if c.tries != 0 && tries[denied] != c.tries {
					t.Errorf("%d tries, want %d", tries[denied], c.tries)
				}
				if took := time.Since(start); took > 25*time.Second {
					t.Errorf("it took %v", took)
				}
				if waited := time.Since(start) > 20*time.Second; r.Outcome != wire.Blocked && !waited {
					t.Errorf("%s after %v: a policy has longer to come into force", r.Outcome, time.Since(start))
				}
			})
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := blocked(ctx, wire.Target{Address: denied, Beside: beside}, time.Now().Add(time.Hour), func(string) wire.Result { return wire.Result{Outcome: wire.OK} })
		if r.Outcome != wire.Unknown {
			t.Errorf("got %+v", r)
		}
	})
}

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		err  error
		want wire.Outcome
	}{
		{os.ErrDeadlineExceeded, wire.Dropped},
		{os.NewSyscallError("connect", unix.ETIMEDOUT), wire.Dropped},
		{os.NewSyscallError("connect", unix.ECONNREFUSED), wire.Refused},
		{os.NewSyscallError("receive", unix.ECONNRESET), wire.Refused},
		{os.NewSyscallError("connect", unix.EHOSTUNREACH), wire.NoRoute},
		{os.NewSyscallError("connect", unix.ENETUNREACH), wire.NoRoute},
		// An ICMP answer and a local refusal have the same number.
		{os.NewSyscallError("connect", sctp.Answered{Errno: unix.EACCES}), wire.NoRoute},
		{os.NewSyscallError("connect", unix.EACCES), wire.Denied},
		// An ICMP answer, and then silence.
		{fmt.Errorf("%w, after %w", os.ErrDeadlineExceeded, sctp.Answered{Errno: unix.EHOSTUNREACH}), wire.NoRoute},
		{os.NewSyscallError("socket", unix.EACCES), wire.Denied},
		{os.NewSyscallError("socket", unix.EPERM), wire.Denied},
		{os.NewSyscallError("socket", unix.EPROTONOSUPPORT), wire.ModuleMissing},
		{os.NewSyscallError("socket", unix.ESOCKTNOSUPPORT), wire.ModuleMissing},
		{os.NewSyscallError("socket", unix.EMFILE), wire.Unknown},
		{io.EOF, wire.Lost},
		{errors.New("something else altogether, told in many words"), wire.Unknown},
		{fmt.Errorf("wrapped: %w", os.NewSyscallError("connect", unix.ECONNREFUSED)), wire.Refused},
	} {
		if got, name := classify(c.err); got != c.want || name == "" || len(name) > 40 {
			t.Errorf("%v: %s (%q), want %s", c.err, got, name, c.want)
		}
	}
}
