package hostdump

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/memfs"
	"github.com/sctp-agent/sctp-agent/internal/tarball"
)

// Limits on the files of an archive that are kept.
const (
	maxFile = 16 << 20
	maxKept = 128 << 20 // all of them
)

var errNotKept = errors.New("not among the files that are read from an archive")

// configured are the files that an administrator writes, in up to maxDepth
// directories, of which small ones are kept: maxSmall is larger than any of them
// that counts.
var configured = regexp.MustCompile(`^(?:[^/]+/){0,3}(?:etc|run|boot)/`)

const maxSmall = 256 << 10

// wanted are other files whose content decides something, as they are named below
// the host's root; all others are kept by name.
var wanted = regexp.MustCompile(`^(?:[^/]+/){0,3}(?:` + strings.Join([]string{
	`(?:lib|usr/lib|usr/local/lib)/(?:modprobe\.d|modules-load\.d|sysctl\.d|systemd/system|udev/rules\.d)(?:/.*)?`,
	`usr/lib/os-release`, `usr/lib/bootc/kargs\.d/.*`, `hostname`,
	`(?:usr/)?lib/modules/[^/]+/modules\.[a-z.]+`,
	`(?:usr/)?s?bin/(?:kmod|modprobe|busybox)`,
	`proc/(?:cmdline|modules|version|stat)`, `proc/sys/kernel/.*`,
	`sys/module/[^/]+/(?:initstate|parameters/[^/]+)`, `sys/kernel/security/lockdown`,
	`sos_commands/(?:kernel|host|rpm|dpkg)/.*`, `version\.txt`, `uname`, `lsmod`, `installed-(?:rpms|debs)`,
}, "|") + `)$`)

// readArchive reads an archive: every name, and the content of the files that
// decide something.
func readArchive(ctx context.Context, r io.Reader) (memfs.FS, error) {
	in, err := tarball.Unpack(ctx, r)
	if err != nil {
		return nil, err
	}
	archive, err := tarball.New(in)
	if err != nil {
		return nil, err
	}
	tree, links := memfs.New(), map[string]string{}
	for kept := int64(0); ; {
		name, head, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if name == "." {
			continue
		}
		n := &memfs.Node{Mode: head.FileInfo().Mode(), Size: head.Size, ModTime: head.ModTime, Err: errNotKept}
		switch head.Typeflag {
		case tar.TypeLink:
			if links[name], err = tarball.Clean(head.Linkname); err != nil {
				return nil, err
			}
			continue
		case tar.TypeSymlink:
			n.Mode, n.Data = fs.ModeSymlink|0o777, []byte(head.Linkname)
		case tar.TypeReg:
			if n.Size > maxFile || !wanted.MatchString(name) && !(n.Size <= maxSmall && configured.MatchString(name)) {
				break
			}
			if kept += n.Size; kept > maxKept {
				return nil, tarball.ErrTooMuch
			}
			if n.Data, err = io.ReadAll(archive); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			n.Err = nil
		}
		tree.Add(name, n)
	}
	for name, target := range links {
		if to := tree[target]; to != nil && to.Mode.IsRegular() {
			same := *to
			tree.Add(name, &same)
		}
	}
	return tree, nil
}
