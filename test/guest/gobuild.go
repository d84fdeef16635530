package guest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/test/child"
	"github.com/sctp-agent/sctp-agent/test/source"
)

// testModule is the module that this package is in; the product's module has
// it as a subdirectory.
const testModule = "github.com/sctp-agent/sctp-agent/test"

// GoProgram compiles a Go program of the product or of its tests, statically
// and for this machine's architecture, to be put at path.
func GoProgram(ctx context.Context, path, pkg string) (File, error) {
	data, err := goBuild(ctx, runtime.GOARCH, pkg, "build")
	if err != nil {
		return File{}, err
	}
	return File{Path: path, Mode: 0o755, Data: data}, nil
}

// goBuild compiles a static Linux program: by "build", or by "test", "-c".
func goBuild(ctx context.Context, arch, pkg string, how ...string) ([]byte, error) {
	moduleDir, err := sourceDir(pkg)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "guest-build-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "program")
	cmd := exec.CommandContext(ctx, "go", slices.Concat(how, []string{"-trimpath", "-buildvcs=false", "-o", program, pkg})...)
	cmd.Dir = moduleDir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if _, err := child.Output(cmd); err != nil {
		return nil, err
	}
	return os.ReadFile(program)
}

// sourceDir is the directory of the module that a package is in: what a test
// of the other module runs is built with the requirements of its own.
func sourceDir(pkg string) (string, error) {
	root, err := source.Root()
	if pkg == testModule || strings.HasPrefix(pkg, testModule+"/") {
		root = filepath.Join(root, "test")
	}
	return root, err
}
