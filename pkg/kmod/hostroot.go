package kmod

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
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
	maxModprobeSet = 2 << 20   // all files of modprobe.d together
	maxLoadSet     = 256 << 10 // and of modules-load.d
	maxDirEntries  = 4096
	maxKernelFile  = 1 << 20  // one file of /proc or /sys
	maxCmdline     = 64 << 10 // architectures allow for some thousand bytes
	maxLinkDepth   = 40       // as in path_resolution(7)
	maxVersionFile = 4 << 20  // a program searched for its version
)

var (
	// errNotRegular: a FIFO, socket or device, which is never opened.
	errNotRegular = errors.New("not a regular file")
	// errTooLarge: a limit above was reached.
	errTooLarge = errors.New("larger than any real one, not read")
	// errTooMuch: a limit on all files together was reached.
	errTooMuch = errors.New("more in all its files than in any real configuration, not read to the end")
	// errNotMounted: a link that leads nowhere, in a root of which only parts
	// are mounted.
	errNotMounted = errors.New("leads out of what is mounted of the host, or nowhere")
	// errBadListing: a directory's entries are not what getdents64(2) returns.
	errBadListing = errors.New("its list of entries makes no sense")
	// errNullDevice: /dev/null, or a link to it. Reads as empty.
	errNullDevice = errors.New("the null device")
)

// hostRoot gives read access to the files of the inspected host. All names are
// absolute, as that host sees them; symbolic links, absolute ones too, are
// resolved inside the root, as chroot(2) would.
//
// It remembers the directories it came through and what it looked at: one
// inspection meets the same few again and again.
type hostRoot struct {
	dir   *os.File // O_PATH
	dirs  map[string]dirResult
	stats map[string]*statResult
	// partial: only some directories of the host are mounted here, each for
	// itself. A link that leads nowhere may then lead out of what is mounted.
	partial bool
}

// dirResult is a bare descriptor, as in hostFile, opened with O_PATH.
type dirResult struct {
	fd  int
	err error
}

type statResult struct {
	st  unix.Stat_t
	err error
}

