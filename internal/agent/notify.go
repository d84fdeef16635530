package agent

import (
	"context"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// NotifySystemd tells the service manager that the agent is ready once concluded
// returns true, and renews its watchdog while the loop makes progress
// (sd_notify(3), sd_watchdog_enabled(3)). It returns at once when the agent does
// not run as a systemd service.
func (a *Agent) NotifySystemd(ctx context.Context, concluded func() bool) {
	// A service of Type=notify that cannot reach its API server counts as started:
	// it waits, which is its task.
	const startedAnyway = 30 * time.Second
	sent, err := daemon.SdNotify(false, "STATUS=first assessment")
	if !sent || err != nil {
		return
	}
	interval, _ := daemon.SdWatchdogEnabled(false)
	tick := time.Second
	if interval > 0 {
		tick = min(tick, interval/3)
	}
	start, ready := time.Now(), false
	for t := time.NewTicker(tick); ; {
		if !ready && (concluded() || time.Since(start) > startedAnyway) {
			ready = true
			_, _ = daemon.SdNotify(false, daemon.SdNotifyReady+"\nSTATUS=watching")
			if interval == 0 {
				t.Stop()
				return
			}
			t.Reset(interval / 3)
		}
		if interval > 0 && a.healthy() {
			_, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog)
		}
		select {
		case <-ctx.Done():
			t.Stop()
			_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
			return
		case <-t.C:
		}
	}
}
