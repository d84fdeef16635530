package kmod

import (
	"bytes"
	"errors"
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
	"github.com/sctp-agent/sctp-agent/internal/kernelarg"
	"github.com/sctp-agent/sctp-agent/internal/pattern"
	"github.com/sctp-agent/sctp-agent/internal/systemdunit"
)

// Bounds of what is looked into: a script, and scripts that call each other.
const (
	maxScript  = 64 << 10
	maxScripts = 3
)

// loads reports whether a command or script has in it what may load or remove a
// module.
func loads(text string) bool {
	for _, other := range []string{"modprobe.d", "kernel/modprobe", "kernel.modprobe"} {
		text = strings.ReplaceAll(text, other, "")
	}
	return strings.Contains(text, "modprobe") || strings.Contains(text, "insmod") || strings.Contains(text, "rmmod") ||
		strings.Contains(text, "kmod") && kmodLoads().MatchString(text)
}

// removes is what may remove a module, and loadsVariable what loads one that a
// variable or a list names. Few hosts have a command that is looked at so closely.
var (
	removes       = pattern.MustCompile(`rmmod|kmod remove|modprobe\b[^\n;|&]*\s(-[a-zA-Z]*r[a-zA-Z]*|--rem\w*)\b`)
	loadsVariable = pattern.MustCompile(`(modprobe|insmod)\b[^\n;|&]*[$%]|xargs\b[^\n;|&]*(modprobe|insmod)`)
	// kmodLoads is kmod(8) with a command, or udev's own of that name, and loadedNames are
	// the words of one that loads.
	kmodLoads   = pattern.MustCompile(`kmod\s+(load|insert|remove)\b`)
	loadedNames = pattern.MustCompile(`(?:modprobe|insmod|kmod\s+(?:load|insert))\b([^\n;|&)]*)`)
)

// names reports whether a text that loads modules names the target, an alias by which the kernel asks
// for it, or a module that brings it along.
func (h *host) names(text string) bool {
	if strings.Contains(text, h.target) || slices.ContainsFunc(h.requests, func(name string) bool {
		return strings.Contains(strings.ReplaceAll(text, "_", "-"), name)
	}) {
		return true
	}
	for _, m := range loadedNames().FindAllStringSubmatch(text, maxListed) {
		for word := range strings.FieldsFuncSeq(m[1], func(r rune) bool { return strings.ContainsRune(" \t\"',[]{}()", r) }) {
			name := moduleName(path.Base(word))
			if name == "" || !h.spend(lookupCost) {
				continue
			}
			needs := func(n neededModule) bool { return n.name == h.target }
			if m := h.indexed(name); m != nil && slices.ContainsFunc(m.needs, needs) || slices.ContainsFunc(h.along, func(p string) bool { return h.matches(p, name) }) {
				return true
			}
		}
	}
	return false
}

// bringsAlong are the patterns of modules for which modprobe.d has a line that brings the target
// along: a softdep, an install command or an alias.
func (h *host) bringsAlong() (patterns []string) {
	for _, d := range h.modprobe.dirs {
		if d == nil {
			continue
		}
		for _, e := range d.entries {
			for line := range bytes.Lines(e.data) {
				if !bytes.Contains(line, []byte(h.target)) || len(patterns) > maxListed {
					continue
				}
				words := strings.Fields(string(line))
				if len(words) < 3 || !slices.Contains([]string{"softdep", "install", "alias"}, words[0]) || !strings.Contains(strings.Join(words[2:], " "), h.target) {
					continue
				}
				if name, ok := underscores(words[1]); ok && name != h.target {
					patterns = append(patterns, name)
				}
			}
		}
	}
	return patterns
}

// scriptAbout reports whether a word of a unit's command is a script on the host that is
// about loading the target.
func (h *host) scriptAbout(u *systemdunit.Unit, args []string) bool {
	dir, interpreted := "/", false
	for _, v := range u.Values("Service", "WorkingDirectory") {
		dir = path.Join("/", strings.TrimPrefix(v.Value, "-"))
	}
	for i, name := range args {
		switch {
		case interpreted && strings.Contains(name, " "):
			if h.calls("", name, maxScripts) { // what follows -c
				return true
			}
			continue
		case i == 0 && !path.IsAbs(name):
			name, _ = h.program(name)
		case interpreted && !path.IsAbs(name):
			name = path.Join(dir, name)
		case !path.IsAbs(name):
			continue
		}
		if interpreter().MatchString(path.Base(name)) {
			interpreted = true
			continue
		}
		if _, err := h.Stat(name); err != nil && !hostroot.Absent(err) && !errors.Is(err, hostroot.ErrNotMounted) && !packaged(name) {
			return true // it may be, and cannot be looked at
		}
		// What another program is given is read by it: a playbook, a manifest.
		if h.about(name, h.script(name, interpreted || i > 0 && !packaged(name)), args, maxScripts) {
			return true
		}
	}
	return false
}

