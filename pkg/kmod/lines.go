package kmod

import (
	"bytes"
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
		var buf bytes.Buffer
		number, first := 1, 1
		emit := func() bool {
			text := cString(buf.String())
			buf.Reset()
			return yield(logicalLine{number: first, text: text})
		}
		for i := 0; i < len(data); i++ {
			switch c := data[i]; {
			case c == '\n':
				if !emit() {
					return
				}
				number++
				first = number
			case c == '\\' && i+1 == len(data):
				if kmod <= 33 {
					buf.WriteByte(0xff)
				}
			case c == '\\':
				i++
				if data[i] == '\n' {
					number++
					continue
				}
				buf.WriteByte(data[i])
			default:
				buf.WriteByte(c)
			}
		}
		if buf.Len() > 0 {
			emit()
		}
	}
}

// nextWord splits off the first word as strtok_r(3) with "\t " does: leading
// separators are skipped, and exactly one separator after the word is eaten.
// ok is false if there is no word.
func nextWord(s string) (word, rest string, ok bool) {
	s = strings.TrimLeft(s, "\t ")
	if s == "" {
		return "", "", false
	}
	if i := strings.IndexAny(s, "\t "); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", true
}

// maxText bounds what is quoted of a line.
const maxText = 160

// printable makes a line of any bytes fit for a report: control characters and
// bytes that are not UTF-8 are shown escaped, and long lines are cut.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\t':
			b.WriteByte(' ')
		case r == '\r':
			b.WriteString(`\r`)
		case r < ' ' || r == 0x7f || r == '\uFFFD' || r >= 0x80 && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == '\ufeff':
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
		if b.Len() > maxText {
			b.WriteString("…")
			break
		}
	}
	return b.String()
}
