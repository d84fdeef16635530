package memfs

import (
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"
	"time"
)

func TestFS(t *testing.T) {
	tree := New()
	for _, name := range []string{"z/b", "z/a", "z/dir/x", "y"} {
		tree.Add(name, File(name, 0o644, []byte(name)))
	}
	tree.Add("z", &Node{Mode: fs.ModeDir | 0o700, ModTime: time.Unix(1, 0)}) // comes late, as in some archives
	if err := fstest.TestFS(tree, "z/b", "z/a", "z/dir/x", "y"); err != nil {
		t.Error(err)
	}
	tree.Add("z/link", File("", fs.ModeSymlink|0o777, []byte("a")))
	if target, err := fs.ReadLink(tree, "z/link"); err != nil || target != "a" {
		t.Errorf("the link leads to %q, %v", target, err)
	}

	tree.Add("y", File("", 0o600, []byte("again")))
	if text, err := fs.ReadFile(tree, "y"); err != nil || string(text) != "again" {
		t.Errorf("replaced, it reads %q, %v", text, err)
	}
	unknown := errors.New("not kept")
	tree.Add("y", &Node{Size: 7, Err: unknown})
	if _, err := fs.ReadFile(tree, "y"); !errors.Is(err, unknown) {
		t.Errorf("%v, want %v", err, unknown)
	}
	if info, err := fs.Lstat(tree, "y"); err != nil || info.Size() != 7 {
		t.Errorf("%v, %v", info, err)
	}

	for _, name := range []string{"z/dir", "z/none", "z/link", "y"} {
		tree.Remove(name)
	}
	if err := fstest.TestFS(tree, "z/b", "z/a"); err != nil {
		t.Error(err)
	}
	if _, err := fs.Stat(tree, "z/dir/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed, and yet %v", err)
	}
}
