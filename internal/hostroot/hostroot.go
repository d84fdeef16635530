// Package hostroot reads the files of an inspected host below its root
// directory: [Open] the root of a live host, [FromFS] a tree that something
// else holds (an archive, an unpacked image, memory).
//
// All names are absolute, as that host sees them, and symbolic links, absolute
// ones too, are resolved inside the root, as chroot(2) would. Only regular files
// are opened, and nothing is ever written. What is larger than anything real is
// an error, never silently cut.
package hostroot

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Limits on what is read.
const (
	maxDirEntries = 4096
	maxLinks      = 40      // on the way to one file, as in path_resolution(7)
	maxKernelFile = 1 << 20 // one file of /proc or /sys
	maxRemembered = 4096    // answers kept
	usualLooks    = 200     // at names in one inspection
)

var (
	// ErrNotRegular: a FIFO, socket or device, which is never opened.
	ErrNotRegular = errors.New("not a regular file")
	// ErrTooLarge: a limit was reached.
	ErrTooLarge = errors.New("larger than any real one, not read")
	// ErrNullDevice: /dev/null, or a link to it. Reads as empty.
	ErrNullDevice = errors.New("the null device")
	// ErrNotMounted: a dangling link, in a root of which only parts are mounted.
	ErrNotMounted = errors.New("points outside of what is mounted of the host, or to a missing file")
	// ErrNotEntered: below a mount point of autofs that nothing has used, or of a file
	// system of another machine, or of a process, that does not answer. To look there would
	// mount something, or wait for ever.
	ErrNotEntered = errors.New("is below an automount that nothing has used, or a file system of the network that does not answer, and is not entered")
	// errBadName: a name that an [fs.FS] does not take, which a host may have.
	errBadName = errors.New("its name is not one that this file system can open")
)

// Info describes a file, links followed.
type Info struct {
	Mode fs.FileMode
	Size int64
	// Changed is when the file was last modified, or moved there: the later of its
	// mtime and ctime, or where there is no ctime, the mtime.
	Changed time.Time
	// ID is the same for two names of one file or directory.
	ID ID
}

// ID identifies a file.
type ID struct{ dev, ino uint64 }

// Entry is one entry of a directory, links not followed.
type Entry struct {
	Name string
	Mode fs.FileMode // the bits of its type
}

// File is an open regular file.
type File interface {
	io.ReaderAt
	io.Closer
	Info() Info
	// ReadAll reads the whole file of at most limit bytes.
	ReadAll(limit int64) ([]byte, error)
}

// readAll reads a file of any size up to limit, whatever size stat reports: files
// of procfs have none. A file that has its size takes one request.
func readAll(r io.Reader, name string, size, limit int64) ([]byte, error) {
	data := make([]byte, 0, max(min(size, limit), bytes.MinRead))
	for {
		n, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		switch {
		case err != nil && err != io.EOF:
			return nil, err
		case int64(len(data)) > limit:
			return nil, &fs.PathError{Op: "read", Path: name, Err: ErrTooLarge}
		case err == io.EOF, size > 0 && int64(len(data)) == size:
			return data, nil
		case len(data) == cap(data):
			data = slices.Grow(data, bytes.MinRead)
		}
	}
}

// Regular refuses everything that is not a plain file, by name.
func (i Info) Regular(name string) error {
	switch {
	case i.Mode.IsRegular():
		return nil
	case i.Mode.IsDir():
		return &fs.PathError{Op: "open", Path: name, Err: syscall.EISDIR}
	case i.ID == nullDevice:
		return ErrNullDevice
	}
	return &fs.PathError{Op: "open", Path: name, Err: ErrNotRegular}
}

// nullDevice is the identity of /dev/null.
var nullDevice = ID{ino: ^uint64(0)}

// Absent reports whether an error means "there is no such file", as opposed to "it
// could not be read". A path through a plain file (ENOTDIR) and a dangling link are
// absent, too.
func Absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// Bare removes the name and operation from an error.
func Bare(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// parentOf is the directory that a name is in. For one with "..", which may come
// after a link, that is not known from the name.
func parentOf(name string) string {
	if !strings.Contains(name, "..") {
		return path.Dir(name)
	}
	return name[:max(strings.LastIndexByte(name, '/'), 1)]
}

// Remember keeps an answer. A host can make us ask for any number of names.
func Remember[V any](answers map[string]V, name string, answer V) {
	if len(answers) >= maxRemembered {
		clear(answers)
	}
	answers[name] = answer
}
