// Package systemdunit reads the unit files of a host root, and lists which units
// the next boot starts, by the rules of systemd.unit(5) and systemd.syntax(7).
// Only regular files are opened, of bounded size and number.
package systemdunit

import (
	"errors"
	"io/fs"
	"maps"
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

// dirSuffixes are those of directories that add to a unit.
var dirSuffixes = []string{".wants", ".requires", ".upholds", ".d"}

// findAliases finds the units whose other names have directories: these add to the
// unit, too. Most links to units are of no interest.
func (s *Set) findAliases() map[string][]string {
	aliases := map[string][]string{}
	for _, d := range s.dirs {
		for entry := range d.entries {
			suffix := path.Ext(entry)
			alias := strings.TrimSuffix(entry, suffix)
			if !slices.Contains(dirSuffixes, suffix) {
				continue
			}
			if name := s.aliasOf(alias); name != alias && !slices.Contains(aliases[name], alias) {
				aliases[name] = append(aliases[name], alias)
			}
		}
	}
	for _, list := range aliases {
		slices.Sort(list)
	}
	return aliases
}

// entry is what a directory has under a unit's name. A link to the same name in one of
// the directories does not count, wherever it leads (src/shared/unit-file.c,
// unit_file_build_name_map; seen from 247 on).
func (s *Set) entry(d unitDir, name string) (mode fs.FileMode, ok bool) {
	mode, ok = d.entries[name]
	if !ok || mode&fs.ModeSymlink == 0 || s.systemd < 247 {
		return mode, ok
	}
	link, err := s.files.Readlink(path.Join(d.path, name))
	if err != nil || path.Base(link) != name {
		return mode, true
	}
	if !path.IsAbs(link) {
		link = path.Join(d.path, link)
	}
	dir := path.Dir(path.Clean(link))
	return mode, !slices.Contains(Dirs(), dir) && !slices.Contains(Dirs(), "/usr"+dir)
}

// aliasOf follows the links of a name to the unit that it is an alias of.
func (s *Set) aliasOf(name string) string {
	for range 8 {
		target := name
		for _, d := range s.dirs {
			mode, ok := s.entry(d, name)
			if !ok {
				continue
			}
			if mode&fs.ModeSymlink != 0 {
				if link, err := s.files.Readlink(path.Join(d.path, name)); err == nil && s.isAlias(name, path.Base(link)) {
					target = path.Base(link)
				}
			}
			break
		}
		if target == name {
			break
		}
		name = target
	}
	return name
}

// isAlias reports whether a link of one name to a file of another makes two names
// of one unit (src/shared/install.c, unit_validate_alias_symlink_or_warn). A link
// from an instance to its template does not.
func (s *Set) isAlias(name, target string) bool {
	fits := !strings.Contains(name, "@") && !strings.Contains(target, "@.") ||
		strings.Contains(name, "@") && strings.Contains(target, "@") && (&Unit{Name: name}).instance() == (&Unit{Name: target}).instance()
	return fits && target != name && path.Ext(target) == path.Ext(name) &&
		slices.ContainsFunc(s.dirs, func(d unitDir) bool { _, ok := d.entries[target]; return ok })
}

// Empty reports whether the root has no directory of units.
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
	// Perhaps is why it is not sure that a boot starts it, "" if it is.
	Perhaps string
	// alias is another name that this one is a link to.
	alias string
	// systemd and latest are the set's.
	systemd, latest int
}

// Vendor: the unit's own file is the distribution's.
func (u *Unit) Vendor() bool { return vendor(u.File) }

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

func templateOf(name string) string {
	prefix, rest, ok := strings.Cut(name, "@")
	dot := strings.LastIndexByte(rest, '.')
	if !ok || dot <= 0 {
		return ""
	}
	return prefix + "@" + rest[dot:]
}

// dirNames are the names of directories that add to a unit, without their suffixes: its
// own, its template's, and those of its name cut after each "-"
// (src/shared/dropin.c, unit_file_find_dirs).
func dirNames(name string) []string {
	names := []string{name}
	if template := templateOf(name); template != "" {
		names = append(names, dirNames(template)...)
	}
	kind := path.Ext(name)
	prefix, instance, _ := strings.Cut(strings.TrimSuffix(name, kind), "@")
	dash := strings.LastIndexByte(strings.TrimSuffix(prefix, "-"), '-')
	if dash <= 0 {
		return names
	}
	if prefix = prefix[:dash+1]; instance != "" {
		prefix += "@" + instance
	}
	return append(names, dirNames(prefix+kind)...)
}

