package kmod

import (
	"cmp"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
	"github.com/sctp-agent/sctp-agent/internal/systemdunit"
)

// UnitState is what systemd-modules-load.service is on the host.
type UnitState string

const (
	// UnitActive: as the distribution has it, or with changes that leave it
	// running.
	UnitActive UnitState = "active"
	// UnitMasked: systemd does not start it (systemd.unit(5)).
	UnitMasked UnitState = "masked"
	// UnitAbsent: this host's systemd has no such unit.
	UnitAbsent UnitState = "absent"
	// UnitConditionFailed: a condition that does not hold keeps it from running.
	UnitConditionFailed UnitState = "condition-failed"
	// UnitReplaced: an administrator's unit replaces it. Whether that runs
	// systemd-modules-load is in the answers.
	UnitReplaced UnitState = "replaced"
	// UnitUnknown: not known from the root.
	UnitUnknown UnitState = "unknown"
)

const (
	modulesLoadUnit    = "systemd-modules-load.service"
	modulesLoadProgram = "systemd-modules-load"
	shippedUnit        = "/usr/lib/systemd/system/" + modulesLoadUnit
	// earlyMask is what systemd-debug-generator(8) generates for a mask in the
	// command line, or in what the firmware adds to it.
	earlyMask = "/run/systemd/generator.early/" + modulesLoadUnit
)

// loadUnit is the state of systemd-modules-load.service.
type loadUnit struct {
	state UnitState
	// runs: it asks for what modules-load.d names. Assumed where a root has no
	// units at all.
	runs Answer
	// by is why it does not, or may not; also is what would stop it without that, and
	// doubts are the settings that then may.
	by           Evidence
	also, doubts []Evidence
	// other: another init is started, or less than the whole system. What else may
	// load modules then is not known.
	other bool
}

// unitCommand is a command that a unit, or something else on the host, runs at
// boot.
type unitCommand struct {
	source
	args []string
	// doubt is why it may not be run, or not with these words; "" if it surely is.
	doubt string
	// before are the commands of the unit that must succeed first.
	before [][]string
	mtime  time.Time
	// early: it may be run before sysctls are set.
	early bool
}

// gatherUnits reads the units of the host that ask for modules at boot.
func (h *host) gatherUnits() {
	h.loadUnit, h.unitCommands, h.unitsErr = loadUnit{state: UnitUnknown, runs: AnswerTrue}, nil, nil
	if h.builtin || h.onRequest {
		return
	}
	systemd := h.hasSystemd()
	if systemd == AnswerFalse {
		h.loadUnit.runs, h.loadUnit.other = AnswerUnknown, true
		h.loadUnit.by = Evidence{File: initPaths[0], Cause: CauseUnclear,
			Effect: "is not systemd: what loads modules at boot on this host is not known"}
		return
	}
	units := systemdunit.Read(h.hostFiles, h.systemds...)
	words := slices.DeleteFunc(h.cmdlineWords(), func(w string) bool {
		return (strings.HasPrefix(w, "systemd.mask=") || strings.HasPrefix(w, "systemd.wants=")) && h.lacksGenerator("systemd-debug-generator")
	})
	// A generator links rc-local.service in; its condition is whether there is a
	// script (systemd-rc-local-generator(8)).
	target, also := "", []string{"rc-local.service"}
	h.manager = nil
	for _, w := range words {
		switch key, value, ok := strings.Cut(w, "="); {
		case key == "systemd.unit":
			target = value
		case key == "systemd.run":
			target = "basic.target" // and the command alone (systemd-run-generator(8))
		case !ok && runlevels[w] != "":
			target = runlevels[w]
		case key == "systemd.wants":
			also = append(also, unitName(value))
		case key == "systemd.mask":
			units.Mask(unitName(value), procCmdline)
		case key == "systemd.setenv" && strings.HasPrefix(value, "MODPROBE_OPTIONS="):
			h.manager = &Evidence{File: procCmdline, Line: 1, Text: printable(w), Cause: CauseUnclear}
		}
	}
	sysctls := units.Load("systemd-sysctl.service")
	held, _ := units.Conditions(sysctls, words)
	h.noSysctls = sysctls.Masked || held == systemdunit.No
	if by, ok := units.ManagerHindrance(); ok {
		e := settingEvidence(by, "may keep what systemd and the kernel start from loading modules")
		e.Cause = CauseUnclear
		if h.manager = &e; by.Key == "CapabilityBoundingSet" && h.helper.isModprobe == AnswerTrue {
			h.helper = loader{AnswerUnknown, e} // systemd sets the capabilities of the kernel's helper, too
		}
	}
	services := units.Started(target, also...)
	h.locked = nil
	h.askedArguments = argumentConditions(units.Load(modulesLoadUnit))
	h.loadUnit = h.readLoadUnit(units, words, systemd == AnswerTrue)
	h.loadUnit.also, h.loadUnit.doubts = h.alsoStopped(h.loadUnit, words, systemd == AnswerTrue)
	h.gatherCommands(units, words, services)
	h.gatherMentions(services)
	if units.Err != nil {
		h.unitsErr = new(unreadable(units.ErrFile, units.Err))
		h.notes = append(h.notes, Finding{Kind: FindingIncomplete, Evidence: []Evidence{*h.unitsErr}, Message: h.unitsErr.File + " " + h.unitsErr.Effect})
	}
}

