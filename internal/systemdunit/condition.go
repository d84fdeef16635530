package systemdunit

import (
	"path"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
)

// Truth of a condition at the next boot.
type Truth int

const (
	// Unclear: not known from a root.
	Unclear Truth = iota
	No
	Yes
)

func truth(b bool) Truth {
	if b {
		return Yes
	}
	return No
}

// Conditions reports whether the conditions and assertions of a unit hold
// (systemd.unit(5), "Conditions and Asserts"): all of them, and of those with "|"
// at least one. by is one that decides. cmdline are the words of the kernel's
// command line. The distribution's own conditions hold unless the root shows
// otherwise.
func (s *Set) Conditions(u *Unit, cmdline []string) (all Truth, by Setting) {
	all = Yes
	for _, prefix := range []string{"Condition", "Assert"} {
		// An empty assignment to any of them takes back all before it.
		var list []Setting
		for _, v := range u.Settings {
			switch {
			case v.Section != "Unit" || !strings.HasPrefix(v.Key, prefix):
			case v.Value == "":
				list = nil
			default:
				list = append(list, v)
			}
		}
		t, one := s.conditions(list, prefix, cmdline)
		if t == No || t == Unclear && all == Yes {
			all, by = t, one
		}
	}
	return all, by
}

func (s *Set) conditions(list []Setting, prefix string, cmdline []string) (all Truth, by Setting) {
	all = Yes
	var any *Truth
	var anyBy Setting
	for _, v := range list {
		value, trigger := strings.CutPrefix(v.Value, "|")
		value, negated := strings.CutPrefix(strings.TrimSpace(value), "!")
		kind, value := strings.TrimPrefix(v.Key, prefix), strings.TrimSpace(value)
		t := s.condition(kind, value, cmdline)
		switch {
		case negated && (kind == "KernelModuleLoaded" || strings.HasPrefix(value, "/sys/module/")):
			t = Yes // what it would load is there already, or it is run
		case negated && t == Yes:
			t = No
		case negated && t == No:
			t = Yes
		}
		if t == Unclear && v.Vendor {
			t = truth(!trigger || kind != "DirectoryNotEmpty" || !s.emptyRun(value))
		}
		if !trigger {
			if t == No && all != No || t == Unclear && all == Yes {
				all, by = t, v
			}
			continue
		}
		if any == nil || t == Yes || t == Unclear && *any == No {
			any, anyBy = &t, v
		}
	}
	if any != nil && (*any == No && all != No || *any == Unclear && all == Yes) {
		all, by = *any, anyBy
	}
	return all, by
}

// emptyRun reports whether a directory in /run is not there, or has nothing in it: what a
// boot puts there it has put there in this one.
func (s *Set) emptyRun(name string) bool {
	if _, err := s.files.Stat("/run"); err != nil || !strings.HasPrefix(name, "/run/") {
		return false
	}
	entries, err := s.files.ReadDir(name)
	return hostroot.Absent(err) || err == nil && len(entries) == 0
}

// lasting are the directories whose files are the same at the next boot.
var lasting = []string{"etc", "usr", "lib", "lib64", "bin", "sbin", "opt"}

func (s *Set) condition(kind, value string, cmdline []string) Truth {
	switch kind {
	case "PathExists", "PathIsDirectory", "FileNotEmpty", "DirectoryNotEmpty", "FileIsExecutable":
		return s.pathCondition(kind, value)
	case "KernelCommandLine":
		return truth(slices.ContainsFunc(cmdline, func(word string) bool {
			key, _, _ := strings.Cut(word, "=")
			return word == value || key == value
		}))
	case "Capability":
		if slices.Contains([]string{"CAP_SYS_MODULE", "CAP_SYS_ADMIN", "CAP_NET_ADMIN"}, strings.ToUpper(value)) {
			return Yes // systemd has all that there are
		}
	case "Virtualization":
		if value == "container" {
			return No // the machine's own systemd is meant
		}
	}
	return Unclear
}

func (s *Set) pathCondition(kind, name string) Truth {
	top, _, _ := strings.Cut(strings.TrimPrefix(path.Clean(name), "/"), "/")
	if !path.IsAbs(name) || strings.Contains(name, "%") || !slices.Contains(lasting, top) {
		return Unclear
	}
	st, err := s.files.Stat(name)
	switch {
	case err != nil && hostroot.Absent(err) && s.partial() && top != "etc":
		return Unclear
	case err != nil && hostroot.Absent(err):
		return No
	case err != nil:
		return Unclear
	}
	switch kind {
	case "PathIsDirectory":
		return truth(st.Mode.IsDir())
	case "FileNotEmpty":
		return truth(st.Mode.IsRegular() && st.Size > 0)
	case "FileIsExecutable":
		return truth(st.Mode.IsRegular() && st.Mode&0o111 != 0)
	case "DirectoryNotEmpty":
		entries, err := s.files.ReadDir(name)
		if err != nil {
			return No
		}
		return truth(slices.ContainsFunc(entries, func(e hostroot.Entry) bool { return !hidden(e.Name) }))
	}
	return Yes
}

// hidden reports whether systemd ignores a file of this name where it looks whether a
// directory is empty (src/basic/path-util.c, hidden_or_backup_file).
func hidden(name string) bool {
	return name[0] == '.' || strings.HasSuffix(name, "~") || slices.Contains(
		strings.Fields("lost+found aquota.user aquota.group"), name) || slices.Contains(
		strings.Fields(".rpmnew .rpmsave .rpmorig .dpkg-old .dpkg-new .dpkg-tmp .dpkg-dist .dpkg-bak .dpkg-backup .dpkg-remove .ucf-new .ucf-old .ucf-dist .swp .bak .old .new"), path.Ext(name))
}
