package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/internal/tarball"
	"github.com/sctp-agent/sctp-agent/internal/terminal"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/machineconfig"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

func newMachineConfigCommand() *cobra.Command {
	var (
		roles  []string
		diag   bool
		empty  []string
		format string
		check  []string
		host   machineconfig.Host
		output outputFlags
	)
	cmd := &cobra.Command{
		Use:   "machineconfig",
		Short: "Print the MachineConfig that enables SCTP, or judge given ones",
		Long: `machineconfig prints the MachineConfig that makes the nodes of a pool load sctp
at every boot: it empties the vendor's blacklist and asks for the module.
Applying it makes the machine-config-operator reboot the pool's nodes, one
after another.

With --check it prints nothing to apply: it reads MachineConfigs (or Ignition
configurations) and prints for each pool whether they enable SCTP. They are
judged by what the module tools would do with their files on a node as RHCOS
ships it, not by the files' names.

Exit status of --check: 0 every pool judged loads sctp at its next boot, 1 one
does not, 2 unknown, or the command was misused.`,
		Example: `  kubectl sctp machineconfig | oc apply -f -
  kubectl sctp machineconfig --role worker --role master --include-diag
  kubectl sctp machineconfig --format butane | butane > sctp.ign
  oc get machineconfig -o yaml | kubectl sctp machineconfig --check -`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			if err := command.RuleVersions(host.KmodVersion, host.SystemdVersion); err != nil {
				return err
			}
			if cmd.Flags().Changed("check") {
				// --check takes one file; a shell's pattern makes more.
				var only []string
				if cmd.Flags().Changed("role") {
					if only = roles; len(only) == 0 {
						return errors.New("--role names no pool")
					}
				}
				return checkMachineConfigs(cmd.Context(), cmd.InOrStdin(), out, &output, append(check, args...), only, host)
			}
			if len(args) > 0 {
				return fmt.Errorf("unexpected argument %q (files are judged with --check)", args[0])
			}
			if cmd.Flags().Changed("output") || cmd.Flags().Changed("template") {
				return errors.New("-o is for --check only; use --format")
			}
			files := machineconfig.Files(diag)
			for _, name := range empty {
				file, err := machineconfig.Empty(name)
				if err != nil {
					return fmt.Errorf("--empty: %w", err)
				}
				if !slices.ContainsFunc(files, func(f machineconfig.File) bool { return f.Path == file.Path }) {
					files = append(files, file)
				}
			}
			switch format {
			case "machineconfig":
				return machineconfig.Write(out, roles, files)
			case "butane":
				return machineconfig.WriteButane(out, files)
			case "modprobe.d":
				return machineconfig.WriteScript(out, files)
			}
			return fmt.Errorf(`--format %q: want "machineconfig", "butane" or "modprobe.d"`, format)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&roles, "role", []string{"worker"}, "pool of the MachineConfig, or pool to judge; repeatable")
	flags.BoolVar(&diag, "include-diag", false, `also make "ss --sctp" work (sctp_diag)`)
	flags.StringArrayVar(&empty, "empty", nil, "also write this file below /etc/modprobe.d empty, for lines that stop sctp; repeatable")
	flags.StringVar(&format, "format", "machineconfig", `"machineconfig", "butane" or "modprobe.d" (a shell script for other hosts)`)
	flags.StringArrayVar(&check, "check", nil, `judge the MachineConfigs in these files ("-": standard input) instead of printing one`)
	flags.IntVar(&host.KmodVersion, "kmod-version", 0, "version of kmod whose rules apply to --check (default: that of RHEL 9)")
	flags.IntVar(&host.SystemdVersion, "systemd-version", 0, "version of systemd whose rules apply to --check (default: that of the RHEL with this kmod)")
	for _, flag := range []string{"format", "include-diag", "empty"} {
		cmd.MarkFlagsMutuallyExclusive("check", flag)
	}
	output.register(cmd)
	completeValues(cmd, "format", "machineconfig", "butane", "modprobe.d")
	completeFiles(cmd, "check")
	cmd.ValidArgsFunction = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
	return cmd
}

