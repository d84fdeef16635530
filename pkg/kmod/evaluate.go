package kmod

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
)

// caller is who asks for the module.
type caller int

const (
	callerByName caller = iota
	callerAutoload
	callerBootLoad
)

// evaluation applies the rules of one pair of versions to the host.
type evaluation struct {
	host *host
	mod  Module
	// configuration of modprobe and of systemd-modules-load
	cfg         *policy
	modprobeSet configSet
	dirs        []string
	loadSet     configSet
	requests    []request
	systemd     int
	// asks remembers how requests at boot ask for the target, "" if they do not.
	asks map[string]string
	// fromKernel is what explainKernel returned.
	fromKernel *[]Evidence
	// callers are those decided about, and stops what stops any of them.
	callers []decided
	stops   []Evidence

	answers
}

// answers are those by caller.
type answers struct {
	byName, autoload, autoloadIPv6 Decision
	boot                           BootLoad
}

// evaluate answers for the callers that systemd has no part in.
func (h *host) evaluate(mod Module, kmod int) *evaluation {
	ev := &evaluation{host: h, mod: mod, asks: map[string]string{}, cfg: &policy{kmod: kmod, target: mod.Name}, dirs: modprobeDirs(kmod)}
	ev.readModprobe()
	ev.byName = ev.decide(callerByName, []string{mod.Name})
	ev.autoload = ev.decide(callerAutoload, mod.Autoload)
	ev.autoloadIPv6 = ev.decide(callerAutoload, mod.AutoloadIPv6)
	return ev
}

// evaluateBoot answers for systemd-modules-load of one version, and for the units
// of the host.
func (ev *evaluation) evaluateBoot(systemd int) {
	ev.systemd = systemd
	ev.readModulesLoad()
	ev.boot = ev.withUnits(ev.bootLoad())
}

func (ev *evaluation) readModprobe() {
	ev.modprobeSet = ev.host.modprobe.set(ev.dirs, modprobeRule(ev.cfg.kmod), ev.host.softdepFiles(ev.cfg.kmod)...)
	for _, f := range ev.modprobeSet.files {
		ev.cfg.parseModprobeFile(f.path, f.data)
	}
	ev.cfg.parseKmodCmdline(ev.host.cmdline)
}

func (ev *evaluation) readModulesLoad() {
	ev.loadSet = ev.host.modulesLoad.set(modulesLoadDirs(ev.systemd), modulesLoadRule(ev.systemd))
	var whole bool
	if ev.requests, whole = systemdModulesLoad(efiOptions, ev.host.efiArguments(ev.systemd), ev.systemd); whole {
		requests, _ := systemdModulesLoad(procCmdline, ev.host.cmdline, ev.systemd)
		ev.requests = append(ev.requests, requests...)
	}
	for _, f := range ev.loadSet.files {
		for _, line := range modulesLoadLines(f.data, ev.systemd) {
			ev.requests = append(ev.requests, request{
				source: source{file: f.path, line: line.number, text: line.text},
				name:   line.text,
				mtime:  f.mtime,
			})
		}
	}
}

// problems lists what could not be read of a set of configuration files.
func (set configSet) problems() []Evidence {
	var list []Evidence
	for _, d := range set.dirErrs {
		list = append(list, unreadable(d.dir, d.err))
	}
	for _, f := range set.files {
		if f.err != nil {
			list = append(list, unreadable(f.path, f.err))
		}
	}
	return list
}

// decide answers for one caller that asks for the names in turn.
func (ev *evaluation) decide(who caller, names []string) Decision {
	answer := func(ev *evaluation) Decision { return ev.decideNames(who, names) }
	return ev.settle(answer(ev), answer)
}

func (ev *evaluation) decideNames(who caller, names []string) Decision {
	return ev.decideRun(who, names, func(kern *kernelImage) {
		for _, name := range names {
			p := ev.host.newProcess(ev.cfg, kern)
			if who == callerBootLoad {
				p.modulesLoad(name)
			} else {
				p.modprobe(name, probeFlags{})
			}
		}
	})
}

