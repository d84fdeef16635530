// Package buildinfo identifies the build of a program.
package buildinfo

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"strings"
)

// version and commit are set by the linker (-X …/internal/buildinfo.version=…)
// where hack/build knows them.
var version, commit string

// Info identifies a build.
type Info struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Current is the build of this program.
func Current() Info {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return of(info, version, commit)
}

// of is what the linker has set, else what the go command knows: the module's
// version after "go install …@version", and the commit in a clone.
func of(info *debug.BuildInfo, version, commit string) Info {
	v := Info{
		Version:  cmp.Or(version, strings.Trim(info.Main.Version, "()"), "devel"), // (devel) where it knows none
		Commit:   commit,
		Go:       runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			v.Commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			v.Commit += " (modified)"
		}
	}
	v.Commit = cmp.Or(v.Commit, "unknown")
	return v
}
