package machineconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/pattern"
)

// ignition is the part of an Ignition configuration, of specification 2 and 3
// alike, that can bear on a module.
type ignition struct {
	Ignition struct {
		Version string `json:"version"`
		Config  struct {
			Merge   []resource `json:"merge"`
			Append  []resource `json:"append"` // 2.x
			Replace resource   `json:"replace"`
		} `json:"config"`
	} `json:"ignition"`
	KernelArguments struct {
		ShouldExist    []string `json:"shouldExist"`
		ShouldNotExist []string `json:"shouldNotExist"`
	} `json:"kernelArguments"`
	Passwd struct {
		Groups []device `json:"groups"`
		Users  []struct {
			Name string   `json:"name"`
			Keys []string `json:"sshAuthorizedKeys"`
		} `json:"users"`
	} `json:"passwd"`
	Storage struct {
		Disks       []device `json:"disks"`
		Raid        []device `json:"raid"`
		Filesystems []device `json:"filesystems"`
		Directories []struct {
			Filesystem string `json:"filesystem"` // 2.x
			Path       string `json:"path"`
			Mode       int    `json:"mode"`
			User       owner  `json:"user"`
			Group      owner  `json:"group"`
			Overwrite  bool   `json:"overwrite"`
		} `json:"directories"`
		Files []struct {
			Filesystem string          `json:"filesystem"`
			Path       string          `json:"path"`
			Mode       int             `json:"mode"`
			User       owner           `json:"user"`
			Group      owner           `json:"group"`
			Contents   resource        `json:"contents"`
			Overwrite  *bool           `json:"overwrite"`
			Append     json.RawMessage `json:"append"` // a list in 3.x, a boolean in 2.x
		} `json:"files"`
		Links []struct {
			Filesystem string `json:"filesystem"`
			Path       string `json:"path"`
			User       owner  `json:"user"`
			Group      owner  `json:"group"`
			Target     string `json:"target"`
			Hard       bool   `json:"hard"`
			Overwrite  bool   `json:"overwrite"`
		} `json:"links"`
	} `json:"storage"`
	Systemd struct {
		Units []struct {
			Name     string   `json:"name"`
			Contents *string  `json:"contents"`
			Enable   bool     `json:"enable"` // 2.x
			Enabled  *bool    `json:"enabled"`
			Mask     *bool    `json:"mask"`
			DropIns  []dropIn `json:"dropins"`
		} `json:"units"`
	} `json:"systemd"`
}

type owner struct {
	ID   *int   `json:"id"`
	Name string `json:"name"`
}

// device is a part of a configuration of which the name suffices.
type device struct {
	Name   string `json:"name"`
	Device string `json:"device"`
}

type dropIn struct {
	Name     string  `json:"name"`
	Contents *string `json:"contents"`
}

