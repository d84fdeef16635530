package hostroot

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
)

// TestAutomount: a mount point of autofs is distinguished from a directory, and neither
// a look at it nor one below it wakes its daemon.
func TestAutomount(t *testing.T) {
	root, ok := hostcase.Automounted(t)
	if !ok {
		return
	}
	if err := errors.Join(os.Mkdir(filepath.Join(root, "efi"), 0o755), os.Symlink("boot/efi/grubenv", filepath.Join(root, "grubenv"))); err != nil {
		t.Fatal(err)
	}
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
	for name, look := range map[string]func(string) error{
		"/boot":                   func(name string) error { _, err := live.ReadDir(name); return err },
		"/boot/grub2":             func(name string) error { _, err := live.Stat(name); return err },
		"/grubenv":                func(name string) error { _, err := live.Open(name); return err },
		"/boot/grub2/../grub.cfg": func(name string) error { _, err := live.Open(name); return err },
		"/boot/link":              func(name string) error { _, err := live.Readlink(name); return err },
	} {
		if err := look(name); !errors.Is(err, ErrAutomount) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := live.ReadDir("/efi"); err != nil {
		t.Error(err)
	}
}