var (
	// interpreter is a program that reads a script, whatever its first line is.
	interpreter = pattern.MustCompile(`^(ba|da|a|k|z)?sh$|^(python|perl)[0-9.]*$`)
	// named is what in a script may be another one.
	named = pattern.MustCompile(`/[\w./+-]+`)
)

// locks reports whether a command or script may end the loading of modules, or change
// what the kernel runs for that.
func locks(text string) bool {
	return (strings.Contains(text, "modules_disabled") || strings.Contains(text, "kernel.modprobe") || strings.Contains(text, "kernel/modprobe") || strings.Contains(text, "usermodehelper")) && locking().MatchString(text)
}

// loadsSysctls is sysctl(8) that reads files: those that it names, or /etc/sysctl.conf.
var loadsSysctls = pattern.MustCompile(`\bsysctl\b[^\n;|&]*\s(-[a-zA-Z]*p|--load|--system)\b[^\n;|&]*`)

// locksByFile reports whether a command or script has sysctls set that systemd-sysctl
// does not set, by which the loading of modules may end.
func (h *host) locksByFile(text string) bool {
	if !strings.Contains(text, "sysctl") {
		return false
	}
	const usual, linked = "/etc/sysctl.conf", "/etc/sysctl.d/99-sysctl.conf"
	for _, command := range loadsSysctls().FindAllString(text, maxScripts) {
		for _, name := range append(named().FindAllString(command, maxListed), usual) {
			st, err := h.Stat(name)
			if other, errOther := h.Stat(linked); err != nil || errOther == nil && other.ID == st.ID {
				continue // systemd-sysctl reads it
			}
			if locks(withoutComments(h.script(name, true))) {
				return true
			}
		}
	}
	return false
}

const lockEffect = "may end the loading of modules at boot, or change what loads them"

// locking is an assignment to these sysctls, or a redirection to their files.
var locking = pattern.MustCompile(`kernel[./](modules_disabled|modprobe|usermodehelper[./]bset)["']?\s*=\s*\S|(>|\btee\b)[^\n;|&]*/kernel/(modules_disabled|modprobe|usermodehelper/bset)\b`)

// about reports whether a script's text, or that of one of the administrator's that it
// calls, is about loading the target. So is one that loads what a variable names,
// unless a package of the distribution has it.
func (h *host) about(name string, data []byte, args []string, depth int) bool {
	text := withoutComments(data)
	if !packaged(name) {
		if h.locked == nil && (locks(text) || h.locksByFile(text)) {
			h.locked = &Evidence{File: printableName(name), Effect: lockEffect}
		}
		h.changesConfig(text, Evidence{File: printableName(name), Effect: changeEffect})
		h.started = append(h.started, startedUnits(text)...)
	}
	own := !packaged(name) && !systemV(name) && !strings.HasPrefix(name, "/run/systemd/generator")
	if loads(text) && (h.names(text) ||
		slices.ContainsFunc(args, func(a string) bool { return strings.Contains(a, h.target) }) ||
		own && loadsVariable().MatchString(text)) {
		return true
	}
	return h.calls(name, text, depth)
}

// starts is a command that starts units, or a rule of udev that does (systemd.device(5)).
var starts = pattern.MustCompile(`systemctl\b[^\n;|&]*?\b(?:start|restart|isolate|enable)\b([^\n;|&]*)|SYSTEMD_WANTS\}\s*[+:]?=\s*"([^"\n]*)"`)

// startedUnits are the units that a script's commands start.
func startedUnits(text string) (names []string) {
	if !strings.Contains(text, "systemctl") && !strings.Contains(text, "SYSTEMD_WANTS") {
		return nil
	}
	for _, m := range starts().FindAllStringSubmatch(text, maxListed) {
		for _, word := range strings.Fields(m[1] + m[2]) {
			if word = strings.Trim(word, `"'`); !strings.HasPrefix(word, "-") && !strings.ContainsAny(word, "$/") {
				names = append(names, unitName(word))
			}
		}
	}
	return names
}

