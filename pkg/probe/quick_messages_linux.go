package probe

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/sctp"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// proveBoundaries: a receive call gives one message, never two and never a
// part without saying so (RFC 9260, section 6.10: chunks bundled into a packet
// stay messages of their own; RFC 6458, section 5.1: MSG_EOR).
func proveBoundaries(ctx context.Context, e *env) error {
	a, err := e.associate(ctx, ends{})
	if err != nil {
		return err
	}
	var sent [][]byte
	for _, size := range []int{1, 700, 2, 33} {
		data := random(size)
		sent = append(sent, data)
		if err := a.client.send(ctx, data, sctp.SendInfo{}); err != nil {
			return err
		}
	}
	for i, want := range sent {
		// Room for half of the second: the rest must come with the next call.
		room := 4 << 10
		if i == 1 {
			room = len(want) / 2
		}
		m, err := a.server.receiveInto(ctx, result.StageReceive, "wait for a message", make([]byte, room))
		if err != nil {
			return err
		}
		if m.End != (len(want) <= room) {
			return wrong("of a message of %d bytes, %d were received with its end marked %v", len(want), len(m.Data), m.End)
		}
		got := m.Data
		if !m.End {
			if m, err = a.server.receiveInto(ctx, result.StageReceive, "wait for the rest of a message", make([]byte, 4<<10)); err != nil {
				return err
			}
			if !m.End {
				return wrong("the rest of a message of %d bytes came without its end", len(want))
			}
			got = append(got, m.Data...)
		}
		if !bytes.Equal(got, want) {
			return wrong("message %d of %d bytes was received as %d bytes", i+1, len(want), len(got))
		}
	}
	return a.shutdown(ctx)
}

// proveStreams: messages keep their stream, those of one stream arrive in the
// order of their stream sequence numbers, unordered ones are marked so and
// have no part in it; a stream that was not negotiated is refused (RFC 9260,
// sections 6.5 and 6.6).
func proveStreams(ctx context.Context, e *env) error {
	const streams = 12 // not what an end has that asks for nothing
	a, err := e.associate(ctx, ends{streams: streams, prepare: []setup{informed}})
	if err != nil {
		return err
	}
	const each = 3 // ordered, unordered, ordered
	for n := range each {
		for stream := range uint16(streams) {
			info := sctp.SendInfo{Stream: stream}
			if n == 1 {
				info.Flags = sctp.FlagUnordered
			}
			if err := a.client.send(ctx, []byte{byte(stream), byte(n)}, info); err != nil {
				return err
			}
		}
	}
	next := make([]uint16, streams)
	for range each * streams {
		m, err := a.server.receive(ctx, "a message on one of the streams")
		if err != nil {
			return err
		}
		if !m.HasInfo || len(m.Data) != 2 || int(m.Stream) >= streams || m.Data[0] != byte(m.Stream) {
			return wrong("a message of stream %v was received on stream %d", m.Data, m.Stream)
		}
		unordered := m.Flags&sctp.FlagUnordered != 0
		switch n := m.Data[1]; {
		case unordered != (n == 1):
			return wrong("message %d of stream %d was received as unordered: %v", n, m.Stream, unordered)
		case unordered:
		case m.SSN != next[m.Stream] || n != byte(m.SSN)*2:
			return wrong("stream %d gave message %d with sequence number %d, expected %d", m.Stream, n, m.SSN, next[m.Stream])
		default:
			next[m.Stream]++
		}
	}
	err = a.client.Send(ctx, []byte{0}, sctp.SendInfo{Stream: streams}, netip.AddrPort{})
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.Canceled): // no answer
		return stopped(result.StageSend, err, "send on stream %d of %d", streams, streams)
	case !errors.Is(err, unix.EINVAL):
		return wrong("sending on stream %d of %d gave %v, not EINVAL", streams, streams, err)
	}
	return a.shutdown(ctx)
}

// Payload protocol identifiers of what telco nodes carry (IANA, "SCTP Payload
// Protocol Identifiers").
const (
	ppidM3UA     = 3
	ppidS1AP     = 18
	ppidDiameter = 46
	ppidNGAP     = 60
)

