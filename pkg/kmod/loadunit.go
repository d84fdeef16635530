package kmod

import (
	"cmp"
	"path"
	"slices"
	"strings"
	"time"

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
)

// generated are what generators made of the unit in this boot: systemd-debug-generator(8) a mask, for
// an argument of the kernel or of what the firmware adds to these.
var generated = []string{
	"/run/systemd/generator.early/" + modulesLoadUnit, "/run/systemd/generator/" + modulesLoadUnit,
	"/run/systemd/generator.early/" + modulesLoadUnit + ".d", "/run/systemd/generator/" + modulesLoadUnit + ".d",
}

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

// latestSystemdRules is a version whose command line is read as today's is.
const latestSystemdRules = 248

// stopped is a unit that does not run, because of e.
func stopped(state UnitState, e Evidence) loadUnit {
	e.Cause = CauseUnit
	return loadUnit{state: state, runs: AnswerFalse, by: e}
}

// unclear is a unit that may not run, because of e.
func unclear(state UnitState, e Evidence) loadUnit {
	e.Cause = cmp.Or(e.Cause, CauseUnclear)
	return loadUnit{state: state, runs: AnswerUnknown, by: e}
}

const lessStarted = "starts less than the whole system: whether " + modulesLoadUnit + " runs is not known"

// stoppedByArgument is the unit where an argument of the kernel's masks it, or has
// something else started than the whole system.
func stoppedByArgument(words []string) (unit loadUnit, found bool) {
	for _, w := range words {
		e := Evidence{File: procCmdline, Line: 1, Text: printable(w)}
		switch key, value, _ := strings.Cut(w, "="); {
		case key == "systemd.mask" && strings.TrimSuffix(value, ".service") == modulesLoadProgram:
			e.Effect = "masks " + modulesLoadUnit + ", which reads modules-load.d"
			return stopped(UnitMasked, e), true
		case w == "emergency", w == "-b", w == "systemd.unit=emergency.target", key == "systemd.run", key == "init" && path.Base(value) != "systemd" && value != initPaths[0]:
			e.Effect = lessStarted
		case volatileRoot(key, value):
			e.Effect = "makes a new root directory at each boot: what is written to it is gone then"
		default:
			continue
		}
		unit = unclear(UnitUnknown, e)
		unit.other = true
		return unit, true
	}
	return unit, false
}

// readLoadUnit finds out whether the next boot runs systemd-modules-load. whole:
// all of systemd is in the root.
func (h *host) readLoadUnit(units *systemdunit.Set, words []string, whole bool) loadUnit {
	if unit, found := stoppedByArgument(words); found {
		return unit
	}
	if h.newEtc != nil {
		unit := unclear(UnitUnknown, *h.newEtc)
		unit.other = true
		return unit
	}
	if units.AliasOf("default.target") == systemdunit.Emergency {
		unit := unclear(UnitUnknown, Evidence{File: units.Load("default.target").File, Effect: lessStarted})
		unit.other = true
		return unit
	}
	for _, name := range generated {
		if _, err := h.Readlink(name); err == nil || h.has(name) == AnswerTrue {
			return unclear(UnitUnknown, Evidence{File: name, Effect: "changes " + modulesLoadUnit + " in this boot: what asked for that is not known"})
		}
	}
	u, partial := units.Load(modulesLoadUnit), false
	switch {
	case u.Masked:
		effect := "masks the unit that reads modules-load.d"
		switch path.Dir(u.File) { // where systemctl(1) unmasks
		case "/etc/systemd/system":
			effect += " (run \"systemctl unmask " + modulesLoadUnit + "\")"
		case "/run/systemd/system":
			effect += " (run \"systemctl unmask --runtime " + modulesLoadUnit + "\")"
		}
		return stopped(UnitMasked, Evidence{File: u.File, Effect: effect})
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
	case masked != "" && slices.ContainsFunc(units.Started(""), func(u *systemdunit.Unit) bool { return u.Name == modulesLoadUnit }):
		return unclear(UnitUnknown, Evidence{File: masked, Effect: "replaces the link that starts " + modulesLoadUnit + " at boot, and another unit may start it"})
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
	if requests, _ := systemdModulesLoad(procCmdline, h.cmdline, slices.Min(h.systemds)); strings.HasPrefix(by.Value, "|") && by.Vendor && len(requests) == 0 {
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
