package kmod

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
)

// configDirs are directories of one kind of configuration as they are on disk; the
// rules of each version are applied later.
type configDirs struct {
	dirs map[string]*configDir
	// deep are the directories that systemd does not find up to 257: more than 31
	// links lead there (src/basic/chase-symlinks.c, CHASE_SYMLINKS_MAX).
	deep  map[string]bool
	extra map[string]configEntry // files that libkmod sorts into the same list, by path
}

// configDir is one directory. Two names of one directory have the same entries.
type configDir struct {
	id      hostroot.ID // zero where it could not be looked at
	err     error       // why it could not be read; errTooMuch: not to its end
	entries []configEntry
	// file is what has the directory's name and is not a directory.
	file *configEntry
}

type configEntry struct {
	name  string
	isDir bool
	data  []byte
	mtime time.Time
	err   error // why data could not be read
}

// gatherConfig reads the directories, each once, and of each the files whose
// names are wanted. limit is how much is read of all files together, in bytes.
func gatherConfig(root *hostroot.Tree, dirs []string, want func(name string) bool, limit int64, extra ...string) configDirs {
	g := configDirs{dirs: map[string]*configDir{}, deep: map[string]bool{}, extra: map[string]configEntry{}}
	read := func(name string) configEntry {
		e := configEntry{name: path.Base(name)}
		e.data, e.mtime, e.err = readFile(root, name, maxConfigFile)
		limit -= int64(len(e.data))
		return e
	}
	for _, name := range extra {
		g.extra[name] = read(name)
	}
	byID := map[hostroot.ID]*configDir{}
	for _, dir := range dirs {
		st, err := root.Stat(dir)
		g.deep[dir] = root.TooDeep(dir, 31)
		switch {
		case err != nil:
			g.dirs[dir] = &configDir{err: err}
		case !st.Mode.IsDir():
			e := read(dir)
			g.dirs[dir] = &configDir{file: &e}
		case byID[st.ID] != nil:
			g.dirs[dir] = byID[st.ID] // /lib is usr/lib
		default:
			d := &configDir{id: st.ID}
			g.dirs[dir], byID[st.ID] = d, d
			var entries []hostroot.Entry
			if entries, d.err = root.ReadDir(dir); d.err != nil {
				break
			}
			d.entries = make([]configEntry, 0, len(entries))
			for _, entry := range entries {
				e := configEntry{name: entry.Name, isDir: entry.Mode.IsDir()}
				if !e.isDir && want(e.name) {
					if e = read(dir + "/" + e.name); limit < 0 {
						d.err = errTooMuch
						break
					}
				}
				d.entries = append(d.entries, e)
			}
		}
	}
	return g
}

// configFile is one file that takes part, or one that is shadowed by a file of
// the same name in a directory of higher rank.
type configFile struct {
	name       string // base name, the sorting key
	path       string // as the host names it, made printable
	data       []byte
	mtime      time.Time
	err        error  // why it could not be read; nil if it was, or if it does not exist
	shadowedBy string // path of the file that takes its place
}

// fileRule is the part of the rules that differs between modprobe.d and
// modules-load.d.
type fileRule struct {
	// accept is the test of an entry's name.
	accept func(name string) bool
	// dirMasks: a sub-directory takes the place of a lower file of its name.
	dirMasks bool
	// danglingMasks: so does a dangling link.
	danglingMasks bool
	// dirShallow: a directory behind very many links is not found.
	dirShallow bool
	// dirMayBeFile: a regular file in the place of the directory is read as
	// one configuration file.
	dirMayBeFile bool
}

// modprobeRule is conf_files_filter_out of libkmod-config.c.
func modprobeRule(kmod int) fileRule {
	return fileRule{
		accept: func(name string) bool {
			if strings.HasPrefix(name, ".") || len(name) < 6 {
				return false
			}
			return strings.HasSuffix(name, ".conf") || kmod <= 32 && strings.HasSuffix(name, ".alias")
		},
		danglingMasks: kmod <= 33,
		dirMayBeFile:  true,
	}
}

