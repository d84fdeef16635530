package oracle

import (
	"os"
	"path/filepath"
	"testing"
)

func TestByChance(t *testing.T) {
	r := &Root{dir: t.TempDir()}
	for _, dir := range []string{"etc/modprobe.d/dir.conf", "opt/real"} {
		if err := os.MkdirAll(filepath.Join(r.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"loop.conf": "loop.conf", "nowhere.conf": "/nowhere", "to dir.conf": "/opt/real"} {
		if err := os.Symlink(target, filepath.Join(r.dir, "etc/modprobe.d", name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]bool{"dir.conf": false, "to dir.conf": false, "loop.conf": true, "nowhere.conf": true} {
		line := "libkmod: ERROR ../libkmod/libkmod-config.c:717 conf_files_filter_out: Directories inside directories are not supported: /etc/modprobe.d/" + name + "\n"
		if got := r.byChance([]byte("Loading module: sctp\n" + line + "Inserted module 'sctp'\n")); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
