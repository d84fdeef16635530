package agent

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/backoff"
)

// Shutdown: the node's shutdown begins, or was cancelled.
type Shutdown struct {
	Begins bool
	// Release allows the shutdown to proceed; the node waits for it. Never nil.
	Release func()
}

// ShutdownWatch notices the node's shutdown before it takes place.
type ShutdownWatch interface {
	// Run sends what it notices, until ctx ends or it cannot notice any
	// more.
	Run(ctx context.Context, notice func(Shutdown)) error
}

func (a *Agent) runShutdownWatch(ctx context.Context, ch chan<- Shutdown) {
	failed := backoff.Backoff{First: firstRestart, Last: lastRestart}
	failed.Keep(ctx, func() error {
		return a.cfg.Shutdown.Run(ctx, func(s Shutdown) {
			if s.Begins {
				// The loop may be in the middle of an assessment.
				s.Release = sync.OnceFunc(s.Release)
				time.AfterFunc(lastFlush, s.Release)
			}
			select {
			case ch <- s:
			case <-ctx.Done():
				s.Release()
			}
		})
	}, func(err error) {
		if failed.Failures() == 0 {
			a.cfg.Log.Info("the node's shutdown cannot be noticed; a reboot is detected by the boot ID only", "error", cmp.Or(err, errEnded).Error())
		}
	})
}
