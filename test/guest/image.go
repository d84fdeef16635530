package guest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ulikunitz/xz"

	"github.com/sctp-agent/sctp-agent/test/cache"
	"github.com/sctp-agent/sctp-agent/test/child"
	"github.com/sctp-agent/sctp-agent/test/debian"
	"github.com/sctp-agent/sctp-agent/test/guest/internal/wire"
)

// image is the part of a guest that many guests share.
type image struct {
	kernel  string // file
	initrd  string // file
	release string
	machine machine
}

// packages are those whose files guests always have, whole or in part.
var packages = []string{"base-files", "busybox-static", "iproute2", "kmod", "nftables", "systemd"}

// systemdPackages are those whose files a guest has besides, if systemd is its
// first process.
var systemdPackages = []string{"mount", "systemd", "systemd-sysv", "udev"}

// systemdLeft is what it does without of them: descriptions of hardware and of
// messages, and consoles to log in at.
var systemdLeft = []string{"usr/lib/udev/hwdb.d/", "usr/lib/systemd/catalog/", "usr/lib/systemd/system-generators/systemd-getty-generator", "usr/lib/systemd/system/getty.target.wants/"}

// serverUnit starts the server in such a guest, as early as it can be, and
// whatever becomes of the boot.
const serverUnit = `[Unit]
Description=Requests from the machine that runs this guest
DefaultDependencies=no
IgnoreOnIsolate=yes

[Service]
ExecStart=/init serve
`

// modules are those that guests have on disk, besides the ones that these
// need. A name that a kernel has built in is fine.
var modules = []string{
	"sctp", "sctp_diag", "inet_diag", "xt_sctp",
	"dummy", "veth", "vrf", "macvlan", "bridge", "tun", "sch_netem",
	"nf_tables", "nft_ct", "nft_limit", "nft_log", "nft_nat", "nft_masq", "nft_chain_nat",
	"nft_reject", "nft_reject_inet", "nft_reject_ipv4", "nft_reject_ipv6", "nft_compat",
	"nf_conntrack", "nf_conntrack_netlink",
	"ip_tables", "iptable_filter", "ip6_tables", "ip6table_filter",
	"xt_tcpudp", "xt_conntrack", "ipt_REJECT", "ip6t_REJECT",
}

// maybeModules are not in every kernel: an accelerated checksum, a feature
// that was a module once.
var maybeModules = []string{"crc32c_intel", "crc32c_generic", "nft_counter", "sha1_generic", "md5", "hmac", "ip_vti"}

// busyboxApplets are linked into /usr/bin unless a real program has the name.
// Not modprobe and its like: BusyBox's follow other rules than kmod's.
var busyboxApplets = strings.Fields(`[ awk basename cat chgrp chmod chown chroot cmp cp cut date dd df diff dirname dmesg du
	echo env expr false find free grep head hostname id kill killall ln ls mkdir mkfifo mknod mktemp more mount mv nc
	nohup nproc od pidof ping ping6 pivot_root printf ps pwd readlink realpath reset rm rmdir sed seq setsid sh sha256sum
	sleep sort stat strings sync sysctl tail tar tee test timeout touch tr true truncate tty umount uname uniq unshare
	usleep vi watch wc wget which xargs yes`)

func buildImage(ctx context.Context, cfg Config) (image, error) {
	cfg.Kernel = cmp.Or(cfg.Kernel, Linux61)
	m, err := cfg.Kernel.machine()
	if err != nil {
		return image{}, err
	}
	archive := debian.Open(m.suite, m.arch)
	kernelTree, release, err := archive.Kernel(ctx, m.image)
	if err != nil {
		return image{}, fmt.Errorf("fetching Linux %s: %w", cfg.Kernel, err)
	}
	wanted := append(slices.Clone(packages), cfg.Packages...)
	if !slices.Contains(wanted, m.modulesLoad) {
		wanted = append(wanted, m.modulesLoad)
	}
	if cfg.Systemd {
		wanted = append(wanted, systemdPackages...)
	}
	tree, err := archive.TreeWithDepends(ctx, wanted...)
	if err != nil {
		return image{}, fmt.Errorf("fetching the user space of %s: %w", m.suite, err)
	}
	init, err := goBuild(ctx, m.arch, testModule+"/guest/init", "build") // the guest's first process
	if err != nil {
		return image{}, err
	}
	inputs, err := json.Marshal([]any{
		imageVersion, kernelTree, tree, sha256.Sum256(init),
		cfg.Systemd, cfg.Packages, cfg.Modules, cfg.WithoutModules, modules, maybeModules, busyboxApplets, m.own,
	})
	if err != nil {
		return image{}, err
	}
	sum := sha256.Sum256(inputs)
	dir, err := cache.Once(ctx, "guest/"+hex.EncodeToString(sum[:8]), func(ctx context.Context, dir string) error {
		b := &builder{tree: tree, triplet: m.triplet, seen: map[string]bool{}}
		out, err := os.Create(filepath.Join(dir, "initrd"))
		if err != nil {
			return err
		}
		defer out.Close()
		b.archive = newArchive(out)
		if err := b.skeleton(cfg, m.modulesLoad, init); err != nil {
			return err
		}
		if err := b.modules(ctx, kernelTree, release, m.own, cfg.Modules, cfg.WithoutModules); err != nil {
			return err
		}
		if err := b.archive.Close(); err != nil {
			return err
		}
		return out.Close()
	})
	if err != nil {
		return image{}, err
	}
	return image{
		kernel:  filepath.Join(kernelTree, "boot/vmlinuz-"+release),
		initrd:  filepath.Join(dir, "initrd"),
		release: release,
		machine: m,
	}, nil
}

