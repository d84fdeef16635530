// Package report prints a report for people.
package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/terminal"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/machineconfig"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// Print prints a report for people: the verdict first, then the evidence,
// then what to do.
func Print(w io.Writer, p terminal.Palette, r verdict.Report) error {
	t := p.Writer(w)
	t.Wrapped(0, fmt.Sprintf("SCTP on %s: %s (%s)", terminal.OrDash(r.Node), p.Answer(r.Ready, "READY", "NOT READY", "UNKNOWN"), r.Reason))
	t.Wrapped(2, r.Message)
	t.Line("")

	t.Row("module", moduleText(r))
	t.Row("next boot", bootText(r.OnBoot))
	t.Row("kernel", terminal.OrDash(strings.TrimSpace(r.Kernel.Release+" "+r.Kernel.Machine)))
	host := terminal.OrDash(r.Host.OS)
	if r.Host.Kmod != "" {
		host += ", kmod " + r.Host.Kmod
	}
	if kind := strings.Join(append([]string{r.Host.Platform}, r.Host.Traits...), ", "); r.Host.Platform != "" {
		host += " (" + kind + ")"
	}
	t.Row("host", host)
	t.Line("")

	t.Line("%s", p.Head("Would it be loaded, if it were not in the kernel?"))
	t.Row("socket", allowedText(r.Policy.Autoload.Allowed))
	t.Row("socket v6", allowedText(r.Policy.AutoloadIPv6.Allowed))
	t.Row("at boot", bootAnswerText(r.Policy.ModulesLoad))
	t.Row("modprobe", allowedText(r.Policy.Modprobe.Allowed))
	printEvidence(t, r.Policy)
	t.Line("")

	printProbe(t, r)
	if len(r.Warnings) > 0 {
		t.Line("")
		t.Line("%s", p.Head("Warnings"))
		for _, warning := range r.Warnings {
			t.Wrapped(2, p.Warn(string(warning.Reason))+": "+warning.Message)
		}
	}
	printRemedies(t, r)
	if files := machineconfig.FilesOf(r); files != nil {
		t.Line("")
		t.Line("%s", p.Head("The MachineConfig for the pool \"worker\" (others: machineconfig --role NAME)"))
		for _, step := range r.Remedies {
			if step.Action == verdict.ActionRemoveArgument {
				t.Line("# not by this: %s", strings.ReplaceAll(step.Text, "\n", " "))
			}
		}
		if t.Err == nil {
			t.Err = machineconfig.Write(w, []string{"worker"}, files)
		}
	}
	return t.Err
}

// printRemedies prints every step, with the command that does it. A command is
// never broken, so that it can be copied.
func printRemedies(t *terminal.Writer, r verdict.Report) {
	if len(r.Remedies) == 0 {
		return
	}
	t.Line("")
	t.Line("%s", t.Head("What to do"))
	for _, step := range r.Remedies {
		t.Wrapped(2, step.Text)
		if step.Command != "" {
			t.Line("      $ %s", step.Command)
		}
	}
}

// printEvidence prints every line that decides once, with its effect on each
// caller: several callers have the same lines.
func printEvidence(t *terminal.Writer, policy verdict.Policy) {
	type effect struct {
		text    string
		callers []string
	}
	type entry struct {
		place   string
		effects []effect
	}
	var entries []entry
	index := map[string]int{} // of entries, by place
	add := func(caller string, list []kmod.Evidence) {
		for _, e := range list {
			place := e.String()
			at, ok := index[place]
			if !ok {
				at = len(entries)
				index[place] = at
				entries = append(entries, entry{place: place})
			}
			effects := &entries[at].effects
			of := slices.IndexFunc(*effects, func(x effect) bool { return x.text == e.Effect })
			if of < 0 {
				of = len(*effects)
				*effects = append(*effects, effect{text: e.Effect})
			}
			if callers := &(*effects)[of].callers; !slices.Contains(*callers, caller) {
				*callers = append(*callers, caller)
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
	t.Line("")
	t.Line("%s", t.Head("Evidence"))
	for _, e := range entries {
		t.Line("  %s", e.place)
		for _, x := range e.effects {
			note := strings.Join(x.callers, ", ")
			if !strings.HasSuffix(e.place, x.text) {
				note += ": " + x.text
			}
			t.Wrapped(6, note)
		}
	}
}

func printProbe(t *terminal.Writer, r verdict.Report) {
	probe := r.Probe
	switch {
	case !probe.Attempted && len(probe.Checks) == 0:
		why := "the module is not in the kernel"
		switch {
		case r.Module.State == kmod.StateUnknown:
			why = "whether the module is in the kernel is not known"
		case r.Module.State.InKernel():
			why = "only the host itself can prove SCTP"
		case probe.Suite != "" && r.Module.State == kmod.StateLoadable && r.Policy.Autoload.Allowed == kmod.AnswerTrue:
			why += " (--autoload=allow would load it)"
		}
		t.Line("%s not run: %s", t.Head("Probe"), why)
		return
	case !probe.Attempted:
		t.Line("%s opened no socket", t.Head("Probe"))
	default:
		t.Line("%s %s suite, %v", t.Head("Probe"), probe.Suite, time.Duration(probe.DurationMicros)*time.Microsecond)
	}
	if probe.CausedLoad {
		t.Line("  the probe caused the module to be loaded (--autoload=allow)")
	}
	var passed []string
	for _, c := range probe.Checks {
		if c.Result == "pass" {
			passed = append(passed, c.Name)
			continue
		}
		result := fmt.Sprintf("%-8s", c.Result)
		switch c.Result {
		case "fail":
			result = t.Bad(result)
		case "unknown":
			result = t.Warn(result)
		}
		t.Hanging("  "+result+" ", strings.Join([]string{c.Name, c.Stage, c.Errno, c.Detail}, " "))
	}
	if len(passed) > 0 {
		t.Hanging("  "+t.Good("pass    ")+" ", strings.Join(passed, " "))
	}
}

func moduleText(r verdict.Report) string {
	text := string(r.Module.State)
	switch r.Module.State {
	case kmod.StateLoadable:
		text = "on disk, not in the kernel"
	case kmod.StateAbsent:
		text = "not in the kernel, not on disk"
	}
	if r.Module.Path != "" {
		text += " (" + r.Module.Path + ")"
	}
	return text
}

func bootText(b verdict.OnBoot) string {
	switch b {
	case verdict.OnBootLoaded:
		return "loaded"
	case verdict.OnBootOnDemand:
		return "on demand: not requested at boot, the first socket would load it"
	case verdict.OnBootBlocked:
		return "blocked: nothing will load it"
	default:
		return "unknown"
	}
}

func bootAnswerText(d verdict.BootDecision) string {
	answer := allowedText(d.Allowed)
	switch {
	case d.Requested == kmod.AnswerUnknown:
		return answer + " (whether it is requested could not be read)"
	case d.Requested == kmod.AnswerFalse && d.Allowed == kmod.AnswerTrue:
		return answer + ", but nothing requests it"
	case d.Requested == kmod.AnswerFalse:
		return answer + ", and nothing requests it"
	case d.Allowed == kmod.AnswerTrue:
		return answer + ", and it is requested"
	default:
		return answer + ", although it is requested"
	}
}

// allowedText has no colour.
func allowedText(a kmod.Answer) string {
	return terminal.Palette{}.Answer(a, "yes", "no", "unknown")
}
