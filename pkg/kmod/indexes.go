package kmod

import (
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
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

// isReplaced reports whether there is no index of the running kernel's modules, but
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