// imageVersion changes when the code below makes something else of the same
// inputs.
const imageVersion = 2

type builder struct {
	tree    string
	triplet string
	archive *archive
	seen    map[string]bool
}

func (b *builder) put(p string, mode fs.FileMode, data string) error {
	b.seen[merged(p)] = true
	return b.archive.add(wire.File{Path: p, Mode: mode, Data: []byte(data)})
}

func (b *builder) link(p, target string) error {
	if b.seen[merged(p)] {
		return nil
	}
	b.seen[merged(p)] = true
	return b.archive.add(wire.File{Path: p, Mode: fs.ModeSymlink, Link: target})
}

// skeleton puts everything but modules.
func (b *builder) skeleton(cfg Config, modulesLoad string, init []byte) error {
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := b.put("usr/"+dir, fs.ModeDir|0o755, ""); err != nil {
			return err
		}
		if err := b.link(dir, "usr/"+dir); err != nil {
			return err
		}
	}
	for _, dir := range []string{"proc", "sys", "dev", "run", "root", "etc", "etc/modprobe.d", "etc/modules-load.d", "var", "mnt", "opt", "home", "srv"} {
		if err := b.put(dir, fs.ModeDir|0o755, ""); err != nil {
			return err
		}
	}
	if err := b.put("tmp", fs.ModeDir|fs.ModeSticky|0o777, ""); err != nil {
		return err
	}
	for p, text := range map[string]string{
		"etc/passwd":   "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
		"etc/group":    "root:x:0:\nnogroup:x:65534:\n",
		"etc/hosts":    "127.0.0.1 localhost\n::1 localhost\n",
		"etc/hostname": "guest\n",
		// Debian's kmod makes it when it is installed; systemd's
		// /etc/modules-load.d/modules.conf is a link to it.
		"etc/modules": "# /etc/modules: kernel modules to load at boot time.\n",
	} {
		if err := b.put(p, 0o644, text); err != nil {
			return err
		}
	}
	if err := b.archive.add(wire.File{Path: "init", Mode: 0o755, Data: init}); err != nil {
		return err
	}

	if cfg.Systemd {
		const units = "usr/lib/systemd/system/"
		if err := b.put(units+"guest.service", 0o644, serverUnit); err != nil {
			return err
		}
		if err := b.link(units+"sysinit.target.wants/guest.service", "../guest.service"); err != nil {
			return err
		}
		// Without one, systemd takes the boot for the first of an image, and
		// enables units (machine-id(5)).
		if err := b.put("etc/machine-id", 0o444, strings.Repeat("5", 32)+"\n"); err != nil {
			return err
		}
	}

	paths, err := debian.Files(b.tree, append([]string{"kmod", "iproute2", "nftables"}, cfg.Packages...)...)
	if err != nil {
		return err
	}
	// Of these packages only what bears on modules.
	files, err := debian.Files(b.tree, slices.Compact([]string{"systemd", modulesLoad})...)
	if err != nil {
		return err
	}
	for _, p := range files {
		switch dir, name := path.Split(merged(p)); {
		case strings.HasSuffix(dir, "/modprobe.d/"), strings.HasSuffix(dir, "/modules-load.d/"), strings.HasSuffix(dir, "/sysctl.d/"),
			name == "systemd-modules-load", name == "systemd-sysctl":
			paths = append(paths, p)
		}
	}
	if cfg.Systemd {
		files, err := debian.Files(b.tree, systemdPackages...)
		if err != nil {
			return err
		}
		paths = append(paths, slices.DeleteFunc(files, func(p string) bool {
			return slices.ContainsFunc(systemdLeft, func(left string) bool { return strings.HasPrefix(merged(p), left) })
		})...)
	}
	paths = append(paths, "/etc/os-release", "/usr/lib/os-release", "/etc/debian_version", "/usr/bin/busybox", "/bin/busybox", "/var/lib/dpkg/status")
	// systemd 256 and later, and kmod 34, open these by name at run time.
	for _, lib := range []string{"libkmod.so.2", "liblzma.so.5", "libzstd.so.1"} {
		paths = append(paths, path.Join("usr/lib", b.triplet, lib))
	}
	for _, p := range paths {
		p = merged(p)
		if strings.HasPrefix(p, "usr/share/") {
			continue // documentation
		}
		if err := b.copy(p); err != nil {
			return fmt.Errorf("/%s of the Debian packages: %w", p, err)
		}
	}
	for _, want := range []string{"usr/bin/kmod", "usr/sbin/modprobe", "usr/bin/busybox", "usr/lib/systemd/systemd-modules-load", "usr/lib/systemd/systemd-sysctl"} {
		if !b.seen[want] {
			return fmt.Errorf("/%s is in none of the Debian packages", want)
		}
	}
	for _, name := range busyboxApplets {
		if b.seen["usr/bin/"+name] || b.seen["usr/sbin/"+name] {
			continue
		}
		if err := b.link("usr/bin/"+name, "busybox"); err != nil {
			return err
		}
	}
	return nil
}

