package image_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	memory "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/sctp-agent/sctp-agent/test/image"
)

// TestFromAClone runs the lines of the documents that build the programs and the
// images, word for word, in a clone of the repository with this tree's files. The
// registry is a program here, and buildah builds with this machine's Go.
func TestFromAClone(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	dir := t.TempDir()
	clone, bin := filepath.Join(dir, "clone"), filepath.Join(dir, "bin")
	env := append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	run := func(line string) (string, error) {
		cmd := exec.CommandContext(ctx, "bash", "-o", "pipefail", "-c", line)
		cmd.Dir, cmd.Env = clone, env
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	source, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"git clone --quiet " + source + " " + clone,
		"git ls-files -z --cached --others --exclude-standard | tar -c --null --files-from=- | tar -x -C " + clone,
	} {
		cmd := exec.CommandContext(ctx, "bash", "-o", "pipefail", "-c", line)
		cmd.Dir = source
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}

	t.Run("programs", func(t *testing.T) {
		for _, c := range []struct{ line, prints string }{
			{"make build && bin/sctp-agent check", "SCTP on "},
			{"bin/sctp-agent check", "SCTP on "},
			{"make build && bin/kubectl-sctp audit -f docs/examples/cluster.yaml", "NODE "},
			{"install bin/kubectl-sctp /usr/local/bin/", ""},
		} {
			// Whether SCTP works on this machine decides the exit status.
			out, err := run(strings.ReplaceAll(c.line, "/usr/local/bin/", bin))
			if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() > 2) || !strings.Contains(out, c.prints) {
				t.Errorf("%s: %v\n%s", c.line, err, out)
			}
		}
		if _, err := os.Stat(filepath.Join(bin, "kubectl-sctp")); err != nil {
			t.Error(err)
		}
	})
	t.Run("image", func(t *testing.T) {
		if testing.Short() {
			t.Skip("only in make test-full")
		}
		server := httptest.NewServer(memory.New(memory.Logger(log.New(io.Discard, "", 0))))
		defer server.Close()
		b, err := image.NewBuilder(ctx, dir)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := b.Remove(); err != nil {
				t.Error(err)
			}
		}()
		buildah, err := exec.LookPath("buildah")
		if err != nil {
			t.Fatal(err)
		}
		// Without TLS, and through this "proxy", the registry's name is the server here.
		script := fmt.Sprintf(`#!/bin/sh
command=$1; shift
case $command in
build) set -- %s "$@" ;;
manifest) export http_proxy=%s ;;
esac
exec %s %s --registries-conf %s "$command" "$@"
`, strings.Join(b.BuildFlags(), " "), server.URL, buildah, strings.Join(b.Flags(), " "), filepath.Join(dir, "registries.conf"))
		const config = "[[registry]]\nlocation = \"registry.example\"\ninsecure = true\n"
		for path, text := range map[string]string{"bin/buildah": script, "registries.conf": config} {
			if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for _, line := range []string{
			"buildah build --platform linux/amd64,linux/arm64,linux/ppc64le,linux/s390x --build-arg BUILDPLATFORM=linux/amd64 --build-arg VERSION=v0.2.0 --build-arg REVISION=$(git rev-parse HEAD) --manifest sctp-agent:v0.2.0 .",
			"buildah manifest push --all sctp-agent:v0.2.0 docker://registry.example/sctp-agent:v0.2.0",
		} {
			if out, err := run(line); err != nil {
				t.Fatalf("%s: %v\n%s", line, err, out)
			}
		}
		answer, err := http.Get(server.URL + "/v2/sctp-agent/manifests/v0.2.0")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		var manifest v1.IndexManifest
		if err := json.NewDecoder(answer.Body).Decode(&manifest); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range manifest.Manifests {
			got = append(got, m.Platform.OS+"/"+m.Platform.Architecture)
		}
		slices.Sort(got)
		if want := image.Platforms(); !slices.Equal(got, want) {
			t.Errorf("the registry has an index of %v, want %v", got, want)
		}
	})
}
