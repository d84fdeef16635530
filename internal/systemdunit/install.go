package systemdunit

import (
	"path"
	"strings"
)

// Links are the links that "systemctl enable" makes for a unit ([Install] of
// systemd.unit(5)): by their names below a directory of units, what each leads to.
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
	install := func(key string) (words []string) {
		for _, v := range u.Values("Install", key) {
			for _, word := range strings.Fields(v.Value) {
				if word, ok := u.expand(word); ok && !strings.Contains(word, "/") {
					words = append(words, word)
				}
			}
		}
		return words
	}
	also := install("Also")
	if base := strings.TrimSuffix(name, path.Ext(name)); strings.HasSuffix(base, "@") {
		instances := install("DefaultInstance")
		if len(instances) == 0 {
			return // a template is not started
		}
		instance := *u
		instance.Name = base + instances[len(instances)-1] + path.Ext(name)
		u = &instance
	}
	for key, kind := range map[string]string{"WantedBy": ".wants/", "RequiredBy": ".requires/", "UpheldBy": ".upholds/"} {
		for _, by := range install(key) {
			links[by+kind+u.Name] = u.File
		}
	}
	for _, alias := range install("Alias") {
		links[alias] = u.File
	}
	for _, other := range also {
		s.links(other, links, seen)
	}
}
