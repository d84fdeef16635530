package kmod

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"
	"time"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"
)

// Limits on what is read of a host. A real configuration is orders of
// magnitude smaller; a file that passes a limit is treated like one that
// cannot be read, never silently cut.
const (
	maxConfigFile  = 1 << 20
	maxDirEntries  = 4096
	maxKernelFile  = 1 << 20 // one file of /proc or /sys
	maxLinkDepth   = 40      // as in path_resolution(7)
	maxVersionFile = 4 << 20 // a program searched for its version
)

var (
	// errNotRegular: a FIFO, socket or device, which is never opened.
	errNotRegular = errors.New("not a regular file")
	// errTooLarge: a limit above was reached.
	errTooLarge = errors.New("larger than any real one, not read")
	// errNullDevice: /dev/null, or a link to it. Reads as empty.
	errNullDevice = errors.New("the null device")
)

// hostRoot gives read access to the files of the inspected host. All names are
// absolute, as that host sees them; symbolic links, absolute ones too, are
// resolved inside the root, as chroot(2) would.
type hostRoot struct {
	dir *os.File // O_PATH
}

func openHostRoot(name string) (*hostRoot, error) {
	dir, err := os.OpenFile(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return &hostRoot{dir: dir}, nil
}

func (r *hostRoot) Close() error { return r.dir.Close() }

// handle resolves name and returns an O_PATH handle, which opens nothing yet:
// a FIFO or a device is only looked at.
func (r *hostRoot) handle(name string) (*os.File, *unix.Stat_t, error) {
	h, err := pathrs.OpenatInRoot(r.dir, name)
	if err != nil {
		return nil, nil, plainError("open", name, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(h.Fd()), &st); err != nil {
		h.Close()
		return nil, nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return h, &st, nil
}

// stat follows links inside the root.
func (r *hostRoot) stat(name string) (*unix.Stat_t, error) {
	h, st, err := r.handle(name)
	if err != nil {
		return nil, err
	}
	h.Close()
	return st, nil
}

// open opens a regular file for reading. Anything else is refused unopened:
// errNullDevice for /dev/null, errNotRegular otherwise.
func (r *hostRoot) open(name string) (*os.File, *unix.Stat_t, error) {
	h, st, err := r.handle(name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && r.leadsToNull(name) {
			return nil, nil, errNullDevice
		}
		return nil, nil, err
	}
	defer h.Close()
	if err := regular(st, name); err != nil {
		return nil, nil, err
	}
	f, err := pathrs.Reopen(h, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC)
	if err != nil {
		return nil, nil, plainError("open", name, err)
	}
	return f, st, nil
}

// readFile reads a whole regular file of at most limit bytes.
func (r *hostRoot) readFile(name string, limit int64) ([]byte, time.Time, error) {
	f, st, err := r.open(name)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer f.Close()
	return readRegular(f, st, name, limit)
}

func readRegular(f *os.File, st *unix.Stat_t, name string, limit int64) ([]byte, time.Time, error) {
	mtime := time.Unix(st.Mtim.Unix())
	if st.Size > limit {
		return nil, mtime, &fs.PathError{Op: "read", Path: name, Err: errTooLarge}
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, mtime, plainError("read", name, err)
	}
	if int64(len(data)) > limit {
		return nil, mtime, &fs.PathError{Op: "read", Path: name, Err: errTooLarge}
	}
	return data, mtime, nil
}

// leadsToNull says whether name is a link to /dev/null. Host roots are often
// mounted without their /dev, and the link then dangles; on the host it reads
// as an empty file all the same.
func (r *hostRoot) leadsToNull(name string) bool {
	for range maxLinkDepth {
		target, err := r.readlink(name)
		if err != nil {
			return false
		}
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(name), target)
		}
		name = path.Clean(target)
		if name == "/dev/null" {
			return true
		}
	}
	return false
}

func (r *hostRoot) readlink(name string) (string, error) {
	dir, err := pathrs.OpenatInRoot(r.dir, path.Dir(name))
	if err != nil {
		return "", plainError("readlink", name, err)
	}
	defer dir.Close()
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(dir.Fd()), path.Base(name), buf)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	return string(buf[:n]), nil
}