// DecodeConfig reads an Ignition configuration, as in a MachineConfig's
// spec.config (which may be absent: one with kernel arguments only). What
// cannot be read of it is listed in Unread.
func DecodeConfig(raw json.RawMessage) (Config, error) {
	var c Config
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) || bytes.Equal(raw, []byte("{}")) {
		return c, nil
	}
	var ign ignition
	if err := json.Unmarshal(raw, &ign); err != nil {
		if bytes.Contains(raw, []byte(`"`+redacted+`"`)) {
			err = errRedacted
		}
		return c, err
	}
	if k := &ign.KernelArguments; ign.Ignition.Version < "3.3.0" && len(k.ShouldExist)+len(k.ShouldNotExist) > 0 {
		k.ShouldExist, k.ShouldNotExist = nil, nil
		c.Notes = append(c.Notes, "Ignition's kernelArguments have no effect before version 3.3.0: use spec.kernelArguments")
	}
	for _, why := range ign.refused() {
		c.Unread = append(c.Unread, Unread{Err: fmt.Errorf("refused by Ignition and the machine-config-operator: %s", why)})
	}
	remote := append(append([]resource{ign.Ignition.Config.Replace}, ign.Ignition.Config.Merge...), ign.Ignition.Config.Append...)
	for _, r := range remote {
		if r.Source != nil && *r.Source != "" {
			c.Unread = append(c.Unread, Unread{Err: fmt.Errorf("it refers to another configuration, which was not read: %s", clip(*r.Source))})
		}
	}
	if version := ign.Ignition.Version; specification().MatchString(version) && !ofOperator().MatchString(version) {
		c.unfit = append(c.unfit, "ignition.version "+version)
	}
	for _, f := range ign.Storage.Files {
		if f.Mode > int(fs.ModePerm) {
			c.unfit = append(c.unfit, fmt.Sprintf("mode 0%o of %s is more than 0777", f.Mode, clip(f.Path))) // 644, which is 01204
		}
		file := HostFile{Path: f.Path, Keeps: f.Contents.Source == nil && !strings.HasPrefix(ign.Ignition.Version, "2.")}
		file.noSource = f.Contents.Source != nil && *f.Contents.Source == "" && !strings.HasPrefix(ign.Ignition.Version, "2.")
		file.Contents, file.Err = f.Contents.decode()
		if file.Err == nil && f.Contents.isOther(file.Contents) {
			c.Notes = append(c.Notes, "verification.hash is not that of the contents: Ignition fails on a new node: "+clip(f.Path))
		}
		if how := encodedOnceMore(file.Contents); how != "" && relevant(f.Path) {
			c.Notes = append(c.Notes, "the node gets "+clip(f.Path)+" as "+how)
		}
		if appends(f.Append) {
			c.unfit = append(c.unfit, clip(f.Path)+" has an append section") // which those of other configurations do not replace
			if file.Err == nil {
				file.Err, file.Keeps = errors.New("it appends to whatever the host has"), false
			}
		}
		if f.Contents.Redacted != "" && relevant(f.Path) {
			c.Unread = append(c.Unread, Unread{Path: f.Path, Err: errRedacted})
			continue
		}
		if len(f.Contents.Inline)+len(f.Contents.Local) > 0 {
			c.Notes = append(c.Notes, "contents.inline and contents.local are Butane's, and have no effect here: give a source (data:,…), or what butane makes of it: "+clip(f.Path))
		}
		if f.Overwrite != nil && !*f.Overwrite && relevant(f.Path) {
			c.Notes = append(c.Notes, "overwrite is false: Ignition fails on a new node that already has "+clip(f.Path))
		}
		if file.Err != nil && (relevant(f.Path) || ign.runs(f.Path)) {
			c.Unread = append(c.Unread, Unread{Path: f.Path, Err: file.Err})
			continue
		}
		c.Files = append(c.Files, file)
	}
	for _, l := range ign.Storage.Links {
		switch {
		case l.Hard && !relevant(l.Path):
		case l.Hard:
			c.Unread = append(c.Unread, Unread{Path: l.Path, Err: fmt.Errorf("a hard link to %s, whose contents are the host's", l.Target)})
		default:
			c.Links = append(c.Links, Link{l.Path, l.Target, l.Overwrite})
		}
	}
	for _, d := range ign.Storage.Directories {
		if d.Overwrite && relevant(d.Path+"/") {
			c.Unread = append(c.Unread, Unread{Path: d.Path, Err: errors.New("a directory in place of what the host has")})
		}
	}
	c.KernelArguments, c.firstBoot = ign.KernelArguments.ShouldExist, ign.firstBoot()
	for _, u := range ign.Systemd.Units {
		if u.Name == "" {
			continue // refused
		}
		unit := Unit{Name: u.Name, Contents: u.Contents, Enabled: u.Enabled, Masked: u.Mask, DropIns: map[string]string{}}
		if u.Enable {
			unit.Enabled = &u.Enable
		}
		for _, d := range u.DropIns {
			if d.Contents != nil {
				unit.DropIns[d.Name] = *d.Contents
			}
		}
		c.Units = append(c.Units, unit)
	}
	return c, nil
}

