package probe

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/sctp"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// family is the address family of a check, and its loopback addresses.
type family int

const (
	ipv4 family = unix.AF_INET
	ipv6 family = unix.AF_INET6
)

// host is loopback address number n, from 1. The whole of 127.0.0.0/8 is local
// (RFC 1122, section 3.2.1.3); IPv6 has only one.
func (f family) host(n byte) netip.Addr {
	if f == ipv6 {
		return netip.IPv6Loopback()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, n})
}

// hostsOf names the hosts of addresses to people. The port is left out: it differs
// each time, so that an unchanged report would look changed.
func hostsOf(addrs ...netip.AddrPort) string {
	var hosts []string
	for _, a := range addrs {
		hosts = append(hosts, a.Addr().String())
	}
	return strings.Join(hosts, " and ")
}

// env is what one check works with: its sockets, all closed when it ends, and
// the time that one step may take.
type env struct {
	family  family
	proc    string
	step    time.Duration
	sockets []*socket
}

func (e *env) run(ctx context.Context, prove func(context.Context, *env) error) error {
	defer e.close()
	if e.family == ipv6 {
		// Asking for a socket of an unregistered family makes the kernel run
		// modprobe for it (net/socket.c, __sock_create); with ipv6.disable=1 it
		// does so every time. This file shows it without a request.
		if _, err := os.Stat(filepath.Join(e.proc, "net/if_inet6")); err != nil {
			return skip("this kernel runs without IPv6")
		}
	}
	return prove(ctx, e)
}

// close closes every socket, and so aborts what associations are left: after a
// graceful shutdown there is none.
func (e *env) close() {
	for _, s := range slices.Backward(e.sockets) {
		s.Close()
	}
	e.sockets = nil
}

// adopt makes a socket one of this check.
func (e *env) adopt(of *sctp.Socket) *socket {
	of.Patience = e.step
	s := &socket{Socket: of, env: e}
	e.sockets = append(e.sockets, s)
	return s
}

// sysctl sets a kernel parameter of the probe's own network namespace; the
// check must be private.
func (e *env) sysctl(name, value string) error {
	err := os.WriteFile(filepath.Join(e.proc, "sys", name), []byte(value), 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return skip("this kernel has no %s", filepath.ToSlash(name))
	case errors.Is(err, unix.EROFS), errors.Is(err, os.ErrPermission):
		return skip("%s cannot be set here: %v", name, err)
	case err != nil:
		return undecided("", err, "set %s", name)
	}
	return nil
}

// socket opens a socket of the given style (SOCK_STREAM is one-to-one,
// SOCK_SEQPACKET one-to-many; RFC 6458, sections 3 and 4) in a network
// namespace, where it stays; nil is that of the process.
func (e *env) socket(ns *os.File, style int) (*socket, error) {
	var opened *sctp.Socket
	open := func() (err error) {
		opened, err = sctp.Open(int(e.family), style)
		return err
	}
	var err error
	if ns == nil {
		err = open()
	} else {
		err = within(ns, open)
	}
	if err != nil {
		return nil, stopped(result.StageSocket, err, "open an SCTP socket")
	}
	s := e.adopt(opened)
	// An abort is the only end that needs no answer (RFC 9260, section 9.1). A
	// shutdown that gets none holds the association, and the network namespace,
	// until its guard timer expires (section 9.2; net/sctp/socket.c, sctp_close).
	if err := s.AbortOnClose(); err != nil {
		return nil, stopped(result.StageSocket, err, "set SO_LINGER")
	}
	// An ICMP error then ends a connect at once instead of waiting, unseen, to
	// be asked for (net/sctp/input.c, sctp_icmp_error).
	level, opt := unix.IPPROTO_IP, unix.IP_RECVERR
	if e.family == ipv6 {
		level, opt = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	}
	if err := s.Control(func(fd int) error { return unix.SetsockoptInt(fd, level, opt, 1) }); err != nil {
		return nil, stopped(result.StageSocket, err, "ask for ICMP errors")
	}
	// Without this, messages one way and the shutdown wait for delayed
	// acknowledgements, 200 ms each (RFC 9260, section 6.2).
	return s, s.prepare(
		option(sctp.OptDelayedSack, sctp.SackInfo{Frequency: 1}, "set SCTP_DELAYED_SACK"),
		retransmit(200*time.Millisecond, time.Second))
}

// retransmit bounds the time after which a packet that was not acknowledged is
// sent again (RFC 9260, section 6.3.1). Loopback does lose packets, those that
// find the kernel's queue of received ones full (net.core.netdev_max_backlog),
// and by default the protocol would wait for an answer to the first INIT longer
// than the whole probe may take, 3 s (section 16): one lost packet must not
// look like a filter.
func retransmit(least, most time.Duration) setup {
	return option(sctp.OptRTOInfo, sctp.RTOInfo{
		Initial: uint32(least.Milliseconds()),
		Min:     uint32(least.Milliseconds()),
		Max:     uint32(most.Milliseconds()),
	}, "set SCTP_RTOINFO")
}