// settle completes an answer: with the lines that are behind those in its evidence, of
// which an administrator who removes these should know, and with what could not be read.
func (ev *evaluation) settle(d Decision, again func(*evaluation) Decision) Decision {
	next, gone := *ev, map[source]bool{}
	for d.Allowed == AnswerFalse && len(gone) < maxListed {
		before := len(gone)
		for _, e := range d.Evidence {
			if e.Line > 0 {
				gone[e.source()] = true
			}
		}
		if len(gone) == before {
			break
		}
		next.cfg, next.asks, next.callers = ev.cfg.without(gone), map[string]string{}, nil
		behind := again(&next)
		if behind.Allowed != AnswerFalse && behind.Cause != CauseCustomInstall {
			break
		}
		d = decision(AnswerFalse, d.Evidence, behind.Evidence)
	}
	if d.Allowed != AnswerTrue {
		ev.stops = append(ev.stops, d.Evidence...)
	}
	ev.doubt(&d)
	return decision(d.Allowed, d.Evidence)
}

// decideRun answers for the names, as far as everything could be read; run replays what
// asks for them.
func (ev *evaluation) decideRun(who caller, names []string, run func(*kernelImage)) Decision {
	h := ev.host
	if h.builtin {
		if e := h.initRefused(); e != nil {
			return decision(AnswerFalse, []Evidence{*e})
		}
		return decision(AnswerTrue, []Evidence{h.builtinBy})
	}
	if len(names) == 0 {
		return decision(AnswerFalse, []Evidence{{
			File: path.Join(h.moddir, indexAliases), Cause: CauseMissing,
			Effect: "no protocol alias is known for " + ev.mod.Name + ", so no program's request loads it",
		}})
	}
	ev.callers = append(ev.callers, decided{who, names})
	kern := h.newKernel()
	run(kern)
	inserted, unsure := kern.inserted[h.target], kern.unsure
	if inserted && len(unsure) > 0 {
		inserted = h.insertedAnyway(run)
	}
	blockers, helpers := ev.explain(who, names)
	if kern.noEnd {
		unsure = append(unsure, *h.noEnd)
	}
	switch l := h.loaderOf(who); {
	case l.isModprobe == AnswerTrue:
	case l.isModprobe == AnswerFalse:
		inserted, unsure = false, nil
	case h.kernelRefuses(h.target) != nil:
		// Whatever the program is.
	case inserted || l.by.Cause != CauseUnreadable && l.by.Cause != CauseUnclear:
		// Another program than modprobe is not bound to modprobe.d.
		inserted, unsure = false, append(unsure, l.by)
	}
	switch {
	case inserted:
		return decision(AnswerTrue, helpers)
	case len(unsure) > 0:
		return decision(AnswerUnknown, unsure, blockers)
	case len(blockers) > 0:
		return decision(AnswerFalse, blockers)
	case len(kern.stops) == 0 && len(h.problems) == 0:
		return decision(AnswerFalse, []Evidence{{
			File: path.Join(h.moddir, indexAliases), Cause: CauseMissing,
			Effect: "nothing leads from " + strings.Join(names, " or ") + " to " + h.target,
		}})
	}
	return decision(AnswerFalse, kern.stops)
}

// decision is an answer with the evidence in lists. What comes first is its cause.
func decision(allowed Answer, lists ...[]Evidence) Decision {
	d := Decision{Allowed: allowed, Evidence: tidy(allowed, lists...)}
	if allowed != AnswerTrue && len(d.Evidence) > 0 {
		d.Cause = d.Evidence[0].Cause
	}
	return d
}

// insertedAnyway reports whether the target is inserted even if the commands whose
// effect is unknown fail: what follows such a command is then not reached.
func (h *host) insertedAnyway(run func(*kernelImage)) bool {
	kern := h.newKernel()
	kern.commandsFail = true
	run(kern)
	return kern.inserted[h.target]
}

