package verdict

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// The two files with which SCTP is enabled on RHCOS, as OpenShift documents
// them: the first empties the vendor's blacklist, the second asks for the
// module at boot.
const (
	VendorBlacklist = "/etc/modprobe.d/sctp-blacklist.conf"
	LoadRequest     = "/etc/modules-load.d/sctp-load.conf"
)

// program is the command that prints MachineConfigs.
const program = "kubectl sctp"

// remedies are the steps to take next, in the commands of the host's platform; none
// when there is nothing to do.
func remedies(f Facts, i *kmod.Inspection, r Report) []Remedy {
	if i == nil {
		return one(ActionExamine, "run it on the host itself, or mount the host's root and name it with --root", "")
	}
	p := PlatformOf(i.Userland)
	switch r.Reason {
	case ReasonProbePassed:
		if p.stopsNext(i, r) {
			return p.atBoot(nextInspection(i))
		}
		return nil
	case ReasonModuleBlacklisted, ReasonModuleInstallOverridden, ReasonModuleAliasDisabled, ReasonModuleDeniedByKernel, ReasonModuleLoadingDisabled, ReasonModuleNotLoaded:
		return append(insmodBoolean(i.ByName), p.atBoot(nextInspection(i))...)
	case ReasonModuleMissing:
		return p.installModule(i)
	case ReasonModuleLoadFailed:
		if p.stopsNext(i, r) || stopsLater(i) {
			return p.atBoot(nextInspection(i))
		}
		log := inShell("journalctl -b -u %s", loadingUnit(i))
		return []Remedy{
			loadModule("run \"modprobe "+i.Module+"\": it loads the module, if what stopped it was taken away since this boot, or shows the error", i.Module),
			{Action: ActionExamine, Text: "see also \"" + cmp.Or(log, "journalctl -b") + "\" and \"dmesg | grep -i sctp\"", Command: log},
		}
	case ReasonProbeFailed:
		return one(ActionExamine, "look for the kernel's messages with \"dmesg | grep -i sctp\" (in FIPS mode: net.sctp.cookie_hmac_alg must not be md5)", "dmesg | grep -i sctp")
	case ReasonProbeTimedOut:
		return one(ActionExamine, "look for a rule that drops SCTP on loopback: \"nft list ruleset\", \"iptables -S\"", "nft list ruleset")
	case ReasonPermissionDenied:
		if confined(f) && slices.ContainsFunc(f.Probe.Checks, func(c result.Check) bool { return c.Errno == "EACCES" }) {
			return []Remedy{
				{Action: ActionAllow, Text: asSPC(f) + ", or allow " + f.SELinuxType + " what it is denied (for sockets: the class sctp_socket) in a policy module of the node"},
				{Action: ActionExamine, Text: "\"ausearch -m avc -ts recent\" on the node shows what was denied", Command: "ausearch -m avc -ts recent"},
			}
		}
		return one(ActionAllow, "allow the agent to open SCTP sockets, or the call in the message: its seccomp profile, SELinux domain (class sctp_socket) or cgroup policy denies it", "")
	case ReasonResourceExhausted:
		return one(ActionAllow, "raise the agent's limits (open files, memory, processes), or free some on the node", "")
	case ReasonModuleInTransition:
		return one(ActionRetry, "retry in a moment", "")
	case ReasonInspectionFailed:
		if f.Probe.Attempted && i.State.InKernel() {
			return one(ActionRetry, "retry when the node is less busy, or give the probe more time with --timeout; if the message stays the same, fix the cause in it", "")
		}
		if steps := insmodBoolean(i.Autoload); steps != nil {
			if i.BootLoad.Requested != kmod.AnswerTrue {
				steps = append(steps, request(i.Module, newRequest(i)))
			}
			return append(steps, p.takeEffect(i))
		}
		first := readable(f, i)
		if steps := doubtful(i); slices.Contains(steps, first) {
			return steps
		}
		return []Remedy{first}
	default:
		return nil
	}
}

