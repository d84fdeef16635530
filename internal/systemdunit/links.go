package systemdunit

import (
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
)

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
			if name := s.AliasOf(alias); name != alias && !slices.Contains(aliases[name], alias) {
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

// AliasOf follows the links of a name to the unit that it is an alias of.
func (s *Set) AliasOf(name string) string {
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
		slices.ContainsFunc(s.dirs, func(d unitDir) bool {
			_, ok := d.entries[target]
			_, template := d.entries[templateOf(target)]
			return ok || template
		})
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
			_, err := s.files.Readlink(link)
			if err == nil && !s.masks(link) {
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

// masks: a link resolves, perhaps by others, to the null device or to an empty file, and so
// starts no unit (src/core/load-dropin.c, process_deps).
func (s *Set) masks(link string) bool {
	st, err := s.files.Stat(link)
	if err != nil {
		f, err := s.files.Open(link) // the device need not be in the root
		if err == nil {
			f.Close()
		}
		return isNull(err)
	}
	return st.Mode&fs.ModeDevice != 0 || st.Mode.IsRegular() && st.Size == 0
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
			link := path.Join(dir, e.Name)
			if _, err := s.files.Readlink(link); err != nil || s.masks(link) {
				masked[e.Name] = true
			} else if files[e.Name] == "" {
				files[e.Name] = link
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
				if name != u.Name && s.AliasOf(name) == u.Name {
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
