package kmod

import (
	"bytes"
	"strings"
)

// sysctlDirs are the directories of sysctl.d(5), first wins: CONF_PATHS as for
// modules-load.d.
func sysctlDirs(systemd int) []string {
	dirs := []string{"/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d"}
	if systemd <= 252 {
		dirs = append(dirs, "/lib/sysctl.d")
	}
	return dirs
}

// sysctlLine is an assignment of sysctl.d.
type sysctlLine struct {
	source
	value string
}

// parseSysctl finds the last assignment of each of the names (src/sysctl/sysctl.c,
// parse_file): a dash before the name says that failure does not matter, the
// first of "." and "/" in a name is its separator (sysctl_normalize), comments
// begin with "#" or ";".
func parseSysctl(file string, data []byte, names []string, found map[string]sysctlLine) {
	number := 0
	for raw := range bytes.Lines(data) {
		number++
		text := strings.TrimSpace(cString(string(raw)))
		if text == "" || text[0] == '#' || text[0] == ';' {
			continue
		}
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			continue
		}
		key = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(key), "-"))
		if i := strings.IndexAny(key, "./"); i >= 0 && key[i] == '/' {
			key = strings.NewReplacer("/", ".", ".", "/").Replace(key)
		}
		for _, name := range names {
			if key == name {
				found[name] = sysctlLine{source{file: file, line: number, text: text}, strings.TrimSpace(value)}
			}
		}
	}
}
