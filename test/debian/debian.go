// Package debian fetches Debian packages, of any suite and architecture, for
// tests that need the real thing: kernels, kmod, systemd.
//
// apt does the work and checks the signatures. It runs with a private state
// directory: the machine's own package lists, configuration and database stay
// as they are. Mirrors are those of the machine's own apt sources. What was
// fetched is unpacked once, into the cache, and then used without asking any
// server again.
package debian

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/test/cache"
	"github.com/sctp-agent/sctp-agent/test/child"
)

// Suite is a Debian release by its code name.
type Suite string

const (
	Bullseye Suite = "bullseye" // Debian 11: kmod 28, systemd 247, Linux 5.10
	Bookworm Suite = "bookworm" // Debian 12: kmod 30, systemd 252, Linux 6.1
	Trixie   Suite = "trixie"   // Debian 13: kmod 34, systemd 257, Linux 6.12
	// Forky is to be Debian 14, and moves until then: kmod 34, systemd 262 and
	// Linux 7.2 in November 2026.
	Forky Suite = "forky"
)

// Archive is one suite for one architecture.
type Archive struct {
	suite Suite
	arch  string
}

// Open returns the archive of a suite for a Debian architecture ("amd64");
// "" means this machine's. Nothing is fetched yet.
func Open(suite Suite, arch string) *Archive {
	if arch == "" {
		arch = runtime.GOARCH // the same names as Debian's, where we run
	}
	return &Archive{suite: suite, arch: arch}
}

// Tree returns a directory with exactly these packages unpacked.
//
// It looks like a host's root whose packages' maintainer scripts never ran:
// /bin, /sbin and /lib are links into /usr, and /var/lib/dpkg has the status
// and the file lists of the packages. It is shared and must not be changed.
func (a *Archive) Tree(ctx context.Context, packages ...string) (string, error) {
	return a.tree(ctx, false, packages)
}

// TreeWithDepends is [Archive.Tree] of the packages and of everything they
// depend on.
func (a *Archive) TreeWithDepends(ctx context.Context, packages ...string) (string, error) {
	return a.tree(ctx, true, packages)
}

// Kernel returns a tree with the kernel that a package such as
// "linux-image-cloud-amd64" stands for, and the kernel's release. The image itself
// is boot/vmlinuz-RELEASE.
func (a *Archive) Kernel(ctx context.Context, metapackage string) (dir, release string, err error) {
	dir, err = a.cached(ctx, []string{"kernel", metapackage}, func(ctx context.Context, apt *apt, dir string) error {
		images, err := apt.kernelImages(ctx, metapackage)
		if err != nil {
			return err
		}
		var failed []error
		for _, image := range images {
			parts, err := apt.kernelParts(ctx, image)
			if err == nil {
				err = apt.unpack(ctx, dir, false, parts)
			}
			if err == nil {
				return linkKernel(dir)
			}
			failed = append(failed, err)
		}
		return errors.Join(failed...)
	})
	if err != nil {
		return "", "", err
	}
	entries, err := os.ReadDir(filepath.Join(dir, "usr/lib/modules"))
	if err != nil {
		return "", "", err
	}
	if len(entries) != 1 {
		return "", "", fmt.Errorf("%s: %d kernels in /lib/modules, want 1", dir, len(entries))
	}
	return dir, entries[0].Name(), nil
}

func (a *Archive) tree(ctx context.Context, depends bool, packages []string) (string, error) {
	packages = slices.Sorted(slices.Values(packages))
	key := append([]string{fmt.Sprint(depends)}, packages...)
	return a.cached(ctx, key, func(ctx context.Context, apt *apt, dir string) error {
		return apt.unpack(ctx, dir, depends, packages)
	})
}

func (a *Archive) cached(ctx context.Context, key []string, fill func(context.Context, *apt, string) error) (string, error) {
	sum := sha256.Sum256([]byte(strings.Join(key, "\n")))
	home := fmt.Sprintf("debian/%s-%s", a.suite, a.arch)
	return cache.Once(ctx, home+"/"+hex.EncodeToString(sum[:8]), func(ctx context.Context, dir string) error {
		// One apt at a time in one state directory.
		unlock, err := cache.Lock(ctx, home+"/apt")
		if err != nil {
			return err
		}
		defer unlock()
		root, err := cache.Dir()
		if err != nil {
			return err
		}
		return a.withMirror(ctx, filepath.Join(root, home, "apt"), func(apt *apt) error {
			return fill(ctx, apt, dir)
		})
	})
}