// systemV reports whether a script is where packages put those of System V's init:
// Debian's own kmod loads there what modules-load.d names, and systemd runs its unit
// in place of that.
func systemV(name string) bool {
	return strings.HasPrefix(name, "/etc/init.d/") || strings.HasPrefix(name, "/etc/rc") && path.Base(name) != "rc.local"
}

// calls reports whether a script's text names one that is about loading the target. What it
// writes to is none.
func (h *host) calls(name, text string, depth int) bool {
	if depth--; depth == 0 {
		return false
	}
	for _, at := range named().FindAllStringIndex(text, maxListed) {
		other := text[at[0]:at[1]]
		written := strings.HasSuffix(strings.TrimRight(text[:at[0]], " \t\"'"), ">")
		if other == name || written || h.called[other] >= depth || packaged(other) || strings.HasSuffix(other, ".conf") || !h.spend(lookupCost) {
			continue
		}
		if h.about(other, h.script(other, true), nil, depth) {
			return true
		}
		h.called[other] = depth
	}
	return false
}

// withoutComments is the text of a script without the lines that are comments.
func withoutComments(data []byte) string {
	var b strings.Builder
	for line := range bytes.Lines(data) {
		if !bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte("#")) {
			b.Write(line)
		}
	}
	return b.String()
}

// packaged reports whether a program is where packages put theirs.
func packaged(name string) bool {
	top, rest, _ := strings.Cut(strings.TrimPrefix(path.Clean(name), "/"), "/")
	return top == "bin" || top == "sbin" || top == "lib" || top == "usr" && !strings.HasPrefix(rest, "local/")
}

// ofKernel reports whether a name is in the kernel's file systems: no script is there, and
// to read some of what is there changes something (proc(5), /proc/kmsg). By a link one comes
// there, too: to files without a size.
func ofKernel(name string) bool {
	top, _, _ := strings.Cut(strings.TrimPrefix(path.Clean(name), "/"), "/")
	return top == "proc" || top == "sys" || top == "dev"
}

// script is the text of a script, nil for anything else. known: a shell reads it,
// whatever its first line is.
func (h *host) script(name string, known bool) []byte {
	if ofKernel(name) {
		return nil
	}
	st, err := h.Stat(name)
	if err != nil || !st.Mode.IsRegular() || st.Size == 0 || st.Size > maxScript || !known && !h.isScript(name) || !h.spend(int(st.Size)) {
		return nil
	}
	data, _, err := readFile(h.Tree, name, maxScript)
	if err != nil {
		return nil
	}
	return data
}

// isScript reports whether a program is a script (execve(2)): most are not, and are
// not read.
func (h *host) isScript(name string) bool {
	f, err := h.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	var magic [2]byte
	n, _ := f.ReadAt(magic[:], 0)
	return string(magic[:n]) == "#!"
}

// mentionDirs are directories of what may be run at boot, or soon after, by
// something else than a unit: System V scripts, cron, udev, what configures networks,
// cloud-init. In the first ones, only what begins with "S" is started.
var mentionDirs = []string{
	"/etc/rcS.d", "/etc/rc2.d", "/etc/rc3.d", "/etc/rc4.d", "/etc/rc5.d", "/etc/rc.d/rc2.d", "/etc/rc.d/rc3.d", "/etc/rc.d/rc4.d", "/etc/rc.d/rc5.d",
	"/etc/cron.d", "/etc/cron.hourly", "/etc/cron.daily", "/var/spool/cron", "/var/spool/cron/crontabs", "/var/spool/cron/tabs",
	"/etc/udev/rules.d", "/usr/local/lib/udev/rules.d", "/usr/lib/udev/rules.d", "/etc/sysconfig/modules",
	"/etc/NetworkManager/dispatcher.d", "/etc/NetworkManager/dispatcher.d/pre-up.d", "/etc/NetworkManager/dispatcher.d/no-wait.d", "/usr/lib/NetworkManager/dispatcher.d",
	"/etc/network/interfaces.d", "/etc/network/if-pre-up.d", "/etc/network/if-up.d",
	"/etc/dhcp/dhclient-enter-hooks.d", "/etc/dhcp/dhclient-exit-hooks.d", "/etc/dhcp/dhclient.d", "/etc/ppp/ip-up.d",
	"/var/lib/cloud/scripts/per-boot", "/var/lib/cloud/instance/boothooks", "/etc/cloud/cloud.cfg.d", "/oem",
	"/etc/containers/systemd", "/usr/share/containers/systemd",
	"/etc/systemd/system-generators", "/usr/local/lib/systemd/system-generators", "/usr/lib/systemd/system-generators", "/etc/systemd/system-environment-generators", "/usr/local/lib/systemd/system-environment-generators",
	"/run/systemd/generator", "/run/systemd/generator.early", "/run/systemd/generator.late", // which they have made in this boot
	// Static pods of kubelet, k3s and RKE2, what these two's servers deploy, and hooks of CRI-O and Podman (oci-hooks(5)).
	"/etc/kubernetes/manifests", "/var/lib/rancher/k3s/agent/pod-manifests", "/var/lib/rancher/rke2/agent/pod-manifests",
	"/var/lib/rancher/k3s/server/manifests", "/var/lib/rancher/rke2/server/manifests",
	"/etc/containers/oci/hooks.d", "/usr/share/containers/oci/hooks.d",
}

