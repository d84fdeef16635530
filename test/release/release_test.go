// Package release rehearses hack/release, without pushing anything. The images
// are those of test/image.
package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"sigs.k8s.io/yaml"
)

// version is what manifests/ names.
const version = "v0.2.0"

func release(t *testing.T, version, dir string, env ...string) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 45*time.Minute) // Helm's first build, and that of the plugin on each system
	defer cancel()
	cmd := exec.CommandContext(ctx, "../../hack/release", version, dir)
	cmd.Env = append(append(os.Environ(), "IMAGES=no", "PLUGINS=linux/amd64", "COSIGN_KEY="), env...)
	return cmd.CombinedOutput()
}

// The files are there, complete, and what they say they are.
func TestRelease(t *testing.T) {
	dir := t.TempDir()
	if out, err := release(t, version, dir); err != nil {
		t.Fatalf("%v\n%s", err, out)
	} else if !bytes.Contains(out, []byte("not signed")) {
		t.Errorf("nothing says that it is not signed:\n%s", out)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	want := []string{"SHA256SUMS", "kubectl-sctp-v0.2.0-linux-amd64.tar.gz", "kubectl-sctp-v0.2.0.cdx.json", "sctp-agent-0.2.0.tgz", "sctp-agent-v0.2.0.cdx.json", "sctp-mesh-v0.2.0.cdx.json", "sctp.yaml"}
	if !slices.Equal(got, want) {
		t.Fatalf("files %v, want %v", got, want)
	}
	t.Run("checksums", func(t *testing.T) { checkSums(t, dir, want[1:]) })
	t.Run("plugin", func(t *testing.T) { checkPlugin(t, filepath.Join(dir, want[1])) })
	t.Run("chart", func(t *testing.T) { checkChart(t, filepath.Join(dir, want[3])) })
	for _, program := range []string{"sctp-agent", "sctp-mesh", "kubectl-sctp"} {
		t.Run(program+"'s bill of materials", func(t *testing.T) { checkBill(t, filepath.Join(dir, program+"-v0.2.0.cdx.json"), program) })
	}
}

// A version that the manifests do not name would install another release's
// images, and files of two releases would mix.
func TestReleaseRefuses(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "old"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, version, dir, want string }{
		{"another version", "v0.0.99", t.TempDir(), "not v0.0.99"},
		{"no version", "0.1", t.TempDir(), "usage:"},
		{"a directory with files", version, full, "is not empty"},
	} {
		if out, err := release(t, c.version, c.dir); err == nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %v\n%s", c.name, err, out)
		}
	}
}

func checkSums(t *testing.T, dir string, want []string) {
	b, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for line := range strings.Lines(string(b)) {
		sum, name, ok := strings.Cut(strings.TrimSpace(line), "  ")
		if !ok {
			t.Fatalf("line %q", line)
		}
		listed = append(listed, name)
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if have := sha256.Sum256(content); hex.EncodeToString(have[:]) != sum {
			t.Errorf("%s: checksum %x, listed %s", name, have, sum)
		}
	}
	if !slices.Equal(listed, want) {
		t.Errorf("checksums of %v, want %v", listed, want)
	}
}

// unpack returns an archive's files.
func unpack(t *testing.T, archive string) map[string][]byte {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.ModTime.Unix() != 0 {
			t.Errorf("%s: the archive holds who made it, or when: %+v", h.Name, h)
		}
		switch h.Typeflag {
		case tar.TypeDir:
		case tar.TypeReg:
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			out[strings.TrimPrefix(h.Name, "./")] = b
		default: // a link leads out of the archive
			t.Errorf("%s is no file", h.Name)
		}
	}
}

func checkPlugin(t *testing.T, archive string) {
	files := unpack(t, archive)
	if names := slices.Sorted(maps.Keys(files)); !slices.Equal(names, []string{"LICENSE", "kubectl-sctp"}) {
		t.Fatalf("files %v", names)
	}
	exe := filepath.Join(t.TempDir(), "kubectl-sctp")
	if err := os.WriteFile(exe, files["kubectl-sctp"], 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), exe, "version").CombinedOutput()
	if err != nil || !strings.Contains(string(out), version) {
		t.Errorf("%v\n%s", err, out)
	}
}

func checkChart(t *testing.T, archive string) {
	files := unpack(t, archive)
	var chart struct{ Version, AppVersion string }
	if err := yaml.Unmarshal(files["sctp-agent/Chart.yaml"], &chart); err != nil {
		t.Fatal(err)
	}
	if "v"+chart.Version != version || chart.AppVersion != version {
		t.Errorf("%+v", chart)
	}
	// What is a link in the repository.
	policy, err := os.ReadFile("../../manifests/base/admission.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(files["sctp-agent/files/admission.yaml"], policy) {
		t.Error("the admission policy is not that of manifests/")
	}
	for name := range files {
		if strings.HasPrefix(name, "sctp-agent/ci/") {
			t.Errorf("%s is for the tests", name)
		}
	}
}

func checkBill(t *testing.T, file, program string) {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var bill cdx.BOM
	if err := cdx.NewBOMDecoder(f, cdx.BOMFileFormatJSON).Decode(&bill); err != nil {
		t.Fatal(err)
	}
	if bill.Metadata == nil || bill.Metadata.Component == nil || bill.Metadata.Component.Version != version {
		t.Errorf("metadata %+v", bill.Metadata)
	}
	if bill.Components == nil || !slices.ContainsFunc(*bill.Components, func(c cdx.Component) bool { return c.Name == "github.com/spf13/cobra" }) {
		t.Errorf("%s is not linked from github.com/spf13/cobra?", program)
	}
}
