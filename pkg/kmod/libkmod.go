package kmod

import (
	"errors"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
)

// process replays what one program that uses libkmod does: it has its own pool
// of module objects, and shares the kernel with other processes. The steps,
// their order and their oddities are those of libkmod/libkmod-module.c and
// libkmod.c; the names of the methods follow the originals.
type process struct {
	host *host
	cfg  *policy
	kmod int
	kern *kernelImage
	pool map[string]*module
	// asked holds the names that modulesLoad was given without effect, with the number
	// of modules that were inserted then.
	asked map[string]int
	// nesting counts the install commands that run modprobe that has install
	// commands that run modprobe ...
	nesting int
	// budget bounds the steps of all nested processes together.
	budget *int
	// unseen is why a program that the last install command runs could not be
	// looked at, "" if none.
	unseen string
}

// kernelImage is the kernel as the replay sees it: what is loaded now, without
// the module in question, plus what the replay has inserted.
type kernelImage struct {
	target   string
	inserted map[string]bool
	// unsure is set when something ran whose effect on the target is unknown.
	unsure []Evidence
	// commandsFail: install commands whose effect is unknown fail, otherwise
	// they succeed. Neither loads anything.
	commandsFail bool
	// noEnd: a list of modules was not read to its end.
	noEnd bool
	// stops are the points where an insertion of the target ended, the first
	// ones if there are very many.
	stops []Evidence
}

func (k *kernelImage) stop(e Evidence) {
	if len(k.stops) <= maxListed {
		k.stops = append(k.stops, e)
	}
}

const (
	maxNesting = 6
	maxSteps   = 20000
)

func (h *host) newProcess(cfg *policy, kern *kernelImage) *process {
	budget := maxSteps
	return &process{host: h, cfg: cfg, kmod: cfg.kmod, kern: kern, pool: map[string]*module{}, asked: map[string]int{}, budget: &budget}
}

func (h *host) newKernel() *kernelImage {
	return &kernelImage{target: h.target, inserted: map[string]bool{}}
}

// module is struct kmod_module.
type module struct {
	key      string // in the pool
	name     string
	viaAlias bool // made from an alias (mod->alias != NULL)
	path     string
	deps     []*module
	depsRead bool
	builtin  Answer // Unknown until asked
	install  *commandRule
	// installRead: install has been looked up, or set from a command lookup.
	installRead bool
	visited     bool
	ignorecmd   bool
	required    bool
}

// Errors of the replay; their texts never reach a user.
var (
	errInvalidName = errors.New("EINVAL")
	errNoModule    = errors.New("ENOENT")
	errNoIndexFile = errors.New("ENOSYS")
	errExists      = errors.New("EEXIST")
	errRefused     = errors.New("EPERM")
	errCommand     = errors.New("install command failed")
)

func (p *process) newModule(key, name string, viaAlias bool) *module {
	if m := p.pool[key]; m != nil {
		return m
	}
	m := &module{key: key, name: name, viaAlias: viaAlias, builtin: AnswerUnknown}
	p.pool[key] = m
	return m
}

// release forgets all objects but those that are still in use, and what these
// depend on: libkmod counts references, and an object that is created again has
// lost what an earlier lookup set in it. It returns false where the caller must
// stop; see host.spend.
func (p *process) release(inUse []*module) bool {
	if !p.host.spend(moduleCost * (len(inUse) + len(p.pool))) {
		return false
	}
	clear(p.pool)
	var keep func(mods []*module)
	keep = func(mods []*module) {
		for _, m := range mods {
			if p.pool[m.key] == nil {
				p.pool[m.key] = m
				keep(m.deps)
			}
		}
	}
	keep(inUse)
	return true
}

func (p *process) newFromName(name string) *module {
	name = moduleName(name)
	return p.newModule(name, name, false)
}

