package backoff

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestNext(t *testing.T) {
	b := Backoff{First: 100 * time.Millisecond, Last: time.Minute}
	for range 2 {
		mean := b.First
		for n := range 100 {
			if b.Failures() != n {
				t.Fatalf("%d failures counted, want %d", b.Failures(), n)
			}
			if d := b.Next(); d < mean/2 || d > mean*3/2 {
				t.Fatalf("failure %d: %s, want about %s", n+1, d, mean)
			}
			mean = min(2*mean, b.Last)
		}
		b.Reset()
	}
}

// Programs that fail together come back at any time of the whole range.
func TestSpread(t *testing.T) {
	const d, programs, parts = time.Second, 10_000, 10
	for _, part := range []float64{0.2, 0.5} {
		first := time.Duration(float64(d) * (1 - part))
		width := time.Duration(float64(d) * 2 * part / parts)
		var seen [parts]int
		for range programs {
			got := Spread(d, part)
			if got < first || got >= first+parts*width {
				t.Fatalf("%s, want %s by at most %v of it more or less", got, d, part)
			}
			seen[(got-first)/width]++
		}
		// 1000 are expected in each; 800 is more than six deviations below.
		for i, n := range seen {
			if n < programs/parts*8/10 {
				t.Errorf("part %d of %d of the range was chosen %d times of %d: %v", i, parts, n, programs, seen)
			}
		}
	}
	if Spread(0, 0.5) != 0 || Within(-time.Second) != 0 {
		t.Error("nothing is spread to something")
	}
}

// What should never end is started again, later each time, and soon again after
// it has lasted.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		b := Backoff{First: time.Second, Last: 4 * time.Second}
		lasts := []time.Duration{0, 0, 0, 5 * time.Second, 0, 0}
		wants := []int{0, 1, 2, 0, 1} // failures before the end that is heard of
		started, runs := time.Now(), 0
		var end time.Time
		broken := errors.New("broken")
		b.Keep(ctx, func() error {
			if n := b.Failures(); runs > 0 {
				mean := min(b.First<<(n-1), b.Last)
				if waited := time.Since(end); waited < mean/2 || waited > mean*3/2 {
					t.Errorf("run %d after %s, want about %s", runs+1, waited, mean)
				}
			}
			if runs++; runs == len(lasts) {
				cancel()
				return nil
			}
			time.Sleep(lasts[runs-1])
			return broken
		}, func(err error) {
			if err != broken || b.Failures() != wants[runs-1] {
				t.Errorf("run %d: %v, %d failures before, want %d", runs, err, b.Failures(), wants[runs-1])
			}
			end = time.Now()
		})
		if runs != len(lasts) {
			t.Errorf("%d runs in %s", runs, time.Since(started))
		}
	})
}

func TestSleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		Sleep(ctx, time.Hour)
		if took := time.Since(start); took != time.Second {
			t.Errorf("the wait went on for %s, its context ended after 1 s", took)
		}
	})
}
