package systemdunit

import (
	"maps"
	"path"
	"slices"
	"strings"
)

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

// early are the targets that come before whatever has the default dependencies, and
// Emergency is one that comes without them (systemd.special(7)).
var early = []string{"sysinit.target", "basic.target"}

const Emergency = "emergency.target"

// Started are the services, and sockets with commands, that a boot into the target
// starts, as far as units bring each other along, and those that it may start
// (Unit.Perhaps). target "" is the host's default.
func (s *Set) Started(target string, also ...string) (services []*Unit) {
	if target == "" {
		target = "default.target"
		if s.Load(target).File == "" {
			target = "graphical.target"
		}
	}
	roots := append([]string{target}, also...)
	if s.AliasOf(target) != Emergency {
		roots = append(slices.Clone(early), roots...)
	}
	if u := s.Load(target); u.File == "" {
		roots = append(roots, "multi-user.target")
	}
	found := s.reach(roots)
	s.findConflicts(found.order, found.brings)
	s.findCycles(reached(roots, found.along), found.brings)
	sure := s.surely(roots, found.brings)
	for _, name := range found.order {
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
		case found.triggered[name]:
			u.Perhaps = "another unit may start " + name
		default:
			u.Perhaps = "what brings " + name + " along may not be started"
		}
		services = append(services, u)
	}
	return services
}

// reachable are the units that a boot comes to.
type reachable struct {
	// order is that in which they were found.
	order []string
	// brings are those that a unit surely brings along, along these and those that it
	// may.
	brings, along map[string][]string
	// triggered are those that another unit, a device or the like may start later.
	triggered map[string]bool
}

// reach finds the units to which roots lead.
func (s *Set) reach(roots []string) reachable {
	found := reachable{brings: map[string][]string{}, along: map[string][]string{}, triggered: map[string]bool{}}
	for _, name := range s.pulledByOthers() {
		found.triggered[name] = true
	}
	for queue := slices.Concat(roots, slices.Sorted(maps.Keys(found.triggered))); len(queue) > 0; {
		name := queue[0]
		queue = queue[1:]
		if _, seen := found.brings[name]; seen || !validName(name) || !slices.Contains(kinds, path.Ext(name)) {
			continue
		}
		found.brings[name] = nil
		found.order = append(found.order, name)
		if len(found.order) > maxUnits {
			s.fail(name, errTooMany)
			break
		}
		u := s.Load(name)
		switch {
		case u.Masked:
			continue
		case u.alias != "":
			found.brings[name], found.along[name] = []string{u.alias}, []string{u.alias}
			queue = append(queue, u.alias)
			continue
		}
		pulled, perhaps := s.pulls(u)
		found.brings[name], found.along[name] = pulled, slices.Concat(pulled, perhaps)
		queue = append(queue, found.along[name]...)
		for _, other := range u.triggers() {
			found.triggered[other] = true
			queue = append(queue, other)
		}
	}
	return found
}

// surely are the units that a boot starts: those to which roots lead by units that
// nothing may keep from being started.
func (s *Set) surely(roots []string, brings map[string][]string) map[string]bool {
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
	return sure
}
