package probe

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// proveAbort: an end that aborts tells the other at once (RFC 9260, section 9.1):
// it gets ECONNRESET, and not an end of file as after a complete shutdown.
func proveAbort(ctx context.Context, e *env) error {
	a, err := e.associate(ctx, ends{})
	if err != nil {
		return err
	}
	a.client.Close() // aborts (env.socket)
	_, err = a.server.receiveInto(ctx, result.StageShutdown, "wait for the abort", make([]byte, 64))
	switch {
	case errors.Is(err, unix.ECONNRESET):
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.Canceled):
		return err
	}
	return wrong("the peer of an aborted association got %v, not ECONNRESET", err)
}
