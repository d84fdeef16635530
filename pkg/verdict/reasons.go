package verdict

import "github.com/sctp-agent/sctp-agent/pkg/kmod"

// Reason is why a verdict is what it is, in one word. The values are public API:
// dashboards, alerts and scripts compare them.
type Reason string

// Reasons for ready=true.
const (
	// ReasonProbePassed: the kernel has SCTP and the probe proved it.
	ReasonProbePassed Reason = "ProbePassed"
)

// Reasons for ready=false.
const (
	// ReasonModuleBlacklisted: not loaded; a "blacklist" stops autoload or the load
	// at boot.
	ReasonModuleBlacklisted Reason = "ModuleBlacklisted"
	// ReasonModuleInstallOverridden: not loaded; an "install" command replaces
	// loading.
	ReasonModuleInstallOverridden Reason = "ModuleInstallOverridden"
	// ReasonModuleAliasDisabled: not loaded; its protocol alias is turned off.
	ReasonModuleAliasDisabled Reason = "ModuleAliasDisabled"
	// ReasonModuleDeniedByKernel: not loaded; module_blacklist= on the kernel
	// command line, or no signature where the kernel insists on one.
	ReasonModuleDeniedByKernel Reason = "ModuleDeniedByKernel"
	// ReasonModuleLoadingDisabled: not loaded; kernel.modules_disabled=1, or no
	// modprobe helper and nothing requests it.
	ReasonModuleLoadingDisabled Reason = "ModuleLoadingDisabled"
	// ReasonModuleMissing: the running kernel has no such module, on disk or built
	// in.
	ReasonModuleMissing Reason = "ModuleMissing"
	// ReasonModuleNotLoaded: nothing stops it, nothing has loaded it.
	ReasonModuleNotLoaded Reason = "ModuleNotLoaded"
	// ReasonModuleLoadFailed: requested at boot, nothing stops it, and yet not
	// loaded.
	ReasonModuleLoadFailed Reason = "ModuleLoadFailed"
	// ReasonProbeFailed: the module is there and a required check failed.
	ReasonProbeFailed Reason = "ProbeFailed"
	// ReasonProbeTimedOut: the module is there and packets do not arrive.
	ReasonProbeTimedOut Reason = "ProbeTimedOut"
	// ReasonNodeRebooting: the agent saw this node's shutdown begin.
	ReasonNodeRebooting Reason = "NodeRebooting"
)

// Reasons for ready=unknown.
const (
	// ReasonPermissionDenied: EPERM or EACCES: seccomp, SELinux, capabilities.
	ReasonPermissionDenied Reason = "PermissionDenied"
	// ReasonResourceExhausted: EMFILE, ENFILE, ENOMEM, ENOBUFS.
	ReasonResourceExhausted Reason = "ResourceExhausted"
	// ReasonInspectionFailed: what decides the answer could not be read.
	ReasonInspectionFailed Reason = "InspectionFailed"
	// ReasonModuleInTransition: loading or unloading right now.
	ReasonModuleInTransition Reason = "ModuleInTransition"
)

