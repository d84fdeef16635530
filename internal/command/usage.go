package command

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/sctp-agent/sctp-agent/internal/terminal"
)

// printUsage prints what cobra prints (its defaultUsageFunc), within the width
// of every terminal.
func printUsage(cmd *cobra.Command) error {
	t := terminal.Palette{}.Writer(cmd.OutOrStderr())
	t.Line("Usage:")
	if cmd.Runnable() {
		t.Line("  %s", cmd.UseLine())
	}
	if cmd.HasAvailableSubCommands() {
		t.Line("  %s [command]", cmd.CommandPath())
	}
	if cmd.HasExample() {
		t.Line("\nExamples:\n%s", cmd.Example)
	}
	if cmd.HasAvailableSubCommands() {
		t.Line("\nAvailable Commands:")
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() || sub.Name() == "help" {
				t.Line("  %-*s %s", sub.NamePadding(), sub.Name(), sub.Short)
			}
		}
	}
	if cmd.HasAvailableLocalFlags() {
		t.Line("\nFlags:\n%s", strings.TrimRight(cmd.LocalFlags().FlagUsagesWrapped(terminal.Width), "\n "))
	}
	if cmd.HasAvailableSubCommands() {
		t.Line("\nUse \"%s [command] --help\" for more information about a command.", cmd.CommandPath())
	}
	return t.Err
}
