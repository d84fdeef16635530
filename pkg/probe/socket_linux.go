package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/sctp"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// socket is one of a check's: what fails has a stage.
type socket struct {
	*sctp.Socket
	env *env
	// buf is reused by receive.
	buf []byte
}

// stopped is a *stop from an error of package sctp; nil and io.EOF are returned
// unchanged.
func stopped(stage result.Stage, err error, format string, args ...any) error {
	if err == nil || err == io.EOF {
		return err
	}
	s := &stop{stage: stage, err: err, detail: fmt.Sprintf(format, args...)}
	if waited, ok := errors.AsType[*sctp.WaitError](err); ok {
		s.cut, s.since = waited.Cut, waited.Since
	}
	return s
}

// setup is something done to a socket before it is used.
type setup func(*socket) error

func (s *socket) prepare(setups ...setup) error {
	for _, setup := range setups {
		if err := setup(s); err != nil {
			return err
		}
	}
	return nil
}

// option sets an option.
func option[T any](opt int, value T, what string) setup {
	return func(s *socket) error { return stopped(result.StageSocket, sctp.Set(s.Socket, opt, value), "%s", what) }
}

// extension turns on an extension for later associations.
func extension(opt int, value uint32, feature string) setup {
	return func(s *socket) error {
		return unsupported(sctp.Set(s.Socket, opt, sctp.AssocValue{Value: value}), feature)
	}
}

var (
	// informed: a message comes with its stream, its sequence number, its payload
	// protocol identifier and its association (RFC 6458, section 5.3.5).
	informed   = option(sctp.OptRecvRcvInfo, int32(1), "set SCTP_RECVRCVINFO")
	subscribed = option(sctp.OptEvents, sctp.Subscription{Association: 1, Address: 1}, "subscribe to association events")
)

// unsupported turns the refusal of an option that the kernel does not know,
// or was built without, into a skip.
func unsupported(err error, feature string) error {
	if errors.Is(err, unix.ENOPROTOOPT) || errors.Is(err, unix.EOPNOTSUPP) {
		return skip("this kernel does not know %s: %v", feature, err)
	}
	return stopped(result.StageSocket, err, "turn on %s", feature)
}

// enabled reports whether an association has an extension.
func (s *socket) enabled(opt int) (bool, error) {
	var v sctp.AssocValue
	err := sctp.Get(s.Socket, opt, &v)
	return v.Value != 0, stopped(result.StageConnect, err, "ask for SCTP option %d", opt)
}

// bound is what became of binding to addresses.
func (s *socket) bound(err error, addrs ...netip.AddrPort) error {
	if err == unix.EADDRNOTAVAIL && s.env.family == ipv6 {
		return skip("the loopback of this network namespace has no IPv6 address")
	}
	return stopped(result.StageBind, err, "bind to %s", hostsOf(addrs...))
}

// port is the local port that the kernel chose.
func (s *socket) port() (uint16, error) {
	addr, err := s.LocalAddr()
	return addr.Port(), stopped(result.StageBind, err, "ask for the local port")
}

func (s *socket) listen() error {
	return stopped(result.StageListen, s.Listen(8), "listen")
}

// accept returns the association set up from the given port. Another one may
// be queued before it: one that was aborted since, or a stranger's.
func (s *socket) accept(ctx context.Context, fromPort uint16) (*socket, error) {
	for {
		conn, from, err := s.Accept(ctx)
		if err != nil {
			return nil, stopped(result.StageAccept, err, "accept")
		}
		if accepted := s.env.adopt(conn); from.Port() == fromPort {
			return accepted, nil
		}
	}
}

// send sends one message to the peer, or where to is given, to that address.
func (s *socket) send(ctx context.Context, data []byte, info sctp.SendInfo, to ...netip.AddrPort) error {
	var addr netip.AddrPort
	if len(to) > 0 {
		addr = to[0]
	}
	return stopped(result.StageSend, s.Send(ctx, data, info, addr), "send %d bytes", len(data))
}

// receiveInto waits for the data of one receive call; io.EOF means that the peer
// has shut the association down.
func (s *socket) receiveInto(ctx context.Context, stage result.Stage, what string, buf []byte) (sctp.Message, error) {
	m, err := s.Receive(ctx, buf)
	return m, stopped(stage, err, "%s", what)
}

// receive waits for one whole message. Its data is good until the next call.
func (s *socket) receive(ctx context.Context, what string) (sctp.Message, error) {
	const limit = 1 << 20 // more than any check sends
	m, err := s.ReceiveMessage(ctx, s.buf, limit)
	if err == io.EOF {
		return m, &stop{outcome: result.OutcomeFail, stage: result.StageReceive, detail: "the association ended instead of " + what}
	}
	s.buf = m.Data[:cap(m.Data)]
	return m, stopped(result.StageReceive, err, "wait for %s", what)
}

// expect waits for one message, which must be the one wanted; otherwise says what
// is wrong with one of so many bytes that is not.
func (s *socket) expect(ctx context.Context, want []byte, what, otherwise string) (sctp.Message, error) {
	m, err := s.receive(ctx, what)
	if err == nil && !bytes.Equal(m.Data, want) {
		err = wrong(otherwise, len(m.Data))
	}
	return m, err
}

// random is data that no old or made-up message has.
func random(n int) []byte {
	data := make([]byte, n)
	rand.Read(data)
	return data
}

// status is the kernel's status of the association.
func (s *socket) status(stage result.Stage) (sctp.Status, error) {
	st, err := s.Status()
	return st, stopped(stage, err, "ask for the association's status")
}

// waitUntil polls for what no event reports. A millisecond between polls costs
// nothing on loopback.
func (s *socket) waitUntil(ctx context.Context, stage result.Stage, what string, done func() (bool, error)) error {
	since := time.Now()
	step, cancel := context.WithTimeout(ctx, s.env.step)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		over := step.Err() // read before the last question, not after it
		if ok, err := done(); ok || err != nil {
			return err
		}
		if over != nil {
			if errors.Is(over, context.DeadlineExceeded) {
				over = os.ErrDeadlineExceeded
			}
			return &stop{stage: stage, err: over, cut: ctx.Err() != nil, since: since, detail: "wait for " + what}
		}
		select {
		case <-step.Done():
		case <-tick.C:
		}
	}
}
