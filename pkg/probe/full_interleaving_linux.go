package probe

import (
	"bytes"
	"context"
	"crypto/rand"

	"github.com/ishidawataru/sctp"
	"golang.org/x/sys/unix"
)

// proveInterleaving: while a long message is under way, a short one on another
// stream overtakes it (RFC 8260, section 2), instead of waiting for its last
// fragment.
func proveInterleaving(ctx context.Context, e *env) error {
	if err := e.sysctl("net/sctp/intl_enable", "1"); err != nil {
		return err
	}
	a, err := e.associate(ctx, ends{prepare: func(s *socket) error {
		if err := informed(s); err != nil {
			return err
		}
		if err := s.setInt(optFragmentInterleave, 2); err != nil {
			return &stop{stage: StageSocket, err: err, detail: "set SCTP_FRAGMENT_INTERLEAVE"}
		}
		if err := s.set(optMaxSeg, raw(assocValue{Value: 1200})); err != nil {
			return &stop{stage: StageSocket, err: err, detail: "set SCTP_MAXSEG"}
		}
		return s.enable(optInterleavingSupported, 1, "message interleaving")
	}})
	if err != nil {
		return err
	}
	if on, err := a.client.enabled(optInterleavingSupported); err != nil {
		return err
	} else if !on {
		return wrong("the ends did not agree to interleave messages")
	}
	// More than the receiver's window lets through before it reads, so that
	// the rest is still to be sent when the short one comes.
	long, short := make([]byte, 150_000), []byte("overtakes")
	rand.Read(long)
	// Room for both at the sender; the kernel may allow less (socket(7)).
	if err := a.client.do(func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 2*len(long))
	}); err != nil {
		return &stop{stage: StageSend, err: err, detail: "set SO_SNDBUF"}
	}
	// Without this the sender finishes the long message first (RFC 8260,
	// section 3.2: round robin).
	if err := a.client.set(optStreamScheduler, raw(assocValue{Value: schedulerRoundRobin})); err != nil {
		return &stop{stage: StageSend, err: err, detail: "choose the round-robin scheduler"}
	}
	if err := a.client.send(ctx, long, sctp.SndRcvInfo{Stream: 1}, nil); err != nil {
		return err
	}
	if err := a.client.send(ctx, short, sctp.SndRcvInfo{Stream: 2}, nil); err != nil {
		return err
	}
	parts := map[uint16][]byte{}
	var ended []uint16
	for len(ended) < 2 {
		m, err := a.server.receiveInto(ctx, StageReceive, "wait for interleaved messages", make([]byte, 64<<10))
		if err != nil {
			return err
		}
		if m.notification {
			continue
		}
		parts[m.Stream] = append(parts[m.Stream], m.data...)
		if m.end {
			ended = append(ended, m.Stream)
		}
	}
	if !bytes.Equal(parts[1], long) || !bytes.Equal(parts[2], short) {
		return wrong("interleaved messages of %d and %d bytes were received as %d and %d", len(long), len(short), len(parts[1]), len(parts[2]))
	}
	if ended[0] != 2 {
		return wrong("a short message on another stream did not overtake a long one")
	}
	return a.shutdown(ctx)
}