// lacksGenerator reports whether systemd does not run one of its own generators
// (systemd.generator(7)): it is not there, or what takes its place is empty.
func (h *host) lacksGenerator(name string) bool {
	const own = "/usr/lib/systemd/system-generators"
	for _, dir := range []string{"/run/systemd/system-generators", "/etc/systemd/system-generators", "/usr/local/lib/systemd/system-generators", own} {
		st, err := h.Stat(path.Join(dir, name))
		if target, linkErr := h.Readlink(path.Join(dir, name)); err == nil || linkErr == nil {
			return target == "/dev/null" || err == nil && !runnable(st)
		}
	}
	return h.has(own) == AnswerTrue && h.has(path.Join(own, name)) == AnswerFalse
}

// runlevels are the words of the kernel's command line that name the target of the
// boot (kernel-command-line(7)).
var runlevels = map[string]string{
	"emergency": "emergency.target", "-b": "emergency.target",
	"rescue": "rescue.target", "single": "rescue.target", "s": "rescue.target", "S": "rescue.target", "1": "rescue.target",
	"2": "multi-user.target", "3": "multi-user.target", "4": "multi-user.target", "5": "graphical.target",
}

// unitName is a unit's name, which may stand without its suffix
// (systemd-debug-generator(8)).
func unitName(name string) string {
	if path.Ext(name) == "" {
		name += ".service"
	}
	return name
}

// hasSystemd reports whether systemd is the host's init, as far as the root has
// one.
func (h *host) hasSystemd() Answer {
	systemd := AnswerUnknown
	var id hostroot.ID
	for _, name := range initPaths[1:] {
		if st, err := h.Stat(name); err == nil && st.Mode.IsRegular() {
			systemd, id = AnswerTrue, st.ID
			break
		}
	}
	for _, w := range h.cmdlineWords() {
		if value, ok := strings.CutPrefix(w, "init="); ok && path.Base(value) == "systemd" {
			return systemd
		}
	}
	st, err := h.Stat(initPaths[0])
	target, linkErr := h.Readlink(initPaths[0])
	switch {
	case err == nil && systemd == AnswerTrue && st.ID == id, linkErr == nil && path.Base(target) == "systemd":
		return systemd
	case err != nil && linkErr != nil && (systemd == AnswerTrue || !h.hasInit()):
		return systemd
	case err != nil && linkErr == nil && systemd == AnswerTrue:
		return AnswerUnknown // a link that leads out of what is mounted
	}
	return AnswerFalse
}

// cmdlineWords are the words of the command line as systemd takes them, with
// keys in which "-" is "_" where systemd has it so.
func (h *host) cmdlineWords() (words []string) {
	for line := cString(h.cmdline); line != ""; {
		var word string
		if word, _, line = systemdWord(line, latestSystemdRules); word != "" {
			words = append(words, word)
		}
	}
	return words
}

// latestSystemdRules is a version whose command line is read as today's is.
const latestSystemdRules = 248

