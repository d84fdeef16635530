package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/internal/verify"
	"github.com/sctp-agent/sctp-agent/internal/verify/peer"
)

// The hidden commands run inside the pods that "kubectl sctp verify" creates.

func newVerifyListenCommand() *cobra.Command {
	var (
		cfg    peer.ListenConfig
		result string
	)
	cmd := &cobra.Command{
		Use:    "verify-listen",
		Short:  "Run by verify in a pod: echo SCTP messages",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return saying(result, cmd.ErrOrStderr(), peer.Listen(cmd.Context(), cfg))
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&cfg.Index, "index", 0, "what to answer to who it is")
	flags.IntSliceVar(&cfg.Ports, "port", nil, "SCTP port to listen on; repeatable")
	flags.StringVar(&cfg.Control, "control", ":8080", "TCP address to tell packet counters on")
	flags.StringVar(&result, "result", "/dev/termination-log", "file that gets the result")
	return cmd
}

func newVerifyDialCommand() *cobra.Command {
	var result string
	cmd := &cobra.Command{
		Use:    "verify-dial",
		Short:  "Run by verify in a pod: try the paths of the job in $" + verify.JobVariable,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var job peer.Job
			if err := json.Unmarshal([]byte(os.Getenv(verify.JobVariable)), &job); err != nil {
				return saying(result, cmd.ErrOrStderr(), peer.Say{Fault: peer.Unknown, Detail: fmt.Sprintf("$%s: %v", verify.JobVariable, err)})
			}
			return saying(result, cmd.ErrOrStderr(), peer.Dial(cmd.Context(), job))
		},
	}
	cmd.Flags().StringVar(&result, "result", "/dev/termination-log", "file that gets the result")
	return cmd
}

// saying leaves a peer's word where kubelet finds it.
func saying(path string, stderr io.Writer, say peer.Say) error {
	text, err := json.Marshal(say)
	if err != nil {
		return err
	}
	// Not truncated, not created: it is a file that kubelet has mounted.
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("leave the result: %w", err)
	}
	if _, err := f.Write(text); err != nil {
		f.Close()
		return fmt.Errorf("leave the result: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("leave the result: %w", err)
	}
	if say.Fault != "" {
		fmt.Fprintf(stderr, "sctp-agent: %s: %s\n", say.Fault, say.Detail)
		return command.Exit(command.ExitUnknown)
	}
	return nil
}