// Reasons of warnings: true besides the verdict, and worth acting on.
const (
	// ReasonWillNotSurviveReboot: works now; the next boot will not load it.
	ReasonWillNotSurviveReboot Reason = "WillNotSurviveReboot"
	// ReasonPendingReboot: not loaded; the next boot will load it.
	ReasonPendingReboot Reason = "PendingReboot"
	// ReasonLoadedOnDemandOnly: works now; nothing asks for it at boot, the first
	// socket will.
	ReasonLoadedOnDemandOnly Reason = "LoadedOnDemandOnly"
	// ReasonInspectionIncomplete: something was skipped (too large, not a regular
	// file, a loop of links).
	ReasonInspectionIncomplete Reason = "InspectionIncomplete"
	// ReasonConflictingFiles: one file enables what another disables.
	ReasonConflictingFiles Reason = "ConflictingFiles"
	// ReasonSCTPDiagUnavailable: "ss --sctp" will show nothing.
	ReasonSCTPDiagUnavailable Reason = "SCTPDiagUnavailable"
	// ReasonModulesLoadUnitFailed: systemd-modules-load.service failed.
	ReasonModulesLoadUnitFailed Reason = "ModulesLoadUnitFailed"
	// ReasonIPv6Unavailable: SCTP over IPv6 is not proved on this node.
	ReasonIPv6Unavailable Reason = "IPv6Unavailable"
	// ReasonUnusedDirective: a line that looks meant for the module and has no
	// effect.
	ReasonUnusedDirective Reason = "UnusedDirective"
	// ReasonLoopbackFiltered: the kernel's SCTP works, and the namespace the agent
	// runs in drops or rejects it on loopback.
	ReasonLoopbackFiltered Reason = "LoopbackFiltered"
	// ReasonHostRootIncomplete: the inspected root is not the one in which this
	// kernel's modprobe runs.
	ReasonHostRootIncomplete Reason = "HostRootIncomplete"
	// ReasonNextKernelWithoutModule: another kernel that the next boot brings or
	// may bring has no such module.
	ReasonNextKernelWithoutModule Reason = "NextKernelWithoutModule"
	// ReasonPendingKernelArguments: the next boot's kernel arguments or sysctls
	// differ, or may differ, in what concerns the module.
	ReasonPendingKernelArguments Reason = "PendingKernelArguments"
	// ReasonModulesLoadUnitMasked: modules-load.d asks for the module, and
	// systemd-modules-load.service is masked, absent, replaced or not run.
	ReasonModulesLoadUnitMasked Reason = "ModulesLoadUnitMasked"
	// ReasonLoadedByUnit: an enabled systemd unit loads the module, or may.
	ReasonLoadedByUnit Reason = "LoadedByUnit"
	// ReasonPolicyConfinesNobody: the API server allows the agent to write what is
	// not its own. Reported by the writer of the Node; not part of a verdict.
	ReasonPolicyConfinesNobody Reason = "PolicyConfinesNobody"
)

// Reasons lists every reason a verdict can have, in the contract's order: for
// metrics that show each as 0 or 1, and for tests.
func Reasons() []Reason {
	return []Reason{
		ReasonProbePassed,
		ReasonModuleBlacklisted, ReasonModuleInstallOverridden, ReasonModuleAliasDisabled, ReasonModuleDeniedByKernel,
		ReasonModuleLoadingDisabled, ReasonModuleMissing, ReasonModuleNotLoaded, ReasonModuleLoadFailed,
		ReasonProbeFailed, ReasonProbeTimedOut, ReasonNodeRebooting,
		ReasonPermissionDenied, ReasonResourceExhausted, ReasonInspectionFailed, ReasonModuleInTransition,
	}
}

// Warnings lists every reason a warning can have.
func Warnings() []Reason {
	return []Reason{
		ReasonWillNotSurviveReboot, ReasonPendingReboot, ReasonLoadedOnDemandOnly, ReasonInspectionIncomplete, ReasonConflictingFiles,
		ReasonSCTPDiagUnavailable, ReasonModulesLoadUnitFailed, ReasonIPv6Unavailable, ReasonUnusedDirective, ReasonLoopbackFiltered,
		ReasonHostRootIncomplete, ReasonNextKernelWithoutModule, ReasonPendingKernelArguments,
		ReasonModulesLoadUnitMasked, ReasonLoadedByUnit, ReasonPolicyConfinesNobody,
	}
}

// Ready is the verdict that belongs to a reason: every reason belongs to exactly
// one.
func (r Reason) Ready() kmod.Answer {
	switch r {
	case ReasonProbePassed:
		return kmod.AnswerTrue
	case ReasonPermissionDenied, ReasonResourceExhausted, ReasonInspectionFailed, ReasonModuleInTransition:
		return kmod.AnswerUnknown
	default:
		return kmod.AnswerFalse
	}
}