// copy puts one file of the tree, with what it links to, and the shared
// libraries that it needs. What is not there is left out: a list names files
// of several releases.
func (b *builder) copy(p string) error {
	if b.seen[p] {
		return nil
	}
	full := filepath.Join(b.tree, p)
	info, err := os.Lstat(full)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	b.seen[p] = true
	f := wire.File{Path: p, Mode: info.Mode(), ModTime: info.ModTime()}
	switch info.Mode().Type() {
	case fs.ModeDir:
		return b.archive.add(f)
	case fs.ModeSymlink:
		if f.Link, err = os.Readlink(full); err != nil {
			return err
		}
		if err := b.archive.add(f); err != nil {
			return err
		}
		target := f.Link
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(p), target)
		}
		return b.copy(merged(target))
	case 0:
		if f.Data, err = os.ReadFile(full); err != nil {
			return err
		}
		if err := b.archive.add(f); err != nil {
			return err
		}
		return b.libraries(p, f.Data)
	}
	return nil
}

// libraries puts what the dynamic linker would look for (ld.so(8)).
func (b *builder) libraries(p string, data []byte) error {
	if !bytes.HasPrefix(data, []byte(elf.ELFMAG)) {
		return nil
	}
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return err
	}
	defer f.Close()
	for _, prog := range f.Progs {
		if prog.Type == elf.PT_INTERP {
			interp, err := io.ReadAll(prog.Open())
			if err != nil {
				return err
			}
			if err := b.copy(merged(string(bytes.TrimRight(interp, "\x00")))); err != nil {
				return err
			}
		}
	}
	needed, err := f.DynString(elf.DT_NEEDED)
	if err != nil {
		return nil // a static program
	}
	dirs := []string{"usr/lib/" + b.triplet, "usr/lib", "usr/lib/" + b.triplet + "/systemd", "usr/lib/systemd"}
	for _, lib := range needed {
		found := false
		for _, dir := range dirs {
			lp := path.Join(dir, lib)
			if _, err := os.Lstat(filepath.Join(b.tree, lp)); err == nil {
				if err := b.copy(lp); err != nil {
					return err
				}
				found = true
				break
			}
		}
		// A plug-in (of tc, say) may need what only a recommended package
		// brings; there it is unusable on a real host too.
		dir := path.Dir(p)
		plugin := !slices.Contains(dirs, dir) && dir != "usr/bin" && dir != "usr/sbin"
		if !found && !plugin {
			return fmt.Errorf("%s needs %s, which no package brought", p, lib)
		}
	}
	return nil
}

