package chart

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/sctp-agent/sctp-agent/test/cache"
	"github.com/sctp-agent/sctp-agent/test/child"
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
	goversion, err := child.Output(exec.CommandContext(ctx, "go", "env", "GOVERSION", "GOOS", "GOARCH"))
	if err != nil {
		return "", err
	}
	h.Write(goversion)
	dir, err := cache.Once(ctx, "helm/"+hex.EncodeToString(h.Sum(nil))[:12], func(ctx context.Context, dir string) error {
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir, "helm.sh/helm/v3/cmd/helm")
		build.Dir = module
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		_, err := child.Output(build)
		return err
	})
	return filepath.Join(dir, "helm"), err
}
