package guest

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/cavaliergopher/cpio"

	"github.com/sctp-agent/sctp-agent/test/guest/internal/wire"
)

// archive writes files as an initramfs (Documentation/driver-api/
// early-userspace/buffer-format.rst): several, one behind the other, unpack
// one over the other.
type archive struct {
	w    *cpio.Writer
	dirs map[string]bool
}

func newArchive(w io.Writer) *archive {
	return &archive{w: cpio.NewWriter(w), dirs: map[string]bool{"": true}}
}

// merged gives the path without the links of a merged /usr. The kernel would
// replace such a link by the directory that an archive has in its place
// (init/initramfs.c, clean_path).
func merged(p string) string {
	p = strings.Trim(path.Clean("/"+p), "/")
	first, _, _ := strings.Cut(p, "/")
	switch first {
	case "bin", "sbin", "lib", "lib64":
		if p != first {
			return "usr/" + p
		}
	}
	return p
}

// add writes one file, and the directories above it that were not written
// yet.
func (a *archive) add(f wire.File) error {
	name := merged(f.Path)
	if name == "" {
		return nil
	}
	if err := a.parents(name); err != nil {
		return err
	}
	h := &cpio.Header{Name: name, Uid: f.UID, Guid: f.GID, ModTime: f.ModTime, Links: 1}
	h.Mode = cpio.FileMode(f.Mode.Perm())
	for bit, value := range map[fs.FileMode]cpio.FileMode{
		fs.ModeSetuid: cpio.ModeSetuid, fs.ModeSetgid: cpio.ModeSetgid, fs.ModeSticky: cpio.ModeSticky,
	} {
		if f.Mode&bit != 0 {
			h.Mode |= value
		}
	}
	data := f.Data
	switch f.Mode.Type() {
	case 0:
		h.Mode |= cpio.TypeReg
	case fs.ModeDir:
		h.Mode |= cpio.TypeDir
		h.Links = 2
		a.dirs[name] = true
		data = nil
	case fs.ModeSymlink:
		h.Mode |= cpio.TypeSymlink | 0o777
		data = []byte(f.Link)
	case fs.ModeNamedPipe:
		h.Mode |= cpio.TypeFifo
		data = nil
	default:
		return fmt.Errorf("/%s: cannot put a file of type %v into an initramfs", name, f.Mode.Type())
	}
	h.Size = int64(len(data))
	if err := a.w.WriteHeader(h); err != nil {
		return fmt.Errorf("/%s: %w", name, err)
	}
	if _, err := a.w.Write(data); err != nil {
		return fmt.Errorf("/%s: %w", name, err)
	}
	return nil
}

func (a *archive) parents(name string) error {
	for i, c := range name {
		if c != '/' || a.dirs[name[:i]] {
			continue
		}
		a.dirs[name[:i]] = true
		h := &cpio.Header{Name: name[:i], Mode: cpio.TypeDir | 0o755, Links: 2}
		if err := a.w.WriteHeader(h); err != nil {
			return err
		}
	}
	return nil
}

func (a *archive) Close() error { return a.w.Close() }
