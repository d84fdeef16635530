package hostroot

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
)

// TestAutomount: a mount point of autofs is distinguished from a directory, and
// looking at it wakes no daemon.
func TestAutomount(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"boot", "efi"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	requests := hostcase.Automount(t, filepath.Join(root, "boot"))

	live, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	for name, want := range map[string]bool{"/boot": true, "/efi": false, "/none": false} {
		if got := live.Automount(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if n, err := unix.Read(requests, make([]byte, 512)); n > 0 {
		t.Errorf("the daemon was asked to mount: %d bytes, %v", n, err)
	}
}
