package kmod

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/sctp-agent/sctp-agent/internal/bootloader"
	"github.com/sctp-agent/sctp-agent/internal/hostroot"
	"github.com/sctp-agent/sctp-agent/internal/kernelarg"
	"github.com/sctp-agent/sctp-agent/internal/pattern"
)

// NextBoot is how, by the files, the next boot differs from this one for the
// module. Not looked at are copies in the initial RAM disk, what its scripts load,
// tmpfiles.d and the boot loader's variables of the firmware.
type NextBoot struct {
	// Pending are arguments and sysctls that the next boot may have and this one
	// has not, or the reverse, each with its line; and files in /run that decide
	// now, and that the next boot may not have.
	Pending []Evidence
	// Known: the next boot surely has what is in Pending, and Autoload and BootLoad
	// are the answers for it. Where there is no Pending, the answers are those of
	// this boot.
	Known    bool
	Autoload Decision
	BootLoad BootLoad
	// Stops is what stops the module in a boot in which nothing is loaded yet, and in one
	// without the files in /run, and Emptied is for these what Inspection.Emptied is for
	// this boot.
	Stops, Emptied []Evidence
	// Lock is the line of sysctl.d that ends the loading of modules once modules-load.d
	// was read, its File "" if there is none.
	Lock Evidence
	// Kernel is another kernel that the next boot brings or may bring, and that has
	// no such module; "" if there is none. KernelBy is its index. KernelChosen: it
	// is the boot loader's default.
	Kernel       string
	KernelBy     Evidence
	KernelChosen bool
	// Unseen are directories that matter and were not read: not mounted, not
	// readable, or an automount that nothing has used.
	Unseen []string
}

const (
	maxPending = 16
	maxKernels = 64
)

// nextBoot looks for what differs in the next boot, and judges by it.
func (h *host) nextBoot(m Module, now replayed) NextBoot {
	sources := bootloader.Read(h.Tree, h.kern.Machine)
	next := NextBoot{Known: true}
	for _, name := range sources.Unseen {
		next.Unseen = append(next.Unseen, printableName(name))
	}
	h.nextKernel(sources, &next)

	nh := h.copy()  // with the next boot's arguments and sysctls
	if !h.builtin { // no file and no sysctl decides about built-in code
		h.nextWithoutRun(m, now, &next)
	}
	nh.nextArguments(sources, &next)
	if h.locked != nil && !h.modulesDisabled && now.loadsLate() {
		next.pend(*h.locked, false)
	}
	if h.otherDeployment(sources) {
		next.doubt(sources.Entries[0].File, "is the default, another deployment of OSTree, which has an /etc of its own")
	}
	changes := h.changes
	if now.boot.Requested != AnswerTrue || now.boot.Allowed != AnswerTrue {
		changes = cmp.Or(changes, h.helps)
	}
	refused := func(e Evidence) bool {
		return e.File == procCmdline && (e.Cause == CauseDeniedByKernel || e.Cause == CauseLoadingDisabled)
	}
	if changes != nil && !slices.ContainsFunc(now.boot.Decision.Evidence, refused) {
		next.pend(*changes, false)
	}
	if !h.builtin {
		h.nextRoot(sources, &next)
		if !slices.ContainsFunc(now.boot.Decision.Evidence, refused) {
			h.nextEFI(now, &next)
		}
		nh.nextSysctls(m, now, &next)
	}
	next.Pending = next.Pending[:min(len(next.Pending), maxPending)]
	if len(next.Pending) > 0 && next.Known {
		r := replay(nh, m)
		next.Autoload, next.BootLoad = r.autoload, r.boot
		now = r
	}
	nh.nextFromNothing(m, now, &next)
	return next
}

