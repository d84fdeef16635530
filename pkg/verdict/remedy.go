package verdict

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// The two files with which SCTP is enabled on RHCOS, as OpenShift documents
// them: the first empties the vendor's blacklist, the second asks for the
// module at boot.
const (
	VendorBlacklist = "/etc/modprobe.d/sctp-blacklist.conf"
	LoadRequest     = "/etc/modules-load.d/sctp-load.conf"
)

// remedy says what to do next, in the terms of the host at hand. It is "" when
// there is nothing to do.
func remedy(f Facts, r Report) string {
	i := f.Inspection
	if i == nil {
		return "run it on the host itself, or mount the host's root and name it with --root"
	}
	switch r.Reason {
	case ReasonProbePassed:
		if r.OnBoot == OnBootBlocked {
			return atBoot(i, r)
		}
		return ""
	case ReasonModuleBlacklisted, ReasonModuleInstallOverridden, ReasonModuleAliasDisabled, ReasonModuleDeniedByKernel, ReasonModuleLoadingDisabled, ReasonModuleNotLoaded:
		return atBoot(i, r)
	case ReasonModuleMissing:
		otherwise := ", or reboot, if a kernel with it is installed; or, if sctp.ko is there already, run \"depmod " + i.Kernel.Release + "\""
		switch {
		case IsRHCOS(i.OS):
			return "RHCOS ships the module: check with \"rpm-ostree status\" that the node runs the release's own kernel, with its kernel-modules-extra"
		case strings.HasPrefix(i.OS, "Red Hat"), strings.Contains(i.OS, "CentOS"), strings.Contains(i.OS, "Rocky"), strings.Contains(i.OS, "Alma"):
			return "install the package kernel-modules-extra for kernel " + i.Kernel.Release + otherwise
		default:
			return "use a kernel built with CONFIG_IP_SCTP, or install the package that holds sctp.ko for kernel " + i.Kernel.Release + otherwise
		}
	case ReasonModuleLoadFailed:
		return "run \"modprobe " + i.Module + "\": it loads the module, if what stopped it was taken away since this boot, or shows the error; " +
			"see also \"journalctl -b -u systemd-modules-load\" and \"dmesg | grep -i sctp\""
	case ReasonProbeFailed:
		return "look for the kernel's own words with \"dmesg | grep -i sctp\" (in FIPS mode: net.sctp.cookie_hmac_alg must not be md5)"
	case ReasonProbeTimedOut:
		return "look for a rule that drops SCTP on loopback: \"nft list ruleset\", \"iptables -S\""
	case ReasonPermissionDenied:
		return "let the agent open SCTP sockets, or what else the message names: its seccomp profile, SELinux domain (class sctp_socket) or cgroup policy refuses it"
	case ReasonResourceExhausted:
		return "raise the agent's limits (open files, memory, processes), or free some on the node"
	case ReasonModuleInTransition:
		return "look again in a moment"
	case ReasonInspectionFailed:
		if f.Probe.Attempted && i.State.InKernel() {
			return "look again when the node is less busy, or give the probe more time with --timeout; if the message stays the same, mend what it names"
		}
		return readable(i)
	default:
		return ""
	}
}

// readable says how what could not be read becomes readable.
func readable(i *kmod.Inspection) string {
	for _, d := range []kmod.Decision{i.Autoload, i.BootLoad.Decision, i.ByName} {
		for _, e := range d.Evidence {
			switch {
			case e.Cause == kmod.CauseVersionsDiffer || d.Cause == kmod.CauseVersionsDiffer:
				return "name the host's version of kmod with --kmod-version (\"modprobe --version\" on the host prints it)"
			case e.Cause != kmod.CauseUnreadable:
			case strings.Contains(e.Effect, "denied") || strings.Contains(e.Effect, "not permitted"):
				return "give the agent the right to read " + e.File + ", or run it as root"
			default:
				return "look at " + e.File + " on the host, and mend or remove it"
			}
		}
	}
	return "give the agent the right to read /proc and /sys, then look again"
}

// atBoot says how to make the next boot load the module: first take away what
// stops it, then ask for it.
func atBoot(i *kmod.Inspection, r Report) string {
	steps := undoings(i)
	if i.BootLoad.Requested != kmod.AnswerTrue {
		steps = append(steps, fmt.Sprintf("put \"%s\" into %s", i.Module, LoadRequest))
	}
	switch {
	case len(steps) == 0:
		return "reboot the node"
	case IsRHCOS(i.OS) && machineConfigSuffices(r):
		return strings.Join(steps, "; ") + ": by a MachineConfig for the node's pool (kubectl sctp machineconfig), which reboots it"
	case IsRHCOS(i.OS):
		return strings.Join(steps, "; ") + ": by MachineConfigs for the node's pool, which reboot it " +
			"(\"kubectl sctp machineconfig\" prints one that empties " + path.Base(VendorBlacklist) + " and asks for " + i.Module + ", and no more)"
	case i.State.InKernel():
		return strings.Join(steps, "; ")
	default:
		return strings.Join(append(steps, takeEffect(i)), "; ")
	}
}

