package verdict

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// Facts are everything that a verdict depends on.
type Facts struct {
	// Node is the node's name.
	Node string
	// Inspection of the module, nil when it failed.
	Inspection *kmod.Inspection
	// InspectionError is why there is no Inspection.
	InspectionError error
	// Diag is the inspection of sctp_diag, nil when it was not made.
	Diag *kmod.Inspection
	// Probe is the probe's result.
	Probe result.Result
	// SELinuxType is the type of the SELinux domain that the agent runs in, ""
	// where SELinux does not confine it, or where it is not known.
	SELinuxType string
	// ModulesLoadUnit is the state of systemd-modules-load.service in words,
	// when it failed; "" when it did not, or when it is not known.
	ModulesLoadUnit string
}

// Judge makes the report, which depends on the facts only.
func Judge(f Facts) Report {
	r := Report{
		APIVersion: APIVersion, Kind: Kind, Node: f.Node,
		OnBoot: OnBootUnknown,
		Module: Module{State: kmod.StateUnknown},
		Policy: Policy{
			Autoload:     decision(kmod.Decision{}),
			AutoloadIPv6: decision(kmod.Decision{}),
			ModulesLoad:  BootDecision{Requested: kmod.AnswerUnknown, Unit: kmod.UnitUnknown, Allowed: kmod.AnswerUnknown, Evidence: []kmod.Evidence{}},
			Modprobe:     decision(kmod.Decision{}),
		},
		Probe:    probeReport(f.Probe),
		Host:     Host{Traits: []string{}},
		Remedies: []Remedy{}, Warnings: []Warning{},
	}
	i, elsewhere := f.Inspection, ""
	if i != nil {
		if elsewhere = rootElsewhere(i); elsewhere != "" {
			i = withoutRoot(i, elsewhere)
		}
		i = withSeenLoad(i, f.Probe.CausedLoad)
		r.Kernel = Kernel{Release: i.Kernel.Release, BootID: i.Kernel.BootID, Machine: i.Kernel.Machine}
		r.Host = Host{OS: i.OS, Platform: PlatformOf(i.Userland).Name, Traits: traits(i.Userland)}
		if i.KmodVersion > 0 {
			r.Host.Kmod = strconv.Itoa(i.KmodVersion)
		}
		r.Module = Module{State: i.State, Path: i.Path}
		r.Policy = Policy{
			Autoload:     decision(i.Autoload),
			AutoloadIPv6: decision(i.AutoloadIPv6),
			ModulesLoad:  bootDecision(i.BootLoad),
			Modprobe:     decision(i.ByName),
		}
		r.OnBoot = onNextBoot(i)
	}

	c := conclude(f, i, elsewhere)
	r.Reason, r.Message = c.reason, c.message
	r.Ready = c.reason.Ready()
	r.Warnings = append(r.Warnings, warnings(f, i, elsewhere, r)...)
	r.Remedies = append(r.Remedies, remedies(f, i, r)...)
	r.Remedy = sentence(r.Remedies)
	for _, s := range append(r.texts(), r.commands()...) {
		// A file's name may have any bytes, and JSON only UTF-8: a report that is
		// read back must be the same.
		*s = strings.ToValidUTF8(*s, "\uFFFD")
	}
	return r
}

// Rebooting is the report of a node whose shutdown has begun: what worked until now
// ends, and SCTP is proved again after the next boot.
func Rebooting(r Report) Report {
	r.Ready, r.Reason = kmod.AnswerFalse, ReasonNodeRebooting
	r.Message = "the node is shutting down; SCTP is proved again after the next boot"
	r.Remedy, r.Remedies = "", []Remedy{}
	return r
}

func decision(d kmod.Decision) Decision {
	return Decision{Allowed: cmp.Or(d.Allowed, kmod.AnswerUnknown), Evidence: append([]kmod.Evidence{}, d.Evidence...)}
}

// bootDecision shows the lines that stop the load before those that ask for
// it: the first line is the one to act on.
func bootDecision(b kmod.BootLoad) BootDecision {
	d := decision(b.Decision)
	return BootDecision{Requested: cmp.Or(b.Requested, kmod.AnswerUnknown), Unit: cmp.Or(b.Unit, kmod.UnitUnknown), Allowed: d.Allowed, Evidence: append(d.Evidence, b.RequestedBy...)}
}