// loadingUnit is the unit that is to load the module at boot.
func loadingUnit(i *kmod.Inspection) string {
	for _, e := range i.BootLoad.RequestedBy[:min(1, len(i.BootLoad.RequestedBy))] {
		for _, name := range []string{e.File, path.Dir(e.File)} { // or a drop-in's directory
			if name, ok := strings.CutSuffix(strings.TrimSuffix(path.Base(name), ".d"), ".service"); ok {
				return strings.Replace(name, "@", "@*", 1)
			}
		}
	}
	return "systemd-modules-load"
}

func one(action Action, text, command string) []Remedy {
	return []Remedy{{Action: action, Text: text, Command: command}}
}

// superPrivileged is the type of a container that SELinux does not confine, in
// the policies of all distributions.
const superPrivileged = "spc_t"

// confined reports whether SELinux may deny the agent what its user may do.
func confined(f Facts) bool {
	return f.SELinuxType != "" && f.SELinuxType != superPrivileged && !strings.HasPrefix(f.SELinuxType, "unconfined")
}

// asSPC is how the agent gets out of its SELinux domain: a type suffices, and no
// boolean does.
func asSPC(f Facts) string {
	return "run the agent as the SELinux type " + superPrivileged + " instead of " + f.SELinuxType +
		" (securityContext.seLinuxOptions.type; privileged containers have it)"
}

// readable is how to make what could not be read readable.
func readable(f Facts, i *kmod.Inspection) Remedy {
	for _, d := range []kmod.Decision{i.Autoload, i.BootLoad.Decision, i.ByName} {
		for _, e := range d.Evidence {
			switch {
			case e.Cause == kmod.CauseVersionsDiffer || d.Cause == kmod.CauseVersionsDiffer:
				return Remedy{Action: ActionExamine, Text: "name the host's version of kmod with --kmod-version (\"modprobe --version\" on the host prints it)", Command: "modprobe --version"}
			case e.Cause != kmod.CauseUnreadable && e.Cause != kmod.CauseUnclear, e.File == "/": // that it is a container's is no fault of it
			case strings.Contains(e.Effect, "denied") || strings.Contains(e.Effect, "not permitted"):
				text := "give the agent the right to read " + e.File + ", or run it as root"
				if confined(f) {
					text = "give the agent the right to read " + e.File + ": " + asSPC(f) + ", and as root where only root may read it"
				}
				return Remedy{Action: ActionAllow, File: e.File, Text: text}
			default:
				return lookAt(e.File)
			}
		}
	}
	return Remedy{Action: ActionAllow, Text: "give the agent the right to read /proc and /sys, then retry"}
}

// insmodBoolean is the step after which SELinux lets modprobe load modules.
func insmodBoolean(d kmod.Decision) []Remedy {
	if !slices.ContainsFunc(d.Evidence, func(e kmod.Evidence) bool { return e.File == kmod.InsmodBoolean }) {
		return nil
	}
	return []Remedy{{Action: ActionChangeSettings, File: kmod.InsmodBoolean, Line: 1, Text: "switch SELinux's boolean secure_mode_insmod off", Command: "setsebool -P secure_mode_insmod off"}}
}

func lookAt(file string) Remedy {
	return Remedy{Action: ActionRestoreFile, File: file, Text: "look at " + file + " on the host, and fix or remove it"}
}

