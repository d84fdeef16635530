package probe

import (
	"context"

	"github.com/sctp-agent/sctp-agent/internal/sctp"
)

// proveStream is the core of the proof: the handshake (RFC 9260, section 5.1),
// a fresh nonce to the server and its echo back (section 6), a nonce the other
// way and its echo, and the graceful shutdown (section 9.2). A nonce, because
// an old or made-up answer must not pass.
func proveStream(ctx context.Context, e *env) error {
	a, err := e.associate(ctx, ends{})
	if err != nil {
		return err
	}
	if err := echo(ctx, a.client, a.server); err != nil {
		return err
	}
	if err := echo(ctx, a.server, a.client); err != nil {
		return err
	}
	return a.shutdown(ctx)
}

// echo sends a nonce from one end to the other and back, and compares at both.
func echo(ctx context.Context, from, to *socket) error {
	nonce := random(32)
	if err := from.send(ctx, nonce, sctp.SendInfo{}); err != nil {
		return err
	}
	m, err := to.expect(ctx, nonce, "the nonce", "received %d bytes that are not the nonce sent")
	if err != nil {
		return err
	}
	if err := to.send(ctx, m.Data, sctp.SendInfo{}); err != nil {
		return err
	}
	_, err = from.expect(ctx, nonce, "the echo of the nonce", "received %d bytes that are not the echo of the nonce")
	return err
}
