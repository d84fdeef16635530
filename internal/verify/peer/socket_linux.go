package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Options at level SOL_SCTP (include/uapi/linux/sctp.h; RFC 6458, section 8).
const (
	optRTOInfo = 0
	optInitMsg = 2
	optNoDelay = 3
)

// rtoInfo is struct sctp_rtoinfo, in milliseconds; 0 leaves a value alone.
type rtoInfo struct {
	Assoc             int32
	Initial, Max, Min uint32
}

// impatient has what was lost sent again after half a second, not after three,
// six and twelve: a deadline of seconds is to tell lost packets from a path
// that carries none. Both ends want it, as both send.
func impatient(fd int) error {
	return os.NewSyscallError("setsockopt SCTP_RTOINFO", setStruct(fd, optRTOInfo, rtoInfo{Initial: 500, Max: 2000, Min: 300}))
}

// initMsg is struct sctp_initmsg; 0 leaves a value alone.
type initMsg struct{ OutStreams, InStreams, Attempts, Timeout uint16 }

// socket is a one-to-one socket in the runtime's poller: every wait has a
// deadline.
type socket struct {
	file *os.File
	raw  syscall.RawConn
}

func open(family int) (*socket, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	return adopt(fd)
}

func adopt(fd int) (*socket, error) {
	s := &socket{file: os.NewFile(uintptr(fd), "sctp")}
	var err error
	if s.raw, err = s.file.SyscallConn(); err != nil {
		s.file.Close()
		return nil, err
	}
	// Messages go out at once: with Nagle and delayed SACKs a small one waits
	// up to 200 ms.
	if err := s.control(func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_SCTP, optNoDelay, 1) }); err != nil {
		s.file.Close()
		return nil, os.NewSyscallError("setsockopt SCTP_NODELAY", err)
	}
	return s, nil
}

// close shuts the association down gracefully, in the background.
func (s *socket) close() { s.file.Close() }

func (s *socket) control(f func(fd int) error) error {
	var failed error
	if err := s.raw.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil {
		return err
	}
	return failed
}

// wait calls try until it no longer would block, until the deadline.
func wait(poll func(func(uintptr) bool) error, try func(fd int) error) error {
	var failed error
	err := poll(func(fd uintptr) bool {
		for {
			if failed = try(int(fd)); failed != unix.EINTR {
				return failed != unix.EAGAIN
			}
		}
	})
	if err != nil {
		return err
	}
	return failed
}

func setStruct(fd, opt int, value any) error {
	buf, err := binary.Append(nil, binary.NativeEndian, value)
	if err != nil {
		return err
	}
	return unix.SetsockoptString(fd, unix.IPPROTO_SCTP, opt, string(buf))
}

func sockaddr(a netip.AddrPort) (family int, sa unix.Sockaddr) {
	ip := a.Addr().Unmap()
	if ip.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(a.Port()), Addr: ip.As16()}
}

// dial sets up an association. The error is that of the network where there was
// an answer, and os.ErrDeadlineExceeded where there was silence.
func dial(to netip.AddrPort, deadline time.Time) (*socket, error) {
	family, sa := sockaddr(to)
	s, err := open(family)
	if err != nil {
		return nil, err
	}
	err = s.connect(family, sa, deadline)
	if err != nil {
		s.abort()
		return nil, err
	}
	return s, nil
}

