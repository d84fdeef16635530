package node

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/sctp-agent/sctp-agent/test/cache"
	"github.com/sctp-agent/sctp-agent/test/child"
)

// packages of the guest, beside Debian's required ones.
var packages = []string{
	"systemd-sysv", "dbus", "udev", "kmod", "procps",
	"linux-image-cloud-amd64", "busybox-static", "cpio",
	"containerd", "runc", "containernetworking-plugins",
	"iproute2", "iptables", "nftables", "conntrack",
}

//go:embed image
var imageFiles embed.FS

// Image is a guest's disk and what boots it: a Debian 12 with systemd,
// containerd and the tools that kubelet calls. Guests never write to it.
type Image struct {
	Root, Kernel, Initrd string
}

// BuildImage returns the guest image of the current recipe (the packages above
// and the files in image/), and makes it first if the cache does not have it:
// about two minutes, and 90 MB of packages from the mirrors that this machine's
// own apt uses. It needs root, mmdebstrap and mkfs.ext4. Concurrent calls, of
// other processes too, wait for each other.
func BuildImage(ctx context.Context) (Image, error) {
	key, err := recipeKey()
	if err != nil {
		return Image{}, err
	}
	dir, err := cache.Once(ctx, "node/image-"+key, func(ctx context.Context, tmp string) error {
		if os.Geteuid() != 0 {
			return errors.New("only root can make the files of a guest's disk belong to root")
		}
		return buildImage(ctx, tmp)
	})
	return Image{
		Root:   filepath.Join(dir, "root.ext4"),
		Kernel: filepath.Join(dir, "vmlinuz"),
		Initrd: filepath.Join(dir, "initrd.img"),
	}, err
}

func recipeKey() (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, packages)
	err := fs.WalkDir(imageFiles, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := imageFiles.ReadFile(path)
		fmt.Fprintf(h, "%s %d\n%s", path, len(b), b)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("reading the recipe of the node image: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}

func buildImage(ctx context.Context, dir string) error {
	recipe, root := filepath.Join(dir, "recipe"), filepath.Join(dir, "root")
	sub, err := fs.Sub(imageFiles, "image")
	if err != nil {
		return err
	}
	if err := os.CopyFS(recipe, sub); err != nil {
		return fmt.Errorf("writing the recipe of the node image: %w", err)
	}
	if err := command(ctx, "mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory",
		"--include="+strings.Join(packages, ","),
		"--customize-hook=sh "+filepath.Join(recipe, "customize.sh")+" \"$1\"",
		"bookworm", root); err != nil {
		return fmt.Errorf("making the root of the node image: %w", err)
	}
	kernels, err := filepath.Glob(filepath.Join(root, "boot", "vmlinuz-*"))
	if err != nil || len(kernels) != 1 {
		return fmt.Errorf("making the node image: found kernels %q, want one", kernels)
	}
	if err := os.Rename(kernels[0], filepath.Join(dir, "vmlinuz")); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(root, "boot", "initrd.img"), filepath.Join(dir, "initrd.img")); err != nil {
		return err
	}
	if err := makeDisk(ctx, filepath.Join(dir, "root.ext4"), root, 6<<30); err != nil {
		return err
	}
	for _, d := range []string{recipe, root} {
		if err := os.RemoveAll(d); err != nil {
			return err
		}
	}
	return nil
}

// makeDisk makes an ext4 image of a directory. It is sparse, and has no
// journal: a guest's writes go to a layer that is thrown away.
func makeDisk(ctx context.Context, path, dir string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return fmt.Errorf("making the disk %s: %w", path, err)
	}
	if err := command(ctx, "mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=1", "-d", dir, path); err != nil {
		return fmt.Errorf("making the disk %s: %w", path, err)
	}
	return nil
}

func command(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = 5 * time.Second
	_, err := child.Output(cmd)
	return err
}
