package terminal

import (
	"os"

	"golang.org/x/term"
)

// Palette colours words on a terminal, and leaves them alone elsewhere. The zero
// value has no colours.
type Palette struct{ colour bool }

// NewPalette looks where the output goes: colour is for a terminal only, and
// not where NO_COLOR is set (no-color.org) or the terminal is "dumb".
func NewPalette(w any) Palette {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return Palette{}
	}
	return Palette{colour: Is(w)}
}

// Coloured is the palette of a terminal.
func Coloured() Palette { return Palette{colour: true} }

// Is says whether a reader or writer is a terminal.
func Is(stream any) bool {
	file, isFile := stream.(*os.File)
	return isFile && term.IsTerminal(int(file.Fd()))
}

func (p Palette) paint(code, s string) string {
	if !p.colour {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// Good is for what is as it should be.
func (p Palette) Good(s string) string { return p.paint("1;32", s) }

// Bad is for what is not.
func (p Palette) Bad(s string) string { return p.paint("1;31", s) }

// Warn is for what is unknown, or may turn bad.
func (p Palette) Warn(s string) string { return p.paint("1;33", s) }

// Head is for headings.
func (p Palette) Head(s string) string { return p.paint("1", s) }