// checkMachineConfigs judges the pools that the files' configurations make up.
func checkMachineConfigs(ctx context.Context, stdin io.Reader, out io.Writer, output *outputFlags, names, only []string, host machineconfig.Host) error {
	var configs []machineconfig.Config
	var other error // of a directory's files, some are about other objects
	var notes []string
	for _, name := range names {
		more, err := until(ctx, name, func() ([]machineconfig.Config, error) { return decodeFile(ctx, stdin, name) })
		if errors.Is(err, machineconfig.ErrNoConfig) {
			if errors.As(err, new(machineconfig.NotLookedInto)) {
				notes = append(notes, err.Error())
			}
			other = err
			continue
		}
		if err != nil {
			return err
		}
		configs = append(configs, more...)
	}
	if len(configs) == 0 && other != nil {
		if len(notes) > 0 {
			return errors.New(strings.Join(notes, "; "))
		}
		return other
	}
	effects := machineconfig.Effects{APIVersion: verdict.APIVersion, Kind: machineconfig.EffectsKind, Items: []machineconfig.Effect{}}
	ofRole := map[string]int{} // of one pool there may be several rendered ones
	for _, pool := range machineconfig.Pools(configs, only...) {
		if len(only) > 0 && !slices.Contains(only, pool.Role) {
			continue
		}
		effect, err := machineconfig.Judge(ctx, pool, host)
		if err != nil {
			return err
		}
		effects.Items = append(effects.Items, effect)
		ofRole[pool.Role]++
	}
	for _, role := range only {
		if ofRole[role] == 0 {
			return fmt.Errorf("no MachineConfig applies to pool %q in %s", role, strings.Join(names, ", "))
		}
	}
	if len(effects.Items) == 0 { // MachineConfigPools alone
		return fmt.Errorf("no MachineConfig and no Ignition configuration in %s", strings.Join(names, ", "))
	}
	effects.Items[0].Notes = append(effects.Items[0].Notes, notes...)
	err := output.Print(out, effects, map[command.Output]form{
		"table": func(w io.Writer, p terminal.Palette) error { return printEffects(w, p, effects.Items, ofRole) },
	})
	if err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	all := kmod.AnswerTrue
	for _, e := range effects.Items {
		if e.Enabled == kmod.AnswerFalse || all == kmod.AnswerTrue {
			all = e.Enabled
		}
	}
	return command.Answered(all)
}

// printEffects prints a verdict per pool; ofRole counts those of a role.
func printEffects(w io.Writer, p terminal.Palette, effects []machineconfig.Effect, ofRole map[string]int) error {
	t := p.Writer(w)
	for _, e := range effects {
		word := p.Answer(e.Enabled, "ENABLES SCTP", "DOES NOT ENABLE SCTP", "UNKNOWN")
		name := terminal.OrDash(e.Role)
		if ofRole[e.Role] > 1 {
			name += " (" + strings.Join(e.Configs, ", ") + ")"
		}
		t.Wrapped(0, "pool "+name+": "+word)
		t.Wrapped(2, e.Message)
		for _, line := range e.Evidence {
			t.Line("  %s", line)
		}
		for _, note := range e.Notes {
			t.Wrapped(2, "note: "+note)
		}
	}
	return t.Err
}

// decodeFile reads a file, compressed or not; "-" is stdin.
func decodeFile(ctx context.Context, stdin io.Reader, name string) ([]machineconfig.Config, error) {
	source := name
	if name == "-" {
		source = "standard input"
	} else {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return nil, fmt.Errorf("%s is a directory: give its files (%s)", name, filepath.Join(name, "*.yaml"))
		}
		stdin = f
	}
	in, err := tarball.Unpack(ctx, stdin)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", source, err)
	case tarball.Is(in):
		return nil, fmt.Errorf("%s is an archive: unpack it, and give its files", source)
	}
	return machineconfig.Decode(in, source)
}