// installModule is where the module comes from, and what else is needed for the
// boot that has it to load it.
func (p Platform) installModule(i *kmod.Inspection) []Remedy {
	step := Remedy{Action: ActionInstallModule, Text: p.missing}
	if slices.ContainsFunc(i.ByName.Evidence, func(e kmod.Evidence) bool { return e.File == kmod.ProcModules }) {
		step.Text = "use a kernel with CONFIG_IP_SCTP: no package adds a module to this one"
		return []Remedy{step}
	}
	name := p.packageOf(i.Userland, i.Kernel.Release)
	if name == "" {
		if p.missing == "" {
			step.Text = fmt.Sprintf("use a kernel built with CONFIG_IP_SCTP, or install the package that holds sctp.ko for kernel %s%s", i.Kernel.Release, otherwise(i))
		}
		return append([]Remedy{step}, slices.DeleteFunc(p.atBoot(nextInspection(i)), broughtAlong)...)
	}
	if i.Userland.Volatile != "" {
		step.Text = fmt.Sprintf("add the package %s to the image that the root directory is made from", name)
		return append([]Remedy{step}, p.atBoot(nextInspection(i))...)
	}
	then := p.rebootStep("then reboot")
	switch {
	case p.layer != "":
		step.Text = fmt.Sprintf("install the package %s %s", name, p.layer)
		step.Command = inShell(p.install+" %s", name)
	case i.Userland.OSTree:
		name = unversioned(name, i.Kernel.Release)
		step.Text = fmt.Sprintf("add the package %s to the image (\"RUN dnf -y install %s\" in its Containerfile), build it, and run \"bootc upgrade\": /usr is read-only here", name, name)
		step.Command = "bootc upgrade"
	default:
		step.Text = fmt.Sprintf("install the package %s%s", name, otherwise(i))
		step.Command = inShell(p.installer(i.Kernel.Release)+" %s", name)
		then = p.takeEffect(i)
	}
	steps := append([]Remedy{step}, slices.DeleteFunc(undoings(i, p.undo), broughtAlong)...)
	if p.blacklists != nil && strings.Contains(name, "modules-extra") {
		if file := p.blacklists(i.Kernel.Release); !slices.ContainsFunc(steps, func(s Remedy) bool { return s.File == file }) {
			steps = append(steps, Remedy{
				Action: ActionEmptyFile, File: file, Command: inShell(": > %s", file),
				Text: "empty " + file + ", which that package brings" + ofEachKernel(file),
			})
		}
	}
	if i.BootLoad.Requested != kmod.AnswerTrue {
		steps = append(steps, request(i.Module, newRequest(i)))
	}
	return append(steps, then)
}

// broughtAlong: the step is about a file that comes with the module.
func broughtAlong(s Remedy) bool {
	return strings.HasPrefix(strings.TrimPrefix(s.File, "/usr"), "/lib/modules/")
}

// otherwise is what helps where the module is on disk, or a reboot away.
func otherwise(i *kmod.Inspection) string {
	return fmt.Sprintf(" (or reboot, if a kernel with the module is installed, or run \"depmod %s\", if sctp.ko is there already)", i.Kernel.Release)
}

// unversioned is a package's name without the kernel's release: an image has
// one kernel, and its build chooses the version.
func unversioned(name, release string) string {
	base, _, _ := strings.Cut(release, "+")
	return strings.TrimSuffix(name, "-"+base)
}

// atBoot is how to make the next boot load the module: first remove what stops it,
// then ask for it.
func (p Platform) atBoot(i *kmod.Inspection) []Remedy {
	ask := i.BootLoad.Requested != kmod.AnswerTrue
	if i.Userland.Container != "" {
		return onMachine(i)
	}
	switch p.way {
	case byMachineConfig:
		return p.byMachineConfig(i, ask)
	case byTalosConfig:
		return append(p.imageLines(i), Remedy{
			Action:  ActionChangeSettings,
			Text:    fmt.Sprintf("name the module in the machine configuration (machine.kernel.modules: [{name: %s}]), which loads it without a reboot and at each boot", i.Module),
			Command: fmt.Sprintf(`talosctl -n NODE patch machineconfig --patch '{"machine":{"kernel":{"modules":[{"name":"%s"}]}}}'`, i.Module),
		})
	case byBottlerocketSettings:
		return append(p.arguments(i), Remedy{
			Action:  ActionChangeSettings,
			Text:    fmt.Sprintf("set kernel.modules.%s.allowed and kernel.modules.%s.autoload to true, by the API or in the user data: /etc is generated from the settings", i.Module, i.Module),
			Command: fmt.Sprintf("apiclient set kernel.modules.%s.allowed=true kernel.modules.%s.autoload=true", i.Module, i.Module),
		}, p.rebootStep("then reboot"))
	case byStartup:
		return p.atEachBoot(i, "by a start-up script or a privileged DaemonSet: /etc is empty memory when the node boots")
	case byDeclaration:
		return append(p.arguments(i), Remedy{Action: ActionChangeSettings, Command: p.rebuild, Text: fmt.Sprintf(p.declare, i.Module)})
	}
	if i.Userland.Volatile != "" {
		return p.atEachBoot(i, "by what makes the root directory (on Elemental, Harvester and Kairos: a file in /oem) or a privileged DaemonSet: what is written to it is gone at the next boot ("+i.Userland.Volatile+")")
	}
	steps := append(undoings(i, p.undo), p.pendingArguments(i)...)
	if ask {
		steps = append(steps, request(i.Module, newRequest(i)))
	}
	switch boot := i.BootLoad.Decision; {
	case len(steps) == 0 && boot.Cause == kmod.CauseUnclear && !i.State.InKernel():
		e := boot.Evidence[0]
		return []Remedy{loadModule(fmt.Sprintf("run \"modprobe %s\", and make sure that the next boot loads it: %s %s", i.Module, e.Place(), e.Effect), i.Module)}
	case len(steps) == 0:
		return []Remedy{p.rebootStep("reboot the node")}
	case !i.State.InKernel():
		steps = append(steps, p.takeEffect(i))
	}
	if p.way == byIgnition && !slices.ContainsFunc(steps, func(s Remedy) bool { return s.Action == ActionRemoveArgument }) {
		steps = append(steps, Remedy{
			Action: ActionChangeSettings, Command: program + " machineconfig --format butane",
			Text: "put the same files into the Butane configuration of new nodes",
		})
	}
	return steps
}

