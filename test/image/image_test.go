package image_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/sctp-agent/sctp-agent/internal/verify"
	"github.com/sctp-agent/sctp-agent/test/image"
)

const (
	registry = "ghcr.io/sctp-agent/"
	version  = "v0.0.1-test"
	revision = "0123456789abcdef0123456789abcdef01234567"
)

// largest is the promise: most of an agent's memory is its own program.
const largest = 12_000_000

// An image is one static binary of the right machine, its licence, and nothing
// else: the agent's for each platform, the administrator's for one of them (that
// it builds for more systems than images run on is proved elsewhere).
func TestImage(t *testing.T) {
	machines := map[string]elf.Machine{
		"linux/amd64": elf.EM_X86_64, "linux/arm64": elf.EM_AARCH64,
		"linux/ppc64le": elf.EM_PPC64, "linux/s390x": elf.EM_S390,
	}
	type build struct{ program, platform string }
	builds := []build{{"kubectl-sctp", "linux/amd64"}}
	for _, platform := range image.Platforms() {
		builds = append(builds, build{"sctp-agent", platform}, build{"sctp-mesh", platform})
	}
	for _, b := range builds {
		program, platform := b.program, b.platform
		t.Run(program+"/"+platform, func(t *testing.T) {
			if testing.Short() && platform != "linux/amd64" {
				t.Skip("only in make test-full")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
			defer cancel()
			start := time.Now()
			dir := os.Getenv("SCTP_AGENT_ARTIFACTS") // to keep them
			if dir == "" {
				dir = t.TempDir()
			}
			archive, err := image.Build(ctx, image.Options{
				Dir: dir, Program: program, Ref: registry + program + ":" + version, Version: version, Revision: revision, Platform: platform,
			})
			if err != nil {
				t.Fatal(err)
			}
			took := time.Since(start)
			img, err := tarball.ImageFromPath(archive, nil)
			if err != nil {
				t.Fatal(err)
			}
			checkConfig(t, img, program, platform)
			files := contents(t, img)
			var names []string
			for name := range files {
				names = append(names, name)
			}
			slices.Sort(names)
			if want := []string{"licenses/LICENSE", image.BinaryPath(program)}; !slices.Equal(names, want) {
				t.Fatalf("files %v, want %v", names, want)
			}
			binary := files[image.BinaryPath(program)]
			checkBinary(t, binary, machines[platform])
			t.Logf("%s: built in %.1f s, binary %.1f MB, compressed %.1f MB", platform, took.Seconds(), mega(int64(len(binary))), mega(compressed(t, img)))

			checkSBOM(t, image.SBOMPath(archive), program, binary)
			if platform != "linux/amd64" {
				return
			}
			if program != "kubectl-sctp" && len(binary) > largest {
				t.Errorf("the binary has %.2f MB, want at most %.1f", mega(int64(len(binary))), mega(largest))
			}
			exe := filepath.Join(t.TempDir(), program)
			if err := os.WriteFile(exe, binary, 0o755); err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(ctx, exe, "version").CombinedOutput()
			if err != nil || !strings.Contains(string(out), version) || !strings.Contains(string(out), revision) {
				t.Errorf("%s version: %v\n%s", program, err, out)
			}
		})
	}
}

func checkConfig(t *testing.T, img v1.Image, program, platform string) {
	t.Helper()
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got := file.OS + "/" + file.Architecture; got != platform {
		t.Errorf("the image says %s", got)
	}
	c := file.Config
	if c.User != "65532:65532" || !slices.Equal(c.Entrypoint, []string{"/" + image.BinaryPath(program)}) || len(c.Cmd) != 0 {
		t.Errorf("user %q, entrypoint %q, command %q", c.User, c.Entrypoint, c.Cmd)
	}
	// verify runs its pods by that path, which it cannot ask the image for.
	if program == "sctp-agent" && c.Entrypoint[0] != verify.DefaultCommand {
		t.Errorf("verify runs %s, and the image has %s", verify.DefaultCommand, c.Entrypoint[0])
	}
	const prefix = "org.opencontainers.image."
	for _, key := range []string{"title", "description", "source", "documentation", "licenses", "created"} {
		if c.Labels[prefix+key] == "" {
			t.Errorf("no label %s%s", prefix, key)
		}
	}
	if got := c.Labels[prefix+"version"]; got != version {
		t.Errorf("version label %q", got)
	}
	if got := c.Labels[prefix+"revision"]; got != revision {
		t.Errorf("revision label %q", got)
	}
}

// checkBinary: for this machine, and without a dynamic linker.
func checkBinary(t *testing.T, binary []byte, want elf.Machine) {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(binary))
	if err != nil {
		t.Fatal(err)
	}
	if f.Machine != want {
		t.Errorf("a binary for %v, want %v", f.Machine, want)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the binary is dynamic: it has a segment %v", p.Type)
		}
	}
}

// contents of the image's file system: the regular files.
func contents(t *testing.T, img v1.Image) map[string][]byte {
	t.Helper()
	r := mutate.Extract(img)
	defer r.Close()
	files := map[string][]byte{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(h.Name, "/")] = b
	}
}

// checkSBOM reads the bill of materials as others would: it is that of this
// binary, and names what is in it.
func checkSBOM(t *testing.T, path, program string, binary []byte) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(f, cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(binary)
	if hashes := *bom.Metadata.Component.Hashes; len(hashes) != 1 || hashes[0].Value != hex.EncodeToString(sum[:]) {
		t.Errorf("the bill of materials is of another binary: %v, want %x", hashes, sum)
	}
	if name := bom.Metadata.Component.Name; name != program {
		t.Errorf("the bill of materials is of %s, want %s", name, program)
	}
	found := map[string]bool{}
	for _, c := range *bom.Components {
		found[c.Name] = c.Version != "" && strings.HasPrefix(c.PackageURL, "pkg:golang/")
	}
	for _, name := range []string{"std", "golang.org/x/sys", "github.com/spf13/cobra"} {
		if !found[name] {
			t.Errorf("the bill of materials lacks %s, or its version", name)
		}
	}
	if client := found["k8s.io/client-go"]; client != (program == "kubectl-sctp") {
		t.Errorf("%s has client-go: %v", program, client)
	}
}

func compressed(t *testing.T, img v1.Image) int64 {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, l := range layers {
		size, err := l.Size()
		if err != nil {
			t.Fatal(err)
		}
		sum += size
	}
	return sum
}

func mega(n int64) float64 { return float64(n) / 1e6 }

// A builder that does not find the product's source code says so.
func TestBuildOutsideOfTheProject(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, err := image.Build(t.Context(), image.Options{Dir: t.TempDir(), Ref: registry + "x:y"}); err == nil || !strings.Contains(err.Error(), "source code is not in") {
		t.Error(fmt.Sprint("error: ", err))
	}
}
