package command

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sctp-agent/sctp-agent/internal/buildinfo"
	"github.com/sctp-agent/sctp-agent/internal/terminal"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// Version identifies the build of a program. Its JSON is public API.
type Version struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Program    string `json:"program"`
	buildinfo.Info
}

// VersionKind is the kind of a [Version].
const VersionKind = "Version"

// NewVersion makes the command that identifies the build of a program.
func NewVersion(program string) *cobra.Command {
	var output Output
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print version, commit, Go and platform",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := Version{verdict.APIVersion, VersionKind, program, buildinfo.Current()}
			return output.Print(cmd.OutOrStdout(), v, func(w io.Writer, _ terminal.Palette) error {
				_, err := fmt.Fprintf(w, "%s %s\ncommit   %s\ngo       %s\nplatform %s\n", program, v.Version, v.Commit, v.Go, v.Platform)
				return err
			})
		},
	}
	output.Register(cmd)
	return cmd
}
