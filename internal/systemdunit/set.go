// Package systemdunit reads the unit files of a host root, and lists which units
// the next boot starts, by the rules of systemd.unit(5) and systemd.syntax(7).
// Only regular files are opened, of bounded size and number.
package systemdunit

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
)

// Dirs are the directories of system units, first wins. What systemd itself
// generates below /run does not last until the next boot, and is not among
// them.
func Dirs() []string {
	return []string{
		"/etc/systemd/system.control", "/etc/systemd/system", "/etc/systemd/system.attached", "/run/systemd/system",
		"/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system",
	}
}

const (
	maxFile  = 64 << 10 // of one unit file
	maxFiles = 800      // that are read
	maxUnits = 500      // that a boot starts
	// maxIncludes are followed: a file may name itself.
	maxIncludes = 16
)

var errTooMany = errors.New("more units than any real host has")

// Files is what is needed of a host root.
type Files interface {
	Stat(name string) (hostroot.Info, error)
	Readlink(name string) (string, error)
	Open(name string) (hostroot.File, error)
	ReadDir(name string) ([]hostroot.Entry, error)
}

// Set is the units of one host.
type Set struct {
	files Files
	// systemd is the earliest version whose rules may apply, latest the last one.
	systemd, latest int
	dirs            []unitDir
	left            int // files that may still be read
	// includes are those that were followed.
	includes int
	// Err is the first thing that could not be read, and ErrFile which.
	Err     error
	ErrFile string
	units   map[string]*Unit
	// aliases are the links to a unit, of those names that have directories.
	aliases map[string][]string
	// against are settings of units that a boot starts by which it may do without
	// another one.
	against map[string]Setting
	// doubts remembers the answers of doubt.
	doubts map[string]*Setting
	// removed are files that do not count; see Remove.
	removed map[string]bool
}

type unitDir struct {
	path    string
	entries map[string]fs.FileMode
}

// Read lists the directories of units, which one of the versions of systemd reads.
func Read(files Files, systemd ...int) *Set {
	s := &Set{files: files, systemd: slices.Min(systemd), latest: slices.Max(systemd), left: maxFiles, units: map[string]*Unit{}}
	seen := map[hostroot.ID]bool{}
	for _, dir := range Dirs() {
		st, err := files.Stat(dir)
		if err == nil && seen[st.ID] {
			continue // /lib is usr/lib
		}
		var entries []hostroot.Entry
		if err == nil {
			seen[st.ID] = true
			entries, err = files.ReadDir(dir)
		}
		if err != nil {
			s.fail(dir, err)
			continue
		}
		d := unitDir{dir, make(map[string]fs.FileMode, len(entries))}
		for _, e := range entries {
			d.entries[e.Name] = e.Mode
		}
		s.dirs = append(s.dirs, d)
	}
	s.aliases = s.findAliases()
	return s
}

// Empty reports whether the root has no directory of units.
func (s *Set) Empty() bool { return len(s.dirs) == 0 }

func (s *Set) fail(file string, err error) {
	if s.Err == nil && !hostroot.Absent(err) {
		s.Err, s.ErrFile = err, file
	}
}

// Mask masks a unit, as an argument of the kernel does; file is what it stands in.
func (s *Set) Mask(name, file string) {
	s.units[name] = &Unit{Name: name, File: file, Masked: true}
}

// Remove takes a file away: a unit's own, a drop-in or a link that pulls a unit in.
// Conditions, Load and Pulled go by what is left then.
func (s *Set) Remove(file string) {
	if s.removed == nil {
		s.removed = map[string]bool{}
	}
	s.removed[file], s.units = true, map[string]*Unit{}
}

// Load finds a unit and its drop-ins.
func (s *Set) Load(name string) *Unit {
	if u := s.units[name]; u != nil {
		return u
	}
	u := &Unit{Name: name, systemd: s.systemd, latest: s.latest}
	s.units[name] = u
	if !s.loadFile(u, name) {
		if template := templateOf(name); template != "" {
			s.loadFile(u, template)
		}
	}
	if u.File == "" || u.Masked || u.Err != nil {
		return u
	}
	s.addDropIns(u, name)
	return u
}

// Shipped is a unit that the host's systemd has and this root has not: its text, with
// the drop-ins that are in the root. file is where the host has it.
func (s *Set) Shipped(name, file, text string) *Unit {
	u := &Unit{Name: name, File: file, Settings: s.parse(file, []byte(text)), systemd: s.systemd, latest: s.latest}
	s.addDropIns(u, name)
	return u
}

func (s *Set) addDropIns(u *Unit, name string) {
	for _, file := range s.dropIns(name) {
		data, _, err := s.read(file)
		if err != nil {
			if !isNull(err) && !hostroot.Absent(err) {
				u.Err = err
				s.fail(file, err)
			}
			continue
		}
		u.Settings = append(u.Settings, s.parse(file, data)...)
	}
}

// loadFile reads the unit's own file of the first directory that has one.
func (s *Set) loadFile(u *Unit, name string) bool {
	for _, d := range s.dirs {
		mode, ok := s.entry(d, name)
		if !ok || s.removed[path.Join(d.path, name)] {
			continue
		}
		u.File = path.Join(d.path, name)
		if mode&fs.ModeSymlink != 0 {
			if target, err := s.files.Readlink(u.File); err == nil && s.isAlias(name, path.Base(target)) {
				u.alias = path.Base(target)
			}
		}
		data, changed, err := s.read(u.File)
		switch {
		case isNull(err), err == nil && len(data) == 0:
			u.Masked = true
		case err != nil:
			u.Err = err
			s.fail(u.File, err)
		default:
			u.Settings, u.Changed = s.parse(u.File, data), changed
		}
		return true
	}
	return false
}

func isNull(err error) bool { return errors.Is(err, hostroot.ErrNullDevice) }

func (s *Set) read(name string) ([]byte, time.Time, error) {
	if s.left--; s.left < 0 {
		s.fail(name, errTooMany)
		return nil, time.Time{}, errTooMany
	}
	f, err := s.files.Open(name)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer f.Close()
	data, err := f.ReadAll(maxFile)
	return data, f.Info().Changed, err
}