// mentionParents have directories of such files: of each profile of tuned that is the host's
// own (tuned-profiles(7)), of each state of an interface (networkd-dispatcher(8)), and of
// Quadlet's units (podman-systemd.unit(5)).
var mentionParents = []string{tunedProfiles, tunedProfiles + "/profiles", "/etc/networkd-dispatcher", "/usr/lib/networkd-dispatcher", "/etc/containers/systemd", "/usr/share/containers/systemd"}

var mentionFiles = []string{
	"/etc/crontab", "/etc/anacrontab", "/etc/network/interfaces", "/sbin/ifup-local", "/etc/rc.modules",
	"/etc/cloud/cloud.cfg", "/var/lib/cloud/instance/cloud-config.txt", "/var/lib/cloud/instance/user-data.txt",
}

// tunedProfiles has a directory for each profile of tuned that is the host's own.
const tunedProfiles = "/etc/tuned"

// earlyArguments have the initial RAM disk load modules (dracut.cmdline(7),
// systemd-modules-load.service(8)).
var earlyArguments = strings.Fields("rd.driver.pre rd.driver.post rdloaddriver rdinsmodpost rd.modules_load")

// moduleLists are files, or directories of them, in which scripts of packages find the names of
// modules to load: in the words of a line, or in those of a variable. unit is the service that runs the
// script, "" for what is made into the initial RAM disk, which loads them before the host's
// root is there (initramfs-tools(7), dracut.conf(5), mkinitcpio(8)). What tuned's profiles have
// of a module are its options, and "+r" to load it again (plugin_modules.py).
var moduleLists = []struct{ name, variable, unit string }{
	{tunedProfiles, "", "tuned.service"}, {tunedProfiles + "/profiles", "", "tuned.service"},
	{"/etc/sysconfig/iptables-config", "IPTABLES_MODULES", "iptables.service"}, // RHEL's iptables-services
	{"/etc/sysconfig/ip6tables-config", "IP6TABLES_MODULES", "ip6tables.service"},
	{"/etc/default/ufw", "IPT_MODULES", "ufw.service"},
	{"/etc/initramfs-tools/modules", "", ""},
	{"/etc/dracut.conf", "force_drivers", ""}, {"/etc/dracut.conf.d", "force_drivers", ""}, {"/usr/lib/dracut/dracut.conf.d", "force_drivers", ""},
	{"/etc/mkinitcpio.conf", "MODULES", ""}, {"/etc/mkinitcpio.conf.d", "MODULES", ""},
}

