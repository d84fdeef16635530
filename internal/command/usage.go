package command

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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
	own, connection := pflag.NewFlagSet("", pflag.ContinueOnError), ""
	cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) {
		if flag.Annotations[ConnectionFlag] == nil {
			own.AddFlag(flag)
		} else {
			connection += " --" + flag.Name
		}
	})
	if own.HasAvailableFlags() {
		t.Line("\nFlags:\n%s", strings.TrimRight(own.FlagUsagesWrapped(terminal.Width), "\n "))
	}
	if connection != "" {
		t.Line("\nFlags of kubectl (see \"kubectl options\"):")
		t.Hanging("  ", connection)
	}
	if cmd.HasAvailableSubCommands() {
		t.Line("\nUse \"%s [command] --help\" for more information about a command.", cmd.CommandPath())
	}
	return t.Err
}

// ConnectionFlag is the annotation of the flags that AddConnectionFlags adds.
const ConnectionFlag = "connection"

// AddConnectionFlags gives a command flags that its usage text only lists:
// kubectl explains them.
func AddConnectionFlags(cmd *cobra.Command, flags *pflag.FlagSet) {
	flags.VisitAll(func(flag *pflag.Flag) {
		flag.Annotations = map[string][]string{ConnectionFlag: {}}
		cmd.Flags().AddFlag(flag)
	})
}
