package sctp

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/ishidawataru/sctp"
	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/backoff"
)

// Options of the one-to-one sockets of [Dial] and [Listen]. The zero value
// leaves everything to the kernel; accepted sockets inherit the listener's.
type Options struct {
	// Local is the address to dial from.
	Local netip.AddrPort
	Init  InitMsg
	RTO   RTOInfo
	Assoc AssocParams
}

// Dial sets up an association from one address to one other. [Answered] is in
// the error (errors.As) where the network refused, even if the wait then ended
// without more, and [os.ErrDeadlineExceeded] where there was silence. The caller
// has made sure that SCTP is in the kernel, or may be loaded (see [Open]).
func Dial(ctx context.Context, to netip.AddrPort, o Options) (*Socket, error) {
	s, err := o.open(to)
	if err != nil {
		return nil, err
	}
	if o.Local.IsValid() {
		err = os.NewSyscallError("bind", s.Bind(o.Local))
	}
	if err == nil {
		err = os.NewSyscallError("connect", s.Connect(ctx, to))
	}
	if err != nil {
		s.Abort()
		return nil, err
	}
	return s, nil
}

// Listen opens a listening socket on one address; an unspecified one means all of
// its family.
func Listen(at netip.AddrPort, backlog int, o Options) (*Socket, error) {
	s, err := o.open(at)
	if err != nil {
		return nil, err
	}
	if err = os.NewSyscallError("bind", s.Bind(at)); err == nil {
		err = os.NewSyscallError("listen", s.Listen(backlog))
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (o Options) open(addr netip.AddrPort) (*Socket, error) {
	family := unix.AF_INET
	if !addr.Addr().Unmap().Is4() {
		family = unix.AF_INET6
	}
	s, err := Open(family, unix.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	// With one address family there is one path: the host's address of the other
	// one is not offered to the peer.
	v6only := error(nil)
	if family == unix.AF_INET6 {
		v6only = s.Control(func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1) })
	}
	err = cmp.Or(
		os.NewSyscallError("setsockopt SCTP_INITMSG", Set(s, OptInitMsg, o.Init)),
		os.NewSyscallError("setsockopt SCTP_RTOINFO", Set(s, OptRTOInfo, o.RTO)),
		os.NewSyscallError("setsockopt SCTP_ASSOCINFO", Set(s, optAssocInfo, o.Assoc)),
		os.NewSyscallError("setsockopt IPV6_V6ONLY", v6only),
	)
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// PathState is what the kernel thinks of one of the peer's addresses (a Path
// constant).
func (s *Socket) PathState(addr netip.AddrPort) (int32, error) {
	info := PeerAddrInfo{Address: storage(addr)}
	err := Get(s, OptPeerAddrInfo, &info)
	return info.State, err
}

// Heartbeat asks for a heartbeat to one of the peer's addresses. One that is lost
// is not sent again until the next is due, half a minute later (RFC 9260, section
// 8.3).
func (s *Socket) Heartbeat(addr netip.AddrPort) error {
	params := pathParams{Address: storage(addr)}
	binary.NativeEndian.PutUint32(params.Flags[:], pathHeartbeatNow)
	return Set(s, OptPeerAddrParams, params)
}

// Bind binds the socket to its first address; the kernel chooses port 0.
func (s *Socket) Bind(to netip.AddrPort) error {
	return s.Control(func(fd int) error { return unix.Bind(fd, sockaddr(to)) })
}

// BindMore adds addresses of the same port (RFC 6458, section 9.1), with
// address reconfiguration even to a live association (RFC 5061).
func (s *Socket) BindMore(addrs ...netip.AddrPort) error {
	var list []byte
	for _, a := range addrs {
		list = append(list, rawSockaddr(a)...)
	}
	return s.setBytes(optBindxAdd, list)
}

// Listen lets peers set up associations.
func (s *Socket) Listen(backlog int) error {
	return s.Control(func(fd int) error { return unix.Listen(fd, backlog) })
}

// LocalAddr is the first address, and the port, that the socket is bound to.
func (s *Socket) LocalAddr() (addr netip.AddrPort, err error) {
	err = s.Control(func(fd int) error {
		sa, err := unix.Getsockname(fd)
		addr = addrPort(sa)
		return err
	})
	return addr, err
}

// Connect sets up an association, one-to-one style, and returns when it is
// established (RFC 9260, section 5.1).
func (s *Socket) Connect(ctx context.Context, to netip.AddrPort) error {
	begun := false
	return s.write(ctx, func(fd int) error {
		if !begun {
			begun = true
			// An ICMP error may arrive during this call: then it is kept, and read
			// below (net/sctp/input.c, sctp_icmp_error, where the socket is owned
			// by the caller).
			if err := unix.Connect(fd, sockaddr(to)); err != nil && err != unix.EINPROGRESS {
				return err
			}
		}
		// A one-to-one socket has no peer before the end of the handshake
		// (net/ipv4/af_inet.c, inet_getname, where its state is still
		// TCP_CLOSE). One that has ended well has outlived what ICMP reported
		// meanwhile, as of a neighbour that was slow to answer.
		pending := pendingError(fd)
		_, err := unix.Getpeername(fd)
		switch {
		case err != unix.ENOTCONN:
			return err
		case pending != nil:
			return pending
		}
		return unix.EAGAIN
	})
}

// Accept waits for an association that a peer set up. It may have ended since.
func (s *Socket) Accept(ctx context.Context) (conn *Socket, from netip.AddrPort, err error) {
	var fd int
	err = s.read(ctx, func(listener int) (err error) {
		var sa unix.Sockaddr
		fd, sa, err = unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		from = addrPort(sa)
		return err
	})
	if err != nil {
		return nil, from, err
	}
	conn, err = adopt(fd)
	return conn, from, err
}

// Serve accepts until the context ends or the socket fails. An association that has
// ended since, and a lack of descriptors or memory, end nothing.
func (s *Socket) Serve(ctx context.Context, each func(conn *Socket, from netip.AddrPort)) error {
	for {
		conn, from, err := s.Accept(ctx)
		switch {
		case err == nil:
			each(conn, from)
		case errors.Is(err, unix.ECONNABORTED), errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
			backoff.Sleep(ctx, 10*time.Millisecond)
		default:
			return err
		}
	}
}

// PeelOff branches an association of a one-to-many socket off into a one-to-one
// socket (RFC 6458, section 9.2), without the moment in which the new descriptor
// would block or leak into a child process.
func (s *Socket) PeelOff(assoc int32) (*Socket, error) {
	arg := peeloffFlags{Assoc: assoc, Flags: unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC}
	if err := Get(s, optPeeloffFlags, &arg); err != nil {
		return nil, err
	}
	return adopt(int(arg.FD))
}

// Status is what the kernel knows of the association of a one-to-one socket;
// EINVAL where there is none.
func (s *Socket) Status() (st Status, err error) {
	err = Get(s, OptStatus, &st)
	return st, err
}

// Shutdown begins the graceful end of a one-to-one socket's association (RFC
// 9260, section 9.2): no more is sent, what was sent still arrives.
func (s *Socket) Shutdown() error {
	return s.Control(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) })
}

// storage is an address in the format of the options' structures (struct
// sockaddr_storage).
func storage(a netip.AddrPort) (storage [128]byte) {
	copy(storage[:], rawSockaddr(a))
	return storage
}

func rawSockaddr(a netip.AddrPort) []byte {
	addr := sctp.SCTPAddr{
		IPAddrs: []net.IPAddr{{IP: a.Addr().AsSlice(), Zone: a.Addr().Zone()}},
		Port:    int(a.Port()),
	}
	return addr.ToRawSockAddrBuf()
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if ip := a.Addr().Unmap(); ip.Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
