package kmod

import (
	"cmp"
	"context"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/fnmatch"
	"github.com/sctp-agent/sctp-agent/internal/hostroot"
	"github.com/sctp-agent/sctp-agent/internal/kernelarg"
	"github.com/sctp-agent/sctp-agent/internal/kmodindex"
)

// Names of the indexes in the module directory.
const (
	indexDep            = "modules.dep.bin"
	indexAliases        = "modules.alias.bin"
	indexSymbols        = "modules.symbols.bin"
	indexBuiltin        = "modules.builtin.bin"
	indexBuiltinAliases = "modules.builtin.alias.bin"
)

// host is what the inspected host has: the result of the first of the three steps
// of an inspection. It is gathered before anything is decided, and does not depend
// on the caller. What is too much to gather is looked up by name while requests are
// replayed, and kept: modules in the indexes of depmod(8), their files, their
// states, and the programs of install commands.
type host struct {
	hostFiles
	ctx    context.Context // ends the looking and the replaying
	moddir string
	target string
	init   string // the function of the target; see Module
	// requests are the names by which the kernel asks for the target.
	requests []string
	// onRequest is the module's.
	onRequest bool
	release   osRelease
	kern      Kernel
	userland  Userland
	newEtc    *Evidence // by which each boot has a new /etc, nil if there is nothing

	// What modprobe.d and modules-load.d have, of all versions in question.
	modprobe, modulesLoad configDirs
	// kmods and systemds are the versions in question: several where the
	// host's own are not known. kmod and systemd are the host's, or 0.
	kmods, systemds []int
	kmod, systemd   int
	notes           []Finding // about the versions and the units

	indexes map[string]*hostIndex
	modules map[string]*indexedModule
	states  map[string]State

	// file is the target's, as the index names it; fileErr, why it is missing;
	// needs, the modules that it needs by the index.
	file    string
	fileErr error
	needs   []neededModule
	// noModuleDir: there is no directory for this kernel's modules; replaced:
	// there is one of another kernel's.
	noModuleDir, replaced bool
	// builtin: the target is compiled into the kernel; builtinBy is the evidence.
	builtin   bool
	builtinBy Evidence
	// state is the target's in the running kernel, if it could be read.
	state State
	// users are the modules in the running kernel that use the target.
	users []string
	// nothingLoaded: no other module counts as loaded.
	nothingLoaded bool

	cmdline    string
	cmdlineErr error

	// What the kernel itself refuses.
	denied          string // the value of module_blacklist=
	deniedBy        Evidence
	modulesDisabled bool
	signedOnly      string // what makes it insist on signatures, "" if nothing

	// helper is the program that kernel.modprobe names, byHand the one that an
	// administrator runs.
	helper, byHand loader
	// helperName is kernel.modprobe, nil if that could not be read. It is read once: a
	// boot may be setting it.
	helperName *string

	// noSysctls: no boot sets what sysctl.d says. manager is why what systemd starts
	// may load no module, nil if nothing is known to.
	noSysctls bool
	manager   *Evidence
	// loadUnit is what runs systemd-modules-load, unitCommands what other units
	// run at boot that may load modules, and unitsErr why not all of them are
	// known.
	loadUnit     loadUnit
	unitCommands []unitCommand
	unitsErr     *Evidence
	// locked is a command of the boot by which later ones may load nothing.
	locked *Evidence
	// changes is what may give the next boot other files about modules, the first by its name, and
	// helps one that can only have the target loaded.
	changes, helps *Evidence
	// along are patterns of modules that modprobe.d has the target brought along with, and
	// started the units that scripts and udev start.
	along, started []string
	// askedArguments are arguments that conditions of these units ask for.
	askedArguments []string

	// problems are what could not be read, and matters.
	problems []Evidence

	// work is what may still be spent on applying rules; see spend.
	work  int
	spent bool
	// noEnd is set to what ended before its time: all work was spent, or the steps of
	// one process were.
	noEnd *Evidence
}

// maxWork bounds an inspection: the rules of modprobe.d that are compared with
// a name, byte by byte, and the modules that are gone through. It takes a few
// seconds; a distribution's whole modules.alias, copied to modprobe.d, needs
// one or two per cent of it, and seven times as much where the versions are not
// known.
const maxWork = 50_000_000

// What some steps cost in time and memory, where the comparison of two bytes is
// one.
const (
	lookupCost = 50  // a name, looked up in every index
	stepCost   = 20  // a module, put into a list
	moduleCost = 10  // a module, remembered
	needCost   = 100 // a needed module in an index, kept
)

