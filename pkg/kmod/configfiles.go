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
	// danglingMasks: so does a link that leads nowhere.
	danglingMasks bool
	// dirMayBeFile: a regular file in the place of the directory is read as
	// one configuration file.
	dirMayBeFile bool
	// limit is how much is read of all files together, in bytes.
	limit int64
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
		limit:         maxModprobeSet,
	}
}

// modulesLoadRule is conf_files_list_strv of systemd (src/basic/conf-files.c)
// with no flags, as src/modules-load/modules-load.c calls it.
func modulesLoadRule() fileRule {
	return fileRule{
		accept:        func(name string) bool { return strings.HasSuffix(name, ".conf") && !strings.HasPrefix(name, ".") },
		dirMasks:      true,
		danglingMasks: true,
		limit:         maxLoadSet,
	}
}

// configSet is the outcome of reading a list of directories.
type configSet struct {
	files    []configFile // in the order of reading
	shadowed []configFile
	strays   []string // entries whose names do not count
	dirErrs  []dirError
	left     int64 // what may still be read, in bytes
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

// readConfigSet reads the files of several directories, first wins by base
// name, sorted by base name in byte order over all of them. extra are files
// that libkmod sorts into the same list; they are optional.
func readConfigSet(root hostFS, dirs []string, rule fileRule, extra ...string) configSet {
	set := configSet{left: rule.limit}
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
		data, mtime, err := readFile(root, name, maxConfigFile)
		set.left -= int64(len(data))
		add(configFile{name: path.Base(name), path: name, data: data, mtime: mtime, err: readError(err)})
	}
	seen := map[hostroot.ID]bool{}
	for _, dir := range dirs {
		set.readDir(root, dir, rule, seen, add)
	}
	slices.SortFunc(set.files, func(a, b configFile) int { return strings.Compare(a.name, b.name) })
	return set
}

func (set *configSet) readDir(root hostFS, dir string, rule fileRule, seen map[hostroot.ID]bool, add func(configFile)) {
	st, err := root.Stat(dir)
	if err != nil {
		if !hostroot.Absent(err) {
			set.dirErrs = append(set.dirErrs, dirError{dir, err})
		}
		return
	}
	if !st.Mode.IsDir() {
		if rule.dirMayBeFile {
			data, mtime, err := readFile(root, dir, maxConfigFile)
			set.left -= int64(len(data))
			add(configFile{name: path.Base(dir), path: dir, data: data, mtime: mtime, err: readError(err)})
		}
		return
	}
	// The same directory under a second name (/lib is usr/lib) has nothing new.
	if seen[st.ID] {
		return
	}
	seen[st.ID] = true
	entries, err := root.ReadDir(dir)
	if err != nil {
		if !hostroot.Absent(err) {
			set.dirErrs = append(set.dirErrs, dirError{dir, err})
		}
		return
	}
	set.files = slices.Grow(set.files, len(entries))
	for _, e := range entries {
		full := dir + "/" + e.Name
		if !rule.accept(e.Name) {
			set.strays = append(set.strays, full)
			continue
		}
		f := configFile{name: e.Name, path: printableName(full)}
		if e.Mode.IsDir() {
			if rule.dirMasks {
				add(f)
			}
			continue
		}
		f.data, f.mtime, err = readFile(root, full, maxConfigFile)
		if set.left -= int64(len(f.data)); set.left < 0 {
			set.dirErrs = append(set.dirErrs, dirError{dir, errTooMuch})
			return
		}
		switch {
		case errors.Is(err, syscall.EISDIR) && !rule.dirMasks:
			continue // a link to a directory is a directory to fstatat
		case err != nil && hostroot.Absent(err) || errors.Is(err, syscall.ELOOP):
			if !rule.danglingMasks {
				continue
			}
		default:
			f.err = readError(err)
		}
		add(f)
	}
}

// readError keeps the errors that leave something unknown: a file that is not
// there, a directory, and the null device have nothing to read.
func readError(err error) error {
	switch {
	case err == nil, hostroot.Absent(err), errors.Is(err, hostroot.ErrNullDevice), errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.ELOOP):
		return nil
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe
	}
	return err
}
