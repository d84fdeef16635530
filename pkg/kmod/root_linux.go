package kmod

import (
	"cmp"
	"context"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
)

// openLive opens the running system, or the root of a host below a directory.
func (o Options) openLive(ctx context.Context) (hostFiles, error) {
	root := cmp.Or(o.Root, "/")
	live, err := hostroot.Open(root)
	if err != nil {
		return hostFiles{}, rootError(root, err)
	}
	return hostFiles{until(ctx, live), hostroot.OpenKernel(cmp.Or(o.Proc, "/proc")), hostroot.OpenKernel(cmp.Or(o.Sys, "/sys"))}, nil
}
