package hostroot

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// errBadListing: a directory's entries are not what getdents64(2) returns.
var errBadListing = errors.New("its list of entries is damaged")

// Open opens the root directory of a live host. File systems of the network are entered if
// they answer.
func Open(name string) (*Tree, error) { return openLive(name, true) }

// OpenLocal is Open for a long-running process: it never enters file systems of the
// network.
func OpenLocal(name string) (*Tree, error) { return openLive(name, false) }

func openLive(name string, remote bool) (*Tree, error) {
	root, err := os.OpenFile(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	d := &directory{root: root, dirs: map[string]handle{}, asks: remote}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if at, errAt := filepath.EvalSymlinks(name); err == nil && errAt == nil && filepath.IsAbs(at) {
		d.remote = remoteMounts(string(mounts), at)
	}
	t := newTree(d)
	t.partial = isPartial(int(root.Fd()))
	return t, nil
}

// isPartial reports whether a root is only a directory into which some directories
// of a host are mounted, as in a container that does not get the whole root: /etc
// is another file system than the root, and there is no mount point for /dev and
// /proc, without which no host boots.
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

// remoteKinds are the file systems whose files another machine has, or a process
// (src/basic/mountpoint-util.c of systemd, fstype_is_network).
var remoteKinds = []string{"afs", "ceph", "cifs", "smb3", "smbfs", "ncpfs", "ncp", "nfs", "nfs4", "gfs", "gfs2", "pvfs2", "ocfs2", "lustre", "davfs", "fuse"}

// remoteMounts are the mount points of such file systems below a root, relative to it
// (proc_pid_mountinfo(5)).
func remoteMounts(mountinfo, root string) map[string]bool {
	remote := map[string]bool{}
	escapes := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(mountinfo) {
		mount, kind, _ := strings.Cut(line, " - ")
		fields := strings.Split(mount, " ")
		if len(fields) < 5 {
			continue
		}
		name, below := strings.CutPrefix(escapes.Replace(fields[4]), strings.TrimSuffix(root, "/")+"/")
		if kind, _, _ = strings.Cut(kind, " "); below && name != "" {
			kind, _, _ = strings.Cut(kind, ".")               // fuse.sshfs
			remote[name] = slices.Contains(remoteKinds, kind) // the last one is on top
		}
	}
	return remote
}

// directory is a host's root on disk. Names are given to it without links, as
// [Tree] resolves them, and it follows none: each component is opened below the one
// before. It keeps the directories that it passed through: one inspection uses the
// same few many times.
type directory struct {
	root *os.File // O_PATH
	dirs map[string]handle
	// remote has mount points whose file system may not answer; asks: it is asked.
	remote map[string]bool
	asks   bool
}

// handle is a bare descriptor, as in liveFile, opened with O_PATH.
type handle struct {
	fd  int
	err error
}

// Close closes the root, and the directories that were come through.
func (d *directory) Close() error {
	for _, h := range d.dirs {
		if h.err == nil {
			unix.Close(h.fd)
		}
	}
	return d.root.Close()
}

// handle is that of a directory; it stays open until Close.
func (d *directory) handle(name string) (fd int, err error) {
	if name == "." {
		return int(d.root.Fd()), nil
	}
	h, ok := d.dirs[name]
	if !ok {
		var parent int
		if parent, h.err = d.handle(path.Dir(name)); h.err == nil && d.silent(parent, name) {
			h.err = ErrNotEntered
		} else if h.err == nil {
			h.fd, h.err = enter(parent, path.Base(name))
		}
		d.dirs[name] = h
	}
	return h.fd, h.err
}

// patience is how long a file system of the network may take for one answer.
const patience = 500 * time.Millisecond

// silent reports whether a name is a mount point of a file system that does not answer, or
// is not to be asked. Who waits for one can be killed all the same, by a signal or the end of
// the process.
func (d *directory) silent(parent int, name string) bool {
	if !d.remote[name] {
		return false
	}
	if h, known := d.dirs[name]; known || !d.asks {
		return !known || h.err == ErrNotEntered
	}
	answered := make(chan struct{})
	go func() {
		var st unix.Stat_t
		_ = unix.Fstatat(parent, path.Base(name), &st, unix.AT_SYMLINK_NOFOLLOW)
		close(answered)
	}()
	select {
	case <-answered:
		delete(d.remote, name)
		return false
	case <-time.After(patience):
		d.dirs[name] = handle{err: ErrNotEntered}
		return true
	}
}

// enter opens a directory for looks below it. A mount point of autofs is refused: to open
// it with O_PATH alone mounts nothing (open(2)), but a look below it does.
func enter(parent int, name string) (fd int, err error) {
	const flags = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err = unix.Openat2(parent, name, &unix.OpenHow{Flags: flags, Resolve: unix.RESOLVE_NO_XDEV})
	if err != unix.EXDEV && err != unix.ENOSYS && err != unix.EPERM {
		return fd, err
	}
	// Another file system begins here, or openat2(2), of Linux 5.6, cannot be used.
	if fd, err = unix.Openat(parent, name, flags, 0); err != nil {
		return -1, err
	}
	var st unix.Statfs_t
	if unix.Fstatfs(fd, &st) == nil && st.Type == unix.AUTOFS_SUPER_MAGIC {
		unix.Close(fd)
		return -1, ErrNotEntered
	}
	return fd, nil
}

func (d *directory) notEntered(name string) bool {
	_, err := d.handle(name)
	return err == ErrNotEntered
}

func (d *directory) lstat(name string) (Info, error) {
	var st unix.Stat_t
	parent, err := d.handle(path.Dir(name))
	if err == nil && d.silent(parent, name) {
		return Info{Mode: fs.ModeDir}, nil
	}
	if err == nil {
		err = unix.Fstatat(parent, path.Base(name), &st, unix.AT_SYMLINK_NOFOLLOW)
	}
	return infoOf(&st), err
}

func (d *directory) readlink(name string) (string, error) {
	parent, err := d.handle(path.Dir(name))
	if err != nil {
		return "", err
	}
	buf := make([]byte, pathMax)
	n, err := unix.Readlinkat(parent, path.Base(name), buf)
	return string(buf[:max(n, 0)]), err
}

func (d *directory) open(name string) (io.ReadCloser, Info, error) {
	parent, err := d.handle(path.Dir(name))
	if err != nil {
		return nil, Info{}, err
	}
	return open(parent, path.Base(name), unix.O_NOFOLLOW)
}

// infoOf translates the result of stat(2).
func infoOf(st *unix.Stat_t) Info {
	i := Info{
		Mode: typeOf(st.Mode) | fs.FileMode(st.Mode&0o777), Size: st.Size,
		Changed: time.Unix(st.Mtim.Unix()), ID: ID{uint64(st.Dev), st.Ino},
	}
	// Installers and archives set the mtime to that of the file they have (rpm, cp
	// -p, tar); the ctime, which they cannot set, is when it was put here.
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

// liveFile is an open file: a bare descriptor, as os.File would ask the poller about
// each of some dozens of small files.
type liveFile int

// open opens a file below a directory. It does not block, nor acquire a terminal,
// if the file was replaced since it was checked.
func open(dir int, name string, flags int) (liveFile, Info, error) {
	fd, err := unix.Openat(dir, name, flags|unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, Info{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, Info{}, err
	}
	return liveFile(fd), infoOf(&st), nil
}

// Close implements io.Closer.
func (f liveFile) Close() error { return unix.Close(int(f)) }

// Read implements io.Reader.
func (f liveFile) Read(p []byte) (int, error) {
	return read(p, func() (int, error) { return unix.Read(int(f), p) })
}

// ReadAt implements io.ReaderAt.
func (f liveFile) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := read(p, func() (int, error) { return unix.Pread(int(f), p[done:], off+int64(done)) })
		if done += n; err != nil {
			return done, err
		}
	}
	return done, nil
}

// read calls again where a signal came, and gives the end its name.
func read(p []byte, call func() (int, error)) (int, error) {
	for {
		n, err := call()
		switch {
		case err == unix.EINTR:
		case n == 0 && err == nil && len(p) > 0:
			return 0, io.EOF
		default:
			return max(n, 0), err
		}
	}
}

// list reads records of inode (8 bytes), position (8), length of the record (2), kind
// (1), name and NUL (getdents64(2)).
func (d *directory) list(name string, most int) (entries []Entry, err error) {
	const lengthAt, kindAt, nameAt = 16, 18, 19
	dir, err := d.handle(name)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	buf := make([]byte, 8192)
	for len(entries) < most {
		n, err := unix.Getdents(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n <= 0 {
			break
		}
		entries = slices.Grow(entries, n/32)
		names := string(buf[:n]) // of all of them
		for at := 0; n-at > nameAt; {
			length := int(binary.NativeEndian.Uint16(buf[at+lengthAt:]))
			if length <= nameAt || length > n-at {
				return nil, errBadListing
			}
			name, kind := names[at+nameAt:at+length], uint32(buf[at+kindAt])<<12 // DTTOIF of dirent.h
			at += length
			name, _, _ = strings.Cut(name, "\x00")
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
			entries = append(entries, Entry{name, typeOf(kind)})
		}
	}
	return entries, nil
}
