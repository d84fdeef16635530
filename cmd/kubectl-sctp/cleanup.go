package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sctp-agent/sctp-agent/internal/cleanup"
	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/internal/terminal"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
)

func newCleanupCommand() *cobra.Command {
	var (
		connect clusterFlags
		output  command.Output
		opts    cleanup.Options
		yes     bool
		dryRun  bool
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Remove from the Nodes everything that the agent ever wrote there",
		Long: `cleanup removes from the Nodes the agent's documented labels and annotations,
others with its prefix that its field manager owns, the startup taint
PREFIX/unproved, and the agent's condition. What others wrote stays, and so does
everything with a --prefix that no agent used. Remove the DaemonSet first: an
agent that runs writes them anew.

It first shows what it would remove. Then it asks, on a terminal; elsewhere it
removes nothing unless --yes is given.

Exit status: 0 everything is removed, or there was nothing; 1 something is left
(not asked for, or declined); 2 the command failed or was misused.`,
		Example: `  kubectl sctp cleanup             # show, then ask
  kubectl sctp cleanup --yes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if yes && dryRun {
				return errors.New("--yes and --dry-run exclude each other")
			}
			if timeout <= 0 {
				return errors.New("--timeout wants more than 0")
			}
			client, keys, err := connect.open(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			opts.Keys = keys
			list := func() ([]cleanup.Node, error) {
				ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
				defer cancel()
				return cleanup.Find(ctx, client, opts)
			}
			found, err := list()
			if err != nil {
				return err
			}
			err = output.Print(cmd.OutOrStdout(), append([]cleanup.Node{}, found...), func(w io.Writer, p terminal.Palette) error {
				return printCleanup(w, p, found)
			})
			if err != nil {
				return fmt.Errorf("print what would be removed: %w", err)
			}
			if len(found) == 0 {
				return nil
			}
			if !yes {
				if dryRun || !terminal.Is(cmd.InOrStdin()) {
					fmt.Fprintf(cmd.ErrOrStderr(), "Nothing was removed (--yes removes it).\n")
					return command.Exit(command.ExitNo)
				}
				agreed, err := ask(cmd.Context(), cmd.InOrStdin(), cmd.ErrOrStderr(), fmt.Sprintf("Remove all of this from %d nodes?", len(found)))
				if err != nil {
					return err
				}
				if !agreed {
					return command.Exit(command.ExitNo)
				}
			}
			return removeAll(cmd.Context(), client, found, opts, timeout, cmd.ErrOrStderr())
		},
	}
	connect.register(cmd)
	output.Register(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&opts.NodeSelector, "selector", "l", "", "clean up the nodes with these labels only")
	flags.BoolVar(&yes, "yes", false, "remove without asking")
	flags.BoolVar(&dryRun, "dry-run", false, "only show what would be removed")
	flags.DurationVar(&timeout, "timeout", 2*time.Minute, "deadline of listing the nodes, and of each node's removal")
	return cmd
}

// removeAll goes on after a failure: what can be removed is. The reason is often
// one for all nodes, so that some are enough to say it.
func removeAll(ctx context.Context, client *cluster.Client, found []cleanup.Node, opts cleanup.Options, timeout time.Duration, progress io.Writer) error {
	var failed []error
	removed := 0
	for _, n := range found {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			return cleanup.Remove(ctx, client, n.Name, opts)
		}()
		if err == nil {
			removed++
			continue
		}
		failed = append(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	if more := len(failed) - most; more > 0 {
		failed = append(failed[:most], fmt.Errorf("and %d more", more))
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d of %d nodes are not cleaned up: %w", len(found)-removed, len(found), errors.Join(failed...))
	}
	fmt.Fprintf(progress, "Removed from %d nodes.\n", len(found))
	return nil
}

func printCleanup(w io.Writer, p terminal.Palette, found []cleanup.Node) error {
	t := p.Writer(w)
	if len(found) == 0 {
		t.Line("Nothing of the agent's is on any node.")
	}
	for _, n := range found {
		t.Line("%s", p.Head(n.Name))
		for _, part := range []struct {
			name string
			keys []string
		}{{"labels", n.Labels}, {"annotations", n.Annotations}, {"taints", n.Taints}} {
			if len(part.keys) > 0 {
				t.Wrapped(2, part.name+": "+strings.Join(part.keys, ", "))
			}
		}
		if n.Condition {
			t.Line("  condition: %s", nodelabel.ConditionType)
		}
	}
	return t.Err
}

// ask puts a question, and gives up when the context ends: a read from a
// terminal cannot be interrupted, so it is left behind.
func ask(ctx context.Context, in io.Reader, out io.Writer, question string) (bool, error) {
	fmt.Fprintf(out, "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(in).ReadString('\n') // an end of input is a no
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case a := <-answer:
		return a == "y" || a == "yes", nil
	case <-ctx.Done():
		fmt.Fprintln(out)
		return false, context.Cause(ctx)
	}
}
