package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// printReport prints a report for people: the verdict first, then the evidence,
// then what to do.
func printReport(w io.Writer, p palette, r verdict.Report) error {
	t := &textWriter{w: w}
	t.line("SCTP on %s: %s (%s)", orDash(r.Node), verdictWord(p, r.Ready), r.Reason)
	t.line("  %s", r.Message)
	t.line("")

	t.row("module", moduleText(r))
	t.row("next boot", bootText(r.OnBoot))
	t.row("kernel", strings.TrimSpace(r.Kernel.Release+" "+r.Kernel.Machine))
	host := orDash(r.Host.OS)
	if r.Host.Kmod != "" {
		host += ", kmod " + r.Host.Kmod
	}
	t.row("host", host)
	t.line("")

	t.line("%s", p.head("Would it be loaded, if it were not in the kernel?"))
	t.row("socket", allowedText(r.Policy.Autoload.Allowed))
	t.row("socket v6", allowedText(r.Policy.AutoloadIPv6.Allowed))
	t.row("at boot", bootAnswerText(r.Policy.ModulesLoad))
	t.row("modprobe", allowedText(r.Policy.Modprobe.Allowed))
	printEvidence(t, p, r.Policy)
	t.line("")

	printProbe(t, p, r)
	if len(r.Warnings) > 0 {
		t.line("")
		t.line("%s", p.head("Warnings"))
		for _, warning := range r.Warnings {
			t.line("  %s: %s", p.warn(string(warning.Reason)), warning.Message)
		}
	}
	if r.Remedy != "" {
		t.line("")
		t.line("%s", p.head("What to do"))
		for _, step := range strings.Split(r.Remedy, "; ") {
			t.line("  %s", step)
		}
	}
	return t.err
}

// printEvidence shows every line that decides once, and for whom: several
// callers meet the same lines.
func printEvidence(t *textWriter, p palette, policy verdict.Policy) {
	type entry struct {
		evidence kmod.Evidence
		callers  []string
	}
	var entries []*entry
	seen := map[kmod.Evidence]*entry{}
	add := func(caller string, list []kmod.Evidence) {
		for _, e := range list {
			if seen[e] == nil {
				seen[e] = &entry{evidence: e}
				entries = append(entries, seen[e])
			}
			if callers := seen[e].callers; len(callers) == 0 || callers[len(callers)-1] != caller {
				seen[e].callers = append(callers, caller)
			}
		}
	}
	add("socket", policy.Autoload.Evidence)
	add("socket v6", policy.AutoloadIPv6.Evidence)
	add("at boot", policy.ModulesLoad.Evidence)
	add("modprobe", policy.Modprobe.Evidence)
	if len(entries) == 0 {
		return
	}
	t.line("")
	t.line("%s", p.head("Evidence"))
	for _, e := range entries {
		t.line("  %s", verdict.Place(e.evidence))
		note := strings.Join(e.callers, ", ")
		if e.evidence.Effect != "" && e.evidence.Text != "" {
			note += ": " + e.evidence.Effect
		}
		t.line("      %s", note)
	}
}

func printProbe(t *textWriter, p palette, r verdict.Report) {
	probe := r.Probe
	switch {
	case !probe.Attempted && len(probe.Checks) == 0:
		hint := ""
		if r.Module.State == kmod.Loadable && r.Policy.Autoload.Allowed == kmod.True {
			hint = " (--autoload=allow would load it)"
		}
		t.line("%s not run: the module is not in the kernel%s", p.head("Probe"), hint)
		return
	case !probe.Attempted:
		t.line("%s opened no socket", p.head("Probe"))
	default:
		t.line("%s %s suite, %v", p.head("Probe"), probe.Suite, micros(probe.DurationMicros))
	}
	if probe.CausedLoad {
		t.line("  the probe caused the module to be loaded (--autoload=allow)")
	}
	for _, c := range probe.Checks {
		result := c.Result
		switch c.Result {
		case "pass":
			result = p.good(result)
		case "fail":
			result = p.bad(result)
		case "unknown":
			result = p.warn(result)
		}
		detail := strings.TrimSpace(strings.Join([]string{c.Stage, c.Errno, c.Detail}, " "))
		if detail == "" {
			detail = micros(c.DurationMicros).String()
		}
		t.line("  %-8s %-22s %s", result, c.Name, detail)
	}
}

func verdictWord(p palette, ready verdict.Ready) string {
	switch ready {
	case verdict.Yes:
		return p.good("READY")
	case verdict.No:
		return p.bad("NOT READY")
	default:
		return p.warn("UNKNOWN")
	}
}

func moduleText(r verdict.Report) string {
	text := string(r.Module.State)
	switch r.Module.State {
	case kmod.Loadable:
		text = "on disk, not in the kernel"
	case kmod.Absent:
		text = "not in the kernel, not on disk"
	}
	if r.Module.Path != "" {
		text += " (" + r.Module.Path + ")"
	}
	return text
}

func bootText(b verdict.OnBoot) string {
	switch b {
	case verdict.BootLoaded:
		return "loaded"
	case verdict.BootOnDemand:
		return "on demand: nothing asks for it, the first socket would load it"
	case verdict.BootBlocked:
		return "blocked: nothing will load it"
	default:
		return "unknown"
	}
}

func bootAnswerText(d verdict.BootDecision) string {
	answer := allowedText(d.Allowed)
	switch {
	case d.Requested == kmod.Unknown:
		return answer + " (whether it is requested could not be read)"
	case d.Requested == kmod.False && d.Allowed == kmod.True:
		return answer + ", but nothing requests it"
	case d.Requested == kmod.False:
		return answer + ", and nothing requests it"
	case d.Allowed == kmod.True:
		return answer + ", and it is requested"
	default:
		return answer + ", although it is requested"
	}
}

func allowedText(a kmod.Answer) string {
	switch a {
	case kmod.True:
		return "yes"
	case kmod.False:
		return "no"
	default:
		return "unknown"
	}
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// textWriter keeps the first error, so that printing reads as a page.
type textWriter struct {
	w   io.Writer
	err error
}

func (t *textWriter) line(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.w, format+"\n", args...)
	}
}

func (t *textWriter) row(name, value string) { t.line("  %-10s %s", name, value) }
