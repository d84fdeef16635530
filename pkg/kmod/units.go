package kmod

import (
	"bytes"
	"path"
	"regexp"
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
	// UnitReplaced: a unit of another's takes its place. Whether that one runs
	// systemd-modules-load, its answers tell.
	UnitReplaced UnitState = "replaced"
	// UnitUnknown: the root does not tell.
	UnitUnknown UnitState = "unknown"
)

const (
	modulesLoadUnit    = "systemd-modules-load.service"
	modulesLoadProgram = "systemd-modules-load"
	shippedUnit        = "/usr/lib/systemd/system/" + modulesLoadUnit
)

// loadUnit is the state of systemd-modules-load.service.
type loadUnit struct {
	state UnitState
	// runs: it asks for what modules-load.d names. Where a root has no units at
	// all it is taken for granted.
	runs Answer
	// by is why it does not, or may not.
	by Evidence
}

// unitCommand is a command that a unit runs at boot.
type unitCommand struct {
	source
	args []string
	// sure: its words are those that systemd passes, and it is run.
	sure  bool
	mtime time.Time
}

// gatherUnits reads the units of the host that ask for modules at boot.
func (h *host) gatherUnits() {
	h.loadUnit, h.unitCommands, h.unitsErr = loadUnit{state: UnitUnknown, runs: AnswerTrue}, nil, nil
	if h.builtin {
		return
	}
	systemd := h.hasSystemd()
	if systemd == AnswerFalse {
		h.loadUnit.runs = AnswerUnknown
		h.loadUnit.by = Evidence{File: initPaths[0], Cause: CauseUnreadable,
			Effect: "is not systemd: what reads modules-load.d on this host is not known"}
		return
	}
	units := systemdunit.Read(h.hostFiles)
	words := h.cmdlineWords()
	h.loadUnit = h.readLoadUnit(units, words, systemd == AnswerTrue)
	target, also := "", []string{}
	for _, w := range words {
		switch key, value, _ := strings.Cut(w, "="); key {
		case "systemd.unit":
			target = value
		case "systemd.wants":
			also = append(also, value)
		}
	}
	if !units.Empty() {
		h.gatherCommands(units, words, units.Started(target, also...))
	}
	if units.Err != nil {
		h.unitsErr = &Evidence{File: units.ErrFile, Cause: CauseUnreadable, Effect: "could not be read: " + hostroot.Bare(units.Err).Error()}
	}
}