// doubt turns an answer into Unknown if something that could not be read might
// change it. No configuration can change what the kernel refuses, nor that a module
// is missing. No other line revokes a blacklist line, but a directory of higher
// rank may hide its file.
func (ev *evaluation) doubt(d *Decision) {
	if e := ev.host.selinux; e != nil && d.Allowed == AnswerTrue {
		d.Allowed, d.Evidence = AnswerUnknown, append([]Evidence{*e}, d.Evidence...)
	}
	problems := append(slices.Clone(ev.host.problems), ev.modprobeSet.problems()...)
	if len(problems) == 0 {
		return
	}
	if d.Allowed == AnswerFalse {
		for _, e := range d.Evidence {
			switch e.Cause {
			case CauseDeniedByKernel, CauseLoadingDisabled:
				return
			case CauseMissing:
				if len(ev.host.problems) == 0 || e.File == ProcModules {
					return
				}
			case CauseBlacklist:
				if !ev.mayBeHidden(e.File) {
					return
				}
			}
		}
	}
	d.Allowed = AnswerUnknown
	d.Evidence = append(problems, d.Evidence...)
}

func (ev *evaluation) mayBeHidden(file string) bool {
	for _, bad := range ev.modprobeSet.dirErrs {
		if file != procCmdline && slices.Index(ev.dirs, bad.dir) < slices.Index(ev.dirs, path.Dir(file)) {
			return true
		}
	}
	return false
}

// tidy sorts evidence by the order in which the mechanisms act and drops
// repetitions. For an unknown answer, what makes it unknown comes first.
func tidy(allowed Answer, lists ...[]Evidence) []Evidence {
	rank := func(e Evidence) int {
		if allowed == AnswerUnknown && e.Cause != CauseNone && !e.Cause.Before(CauseCustomInstall) {
			return -e.Cause.rank()
		}
		return e.Cause.rank()
	}
	list := slices.Concat(lists...)
	slices.SortStableFunc(list, func(a, b Evidence) int { return cmp.Compare(rank(a), rank(b)) })
	var out []Evidence
	seen := map[Evidence]bool{}
	for _, e := range list {
		key := e.line()
		if !seen[key] {
			seen[key] = true
			out = append(out, e)
		}
	}
	return out
}

// explain collects every line and fact that stops the module for this caller,
// also those that an earlier one keeps from being reached: an administrator
// who removes the first should know of the second. helpers are lines that take
// part in a load.
func (ev *evaluation) explain(who caller, names []string) (blockers, helpers []Evidence) {
	var b, h evidenceSet
	if ev.fromKernel == nil {
		ev.fromKernel = new(ev.explainKernel())
	}
	b.add(*ev.fromKernel)
	if l := ev.host.loaderOf(who); l.isModprobe != AnswerTrue && l.by.Cause == CauseLoadingDisabled {
		b.add([]Evidence{l.by})
	}
	for _, name := range names {
		blockers, helpers := ev.explainName(who, name)
		b.add(blockers)
		h.add(helpers)
	}
	return b.list, h.list
}

type decided struct {
	who   caller
	names []string
}

// explainEmptied is what would stop the module if the files of the lines that do were
// empty, or these lines and that file which kernel packages have: some steps empty whole
// files, whose other lines may keep those of further files from taking part.
func (ev *evaluation) explainEmptied() []Evidence {
	var found evidenceSet
	vendor := source{file: "/etc/modprobe.d/" + ev.host.target + "-blacklist.conf"}
	if has := ev.modprobeSet.byPath()[vendor.file]; len(ev.stops) == 0 && (has == nil || len(has.data) == 0) {
		return nil
	}
	other := *ev
	for _, files := range []bool{true, false} {
		gone := map[source]bool{vendor: true}
		for n := range maxListed {
			before := len(gone)
			for _, e := range slices.Concat(ev.stops, found.list) {
				if line := e.source(); line.line > 0 && line.file != procCmdline {
					if files {
						line.line = 0
					}
					gone[line] = true
				}
			}
			if n > 0 && len(gone) == before {
				break
			}
			if other.cfg = ev.cfg.without(gone); other.cfg.changes() == ev.cfg.changes() {
				break // blacklist lines keep no others from taking part
			}
			for _, c := range ev.callers {
				for _, name := range c.names {
					list, _ := other.explainName(c.who, name)
					found.add(list)
				}
			}
		}
	}
	return found.list
}

// evidenceSet holds the evidence for many names: each line once, and of each cause
// the first ones.
type evidenceSet struct {
	list []Evidence
	seen map[Evidence]bool
	of   map[Cause]int
}

