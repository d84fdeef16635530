package probe

import (
	"bytes"
	"context"
	"crypto/rand"

	"github.com/ishidawataru/sctp"
	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// provePeeloff: an association of a one-to-many socket is branched off into a
// one-to-one socket and goes on there (RFC 6458, section 9.2).
func provePeeloff(ctx context.Context, e *env) error {
	server, port, err := e.bound(unix.SOCK_SEQPACKET, informed, nil)
	if err != nil {
		return err
	}
	if err := server.listen(); err != nil {
		return err
	}
	client, _, err := e.bound(unix.SOCK_SEQPACKET, informed, nil)
	if err != nil {
		return err
	}
	nonce := make([]byte, 32)
	rand.Read(nonce)
	if err := client.send(ctx, nonce, sctp.SndRcvInfo{}, at(port, e.family.host(1))); err != nil {
		return err
	}
	m, err := server.receive(ctx, "a peer's nonce")
	if err != nil {
		return err
	}
	peeled, err := server.peelOff(m.Assoc)
	if err != nil {
		return err
	}
	if err := peeled.send(ctx, nonce, sctp.SndRcvInfo{}, nil); err != nil {
		return err
	}
	if m, err = client.receive(ctx, "an answer from the branched-off socket"); err != nil {
		return err
	}
	if !bytes.Equal(m.data, nonce) {
		return wrong("the branched-off socket sent %d bytes that are not the nonce", len(m.data))
	}
	if err := client.send(ctx, nonce, sctp.SndRcvInfo{AssocID: m.Assoc}, nil); err != nil {
		return err
	}
	if m, err = peeled.receive(ctx, "a message at the branched-off socket"); err != nil {
		return err
	}
	if !bytes.Equal(m.data, nonce) {
		return wrong("the branched-off socket received %d bytes that are not the nonce", len(m.data))
	}
	return nil
}

// peelOff branches an association off, without the moment in which the new
// descriptor would block or leak into a child process.
func (s *socket) peelOff(assoc int32) (*socket, error) {
	arg := peeloffFlags{Assoc: assoc, Flags: unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC}
	if err := s.get(optPeeloffFlags, bytesOf(&arg)); err != nil {
		return nil, &stop{stage: result.StageAccept, err: err, detail: "branch an association off"}
	}
	return s.env.adopt(int(arg.FD), result.StageAccept)
}
