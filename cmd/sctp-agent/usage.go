package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// printUsage prints what cobra prints (its defaultUsageFunc), within the width
// of every terminal.
func printUsage(cmd *cobra.Command) error {
	t := palette{}.writer(cmd.OutOrStderr())
	t.line("Usage:")
	if cmd.Runnable() {
		t.line("  %s", cmd.UseLine())
	}
	if cmd.HasAvailableSubCommands() {
		t.line("  %s [command]", cmd.CommandPath())
	}
	if cmd.HasExample() {
		t.line("\nExamples:\n%s", cmd.Example)
	}
	if cmd.HasAvailableSubCommands() {
		t.line("\nAvailable Commands:")
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() || sub.Name() == "help" {
				t.line("  %-*s %s", sub.NamePadding(), sub.Name(), sub.Short)
			}
		}
	}
	if cmd.HasAvailableLocalFlags() {
		t.line("\nFlags:\n%s", strings.TrimRight(cmd.LocalFlags().FlagUsagesWrapped(width), "\n "))
	}
	if cmd.HasAvailableSubCommands() {
		t.line("\nUse \"%s [command] --help\" for more information about a command.", cmd.CommandPath())
	}
	return t.err
}
