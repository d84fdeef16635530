package sctp

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"unsafe"

	"github.com/ishidawataru/sctp"
	"golang.org/x/sys/unix"
)

// SendInfo goes with a message (struct sctp_sndrcvinfo; RFC 6458, section
// 5.3.2). PPID is in host order, and in network order on the wire, as every
// dissector reads it. Its zero value is an ordered message on stream 0.
type SendInfo = sctp.SndRcvInfo

// Send sends one message to the peer, or where to is valid, to that address: of
// a one-to-many socket it may be a new peer's (RFC 6458, section 3.1), with
// [FlagAddrOver] it is the path to take.
func (s *Socket) Send(ctx context.Context, data []byte, info SendInfo, to netip.AddrPort) error {
	var sa unix.Sockaddr
	if to.IsValid() {
		sa = sockaddr(to)
	}
	oob := sendInfo(info)
	return s.write(ctx, func(fd int) error {
		n, err := unix.SendmsgN(fd, data, oob, sa, unix.MSG_NOSIGNAL)
		if err == nil && n != len(data) {
			return io.ErrShortWrite
		}
		return err
	})
}

func sendInfo(info SendInfo) []byte {
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

// Finish ends one association of a one-to-many socket gracefully: a send call
// without data and with SCTP_EOF (RFC 6458, section 5.3.2). No Go function
// makes one: they add a byte to ancillary data that comes alone.
func (s *Socket) Finish(ctx context.Context, assoc int32) error {
	oob := sendInfo(SendInfo{Flags: unix.MSG_FIN, AssocID: assoc})
	return s.write(ctx, func(fd int) error {
		m := unix.Msghdr{Control: &oob[0]}
		m.SetControllen(len(oob))
		_, _, errno := unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&m)), 0)
		if errno != 0 {
			return errno
		}
		return nil
	})
}

// Message is what one receive call gave: a message, a part of one, or a
// notification.
type Message struct {
	Data []byte
	// RcvInfo is what came with it, if HasInfo (see [OptRecvRcvInfo]).
	RcvInfo
	HasInfo bool
	// End: the last part of its message (MSG_EOR).
	End bool
	// Notification: Data is one (RFC 6458, section 6.1).
	Notification bool
}

// PPID is the payload protocol identifier as [SendInfo] has it.
func (m Message) PPID() uint32 { return binary.BigEndian.Uint32(m.RcvInfo.PPID[:]) }

// AssocChange is the notification of a change of the association (see
// [OptEvents]), if it is one.
func (m Message) AssocChange() (c AssocChange, ok bool) {
	if !m.Notification || len(m.Data) < 2 || binary.NativeEndian.Uint16(m.Data) != eventAssocChange {
		return c, false
	}
	return c, copy(bytesOf(&c), m.Data) == len(bytesOf(&c))
}

// Receive waits for one receive call's worth; io.EOF is the peer's shutdown.
func (s *Socket) Receive(ctx context.Context, buf []byte) (m Message, err error) {
	oob := make([]byte, 256)
	err = s.read(ctx, func(fd int) error {
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
		m = Message{Data: buf[:n], End: head.Flags&unix.MSG_EOR != 0, Notification: head.Flags&msgNotification != 0}
		if n == 0 {
			return io.EOF // SCTP has no empty messages
		}
		cmsgs, err := unix.ParseSocketControlMessage(oob[:head.Controllen])
		if err != nil {
			return err
		}
		for _, c := range cmsgs {
			if c.Header.Level == unix.IPPROTO_SCTP && c.Header.Type == cmsgRcvInfo {
				into := bytesOf(&m.RcvInfo)
				m.HasInfo = copy(into, c.Data) == len(into)
			}
		}
		return nil
	})
	return m, err
}

// ReceiveMessage waits for one whole message, and passes over notifications.
// Its data is in buf as far as it fits, else in a copy; more than limit bytes
// are an error. io.EOF is the peer's shutdown.
func (s *Socket) ReceiveMessage(ctx context.Context, buf []byte, limit int) (Message, error) {
	for n := 0; ; {
		if n == len(buf) {
			if n >= limit {
				return Message{}, fmt.Errorf("a message of more than %d bytes", limit)
			}
			buf = append(buf, make([]byte, min(max(n, 4<<10), limit-n))...)
		}
		m, err := s.Receive(ctx, buf[n:])
		if err != nil {
			return m, err
		}
		if m.Notification {
			continue
		}
		n += len(m.Data)
		if m.End {
			m.Data = buf[:n]
			return m, nil
		}
	}
}
