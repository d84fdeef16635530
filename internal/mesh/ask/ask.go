// Package ask makes indirect checks: a node that fails to reach a peer asks others
// who probe that peer, over TCP and TLS.
//
// Only nodes of the mesh get an answer. A server's certificate is self-signed, and
// new with each start; a question carries a token whose audience names the asked
// node and that certificate. So a token that was sent to one node, or that a third
// party passes on, is refused by every other. Questions are about nodes of the list
// only: no one can make a node probe an address.
package ask

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/mesh/conclusion"
	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
)

// Tokens gets a token of this program's own identity for an audience.
type Tokens interface {
	Token(ctx context.Context, audience string) (string, error)
}

// Holder of a token: the pod it is bound to, and that pod's node, "" where the
// cluster does not report it.
type Holder struct {
	Pod, UID, Node string
	// Until is when the token expires.
	Until time.Time
}

// Reviewer finds the holder of a token, if it is valid and for that audience.
type Reviewer interface {
	Review(ctx context.Context, token, audience string) (Holder, error)
}

// audience of tokens for a node with a certificate.
func audience(node string, certificate []byte) string {
	sum := sha256.Sum256(certificate)
	return "sctp-mesh/" + node + "/" + hex.EncodeToString(sum[:])
}

// question and answer are one line of JSON each.
type question struct {
	Token string          `json:"token"`
	About string          `json:"about"`
	Kind  conclusion.Kind `json:"kind"`
}

type answer struct {
	State   picture.State `json:"state,omitempty"`
	Refused string        `json:"refused,omitempty"`
}

// mostQuestion bounds a question in bytes: a token has about 1,500.
const mostQuestion = 8 << 10
