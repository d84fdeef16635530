package verdict

import (
	"fmt"
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
	case ProbePassed:
		if r.OnBoot == BootBlocked {
			return atBoot(i, r)
		}
		return ""
	case ModuleBlacklisted, ModuleInstallOverridden, ModuleAliasDisabled, ModuleDeniedByKernel, ModuleNotLoaded:
		return atBoot(i, r)
	case ModuleLoadingDisabled:
		ask := "ask for the module at boot (" + LoadRequest + " holding \"" + i.Module + "\")"
		for _, e := range i.Autoload.Evidence {
			if e.Cause == kmod.LoadingDisabled && e.File == procCmdline {
				return undo(e) + "; " + ask + "; then reboot"
			}
		}
		return "a switched-off module loader cannot be switched on again before a reboot: " + ask + ", which happens before the sysctl is set, and reboot"
	case ModuleMissing:
		switch {
		case IsRHCOS(i.OS):
			return "RHCOS ships the module: check with \"rpm-ostree status\" that the node runs the release's own kernel, with its kernel-modules-extra"
		case strings.HasPrefix(i.OS, "Red Hat"), strings.Contains(i.OS, "CentOS"), strings.Contains(i.OS, "Rocky"), strings.Contains(i.OS, "Alma"):
			return "install the package kernel-modules-extra for kernel " + i.Kernel.Release
		default:
			return "use a kernel built with CONFIG_IP_SCTP, or install the package that holds sctp.ko for kernel " + i.Kernel.Release
		}
	case ModuleLoadFailed:
		return "read why with \"journalctl -b -u systemd-modules-load\" and \"dmesg | grep -i sctp\"; \"modprobe " + i.Module + "\" shows the error"
	case ProbeFailed:
		return "look for the kernel's own words with \"dmesg | grep -i sctp\" (in FIPS mode: net.sctp.cookie_hmac_alg must not be md5)"
	case ProbeTimedOut:
		return "look for a rule that drops SCTP on loopback: \"nft list ruleset\", \"iptables -S\""
	case PermissionDenied:
		return "let the agent open SCTP sockets, or what else the message names: its seccomp profile, SELinux domain (class sctp_socket) or cgroup policy refuses it"
	case ResourceExhausted:
		return "raise the agent's limits (open files, memory, processes), or free some on the node"
	case ModuleInTransition:
		return "look again in a moment"
	case InspectionFailed:
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
			case e.Cause == kmod.VersionsDiffer || d.Cause == kmod.VersionsDiffer:
				return "name the host's version of kmod with --kmod-version (\"modprobe --version\" on the host prints it)"
			case e.Cause != kmod.Unreadable:
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
	var steps []string
	for _, e := range stops(i) {
		steps = append(steps, undo(e))
	}
	if i.BootLoad.Requested != kmod.True {
		steps = append(steps, fmt.Sprintf("put \"%s\" into %s", i.Module, LoadRequest))
	}
	switch {
	case len(steps) == 0:
		return "reboot the node"
	case IsRHCOS(i.OS):
		return strings.Join(steps, "; ") + ": by a MachineConfig for the node's pool (sctp-agent machineconfig), which reboots it"
	case i.State.InKernel():
		return strings.Join(steps, "; ")
	default:
		return strings.Join(steps, "; ") + "; then reboot, or run \"modprobe " + i.Module + "\""
	}
}

// stops is the evidence that stops a load at boot or on demand, each place
// once, in the order in which it is to be taken away.
func stops(i *kmod.Inspection) []kmod.Evidence {
	var out []kmod.Evidence
	seen := map[string]bool{}
	for _, d := range []kmod.Decision{i.BootLoad.Decision, i.Autoload} {
		for _, e := range d.Evidence {
			key := e.String()
			if e.Cause == kmod.NoCause || e.Cause == kmod.LoadingDisabled || seen[key] {
				continue
			}
			seen[key] = true
			out = append(out, e)
		}
	}
	return out
}

// undo says how one line or token is taken away.
func undo(e kmod.Evidence) string {
	switch {
	case e.File == procCmdline:
		return "remove the kernel argument " + strings.TrimSpace(e.Text)
	case e.File == VendorBlacklist:
		return "empty " + e.File
	case e.Line == 0 && e.Cause == kmod.DeniedByKernel:
		return "install the kernel's own, signed " + e.File
	case e.Line == 0:
		return "mend " + e.File
	default:
		return fmt.Sprintf("remove line %d of %s (%s)", e.Line, e.File, strings.TrimSpace(e.Text))
	}
}

// WantsMachineConfig says whether the report's remedy is files that on this
// host are written by a MachineConfig.
func WantsMachineConfig(r Report) bool {
	if !IsRHCOS(r.Host.OS) {
		return false
	}
	switch r.Reason {
	case ModuleBlacklisted, ModuleInstallOverridden, ModuleAliasDisabled, ModuleNotLoaded:
		return r.OnBoot != BootLoaded
	case ProbePassed:
		return r.OnBoot == BootBlocked
	default:
		return false
	}
}

// IsRHCOS says whether an os-release PRETTY_NAME is that of an OpenShift node,
// where files are written by MachineConfigs only.
func IsRHCOS(os string) bool {
	return strings.Contains(os, "CoreOS")
}