func probeReport(p result.Result) Probe {
	out := Probe{
		Attempted: p.Attempted, CausedLoad: p.CausedLoad,
		Suite: string(p.Suite), DurationMicros: p.Duration.Microseconds(),
		Checks: []Check{},
	}
	for _, c := range p.Checks {
		errno := c.Errno
		if errno == "" && c.TimedOut {
			errno = "ETIMEDOUT"
		}
		out.Checks = append(out.Checks, Check{
			Name: c.Name, Result: string(c.Result), Stage: string(c.Stage), Errno: errno,
			DurationMicros: c.Duration.Microseconds(), Detail: c.Detail,
		})
	}
	return out
}

// conclusion is a reason with its sentence.
type conclusion struct {
	reason  Reason
	message string
}

// conclude decides. What works is proved by the probe alone; what does not work
// is explained by the state, then by the policy.
func conclude(f Facts, i *kmod.Inspection, elsewhere string) conclusion {
	switch {
	case f.Probe.Attempted && allRequiredPassed(f.Probe) && !inTransition(i):
		passed, ran := count(f.Probe)
		return conclusion{ReasonProbePassed, fmt.Sprintf("SCTP works: %d of %d checks passed", passed, ran)}
	case i == nil:
		err := f.InspectionError
		if err == nil {
			err = fmt.Errorf("no inspection was made")
		}
		return conclusion{ReasonInspectionFailed, fmt.Sprintf("the host could not be inspected: %v", err)}
	case inTransition(i):
		return conclusion{ReasonModuleInTransition, fmt.Sprintf("the kernel is %s the module %s right now", i.State, i.Module)}
	case i.State.InKernel():
		return concludeInKernel(f, i)
	case elsewhere != "" && f.Inspection.State != kmod.StateUnknown:
		if decidedByKernelAlone(i.ByName) {
			return concludeNotLoaded(i)
		}
		return conclusion{ReasonModuleNotLoaded, fmt.Sprintf("%s is not in the kernel, and what would load it is decided elsewhere: %s", i.Module, elsewhere)}
	case i.State == kmod.StateUnknown:
		at := " in /proc/modules and /sys/module"
		if elsewhere == "" && i.ByName.Cause == kmod.CauseUnreadable {
			at = by(i.ByName)
		}
		return conclusion{ReasonInspectionFailed, fmt.Sprintf("whether the module %s is in the kernel could not be read%s", i.Module, at)}
	default:
		c := concludeNotLoaded(i)
		if c.reason == ReasonModuleNotLoaded && f.Probe.Attempted && len(f.Probe.Checks) > 0 {
			c.message += "; the probe asked for it and stopped" + stopped(f.Probe.Checks[0])
		}
		return c
	}
}

func inTransition(i *kmod.Inspection) bool {
	return i != nil && (i.State == kmod.StateLoading || i.State == kmod.StateUnloading)
}

// allRequiredPassed: a loop over no checks proves nothing, so at least one must
// have passed.
func allRequiredPassed(p result.Result) bool {
	passed := false
	for _, c := range p.Checks {
		if !c.Required {
			continue
		}
		switch c.Result {
		case result.OutcomePass:
			passed = true
		case result.OutcomeSkip:
		default:
			return false
		}
	}
	return passed
}

// count is how many checks passed, of how many that ran.
func count(p result.Result) (passed, ran int) {
	for _, c := range p.Checks {
		switch c.Result {
		case result.OutcomeSkip:
			continue
		case result.OutcomePass:
			passed++
		}
		ran++
	}
	return passed, ran
}

// concludeInKernel: the module is there, so the probe decides. A check that failed
// counts more than one that could not conclude.
func concludeInKernel(f Facts, i *kmod.Inspection) conclusion {
	var undecided *conclusion
	for _, c := range f.Probe.Checks {
		if !c.Required || c.Result == result.OutcomePass || c.Result == result.OutcomeSkip {
			continue
		}
		found := conclusion{probeReason(c), probeMessage(c)}
		if found.reason == ReasonPermissionDenied && c.Errno == "EACCES" && f.SELinuxType != "" {
			found.message += ", in the SELinux domain " + f.SELinuxType
		}
		if found.reason.Ready() == kmod.AnswerFalse {
			return found
		}
		if undecided == nil {
			undecided = &found
		}
	}
	if undecided != nil {
		return *undecided
	}
	return conclusion{ReasonInspectionFailed, fmt.Sprintf("the module %s is in the kernel, and SCTP was not probed", i.Module)}
}