// eachDir goes through the directories that add to a unit, first wins, with which of the
// unit's names it is that they are of, "" for all units of its type
// (src/shared/dropin.c, unit_file_find_dropin_paths).
func (s *Set) eachDir(unit, suffix string, take func(name, dir string)) {
	try := func(name string, subs ...string) {
		for _, d := range s.dirs {
			for _, sub := range subs {
				if _, ok := d.entries[sub+suffix]; ok {
					take(name, path.Join(d.path, sub+suffix))
				}
			}
		}
	}
	for _, name := range append([]string{unit}, s.aliases[unit]...) {
		try(name, dirNames(name)...)
	}
	try("", strings.TrimPrefix(path.Ext(unit), "."))
}

// dropIns are the drop-ins of a unit in the order of reading: by name over all
// directories, of one name the first.
func (s *Set) dropIns(name string) (files []string) {
	taken := map[string]bool{}
	s.eachDir(name, ".d", func(_, dir string) {
		entries, err := s.files.ReadDir(dir)
		if err != nil {
			s.fail(dir, err)
			return
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name, ".conf") && !strings.HasPrefix(e.Name, ".") && !taken[e.Name] && !s.removed[path.Join(dir, e.Name)] {
				taken[e.Name] = true
				files = append(files, path.Join(dir, e.Name))
			}
		}
	})
	slices.SortStableFunc(files, func(a, b string) int { return strings.Compare(path.Base(a), path.Base(b)) })
	return files
}

// Pulled reports whether a link in WANTER.wants or WANTER.requires pulls a unit in;
// masked names the link to /dev/null, or the file, that replaces it.
func (s *Set) Pulled(wanter, name string) (pulled bool, masked string) {
	for _, kind := range []string{".wants", ".requires"} {
		for _, d := range s.dirs {
			if _, ok := d.entries[wanter+kind]; !ok {
				continue
			}
			link := path.Join(d.path, wanter+kind, name)
			if s.removed[link] {
				continue
			}
			target, err := s.files.Readlink(link)
			if err == nil && target != "/dev/null" {
				return true, ""
			}
			if st, statErr := s.files.Stat(link); err == nil || statErr == nil && st.Mode.IsRegular() {
				masked = link
				break
			}
		}
	}
	return false, masked
}

// WantedBy are the links by which other units bring this one along.
func (s *Set) WantedBy(name string) (links []string) {
	for _, d := range s.dirs {
		for entry := range d.entries {
			if !slices.Contains(dirSuffixes[:3], path.Ext(entry)) {
				continue
			}
			dir := path.Join(d.path, entry)
			list, _ := s.files.ReadDir(dir)
			if slices.ContainsFunc(list, func(e hostroot.Entry) bool { return e.Name == name }) {
				links = append(links, path.Join(dir, name))
			}
		}
	}
	return links
}

// linked are the names of units that links in a directory of a unit bring along,
// with the directories. Of one name the first directory decides; which of a unit's
// names comes first is left to chance (src/shared/dropin.c goes through a set).
func (s *Set) linked(u *Unit, suffix string) (list []Setting) {
	files, masked := map[string]string{}, map[string]bool{}
	var order []string
	taken := map[[2]string]bool{}
	s.eachDir(u.Name, suffix, func(name, dir string) {
		entries, err := s.files.ReadDir(dir)
		if err != nil {
			s.fail(dir, err)
			return
		}
		for _, e := range entries {
			if taken[[2]string{name, e.Name}] {
				continue
			}
			taken[[2]string{name, e.Name}] = true
			if target, err := s.files.Readlink(path.Join(dir, e.Name)); err != nil || target == "/dev/null" {
				masked[e.Name] = true
			} else if files[e.Name] == "" {
				files[e.Name] = path.Join(dir, e.Name)
				order = append(order, e.Name)
			}
		}
	})
	for _, name := range order {
		file := files[name]
		list = append(list, s.instances(u, Setting{Value: name, File: file, Vendor: vendor(file), perhaps: masked[name]})...)
	}
	return list
}

