package command

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// NoSuchCommand is the Args of a root command: a word that reaches them is not a
// command.
func NoSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("unknown command %q for %q%s", args[0], cmd.CommandPath(), didYouMean(cmd, cmd, args[0], ""))
}

// noSuchTopic is the Args of the command "help".
func noSuchTopic(cmd *cobra.Command, args []string) error {
	_, rest, err := cmd.Root().Find(args)
	if err != nil {
		return err
	}
	return NoSuchCommand(cmd.Root(), rest)
}

// unknownFlag adds to the error of a flag that does not exist what may be meant.
func unknownFlag(cmd *cobra.Command, err error) error {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok || unknown.GetSpecifiedShortnames() != "" {
		return err
	}
	var flags cobra.Command
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		flags.AddCommand(&cobra.Command{Use: f.Name, Hidden: f.Hidden, Run: func(*cobra.Command, []string) {}})
	})
	return fmt.Errorf("%w%s", err, didYouMean(cmd, &flags, unknown.GetSpecifiedName(), "--"))
}

// didYouMean is the end of an error about a name: those of a command's
// subcommands that are like it, as cobra finds them.
func didYouMean(cmd, names *cobra.Command, name, dashes string) string {
	names.SuggestionsMinimumDistance = 2 // cobra's own
	var like []string
	for _, s := range names.SuggestionsFor(name) {
		like = append(like, fmt.Sprintf("%q", dashes+s))
	}
	if len(like) == 0 {
		return fmt.Sprintf(" (see \"%s --help\")", cmd.CommandPath())
	}
	return ": did you mean " + strings.Join(like, " or ") + "?"
}
