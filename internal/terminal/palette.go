package terminal

import (
	"crypto/rand"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/sctp-agent/sctp-agent/internal/pattern"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// Palette colours words on a terminal, and leaves them alone elsewhere. The zero
// value has no colours, and no width that tables must keep.
type Palette struct {
	// mark distinguishes the palette's own colours from those in foreign text,
	// which cannot know it; "" without colours.
	mark string
	// width is the terminal's, 0 where there is none.
	width int
}

// NewPalette looks where the output goes: colour is for a terminal only, and
// not where NO_COLOR is set (no-color.org) or the terminal is "dumb".
func NewPalette(w any) Palette {
	if !Is(w) {
		return Palette{}
	}
	p := Palette{width: Width}
	if columns, _, err := term.GetSize(int(w.(*os.File).Fd())); err == nil && columns > 0 {
		p.width = columns
	}
	if os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" {
		p.mark = rand.Text()
	}
	return p
}

// Sized is a terminal of that many columns, without colours.
func Sized(columns int) Palette { return Palette{width: columns} }

// Unlimited is the palette where tables may be wider than the terminal.
func (p Palette) Unlimited() Palette {
	p.width = 0
	return p
}

// Coloured is the palette of a terminal.
func Coloured() Palette { return Palette{mark: rand.Text(), width: Width} }

// Is reports whether a reader or writer is a terminal.
func Is(stream any) bool {
	file, isFile := stream.(*os.File)
	return isFile && term.IsTerminal(int(file.Fd()))
}

// A colour is the escape sequence between two noncharacters, with the palette's
// mark before it, until [Writer.Line] prints it.
var colours = pattern.MustCompile("\uFDD0([A-Z2-7]*):(0|1|1;3[1-3])\uFDD1")

// colourIn is where the first colour of a text is, as of FindStringSubmatchIndex.
func colourIn(text string) []int {
	if !strings.Contains(text, "\uFDD0") {
		return nil // most programs print none, and need not compile the expression
	}
	return colours().FindStringSubmatchIndex(text)
}

func (p Palette) paint(code, s string) string {
	if p.mark == "" {
		return s
	}
	return "\uFDD0" + p.mark + ":" + code + "\uFDD1" + s + "\uFDD0" + p.mark + ":0\uFDD1"
}

// Good is for a good result.
func (p Palette) Good(s string) string { return p.paint("1;32", s) }

// Bad is for a bad one.
func (p Palette) Bad(s string) string { return p.paint("1;31", s) }

// Warn is for what is unknown, or may turn bad.
func (p Palette) Warn(s string) string { return p.paint("1;33", s) }

// Answer is the word for an answer, in its colour.
func (p Palette) Answer(a kmod.Answer, yes, no, unknown string) string {
	switch a {
	case kmod.AnswerTrue:
		return p.Good(yes)
	case kmod.AnswerFalse:
		return p.Bad(no)
	}
	return p.Warn(unknown)
}

// Head is for headings.
func (p Palette) Head(s string) string { return p.paint("1", s) }