// named are the units that settings of a unit name. Unlike other lists, these
// cannot be cleared (systemd.unit(5)).
func (s *Set) named(u *Unit, keys ...string) (list []Setting) {
	for _, v := range u.Settings {
		if v.Section != "Unit" && v.Key != "Sockets" && v.Key != "Slice" || !slices.Contains(keys, v.Key) {
			continue
		}
		for _, name := range words(v.Value) {
			text, ok := u.expand(name)
			if !ok {
				text, ok = u.expand(u.byName(name))
				v.perhaps = true
			}
			if ok {
				v.Value = text
				list = append(list, s.instances(u, v)...)
			}
		}
	}
	return list
}

// instances are those of a template that a unit names without one: the unit's own
// instance, or else the unit's name (src/core/unit.c, resolve_template), and of its
// names that which systemd has met first.
func (s *Set) instances(u *Unit, v Setting) (list []Setting) {
	prefix, suffix, template := strings.Cut(v.Value, "@.")
	if !template {
		return []Setting{v}
	}
	instances := []string{u.instance()}
	if instances[0] == "" {
		instances[0] = strings.TrimSuffix(u.Name, path.Ext(u.Name))
		for _, d := range s.dirs {
			for name := range d.entries {
				if name != u.Name && s.aliasOf(name) == u.Name {
					instances = append(instances, strings.TrimSuffix(name, path.Ext(name)))
				}
			}
		}
		slices.Sort(instances)
		instances = slices.Compact(instances)
	}
	v.perhaps = v.perhaps || len(instances) > 1
	for _, instance := range instances {
		v.Value = prefix + "@" + instance + "." + suffix
		list = append(list, v)
	}
	return list
}

// late reports whether a unit has the dependencies by which it is started after
// sysinit.target (systemd.service(5), "Default Dependencies"), and by which
// setting, if there is one.
func (u *Unit) late() (late bool, by Setting) {
	late = path.Ext(u.Name) != ".target"
	for _, v := range u.Values("Unit", "DefaultDependencies") {
		late, by = late && !isNo(v.Value) || isYes(v.Value), v
	}
	return late, by
}

// defaults reports whether a unit has the default dependencies of its type.
func (u *Unit) defaults() bool {
	yes := true
	for _, v := range u.Values("Unit", "DefaultDependencies") {
		yes = yes && !isNo(v.Value) || isYes(v.Value)
	}
	return yes
}

// Early says that a unit may be started before sysinit.target is reached.
func (u *Unit) Early() bool {
	late, _ := u.late()
	return !late
}

// required are the units without which a unit is not started.
func (s *Set) required(u *Unit) []Setting {
	list := append(s.named(u, "Requires", "BindsTo"), s.inSlice(u)...)
	for _, v := range s.linked(u, ".requires") {
		v.Key = "Requires"
		list = append(list, v)
	}
	return list
}

// pulls are the names of units that a unit surely brings along, and of those that
// it may: by chance, or with a later version of systemd.
func (s *Set) pulls(u *Unit) (names, perhaps []string) {
	add := func(since int, list []Setting) {
		for _, v := range list {
			if s.systemd >= since && !v.perhaps {
				names = append(names, v.Value)
			} else {
				perhaps = append(perhaps, v.Value)
			}
		}
	}
	add(0, s.linked(u, ".wants"))
	add(0, s.required(u))
	add(0, s.named(u, "Wants", "Sockets"))
	add(249, s.named(u, "Upholds"))
	add(254, s.linked(u, ".upholds"))
	return names, perhaps
}

// kinds are the types of units that are read.
var kinds = []string{".service", ".target", ".timer", ".path", ".socket"}

// sections are where a unit that starts others names them.
var sections = map[string]string{".timer": "Timer", ".path": "Path", ".socket": "Socket"}

