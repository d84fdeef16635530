package nodelabel

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

const (
	boot1 = "11111111-1111-4111-8111-111111111111"
	boot2 = "22222222-2222-4222-8222-222222222222"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func report(boot string, reason verdict.Reason, onBoot verdict.OnBoot, checks ...string) verdict.Report {
	r := verdict.Judge(verdict.Facts{Node: "n"})
	r.Reason, r.Ready, r.OnBoot, r.Message = reason, reason.Ready(), onBoot, "because"
	r.Kernel.BootID = boot
	for _, c := range checks {
		name, result, _ := strings.Cut(c, "=")
		r.Probe.Checks = append(r.Probe.Checks, verdict.Check{Name: name, Result: result})
	}
	return r
}

// The contract's rules about labels, one case each: what was written, what is
// found, what is to be written.
func TestDesiredLabels(t *testing.T) {
	good := report(boot1, verdict.ReasonProbePassed, verdict.OnBootLoaded, "ipv4-stream=pass", "ipv6-stream=pass", "multihoming=pass")
	all := map[string]string{"ready": "true", "on-boot": "loaded", "ipv6": "true", "multihoming": "true"}
	for _, tt := range []struct {
		name   string
		before *verdict.Report
		now    verdict.Report
		boot   string // known to the caller
		want   map[string]string
	}{
		{"first proof", nil, good, "", all},
		{"first no", nil, report(boot1, verdict.ReasonModuleMissing, verdict.OnBootBlocked), "", map[string]string{"ready": "false", "on-boot": "blocked"}},
		{"first unknown", nil, report(boot1, verdict.ReasonPermissionDenied, verdict.OnBootLoaded), "", map[string]string{"on-boot": "loaded"}},
		{"first unknown, files unknown too", nil, report(boot1, verdict.ReasonInspectionFailed, verdict.OnBootUnknown), "", map[string]string{}},
		{"unknown after yes", &good, report(boot1, verdict.ReasonPermissionDenied, verdict.OnBootBlocked), "", all},
		{"unknown after yes, next boot", &good, report(boot2, verdict.ReasonPermissionDenied, verdict.OnBootBlocked), "", map[string]string{"on-boot": "blocked"}},
		{"unknown after yes, next boot, nothing known", &good, report(boot2, verdict.ReasonInspectionFailed, verdict.OnBootUnknown), "", map[string]string{}},
		{"unknown without boot ID, the process knows it", &good, report("", verdict.ReasonInspectionFailed, verdict.OnBootUnknown), boot1, all},
		{"unknown without boot ID, nobody knows it", &good, report("", verdict.ReasonInspectionFailed, verdict.OnBootUnknown), "", map[string]string{}},
		{"unknown without boot ID, another boot", &good, report("", verdict.ReasonInspectionFailed, verdict.OnBootUnknown), boot2, map[string]string{}},
		{"no after yes", &good, report(boot1, verdict.ReasonProbeFailed, verdict.OnBootLoaded, "ipv6-stream=pass", "multihoming=fail"), "", map[string]string{"ready": "false", "on-boot": "loaded", "multihoming": "false"}},
		{"shutdown", &good, verdict.Rebooting(good), "", map[string]string{"ready": "false", "on-boot": "loaded"}},
		{"no IPv6 here", nil, report(boot1, verdict.ReasonProbePassed, verdict.OnBootOnDemand, "ipv6-stream=skip"), "", map[string]string{"ready": "true", "on-boot": "on-demand"}},
		{"IPv6 unknown this time", &good, report(boot1, verdict.ReasonProbePassed, verdict.OnBootLoaded, "ipv6-stream=unknown"), "", map[string]string{"ready": "true", "on-boot": "loaded", "ipv6": "true"}},
		{"IPv6 as far as the handshake, and no further", &good, report(boot1, verdict.ReasonProbePassed, verdict.OnBootLoaded, "ipv6-stream=pass", "ipv6-fragmentation=fail", "ipv6-ppid=unknown"), "", map[string]string{"ready": "true", "on-boot": "loaded", "ipv6": "false"}},
		{"IPv6 not to the end", &good, report(boot2, verdict.ReasonProbePassed, verdict.OnBootLoaded, "ipv6-stream=pass", "ipv6-fragmentation=unknown"), "", map[string]string{"ready": "true", "on-boot": "loaded"}},
		{"IPv6 unknown in a new boot", &good, report(boot2, verdict.ReasonProbePassed, verdict.OnBootLoaded, "ipv6-stream=unknown"), "", map[string]string{"ready": "true", "on-boot": "loaded"}},
		{"files unknown this time", &good, report(boot1, verdict.ReasonProbePassed, verdict.OnBootUnknown), "", map[string]string{"ready": "true", "on-boot": "loaded"}},
		{"files unknown in a new boot", &good, report(boot2, verdict.ReasonProbePassed, verdict.OnBootUnknown), "", map[string]string{"ready": "true"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var k Keys
			var said Metadata
			if tt.before != nil {
				said = k.Desired(*tt.before, Metadata{}, "", noon)
			}
			got := k.Desired(tt.now, said, tt.boot, noon.Add(time.Hour))
			want := map[string]string{}
			for key, v := range tt.want {
				want["sctp-agent/"+key] = v
			}
			if !maps.Equal(got.Labels, want) {
				t.Errorf("labels = %v, want %v", got.Labels, want)
			}
			if got.Annotations["sctp-agent/reason"] != string(tt.now.Reason) || got.Annotations["sctp-agent/message"] != tt.now.Message {
				t.Errorf("annotations = %v: they always move", got.Annotations)
			}
			again := k.Desired(tt.now, got, tt.boot, noon.Add(2*time.Hour))
			if !maps.Equal(again.Labels, got.Labels) || !maps.Equal(again.Annotations, got.Annotations) {
				t.Errorf("found again, it is %v, and was %v", again, got)
			}
		})
	}
}

func TestSince(t *testing.T) {
	var k Keys
	said := k.Desired(report(boot1, verdict.ReasonModuleNotLoaded, verdict.OnBootBlocked), Metadata{}, "", noon)
	later := noon.Add(time.Hour)
	at := func(r verdict.Report, said Metadata) string {
		return k.Desired(r, said, "", later).Annotations[k.Since()]
	}
	first, moved := noon.Format(time.RFC3339), later.Format(time.RFC3339)
	same := report(boot2, verdict.ReasonModuleNotLoaded, verdict.OnBootLoaded)
	if got := at(same, said); got != first {
		t.Errorf("since = %s for the same verdict after a reboot, want %s", got, first)
	}
	if got := at(report(boot1, verdict.ReasonModuleBlacklisted, verdict.OnBootBlocked), said); got != moved {
		t.Errorf("since = %s for another reason, want %s", got, moved)
	}
	for _, bad := range []string{"", "yesterday", later.Add(24 * time.Hour).Format(time.RFC3339)} {
		said.Annotations[k.Since()] = bad
		if got := at(same, said); got != moved {
			t.Errorf("since = %s after %q, want %s", got, bad, moved)
		}
	}
}

// A report is not news because the probe took longer, even where it has to be
// cut to fit; anything else is.
func TestReportTextIsStable(t *testing.T) {
	r := report(boot1, verdict.ReasonProbeFailed, verdict.OnBootBlocked)
	for i := range 40 {
		r.Probe.Checks = append(r.Probe.Checks, verdict.Check{Name: fmt.Sprint("check-", i), Result: "fail", Detail: strings.Repeat("x", i)})
	}
	text := ""
	for i, took := range []int64{1, 22, 333, 4444, 55555, 9_999_999_999} {
		r.Probe.DurationMicros = took
		for j := range r.Probe.Checks {
			r.Probe.Checks[j].DurationMicros = took
		}
		got := reportText(r, text)
		if len(got) > verdict.MaxAnnotation || !json.Valid([]byte(got)) {
			t.Fatalf("%d bytes: %s", len(got), got)
		}
		if i > 0 && got != text {
			t.Errorf("the report moved because the probe took %d µs", took)
		}
		text = got
	}
	r.Message = "something else"
	if reportText(r, text) == text {
		t.Error("the report did not move with its message")
	}
}

func TestCausedLoadIsRemembered(t *testing.T) {
	var k Keys
	r := report(boot1, verdict.ReasonProbePassed, verdict.OnBootOnDemand)
	r.Probe.CausedLoad = true
	said := k.Desired(r, Metadata{}, "", noon)
	r.Probe.CausedLoad = false
	if got := k.Desired(r, said, "", noon).Annotations[k.Report()]; !strings.Contains(got, `"causedLoad":true`) {
		t.Error("the load is forgotten within the same boot")
	}
	r.Kernel.BootID = boot2
	if got := k.Desired(r, said, "", noon).Annotations[k.Report()]; strings.Contains(got, `"causedLoad":true`) {
		t.Error("the load of an earlier boot is remembered")
	}
}

func TestKeys(t *testing.T) {
	for prefix, want := range map[string]string{"": "sctp-agent/", "sctp-agent/": "sctp-agent/", "telco.example.com": "telco.example.com/", "telco.example.com/": "telco.example.com/"} {
		k, err := NewKeys(prefix)
		if err != nil || k.Prefix() != want {
			t.Errorf("%q: %q, %v", prefix, k.Prefix(), err)
		}
	}
	for _, prefix := range []string{"/", "a b/", "Upper/", "a/b/", "kubernetes.io/", "node.kubernetes.io", "k8s.io/"} {
		if k, err := NewKeys(prefix); err == nil {
			t.Errorf("%q was taken: %q", prefix, k.Prefix())
		}
	}
}

// Whatever is in the annotations (edited, or written by an older version), the
// result is complete and valid.
func FuzzDesired(f *testing.F) {
	good := report(boot1, verdict.ReasonProbePassed, verdict.OnBootLoaded, "ipv6-stream=pass")
	f.Add(string(good.Compact(4096)), "2026-01-01T00:00:00Z", "ProbePassed", "true")
	f.Add("{", "", "", "")
	f.Add(`{"apiVersion":"sctp-agent/v1","probe":{"checks":[{}]}}`, "x", "y", "maybe")
	f.Fuzz(func(t *testing.T, text, since, reason, ready string) {
		var k Keys
		said := Metadata{Labels: map[string]string{k.Ready(): ready}, Annotations: map[string]string{k.Report(): text, k.Since(): since, k.Reason(): reason}}
		for _, r := range []verdict.Report{good, report(boot2, verdict.ReasonPermissionDenied, verdict.OnBootUnknown)} {
			got := k.Desired(r, said, "", noon)
			if v := got.Labels[k.Ready()]; r.Ready == kmod.AnswerTrue && v != "true" {
				t.Errorf("ready = %q", v)
			} else if r.Kernel.BootID == boot2 && !strings.Contains(text, boot2) && v != "" {
				t.Errorf("ready = %q is trusted in a new boot", v)
			}
			if _, err := time.Parse(time.RFC3339, got.Annotations[k.Since()]); err != nil {
				t.Error(err)
			}
			if out := got.Annotations[k.Report()]; len(out) > verdict.MaxAnnotation && out != text || !json.Valid([]byte(out)) {
				t.Errorf("report of %d bytes: %s", len(out), out)
			}
		}
	})
}