// hostDir is one open directory of the host, with its entries sorted by name.
type hostDir struct {
	root    *hostRoot
	name    string
	f       *os.File
	entries []fs.DirEntry
}

func (d *hostDir) Close() error { return d.f.Close() }

// openDir lists a directory of at most maxDirEntries entries.
func (r *hostRoot) openDir(name string) (*hostDir, error) {
	h, _, err := r.handle(name)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	f, err := pathrs.Reopen(h, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK|unix.O_CLOEXEC)
	if err != nil {
		return nil, plainError("open", name, err)
	}
	entries, err := f.ReadDir(maxDirEntries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		f.Close()
		return nil, plainError("list", name, err)
	}
	if len(entries) > maxDirEntries {
		f.Close()
		return nil, &fs.PathError{Op: "list", Path: name, Err: errTooLarge}
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].Name() < entries[j].Name() })
	return &hostDir{root: r, name: name, f: f, entries: entries}, nil
}

// readEntry reads a file of the directory. A plain file is opened below the
// directory's handle; only links take the way through the root again.
func (d *hostDir) readEntry(e fs.DirEntry, limit int64) ([]byte, time.Time, error) {
	name := path.Join(d.name, e.Name())
	if !e.Type().IsRegular() {
		return d.root.readFile(name, limit)
	}
	fd, err := unix.Openat(int(d.f.Fd()), e.Name(),
		unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, time.Time{}, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, time.Time{}, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	if err := regular(&st, name); err != nil {
		return nil, time.Time{}, err
	}
	return readRegular(f, &st, name, limit)
}

// regular refuses everything that is not a plain file, by name.
func regular(st *unix.Stat_t, name string) error {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return nil
	case unix.S_IFDIR:
		return &fs.PathError{Op: "open", Path: name, Err: unix.EISDIR}
	case unix.S_IFCHR:
		// 1:3 is the null device (Documentation/admin-guide/devices.txt).
		if unix.Major(uint64(st.Rdev)) == 1 && unix.Minor(uint64(st.Rdev)) == 3 {
			return errNullDevice
		}
	}
	return &fs.PathError{Op: "open", Path: name, Err: errNotRegular}
}

// plainError reduces an error of the path library to its errno, and names the
// file as the host does.
func plainError(op, name string, err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return &fs.PathError{Op: op, Path: name, Err: errno}
	}
	return fmt.Errorf("%s %s: %w", op, name, err)
}

// absent says that an error means "there is no such file", as opposed to "it
// could not be looked at". A path through a plain file (ENOTDIR) and a link
// that leads nowhere are absent, too.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)
}

// reason is the bare cause of a failed access, for a sentence that already
// names the file.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return err.Error()
}

// kernelFiles reads the files of /proc and /sys (or of the directories given
// in their place).
type kernelFiles struct {
	proc, sys string
}

func (k kernelFiles) read(base, name string) (string, error) {
	full := path.Join(base, name)
	f, err := os.OpenFile(full, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil {
		return "", err
	} else if !fi.Mode().IsRegular() {
		return "", &fs.PathError{Op: "read", Path: full, Err: errNotRegular}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKernelFile))
	if err != nil {
		return "", err
	}
	return string(data), nil
}

func (k kernelFiles) procFile(name string) (string, error) { return k.read(k.proc, name) }
func (k kernelFiles) sysFile(name string) (string, error)  { return k.read(k.sys, name) }

// procLine reads a one-line file of /proc without its newline.
func (k kernelFiles) procLine(name string) (string, error) {
	s, err := k.procFile(name)
	return strings.TrimSuffix(s, "\n"), err
}
