package probe

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/sctp"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// The checks here lose packets on purpose, in the probe's own network
// namespace.

// fastTimers are for packets that are lost on purpose.
var fastTimers = retransmit(60*time.Millisecond, 120*time.Millisecond)

// blackhole loses every packet to an address from now on, until restore. By a
// route: a filter would make the kernel load modules.
func blackhole(ip netip.Addr) (restore func() error, err error) {
	routes, err := rtnetlink()
	if err != nil {
		return nil, undecided("", err, "")
	}
	// In the local table, where it is more specific than 127.0.0.0/8.
	route := &netlink.Route{
		Dst:   &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(32, 32)},
		Type:  unix.RTN_BLACKHOLE,
		Table: unix.RT_TABLE_LOCAL,
	}
	if err := routes.RouteAdd(route); err != nil {
		routes.Close()
		return nil, undecided("", err, "add a route that loses packets to %s", ip)
	}
	return func() error {
		defer routes.Close()
		if err := routes.RouteDel(route); err != nil {
			return undecided("", err, "remove the route that loses packets to %s", ip)
		}
		return nil
	}, nil
}

// proveFailover: two hosts with two links between them; when the far end of
// the primary one goes down, what is sent arrives over the other (RFC 9260,
// sections 6.4.1 and 8.2).
func proveFailover(ctx context.Context, e *env) error {
	const pairs = 2
	l, err := e.newLinks(pairs)
	if err != nil {
		return err
	}
	defer l.close()
	how := ends{serverIn: l.ns, prepare: []setup{fastTimers}}
	for i := range byte(pairs) {
		how.client = append(how.client, linkAddress(i, 1))
		how.server = append(how.server, linkAddress(i, 2))
	}
	a, err := e.associate(ctx, how)
	if err != nil {
		return err
	}
	port, err := a.server.port()
	if err != nil {
		return err
	}
	if err := a.client.confirm(ctx, netip.AddrPortFrom(how.server[1], port)); err != nil {
		return err
	}
	if err := l.cut(0); err != nil {
		return err
	}
	nonce := random(32)
	if err := a.client.send(ctx, nonce, sctp.SendInfo{}); err != nil {
		return err
	}
	_, err = a.server.expect(ctx, nonce, "a message while the primary path is down", "received %d bytes that are not the nonce sent")
	return err
}

// provePartialReliability: a message whose lifetime ends while it is lost is given
// up, and the peer is told to continue without it (RFC 3758, sections 3.5 and 4.1):
// the next one of the same stream is delivered.
func provePartialReliability(ctx context.Context, e *env) error {
	from, to := netip.AddrFrom4([4]byte{127, 0, 2, 3}), netip.AddrFrom4([4]byte{127, 0, 2, 1})
	a, err := e.associate(ctx, ends{
		client:  []netip.Addr{from},
		server:  []netip.Addr{to},
		prepare: []setup{fastTimers, extension(sctp.OptPRSupported, 1, "partial reliability")},
	})
	if err != nil {
		return err
	}
	restore, err := blackhole(to)
	if err != nil {
		return err
	}
	if err := a.giveUp(ctx, func() error {
		const lifetime = 10 // milliseconds; checked when the retransmission timer fires
		return a.client.send(ctx, []byte("given up"), sctp.SendInfo{Flags: sctp.FlagLifetime, TTL: lifetime})
	}); err != nil {
		return err
	}
	if err := restore(); err != nil {
		return err
	}
	const second = "delivered"
	if err := a.client.send(ctx, []byte(second), sctp.SendInfo{}); err != nil {
		return err
	}
	m, err := a.server.receive(ctx, "the message after one that was given up")
	if err != nil {
		return err
	}
	if string(m.Data) != second {
		return wrong("%q was delivered after its sender had given it up", m.Data)
	}
	return a.shutdown(ctx)
}

// giveUp waits until a message was given up after it had been sent. Only such a one
// has a number that its receiver waits for; on a machine that comes too late to
// send it, its lifetime ends before that (net/sctp/outqueue.c,
// sctp_outq_flush_data), and send is called for another one.
func (a *association) giveUp(ctx context.Context, send func() error) error {
	sent := uint64(0)
	return a.client.waitUntil(ctx, result.StageSend, "a message to be given up", func() (bool, error) {
		given := sctp.PRStatus{Policy: sctp.FlagLifetime}
		if err := sctp.Get(a.client.Socket, sctp.OptPRAssocStatus, &given); err != nil {
			return false, unsupported(err, "the count of messages given up")
		}
		if given.Unsent < sent {
			return given.Sent > 0, nil
		}
		sent++
		return false, send()
	})
}