// readLoadUnit finds out whether the next boot runs systemd-modules-load. whole:
// all of systemd is in the root.
func (h *host) readLoadUnit(units *systemdunit.Set, words []string, whole bool) loadUnit {
	stopped := func(state UnitState, e Evidence) loadUnit {
		e.Cause = CauseUnit
		return loadUnit{state: state, runs: AnswerFalse, by: e}
	}
	unclear := func(state UnitState, e Evidence) loadUnit {
		e.Cause = cmp.Or(e.Cause, CauseUnclear)
		return loadUnit{state: state, runs: AnswerUnknown, by: e}
	}
	for _, w := range words {
		e := Evidence{File: procCmdline, Line: 1, Text: printable(w)}
		switch key, value, _ := strings.Cut(w, "="); {
		case key == "systemd.mask" && strings.TrimSuffix(value, ".service") == modulesLoadProgram:
			e.Effect = "masks " + modulesLoadUnit + ", which reads modules-load.d"
			return stopped(UnitMasked, e)
		case w == "emergency", w == "-b", w == "systemd.unit=emergency.target", key == "systemd.run", key == "init" && path.Base(value) != "systemd" && value != initPaths[0]:
			e.Effect = "starts less than the whole system: whether " + modulesLoadUnit + " runs is not known"
			unit := unclear(UnitUnknown, e)
			unit.other = true
			return unit
		case volatileRoot(key, value):
			e.Effect = "makes a new root directory at each boot: what is written to it is gone then"
			unit := unclear(UnitUnknown, e)
			unit.other = true
			return unit
		}
	}
	if early, err := h.Readlink(earlyMask); err == nil && early == "/dev/null" {
		return unclear(UnitUnknown, Evidence{File: earlyMask, Effect: "masks " + modulesLoadUnit + " in this boot: what asked for that is not known"})
	}
	u, partial := units.Load(modulesLoadUnit), false
	switch {
	case u.Masked:
		return stopped(UnitMasked, Evidence{File: u.File, Effect: "masks the unit that reads modules-load.d (run \"systemctl unmask " + modulesLoadUnit + "\")"})
	case u.Err != nil:
		return unclear(UnitUnknown, unreadable(u.File, u.Err))
	case u.File == "" && units.Err != nil:
		return unclear(UnitUnknown, unreadable(units.ErrFile, units.Err))
	case u.File == "" && whole && !units.Empty():
		return stopped(UnitAbsent, Evidence{File: shippedUnit, Effect: "is not there: nothing reads modules-load.d at boot"})
	case u.File == "": // not all of the host is in the root
		u, partial = units.Shipped(modulesLoadUnit, shippedUnit, "[Service]\nExecStart="+modulesLoadPrograms[0]+"\n"), true
	}
	pulled, masked := units.Pulled("sysinit.target", modulesLoadUnit)
	switch {
	case masked != "":
		return stopped(UnitMasked, Evidence{File: masked, Effect: "replaces the link that starts " + modulesLoadUnit + " at boot"})
	case !pulled && whole && !partial:
		return unclear(UnitUnknown, Evidence{File: u.File, Effect: "is not linked from sysinit.target.wants: what starts it at boot is not known"})
	}
	if by, ok := u.Broken(); ok {
		return unclear(UnitUnknown, settingEvidence(by, "keeps systemd from reading the whole file"))
	}
	state, runs, changed := h.unitStarts(u)
	held, by := units.Conditions(u, words)
	if strings.HasPrefix(by.Value, "|") && by.Vendor && len(systemdModulesLoad(h.cmdline, slices.Min(h.systemds))) == 0 {
		held = systemdunit.Yes // it does once a file of modules-load.d asks for anything
	}
	switch {
	case held == systemdunit.No:
		return stopped(UnitConditionFailed, settingEvidence(by, "does not hold, so "+modulesLoadUnit+" does not run"))
	case runs == AnswerFalse:
		return stopped(state, changed)
	case runs == AnswerUnknown:
		return unclear(state, changed)
	case held == systemdunit.Unclear:
		return unclear(UnitUnknown, settingEvidence(by, "decides whether "+modulesLoadUnit+" runs, which is not known from the root"))
	}
	// The distribution's own settings of the unit let it run; what another package
	// adds may not.
	if by, ok := units.Hindrance(u); ok && (!by.Vendor || slices.Contains([]string{"Conflicts", "Before", "Restart", "ExecStart", "Requires", "Requisite", "BindsTo", "Slice"}, by.Key)) {
		return unclear(state, settingEvidence(by, "may keep "+modulesLoadUnit+" from loading modules"))
	}
	for _, v := range slices.Concat(u.Values("Service", "ExecCondition"), u.Values("Service", "ExecStartPre")) {
		if commands, _ := u.Commands(v.Value); !v.Ignored() && !(len(commands) == 1 && path.Base(commands[0][0]) == "true") {
			return unclear(state, settingEvidence(v, "must succeed before "+modulesLoadUnit+" runs"))
		}
	}
	if h.manager != nil && strings.HasPrefix(h.manager.Text, "Capability") {
		return unclear(state, *h.manager)
	}
	if units.Load("sysinit.target").Masked {
		return unclear(state, Evidence{File: units.Load("sysinit.target").File, Effect: "masks the target that starts " + modulesLoadUnit})
	}
	if partial {
		state = UnitUnknown
	}
	return loadUnit{state: state, runs: AnswerTrue}
}

