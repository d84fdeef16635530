// Package tarball reads tar archives, plain or compressed. It bounds what a
// hostile one costs, and refuses names that leave the archive.
package tarball

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/ulikunitz/xz"
)

// Limits on an archive. A sosreport of a large host has some ten thousand
// entries, the root of a host some hundred thousand.
const (
	maxEntries  = 1 << 20
	maxNames    = 128 << 20 // bytes of all names and links
	maxUnpacked = 64 << 30  // bytes read through
)

var (
	// ErrFormat: not an archive that can be read.
	ErrFormat = errors.New("not a tar archive (plain, .gz, .xz or .bz2)")
	// ErrTooMuch: a limit was reached.
	ErrTooMuch = errors.New("more than any real one has, not read to its end")
	// ErrBadEntry: an entry that no dump has.
	ErrBadEntry = errors.New("an entry's name leads out of the archive")
)

// magicSize is how much of a file tells what it is: tar has its magic in the
// first header (POSIX ustar).
const magicSize = 262

// Is says whether a file is an archive by its beginning, which it leaves to be
// read.
func Is(in *bufio.Reader) bool {
	magic, _ := in.Peek(magicSize)
	return bytes.HasPrefix(magic, []byte(xzMagic)) || bytes.HasPrefix(magic, []byte(gzipMagic)) || bytes.HasPrefix(magic, []byte(bzip2Magic)) || isTar(magic)
}

const (
	xzMagic    = "\xfd7zXZ\x00"
	gzipMagic  = "\x1f\x8b"
	bzip2Magic = "BZh"
)

func isTar(magic []byte) bool {
	return len(magic) >= magicSize && string(magic[257:magicSize]) == "ustar"
}

// Reader reads an archive entry by entry.
type Reader struct {
	tar            *tar.Reader
	left           *io.LimitedReader
	entries, names int
}

// New opens an archive. Reading ends with ctx.
func New(ctx context.Context, r io.Reader) (*Reader, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	magic, err := in.Peek(magicSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var out io.Reader = in
	switch {
	case bytes.HasPrefix(magic, []byte(xzMagic)):
		out, err = xz.NewReader(in)
	case bytes.HasPrefix(magic, []byte(gzipMagic)):
		out, err = gzip.NewReader(in)
	case bytes.HasPrefix(magic, []byte(bzip2Magic)):
		out, err = bzip2.NewReader(in), nil
	case isTar(magic):
		err = nil
	default:
		err = ErrFormat
	}
	if err != nil {
		return nil, err
	}
	left := &io.LimitedReader{R: out, N: maxUnpacked}
	return &Reader{tar: tar.NewReader(&untilDone{ctx, left}), left: left}, nil
}

// Next goes to the next entry, and returns its clean name below the archive's
// root ("." for that itself). At the end it is io.EOF.
func (r *Reader) Next() (name string, head *tar.Header, err error) {
	head, err = r.tar.Next()
	if r.left.N <= 0 {
		return "", nil, ErrTooMuch
	}
	if err != nil {
		return "", nil, err
	}
	r.entries++
	if r.names += len(head.Name) + len(head.Linkname); r.entries > maxEntries || r.names > maxNames {
		return "", nil, ErrTooMuch
	}
	name, err = Clean(head.Name)
	return name, head, err
}

// Read reads the content of the entry.
func (r *Reader) Read(p []byte) (int, error) { return r.tar.Read(p) }

// Clean is the name of an entry, or the target of a hard link, below the
// archive's root.
func Clean(name string) (string, error) {
	for component := range strings.SplitSeq(name, "/") {
		if component == ".." {
			return "", fmt.Errorf("%w: %q", ErrBadEntry, name)
		}
	}
	if name = path.Clean("/" + name); name != "/" {
		return name[1:], nil
	}
	return ".", nil
}

// untilDone reads until the context ends.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u *untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}
