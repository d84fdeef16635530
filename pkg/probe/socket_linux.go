package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
	"unsafe"

	"github.com/ishidawataru/sctp"
	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// socket is a non-blocking SCTP socket in the runtime's poller, so that every
// wait has a deadline and none holds a thread. Descriptors that
// ishidawataru/sctp opens itself block, without deadline, up to minutes in a
// connect; of that package, addresses and send information are used here.
type socket struct {
	env  *env
	file *os.File
	raw  syscall.RawConn
	// buf is reused by receive.
	buf []byte
}

// arm gives the step that begins now its deadline, and says whether that of
// the whole run comes first.
func (s *socket) arm(ctx context.Context, now time.Time) (cut bool, err error) {
	deadline := now.Add(s.env.step)
	if end, ok := ctx.Deadline(); ok && end.Before(deadline) {
		deadline, cut = end, true
	}
	if err := s.file.SetDeadline(deadline); err != nil {
		return cut, err
	}
	// Looked at after the deadline is set: an interrupt since then sets an
	// earlier one itself.
	return cut, ctx.Err()
}

// wait calls try until it no longer would block.
func (s *socket) wait(ctx context.Context, stage result.Stage, what string, poll func(func(uintptr) bool) error, try func(fd int) error) error {
	again := func(fd int) error {
		for {
			if err := try(fd); err != unix.EINTR {
				return err
			}
		}
	}
	// On loopback the kernel has done its part before the call that caused it
	// returns, so there is hardly ever anything to wait for, and no need to
	// look at the clock: that is what costs most here where the clock is not
	// the processor's own.
	cut := false
	var since time.Time
	err := ctx.Err()
	if err == nil {
		err = s.do(again)
	}
	if err == unix.EAGAIN {
		since = time.Now()
		if cut, err = s.arm(ctx, since); err == nil {
			var failed error
			if err = poll(func(fd uintptr) bool {
				failed = again(int(fd))
				return failed != unix.EAGAIN
			}); err == nil {
				err = failed
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			// A process that was not run meanwhile finds the deadline passed
			// and the answer there, and the poller tells it of the first.
			switch last := s.do(again); last {
			case unix.EAGAIN:
				if pending := s.pendingError(); pending != nil {
					err = fmt.Errorf("%w, after %w", err, pending)
				}
			default:
				err = last
			}
		}
	}
	if err != nil && err != io.EOF {
		// A context that ended is the caller's word on it, whatever the
		// poller says.
		switch ctx.Err() {
		case context.Canceled:
			err = ctx.Err()
		case context.DeadlineExceeded:
			cut = true
			if err == ctx.Err() {
				err = os.ErrDeadlineExceeded
			}
		}
		return &stop{stage: stage, err: err, cut: cut, since: since, detail: what}
	}
	return err
}

// pendingError is what SO_ERROR has, nil if nothing.
func (s *socket) pendingError() error { return s.do(pendingError) }

func pendingError(fd int) error {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	if n != 0 {
		return answered{unix.Errno(n)}
	}
	return nil
}

// answered is an error that came back over the network, as a packet: whatever
// its number, it is not this process that was refused. An ICMPv6 "prohibited"
// is EACCES, for example (net/ipv6/icmp.c, tab_unreach).
type answered struct{ unix.Errno }

func (a answered) Unwrap() error { return a.Errno }

// do calls f with the descriptor, without waiting.
func (s *socket) do(f func(fd int) error) error {
	var failed error
	if err := s.raw.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil {
		return err
	}
	return failed
}

// set sets an option at the SCTP level to a structure.
func (s *socket) set(opt int, value []byte) error {
	return s.do(func(fd int) error { return unix.SetsockoptString(fd, solSCTP, opt, string(value)) })
}

func (s *socket) setInt(opt, value int) error { return s.set(opt, raw(int32(value))) }

// get reads an option at the SCTP level into a structure, whose value goes in
// as well: most options name the association or address they speak of. What a
// kernel that knows a shorter structure leaves alone keeps that value.
func (s *socket) get(opt int, value []byte) error {
	return s.do(func(fd int) error { return getsockopt(fd, opt, value) })
}

// getsockopt is what unix.GetsockoptString is not: it passes the buffer's
// content in and returns bytes, not a string that ends at the first zero.
func getsockopt(fd, opt int, buf []byte) error {
	n := uint32(len(buf))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), solSCTP, uintptr(opt),
		uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// bind binds to one port on every address, one after the other as
// sctp_bindx(3) does.
func (s *socket) bind(addr *sctp.SCTPAddr) error {
	raw := addr.ToRawSockAddrBuf()
	err := s.do(func(fd int) error { return unix.SetsockoptString(fd, solSCTP, optBindxAdd, string(raw)) })
	switch {
	case err == unix.EADDRNOTAVAIL && s.env.family == ipv6:
		return skip("the loopback of this network namespace has no IPv6 address")
	case err != nil:
		return &stop{stage: result.StageBind, err: err, detail: "bind to " + hostsOf(addr)}
	}
	return nil
}

func (s *socket) listen() error {
	if err := s.do(func(fd int) error { return unix.Listen(fd, 8) }); err != nil {
		return &stop{stage: result.StageListen, err: err, detail: "listen"}
	}
	return nil
}

// port is the local port that the kernel chose.
func (s *socket) port() (port int, err error) {
	err = s.do(func(fd int) error {
		sa, err := unix.Getsockname(fd)
		if err != nil {
			return err
		}
		port = portOf(sa)
		return nil
	})
	if err != nil {
		return 0, &stop{stage: result.StageBind, err: err, detail: "ask for the local port"}
	}
	return port, nil
}

func portOf(sa unix.Sockaddr) int {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return sa.Port
	case *unix.SockaddrInet6:
		return sa.Port
	}
	return 0
}