// nextFromNothing replays a boot in which nothing is loaded yet: modules that the target
// needs are skipped where they are loaded, whatever their install commands are. What
// else loads them before is not known; what the kernel refuses, nothing does.
func (h *host) nextFromNothing(m Module, now replayed, next *NextBoot) {
	if h.builtin || !slices.ContainsFunc(slices.Collect(maps.Keys(h.states)), func(name string) bool { return name != h.target && h.states[name] == StateLoaded }) {
		return
	}
	fresh := h.copy()
	fresh.nothingLoaded = true
	then := replay(fresh, m)
	next.stops(then)
	for _, d := range [][2]Decision{{now.boot.Decision, then.boot.Decision}, {now.autoload, then.autoload}} {
		if !next.Known || d[0].Allowed == d[1].Allowed || len(d[1].Evidence) == 0 {
			continue
		}
		e := d[1].Evidence[0]
		e.Effect, e.Cause = strings.TrimPrefix(e.Effect+"; what is loaded now may not be so at the next boot", "; "), CauseNone
		if next.pend(e, d[1].Cause == CauseDeniedByKernel); next.Known {
			next.Autoload, next.BootLoad = then.autoload, then.boot
		}
		return
	}
}

// pend adds what the next boot may have, and says whether it surely has it.
func (next *NextBoot) pend(e Evidence, known bool) {
	if !slices.Contains(next.Pending, e) {
		next.Pending = append(next.Pending, e)
	}
	next.Known = next.Known && known
}

// doubt: because of a file, the next boot is not known.
func (next *NextBoot) doubt(file, effect string) {
	next.pend(Evidence{File: printableName(file), Effect: effect}, false)
}

// stops adds what stops the module in a boot that may come.
func (next *NextBoot) stops(then replayed) {
	next.Stops = slices.Concat(next.Stops, then.boot.Decision.Evidence, then.autoload.Evidence, then.autoloadIPv6.Evidence)
	next.Emptied = append(next.Emptied, then.emptied...)
}

// loadsLate reports whether something may load the target after modules-load.d was read.
func (r replayed) loadsLate() bool {
	early := r.boot.Requested == AnswerTrue && r.boot.Allowed == AnswerTrue && len(r.boot.LoadedBy) == 0
	return !early && (r.autoload.Allowed != AnswerFalse || r.boot.Allowed != AnswerFalse)
}

// nextArguments compares arguments, and gives h those of the next boot where they
// are known.
func (h *host) nextArguments(s bootloader.Sources, next *NextBoot) {
	const notNow = "is not among this boot's arguments"
	now := h.relevant(bootloader.AppendArguments(nil, h.cmdline, procCmdline, 1))
	add := func(a bootloader.Argument, effect string, known bool) {
		next.pend(source{file: printableName(a.File), line: a.Line, text: a.Token}.evidence(CauseNone, effect), known)
	}
	sure := s.Sure || s.Complete && h.agree(s)
	for i, entry := range s.Entries {
		arguments, missing, known := s.Arguments(entry)
		if missing != "" && !h.builtin {
			add(bootloader.Argument{Token: missing, File: entry.File, Line: entry.Line()}, "is set in no file that was read", false)
		}
		if !known {
			continue
		}
		then := h.relevant(arguments)
		differs := false
		for key, a := range ordered(then) {
			if a.Maybe {
				add(a, "is an argument of GRUB's under a condition", false)
			} else if _, ok := now[key]; !ok {
				differs = true
				// Some versions of dracut make a file in /run of it.
				add(a, notNow, !strings.HasPrefix(key, "rd") && h.insists(key) && (!strings.HasPrefix(key, "sysctl.") || h.takesSysctls(entry)))
			}
		}
		for key, a := range ordered(now) {
			if _, ok := then[key]; !ok && !strings.HasPrefix(key, "rd") {
				add(bootloader.Argument{File: entry.File, Line: entry.Line()}, "does not have the argument "+printable(a.Token)+" of this boot", signedOnlyToken(key) == "") // it may insist without that
				differs = true
			}
		}
		switch {
		case differs && sure && i == 0:
			defer h.bootWith(arguments)
		case differs && !sure:
			next.Known = false
		}
	}
	hints := h.relevant(s.Hints)
	for key, a := range ordered(now) {
		if _, ok := hints[key]; !ok && len(s.Entries) == 0 && s.Elsewhere != "" {
			add(bootloader.Argument{File: s.Elsewhere}, "does not have the argument "+printable(a.Token)+" of this boot", false)
		}
	}
	for key, a := range ordered(hints) {
		if _, ok := now[key]; !ok {
			// Only what the boot loader has counts, until its configuration is
			// written again.
			add(a, notNow, sure)
		}
	}
}

