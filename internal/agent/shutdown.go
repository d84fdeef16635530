package agent

import (
	"context"
	"sync"
	"time"
)

// Shutdown says that the node's shutdown begins, or was called off.
type Shutdown struct {
	Begins bool
	// Release lets the shutdown go on; the node waits for it. Never nil.
	Release func()
}

// ShutdownWatch notices the node's shutdown before it takes place.
type ShutdownWatch interface {
	// Run sends what it notices, until ctx ends or it cannot notice any
	// more.
	Run(ctx context.Context, notice func(Shutdown)) error
}

func (a *Agent) runShutdownWatch(ctx context.Context, ch chan<- Shutdown) {
	const first, last = 5 * time.Second, 5 * time.Minute
	for failures := 0; ctx.Err() == nil; failures++ {
		start := time.Now()
		err := a.cfg.Shutdown.Run(ctx, func(s Shutdown) {
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
		if ctx.Err() != nil {
			return
		}
		if time.Since(start) > last {
			failures = 0
		}
		if failures == 0 {
			a.cfg.Log.Info("the node's shutdown cannot be noticed; readers tell a reboot by the boot ID", "error", errText(err))
		}
		pause := time.NewTimer(jitter(min(first<<min(failures, 20), last)))
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
}