// spend takes n from the work that is left. Once it returns false, the caller stops
// with what it has, and every further answer is unknown.
func (h *host) spend(n int) bool {
	if h.work >= 0 {
		const pause = 1 << 16
		if h.work&^(pause-1) != (h.work-n-1)&^(pause-1) && h.ctx.Err() != nil {
			h.work = 0 // nothing waits for the answer any more
		}
		h.work -= n + 1
	}
	if h.work >= 0 {
		return true
	}
	if !h.spent {
		h.spent = true
		e := Evidence{
			File: "/etc/modprobe.d", Cause: CauseUnreadable,
			Effect: "has, with the directories that add to it, more rules than can be gone through for one module",
		}
		h.problems = append(h.problems, e)
		h.noEnd = &e
	}
	return false
}

// matches is fnmatch, paid for.
func (h *host) matches(pattern, name string) bool {
	ok := fnmatch.Within(pattern, name, &h.work)
	if h.work < 0 {
		return h.spend(0)
	}
	return ok
}

type hostIndex struct {
	*kmodindex.Index
	file hostroot.File
	err  error
	// found remembers the keys that were looked up.
	found map[string]indexAnswer
	wild  map[string][]string
}

type indexAnswer struct {
	value string
	found bool
}

// close closes the indexes; the host's files are the caller's.
func (h *host) close() {
	for _, x := range h.indexes {
		if x.file != nil {
			x.file.Close()
		}
	}
}

func (h *host) problem(file string, err error) {
	e := unreadable(file, err)
	for _, have := range h.problems {
		if have.File == e.File {
			return
		}
	}
	h.problems = append(h.problems, e)
}

// index opens an index at its first use. A file that is not there, or is not an
// index, counts as missing, as in libkmod.
func (h *host) index(name string) *hostIndex {
	if x, ok := h.indexes[name]; ok {
		return x
	}
	x := &hostIndex{found: map[string]indexAnswer{}, wild: map[string][]string{}}
	h.indexes[name] = x
	full := path.Join(h.moddir, name)
	f, err := h.Open(full)
	if err == nil {
		x.file = f
		if x.Index, err = kmodindex.New(f, f.Info().Size); err != nil && f.Info().Size == 0 {
			err = fs.ErrNotExist // an empty one, which depmod writes where it has no source; libkmod cannot map it, and ignores that
		}
	}
	if err != nil {
		x.err = err
		if !hostroot.Absent(err) {
			h.problem(full, err)
		}
	}
	return x
}

// search looks an exact key up. found is false if the index is missing.
func (h *host) search(file, key string) (value string, found bool) {
	x := h.index(file)
	if x.err != nil {
		return "", false
	}
	if a, ok := x.found[key]; ok {
		return a.value, a.found
	}
	value, found, err := x.Search(key)
	if err != nil {
		h.problem(path.Join(h.moddir, file), err)
		value, found = "", false
	}
	hostroot.Remember(x.found, key, indexAnswer{value, found})
	return value, found
}

// searchWild looks a name up among patterns. A missing index is errNoIndexFile.
func (h *host) searchWild(file, name string) ([]string, error) {
	x := h.index(file)
	if x.err != nil {
		return nil, errNoIndexFile
	}
	if values, ok := x.wild[name]; ok {
		return values, nil
	}
	values, err := x.SearchWild(name)
	if err == nil {
		hostroot.Remember(x.wild, name, values)
	} else {
		h.problem(path.Join(h.moddir, file), err)
		return nil, errNoIndexFile
	}
	return values, nil
}

// indexedModule is a module's line of modules.dep, "FILE: NEEDED FILES", with
// absolute paths.
type indexedModule struct {
	file  string // "" if the line has no colon
	needs []neededModule
}

type neededModule struct{ name, file string }

// indexed looks a module up in modules.dep; nil if it is not there.
func (h *host) indexed(name string) *indexedModule {
	if m, ok := h.modules[name]; ok {
		return m
	}
	var m *indexedModule
	if line, found := h.search(indexDep, name); found && h.spend(len(line)) {
		m = h.parseDepline(line)
	}
	hostroot.Remember(h.modules, name, m)
	return m
}

func (h *host) parseDepline(line string) *indexedModule {
	absolute := func(file string) string {
		if path.IsAbs(file) {
			return file
		}
		return h.moddir + "/" + file
	}
	m := &indexedModule{}
	file, needs, ok := strings.Cut(line, ":")
	if !ok {
		return m
	}
	m.file = absolute(file)
	for needs != "" {
		var need string
		if need, needs, ok = nextWord(needs); ok && h.spend(needCost) {
			m.needs = append(m.needs, neededModule{moduleName(path.Base(need)), absolute(need)})
		}
	}
	return m
}

// initState reads what the kernel says about a module (kmod_module_get_initstate):
// a directory in /sys/module without initstate is built-in code with parameters, or
// a module being loaded; libkmod assumes the latter.
func (h *host) initState(name string) State {
	if s, ok := h.states[name]; ok {
		return s
	}
	s := h.readInitState(name)
	hostroot.Remember(h.states, name, s)
	return s
}

