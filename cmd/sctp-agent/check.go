package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/sctp-agent/sctp-agent/internal/assess"
	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/internal/report"
	"github.com/sctp-agent/sctp-agent/internal/terminal"
)

func newCheckCommand() *cobra.Command {
	var (
		host   hostFlags
		output command.Output
	)
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Inspect and probe this host once; print verdict and remedy",
		Long: `check inspects this host's modprobe.d and modules-load.d, its kernel command
line and module index, checks whether the module is in the kernel, and, if it
is, proves SCTP with loopback sockets.

It needs no privilege. What it may not read makes the answer "unknown", never
a wrong "ready". It opens no SCTP socket, and so causes no module load, unless
the module is in the kernel already or --autoload=allow is given.

The root of another machine, or a sosreport, is refused: its files do not belong
to the kernel of this machine. "kubectl sctp host" judges it by its files.

Exit status: 0 ready, 1 not ready, 2 unknown, or the command failed or was
misused. (So it serves as a node-problem-detector custom plugin.)`,
		Example: `  sctp-agent check
  sctp-agent check -o json | jq -r .reason
  sctp-agent check --root /host
  sctp-agent check --suite full`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts, err := host.options()
			if err != nil {
				return err
			}
			if err := refuseOtherHost(opts.Host); err != nil {
				return err
			}
			if opts.Node == "" {
				// Only a name for the report: an unknown one decides nothing.
				opts.Node, _ = os.Hostname()
			}
			r := assess.Assess(cmd.Context(), opts)
			err = output.Print(cmd.OutOrStdout(), r, func(w io.Writer, p terminal.Palette) error {
				return report.Print(w, p, r)
			})
			if err != nil {
				return fmt.Errorf("print the report: %w", err)
			}
			return command.Answered(r.Ready)
		},
	}
	host.register(cmd)
	output.Register(cmd)
	return cmd
}
