//go:build !linux

package kmod

import (
	"context"
	"errors"
	"fmt"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
)

// openLive opens the directory that a Linux host's root was unpacked to. There
// is no running Linux here, and no /proc but the one in the directory.
func (o Options) openLive(ctx context.Context) (hostFiles, error) {
	if o.Root == "" {
		return hostFiles{}, fmt.Errorf("inspect the running system: %w: it is not Linux; name the directory of a host's root", errors.ErrUnsupported)
	}
	tree, err := hostroot.Open(o.Root)
	if err != nil {
		return hostFiles{}, rootError(o.Root, err)
	}
	return treeFiles(ctx, tree, o), nil
}

// machine is the inspected host's, which only its own files can show.
func machine() string { return "" }