// volatileRoot reports whether an argument gives each boot a new root directory, or a new /etc
// (systemd-volatile-root.service(8), overlayroot(8), live-boot(7), casper(7), dracut.cmdline(7)).
// The last ones are those of Elemental, Harvester and Kairos.
func volatileRoot(key, value string) bool {
	switch key {
	case "systemd.volatile":
		return !slices.Contains([]string{"state", "no", "n", "false", "f", "off", "0"}, value)
	case "overlayroot":
		return strings.HasPrefix(value, "tmpfs") || strings.HasPrefix(value, "crypt")
	case "boot":
		return value == "live" || value == "casper" || value == "overlay" // the last: Raspberry Pi OS
	case "root":
		return strings.HasPrefix(value, "live:")
	}
	return slices.Contains([]string{"rd.live.image", "coreos.liveiso", "coreos.live.rootfs_url", "cos-img/filename", "elemental-img/filename", "elemental.image", "elemental.mode", "rd.immucore.uki"}, key)
}

// alsoStopped is what would keep systemd-modules-load from running if one thing after
// the other were taken away, and the settings that may.
func (h *host) alsoStopped(unit loadUnit, words []string, whole bool) (stops, doubts []Evidence) {
	var units *systemdunit.Set
	for range maxPending {
		switch by := unit.by; {
		case unit.runs == AnswerFalse && units != nil:
			stops = append(stops, by)
		case unit.runs == AnswerFalse:
		case unit.runs == AnswerUnknown && by.Line > 0 && by.File != procCmdline && by.File != shippedUnit && by.File != strings.TrimPrefix(shippedUnit, "/usr"):
			doubts = append(doubts, by)
		default:
			return stops, doubts
		}
		if units == nil {
			units = systemdunit.Read(h.hostFiles, h.systemds...)
		}
		words = slices.DeleteFunc(slices.Clone(words), func(w string) bool { return unit.by.File == procCmdline && printable(w) == unit.by.Text })
		units.Remove(unit.by.File)
		before := unit.by
		if unit = h.readLoadUnit(units, words, whole); unit.by == before || unit.by.File == shippedUnit {
			break
		}
	}
	return stops, doubts
}

// unitStarts finds out whether the unit's commands read modules-load.d, and what
// has changed them.
func (h *host) unitStarts(u *systemdunit.Unit) (state UnitState, runs Answer, changed Evidence) {
	state = UnitActive
	changed = Evidence{File: u.File, Effect: "replaces the unit that reads modules-load.d"}
	if !u.Vendor() {
		state = UnitReplaced
	}
	runs = AnswerFalse
	reached := AnswerTrue
	for _, v := range u.Values("Service", "ExecStart") {
		commands, sure := u.Commands(v.Value)
		for _, args := range commands {
			does, succeeds := h.runsModulesLoad(args, sure)
			switch {
			case runs == AnswerTrue || reached == AnswerFalse:
			case does == AnswerTrue:
				runs = reached
			case does == AnswerUnknown:
				runs = AnswerUnknown
			}
			if !v.Ignored() && reached != AnswerFalse && succeeds != AnswerTrue {
				reached = succeeds // what comes after it is not run where it fails
			}
		}
		if !v.Vendor {
			changed = settingEvidence(v, "is run in place of systemd-modules-load")
		}
	}
	if runs != AnswerTrue && state == UnitActive {
		state = UnitReplaced
		for _, v := range u.Settings {
			if v.Key == "ExecStart" && !v.Vendor && changed.Line == 0 {
				changed = settingEvidence(v, "clears what the unit runs")
			}
		}
	}
	return state, runs, changed
}