func (s *evidenceSet) add(list []Evidence) {
	if s.seen == nil {
		s.seen, s.of = map[Evidence]bool{}, map[Cause]int{}
	}
	for _, e := range list {
		key := e.line()
		if s.seen[key] || s.of[e.Cause] > maxListed {
			continue
		}
		s.seen[key] = true
		s.of[e.Cause]++
		s.list = append(s.list, e)
	}
}

// line is evidence without its effect, which may be worded differently.
func (e Evidence) line() Evidence {
	e.Effect = ""
	return e
}

// explainKernel collects what does not depend on the configuration, nor on the caller.
func (ev *evaluation) explainKernel() []Evidence {
	h := ev.host
	var list []Evidence
	names := []string{h.target}
	file, err := h.file, h.fileErr
	switch {
	case h.noModules: // which kernelRefusals has
	case file == "":
		if x := h.index(indexDep); x.err == nil || hostroot.Absent(x.err) {
			list = append(list, h.noModule())
		}
	case err != nil && (hostroot.Absent(err) || errors.Is(err, hostroot.ErrNotRegular)):
		list = append(list, missingFile(file))
	default:
		p := h.newProcess(ev.cfg, h.newKernel())
		for _, need := range h.needs {
			if p.inKernel(p.newFromName(need.name)) {
				continue
			}
			if _, err := h.Stat(need.file); err != nil && hostroot.Absent(err) {
				list = append(list, Evidence{File: need.file, Cause: CauseMissing,
					Effect: "needed by " + h.target + ", is not there, though the index lists it"})
			}
			names = append(names, need.name)
		}
	}
	return append(list, h.kernelRefusals(names)...)
}

// noModule is evidence of how the index of this kernel lacks the module.
func (h *host) noModule() Evidence {
	e := Evidence{File: path.Join(h.moddir, indexDep), Cause: CauseMissing, Effect: "does not list " + h.target}
	if x := h.index(indexDep); x.err != nil {
		e.Effect = "is not there: this kernel has no index of modules (depmod), or no modules"
		if h.noModuleDir {
			e.File = h.moddir
			e.Effect = "is not there: no modules are installed for the kernel that runs"
		}
		if h.replaced {
			e.Effect += "; those of another kernel are, which the next boot may bring"
		}
	}
	return e
}

func (ev *evaluation) explainName(who caller, name string) (blockers, helpers []Evidence) {
	h := ev.host
	kern := h.newKernel()
	p := h.newProcess(ev.cfg, kern)
	mods, err := p.lookup(name)

	var entry *module // the requested module through which the target is reached
	var list []*module
	for _, m := range mods {
		if slices.ContainsFunc(p.freshList(m, false), func(e *module) bool { return e.name == h.target }) {
			if entry = m; m.name == h.target {
				break
			}
		}
	}
	if entry != nil {
		list = p.freshList(entry, false) // as it is for this one: what it requires is marked
	}
	if entry == nil {
		diverted := ev.explainDiversion(name, err)
		if len(diverted) > 0 || name != h.target {
			return diverted, nil
		}
		entry = p.newFromName(h.target)
		entry.viaAlias = who == callerAutoload
		list = p.freshList(entry, false)
	}
	norm, ok := normalizeAlias(name)
	for _, a := range ev.cfg.aliases {
		if ok && len(helpers) <= maxListed && h.spend(0) && a.target == h.target && h.matches(a.pattern, norm) {
			helpers = append(helpers, a.evidence(CauseNone, "leads "+name+" to "+h.target))
		}
	}
	if who == callerBootLoad || entry.viaAlias {
		for _, b := range p.blacklistedBy(entry.name) {
			blockers = append(blockers, b.evidence(CauseBlacklist, ev.blacklistEffect(who, name, entry.name)))
		}
	}
	for _, e := range list {
		b, hlp := ev.explainInstall(p, e)
		blockers, helpers = append(blockers, b...), append(helpers, hlp...)
		if e.name == h.target {
			break
		}
	}
	return blockers, helpers
}