// concludeNotLoaded: the module is not in the kernel; the policy is why. When
// several mechanisms apply, the first in the order of loading is the reason.
func concludeNotLoaded(i *kmod.Inspection) conclusion {
	if i.State == kmod.StateAbsent {
		return conclusion{ReasonModuleMissing, fmt.Sprintf("kernel %s has no module %s, on disk or built in%s", i.Kernel.Release, i.Module, by(i.ByName))}
	}
	boot := i.BootLoad
	if boot.Requested == kmod.AnswerTrue && boot.Allowed == kmod.AnswerTrue {
		by := boot.RequestedBy
		if !i.Kernel.BootTime.IsZero() && boot.RequestedSince.After(i.Kernel.BootTime) {
			return conclusion{ReasonModuleNotLoaded, fmt.Sprintf("not loaded yet: %s asks for %s since after this boot, and takes effect at the next one", where(by), i.Module)}
		}
		return conclusion{ReasonModuleLoadFailed, fmt.Sprintf("%s asks for %s at boot, nothing stops it, and it is not loaded", where(by), i.Module)}
	}

	// Everything that stops a caller: a socket always counts, boot only if
	// something requests the module. A doubt about the boot alone is none about now.
	asked := []kmod.Decision{i.Autoload}
	doubt := i.Autoload.Allowed == kmod.AnswerTrue && boot.Decision.Cause == kmod.CauseUnclear
	if boot.Requested != kmod.AnswerFalse && !doubt {
		asked = append(asked, boot.Decision)
	}
	first := kmod.Decision{Allowed: kmod.AnswerTrue}
	for _, d := range asked {
		if d.Allowed != kmod.AnswerTrue && d.Cause.Before(first.Cause) {
			first = d
		}
	}
	ask := ""
	if boot.Requested == kmod.AnswerTrue {
		ask = ", although " + where(boot.RequestedBy) + " asks for it"
	}
	switch first.Cause {
	case kmod.CauseNone:
		if doubt {
			e := boot.Decision.Evidence[0]
			return conclusion{ReasonModuleNotLoaded, fmt.Sprintf("nothing stops a program from having %s loaded, and nothing has loaded it; what the next boot does is not known: %s %s", i.Module, e.Place(), e.Effect)}
		}
		return conclusion{ReasonModuleNotLoaded, fmt.Sprintf("nothing stops %s from being loaded, and nothing has loaded it", i.Module)}
	case kmod.CauseMissing:
		return conclusion{ReasonModuleMissing, fmt.Sprintf("the module index of kernel %s does not lead to %s%s", i.Kernel.Release, i.Module, by(first))}
	case kmod.CauseDeniedByKernel:
		return conclusion{ReasonModuleDeniedByKernel, fmt.Sprintf("the kernel refuses to load %s%s%s", i.Module, by(first), ask)}
	case kmod.CauseLoadingDisabled:
		if first.Allowed == kmod.AnswerUnknown {
			return conclusion{ReasonModuleLoadingDisabled, fmt.Sprintf("the kernel asks another program than modprobe to load modules%s%s", by(first), ask)}
		}
		return conclusion{ReasonModuleLoadingDisabled, fmt.Sprintf("module loading is switched off%s%s", by(first), ask)}
	case kmod.CauseInstall:
		return conclusion{ReasonModuleInstallOverridden, fmt.Sprintf("an install command replaces loading %s%s%s", i.Module, by(first), ask)}
	case kmod.CauseAlias:
		return conclusion{ReasonModuleAliasDisabled, fmt.Sprintf("an alias leads requests for %s elsewhere%s%s", i.Module, by(first), ask)}
	case kmod.CauseBlacklist:
		return conclusion{ReasonModuleBlacklisted, fmt.Sprintf("%s is blacklisted%s%s", i.Module, by(first), ask)}
	case kmod.CauseUnit:
		return conclusion{ReasonModuleNotLoaded, fmt.Sprintf("nothing loads %s at boot%s%s", i.Module, by(first), ask)}
	case kmod.CauseCustomInstall:
		return conclusion{ReasonModuleInstallOverridden, fmt.Sprintf("an install command of unknown effect replaces loading %s%s%s", i.Module, by(first), ask)}
	case kmod.CauseUnclear:
		return conclusion{ReasonInspectionFailed, fmt.Sprintf("whether %s can be loaded is not known%s", i.Module, by(first))}
	case kmod.CauseVersionsDiffer:
		return conclusion{ReasonInspectionFailed, fmt.Sprintf("the host's kmod version is not known, and the versions disagree about %s%s (set --kmod-version)", i.Module, by(first))}
	default:
		return conclusion{ReasonInspectionFailed, fmt.Sprintf("what decides whether %s is loaded could not be read%s", i.Module, by(first))}
	}
}

