package kmod

import (
	"cmp"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
)

// openLive opens the running system, or the root of a host below a directory.
func (o Options) openLive() (hostFiles, error) {
	root := cmp.Or(o.Root, "/")
	live, err := hostroot.Open(root)
	if err != nil {
		return hostFiles{}, rootError(root, err)
	}
	return hostFiles{live, hostroot.OpenKernel(cmp.Or(o.Proc, "/proc")), hostroot.OpenKernel(cmp.Or(o.Sys, "/sys"))}, nil
}
