package hostroot

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

// errBadListing: a directory's entries are not what getdents64(2) returns.
var errBadListing = errors.New("its list of entries is damaged")

// Live is the root directory of a host, on disk. It remembers the directories it
// came through and what it looked at: one inspection meets the same few again
// and again.
type Live struct {
	dir   *os.File // O_PATH
	dirs  map[string]dirResult
	stats map[string]*statResult
	// listed is the directory that was listed last, of which the types are known.
	listed     string
	listedType map[string]fs.FileMode
	// partial: only some directories of the host are mounted here, each for
	// itself. A link that leads nowhere may then lead out of what is mounted.
	partial bool
}

// dirResult is a bare descriptor, as in liveFile, opened with O_PATH.
type dirResult struct {
	fd  int
	err error
}

type statResult struct {
	info Info
	err  error
}

// Open opens the root directory of a live host.
func Open(name string) (*Live, error) {
	dir, err := os.OpenFile(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return &Live{dir: dir, dirs: map[string]dirResult{}, stats: map[string]*statResult{}, partial: isPartial(int(dir.Fd()))}, nil
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

// MayHave says that a name which leads nowhere here may lead somewhere on the
// host all the same: what it begins with is not mounted.
func (r *Live) MayHave(name string) bool {
	if !r.partial {
		return false
	}
	top, _, _ := strings.Cut(strings.TrimPrefix(path.Clean(name), "/"), "/")
	_, err := r.Stat("/" + top)
	return err != nil && Absent(err)
}

// Close closes the root, and the directories that were come through.
func (r *Live) Close() error {
	for _, d := range r.dirs {
		if d.err == nil {
			unix.Close(d.fd)
		}
	}
	return r.dir.Close()
}

// resolve opens an O_PATH handle of whatever name leads to: nothing is opened
// for reading yet, a FIFO or a device is only looked at.
func (r *Live) resolve(name string) (*os.File, error) {
	h, err := pathrs.OpenatInRoot(r.dir, name)
	if err != nil {
		err = plainError("open", name, err)
		if r.partial && errors.Is(err, fs.ErrNotExist) {
			err = &fs.PathError{Op: "open", Path: name, Err: ErrNotMounted}
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
func (r *Live) directory(name string) (fd int, err error) {
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

func (r *Live) openDirectory(name string) (fd int, err error) {
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
func (r *Live) lstat(name string, st *unix.Stat_t) (parent int, err error) {
	if strings.HasSuffix(name, "/..") {
		return 0, &fs.PathError{Op: "open", Path: name, Err: unix.EISDIR}
	}
	parent, err = r.directory(parentOf(name))
	if err != nil {
		return 0, err
	}
	if err := unix.Fstatat(parent, path.Base(name), st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return 0, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return parent, nil
}

// Stat follows links inside the root.
func (r *Live) Stat(name string) (Info, error) {
	s, ok := r.stats[name]
	if !ok {
		s = &statResult{}
		var st unix.Stat_t
		if s.err = r.statOnce(name, &st); s.err == nil {
			s.info = infoOf(&st)
		}
		Remember(r.stats, name, s)
	}
	return s.info, s.err
}

func (r *Live) statOnce(name string, st *unix.Stat_t) error {
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

// infoOf translates what stat(2) says.
func infoOf(st *unix.Stat_t) Info {
	i := Info{
		Mode: typeOf(st.Mode) | fs.FileMode(st.Mode&0o777), Size: st.Size,
		Changed: time.Unix(st.Mtim.Unix()), ID: ID{uint64(st.Dev), st.Ino},
	}
	// Installers and archives set the mtime to that of the file they have
	// (rpm, cp -p, tar); what they cannot set says when it came here.
	if changed := time.Unix(st.Ctim.Unix()); changed.After(i.Changed) {
		i.Changed = changed
	}
	// 1:3 is the null device (Documentation/admin-guide/devices.txt).
	if st.Mode&unix.S_IFMT == unix.S_IFCHR && unix.Major(uint64(st.Rdev)) == 1 && unix.Minor(uint64(st.Rdev)) == 3 {
		i.ID = nullDevice
	}
	return i
}

func typeOf(mode uint32) fs.FileMode {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return 0
	case unix.S_IFDIR:
		return fs.ModeDir
	case unix.S_IFLNK:
		return fs.ModeSymlink
	case unix.S_IFIFO:
		return fs.ModeNamedPipe
	case unix.S_IFSOCK:
		return fs.ModeSocket
	case unix.S_IFCHR:
		return fs.ModeDevice | fs.ModeCharDevice
	case unix.S_IFBLK:
		return fs.ModeDevice
	}
	return fs.ModeIrregular
}

// Open opens a regular file for reading. Anything else is refused unopened:
// ErrNullDevice for /dev/null, ErrNotRegular otherwise. A plain file is opened
// below its directory's handle; only links take the way through the root again.
func (r *Live) Open(name string) (File, error) {
	f, err := r.open(name)
	if err != nil {
		return nil, err // not a nil *liveFile in an interface
	}
	return f, nil
}

func (r *Live) open(name string) (*liveFile, error) {
	if dir, base := path.Split(name); strings.TrimSuffix(dir, "/") == r.listed {
		if mode, ok := r.listedType[base]; ok && mode.IsRegular() {
			parent, err := r.directory(r.listed)
			if err != nil {
				return nil, err
			}
			return openRegular(parent, path.Base(name), name, readFlags|unix.O_NOFOLLOW)
		}
	}
	var st unix.Stat_t
	parent, err := r.lstat(name, &st)
	if err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := infoOf(&st).Regular(name); err != nil {
			return nil, err
		}
		return openRegular(parent, path.Base(name), name, readFlags|unix.O_NOFOLLOW)
	}
	h, err := r.resolve(name)
	if err != nil {
		if (errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotMounted)) && r.leadsToNull(name) {
			return nil, ErrNullDevice
		}
		return nil, err
	}
	defer h.Close()
	if err := unix.Fstat(int(h.Fd()), &st); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	info := infoOf(&st)
	if err := info.Regular(name); err != nil {
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
	return &liveFile{fd: fd, name: name, info: info}, nil
}

// readFlags make sure that nothing waits and nothing becomes a terminal, should
// a file turn into something else between the look and the opening.
const readFlags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC

// openRegular opens a file below a directory, and looks whether what was opened
// is a regular one. name is for errors.
func openRegular(dir int, at, name string, flags int) (*liveFile, error) {
	fd, err := unix.Openat(dir, at, flags, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	f := &liveFile{fd: fd, name: name}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	if f.info = infoOf(&st); !f.info.Mode.IsRegular() {
		f.Close()
		return nil, f.info.Regular(name)
	}
	return f, nil
}

// liveFile is an open regular file. It is a bare descriptor: os.File would ask
// the poller about each of some dozens of small files.
type liveFile struct {
	fd   int
	name string
	info Info
}

func (f *liveFile) Info() Info   { return f.info }
func (f *liveFile) Close() error { return unix.Close(f.fd) }

// ReadAt reads like io.ReaderAt says.
func (f *liveFile) ReadAt(p []byte, off int64) (int, error) {
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

// ReadAll reads a whole file of at most limit bytes.
func (f *liveFile) ReadAll(limit int64) ([]byte, error) {
	if f.info.Size > limit {
		return nil, &fs.PathError{Op: "read", Path: f.name, Err: ErrTooLarge}
	}
	// One byte more than the size: a regular file that ends before it gives
	// all of itself at once.
	buf := make([]byte, f.info.Size+1)
	n, err := unix.Pread(f.fd, buf, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: f.name, Err: err}
	}
	if int64(n) == f.info.Size {
		return buf[:n], nil
	}
	buf = buf[:n]
	// It grew or shrank meanwhile.
	rest, err := readAll(io.NewSectionReader(f, int64(n), limit+1-int64(n)), f.name, limit-int64(n))
	return append(buf, rest...), err
}

// leadsToNull says whether name is a link to /dev/null. Host roots are often
// mounted without their /dev, and the link then dangles; on the host it reads
// as an empty file all the same.
func (r *Live) leadsToNull(name string) bool {
	for range maxLinks {
		target, err := r.Readlink(name)
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

// Readlink reads a link itself.
func (r *Live) Readlink(name string) (string, error) {
	dir, err := r.directory(parentOf(name))
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

// ReadDir lists a directory of at most maxDirEntries entries, sorted by name.
func (r *Live) ReadDir(name string) ([]Entry, error) {
	h, err := r.directory(name)
	if err != nil {
		return nil, err
	}
	// A directory can be reopened through itself.
	fd, err := unix.Openat(h, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	entries, err := list(fd)
	if err != nil {
		return nil, &fs.PathError{Op: "list", Path: name, Err: err}
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	r.listed, r.listedType = name, make(map[string]fs.FileMode, len(entries))
	for _, e := range entries {
		r.listedType[e.Name] = e.Mode
	}
	return entries, nil
}

// list reads the entries: records of inode (8 bytes), position (8), length of
// the record (2), kind (1), name and NUL (getdents64(2)).
func list(fd int) (entries []Entry, err error) {
	const lengthAt, kindAt, nameAt = 16, 18, 19
	buf := make([]byte, 8192)
	for {
		n, err := unix.Getdents(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return entries, err
		}
		for records := buf[:n]; len(records) > nameAt; {
			length := int(binary.NativeEndian.Uint16(records[lengthAt:]))
			if length <= nameAt || length > len(records) {
				return nil, errBadListing
			}
			name, kind := unix.ByteSliceToString(records[nameAt:length]), uint32(records[kindAt])<<12 // DTTOIF of dirent.h
			records = records[length:]
			if name == "." || name == ".." {
				continue
			}
			if kind == unix.DT_UNKNOWN {
				// Some file systems leave it to the caller to look.
				var st unix.Stat_t
				if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err == unix.ENOENT {
					continue
				} else if err != nil {
					return nil, err
				}
				kind = st.Mode
			}
			if entries = append(entries, Entry{Name: name, Mode: typeOf(kind)}); len(entries) > maxDirEntries {
				return nil, ErrTooLarge
			}
		}
	}
}

// plainError reduces an error of the path library to its errno, and names the
// file as the host does.
func plainError(op, name string, err error) error {
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return &fs.PathError{Op: op, Path: name, Err: errno}
	}
	return fmt.Errorf("%s %s: %w", op, name, err)
}
