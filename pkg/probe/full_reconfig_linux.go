package probe

import (
	"context"

	"github.com/sctp-agent/sctp-agent/internal/sctp"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// proveReconfig: the sequence numbers of a stream start again after a reset,
// and streams can be added to a live association (RFC 6525, sections 5.1.2 and
// 5.1.5).
func proveReconfig(ctx context.Context, e *env) error {
	const streams = 10
	a, err := e.associate(ctx, ends{streams: streams, prepare: []setup{
		informed,
		extension(sctp.OptReconfigSupported, 1, "stream reconfiguration"),
		extension(sctp.OptEnableStreamReset, sctp.ResetStreamRequests|sctp.ChangeAssocRequests, "stream resets"),
	}})
	if err != nil {
		return err
	}
	const stream = 1
	next := func(what string, want uint16) error {
		if err := a.client.send(ctx, []byte("ssn"), sctp.SendInfo{Stream: stream}); err != nil {
			return err
		}
		m, err := a.server.receive(ctx, what)
		if err != nil {
			return err
		}
		if m.SSN != want {
			return wrong("%s has stream sequence number %d, not %d", what, m.SSN, want)
		}
		return nil
	}
	for n := range uint16(2) {
		if err := next("a message before the reset", n); err != nil {
			return err
		}
	}
	if err := sctp.Set(a.client.Socket, sctp.OptResetStreams, sctp.ResetStreams{Flags: sctp.ResetOutgoing, Count: 1, Stream: stream}); err != nil {
		return stopped(result.StageSend, err, "reset a stream")
	}
	if err := next("the first message after the reset", 0); err != nil {
		return err
	}
	if err := sctp.Set(a.client.Socket, sctp.OptAddStreams, sctp.AddStreams{Out: 2}); err != nil {
		return stopped(result.StageSend, err, "add streams")
	}
	// The new streams are usable when the peer has agreed; a message on the last
	// one proves that. Until then its number is out of range.
	if err := a.client.waitUntil(ctx, result.StageSend, "added streams to be agreed to", func() (bool, error) {
		st, err := a.client.status(result.StageSend)
		return st.OutStreams == streams+2, err
	}); err != nil {
		return err
	}
	if err := a.client.send(ctx, []byte("added"), sctp.SendInfo{Stream: streams + 1}); err != nil {
		return err
	}
	m, err := a.server.receive(ctx, "a message on an added stream")
	if err != nil {
		return err
	}
	if m.Stream != streams+1 {
		return wrong("a message on added stream %d was received on stream %d", streams+1, m.Stream)
	}
	return a.shutdown(ctx)
}
