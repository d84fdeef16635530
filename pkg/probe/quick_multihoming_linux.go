package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/sctp"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// proveMultihoming: both ends have two addresses, the one that the handshake
// did not use is verified by a heartbeat (RFC 9260, sections 5.1.2, 5.4 and
// 8.3), and then carries a message.
func proveMultihoming(ctx context.Context, e *env) error {
	a, err := e.associate(ctx, ends{
		client: []netip.Addr{e.family.host(3), e.family.host(4)},
		server: []netip.Addr{e.family.host(1), e.family.host(2)},
	})
	if err != nil {
		return err
	}
	port, err := a.server.port()
	if err != nil {
		return err
	}
	second := netip.AddrPortFrom(e.family.host(2), port)
	if err := a.client.confirm(ctx, second); err != nil {
		return err
	}
	nonce := random(32)
	if err := a.client.send(ctx, nonce, sctp.SendInfo{Flags: sctp.FlagAddrOver}, second); err != nil {
		return err
	}
	if _, err := a.server.expect(ctx, nonce, "a message over the second path", "over the second path, %d bytes were received that are not the nonce sent"); err != nil {
		return err
	}
	return a.shutdown(ctx)
}

// confirm asks for a heartbeat to one of the peer's addresses and waits until
// it has been answered. The socket must be subscribed to address events.
func (s *socket) confirm(ctx context.Context, addr netip.AddrPort) error {
	// A heartbeat is not sent again until the next is due, half a minute later
	// (RFC 9260, section 8.3), so one that is lost is asked for again.
	const patience = 200 * time.Millisecond
	answer := fmt.Sprintf("wait for a heartbeat to %s to be answered", addr.Addr())
	since := time.Now()
	end := since.Add(s.env.step)
	for asked := false; ; {
		over := !time.Now().Before(end) // read before the last question, not after it
		state, err := s.pathState(addr)
		if err != nil {
			return err
		}
		if state == sctp.PathActive {
			return nil
		}
		if over {
			return &stop{stage: result.StageConnect, err: os.ErrDeadlineExceeded, since: since, detail: answer}
		}
		if !asked {
			asked = true
			if err := s.Heartbeat(addr); err != nil {
				return stopped(result.StageConnect, err, "ask for a heartbeat to %s", addr.Addr())
			}
			continue
		}
		short, cancel := context.WithTimeout(ctx, min(patience, time.Until(end)))
		m, err := s.receiveInto(short, result.StageConnect, answer, make([]byte, 1<<10))
		cancel()
		switch {
		case err == io.EOF:
			return &stop{outcome: result.OutcomeFail, stage: result.StageConnect, detail: "the association ended instead of confirming " + addr.Addr().String()}
		case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil:
			asked = false
		case err != nil:
			return err
		case !m.Notification:
			return wrong("%d bytes arrived that nobody sent", len(m.Data))
		}
	}
}

// pathState is what the kernel thinks of one of the peer's addresses.
func (s *socket) pathState(addr netip.AddrPort) (int32, error) {
	state, err := s.PathState(addr)
	return state, stopped(result.StageConnect, err, "ask for the state of the path to %s", addr.Addr())
}
