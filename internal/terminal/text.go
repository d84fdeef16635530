// Package terminal is text for people: prose and tables within the width of every
// terminal, in colour where that can be seen, and without anything that acts on
// the terminal.
package terminal

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"
)

// Width is what all that people read is made for: every terminal has it. Prose
// is broken at blanks, and columns of names lose their middle. What somebody
// will search for or copy is never broken, and so may be longer: a name, an
// address, a path, a line of a file.
const Width = 80

// Writer keeps the first error, so that printing reads as a page. Of what is
// printed nothing acts on the terminal but the colours of its palette: much of it
// was written by others.
type Writer struct {
	w      io.Writer
	colour bool
	// Err is the first error.
	Err error
}

// Writer makes a writer whose text may have the colours of the palette.
func (p Palette) Writer(w io.Writer) *Writer { return &Writer{w: w, colour: p.colour} }

// Line prints one line, made as by fmt.Sprintf.
func (t *Writer) Line(format string, args ...any) {
	if t.Err != nil {
		return
	}
	text := fmt.Sprintf(format, args...) + "\n"
	var b strings.Builder
	if t.colour {
		for at := colours.FindStringIndex(text); at != nil; at = colours.FindStringIndex(text) {
			b.WriteString(Visible(text[:at[0]]) + text[at[0]:at[1]])
			text = text[at[1]:]
		}
	}
	b.WriteString(Visible(text))
	_, t.Err = io.WriteString(t.w, b.String())
}

// Visible replaces what a terminal acts on, or does not show, by its number:
// control characters but the end of a line, and those that change the direction
// of what follows.
func Visible(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r != '\n' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			fmt.Fprintf(&b, `\u%04x`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Row prints a name and its value.
func (t *Writer) Row(name, value string) { t.Hanging(fmt.Sprintf("  %-10s ", name), value) }

// Wrapped prints text broken at blanks; lines after the first are indented by
// two more.
func (t *Writer) Wrapped(indent int, text string) {
	margin := strings.Repeat(" ", indent)
	t.broken(margin, margin+"  ", text)
}

// Hanging prints text behind a head, and its further lines below the first.
func (t *Writer) Hanging(head, text string) {
	t.broken(head, strings.Repeat(" ", Columns(head)), text)
}

func (t *Writer) broken(first, rest, text string) {
	line, empty := first, true
	for _, word := range strings.Fields(text) {
		if !empty && Columns(line)+1+Columns(word) > Width {
			t.Line("%s", line)
			line, empty = rest, true
		}
		if !empty {
			line += " "
		}
		line += word
		empty = false
	}
	if !empty {
		t.Line("%s", line)
	}
}

// colours are the escape sequences of [Palette].
var colours = regexp.MustCompile("\x1b\\[(0|1|1;3[1-3])m")

// Columns is how wide text is on a terminal.
func Columns(s string) int { return len([]rune(colours.ReplaceAllString(s, ""))) }

// Column of a table. When the table would be wider than the terminal, names of
// hosts lose the domain that all of them have in common, then columns that may
// shrink lose the middle of long values, those of hosts at last.
type Column struct {
	Head          string
	Shrink, Hosts bool
}

// Table prints rows under heads, at most as wide as the terminal. paint colours
// a cell that has been padded already; notes are printed below their rows.
func (t *Writer) Table(p Palette, columns []Column, rows [][]string, paint func(column int, cell, padded string) string, note func(row int) string) {
	for _, row := range rows {
		for i, cell := range row {
			row[i] = strings.ReplaceAll(cell, "\n", " ") // one row, one line
		}
	}
	widths := make([]int, len(columns))
	measure := func() (total int) {
		for i, c := range columns {
			widths[i] = len(c.Head)
			for _, row := range rows {
				widths[i] = max(widths[i], len([]rune(row[i])))
			}
			total += widths[i]
		}
		return total + 2*(len(columns)-1)
	}
	total := measure()
	if total > Width {
		for i, c := range columns {
			if c.Hosts {
				cutDomain(rows, i)
			}
		}
		total = measure()
	}
	const smallest = 9
	for _, hosts := range []bool{false, true} {
		for total > Width {
			widest := -1
			for i, c := range columns {
				if c.Shrink && c.Hosts == hosts && widths[i] > smallest && (widest < 0 || widths[i] > widths[widest]) {
					widest = i
				}
			}
			if widest < 0 {
				break
			}
			widths[widest]--
			total--
		}
	}
	cells := make([]string, len(columns))
	for i, c := range columns {
		cells[i] = p.Head(pad(c.Head, widths[i]))
	}
	t.Line("%s", strings.TrimRight(strings.Join(cells, "  "), " "))
	for r, row := range rows {
		for i, cell := range row {
			cells[i] = paint(i, cell, pad(shorten(cell, widths[i]), widths[i]))
		}
		t.Line("%s", strings.TrimRight(strings.Join(cells, "  "), " "))
		if text := note(r); text != "" {
			t.Wrapped(2, text)
		}
	}
}

// cutDomain takes from a column's values what they all have behind their first
// dot: of ip-10-0-0-1.eu-central-1.compute.internal the beginning tells the node.
func cutDomain(rows [][]string, column int) {
	if len(rows) < 2 {
		return
	}
	_, domain, found := strings.Cut(rows[0][column], ".")
	for _, row := range rows {
		_, other, _ := strings.Cut(row[column], ".")
		found = found && other == domain
	}
	if !found {
		return
	}
	for _, row := range rows {
		row[column] = strings.TrimSuffix(row[column], domain) + "…"
	}
}

func pad(s string, n int) string {
	return s + strings.Repeat(" ", max(0, n-len([]rune(s))))
}

// shorten takes characters out of the middle: names differ at both ends.
func shorten(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	tail := (n - 1) / 2
	head := n - 1 - tail
	return string(r[:head]) + "…" + string(r[len(r)-tail:])
}

// OrDash is a value in a table, "-" when there is none.
func OrDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