// hasSystemd says whether systemd is the host's init, as far as the root has
// one.
func (h *host) hasSystemd() Answer {
	for _, name := range initPaths[1:] {
		if st, err := h.Stat(name); err == nil && st.Mode.IsRegular() {
			return AnswerTrue
		}
	}
	target, err := h.Readlink(initPaths[0])
	if err == nil && path.Base(target) == "systemd" || !h.hasInit() {
		return AnswerUnknown
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

// readLoadUnit finds out whether the next boot runs systemd-modules-load. whole
// says that all of systemd is in the root.
func (h *host) readLoadUnit(units *systemdunit.Set, words []string, whole bool) loadUnit {
	stopped := func(state UnitState, e Evidence) loadUnit {
		e.Cause = CauseUnit
		return loadUnit{state, AnswerFalse, e}
	}
	unclear := func(state UnitState, e Evidence) loadUnit {
		e.Cause = CauseUnreadable
		return loadUnit{state, AnswerUnknown, e}
	}
	for _, w := range words {
		if key, value, _ := strings.Cut(w, "="); key == "systemd.mask" && strings.TrimSuffix(value, ".service") == modulesLoadProgram {
			return stopped(UnitMasked, Evidence{File: procCmdline, Line: 1, Text: printable(w), Effect: "masks " + modulesLoadUnit + ", which reads modules-load.d"})
		}
	}
	u := units.Load(modulesLoadUnit)
	switch {
	case u.Masked:
		return stopped(UnitMasked, Evidence{File: u.File, Effect: "masks the unit that reads modules-load.d (run \"systemctl unmask " + modulesLoadUnit + "\")"})
	case u.Err != nil:
		return unclear(UnitUnknown, Evidence{File: u.File, Effect: "could not be read: " + hostroot.Bare(u.Err).Error()})
	case u.File == "" && units.Err != nil:
		return unclear(UnitUnknown, Evidence{File: units.ErrFile, Effect: "could not be read: " + hostroot.Bare(units.Err).Error()})
	case u.File == "" && whole && !units.Empty():
		return stopped(UnitAbsent, Evidence{File: shippedUnit, Effect: "is not there: nothing reads modules-load.d at boot"})
	case u.File == "":
		return loadUnit{state: UnitUnknown, runs: AnswerTrue} // not all of the host is in the root
	}
	pulled, masked := units.Pulled("sysinit.target", modulesLoadUnit)
	switch {
	case masked != "":
		return stopped(UnitMasked, Evidence{File: masked, Effect: "takes the place of the link that starts " + modulesLoadUnit + " at boot"})
	case !pulled && whole:
		return unclear(UnitUnknown, Evidence{File: u.File, Effect: "is not linked from sysinit.target.wants: what starts it at boot is not known"})
	}
	state := UnitActive
	changed := Evidence{File: u.File, Effect: "takes the place of the unit that reads modules-load.d"}
	if !u.Vendor() {
		state = UnitReplaced
	}
	runs := AnswerFalse
	for _, v := range u.Values("Service", "ExecStart") {
		commands, sure := u.Commands(v.Value)
		for _, args := range commands {
			switch {
			case path.Base(args[0]) == modulesLoadProgram:
				runs = AnswerTrue
			case runs != AnswerTrue && (!sure || !harmless(args[0])):
				runs = AnswerUnknown
			}
		}
		if !v.Vendor {
			changed = Evidence{File: v.File, Line: v.Line, Text: printable(v.Key + "=" + v.Value), Effect: "is run in place of systemd-modules-load"}
		}
	}
	if runs != AnswerTrue && state == UnitActive {
		state = UnitReplaced
		for _, v := range u.Settings {
			if v.Key == "ExecStart" && !v.Vendor && changed.Line == 0 {
				changed = Evidence{File: v.File, Line: v.Line, Text: printable(v.Key + "=" + v.Value), Effect: "takes back what the unit runs"}
			}
		}
	}
	held, by := units.Conditions(u, words)
	condition := Evidence{File: by.File, Line: by.Line, Text: printable(by.Key + "=" + by.Value)}
	switch {
	case held == systemdunit.No:
		condition.Effect = "does not hold, so " + modulesLoadUnit + " does not run"
		return stopped(UnitConditionFailed, condition)
	case runs == AnswerFalse:
		return stopped(state, changed)
	case runs == AnswerUnknown:
		return unclear(state, changed)
	case held == systemdunit.Unclear:
		condition.Effect = "decides whether " + modulesLoadUnit + " runs, which the root does not tell"
		return unclear(UnitUnknown, condition)
	}
	return loadUnit{state: state, runs: AnswerTrue}
}

// loads is what a command has in it that may load a module.
var loads = regexp.MustCompile(`modprobe|insmod`)

// gatherCommands keeps the commands of units that may load modules, and the
// scripts whose text is about the target.
func (h *host) gatherCommands(units *systemdunit.Set, words []string, services []*systemdunit.Unit) {
	for _, u := range services {
		if u.Name == modulesLoadUnit && h.loadUnit.state == UnitActive || u.Err != nil {
			continue
		}
		for _, key := range []string{"ExecStartPre", "ExecStart", "ExecStartPost"} {
			for _, v := range u.Values("Service", key) {
				commands, sure := u.Commands(v.Value)
				for _, args := range commands {
					if path.Base(args[0]) == "env" && len(args) > 1 {
						args = args[1:]
					}
					text := strings.Join(args, " ")
					if direct(args) && loads.MatchString(text) {
						if !strings.Contains(text, h.target) && !sure {
							continue
						}
					} else if sure = false; !h.scriptAbout(args) {
						continue
					}
					held, _ := units.Conditions(u, words)
					if held == systemdunit.No {
						continue
					}
					h.unitCommands = append(h.unitCommands, unitCommand{
						source: source{file: printableName(v.File), line: v.Line, text: v.Key + "=" + v.Value},
						args:   args, sure: sure && held == systemdunit.Yes, mtime: u.Changed,
					})
				}
			}
		}
	}
}

// direct says whether a command is modprobe or insmod, or a shell that may run
// them.
func direct(args []string) bool {
	name := path.Base(args[0])
	return name == "modprobe" || name == "insmod" || isShell(name) && slices.Contains(args, "-c")
}

// maxScript bounds a script that is looked into.
const maxScript = 64 << 10

// scriptAbout says whether a word of a command is a script on the host whose text
// is about loading the target.
func (h *host) scriptAbout(args []string) bool {
	for _, name := range args[:min(len(args), 3)] {
		if !path.IsAbs(name) || isShell(name) {
			continue
		}
		st, err := h.Stat(name)
		if err != nil || !st.Mode.IsRegular() || st.Size > maxScript || !h.isScript(name) || !h.spend(int(st.Size)) {
			continue
		}
		data, _, err := readFile(h, name, maxScript)
		if err == nil && loads.Match(data) && bytes.Contains(data, []byte(h.target)) {
			return true
		}
	}
	return false
}

// isScript says whether a program is a script (execve(2)): most are not, and are
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

// withUnits adds to what modules-load.d asks for what the host's units make of
// it: whether it is read at all, and what they load themselves.
func (ev *evaluation) withUnits(boot BootLoad) BootLoad {
	h := ev.host
	boot.Unit = h.loadUnit.state
	if h.builtin {
		return boot
	}
	switch h.loadUnit.runs {
	case AnswerFalse:
		boot.NotRun = &h.loadUnit.by
		list := slices.DeleteFunc(slices.Clone(boot.Decision.Evidence), func(e Evidence) bool { return !e.Cause.Before(CauseUnit) })
		boot.Decision = Decision{Allowed: AnswerFalse, Evidence: tidy(append(list, h.loadUnit.by), AnswerFalse)}
		boot.Decision.Cause = boot.Decision.Evidence[0].Cause
	case AnswerUnknown:
		boot.NotRun = &h.loadUnit.by
		if boot.Decision.Allowed == AnswerTrue {
			boot.Decision = Decision{Allowed: AnswerUnknown, Cause: h.loadUnit.by.Cause, Evidence: []Evidence{h.loadUnit.by}}
		}
	}
	loaded, unsure := ev.replayUnits(&boot)
	if !loaded && h.unitsErr != nil {
		if boot.Requested == AnswerFalse && boot.Decision.Allowed == AnswerTrue && len(unsure) == 0 {
			boot.Requested, boot.RequestedBy = AnswerUnknown, []Evidence{*h.unitsErr}
			return boot
		}
		if boot.Decision.Allowed != AnswerTrue {
			unsure = append(unsure, *h.unitsErr)
		}
	}
	if loaded || len(unsure) == 0 || boot.Requested == AnswerTrue && boot.Decision.Allowed == AnswerTrue {
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

// replayUnits runs the commands of units, each as the program that it is. It says
// whether one of them loads the target, and which ones may.
func (ev *evaluation) replayUnits(boot *BootLoad) (loaded bool, unsure []Evidence) {
	h := ev.host
	for _, c := range h.unitCommands {
		kern := h.newKernel()
		effect := commandUnknown
		if c.sure {
			effect = h.newProcess(ev.cfg, kern).unitCommand(c.args)
		}
		switch {
		case kern.inserted[h.target] && len(kern.unsure) == 0:
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
		case effect == commandUnknown && (len(kern.unsure) > 0 || strings.Contains(strings.Join(c.args, " "), h.target) || !direct(c.args)):
			e := c.evidence(CauseUnreadable, "is run at boot by an enabled unit; whether it loads "+h.target+" cannot be told without running it")
			unsure = append(unsure, e)
			boot.LoadedBy = append(boot.LoadedBy, e)
		}
	}
	return loaded, unsure
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
		return commandFails
	}
	return commandSucceeds
}

// findings are what is worth a warning of the units.
func (b BootLoad) findings(module string) (list []Finding) {
	if b.NotRun != nil && b.Requested == AnswerTrue && len(b.RequestedBy) > len(b.LoadedBy) {
		message := b.NotRun.Effect + "; " + b.RequestedBy[0].Place() + " asks for " + module
		list = append(list, Finding{Kind: FindingUnitNotRun, Evidence: []Evidence{*b.NotRun}, Message: message})
	}
	for _, e := range b.LoadedBy {
		list = append(list, Finding{Kind: FindingLoadedByUnit, Evidence: []Evidence{e}, Message: e.Effect})
	}
	return list
}