func (ev *evaluation) blacklistEffect(who caller, asked, name string) string {
	switch who {
	case callerAutoload:
		return "stops loading when a program asks; modprobe reports success nevertheless"
	case callerBootLoad:
		return "stops loading at boot; systemd-modules-load reports success nevertheless"
	}
	return fmt.Sprintf("stops modprobe %s, because an alias leads to %s", asked, name)
}

// explainDiversion names the lines that redirect a request away from the target.
func (ev *evaluation) explainDiversion(name string, err error) []Evidence {
	norm, ok := normalizeAlias(name)
	if !ok || err != nil {
		return nil
	}
	var list []Evidence
	for _, a := range ev.cfg.aliases {
		if len(list) <= maxListed && ev.host.matches(a.pattern, norm) {
			list = append(list, a.evidence(CauseAlias, "leads "+name+" to "+printable(a.target)+" instead"))
		}
	}
	if norm == ev.host.target {
		return list
	}
	// What takes the name before the module's own alias is looked up, now or once
	// the lines above are gone.
	for _, c := range ev.cfg.installs {
		if len(list) <= maxListed && c.pattern == norm {
			list = append(list, c.evidence(CauseInstall, "is run instead of looking "+name+" up"))
		}
	}
	for _, c := range ev.cfg.removes {
		if len(list) <= maxListed && c.pattern == norm {
			list = append(list, c.evidence(CauseAlias, "takes the name "+name+" before the module's own alias is looked up"))
		}
	}
	return list
}

// explainInstall names what an install command does between the request and the
// target.
func (ev *evaluation) explainInstall(p *process, m *module) (blockers, helpers []Evidence) {
	h := ev.host
	rule := p.installCommand(m)
	if rule == nil || p.inKernel(m) && m.name != h.target {
		return nil, nil
	}
	if m.ignorecmd {
		if m.name != h.target {
			return nil, nil
		}
		e := rule.evidence(CauseNone, "is not run: the module has a soft dependency, and then modprobe ignores install commands")
		helpers = append(helpers, e)
		if s := h.softdepFor(ev.cfg, m.name); s != nil {
			helpers = append(helpers, s.evidence(CauseNone, "makes modprobe ignore the install command of "+m.name))
		}
		return nil, helpers
	}
	if m.name != h.target && !m.required {
		return nil, nil // a soft dependency; its failure is ignored
	}
	first := ev.installEffect(m, rule)
	if first.Cause == CauseNone {
		return nil, []Evidence{first}
	}
	return []Evidence{first}, nil
}

// installEffect is what one install command does instead of loading a module. Its
// cause is CauseNone where the module is loaded nevertheless.
func (ev *evaluation) installEffect(m *module, rule *commandRule) Evidence {
	h := ev.host
	scratch := h.newKernel()
	effect := h.newProcess(ev.cfg, scratch).shell(rule.command)
	what := "is run instead of loading " + printable(m.name)
	if m.name != h.target && !m.viaAlias && m.path == "" && rule.pattern == m.name {
		what = "is run instead of looking " + printable(m.name) + " up"
	}
	switch {
	case scratch.inserted[h.target] || m.name != h.target && scratch.inserted[m.name]:
		return rule.evidence(CauseNone, what+", and loads it")
	case effect == commandUnknown:
		return rule.evidence(CauseCustomInstall, what+"; its effect is not known without running it")
	case effect == commandFails:
		return rule.evidence(CauseInstall, what+", and fails")
	}
	return rule.evidence(CauseInstall, what+", and does nothing")
}

// bootLoad answers for systemd-modules-load: it asks for all names in turn, in
// one process.
func (ev *evaluation) bootLoad() BootLoad {
	boot := ev.decideRequests()
	boot.Decision = ev.settle(boot.Decision, func(ev *evaluation) Decision { return ev.decideRequests().Decision })
	return boot
}