func openHostRoot(name string) (*hostRoot, error) {
	dir, err := os.OpenFile(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return &hostRoot{dir: dir, dirs: map[string]dirResult{}, stats: map[string]*statResult{}, partial: isPartial(int(dir.Fd()))}, nil
}

// isPartial tells a host's own root from a directory into which directories of
// a host are mounted one by one, as a container has them that is not given the
// whole root: /etc is another file system than the root, and there is not even
// a mount point for /dev and /proc, without which no host boots.
func isPartial(root int) bool {
	var top, etc, st unix.Stat_t
	if unix.Fstat(root, &top) != nil || unix.Fstatat(root, "etc", &etc, unix.AT_SYMLINK_NOFOLLOW) != nil || top.Dev == etc.Dev {
		return false
	}
	for _, name := range []string{"dev", "proc"} {
		if unix.Fstatat(root, name, &st, unix.AT_SYMLINK_NOFOLLOW) != unix.ENOENT {
			return false
		}
	}
	return true
}

// mayHave says that a name which leads nowhere here may lead somewhere on the
// host all the same: what it begins with is not mounted.
func (r *hostRoot) mayHave(name string) bool {
	if !r.partial {
		return false
	}
	top, _, _ := strings.Cut(strings.TrimPrefix(path.Clean(name), "/"), "/")
	_, err := r.stat("/" + top)
	return err != nil && absent(err)
}

func (r *hostRoot) Close() {
	for _, d := range r.dirs {
		if d.err == nil {
			unix.Close(d.fd)
		}
	}
	r.dir.Close()
}

// resolve opens an O_PATH handle of whatever name leads to: nothing is opened
// for reading yet, a FIFO or a device is only looked at.
func (r *hostRoot) resolve(name string) (*os.File, error) {
	h, err := pathrs.OpenatInRoot(r.dir, name)
	if err != nil {
		err = plainError("open", name, err)
		if r.partial && errors.Is(err, fs.ErrNotExist) {
			err = &fs.PathError{Op: "open", Path: name, Err: errNotMounted}
		}
		return nil, err
	}
	return h, nil
}

// detach takes a handle of the path library out of its os.File, and closes that.
func detach(f *os.File, name string) (fd int, err error) {
	defer f.Close()
	if fd, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		return 0, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return fd, nil
}

// directory is the handle of a directory; it stays open until Close. Plain
// components are opened one below the other, without following anything; where
// one is a link, the path library takes the whole way.
func (r *hostRoot) directory(name string) (fd int, err error) {
	if name == "/" || name == "." {
		return int(r.dir.Fd()), nil
	}
	d, ok := r.dirs[name]
	if !ok {
		d.fd, d.err = r.openDirectory(name)
		r.dirs[name] = d
	}
	return d.fd, d.err
}

func (r *hostRoot) openDirectory(name string) (fd int, err error) {
	if !strings.Contains(name, "..") {
		parent, err := r.directory(path.Dir(name))
		if err != nil {
			return 0, err
		}
		fd, err := unix.Openat(parent, path.Base(name), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		switch err {
		case nil:
			return fd, nil
		case unix.ENOTDIR, unix.ELOOP: // a link, or no directory
		default:
			return 0, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
	f, err := r.resolve(name)
	if err != nil {
		return 0, err
	}
	return detach(f, name)
}

// lstat looks at the last component of a name without following it.
func (r *hostRoot) lstat(name string, st *unix.Stat_t) (parent int, err error) {
	if strings.HasSuffix(name, "/..") {
		return 0, &fs.PathError{Op: "open", Path: name, Err: unix.EISDIR}
	}
	parent, err = r.directory(path.Dir(name))
	if err != nil {
		return 0, err
	}
	if err := unix.Fstatat(parent, path.Base(name), st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return 0, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return parent, nil
}

// stat follows links inside the root.
func (r *hostRoot) stat(name string) (*unix.Stat_t, error) {
	s, ok := r.stats[name]
	if !ok {
		s = &statResult{}
		s.err = r.statOnce(name, &s.st)
		remember(r.stats, name, s)
	}
	return &s.st, s.err
}

func (r *hostRoot) statOnce(name string, st *unix.Stat_t) error {
	if _, err := r.lstat(name, st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return err
	}
	h, err := r.resolve(name)
	if err != nil {
		return err
	}
	defer h.Close()
	if err := unix.Fstat(int(h.Fd()), st); err != nil {
		return &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return nil
}

// open opens a regular file for reading. Anything else is refused unopened:
// errNullDevice for /dev/null, errNotRegular otherwise.
func (r *hostRoot) open(name string) (*hostFile, error) {
	var st unix.Stat_t
	parent, err := r.lstat(name, &st)
	if err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := regular(&st, name); err != nil {
			return nil, err
		}
		return openRegular(parent, name)
	}
	h, err := r.resolve(name)
	if err != nil {
		if (errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotMounted)) && r.leadsToNull(name) {
			return nil, errNullDevice
		}
		return nil, err
	}
	defer h.Close()
	if err := unix.Fstat(int(h.Fd()), &st); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	if err := regular(&st, name); err != nil {
		return nil, err
	}
	f, err := pathrs.Reopen(h, readFlags)
	if err != nil {
		return nil, plainError("open", name, err)
	}
	fd, err := detach(f, name)
	if err != nil {
		return nil, err
	}
	return &hostFile{fd: fd, name: name, st: st}, nil
}

// readFlags make sure that nothing waits and nothing becomes a terminal, should
// a file turn into something else between the look and the opening.
const readFlags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC

// openRegular opens an entry of a directory that has been looked at and is a
// regular file. It looks again, at what was opened.
func openRegular(dir int, name string) (*hostFile, error) {
	fd, err := unix.Openat(dir, path.Base(name), readFlags|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	f := &hostFile{fd: fd, name: name}
	if err := unix.Fstat(fd, &f.st); err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	if err := regular(&f.st, name); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// hostFile is an open regular file. It is a bare descriptor: os.File would ask
// the poller about each of some dozens of small files.
type hostFile struct {
	fd   int
	name string
	st   unix.Stat_t
}

func (f *hostFile) Close() error { return unix.Close(f.fd) }

func (f *hostFile) mtime() time.Time { return time.Unix(f.st.Mtim.Unix()) }

// ReadAt reads like io.ReaderAt says.
func (f *hostFile) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Pread(f.fd, p[done:], off+int64(done))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return done, &fs.PathError{Op: "read", Path: f.name, Err: err}
		case n == 0:
			return done, io.EOF
		}
		done += max(n, 0)
	}
	return done, nil
}

// readAll reads a whole file of at most limit bytes.
func (f *hostFile) readAll(limit int64) ([]byte, error) {
	if f.st.Size > limit {
		return nil, &fs.PathError{Op: "read", Path: f.name, Err: errTooLarge}
	}
	// One byte more than the size: a regular file that ends before it gives
	// all of itself at once.
	buf := make([]byte, f.st.Size+1)
	n, err := unix.Pread(f.fd, buf, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: f.name, Err: err}
	}
	if int64(n) == f.st.Size {
		return buf[:n], nil
	}
	buf = buf[:n]
	// It grew or shrank meanwhile.
	rest, err := io.ReadAll(io.NewSectionReader(f, int64(n), limit+1-int64(n)))
	if err != nil {
		return nil, err
	}
	if buf = append(buf, rest...); int64(len(buf)) > limit {
		return nil, &fs.PathError{Op: "read", Path: f.name, Err: errTooLarge}
	}
	return buf, nil
}

// readFile reads a whole regular file of at most limit bytes.
func (r *hostRoot) readFile(name string, limit int64) ([]byte, time.Time, error) {
	f, err := r.open(name)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer f.Close()
	data, err := f.readAll(limit)
	return data, f.mtime(), err
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
	dir, err := r.directory(path.Dir(name))
	if err != nil {
		return "", err
	}
	buf := make([]byte, 512)
	for {
		n, err := unix.Readlinkat(dir, path.Base(name), buf)
		if err != nil {
			return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
		}
		if n < len(buf) {
			return string(buf[:n]), nil
		}
		buf = make([]byte, 2*len(buf))
	}
}

// hostDir is one open directory of the host, with its entries sorted by name.
type hostDir struct {
	root    *hostRoot
	fd      int
	entries []dirEntry
}

type dirEntry struct {
	name string
	kind uint8 // DT_REG, DT_DIR, DT_LNK ...
}

func (d *hostDir) Close() error { return unix.Close(d.fd) }

// openDir lists a directory of at most maxDirEntries entries.
func (r *hostRoot) openDir(name string) (*hostDir, error) {
	h, err := r.directory(name)
	if err != nil {
		return nil, err
	}
	// A directory can be reopened through itself.
	fd, err := unix.Openat(h, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	d := &hostDir{root: r, fd: fd}
	if err := d.list(); err != nil {
		d.Close()
		return nil, &fs.PathError{Op: "list", Path: name, Err: err}
	}
	slices.SortFunc(d.entries, func(a, b dirEntry) int { return strings.Compare(a.name, b.name) })
	return d, nil
}

// list reads the entries: records of inode (8 bytes), position (8), length of
// the record (2), kind (1), name and NUL (getdents64(2)).
func (d *hostDir) list() error {
	const lengthAt, kindAt, nameAt = 16, 18, 19
	buf := make([]byte, 8192)
	for {
		n, err := unix.Getdents(d.fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return err
		}
		for records := buf[:n]; len(records) > nameAt; {
			length := int(binary.NativeEndian.Uint16(records[lengthAt:]))
			if length <= nameAt || length > len(records) {
				return errBadListing
			}
			e := dirEntry{name: unix.ByteSliceToString(records[nameAt:length]), kind: records[kindAt]}
			records = records[length:]
			if e.name == "." || e.name == ".." {
				continue
			}
			if e.kind == unix.DT_UNKNOWN {
				// Some file systems leave it to the caller to look.
				var st unix.Stat_t
				if err := unix.Fstatat(d.fd, e.name, &st, unix.AT_SYMLINK_NOFOLLOW); err == unix.ENOENT {
					continue
				} else if err != nil {
					return err
				}
				e.kind = uint8(st.Mode & unix.S_IFMT >> 12) // IFTODT of dirent.h
			}
			if d.entries = append(d.entries, e); len(d.entries) > maxDirEntries {
				return errTooLarge
			}
		}
	}
}

// readEntry reads a file of the directory. A plain file is opened below the
// directory's handle; only links take the way through the root again.
func (d *hostDir) readEntry(e dirEntry, name string, limit int64) ([]byte, time.Time, error) {
	if e.kind != unix.DT_REG {
		return d.root.readFile(name, limit)
	}
	f, err := openRegular(d.fd, name)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer f.Close()
	data, err := f.readAll(limit)
	return data, f.mtime(), err
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
	fd, err := unix.Open(full, readFlags, 0)
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: full, Err: err}
	}
	f := &hostFile{fd: fd, name: full}
	defer f.Close()
	if err := unix.Fstat(fd, &f.st); err != nil {
		return "", &fs.PathError{Op: "stat", Path: full, Err: err}
	}
	if err := regular(&f.st, full); err != nil {
		return "", err
	}
	// Files of /proc and /sys have no size; a short read is not their end.
	var data []byte
	for buf := make([]byte, 4096); ; {
		n, err := unix.Read(fd, buf)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return "", &fs.PathError{Op: "read", Path: full, Err: err}
		case n == 0:
			return string(data), nil
		}
		if data = append(data, buf[:n]...); len(data) > maxKernelFile {
			return "", &fs.PathError{Op: "read", Path: full, Err: errTooLarge}
		}
	}
}

func (k kernelFiles) procFile(name string) (string, error) { return k.read(k.proc, name) }
func (k kernelFiles) sysFile(name string) (string, error)  { return k.read(k.sys, name) }

// procLine reads a one-line file of /proc without its newline.
func (k kernelFiles) procLine(name string) (string, error) {
	s, err := k.procFile(name)
	return strings.TrimSuffix(s, "\n"), err
}
