package probe

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ishidawataru/sctp"
	"golang.org/x/sys/unix"

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
func (f family) host(n byte) net.IPAddr {
	if f == ipv6 {
		return net.IPAddr{IP: net.IPv6loopback}
	}
	return net.IPAddr{IP: net.IPv4(127, 0, 0, n)}
}

// at is an SCTP address of one port on some hosts.
func at(port int, hosts ...net.IPAddr) *sctp.SCTPAddr {
	return &sctp.SCTPAddr{IPAddrs: hosts, Port: port}
}

// hostsOf names the hosts of an address to people. The port is left out: it is
// another one each time, and would make news of a report that says the same as
// the last.
func hostsOf(addr *sctp.SCTPAddr) string {
	var hosts []string
	for _, host := range addr.IPAddrs {
		hosts = append(hosts, host.String())
	}
	return strings.Join(hosts, " and ")
}

// env is what one check works with: its sockets, all closed when it ends, and
// the time that one step may take.
type env struct {
	family family
	proc   string
	step   time.Duration

	mu      sync.Mutex
	sockets []*socket
	ended   bool
}

func (e *env) run(ctx context.Context, prove func(context.Context, *env) error) error {
	defer e.close()
	// A step that waits when the context ends is woken by its own deadline
	// passing: there is no other way to interrupt a wait for a socket.
	defer context.AfterFunc(ctx, e.interrupt)()
	if e.family == ipv6 {
		// Asking for a socket of an unregistered family makes the kernel run
		// modprobe for it (net/socket.c, __sock_create); with ipv6.disable=1
		// it does so every time. This file tells without asking.
		if _, err := os.Stat(filepath.Join(e.proc, "net/if_inet6")); err != nil {
			return skip("this kernel runs without IPv6")
		}
	}
	return prove(ctx, e)
}

// interrupt wakes every step that waits.
func (e *env) interrupt() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = true
	for _, s := range e.sockets {
		s.file.SetDeadline(time.Unix(1, 0))
	}
}

// close closes every socket, and so aborts what associations are left: after a
// graceful shutdown there is none.
func (e *env) close() {
	e.mu.Lock()
	sockets := e.sockets
	e.sockets = nil
	e.mu.Unlock()
	for _, s := range slices.Backward(sockets) {
		s.file.Close()
	}
}

// adopt makes a descriptor a socket of this check.
func (e *env) adopt(fd int, stage result.Stage) (*socket, error) {
	s := &socket{env: e, file: os.NewFile(uintptr(fd), "sctp")}
	var err error
	if s.raw, err = s.file.SyscallConn(); err == nil {
		// Fails if the runtime's poller has not taken the descriptor: then
		// no deadline would hold.
		err = s.file.SetDeadline(time.Time{})
	}
	if err != nil {
		s.file.Close()
		return nil, undecided(stage, err, "wait for a socket without blocking a thread")
	}
	e.mu.Lock()
	e.sockets = append(e.sockets, s)
	ended := e.ended
	e.mu.Unlock()
	if ended {
		e.interrupt()
	}
	return s, nil
}

// socket opens a socket of the given style (SOCK_STREAM is one-to-one,
// SOCK_SEQPACKET one-to-many; RFC 6458, sections 3 and 4) in a network
// namespace, where it stays; nil is that of the process.
func (e *env) socket(ns *os.File, style int) (*socket, error) {
	var fd int
	open := func() (err error) {
		fd, err = unix.Socket(int(e.family), style|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
		return err
	}
	var err error
	if ns == nil {
		err = open()
	} else {
		err = within(ns, open)
	}
	if err != nil {
		return nil, &stop{stage: result.StageSocket, err: err, detail: "open an SCTP socket"}
	}
	s, err := e.adopt(fd, result.StageSocket)
	if err != nil {
		return nil, err
	}
	// Whoever closes the socket, the kernel too when this process is killed,
	// aborts its associations, the accepted ones' as well: the only end that
	// needs no answer (RFC 9260, section 9.1). A shutdown that gets none holds
	// them, and the network namespace, until its guard timer expires (section
	// 9.2; net/sctp/socket.c, sctp_close).
	if err := s.do(func(fd int) error {
		return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}); err != nil {
		return nil, &stop{stage: result.StageSocket, err: err, detail: "set SO_LINGER"}
	}
	// An ICMP error then ends a connect at once instead of waiting, unseen, to
	// be asked for (net/sctp/input.c, sctp_icmp_error).
	level, opt := unix.IPPROTO_IP, unix.IP_RECVERR
	if e.family == ipv6 {
		level, opt = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	}
	if err := s.do(func(fd int) error { return unix.SetsockoptInt(fd, level, opt, 1) }); err != nil {
		return nil, &stop{stage: result.StageSocket, err: err, detail: "ask for ICMP errors"}
	}
	// Without the next two, messages one way and the shutdown wait for
	// delayed acknowledgements, 200 ms each (RFC 9260, section 6.2).
	if err := s.setInt(optNoDelay, 1); err != nil {
		return nil, &stop{stage: result.StageSocket, err: err, detail: "set SCTP_NODELAY"}
	}
	if err := s.set(optDelayedSack, raw(sackInfo{Frequency: 1})); err != nil {
		return nil, &stop{stage: result.StageSocket, err: err, detail: "set SCTP_DELAYED_SACK"}
	}
	if err := s.retransmit(200*time.Millisecond, time.Second); err != nil {
		return nil, err
	}
	return s, nil
}

// retransmit bounds the time after which a packet that was not acknowledged is
// sent again (RFC 9260, section 6.3.1). Loopback does lose packets, those that
// find the kernel's queue of received ones full (net.core.netdev_max_backlog),
// and by default the protocol would wait for an answer to the first INIT longer
// than the whole probe may take, 3 s (section 16): one lost packet must not
// look like a filter.
func (s *socket) retransmit(least, most time.Duration) error {
	if err := s.set(optRTOInfo, raw(rtoInfo{
		Initial: uint32(least.Milliseconds()),
		Min:     uint32(least.Milliseconds()),
		Max:     uint32(most.Milliseconds()),
	})); err != nil {
		return &stop{stage: result.StageSocket, err: err, detail: "set SCTP_RTOINFO"}
	}
	return nil
}
