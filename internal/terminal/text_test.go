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
		}, "  " + colour.Bad(strings.Repeat("é", 70)) + " " + strings.Repeat("b", 7) + "\n"},
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
	}{{"worker-0", 8, "worker-0"}, {"worker-10", 8, "work…-10"}, {"wörker-10", 8, "wörk…-10"}} {
		if got := shorten(c.in, c.n); got != c.want || len([]rune(got)) > c.n {
			t.Errorf("shorten(%q, %d) = %q, want %q", c.in, c.n, got, c.want)
		}
	}
}
