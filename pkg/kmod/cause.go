package kmod

import "slices"

// Cause is the mechanism that stops a module from being loaded, or that keeps
// the answer from being known. The zero value is [CauseNone].
type Cause string

const (
	// CauseNone: nothing stops it.
	CauseNone Cause = ""
	// CauseMissing: not in the module index of this kernel.
	CauseMissing Cause = "missing"
	// CauseDeniedByKernel: module_blacklist= (kernel/module/main.c, blacklisted),
	// or a file without a signature where the kernel insists on one
	// (kernel/module/signing.c).
	CauseDeniedByKernel Cause = "denied-by-kernel"
	// CauseLoadingDisabled: kernel.modules_disabled is 1, or (for autoload only)
	// kernel.modprobe is empty or names another program. The answer is Unknown
	// where the effect of that program is not known.
	CauseLoadingDisabled Cause = "loading-disabled"
	// CauseInstall: an "install" command replaces the insertion.
	CauseInstall Cause = "install"
	// CauseAlias: an "alias" line redirects the request.
	CauseAlias Cause = "alias"
	// CauseBlacklist: a "blacklist" line or modprobe.blacklist=.
	CauseBlacklist Cause = "blacklist"
	// CauseUnit: systemd-modules-load.service does not run, so that nothing asks for
	// the module at boot.
	CauseUnit Cause = "unit"
	// CauseCustomInstall: an "install" command whose effect is not known without
	// running it. The answer is Unknown.
	CauseCustomInstall Cause = "custom-install"
	// CauseUnreadable: a file or directory that decides could not be read. The
	// answer is Unknown.
	CauseUnreadable Cause = "unreadable"
	// CauseUnclear: what a file, a unit or an argument does at boot is not known. The
	// answer is Unknown.
	CauseUnclear Cause = "unclear"
	// CauseVersionsDiffer: the host's kmod version is not known, and the versions
	// disagree about this host. The answer is Unknown.
	CauseVersionsDiffer Cause = "versions-differ"
)

// causes are all but CauseNone, in the order in which they act on a load.
var causes = []Cause{
	CauseMissing, CauseDeniedByKernel, CauseLoadingDisabled, CauseInstall, CauseAlias,
	CauseBlacklist, CauseUnit, CauseCustomInstall, CauseUnreadable, CauseUnclear, CauseVersionsDiffer,
}

// Causes lists the causes in the order in which they act on a load: of several,
// the first one is to be reported. CauseNone is not among them.
func Causes() []Cause { return slices.Clone(causes) }

// Before reports whether c acts on a load before other does. CauseNone, and a value
// that is not a cause, come after all of them.
func (c Cause) Before(other Cause) bool { return c.rank() < other.rank() }

func (c Cause) rank() int {
	if i := slices.Index(causes, c); i >= 0 {
		return i
	}
	return len(causes)
}
