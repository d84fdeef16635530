package kmod

import (
	"slices"
	"strconv"
	"strings"
)

// sysctlLine is an assignment of sysctl.d.
type sysctlLine struct {
	source
	key, value string
	// excluded: the line is a dash and the key alone, and no pattern sets it.
	excluded bool
}

// parseSysctl adds the assignments of one file (src/sysctl/sysctl.c, parse_file). A
// later one of the same key replaces an earlier one, and moves to the end. With a
// dash before the key, failure is ignored.
func parseSysctl(list []sysctlLine, file string, data []byte, systemd int) []sysctlLine {
	for _, l := range modulesLoadLines(data, systemd) {
		key, value, ok := strings.Cut(l.text, "=")
		dashed := strings.HasPrefix(key, "-")
		if !ok && !dashed {
			continue
		}
		s := sysctlLine{source{file: file, line: l.number, text: l.text}, sysctlKey(trimBlanks(strings.TrimPrefix(trimBlanks(key), "-"))), trimBlanks(value), !ok}
		list = append(slices.DeleteFunc(list, func(o sysctlLine) bool { return o.key == s.key }), s)
	}
	return list
}

func trimBlanks(s string) string { return strings.Trim(s, " \t\n\r") }

// sysctlKey is a name with slashes: the first of "." and "/" in it is its separator
// (src/basic/sysctl-util.c, sysctl_normalize).
func sysctlKey(name string) string {
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '.' {
		name = strings.NewReplacer("/", ".", ".", "/").Replace(name)
	}
	parts := strings.FieldsFunc(name, func(r rune) bool { return r == '/' })
	return strings.Join(parts, "/")
}

// sysctlWrites are the assignments that set a sysctl, in order. A pattern does not
// set one that is named elsewhere.
func (h *host) sysctlWrites(list []sysctlLine, name string) (writes []sysctlLine) {
	named := slices.ContainsFunc(list, func(s sysctlLine) bool { return s.key == name })
	for _, s := range list {
		if !s.excluded && (s.key == name || !named && h.matchesPath(s.key, name)) {
			writes = append(writes, s)
		}
	}
	return writes
}

// matchesPath is glob(7), where no pattern crosses a slash.
func (h *host) matchesPath(pattern, name string) bool {
	if !strings.ContainsAny(pattern, "*?[") {
		return false // a name, whatever backslashes it has
	}
	// A backslash takes nothing from a slash.
	patterns, names := strings.Split(strings.ReplaceAll(pattern, `\/`, "/"), "/"), strings.Split(name, "/")
	if len(patterns) != len(names) {
		return false
	}
	for i := range names {
		if !h.matches(patterns[i], names[i]) {
			return false
		}
	}
	return true
}

// isOne reports whether the kernel reads a value as 1 (kernel/sysctl.c,
// proc_get_long: what comes after a blank does not matter).
func isOne(value string) bool {
	word, _, _ := strings.Cut(strings.ReplaceAll(value, "\t", " "), " ")
	n, err := strconv.ParseInt(word, 0, 64)
	return err == nil && n == 1
}
