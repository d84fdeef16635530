package kmod

import (
	"fmt"
	"iter"
	"strings"
)

// logicalLine is one line of a modprobe.d file after joining.
type logicalLine struct {
	number int    // first physical line, from 1
	text   string // up to a NUL, where libkmod stops reading
}

// logicalLines yields the lines of a modprobe.d file as libkmod reads them
// (shared/util.c, freadline_wrapped): only a newline ends a line; backslash and
// newline vanish; a backslash before any other byte vanishes, the byte stays.
// A backslash that ends the file is read as the byte 0xff by kmod up to 33,
// which takes EOF for a character, and vanishes from 34 on.
func logicalLines(data []byte, kmod int) iter.Seq[logicalLine] {
	return func(yield func(logicalLine) bool) {
		rest := string(data)
		for number := 1; rest != ""; {
			line := logicalLine{number: number}
			end := strings.IndexByte(rest, '\n')
			text := rest
			if end >= 0 {
				text = rest[:end]
			}
			if strings.IndexByte(text, '\\') < 0 {
				rest = rest[min(len(text)+1, len(rest)):]
				number++
			} else {
				var newlines int
				text, rest, newlines = unescapedLine(rest, kmod)
				number += newlines
			}
			line.text = cString(text)
			if !yield(line) {
				return
			}
		}
	}
}

// unescapedLine takes one logical line off s, which has a backslash in it, and
// counts the newlines that it took.
func unescapedLine(s string, kmod int) (text, rest string, newlines int) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\n':
			return b.String(), s[i+1:], newlines + 1
		case c == '\\' && i+1 == len(s):
			if kmod <= 33 {
				b.WriteByte(0xff)
			}
		case c == '\\':
			i++
			if s[i] == '\n' {
				newlines++
				continue
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), "", newlines
}

// nextWord splits off the first word as strtok_r(3) with "\t " does: leading
// separators are skipped, and exactly one separator after the word is eaten.
// ok is false if there is no word.
func nextWord(s string) (word, rest string, ok bool) {
	start := 0
	for start < len(s) && isBlank(s[start]) {
		start++
	}
	end := start
	for end < len(s) && !isBlank(s[end]) {
		end++
	}
	return s[start:end], s[min(end+1, len(s)):], start < end
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// maxText bounds what is quoted of a line.
const maxText = 160

// printable makes a line of any bytes fit for a report: control characters and
// bytes that are not UTF-8 are shown escaped, and long lines are cut.
func printable(s string) string {
	if len(s) <= maxText && plain(s) {
		return strings.Clone(s) // without the rest of its file
	}
	var b strings.Builder
	for _, r := range s {
		if writePrintable(&b, r); b.Len() > maxText {
			b.WriteString("…")
			break
		}
	}
	return b.String()
}

// printableName does the same for a path, which is never cut. A file's name is
// bytes, and a report is UTF-8 that ends up on terminals and in Node objects.
func printableName(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		writePrintable(&b, r)
	}
	return b.String()
}

func writePrintable(b *strings.Builder, r rune) {
	switch {
	case r == '\t':
		b.WriteByte(' ')
	case r == '\r':
		b.WriteString(`\r`)
	case r < ' ' || r == 0x7f || r == '\uFFFD' || r >= 0x80 && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == '\ufeff':
		fmt.Fprintf(b, `\u%04x`, r)
	default:
		b.WriteRune(r)
	}
}

// plain reports whether there is only printable ASCII.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
