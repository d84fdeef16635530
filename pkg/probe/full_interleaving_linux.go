package probe

import (
	"bytes"
	"context"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/sctp"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// proveInterleaving: while a long message is under way, a short one on another
// stream overtakes it (RFC 8260, section 2): the sender does not send all of the
// long one first, and the receiver does not wait for its last fragment.
func proveInterleaving(ctx context.Context, e *env) error {
	a, err := e.interleaving(ctx)
	if err != nil {
		return err
	}
	sent, err := a.sendInterleaved(ctx)
	if err != nil {
		return err
	}
	if err := a.receiveInterleaved(ctx, sent); err != nil {
		return err
	}
	return a.shutdown(ctx)
}

// interleaving is an association whose ends interleave messages.
func (e *env) interleaving(ctx context.Context) (*association, error) {
	if err := e.sysctl("net/sctp/intl_enable", "1"); err != nil {
		return nil, err
	}
	a, err := e.associate(ctx, ends{prepare: []setup{
		informed,
		option(sctp.OptFragmentInterleave, int32(2), "set SCTP_FRAGMENT_INTERLEAVE"),
		option(sctp.OptMaxSeg, sctp.AssocValue{Value: interleavedSeg}, "set SCTP_MAXSEG"),
		// The receiver's window, which is half of what the kernel sets for this
		// (socket(7)), must be smaller than the long message, whatever the host's
		// default is (net.core.rmem_default).
		func(s *socket) error {
			err := s.Control(func(fd int) error {
				return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, interleavedLength/2)
			})
			return stopped(result.StageSocket, err, "set SO_RCVBUF")
		},
		extension(sctp.OptInterleavingSupported, 1, "message interleaving"),
	}})
	if err != nil {
		return nil, err
	}
	if on, err := a.client.enabled(sctp.OptInterleavingSupported); err != nil {
		return nil, err
	} else if !on {
		return nil, wrong("the ends did not agree to interleave messages")
	}
	return a, nil
}

const (
	// longStream has the long message.
	longStream = 1
	// interleavedLength is how long that is, in bytes; interleavedSeg, how many
	// of them a chunk may have at most.
	interleavedLength = 150_000
	interleavedSeg    = 1200
)

// sendInterleaved sends a long message, then two short ones on other streams, and
// returns them by stream.
//
// One short message would prove nothing: while the receiver's window is shut, the
// sender tries it with one chunk (RFC 9260, section 6.1, rule A), which the
// receiver drops. Where that is the short message, it comes when the timer has
// had it sent again, and by then the long one may have arrived.
func (a *association) sendInterleaved(ctx context.Context) (map[uint16][]byte, error) {
	// More than the receiver's window lets through before it reads, so that
	// the rest is still to be sent when the short ones come.
	long := random(interleavedLength)
	// Room for all at the sender, with what the kernel counts beside the data.
	if err := a.client.holds(len(long), 4*len(long)); err != nil {
		return nil, err
	}
	// Without this the sender finishes the long message first (RFC 8260,
	// section 3.2: round robin).
	if err := sctp.Set(a.client.Socket, sctp.OptStreamScheduler, sctp.AssocValue{Value: sctp.SchedulerRoundRobin}); err != nil {
		return nil, stopped(result.StageSend, err, "choose the round-robin scheduler")
	}
	sent := map[uint16][]byte{longStream: long}
	if err := a.client.send(ctx, long, sctp.SendInfo{Stream: longStream}); err != nil {
		return nil, err
	}
	for _, stream := range []uint16{longStream + 1, longStream + 2} {
		sent[stream] = []byte("overtakes")
		if err := a.client.send(ctx, sent[stream], sctp.SendInfo{Stream: stream}); err != nil {
			return nil, err
		}
	}
	return sent, nil
}

// receiveInterleaved sees that all that was sent arrives, a short message first.
func (a *association) receiveInterleaved(ctx context.Context, sent map[uint16][]byte) error {
	parts, firstTSN := map[uint16][]byte{}, map[uint16]uint32{}
	var ended []uint16
	for len(ended) < len(sent) {
		m, err := a.server.receiveInto(ctx, result.StageReceive, "wait for interleaved messages", make([]byte, 64<<10))
		if err != nil {
			return err
		}
		if m.Notification {
			continue
		}
		if parts[m.Stream] == nil {
			firstTSN[m.Stream] = m.TSN
		}
		parts[m.Stream] = append(parts[m.Stream], m.Data...)
		if m.End {
			ended = append(ended, m.Stream)
		}
	}
	for stream, message := range sent {
		if !bytes.Equal(parts[stream], message) {
			return wrong("of interleaved messages, one of %d bytes was received as %d", len(message), len(parts[stream]))
		}
	}
	if ended[0] == longStream {
		return wrong("a short message on another stream did not overtake a long one")
	}
	// Transmission sequence numbers are given as chunks are first sent
	// (RFC 9260, section 6.1). They wrap around.
	const chunks = (interleavedLength + interleavedSeg - 1) / interleavedSeg // at least
	for stream, first := range firstTSN {
		if stream != longStream && first-firstTSN[longStream] < chunks {
			return nil
		}
	}
	return wrong("all of a long message was sent before a short one on another stream")
}