// triggers are the names of units that a timer, a path or a socket starts, and those
// that a service of the administrator's starts when it ends, or by systemctl(1).
func (u *Unit) triggers() (names []string) {
	kind := path.Ext(u.Name)
	section, ok := sections[kind]
	if !ok {
		for _, v := range u.Settings {
			switch {
			case v.Vendor:
			case v.Section == "Unit" && (v.Key == "OnSuccess" || v.Key == "OnFailure"):
				names = append(names, words(v.Value)...)
			case v.Section == "Service" && strings.HasPrefix(v.Key, "Exec") && strings.Contains(v.Value, "systemctl") && strings.Contains(v.Value, "start"):
				for _, word := range strings.FieldsFunc(v.Value, func(r rune) bool { return strings.ContainsRune(" \t;&|'\"", r) }) {
					if path.Ext(word) == "" {
						word += ".service"
					}
					names = append(names, word)
				}
			}
		}
		return slices.DeleteFunc(names, func(name string) bool { return path.Ext(name) != ".service" })
	}
	for _, key := range []string{"Unit", "Service"} {
		for _, v := range u.Values(section, key) {
			names = append(names, v.Value)
		}
	}
	if len(names) == 0 {
		names = []string{strings.TrimSuffix(u.Name, kind) + ".service"}
	}
	return names
}

// partial: the root has not the units of the host's systemd.
func (s *Set) partial() bool { return s.Load("sysinit.target").File == "" }

// others are the types of units that are there at boot or not, whatever files of them
// there are: systemd makes them of what it finds, and of /etc/fstab.
var others = []string{".device", ".mount", ".automount", ".swap", ".slice", ".scope"}

// pulledByOthers are the units that come along with a device, a mount, a slice and the
// like, by links or by what administrators have set, or by links with a unit that a part
// of a host has not.
func (s *Set) pulledByOthers() (names []string) {
	for _, d := range s.dirs {
		for entry := range d.entries {
			name, dropIns := strings.CutSuffix(entry, ".d")
			if slices.Contains(others, "."+name) {
				name = "x." + name // drop-ins of all units of a type
			}
			if slices.Contains(others, path.Ext(name)) && (dropIns || !vendor(path.Join(d.path, name))) {
				u := s.Load(name)
				if u.File == "" {
					u = s.Shipped(name, "", "")
				}
				pulled, perhaps := s.pulls(u)
				names = slices.Concat(names, pulled, perhaps, u.triggers())
			}
			suffix := path.Ext(entry)
			name = strings.TrimSuffix(entry, suffix)
			if slices.Contains(dirSuffixes[:3], suffix) && (!slices.Contains(kinds, path.Ext(name)) || s.partial() && s.Load(name).File == "") {
				for _, v := range s.linked(&Unit{Name: name}, suffix) {
					names = append(names, v.Value)
				}
			}
		}
	}
	return names
}

// beforeSysinit are targets that do not wait for sysinit.target
// (systemd.special(7)).
var beforeSysinit = []string{
	"local-fs.target", "local-fs-pre.target", "swap.target", "cryptsetup.target", "cryptsetup-pre.target", "integritysetup.target",
	"veritysetup.target", "time-set.target", "first-boot-complete.target",
}

// validName reports whether a unit may have the name (src/basic/unit-name.c).
func validName(name string) bool {
	return len(name) < 256 && !strings.ContainsFunc(name, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && !strings.ContainsRune(`:-_.\@`, c)
	})
}

// early are the targets that come before whatever has the default dependencies
// (systemd.special(7)).
var early = []string{"sysinit.target", "basic.target"}

