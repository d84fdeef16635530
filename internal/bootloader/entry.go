package bootloader

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/kernelarg"
)

// Entry is an entry of the boot loader: a file of the Boot Loader
// Specification (https://uapi-group.org/specifications/specs/boot_loader_specification/).
type Entry struct {
	File           string // its path
	id             string // the file's name without its suffix
	title, version string
	linux          string
	options        []line
	unified        bool // it has a kernel that brings its own arguments
	// menu: it is of grub.cfg; blscfg: a grub.cfg reads its file, and ends at a line
	// without a value, before which there are so many options.
	menu, blscfg, ends bool
	before             int
}

type line struct {
	number int // from 1
	text   string
}

// parseEntry reads one: lines of a key, blanks and a value. An entry may have
// several lines of options.
func parseEntry(file string, data []byte) Entry {
	e := Entry{File: file, id: strings.TrimSuffix(path.Base(file), ".conf")}
	for number, text := range lines(data) {
		key, value := strings.TrimSpace(text), ""
		if i := strings.IndexAny(key, " \t"); i >= 0 {
			key, value = key[:i], strings.TrimSpace(key[i:])
		}
		if value == "" && !e.ends && !strings.HasPrefix(key, "#") {
			e.ends, e.before = true, len(e.options)
		}
		switch key {
		case "title":
			e.title = value
		case "version":
			e.version = value
		case "linux":
			e.linux = value
		case "efi", "uki", "uki-url":
			e.unified = true
		case "options":
			e.options = append(e.options, line{number: number, text: value})
		}
	}
	return e
}

// OSTree: the entry is of a deployment of OSTree.
func (e Entry) OSTree() bool { return strings.HasPrefix(e.id, "ostree-") }

// Line is the number of the line that has the arguments, 0 if there is none.
func (e Entry) Line() int {
	if len(e.options) == 0 {
		return 0
	}
	return e.options[0].number
}

// rescue: an entry of kernel-install's 51-dracut-rescue or grub-mkconfig's
// recovery mode, which is never the default.
func (e Entry) rescue() bool {
	return strings.Contains(e.id, "-0-rescue") || strings.HasPrefix(e.version, "0-rescue") ||
		len(e.options) == 1 && slices.ContainsFunc(strings.Fields(e.options[0].text), func(w string) bool { return w == "single" || w == "recovery" })
}

// Kernel is the release of the entry's kernel: that in the name of the kernel's
// file, else the entry's version, which in OSTree's entries is the deployment's
// title.
func (e Entry) Kernel() string {
	if base := path.Base(e.linux); strings.HasPrefix(base, "vmlinu") {
		if _, release, ok := strings.Cut(base, "-"); ok {
			return release
		}
	}
	return e.version
}

// same: both have one kernel, with the same arguments, as in a menu and its submenu.
func (e Entry) same(o Entry) bool {
	return e.linux == o.linux && slices.EqualFunc(e.options, o.options, func(a, b line) bool { return a.text == b.text })
}

// Argument is the value of an argument of the entry's own, "" if it has none.
func (e Entry) Argument(key string) string {
	for _, o := range e.options {
		if value := kernelarg.Value(o.text, key); value != "" {
			return value
		}
	}
	return ""
}

// Argument is one argument of a kernel to be booted, and the line that has it.
type Argument struct {
	Token, File string
	Line        int  // from 1; 0 where the file has no lines
	Maybe       bool // GRUB has it under a condition
}

