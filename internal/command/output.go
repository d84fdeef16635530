package command

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"

	"github.com/spf13/cobra"

	"github.com/sctp-agent/sctp-agent/internal/terminal"
)

// Output is -o: a table for people, or a form for programs.
type Output string

// Register gives a command the flag.
func (o *Output) Register(cmd *cobra.Command) {
	*o = "table"
	cmd.Flags().VarP(o, "output", "o", `"table" for people, "json" or "yaml" for programs`)
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp)) // an error: no such flag
}

func (o *Output) String() string { return string(*o) }

// Type is what the usage text calls the flag's value.
func (o *Output) Type() string { return "form" }

// Set chooses a form.
func (o *Output) Set(s string) error {
	switch s {
	case "table", "json", "yaml":
		*o = Output(s)
		return nil
	}
	return fmt.Errorf(`want "table", "json" or "yaml"`)
}

// Print writes value in the chosen form; table prints it for people.
func (o *Output) Print(w io.Writer, value any, table func(io.Writer, terminal.Palette) error) error {
	buffered := bufio.NewWriter(w)
	var err error
	switch *o {
	case "json":
		encoder := json.NewEncoder(escaping{buffered})
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		err = encoder.Encode(value)
	case "yaml":
		var out io.Writer = buffered
		if terminal.Is(w) {
			out = terminal.Filter(buffered)
		}
		err = writeYAML(out, value)
	default:
		err = table(buffered, terminal.NewPalette(w))
	}
	if err != nil {
		return err
	}
	return buffered.Flush()
}

// escaping writes JSON in which nothing acts on a terminal. Such characters are in
// strings only, where they get an escape sequence (RFC 8259, section 7).
type escaping struct{ w io.Writer }

func (e escaping) Write(p []byte) (int, error) {
	if _, err := e.w.Write(escapeJSON(p, unicode.MaxRune)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// escapeJSON escapes what acts on a terminal, up to a highest character.
func escapeJSON(text []byte, highest rune) []byte {
	acts := func(r rune) bool { return r != '\n' && r <= highest && terminal.Acts(r) }
	if !bytes.ContainsFunc(text, acts) {
		return text
	}
	var b bytes.Buffer
	for _, r := range string(text) {
		if !acts(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.Bytes()
}