// firstBoot is what the machine-config-operator refuses on nodes that were not installed
// with it (isConfigReconcilable, in its pkg/controller/common/reconcile.go): its
// controller, and until OpenShift 4.14 its daemon.
func (ign *ignition) firstBoot() (list []firstBootPart) {
	s := &ign.Storage
	for _, l := range s.Links {
		list = append(list, firstBootPart{storageLinks, l.Path})
	}
	for _, arg := range slices.Concat(ign.KernelArguments.ShouldExist, ign.KernelArguments.ShouldNotExist) {
		list = append(list, firstBootPart{ignitionArguments, arg})
	}
	for _, d := range s.Directories {
		list = append(list, firstBootPart{"storage.directories", d.Path})
	}
	for _, d := range slices.Concat(s.Disks, s.Raid, s.Filesystems) {
		list = append(list, firstBootPart{"storage.disks, raid or filesystems", d.Name + d.Device})
	}
	for _, g := range ign.Passwd.Groups {
		list = append(list, firstBootPart{"passwd.groups", g.Name})
	}
	for _, u := range ign.Passwd.Users {
		if u.Name != "core" {
			list = append(list, firstBootPart{"a user that is not core", u.Name})
		}
	}
	return list
}

const (
	storageLinks      = "storage.links"
	ignitionArguments = "Ignition's kernelArguments"
)

// refusedLater is what becomes of that.
func (c *Config) refusedLater() string {
	section, advice := c.firstBoot[0].section, ""
	switch section {
	case storageLinks:
		advice = ": write an empty file in place of a link to /dev/null"
	case ignitionArguments:
		advice = ": use spec.kernelArguments"
	}
	return "only a node's first boot applies " + section + "; on nodes that exist the machine-config-operator refuses the whole MachineConfig" + advice
}

// refused is what the specification forbids, of what is decoded here. Of
// specification 2, the machine-config-operator removes duplicates.
func (ign *ignition) refused() (why []string) {
	version := ign.Ignition.Version
	switch {
	case version == "":
		return []string{"it has no ignition.version"}
	case !specification().MatchString(version):
		return []string{"ignition.version " + clip(version)}
	}
	spec2 := version[0] == '2'
	seen := map[string]bool{}
	once := func(what, name string) {
		if key := what + " " + name; !spec2 && seen[key] {
			why = append(why, "two entries of "+what+" "+clip(name))
		} else {
			seen[key] = true
		}
		if what == "path" && name == "" {
			why = append(why, "a file or link without a path (is the input whole?)")
		} else if what == "path" && !spec2 && (!path.IsAbs(name) || path.Clean(name) != name) {
			why = append(why, clip(name)+" is not the plain path of a file")
		}
	}
	take := func(filesystem, name string, mode int, owners ...owner) {
		if filesystem == "" && spec2 {
			why = append(why, "no filesystem (root), of "+clip(name))
		}
		once("path", name)
		if mode < 0 || mode > 0o7777 {
			why = append(why, fmt.Sprintf("mode %d of %s", mode, clip(name)))
		}
		for _, o := range owners {
			if o.ID != nil && o.Name != "" {
				why = append(why, "both id and name of the owner of "+clip(name))
			}
		}
		for _, l := range ign.Storage.Links {
			if !spec2 && strings.HasPrefix(name, l.Path+"/") {
				why = append(why, fmt.Sprintf("%s is below the link %s", clip(name), clip(l.Path)))
			}
		}
	}
	for _, f := range ign.Storage.Files {
		take(f.Filesystem, f.Path, f.Mode, f.User, f.Group)
		if f.Contents.Source == nil && f.Overwrite != nil && *f.Overwrite && !spec2 {
			why = append(why, "overwrite is true, and there is no source, of "+clip(f.Path))
		} else if err := f.Contents.refused(); err != nil {
			why = append(why, fmt.Sprintf("%v, of %s", err, clip(f.Path)))
		}
	}
	for _, d := range ign.Storage.Directories {
		take(d.Filesystem, d.Path, d.Mode, d.User, d.Group)
	}
	for _, l := range ign.Storage.Links {
		if take(l.Filesystem, l.Path, 0, l.User, l.Group); l.Target == "" && !spec2 {
			why = append(why, "a link without a target: "+clip(l.Path))
		}
	}
	for _, r := range ign.Ignition.Config.Merge {
		if r.Source == nil || *r.Source == "" {
			why = append(why, "a configuration to merge without a source")
		}
	}
	for _, arg := range slices.Concat(ign.KernelArguments.ShouldExist, ign.KernelArguments.ShouldNotExist) {
		once("kernelArguments", arg)
	}
	for _, g := range ign.Passwd.Groups {
		once("group", g.Name)
	}
	for _, u := range ign.Passwd.Users {
		once("user", u.Name)
		for _, key := range u.Keys {
			once("sshAuthorizedKeys of "+clip(u.Name), key)
		}
	}
	read := func(name string, text *string) {
		if text == nil || *text == "" {
			return
		}
		if line := refusedLine(*text); line != "" {
			why = append(why, fmt.Sprintf("line %s of unit %s", clip(line), clip(name)))
		}
		if seen["path "+unitConfigDir+name] && !spec2 {
			why = append(why, "a file has the path of unit "+clip(name))
		}
	}
	for _, u := range ign.Systemd.Units {
		once("unit", u.Name)
		if u.Name == "" {
			why = append(why, "a unit without a name (is the input whole?)")
		} else if !slices.Contains(unitTypes, path.Ext(u.Name)) {
			why = append(why, clip(u.Name)+" is not the name of a unit")
		}
		read(u.Name, u.Contents)
		for _, d := range u.DropIns {
			once("drop-in of "+clip(u.Name), d.Name)
			if path.Ext(d.Name) != ".conf" {
				why = append(why, fmt.Sprintf("drop-in %s of unit %s is not called .conf", clip(d.Name), clip(u.Name)))
			}
			read(u.Name+".d/"+d.Name, d.Contents)
		}
	}
	return why
}

