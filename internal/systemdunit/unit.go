package systemdunit

import (
	"path"
	"slices"
	"strings"
	"time"
)

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

func templateOf(name string) string {
	prefix, rest, ok := strings.Cut(name, "@")
	dot := strings.LastIndexByte(rest, '.')
	if !ok || dot <= 0 {
		return ""
	}
	return prefix + "@" + rest[dot:]
}

// late reports whether a unit has the dependencies by which it is started after
// sysinit.target (systemd.service(5), "Default Dependencies"), and by which
// setting, if there is one.
func (u *Unit) late() (late bool, by Setting) {
	return u.boolean("Unit", "DefaultDependencies", path.Ext(u.Name) != ".target")
}

// defaults reports whether a unit has the default dependencies of its type.
func (u *Unit) defaults() bool {
	yes, _ := u.boolean("Unit", "DefaultDependencies", true)
	return yes
}

// Early says that a unit may be started before sysinit.target is reached.
func (u *Unit) Early() bool {
	late, _ := u.late()
	return !late
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
			case v.Section == "Service" && strings.HasPrefix(v.Key, "Exec") && strings.Contains(v.Value, "systemctl") && (strings.Contains(v.Value, "start") || strings.Contains(v.Value, "isolate")):
				for _, word := range strings.FieldsFunc(v.Value, func(r rune) bool { return strings.ContainsRune(" \t;&|'\"", r) }) {
					if path.Ext(word) == "" {
						word += ".service"
					}
					names = append(names, word)
				}
			}
		}
		return slices.DeleteFunc(names, func(name string) bool { return !slices.Contains(kinds, path.Ext(name)) })
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

// validName reports whether a unit may have the name (src/basic/unit-name.c).
func validName(name string) bool {
	return len(name) < 256 && !strings.ContainsFunc(name, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && !strings.ContainsRune(`:-_.\@`, c)
	})
}
