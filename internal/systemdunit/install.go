package systemdunit

import (
	"path"
	"strings"
)

// Links are the links that "systemctl enable" makes for a unit ([Install] of
// systemd.unit(5)): by their names below a directory of units, each with its
// target.
func (s *Set) Links(name string) map[string]string {
	links := map[string]string{}
	s.links(name, links, map[string]bool{})
	return links
}

func (s *Set) links(name string, links map[string]string, seen map[string]bool) {
	u := s.Load(name)
	if seen[name] || len(seen) >= maxUnits || u.File == "" || u.Masked {
		return
	}
	seen[name] = true
	for _, alias := range u.installs("Alias") {
		if name, ok := enabledAs(u.Name, alias); ok {
			links[name] = u.File
		}
	}
	started := *u
	if isTemplate(u.Name) {
		// A template is not started, but its default instance is.
		if instances := u.installs("DefaultInstance"); len(instances) > 0 {
			started.Name = instanceOf(u.Name, instances[len(instances)-1])
		}
	}
	if !isTemplate(started.Name) {
		for key, kind := range map[string]string{"WantedBy": ".wants/", "RequiredBy": ".requires/", "UpheldBy": ".upholds/"} {
			for _, by := range started.installs(key) {
				links[by+kind+started.Name] = u.File
			}
		}
	}
	for _, other := range u.installs("Also") {
		s.links(other, links, seen)
	}
}

// installs are the names of a setting of [Install].
func (u *Unit) installs(key string) (names []string) {
	for _, v := range u.Values("Install", key) {
		for _, word := range words(v.Value) {
			if name, ok := u.expand(word); ok && !strings.Contains(name, "/") {
				names = append(names, name)
			}
		}
	}
	return names
}

func isTemplate(name string) bool {
	return strings.HasSuffix(strings.TrimSuffix(name, path.Ext(name)), "@")
}

func instanceOf(template, instance string) string {
	return strings.TrimSuffix(template, path.Ext(template)) + instance + path.Ext(template)
}

// enabledAs is the name that an alias gives a unit: one of the same kind, for an
// instance one of the same instance.
func enabledAs(name, alias string) (string, bool) {
	is := (&Unit{Name: name}).instance()
	if isTemplate(alias) && is != "" {
		alias = instanceOf(alias, is)
	}
	return alias, path.Ext(alias) == path.Ext(name) && strings.Contains(alias, "@") == strings.Contains(name, "@") &&
		(isTemplate(name) || (&Unit{Name: alias}).instance() == is)
}
