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

// magicSize is how much of a file is needed to recognise its format: tar has its
// magic in the first header (POSIX ustar).
const magicSize = 262

// Unpack reads a file, plain or compressed, up to a limit. Reading ends with ctx.
func Unpack(ctx context.Context, r io.Reader) (*bufio.Reader, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	magic, err := in.Peek(magicSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var out io.Reader = in
	switch {
	case bytes.HasPrefix(magic, []byte("\xfd7zXZ\x00")):
		out, err = xz.NewReader(in)
	case bytes.HasPrefix(magic, []byte("\x1f\x8b")):
		out, err = gzip.NewReader(in)
	case bytes.HasPrefix(magic, []byte("BZh")):
		out, err = bzip2.NewReader(in), nil
	case bytes.HasPrefix(magic, []byte("\x28\xb5\x2f\xfd")):
		err = fmt.Errorf("%w: decompress it first (zstd -d)", ErrFormat)
	case bytes.HasPrefix(magic, []byte("PK\x03\x04")):
		err = fmt.Errorf("%w: unpack it first (unzip)", ErrFormat)
	default:
		err = nil
	}
	if err != nil {
		return nil, err
	}
	return bufio.NewReaderSize(&limited{ctx, out, maxUnpacked}, 64<<10), nil
}

// Is reports whether an unpacked file is an archive, by its beginning, which can
// still be read afterwards.
func Is(in *bufio.Reader) bool {
	magic, _ := in.Peek(magicSize)
	return len(magic) >= magicSize && string(magic[257:magicSize]) == "ustar"
}

// Reader reads an archive entry by entry.
type Reader struct {
	tar            *tar.Reader
	end            *endReader
	entries, names int
}

// endReader counts the zero bytes at the end of what was read.
type endReader struct {
	r     io.Reader
	zeros int
}

func (e *endReader) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	rest := len(bytes.TrimRight(p[:n], "\x00"))
	if rest > 0 {
		e.zeros = 0
	}
	e.zeros += n - rest
	return n, err
}

// blockSize is the unit of an archive, which ends with two such blocks of zeros.
const blockSize = 512

// New opens an unpacked archive.
func New(in *bufio.Reader) (*Reader, error) {
	if !Is(in) {
		if _, err := in.Peek(magicSize); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		return nil, ErrFormat
	}
	end := &endReader{r: in}
	return &Reader{tar: tar.NewReader(end), end: end}, nil
}

// Next goes to the next entry, and returns its clean name below the archive's
// root ("." for that itself). At the end it is io.EOF.
func (r *Reader) Next() (name string, head *tar.Header, err error) {
	head, err = r.tar.Next()
	if errors.Is(err, io.EOF) && r.end.zeros < blockSize {
		err = io.ErrUnexpectedEOF // cut short between two entries
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

// limited reads until the context ends, and fails beyond a limit.
type limited struct {
	ctx  context.Context
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	if l.left <= 0 {
		return 0, ErrTooMuch
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}
