package kmod

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
)

// NextBoot is how, by the files, the next boot differs from this one for the
// module. Not looked at are copies in the initial RAM disk, what dracut loads in
// it, tmpfiles.d and variables of the firmware.
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

// Where the next boot's arguments are.
const (
	bootDir        = "/boot"
	bootEntriesDir = "/boot/loader/entries"
	defaultGrub    = "/etc/default/grub"
	defaultGrubDir = "/etc/default/grub.d" // Debian and Ubuntu
	kernelCmdline  = "/etc/kernel/cmdline"
	vendorCmdline  = "/usr/lib/kernel/cmdline" // where that is not there
	bootcKargs     = "/usr/lib/bootc/kargs.d"
	stagedOSTree   = "/run/ostree/staged-deployment"
	// A file that transactional-update writes with each snapshot that it makes the default
	// (set_reboot_level in its sbin/transactional-update), and zypper of other systems, too.
	rebootNeeded        = "/run/reboot-needed"
	transactionalUpdate = "/usr/sbin/transactional-update"
	// Where it is, the menu of /boot is not the one that is booted (proxmox-boot-tool).
	proxmoxBoot = "/etc/kernel/proxmox-boot-uuids"
	grubESP     = "/boot/efi/EFI" // a grub.cfg for each vendor; until RHEL 8 the only one
)

var (
	// grubMenus are GRUB's own configuration. Where it has entries of the Boot
	// Loader Specification, it has no others.
	grubMenus        = []string{"/boot/grub2/grub.cfg", "/boot/grub/grub.cfg"}
	grubEnvironments = []string{"/boot/grub2/grubenv", "/boot/grub/grubenv"}
	// cmdlines are files of arguments alone: kernel-install(8), and the Raspberry
	// Pi's firmware.
	cmdlines = []string{kernelCmdline, vendorCmdline, "/boot/firmware/cmdline.txt", "/boot/cmdline.txt"}
	// otherLoaders are configurations of other boot loaders, of which not all is known:
	// Flatcar's GRUB, extlinux; systemd-boot's are in esps.
	otherLoaders = []string{"/oem/grub.cfg", "/usr/share/oem/grub.cfg", "/boot/extlinux/extlinux.conf"}
	esps         = []string{"/efi", "/boot/efi"}
)

// Limits on what is read of it.
const (
	maxBootFile    = 256 << 10
	maxBootEntries = 64
	maxPending     = 16
	maxKernels     = 64
	maxGrubItems   = 256
	maxVendors     = 8
)

// bootSources is where the next boot's arguments come from.
type bootSources struct {
	// entries are those of which the next boot takes one; sure: the only one;
	// complete: all could be read.
	entries        []bootEntry
	sure, complete bool
	env            map[string]grubVariable
	want           string // what GRUB boots by default: a name, a title or a number, "" the first
	// hints are arguments of files from which entries are made, and of a staged
	// deployment; elsewhere is the first file of another boot loader that has some.
	hints     []bootArgument
	elsewhere string
	staged    bool
	unseen    []string
}

