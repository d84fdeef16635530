package peer

import (
	"context"
	"net/netip"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/backoff"
	"github.com/sctp-agent/sctp-agent/internal/sctp"
	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
)

// askAgain is how often a heartbeat is asked for: one that is lost is not sent
// again until the next is due, half a minute later (RFC 9260, section 8.3).
const askAgain = 500 * time.Millisecond

// confirm requests heartbeats on the paths to all addresses of the listener, and
// returns the paths' states when they are active or time is over. A path to an
// address that the listener has not offered does not exist.
func (c *conversation) confirm(ctx context.Context, to netip.AddrPort, also []string, r *wire.Result) {
	r.States = map[string]string{}
	addresses := []netip.AddrPort{to}
	for _, text := range also {
		a, err := netip.ParseAddr(text)
		if err != nil {
			r.Outcome, r.Errno = classify(err)
			return
		}
		addresses = append(addresses, netip.AddrPortFrom(a, to.Port()))
	}
	for {
		r.Outcome, r.Errno = wire.OK, ""
		for _, a := range addresses {
			state := c.pathState(a)
			r.States[a.Addr().String()] = state
			if state == active {
				continue
			}
			r.Outcome, r.Errno = wire.PathDown, a.Addr().String()+" "+state
			_ = c.Heartbeat(a) // refused where there is no such path
		}
		if r.Outcome == wire.OK || ctx.Err() != nil {
			return
		}
		backoff.Sleep(ctx, askAgain)
	}
}

const active = "active"

// pathState is what the kernel thinks of one of the peer's addresses.
func (c *conversation) pathState(a netip.AddrPort) string {
	state, err := c.PathState(a)
	if err != nil {
		return "not-offered"
	}
	switch state {
	case sctp.PathInactive:
		return "inactive"
	case sctp.PathPotentiallyFailed:
		return "potentially-failed"
	case sctp.PathActive:
		return active
	case sctp.PathUnconfirmed:
		return "unconfirmed"
	}
	return "unknown"
}
