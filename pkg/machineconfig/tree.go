package machineconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/memfs"
)

// tree is a host root in memory, whose files are as old as the boot.
type tree struct{ memfs.FS }

const maxLinks = 40 // as in path_resolution(7)

// parents takes the links out of the directories of a host's path, and returns
// its name in the tree.
func (t tree) parents(p string) string {
	rest := path.Clean(p)
	at := "."
	for links := 0; ; {
		component, more, found := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
		if component == ".." {
			at, rest = path.Dir(at), more
			continue
		}
		at, rest = path.Join(at, component), more
		if !found {
			return at
		}
		if n := t.FS[at]; n != nil && n.Mode&fs.ModeSymlink != 0 && links < maxLinks {
			links++
			target := string(n.Data)
			if at = path.Dir(at); path.IsAbs(target) {
				at = "."
			}
			rest = path.Join(target, rest)
		}
	}
}

// put makes the directories of a host's path, and puts something there in place
// of what is there. It returns its name in the tree.
func (t tree) put(p string, n *memfs.Node) (string, error) {
	if !path.IsAbs(p) {
		return "", errors.New("not an absolute path")
	}
	at := t.parents(p)
	if !fs.ValidPath(at) || at == "." {
		return "", errors.New("not the path of a file")
	}
	for dir := path.Dir(at); dir != "."; dir = path.Dir(dir) {
		if have := t.FS[dir]; have != nil && !have.Mode.IsDir() {
			return "", fmt.Errorf("/%s is not a directory", dir)
		}
	}
	if have := t.FS[at]; have != nil && have.Mode.IsDir() {
		return "", errors.New("a directory is there")
	}
	t.Remove(at)
	t.Add(at, n)
	return at, nil
}

// regular and symlink are what is put into a tree. Programs are among the files.
func regular(text []byte) *memfs.Node { return memfs.File("", 0o755, text) }

func symlink(target string) *memfs.Node { return memfs.File("", fs.ModeSymlink|0o777, []byte(target)) }

// deliveredTree is the host as it is delivered, with the kernel's files.
func deliveredTree() tree {
	t := tree{memfs.New()}
	for _, name := range []string{"bin", "sbin", "lib"} {
		t.Add(name, symlink("usr/"+name))
	}
	// What is writable of a host that OSTree deploys is below /var (rpm-ostree,
	// rust/src/composepost.rs).
	for name, target := range map[string]string{"usr/local": "../var/usrlocal", "opt": "var/opt", "srv": "var/srv", "mnt": "var/mnt", "home": "var/home", "root": "var/roothome"} {
		t.Add(name, symlink(target))
	}
	for name, text := range map[string]string{
		"/proc/modules":                       "",
		"/proc/sys/kernel/modprobe":           "/sbin/modprobe\n",
		"/proc/sys/kernel/osrelease":          deliveredRelease + "\n",
		"/sys/module/kernel/parameters/.keep": "",
		"/etc/modules-load.d/.keep":           "",
		unitDir + "graphical.target":          "[Unit]\nRequires=multi-user.target\nAfter=multi-user.target\n",
	} {
		t.mustPut(name, []byte(text))
	}
	for _, name := range []string{"local-fs", "sockets", "timers", "paths", "network", "network-online"} {
		t.mustPut(unitDir+name+".target", []byte("[Unit]\n"))
	}
	for dir, names := range programs {
		for name := range strings.FieldsSeq(names) {
			t.mustPut(dir+name, nil)
		}
	}
	// An embedded tree has no links, and every error of it is one of the build.
	err := fs.WalkDir(delivered, "delivered", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := delivered.ReadFile(p)
		if err == nil {
			t.mustPut(strings.TrimPrefix(p, "delivered"), data)
		}
		return err
	})
	if err != nil {
		panic(err)
	}
	for name, target := range map[string]string{
		unitConfigDir + "default.target":                              unitDir + "multi-user.target",
		unitDir + "sysinit.target.wants/systemd-modules-load.service": "../systemd-modules-load.service",
		unitConfigDir + "multi-user.target.wants/crio.service":        unitDir + "crio.service",
		unitConfigDir + "multi-user.target.wants/kubelet.service":     unitConfigDir + "kubelet.service",
	} {
		if _, err := t.put(name, symlink(target)); err != nil {
			panic(err)
		}
	}
	return t
}

// programs that install commands may run, and every node has.
var programs = map[string]string{
	"/usr/bin/": "[ awk base64 basename bootctl busctl cat chcon chmod chown chrt cmp comm coreos-installer cp crictl crun curl cut date dd df diff dirname dmesg du egrep expr fgrep find findmnt flock free " +
		"gawk getent getopt git grep gzip head hostname hostnamectl id install ionice journalctl jq kill killall less ln loginctl ls lsblk lscpu lsns md5sum mktemp mknod mount mountpoint mv nc nice nm-online nmcli nmstatectl nohup " +
		"nproc nsenter oc od openssl ostree paste pgrep ping pkill podman ps pwd python3 readlink realpath renice rm rmdir rpm rpm-ostree runc runcon script sed seq setpriv setsid sha256sum shuf skopeo sort ssh stat stdbuf stty su sudo sync " +
		"systemctl systemd-cat systemd-detect-virt systemd-escape systemd-notify systemd-run systemd-tmpfiles tail tar taskset tee test timedatectl timeout toolbox top touch tr truncate udevadm umount uname uniq unshare uptime vi wc which who xargs xz zcat zstd",
	"/usr/sbin/": "auditctl augenrules blkid blockdev bridge chroot conntrack depmod dmsetup dracut ethtool fstrim fuser getenforce grubby hwclock ip ip6tables ipset iptables kexec ldconfig load_policy losetup lsmod lspci lvm mdadm mkfs modinfo multipath nft nologin parted partprobe pidof " +
		"restorecon runuser setenforce setfiles setpci setsebool sgdisk ss swapoff swapon sysctl tc usermod vgs wipefs zramctl",
}

const unitDir = "/usr/lib/systemd/system/"

func (t tree) mustPut(p string, data []byte) {
	if _, err := t.put(p, regular(data)); err != nil {
		panic(fmt.Sprintf("%s: %v", p, err))
	}
}