// provePPID: the payload protocol identifier arrives as it was sent, byte
// order included (RFC 9260, section 3.3.1).
func provePPID(ctx context.Context, e *env) error {
	a, err := e.associate(ctx, ends{prepare: []setup{informed}})
	if err != nil {
		return err
	}
	for _, ppid := range []uint32{ppidNGAP, ppidS1AP, ppidDiameter, ppidM3UA, 0, 0x80000001} {
		if err := a.client.send(ctx, []byte("ppid"), sctp.SendInfo{PPID: ppid}); err != nil {
			return err
		}
		m, err := a.server.receive(ctx, "a message with a payload protocol identifier")
		if err != nil {
			return err
		}
		if !m.HasInfo || m.PPID() != ppid {
			return wrong("payload protocol identifier %d was received as %d", ppid, m.PPID())
		}
	}
	return a.shutdown(ctx)
}

// proveFragmentation: a message larger than a packet may be is cut up and put
// together again (RFC 9260, section 6.9). The MTU of a loopback is larger than
// any message here, so the size of a packet is limited by hand, and the
// kernel's count of chunks must show that it was kept to.
func proveFragmentation(ctx context.Context, e *env) error {
	const maxSeg, size = 1200, 30_000
	return fragmented(ctx, e, maxSeg, size)
}

func fragmented(ctx context.Context, e *env, maxSeg, size int) error {
	a, err := e.associate(ctx, ends{prepare: []setup{
		option(sctp.OptMaxSeg, sctp.AssocValue{Value: uint32(maxSeg)}, "set SCTP_MAXSEG"),
		func(s *socket) error { return s.usualBuffers(size) },
	}})
	if err != nil {
		return err
	}
	data := random(size)
	if err := a.client.send(ctx, data, sctp.SendInfo{}); err != nil {
		return err
	}
	m, err := a.server.receive(ctx, "a message of many fragments")
	if err != nil {
		return err
	}
	if !bytes.Equal(m.Data, data) {
		return wrong("a message of %d bytes was put together as %d other ones", size, len(m.Data))
	}
	var stats sctp.AssocStats
	if err := sctp.Get(a.server.Socket, sctp.OptAssocStats, &stats); err != nil {
		return stopped(result.StageReceive, err, "ask how many chunks arrived")
	}
	if least := uint64(size / maxSeg); stats.InOrdered < least {
		return wrong("a message of %d bytes came in %d chunks; of at most %d bytes, there must be %d", size, stats.InOrdered, maxSeg, least)
	}
	return a.shutdown(ctx)
}

// usualBuffers gives a socket the kernel's default buffers (include/net/sock.h,
// SK_WMEM_MAX) where the host is configured with less (net.core.wmem_default,
// net.core.rmem_default): a message that is too large for them is refused, or takes
// seconds, which proves nothing about SCTP. length is that of the longest message.
func (s *socket) usualBuffers(length int) error {
	const usual = 212992
	if _, err := s.atLeast(unix.SO_RCVBUF, usual); err != nil {
		return err
	}
	return s.holds(length, usual)
}

// holds asks for room for what is sent, and sees that there is enough for a
// message of so many bytes: a longer one is refused (net/sctp/socket.c,
// sctp_sendmsg_to_asoc).
func (s *socket) holds(length, room int) error {
	got, err := s.atLeast(unix.SO_SNDBUF, room)
	if err == nil && got < length {
		err = skip("the host lets no socket send a message of %d bytes, but of %d at most (net.core.wmem_max)", length, got)
	}
	return err
}

// atLeast asks for a buffer of so many bytes where it is smaller, and returns
// what it is then: the host may allow less (net.core.wmem_max).
func (s *socket) atLeast(opt, size int) (got int, err error) {
	err = s.Control(func(fd int) (err error) {
		got, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, opt)
		if err != nil || got >= size {
			return err
		}
		// The kernel doubles it (socket(7)).
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, size/2); err != nil {
			return err
		}
		got, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, opt)
		return err
	})
	return got, stopped(result.StageSocket, err, "set SO_RCVBUF or SO_SNDBUF")
}
