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

// krew installs the plugin, offline, on each of six systems from a release's manifest
// and archives, and refuses an archive that is not the manifest's. What it installed
// here runs, and completes as docs/install.md says.
func TestKrewInstalls(t *testing.T) {
	if testing.Short() {
		t.Skip("only in make test-full")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Minute) // krew's first build, and six of the plugin
	defer cancel()
	krew, err := tool(ctx, "krew", "sigs.k8s.io/krew/cmd/krew")
	if err != nil {
		t.Fatal(err)
	}
	systems := []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64"}
	dir := t.TempDir()
	if out, err := release(t, version, dir, "PLUGINS="+strings.Join(systems, " ")); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	install := func(root, system, archive string) (string, error) {
		system, arch, _ := strings.Cut(system, "/")
		cmd := exec.CommandContext(ctx, krew, "install", "--no-update-index", "--manifest="+filepath.Join(dir, "sctp.yaml"), "--archive="+archive)
		cmd.Env = append(os.Environ(), "KREW_ROOT="+root, "KREW_NO_UPGRADE_CHECK=1", "KREW_OS="+system, "KREW_ARCH="+arch)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	archiveFor := func(system string) string {
		return filepath.Join(dir, "kubectl-sctp-"+version+"-"+strings.ReplaceAll(system, "/", "-")+".tar.gz")
	}
	content, err := os.ReadFile(archiveFor(systems[0]))
	if err != nil {
		t.Fatal(err)
	}
	altered := filepath.Join(t.TempDir(), "altered.tar.gz")
	if err := os.WriteFile(altered, append(content, 0), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := install(t.TempDir(), systems[0], altered); err == nil || !strings.Contains(out, "checksum") {
		t.Errorf("an altered archive: %v\n%s", err, out)
	}
	for _, system := range systems {
		root := t.TempDir()
		if out, err := install(root, system, archiveFor(system)); err != nil {
			t.Errorf("%s: %v\n%s", system, err, out)
			continue
		}
		exe := "kubectl-sctp"
		if strings.HasPrefix(system, "windows/") {
			exe += ".exe"
		}
		if info, err := os.Stat(filepath.Join(root, "store", "sctp", version, exe)); err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("%s: %v, %v", system, info, err)
		}
		if system != systems[0] {
			continue
		}
		out, err := exec.CommandContext(ctx, filepath.Join(root, "bin", exe), "version").CombinedOutput()
		if err != nil || !strings.Contains(string(out), version) {
			t.Errorf("%v\n%s", err, out)
		}
		complete := filepath.Join(root, "bin", "kubectl_complete-sctp")
		if err := os.Symlink(exe, complete); err != nil {
			t.Fatal(err)
		}
		for _, c := range [][3]string{{"", "mach", "machineconfig"}, {"audit", "--fail-on=c", "critical"}} {
			args := []string{c[0], c[1]}
			if c[0] == "" {
				args = args[1:]
			}
			out, err := exec.CommandContext(ctx, complete, args...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), c[2]) {
				t.Errorf("completion of %q: %v\n%s", args, err, out)
			}
		}
	}
}
