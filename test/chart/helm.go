package chart

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/sctp-agent/sctp-agent/test/cache"
)

// Helm builds Helm from the module in that directory (this package's helm/), keeps
// it in the cache, and returns the program's path.
func Helm(ctx context.Context, module string) (string, error) {
	h := sha256.New()
	for _, name := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			return "", err
		}
		h.Write(b)
	}
	goversion, err := exec.CommandContext(ctx, "go", "env", "GOVERSION", "GOOS", "GOARCH").Output()
	if err != nil {
		return "", fmt.Errorf("asking for the Go version: %w", err)
	}
	h.Write(goversion)
	dir, err := cache.Once(ctx, "helm/"+hex.EncodeToString(h.Sum(nil))[:12], func(ctx context.Context, dir string) error {
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir, "helm.sh/helm/v3/cmd/helm")
		build.Dir = module
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("building Helm: %w\n%s", err, out)
		}
		return nil
	})
	return filepath.Join(dir, "helm"), err
}
