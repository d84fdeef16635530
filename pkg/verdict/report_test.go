package verdict

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// large is a report of a node where everything that can be long is long.
func large(text string, evidence, checks, warnings int) Report {
	var list []kmod.Evidence
	for n := range evidence {
		list = append(list, kmod.Evidence{File: fmt.Sprintf("/etc/modprobe.d/%d-%s.conf", n, text), Line: n + 1, Text: text, Effect: text, Cause: kmod.CauseBlacklist})
	}
	d := kmod.Decision{Allowed: kmod.AnswerFalse, Cause: kmod.CauseBlacklist, Evidence: list}
	f := Facts{Node: text, Inspection: host(func(i *kmod.Inspection) {
		i.State = kmod.StateLoaded
		everyCaller(i, d)
		for range warnings {
			i.Findings = append(i.Findings, kmod.Finding{Kind: kmod.FindingUnused, Message: text, Evidence: list[:1]})
		}
	})}
	f.Probe = passed()
	for n := range checks {
		f.Probe.Checks = append(f.Probe.Checks, result.Check{Name: fmt.Sprintf("extra-%d", n), Result: result.OutcomePass, Detail: text})
	}
	return Judge(f)
}

func TestCompactFits(t *testing.T) {
	for _, text := range []string{"x", strings.Repeat("long ", 100), strings.Repeat("\x01\"\\<", 500), strings.Repeat("é", 3000), "\xff\xfe"} {
		for _, n := range []int{1, 5, 200} {
			r := large(text, n, n, n)
			out := r.Compact(MaxAnnotation)
			if len(out) > MaxAnnotation {
				t.Errorf("%d entries of %.10q: %d bytes", n, text, len(out))
			}
			var back Report
			if err := json.Unmarshal(out, &back); err != nil {
				t.Fatalf("%d entries of %.10q: %v", n, text, err)
			}
			if back.Ready != r.Ready || back.Reason != r.Reason || back.Kernel.BootID != r.Kernel.BootID || back.OnBoot != r.OnBoot {
				t.Errorf("the verdict was lost: %s", out)
			}
			if !utf8.Valid(out) {
				t.Errorf("not UTF-8: %q", out)
			}
		}
	}
}

// What is read back from the Node is compared with what would be written now: also
// where the host has names that are not UTF-8, the two are the same.
func TestReportReadsBackTheSame(t *testing.T) {
	r := large("\xff\xfe\"<é", 3, 3, 3)
	r.Message = Judge(Facts{Inspection: host(func(i *kmod.Inspection) {
		everyCaller(i, stoppedBy(kmod.Evidence{File: "/etc/modprobe.d/\xff.conf", Line: 1, Text: "blacklist sctp", Cause: kmod.CauseBlacklist}))
	})}).Message
	text := r.marshal()
	var back Report
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if back.Message != r.Message || string(back.marshal()) != string(text) {
		t.Errorf("%s\nreads back as\n%s", text, back.marshal())
	}
}

// TestCompactFoldsPassedFirst: what explains a verdict stays longest.
func TestCompactFoldsPassedFirst(t *testing.T) {
	r := large("a line", 1, 100, 1)
	r.Probe.Checks = append(r.Probe.Checks, Check{Name: "bad", Result: "fail", Detail: "why"})
	total := len(r.Probe.Checks)
	before := len(r.marshal())
	var back Report
	if err := json.Unmarshal(r.Compact(MaxAnnotation), &back); err != nil {
		t.Fatal(err)
	}
	if before <= MaxAnnotation {
		t.Fatalf("the case is too small to prove anything: %d bytes", before)
	}
	if len(back.Probe.Checks) != 1 || back.Probe.Checks[0].Name != "bad" || back.Probe.Folded != total-1 {
		t.Errorf("checks %v, folded %d, want the failed one and %d folded", back.Probe.Checks, back.Probe.Folded, total-1)
	}
	if len(back.Warnings) != len(r.Warnings) || len(back.Policy.Autoload.Evidence) != 1 {
		t.Errorf("more was lost than passed checks: %+v", back)
	}
	if len(r.Probe.Checks) != total {
		t.Errorf("Compact changed the report itself")
	}
}

