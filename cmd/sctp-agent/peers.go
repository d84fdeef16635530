package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/sctp-agent/sctp-agent/internal/buildinfo"
	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
)

// newPeerCommand runs inside the pods that "kubectl sctp verify" creates. It has
// the job in the environment variable done, and leaves the result.
func newPeerCommand[J any](name, short string, do func(context.Context, J) wire.Say) *cobra.Command {
	var result string
	cmd := &cobra.Command{
		Use:    name,
		Short:  "Run by verify in a pod: " + short + " ($" + wire.JobVariable + ")",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var job J
			var say wire.Say
			if err := wire.Decode(os.Getenv(wire.JobVariable), &job); err != nil {
				say = wire.Say{Fault: wire.Unknown, Detail: fmt.Sprintf("$%s: %v", wire.JobVariable, err)}
			} else {
				say = do(cmd.Context(), job)
			}
			if err := leave(result, say); err != nil {
				return fmt.Errorf("write the result: %w", err)
			}
			if say.Fault != "" {
				fmt.Fprintf(cmd.ErrOrStderr(), "sctp-agent: %s: %s\n", say.Fault, say.Detail)
				return command.Exit(command.ExitUnknown)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&result, "result", "/dev/termination-log", "file that gets the result")
	return cmd
}

// leave writes a peer's result where kubelet finds it.
func leave(path string, say wire.Say) error {
	text, err := wire.Encode(buildinfo.Current().Version, say)
	if err != nil {
		return err
	}
	// Not truncated, not created: it is a file that kubelet has mounted.
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, text)
	return errors.Join(err, f.Close())
}