// nextEFI looks at what the firmware adds for systemd. What modules_load= asks for is read
// as systemd reads it; with another unit to start, or without one, the boot is not known,
// nor is one for which the variable has been changed.
func (h *host) nextEFI(now replayed, next *NextBoot) {
	other := func(e Evidence) bool { return e.File != efiOptions }
	asked := now.boot.Requested == AnswerTrue && slices.ContainsFunc(now.boot.RequestedBy, other) // with or without it
	relevant := func(text, file string) map[string]bootloader.Argument {
		found := h.relevant(bootloader.AppendArguments(nil, text, file, 1))
		maps.DeleteFunc(found, func(key string, _ bootloader.Argument) bool {
			return !strings.HasPrefix(key, "systemd.") && (asked || !strings.HasPrefix(key, "modules_load"))
		})
		return found
	}
	systemd := slices.Min(h.systemds)
	kept := relevant(h.efiArguments(systemd), efiOptions)
	for key, a := range ordered(kept) {
		if !strings.HasPrefix(key, "modules_load") {
			next.pend(source{file: a.File, line: 1, text: a.Token}.evidence(CauseNone, "is added by the firmware (see \"bootctl systemd-efi-options\"): what systemd starts with it is not known"), false)
		}
	}
	data, err := h.sys.ReadFile("firmware/efi/efivars/" + efiVariable)
	if err != nil || len(data) < 4 || systemd >= noEFIOptions {
		return
	}
	var units []uint16
	for rest := []byte(data[4:]); len(rest) > 1; rest = rest[2:] { // after its attributes
		units = append(units, binary.LittleEndian.Uint16(rest))
	}
	const file = "/sys/firmware/efi/efivars/" + efiVariable
	then := relevant(cString(string(utf16.Decode(units))), file)
	if !maps.EqualFunc(kept, then, func(a, b bootloader.Argument) bool { return a.Token == b.Token }) {
		next.doubt(file, "has other arguments for systemd than this boot (see \"bootctl systemd-efi-options\")")
	}
}

// takesSysctls reports whether an entry's kernel surely takes sysctls as arguments: Linux
// does since 5.8, and distributions may have added that to earlier ones.
func (h *host) takesSysctls(e bootloader.Entry) bool {
	release, _ := h.entryKernel(e)
	return bootloader.CompareReleases(cmp.Or(release, h.kern.Release), "5.8") > 0
}

// insists reports whether it is known what an argument does because of which the kernel
// takes signed modules only, if it is one: the kernel can, and the module has no
// signature.
func (h *host) insists(key string) bool {
	if signedOnlyToken(key) == "" {
		return true
	}
	by := sigEnforce
	if strings.HasPrefix(key, "lockdown") {
		by = lockdown
	}
	return h.allSigned() == AnswerFalse && h.reads(by)
}

// agree reports whether all entries have the same of what concerns the target: it does
// not matter then which one is booted.
func (h *host) agree(s bootloader.Sources) bool {
	var first []string
	for i, entry := range s.Entries {
		arguments, _, known := s.Arguments(entry)
		known = known && !slices.ContainsFunc(arguments, func(a bootloader.Argument) bool { return a.Maybe && len(h.relevant([]bootloader.Argument{a})) > 0 })
		keys := slices.Sorted(maps.Keys(h.relevant(arguments)))
		if i == 0 {
			first = keys
		}
		if !known || !slices.Equal(keys, first) {
			return false
		}
	}
	return len(s.Entries) > 0
}

