package probe

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/sctp"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// ends are what the two ends of an association have that differs from the default.
type ends struct {
	// client and server are the addresses to bind; none means the first
	// loopback address.
	client, server []netip.Addr
	// serverIn is the network namespace of the server's sockets; nil is that
	// of the process.
	serverIn *os.File
	// streams is how many streams each end asks for, each way; 0 leaves it to
	// the kernel.
	streams uint16
	// prepare is done to the sockets of both ends before they are bound;
	// accepted sockets inherit it.
	prepare []setup
}

// defaultStreams is how many outgoing streams an end has that asks for nothing
// (include/net/sctp/constants.h, SCTP_DEFAULT_OUTSTREAMS).
const defaultStreams = 10

// association is one association with both its ends in this process.
type association struct {
	env            *env
	client, server *socket
}

// associate performs the four-way handshake (RFC 9260, section 5.1) between
// two one-to-one sockets. It proves the cookie's MAC too, and with it the hash
// that the kernel was told to use (FIPS).
func (e *env) associate(ctx context.Context, how ends) (*association, error) {
	if how.streams > 0 {
		how.prepare = append([]setup{option(sctp.OptInitMsg, sctp.InitMsg{OutStreams: how.streams, MaxInStreams: how.streams}, "set SCTP_INITMSG")}, how.prepare...)
	}
	listener, port, err := e.bound(how.serverIn, unix.SOCK_STREAM, how.server, how.prepare...)
	if err != nil {
		return nil, err
	}
	if err := listener.listen(); err != nil {
		return nil, err
	}
	client, clientPort, err := e.bound(nil, unix.SOCK_STREAM, how.client, how.prepare...)
	if err != nil {
		return nil, err
	}
	first := e.family.host(1)
	if len(how.server) > 0 {
		first = how.server[0]
	}
	if err := client.Connect(ctx, netip.AddrPortFrom(first, port)); err != nil {
		return nil, stopped(result.StageConnect, err, "connect to %s", first)
	}
	server, err := listener.accept(ctx, clientPort)
	if err != nil {
		return nil, err
	}
	// The event of the shutdown's completion, which on a one-to-one socket nothing
	// else reports to the side that began it.
	if err := subscribed(client); err != nil {
		return nil, err
	}
	streams := how.streams
	if streams == 0 {
		streams = defaultStreams
	}
	for name, s := range map[string]*socket{"client": client, "server": server} {
		st, err := s.status(result.StageConnect)
		if err != nil {
			return nil, err
		}
		if st.State != sctp.StateEstablished || st.InStreams != streams || st.OutStreams != streams {
			return nil, wrong("after the handshake the %s is in state %d with %d streams in and %d out, not established (%d) with %d each",
				name, st.State, st.InStreams, st.OutStreams, sctp.StateEstablished, streams)
		}
	}
	return &association{env: e, client: client, server: server}, nil
}

// bound opens a socket of the given style in a network namespace, nil being that
// of the process, and binds it to the addresses on a port that the kernel chooses.
// The addresses are always explicit: bound to the wildcard, an end would offer
// every address of the host to the other (RFC 9260, section 5.1.2).
func (e *env) bound(ns *os.File, style int, hosts []netip.Addr, prepare ...setup) (*socket, uint16, error) {
	s, err := e.socket(ns, style)
	if err != nil {
		return nil, 0, err
	}
	if err := s.prepare(prepare...); err != nil {
		return nil, 0, err
	}
	if len(hosts) == 0 {
		hosts = []netip.Addr{e.family.host(1)}
	}
	// One address first: the kernel chooses a port for it, the others join.
	here := netip.AddrPortFrom(hosts[0], 0)
	if err := s.bound(s.Bind(here), here); err != nil {
		return nil, 0, err
	}
	port, err := s.port()
	if err != nil {
		return nil, 0, err
	}
	if len(hosts) > 1 {
		var more []netip.AddrPort
		for _, host := range hosts[1:] {
			more = append(more, netip.AddrPortFrom(host, port))
		}
		if err := s.bound(s.BindMore(more...), more...); err != nil {
			return nil, 0, err
		}
	}
	return s, port, nil
}

// shutdown ends the association gracefully (RFC 9260, section 9.2), begun by
// the client: the server reads the end, and the client learns that the server
// has acknowledged it.
func (a *association) shutdown(ctx context.Context) error {
	if err := a.client.Shutdown(); err != nil {
		return stopped(result.StageShutdown, err, "shut the association down")
	}
	for {
		m, err := a.server.receiveInto(ctx, result.StageShutdown, "wait for the end of the association", make([]byte, 1<<10))
		if err == io.EOF {
			break
		}
		if lost, ok := errors.AsType[*stop](err); ok && errors.Is(lost.err, unix.ECONNRESET) {
			// A shutdown that gets no answer is given up after five times
			// RTO.Max, which is 5 s here, with an ABORT (RFC 9260, section 9.2;
			// net/sctp/sm_statefuns.c, sctp_sf_t5_timer_expire).
			if gaveUp := a.client.PendingError(); errors.Is(gaveUp, unix.ETIMEDOUT) {
				lost.err = gaveUp
			}
		}
		if err != nil {
			return err
		}
		if !m.Notification {
			return wrong("%d bytes arrived that nobody sent", len(m.Data))
		}
	}
	return a.client.sawShutdown(ctx, 1)
}
