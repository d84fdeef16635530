package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// fits fails for lines that a terminal of 80 columns breaks, and for colour.
// A line that consists of one thing to be copied may be longer; see [width].
func fits(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if columnsOf(line) > width && len(strings.Fields(line)) > 1 {
			t.Errorf("%d columns: %s", columnsOf(line), line)
		}
		if strings.ContainsRune(line, '\x1b') {
			t.Errorf("an escape sequence in a pipe: %q", line)
		}
	}
}

// TestHelpFits holds the help of every command to the width, and to what
// cobra's own says.
func TestHelpFits(t *testing.T) {
	seen := 0
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
		seen++
		args := strings.Fields(cmd.CommandPath())[1:]
		t.Run(strings.Join(append([]string{"help"}, args...), " "), func(t *testing.T) {
			o := run(t, func(c *exec.Cmd) { c.Env = []string{"HOME=/root"} }, append(args, "--help")...)
			if o.code != 0 || o.stderr != "" {
				t.Errorf("exit %d, %s", o.code, o.stderr)
			}
			fits(t, o.stdout)
			for _, flag := range strings.Fields(cmd.LocalFlags().FlagUsages()) {
				if strings.HasPrefix(flag, "--") && !strings.Contains(o.stdout, flag) {
					t.Errorf("it does not tell of %s", flag)
				}
			}
			for _, sub := range cmd.Commands() {
				if sub.IsAvailableCommand() && !strings.Contains(o.stdout, "\n  "+sub.Name()+" ") {
					t.Errorf("it does not tell of %s", sub.Name())
				}
			}
			if !strings.Contains(o.stdout, "\nUsage:\n  "+cmd.CommandPath()) || !strings.Contains(o.stdout, cmd.Example) {
				t.Errorf("no usage, or no examples:\n%s", o.stdout)
			}
		})
	}
	visit(newRootCommand())
	if seen < 9 {
		t.Errorf("only %d commands", seen)
	}
}

// TestBroken: text is broken at blanks only, colour has no width, and what has
// none stays whole.
func TestBroken(t *testing.T) {
	long := strings.Repeat("x", 90)
	colour := palette{colour: true}
	for _, c := range []struct {
		print func(*textWriter)
		want  string
	}{
		{func(t *textWriter) { t.wrapped(2, "") }, ""},
		{func(t *textWriter) { t.wrapped(2, "  one\n two ") }, "  one two\n"},
		{func(t *textWriter) { t.wrapped(2, strings.Repeat("a", 70)+" "+strings.Repeat("b", 7)) }, "  " + strings.Repeat("a", 70) + " " + strings.Repeat("b", 7) + "\n"},
		{func(t *textWriter) { t.wrapped(2, strings.Repeat("a", 70)+" "+strings.Repeat("b", 8)) }, "  " + strings.Repeat("a", 70) + "\n    " + strings.Repeat("b", 8) + "\n"},
		{func(t *textWriter) { t.wrapped(2, "before "+long+" after") }, "  before\n    " + long + "\n    after\n"},
		{func(t *textWriter) { t.row("name", "value "+long) }, "  name       value\n             " + long + "\n"},
		{func(t *textWriter) { t.wrapped(2, colour.bad(strings.Repeat("é", 70))+" "+strings.Repeat("b", 7)) }, "  " + colour.bad(strings.Repeat("é", 70)) + " " + strings.Repeat("b", 7) + "\n"},
	} {
		var b strings.Builder
		c.print(&textWriter{w: &b})
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
