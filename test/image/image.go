// Package image builds the programs' container images from the Dockerfile, with
// buildah and without a registry: the base of the builder stage is made of this
// machine's own Go toolchain and a static busybox.
package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/sctp-agent/sctp-agent/test/source"
)

// Programs that have an image. The first one's is the Dockerfile's last stage,
// which is what a build without a target makes.
func Programs() []string { return []string{"sctp-agent", "sctp-mesh", "kubectl-sctp"} }

// Platforms that the images are made for.
func Platforms() []string {
	return []string{"linux/amd64", "linux/arm64", "linux/ppc64le", "linux/s390x"}
}

// Options of a build.
type Options struct {
	// Dir takes the archive and the build's own storage.
	Dir string
	// Source is the tree that is built; "" means this one.
	Source string
	// Program is one of [Programs]; "" means the first one.
	Program string
	// Ref is the image's full name.
	Ref string
	// Version and Revision end up in the binary and in the labels.
	Version, Revision string
	// Platform is one of [Platforms]; "" means linux/amd64.
	Platform string
}

// Build makes the image, and returns the path of an archive in the form of
// "docker save", which container runtimes import. The bill of materials of the
// binary inside lies beside it ([SBOMPath]).
func Build(ctx context.Context, opts Options) (archive string, err error) {
	if opts.Platform == "" {
		opts.Platform = "linux/amd64"
	}
	tree := opts.Source
	if tree == "" {
		if tree, err = source.Root(); err != nil {
			return "", err
		}
	}
	b, err := NewBuilder(ctx, opts.Dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, b.Remove()) }()
	var target []string
	if opts.Program != "" && opts.Program != Programs()[0] {
		target = []string{"--target", opts.Program}
	}
	if err := b.run(ctx, slices.Concat([]string{"build"}, b.BuildFlags(), target, []string{
		"--platform", opts.Platform, "--build-arg", "BUILDPLATFORM=linux/" + runtime.GOARCH,
		"--build-arg", "VERSION=" + opts.Version, "--build-arg", "REVISION=" + opts.Revision,
		"--build-arg", "CREATED=" + time.Now().UTC().Format(time.RFC3339),
		"--tag", opts.Ref, "--file", filepath.Join(tree, "Dockerfile"), tree,
	})...); err != nil {
		return "", fmt.Errorf("building %s for %s: %w", opts.Ref, opts.Platform, err)
	}
	archive = filepath.Join(opts.Dir, strings.NewReplacer("/", "-", ":", "-").Replace(opts.Ref+"-"+opts.Platform)+".tar")
	if err := b.run(ctx, "push", "--quiet", opts.Ref, "docker-archive:"+archive+":"+opts.Ref); err != nil {
		return "", fmt.Errorf("writing %s: %w", archive, err)
	}
	program := opts.Program
	if program == "" {
		program = Programs()[0]
	}
	if err := writeSBOMOf(archive, program); err != nil {
		return "", err
	}
	return archive, nil
}

// Builder is buildah with a storage of its own, and a base for the Dockerfile's
// builder stage.
type Builder struct {
	root, base string
	env        map[string]string
}

// NewBuilder makes one with its storage in dir. [Builder.Remove] ends it.
func NewBuilder(ctx context.Context, dir string) (*Builder, error) {
	b := &Builder{root: filepath.Join(dir, "storage")}
	var err error
	if b.env, err = goEnv(ctx, "GOROOT", "GOMODCACHE", "GOCACHE", "GOPROXY"); err != nil {
		return nil, err
	}
	if b.base, err = b.makeBase(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("making the base of the builder: %w", err), b.Remove())
	}
	return b, nil
}

// Flags stand before buildah's command. vfs copies each layer, and works on every
// file system; the layers are small.
func (b *Builder) Flags() []string {
	return []string{"--storage-driver", "vfs", "--root", b.root, "--runroot", b.root + "-run"}
}

// BuildFlags are those of "buildah build".
func (b *Builder) BuildFlags() []string {
	return []string{
		"--isolation=chroot", "--pull-never",
		"--volume", b.env["GOROOT"] + ":/usr/local/go:ro",
		"--volume", b.env["GOMODCACHE"] + ":/go/pkg/mod",
		"--volume", b.env["GOCACHE"] + ":/root/.cache/go-build",
		"--build-arg", "BUILDER=" + b.base,
	}
}

func (b *Builder) run(ctx context.Context, args ...string) error {
	_, err := b.output(ctx, args...)
	return err
}

func (b *Builder) output(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "buildah", append(b.Flags(), args...)...)
	cmd.WaitDelay = 10 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		log := stdout.String() + stderr.String()
		if len(log) > 4000 {
			log = log[len(log)-4000:]
		}
		return "", fmt.Errorf("buildah %s: %w\n%s", args[0], err, log)
	}
	return strings.TrimSpace(stdout.String()), nil
}

// makeBase makes an image that the builder stage can stand on: a shell, and what
// Go's TLS trusts. The toolchain itself is mounted.
func (b *Builder) makeBase(ctx context.Context) (ref string, err error) {
	const name = "localhost/go-builder:test"
	ctr, err := b.output(ctx, "from", "scratch")
	if err != nil {
		return "", err
	}
	empty := b.root + "-empty"
	if err := os.Mkdir(empty, 0o755); err != nil {
		return "", err
	}
	defer os.Remove(empty)
	for _, args := range [][]string{
		{"copy", "--quiet", ctr, empty, "/tmp"},
		{"copy", "--quiet", ctr, "/bin/busybox", "/bin/busybox"},
		{"copy", "--quiet", ctr, "/bin/busybox", "/bin/sh"},
		{"copy", "--quiet", ctr, "/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/ca-certificates.crt"},
		{"config", "--env", "PATH=/usr/local/go/bin:/bin", "--env", "GOPATH=/go", "--env", "HOME=/root",
			"--env", "GOTOOLCHAIN=local", "--env", "GOPROXY=" + b.env["GOPROXY"], ctr},
		{"commit", "--quiet", "--rm", ctr, name},
	} {
		if err := b.run(ctx, args...); err != nil {
			return "", err
		}
	}
	return name, nil
}

// Remove the storage, with what layers of other users' files could keep from being
// removed by os.RemoveAll alone.
func (b *Builder) Remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_ = b.run(ctx, "rm", "--all")
	return errors.Join(os.RemoveAll(b.root), os.RemoveAll(b.root+"-run"))
}

func goEnv(ctx context.Context, names ...string) (map[string]string, error) {
	out, err := exec.CommandContext(ctx, "go", append([]string{"env"}, names...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("asking the Go toolchain for %v: %w", names, err)
	}
	lines := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	if len(lines) != len(names) {
		return nil, fmt.Errorf("asking the Go toolchain for %v: %q", names, out)
	}
	env := map[string]string{}
	for i, name := range names {
		env[name] = lines[i]
	}
	return env, nil
}
