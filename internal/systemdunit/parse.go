package systemdunit

import (
	"strconv"
	"strings"
)

// Setting is one assignment of a unit file.
type Setting struct {
	Section, Key, Value string
	// File and Line are where it is; Vendor: it is the distribution's.
	File   string
	Line   int
	Vendor bool
	// perhaps: it holds by chance.
	perhaps bool
}

// Ignored: the failure of a command is ignored (systemd.service(5), the prefix
// "-").
func (v Setting) Ignored() bool {
	prefix := strings.TrimLeft(v.Value, "-@:+!|")
	return strings.Contains(strings.TrimSuffix(v.Value, prefix), "-")
}

// parse reads a unit file (systemd.syntax(7)): sections, assignments, comments of
// whole lines, and lines that end with a backslash and continue in the next one,
// comments in between left out.
func parse(file string, data []byte) (list []Setting) {
	section, joined, start := "", "", 0
	open := false
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(string(data), "\ufeff")) {
		number++
		text := strings.TrimRight(line, "\r\n")
		trimmed := strings.TrimSpace(text)
		if trimmed != "" && (trimmed[0] == '#' || trimmed[0] == ';') {
			continue
		}
		if !open {
			joined, start = "", number
		}
		var more bool
		if text, more = strings.CutSuffix(text, "\\"); more {
			joined, open = joined+text+" ", true
			continue
		}
		joined, open = joined+text, false
		list, section = assign(list, section, joined, file, start)
	}
	if open {
		list, _ = assign(list, section, joined, file, start)
	}
	return list
}

// badHeader is a section header without its closing bracket: systemd does not load
// such a file.
const badHeader = "section header"

func assign(list []Setting, section, line, file string, number int) ([]Setting, string) {
	line = strings.TrimSpace(line)
	if name, ok := strings.CutPrefix(line, "["); ok {
		if !strings.HasSuffix(name, "]") {
			list = append(list, Setting{Section: section, Key: badHeader, Value: line, File: file, Line: number, Vendor: vendor(file)})
		}
		return list, strings.TrimSuffix(name, "]")
	}
	key, value, ok := strings.Cut(line, "=")
	key = strings.TrimSpace(key)
	// Nothing else is needed, and a host has hundreds of units.
	switch section {
	case "Unit", "Service", "Timer", "Path", "Socket", "Install", managerSection:
	default:
		ok = false
	}
	if !ok || harmless(key) || key == "After" && vendor(file) {
		return list, section
	}
	return append(list, Setting{
		Section: section, Key: key, Value: strings.TrimSpace(value),
		File: file, Line: number, Vendor: vendor(file),
	}), section
}

func vendor(file string) bool {
	return strings.HasPrefix(file, "/usr/lib/") || strings.HasPrefix(file, "/lib/")
}

// Values are the assignments in force of a setting that is a list: an empty one
// takes back all before it.
func (u *Unit) Values(section, key string) (list []Setting) {
	for _, s := range u.Settings {
		switch {
		case s.Section != section || s.Key != key:
		case s.Value == "":
			list = nil
		default:
			list = append(list, s)
		}
	}
	return list
}

// Commands splits a value of ExecStart= (systemd.service(5), "Command lines"):
// the prefixes of the program are left out, quotes and escapes are replaced, and a
// word ";" begins another command. ok is false where a word has an unknown escape, a
// variable or a specifier that is not the instance's.
func (u *Unit) Commands(value string) (commands [][]string, ok bool) {
	var args []string
	ok = true
	end := func() {
		if len(args) > 0 {
			prefixes := "-@:+!"
			if u.inShell != No {
				prefixes += "|"
			}
			program := strings.TrimLeft(args[0], prefixes)
			if program == "" || program[0] != '/' && strings.Contains(program, "/") {
				commands, ok, value, args = nil, false, "", nil // the whole line is ignored
				return
			}
			prefix := strings.TrimSuffix(args[0], program)
			if strings.Contains(prefix, "@") && len(args) > 1 {
				args = args[1:] // the program's argv[0] stood there
			}
			ok = ok && (u.inShell == Yes || !strings.Contains(prefix, "|"))
			args[0] = program
			commands = append(commands, args)
		}
		args = nil
	}
	for value = strings.TrimLeft(value, " \t"); value != ""; value = strings.TrimLeft(value, " \t") {
		word, rest, quoted, good := cutWord(value)
		value = rest
		if word == ";" && !quoted {
			end()
			continue
		}
		text, known := u.expand(word)
		ok = ok && good && known
		args = append(args, text)
	}
	end()
	return commands, ok
}

func cutWord(s string) (word, rest string, quoted, ok bool) {
	var b strings.Builder
	ok = true
	var quote byte
	if rest, is := strings.CutPrefix(s, `\;`); is && (rest == "" || rest[0] == ' ' || rest[0] == '\t') {
		return ";", rest, true, true // one that separates no commands
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\':
			text, n := unescape(s[i:])
			if n == 0 {
				ok, text, n = false, `\`, 1
			}
			b.WriteString(text)
			quoted, i = true, i+n-1
		case c == '$':
			ok = false
			b.WriteByte(c)
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			b.WriteByte(c)
		case c == '"' || c == '\'':
			quote, quoted = c, true
		case c == ' ' || c == '\t':
			return b.String(), s[i:], quoted, ok
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), "", quoted, ok && quote == 0
}

// unescape replaces the escape that a text begins with (systemd.service(5), Table 2),
// of which n bytes are; 0 if it is none.
func unescape(s string) (text string, n int) {
	if len(s) > 1 {
		if at := strings.IndexByte(`"'s`, s[1]); at >= 0 {
			return `"' `[at : at+1], 2
		}
	}
	r, multibyte, rest, err := strconv.UnquoteChar(s, 0)
	switch {
	case err != nil || r == 0:
		return "", 0
	case multibyte:
		return string(r), len(s) - len(rest)
	}
	return string([]byte{byte(r)}), len(s) - len(rest)
}

// expand replaces the specifiers of systemd.unit(5) that are the unit's instance. The others
// depend on the host, or on which of its names a unit is known by.
func (u *Unit) expand(s string) (string, bool) {
	if !strings.Contains(s, "%") {
		return s, true
	}
	var b strings.Builder
	for left := s; ; {
		before, rest, found := strings.Cut(left, "%")
		b.WriteString(before)
		if !found {
			return b.String(), true
		}
		if rest == "" {
			return s, false
		}
		switch rest[0] {
		case '%':
			b.WriteByte('%')
		case 'i':
			b.WriteString(u.instance())
		case 'I':
			if strings.Contains(u.instance(), `\`) {
				return s, false
			}
			b.WriteString(strings.ReplaceAll(u.instance(), "-", "/"))
		default:
			return s, false
		}
		left = rest[1:]
	}
}

// instance is what follows the "@" in a unit's name.
func (u *Unit) instance() string {
	_, rest, _ := strings.Cut(u.Name, "@")
	if dot := strings.LastIndexByte(rest, '.'); dot >= 0 {
		return rest[:dot]
	}
	return ""
}
