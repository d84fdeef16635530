package verdict

// Reason says in one word why a verdict is what it is. The values are public
// API: dashboards, alerts and scripts compare them.
type Reason string

// Reasons for ready=true.
const (
	// ProbePassed: the kernel has SCTP and the probe proved it.
	ProbePassed Reason = "ProbePassed"
)

// Reasons for ready=false.
const (
	// ModuleBlacklisted: not loaded; a "blacklist" stops autoload or the load
	// at boot.
	ModuleBlacklisted Reason = "ModuleBlacklisted"
	// ModuleInstallOverridden: not loaded; an "install" command replaces
	// loading.
	ModuleInstallOverridden Reason = "ModuleInstallOverridden"
	// ModuleAliasDisabled: not loaded; its protocol alias is turned off.
	ModuleAliasDisabled Reason = "ModuleAliasDisabled"
	// ModuleDeniedByKernel: not loaded; module_blacklist= on the kernel
	// command line, or no signature where the kernel insists on one.
	ModuleDeniedByKernel Reason = "ModuleDeniedByKernel"
	// ModuleLoadingDisabled: not loaded; kernel.modules_disabled=1, or no
	// modprobe helper and nothing requests it.
	ModuleLoadingDisabled Reason = "ModuleLoadingDisabled"
	// ModuleMissing: the running kernel has no such module, on disk or built
	// in.
	ModuleMissing Reason = "ModuleMissing"
	// ModuleNotLoaded: nothing stops it, nothing has loaded it.
	ModuleNotLoaded Reason = "ModuleNotLoaded"
	// ModuleLoadFailed: requested at boot, nothing stops it, and yet not
	// loaded.
	ModuleLoadFailed Reason = "ModuleLoadFailed"
	// ProbeFailed: the module is there and a required check failed.
	ProbeFailed Reason = "ProbeFailed"
	// ProbeTimedOut: the module is there and packets do not arrive.
	ProbeTimedOut Reason = "ProbeTimedOut"
	// NodeRebooting: the agent saw this node's shutdown begin.
	NodeRebooting Reason = "NodeRebooting"
)

// Reasons for ready=unknown.
const (
	// PermissionDenied: EPERM or EACCES: seccomp, SELinux, capabilities.
	PermissionDenied Reason = "PermissionDenied"
	// ResourceExhausted: EMFILE, ENFILE, ENOMEM, ENOBUFS.
	ResourceExhausted Reason = "ResourceExhausted"
	// InspectionFailed: what decides the answer could not be read.
	InspectionFailed Reason = "InspectionFailed"
	// ModuleInTransition: loading or unloading right now.
	ModuleInTransition Reason = "ModuleInTransition"
)

// Reasons of warnings: true besides the verdict, and worth acting on.
const (
	// WillNotSurviveReboot: works now; the next boot will not load it.
	WillNotSurviveReboot Reason = "WillNotSurviveReboot"
	// PendingReboot: not loaded; the next boot will load it.
	PendingReboot Reason = "PendingReboot"
	// LoadedOnDemandOnly: works now; nothing asks for it at boot, the first
	// socket will.
	LoadedOnDemandOnly Reason = "LoadedOnDemandOnly"
	// InspectionIncomplete: something was skipped (too large, not a regular
	// file, a loop of links).
	InspectionIncomplete Reason = "InspectionIncomplete"
	// ConflictingFiles: one file enables what another disables.
	ConflictingFiles Reason = "ConflictingFiles"
	// SCTPDiagUnavailable: "ss --sctp" will show nothing.
	SCTPDiagUnavailable Reason = "SCTPDiagUnavailable"
	// ModulesLoadUnitFailed: systemd-modules-load.service failed.
	ModulesLoadUnitFailed Reason = "ModulesLoadUnitFailed"
	// IPv6Unavailable: SCTP over IPv6 is not proved on this node.
	IPv6Unavailable Reason = "IPv6Unavailable"
	// UnusedDirective: a line that looks meant for the module and has no
	// effect.
	UnusedDirective Reason = "UnusedDirective"
	// LoopbackFiltered: the kernel's SCTP works, and the namespace the agent
	// runs in drops or rejects it on loopback.
	LoopbackFiltered Reason = "LoopbackFiltered"
)

// Reasons lists every reason a verdict can have, in the contract's order: for
// metrics that show each as 0 or 1, and for tests.
func Reasons() []Reason {
	return []Reason{
		ProbePassed,
		ModuleBlacklisted, ModuleInstallOverridden, ModuleAliasDisabled, ModuleDeniedByKernel,
		ModuleLoadingDisabled, ModuleMissing, ModuleNotLoaded, ModuleLoadFailed,
		ProbeFailed, ProbeTimedOut, NodeRebooting,
		PermissionDenied, ResourceExhausted, InspectionFailed, ModuleInTransition,
	}
}

// Warnings lists every reason a warning can have.
func Warnings() []Reason {
	return []Reason{
		WillNotSurviveReboot, PendingReboot, LoadedOnDemandOnly, InspectionIncomplete, ConflictingFiles,
		SCTPDiagUnavailable, ModulesLoadUnitFailed, IPv6Unavailable, UnusedDirective, LoopbackFiltered,
	}
}

// Ready is the verdict that belongs to a reason: every reason stands for
// exactly one.
func (r Reason) Ready() Ready {
	switch r {
	case ProbePassed:
		return Yes
	case PermissionDenied, ResourceExhausted, InspectionFailed, ModuleInTransition:
		return Undecided
	default:
		return No
	}
}