// atEachBoot is the step for a host that forgets at each boot what was written to /etc.
func (p Platform) atEachBoot(i *kmod.Inspection, how string) []Remedy {
	command := "modprobe " + i.Module
	if i.ByName.Cause == kmod.CauseInstall || i.ByName.Cause == kmod.CauseCustomInstall {
		command = "modprobe --ignore-install " + i.Module
	}
	steps := p.arguments(i)
	if e := i.Next.Lock; e.File != "" {
		steps = append(steps, Remedy{Action: ActionChangeSettings, File: e.File, Line: e.Line, Text: fmt.Sprintf("keep %s (%s) from being set at boot: after it, nothing loads a module", e.Place(), e.Text)})
	}
	steps = append(steps, Remedy{Action: ActionLoadModule, Command: command, Text: fmt.Sprintf("run \"%s\" at each boot, %s", command, how)})
	if p.takeEffect(i).Action == ActionReboot {
		steps = append(steps, p.rebootStep("then reboot"))
	}
	return steps
}

// pendingArguments are the steps for arguments that stop the module in a boot that may
// have them.
func (p Platform) pendingArguments(i *kmod.Inspection) (steps []Remedy) {
	stopping := []string{"module_blacklist", "modprobe.blacklist", "nomodule", "initcall_blacklist", "sysctl.kernel.modules_disabled", "systemd.mask", "rd.driver.blacklist", "rdblacklist"}
	for _, e := range i.Next.Pending {
		if key, _, _ := strings.Cut(e.Text, "="); i.Next.Known || !slices.Contains(stopping, key) {
			continue
		}
		step := Remedy{
			Action: ActionRemoveArgument, File: e.File, Line: e.Line,
			Text: fmt.Sprintf("remove the kernel argument %s from %s, and write the boot loader's configuration again", e.Text, e.Place()),
		}
		if p.way != byFiles && p.way != byIgnition { // the file is generated
			step = p.removeArgument(i.Userland, e)
		}
		if !slices.ContainsFunc(steps, func(s Remedy) bool { return s.Text == step.Text }) {
			steps = append(steps, step)
		}
	}
	return steps
}

// onMachine says what to do on the machine that runs a container.
func onMachine(i *kmod.Inspection) []Remedy {
	machine := Platform{argumentAt: "the boot loader's configuration of the machine that runs this container"}
	if machine.takeEffect(i).Action == ActionReboot {
		return append(machine.arguments(i), Remedy{
			Action: ActionReboot, Text: fmt.Sprintf("reboot the machine that runs this container, and ask for %s there at boot: run sctp-agent check on that machine", i.Module),
		})
	}
	return one(ActionLoadModule, fmt.Sprintf("load %s on the machine that runs this container, and ask for it there at boot: run sctp-agent check on that machine", i.Module), "modprobe "+i.Module)
}

