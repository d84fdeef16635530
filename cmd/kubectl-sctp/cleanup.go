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
		output  outputFlags
		opts    cleanup.Options
		yes     bool
		dryRun  bool
		timeout time.Duration

		ignoreAgents bool
	)
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Remove the agent's labels, annotations and taints from the Nodes",
		Long: `cleanup removes from the Nodes the agent's documented labels and annotations,
others with its prefix that its field manager owns, the startup taint
PREFIX/unproved and the agent's condition: for each prefix that an agent used
on a Node, or for --prefix alone. What others wrote stays, and so does
everything with a prefix that no agent used.

It refuses while a DaemonSet runs agents, which would write it all again: remove
that first, or give --ignore-agents. At the end it checks again, and names what
was written again: by an agent outside of the cluster's DaemonSets.

It first shows what it would remove. Then it asks, on a terminal; elsewhere it
removes nothing unless --yes is given. Interrupted, it finishes the node at
hand; run it again for the others.

Exit status: 0 everything is removed, or there was nothing; 1 something is left
(not asked for, declined, or written again); 2 the command failed, was
interrupted or misused.`,
		Example: `  kubectl sctp cleanup             # show, then ask
  kubectl sctp cleanup --yes`,
		Args: noArguments("nodes are chosen with -l"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if yes && dryRun {
				return errors.New("--yes and --dry-run exclude each other")
			}
			if timeout <= 0 {
				return errors.New("--timeout must be more than 0")
			}
			client, keys, err := connect.open(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return interrupted(cmd.Context(), err)
			}
			if cmd.Flags().Changed("prefix") {
				opts.Keys = &keys
			}
			c := cleaner{client, opts, timeout, cmd.ErrOrStderr()}
			found, err := c.find(cmd.Context())
			if err != nil {
				return interrupted(cmd.Context(), err)
			}
			err = output.Print(cmd.OutOrStdout(), found, map[command.Output]form{
				"table": func(w io.Writer, p terminal.Palette) error { return printCleanup(w, p, found.Items) },
			})
			if err != nil {
				return fmt.Errorf("print what would be removed: %w", err)
			}
			if len(found.Items) == 0 {
				if opts.NodeSelector != "" { // which may be misspelt
					fmt.Fprintf(cmd.ErrOrStderr(), "Only nodes with the labels %q were looked at.\n", opts.NodeSelector)
				}
				return nil
			}
			if !ignoreAgents && !dryRun {
				if err := c.refuse(cmd.Context()); err != nil {
					return interrupted(cmd.Context(), err)
				}
			}
			if !yes {
				if dryRun || !terminal.Is(cmd.InOrStdin()) {
					fmt.Fprintf(cmd.ErrOrStderr(), "Nothing was removed (--yes removes it).\n")
					return command.Exit(command.ExitNo)
				}
				agreed, err := ask(cmd.Context(), cmd.InOrStdin(), cmd.ErrOrStderr(), fmt.Sprintf("Remove all of this from %s?", cluster.Count(len(found.Items), "node")))
				if err != nil {
					return interrupted(cmd.Context(), err)
				}
				if !agreed {
					return command.Exit(command.ExitNo)
				}
			}
			if err := c.removeAll(cmd.Context(), found.Items); err != nil {
				return err
			}
			return c.lookAgain(cmd.Context(), found.Items)
		},
	}
	connect.register(cmd)
	output.register(cmd)
	flags := cmd.Flags()
	prefix := flags.Lookup("prefix")
	prefix.Usage, prefix.DefValue = "clean up this prefix only (default: each that an agent used)", ""
	flags.StringVarP(&opts.NodeSelector, "selector", "l", "", "clean up the nodes with these labels only")
	flags.BoolVar(&yes, "yes", false, "remove without asking")
	flags.BoolVar(&dryRun, "dry-run", false, "only show what would be removed")
	flags.BoolVar(&ignoreAgents, "ignore-agents", false, "remove also while a DaemonSet runs agents")
	flags.DurationVar(&timeout, "timeout", 2*time.Minute, "deadline of listing the nodes, and of each node's removal")
	return cmd
}

