package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"sigs.k8s.io/yaml"

	"github.com/sctp-agent/sctp-agent/test/cache"
	"github.com/sctp-agent/sctp-agent/test/image"
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

// A whole release, as hack/release makes it, but for the base of the images'
// builder: every file is there and what it claims to be; it is verified offline,
// with the public key, and a file or a list of checksums that was altered, or that
// another key has signed, is refused; made once more, it is the same.
func TestWholeRelease(t *testing.T) {
	if testing.Short() {
		t.Skip("only in make test-full")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour) // ten systems and cosign, from nothing
	defer cancel()
	program, err := tool(ctx, "cosign", "github.com/sigstore/cosign/v3/cmd/cosign")
	if err != nil {
		t.Fatal(err)
	}
	builder, err := image.NewBuilder(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := builder.Remove(); err != nil {
			t.Error(err)
		}
	})
	env := append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"), "COSIGN_PASSWORD=a test's", "HOME="+t.TempDir(),
		"BUILDAH_FLAGS="+strings.Join(builder.Flags(), " "), "BUILD_FLAGS="+strings.Join(builder.BuildFlags(), " "))
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
	keys, others, dir := t.TempDir(), t.TempDir(), t.TempDir()
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
	start := time.Now()
	if err := run(".", script, version, dir); err != nil {
		t.Fatal(err)
	}
	t.Logf("hack/release took %v", time.Since(start).Round(time.Second))

	systems := []string{"darwin-amd64", "darwin-arm64", "linux-amd64", "linux-arm64", "windows-amd64", "windows-arm64"}
	want := []string{"sctp-agent-0.2.0.tgz", "sctp.yaml"}
	for _, program := range image.Programs() {
		want = append(want, program+"-"+version+".cdx.json", program+"-"+version+".oci.tar")
	}
	for _, system := range systems {
		want = append(want, "kubectl-sctp-"+version+"-"+system+".tar.gz")
	}
	slices.Sort(want)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if all := append([]string{"SHA256SUMS", "SHA256SUMS.sigstore.json"}, want...); !slices.Equal(got, all) {
		t.Fatalf("files %v, want %v", got, all)
	}
	t.Run("checksums", func(t *testing.T) { checkSums(t, dir, want) })
	t.Run("chart", func(t *testing.T) { checkChart(t, filepath.Join(dir, "sctp-agent-0.2.0.tgz")) })
	t.Run("krew's manifest", func(t *testing.T) { checkManifest(t, dir, systems) })
	for _, system := range systems {
		t.Run("plugin "+system, func(t *testing.T) {
			checkSystem(t, filepath.Join(dir, "kubectl-sctp-"+version+"-"+system+".tar.gz"), system)
		})
	}
	for _, program := range image.Programs() {
		t.Run(program, func(t *testing.T) {
			checkBill(t, filepath.Join(dir, program+"-"+version+".cdx.json"), program)
			checkImages(t, filepath.Join(dir, program+"-"+version+".oci.tar"), program)
		})
	}

	// As SECURITY.md says.
	verify := func(keys string) error {
		public := filepath.Join(keys, "cosign.pub")
		return errors.Join(run(dir, "sh", "-c", "sha256sum --check --ignore-missing SHA256SUMS"),
			run(dir, "sh", "-c", strings.NewReplacer("cosign verify", program+" verify", "cosign.pub", public).Replace(
				"cosign verify-blob --key cosign.pub --insecure-ignore-tlog --bundle SHA256SUMS.sigstore.json SHA256SUMS")))
	}
	if err := verify(keys); err != nil {
		t.Error(err)
	}
	if verify(others) == nil {
		t.Error("another key has signed it, too")
	}
	for _, name := range append([]string{"SHA256SUMS", "SHA256SUMS.sigstore.json"}, want...) {
		undo := alter(t, filepath.Join(dir, name))
		if verify(keys) == nil {
			t.Errorf("%s is altered, and nothing says so", name)
		}
		undo()
	}
	if err := verify(keys); err != nil {
		t.Errorf("after all that: %v", err)
	}

	// Made once more, from the same commit.
	again := t.TempDir()
	if out, err := release(t, version, again); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	same := 0
	for _, name := range want {
		second, err := os.ReadFile(filepath.Join(again, name))
		if errors.Is(err, os.ErrNotExist) || name == "sctp.yaml" { // one system only
			continue
		}
		first, err2 := os.ReadFile(filepath.Join(dir, name))
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		if same++; !bytes.Equal(first, second) {
			t.Errorf("%s is another one the second time", name)
		}
	}
	if same != 5 {
		t.Errorf("%d files were made twice", same)
	}
}

