package verdict

import (
	"fmt"
	"strings"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// onNextBoot is what the next boot will bring: its own kernel, arguments and
// sysctls count where they are known, and where they may differ from this boot's in
// what concerns the module, the answer is not known.
func onNextBoot(i *kmod.Inspection) OnBoot {
	n := i.Next
	switch {
	case n.Kernel != "", len(n.Pending) > 0 && !n.Known:
		return OnBootUnknown
	default:
		return onBoot(nextInspection(i))
	}
}

// nextInspection is the inspection with the answers for the next boot, where these
// are known to differ.
func nextInspection(i *kmod.Inspection) *kmod.Inspection {
	if len(i.Next.Pending) == 0 || !i.Next.Known {
		return i
	}
	out := *i
	out.Autoload, out.BootLoad = i.Next.Autoload, i.Next.BootLoad
	return &out
}

// nextBootWarnings are those about what differs in the next boot.
func nextBootWarnings(i *kmod.Inspection) (list []Warning) {
	n := i.Next
	if len(n.Pending) > 0 {
		var places []string
		for _, e := range n.Pending {
			if e.Text == "" {
				places = append(places, e.Place()+" "+e.Effect)
			} else {
				places = append(places, fmt.Sprintf("%s: \"%s\" %s", e.Place(), e.Text, e.Effect))
			}
		}
		differs := "differs"
		if !n.Known {
			differs = "may differ"
		}
		list = append(list, Warning{ReasonPendingKernelArguments,
			fmt.Sprintf("the next boot %s in what concerns %s: %s", differs, i.Module, strings.Join(places, "; "))})
	}
	if n.Kernel != "" {
		which := "is newer than the one that runs, and the next boot may bring it"
		if n.KernelChosen {
			which = "is the boot loader's default"
		}
		list = append(list, Warning{ReasonNextKernelWithoutModule,
			fmt.Sprintf("kernel %s %s; %s: %s", n.Kernel, which, n.KernelBy, PlatformOf(i.Userland).moduleFor(i, n.Kernel))})
	}
	return list
}

// moduleFor describes where the module for another kernel comes from.
func (p Platform) moduleFor(i *kmod.Inspection, release string) string {
	other := *i
	other.Kernel.Release = release
	name := p.packageOf(i.Userland, release)
	switch {
	case name == "":
		return p.installModule(&other)[0].Text
	case p.layer != "":
		return fmt.Sprintf("install the package %s %s", name, p.layer)
	case i.Userland.OSTree:
		return p.installModule(&other)[0].Text
	default:
		return fmt.Sprintf("install the package %s (%s %s)", name, p.installer(release), name)
	}
}
