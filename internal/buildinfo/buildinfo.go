// Package buildinfo identifies the build of a program.
package buildinfo

import (
	"runtime"
	"runtime/debug"
)

// version and commit are set by the linker (-X …/internal/buildinfo.version=…)
// where an image is built, out of reach of the repository.
var (
	version = "devel"
	commit  = "unknown"
)

// Info identifies a build.
type Info struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Current is the build of this program.
func Current() Info {
	v := Info{
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
