// Package sctp has SCTP sockets (RFC 6458) in the runtime's poller: every wait
// ends with its context, and none holds a thread.
//
// Dial and Listen of github.com/ishidawataru/sctp cannot be used for that. Its
// descriptors block and hold a thread each, SetDeadline is EOPNOTSUPP, a
// connect without an answer takes minutes, closing a listener does not wake
// Accept on every kernel, and its numbers of association and path states are
// not the kernel's. Of that package, the encoding of addresses and of what goes
// with a message is used.
package sctp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Socket is a non-blocking SCTP socket. One goroutine may send while another
// one receives. Errors of the kernel are [unix.Errno] (errors.As); one that
// came back over the network is [Answered] as well, and what ends a wait is a
// [WaitError].
type Socket struct {
	file *os.File
	raw  syscall.RawConn
	// Patience bounds each wait, besides its context; 0 does not.
	Patience time.Duration
}

// Open opens a socket of an address family and a style, SOCK_STREAM (one-to-one)
// or SOCK_SEQPACKET (one-to-many; RFC 6458, sections 3 and 4), that sends
// messages at once: with Nagle and delayed acknowledgements a small one waits
// up to 200 ms. Where the protocol is not registered, the kernel runs modprobe
// meanwhile (net/ipv4/af_inet.c, inet_create).
func Open(family, style int) (*Socket, error) {
	fd, err := unix.Socket(family, style|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s, err := adopt(fd)
	if err != nil {
		return nil, err
	}
	if err := Set(s, optNoDelay, int32(1)); err != nil {
		s.Close()
		return nil, os.NewSyscallError("setsockopt SCTP_NODELAY", err)
	}
	return s, nil
}

// adopt makes a non-blocking descriptor a Socket. Its error is
// [os.ErrNoDeadline] where the poller has not taken it.
func adopt(fd int) (*Socket, error) {
	s := &Socket{file: os.NewFile(uintptr(fd), "sctp")}
	var err error
	if s.raw, err = s.file.SyscallConn(); err == nil {
		err = s.file.SetDeadline(time.Time{})
	}
	if err != nil {
		s.file.Close()
		return nil, fmt.Errorf("wait for a socket without blocking a thread: %w", err)
	}
	return s, nil
}

// Close shuts the association down gracefully, in the background (RFC 9260,
// section 9.2), unless SO_LINGER is set otherwise, and ends every wait.
func (s *Socket) Close() error { return s.file.Close() }

// Abort closes the socket and ends its association with an ABORT, at once (RFC
// 9260, section 9.1).
func (s *Socket) Abort() {
	_ = s.AbortOnClose() // else a shutdown, which continues in the background
	s.file.Close()
}

// AbortOnClose makes closing the socket abort its association, also when the
// process is killed; accepted sockets inherit it.
func (s *Socket) AbortOnClose() error {
	return s.Control(func(fd int) error {
		return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	})
}

// Control calls f with the descriptor.
func (s *Socket) Control(f func(fd int) error) error {
	var failed error
	if err := s.raw.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil {
		return err
	}
	return failed
}

// WaitError is why a call failed that waited, or whose context had ended. The
// cause is [os.ErrDeadlineExceeded] where nothing came in time, which is not
// the kernel's ETIMEDOUT, [context.Canceled], or an error of the kernel.
type WaitError struct {
	// Since is when the wait began; zero if there was none.
	Since time.Time
	// Cut: the context's deadline came before the end of Patience.
	Cut bool
	Err error
}

func (e *WaitError) Error() string { return e.Err.Error() }
func (e *WaitError) Unwrap() error { return e.Err }

func (s *Socket) read(ctx context.Context, try func(fd int) error) error {
	return s.wait(ctx, s.raw.Read, s.file.SetReadDeadline, try)
}

func (s *Socket) write(ctx context.Context, try func(fd int) error) error {
	return s.wait(ctx, s.raw.Write, s.file.SetWriteDeadline, try)
}

// wait calls try until it no longer would block.
func (s *Socket) wait(ctx context.Context, poll func(func(uintptr) bool) error, setDeadline func(time.Time) error, try func(fd int) error) error {
	again := func(fd int) error {
		for {
			if err := try(fd); err != unix.EINTR {
				return err
			}
		}
	}
	// On loopback the kernel has done its part before the call that caused it
	// returns, so there is almost never a wait, and no need to read the clock,
	// which costs most here where it is not the processor's own.
	var w WaitError
	err := ctx.Err()
	if err == nil {
		err = s.Control(again)
	}
	if err == unix.EAGAIN {
		w.Since = time.Now()
		var deadline time.Time
		deadline, w.Cut = s.deadline(ctx, w.Since)
		if err = setDeadline(deadline); err == nil {
			interrupted := make(chan struct{})
			stop := context.AfterFunc(ctx, func() {
				setDeadline(time.Unix(1, 0))
				close(interrupted)
			})
			var failed error
			if err = poll(func(fd uintptr) bool {
				failed = again(int(fd))
				return failed != unix.EAGAIN
			}); err == nil {
				err = failed
			}
			if !stop() {
				<-interrupted // else it may interrupt the next wait
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			// A process that was not run meanwhile finds the deadline passed
			// and the answer there, and the poller reports the first.
			switch last := s.Control(again); last {
			case unix.EAGAIN:
				// An ICMP error does not end a handshake, and wakes no waiter: it
				// is kept until it is read (net/sctp/input.c, sctp_icmp_error).
				if answer := s.PendingError(); answer != nil {
					err = fmt.Errorf("%w, after %w", err, answer)
				}
			default:
				err = last
			}
		}
	}
	if err == nil || err == io.EOF {
		return err
	}
	// A context that has ended counts first, whatever the poller reports.
	switch ctx.Err() {
	case context.Canceled:
		err = ctx.Err()
	case context.DeadlineExceeded:
		w.Cut = true
		if err == ctx.Err() {
			err = os.ErrDeadlineExceeded
		}
	default:
		if w.Since.IsZero() {
			return err
		}
	}
	w.Err = err
	return &w
}

// deadline is that of a wait that begins now, and whether it is the context's.
// Zero is none.
func (s *Socket) deadline(ctx context.Context, now time.Time) (deadline time.Time, cut bool) {
	if s.Patience > 0 {
		deadline = now.Add(s.Patience)
	}
	if end, ok := ctx.Deadline(); ok && (deadline.IsZero() || end.Before(deadline)) {
		return end, true
	}
	return deadline, false
}

// Answered is an error that came back over the network, as a packet: whatever its
// number, this process was not refused. An ICMPv6 "prohibited" is EACCES, for
// example (net/ipv6/icmp.c, tab_unreach).
type Answered struct{ unix.Errno }

func (a Answered) Unwrap() error { return a.Errno }

// PendingError is what SO_ERROR has, nil if nothing; asking clears it.
func (s *Socket) PendingError() error { return s.Control(pendingError) }

func pendingError(fd int) error {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	if n != 0 {
		return Answered{unix.Errno(n)}
	}
	return nil
}

// bytesOf is a structure of uapi_linux.go as the kernel has it: they have no
// padding that the kernel's do not have, and no pointers.
func bytesOf[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}

// Set sets an option at the SCTP level to a structure of this package, or an
// integer of the kernel's size.
func Set[T any](s *Socket, opt int, value T) error { return s.setBytes(opt, bytesOf(&value)) }

func (s *Socket) setBytes(opt int, value []byte) error {
	return s.Control(func(fd int) error { return unix.SetsockoptString(fd, solSCTP, opt, string(value)) })
}

// SetAuthKey gives the socket, or its association, a shared key (RFC 6458, section
// 8.3.2).
func (s *Socket) SetAuthKey(number uint16, key string) error {
	head := authKey{Number: number, Length: uint16(len(key))}
	return s.setBytes(optAuthKey, append(bytesOf(&head), key...))
}

// Get reads an option at the SCTP level into a structure of this package, whose
// value goes in as well: most options name the association or address they
// speak of. What a kernel that knows a shorter structure leaves alone keeps
// that value.
//
// unix.GetsockoptString does not do this: it passes no content in, and returns
// a string that ends at the first zero.
func Get[T any](s *Socket, opt int, value *T) error {
	return s.Control(func(fd int) error {
		n := uint32(unsafe.Sizeof(*value))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), solSCTP, uintptr(opt),
			uintptr(unsafe.Pointer(value)), uintptr(unsafe.Pointer(&n)), 0)
		if errno != 0 {
			return errno
		}
		return nil
	})
}
