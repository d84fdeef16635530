package controlplane

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/sctp-agent/sctp-agent/test/cache"
	"github.com/sctp-agent/sctp-agent/test/child"
	"github.com/sctp-agent/sctp-agent/test/source"
)

// Component is a program of the control plane, by the name of its binary.
type Component string

// The programs that test/controlplane/components/go.mod knows.
const (
	Etcd              Component = "etcd"
	APIServer         Component = "kube-apiserver"
	ControllerManager Component = "kube-controller-manager"
	Scheduler         Component = "kube-scheduler"
	Kubelet           Component = "kubelet"
	Kubectl           Component = "kubectl"
	KubeProxy         Component = "kube-proxy"
)

func (c Component) pkg() string {
	if c == Etcd {
		return "go.etcd.io/etcd/server/v3"
	}
	return "k8s.io/kubernetes/cmd/" + string(c)
}

// ldflags are what Kubernetes' own build sets, as far as behaviour depends on
// it: a version of "v0.0.0-master" makes kubelet and kubectl warn about skew.
func (c Component) ldflags() string {
	major, minor, _ := strings.Cut(strings.TrimPrefix(c.version(), "v"), ".")
	minor, _, _ = strings.Cut(minor, ".")
	const v = "k8s.io/component-base/version."
	return fmt.Sprintf("-s -w -X %sgitVersion=%s -X %sgitMajor=%s -X %sgitMinor=%s", v, c.version(), v, major, v, minor)
}

// Progress is what a build has to say about itself.
type Progress struct {
	Component Component
	// Compiled counts the packages compiled so far, out of Packages that the
	// program consists of; what the build cache already holds is not
	// compiled again, so a build may end long before the two are equal.
	Compiled, Packages int
	Elapsed            time.Duration
	// Done says that the binary is there.
	Done bool
	// Cached says that it was there from the start.
	Cached bool
}

func (p Progress) String() string {
	switch {
	case p.Cached:
		return fmt.Sprintf("%s: found in the cache", p.Component)
	case p.Done:
		return fmt.Sprintf("%s: built in %s", p.Component, p.Elapsed.Round(time.Second))
	}
	if p.Packages == 0 {
		return fmt.Sprintf("%s: looking at its sources", p.Component)
	}
	return fmt.Sprintf("%s: compiling, %d of at most %d packages, %s", p.Component, p.Compiled, p.Packages, p.Elapsed.Round(time.Second))
}

// Build makes sure that the given components are built, from the modules in
// components/go.mod or those of another version ([ServerVersion]), and says where
// they are. What was built before by the same
// toolchain from the same modules with the same flags is not built again; a
// first kube-apiserver takes six to seven minutes on two cores, one from a warm
// Go build cache some seconds. Concurrent calls, of other processes too, wait
// for each other.
//
// progress may be nil; it is called from one goroutine at a time, at least
// every two seconds while something is compiled.
func Build(ctx context.Context, progress func(Progress), components ...Component) (paths map[Component]string, err error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	root, err := cache.Dir()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(root, "bin")
	paths = map[Component]string{}
	missing := false
	for _, c := range components {
		key, err := c.cacheKey(ctx)
		if err != nil {
			return nil, err
		}
		paths[c] = filepath.Join(dir, key, string(c))
		if err := os.MkdirAll(filepath.Dir(paths[c]), 0o755); err != nil {
			return nil, fmt.Errorf("creating the build cache: %w", err)
		}
		if _, err := os.Stat(paths[c]); err != nil {
			missing = true
		}
	}
	if missing {
		unlock, err := cache.Lock(ctx, "bin/build")
		if err != nil {
			return nil, err
		}
		defer unlock()
	}
	for _, c := range components {
		if _, err := os.Stat(paths[c]); err == nil {
			progress(Progress{Component: c, Done: true, Cached: true})
			continue
		}
		if err := build(ctx, dir, c, paths[c], progress); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// sourceDir has the go.mod that the components are built from. It cannot be embedded: a
// module's files end where another module begins.
func sourceDir() (string, error) {
	root, err := source.Root()
	return filepath.Join(root, "test/controlplane/components"), err
}

// cacheKey names everything that decides what a built program is. Another
// version's modules are decided by the version.
func (c Component) cacheKey(ctx context.Context) (string, error) {
	h := sha256.New()
	if c.version() == Version {
		src, err := sourceDir()
		if err != nil {
			return "", err
		}
		for _, name := range []string{"go.mod", "go.sum"} {
			b, err := os.ReadFile(filepath.Join(src, name))
			if err != nil {
				return "", fmt.Errorf("reading what the control plane is built from: %w", err)
			}
			fmt.Fprintf(h, "%s %d\n%s", name, len(b), b)
		}
	}
	out, err := child.Output(goCommand(ctx, os.TempDir(), "env", "GOVERSION", "GOOS", "GOARCH", "GOAMD64", "GOARM64"))
	if err != nil {
		return "", fmt.Errorf("asking the Go toolchain for its version: %w", err)
	}
	fmt.Fprintf(h, "%s\n%s", out, c.ldflags())
	return c.version() + "-" + hex.EncodeToString(h.Sum(nil))[:12], nil
}

func goCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	// The compilers that the go command started hold its output open; do not
	// wait for them once it is killed.
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

func build(ctx context.Context, cache string, c Component, dst string, progress func(Progress)) error {
	start := time.Now()
	p := Progress{Component: c}
	report := func() { p.Elapsed = time.Since(start); progress(p) }
	report()

	src, modules, err := c.source(ctx, cache)
	if err != nil {
		return err
	}
	out, err := child.Output(goCommand(ctx, src, "list", modules, "-deps", c.pkg()))
	if err != nil {
		return fmt.Errorf("listing the packages of %s: %w", c, err)
	}
	p.Packages = bytes.Count(out, []byte("\n"))

	// -v prints each package as it is compiled, on standard error among the
	// errors themselves.
	tmp := fmt.Sprintf("%s.%d.tmp", dst, os.Getpid())
	defer os.Remove(tmp)
	// The linker leaves out what debuggers read; so the compiler need not make it.
	cmd := goCommand(ctx, src, "build", modules, "-v", "-trimpath", "-gcflags=all=-dwarf=false", "-ldflags", c.ldflags(), "-o", tmp, c.pkg())
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return fmt.Errorf("building %s: %w", c, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("building %s: %w", c, err)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		s := bufio.NewScanner(stderr)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			lines <- s.Text()
		}
		io.Copy(io.Discard, stderr)
	}()
	var last []string
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for open := true; open; {
		select {
		case line, ok := <-lines:
			if open = ok; !ok {
				break
			}
			p.Compiled++
			if last = append(last, line); len(last) > 20 {
				last = last[1:]
			}
		case <-tick.C:
			report()
		}
	}
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("building %s: %w\n%s", c, err, strings.Join(last, "\n"))
	}
	if err := os.Rename(tmp, dst); err != nil {
		return fmt.Errorf("keeping the built %s: %w", c, err)
	}
	p.Done = true
	report()
	return nil
}