// Started are the services, and sockets with commands, that a boot into the target starts, as far as units
// bring each other along, and those that it may start (Unit.Perhaps). target "" is
// the host's default.
func (s *Set) Started(target string, also ...string) (services []*Unit) {
	if target == "" {
		target = "default.target"
		if s.Load(target).File == "" {
			target = "graphical.target"
		}
	}
	roots := append(slices.Clone(early), append([]string{target}, also...)...)
	if u := s.Load(target); u.File == "" {
		roots = append(roots, "multi-user.target")
	}
	brings, along := map[string][]string{}, map[string][]string{} // surely, and perhaps
	triggered := map[string]bool{}
	for _, name := range s.pulledByOthers() {
		triggered[name] = true
	}
	var order []string
	for queue := slices.Concat(roots, slices.Sorted(maps.Keys(triggered))); len(queue) > 0; {
		name := queue[0]
		queue = queue[1:]
		if _, seen := brings[name]; seen || !validName(name) || !slices.Contains(kinds, path.Ext(name)) {
			continue
		}
		brings[name] = nil
		if order = append(order, name); len(order) > maxUnits {
			s.fail(name, errTooMany)
			break
		}
		u := s.Load(name)
		switch {
		case u.Masked:
			continue
		case u.alias != "":
			brings[name], along[name] = []string{u.alias}, []string{u.alias}
			queue = append(queue, u.alias)
			continue
		}
		pulled, perhaps := s.pulls(u)
		brings[name], along[name] = pulled, slices.Concat(pulled, perhaps)
		queue = append(queue, along[name]...)
		for _, other := range u.triggers() {
			triggered[other] = true
			queue = append(queue, other)
		}
	}
	s.findConflicts(order, brings)
	s.findCycles(reached(roots, along), brings)

	sure := map[string]bool{}
	for queue := roots; len(queue) > 0; {
		name := queue[0]
		queue = queue[1:]
		if _, seen := brings[name]; !seen || sure[name] {
			continue
		}
		sure[name] = true
		if u := s.Load(name); u.File == "" && !slices.Contains(roots, name) || u.alias == "" && s.doubt(u) != nil {
			continue
		}
		queue = append(queue, brings[name]...)
	}
	for _, name := range order {
		u := s.Load(name)
		if u.File == "" && s.partial() && path.Ext(name) == ".service" {
			text := map[string]string{"modprobe@.service": "[Service]\nExecStart=-/sbin/modprobe -abq %i\n"}[templateOf(name)]
			if u = s.Shipped(name, path.Join("/usr/lib/systemd/system", name), text); len(u.Settings) > 0 {
				u.Perhaps = name + " is not in the root"
				services = append(services, u)
			}
			continue
		}
		runs := path.Ext(name) == ".service" || len(u.Values("Socket", "ExecStartPre"))+len(u.Values("Socket", "ExecStartPost")) > 0
		if !runs || u.File == "" || u.Masked || u.alias != "" {
			continue
		}
		switch u.Perhaps = ""; {
		case sure[name]:
		case triggered[name]:
			u.Perhaps = "another unit may start " + name
		default:
			u.Perhaps = "what brings " + name + " along may not be started"
		}
		services = append(services, u)
	}
	return services
}

// findConflicts finds what a boot may do without, of the units that it comes to:
// those that stop each other, and those that wait for each other, of which systemd
// gives one up.
func (s *Set) findConflicts(order []string, brings map[string][]string) {
	s.against, s.doubts = map[string]Setting{}, map[string]*Setting{}
	isEarly := map[string]bool{}
	for _, target := range early {
		u := s.Load(target)
		for _, link := range append(s.linked(u, ".wants"), s.linked(u, ".requires")...) {
			wanted := s.Load(s.aliasOf(link.Value))
			if isEarly[wanted.Name] = true; path.Ext(wanted.Name) != ".service" {
				continue
			}
			late, by := wanted.late()
			switch {
			case late && by.Key != "" && !by.Vendor:
				s.against[wanted.Name] = by
			case late && !(wanted.Vendor() && link.Vendor):
				s.against[wanted.Name] = Setting{Section: "Install", Key: "WantedBy", Value: target, File: link.File}
			}
			for _, v := range s.named(wanted, "After") {
				if later, _ := s.Load(s.aliasOf(v.Value)).late(); later || path.Ext(v.Value) == ".target" && !slices.Contains(beforeSysinit, v.Value) {
					s.against[wanted.Name] = v
				}
			}
		}
	}
	for _, name := range order {
		u := s.Load(name)
		for _, v := range s.named(u, "Conflicts") {
			other := s.aliasOf(v.Value)
			if _, there := brings[other]; (there || !slices.Contains(kinds, path.Ext(other))) && other != name {
				s.against[other], s.against[name] = v, v
			}
		}
		if late, _ := u.late(); u.Masked || !late {
			continue
		}
		for _, v := range s.named(u, "Before") {
			switch other := s.aliasOf(v.Value); {
			case slices.Contains(early, other):
				s.against[name] = v
			case isEarly[other] && other != name:
				s.against[other], s.against[name] = v, v
			}
		}
	}
}

