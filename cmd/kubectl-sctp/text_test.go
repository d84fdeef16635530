package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/audit"
	"github.com/sctp-agent/sctp-agent/internal/cleanup"
	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/internal/programtest"
	"github.com/sctp-agent/sctp-agent/internal/terminal"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// hardened is a MachineConfig of long names that undoes SCTP, by a file whose
// line is long.
const hardened = `apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata:
  name: 75-the-hardening-profile-that-somebody-gave-a-name-of-some-length
  labels: {machineconfiguration.openshift.io/role: the-pool-of-the-core-network-in-the-second-data-centre}
spec:
  config:
    ignition: {version: 3.2.0}
    systemd: {units: [{name: a-unit-that-loads-modules-and-is-of-a-long-name.service, contents: "[Service]\nExecStart=modprobe sctp"}]}
    storage:
      files:
      - {path: /etc/modprobe.d/a-file-that-hardens-this-host-as-a-guide-wants-it.conf, contents: {source: "data:,install%20sctp%20%2Fbin%2Ffalse%20%23%20as%20the%20guide%20wants%20it%2C%20in%20many%20words"}}
`

// TestTablesFit holds what the commands print for people to the width: a long
// name in every place that takes one, and many words in every place that takes
// words.
func TestTablesFit(t *testing.T) {
	const wide = "ip-10-201-103-47.eu-central-1.compute.internal"
	words := strings.Repeat("many words ", 20)
	since := time.Unix(0, 0)
	file := filepath.Join(t.TempDir(), "mc.yaml")
	if err := os.WriteFile(file, []byte(hardened), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		print func(io.Writer) error
		// says are parts that must not be lost.
		says []string
	}{
		"audit": {func(w io.Writer) error {
			r := audit.Result{Time: time.Unix(1_700_000_000, 0), Summary: audit.Summary{Nodes: 123_456, Ready: 123_456, NotReady: 123_456, Unknown: 123_456, Critical: 1}}
			for i := range 7 {
				r.Nodes = append(r.Nodes, audit.NodeRow{
					Name: strings.Replace(wide, "47", fmt.Sprint(40+i), 1), Pool: "a-pool-of-a-long-name", Ready: kmod.AnswerUnknown, OnBoot: verdict.OnBootOnDemand, Module: kmod.StateUnknown,
					Reason: verdict.ReasonPermissionDenied, Message: words, Since: &since, Agent: &audit.AgentRow{Version: "v1.22.333-rc.4-to-be-tried", Ready: true},
				})
				r.Findings = append(r.Findings, audit.Finding{
					Kind: audit.PodOnUnreadyNode, Severity: audit.Critical, Object: audit.Object{Kind: "Pod", Namespace: "a-namespace-of-a-long-name", Name: wide},
					Message: words, Evidence: []string{words, "container " + wide + " declares port 38412/SCTP"}, Fix: words,
				})
			}
			r.Pools = []audit.PoolRow{{Name: "a-pool-of-a-long-name", Enables: kmod.AnswerFalse, Message: words, Nodes: 12_345}}
			r.Unseen = []audit.Unseen{{Why: words, NotChecked: audit.Kinds()}}
			return printAudit(w, terminal.Sized(terminal.Width), r, tableOptions{each: true})
		}, []string{"… and 2 more", "therefore not checked: PodOnUnreadyNode", "does not enable SCTP", "ip-10-201-103-46.…  "}},
		"cleanup": {func(w io.Writer) error {
			keys := []string{"sctp-agent/ready", "sctp-agent/on-boot", "sctp-agent/reason", "sctp-agent/message", "sctp-agent/since", "sctp-agent/report"}
			return printCleanup(w, terminal.Sized(terminal.Width), []cleanup.Node{{Name: wide, Labels: keys, Annotations: keys, Taints: keys, Condition: true}})
		}, []string{"labels: sctp-agent/ready", "taints: ", "condition: "}},
		"machineconfig --check": {func(w io.Writer) error {
			o := program.Run(t, nil, "machineconfig", "--check", file)
			if o.Code != command.ExitNo {
				t.Errorf("exit status %d: %s", o.Code, o.Stderr)
			}
			_, err := io.WriteString(w, o.Stdout)
			return err
		}, []string{"DOES NOT", "guide-wants-it.conf:1: install sctp /bin/false", "(MachineConfig 75-the-hardening", "note: "}},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := c.print(&b); err != nil {
				t.Fatal(err)
			}
			programtest.Fits(t, b.String())
			for _, want := range c.says {
				if !strings.Contains(b.String(), want) {
					t.Errorf("it does not say %q", want)
				}
			}
			if t.Failed() {
				t.Logf("\n%s", b.String())
			}
		})
	}
}

