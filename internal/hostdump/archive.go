package hostdump

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
	"io/fs"
	"path"
	"regexp"
	"strings"

	"github.com/ulikunitz/xz"
)

// Limits on an archive. A sosreport of a large host has some ten thousand
// entries, the root of a host some hundred thousand.
const (
	maxEntries  = 1 << 20
	maxNames    = 128 << 20 // bytes of all names and links
	maxUnpacked = 64 << 30  // bytes read through
	maxFile     = 16 << 20  // one file that is kept
	maxKept     = 128 << 20 // all of them
)

var (
	// ErrFormat: not an archive that can be read.
	ErrFormat = errors.New("not a directory, and not a tar archive (plain, .gz, .xz or .bz2)")
	// ErrTooMuch: a limit was reached.
	ErrTooMuch = errors.New("more than any real host has, not read to its end")
	// ErrBadEntry: an entry that no host's files have.
	ErrBadEntry = errors.New("an entry's name leads out of the archive")

	errNotKept = errors.New("is not among the files that are read from an archive")
)

// wanted are the files whose content decides something, as they are named below
// the host's root; all others are kept by name.
var wanted = regexp.MustCompile(`^(?:[^/]+/)?(?:` + strings.Join([]string{
	`(?:etc|run|lib|usr/lib|usr/local/lib)/(?:modprobe|modules-load)\.d(?:/.*)?`,
	`(?:etc|usr/lib)/os-release`, `etc/hostname`, `hostname`,
	`(?:usr/)?lib/modules/[^/]+/modules\.[a-z.]+`,
	`(?:usr/)?s?bin/(?:kmod|modprobe)`,
	`proc/(?:cmdline|modules|version|stat)`, `proc/sys/kernel/.*`,
	`sys/module/[^/]+/(?:initstate|parameters/[^/]+)`, `sys/kernel/security/lockdown`,
	`sos_commands/(?:kernel|host|rpm|dpkg)/.*`, `uname`, `lsmod`, `installed-(?:rpms|debs)`,
}, "|") + `)$`)

// unpack opens what is in a compressed or plain tar archive.
func unpack(r io.Reader) (io.Reader, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	magic, err := in.Peek(262)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte("\xfd7zXZ\x00")):
		return xz.NewReader(in)
	case bytes.HasPrefix(magic, []byte("\x1f\x8b")):
		return gzip.NewReader(in)
	case bytes.HasPrefix(magic, []byte("BZh")):
		return bzip2.NewReader(in), nil
	case len(magic) == 262 && string(magic[257:]) == "ustar":
		return in, nil
	}
	return nil, ErrFormat
}

// readArchive reads an archive into memory.
func readArchive(ctx context.Context, r io.Reader) (memory, error) {
	in, err := unpack(r)
	if err != nil {
		return nil, err
	}
	limited := &io.LimitedReader{R: in, N: maxUnpacked}
	archive := tar.NewReader(&untilDone{ctx, limited})
	tree, links := newMemory(), map[string]string{}
	names, kept := 0, int64(0)
	for count := 0; ; count++ {
		head, err := archive.Next()
		switch {
		case errors.Is(err, io.EOF) && limited.N > 0:
			for name, target := range links {
				if to := tree[target]; to != nil && to.mode.IsRegular() {
					same := *to
					tree.add(name, &same)
				}
			}
			return tree, nil
		case limited.N <= 0:
			return nil, ErrTooMuch
		case err != nil:
			return nil, err
		}
		if names += len(head.Name) + len(head.Linkname); count > maxEntries || names > maxNames {
			return nil, ErrTooMuch
		}
		name, err := entryName(head.Name)
		if err != nil {
			return nil, err
		}
		if name == "." {
			continue
		}
		n := &node{mode: head.FileInfo().Mode(), mtime: head.ModTime}
		switch head.Typeflag {
		case tar.TypeLink:
			if links[name], err = entryName(head.Linkname); err != nil {
				return nil, err
			}
			continue
		case tar.TypeSymlink:
			n.mode, n.data = fs.ModeSymlink|0o777, []byte(head.Linkname)
		case tar.TypeReg:
			n.size = head.Size
			if !wanted.MatchString(name) || n.size > maxFile {
				break
			}
			if kept += n.size; kept > maxKept {
				return nil, ErrTooMuch
			}
			if n.data, err = io.ReadAll(archive); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			n.kept = true
		}
		tree.add(name, n)
	}
}

// entryName is the name of an entry below the archive's root.
func entryName(name string) (string, error) {
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
