package report

import (
	"errors"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/internal/programtest"
	"github.com/sctp-agent/sctp-agent/internal/terminal"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// rhcos is what is found on an OpenShift node as it ships.
func rhcos(edit func(*kmod.Inspection)) verdict.Facts {
	line := kmod.Evidence{File: verdict.VendorBlacklist, Line: 6, Text: "blacklist sctp", Effect: "stops loading when a program asks", Cause: kmod.CauseBlacklist}
	atBoot := line
	atBoot.Effect = "stops loading at boot"
	i := &kmod.Inspection{
		Module: "sctp", State: kmod.StateLoadable, OS: "Red Hat Enterprise Linux CoreOS 9.6", KmodVersion: 28,
		Userland:     kmod.Userland{ID: "rhcos", OpenShiftVersion: "4.18"},
		Autoload:     kmod.Decision{Allowed: kmod.AnswerFalse, Cause: kmod.CauseBlacklist, Evidence: []kmod.Evidence{line}},
		AutoloadIPv6: kmod.Decision{Allowed: kmod.AnswerFalse, Cause: kmod.CauseBlacklist, Evidence: []kmod.Evidence{line}},
		ByName:       kmod.Decision{Allowed: kmod.AnswerTrue},
		BootLoad:     kmod.BootLoad{Requested: kmod.AnswerFalse, Decision: kmod.Decision{Allowed: kmod.AnswerFalse, Cause: kmod.CauseBlacklist, Evidence: []kmod.Evidence{atBoot}}},
	}
	if edit != nil {
		edit(i)
	}
	return verdict.Facts{Node: "worker-0", Inspection: i}
}

// TestPrintReport: verdict, then evidence once per line with what it does to
// whom, then the remedy, on RHCOS with the MachineConfig; no blank nor colour
// astray.
func TestPrintReport(t *testing.T) {
	var out strings.Builder
	if err := Print(&out, terminal.Palette{}, verdict.Judge(rhcos(nil))); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	last := -1
	for _, part := range []string{
		"SCTP on worker-0: NOT READY (ModuleBlacklisted)\n",
		"sctp is blacklisted: /etc/modprobe.d/sctp-blacklist.conf:6: blacklist sctp\n",
		"  host       Red Hat Enterprise Linux CoreOS 9.6, kmod 28 (openshift)\n",
		"Evidence\n  /etc/modprobe.d/sctp-blacklist.conf:6: blacklist sctp\n" +
			"      socket, socket v6: stops loading when a program asks\n" +
			"      at boot: stops loading at boot\n",
		"What to do\n  empty /etc/modprobe.d/sctp-blacklist.conf\n  put \"sctp\" into /etc/modules-load.d/sctp-load.conf\n  apply this as one MachineConfig",
		"\n      $ kubectl sctp machineconfig --role worker | oc apply -f -\n",
		"kind: MachineConfig",
	} {
		at := strings.Index(text, part)
		if at <= last {
			t.Errorf("missing, or not in its place: %q in\n%s", part, text)
		}
		last = at
	}
	if strings.Contains(text, "\x1b") || strings.Contains(text, "%!") {
		t.Errorf("colour or a broken format:\n%q", text)
	}
}

// TestMachineConfigOnlyWhereItHelps: a MachineConfig is shown on OpenShift
// nodes only, and only when files are the remedy.
func TestMachineConfigOnlyWhereItHelps(t *testing.T) {
	for _, c := range []struct {
		story string
		facts verdict.Facts
		shown bool
	}{
		{"blacklisted RHCOS", rhcos(nil), true},
		{"blacklisted Fedora", rhcos(func(i *kmod.Inspection) { i.Userland = kmod.Userland{ID: "fedora"} }), false},
		{"RHCOS without the module, blacklisted, too", rhcos(func(i *kmod.Inspection) { i.State = kmod.StateAbsent }), true},
		{"RHCOS with both files, not rebooted", rhcos(func(i *kmod.Inspection) {
			allowed := kmod.Decision{Allowed: kmod.AnswerTrue}
			i.Autoload, i.BootLoad = allowed, kmod.BootLoad{Requested: kmod.AnswerTrue, Decision: allowed}
		}), false},
		{"RHCOS, loaded by hand", func() verdict.Facts {
			f := rhcos(func(i *kmod.Inspection) { i.State = kmod.StateLoaded })
			f.Probe = result.Result{Attempted: true, Checks: []result.Check{{Name: "x", Required: true, Result: result.OutcomePass}}}
			return f
		}(), true},
	} {
		var out strings.Builder
		if err := Print(&out, terminal.Palette{}, verdict.Judge(c.facts)); err != nil {
			t.Fatal(err)
		}
		if shown := strings.Contains(out.String(), "kind: MachineConfig"); shown != c.shown {
			t.Errorf("%s: MachineConfig shown: %v\n%s", c.story, shown, out.String())
		}
	}
}

// TestPrintUnknown: what is not known is not printed as a fact.
func TestPrintUnknown(t *testing.T) {
	var out strings.Builder
	report := verdict.Judge(verdict.Facts{Node: "worker-0", InspectionError: errors.New("open host root /host: no such file or directory")})
	if err := Print(&out, terminal.Palette{}, report); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, part := range []string{"UNKNOWN (InspectionFailed)", "/host", "Probe not run: whether the module is in the kernel is not known"} {
		if !strings.Contains(text, part) {
			t.Errorf("it does not say %q:\n%s", part, text)
		}
	}
	for line := range strings.Lines(text) {
		if strings.TrimRight(line, " \n")+"\n" != line {
			t.Errorf("a row without a value: %q", line)
		}
	}
}

// TestFits: a report with a long name in every place that takes one, and many
// words in every place that takes words, fits a terminal and loses none.
func TestFits(t *testing.T) {
	words := strings.Repeat("many words ", 20)
	facts := rhcos(func(i *kmod.Inspection) { i.State = kmod.StateLoaded })
	facts.Node = "ip-10-201-103-47.eu-central-1.compute.internal"
	facts.Probe = result.Result{Attempted: true, Suite: result.SuiteFull}
	for range 30 {
		facts.Probe.Checks = append(facts.Probe.Checks,
			result.Check{Name: "passed-check", Result: result.OutcomePass},
			result.Check{Name: "failed-check", Required: true, Result: result.OutcomeFail, Stage: "connect", Errno: "ECONNREFUSED", Detail: words})
	}
	r := verdict.Judge(facts)
	r.Module.Path = "/usr/lib/modules/5.14.0-570.12.1.el9_6.x86_64/kernel/net/sctp/sctp.ko.xz"
	r.Warnings = append(r.Warnings, verdict.Warning{Reason: verdict.ReasonWillNotSurviveReboot, Message: words})
	var b strings.Builder
	if err := Print(&b, terminal.NewPalette(&b), r); err != nil {
		t.Fatal(err)
	}
	programtest.Fits(t, b.String())
	for _, want := range []string{"failed-check", r.Module.Path, "connect ECONNREFUSED", "WillNotSurviveReboot: many words"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if t.Failed() {
		t.Logf("\n%s", b.String())
	}
}