// The versions of Ignition's configuration that there are, and of them those of the
// machine-config-operator (IgnParseWrapper), which takes 3.5 from OpenShift 4.19 on.
var (
	specification = pattern.MustCompile(`^(2\.[0-4]|3\.[0-6])\.0$`)
	ofOperator    = pattern.MustCompile(`^(2\.[0-2]|3\.[0-5])\.0$`)
)

// unitTypes are the suffixes that Ignition takes for those of units.
var unitTypes = strings.Fields(".service .socket .device .mount .automount .swap .target .path .timer .snapshot .slice .scope")

// refusedLine is the first line of a unit that Ignition cannot read
// (github.com/coreos/go-systemd, unit/deserialize.go), "" if there is none.
func refusedLine(text string) string {
	const maxLine = 2048
	section, open, hidden := false, false, false // in one; the value, the comment goes on
	for line := range strings.SplitSeq(text, "\n") {
		trimmed := strings.TrimSpace(line)
		more := strings.HasSuffix(strings.TrimSuffix(line, "\r"), `\`)
		switch {
		case len(line) > maxLine:
			return line
		case hidden, trimmed != "" && !open && (trimmed[0] == '#' || trimmed[0] == ';'):
			hidden = strings.HasSuffix(strings.TrimSuffix(line, " "), `\`)
		case open:
			open = trimmed != "" && more
		case trimmed == "":
		case trimmed[0] == '[':
			if section = true; strings.IndexByte(trimmed, ']') != len(trimmed)-1 {
				return line
			}
		case section:
			_, value, ok := strings.Cut(line, "=")
			if !ok {
				return line
			}
			open = strings.TrimSpace(value) != "" && more
		}
	}
	return ""
}

// runs reports whether a unit of the configuration names a file.
func (ign *ignition) runs(file string) bool {
	names := func(text *string) bool { return text != nil && strings.Contains(*text, file) }
	for _, u := range ign.Systemd.Units {
		if names(u.Contents) || slices.ContainsFunc(u.DropIns, func(d dropIn) bool { return names(d.Contents) }) {
			return true
		}
	}
	return false
}

// relevant reports whether a path is one where libkmod and systemd look for
// configuration of modules (modprobe.d(5), modules-load.d(5), sysctl.d(5),
// systemd.unit(5)).
func relevant(path string) bool {
	for _, dir := range []string{"/modprobe.d/", "/modules-load.d/", "/sysctl.d/", "/systemd/system/"} {
		if strings.Contains(path, dir) {
			return true
		}
	}
	return false
}

// appends: a list of resources (3.x) or true (2.x).
func appends(raw json.RawMessage) bool {
	s := string(bytes.TrimSpace(raw))
	return s != "" && s != "null" && s != "false" && s != "[]"
}