// connect sets up an association, one-to-one style, and returns when it is
// established (RFC 9260, section 5.1).
func (s *socket) connect(ctx context.Context, addr *sctp.SCTPAddr) error {
	raw := addr.ToRawSockAddrBuf()
	begun := false
	return s.wait(ctx, result.StageConnect, "connect to "+hostsOf(addr), s.raw.Write, func(fd int) error {
		if !begun {
			begun = true
			switch err := unix.SetsockoptString(fd, solSCTP, optConnectx, string(raw)); err {
			case nil:
			case unix.EINPROGRESS:
				// An ICMP error may have come back within this very call: then
				// it waits to be asked for below (net/sctp/input.c,
				// sctp_icmp_error, where the socket is owned by the caller).
			default:
				return err
			}
		}
		// A one-to-one socket has no association to speak of, EINVAL, until
		// it is established (net/sctp/socket.c, sctp_id2assoc).
		var st status
		err := getsockopt(fd, optStatus, bytesOf(&st))
		if err == nil && st.State == stateEstablished {
			return nil
		}
		if err := pendingError(fd); err != nil {
			return err
		}
		if err == nil || err == unix.EINVAL {
			return unix.EAGAIN
		}
		return err
	})
}

// accept returns the association set up from the given port. Another one may
// be queued before it: one that was aborted since, or a stranger's.
func (s *socket) accept(ctx context.Context, fromPort int) (*socket, error) {
	for {
		var accepted int
		var from unix.Sockaddr
		err := s.wait(ctx, result.StageAccept, "accept", s.raw.Read, func(fd int) (err error) {
			accepted, from, err = unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			return err
		})
		if err != nil {
			return nil, err
		}
		conn, err := s.env.adopt(accepted, result.StageAccept)
		if err != nil {
			return nil, err
		}
		if portOf(from) == fromPort {
			return conn, nil
		}
	}
}

// message is what one receive call gave: a message, a part of one, or a
// notification.
type message struct {
	data []byte
	rcvInfo
	// hasInfo: rcvInfo was delivered with it.
	hasInfo bool
	// end: the last part of its message (MSG_EOR).
	end bool
	// notification: data is one (RFC 6458, section 6.1).
	notification bool
}

func (m message) ppid() uint32 { return binary.BigEndian.Uint32(m.PPID[:]) }

// eventType is the type of a notification.
func (m message) eventType() uint16 {
	if !m.notification || len(m.data) < 2 {
		return 0
	}
	return binary.NativeEndian.Uint16(m.data)
}

// assocState is what an association change says.
func (m message) assocState() (assocChange, bool) {
	var c assocChange
	if m.eventType() != eventAssocChange {
		return c, false
	}
	return c, copy(bytesOf(&c), m.data) == len(bytesOf(&c))
}

// send sends one message to the peer, or where to is given, to that address:
// of a one-to-many socket it may be a new peer's (RFC 6458, section 3.1),
// with the flag addrOver it says which path to take.
func (s *socket) send(ctx context.Context, data []byte, info sctp.SndRcvInfo, to *sctp.SCTPAddr) error {
	var sa unix.Sockaddr
	if to != nil {
		sa = sockaddr(to)
	}
	oob := sendInfo(info)
	return s.wait(ctx, result.StageSend, fmt.Sprintf("send %d bytes", len(data)), s.raw.Write, func(fd int) error {
		n, err := unix.SendmsgN(fd, data, oob, sa, unix.MSG_NOSIGNAL)
		if err == nil && n != len(data) {
			return io.ErrShortWrite
		}
		return err
	})
}