func (s *socket) connect(family int, sa unix.Sockaddr, deadline time.Time) error {
	if err := s.file.SetDeadline(deadline); err != nil {
		return err
	}
	err := s.control(func(fd int) error {
		if err := impatient(fd); err != nil {
			return err
		}
		// A lost INIT is sent again as often as the deadline allows.
		if err := setStruct(fd, optInitMsg, initMsg{OutStreams: 2, InStreams: 2, Attempts: 100, Timeout: 2000}); err != nil {
			return os.NewSyscallError("setsockopt SCTP_INITMSG", err)
		}
		if family == unix.AF_INET6 {
			// One address family, so one path: the pod's other address is not
			// offered to the peer.
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
				return os.NewSyscallError("setsockopt IPV6_V6ONLY", err)
			}
		}
		if err := unix.Connect(fd, sa); err != nil && err != unix.EINPROGRESS {
			return os.NewSyscallError("connect", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = wait(s.raw.Write, func(fd int) error {
		failed := pending(fd)
		// No peer before the handshake's end (net/ipv4/af_inet.c,
		// inet_getname: TCP_SYN_SENT stands for SCTP's COOKIE-WAIT too). One
		// that has ended well has outlived what ICMP said meanwhile, as a
		// neighbour that was slow to tell its address.
		_, err := unix.Getpeername(fd)
		switch {
		case err != unix.ENOTCONN:
			return err
		case failed != nil:
			return failed
		}
		return unix.EAGAIN
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		// An ICMP error does not end a handshake, and wakes nobody: it is
		// kept (sk_err_soft) for whoever asks.
		if soft := s.control(pending); soft != nil {
			err = soft
		}
	}
	if errno := (unix.Errno)(0); errors.As(err, &errno) {
		return os.NewSyscallError("connect", errno)
	}
	return err
}

func pending(fd int) error {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	if n != 0 {
		return unix.Errno(n)
	}
	return nil
}

// abort ends the association with an ABORT, at once.
func (s *socket) abort() {
	// Without it, close would go on knocking.
	_ = s.control(func(fd int) error {
		return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	})
	s.file.Close()
}

// listen opens a listening socket on one port of every address of a family.
func listen(family, port int) (*socket, error) {
	s, err := open(family)
	if err != nil {
		return nil, err
	}
	err = s.control(func(fd int) error {
		if err := impatient(fd); err != nil { // its associations inherit it
			return err
		}
		var sa unix.Sockaddr = &unix.SockaddrInet4{Port: port}
		if family == unix.AF_INET6 {
			sa = &unix.SockaddrInet6{Port: port}
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
				return os.NewSyscallError("setsockopt IPV6_V6ONLY", err)
			}
		}
		if err := unix.Bind(fd, sa); err != nil {
			return os.NewSyscallError("bind", err)
		}
		return os.NewSyscallError("listen", unix.Listen(fd, 128))
	})
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *socket) accept() (*socket, error) {
	var fd int
	err := wait(s.raw.Read, func(listener int) (err error) {
		fd, _, err = unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		return err
	})
	if err != nil {
		return nil, err
	}
	return adopt(fd)
}

// send sends one message.
func (s *socket) send(message []byte) error {
	err := wait(s.raw.Write, func(fd int) error {
		n, err := unix.SendmsgN(fd, message, nil, nil, unix.MSG_NOSIGNAL)
		if err == nil && n != len(message) {
			return io.ErrShortWrite
		}
		return err
	})
	return wrapErrno("send", err)
}

// receive waits for one whole message (RFC 6458, section 3.1: MSG_EOR marks its
// end). io.EOF says that the peer has shut the association down.
func (s *socket) receive(buf []byte) ([]byte, error) {
	n := 0
	for {
		if n == len(buf) {
			return nil, fmt.Errorf("a message of more than %d bytes", len(buf))
		}
		end := false
		err := wait(s.raw.Read, func(fd int) error {
			got, _, flags, _, err := unix.Recvmsg(fd, buf[n:], nil, 0)
			if err != nil {
				return err
			}
			if got == 0 {
				return io.EOF // SCTP has no empty messages
			}
			n += got
			end = flags&unix.MSG_EOR != 0
			return nil
		})
		if err != nil {
			return nil, wrapErrno("receive", err)
		}
		if end {
			return buf[:n], nil
		}
	}
}

func wrapErrno(what string, err error) error {
	if errno := (unix.Errno)(0); errors.As(err, &errno) {
		return os.NewSyscallError(what, errno)
	}
	return err
}
