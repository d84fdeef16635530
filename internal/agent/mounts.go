package agent

import (
	"context"
	"fmt"
	"os"
	"time"
)

// mountPause is how long mounts may change before they are read again: a pod that
// starts brings a handful.
const mountPause = 500 * time.Millisecond

// watchMounts reports that mounts have changed in this process's namespace, once
// for all changes within mountPause, until ctx ends. Where the host's root is
// mounted with propagation, its mounts appear here, too.
//
// The kernel wakes who polls mountinfo at every change (proc_pid_mountinfo(5);
// fs/proc_namespace.c, mounts_poll). Nobody reads it: it may be long.
func watchMounts(ctx context.Context, changed chan<- struct{}) error {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("watching mounts: %w", err)
	}
	defer f.Close()
	defer context.AfterFunc(ctx, func() { f.Close() })()
	conn, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("watching mounts: %w", err)
	}
	// The function is called first, and then after each wake-up. In one call of
	// Read none is lost.
	err = conn.Read(func(uintptr) bool {
		pause := time.NewTimer(mountPause)
		defer pause.Stop()
		select {
		case <-ctx.Done():
			return true
		case <-pause.C:
		}
		select {
		case changed <- struct{}{}:
		default: // one is waiting already
		}
		return false
	})
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("watching mounts: %w", err)
}
