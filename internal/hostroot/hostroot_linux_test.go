package hostroot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// root is what package kmod asks of one.
type root interface {
	Stat(name string) (Info, error)
	Readlink(name string) (string, error)
	Open(name string) (File, error)
	ReadDir(name string) ([]Entry, error)
}

// outcome is everything that a root returns about a name.
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

// kernelRoot is a directory in which the kernel resolves the names, as chroot(2)
// would (openat2(2), RESOLVE_IN_ROOT).
type kernelRoot string

func (r kernelRoot) open(name string, flags uint64) (*os.File, error) {
	dir, err := os.OpenFile(string(r), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var fd int
	for loops := 0; loops < 10; {
		fd, err = unix.Openat2(int(dir.Fd()), name, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
		if err == unix.ELOOP {
			// A walk that the kernel begins again, without RCU, counts the links of the
			// first one, too (do_filp_open in fs/namei.c): 21 links are too many then.
			loops++
		} else if err != unix.EAGAIN { // it gives up on ".." while anything on the machine is renamed or mounted
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (r kernelRoot) Stat(name string) (Info, error) {
	f, err := r.open(name, unix.O_PATH)
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	return Info{Mode: info.Mode()}, err
}

func (r kernelRoot) Readlink(name string) (string, error) {
	f, err := r.open(name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return "", err
	}
	defer f.Close()
	target := make([]byte, pathMax)
	n, err := unix.Readlinkat(int(f.Fd()), "", target)
	return string(target[:max(n, 0)]), err
}

func (r kernelRoot) Open(name string) (File, error) {
	info, err := r.Stat(name)
	if errors.Is(err, fs.ErrNotExist) && r.leadsToNull(name) {
		return nil, ErrNullDevice
	}
	if err == nil {
		err = info.Regular(name)
	}
	if err != nil {
		return nil, err
	}
	f, err := r.open(name, unix.O_RDONLY)
	return &treeFile{file: f, name: name, info: info}, err
}

// leadsToNull reports whether a name's target is /dev/null, if that existed.
func (r kernelRoot) leadsToNull(name string) bool {
	dev := filepath.Join(string(r), "dev")
	if os.Mkdir(dev, 0o755) != nil {
		return false
	}
	defer os.RemoveAll(dev)
	if os.WriteFile(filepath.Join(dev, "null"), []byte("null"), 0o644) != nil {
		return false
	}
	f, err := r.open(name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return false
	}
	defer f.Close()
	text, _ := io.ReadAll(f)
	return string(text) == "null"
}

func (r kernelRoot) ReadDir(name string) ([]Entry, error) {
	f, err := r.open(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := f.ReadDir(-1)
	var entries []Entry
	for _, e := range list {
		entries = append(entries, Entry{e.Name(), e.Type()})
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries, err
}

// compare compares the tree of a directory, opened in each way, with what the
// kernel finds.
func compare(t *testing.T, dir string, names []string) {
	t.Helper()
	switch _, err := kernelRoot(dir).Stat("/"); {
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM): // Linux 5.6, seccomp
		t.Skipf("the kernel resolves no names in a root: %v", err)
	case err != nil:
		t.Fatal(err)
	}
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
	trees := map[string]*Tree{"live": live}
	for what, fsys := range map[string]fs.FS{"os.DirFS": os.DirFS(dir), "os.Root": inside.FS()} {
		if trees[what], err = FromFS(fsys); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		want := outcome(kernelRoot(dir), name)
		for what, tree := range trees {
			if got := outcome(tree, name); got != want {
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
		"etc/nullslash": "/dev/null/", "etc/nullpast": "/dev/null/../null", "etc/nullby": "../dev/x/../null", "etc/nulltwice": "/dev/../dev//null", "etc/tonullslash": "nullrel/",
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
	f.Add("dev/null", "/a/", "file/..", "/c/b")
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
			switch err := os.Symlink(target, filepath.Join(dir, link)); {
			case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENAMETOOLONG): // symlink(2): empty, NUL, long
				t.Skipf("no link of a disk: %v", err)
			case err != nil:
				t.Fatal(err)
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

// TestPartial: where only parts of a host are mounted, a dangling link may have its
// target outside of them; a name without a link is missing.
func TestPartial(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "etc/d"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"etc/out": "/usr/lib/x", "etc/in": "d", "etc/over": "out", "etc/null": "/dev/null"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	live, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	for partial, leadsOut := range map[bool]error{true: ErrNotMounted, false: fs.ErrNotExist} {
		live.partial = partial
		for name, want := range map[string]error{
			"/etc/out": leadsOut, "/etc/out/y": leadsOut, "/etc/over": leadsOut,
			"/etc/x": fs.ErrNotExist, "/etc/in/x": fs.ErrNotExist, "/etc/null": ErrNullDevice,
		} {
			if _, err := live.Open(name); !errors.Is(err, want) {
				t.Errorf("partial %v: %s: %v, want %v", partial, name, err, want)
			}
		}
		if live.MayHave("/usr/lib") != partial || live.MayHave("/etc/x") {
			t.Errorf("partial %v: may have /usr/lib: %v, /etc/x: %v", partial, live.MayHave("/usr/lib"), live.MayHave("/etc/x"))
		}
	}
}
