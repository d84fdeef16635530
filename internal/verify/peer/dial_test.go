package peer

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A path counts as blocked on evidence alone: it fails several times in a row
// while the path beside it works. One that is reached when time is up is open,
// however often it failed before, and what cannot be told is said to be so.
func TestBlocked(t *testing.T) {
	const denied, beside = "denied", "beside"
	// A story is what tries of the two give, one after the other: "o" is OK,
	// "x" dropped; the last one goes on.
	for _, c := range []struct {
		name           string
		denied, beside string
		want           Outcome
		tries          int // of the denied path; 0: any number
	}{
		{"blocked from the start", "x", "o", Blocked, denials},
		{"blocked after a while", "ooox", "o", Blocked, 3 + denials},
		{"open", "o", "o", OK, 0},
		{"open, and one try is lost", "xo", "o", OK, 0},
		{"open, and tries are lost now and then", "oxxooxo", "o", OK, 0},
		{"open, and one try fewer than it takes is lost", "xxo", "o", OK, 0},
		{"nothing gets through", "x", "x", Unknown, 0},
		{"nothing gets through for a while, then all does", "xxxxo", "xxxxo", OK, 0},
		{"nothing gets through for a while, then one is blocked", "x", "xxo", Blocked, 2 + denials},
		{"the path beside it fails now and then", "x", "oxoxooo", Blocked, 4 + denials},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := map[string]int{}
				try := func(address string) Result {
					story := map[string]string{denied: c.denied, beside: c.beside}[address]
					now := story[min(tries[address], len(story)-1)]
					tries[address]++
					time.Sleep(10 * time.Millisecond)
					if now == 'o' {
						return Result{ID: 7, Outcome: OK}
					}
					return Result{ID: 7, Outcome: Dropped, Errno: "ETIMEDOUT"}
				}
				start := time.Now()
				r := blocked(t.Context(), Target{ID: 7, Address: denied, Beside: beside}, start.Add(20*time.Second), try)
				if r.Outcome != c.want || r.ID != 7 {
					t.Errorf("got %+v, want %s", r, c.want)
				}
				if c.tries != 0 && tries[denied] != c.tries {
					t.Errorf("%d tries, want %d", tries[denied], c.tries)
				}
				if took := time.Since(start); took > 25*time.Second {
					t.Errorf("it took %v", took)
				}
				if waited := time.Since(start) > 20*time.Second; r.Outcome != Blocked && !waited {
					t.Errorf("%s after %v: a policy has longer to come into force", r.Outcome, time.Since(start))
				}
			})
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := blocked(ctx, Target{Address: denied, Beside: beside}, time.Now().Add(time.Hour), func(string) Result { return Result{Outcome: OK} })
		if r.Outcome != Unknown {
			t.Errorf("got %+v", r)
		}
	})
}
