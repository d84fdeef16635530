package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"net"
	"time"

	"github.com/ishidawataru/sctp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The checks here lose packets on purpose, by a route in the probe's own
// network namespace: a filter or a pair of links would make the kernel load
// modules for them.

// fastTimers makes lost packets cost tenths of a second, not seconds (RFC
// 9260, section 6.3.1; the defaults are those of section 16).
func fastTimers(s *socket) error {
	if err := s.set(optRTOInfo, raw(rtoInfo{Initial: 60, Max: 120, Min: 60})); err != nil {
		return &stop{stage: StageSocket, err: err, detail: "set SCTP_RTOINFO"}
	}
	return nil
}

// blackhole loses every packet to an address from now on, until restore.
func blackhole(ip net.IP) (restore func() error, err error) {
	routes, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err == nil {
		err = routes.SetSocketTimeout(time.Second)
	}
	if err != nil {
		return nil, undecided("", err, "open rtnetlink")
	}
	// In the local table, where it is more specific than 127.0.0.0/8.
	route := &netlink.Route{
		Dst:   &net.IPNet{IP: ip.To4(), Mask: net.CIDRMask(32, 32)},
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

// proveFailover: when the primary path loses everything, what is sent arrives
// over the other one (RFC 9260, sections 6.4.1 and 8.2).
func proveFailover(ctx context.Context, e *env) error {
	host := func(n byte) net.IPAddr { return net.IPAddr{IP: net.IPv4(127, 0, 1, n)} }
	a, err := e.associate(ctx, ends{
		client:  []net.IPAddr{host(3), host(4)},
		server:  []net.IPAddr{host(1), host(2)},
		prepare: fastTimers,
	})
	if err != nil {
		return err
	}
	port, err := a.server.port()
	if err != nil {
		return err
	}
	if err := a.client.confirm(ctx, at(port, host(2))); err != nil {
		return err
	}
	if _, err := blackhole(host(1).IP); err != nil {
		return err
	}
	nonce := make([]byte, 32)
	rand.Read(nonce)
	if err := a.client.send(ctx, nonce, sctp.SndRcvInfo{}, nil); err != nil {
		return err
	}
	m, err := a.server.receive(ctx, "a message while the primary path is down")
	if err != nil {
		return err
	}
	if !bytes.Equal(m.data, nonce) {
		return wrong("received %d bytes that are not the nonce sent", len(m.data))
	}
	return nil
}

// provePartialReliability: a message whose lifetime ends while it is lost is
// given up, and the peer is told to go on without it (RFC 3758, sections 3.5
// and 4.1): the next one of the same stream is delivered.
func provePartialReliability(ctx context.Context, e *env) error {
	from, to := net.IPAddr{IP: net.IPv4(127, 0, 2, 3)}, net.IPAddr{IP: net.IPv4(127, 0, 2, 1)}
	a, err := e.associate(ctx, ends{
		client: []net.IPAddr{from},
		server: []net.IPAddr{to},
		prepare: func(s *socket) error {
			if err := fastTimers(s); err != nil {
				return err
			}
			return s.enable(optPRSupported, 1, "partial reliability")
		},
	})
	if err != nil {
		return err
	}
	restore, err := blackhole(to.IP)
	if err != nil {
		return err
	}
	const lifetime = 10 // milliseconds; it is looked at when the retransmission timer fires
	err = a.client.send(ctx, []byte("given up"), sctp.SndRcvInfo{Flags: flagLifetime, TTL: lifetime}, nil)
	if err != nil {
		return err
	}
	if err := a.client.waitUntil(ctx, StageSend, "a message to be given up", func() (bool, error) {
		given := prStatus{Policy: flagLifetime}
		if err := a.client.get(optPRAssocStatus, bytesOf(&given)); err != nil {
			return false, unsupported(err, "the count of messages given up")
		}
		return given.Sent > 0, nil
	}); err != nil {
		return err
	}
	if err := restore(); err != nil {
		return err
	}
	const second = "delivered"
	if err := a.client.send(ctx, []byte(second), sctp.SndRcvInfo{}, nil); err != nil {
		return err
	}
	m, err := a.server.receive(ctx, "the message after one that was given up")
	if err != nil {
		return err
	}
	if string(m.data) != second {
		return wrong("%q was delivered after its sender had given it up", m.data)
	}
	return a.shutdown(ctx)
}