// alter turns one bit in the middle of a file, and gives back what turns it again.
func alter(t *testing.T, path string) (undo func()) {
	t.Helper()
	turn := func() {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1)
		if _, err := f.ReadAt(b, info.Size()/2); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 1
		if _, err := f.WriteAt(b, info.Size()/2); err != nil {
			t.Fatal(err)
		}
	}
	turn()
	return turn
}

// checkSystem: the plugin is a program for that system.
func checkSystem(t *testing.T, archive, system string) {
	exe := "kubectl-sctp"
	if strings.HasPrefix(system, "windows") {
		exe += ".exe"
	}
	files := unpack(t, archive)
	if names := slices.Sorted(maps.Keys(files)); !slices.Equal(names, []string{"LICENSE", exe}) {
		t.Fatalf("files %v", names)
	}
	if got := builtFor(t, files[exe]); got != strings.Replace(system, "-", "/", 1) {
		t.Errorf("a program for %s", got)
	}
}

func builtFor(t *testing.T, binary []byte) string {
	t.Helper()
	info, err := buildinfo.Read(bytes.NewReader(binary))
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	return settings["GOOS"] + "/" + settings["GOARCH"]
}

// checkManifest: krew would fetch the release's archives, and accept them.
func checkManifest(t *testing.T, dir string, systems []string) {
	b, err := os.ReadFile(filepath.Join(dir, "sctp.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var plugin struct {
		Spec struct {
			Platforms []struct {
				Selector    struct{ MatchLabels struct{ OS, Arch string } }
				URI, SHA256 string
			}
		}
	}
	if err := yaml.Unmarshal(b, &plugin); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range plugin.Spec.Platforms {
		system := p.Selector.MatchLabels.OS + "-" + p.Selector.MatchLabels.Arch
		got = append(got, system)
		content, err := os.ReadFile(filepath.Join(dir, filepath.Base(p.URI)))
		if err != nil {
			t.Error(err)
			continue
		}
		if sum := sha256.Sum256(content); p.SHA256 != hex.EncodeToString(sum[:]) || !strings.HasSuffix(p.URI, "/"+version+"/kubectl-sctp-"+version+"-"+system+".tar.gz") {
			t.Errorf("%s: %+v, and the archive has %x", system, p, sum)
		}
	}
	if slices.Sort(got); !slices.Equal(got, systems) {
		t.Errorf("platforms %v, want %v", got, systems)
	}
}

// checkImages: an index of one image for each platform, made from this commit.
func checkImages(t *testing.T, archive, program string) {
	head, err := exec.CommandContext(t.Context(), "git", "rev-parse", "HEAD").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "tar", "-C", dir, "-xf", archive).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	open := func(digest v1.Hash) io.ReadCloser {
		f, err := os.Open(filepath.Join(dir, "blobs", digest.Algorithm, digest.Hex))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	f, err := os.Open(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, err := v1.ParseIndexManifest(f)
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Manifests) != 1 || list.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != version {
		t.Fatalf("the archive holds %+v", list.Manifests)
	}
	if list, err = v1.ParseIndexManifest(open(list.Manifests[0].Digest)); err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, m := range list.Manifests {
		platform := m.Platform.OS + "/" + m.Platform.Architecture
		platforms = append(platforms, platform)
		manifest, err := v1.ParseManifest(open(m.Digest))
		if err != nil {
			t.Fatal(err)
		}
		config, err := v1.ParseConfigFile(open(manifest.Config.Digest))
		if err != nil {
			t.Fatal(err)
		}
		labels := config.Config.Labels
		if config.OS+"/"+config.Architecture != platform || labels["org.opencontainers.image.version"] != version ||
			labels["org.opencontainers.image.revision"] != strings.TrimSpace(string(head)) {
			t.Errorf("%s: the image says %s/%s, labels %v", platform, config.OS, config.Architecture, labels)
		}
		var layers []io.Reader
		for _, l := range manifest.Layers {
			layers = append(layers, open(l.Digest))
		}
		if got := builtFor(t, fileOf(t, image.BinaryPath(program), layers)); got != platform {
			t.Errorf("%s: a program for %s", platform, got)
		}
	}
	if slices.Sort(platforms); !slices.Equal(platforms, image.Platforms()) {
		t.Errorf("platforms %v, want %v", platforms, image.Platforms())
	}
}

// fileOf is a file of an image, which is in one of its layers.
func fileOf(t *testing.T, path string, layers []io.Reader) []byte {
	t.Helper()
	for _, layer := range layers {
		z, err := gzip.NewReader(layer)
		if err != nil {
			t.Fatal(err)
		}
		for r := tar.NewReader(z); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if h.Name != path {
				continue
			}
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	}
	t.Fatalf("the image lacks %s", path)
	return nil
}
