package buildinfo

import (
	"runtime/debug"
	"testing"
)

// What "version" says, however the program was built.
func TestOf(t *testing.T) {
	clone := func(version, modified string) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: version}, Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "0123abc"}, {Key: "vcs.modified", Value: modified},
		}}
	}
	for _, c := range []struct {
		name                        string
		info                        *debug.BuildInfo
		version, commit             string
		wantedVersion, wantedCommit string
	}{
		{"hack/build", &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "v0.2.0-3-g0123abc", "0123abc", "v0.2.0-3-g0123abc", "0123abc"},
		{"go build of a changed clone", clone("v0.2.0+dirty", "true"), "", "", "v0.2.0+dirty", "0123abc (modified)"},
		{"an image without a version", &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "", "", "devel", "unknown"},
		{"go install of a version", &debug.BuildInfo{Main: debug.Module{Version: "v0.2.0"}}, "", "", "v0.2.0", "unknown"},
		{"go build in a clone", clone("v0.2.0", "false"), "", "", "v0.2.0", "0123abc"},
		{"a test", &debug.BuildInfo{}, "", "", "devel", "unknown"},
	} {
		if got := of(c.info, c.version, c.commit); got.Version != c.wantedVersion || got.Commit != c.wantedCommit {
			t.Errorf("%s: %+v, want %s, %s", c.name, got, c.wantedVersion, c.wantedCommit)
		}
	}
}
