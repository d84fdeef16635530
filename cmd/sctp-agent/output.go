package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"sigs.k8s.io/yaml"
)

// outputFlag is -o: a table for people, or a form for programs.
type outputFlag string

func (o *outputFlag) register(cmd *cobra.Command) {
	*o = "table"
	cmd.Flags().VarP(o, "output", "o", `"table" for people, "json" or "yaml" for programs`)
}

func (o *outputFlag) String() string { return string(*o) }
func (o *outputFlag) Type() string   { return "form" }

func (o *outputFlag) Set(s string) error {
	switch s {
	case "table", "json", "yaml":
		*o = outputFlag(s)
		return nil
	}
	return fmt.Errorf(`want "table", "json" or "yaml"`)
}

// print writes value in the chosen form; table prints it for people.
func (o *outputFlag) print(w io.Writer, value any, table func(io.Writer, palette) error) error {
	buffered := bufio.NewWriter(w)
	var err error
	switch *o {
	case "json":
		encoder := json.NewEncoder(buffered)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		err = encoder.Encode(value)
	case "yaml":
		var text []byte
		if text, err = yaml.Marshal(value); err == nil {
			_, err = buffered.Write(text)
		}
	default:
		err = table(buffered, newPalette(w))
	}
	if err != nil {
		return err
	}
	return buffered.Flush()
}

// palette colours words on a terminal, and leaves them alone elsewhere.
type palette struct{ colour bool }

// newPalette looks where the output goes: colour is for a terminal only, and
// not where NO_COLOR is set (no-color.org) or the terminal is "dumb".
func newPalette(w io.Writer) palette {
	file, isFile := w.(*os.File)
	if !isFile || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return palette{}
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return palette{colour: err == nil}
}

func (p palette) paint(code, s string) string {
	if !p.colour {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p palette) good(s string) string { return p.paint("1;32", s) }
func (p palette) bad(s string) string  { return p.paint("1;31", s) }
func (p palette) warn(s string) string { return p.paint("1;33", s) }
func (p palette) head(s string) string { return p.paint("1", s) }
