package verdict

import (
	"fmt"
	"strings"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// warnings are what is true besides the verdict and worth acting on, the most
// urgent first.
func warnings(f Facts, i *kmod.Inspection, elsewhere string, r Report) []Warning {
	var w []Warning
	add := func(reason Reason, format string, args ...any) {
		w = append(w, Warning{reason, fmt.Sprintf(format, args...)})
	}
	if i != nil {
		switch {
		case r.Ready == kmod.AnswerTrue && r.OnBoot == OnBootBlocked:
			add(ReasonWillNotSurviveReboot, "%s works now, and the next boot will not load it%s", i.Module, stoppedAtBoot(i))
		case r.Ready == kmod.AnswerTrue && r.OnBoot == OnBootOnDemand:
			add(ReasonLoadedOnDemandOnly, "nothing asks for %s at boot: after a reboot it is there only once a program opens a socket", i.Module)
		case r.Reason == ReasonModuleLoadFailed && r.OnBoot == OnBootLoaded:
			add(ReasonPendingReboot, "%s is not loaded; the next boot will try again (%s)", i.Module, where(nextInspection(i).BootLoad.RequestedBy))
		case !i.State.InKernel() && r.OnBoot == OnBootLoaded:
			add(ReasonPendingReboot, "%s is not loaded; the next boot will load it (%s)", i.Module, where(nextInspection(i).BootLoad.RequestedBy))
		}
		w = append(w, nextBootWarnings(i)...)
	}
	if elsewhere != "" {
		add(ReasonHostRootIncomplete, "%s, so its files do not show what the next boot loads", elsewhere)
	}
	if f.ModulesLoadUnit != "" {
		add(ReasonModulesLoadUnitFailed, "systemd-modules-load.service: %s", f.ModulesLoadUnit)
	}
	if f.Probe.LoopbackFiltered != "" {
		add(ReasonLoopbackFiltered, "SCTP works in this kernel, and is filtered on loopback where the agent runs: %s", f.Probe.LoopbackFiltered)
	}
	if f.Probe.Attempted {
		for _, c := range f.Probe.Checks {
			if strings.HasPrefix(c.Name, result.PrefixIPv6) && c.Result != result.OutcomePass {
				add(ReasonIPv6Unavailable, "SCTP over IPv6 is not proved: check %s: %s%s", c.Name, c.Result, stopped(c))
				break
			}
		}
	}
	if i != nil {
		for _, finding := range i.Findings {
			add(findingReason(finding.Kind), "%s", findingText(finding))
		}
	}
	if d := f.Diag; d != nil && i != nil && elsewhere == "" && i.State.InKernel() && !d.State.InKernel() && d.Autoload.Allowed == kmod.AnswerFalse {
		add(ReasonSCTPDiagUnavailable, "\"ss --sctp\" shows nothing on this node%s", by(d.Autoload))
	}
	return w
}

// findingReason names the warning for a kind of finding.
func findingReason(k kmod.FindingKind) Reason {
	switch k {
	case kmod.FindingConflict:
		return ReasonConflictingFiles
	case kmod.FindingUnused:
		return ReasonUnusedDirective
	case kmod.FindingUnitNotRun:
		return ReasonModulesLoadUnitMasked
	case kmod.FindingLoadedByUnit:
		return ReasonLoadedByUnit
	default: // kmod.FindingIncomplete, kmod.FindingVersionUnknown
		return ReasonInspectionIncomplete
	}
}

func findingText(f kmod.Finding) string {
	if len(f.Evidence) == 0 || strings.Contains(f.Message, f.Evidence[0].File) {
		return f.Message
	}
	return f.Evidence[0].String() + ": " + f.Message
}

// stoppedAtBoot names what stops the next boot, as the end of a sentence.
func stoppedAtBoot(i *kmod.Inspection) string {
	if nextInspection(i) != i && onBoot(i) != OnBootBlocked {
		return ": " + i.Next.Pending[0].String()
	}
	if i.BootLoad.Requested == kmod.AnswerTrue {
		return by(i.BootLoad.Decision)
	}
	return by(i.Autoload)
}
