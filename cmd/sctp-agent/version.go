package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version and commit are set by the linker (-X main.version=…) where an image
// is built, out of reach of the repository.
var (
	version = "devel"
	commit  = "unknown"
)

// versionInfo identifies a build.
type versionInfo struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func currentVersion() versionInfo {
	v := versionInfo{
		Version:  version,
		Commit:   commit,
		Go:       runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				v.Commit = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				v.Commit += " (modified)"
			}
		}
	}
	return v
}

func newVersionCommand() *cobra.Command {
	var output outputFlag
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print version, commit, Go and platform",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := currentVersion()
			return output.print(cmd.OutOrStdout(), v, func(w io.Writer, _ palette) error {
				_, err := fmt.Fprintf(w, "sctp-agent %s\ncommit   %s\ngo       %s\nplatform %s\n", v.Version, v.Commit, v.Go, v.Platform)
				return err
			})
		},
	}
	output.register(cmd)
	return cmd
}
