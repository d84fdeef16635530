package systemdunit

import (
	"path"
	"slices"
)

// beforeSysinit are targets that do not wait for sysinit.target
// (systemd.special(7)).
var beforeSysinit = []string{
	"local-fs.target", "local-fs-pre.target", "swap.target", "cryptsetup.target", "cryptsetup-pre.target", "integritysetup.target",
	"veritysetup.target", "time-set.target", "first-boot-complete.target",
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
			wanted := s.Load(s.AliasOf(link.Value))
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
				if later, _ := s.Load(s.AliasOf(v.Value)).late(); later || path.Ext(v.Value) == ".target" && !slices.Contains(beforeSysinit, v.Value) {
					s.against[wanted.Name] = v
				}
			}
		}
	}
	for _, name := range order {
		u := s.Load(name)
		for _, v := range s.named(u, "Conflicts") {
			other := s.AliasOf(v.Value)
			if _, there := brings[other]; (there || !slices.Contains(kinds, path.Ext(other))) && other != name {
				s.against[other], s.against[name] = v, v
			}
		}
		if late, _ := u.late(); u.Masked || !late {
			continue
		}
		for _, v := range s.named(u, "Before") {
			switch other := s.AliasOf(v.Value); {
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
			add(name, s.AliasOf(v.Value), v)
		}
		for _, v := range s.named(u, "After", "Sockets") {
			add(s.AliasOf(v.Value), name, v)
		}
		if section, ok := sections[path.Ext(name)]; ok {
			for _, other := range u.triggers() {
				add(name, s.AliasOf(other), Setting{Section: section, Key: "Unit", Value: other, File: u.File})
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
			other = s.AliasOf(other)
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
