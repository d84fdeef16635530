package probe

import (
	"context"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/sctp"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// provePeeloff: an association of a one-to-many socket is branched off into a
// one-to-one socket and continues there (RFC 6458, section 9.2).
func provePeeloff(ctx context.Context, e *env) error {
	server, port, err := e.bound(nil, unix.SOCK_SEQPACKET, nil, informed)
	if err != nil {
		return err
	}
	if err := server.listen(); err != nil {
		return err
	}
	client, _, err := e.bound(nil, unix.SOCK_SEQPACKET, nil, informed)
	if err != nil {
		return err
	}
	nonce := random(32)
	if err := client.send(ctx, nonce, sctp.SendInfo{}, netip.AddrPortFrom(e.family.host(1), port)); err != nil {
		return err
	}
	m, err := server.receive(ctx, "a peer's nonce")
	if err != nil {
		return err
	}
	branch, err := server.PeelOff(m.Assoc)
	if err != nil {
		return stopped(result.StageAccept, err, "branch an association off")
	}
	peeled := e.adopt(branch)
	if err := peeled.send(ctx, nonce, sctp.SendInfo{}); err != nil {
		return err
	}
	m, err = client.expect(ctx, nonce, "an answer from the branched-off socket", "the branched-off socket sent %d bytes that are not the nonce")
	if err != nil {
		return err
	}
	if err := client.send(ctx, nonce, sctp.SendInfo{AssocID: m.Assoc}); err != nil {
		return err
	}
	_, err = peeled.expect(ctx, nonce, "a message at the branched-off socket", "the branched-off socket received %d bytes that are not the nonce")
	return err
}