// TestCompactFoldsWhatIsThereTwice: a report that is only a little too long
// keeps its steps and the evidence.
func TestCompactFoldsWhatIsThereTwice(t *testing.T) {
	r := large("a line", 8, 0, 1)
	r.Probe.Checks = []Check{}
	whole := len(r.marshal())
	var back Report
	if err := json.Unmarshal(r.Compact(whole-100), &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Policy.AutoloadIPv6.Evidence) != 0 || len(back.Policy.Autoload.Evidence) != 8 || len(back.Remedies) != len(r.Remedies) || !back.Truncated {
		t.Errorf("%d and %d lines of evidence, %d of %d steps", len(back.Policy.AutoloadIPv6.Evidence), len(back.Policy.Autoload.Evidence), len(back.Remedies), len(r.Remedies))
	}
	r.Policy.AutoloadIPv6.Evidence[0].Text = "another line"
	if err := json.Unmarshal(r.Compact(len(r.marshal())-100), &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Policy.AutoloadIPv6.Evidence) == 0 {
		t.Error("evidence that is nowhere else was left out")
	}
}

// TestCompactKeepsSomeWarnings: hundreds of them do not push all of them out.
func TestCompactKeepsSomeWarnings(t *testing.T) {
	var back Report
	if err := json.Unmarshal(large("a line", 1, 1, 500).Compact(MaxAnnotation), &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Warnings) != 12 || back.Warnings[0].Reason != ReasonWillNotSurviveReboot {
		t.Errorf("%d warnings are left: %v", len(back.Warnings), back.Warnings)
	}
}

// TestCompactSaysThatItIsNotAll: truncated is there when something was left out,
// and only then; a command is whole or not there.
func TestCompactSaysThatItIsNotAll(t *testing.T) {
	for _, n := range []int{1, 5, 40} {
		r := large("a line", n, n, n)
		for i := range r.Remedies {
			// One that ends before what it is about: long enough to be cut.
			r.Remedies[i].Command = "true " + strings.Repeat("x", 300*(n/5)) + "; rm -rf /tmp/x"
		}
		var back Report
		if err := json.Unmarshal(r.Compact(MaxAnnotation), &back); err != nil {
			t.Fatal(err)
		}
		if whole := len(r.marshal()) <= MaxAnnotation; back.Truncated == whole || whole && len(back.Remedies) != len(r.Remedies) {
			t.Errorf("%d entries: fits: %v, truncated: %v", n, whole, back.Truncated)
		}
		if r.Truncated {
			t.Error("Compact changed the report itself")
		}
		for i, step := range back.Remedies {
			if step.Command != "" && step.Command != r.Remedies[i].Command {
				t.Errorf("half a command: %s", step.Command)
			}
		}
	}
}

// TestJSONForm holds the names and types of sctp-agent/v1 on a whole report:
// the field names here are the contract's, not the code's.
func TestJSONForm(t *testing.T) {
	r := large("t", 1, 0, 1)
	var m map[string]any
	if err := json.Unmarshal(r.marshal(), &m); err != nil {
		t.Fatal(err)
	}
	for path, kind := range map[string]string{
		"apiVersion": "string", "kind": "string", "node": "string", "ready": "string", "reason": "string", "message": "string", "remedy": "string", "onBoot": "string",
		"kernel.release": "string", "kernel.bootID": "string", "kernel.machine": "string", "host.os": "string", "host.kmod": "string",
		"module.state": "string", "module.path": "string",
		"policy.autoload.allowed": "string", "policy.autoload.evidence.0.file": "string", "policy.autoload.evidence.0.line": "float64",
		"policy.autoload.evidence.0.text": "string", "policy.autoload.evidence.0.effect": "string", "policy.autoload.evidence.0.cause": "string",
		"policy.autoloadIPv6.allowed": "string", "policy.modulesLoad.requested": "string", "policy.modulesLoad.allowed": "string",
		"policy.modulesLoad.evidence": "[]interface {}", "policy.modprobe.allowed": "string",
		"probe.attempted": "bool", "probe.causedLoad": "bool", "probe.suite": "string", "probe.durationMicros": "float64",
		"probe.checks.0.name": "string", "probe.checks.0.result": "string", "probe.checks.0.stage": "string", "probe.checks.0.errno": "string",
		"probe.checks.0.durationMicros": "float64", "probe.checks.0.detail": "string",
		"warnings.0.reason": "string", "warnings.0.message": "string",
		"host.platform": "string", "host.traits": "[]interface {}", "host.traits.0": "string",
		"remedies.0.action": "string", "remedies.0.file": "string", "remedies.0.line": "float64", "remedies.0.text": "string", "remedies.0.command": "string",
	} {
		var at any = m
		for _, key := range strings.Split(path, ".") {
			switch v := at.(type) {
			case map[string]any:
				at = v[key]
			case []any:
				at = v[0]
			}
		}
		if got := fmt.Sprintf("%T", at); got != kind {
			t.Errorf("%s is a %s, want %s", path, got, kind)
		}
	}
	if m["apiVersion"] != "sctp-agent/v1" || m["kind"] != "Report" {
		t.Errorf("%v %v", m["apiVersion"], m["kind"])
	}
}