// byMachineConfig: one MachineConfig writes all the files. A kernel argument can
// only be removed from the MachineConfig that has it.
func (p Platform) byMachineConfig(i *kmod.Inspection, ask bool) []Remedy {
	var steps []Remedy
	var written []string
	for _, e := range stops(i, true) {
		target := path.Join(modprobeDir, path.Base(e.File))
		switch {
		case e.File == procCmdline, e.Line == 0, e.Cause == kmod.CauseUnit:
			step := p.undo(i.Userland, e)
			steps = append(steps, step)
		case !slices.Contains(written, target):
			written = append(written, target)
			steps = append(steps, p.emptyFile(i, e.File, target))
		}
	}
	steps = append(append(steps, p.pendingArguments(i)...), doubtful(i)...)
	for n := range steps {
		if steps[n].Action == ActionRemoveArgument {
			steps[n].Command = `oc get machineconfig -o jsonpath='{range .items[*]}{.metadata.name}{"\t"}{.spec.kernelArguments}{"\n"}{end}'`
		}
	}
	options := ""
	for _, file := range written {
		if file != VendorBlacklist {
			options += cmp.Or(inShell(" --empty %s", file), " --empty FILE")
		}
	}
	if ask {
		step := request(i.Module, LoadRequest)
		step.Command = ""
		steps = append(steps, step)
		written = append(written, LoadRequest)
	}
	switch {
	case len(steps) == 0:
		return []Remedy{p.rebootStep("reboot the node")}
	case len(written) == 0 && slices.ContainsFunc(steps, func(s Remedy) bool { return s.Action != ActionRemoveArgument }):
		return append(steps, p.takeEffect(i))
	case len(written) == 0:
		return steps // the Machine Config Operator reboots for the argument
	default:
		return append(steps, Remedy{
			Action:  ActionApplyMachineConfig,
			Text:    "apply this as one MachineConfig for the node's pool, which drains and reboots its nodes one after another",
			Command: program + " machineconfig --role worker" + options + " | oc apply -f -",
		})
	}
}

// emptyFile is the step that has an empty file in place of all the lines of one
// file that stop the module.
func (p Platform) emptyFile(i *kmod.Inspection, file, target string) Remedy {
	step := Remedy{Action: ActionEmptyFile, File: target}
	var lines []string
	var noted kmod.Evidence // the line of a rule, if one is
	for _, e := range stops(i, true) {
		if e.File != file || e.Line == 0 {
			continue
		}
		if step.Line == 0 {
			step.Line = e.Line
		}
		lines = append(lines, fmt.Sprintf("line %d (%s)", e.Line, strings.TrimSpace(e.Text)))
		if noted.File == "" || hardening(i.Userland, p.Name, noted) == nil {
			noted = e
		}
	}
	switch {
	case file == VendorBlacklist:
		step.Text = "empty " + file
	case file == target:
		step.Text = fmt.Sprintf("empty %s, or write it without %s", file, strings.Join(lines, " and "))
	default:
		step.Action, step.Line = ActionOverrideFile, 0
		step.Text = fmt.Sprintf("write an empty %s, which replaces %s, or a copy without %s", target, file, strings.Join(lines, " and "))
	}
	return p.annotated(i.Userland, step, noted)
}

// arguments are the steps for the kernel's command line alone, where all else is
// generated from settings.
func (p Platform) arguments(i *kmod.Inspection) []Remedy {
	return slices.DeleteFunc(append(undoings(i, p.undo), p.pendingArguments(i)...), func(s Remedy) bool { return s.Action != ActionRemoveArgument })
}

// imageLines are the steps for lines of an image that cannot be edited.
func (p Platform) imageLines(i *kmod.Inspection) []Remedy {
	return undoings(i, func(u kmod.Userland, e kmod.Evidence) Remedy {
		if e.File == procCmdline {
			return p.removeArgument(u, e)
		}
		return Remedy{
			Action: ActionRestoreFile, File: e.File, Line: e.Line,
			Text: fmt.Sprintf("use a release or system extension without %s (%s)", e.Place(), strings.TrimSpace(e.Text)),
		}
	})
}

