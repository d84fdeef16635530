// Package systemdunit reads the unit files of a host root, and lists which units
// the next boot starts, by the rules of systemd.unit(5) and systemd.syntax(7).
// Only regular files are opened, of bounded size and number.
package systemdunit

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
)

// Dirs are the directories of system units, first wins. What systemd itself
// generates below /run does not last until the next boot, and is not among
// them.
func Dirs() []string {
	return []string{
		"/etc/systemd/system.control", "/etc/systemd/system", "/run/systemd/system",
		"/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system",
	}
}

const (
	maxFile  = 64 << 10 // of one unit file
	maxFiles = 800      // that are read
	maxUnits = 500      // that a boot starts
)

var errTooMany = errors.New("more units than any real host has")

// Files is what is asked of a host root.
type Files interface {
	Stat(name string) (hostroot.Info, error)
	Readlink(name string) (string, error)
	Open(name string) (hostroot.File, error)
	ReadDir(name string) ([]hostroot.Entry, error)
}

// Set is the units of one host.
type Set struct {
	files Files
	dirs  []unitDir
	left  int // files that may still be read
	// Err is the first thing that could not be read, and ErrFile which.
	Err     error
	ErrFile string
	units   map[string]*Unit
}

type unitDir struct {
	path    string
	entries map[string]fs.FileMode
}

// Read lists the directories of units.
func Read(files Files) *Set {
	s := &Set{files: files, left: maxFiles, units: map[string]*Unit{}}
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
	return s
}

// Empty says that the root has no directory of units.
func (s *Set) Empty() bool { return len(s.dirs) == 0 }

func (s *Set) fail(file string, err error) {
	if s.Err == nil && !hostroot.Absent(err) {
		s.Err, s.ErrFile = err, file
	}
}

// Unit is a unit with its drop-ins.
type Unit struct {
	Name string
	// File is the unit's own file, "" if it has none.
	File string
	// Masked: it cannot be started (systemd.unit(5)).
	Masked   bool
	Settings []Setting
	Changed  time.Time
	// Err is why it is not known in full.
	Err error
	// Triggered: a timer, a path or a socket may start it, and nothing else does.
	Triggered bool
	// alias is another name that this one is a link to.
	alias string
}

// Vendor says that the unit's own file is the distribution's.
func (u *Unit) Vendor() bool { return vendor(u.File) }

// Load finds a unit and its drop-ins.
func (s *Set) Load(name string) *Unit {
	if u := s.units[name]; u != nil {
		return u
	}
	u := &Unit{Name: name}
	s.units[name] = u
	if !s.loadFile(u, name) {
		if template := templateOf(name); template != "" {
			s.loadFile(u, template)
		}
	}
	if u.File == "" || u.Masked || u.Err != nil {
		return u
	}
	for _, file := range s.dropIns(name) {
		data, _, err := s.read(file)
		if err != nil {
			if !isNull(err) && !hostroot.Absent(err) {
				u.Err = err
				s.fail(file, err)
			}
			continue
		}
		u.Settings = append(u.Settings, parse(file, data)...)
	}
	return u
}

