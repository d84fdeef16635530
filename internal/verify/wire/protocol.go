package wire

import (
	"encoding/json"
	"fmt"
)

// Protocol is the number of what this package defines. It changes with the meaning
// or the form of anything in it except the envelope, which never changes:
// kubectl-sctp and the image of sctp-agent may be of different versions.
const Protocol = 2

// JobVariable is the environment variable that holds a peer's job: a [Listener],
// a [Job] or a [Client].
const JobVariable = "SCTP_AGENT_VERIFY_JOB"

// envelope is around all that is exchanged.
type envelope struct {
	Protocol int `json:"protocol"`
	// Version of the program that wrote it.
	Version string          `json:"version"`
	Content json.RawMessage `json:"content"`
}

// MismatchError is a message of another protocol.
type MismatchError struct {
	// Protocol of the message, 0 where it has no number.
	Protocol int
	// Version of the program that wrote it, "" where it does not name one.
	Version string
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("protocol %d of version %q, want protocol %d", e.Protocol, e.Version, Protocol)
}

// Encode writes a job or an answer; version is that of this program.
func Encode(version string, content any) (string, error) {
	raw, err := json.Marshal(content)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(envelope{Protocol, version, raw})
	return string(text), err
}

// Decode reads what [Encode] wrote. The error is a [*MismatchError] where that was
// a program with another protocol.
func Decode(text string, content any) error {
	var e envelope
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return err
	}
	if e.Protocol != Protocol {
		return &MismatchError{e.Protocol, e.Version}
	}
	return json.Unmarshal(e.Content, content)
}