// onBoot is what the next boot will bring with today's files.
func onBoot(i *kmod.Inspection) OnBoot {
	if i.State == kmod.StateBuiltin && i.Autoload.Allowed != kmod.AnswerFalse {
		return OnBootLoaded
	}
	boot := bootAllowed(i.BootLoad.Decision)
	requested := i.BootLoad.Requested
	if PlatformOf(i.Userland).bootSource != "" && (i.State == kmod.StateLoaded || requested != kmod.AnswerFalse) && !stoppedByArgument(i.Autoload) {
		// What loaded it cannot be seen in the root, and may do so again.
		return OnBootUnknown
	}
	switch {
	case requested == kmod.AnswerTrue && boot == kmod.AnswerTrue:
		return OnBootLoaded
	case requested == kmod.AnswerTrue && boot != kmod.AnswerFalse,
		requested != kmod.AnswerTrue && requested != kmod.AnswerFalse && boot != kmod.AnswerFalse:
		return OnBootUnknown
	}
	// Not requested, or requested and stopped.
	switch i.Autoload.Allowed {
	case kmod.AnswerTrue:
		return OnBootOnDemand
	case kmod.AnswerFalse:
		if i.Kernel.Replaced && onlyMissing(i.Autoload) || PlatformOf(i.Userland).way == byStartup && decidedInEtc(i.Autoload) {
			return OnBootUnknown
		}
		return OnBootBlocked
	default:
		return OnBootUnknown
	}
}

// stoppedByArgument: the kernel's arguments stop whatever asks for the module.
func stoppedByArgument(d kmod.Decision) bool {
	return slices.ContainsFunc(d.Evidence, func(e kmod.Evidence) bool { return e.Cause == d.Cause && e.File == procCmdline && decidedByKernel(e) })
}

// decidedInEtc: a file of /etc stops the load.
func decidedInEtc(d kmod.Decision) bool {
	return slices.ContainsFunc(d.Evidence, func(e kmod.Evidence) bool { return e.Cause == d.Cause && strings.HasPrefix(e.File, "/etc/") })
}

// onlyMissing: the only obstacle is that the running kernel has no such module.
func onlyMissing(d kmod.Decision) bool {
	for _, e := range d.Evidence {
		if e.Cause != kmod.CauseNone && e.Cause != kmod.CauseMissing {
			return false
		}
	}
	return d.Cause == kmod.CauseMissing
}

// bootAllowed is the boot's answer without what only this boot knows:
// kernel.modules_disabled, when it was set by a sysctl and not by "nomodule",
// is set after systemd-modules-load has run (systemd-sysctl.service is ordered
// After=systemd-modules-load.service), so it does not stop the next boot's.
func bootAllowed(d kmod.Decision) kmod.Answer {
	if d.Cause != kmod.CauseLoadingDisabled {
		return d.Allowed
	}
	for _, e := range d.Evidence {
		if e.Cause == kmod.CauseNone || (e.Cause == kmod.CauseLoadingDisabled && e.File != procCmdline) {
			continue
		}
		return d.Allowed
	}
	return kmod.AnswerTrue
}

// procCmdline is how evidence names the kernel command line.
const procCmdline = "/proc/cmdline"

// by names the evidence that decides, as the end of a sentence.
func by(d kmod.Decision) string {
	for _, e := range d.Evidence {
		if e.Cause == d.Cause {
			return ": " + e.String()
		}
	}
	return ""
}

// where names the lines that ask for the module.
func where(list []kmod.Evidence) string {
	if len(list) == 0 {
		return "the configuration"
	}
	return list[0].Place()
}
