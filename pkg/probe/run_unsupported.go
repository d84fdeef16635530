//go:build !linux

package probe

import "context"

// Run needs Linux's SCTP; elsewhere nothing is attempted.
func Run(_ context.Context, opts Options) Result {
	return Result{Suite: opts.Suite, Notes: []string{"not probed: only Linux is supported"}}
}