func (ev *evaluation) decideRequests() BootLoad {
	h := ev.host
	boot := BootLoad{Requested: AnswerFalse}
	var names []string
	asking := map[string]bool{}
	kern := h.newKernel()
	replay := h.newProcess(ev.cfg, kern)
	for i, r := range ev.requests {
		how, ok := ev.asksFor(r.name)
		before, unsure := kern.inserted[h.target], len(kern.unsure)
		replay.modulesLoad(r.name)
		inserts := !before && kern.inserted[h.target]
		requested := AnswerTrue
		switch {
		case ok:
		case inserts && (len(kern.unsure) == 0 || h.insertedAnyway(ev.upTo(i))):
			how = "asks at boot for " + printable(r.name) + ", whose install command loads " + h.target
		case inserts, ev.mayConcern(r.name, kern.unsure[unsure:]):
			how = "asks at boot for " + printable(r.name) + ", whose install command may load " + h.target
			requested = AnswerUnknown
		default:
			continue
		}
		if ok || inserts {
			r.mtime = latest(r.mtime, h.LinkChanged(r.file))
		}
		if requested == AnswerTrue && (boot.Requested != AnswerTrue || r.mtime.Before(boot.RequestedSince)) {
			boot.RequestedSince = r.mtime
		}
		if boot.Requested != AnswerTrue {
			boot.Requested = requested
		}
		if len(boot.RequestedBy) <= maxListed {
			boot.RequestedBy = append(boot.RequestedBy, r.evidence(CauseNone, how))
		}
		if !asking[r.name] {
			asking[r.name] = true
			names = append(names, r.name)
		}
	}
	if len(names) > 0 {
		boot.Decision = ev.decideRun(callerBootLoad, names, func(kern *kernelImage) {
			p := h.newProcess(ev.cfg, kern)
			for _, r := range ev.requests {
				unsure := len(kern.unsure)
				p.modulesLoad(r.name)
				if !asking[r.name] {
					// What other modules' commands do is their affair.
					kern.unsure = kern.unsure[:unsure]
				}
			}
		})
		return boot
	}
	problems := ev.loadSet.problems()
	if h.cmdlineErr != nil {
		problems = append(problems, unreadable(procCmdline, h.cmdlineErr))
	}
	if h.noEnd != nil && len(ev.requests) > 0 {
		// Not everything that the names resolve to was looked up.
		problems = append(problems, *h.noEnd)
	}
	if len(problems) > 0 {
		boot.Requested = AnswerUnknown
		boot.RequestedBy = problems
	}
	boot.Decision = ev.decideNames(callerBootLoad, []string{ev.mod.Name})
	return boot
}

// upTo replays the requests at boot up to the one with this index.
func (ev *evaluation) upTo(last int) func(*kernelImage) {
	return func(kern *kernelImage) {
		p := ev.host.newProcess(ev.cfg, kern)
		for _, r := range ev.requests[:last+1] {
			p.modulesLoad(r.name)
		}
	}
}

// mayConcern reports whether commands that cannot be understood, run for a request
// of another name, may be about the target: they contain its name, or the name is
// one of its aliases.
func (ev *evaluation) mayConcern(name string, unsure []Evidence) bool {
	if len(unsure) == 0 {
		return false
	}
	if norm, ok := normalizeAlias(name); ok {
		if real, err := ev.host.searchWild(indexAliases, norm); err == nil && slices.Contains(real, ev.host.target) {
			return true
		}
	}
	return slices.ContainsFunc(unsure, func(e Evidence) bool { return strings.Contains(e.Text, ev.host.target) })
}

// asksFor reports whether a request of systemd-modules-load is for the target: by
// its name, through an alias, or for a module that needs it.
func (ev *evaluation) asksFor(name string) (how string, ok bool) {
	how, known := ev.asks[name]
	if !known {
		how = ev.lookUpRequest(name)
		hostroot.Remember(ev.asks, name, how)
	}
	return how, how != ""
}

func (ev *evaluation) lookUpRequest(name string) (how string) {
	h := ev.host
	const direct = "asks for the module at boot"
	if norm, ok := normalizeAlias(name); ok && norm == h.target {
		return direct
	}
	p := h.newProcess(ev.cfg, h.newKernel())
	mods, _ := p.lookup(name)
	for _, m := range mods {
		if m.name == h.target {
			return "asks for the module at boot, through an alias"
		}
	}
	for _, m := range mods {
		list := p.freshList(m, false)
		if slices.ContainsFunc(list, func(e *module) bool { return e.name == h.target }) {
			return "asks at boot for " + printable(m.name) + ", which also loads " + h.target + " along"
		}
	}
	return ""
}