// loadFile reads the unit's own file of the first directory that has one.
func (s *Set) loadFile(u *Unit, name string) bool {
	for _, d := range s.dirs {
		mode, ok := d.entries[name]
		if !ok {
			continue
		}
		u.File = path.Join(d.path, name)
		if mode&fs.ModeSymlink != 0 {
			if target, err := s.files.Readlink(u.File); err == nil && path.Base(target) != name {
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
			u.Settings, u.Changed = parse(u.File, data), changed
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

func templateOf(name string) string {
	prefix, rest, ok := strings.Cut(name, "@")
	dot := strings.LastIndexByte(rest, '.')
	if !ok || dot <= 0 {
		return ""
	}
	return prefix + "@" + rest[dot:]
}

// dropInNames are the names of directories for drop-ins of a unit, without ".d":
// its own, its template's, and those of its name cut after each "-".
func dropInNames(name string) []string {
	names := []string{name}
	if template := templateOf(name); template != "" {
		names = append(names, template)
	}
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return names
	}
	for prefix := name[:dot]; ; {
		dash := strings.LastIndexByte(strings.TrimRight(prefix, "-"), '-')
		if dash < 0 {
			return names
		}
		prefix = prefix[:dash+1]
		names = append(names, prefix+name[dot:])
	}
}

// dropIns are the drop-ins of a unit in the order of reading: by name over all
// directories, of one name the first.
func (s *Set) dropIns(name string) (files []string) {
	taken := map[string]bool{}
	take := func(d unitDir, sub string) {
		if _, ok := d.entries[sub]; !ok {
			return
		}
		dir := path.Join(d.path, sub)
		entries, err := s.files.ReadDir(dir)
		if err != nil {
			s.fail(dir, err)
			return
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name, ".conf") && !strings.HasPrefix(e.Name, ".") && !taken[e.Name] {
				taken[e.Name] = true
				files = append(files, path.Join(dir, e.Name))
			}
		}
	}
	names := dropInNames(name)
	for _, d := range s.dirs {
		for _, n := range names {
			take(d, n+".d")
		}
	}
	kind := path.Ext(name)
	for _, d := range s.dirs {
		take(d, strings.TrimPrefix(kind, ".")+".d")
	}
	slices.SortStableFunc(files, func(a, b string) int { return strings.Compare(path.Base(a), path.Base(b)) })
	return files
}

// Pulled says whether a link in WANTER.wants or WANTER.requires pulls a unit in;
// masked names the link to /dev/null that stands in its place.
func (s *Set) Pulled(wanter, name string) (pulled bool, masked string) {
	for _, kind := range []string{".wants", ".requires"} {
		for _, d := range s.dirs {
			if _, ok := d.entries[wanter+kind]; !ok {
				continue
			}
			link := path.Join(d.path, wanter+kind, name)
			target, err := s.files.Readlink(link)
			if err != nil {
				continue
			}
			if target == "/dev/null" {
				masked = link
				break
			}
			return true, ""
		}
	}
	return false, masked
}

// pulls are the names of units that a unit brings along.
func (s *Set) pulls(u *Unit) (names []string) {
	for _, kind := range []string{".wants", ".requires", ".upholds"} {
		taken := map[string]bool{}
		for _, d := range s.dirs {
			if _, ok := d.entries[u.Name+kind]; !ok {
				continue
			}
			dir := path.Join(d.path, u.Name+kind)
			entries, err := s.files.ReadDir(dir)
			if err != nil {
				s.fail(dir, err)
				continue
			}
			for _, e := range entries {
				if taken[e.Name] {
					continue
				}
				taken[e.Name] = true
				if target, err := s.files.Readlink(path.Join(dir, e.Name)); err == nil && target != "/dev/null" {
					names = append(names, e.Name)
				}
			}
		}
	}
	for _, key := range []string{"Wants", "Requires", "BindsTo", "Upholds"} {
		for _, v := range u.Values("Unit", key) {
			for _, name := range strings.Fields(v.Value) {
				if text, ok := u.expand(name); ok {
					names = append(names, text)
				}
			}
		}
	}
	return names
}

// Started are the services that a boot into the target starts, as far as units
// bring each other along, and those that a timer, a path or a socket of that boot
// may start (Unit.Triggered). target "" is the host's default.
func (s *Set) Started(target string, also ...string) (services []*Unit) {
	if target == "" {
		target = "default.target"
		if s.Load(target).File == "" {
			target = "graphical.target"
		}
	}
	queue := append([]string{"sysinit.target", "basic.target", target}, also...)
	if u := s.Load(target); u.File == "" {
		queue = append(queue, "multi-user.target")
	}
	var triggered []string
	seen := map[string]bool{}
	for sure := true; ; {
		if len(queue) == 0 {
			if !sure || len(triggered) == 0 {
				return services
			}
			sure, queue = false, triggered
		}
		name := queue[0]
		queue = queue[1:]
		kind := path.Ext(name)
		if seen[name] || strings.Contains(name, "/") || !slices.Contains([]string{".service", ".target", ".timer", ".path", ".socket"}, kind) {
			continue
		}
		seen[name] = true
		if len(seen) > maxUnits {
			s.fail(name, errTooMany)
			return services
		}
		u := s.Load(name)
		if u.Masked {
			continue
		}
		if u.alias != "" && u.alias != templateOf(name) && path.Ext(u.alias) == kind {
			// What default.target.wants has belongs to the unit that it is.
			queue = append(append(queue, u.alias), s.pulls(&Unit{Name: name})...)
			continue
		}
		switch kind {
		case ".service":
			if u.File != "" {
				u.Triggered = !sure
				services = append(services, u)
			}
		case ".timer", ".path", ".socket":
			section := map[string]string{".timer": "Timer", ".path": "Path", ".socket": "Socket"}[kind]
			started := []Setting{{Value: strings.TrimSuffix(name, kind) + ".service"}}
			for _, key := range []string{"Unit", "Service"} {
				if v := u.Values(section, key); len(v) > 0 {
					started = v
				}
			}
			for _, v := range started {
				triggered = append(triggered, v.Value)
			}
		}
		queue = append(queue, s.pulls(u)...)
	}
}
