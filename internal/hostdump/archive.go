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

	"github.com/sctp-agent/sctp-agent/internal/tarball"
)

// Limits on the files of an archive that are kept.
const (
	maxFile = 16 << 20
	maxKept = 128 << 20 // all of them
)

var errNotKept = errors.New("not among the files that are read from an archive")

// wanted are the files whose content decides something, as they are named below
// the host's root; all others are kept by name.
var wanted = regexp.MustCompile(`^(?:[^/]+/)?(?:` + strings.Join([]string{
	`(?:etc|run|lib|usr/lib|usr/local/lib)/(?:modprobe|modules-load|sysctl)\.d(?:/.*)?`,
	`(?:etc|run|lib|usr/lib|usr/local/lib)/systemd/(?:system|system\.control|generator\.early)(?:/.*)?`,
	`etc/(?:crontab|cron\.d/.*|rc\d\.d/.*|rc\.d/.*|init\.d/.*|udev/rules\.d/.*|NetworkManager/dispatcher\.d/.*|sysconfig/modules/.*)`,
	`boot/loader/entries/.*`, `boot/grub2/grubenv`, `etc/modules`, `etc/default/grub`, `etc/kernel/cmdline`, `usr/lib/bootc/kargs\.d/.*`, `run/ostree/staged-deployment`,
	`(?:etc|usr/lib)/os-release`, `etc/hostname`, `hostname`,
	`(?:usr/)?lib/modules/[^/]+/modules\.[a-z.]+`,
	`(?:usr/)?s?bin/(?:kmod|modprobe|busybox)`,
	`proc/(?:cmdline|modules|version|stat)`, `proc/sys/kernel/.*`,
	`sys/module/[^/]+/(?:initstate|parameters/[^/]+)`, `sys/kernel/security/lockdown`,
	`sos_commands/(?:kernel|host|rpm|dpkg)/.*`, `uname`, `lsmod`, `installed-(?:rpms|debs)`,
}, "|") + `)$`)

// readArchive reads an archive into memory.
func readArchive(ctx context.Context, r io.Reader) (memory, error) {
	archive, err := tarball.New(ctx, r)
	if err != nil {
		return nil, err
	}
	tree, links := newMemory(), map[string]string{}
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
		n := &node{mode: head.FileInfo().Mode(), mtime: head.ModTime}
		switch head.Typeflag {
		case tar.TypeLink:
			if links[name], err = tarball.Clean(head.Linkname); err != nil {
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
				return nil, tarball.ErrTooMuch
			}
			if n.data, err = io.ReadAll(archive); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			n.kept = true
		}
		tree.add(name, n)
	}
	for name, target := range links {
		if to := tree[target]; to != nil && to.mode.IsRegular() {
			same := *to
			tree.add(name, &same)
		}
	}
	return tree, nil
}