// takeEffect says what makes the steps of a remedy take effect.
func takeEffect(i *kmod.Inspection) string {
	switch {
	case slices.ContainsFunc(i.ByName.Evidence, func(e kmod.Evidence) bool { return e.Cause != kmod.CauseNone && e.File == procCmdline }):
		return "then reboot"
	case i.ByName.Cause == kmod.CauseLoadingDisabled:
		// modules_disabled is one-way (Documentation/admin-guide/sysctl/kernel.rst).
		return "then reboot: this boot loads no module any more, and the next one loads what is asked for at boot before the sysctl is set"
	default:
		return "then reboot, or run \"modprobe " + i.Module + "\""
	}
}

// undoings says how all that stops a load at boot or on demand is taken away,
// each step once, in the order in which it is to be done.
func undoings(i *kmod.Inspection) []string {
	var out []string
	seen := map[string]bool{}
	for _, d := range []kmod.Decision{i.BootLoad.Decision, i.Autoload} {
		for _, e := range d.Evidence {
			if !stopsBoot(e) {
				continue
			}
			if step := undo(e); !seen[step] {
				seen[step] = true
				out = append(out, step)
			}
		}
	}
	return out
}

// stopsBoot says whether evidence is of something that has to be taken away. A
// sysctl is not: it does not stop what is asked for at boot.
func stopsBoot(e kmod.Evidence) bool {
	return e.Cause != kmod.CauseNone && (e.Cause != kmod.CauseLoadingDisabled || e.File == procCmdline)
}

// undo says how one line or token is taken away.
func undo(e kmod.Evidence) string {
	text := strings.TrimSpace(e.Text)
	switch {
	case e.File == procCmdline && strings.Contains(text, ","):
		return "take the module out of the kernel argument " + text
	case e.File == procCmdline:
		return "remove the kernel argument " + text
	case e.File == VendorBlacklist:
		return "empty " + e.File
	case e.Line == 0 && e.Cause == kmod.CauseDeniedByKernel:
		return "install the kernel's own, signed " + e.File
	case e.Line == 0:
		return "mend " + e.File
	case strings.HasPrefix(e.File, "/run/"):
		return fmt.Sprintf("remove what writes %s at every boot, often the kernel argument rd.driver.blacklist=, and line %d of it (%s)", e.File, e.Line, text)
	case strings.HasPrefix(e.File, "/lib/"), strings.HasPrefix(e.File, "/usr/lib/"):
		// A package's, or part of an image that is read-only.
		return fmt.Sprintf("put a copy of %s without its line %d (%s) into %s, which takes its place", e.File, e.Line, text, path.Dir(VendorBlacklist))
	default:
		return fmt.Sprintf("remove line %d of %s (%s)", e.Line, e.File, text)
	}
}

// WantsMachineConfig says whether the report's remedy is files that on this
// host are written by a MachineConfig.
func WantsMachineConfig(r Report) bool {
	if !IsRHCOS(r.Host.OS) {
		return false
	}
	switch r.Reason {
	case ReasonModuleBlacklisted, ReasonModuleInstallOverridden, ReasonModuleAliasDisabled, ReasonModuleNotLoaded:
		return r.OnBoot != OnBootLoaded && machineConfigSuffices(r)
	case ReasonProbePassed:
		return r.OnBoot == OnBootBlocked && machineConfigSuffices(r)
	default:
		return false
	}
}

// machineConfigSuffices says whether the two files of the documented
// MachineConfig take away all that stops the module.
func machineConfigSuffices(r Report) bool {
	for _, list := range [][]kmod.Evidence{r.Policy.ModulesLoad.Evidence, r.Policy.Autoload.Evidence} {
		for _, e := range list {
			if stopsBoot(e) && e.File != VendorBlacklist {
				return false
			}
		}
	}
	return true
}

// IsRHCOS says whether an os-release PRETTY_NAME is that of an OpenShift node,
// where files are written by MachineConfigs only.
func IsRHCOS(os string) bool {
	return strings.Contains(os, "CoreOS")
}