// gatherModuleLists keeps their lines that name the target. One that is not in the kernel
// was not in the initial RAM disk.
func (h *host) gatherModuleLists(services []*systemdunit.Unit) {
	for tok := range kernelarg.Tokens(h.cmdline) {
		key, value, _ := strings.Cut(tok, "=")
		if slices.Contains(earlyArguments, strings.ReplaceAll(key, "-", "_")) && slices.Contains(strings.Split(value, ","), h.target) && h.initState(h.target) == StateLoaded {
			h.unitCommands = append(h.unitCommands, unitCommand{source: source{file: procCmdline, line: 1, text: tok}, args: []string{tok}, doubt: notRun})
		}
	}
	for _, list := range moduleLists {
		if list.unit != "" && h.hasInit() && !slices.ContainsFunc(services, func(u *systemdunit.Unit) bool { return u.Name == list.unit }) {
			continue
		}
		names := []string{list.name}
		entries, _ := h.ReadDir(list.name)
		for _, e := range entries {
			switch {
			case strings.HasPrefix(list.name, tunedProfiles):
				names = append(names, path.Join(list.name, e.Name, "tuned.conf"))
			case path.Ext(e.Name) == ".conf":
				names = append(names, path.Join(list.name, e.Name))
			}
		}
		for _, name := range names {
			number := 0
			for raw := range bytes.Lines(h.script(name, true)) {
				number++
				text := strings.TrimSpace(string(raw))
				words := strings.FieldsFunc(text, func(r rune) bool { return r != '_' && r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
				if len(words) == 0 || text[0] == '#' || list.unit == "tuned.service" && !strings.Contains(text, "+r") || list.variable != "" && words[0] != list.variable || list.variable == "" && words[0] != h.target {
					continue
				}
				if slices.Contains(words, h.target) {
					h.unitCommands = append(h.unitCommands, unitCommand{source: source{file: printableName(name), line: number, text: text}, args: []string{text}, doubt: notRun})
				}
			}
		}
	}
}

// gatherMentions keeps the lines of other files than units by which something
// may load the target at boot, itself or by a script that it calls.
func (h *host) gatherMentions(services []*systemdunit.Unit) {
	h.gatherModuleLists(services)
	files := slices.Clone(mentionFiles)
	if !h.hasInit() {
		files = append(files, "/etc/rc.local", "/etc/rc.d/rc.local") // the unit that runs them is not in the root
	}
	dirs := slices.Clone(mentionDirs)
	for _, parent := range mentionParents {
		profiles, _ := h.ReadDir(parent)
		for _, e := range profiles {
			if e.Mode.IsDir() {
				dirs = append(dirs, path.Join(parent, e.Name))
			}
		}
	}
	for _, dir := range dirs {
		entries, err := h.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if strings.HasPrefix(dir, "/etc/rc") && !strings.HasPrefix(e.Name, "S") {
				continue
			}
			files = append(files, path.Join(dir, e.Name))
		}
	}
	for _, line := range strings.Split(withoutComments(h.script("/etc/network/interfaces", true)), "\n") {
		files = append(files, h.sourced(line)...)
	}
	seen := map[hostroot.ID]bool{}
	for _, name := range files {
		st, err := h.Stat(name)
		if err != nil || seen[st.ID] {
			continue
		}
		seen[st.ID] = true
		data := h.script(name, !strings.Contains(name, "-generators/"))
		if strings.Contains(name, "/cloud.cfg") || strings.HasPrefix(name, "/var/lib/cloud/instance/") && strings.HasSuffix(name, ".txt") {
			data = bootCommands(data)
		}
		if text := withoutComments(data); strings.Contains(name, "/system-generators/") && strings.Contains(text, modulesLoadProgram) && h.loadUnit.runs == AnswerTrue {
			h.loadUnit = loadUnit{state: UnitUnknown, runs: AnswerUnknown, by: Evidence{File: printableName(name), Cause: CauseUnclear,
				Effect: "may change " + modulesLoadUnit + " at boot: " + notRun}}
		}
		if !h.about(name, data, nil, maxScripts) {
			continue
		}
		before, number := len(h.unitCommands), 0
		add := func(number int, text string) {
			h.unitCommands = append(h.unitCommands, unitCommand{
				source: source{file: printableName(name), line: number, text: text},
				args:   []string{text}, doubt: notRun,
			})
		}
		for line := range bytes.Lines(data) {
			number++
			if text := strings.TrimSpace(string(line)); !strings.HasPrefix(text, "#") && loads(text) && h.names(text) {
				add(number, text)
			}
		}
		if len(h.unitCommands) == before {
			add(0, "")
		}
	}
}

// sourced are the files that a line of interfaces(5) names: "source PATTERN" or
// "source-directory DIRECTORY".
func (h *host) sourced(line string) (files []string) {
	words := strings.Fields(line)
	if len(words) != 2 || words[0] != "source" && words[0] != "source-directory" {
		return nil
	}
	name := path.Join("/etc/network", words[1])
	if path.IsAbs(words[1]) {
		name = words[1]
	}
	dir, glob := path.Split(name)
	if words[0] == "source-directory" {
		dir, glob = name, "*"
	}
	entries, _ := h.ReadDir(path.Clean(dir))
	for _, e := range entries {
		if h.matches(glob, e.Name) {
			files = append(files, path.Join(dir, e.Name))
		}
	}
	return files
}

// bootCommands leaves of cloud-init's configuration what is run at each boot: bootcmd.
func bootCommands(data []byte) []byte {
	var b bytes.Buffer
	inside := false
	for line := range bytes.Lines(data) {
		if line[0] >= 'a' && line[0] <= 'z' {
			inside = bytes.HasPrefix(line, []byte("bootcmd:"))
		}
		if !inside {
			line = []byte("\n")
		}
		b.Write(line)
	}
	return b.Bytes()
}