// takeEffect is what makes the steps of a remedy take effect.
func (p Platform) takeEffect(i *kmod.Inspection) Remedy {
	switch {
	case slices.ContainsFunc(i.ByName.Evidence, func(e kmod.Evidence) bool { return e.Cause != kmod.CauseNone && e.File == procCmdline }):
		return p.rebootStep("then reboot")
	case slices.ContainsFunc(i.ByName.Evidence, func(e kmod.Evidence) bool { return e.File == modulesDisabled }):
		// modules_disabled is one-way (Documentation/admin-guide/sysctl/kernel.rst).
		return p.rebootStep("then reboot: this boot loads no module any more, and the next one loads what is asked for at boot before the sysctl is set")
	case i.ByName.Cause == kmod.CauseLoadingDisabled:
		return p.rebootStep("then reboot")
	default:
		return loadModule("then reboot, or run \"modprobe "+i.Module+"\"", i.Module)
	}
}

// undoings are the steps that remove, in order, all that stops a load at boot or on
// demand. One step that covers several lines of a file is there once.
func undoings(i *kmod.Inspection, undo func(kmod.Userland, kmod.Evidence) Remedy) []Remedy {
	var out []Remedy
	empties := slices.ContainsFunc(stops(i, false), func(e kmod.Evidence) bool { return e.File == VendorBlacklist })
	for _, e := range stops(i, empties) {
		step := undo(i.Userland, e)
		if !slices.ContainsFunc(out, func(s Remedy) bool { return s.Action == step.Action && s.Text == step.Text }) {
			out = append(out, step)
		}
	}
	return append(out, doubtful(i)...)
}

// doubtful are the steps for settings of units that may be in the way.
func doubtful(i *kmod.Inspection) (steps []Remedy) {
	for _, e := range i.BootLoad.Doubts {
		if step := lookAt(e.File); !slices.Contains(steps, step) {
			steps = append(steps, step)
		}
	}
	return steps
}

// stops is the evidence of all that has to be taken away, each line once: what
// stops the load at boot, then what stops those on demand, then what stops a boot in
// which nothing is loaded yet. Where emptying a file is a step, lines are among them
// that matter once it is empty.
func stops(i *kmod.Inspection, empties bool) []kmod.Evidence {
	lists := [][]kmod.Evidence{i.BootLoad.Evidence, i.Autoload.Evidence, i.AutoloadIPv6.Evidence, i.Next.Stops}
	if empties {
		lists = append(lists, i.Emptied, i.Next.Emptied)
	}
	var out []kmod.Evidence
	for _, e := range slices.Concat(lists...) {
		same := func(o kmod.Evidence) bool { return o.File == e.File && o.Line == e.Line && o.Text == e.Text }
		if stopsBoot(e) && !slices.ContainsFunc(out, same) {
			out = append(out, e)
		}
	}
	return out
}

// stopsNext reports whether the next boot does not, or may not, load what can be loaded now.
func (p Platform) stopsNext(i *kmod.Inspection, r Report) bool {
	return r.OnBoot == OnBootBlocked || r.OnBoot == OnBootUnknown && (stopsLater(i) || len(p.pendingArguments(i)) > 0)
}

// stopsLater reports whether something stops a boot in which nothing is loaded yet, and
// nothing now.
func stopsLater(i *kmod.Inspection) bool {
	now := *i
	now.Next.Stops = nil
	return len(stops(i, false)) > len(stops(&now, false))
}

// stopsBoot reports whether evidence is of something that has to be removed. A
// sysctl is not: it does not stop what is requested at boot. Nor is a file that
// could not be read: its content is not known.
func stopsBoot(e kmod.Evidence) bool {
	switch e.Cause {
	case kmod.CauseNone, kmod.CauseUnreadable, kmod.CauseUnclear, kmod.CauseVersionsDiffer:
		return false
	case kmod.CauseLoadingDisabled:
		return e.File == procCmdline
	}
	return true
}