// bootWith gives the kernel other arguments.
func (h *host) bootWith(arguments []bootloader.Argument) {
	tokens := make([]string, len(arguments))
	for i, a := range arguments {
		tokens[i] = a.Token
	}
	if noModuleToken(h.cmdline) != "" {
		h.modulesDisabled = false
	}
	before := h.cmdline
	h.cmdline, h.cmdlineErr = strings.Join(tokens, " "), nil
	if noModuleToken(h.cmdline) != "" {
		h.modulesDisabled = true
	}
	if token := signedOnlyToken(h.cmdline); h.signedOnly == "" {
		h.signedOnly = printable(token)
	}
	if e := helperArgument(h.cmdline); e.Text != helperArgument(before).Text {
		h.helper = h.helperNamed(cmp.Or(strings.TrimPrefix(e.Text, helperSysctl), modprobePaths[0]), e)
	}
	value, token := kernelBlacklist(h.cmdline)
	h.denied = value
	h.deniedBy = Evidence{File: procCmdline, Line: 1, Text: printable(token), Cause: CauseDeniedByKernel}
	h.gatherUnits()
}

// relevant are the arguments that concern the target, by what they do.
func (h *host) relevant(arguments []bootloader.Argument) map[string]bootloader.Argument {
	found := map[string]bootloader.Argument{}
	for _, a := range arguments {
		if len(found) >= maxListed || !h.spend(len(a.Token)) {
			break
		}
		param, value := kernelarg.Split(a.Token)
		key := strings.ReplaceAll(strings.ReplaceAll(param, "-", "_"), "/", ".")
		if h.builtin && key != "initcall_blacklist" {
			continue
		}
		switch key {
		case "module_blacklist", "modprobe.blacklist", "modules_load", "rd.driver.blacklist", "rdblacklist":
			for name := range strings.SplitSeq(value, ",") {
				if h.concerned(name) {
					found[key+"="+moduleName(name)] = a
				}
			}
		case "initcall_blacklist":
			if initcallToken(a.Token, h.init) != "" {
				found[key] = a
			}
		case "module.sig_enforce", "lockdown":
			if signedOnlyToken(a.Token) != "" && h.allSigned() != AnswerTrue {
				found[key+"="+value] = a
			}
		case "nomodule", "sysctl.kernel.modules_disabled", "sysctl.kernel.modprobe":
			found[key+"="+value] = a
		case "systemd.mask":
			unit := unitName(value)
			if unit == modulesLoadUnit || slices.ContainsFunc(h.unitCommands, func(c unitCommand) bool { return strings.Contains(c.file, "/"+unit) }) {
				found[key+"="+unit] = a
			}
		case "emergency", "init", "systemd.unit", "systemd.wants":
			found[key+"="+value] = a
		default:
			if target := runlevels[a.Token]; target != "" {
				found["systemd.unit="+target] = a
			}
			word, _, _ := strings.Cut(a.Token, "=")
			if slices.Contains(h.askedArguments, a.Token) || slices.Contains(h.askedArguments, word) {
				found[a.Token] = a
			}
		}
	}
	return found
}

// ordered goes through arguments in the order of their keys.
func ordered(arguments map[string]bootloader.Argument) iter.Seq2[string, bootloader.Argument] {
	return func(yield func(string, bootloader.Argument) bool) {
		for _, key := range slices.Sorted(maps.Keys(arguments)) {
			if !yield(key, arguments[key]) {
				return
			}
		}
	}
}

// concerned: the name is the target's, of a module that it needs, or one by which
// the kernel asks for it.
func (h *host) concerned(name string) bool {
	norm := moduleName(name)
	return norm == h.target || strings.HasPrefix(norm, "net_pf_") ||
		slices.ContainsFunc(h.needs, func(n neededModule) bool { return n.name == norm })
}