func (p *process) newFromAlias(alias, name string) (*module, error) {
	if len(alias)+len(name)+2 > pathMax {
		return nil, errInvalidName
	}
	return p.newModule(name+`\`+alias, name, true), nil
}

func (p *process) newFromPath(name, file string) (*module, error) {
	if _, err := p.host.Stat(file); err != nil {
		return nil, err
	}
	m := p.newModule(name, name, false)
	switch m.path {
	case "":
		m.path = file
	case file:
	default:
		return nil, errExists
	}
	if p.kmod >= 30 {
		m.builtin = AnswerFalse
	}
	return m, nil
}

// takeDeps takes the module's file and the files it needs from modules.dep
// (kmod_module_parse_depline); the last one comes first. One missing file makes
// libkmod forget all of them.
func (p *process) takeDeps(m *module, indexed *indexedModule) {
	if m.depsRead {
		return
	}
	m.depsRead = true
	if indexed.file == "" || !p.host.spend(moduleCost*len(indexed.needs)) {
		return
	}
	if m.path == "" {
		m.path = indexed.file
	}
	deps := make([]*module, len(indexed.needs))
	for i, need := range indexed.needs {
		dep, err := p.newFromPath(need.name, need.file)
		if err != nil {
			m.depsRead = false
			return
		}
		deps[len(deps)-1-i] = dep
	}
	m.deps = deps
}

func (p *process) dependencies(m *module) []*module {
	if !m.depsRead {
		indexed := p.host.indexed(m.name)
		if indexed == nil {
			return nil
		}
		p.takeDeps(m, indexed)
	}
	return m.deps
}

func (p *process) filePath(m *module) string {
	if m.path == "" {
		if indexed := p.host.indexed(m.name); indexed != nil {
			p.takeDeps(m, indexed)
		}
	}
	return m.path
}

// lookup is kmod_module_new_from_lookup: the first source that knows the name
// gives all modules. It returns no modules and no error for an unknown name.
func (p *process) lookup(given string) ([]*module, error) {
	name, ok := normalizeAlias(given)
	if !ok {
		return nil, errInvalidName
	}
	if !p.host.spend(lookupCost + len(p.cfg.installs) + len(p.cfg.removes)) {
		return nil, nil
	}
	sources := []func(*process, string) ([]*module, error){
		(*process).lookupConfigAlias,
		(*process).lookupDep,
		(*process).lookupSymbol,
		(*process).lookupCommand,
		(*process).lookupAlias,
		(*process).lookupBuiltin,
		(*process).lookupBuiltinAlias,
	}
	if p.kmod < 30 {
		sources = append(sources[:len(sources)-2], (*process).lookupBuiltinUpTo29)
	}
	for _, source := range sources {
		mods, err := source(p, name)
		if err != nil && (p.kmod < 30 || !errors.Is(err, errNoIndexFile)) {
			return nil, err
		}
		if len(mods) > 0 {
			return mods, nil
		}
	}
	return nil, nil
}

func (p *process) lookupConfigAlias(name string) ([]*module, error) {
	var mods []*module
	for _, a := range p.cfg.aliases {
		if !p.host.matches(a.pattern, name) {
			continue
		}
		if !p.host.spend(moduleCost) {
			return nil, nil
		}
		m, err := p.newFromAlias(a.pattern, a.target)
		if err != nil {
			return nil, err
		}
		mods = append(mods, m)
	}
	return mods, nil
}

func (p *process) lookupDep(name string) ([]*module, error) {
	// Module names have no colon.
	if strings.Contains(name, ":") {
		return nil, nil
	}
	indexed := p.host.indexed(name)
	if indexed == nil {
		return nil, nil
	}
	m := p.newFromName(name)
	p.takeDeps(m, indexed)
	return []*module{m}, nil
}

func (p *process) lookupSymbol(name string) ([]*module, error) {
	if !strings.HasPrefix(name, "symbol:") {
		return nil, nil
	}
	return p.lookupAliasIndex(indexSymbols, name)
}

func (p *process) lookupCommand(name string) ([]*module, error) {
	for i := range p.cfg.installs {
		if c := &p.cfg.installs[i]; c.pattern == name {
			m := p.newFromName(name)
			m.install, m.installRead = c, true
			return []*module{m}, nil
		}
	}
	for i := range p.cfg.removes {
		if p.cfg.removes[i].pattern == name {
			return []*module{p.newFromName(name)}, nil
		}
	}
	return nil, nil
}

func (p *process) lookupAlias(name string) ([]*module, error) {
	return p.lookupAliasIndex(indexAliases, name)
}

func (p *process) lookupAliasIndex(file, name string) ([]*module, error) {
	names, err := p.host.searchWild(file, name)
	if err != nil {
		return nil, err
	}
	var mods []*module
	for _, real := range names {
		m, err := p.newFromAlias(name, real)
		if err != nil {
			return nil, err
		}
		mods = append(mods, m)
	}
	return mods, nil
}

func (p *process) lookupBuiltin(name string) ([]*module, error) {
	if _, found := p.host.search(indexBuiltin, name); !found {
		return nil, nil
	}
	m := p.newFromName(name)
	m.builtin = AnswerTrue
	return []*module{m}, nil
}

func (p *process) lookupBuiltinAlias(name string) ([]*module, error) {
	mods, err := p.lookupAliasIndex(indexBuiltinAliases, name)
	for _, m := range mods {
		m.builtin = AnswerTrue
	}
	return mods, err
}

// lookupBuiltinUpTo29 asks for names only where there is no index of aliases.
func (p *process) lookupBuiltinUpTo29(name string) ([]*module, error) {
	mods, err := p.lookupBuiltinAlias(name)
	if errors.Is(err, errNoIndexFile) {
		return p.lookupBuiltin(name)
	}
	return mods, err
}

func (p *process) inKernel(m *module) bool {
	if m.builtin == AnswerUnknown {
		m.builtin = AnswerFalse
		if _, found := p.host.search(indexBuiltin, m.name); found {
			m.builtin = AnswerTrue
		}
	}
	return m.builtin == AnswerTrue || p.live(m.name)
}

func (p *process) live(name string) bool {
	if p.kern.inserted[name] {
		return true
	}
	return name != p.kern.target && !p.host.nothingLoaded && p.host.initState(name) == StateLoaded
}

// blacklistedBy lists the rules that name this module exactly, if there are
// very many the first ones.
func (p *process) blacklistedBy(name string) []blacklistRule {
	if !p.host.spend(len(p.cfg.blacklists)) {
		return nil
	}
	var rules []blacklistRule
	for _, b := range p.cfg.blacklists {
		if b.name == name && len(rules) <= maxListed {
			rules = append(rules, b)
		}
	}
	p.host.spend(moduleCost * len(rules))
	return rules
}

// installCommand is the first install line whose pattern matches.
func (p *process) installCommand(m *module) *commandRule {
	if !m.installRead && p.host.spend(0) {
		m.installRead = true
		for i := range p.cfg.installs {
			if c := &p.cfg.installs[i]; p.host.matches(c.pattern, m.name) {
				m.install = c
				break
			}
		}
	}
	return m.install
}

// softdeps resolves the first softdep line whose pattern matches; names that
// resolve to nothing are left out.
func (p *process) softdeps(m *module) (pre, post []*module) {
	if !p.host.spend(0) {
		return nil, nil
	}
	rule := p.host.softdepFor(p.cfg, m.name)
	if rule == nil {
		return nil, nil
	}
	resolve := func(names []string) (mods []*module) {
		for _, name := range names {
			found, _ := p.lookup(name)
			mods = append(mods, found...)
		}
		return mods
	}
	return resolve(rule.pre), resolve(rule.post)
}

// softdepFor is the first softdep line whose pattern matches.
func (h *host) softdepFor(c *policy, name string) *softdepRule {
	for i := range c.softdeps {
		if h.matches(c.softdeps[i].pattern, name) {
			return &c.softdeps[i]
		}
	}
	return nil
}

// freshList is the list of modules that a request for this one inserts.
func (p *process) freshList(m *module, ignorecmd bool) (list []*module) {
	if !p.host.spend(moduleCost * len(p.pool)) {
		return nil
	}
	for _, other := range p.pool {
		other.visited, other.required = false, false
	}
	p.probeList(m, true, ignorecmd, &list)
	return list
}

// probeList is the list of modules to insert, in order (probe_list and
// fill_softdep of libkmod-module.c). A module with a softdep that resolves
// loses its install command.
func (p *process) probeList(m *module, required, ignorecmd bool, list *[]*module) {
	if m.visited || !p.step() {
		return
	}
	m.visited = true
	deps := p.dependencies(m)
	if required {
		m.required = true
		for _, d := range deps {
			d.required = true
		}
	}
	for _, d := range deps {
		p.withSoftdeps(d, list)
	}
	if ignorecmd {
		*list = append(*list, m)
		m.ignorecmd = true
		return
	}
	p.withSoftdeps(m, list)
}

func (p *process) withSoftdeps(m *module, list *[]*module) {
	if !p.step() {
		return
	}
	pre, post := p.softdeps(m)
	for _, s := range pre {
		p.probeList(s, false, false, list)
	}
	*list = append(*list, m)
	m.ignorecmd = len(pre) > 0 || len(post) > 0
	for _, s := range post {
		p.probeList(s, false, false, list)
	}
}

// step spends one unit of the budget. A configuration that needs more is not a
// real one; the answer is unknown then.
func (p *process) step() bool {
	if *p.budget--; *p.budget > 0 {
		return p.host.spend(stepCost)
	}
	p.kern.noEnd = true
	if p.host.noEnd == nil {
		p.host.noEnd = &Evidence{
			File: p.host.moddir, Cause: CauseUnreadable,
			Effect: "the dependencies and soft dependencies form a loop",
		}
	}
	return false
}

type probeFlags struct {
	ignoreCommand      bool // modprobe -i
	blacklist          bool // modprobe -b, systemd, udev
	blacklistAliasOnly bool // modprobe, always
}

// probeInsert is kmod_module_probe_insert_module.
func (p *process) probeInsert(m *module, flags probeFlags) error {
	if p.inKernel(m) {
		return nil
	}
	if flags.blacklist || flags.blacklistAliasOnly && m.viaAlias {
		if rules := p.blacklistedBy(m.name); len(rules) > 0 {
			if m.name == p.kern.target {
				for _, b := range rules {
					p.kern.stop(b.evidence(CauseBlacklist, ""))
				}
			}
			return nil
		}
	}
	list := p.freshList(m, flags.ignoreCommand)

	var err error
	for _, e := range list {
		cmd := p.installCommand(e)
		switch {
		case p.inKernel(e):
			err = errExists
		case cmd != nil && !e.ignorecmd:
			err = p.runInstall(e, cmd)
		default:
			err = p.insert(e)
		}
		if errors.Is(err, errExists) || !e.required {
			err = nil
		} else if err != nil {
			break
		}
	}
	return err
}

// insert is kmod_module_insert_module and the kernel's answer
// (kernel/module/main.c, load_module).
func (p *process) insert(m *module) error {
	target := m.name == p.kern.target
	file := p.filePath(m)
	if file == "" {
		return errNoModule
	}
	st, err := p.host.Stat(file)
	if err == nil {
		err = st.Regular(file)
	}
	if err != nil {
		if !hostroot.Absent(err) {
			p.kern.unsure = append(p.kern.unsure, Evidence{File: file, Cause: CauseUnreadable, Effect: hostroot.Bare(err).Error()})
		} else if target {
			p.kern.stop(missingFile(file))
		}
		return errNoModule
	}
	if e := p.host.kernelRefuses(m.name); e != nil {
		if target {
			p.kern.stop(*e)
		}
		return errRefused
	}
	// A module that uses symbols of one that is not there is refused.
	if indexed := p.host.indexed(m.name); indexed != nil && p.host.spend(moduleCost*len(indexed.needs)) {
		for _, need := range indexed.needs {
			if !p.live(need.name) {
				if _, found := p.host.search(indexBuiltin, need.name); !found {
					return errNoModule
				}
			}
		}
	}
	p.kern.inserted[m.name] = true
	return nil
}

func missingFile(file string) Evidence {
	return Evidence{File: file, Cause: CauseMissing, Effect: "the module's file is not there, though the index lists it"}
}

// modprobe is one run of modprobe(8) with one name (tools/modprobe.c, insmod):
// every module the name stands for is tried; the last one gives the status.
func (p *process) modprobe(name string, flags probeFlags) error {
	flags.blacklistAliasOnly = true
	mods, err := p.lookup(name)
	if err != nil {
		return err
	}
	if len(mods) == 0 {
		return errNoModule
	}
	for _, m := range mods {
		err = p.probeInsert(m, flags)
		if !p.release(mods) {
			break
		}
	}
	p.release(nil)
	return err
}

// modulesLoad is what systemd-modules-load does with one name
// (src/shared/module-util.c, module_load_and_warn).
func (p *process) modulesLoad(name string) {
	inserted := len(p.kern.inserted)
	if before, ok := p.asked[name]; ok && before == inserted {
		return // as it changed nothing then, it changes nothing now
	}
	mods, err := p.lookup(name)
	if err != nil {
		return
	}
	for _, m := range mods {
		p.probeInsert(m, probeFlags{blacklist: true})
		if !p.release(mods) {
			break
		}
	}
	p.release(nil)
	if len(p.kern.inserted) == inserted {
		p.asked[name] = inserted
	}
}