// modulesLoadRule is conf_files_list_strv of systemd (src/basic/conf-files.c) with
// no flags, as src/modules-load/modules-load.c calls it. Newer versions (262, not
// 257) skip an entry that is neither a file nor a link to one, so that the next
// directory's file of that name counts.
func modulesLoadRule(systemd int) fileRule {
	return fileRule{
		accept:        func(name string) bool { return strings.HasSuffix(name, ".conf") && !strings.HasPrefix(name, ".") },
		dirMasks:      systemd <= 257,
		dirShallow:    systemd <= 257,
		danglingMasks: systemd <= 257,
	}
}

// configSet is the files that one version reads from a list of directories.
type configSet struct {
	files    []configFile // in the order of reading
	shadowed []configFile
	strays   []configFile // whose names do not count
	dirErrs  []dirError
}

type dirError struct {
	dir string
	err error
}

// byPath finds the files that take part.
func (set *configSet) byPath() map[string]*configFile {
	files := make(map[string]*configFile, len(set.files))
	for i := range set.files {
		files[set.files[i].path] = &set.files[i]
	}
	return files
}

// set puts the files of several directories in order: first wins by base name,
// sorted by base name in byte order over all of them. extra are files that
// libkmod sorts into the same list; they are optional.
func (g configDirs) set(dirs []string, rule fileRule, extra ...string) configSet {
	var set configSet
	taken := map[string]string{} // base name -> path
	add := func(f configFile) {
		if by, ok := taken[f.name]; ok {
			if by != f.path {
				f.shadowedBy = by
				set.shadowed = append(set.shadowed, f)
			}
			return
		}
		taken[f.name] = f.path
		set.files = append(set.files, f)
	}
	for _, name := range extra {
		add(g.extra[name].file(name))
	}
	seen := map[hostroot.ID]bool{}
	for _, dir := range dirs {
		if rule.dirShallow && g.deep[dir] {
			continue
		}
		d := g.dirs[dir]
		if d.file != nil {
			if rule.dirMayBeFile {
				add(d.file.file(dir))
			}
			continue
		}
		if d.id != (hostroot.ID{}) && seen[d.id] {
			continue // nothing new under a second name
		}
		seen[d.id] = true
		set.files = slices.Grow(set.files, len(d.entries))
		for _, e := range d.entries {
			set.take(e, dir+"/"+e.name, rule, add)
		}
		if d.err != nil && !hostroot.Absent(d.err) {
			set.dirErrs = append(set.dirErrs, dirError{dir, d.err})
		}
	}
	slices.SortFunc(set.files, func(a, b configFile) int { return strings.Compare(a.name, b.name) })
	return set
}

// take decides what one entry of a directory is.
func (set *configSet) take(e configEntry, full string, rule fileRule, add func(configFile)) {
	f := e.file(printableName(full))
	switch {
	case !rule.accept(e.name):
		set.strays = append(set.strays, f)
		return
	case e.isDir && !rule.dirMasks:
		return
	case errors.Is(e.err, syscall.EISDIR) && !rule.dirMasks:
		return // a link to a directory is a directory to fstatat
	case hostroot.Absent(e.err) || errors.Is(e.err, syscall.ELOOP):
		if !rule.danglingMasks {
			return
		}
	}
	add(f)
}

// file is the entry under the path by which the host names it.
func (e configEntry) file(path string) configFile {
	return configFile{name: e.name, path: path, data: e.data, mtime: e.mtime, err: readError(e.err)}
}

// readError keeps the errors that leave something unknown: a file that is not
// there, a directory, and the null device have nothing to read.
func readError(err error) error {
	switch {
	case err == nil, hostroot.Absent(err), errors.Is(err, hostroot.ErrNullDevice), errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.ELOOP):
		return nil
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe
	}
	return err
}
