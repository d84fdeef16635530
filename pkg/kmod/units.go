package kmod

import (
	"cmp"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
	"github.com/sctp-agent/sctp-agent/internal/systemdunit"
)

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
	h.locked, h.changes, h.helps, h.started, h.called, h.along = nil, nil, nil, nil, map[string]int{}, h.bringsAlong()
	h.askedArguments = argumentConditions(units.Load(modulesLoadUnit))
	h.loadUnit = h.readLoadUnit(units, words, systemd == AnswerTrue)
	h.loadUnit.also, h.loadUnit.doubts = h.alsoStopped(h.loadUnit, words, systemd == AnswerTrue)
	h.gatherCommands(units, words, services)
	h.gatherMentions(services)
	h.gatherStarted(units, words, services)
	h.gatherExtensions(services)
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
		for run := range commandsOf(u) {
			if h.locked == nil && (slices.ContainsFunc(run.args, locks) || h.locksByFile(run.line())) {
				h.locked = new(run.source().evidence(CauseNone, lockEffect))
			}
			h.changesConfig(run.line(), run.source().evidence(CauseNone, changeEffect))
			if !h.concerns(u, run) {
				continue
			}
			if !run.sure || !direct(run.args) || strings.Contains(run.line(), h.target) {
				h.askedArguments = append(h.askedArguments, asked...)
			}
			if held == systemdunit.No {
				continue // with this boot's arguments
			}
			doubt := h.doubtOf(units, u, run)
			if doubt == "" && held == systemdunit.Unclear {
				doubt = "that depends on " + by.Key + "=" + by.Value
			}
			h.unitCommands = append(h.unitCommands, unitCommand{
				source: run.source(), args: run.args, before: run.before, early: u.Early(), mtime: h.enabledSince(units, u),
				doubt: cmp.Or(doubt, u.Perhaps),
			})
		}
	}
}

// gatherStarted adds the commands of units that a script, or a rule of udev, starts, and of those that
// these bring along.
func (h *host) gatherStarted(units *systemdunit.Set, words []string, services []*systemdunit.Unit) {
	known := slices.Clone(services)
	slices.Sort(h.started)
	for _, name := range slices.Compact(h.started) {
		if u := units.Load(name); u.File == "" || u.Masked {
			continue
		}
		for _, u := range units.Started(name) {
			if !slices.Contains(known, u) {
				known = append(known, u)
				u.Perhaps = "another program may start " + name
				h.gatherCommands(units, words, []*systemdunit.Unit{u})
			}
		}
	}
}

// unitRun is one command of a setting of a unit. sure: its words are those that it is
// run with. before are the commands of the unit that must succeed first.
type unitRun struct {
	systemdunit.Setting
	args   []string
	sure   bool
	before [][]string
}

func (r unitRun) line() string { return strings.Join(r.args, " ") }

func (r unitRun) source() source {
	return source{file: printableName(r.File), line: r.Line, text: r.Key + "=" + r.Value}
}

// commandsOf goes through a unit's commands in the order in which they are run.
func commandsOf(u *systemdunit.Unit) iter.Seq[unitRun] {
	section := "Service"
	if path.Ext(u.Name) == ".socket" {
		section = "Socket"
	}
	keys := []string{"ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost"}
	if u.Ends() {
		keys = append(keys, "ExecStop", "ExecStopPost")
	}
	return func(yield func(unitRun) bool) {
		var before [][]string
		for _, key := range keys {
			if strings.HasPrefix(key, "ExecStop") {
				before = nil // whatever these did
			}
			for _, v := range u.Values(section, key) {
				commands, sure := u.Commands(v.Value)
				for _, args := range commands {
					run := unitRun{Setting: v, args: withoutEnv(args), sure: sure, before: before}
					if !yield(run) {
						return
					}
					if !v.Ignored() {
						before = append(before, run.args)
					}
				}
			}
		}
	}
}

// doubtOf is why a command of a unit that is started may not be run, or not with these
// words; "" if it surely is.
func (h *host) doubtOf(units *systemdunit.Set, u *systemdunit.Unit, run unitRun) string {
	if !run.sure || !direct(run.args) || h.scriptAbout(u, run.args) {
		return notRun
	}
	if strings.HasPrefix(run.Key, "ExecStop") {
		return "it is run when the unit ends, or fails"
	}
	hindrance, hindered := units.HindranceOf(u, run.Setting)
	if condition := u.Values("Service", "ExecCondition"); !hindered && len(condition) > 0 {
		hindrance, hindered = condition[0], true
	}
	if !hindered && isShell(run.args[0]) && !slices.ContainsFunc(run.args, func(a string) bool { return strings.Contains(a, "/modprobe") }) {
		hindrance, hindered = otherPath(u)
	}
	switch {
	case hindered:
		return hindrance.Key + "=" + hindrance.Value + " may prevent that"
	case h.manager != nil:
		return h.manager.Text + " in " + h.manager.File + " may prevent that"
	}
	return ""
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

// concerns reports whether a command of a unit may load the target or remove it.
func (h *host) concerns(u *systemdunit.Unit, run unitRun) bool {
	text := run.line()
	if loads(text) && (direct(run.args) && run.sure || h.names(text) || loadsVariable().MatchString(text) && (!run.Vendor || h.inEnvironment(u))) {
		return true
	}
	// A second systemd-modules-load, with files of its own, or where the usual one does
	// not run.
	if path.Base(run.args[0]) == modulesLoadProgram && u.Name != modulesLoadUnit && (len(run.args) > 1 || h.loadUnit.runs != AnswerTrue) {
		return true
	}
	return h.scriptAbout(u, run.args)
}

// inEnvironment reports whether a variable of a unit may name the target.
func (h *host) inEnvironment(u *systemdunit.Unit) bool {
	named := func(v systemdunit.Setting) bool { return strings.Contains(v.Value, h.target) }
	file := func(v systemdunit.Setting) bool {
		name := strings.TrimPrefix(v.Value, "-")
		return strings.ContainsAny(name, "%*?[") || ofKernel(name) || h.has(name) == AnswerUnknown || strings.Contains(withoutComments(h.script(name, true)), h.target)
	}
	return slices.ContainsFunc(u.Values("Service", "Environment"), named) || slices.ContainsFunc(u.Values("Service", "EnvironmentFile"), file)
}

// direct reports whether a command is modprobe or insmod, or a shell that may run
// them.
func direct(args []string) bool {
	name := path.Base(args[0])
	return name == "modprobe" || name == "insmod" || isShell(name) && slices.Contains(args, "-c")
}
