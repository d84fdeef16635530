package systemdunit

import (
	"iter"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
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
func (v Setting) Ignored() bool { return strings.Contains(v.prefixes(), "-") }

// prefixes are those of the first command.
func (v Setting) prefixes() string { return prefixes(strings.TrimLeft(v.Value, `"'`), sincePipe) }

// parse reads a unit file (systemd.syntax(7)): sections, assignments, comments of
// whole lines, and lines that end with a backslash and continue in the next one,
// comments in between left out.
func (s *Set) parse(file string, data []byte) (list []Setting) {
	section, joined, start := "", "", 0
	open, hidden := false, false // the line before goes on; it is a comment and goes on
	for number, line := range lines(strings.TrimPrefix(string(data), "\ufeff")) {
		more := (len(line)-len(strings.TrimRight(line, `\`)))%2 == 1 // two are one that is no end
		trimmed := strings.Trim(line, blanks)
		comment := trimmed != "" && (trimmed[0] == '#' || trimmed[0] == ';')
		if s.systemd < skipsComments && (open && comment || hidden && !comment && trimmed != "") {
			list = append(list, Setting{Section: section, Key: badLine, Value: line, File: file, Line: number, Vendor: vendor(file)})
		}
		if hidden = comment && more; comment {
			continue
		}
		if !open {
			joined, start = "", number
		}
		if joined, open = joined+line, more; more {
			joined = joined[:len(joined)-1] + " "
			continue
		}
		list, section = s.assign(list, section, joined, file, start)
	}
	if open {
		list, _ = s.assign(list, section, joined, file, start)
	}
	return list
}

// lines goes through a text's lines with their numbers, as editors count them. For
// systemd a CR and a NUL end a line, too.
func lines(text string) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		for number, rest := 1, text; ; {
			end := strings.IndexAny(rest, "\n\r\x00")
			if end < 0 {
				yield(number, rest)
				return
			}
			if !yield(number, rest[:end]) {
				return
			}
			if rest = rest[end:]; strings.HasPrefix(rest, "\r\n") {
				rest = rest[1:]
			}
			if rest[0] == '\n' {
				number++
			}
			rest = rest[1:]
		}
	}
}

// blanks are what systemd takes for white space.
const blanks = " \t\n\r"

// words are what white space separates.
func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(blanks, r) })
}

// badLine is a line because of which systemd does not load a file, as a section header
// without its closing bracket and bytes that are not UTF-8, or that not all of its
// versions read alike.
const badLine = "line"

// The versions of systemd in which a comment no longer goes on in the next line and a
// line needs no "=", and in which there is no ".include" any more.
const (
	skipsComments = 240
	noInclude     = 247
)

// Broken is a line of the unit's files because of which not all that is there counts.
func (u *Unit) Broken() (by Setting, found bool) {
	at := slices.IndexFunc(u.Settings, func(v Setting) bool { return v.Key == badLine })
	if at < 0 {
		return by, false
	}
	return u.Settings[at], true
}

func (s *Set) assign(list []Setting, section, line, file string, number int) ([]Setting, string) {
	line = strings.Trim(line, blanks)
	bad := !utf8.ValidString(line)
	if name, ok := strings.CutPrefix(line, "["); ok && !bad {
		if bad = !strings.HasSuffix(name, "]"); !bad {
			return list, strings.TrimSuffix(name, "]")
		}
	}
	key, value, ok := strings.Cut(line, "=")
	if other, is := strings.CutPrefix(line, ".include "); is && s.systemd < noInclude {
		if other = strings.Trim(other, blanks); !path.IsAbs(other) {
			other = path.Join(path.Dir(file), other)
		}
		if s.includes++; s.includes <= maxIncludes {
			if data, _, err := s.read(other); err == nil {
				list = append(list, s.parse(other, data)...)
			}
		}
		bad = true
	}
	if bad || s.systemd < skipsComments && !ok && line != "" {
		return append(list, Setting{Section: section, Key: badLine, Value: line, File: file, Line: number, Vendor: vendor(file)}), section
	}
	key = strings.Trim(key, blanks)
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
		Section: section, Key: key, Value: strings.Trim(value, blanks),
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
			program := strings.TrimPrefix(args[0], prefixes(args[0], u.latest))
			if !validProgram(program) {
				commands, ok, value, args = nil, false, "", nil // the whole line is ignored
				return
			}
			prefix := strings.TrimSuffix(args[0], program)
			if strings.Contains(prefix, "@") && len(args) > 1 {
				args = args[1:] // the program's argv[0] stood there
			}
			ok = ok && prefixes(prefix, u.systemd) == prefix
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

// The versions of systemd that brought prefixes of commands; before, these are part of
// the name, which is no valid one then.
const (
	sinceColon = 244
	sincePipe  = 258
)

// prefixes are those of a command's first word (systemd.service(5), Table 1): each once,
// "+" alone of those about privileges, "!" twice.
func prefixes(word string, systemd int) string {
	n := 0
	for n < len(word) {
		before := word[:n]
		switch c := word[n]; {
		case c == '-' || c == '@' || c == ':' && systemd >= sinceColon || c == '|' && systemd >= sincePipe:
			if strings.IndexByte(before, c) >= 0 {
				return before
			}
		case c == '+':
			if strings.ContainsAny(before, "+!") {
				return before
			}
		case c == '!':
			if strings.Contains(before, "+") || strings.Count(before, "!") == 2 {
				return before
			}
		default:
			return before
		}
		n++
	}
	return word
}

// validProgram reports whether systemd takes a word for the name of a program
// (src/core/load-fragment.c, config_parse_exec).
func validProgram(name string) bool {
	return name != "" && !strings.HasSuffix(name, "/") && (name[0] == '/' || !strings.Contains(name, "/")) &&
		!strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || strings.ContainsRune("\"'\\", r) })
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

// byName replaces the specifiers that are of the unit's name, if systemd knows it by
// this one.
func (u *Unit) byName(s string) string {
	name := strings.TrimSuffix(u.Name, path.Ext(u.Name))
	prefix, _, _ := strings.Cut(name, "@")
	return strings.NewReplacer("%%", "%%", "%n", u.Name, "%N", name, "%p", prefix).Replace(s)
}

// instance is what follows the "@" in a unit's name.
func (u *Unit) instance() string {
	_, rest, _ := strings.Cut(u.Name, "@")
	if dot := strings.LastIndexByte(rest, '.'); dot >= 0 {
		return rest[:dot]
	}
	return ""
}