// sendInfo is the ancillary data that goes with a message (struct
// sctp_sndrcvinfo; RFC 6458, section 5.3.2). PPID goes in host order here and
// in network order on the wire, as every dissector reads it.
func sendInfo(info sctp.SndRcvInfo) []byte {
	var ppid [4]byte
	binary.BigEndian.PutUint32(ppid[:], info.PPID)
	info.PPID = binary.NativeEndian.Uint32(ppid[:])
	body := bytesOf(&info)
	oob := make([]byte, unix.CmsgSpace(len(body)))
	head := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
	head.Level = unix.IPPROTO_SCTP
	head.Type = cmsgSndRcv
	head.SetLen(unix.CmsgLen(len(body)))
	copy(oob[unix.CmsgLen(0):], body)
	return oob
}

func sockaddr(a *sctp.SCTPAddr) unix.Sockaddr {
	ip := a.IPAddrs[0].IP
	if ip4 := ip.To4(); ip4 != nil {
		return &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(ip4)}
	}
	return &unix.SockaddrInet6{Port: a.Port, Addr: [16]byte(ip.To16())}
}

// finish ends one association of a one-to-many socket gracefully: a send call
// without data and with SCTP_EOF (RFC 6458, section 5.3.2). No Go function
// makes one: they add a byte to ancillary data that comes alone.
func (s *socket) finish(ctx context.Context, assoc int32) error {
	oob := sendInfo(sctp.SndRcvInfo{Flags: unix.MSG_FIN, AssocID: assoc})
	return s.wait(ctx, result.StageShutdown, "shut the association down", s.raw.Write, func(fd int) error {
		m := unix.Msghdr{Control: &oob[0]}
		m.SetControllen(len(oob))
		_, _, errno := unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&m)), 0)
		if errno != 0 {
			return errno
		}
		return nil
	})
}

// receiveInto waits for one receive call's worth; io.EOF says that the peer
// has shut the association down.
func (s *socket) receiveInto(ctx context.Context, stage result.Stage, what string, buf []byte) (m message, err error) {
	oob := make([]byte, 256)
	err = s.wait(ctx, stage, what, s.raw.Read, func(fd int) error {
		// unix.Recvmsg would ask for the sender's address, and then the kernel
		// for the socket's protocol, each time.
		part := unix.Iovec{Base: &buf[0]}
		part.SetLen(len(buf))
		head := unix.Msghdr{Iov: &part, Iovlen: 1, Control: &oob[0]}
		head.SetControllen(len(oob))
		n, _, errno := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&head)), 0)
		if errno != 0 {
			return errno
		}
		m = message{data: buf[:n], end: head.Flags&unix.MSG_EOR != 0, notification: head.Flags&msgNotification != 0}
		if n == 0 {
			return io.EOF // SCTP has no empty messages
		}
		cmsgs, err := unix.ParseSocketControlMessage(oob[:head.Controllen])
		if err != nil {
			return err
		}
		for _, c := range cmsgs {
			if c.Header.Level == unix.IPPROTO_SCTP && c.Header.Type == cmsgRcvInfo {
				into := bytesOf(&m.rcvInfo)
				m.hasInfo = copy(into, c.Data) == len(into)
			}
		}
		return nil
	})
	return m, err
}

// receive waits for one whole message, and passes over notifications.
func (s *socket) receive(ctx context.Context, what string) (message, error) {
	var whole message
	for {
		if s.buf == nil {
			s.buf = make([]byte, 4<<10)
		}
		m, err := s.receiveInto(ctx, result.StageReceive, "wait for "+what, s.buf)
		if err == io.EOF {
			return whole, &stop{outcome: result.OutcomeFail, stage: result.StageReceive, detail: "the association ended instead of " + what}
		}
		if err != nil {
			return whole, err
		}
		if m.notification {
			continue
		}
		m.data = append(whole.data, m.data...)
		if whole = m; m.end {
			return whole, nil
		}
	}
}

// status is what the kernel says of the association.
func (s *socket) status(stage result.Stage) (status, error) {
	var st status
	if err := s.get(optStatus, bytesOf(&st)); err != nil {
		return st, &stop{stage: stage, err: err, detail: "ask for the association's status"}
	}
	return st, nil
}

// shutdown begins a graceful end (RFC 9260, section 9.2): no more is sent,
// what was sent still arrives.
func (s *socket) shutdown() error {
	if err := s.do(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) }); err != nil {
		return &stop{stage: result.StageShutdown, err: err, detail: "shut the association down"}
	}
	return nil
}