// arguments are the entry's, with GRUB's variables replaced ($kernelopts, $tuned_params):
// one that is set nowhere is empty. missing is one that may be set in a file that is not
// read. known is false where there is such a one, and where the kernel has arguments of
// its own.
func (e Entry) arguments(env map[string]grubVariable) (list []Argument, missing string, known bool) {
	if e.unified {
		return nil, "", false
	}
	options := e.options
	if e.blscfg {
		if e.ends {
			options = options[:e.before]
		}
		options = options[:min(1, len(options))] // the first that it finds
	}
	for _, o := range options {
		text := o.text
		if e.blscfg {
			text = grubCommand(text)
		}
		for tok := range kernelarg.Tokens(text) {
			from := Argument{Token: tok, File: e.File, Line: o.number}
			if strings.Contains(tok, "$") {
				from.Token = grubReference().ReplaceAllStringFunc(tok, func(reference string) string {
					name := strings.Trim(reference, "${}")
					v, ok := env["$"+name]
					if !ok {
						v, ok = env[name]
					}
					if !ok && (name == kernelOpts && !e.menu && !e.blscfg || env[notRead].line > 0) || e.blscfg && reference[1] == '{' { // which blscfg does not know
						missing = reference
					}
					if v, ok := env["?"+name]; ok {
						for tok := range kernelarg.Tokens(v.value) {
							list = append(list, Argument{tok, v.file, v.line, true})
						}
					}
					if len(name)+3 >= len(tok) && ok {
						from.File, from.Line = v.file, v.line
					}
					if e.blscfg {
						return v.value + " "
					}
					return v.value
				})
			}
			list = AppendArguments(list, from.Token, from.File, from.Line)
		}
	}
	if v, ok := env["$"+defaultKernelOpts]; ok && e.blscfg && len(list) == 0 {
		list = AppendArguments(list, v.value, v.file, v.line)
	}
	return list, missing, missing == ""
}

// AppendArguments adds those in a line of a file to a list.
func AppendArguments(list []Argument, text, file string, number int) []Argument {
	for tok := range kernelarg.Tokens(text) {
		list = append(list, Argument{Token: tok, File: file, Line: number})
	}
	return list
}

// defaultEntries are the entries that the next boot may take, where the menu does not
// show which one, by the name, the title or the number of the one that GRUB is told to
// boot; sure: there is exactly one.
func defaultEntries(entries []Entry, want string) (list []Entry, sure bool) {
	if want = strings.TrimSuffix(want, ".conf"); want != "" && want != "0" {
		for _, e := range entries {
			if e.id == want || e.title == want {
				return []Entry{e}, true
			}
		}
		// An entry of grub.cfg, whose name has its kernel in it, or a number.
		longest := 0
		for _, e := range entries {
			if k := e.Kernel(); !e.rescue() && len(k) >= max(longest, 1) && strings.Contains(want, k) {
				if len(k) > longest {
					list, longest = nil, len(k)
				}
				list = append(list, e)
			}
		}
		if len(list) > 0 {
			return list, len(list) == 1
		}
		return entries, false
	}
	if list = slices.DeleteFunc(slices.Clone(entries), Entry.rescue); len(list) == 0 {
		list = entries
	}
	ostree := len(list) > 0
	for _, e := range list {
		ostree = ostree && e.OSTree()
	}
	if ostree {
		// The deployment to be booted has the highest version, and so the name
		// that GRUB sorts first (ostree, src/libostree/ostree-sysroot-deploy.c).
		newest := slices.MaxFunc(list, func(a, b Entry) int { return CompareReleases(a.id, b.id) })
		return []Entry{newest}, true
	}
	return list, len(list) == 1
}

// compareIDs orders the names of entries as GRUB's blscfg does (split_cmp): they are
// NAME-VERSION-RELEASE.
func compareIDs(a, b string) int {
	split := func(id string) (parts [3]string) {
		name, release := id, ""
		if i := strings.LastIndexByte(name, '-'); i >= 0 {
			name, release = name[:i], name[i+1:]
		}
		if i := strings.LastIndexByte(name, '-'); i >= 0 {
			return [3]string{name[:i], name[i+1:], release}
		}
		return [3]string{name, release, ""}
	}
	x, y := split(a), split(b)
	return cmp.Or(CompareReleases(x[0], y[0]), CompareReleases(x[1], y[1]), CompareReleases(x[2], y[2]))
}
