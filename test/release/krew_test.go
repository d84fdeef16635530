package release

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// krew installs the plugin from a release's manifest and archive, and refuses an
// archive that is not the manifest's.
func TestKrewInstalls(t *testing.T) {
	if testing.Short() {
		t.Skip("only in make test-full")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute) // krew's first build
	defer cancel()
	krew, err := tool(ctx, "krew", "sigs.k8s.io/krew/cmd/krew")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if out, err := release(t, version, dir); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	root := t.TempDir()
	install := func(archive string) (string, error) {
		cmd := exec.CommandContext(ctx, krew, "install", "--no-update-index", "--manifest="+filepath.Join(dir, "sctp.yaml"), "--archive="+archive)
		cmd.Env = append(os.Environ(), "KREW_ROOT="+root, "KREW_NO_UPGRADE_CHECK=1")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	archive := filepath.Join(dir, "kubectl-sctp-"+version+"-linux-amd64.tar.gz")
	content, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	altered := filepath.Join(t.TempDir(), "altered.tar.gz")
	if err := os.WriteFile(altered, append(content, 0), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := install(altered); err == nil || !strings.Contains(out, "checksum") {
		t.Errorf("an altered archive: %v\n%s", err, out)
	}
	if out, err := install(archive); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.CommandContext(ctx, filepath.Join(root, "bin", "kubectl-sctp"), "version").CombinedOutput()
	if err != nil || !strings.Contains(string(out), version) {
		t.Errorf("%v\n%s", err, out)
	}
}