// nextSysctls compares what sysctl.d sets with what is set, and gives h the next
// boot's.
func (h *host) nextSysctls(m Module, now replayed, next *NextBoot) {
	var list []sysctlLine
	if !h.noSysctls {
		systemd := h.systemds[0]
		set := gatherConfig(h.Tree, sysctlDirs(systemd), modulesLoadRule(systemd).accept, maxLoadSet).set(sysctlDirs(systemd), modulesLoadRule(systemd))
		for _, e := range set.problems() {
			next.Unseen = append(next.Unseen, e.File)
		}
		for _, f := range set.files {
			list = parseSysctl(list, f.path, f.data, systemd)
		}
	}
	lasts := func(s sysctlLine) bool { return !strings.HasPrefix(s.file, "/run/") }
	writes := h.sysctlWrites(list, "kernel/modules_disabled")
	at := slices.IndexFunc(writes, func(s sysctlLine) bool { return isOne(s.value) })
	if at >= 0 {
		next.Lock = writes[at].evidence(CauseNone, "")
	}
	switch {
	case at >= 0 && !h.modulesDisabled:
		next.pend(writes[at].evidence(CauseNone, "is not in force in this boot; it switches module loading off after modules-load.d was read"), lasts(writes[at]) || !now.loadsLate())
		h.modulesDisabled = true
	case at < 0 && h.modulesDisabled && noModuleToken(h.cmdline) == "":
		h.nextWithModules(m, next)
	}
	if writes := h.sysctlWrites(list, "kernel/modprobe"); len(writes) > 0 {
		s := writes[len(writes)-1]
		if h.helperName != nil && *h.helperName != s.value {
			next.pend(s.evidence(CauseNone, "is not in force in this boot"), lasts(s))
			h.helper = h.helperNamed(s.value, s.evidence(CauseLoadingDisabled, ""))
		}
	}
	// What this one takes, no write gives back.
	if writes := h.sysctlWrites(list, helperSet); len(writes) > 0 && h.helper.isModprobe != AnswerFalse {
		if s := writes[len(writes)-1]; confines(s.value) {
			next.pend(s.evidence(CauseNone, confinesEffect), lasts(s))
			h.helper = loader{AnswerFalse, s.evidence(CauseLoadingDisabled, confinesEffect)}
		}
	}
}

// nextWithModules: no file says what has switched module loading off. Without it, a
// unit may load the module.
func (h *host) nextWithModules(m Module, next *NextBoot) {
	other := h.copy()
	other.modulesDisabled = false
	if replay(other, m).boot.Requested != replay(h, m).boot.Requested {
		next.pend(Evidence{File: modulesDisabledFile, Line: 1, Text: "1", Effect: "is in force, and no file of sysctl.d sets it"}, false)
	}
}

const helperSysctl = "sysctl.kernel.modprobe="

// helperArgument is the kernel's argument that sets kernel.modprobe, its text "" if
// there is none.
func helperArgument(line string) Evidence {
	e := Evidence{File: procCmdline, Line: 1, Cause: CauseLoadingDisabled}
	for tok := range kernelarg.Tokens(line) {
		if strings.HasPrefix(strings.ReplaceAll(tok, "/", "."), helperSysctl) {
			e.Text = printable(tok)
		}
	}
	return e
}

// nextKernel looks for the kernel of the next boot, if that decides: its index has no
// such module, or it has the module, and the running kernel's has not.
func (h *host) nextKernel(s bootloader.Sources, next *NextBoot) {
	release, dir, chosen, ostree := "", "", s.Sure, false
	if s.Sure {
		release, dir = h.entryKernel(s.Entries[0])
		ostree = s.Entries[0].OSTree()
		if strings.HasPrefix(release, "0-rescue") && !h.builtin {
			next.doubt(s.Entries[0].File, "is the default, a rescue kernel: which release it is is not known")
		}
	}
	if !bootloader.IsRelease(release) && !s.Staged && !ostree { // the default kernel's file does not have its release in its name
		chosen = false
		release = h.newestKernel()
		dir = moduleDir(release)
		h.anyKernel(s, next)
	}
	if release == "" || release == h.kern.Release && !h.otherDeployment(s) || strings.ContainsAny(release, "/\x00") {
		return
	}
	has, by := h.kernelHas(dir)
	switch {
	case has == AnswerTrue && h.state == StateAbsent && !h.replaced:
		by.Effect = fmt.Sprintf("lists %s, and the next boot may bring this kernel", h.target)
		next.pend(by, false)
	case release == h.kern.Release:
		// Not this boot's deployment, or another way to it.
	case has == AnswerFalse, has == AnswerUnknown && chosen && bootloader.IsRelease(release):
		next.Kernel, next.KernelChosen, next.KernelBy = printable(release), chosen, by
	}
}

