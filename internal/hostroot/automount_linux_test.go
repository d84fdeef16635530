package hostroot

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
)

// TestNotEntered: mount points of autofs, and of a file system that may not answer, are
// distinguished from directories, and neither a look at them nor one below asks anybody.
func TestNotEntered(t *testing.T) {
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
	for name, want := range map[string]bool{"/boot": true, "/share": true, "/efi": false, "/none": false} {
		if got := live.NotEntered(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for name, look := range map[string]func(string) error{
		"/boot":                   func(name string) error { _, err := live.ReadDir(name); return err },
		"/boot/grub2":             func(name string) error { _, err := live.Stat(name); return err },
		"/grubenv":                func(name string) error { _, err := live.Open(name); return err },
		"/boot/grub2/../grub.cfg": func(name string) error { _, err := live.Open(name); return err },
		"/boot/link":              func(name string) error { _, err := live.Readlink(name); return err },
		"/share":                  func(name string) error { _, err := live.ReadDir(name); return err },
		"/share/load":             func(name string) error { _, err := live.Stat(name); return err },
		"/efi/../share/x/load":    func(name string) error { _, err := live.Open(name); return err },
	} {
		if err := look(name); !errors.Is(err, ErrNotEntered) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := live.ReadDir("/efi"); err != nil {
		t.Error(err)
	}
	if st, err := live.Stat("/share"); err != nil || !st.Mode.IsDir() {
		t.Errorf("/share: %v %v", st, err)
	}
}
