package hostroot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// root is what package kmod asks of both.
type root interface {
	Stat(name string) (Info, error)
	Readlink(name string) (string, error)
	Open(name string) (File, error)
	ReadDir(name string) ([]Entry, error)
	Close() error
}

// outcome is everything that a root says of a name.
func outcome(r root, name string) string {
	kind := func(err error) string {
		for _, known := range []error{ErrNullDevice, ErrNotRegular, ErrTooLarge, syscall.EISDIR, syscall.ELOOP, syscall.ENAMETOOLONG} {
			if errors.Is(err, known) {
				return known.Error()
			}
		}
		if Absent(err) {
			return "absent"
		}
		return fmt.Sprint(err)
	}
	var b strings.Builder
	if info, err := r.Stat(name); err != nil {
		fmt.Fprintf(&b, "stat: %s\n", kind(err))
	} else {
		fmt.Fprintf(&b, "stat: %s\n", info.Mode.Type())
	}
	if target, err := r.Readlink(name); err == nil {
		fmt.Fprintf(&b, "link: %s\n", target)
	}
	if f, err := r.Open(name); err != nil {
		fmt.Fprintf(&b, "open: %s\n", kind(err))
	} else {
		data, err := f.ReadAll(100)
		fmt.Fprintf(&b, "open: %q %v\n", data, err)
		f.Close()
	}
	if list, err := r.ReadDir(name); err != nil {
		fmt.Fprintf(&b, "list: %s\n", kind(err))
	} else {
		fmt.Fprintf(&b, "list: %v\n", list)
	}
	return b.String()
}

// compare holds the tree of a file system to the live root of the same
// directory, which the kernel resolves.
func compare(t *testing.T, dir string, names []string) {
	t.Helper()
	live, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	inside, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	for what, fsys := range map[string]fs.FS{"os.DirFS": os.DirFS(dir), "os.Root": inside.FS()} {
		tree, err := FromFS(fsys)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			want, got := outcome(live, name), outcome(tree, name)
			if got != want {
				t.Errorf("%s: %s:\n%s\nthe kernel:\n%s", what, name, got, want)
			}
		}
	}
}

// TestTreeResolvesAsTheKernelDoes: links of every kind, in every place.
func TestTreeResolvesAsTheKernelDoes(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("outside"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"etc/modprobe.d", "usr/lib/modprobe.d", "opt"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"etc/a.conf": "a", "etc/modprobe.d/b.conf": "b", "usr/lib/modprobe.d/c.conf": "c", "opt/large": strings.Repeat("x", 101)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(dir, "etc/fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	up := strings.Repeat("../", 40)
	links := map[string]string{
		"lib": "usr/lib", "etc/abs": "/etc/a.conf", "etc/rel": "../etc/a.conf", "etc/far": up + "etc/a.conf", "etc/out": outside,
		"etc/outrel": up + outside[1:], "etc/null": "/dev/null", "etc/null2": "null", "etc/nullrel": "../dev/./null", "etc/nowhere": "/no/where", "etc/self": "self",
		"etc/ping": "pong", "etc/pong": "/etc/ping", "etc/dir": "modprobe.d", "etc/slash": "modprobe.d/", "etc/fileslash": "a.conf/", "etc/filedot": "a.conf/.",
		"etc/throughfile": "a.conf/../a.conf", "etc/dotdot": "dir/../a.conf", "etc/tofifo": "fifo", "etc/dirdir": "/etc/dir/b.conf", "etc/root": "/", "etc/dots": "..",
		"etc/longname": strings.Repeat("n", 300), "opt/0": "/etc/a.conf",
	}
	for i := 1; i <= 45; i++ {
		links[fmt.Sprintf("opt/%d", i)] = fmt.Sprintf("%d", i-1)
	}
	names := []string{"/", "/etc", "/etc/a.conf", "/etc/missing", "/etc/a.conf/x", "/lib/modprobe.d", "/lib/modprobe.d/c.conf", "/lib/../etc/a.conf", "/etc/root/etc/root/etc/a.conf", "/opt/large"}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		names = append(names, "/"+name, "/"+name+"/b.conf")
	}
	compare(t, dir, names)
}

// FuzzTree compares the two on trees of three links with any targets.
func FuzzTree(f *testing.F) {
	f.Add("/etc/x", "../b/./c", "..", "/a/b/c")
	f.Add("b", "/d/c", "a", "/a")
	f.Add("/dev/null", "a/", "file/..", "/c/b")
	f.Fuzz(func(t *testing.T, a, b, c, name string) {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "d/e"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "d/file"), []byte("text"), 0o644); err != nil {
			t.Fatal(err)
		}
		for link, target := range map[string]string{"a": a, "d/b": b, "d/e/c": c} {
			// What no link of a disk can be, none is.
			if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
				t.Skipf("no link of a disk: %v", err)
			}
			if !fs.ValidPath("x" + strings.ReplaceAll(target, "/", "")) {
				t.Skip("refused by fs.FS, see TestNamesThatAreRefused")
			}
		}
		name = path.Clean("/" + name)
		if !fs.ValidPath("x"+name) || strings.Contains(name, "\x00") {
			t.Skip("no name that fs.FS takes")
		}
		compare(t, dir, []string{name, "/a", "/d/b", "/d/e/c", "/a/b/c", "/d/b/c"})
	})
}

// TestNamesThatAreRefused: a host's file names are bytes. One that an fs.FS does
// not take is an error, and not a file that is missing.
func TestNamesThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	const name = "x\xff.conf"
	if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(name, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	tree, err := FromFS(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/" + name, "/link", "/missing\xff"} {
		if _, err := tree.Open(name); !errors.Is(err, errBadName) || Absent(err) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
