package terminal

import (
	"strings"
	"testing"
)

// TestBroken: text is broken at blanks only, colour has no width, and what has
// none stays whole.
func TestBroken(t *testing.T) {
	long := strings.Repeat("x", 90)
	colour := Coloured()
	for _, c := range []struct {
		print func(*Writer)
		want  string
	}{
		{func(t *Writer) { t.Wrapped(2, "") }, ""},
		{func(t *Writer) { t.Wrapped(2, "  one\n two ") }, "  one two\n"},
		{func(t *Writer) { t.Wrapped(2, strings.Repeat("a", 70)+" "+strings.Repeat("b", 7)) }, "  " + strings.Repeat("a", 70) + " " + strings.Repeat("b", 7) + "\n"},
		{func(t *Writer) { t.Wrapped(2, strings.Repeat("a", 70)+" "+strings.Repeat("b", 8)) }, "  " + strings.Repeat("a", 70) + "\n    " + strings.Repeat("b", 8) + "\n"},
		{func(t *Writer) { t.Wrapped(2, "before "+long+" after") }, "  before\n    " + long + "\n    after\n"},
		{func(t *Writer) { t.Row("name", "value "+long) }, "  name       value\n             " + long + "\n"},
		{func(t *Writer) {
			t.Wrapped(2, colour.Bad(strings.Repeat("é", 70))+" "+strings.Repeat("b", 7))
		}, "  \x1b[1;31m" + strings.Repeat("é", 70) + "\x1b[0m " + strings.Repeat("b", 7) + "\n"},
	} {
		var b strings.Builder
		c.print(colour.Writer(&b))
		if b.String() != c.want {
			t.Errorf("got\n%s\nwant\n%s", b.String(), c.want)
		}
	}
}

func TestShorten(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{{"worker-0", 8, "worker-0"}, {"worker-10", 8, "work…-10"}, {"wörker-10", 8, "wörk…-10"}, {"工作节点-10", 8, "工作…-10"}} {
		if got := shorten(c.in, c.n); got != c.want || Columns(got) > c.n {
			t.Errorf("shorten(%q, %d) = %q, want %q", c.in, c.n, got, c.want)
		}
	}
}

// What goes into a pipe keeps whole names; a terminal's width is kept, and a wide
// character takes two columns of it.
func TestTableWidth(t *testing.T) {
	long := strings.Repeat("工", 60)
	for _, c := range []struct {
		p    Palette
		want int
	}{{Palette{}, 120 + 2 + 6}, {Sized(100), 100}, {Sized(40), 40}} {
		var b strings.Builder
		c.p.Writer(&b).Table([]Column{{Head: "NODE", Shrink: true, Hosts: true}, {Head: "READY"}}, [][]string{{long, "unsure"}, {"a", "true"}},
			func(_ int, _, padded string) string { return padded }, func(int) string { return "" })
		widest := 0
		for line := range strings.Lines(b.String()) {
			widest = max(widest, Columns(strings.TrimSuffix(line, "\n")))
		}
		if widest > c.want || widest < c.want-1 {
			t.Errorf("%d columns, want %d:\n%s", widest, c.want, b.String())
		}
		if got := strings.Contains(b.String(), long); got != (c.p == Palette{}) {
			t.Errorf("%+v: the whole name is there: %v", c.p, got)
		}
	}
}

// FuzzForeign: nothing that others wrote acts on the terminal, wherever it is
// printed, with colours and without; not even the palette's own sequences.
func FuzzForeign(f *testing.F) {
	for _, s := range []string{"", "\x1b[1;31mred\x1b[0m", "\u009b2J", "\x7f", "\u202e", "\uFDD0:1;31\uFDD1", "\uFDD0ABC:0\uFDD1", "\xff\x9b", "a\rb\tc\nd", "\U000E0001"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, p := range []Palette{{}, Coloured(), Sized(40)} {
			var b strings.Builder
			w := p.Writer(&b)
			w.Line("%s", s)
			w.Line("%s %s", p.Bad(s), s)
			w.Wrapped(2, s)
			w.Row("name", s)
			w.Table([]Column{{Head: "A", Shrink: true}}, [][]string{{s}}, func(_ int, _, padded string) string { return p.Warn(padded) }, func(int) string { return s })
			if _, err := Filter(&b).Write([]byte(s)); err != nil {
				t.Fatal(err)
			}
			text := b.String()
			if p.mark != "" {
				// One cell, the head and one word are coloured.
				if n := strings.Count(text, "\x1b[0m"); n != 3 {
					t.Errorf("%d colours in %q", n, text)
				}
				for _, code := range []string{"0", "1", "1;31", "1;33"} {
					text = strings.Replace(text, "\x1b["+code+"m", "", map[string]int{"0": 3}[code]+1)
				}
			}
			for _, r := range text {
				if r != '\n' && Acts(r) {
					t.Fatalf("%q reaches the terminal: %q", r, text)
				}
			}
		}
	})
}
