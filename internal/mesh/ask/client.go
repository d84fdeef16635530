package ask

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/mesh/conclusion"
	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
)

const (
	// reachTimeout is for the connection, shakeTimeout for the handshake of
	// TLS on it. A node that does not answer by then cannot answer in time.
	reachTimeout = 2 * time.Second
	shakeTimeout = 2 * time.Second
	// answerTimeout is for the token, the question and its answer: the asked
	// node tries three times, of a second each.
	answerTimeout = 4500 * time.Millisecond
)

// Client asks.
type Client struct {
	Tokens Tokens
	// Local is the address that the other knows as this node's.
	Local netip.Addr
}

// Ask asks a node at an address whether it fails towards another.
func (c Client) Ask(ctx context.Context, node string, at netip.AddrPort, about string, kind conclusion.Kind) (picture.State, error) {
	fail := func(doing string, err error) (picture.State, error) {
		return picture.StateUnknown, fmt.Errorf("ask %s about %s: %s: %w", node, about, doing, err)
	}
	dialer := net.Dialer{Timeout: reachTimeout, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.Local, 0))}
	raw, err := dialer.DialContext(ctx, "tcp", at.String())
	if err != nil {
		return fail("connect", fmt.Errorf("%w: %w", conclusion.ErrUnreached, err))
	}
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { raw.Close() })()
	// The certificate is not verified: the token is bound to it instead.
	conn := tls.Client(raw, &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true})
	shake, cancel := context.WithTimeout(ctx, shakeTimeout)
	defer cancel()
	if err := conn.HandshakeContext(shake); err != nil {
		return fail("shake hands", fmt.Errorf("%w: %w", conclusion.ErrUnreached, err))
	}
	ctx, cancel = context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if err := conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return fail("set a deadline", err)
	}
	token, err := c.Tokens.Token(ctx, audience(node, conn.ConnectionState().PeerCertificates[0].Raw))
	if err != nil {
		return fail("get a token", err)
	}
	if err := json.NewEncoder(conn).Encode(question{token, about, kind}); err != nil {
		return fail("send the question", err)
	}
	var a answer
	if err := json.NewDecoder(io.LimitReader(conn, mostQuestion)).Decode(&a); err != nil {
		return fail("read the answer", err)
	}
	if a.Refused != "" {
		return fail("refused", errors.New(a.Refused))
	}
	return a.State, nil
}
