package probe

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// TestDeadlineAnywhere: wherever in a check the time runs out, also where the
// kernel has just answered, no check says that something is wrong. For a guest
// of test/probe.
func TestDeadlineAnywhere(t *testing.T) {
	onlyInGuest(t)
	if err := openOne(); err != nil { // loads the module
		t.Fatal(err)
	}
	if out, err := exec.Command("/sbin/modprobe", "veth").CombinedOutput(); err != nil {
		t.Fatalf("modprobe veth: %v\n%s", err, out)
	}
	// Private checks are in a thread of its own, whose network /proc/net does not show.
	proc := t.TempDir()
	for name, to := range map[string]string{"net": "/proc/thread-self/net", "sys": "/proc/sys", "self": "/proc/self"} {
		if err := os.Symlink(to, filepath.Join(proc, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			ends := 0
			// Each of the first, which are most checks' all, and then fewer.
			for n := 1; ; n += 1 + n/20 {
				ctx := &endsAtQuestion{Context: t.Context(), left: n, done: make(chan struct{})}
				e := &env{family: c.family, proc: proc, step: 20 * time.Second}
				var r result.Check
				if err := apart(func() error {
					if c.private {
						if err := errors.Join(unix.Unshare(unix.CLONE_NEWNET), raiseLoopback()); err != nil {
							return err
						}
					}
					r = c.conclude(e.run(ctx, c.prove), 0)
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				if r.Result == result.OutcomeFail || r.Result == result.OutcomeSkip {
					t.Errorf("at question %d: %+v", n, r)
				}
				if ctx.Err(); ctx.left > 0 { // it came to its end before
					break
				}
				ends++
			}
			t.Logf("%d deadlines", ends)
		})
	}
}

// endsAtQuestion is a context whose deadline passes when it is asked about for
// the n-th time.
type endsAtQuestion struct {
	context.Context
	mu   sync.Mutex
	left int
	done chan struct{}
}

func (c *endsAtQuestion) Done() <-chan struct{} { return c.done }

func (c *endsAtQuestion) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left--
	if c.left == 0 {
		close(c.done)
	}
	if c.left <= 0 {
		return context.DeadlineExceeded
	}
	return nil
}

func (c *endsAtQuestion) Deadline() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left <= 0 {
		return time.Now(), true
	}
	return time.Now().Add(time.Hour), true
}
