package kmod

import (
	"context"
	"slices"

	"github.com/sctp-agent/sctp-agent/internal/fnmatch"
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
	// noModules: this kernel takes none.
	noModules bool
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
	signedOnly      string    // what makes it insist on signatures, "" if nothing
	selinux         *Evidence // because of which nothing may be let load modules

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
	// called has the names in scripts that were followed without finding the target, and to
	// which depth.
	called map[string]int
	// late are directories of file systems that the boot mounts after it has read files
	// about modules.
	late []string
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

// copy is a host of which something else holds. What could not be read is noted in
// each by itself.
func (h *host) copy() *host {
	other := *h
	other.problems = slices.Clip(h.problems)
	return &other
}

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
