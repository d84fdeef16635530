// Package terminal writes text for people: prose and tables within the width of
// the terminal, in colour where it supports that, and without control characters.
package terminal

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// Width is the width of all output for people: every terminal has it. Prose is
// broken at blanks, and columns of names lose their middle. What people search for
// or copy is never broken, and so may be longer: a name, an address, a path, a line
// of a file.
const Width = 80

// Writer keeps the first error, so that callers need not check each line. Nothing
// that is printed acts on the terminal except the colours of its palette: much of
// the text is foreign.
type Writer struct {
	Palette
	w io.Writer
	// Bare leaves out the heads of tables.
	Bare bool
	// Err is the first error.
	Err error
}

// Writer makes a writer whose text may have the colours of the palette.
func (p Palette) Writer(w io.Writer) *Writer { return &Writer{Palette: p, w: w} }

// Line prints one line, made as by fmt.Sprintf.
func (t *Writer) Line(format string, args ...any) {
	if t.Err != nil {
		return
	}
	text := fmt.Sprintf(format, args...) + "\n"
	var b strings.Builder
	for at := colourIn(text); at != nil; at = colourIn(text) {
		mark, code := text[at[2]:at[3]], text[at[4]:at[5]]
		b.WriteString(Visible(text[:at[0]]))
		if t.mark != "" && mark == t.mark {
			b.WriteString("\x1b[" + code + "m")
		} else {
			b.WriteString(Visible(text[at[0]:at[1]]))
		}
		text = text[at[1]:]
	}
	b.WriteString(Visible(text))
	_, t.Err = io.WriteString(t.w, b.String())
}

// Filter makes a writer of text that others may have written, such as errors.
func Filter(w io.Writer) io.Writer { return filter{w} }

type filter struct{ w io.Writer }

func (f filter) Write(p []byte) (int, error) {
	if _, err := io.WriteString(f.w, Visible(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Visible replaces each character that a terminal acts on, or does not show, by its
// number: control characters but the end of a line, those that change the direction
// of what follows, and noncharacters.
func Visible(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r != '\n' && Acts(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Acts reports whether a terminal acts on a character, or does not show it.
func Acts(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Noncharacter_Code_Point)
}

// Row prints a name and its value.
func (t *Writer) Row(name, value string) { t.Hanging(fmt.Sprintf("  %-10s ", name), value) }

// Wrapped prints text broken at blanks; lines after the first are indented by
// two more.
func (t *Writer) Wrapped(indent int, text string) {
	margin := strings.Repeat(" ", indent)
	t.broken(margin, margin+"  ", text)
}

// Hanging prints text after a head, and its further lines below the first.
func (t *Writer) Hanging(head, text string) {
	t.broken(head, strings.Repeat(" ", Columns(head)), text)
}

func (t *Writer) broken(first, rest, text string) {
	line, empty := first, true
	for _, word := range strings.Fields(text) {
		if !empty && Columns(line)+1+Columns(word) > t.prose() {
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

// prose is how wide text in sentences is: on a wide terminal, lines end where
// they can still be read.
func (t *Writer) prose() int {
	const narrowest, widest = 40, 100
	if t.width == 0 {
		return Width
	}
	return min(max(t.width, narrowest), widest)
}

// Columns is how wide text is on a terminal: characters of East Asian scripts
// take two columns, those that combine with the one before take none.
func Columns(s string) (total int) {
	if colourIn(s) != nil {
		s = colours().ReplaceAllString(s, "")
	}
	for _, r := range s {
		total += columns(r)
	}
	return total
}

func columns(r rune) int {
	if r < 0x300 {
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	if k := width.LookupRune(r).Kind(); k == width.EastAsianWide || k == width.EastAsianFullwidth {
		return 2
	}
	return 1
}

// Column of a table. When the table would be wider than the terminal (what goes
// into a pipe or a file has none, and keeps whole names), names of
// hosts lose the domain that all of them have in common, then columns that may
// shrink lose the middle of long values, those of hosts at last.
type Column struct {
	Head          string
	Shrink, Hosts bool
}

// Table prints rows under heads, at most as wide as the terminal, if any. paint colours
// a cell that has been padded already; notes are printed below their rows.
func (t *Writer) Table(columns []Column, rows [][]string, paint func(column int, cell, padded string) string, note func(row int) string) {
	for _, row := range rows {
		for i, cell := range row {
			row[i] = Visible(strings.ReplaceAll(cell, "\n", " ")) // one row, one line
		}
	}
	widths := make([]int, len(columns))
	measure := func() (total int) {
		for i, c := range columns {
			widths[i] = 0
			if !t.Bare {
				widths[i] = len(c.Head)
			}
			for _, row := range rows {
				widths[i] = max(widths[i], Columns(row[i]))
			}
			total += widths[i]
		}
		return total + 2*(len(columns)-1)
	}
	total := measure()
	limit := t.width
	if limit == 0 {
		limit = total
	}
	if total > limit {
		for i, c := range columns {
			if c.Hosts {
				cutDomain(rows, i)
			}
		}
		total = measure()
	}
	const smallest = 9
	for _, hosts := range []bool{false, true} {
		for total > limit {
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
		cells[i] = t.Head(pad(c.Head, widths[i]))
	}
	if !t.Bare {
		t.Line("%s", strings.TrimRight(strings.Join(cells, "  "), " "))
	}
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

// cutDomain removes from a column's values what they all have after their first
// dot: of ip-10-0-0-1.eu-central-1.compute.internal the beginning identifies the
// node.
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
	return s + strings.Repeat(" ", max(0, n-Columns(s)))
}

// shorten removes characters from the middle: names differ at both ends.
func shorten(s string, n int) string {
	if Columns(s) <= n {
		return s
	}
	r := []rune(s)
	head, tail := 0, len(r)
	for left := n - 1; head < tail; {
		// From either end in turn, the beginning first.
		next := r[head]
		fromEnd := Columns(string(r[:head])) > Columns(string(r[tail:]))
		if fromEnd {
			next = r[tail-1]
		}
		if left -= columns(next); left < 0 {
			break
		}
		if fromEnd {
			tail--
		} else {
			head++
		}
	}
	return string(r[:head]) + "…" + string(r[tail:])
}

// OrDash is a value in a table, "-" when there is none.
func OrDash(s string) string { return cmp.Or(s, "-") }