func (h *host) readInitState(name string) State {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return StateAbsent
	}
	dir := "module/" + name
	// Most modules have no directory: one call is enough.
	if _, err := h.sys.Stat(dir); hostroot.Absent(err) {
		return StateAbsent
	}
	text, err := h.sys.ReadFile(dir + "/initstate")
	switch {
	case err == nil:
		switch text {
		case "live\n":
			return StateLoaded
		case "coming\n":
			return StateLoading
		case "going\n":
			return StateUnloading
		}
	case hostroot.Absent(err):
		if st, err := h.sys.Stat(dir); err == nil && st.Mode.IsDir() {
			return StateLoading
		}
		return StateAbsent
	}
	return StateUnknown
}

const modulesDisabledFile = "/proc/sys/kernel/modules_disabled"

// kernelRefuses is why the kernel would not accept a module, nil if it would
// (kernel/module/main.c: may_init_module, blacklisted, module_sig_check).
func (h *host) kernelRefuses(name string) *Evidence {
	if h.modulesDisabled {
		if token := noModuleToken(h.cmdline); token != "" {
			return &Evidence{File: procCmdline, Line: 1, Text: printable(token), Cause: CauseLoadingDisabled,
				Effect: "no module can be loaded in any boot with this argument"}
		}
		return &Evidence{File: modulesDisabledFile, Line: 1, Text: "1", Cause: CauseLoadingDisabled,
			Effect: "no module can be loaded any more until the next boot"}
	}
	if deniedByKernel(h.denied, name) {
		names := []string{name}
		for _, need := range h.needs {
			if name == h.target && deniedByKernel(h.denied, need.name) {
				names = append(names, need.name)
			}
		}
		e := h.deniedBy
		e.Effect = "the kernel refuses " + strings.Join(names, " and ") + " for every caller"
		return &e
	}
	if name == h.target {
		if e := h.initRefused(); e != nil {
			return e
		}
	}
	if h.signedOnly != "" {
		if file, err := h.moduleFile(name); err == nil && file != "" && h.signed(name, file) == AnswerFalse {
			return &Evidence{File: file, Cause: CauseDeniedByKernel,
				Effect: "has no signature, and this kernel takes signed modules only (" + h.signedOnly + ")"}
		}
	}
	return nil
}

// kernelRefusals is all because of which the kernel would not accept one of the
// modules: what is left when one thing after the other is taken away.
func (h *host) kernelRefusals(names []string) (list []Evidence) {
	left := *h
	for range maxListed {
		var e *Evidence
		for _, name := range names {
			e = cmp.Or(e, left.kernelRefuses(name))
		}
		if e == nil {
			break
		}
		list = append(list, *e)
		if e.File != procCmdline && e.File != modulesDisabledFile {
			break
		}
		token := noModuleToken(left.cmdline)
		if e.Cause == CauseDeniedByKernel {
			if _, token = kernelBlacklist(left.cmdline); printable(token) != e.Text {
				token = initcallToken(left.cmdline, h.init)
			}
		}
		var tokens []string
		for tok := range kernelarg.Tokens(left.cmdline) {
			if tok != token {
				tokens = append(tokens, tok)
			}
		}
		left.cmdline = strings.Join(tokens, " ")
		left.modulesDisabled = noModuleToken(left.cmdline) != ""
		if e.Cause == CauseDeniedByKernel {
			value, token := kernelBlacklist(left.cmdline)
			left.denied, left.deniedBy.Text = value, printable(token)
		}
	}
	return list
}

// initRefused is the argument because of which the kernel does not call the
// function of the target, compiled in or not.
func (h *host) initRefused() *Evidence {
	token := initcallToken(h.cmdline, h.init)
	if token == "" {
		return nil
	}
	return &Evidence{File: procCmdline, Line: 1, Text: printable(token), Cause: CauseDeniedByKernel,
		Effect: "the kernel does not call " + h.init + ", without which there is no " + h.target}
}

// signatureMark ends a module file that carries a signature
// (include/linux/module_signature.h, MODULE_SIG_STRING).
const signatureMark = "~Module signature appended~\n"

// signed reports whether a module's file has a signature. It does not look into a
// compressed file: of a module that is loaded, the kernel knows
// (kernel/module/main.c, TAINT_UNSIGNED_MODULE). Whether the kernel trusts a signature
// is not known.
func (h *host) signed(name, file string) Answer {
	if !strings.HasSuffix(file, ".ko") {
		taint, err := h.sys.ReadFile("module/" + name + "/taint")
		switch {
		case err != nil || !h.reads(sigEnforce):
			return AnswerUnknown
		case strings.Contains(taint, "E"):
			return AnswerFalse
		}
		return AnswerTrue
	}
	f, err := h.Open(file)
	if err != nil {
		return AnswerUnknown
	}
	defer f.Close()
	end := make([]byte, len(signatureMark))
	at := f.Info().Size - int64(len(end))
	if at < 0 {
		return AnswerFalse
	}
	if n, err := f.ReadAt(end, at); n < len(end) && err != nil {
		return AnswerUnknown
	}
	if string(end) != signatureMark {
		return AnswerFalse
	}
	return AnswerTrue
}

