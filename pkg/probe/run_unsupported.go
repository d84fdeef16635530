//go:build !linux

package probe

import (
	"context"

	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// Run needs Linux's SCTP; elsewhere nothing is attempted.
func Run(_ context.Context, opts Options) result.Result {
	return result.Result{Suite: opts.Suite, Notes: []string{"not probed: only Linux is supported"}}
}

// ChildMain is for Linux, where [Run] starts a child process; elsewhere no
// process is one.
func ChildMain([]string) (handled bool) { return false }