// modulesLoadPrograms is where systemd has the program that reads modules-load.d, and
// journald one that no host with all of systemd lacks.
var modulesLoadPrograms = []string{"/usr/lib/systemd/systemd-modules-load", "/lib/systemd/systemd-modules-load"}

const journald = "/usr/lib/systemd/systemd-journald"

// runsModulesLoad says whether a command reads modules-load.d, and whether it
// succeeds. sure says that its words are those that it is run with.
func (h *host) runsModulesLoad(args []string, sure bool) (does, succeeds Answer) {
	name, found := h.program(args[0])
	st, err := h.Stat(name)
	shipped := slices.Contains(modulesLoadPrograms, name)
	if !shipped && err == nil {
		own, ownErr := h.Stat(modulesLoadPrograms[0])
		shipped = ownErr == nil && own.ID == st.ID
	}
	switch {
	case err != nil && shipped && h.has(journald) != AnswerTrue:
		// Not all of systemd is in the root.
	case !found, err == nil && !runnable(st):
		return AnswerFalse, AnswerFalse // 203/EXEC (systemd.exec(5))
	case err == nil && sure && harmless(args[0]):
		effect, _ := h.newProcess(&policy{}, h.newKernel()).command(args)
		return AnswerFalse, map[commandEffect]Answer{commandSucceeds: AnswerTrue, commandFails: AnswerFalse}[effect]
	case err != nil, !sure, !shipped:
		return AnswerUnknown, AnswerUnknown
	}
	if len(args) > 1 {
		return AnswerUnknown, AnswerUnknown // it reads the files that it is given
	}
	return AnswerTrue, AnswerUnknown
}

func settingEvidence(v systemdunit.Setting, effect string) Evidence {
	return Evidence{File: v.File, Line: v.Line, Text: printable(v.Key + "=" + v.Value), Effect: effect}
}

// gatherCommands keeps the commands of units that may load the target, or remove
// it, and the scripts whose text is about it.
func (h *host) gatherCommands(units *systemdunit.Set, words []string, services []*systemdunit.Unit) {
	for _, u := range services {
		shipped := u.Name == modulesLoadUnit && !slices.ContainsFunc(u.Settings, func(v systemdunit.Setting) bool { return !v.Vendor })
		if shipped || u.Err != nil {
			continue
		}
		held, by := units.Conditions(u, words)
		asked := argumentConditions(u)
		if held == systemdunit.No && len(asked) == 0 {
			continue
		}
		section := "Service"
		if path.Ext(u.Name) == ".socket" {
			section = "Socket"
		}
		var before [][]string
		keys := []string{"ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost"}
		if u.Ends() {
			keys = append(keys, "ExecStop", "ExecStopPost")
		}
		for _, key := range keys {
			if key == "ExecStop" || key == "ExecStopPost" {
				before = nil // whatever these did
			}
			for _, v := range u.Values(section, key) {
				commands, sure := u.Commands(v.Value)
				for _, args := range commands {
					args = withoutEnv(args)
					if h.locked == nil && (slices.ContainsFunc(args, locks) || h.locksByFile(strings.Join(args, " "))) {
						h.locked = new(source{file: printableName(v.File), line: v.Line, text: v.Key + "=" + v.Value}.evidence(CauseNone, lockEffect))
					}
					if c := (unitCommand{args: args, before: before, early: u.Early()}); h.concerns(u, v, args, sure) {
						if !sure || !direct(args) || strings.Contains(strings.Join(args, " "), h.target) {
							h.askedArguments = append(h.askedArguments, asked...)
						}
						if held == systemdunit.No {
							continue // with this boot's arguments
						}
						c.source = source{file: printableName(v.File), line: v.Line, text: v.Key + "=" + v.Value}
						hindrance, hindered := units.HindranceOf(u, v)
						if condition := u.Values("Service", "ExecCondition"); !hindered && len(condition) > 0 {
							hindrance, hindered = condition[0], true
						}
						if !hindered && isShell(args[0]) && !slices.ContainsFunc(args, func(a string) bool { return strings.Contains(a, "/modprobe") }) {
							hindrance, hindered = otherPath(u)
						}
						switch {
						case !sure || !direct(args) || h.scriptAbout(u, args):
							c.doubt = notRun
						case strings.HasPrefix(key, "ExecStop"):
							c.doubt = "it is run when the unit ends, or fails"
						case hindered:
							c.doubt = hindrance.Key + "=" + hindrance.Value + " may prevent that"
						case h.manager != nil:
							c.doubt = h.manager.Text + " in " + h.manager.File + " may prevent that"
						case held == systemdunit.Unclear:
							c.doubt = "that depends on " + by.Key + "=" + by.Value
						case u.Perhaps != "":
							c.doubt = u.Perhaps
						}
						c.mtime = h.enabledSince(units, u)
						h.unitCommands = append(h.unitCommands, c)
					}
					if !v.Ignored() {
						before = append(before, args)
					}
				}
			}
		}
	}
}

