package verdict_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
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
			text, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer text.Close()
			c, err := hostcase.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			root := t.TempDir()
			if err := c.Build(root); err != nil {
				t.Fatal(err)
			}
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
			r := verdict.Judge(facts)
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
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
	for _, p := range verdict.Platforms() {
		if p.Name != "" && !seen[p.Name] && p.Name != "centos" && p.Name != "almalinux" { // as rocky
			t.Errorf("no host root of platform %s", p.Name)
		}
	}
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
