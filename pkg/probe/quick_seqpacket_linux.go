package probe

import (
	"context"
	"io"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/sctp"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// proveSeqpacket: one one-to-many socket serves several peers, each an
// association of its own that the first message sets up, and ends each of them
// gracefully (RFC 6458, section 3; RFC 9260, sections 5.1 and 9.2).
func proveSeqpacket(ctx context.Context, e *env) error { return serve(ctx, e, 3) }

func serve(ctx context.Context, e *env, n int) error {
	server, port, err := e.bound(nil, unix.SOCK_SEQPACKET, nil, informed, subscribed)
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
		s, _, err := e.bound(nil, unix.SOCK_SEQPACKET, nil, informed, subscribed)
		if err != nil {
			return err
		}
		p := peer{s, random(32)}
		if err := p.send(ctx, p.nonce, sctp.SendInfo{}, netip.AddrPortFrom(e.family.host(1), port)); err != nil {
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
		if !m.HasInfo || seen[m.Assoc] {
			return wrong("two peers have one association, %d", m.Assoc)
		}
		seen[m.Assoc] = true
		if err := server.send(ctx, m.Data, sctp.SendInfo{AssocID: m.Assoc}); err != nil {
			return err
		}
	}
	for _, p := range peers {
		m, err := p.expect(ctx, p.nonce, "the echo of the nonce", "a peer received %d bytes that are not the echo of its nonce")
		if err != nil {
			return err
		}
		if err := p.Finish(ctx, m.Assoc); err != nil {
			return stopped(result.StageShutdown, err, "shut the association down")
		}
		if err := p.sawShutdown(ctx, 1); err != nil {
			return err
		}
	}
	return server.sawShutdown(ctx, len(peers))
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
		change, ok := m.AssocChange()
		switch {
		case ok && change.State == sctp.AssocShutdownDone:
			n--
		case ok && change.State == sctp.AssocLost:
			// By its guard timer perhaps: ETIMEDOUT then.
			return &stop{outcome: result.OutcomeFail, stage: result.StageShutdown, err: s.PendingError(), detail: "the association was lost instead of shut down"}
		case !m.Notification:
			return wrong("%d bytes arrived that nobody sent", len(m.Data))
		}
	}
	return nil
}
