//go:build unix

package kmod_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// processorTime is what this process has had until now (getrusage(2)).
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
