package verdict_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/machineconfig"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

var update = flag.Bool("update", false, "write the golden files")

// TestHosts: a host root of each platform of the table, and what its
// administrator reads. The roots have the os-release of real hosts; the golden
// text is what a native administrator would do.
func TestHosts(t *testing.T) {
	files, err := filepath.Glob("testdata/hosts/*.case")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".case")
		t.Run(name, func(t *testing.T) {
			c, root := built(t, file)
			r := assess(t, root, c)
			seen[r.Host.Platform] = true
			got := describe(c.Story, r)
			golden := strings.TrimSuffix(file, ".case") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant (go test ./pkg/verdict -update writes it)\n%s", got, want)
			}
			if followed := follow(t, root, r); followed {
				if r := assess(t, root, c); r.OnBoot != verdict.OnBootLoaded {
					t.Errorf("after all steps, once: %s", describe(c.Story, r))
				}
			}
		})
	}
	for _, p := range verdict.Platforms() {
		if p.Name != "" && !seen[p.Name] && p.Name != "centos" && p.Name != "almalinux" { // as rocky
			t.Errorf("no host root of platform %s", p.Name)
		}
	}
}

// built reads a case, and builds its root.
func built(t *testing.T, file string) (c *hostcase.Case, root string) {
	t.Helper()
	text, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	if c, err = hostcase.Parse(text); err != nil {
		t.Fatal(err)
	}
	root = t.TempDir()
	if err := c.Build(root); err != nil {
		t.Fatal(err)
	}
	return c, root
}

// assess is the report of a host root.
func assess(t *testing.T, root string, c *hostcase.Case) verdict.Report {
	t.Helper()
	facts := verdict.Facts{Node: "worker-0"}
	facts.Inspection, facts.InspectionError = kmod.Inspect(context.Background(), kmod.Options{
		Root: root, Proc: filepath.Join(root, "proc"), Sys: filepath.Join(root, "sys"),
		KernelRelease: c.Want["release"], KmodVersion: c.Kmod, SystemdVersion: c.Systemd,
	}, kmod.SCTP())
	if facts.InspectionError != nil {
		t.Fatal(facts.InspectionError)
	}
	if facts.Inspection.State.InKernel() {
		facts.Probe = result.Result{Attempted: true, Checks: []result.Check{{Name: result.CheckIPv4Stream, Result: result.OutcomePass, Required: true}}}
	}
	return verdict.Judge(facts)
}

// follow does the steps of a report that files can do, once and in their order: the
// commands, or the MachineConfig. It reports whether these are all the steps, apart
// from the reboot.
func follow(t *testing.T, root string, r verdict.Report) bool {
	t.Helper()
	if files := machineconfig.FilesOf(r); files != nil {
		for _, f := range files {
			if err := os.MkdirAll(filepath.Dir(root+f.Path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(root+f.Path, []byte(f.Contents), os.FileMode(f.Mode)); err != nil {
				t.Fatal(err)
			}
		}
		return true
	}
	sh, err := exec.LookPath("sh")
	if err != nil || len(r.Remedies) == 0 {
		return false
	}
	for _, step := range r.Remedies {
		switch step.Action {
		case verdict.ActionCommentOut, verdict.ActionEmptyFile, verdict.ActionOverrideFile, verdict.ActionWriteFile:
			if err := os.MkdirAll(filepath.Join(root, "etc/modules-load.d"), 0o755); err != nil {
				t.Fatal(err)
			}
			command := strings.NewReplacer(" /etc/", " "+root+"/etc/", " /usr/", " "+root+"/usr/", " /lib/", " "+root+"/lib/", " /run/", " "+root+"/run/").Replace(step.Command)
			if out, err := exec.Command(sh, "-c", command).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", command, err, out)
			}
		case verdict.ActionLoadModule, verdict.ActionReboot:
		case verdict.ActionChangeSettings:
			if !strings.Contains(step.Command, "butane") {
				return false
			}
		default:
			return false
		}
	}
	return !slices.ContainsFunc(r.Host.Traits, func(trait string) bool { return trait == verdict.TraitContainer }) && !slices.Contains([]string{"cos", "sle-micro-rancher"}, r.Host.Platform)
}

// describe is what an administrator reads.
func describe(story string, r verdict.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n%s\n", story, strings.Join(append([]string{"platform " + r.Host.Platform}, r.Host.Traits...), ", "))
	fmt.Fprintf(&b, "ready %s, %s, on boot %s\n", r.Ready, r.Reason, r.OnBoot)
	for _, w := range r.Warnings {
		fmt.Fprintf(&b, "warning %s: %s\n", w.Reason, w.Message)
	}
	for _, s := range r.Remedies {
		fmt.Fprintf(&b, "%s: %s\n", s.Action, s.Text)
		if s.Command != "" {
			fmt.Fprintf(&b, "  $ %s\n", s.Command)
		}
	}
	return b.String()
}
