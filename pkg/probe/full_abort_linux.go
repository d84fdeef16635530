package probe

import (
	"context"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// proveAbort: an end that aborts tells the other at once (RFC 9260, section
// 9.1), which gets ECONNRESET and not an end of file that would pass for a
// complete shutdown.
func proveAbort(ctx context.Context, e *env) error {
	a, err := e.associate(ctx, ends{})
	if err != nil {
		return err
	}
	a.client.file.Close() // aborts (env.socket)
	var got error
	err = a.server.wait(ctx, result.StageShutdown, "wait for the abort", a.server.raw.Read, func(fd int) error {
		_, _, _, _, got = unix.Recvmsg(fd, make([]byte, 64), nil, 0)
		if got == unix.EAGAIN || got == unix.EINTR {
			return got
		}
		return nil
	})
	if err != nil {
		return err
	}
	if got != unix.ECONNRESET {
		return wrong("the other end of an aborted association was told %v, not ECONNRESET", got)
	}
	return nil
}