// nextBoot looks for what differs in the next boot, and judges by it.
func (h *host) nextBoot(m Module, now replayed) NextBoot {
	sources := h.gatherBootSources()
	next := NextBoot{Unseen: sources.unseen, Known: true}
	h.nextKernel(sources, &next)

	nh := *h // with the next boot's arguments and sysctls
	nh.problems = slices.Clip(h.problems)
	if !h.builtin { // no file and no sysctl decides about built-in code
		h.nextWithoutRun(m, now, &next)
	}
	nh.nextArguments(sources, &next)
	if h.locked != nil && !h.modulesDisabled && now.loadsLate() {
		next.Pending, next.Known = append(next.Pending, *h.locked), false
	}
	if h.otherDeployment(sources) {
		next.Pending, next.Known = append(next.Pending, Evidence{File: sources.entries[0].file, Effect: "is the default, another deployment of OSTree, which has an /etc of its own"}), false
	}
	if !h.builtin && h.has(transactionalUpdate) == AnswerTrue && h.has(rebootNeeded) != AnswerFalse {
		next.Pending, next.Known = append(next.Pending, Evidence{File: rebootNeeded, Effect: "is there: the next boot may bring another snapshot of transactional-update"}), false
	}
	if !h.builtin {
		nh.nextSysctls(m, now, &next)
	}
	next.Pending = next.Pending[:min(len(next.Pending), maxPending)]
	if len(next.Pending) > 0 && next.Known {
		r := replay(&nh, m)
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
	fresh := *h
	fresh.nothingLoaded, fresh.problems = true, slices.Clip(h.problems)
	then := replay(&fresh, m)
	next.stops(then)
	for _, d := range [][2]Decision{{now.boot.Decision, then.boot.Decision}, {now.autoload, then.autoload}} {
		if !next.Known || d[0].Allowed == d[1].Allowed || len(d[1].Evidence) == 0 {
			continue
		}
		e := d[1].Evidence[0]
		e.Effect, e.Cause = strings.TrimPrefix(e.Effect+"; what is loaded now may not be so at the next boot", "; "), CauseNone
		next.Pending = append(next.Pending, e)
		if next.Known = d[1].Cause == CauseDeniedByKernel; next.Known {
			next.Autoload, next.BootLoad = then.autoload, then.boot
		}
		return
	}
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

// gatherBootSources reads what there is.
func (h *host) gatherBootSources() bootSources {
	s := bootSources{env: map[string]grubVariable{}}
	read := func(name string) []byte {
		data, _, err := readFile(h.Tree, name, maxBootFile)
		if err != nil && !hostroot.Absent(err) && !errors.Is(err, hostroot.ErrNotMounted) {
			s.unseen = append(s.unseen, name)
		}
		return data
	}
	addHints := func(dir, suffix string, parse func(file string, data []byte) []bootArgument) {
		list, _ := h.ReadDir(dir)
		for i, e := range list {
			if name := dir + "/" + e.Name; strings.HasSuffix(name, suffix) && i < maxBootEntries {
				s.hints = append(s.hints, parse(printableName(name), read(name))...)
			}
		}
	}
	if h.Automount(bootDir) || h.has(bootDir) == AnswerUnknown {
		s.unseen = append(s.unseen, bootDir)
	} else {
		var entries []bootEntry
		list, err := h.ReadDir(bootEntriesDir)
		if err != nil && !hostroot.Absent(err) {
			s.unseen = append(s.unseen, bootEntriesDir)
		}
		for _, e := range list {
			name := bootEntriesDir + "/" + e.Name
			if !strings.HasSuffix(e.Name, ".conf") {
				continue
			}
			if data := read(name); data != nil && len(entries) < maxBootEntries {
				entries = append(entries, parseBootEntry(printableName(name), data))
			}
		}
		s.gatherMenus(h, entries, read)
		// What could not be read may be the one.
		s.sure = s.sure && len(s.unseen) == 0
	}
	if data := read(stagedOSTree); data != nil {
		s.staged, s.sure = true, false
		s.hints = append(s.hints, parseStaged(stagedOSTree, data)...)
	}
	unseen := len(s.unseen)
	s.complete = unseen == 0 && !s.staged
	grub := grubDefaults{}
	grub.parse(defaultGrub, read(defaultGrub))
	addHints(defaultGrubDir, ".cfg", grub.parse)
	s.hints = append(s.hints, grub.arguments()...)
	other := func(name string, list []bootArgument) []bootArgument {
		if s.elsewhere == "" && len(list) > 0 {
			s.elsewhere = name
		}
		return list
	}
	otherLoader := func(name string, data []byte) []bootArgument { return other(name, parseOtherLoader(name, data)) }
	for _, name := range otherLoaders {
		s.hints = append(s.hints, otherLoader(name, read(name))...)
	}
	// Kernels that bring their own arguments, and other boot loaders, which do not read GRUB's menu.
	menu := slices.ContainsFunc(s.entries, func(e bootEntry) bool { return e.menu })
	images := func(esp string) bool {
		if len(s.entries) == 0 {
			return false
		}
		if menu && h.has(esp+"/EFI/systemd") == AnswerTrue {
			return true
		}
		list, _ := h.ReadDir(esp + "/EFI/Linux")
		return slices.ContainsFunc(list, func(e hostroot.Entry) bool { return strings.HasSuffix(e.Name, ".efi") })
	}
	unified := images(bootDir) || len(s.entries) > 0 && h.has(proxmoxBoot) == AnswerTrue
	for _, esp := range esps {
		if !h.Automount(esp) && h.has(esp) == AnswerTrue {
			addHints(esp+"/loader/entries", ".conf", otherLoader)
			unified = unified || images(esp)
		}
	}
	for _, name := range cmdlines {
		if name == vendorCmdline && h.has(kernelCmdline) != AnswerFalse {
			continue
		}
		inBoot := strings.HasPrefix(name, bootDir+"/")
		if inBoot && len(s.unseen) > 0 && s.unseen[0] == bootDir {
			continue
		}
		list := parseKernelCmdline(name, read(name))
		if inBoot {
			list = other(name, list)
		}
		s.hints = append(s.hints, list...)
	}
	if unified || menu && s.elsewhere != "" {
		s.sure, s.complete = false, false
	}
	addHints(bootcKargs, ".toml", func(file string, data []byte) []bootArgument { return parseKargs(file, data, h.kern.Machine) })
	if s.sure {
		s.unseen = s.unseen[:unseen] // entries are made from these; the boot uses the entry
	}
	return s
}

// gatherMenus reads GRUB's own configuration, and chooses among the entries of both.
func (s *bootSources) gatherMenus(h *host, files []bootEntry, read func(name string) []byte) {
	names := slices.Clone(grubMenus)
	if !h.Automount(path.Dir(grubESP)) {
		vendors, _ := h.ReadDir(grubESP)
		for _, e := range vendors[:min(len(vendors), maxVendors)] {
			names = append(names, grubESP+"/"+e.Name+"/grub.cfg")
		}
	}
	var menus []*grubMenu
	texts := map[string][]byte{}
	takesFiles := false
	entries := files
	for _, name := range names {
		data := read(name)
		if data == nil {
			continue
		}
		menu := parseGrubMenu(printableName(name), data)
		texts[name] = data
		takesFiles = takesFiles || bytes.Contains(data, []byte("blscfg"))
		if len(menu.items)+len(menu.kernels) > 0 { // else it leads to another one
			menus, entries = append(menus, menu), append(entries, menu.kernels...)
		}
	}
	for i := range files {
		entries[i].blscfg = takesFiles
	}
	files = entries[:len(files)]
	if len(entries) > 0 {
		for _, name := range grubEnvironments {
			if data := read(name); len(data) > 0 {
				s.env = parseGrubEnvironment(name, data)
				break
			}
		}
		for _, name := range names {
			addGrubSets(s.env, entries, name, texts[name], read)
		}
	}
	s.want = cmp.Or(s.env[nextEntry].value, s.env[savedEntry].value)
	var chosen []bootEntry
	certain := true
	for _, menu := range menus {
		var known bool
		more := false
		for _, name := range menu.sources {
			name = path.Dir(menu.file) + "/" + name
			more = more || h.has(name) != AnswerFalse
			menu.vague = menu.vague || defaults(string(read(name))) > 0
		}
		s.want, known = menu.wanted(s.env)
		certain = certain && known
		if e, ok := menu.chosen(s.env, files, more); ok {
			chosen = append(chosen, e)
		}
	}
	switch {
	case len(files) > 0 && len(files) < len(entries) && !takesFiles:
		s.entries = entries // GRUB has a menu and does not read the files: they are another loader's, or old
	case len(chosen) > 0 && len(chosen) == len(menus) && !slices.ContainsFunc(chosen, func(e bootEntry) bool { return !e.same(chosen[0]) }):
		s.entries, s.sure = chosen[:1], true
	default:
		s.entries, s.sure = defaultEntries(entries, s.want)
		s.sure = s.sure && certain
	}
}

// nextArguments compares arguments, and gives h those of the next boot where they
// are known.
func (h *host) nextArguments(s bootSources, next *NextBoot) {
	const notNow = "is not among this boot's arguments"
	now := h.relevant(appendTokens(nil, h.cmdline, procCmdline, 1))
	add := func(a bootArgument, effect string) {
		e := source{file: a.file, line: a.line, text: a.token}.evidence(CauseNone, effect)
		if !slices.Contains(next.Pending, e) {
			next.Pending = append(next.Pending, e)
		}
	}
	sure := s.sure || s.complete && h.agree(s)
	for i, entry := range s.entries {
		arguments, missing, known := entry.arguments(s.env)
		if missing != "" && !h.builtin {
			add(bootArgument{token: missing, file: entry.file, line: entry.options[0].number}, "is set in no file that was read")
			next.Known = false
		}
		if !known {
			continue
		}
		then := h.relevant(arguments)
		differs := false
		for key, a := range ordered(then) {
			if a.maybe {
				add(a, "is an argument of GRUB's under a condition")
				next.Known = false
			} else if _, ok := now[key]; !ok {
				add(a, notNow)
				differs = true
				// Some versions of dracut make a file in /run of it.
				next.Known = next.Known && !strings.HasPrefix(key, "rd") && h.insists(key) && (!strings.HasPrefix(key, "sysctl.") || h.takesSysctls(entry))
			}
		}
		for key, a := range ordered(now) {
			if _, ok := then[key]; !ok && !strings.HasPrefix(key, "rd") {
				at := bootArgument{file: entry.file}
				if len(entry.options) > 0 {
					at.line = entry.options[0].number
				}
				add(at, "does not have the argument "+printable(a.token)+" of this boot")
				differs = true
				next.Known = next.Known && signedOnlyToken(key) == "" // it may insist without that
			}
		}
		switch {
		case differs && sure && i == 0:
			defer h.bootWith(arguments)
		case differs && !sure:
			next.Known = false
		}
	}
	hints := h.relevant(s.hints)
	for key, a := range ordered(now) {
		if _, ok := hints[key]; !ok && len(s.entries) == 0 && s.elsewhere != "" {
			add(bootArgument{file: s.elsewhere}, "does not have the argument "+printable(a.token)+" of this boot")
			next.Known = false
		}
	}
	for key, a := range ordered(hints) {
		if _, ok := now[key]; !ok {
			add(a, notNow)
			// Only what the boot loader has counts, until its configuration is
			// written again.
			next.Known = next.Known && sure
		}
	}
}

// takesSysctls reports whether an entry's kernel surely takes sysctls as arguments: Linux
// does since 5.8, and distributions may have added that to earlier ones.
func (h *host) takesSysctls(e bootEntry) bool {
	release, _ := h.entryKernel(e)
	return compareReleases(cmp.Or(release, h.kern.Release), "5.8") > 0
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
func (h *host) agree(s bootSources) bool {
	var first []string
	for i, entry := range s.entries {
		arguments, _, known := entry.arguments(s.env)
		known = known && !slices.ContainsFunc(arguments, func(a bootArgument) bool { return a.maybe && len(h.relevant([]bootArgument{a})) > 0 })
		keys := slices.Sorted(maps.Keys(h.relevant(arguments)))
		if i == 0 {
			first = keys
		}
		if !known || !slices.Equal(keys, first) {
			return false
		}
	}
	return len(s.entries) > 0
}

// bootWith gives the kernel other arguments.
func (h *host) bootWith(arguments []bootArgument) {
	tokens := make([]string, len(arguments))
	for i, a := range arguments {
		tokens[i] = a.token
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
func (h *host) relevant(arguments []bootArgument) map[string]bootArgument {
	found := map[string]bootArgument{}
	for _, a := range arguments {
		if len(found) >= maxListed || !h.spend(len(a.token)) {
			break
		}
		param, value := splitKernelToken(a.token)
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
			if initcallToken(a.token, h.init) != "" {
				found[key] = a
			}
		case "module.sig_enforce", "lockdown":
			if signedOnlyToken(a.token) != "" && h.allSigned() != AnswerTrue {
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
			if target := runlevels[a.token]; target != "" {
				found["systemd.unit="+target] = a
			}
			word, _, _ := strings.Cut(a.token, "=")
			if slices.Contains(h.askedArguments, a.token) || slices.Contains(h.askedArguments, word) {
				found[a.token] = a
			}
		}
	}
	return found
}

// ordered goes through arguments in the order of their keys.
func ordered(arguments map[string]bootArgument) iter.Seq2[string, bootArgument] {
	return func(yield func(string, bootArgument) bool) {
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
	pend := func(s sysctlLine, effect string) {
		next.Pending = append(next.Pending, s.evidence(CauseNone, effect))
		next.Known = next.Known && !strings.HasPrefix(s.file, "/run/")
	}
	writes := h.sysctlWrites(list, "kernel/modules_disabled")
	switch at := slices.IndexFunc(writes, func(s sysctlLine) bool { return isOne(s.value) }); {
	case at >= 0 && !h.modulesDisabled:
		known := next.Known && !now.loadsLate()
		pend(writes[at], "is not in force in this boot; it switches module loading off after modules-load.d was read")
		next.Known = next.Known || known
		h.modulesDisabled = true
	case at < 0 && h.modulesDisabled && noModuleToken(h.cmdline) == "":
		h.nextWithModules(m, next)
	}
	if writes := h.sysctlWrites(list, "kernel/modprobe"); len(writes) > 0 {
		s := writes[len(writes)-1]
		if h.helperName != nil && *h.helperName != s.value {
			pend(s, "is not in force in this boot")
			h.helper = h.helperNamed(s.value, s.evidence(CauseLoadingDisabled, ""))
		}
	}
	// What this one takes, no write gives back.
	if writes := h.sysctlWrites(list, helperSet); len(writes) > 0 && h.helper.isModprobe != AnswerFalse {
		if s := writes[len(writes)-1]; confines(s.value) {
			pend(s, confinesEffect)
			h.helper = loader{AnswerFalse, s.evidence(CauseLoadingDisabled, confinesEffect)}
		}
	}
}

// nextWithModules: no file says what has switched module loading off. Without it, a
// unit may load the module.
func (h *host) nextWithModules(m Module, next *NextBoot) {
	other := *h
	other.modulesDisabled, other.problems = false, slices.Clip(h.problems)
	if replay(&other, m).boot.Requested != replay(h, m).boot.Requested {
		next.Known = false
		next.Pending = append(next.Pending, Evidence{File: modulesDisabledFile, Line: 1, Text: "1", Effect: "is in force, and no file of sysctl.d sets it"})
	}
}

const helperSysctl = "sysctl.kernel.modprobe="

// helperArgument is the kernel's argument that sets kernel.modprobe, its text "" if
// there is none.
func helperArgument(line string) Evidence {
	e := Evidence{File: procCmdline, Line: 1, Cause: CauseLoadingDisabled}
	for tok := range kernelTokens(line) {
		if strings.HasPrefix(strings.ReplaceAll(tok, "/", "."), helperSysctl) {
			e.Text = printable(tok)
		}
	}
	return e
}

// nextKernel looks for the kernel of the next boot, if that decides: its index has no
// such module, or it has the module, and the running kernel's has not.
func (h *host) nextKernel(s bootSources, next *NextBoot) {
	release, dir, chosen := "", "", false
	switch {
	case s.staged && h.state == StateAbsent:
		next.Known = false
		next.Pending = append(next.Pending, Evidence{File: stagedOSTree, Effect: "is a deployment that the next boot brings: whether it has " + h.target + " is not known"})
		return
	case s.sure:
		release, dir = h.entryKernel(s.entries[0])
		chosen = true
	}
	if s.sure && strings.HasPrefix(release, "0-rescue") && !h.builtin {
		next.Pending, next.Known = append(next.Pending, Evidence{File: s.entries[0].file, Effect: "is the default, a rescue kernel: which release it is is not known"}), false
	}
	switch ostree := s.sure && strings.HasPrefix(s.entries[0].id, "ostree-"); {
	case isRelease(release) || s.staged || ostree:
	default: // the default kernel's file does not have its release in its name
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
		next.Pending, next.Known = append(next.Pending, by), false
	case release == h.kern.Release:
		// Not this boot's deployment, or another way to it.
	case has == AnswerFalse, has == AnswerUnknown && chosen && isRelease(release):
		next.Kernel, next.KernelChosen, next.KernelBy = printable(release), chosen, by
	}
}

// anyKernel looks at the kernels of all entries where GRUB's default is one that is not
// known which: a number, say. Without a name it is the first, which may be a newer one of
// another flavour.
func (h *host) anyKernel(s bootSources, next *NextBoot) {
	name, seen := s.want, map[string]bool{h.kern.Release: true}
	for _, e := range s.entries {
		release, dir := h.entryKernel(e)
		if release == "" || seen[release] || strings.ContainsAny(release, "/\x00") {
			continue
		}
		if name == "" && (!isRelease(release) || flavour(release) == flavour(h.kern.Release) || compareReleases(release, h.kern.Release) < 0) {
			continue
		}
		if seen[release] = true; len(seen) > maxKernels {
			next.Pending, next.Known = append(next.Pending, Evidence{File: e.file, Effect: "has more kernels than are looked at"}), false
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
			next.Pending, next.Known = append(next.Pending, by), false
		}
	}
}

// otherDeployment: the default entry boots another deployment of OSTree than this boot's.
func (h *host) otherDeployment(s bootSources) bool {
	const argument = "ostree"
	now := bootEntry{options: []logicalLine{{text: h.cmdline}}}.argument(argument)
	if !s.sure || now == "" {
		return false
	}
	then := s.entries[0].argument(argument)
	is, err := h.Readlink(now)
	if will, errThen := h.Readlink(then); err == nil && errThen == nil {
		return is != will
	}
	// What leads to a deployment changes with the others that are there.
	return path.Base(path.Dir(now)) != path.Base(path.Dir(then))
}

// isRelease tells a kernel's release from other names of a kernel's file.
func isRelease(name string) bool {
	major, minor, _ := strings.Cut(name, ".")
	return strings.Trim(major, "0123456789") == "" && minor != "" && isDigit(minor[0])
}

// entryKernel is the release of an entry's kernel, and the directory of its modules:
// those of OSTree are in the deployment that the entry names.
func (h *host) entryKernel(e bootEntry) (release, dir string) {
	release = e.kernel()
	if deployment := e.argument("ostree"); deployment != "" {
		return release, path.Join("/", deployment, "usr", moduleDir(release))
	}
	if strings.HasPrefix(e.id, "ostree-") {
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
// --runtime", say). Whether something creates them again is not in any file.
func (h *host) nextWithoutRun(m Module, now replayed, next *NextBoot) {
	files := h.inRun(now)
	if len(files) == 0 {
		return
	}
	other := *h
	other.Tree = h.Checked(func(name string) error {
		if h.leavesDisk(name) {
			return fs.ErrNotExist
		}
		return nil
	})
	other.problems = slices.Clip(h.problems)
	other.notes = nil
	other.gatherConfigs()
	other.gatherUnits()
	then := replay(&other, m)
	next.stops(then)
	if then.autoload.Allowed == now.autoload.Allowed && then.boot.Requested == now.boot.Requested && then.boot.Decision.Allowed == now.boot.Decision.Allowed {
		return
	}
	next.Known = false
	for _, file := range files {
		effect := "is gone at the next boot, unless something creates it again"
		if !volatile(file) {
			effect = "leads to what " + effect
		}
		next.Pending = append(next.Pending, Evidence{File: file, Effect: effect})
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

// leavesDisk reports whether a name leads out of the disk, to what no boot keeps.
func (h *host) leavesDisk(name string) bool {
	at, err := h.Resolve(name)
	return volatile(name) || err == nil && volatile(path.Join("/", at))
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
		if flavour(e.Name) != flavour(h.kern.Release) || compareReleases(e.Name, newest) <= 0 {
			continue
		}
		if st, err := h.Stat(path.Join(path.Dir(h.moddir), e.Name, indexDep)); err == nil && st.Mode.IsRegular() {
			newest = e.Name
		}
	}
	return newest
}