// anyKernel looks at the kernels of all entries where GRUB's default is one that is not
// known which: a number, say. Without a name it is the first, which may be a newer one of
// another flavour.
func (h *host) anyKernel(s bootloader.Sources, next *NextBoot) {
	name, seen := s.Want, map[string]bool{h.kern.Release: true}
	for _, e := range s.Entries {
		release, dir := h.entryKernel(e)
		if release == "" || seen[release] || strings.ContainsAny(release, "/\x00") {
			continue
		}
		if name == "" && (!bootloader.IsRelease(release) || bootloader.Flavour(release) == bootloader.Flavour(h.kern.Release) || bootloader.CompareReleases(release, h.kern.Release) < 0) {
			continue
		}
		if seen[release] = true; len(seen) > maxKernels {
			next.doubt(e.File, "has more kernels than are looked at")
			return
		}
		if has, by := h.kernelHas(dir); has != AnswerUnknown && (has == AnswerTrue) == (h.state == StateAbsent) {
			verb := "does not list"
			if has == AnswerTrue {
				verb = "lists"
			}
			which := "the boot loader's default"
			if name != "" {
				which = fmt.Sprintf("the default of GRUB, %q,", printable(name))
			}
			by.Effect = fmt.Sprintf("%s %s, and %s may be this kernel", verb, h.target, which)
			next.pend(by, false)
		}
	}
}

// waitingRoots are signs that the next boot brings other files than the root has: text is
// what the sign has in it then, nil where it is enough that it is there; by is a program
// of the system, where others write such a file, too.
var waitingRoots = []struct {
	file, by string
	text     func() *regexp.Regexp
	brings   string
}{
	// Written with each snapshot that is made the default (set_reboot_level in
	// sbin/transactional-update), and by zypper of other systems.
	{"/run/reboot-needed", "/usr/sbin/transactional-update", nil, "may bring another snapshot of transactional-update"},
	{bootloader.StagedDeployment, "", nil, "brings another deployment of OSTree"},
	{"/run/composefs/staged-deployment", "", nil, "brings another deployment of bootc"}, // crates/lib/src/composefs_consts.rs
	// update_engine of Flatcar and Container-Optimized OS (update_attempter.cc, kUpdateCompletedMarker).
	{"/run/update_engine_autoupdate_completed", "", nil, "brings what an update has written to the other partition"},
	// Bottlerocket (thar-be-updates, UPDATE_STATUS_FILE): an update whose partition is the one to boot.
	{"/run/cache/thar-be-updates/status.json", "", pattern.MustCompile(`"Ready"`), "brings what an update has written to the other partition"},
	// Ubuntu Core (boot/modeenv.go of snapd): a base or a kernel that is to be tried.
	{"/var/lib/snapd/modeenv", "", pattern.MustCompile(`(?m)^base_status=try$|^current_kernels=.*,`), "may bring another base or kernel"},
	// systemd.offline-updates(7)
	{"/system-update", "", nil, "installs updates"}, {"/etc/system-update", "", nil, "installs updates"},
}

