package controlplane

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sctp-agent/sctp-agent/test/child"
)

// Version is the version of Kubernetes that the components are built as: the
// one in components/go.mod.
const Version = "v1.37.2"

// versionVariable names another version of the API server, such as v1.34.4: the
// rest, which is its client, stays as it is. Not every part of an old version can
// be fetched everywhere, and the product does not care for the rest.
const versionVariable = "KUBERNETES_VERSION"

// ServerVersion is the version of the API server.
func ServerVersion() string {
	if v := os.Getenv(versionVariable); v != "" {
		return v
	}
	return Version
}

// version of a component.
func (c Component) version() string {
	if c == APIServer {
		return ServerVersion()
	}
	return Version
}

// source is the directory with the go.mod that a component is built from, and the
// flag that says whether the go command may add to it.
func (c Component) source(ctx context.Context, cache string) (dir, modules string, err error) {
	if c.version() == Version {
		dir, err = sourceDir()
		return dir, "-mod=readonly", err
	}
	dir, err = moduleOf(ctx, cache, c.version())
	return dir, "-mod=mod", err
}

// moduleOf makes the module that another version is built from: that version of
// k8s.io/kubernetes, with what its own go.mod asks for. There the modules that
// are published from its tree are replaced by directories of that tree; here by
// what was published.
func moduleOf(ctx context.Context, cache, version string) (dir string, err error) {
	minor, ok := strings.CutPrefix(version, "v1.")
	if !ok {
		return "", fmt.Errorf("%s=%s: want a version such as %s", versionVariable, version, Version)
	}
	dir = filepath.Join(cache, "module-"+version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("creating the module of Kubernetes %s: %w", version, err)
	}
	var downloaded struct{ GoMod string }
	out, err := child.Output(goCommand(ctx, cache, "mod", "download", "-json", "k8s.io/kubernetes@"+version))
	if err == nil {
		err = json.Unmarshal(out, &downloaded)
	}
	if err != nil {
		return "", fmt.Errorf("downloading Kubernetes %s: %w", version, err)
	}
	var mod struct {
		Go      string
		Godebug []struct{ Key, Value string }
		Replace []struct {
			Old, New struct{ Path string }
		}
	}
	if out, err = child.Output(goCommand(ctx, cache, "mod", "edit", "-json", downloaded.GoMod)); err == nil {
		err = json.Unmarshal(out, &mod)
	}
	if err != nil {
		return "", fmt.Errorf("reading the go.mod of Kubernetes %s: %w", version, err)
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "module kubernetes\n\ngo %s\n\nrequire k8s.io/kubernetes %s\n\n", mod.Go, version)
	for _, g := range mod.Godebug {
		fmt.Fprintf(&text, "godebug %s=%s\n", g.Key, g.Value)
	}
	for _, r := range mod.Replace {
		if strings.HasPrefix(r.New.Path, "./staging/") {
			fmt.Fprintf(&text, "replace %s => %[1]s v0.%s\n", r.Old.Path, minor)
		}
	}
	// The go command adds go.sum, which the public checksum database vouches for.
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), text.Bytes(), 0o644); err != nil {
		return "", fmt.Errorf("creating the module of Kubernetes %s: %w", version, err)
	}
	return dir, nil
}
