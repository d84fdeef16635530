package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/internal/hostdump"
	"github.com/sctp-agent/sctp-agent/internal/report"
	"github.com/sctp-agent/sctp-agent/internal/terminal"
)

func newHostCommand() *cobra.Command {
	var (
		opts   hostdump.Options
		output outputFlags
	)
	cmd := &cobra.Command{
		Use:   "host PATH",
		Short: "Judge a host by its files: a sosreport, or an unpacked root",
		Long: `host reads a sosreport (a directory, or an archive: .tar.xz, .tar.gz, .tar.bz2,
.tar), or the root of a host that was unpacked somewhere. It prints what
"sctp-agent check" prints on the host: what keeps sctp from being loaded, with
file and line, whether it is in the kernel, and what the next boot brings.

Kernel release, command line, state and name are those in the files; nothing of
this machine is used. What the files do not contain is named, and makes the
answers that it could change "unknown". That SCTP works cannot be proved from
files: the verdict is "not ready" or "unknown".

Exit status: 1 not ready, 2 unknown, or the command failed or was misused.`,
		Example: `  kubectl sctp host sosreport-worker-1-2026-11-28-abcdefg.tar.xz
  kubectl sctp host /mnt/sysimage
  kubectl sctp host sosreport.tar.xz -o jsonpath='{.reason}'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("want one PATH: a sosreport, or the root of an unpacked host")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := command.KernelRelease(opts.KernelRelease); err != nil {
				return err
			}
			if err := command.RuleVersions(opts.KmodVersion, opts.SystemdVersion); err != nil {
				return err
			}
			dump, err := hostdump.Open(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer dump.Close()
			r, err := dump.Assess(cmd.Context(), opts)
			if err != nil {
				return fmt.Errorf("judge %s: %w", args[0], err)
			}
			err = output.Print(cmd.OutOrStdout(), r, map[command.Output]form{
				"table": func(w io.Writer, p terminal.Palette) error { return report.Print(w, p, r) },
			})
			if err != nil {
				return fmt.Errorf("print the report: %w", err)
			}
			return command.Answered(r.Ready)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&opts.KernelRelease, "kernel-release", "", "kernel release whose modules are looked up (default: the one in the files)")
	flags.IntVar(&opts.KmodVersion, "kmod-version", 0, "version of kmod whose rules apply (default: detected in the files)")
	flags.IntVar(&opts.SystemdVersion, "systemd-version", 0, "version of systemd whose rules apply (default: detected in the files)")
	output.register(cmd)
	cmd.ValidArgsFunction = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
	return cmd
}