// reached are the nodes to which edges lead.
func reached(from []string, edges map[string][]string) (nodes []string) {
	seen := map[string]bool{}
	for queue := slices.Clone(from); len(queue) > 0; queue = queue[1:] {
		if name := queue[0]; !seen[name] {
			seen[name] = true
			nodes, queue = append(nodes, name), append(queue, edges[name]...)
		}
	}
	return nodes
}

// findCycles finds the units, of those that a boot comes to and starts at once, that are to be started one
// after the other in a circle. systemd breaks it by not starting one of those that
// nothing requires.
func (s *Set) findCycles(order []string, brings map[string][]string) {
	order = slices.DeleteFunc(order, func(name string) bool {
		u := s.Load(name)
		return u.Masked || u.alias != "" || u.File == "" && !slices.Contains(early, name)
	})
	is := map[string]bool{}
	for _, name := range order {
		is[name] = true
	}
	before, by := map[string][]string{}, map[[2]string]Setting{}
	add := func(first, then string, v Setting) {
		edge := [2]string{first, then}
		if _, known := by[edge]; !known && is[first] && is[then] {
			v.Vendor = false // no package alone makes a circle
			before[then] = append(before[then], first)
			by[edge] = v
		}
	}
	for _, name := range order {
		u := s.Load(name)
		for _, v := range s.named(u, "Before") {
			add(name, s.aliasOf(v.Value), v)
		}
		for _, v := range s.named(u, "After", "Sockets") {
			add(s.aliasOf(v.Value), name, v)
		}
		if section, ok := sections[path.Ext(name)]; ok {
			for _, other := range u.triggers() {
				add(name, s.aliasOf(other), Setting{Section: section, Key: "Unit", Value: other, File: u.File})
			}
		}
		if late, _ := u.late(); late {
			add(early[0], name, Setting{})
			if path.Ext(name) == ".service" {
				add(early[1], name, Setting{})
			}
		}
	}
	add(early[0], early[1], Setting{})
	for _, name := range order { // a target comes after what it brings along, except for what comes after it
		if path.Ext(name) != ".target" || !s.Load(name).defaults() {
			continue
		}
		for _, other := range brings[name] {
			other = s.aliasOf(other)
			if _, later := by[[2]string{name, other}]; !later && s.Load(other).defaults() {
				add(other, name, Setting{})
			}
		}
	}
	for _, circle := range circles(order, before) {
		var why *Setting
		in := map[string]bool{}
		for _, name := range circle {
			in[name] = true
		}
		for _, then := range circle {
			for _, first := range before[then] {
				if v := by[[2]string{first, then}]; v.Key != "" && in[first] {
					why = &v
				}
			}
		}
		for _, name := range circle {
			if _, known := s.against[name]; !known && why != nil && !slices.Contains(early, name) {
				s.against[name] = *why
			}
		}
	}
}

// circles are the nodes from which edges lead back to themselves, those of one circle
// together (Tarjan's strongly connected components).
func circles(nodes []string, edges map[string][]string) (list [][]string) {
	index, low, on := map[string]int{}, map[string]int{}, map[string]bool{}
	for _, name := range nodes {
		index[name] = 0
	}
	var stack []string
	var visit func(name string)
	visited := 0
	visit = func(name string) {
		visited++
		index[name], low[name], on[name] = visited, visited, true
		stack = append(stack, name)
		for _, other := range edges[name] {
			if at, known := index[other]; known && at == 0 {
				visit(other)
				low[name] = min(low[name], low[other])
			} else if on[other] {
				low[name] = min(low[name], at)
			}
		}
		if low[name] == index[name] {
			at := slices.Index(stack, name)
			circle := slices.Clone(stack[at:])
			stack = stack[:at]
			for _, other := range circle {
				on[other] = false
			}
			if len(circle) > 1 {
				list = append(list, circle)
			}
		}
	}
	for _, name := range nodes {
		if index[name] == 0 {
			visit(name)
		}
	}
	return list
}
