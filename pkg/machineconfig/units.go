package machineconfig

import (
	"bytes"
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
	"github.com/sctp-agent/sctp-agent/internal/memfs"
	"github.com/sctp-agent/sctp-agent/internal/pattern"
	"github.com/sctp-agent/sctp-agent/internal/systemdunit"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// mergedUnit is a unit as all configurations together have it, with the one that
// wrote each part last.
type mergedUnit struct {
	Unit
	contentsBy, maskedBy, enabledBy string
	dropInsBy                       map[string]string
}

// mergeUnits merges units by their names, as the machine-config-operator does: a
// later configuration's entry replaces an earlier one's.
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
			if u.Contents != nil {
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

// unitConfigDir is where Ignition and the machine-config-daemon write units.
const unitConfigDir = "/etc/systemd/system/"

// putUnits writes the units of configurations, and the links of those that are
// enabled. from gets the configuration of each file. What depends on a unit that
// only the host has is an error.
func (t tree) putUnits(configs []Config, from map[string]string) (unread []error) {
	list := mergeUnits(configs)
	cannot := func(u *mergedUnit, by, why string) {
		unread = append(unread, fmt.Errorf("%s %s: unit %s%s", Kind, by, clip(u.Name), why))
	}
	put := func(u *mergedUnit, name, by string, n *memfs.Node) {
		at, err := t.put(unitConfigDir+name, n)
		if err != nil {
			cannot(u, by, ": "+err.Error())
			return
		}
		from[at] = by
	}
	for _, u := range list {
		if u.Contents != nil && *u.Contents != "" {
			put(u, u.Name, u.contentsBy, regular([]byte(*u.Contents)))
		}
		for name, text := range u.DropIns {
			if text != "" {
				put(u, u.Name+".d/"+name, u.dropInsBy[name], regular([]byte(text)))
			}
		}
		if u.Masked != nil && *u.Masked {
			if u.Enabled != nil && *u.Enabled && u.Contents != nil && *u.Contents != "" {
				cannot(u, u.enabledBy, " is masked, and to be enabled: systemctl fails, and with it the machine-config-daemon")
			}
			put(u, u.Name, u.maskedBy, symlink("/dev/null"))
		}
	}
	root, err := hostroot.FromFS(t)
	if err != nil {
		return append(unread, err)
	}
	units := systemdunit.Read(root, 239) // RHEL 8
	for _, u := range list {
		if units.Load(u.Name).File == "" {
			for name, by := range u.dropInsBy {
				if namesModule().MatchString(u.DropIns[name]) {
					cannot(u, by, " is the host's own: whether the boot starts it is not known")
				}
			}
		}
		if u.Enabled == nil {
			continue
		}
		links := units.Links(u.Name)
		for link, target := range links {
			if *u.Enabled {
				put(u, link, u.enabledBy, symlink(target))
			} else {
				t.Remove(t.parents(unitConfigDir + link))
			}
		}
		if by := wantedBy(units, links); by != "" && *u.Enabled && u.loads() {
			cannot(u, u.enabledBy, " is wanted by "+clip(by)+", the host's own: whether the boot starts that is not known")
		}
	}
	return unread
}

// pathCondition finds a unit's condition about a path that the operating system, or
// what makes it a node, may have.
var pathCondition = pattern.MustCompile(`(?m)^\s*(?:Condition|Assert)(PathExists|PathIsDirectory|FileNotEmpty|DirectoryNotEmpty|FileIsExecutable)\s*=[\s|!]*` +
	`(/(?:usr|lib|lib64|bin|sbin)/\S+|/etc/(?:os-release|redhat-release|hostname|machine-id|fstab|passwd|mcs-|ignition-|machine-config|kubernetes|crio|containers|NetworkManager|sysconfig|ssh)\S*)`)

// argumentCondition finds a condition about a kernel argument that the operating
// system has.
var argumentCondition = pattern.MustCompile(`(?m)^\s*(?:Condition|Assert)KernelCommandLine\s*=[\s|!]*((?:ignition\.|ostree|root|rw|console|boot)\S*)`)

// addConditions adds the paths and arguments of units' conditions that are not
// there, and returns them.
func (t tree) addConditions(configs []Config) (names []string) {
	for _, c := range configs {
		for _, u := range c.Units {
			for _, text := range u.texts() {
				for _, m := range pathCondition().FindAllStringSubmatch(text, -1) {
					name := path.Clean(m[2])
					if t.FS[t.parents(name)] != nil || strings.HasPrefix(name, "/usr/local/") || slices.Contains(names, name) {
						continue
					}
					file := name
					if strings.Contains(m[1], "Directory") {
						file += "/x"
					}
					if _, err := t.put(file, regular([]byte("x"))); err == nil {
						names = append(names, name)
					}
				}
				for _, m := range argumentCondition().FindAllStringSubmatch(text, -1) {
					line := t.FS["proc/cmdline"]
					if !slices.Contains(strings.Fields(string(line.Data)), m[1]) {
						t.mustPut("/proc/cmdline", []byte(m[1]+" "+string(line.Data)))
						names = append(names, m[1])
					}
				}
			}
		}
	}
	return names
}

// loads reports whether something of the unit is about modules.
func (u *Unit) loads() bool {
	return slices.ContainsFunc(u.texts(), namesModule().MatchString)
}

// What a unit runs at boot; of that, what may be a program or a script that no image of
// the operating system has; and the names of what is about loading modules.
var (
	startCommands = pattern.MustCompile(`(?m)^\s*Exec(?:Condition|StartPre|Start|StartPost)\s*=[-@:+!|\s]*(.*)`)
	addedProgram  = pattern.MustCompile(`(?:^|[\s"';&|(])(/(?:usr/local|opt|var|etc|home|root)/(?:[\w.+@-]+/)*(?:s?bin/[\w.+@-]+|[\w.+@-]+\.(?:sh|bash|py|pl))|^/(?:usr/local|opt|var|etc|home|root)/[^\s"';&|]+)`)
	aboutModules  = pattern.MustCompile(`sctp|modprobe|insmod|kmod|module`)
)

// What writes files, with the names of those about modules; and what stops the module.
var (
	writesFiles = pattern.MustCompile(`>|\b(?:rm|mv|cp|ln|sed|tee|install|truncate|unlink|perl|python3?)\b`)
	moduleFiles = pattern.MustCompile(`\b(?:modprobe\.d|modules-load\.d)\b`)
	stopsModule = pattern.MustCompile(`\b(?:blacklist|install)\s+sctp\b`)
)

// unseenCommands are the commands of enabled units, and files of tmpfiles.d(5), because of
// which it is not known what boots bring: a program that no configuration has, and what
// may write files about modules, which counts from the boot after that on.
func (t tree) unseenCommands(configs []Config, onBoot verdict.OnBoot) (unread []string) {
	list := mergeUnits(configs)
	starts := func(u *mergedUnit) bool { // itself, or by its timer, path or socket
		stem := strings.TrimSuffix(u.Name, path.Ext(u.Name))
		return u.Masked == nil && slices.ContainsFunc(list, func(o *mergedUnit) bool {
			return o.Enabled != nil && *o.Enabled && strings.TrimSuffix(o.Name, path.Ext(o.Name)) == stem
		})
	}
	note := func(u *mergedUnit, what string) {
		unread = append(unread, fmt.Sprintf("unit %s of %s %s %s", clip(u.Name), Kind, cmp.Or(u.contentsBy, u.enabledBy), what))
	}
	for _, u := range list {
		if !starts(u) {
			continue
		}
		for _, text := range u.texts() {
			for _, command := range startCommands().FindAllStringSubmatch(strings.ReplaceAll(text, "\\\n", " "), -1) {
				run := []string{command[1]}
				for _, m := range addedProgram().FindAllStringSubmatch(command[1], -1) {
					n := t.FS[t.parents(m[1])]
					switch {
					case n != nil:
						run = append(run, string(n.Data))
					case onBoot != verdict.OnBootLoaded && (aboutModules().MatchString(u.Name+"\n"+m[1]) || strings.Contains(text, "sctp")):
						note(u, "runs what none of these MachineConfigs has: "+clip(m[1]))
					}
				}
				for _, text := range run {
					text = comments().ReplaceAllString(text, "")
					if moduleFiles().MatchString(text) && writesFiles().MatchString(text) && strings.Contains(text, "sctp") && (onBoot != verdict.OnBootLoaded || stopsModule().MatchString(text)) {
						note(u, "may change files about modules, which counts from the boot after that on: "+clip(command[1]))
					}
				}
			}
		}
	}
	for _, c := range configs {
		for _, f := range c.Files {
			if strings.Contains(f.Path, "/systemd/system-preset/") && onBoot != verdict.OnBootLoaded {
				for _, m := range enables().FindAllStringSubmatch(string(f.Contents), -1) {
					for name, n := range t.FS {
						if is, _ := path.Match(strings.TrimPrefix(unitConfigDir, "/")+m[1], name); is && namesModule().Match(n.Data) && bytes.Contains(n.Data, []byte("sctp")) {
							unread = append(unread, fmt.Sprintf("%s of %s %s: %s, and only a node's first boot applies presets: new nodes and nodes that exist differ", clip(f.Path), Kind, c.Name, clip(m[0])))
						}
					}
				}
			}
			text := comments().ReplaceAllString(string(f.Contents), "")
			if strings.Contains(f.Path, "/tmpfiles.d/") && moduleFiles().MatchString(text) && strings.Contains(text, "sctp") && (onBoot != verdict.OnBootLoaded || stopsModule().MatchString(text)) {
				unread = append(unread, fmt.Sprintf("%s of %s %s may change files about modules, which counts from the boot after that on", clip(f.Path), Kind, c.Name))
			}
		}
	}
	return slices.Compact(unread)
}

// enables is a line of systemd.preset(5), and what it enables.
var enables = pattern.MustCompile(`(?m)^\s*enable\s+(\S+)`)

// comments are lines of a script that are comments.
var comments = pattern.MustCompile(`(?m)^\s*#.*$`)

// wantedBy is one of the units that links are of, if only the host has them.
func wantedBy(units *systemdunit.Set, links map[string]string) (by string) {
	for link := range links {
		dir, _, isWanted := strings.Cut(link, "/")
		if !isWanted {
			return "" // another name, by which anything may start it
		}
		name := strings.TrimSuffix(dir, path.Ext(dir))
		if units.Load(name).File != "" {
			return ""
		}
		by = max(by, name)
	}
	return by
}
