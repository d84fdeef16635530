package kmod

import (
	"cmp"
	"path"
	"slices"
	"strings"
)

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
		boot.Decision = decision(AnswerFalse, list, []Evidence{h.loadUnit.by}, h.loadUnit.also)
	case AnswerUnknown:
		if h.unitsErr == nil {
			boot.NotRun = &h.loadUnit.by
		}
		if boot.Decision.Allowed == AnswerTrue {
			boot.Decision = decision(AnswerUnknown, []Evidence{h.loadUnit.by})
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
	boot.Decision = decision(AnswerUnknown, boot.Decision.Evidence, unsure)
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
			boot.Decision = decision(AnswerTrue, []Evidence{e})
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