// TestForeignText: text from a Node's annotations reaches the administrator's
// terminal, and must not move its cursor, clear it or hide a line. The state is
// printed in a cell of the table, the rest as prose.
func TestForeignText(t *testing.T) {
	const evil = "clear\x1b[2Jtitle\x1b]0;pwned\x07hidden\x1b[8mbell\u009b1Ghere\u202eereh\rback"
	r := audit.Result{
		Nodes: []audit.NodeRow{{Name: "n0", Ready: kmod.AnswerFalse, OnBoot: verdict.OnBootBlocked, Module: kmod.State(evil + "\nworker-9  true"), Reason: verdict.Reason(evil), Message: evil}},
		Findings: []audit.Finding{{
			Kind: audit.NodeUnproved, Severity: audit.Warning, Object: audit.Object{Kind: "Node", Name: "n0"}, Message: evil, Evidence: []string{evil}, Fix: evil,
		}},
		Pools: []audit.PoolRow{{Name: "worker", Message: evil}},
	}
	coloured := terminal.Coloured()
	for _, p := range []terminal.Palette{{}, coloured} {
		var b strings.Builder
		if err := printAudit(&b, p, r, tableOptions{each: true}); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		if p == coloured {
			if !strings.Contains(text, "\x1b[1;31mfalse\x1b[0m") {
				t.Errorf("no colour:\n%q", text)
			}
			text = regexp.MustCompile("\x1b\\[(0|1|1;3[1-3])m").ReplaceAllString(text, "")
		}
		for _, r := range text {
			if r != '\n' && r != '…' && r != '→' && (r < ' ' || r > '~') {
				t.Errorf("%q is left in\n%q", r, text)
				break
			}
		}
		if strings.Contains(text, "\nworker-9") {
			t.Errorf("a state that looks like a node:\n%s", text)
		}
		if !strings.Contains(text, `clear\u001b[2Jtitle\u001b]0;pwned\u0007hidden\u001b[8mbell\u009b1Ghere\u202eereh`) {
			t.Errorf("what was written cannot be seen:\n%s", text)
		}
	}
}

// A fleet is read by cause: nodes of a pool with the same verdict and line are one
// row, the ready ones another, and the summary is first and last.
func TestFleet(t *testing.T) {
	var r audit.Result
	for i := range 60 {
		row := audit.NodeRow{Name: fmt.Sprint("ip-10-0-0-", 100+i), Pool: "worker", Ready: kmod.AnswerFalse, Reason: verdict.ReasonModuleBlacklisted, Message: "/etc/modprobe.d/sctp-blacklist.conf:6: blacklist sctp"}
		if i >= 57 {
			row.Ready, row.Reason, row.Message = kmod.AnswerTrue, verdict.ReasonProbePassed, fmt.Sprint("took ", i)
		}
		r.Nodes = append(r.Nodes, row)
	}
	r.Summary = audit.Summary{Nodes: 60, Ready: 3, NotReady: 57}
	var b strings.Builder
	if err := printAudit(&b, terminal.Palette{}, r, tableOptions{}); err != nil {
		t.Fatal(err)
	}
	const want = `60 nodes: 3 ready, 57 not ready, 0 unknown
Nothing found.

POOL    READY  NODES
worker  false  57
  ModuleBlacklisted: /etc/modprobe.d/sctp-blacklist.conf:6: blacklist sctp;
    ip-10-0-0-100 and 56 more
worker  true   3

60 nodes: 3 ready, 57 not ready, 0 unknown
Nothing found.
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	for _, c := range []struct {
		nodes []audit.NodeRow
		each  bool
	}{{r.Nodes, true}, {r.Nodes[:29], false}} {
		var b strings.Builder
		few := r
		few.Nodes = c.nodes
		if err := printAudit(&b, terminal.Palette{}, few, tableOptions{each: c.each}); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(b.String(), "\nip-10-0-0-"); n != len(c.nodes) {
			t.Errorf("%d of %d nodes have a row", n, len(c.nodes))
		}
	}
}