// allSigned is signed of the target and of all that it needs.
func (h *host) allSigned() Answer {
	all := AnswerTrue
	for _, m := range append([]neededModule{{h.target, h.file}}, h.needs...) {
		switch signed := h.signed(m.name, m.file); {
		case signed == AnswerFalse:
			return AnswerFalse
		case signed == AnswerUnknown && m.file != "":
			all = AnswerUnknown
		}
	}
	return all
}

// Where a kernel that can insist on signatures has that, below /sys.
const (
	sigEnforce = "module/module/parameters/sig_enforce"
	lockdown   = "kernel/security/lockdown"
)

func (h *host) reads(name string) bool {
	_, err := h.sys.ReadFile(name)
	return err == nil
}

// readSignedOnly finds out whether the kernel insists on signed modules
// (kernel/module/signing.c, module_sig_check).
func (h *host) readSignedOnly() {
	if v, err := h.sys.ReadFile(sigEnforce); err == nil && v == "Y\n" {
		h.signedOnly = "module.sig_enforce"
		return
	}
	// "none [integrity] confidentiality" (security/lockdown/lockdown.c); every
	// level but none includes LOCKDOWN_MODULE_SIGNATURE.
	v, err := h.sys.ReadFile(lockdown)
	if _, level, ok := strings.Cut(v, "["); err == nil && ok {
		if level, _, _ = strings.Cut(level, "]"); level != "none" {
			h.signedOnly = "lockdown: " + printable(level)
		}
	}
}

// readKernelPolicy reads what makes the kernel itself refuse modules or not ask
// for them.
func (h *host) readKernelPolicy() {
	// Without CONFIG_MODULES neither sysctl exists; then there is nothing to load.
	v, err := kernelLine(h.proc, "sys/kernel/modules_disabled")
	if err != nil && !hostroot.Absent(err) {
		h.problem(modulesDisabledFile, err)
	}
	h.readHelper()
	h.readSignedOnly()
	h.cmdline, h.cmdlineErr = h.proc.ReadFile("cmdline")
	if h.cmdlineErr == nil && len(h.cmdline) > maxCmdline {
		h.cmdline, h.cmdlineErr = "", hostroot.ErrTooLarge
	}
	if h.cmdlineErr != nil {
		h.problem(procCmdline, h.cmdlineErr)
	}
	h.modulesDisabled = v == "1" || v != "0" && noModuleToken(h.cmdline) != ""
	value, token := kernelBlacklist(h.cmdline)
	// The kernel's own result is better than our parsing, but only root may
	// read it.
	const param = "module/kernel/parameters/module_blacklist"
	if v, err := h.sys.ReadFile(param); err == nil {
		v = strings.TrimSuffix(v, "\n")
		if v == "(null)" { // an unset charp parameter (kernel/params.c)
			v = ""
		}
		if v != value {
			value, token = v, ""
		}
	}
	h.denied = value
	h.deniedBy = Evidence{File: procCmdline, Line: 1, Text: printable(token), Cause: CauseDeniedByKernel}
	if token == "" {
		h.deniedBy = Evidence{File: "/sys/" + param, Line: 1, Text: printable(value), Cause: CauseDeniedByKernel}
	}
}

// replaced reports whether there is no index of the running kernel's modules, but
// one of another kernel's.
func (h *host) isReplaced() bool {
	for _, name := range []string{indexDep, indexBuiltin} {
		if x := h.index(name); x.err == nil || !hostroot.Absent(x.err) {
			return false
		}
	}
	all := path.Dir(h.moddir)
	entries, err := h.ReadDir(all)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(entries, func(e hostroot.Entry) bool {
		st, err := h.Stat(path.Join(all, e.Name, indexDep))
		return err == nil && st.Mode.IsRegular()
	})
}

// moduleFile is the file of a module as the index names it, and whether it is
// there.
func (h *host) moduleFile(name string) (file string, err error) {
	m := h.indexed(name)
	if m == nil || m.file == "" {
		return "", nil
	}
	file = m.file
	st, err := h.Stat(file)
	if err != nil {
		return file, err
	}
	if !st.Mode.IsRegular() {
		return file, &fs.PathError{Op: "open", Path: file, Err: hostroot.ErrNotRegular}
	}
	return file, nil
}
