package guest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/sctp-agent/sctp-agent/test/cache"
	"github.com/sctp-agent/sctp-agent/test/child"
	"github.com/sctp-agent/sctp-agent/test/debian"
)

// selinuxPackage is Debian's build of the reference policy, with its modules
// for containers.
const selinuxPackage = "selinux-policy-default"

// SELinuxPolicy is /etc/selinux as Debian's policy package leaves it when it is
// installed: the policy of all its modules, and the contexts of files. It is
// linked by that package's own semodule(8), once, which needs root.
func SELinuxPolicy(ctx context.Context, k Kernel) ([]File, error) {
	m, err := k.machine()
	if err != nil {
		return nil, err
	}
	tree, err := debian.Open(m.suite, m.arch).TreeWithDepends(ctx, selinuxPackage)
	if err != nil {
		return nil, fmt.Errorf("fetching the policy of %s: %w", m.suite, err)
	}
	dir, err := cache.Once(ctx, "guest/selinux-"+filepath.Base(tree), func(ctx context.Context, dir string) error {
		if os.Geteuid() != 0 {
			return errors.New("semodule links the policy in a root of its own, which needs root")
		}
		return linkPolicy(ctx, tree, dir)
	})
	if err != nil {
		return nil, fmt.Errorf("making the SELinux policy of %s: %w", m.suite, err)
	}
	var files []File
	err = filepath.WalkDir(filepath.Join(dir, "etc"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(p)
		files = append(files, File{Path: strings.TrimPrefix(p, dir), Mode: 0o644, Data: data})
		return err
	})
	return files, err
}

// linkPolicy does in a copy of the tree what the package's postinst does, and
// leaves etc/selinux of it in dir.
func linkPolicy(ctx context.Context, tree, dir string) error {
	root, err := os.MkdirTemp("", "selinux-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	if _, err := child.Output(exec.CommandContext(ctx, "cp", "-a", tree+"/.", root)); err != nil {
		return fmt.Errorf("copying the policy's packages: %w", err)
	}
	modules, err := os.ReadFile(filepath.Join(root, "usr/share/selinux/default/.modules"))
	if err != nil {
		return err
	}
	// -n: this machine's kernel has nothing to do with it.
	args := []string{"-n", "-X", "100", "-s", "default"}
	for module := range strings.FieldsSeq(string(modules)) {
		args = append(args, "-i", "/usr/share/selinux/default/"+module+".pp.bz2")
	}
	for _, d := range []string{"tmp", "var/lib/selinux/default"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, "/usr/sbin/semodule", args...)
	cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Chroot: root}
	if _, err := child.Output(cmd); err != nil {
		return err
	}
	return os.CopyFS(filepath.Join(dir, "etc/selinux"), os.DirFS(filepath.Join(root, "etc/selinux")))
}