// nextRoot looks for signs that the next boot's files are not those of the root.
func (h *host) nextRoot(s bootloader.Sources, next *NextBoot) {
	for _, w := range waitingRoots {
		there := h.has(w.file) == AnswerTrue
		if _, err := h.Readlink(w.file); err == nil {
			there = true // wherever it leads
		}
		if w.by != "" {
			there = h.has(w.by) == AnswerTrue && h.has(w.file) != AnswerFalse
		}
		if there && (w.text == nil || w.text().Match(h.script(w.file, true))) {
			next.doubt(w.file, "is there: the next boot "+w.brings)
			return
		}
	}
	entries := s.Entries
	if s.Sure {
		entries = entries[:1]
	}
	for _, e := range entries {
		for _, key := range rootArguments {
			now, then := kernelarg.Value(h.cmdline, key), e.Argument(key)
			if key == "rootflags" {
				now, then = subvolume(now), subvolume(then)
			}
			if now == "" || then == "" || now == then || !s.Sure && key != "composefs" {
				continue
			}
			if form, _, _ := strings.Cut(now, "="); key != "root" || strings.HasPrefix(then, form+"=") {
				next.doubt(e.File, "has "+printable(key+"="+then)+", and this boot "+printable(now)+": its root is another one")
				return
			}
		}
	}
}

// rootArguments name the root: bootc's, that of an image, a snapshot of Btrfs, a file system.
var rootArguments = []string{"composefs", "roothash", "usrhash", "verity.usrhash", "rootflags", "root"}

// subvolume is the option that names one.
func subvolume(flags string) string {
	for option := range strings.SplitSeq(flags, ",") {
		if strings.HasPrefix(option, "subvol") {
			return option
		}
	}
	return ""
}

// otherDeployment: the default entry boots another deployment of OSTree than this boot's.
func (h *host) otherDeployment(s bootloader.Sources) bool {
	const argument = "ostree"
	now := kernelarg.Value(h.cmdline, argument)
	if !s.Sure || now == "" {
		return false
	}
	then := s.Entries[0].Argument(argument)
	is, err := h.Readlink(now)
	if will, errThen := h.Readlink(then); err == nil && errThen == nil {
		return is != will
	}
	// What leads to a deployment changes with the others that are there.
	return path.Base(path.Dir(now)) != path.Base(path.Dir(then))
}

// entryKernel is the release of an entry's kernel, and the directory of its modules:
// those of OSTree are in the deployment that the entry names.
func (h *host) entryKernel(e bootloader.Entry) (release, dir string) {
	release = e.Kernel()
	if deployment := e.Argument("ostree"); deployment != "" {
		return release, path.Join("/", deployment, "usr", moduleDir(release))
	}
	if e.OSTree() {
		return "", ""
	}
	return release, moduleDir(release)
}

// kernelHas says whether another kernel's modules have the target; unknown where
// the kernel has none here.
func (h *host) kernelHas(dir string) (has Answer, by Evidence) {
	other := *h
	other.moddir, other.problems = dir, nil
	other.indexes, other.modules = map[string]*hostIndex{}, map[string]*indexedModule{}
	defer other.close()
	by = Evidence{File: path.Join(dir, indexDep), Cause: CauseMissing}
	if err := other.index(indexDep).err; err != nil {
		by.Effect = "could not be read: " + hostroot.Bare(err).Error()
		return AnswerUnknown, by
	}
	other.gatherBuiltin()
	file, err := other.moduleFile(h.target)
	switch {
	case other.builtin, file != "" && err == nil:
		return AnswerTrue, by
	case len(other.problems) > 0, err != nil && !hostroot.Absent(err):
		return AnswerUnknown, by
	case err != nil:
		return AnswerFalse, missingFile(file)
	}
	by.Effect = fmt.Sprintf("does not list %s", h.target)
	return AnswerFalse, by
}