// cleaner is one run of cleanup.
type cleaner struct {
	client   *cluster.Client
	opts     cleanup.Options
	timeout  time.Duration // of each step
	progress io.Writer
}

func (c cleaner) find(ctx context.Context) (cleanup.List, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return cleanup.Find(ctx, c.client, c.opts)
}

// refuse is the error where agents run that would write again what is removed.
func (c cleaner) refuse(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	agents, err := cleanup.Agents(ctx, c.client, c.opts)
	if err != nil {
		return fmt.Errorf("look for agents that run (--ignore-agents does not): %w", err)
	}
	if len(agents) > 0 {
		namespace, name, _ := strings.Cut(agents[0], "/")
		return fmt.Errorf("agents run (DaemonSet %s) and would write again what is removed: delete it first (kubectl delete daemonset --namespace %s %s), or give --ignore-agents",
			strings.Join(agents, ", "), namespace, name)
	}
	return nil
}

// interrupted is the error for Ctrl-C before anything was removed, else err.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted: nothing was removed")
	}
	return err
}

// removeAll continues after a failure: what can be removed is. The cause is often
// the same for all nodes, so only some are named. It can be interrupted between two
// nodes.
func (c cleaner) removeAll(ctx context.Context, found []cleanup.Node) error {
	var failed []error
	removed := 0
	for _, n := range found {
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted: %d of %s cleaned up, the others are as they were: run the command again", removed, cluster.Count(len(found), "node"))
		}
		err := func() error {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout)
			defer cancel()
			return cleanup.Remove(ctx, c.client, n.Name, c.opts)
		}()
		if err == nil {
			removed++
		} else {
			failed = append(failed, err)
		}
	}
	if more := len(failed) - most; more > 0 {
		failed = append(failed[:most], fmt.Errorf("and %d more", more))
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d of %s not cleaned up: %w", len(found)-removed, cluster.Count(len(found), "node"), errors.Join(failed...))
	}
	fmt.Fprintf(c.progress, "Removed from %s.\n", cluster.Count(len(found), "node"))
	return nil
}

// settle is the time in which an agent that still runs writes again.
const settle = 5 * time.Second

// lookAgain finds what was written again.
func (c cleaner) lookAgain(ctx context.Context, removed []cleanup.Node) error {
	fmt.Fprintf(c.progress, "Checking again in %v.\n", settle)
	interrupted := fmt.Errorf("interrupted: %s cleaned up; whether an agent writes again is not known", cluster.Count(len(removed), "node"))
	select {
	case <-ctx.Done():
		return interrupted
	case <-time.After(settle):
	}
	again, err := c.find(ctx)
	switch {
	case ctx.Err() != nil:
		return interrupted
	case err != nil:
		return fmt.Errorf("check again: %w", err)
	case len(again.Items) == 0:
		return nil
	}
	fmt.Fprintf(c.progress, "Written again on %s: an agent runs there without a DaemonSet, or --ignore-agents was given.\n", cluster.Count(len(again.Items), "node"))
	if err := printCleanup(c.progress, terminal.Palette{}, again.Items[:min(len(again.Items), most)]); err != nil {
		return err
	}
	return command.Exit(command.ExitNo)
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

// ask asks a question.
func ask(ctx context.Context, in io.Reader, out io.Writer, question string) (bool, error) {
	fmt.Fprintf(out, "%s [y/N] ", question)
	line, err := until(ctx, "the answer", func() (string, error) {
		line, _ := bufio.NewReader(in).ReadString('\n') // an end of input is a no
		return line, nil
	})
	if err != nil {
		fmt.Fprintln(out)
		return false, err
	}
	a := strings.ToLower(strings.TrimSpace(line))
	return a == "y" || a == "yes", nil
}
