package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/test/cache"
)

// tool is built from the module of that name here, and kept in the cache.
func tool(ctx context.Context, name, pkg string) (path string, err error) {
	sum, err := os.ReadFile(filepath.Join(name, "go.sum"))
	if err != nil {
		return "", err
	}
	key := sha256.Sum256(sum)
	dir, err := cache.Once(ctx, name+"/"+hex.EncodeToString(key[:6]), func(ctx context.Context, dir string) error {
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir, pkg)
		build.Dir = name
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", name, err, out)
		}
		return nil
	})
	return filepath.Join(dir, name), err
}

// A release is the same each time. Signed, it is verified offline with the public key, and one that was
// altered afterwards, or that another key has signed, is not.
func TestReleaseIsSigned(t *testing.T) {
	if testing.Short() {
		t.Skip("only in make test-full")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute) // cosign's first build
	defer cancel()
	program, err := tool(ctx, "cosign", "github.com/sigstore/cosign/v3/cmd/cosign")
	if err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"), "COSIGN_PASSWORD=a test's", "HOME="+t.TempDir(),
		"IMAGES=no", "PLUGINS=linux/amd64")
	// What Go has built and fetched is found without that home.
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH"} {
		out, err := exec.CommandContext(ctx, "go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		env = append(env, name+"="+strings.TrimSpace(string(out)))
	}
	run := func(dir string, argv ...string) error {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Dir, cmd.Env = dir, env
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w\n%s", argv, err, out)
		}
		return nil
	}
	keys, others, out := t.TempDir(), t.TempDir(), t.TempDir()
	for _, dir := range []string{keys, others} {
		if err := run(dir, program, "generate-key-pair"); err != nil {
			t.Fatal(err)
		}
	}
	script, err := filepath.Abs("../../hack/release")
	if err != nil {
		t.Fatal(err)
	}
	env = append(env, "COSIGN_KEY="+filepath.Join(keys, "cosign.key"))
	if err := run(".", script, version, out); err != nil {
		t.Fatal(err)
	}
	// As SECURITY.md says.
	verify := func(keys string) error {
		return run(out, program, "verify-blob", "--key", filepath.Join(keys, "cosign.pub"), "--insecure-ignore-tlog",
			"--bundle", "SHA256SUMS.sigstore.json", "SHA256SUMS")
	}
	if err := verify(keys); err != nil {
		t.Error(err)
	}
	if verify(others) == nil {
		t.Error("another key has signed it, too")
	}
	sums := filepath.Join(out, "SHA256SUMS")
	b, err := os.ReadFile(sums)
	if err != nil {
		t.Fatal(err)
	}
	// Made once more, from the same commit.
	again := t.TempDir()
	if out, err := release(t, version, again); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if second, err := os.ReadFile(filepath.Join(again, "SHA256SUMS")); err != nil || string(second) != string(b) {
		t.Errorf("%v\n%s\nthen\n%s", err, b, second)
	}
	if err := os.WriteFile(sums, []byte(strings.Replace(string(b), "sctp-agent-0.1.0.tgz", "sctp-agent-0.1.1.tgz", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if verify(keys) == nil {
		t.Error("an altered file is still signed")
	}
}
