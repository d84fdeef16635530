package node_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/hostcase/sosreport"
	"github.com/sctp-agent/sctp-agent/internal/hostdump"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
	"github.com/sctp-agent/sctp-agent/test/debian"
	"github.com/sctp-agent/sctp-agent/test/node"
)

// TestSosreport: what sos collects on a Ready node, by all of its plugins, answers
// as "sctp-agent check" does there, or does not know: with a blacklist, and after
// SCTP was enabled and the node rebooted.
func TestSosreport(t *testing.T) {
	if testing.Short() {
		t.Skip("only in make test-full")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 55*time.Minute)
	defer cancel()
	d := &deployment{T: t}
	t.Cleanup(func() {
		for _, s := range d.times {
			t.Log(s)
		}
	})
	d.start(ctx, node.Config{Files: []node.File{{Path: "/etc/modprobe.d/sctp-blacklist.conf", Content: "blacklist sctp\ninstall sctp /bin/false\n"}}})
	d.stage("sos and the program, into the guest", func() {
		tree, err := debian.Open(debian.Bookworm, "amd64").TreeWithDepends(ctx, "sosreport")
		if err != nil {
			t.Fatal(err)
		}
		archive := filepath.Join(t.TempDir(), "sos.tar")
		if out, err := exec.CommandContext(ctx, "tar", "-C", tree, "-cf", archive, ".").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if err := d.node.Upload(ctx, archive, "/var/tmp/sos.tar", 0o600); err != nil {
			t.Fatal(err)
		}
		// The guest's own files stay as they are.
		if _, err := d.node.Shell(ctx, "tar -C / --skip-old-files --keep-directory-symlink -xf /var/tmp/sos.tar; rm /var/tmp/sos.tar"); err != nil {
			t.Fatal(err)
		}
		program := filepath.Join(t.TempDir(), "sctp-agent")
		build := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/sctp-agent")
		build.Dir = "../.."
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if err := d.node.Upload(ctx, program, "/usr/local/bin/sctp-agent", 0o755); err != nil {
			t.Fatal(err)
		}
	})
	for _, c := range []struct {
		name   string
		ready  kmod.Answer
		reason verdict.Reason
	}{
		{"blacklisted", kmod.AnswerFalse, verdict.ReasonModuleInstallOverridden},
		{"enabled", kmod.AnswerTrue, verdict.ReasonProbePassed},
	} {
		d.stage("sosreport, "+c.name, func() {
			if c.ready == kmod.AnswerTrue {
				// As docs/enable-sctp.md and docs/dumps.md show it.
				out, err := d.node.Shell(ctx, `set -e
: > /etc/modprobe.d/sctp-blacklist.conf
echo sctp > /etc/modules-load.d/sctp-load.conf
modprobe sctp
sctp-agent check`)
				if err != nil {
					t.Errorf("without a reboot: %v\n%s", err, out)
				}
				if err := d.node.Reboot(ctx); err != nil {
					t.Fatal(err)
				}
			}
			out, err := d.node.Shell(ctx, "sctp-agent check --timeout 60s -o json || true")
			if err != nil {
				t.Fatal(err)
			}
			var host verdict.Report
			if err := json.Unmarshal([]byte(out), &host); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if host.Ready != c.ready || host.Reason != c.reason {
				t.Errorf("%s: the host says %s, %s", c.name, host.Ready, host.Reason)
			}
			text, err := d.node.Shell(ctx, "rm -rf /var/tmp/sos*; sos report --batch --tmp-dir /var/tmp >&2; cat /var/tmp/sosreport-*.tar.[gx]z")
			if err != nil {
				t.Fatal(err)
			}
			report := filepath.Join(t.TempDir(), "sosreport.tar.gz")
			if err := os.WriteFile(report, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			dump, err := hostdump.Open(ctx, report)
			if err != nil {
				t.Fatal(err)
			}
			r, err := dump.Assess(ctx, hostdump.Options{})
			if err != nil {
				t.Fatal(err)
			}
			known, unknown, wrong := sosreport.Compare(host, r)
			for _, w := range wrong {
				t.Errorf("%s: %s", c.name, w)
			}
			if known == 0 {
				t.Errorf("%s: no answer is known: %+v", c.name, r)
			}
			if r.Kernel.Release != host.Kernel.Release || r.Kernel.BootID != host.Kernel.BootID || r.Host.Kmod != host.Host.Kmod || r.Module.State != host.Module.State || !strings.EqualFold(r.Node, host.Node) {
				t.Errorf("%s: %s, %+v, %+v, %s; by its sosreport %s, %+v, %+v, %s", c.name,
					host.Node, host.Kernel, host.Host, host.Module.State, r.Node, r.Kernel, r.Host, r.Module.State)
			}
			t.Logf("%s: %d bytes; %d answers as on the host, %d unknown", c.name, len(text), known, unknown)
		})
	}
}
