package hostroot

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// TestRemoteMounts: by the kernel's list of mounts, in which a later one is on top of an
// earlier one.
func TestRemoteMounts(t *testing.T) {
	const mounts = `27 1 254:0 / / rw,relatime - nfs4 server:/root rw
28 27 0:25 / /host/mnt/backup rw shared:1 master:2 - nfs4 server:/x rw,vers=4.2
29 27 0:26 / /host/home/a\040b rw - fuse.sshfs a@b:/ rw
30 27 0:27 / /host/opt rw - cifs //server/x rw
31 27 0:28 / /host/opt rw - ext4 /dev/vdb rw
32 27 0:29 / /host/run rw - tmpfs tmpfs rw
33 27 0:30 / /hostile/nfs rw - nfs server:/y rw
34 27 0:31 / /host rw - nfs server:/y rw
35 27 0:32 / /host/data rw - fuseblk /dev/sdb1 rw
half a line
`
	for root, want := range map[string]map[string]bool{
		"/host":  {"mnt/backup": true, "home/a b": true, "opt": false, "run": false, "data": false},
		"/":      {"host/mnt/backup": true, "host/home/a b": true, "host/opt": false, "host/run": false, "hostile/nfs": true, "host": true, "host/data": false},
		"/other": {},
	} {
		if got := remoteMounts(mounts, root); !maps.Equal(got, want) {
			t.Errorf("%s: %v", root, got)
		}
	}
}

// TestRemoteThatAnswers: of a file system of the network that answers, files are read as
// any others, but not with OpenLocal.
func TestRemoteThatAnswers(t *testing.T) {
	root := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(root, "share"), 0o755), os.WriteFile(filepath.Join(root, "share/load"), []byte("x"), 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, open := range []func(string) (*Tree, error){Open, OpenLocal} {
		live, err := open(root)
		if err != nil {
			t.Fatal(err)
		}
		defer live.Close()
		d := live.source.(*directory)
		d.remote["share"] = true
		st, err := live.Stat("/share/load")
		if d.asks && (err != nil || st.Size != 1) || !d.asks && !errors.Is(err, ErrNotEntered) {
			t.Errorf("asks %v: %v %v", d.asks, st, err)
		}
		if d.asks != !live.NotEntered("/share") {
			t.Errorf("asks %v: entered %v", d.asks, !live.NotEntered("/share"))
		}
	}
}
