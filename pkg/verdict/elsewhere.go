package verdict

import (
	"slices"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// Traits of a host, beside its platform.
const (
	// TraitOSTree: /usr is read-only and comes with an image.
	TraitOSTree = "ostree"
	// TraitContainer: the inspected root is a container's.
	TraitContainer = "container"
)

func traits(u kmod.Userland) []string {
	list := []string{}
	if u.OSTree {
		list = append(list, TraitOSTree)
	}
	if u.Container != "" {
		list = append(list, TraitContainer)
	}
	return list
}

// rootElsewhere is why the inspected root is not the one in which this kernel's
// modprobe runs, "" if it is. The kernel and the machine's systemd start modprobe
// in the machine's root: a container's /etc and /lib decide nothing.
func rootElsewhere(i *kmod.Inspection) string {
	u := i.Userland
	switch {
	case u.Container != "":
		return "the inspected root is a container's (" + u.Container + ")"
	case u.ModuleDirectory != kmod.AnswerFalse || i.Kernel.Replaced:
		return ""
	case i.State == kmod.StateLoaded, PlatformOf(u).way == byDeclaration, u.Init == kmod.AnswerFalse:
		return "the inspected root has no module directory for kernel " + i.Kernel.Release
	default:
		return ""
	}
}

// withoutRoot is the inspection without the answers from the root. What the kernel
// itself decides stays: its command line, kernel.modules_disabled, and that it has no
// loadable modules.
func withoutRoot(i *kmod.Inspection, why string) *kmod.Inspection {
	out := *i
	unknown := kmod.Decision{
		Allowed: kmod.AnswerUnknown, Cause: kmod.CauseUnreadable,
		Evidence: []kmod.Evidence{{File: "/", Effect: why, Cause: kmod.CauseUnreadable}},
	}
	for _, d := range []*kmod.Decision{&out.ByName, &out.Autoload, &out.AutoloadIPv6, &out.BootLoad.Decision} {
		kept := kmod.Decision{Allowed: kmod.AnswerFalse}
		for _, e := range d.Evidence {
			if decidedByKernel(e) {
				kept.Evidence = append(kept.Evidence, e)
				if e.Cause.Before(kept.Cause) {
					kept.Cause = e.Cause
				}
			}
		}
		if *d = kept; kept.Cause == kmod.CauseNone {
			*d = unknown
		}
	}
	out.BootLoad.Requested, out.BootLoad.RequestedBy, out.BootLoad.Unit = kmod.AnswerUnknown, nil, kmod.UnitUnknown
	if out.State == kmod.StateAbsent && out.ByName.Cause != kmod.CauseMissing || out.State == kmod.StateLoadable {
		// Not in the kernel, and whether a file of it is there is not known.
		out.State = kmod.StateUnknown
	}
	out.Next = kmod.NextBoot{}
	out.Findings = slices.DeleteFunc(slices.Clone(i.Findings), func(f kmod.Finding) bool {
		return f.Kind != kmod.FindingIncomplete
	})
	return &out
}

func decidedByKernel(e kmod.Evidence) bool {
	switch e.Cause {
	case kmod.CauseMissing:
		return e.File == kmod.ProcModules
	case kmod.CauseDeniedByKernel:
		return e.File == procCmdline
	case kmod.CauseLoadingDisabled:
		return e.File == procCmdline || e.File == modulesDisabled
	default:
		return false
	}
}

func decidedByKernelAlone(d kmod.Decision) bool {
	return d.Cause == kmod.CauseMissing || d.Cause == kmod.CauseDeniedByKernel || d.Cause == kmod.CauseLoadingDisabled
}

// modulesDisabled is how evidence names the sysctl that ends all loading.
const modulesDisabled = "/proc/sys/kernel/modules_disabled"