// nextWithoutRun replays this boot without the files in /run, if some of them take
// part: the next boot begins without them (a mask made by "systemctl mask
// --runtime", say). Whether something creates them again is not in any file. Those of a
// file system of its own come after units and modules-load.d have been read (systemctl(1), "link").
func (h *host) nextWithoutRun(m Module, now replayed, next *NextBoot) {
	h.late = h.lateMounts()
	files := h.inRun(now)
	if len(files) == 0 {
		return
	}
	other := h.copy()
	other.Tree = h.Checked(func(name string) error {
		if h.leavesDisk(name) {
			return fs.ErrNotExist
		}
		return nil
	})
	other.notes = nil
	other.gatherConfigs()
	other.gatherUnits()
	then := replay(other, m)
	next.stops(then)
	if then.autoload.Allowed == now.autoload.Allowed && then.boot.Requested == now.boot.Requested && then.boot.Decision.Allowed == now.boot.Decision.Allowed {
		return
	}
	for _, file := range files {
		effect := "is gone at the next boot, unless something creates it again"
		switch at, _ := h.Resolve(file); {
		case below(h.late, file), below(h.late, path.Join("/", at)):
			effect = "is on a file system that " + fstab + " mounts after systemd has read its units and modules-load.d"
		case !volatile(file):
			effect = "leads to what " + effect
		}
		next.pend(Evidence{File: file, Effect: effect}, false)
	}
}

// inRun are the files of modprobe.d and modules-load.d in /run, and those of units
// there that are evidence; else the directory of units there, if it has any.
func (h *host) inRun(now replayed) (files []string) {
	add := func(file string) {
		if !slices.Contains(files, file) && len(files) < maxPending {
			files = append(files, file)
		}
	}
	for dir, d := range map[string]*configDir{"/run/modprobe.d": h.modprobe.dirs["/run/modprobe.d"], "/run/modules-load.d": h.modulesLoad.dirs["/run/modules-load.d"]} {
		if d == nil {
			continue
		}
		for _, e := range d.entries {
			add(printableName(dir + "/" + e.name))
		}
	}
	for _, list := range [][]Evidence{now.boot.Decision.Evidence, now.boot.RequestedBy, now.boot.LoadedBy, now.autoload.Evidence} {
		for _, e := range list {
			if h.leavesDisk(e.File) {
				add(e.File)
			}
		}
	}
	const units = "/run/systemd/system" // links, as "systemctl enable --runtime" makes them
	if entries, err := h.ReadDir(units); err == nil && len(entries) > 0 && len(files) == 0 {
		add(units)
	}
	slices.Sort(files)
	return files
}

// leavesDisk reports whether a name leads out of the disk that a boot begins with, to what no
// boot keeps, or what is mounted later.
func (h *host) leavesDisk(name string) bool {
	leaves := func(name string) bool { return volatile(name) || below(h.late, name) }
	at, err := h.Resolve(name)
	return leaves(name) || err == nil && leaves(path.Join("/", at))
}

const fstab = "/etc/fstab"

// lateMounts are where the next boot mounts file systems that the initial RAM disk does not
// (fstab(5), systemd.mount(5)).
func (h *host) lateMounts() (dirs []string) {
	for _, text := range h.lines(fstab) {
		fields := strings.Fields(text)
		if len(fields) > 3 && fields[0][0] != '#' && path.IsAbs(fields[1]) && !slices.Contains([]string{"/", "/usr", "/etc"}, fields[1]) && !strings.Contains(fields[3], "x-initrd.mount") {
			dirs = append(dirs, fields[1])
		}
	}
	return dirs
}

// below reports whether a name is one of the directories, or in one.
func below(dirs []string, name string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") })
}

// newestKernel is the newest kernel of this one's flavour that has an index, this
// one included: the one that boot loaders take by default (kernel-install and
// grub-mkconfig sort like that).
func (h *host) newestKernel() string {
	entries, err := h.ReadDir(path.Dir(h.moddir))
	if err != nil || len(entries) > maxKernels {
		return ""
	}
	newest := h.kern.Release
	for _, e := range entries {
		if bootloader.Flavour(e.Name) != bootloader.Flavour(h.kern.Release) || bootloader.CompareReleases(e.Name, newest) <= 0 {
			continue
		}
		if st, err := h.Stat(path.Join(path.Dir(h.moddir), e.Name, indexDep)); err == nil && st.Mode.IsRegular() {
			newest = e.Name
		}
	}
	return newest
}