// enabledSince is when the unit was as it is, and the first link to it was made.
func (h *host) enabledSince(units *systemdunit.Set, u *systemdunit.Unit) time.Time {
	var since time.Time
	for i, link := range units.WantedBy(u.Name) {
		if at := h.LinkChanged(link); i == 0 || at.Before(since) {
			since = at
		}
	}
	return latest(since, latest(u.Changed, h.LinkChanged(u.File)))
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// otherPath is a setting by which a shell may not find modprobe.
func otherPath(u *systemdunit.Unit) (by systemdunit.Setting, found bool) {
	for _, v := range u.Values("Service", "Environment") {
		if strings.Contains(v.Value, "PATH=") && !strings.Contains(v.Value, "/sbin") {
			by, found = v, true
		}
	}
	return by, found
}

// argumentConditions are the kernel's arguments that a unit's conditions ask for.
func argumentConditions(u *systemdunit.Unit) (list []string) {
	for _, v := range u.Settings {
		if strings.HasSuffix(v.Key, "KernelCommandLine") && !(v.Vendor && u.Name == modulesLoadUnit) {
			list = append(list, strings.TrimLeft(v.Value, "|! \t"))
		}
	}
	return list
}

// notRun is the doubt about a command whose effect only running it would show.
const notRun = "what it does is not known without running it"

// withoutEnv takes "env NAME=VALUE..." from the front of a command.
func withoutEnv(args []string) []string {
	if path.Base(args[0]) != "env" {
		return args
	}
	rest := args[1:]
	for len(rest) > 0 && strings.Contains(rest[0], "=") && !strings.HasPrefix(rest[0], "MODPROBE_OPTIONS=") {
		rest = rest[1:]
	}
	if len(rest) == 0 {
		return args
	}
	return rest
}

// concerns reports whether a command of a unit, v, may load the target or remove it. sure:
// its words are those that it is run with.
func (h *host) concerns(u *systemdunit.Unit, v systemdunit.Setting, args []string, sure bool) bool {
	text := strings.Join(args, " ")
	if loads(text) && (direct(args) && sure || strings.Contains(text, h.target) || loadsVariable().MatchString(text) && (!v.Vendor || h.inEnvironment(u))) {
		return true
	}
	// A second systemd-modules-load, with files of its own, or where the usual one does
	// not run.
	if path.Base(args[0]) == modulesLoadProgram && u.Name != modulesLoadUnit && (len(args) > 1 || h.loadUnit.runs != AnswerTrue) {
		return true
	}
	return h.scriptAbout(u, args)
}

// inEnvironment reports whether a variable of a unit may name the target.
func (h *host) inEnvironment(u *systemdunit.Unit) bool {
	named := func(v systemdunit.Setting) bool { return strings.Contains(v.Value, h.target) }
	file := func(v systemdunit.Setting) bool {
		name := strings.TrimPrefix(v.Value, "-")
		return strings.ContainsAny(name, "%*?[") || h.has(name) == AnswerUnknown || strings.Contains(withoutComments(h.script(name, true)), h.target)
	}
	return slices.ContainsFunc(u.Values("Service", "Environment"), named) || slices.ContainsFunc(u.Values("Service", "EnvironmentFile"), file)
}

// direct reports whether a command is modprobe or insmod, or a shell that may run
// them.
func direct(args []string) bool {
	name := path.Base(args[0])
	return name == "modprobe" || name == "insmod" || isShell(name) && slices.Contains(args, "-c")
}

// withUnits adds to what modules-load.d asks for what depends on the host's units:
// whether it is read at all, and what they load themselves.
func (ev *evaluation) withUnits(boot BootLoad) BootLoad {
	h := ev.host
	boot.Unit = h.loadUnit.state
	if h.builtin {
		return boot
	}
	boot.Doubts = h.loadUnit.doubts
	switch h.loadUnit.runs {
	case AnswerFalse:
		boot.NotRun = &h.loadUnit.by
		list := slices.DeleteFunc(slices.Clone(boot.Decision.Evidence), func(e Evidence) bool { return !e.Cause.Before(CauseUnit) })
		boot.Decision = Decision{Allowed: AnswerFalse, Evidence: tidy(slices.Concat(list, []Evidence{h.loadUnit.by}, h.loadUnit.also), AnswerFalse)}
		boot.Decision.Cause = boot.Decision.Evidence[0].Cause
	case AnswerUnknown:
		if h.unitsErr == nil {
			boot.NotRun = &h.loadUnit.by
		}
		if boot.Decision.Allowed == AnswerTrue {
			boot.Decision = Decision{Allowed: AnswerUnknown, Cause: h.loadUnit.by.Cause, Evidence: []Evidence{h.loadUnit.by}}
		}
	}
	loaded, unsure, removed := ev.replayUnits(&boot)
	if boot.Requested != AnswerTrue || boot.Decision.Allowed != AnswerTrue {
		unsure = append(unsure, ev.broughtAlong()...)
	}
	unseen := h.unitsErr
	if h.loadUnit.other {
		unseen = &h.loadUnit.by
	}
	if !loaded && unseen != nil && !ev.settled(boot.Decision) {
		if boot.Requested == AnswerFalse && boot.Decision.Allowed == AnswerTrue && len(unsure) == 0 {
			boot.Requested, boot.RequestedBy = AnswerUnknown, []Evidence{*unseen}
			return boot
		}
		if boot.Decision.Allowed != AnswerTrue {
			unsure = append(unsure, *unseen)
		}
	}
	if len(unsure) == 0 || !removed && boot.Requested == AnswerTrue && boot.Decision.Allowed == AnswerTrue {
		return boot
	}
	if boot.Requested != AnswerTrue {
		boot.Requested = AnswerUnknown
	}
	boot.RequestedBy = append(boot.RequestedBy, unsure...)
	boot.Decision = Decision{Allowed: AnswerUnknown, Evidence: tidy(append(slices.Clone(boot.Decision.Evidence), unsure...), AnswerUnknown)}
	boot.Decision.Cause = boot.Decision.Evidence[0].Cause
	return boot
}

// broughtAlong are the modules of this boot that bring the target along, whatever loads
// them at the next one: those that need it, and those of which modprobe.d says so.
// What uses sctp_diag is no boot.
func (ev *evaluation) broughtAlong() (list []Evidence) {
	h := ev.host
	add := func(name string, e Evidence) {
		if len(list) > maxListed || name == h.target || h.initState(name) != StateLoaded {
			return
		}
		fresh := *h
		fresh.nothingLoaded = true
		kern := fresh.newKernel()
		if fresh.newProcess(ev.cfg, kern).modulesLoad(name); kern.inserted[h.target] || len(kern.unsure) > 0 {
			e.Cause, e.Effect = CauseUnclear, "brings "+h.target+" along with "+printable(name)+", which this boot has loaded"
			list = append(list, e)
		}
	}
	for _, name := range h.users {
		if name != h.target+"_diag" {
			add(name, Evidence{File: "/proc/modules"})
		}
	}
	for _, s := range ev.cfg.softdeps {
		if slices.Contains(s.pre, h.target) || slices.Contains(s.post, h.target) {
			add(s.pattern, s.evidence(CauseNone, ""))
		}
	}
	for _, c := range ev.cfg.installs {
		if loads(c.command) && strings.Contains(c.command, h.target) {
			add(c.pattern, c.evidence(CauseNone, ""))
		}
	}
	return list
}

// settled says that nothing can load the target, whatever a boot starts: there is no
// such module, or the kernel refuses it.
func (ev *evaluation) settled(d Decision) bool {
	return d.Allowed == AnswerFalse && slices.ContainsFunc(d.Evidence, func(e Evidence) bool {
		switch e.Cause {
		case CauseMissing:
			return len(ev.host.problems) == 0
		case CauseLoadingDisabled:
			return e.File == procCmdline // a sysctl is set later
		}
		return e.Cause == CauseDeniedByKernel
	})
}

// replayUnits runs the commands of units, each as the program that it is. It
// returns whether one of them loads the target, which ones may, and whether one of
// these removes it.
func (ev *evaluation) replayUnits(boot *BootLoad) (loaded bool, unsure []Evidence, removed bool) {
	h := ev.host
	for _, c := range h.unitCommands {
		host := h
		if c.early && h.modulesDisabled && noModuleToken(h.cmdline) == "" {
			sooner := *h
			sooner.modulesDisabled, host = false, &sooner
			c.doubt = cmp.Or(c.doubt, "systemd-sysctl.service, which ends the loading of modules, may come first")
		}
		kern := host.newKernel()
		process := host.newProcess(ev.cfg, kern)
		effect := commandUnknown
		if c.doubt != notRun {
			for _, args := range c.before {
				if process.unitCommand(args) != commandSucceeds && c.doubt == "" {
					c.doubt = "it is run if " + printable(strings.Join(args, " ")) + " succeeds"
				}
			}
			effect = process.unitCommand(c.args)
		}
		text := strings.Join(c.args, " ")
		switch {
		case c.doubt == "" && kern.inserted[h.target] && len(kern.unsure) == 0:
			d := Decision{Allowed: AnswerTrue}
			e := c.evidence(CauseNone, "is run at boot by an enabled unit, and loads "+h.target)
			boot.LoadedBy = append(boot.LoadedBy, e)
			if ev.doubt(&d); d.Allowed != AnswerTrue {
				unsure = append(unsure, d.Evidence...)
				continue
			}
			if boot.Requested != AnswerTrue || boot.Decision.Allowed != AnswerTrue || c.mtime.Before(boot.RequestedSince) {
				boot.RequestedSince = c.mtime
			}
			boot.Requested, loaded = AnswerTrue, true
			boot.RequestedBy = append(boot.RequestedBy, e)
			boot.Decision = Decision{Allowed: AnswerTrue, Evidence: []Evidence{e}}
		case kern.inserted[h.target], len(kern.unsure) > 0,
			effect == commandUnknown && (c.doubt == notRun || strings.Contains(text, h.target)):
			if c.doubt == "" {
				c.doubt = notRun
			}
			what := "may load "
			if removes().MatchString(text) {
				what, removed = "may remove ", true
			}
			e := c.evidence(CauseUnclear, what+h.target+" at boot: "+c.doubt)
			unsure = append(unsure, e)
			boot.LoadedBy = append(boot.LoadedBy, e)
		}
	}
	return loaded, unsure, removed
}

// unitCommand is one command that systemd runs, without a shell.
func (p *process) unitCommand(args []string) commandEffect {
	if path.Base(args[0]) != "insmod" {
		effect, _ := p.command(args)
		return effect
	}
	if len(args) < 2 || !path.IsAbs(args[1]) {
		return commandUnknown
	}
	m := p.newFromName(path.Base(args[1]))
	m.path = args[1]
	if p.insert(m) != nil {
		return commandUnknown // what it needs may be there by then
	}
	return commandSucceeds
}

// findings are what is worth a warning of the units.
func (b BootLoad) findings(module string) (list []Finding) {
	if b.NotRun != nil && b.Requested == AnswerTrue && len(b.RequestedBy) > len(b.LoadedBy) {
		message := b.NotRun.line().String() + " " + b.NotRun.Effect + "; " + b.RequestedBy[0].Place() + " asks for " + module
		list = append(list, Finding{Kind: FindingUnitNotRun, Evidence: []Evidence{*b.NotRun}, Message: message})
	}
	for _, e := range b.LoadedBy {
		list = append(list, Finding{Kind: FindingLoadedByUnit, Evidence: []Evidence{e}, Message: e.Effect})
	}
	return list
}