// moduleName is the name of the module in a file.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// modules puts a part of the kernel's modules, with the indexes that depmod
// makes of this part: a host with this kernel whose other modules are in a
// package that is not installed.
func (b *builder) modules(ctx context.Context, kernelTree, release string, own, extra, without []string) error {
	src := filepath.Join(kernelTree, "usr/lib/modules", release)
	deps, err := dependencies(ctx, kernelTree, release)
	if err != nil {
		return err
	}
	builtin := map[string]bool{}
	names, err := os.ReadFile(filepath.Join(src, "modules.builtin"))
	if err != nil {
		return err
	}
	for file := range strings.FieldsSeq(string(names)) {
		builtin[moduleName(file)] = true
	}

	picked := map[string]bool{} // files below src
	pick := func(name string, must bool) ([]string, error) {
		name = strings.ReplaceAll(name, "-", "_")
		files := deps[name]
		if files == nil && must && !builtin[name] {
			return nil, fmt.Errorf("no module %s in Linux %s", name, release)
		}
		for _, f := range files {
			picked[f] = true
		}
		return files, nil
	}
	for _, name := range slices.Concat(modules, extra) {
		if _, err := pick(name, true); err != nil {
			return err
		}
	}
	for _, name := range maybeModules {
		if _, err := pick(name, false); err != nil {
			return err
		}
	}
	for _, name := range without {
		for file := range picked {
			if moduleName(file) == name {
				delete(picked, file)
			}
		}
	}
	var ownFiles []string
	for _, name := range own {
		files, err := pick(name, true)
		if err != nil {
			return err
		}
		for _, file := range slices.Backward(files) { // modules.dep has what is needed behind
			to := "/usr/lib/guest/" + moduleName(file) + ".ko"
			if slices.Contains(ownFiles, to) {
				continue
			}
			ownFiles = append(ownFiles, to)
			image, err := decompressed(filepath.Join(src, file))
			if err != nil {
				return err
			}
			if err := b.put(to, 0o644, string(image)); err != nil {
				return err
			}
		}
	}
	if err := b.put("/usr/lib/guest/modules", 0o644, strings.Join(ownFiles, "\n")+"\n"); err != nil {
		return err
	}

	// depmod(8) on a directory with just these.
	root, err := os.MkdirTemp("", "guest-modules-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	dir := filepath.Join(root, "lib/modules", release)
	files := slices.Sorted(maps.Keys(picked))
	for _, f := range append(files, "modules.builtin", "modules.builtin.modinfo", "modules.order") {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, f)), 0o755); err != nil {
			return err
		}
		data, err := os.ReadFile(filepath.Join(src, f))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, f), data, 0o644); err != nil {
			return err
		}
	}
	if _, err := depmod(ctx, "-b", root, release); err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return b.put(rel, 0o644, string(data))
	})
}

// dependencies gives for each module its file, and the files of those that it
// needs, in the order of modules.dep(5).
func dependencies(ctx context.Context, tree, release string) (map[string][]string, error) {
	out, err := depmod(ctx, "-n", "-b", tree, release)
	if err != nil {
		return nil, err
	}
	deps := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		file, needs, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok || !strings.HasPrefix(file, "kernel/") || !strings.Contains(file, ".ko") {
			continue // of another of the files that depmod prints one after the other
		}
		deps[moduleName(file)] = append([]string{file}, strings.Fields(needs)...)
	}
	if len(deps) == 0 {
		return nil, fmt.Errorf("depmod found no module of Linux %s in %s", release, tree)
	}
	return deps, nil
}

func depmod(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "depmod", args...)
	// Not on an ordinary user's PATH.
	cmd.Path, cmd.Err = "/sbin/depmod", nil
	return child.Output(cmd)
}

func decompressed(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil || !strings.HasSuffix(file, ".xz") {
		return data, err
	}
	r, err := xz.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if data, err = io.ReadAll(r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return data, nil
}

// ModuleFile is the file of a module of the kernel as a guest has it: what a
// test changes to see what the kernel says to it.
func ModuleFile(ctx context.Context, k Kernel, name string) (File, error) {
	m, err := k.machine()
	if err != nil {
		return File{}, err
	}
	tree, release, err := debian.Open(m.suite, m.arch).Kernel(ctx, m.image)
	if err != nil {
		return File{}, fmt.Errorf("fetching Linux %s: %w", k, err)
	}
	deps, err := dependencies(ctx, tree, release)
	if err != nil {
		return File{}, err
	}
	files := deps[name]
	if len(files) == 0 {
		return File{}, fmt.Errorf("no module %s in Linux %s", name, release)
	}
	path := filepath.Join("/usr/lib/modules", release, files[0])
	data, err := os.ReadFile(filepath.Join(tree, path))
	if err != nil {
		return File{}, err
	}
	return File{Path: path, Mode: 0o644, Data: data}, nil
}
