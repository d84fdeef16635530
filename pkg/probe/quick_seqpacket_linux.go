package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"

	"github.com/ishidawataru/sctp"
	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// proveSeqpacket: one one-to-many socket serves several peers, each an
// association of its own that the first message sets up, and ends each of them
// gracefully (RFC 6458, section 3; RFC 9260, sections 5.1 and 9.2).
func proveSeqpacket(ctx context.Context, e *env) error { return serve(ctx, e, 3) }

func serve(ctx context.Context, e *env, n int) error {
	prepare := func(s *socket) error {
		if err := informed(s); err != nil {
			return err
		}
		return subscribed(s)
	}
	server, port, err := e.bound(unix.SOCK_SEQPACKET, prepare, nil)
	if err != nil {
		return err
	}
	if err := server.listen(); err != nil {
		return err
	}
	type peer struct {
		*socket
		nonce []byte
	}
	var peers []peer
	for range n {
		s, _, err := e.bound(unix.SOCK_SEQPACKET, prepare, nil)
		if err != nil {
			return err
		}
		p := peer{s, make([]byte, 32)}
		rand.Read(p.nonce)
		if err := p.send(ctx, p.nonce, sctp.SndRcvInfo{}, at(port, e.family.host(1))); err != nil {
			return err
		}
		peers = append(peers, p)
	}
	seen := map[int32]bool{}
	for range peers {
		m, err := server.receive(ctx, "a peer's nonce")
		if err != nil {
			return err
		}
		if !m.hasInfo || seen[m.Assoc] {
			return wrong("two peers have one association, %d", m.Assoc)
		}
		seen[m.Assoc] = true
		if err := server.send(ctx, m.data, sctp.SndRcvInfo{AssocID: m.Assoc}, nil); err != nil {
			return err
		}
	}
	for _, p := range peers {
		m, err := p.receive(ctx, "the echo of the nonce")
		if err != nil {
			return err
		}
		if !bytes.Equal(m.data, p.nonce) {
			return wrong("a peer received %d bytes that are not the echo of its nonce", len(m.data))
		}
		if err := p.finish(ctx, m.Assoc); err != nil {
			return err
		}
		if err := p.sawShutdown(ctx, 1); err != nil {
			return err
		}
	}
	return server.sawShutdown(ctx, len(peers))
}

// informed: a message comes with its stream, its sequence number, its payload
// protocol identifier and its association (RFC 6458, section 5.3.5).
func informed(s *socket) error {
	if err := s.setInt(optRecvRcvInfo, 1); err != nil {
		return &stop{stage: result.StageSocket, err: err, detail: "set SCTP_RECVRCVINFO"}
	}
	return nil
}

func subscribed(s *socket) error {
	if err := s.set(optEvents, raw(subscription{Association: 1, Address: 1})); err != nil {
		return &stop{stage: result.StageSocket, err: err, detail: "subscribe to association events"}
	}
	return nil
}

// sawShutdown waits until n associations have been shut down.
func (s *socket) sawShutdown(ctx context.Context, n int) error {
	for n > 0 {
		m, err := s.receiveInto(ctx, result.StageShutdown, "wait for the shutdown to complete", make([]byte, 1<<10))
		if err == io.EOF {
			return nil // one-to-one, where that is the end
		}
		if err != nil {
			return err
		}
		change, ok := m.assocState()
		switch {
		case ok && change.State == assocShutdownDone:
			n--
		case ok && change.State == assocLost:
			// By its guard timer perhaps: ETIMEDOUT then.
			return &stop{outcome: result.OutcomeFail, stage: result.StageShutdown, err: s.pendingError(), detail: "the association was lost instead of shut down"}
		case !m.notification:
			return wrong("%d bytes arrived that nobody sent", len(m.data))
		}
	}
	return nil
}
