// Package wire has the messages between verify and its peers in pods: jobs in an
// environment variable, and answers as termination messages. Both sides import
// it, and it imports neither.
package wire

import (
	"encoding/json"
	"fmt"
	"time"
)

// Outcome of trying a path.
type Outcome string

const (
	// OK: handshake, echo of a nonce and of messages of all sizes.
	OK Outcome = "ok"
	// Refused: an ABORT, or an ICMP "port unreachable": a host answered, and
	// nothing listens there.
	Refused Outcome = "refused"
	// NoRoute: the network or host is unreachable.
	NoRoute Outcome = "no-route"
	// Dropped: silence.
	Dropped Outcome = "dropped"
	// OneWay: packets arrive, and the answers do not.
	OneWay Outcome = "one-way"
	// NetworkDown: TCP does not get there either.
	NetworkDown Outcome = "network-down"
	// Lost: the handshake succeeded, and a message or its echo was lost.
	Lost Outcome = "lost"
	// Corrupt: an echo was not what was sent.
	Corrupt Outcome = "corrupt"
	// PathDown: the association works, and one of its paths does not.
	PathDown Outcome = "path-down"
	// ModuleMissing: the kernel has no SCTP.
	ModuleMissing Outcome = "module-missing"
	// Denied: a security policy refuses SCTP sockets.
	Denied Outcome = "denied"
	// Blocked: it fails time and again, while one beside it works.
	Blocked Outcome = "blocked"
	// NotTried: a path that this one depends on fails.
	NotTried Outcome = "not-tried"
	// Unknown: none of these.
	Unknown Outcome = "unknown"
)

// Conclusive reports whether the outcome proves something about the path.
func (o Outcome) Conclusive() bool {
	return o != Unknown && o != Denied && o != NotTried && o != ""
}

// Target is a path to try.
type Target struct {
	ID int `json:"id"`
	// Address is IP:port.
	Address string `json:"a"`
	// Needs are the IDs of targets earlier in the job without which this one
	// cannot work: when one of them fails, it is not tried.
	Needs []int `json:"n,omitempty"`
	// Patience is how long, from the job's start, the path is tried again while it
	// fails: a Service needs a moment until it works. 0 means once.
	Patience Millis `json:"p,omitempty"`
	// Beside makes it a target that a policy must block: it is tried again while it
	// succeeds, and counts as blocked when it fails several times while this
	// address, which differs only in that it is allowed, is reached.
	Beside string `json:"b,omitempty"`
	// Also are further addresses of the listener, without ports: the
	// association is to have a path to each.
	Also []string `json:"also,omitempty"`
	// Control is the listener's TCP address, to find out where packets are lost.
	Control string `json:"c,omitempty"`
}

// Millis is a duration in milliseconds.
type Millis int64

// Duration of it.
func (m Millis) Duration() time.Duration { return time.Duration(m) * time.Millisecond }

// Listener is what one listener does.
type Listener struct {
	// Index is the listener's answer to who it is.
	Index int `json:"index"`
	// Ports to listen on, SCTP, over IPv4 and, where there is any, IPv6.
	Ports []int `json:"ports"`
	// Control is the TCP address of its HTTP server, such as ":8080".
	Control string `json:"control"`
}

// ReadyPath of a listener's HTTP server answers 200 once it listens.
const ReadyPath = "/ready"

// Job is what one client does.
type Job struct {
	Targets []Target `json:"targets"`
	// Sizes of the messages, in bytes.
	Sizes []int `json:"sizes"`
	// Timeout of each step: the handshake, an echo.
	Timeout Millis `json:"timeout"`
	// Parallel targets; 0 means one after the other.
	Parallel int `json:"parallel,omitempty"`
	// Diagnose dropped paths. Only correct while nothing but clients that
	// diagnose, which take turns, sends SCTP to the listeners.
	Diagnose bool `json:"diagnose,omitempty"`
}

// Client is what a client of a Service does: it keeps an association with one of
// the Service's endpoints until that ends, and then sets up another, from the
// same port, until another endpoint answers.
type Client struct {
	// Targets are the Service's addresses; each is tried by itself.
	Targets []Target `json:"targets"`
	// Ending is the index of the listener that is to end.
	Ending int `json:"ending"`
	// Timeout of a try, Begin of the tries until the listener that is to end
	// answers, and Patience of those after it has ended.
	Timeout  Millis `json:"timeout"`
	Begin    Millis `json:"begin"`
	Patience Millis `json:"patience"`
	// Control is the TCP address of its HTTP server, whose [ReadyPath] answers
	// 200 once the listener may end.
	Control string `json:"control"`
}

// Recovery is what became of one target of a [Client].
type Recovery struct {
	ID int `json:"id"`
	// Outcome is OK when another listener answered on the same port, NotTried
	// when the one that was to end never answered, else that of the last try.
	Outcome Outcome `json:"o"`
	// Errno is the error's name, "" where there was none.
	Errno string `json:"e,omitempty"`
	// Peer is the index of the listener that answered, -1 when none did.
	Peer int `json:"p"`
	// Port that the client kept.
	Port int `json:"port"`
	// Gap is the time from the last answer of the listener that ended to the
	// first of another.
	Gap Millis `json:"gap"`
	// OtherPort is the same for a client whose port is another at each try; 0
	// when none was answered before Gap was over.
	OtherPort Millis `json:"other,omitempty"`
}

// Result of one target.
type Result struct {
	ID      int
	Outcome Outcome
	// Handshake and RTT: the duration of the handshake, and the median round
	// trip of a small message.
	Handshake, RTT time.Duration
	// Size of the message that was lost or corrupted.
	Size int
	// Errno is the error's name, "" where there was none.
	Errno string
	// Peer is the index of the listener that answered, -1 when none did.
	Peer int
	// States of the paths, by the listener's addresses, where it was to have
	// several.
	States map[string]string
}

// MarshalJSON makes a result a short list: dozens of them must fit into a
// termination message of 4096 bytes.
func (r Result) MarshalJSON() ([]byte, error) {
	fields := []any{r.ID, r.Outcome, r.Handshake.Microseconds(), r.RTT.Microseconds(), r.Size, r.Errno, r.Peer}
	if r.States != nil {
		fields = append(fields, r.States)
	}
	return json.Marshal(fields)
}

// UnmarshalJSON reads that list.
func (r *Result) UnmarshalJSON(text []byte) error {
	var handshake, rtt int64
	var list []json.RawMessage
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	fields := []any{&r.ID, &r.Outcome, &handshake, &rtt, &r.Size, &r.Errno, &r.Peer, &r.States}
	if n := len(list); n != len(fields) && n != len(fields)-1 {
		return fmt.Errorf("a result of %d fields", n)
	}
	for i, raw := range list {
		if err := json.Unmarshal(raw, fields[i]); err != nil {
			return err
		}
	}
	r.Handshake, r.RTT = time.Duration(handshake)*time.Microsecond, time.Duration(rtt)*time.Microsecond
	return nil
}

// Say is what a peer writes as its container's termination message.
type Say struct {
	// Fault is why it could not do its work; "" when it did.
	Fault Outcome `json:"fault,omitempty"`
	// Detail of the fault, for people.
	Detail  string   `json:"detail,omitempty"`
	Results []Result `json:"results,omitempty"`
	// Recoveries are a [Client]'s.
	Recoveries []Recovery `json:"recoveries,omitempty"`
}

// MaxTargets of one job: what fits into a termination message.
const MaxTargets = 56

// MaxMessage is the largest message that is sent, and echoed.
const MaxMessage = 64 << 10
