package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A FIFO that nobody writes to does not keep an interrupted command, whatever it is
// given for.
func TestFIFO(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{
		{"audit", "--kubeconfig", fifo},
		{"audit", "-f", fifo},
		{"audit", "-f", "/dev/null", "--intent", fifo},
		{"audit", "-f", "/dev/null", "--baseline", fifo},
		{"audit", "-f", "/dev/null", "-o", "go-template-file=" + fifo},
		{"machineconfig", "--check", fifo},
	} {
		if _, _, err := execute(ctx, args...); err == nil || !strings.Contains(err.Error(), context.Canceled.Error()) {
			t.Errorf("%q: %v", args, err)
		}
	}
}
