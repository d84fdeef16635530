package kmod

import (
	"bytes"
	"path"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
)

// compiledIn is what an index of modules.builtin does.
const compiledIn = "lists the module: it is compiled into the kernel"

// gatherBuiltin finds out whether the target is compiled into the kernel, and where that
// is written. modules.builtin.bin is what libkmod reads; the text file serves
// where only the kernel package's own files are there.
func (h *host) gatherBuiltin() {
	if _, h.builtin = h.search(indexBuiltin, h.target); h.builtin {
		h.builtinBy = Evidence{File: path.Join(h.moddir, indexBuiltin), Effect: compiledIn}
	} else if h.index(indexBuiltin).err != nil {
		h.builtinBy, h.builtin = h.readBuiltinText()
	}
}

// readBuiltinText looks for the target in the text of modules.builtin.
func (h *host) readBuiltinText() (Evidence, bool) {
	name := path.Join(h.moddir, "modules.builtin")
	data, _, err := readFile(h.Tree, name, maxConfigFile)
	if err != nil {
		if !hostroot.Absent(err) {
			h.problem(name, err)
		}
		return Evidence{}, false
	}
	number := 0
	for line := range bytes.Lines(data) {
		number++
		text := strings.TrimRight(string(line), "\n")
		if moduleName(path.Base(text)) == h.target {
			return Evidence{File: name, Line: number, Text: printable(text), Effect: compiledIn}, true
		}
	}
	return Evidence{}, false
}

// readState finds out what the running kernel has of the target.
func (h *host) readState() State {
	if h.builtin {
		return StateBuiltin
	}
	listed := h.procModules()
	switch s := h.initState(h.target); s {
	case StateLoaded, StateUnloading:
		return s
	case StateLoading:
		// libkmod calls a directory without initstate "coming". Only code
		// that is not a loadable module has such a directory for long.
		if _, err := h.sys.Stat("module/" + h.target + "/initstate"); err == nil || listed != StateAbsent {
			return StateLoading
		}
		return StateBuiltin
	case StateUnknown:
		if listed != StateAbsent {
			return listed
		}
		return StateUnknown
	}
	if listed != StateAbsent {
		return listed
	}
	switch {
	case h.noModules:
		return StateAbsent
	case h.file != "" && h.fileErr == nil:
		return StateLoadable
	case h.fileErr != nil && !hostroot.Absent(h.fileErr):
		return StateUnknown
	}
	return StateAbsent
}

// procModules is the module's state in /proc/modules. Absent if it is not
// listed; StateUnknown if the file cannot be read.
func (h *host) procModules() State {
	text, err := h.proc.ReadFile("modules")
	switch {
	case err == nil:
		state, users := listedState(text, h.target)
		h.users = strings.FieldsFunc(users, func(r rune) bool { return r == ',' || r == '-' })
		return state
	case hostroot.Absent(err):
		return StateAbsent // a kernel without loadable modules
	}
	return StateUnknown
}

// listedState reads a module's state, and which others use it, in the text of
// /proc/modules (kernel/module/procfs.c, m_show): NAME SIZE REFCNT USERS STATE ADDRESS.
func listedState(text, name string) (state State, users string) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 5 || fields[0] != name {
			continue
		}
		switch fields[4] {
		case "Live":
			return StateLoaded, fields[3]
		case "Loading":
			return StateLoading, ""
		case "Unloading":
			return StateUnloading, ""
		}
		return StateUnknown, ""
	}
	return StateAbsent, ""
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
