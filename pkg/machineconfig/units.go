package machineconfig

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/sctp-agent/sctp-agent/internal/systemdunit"
)

// mergedUnit is a unit as all configurations together have it, with the one that
// wrote each part last.
type mergedUnit struct {
	Unit
	contentsBy, maskedBy, enabledBy string
	dropInsBy                       map[string]string
}

// mergeUnits merges units by their names, as the machine-config-operator does:
// what a later configuration says of one replaces what an earlier one said.
func mergeUnits(configs []Config) (list []*mergedUnit) {
	byName := map[string]*mergedUnit{}
	for _, c := range configs {
		for _, u := range c.Units {
			m := byName[u.Name]
			if m == nil {
				m = &mergedUnit{Unit: Unit{Name: u.Name, DropIns: map[string]string{}}, dropInsBy: map[string]string{}}
				byName[u.Name] = m
				list = append(list, m)
			}
			if u.Contents != "" {
				m.Contents, m.contentsBy = u.Contents, c.Name
			}
			if u.Masked != nil {
				m.Masked, m.maskedBy = u.Masked, c.Name
			}
			if u.Enabled != nil {
				m.Enabled, m.enabledBy = u.Enabled, c.Name
			}
			for name, text := range u.DropIns {
				m.DropIns[name], m.dropInsBy[name] = text, c.Name
			}
		}
	}
	return list
}

// putUnits writes the units of configurations, and the links of those that are
// enabled. from gets the configuration of each file. What depends on a unit that
// only the host has is an error.
func (t tree) putUnits(configs []Config, from map[string]string) (unread []error) {
	const dir = "/etc/systemd/system/"
	for _, u := range mergeUnits(configs) {
		put := func(name, by string, n node) {
			at, err := t.put(dir+name, n)
			if err != nil {
				unread = append(unread, fmt.Errorf("%s %s: unit %s: %w", Kind, by, clip(u.Name), err))
				return
			}
			from[at] = by
		}
		text := []byte(u.Contents)
		switch {
		case u.Masked != nil && *u.Masked:
			put(u.Name, u.maskedBy, node{mode: fs.ModeSymlink, data: []byte("/dev/null")})
			continue
		case len(text) > 0:
			put(u.Name, u.contentsBy, node{data: text})
		default:
			have, ok := t[t.parents(unitDir+u.Name)]
			if !ok {
				have, ok = t[t.parents(dir+u.Name)]
			}
			text = have.data
			for name, by := range u.dropInsBy {
				if !ok && namesModule.MatchString(u.DropIns[name]) {
					unread = append(unread, fmt.Errorf("%s %s: unit %s is the host's own: whether the boot starts it is not known", Kind, by, clip(u.Name)))
				}
			}
		}
		for _, name := range slices.Sorted(maps.Keys(u.DropIns)) {
			if u.DropIns[name] != "" {
				put(u.Name+".d/"+name, u.dropInsBy[name], node{data: []byte(u.DropIns[name])})
			}
		}
		if u.Enabled != nil && *u.Enabled {
			for _, link := range systemdunit.Wanted(u.Name, text) {
				put(link, u.enabledBy, node{mode: fs.ModeSymlink, data: []byte(dir + u.Name)})
			}
		}
	}
	return unread
}