// withMirror calls use with an apt that has the suite's package lists. Where
// that fails with lists of an earlier day (packages are replaced by newer
// ones), it tries once more with new lists; and then with those of the release
// alone, which hardly ever change, for a mirror that has an index of newer
// packages and not the packages, or half an index. Its error says how each of
// these failed.
func (a *Archive) withMirror(ctx context.Context, state string, use func(*apt) error) error {
	m, err := machineMirror(ctx)
	if err != nil {
		return err
	}
	apt := &apt{state: state, suite: a.suite, arch: a.arch}
	var failed []error
	if _, err := os.Stat(apt.stamp()); err == nil {
		if err = use(apt); err == nil {
			return nil
		}
		failed = append(failed, err)
	}
	for _, newer := range []bool{true, false} {
		err := apt.update(ctx, m, newer)
		if err == nil {
			err = use(apt)
		}
		if err == nil {
			return nil
		}
		if failed = append(failed, err); ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

type mirror struct{ main, security string }

// machineMirror is the mirror that this machine's apt uses, so that a local
// mirror or proxy is used here too.
func machineMirror(ctx context.Context) (mirror, error) {
	out, err := run(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages")
	if err != nil {
		return mirror{}, err
	}
	var m mirror
	for uri := range strings.FieldsSeq(string(out)) {
		uri = strings.TrimRight(uri, "/")
		switch {
		case strings.HasSuffix(uri, "/debian") && m.main == "":
			m.main = uri
		case strings.HasSuffix(uri, "/debian-security") && m.security == "":
			m.security = uri
		}
	}
	if m.main == "" {
		return mirror{}, errors.New("this machine's apt sources name no Debian mirror (a URI that ends in /debian)")
	}
	if m.security == "" {
		m.security = m.main + "-security"
	}
	return m, nil
}

// keyring is where the package debian-archive-keyring keeps the keys of all
// suites.
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// apt runs apt's programs on a private state directory.
type apt struct {
	state string
	suite Suite
	arch  string
}

func (a *apt) stamp() string  { return filepath.Join(a.state, "updated") }
func (a *apt) config() string { return filepath.Join(a.state, "apt.conf") }

// update writes the configuration and fetches the package lists: those of the
// release, and if newer is set, of what came after it.
func (a *apt) update(ctx context.Context, m mirror, newer bool) error {
	for _, dir := range []string{"state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(a.state, dir), 0o755); err != nil {
			return err
		}
	}
	// Read after the machine's own configuration (apt.conf(5)), which may
	// have a proxy: only what names the machine's state is replaced, hooks
	// that act on it are cleared, and the empty status file stands for a
	// machine with nothing installed.
	config := fmt.Sprintf(`Dir::State "%[1]s/state";
Dir::State::status "%[1]s/status";
Dir::Cache "%[1]s/cache";
Dir::Etc::sourcelist "%[1]s/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "%[2]s";
#clear APT::Architectures;
APT::Architectures "%[2]s";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "3";
#clear Acquire::IndexTargets::deb::DEP-11;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
`, a.state, a.arch)
	archives := []struct{ uri, suite string }{
		{m.main, string(a.suite)},
		{m.main, string(a.suite) + "-updates"},
		{m.security, string(a.suite) + "-security"},
	}
	if !newer {
		archives = archives[:1]
	}
	var sources strings.Builder
	for _, s := range archives {
		fmt.Fprintf(&sources, "deb [signed-by=%s] %s %s main\n", keyring, s.uri, s.suite)
	}
	if a.suite == Forky {
		// Not released: its lists are good for a week, and a mirror's copy may be
		// older.
		config += "Acquire::Check-Valid-Until \"false\";\n"
	}
	for name, text := range map[string]string{"apt.conf": config, "sources.list": sources.String(), "status": ""} {
		if err := os.WriteFile(filepath.Join(a.state, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if _, err := run(ctx, "apt-get", "-c", a.config(), "-q", "--error-on=any", "update"); err != nil {
		return err
	}
	return os.WriteFile(a.stamp(), nil, 0o644)
}

func (a *apt) cache(ctx context.Context, args ...string) ([]byte, error) {
	return run(ctx, "apt-cache", append([]string{"-c", a.config()}, args...)...)
}

// kernelImages are the packages with the kernel that a metapackage stands for,
// and then those with earlier builds of it that the archive still lists: a
// mirror may not have the newest one yet.
func (a *apt) kernelImages(ctx context.Context, metapackage string) ([]string, error) {
	out, err := a.cache(ctx, "depends", "--important", metapackage)
	if err != nil {
		return nil, err
	}
	m := regexp.MustCompile(`(?m)^ *Depends: (linux-image-\d\S+)$`).FindStringSubmatch(string(out))
	if m == nil {
		return nil, fmt.Errorf("%s depends on no kernel image:\n%s", metapackage, out)
	}
	builds := regexp.MustCompile(`\d+`).ReplaceAllString(regexp.QuoteMeta(m[1]), "[0-9]+")
	if out, err = a.cache(ctx, "search", "--names-only", "^"+builds+"$"); err != nil {
		return nil, err
	}
	images := m[1:]
	for line := range strings.Lines(string(out)) {
		if name, _, _ := strings.Cut(line, " "); name != m[1] {
			images = append(images, name)
		}
	}
	return images, nil
}

// kernelParts are the packages that a kernel is in: up to Debian 13 one, then
// one for the image, one for the modules and one for what both have in common.
func (a *apt) kernelParts(ctx context.Context, image string) ([]string, error) {
	out, err := a.cache(ctx, "depends", "--important", image)
	if err != nil {
		return nil, err
	}
	build := regexp.QuoteMeta(strings.TrimPrefix(image, "linux-image-"))
	parts := []string{image}
	for _, m := range regexp.MustCompile(`(?m)^ *Depends: (linux-[a-z]+-`+build+`)$`).FindAllStringSubmatch(string(out), -1) {
		parts = append(parts, m[1])
	}
	return parts, nil
}

// linkKernel gives a kernel whose image is beside its modules the name that it
// has in /boot, which a maintainer script would.
func linkKernel(dir string) error {
	images, err := filepath.Glob(filepath.Join(dir, "usr/lib/modules/*/vmlinuz"))
	if err != nil || len(images) == 0 {
		return err
	}
	release := filepath.Base(filepath.Dir(images[0]))
	if err := os.MkdirAll(filepath.Join(dir, "boot"), 0o755); err != nil {
		return err
	}
	return os.Symlink("../usr/lib/modules/"+release+"/vmlinuz", filepath.Join(dir, "boot/vmlinuz-"+release))
}

// unpack fetches packages and unpacks them into dir.
func (a *apt) unpack(ctx context.Context, dir string, depends bool, packages []string) error {
	debs, err := os.MkdirTemp(a.state, "debs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(debs)
	if depends {
		// "install" resolves what "download" does not; it stops short of
		// installing anything.
		if err := os.Mkdir(filepath.Join(debs, "partial"), 0o755); err != nil {
			return err
		}
		_, err = run(ctx, "apt-get", append([]string{"-c", a.config(), "-o", "Dir::Cache::archives=" + debs,
			"-q", "-y", "--download-only", "install"}, packages...)...)
	} else {
		_, err = runIn(ctx, debs, "apt-get", append([]string{"-c", a.config(), "-q", "download"}, packages...)...)
	}
	if err != nil {
		return err
	}
	for _, link := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.MkdirAll(filepath.Join(dir, "usr", link), 0o755); err != nil {
			return err
		}
		if err := os.Symlink("usr/"+link, filepath.Join(dir, link)); err != nil {
			return err
		}
	}
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return err
	}
	if len(files) < len(packages) {
		return fmt.Errorf("apt fetched %d packages, want at least %d", len(files), len(packages))
	}
	for _, deb := range files {
		if err := unpackDeb(ctx, dir, deb); err != nil {
			return fmt.Errorf("unpacking %s: %w", filepath.Base(deb), err)
		}
	}
	return nil
}

// unpackDeb unpacks one package, and enters it into the tree's dpkg database
// as dpkg would: programs that ask "which version is installed here" get the
// true answer.
func unpackDeb(ctx context.Context, dir, deb string) error {
	tar := filepath.Join(dir, ".data.tar")
	data, err := os.Create(tar)
	if err != nil {
		return err
	}
	defer os.Remove(tar)
	defer data.Close()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	cmd.Stdout, cmd.Stderr = data, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("dpkg-deb --fsys-tarfile: %w\n%s", err, stderr.Bytes())
	}
	list, err := run(ctx, "tar", "-xvf", tar, "-C", dir, "--keep-directory-symlink")
	if err != nil {
		return err
	}
	control, err := run(ctx, "dpkg-deb", "-f", deb)
	if err != nil {
		return err
	}
	name, err := run(ctx, "dpkg-deb", "-f", deb, "Package")
	if err != nil {
		return err
	}
	var paths strings.Builder
	for path := range strings.Lines(string(list)) {
		paths.WriteString("/" + strings.Trim(strings.TrimPrefix(path, "."), "/\n") + "\n")
	}
	info := filepath.Join(dir, "var/lib/dpkg/info")
	if err := os.MkdirAll(info, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(info, strings.TrimSpace(string(name))+".list"), []byte(paths.String()), 0o644); err != nil {
		return err
	}
	status, err := os.OpenFile(filepath.Join(dir, "var/lib/dpkg/status"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer status.Close()
	first, rest, _ := strings.Cut(strings.TrimSpace(string(control)), "\n")
	if _, err := fmt.Fprintf(status, "%s\nStatus: install ok installed\n%s\n\n", first, rest); err != nil {
		return err
	}
	return status.Close()
}

// Files lists the paths ("/usr/bin/kmod") that packages brought into a tree.
func Files(tree string, packages ...string) (paths []string, err error) {
	for _, pkg := range packages {
		b, err := os.ReadFile(filepath.Join(tree, "var/lib/dpkg/info", pkg+".list"))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("the package %s is not in %s", pkg, tree)
		}
		if err != nil {
			return nil, err
		}
		paths = append(paths, strings.Fields(string(b))...)
	}
	return paths, nil
}

func run(ctx context.Context, name string, args ...string) ([]byte, error) {
	return runIn(ctx, "", name, args...)
}

func runIn(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	return child.Output(cmd)
}
