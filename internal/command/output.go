package command

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"

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
		encoder := json.NewEncoder(buffered)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		err = encoder.Encode(value)
	case "yaml":
		err = writeYAML(buffered, value)
	default:
		err = table(buffered, terminal.NewPalette(w))
	}
	if err != nil {
		return err
	}
	return buffered.Flush()
}
