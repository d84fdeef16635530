package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// Whatever an administrator or a package manager does to the directories is
// noticed at once; what does not matter is not.
func TestHostWatch(t *testing.T) {
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(t *testing.T, path string) {
		t.Helper()
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte("blacklist sctp\n"), 0o644))
	}
	for _, tt := range []struct {
		name   string
		before func(t *testing.T, root string)
		do     func(t *testing.T, root string)
		want   string // part of the reason; "" for silence
	}{
		{"a file is written", nil, func(t *testing.T, root string) { write(t, root+"/etc/modprobe.d/sctp.conf") }, "/etc/modprobe.d/sctp.conf"},
		{"a file is replaced by rename",
			func(t *testing.T, root string) {
				write(t, root+"/etc/modprobe.d/sctp.conf")
				write(t, root+"/etc/modprobe.d/.tmp")
			},
			func(t *testing.T, root string) {
				must(t, os.Rename(root+"/etc/modprobe.d/.tmp", root+"/etc/modprobe.d/sctp.conf"))
			}, "/etc/modprobe.d/sctp.conf"},
		{"a file is removed",
			func(t *testing.T, root string) { write(t, root+"/etc/modprobe.d/sctp.conf") },
			func(t *testing.T, root string) { must(t, os.Remove(root+"/etc/modprobe.d/sctp.conf")) }, "/etc/modprobe.d/sctp.conf"},
		{"a file becomes unreadable",
			func(t *testing.T, root string) { write(t, root+"/etc/modprobe.d/sctp.conf") },
			func(t *testing.T, root string) { must(t, os.Chmod(root+"/etc/modprobe.d/sctp.conf", 0)) }, "/etc/modprobe.d/sctp.conf"},
		{"a directory is made, with a file", nil, func(t *testing.T, root string) { write(t, root+"/run/modprobe.d/sctp.conf") }, "modprobe.d"},
		{"a directory far below is made", nil, func(t *testing.T, root string) { write(t, root+"/usr/local/lib/modprobe.d/sctp.conf") }, "local"},
		{"a directory is removed",
			func(t *testing.T, root string) { write(t, root+"/etc/modprobe.d/sctp.conf") },
			func(t *testing.T, root string) { must(t, os.RemoveAll(root+"/etc/modprobe.d")) }, "modprobe.d"},
		{"a directory is replaced by another",
			func(t *testing.T, root string) { write(t, root+"/etc/new/sctp.conf") },
			func(t *testing.T, root string) {
				must(t, os.Rename(root+"/etc/modprobe.d", root+"/etc/old"))
				must(t, os.Rename(root+"/etc/new", root+"/etc/modprobe.d"))
			}, "modprobe.d"},
		{"through a link inside the root",
			func(t *testing.T, root string) {
				must(t, os.MkdirAll(root+"/opt/conf", 0o755))
				must(t, os.Remove(root+"/etc/modprobe.d"))
				must(t, os.Symlink("/opt/conf", root+"/etc/modprobe.d"))
			},
			func(t *testing.T, root string) { write(t, root+"/opt/conf/sctp.conf") }, "sctp.conf"},
		{"a link is replaced by a directory",
			func(t *testing.T, root string) {
				must(t, os.RemoveAll(root+"/etc/modprobe.d"))
				must(t, os.Symlink("/elsewhere/modprobe.d", root+"/etc/modprobe.d"))
				write(t, root+"/etc/new/sctp.conf")
			},
			func(t *testing.T, root string) {
				must(t, os.Remove(root+"/etc/modprobe.d"))
				must(t, os.Rename(root+"/etc/new", root+"/etc/modprobe.d"))
			}, "modprobe.d"},
		{"a link is led elsewhere",
			func(t *testing.T, root string) {
				write(t, root+"/opt/one/sctp.conf")
				write(t, root+"/opt/two/sctp.conf")
				must(t, os.RemoveAll(root+"/etc/modprobe.d"))
				must(t, os.Symlink("/opt/one", root+"/etc/modprobe.d"))
			},
			func(t *testing.T, root string) {
				must(t, os.Symlink("/opt/two", root+"/etc/new"))
				must(t, os.Rename(root+"/etc/new", root+"/etc/modprobe.d"))
			}, "modprobe.d"},
		{"an editor's temporary file", nil, func(t *testing.T, root string) { write(t, root+"/etc/modprobe.d/.sctp.conf.swp") }, ""},
		{"another directory beside", nil, func(t *testing.T, root string) { write(t, root+"/etc/cron.d/x.conf") }, ""},
		{"a file is read",
			func(t *testing.T, root string) { write(t, root+"/etc/modprobe.d/sctp.conf") },
			func(t *testing.T, root string) {
				_, err := os.ReadFile(root + "/etc/modprobe.d/sctp.conf")
				must(t, err)
			}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			for _, d := range []string{"/etc/modprobe.d", "/run", "/usr"} {
				must(t, os.MkdirAll(root+d, 0o755))
			}
			if tt.before != nil {
				tt.before(t, root)
			}
			fired := startWatch(t, root, "/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", markDir)
			tt.do(t, root)
			if tt.want != "" {
				await(t, fired, tt.want)
			}
			if got := handled(t, fired, root); tt.want == "" && len(got) > 0 {
				t.Fatalf("fired: %q", got)
			}
			// And the watch continues: a file in the directory is noticed
			// afterwards, wherever the directory is now.
			write(t, root+"/usr/local/lib/modprobe.d/later.conf")
			must(t, os.MkdirAll(root+"/etc", 0o755))
			if len(handled(t, fired, root)) == 0 {
				t.Fatal("a file in a directory far below was not noticed")
			}
			write(t, root+"/usr/local/lib/modprobe.d/later.conf")
			await(t, fired, "later.conf")
		})
	}
}

// A directory that is removed and made again before the agent has heard of it may
// have the inode number of the first one (ext4 reuses it), and is watched
// nevertheless.
func TestHostWatchMadeAgain(t *testing.T) {
	root := t.TempDir()
	dir := root + "/modprobe.d"
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(errors.Join(os.Mkdir(dir, 0o755), os.MkdirAll(root+markDir, 0o755)))
	before, _ := identify(dir)
	fired := make(chan string, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	first := sync.OnceFunc(func() {
		// The watches exist, and their events are not read.
		if err := errors.Join(os.Remove(dir), os.Mkdir(dir, 0o755)); err != nil {
			t.Error(err)
		}
	})
	w := NewHostWatch(root)
	look(t, w, "/modprobe.d", markDir)
	go func() { done <- w.Run(ctx, func(why string) { first(); fired <- why }) }()
	<-fired
	handled(t, fired, root)
	if after, _ := identify(dir); after != before {
		t.Logf("this file system gave another inode: %v after %v", after, before)
	}
	must(os.WriteFile(dir+"/sctp.conf", []byte("blacklist sctp\n"), 0o644))
	await(t, fired, "")
	cancel()
	must(<-done)
}

// startWatch watches directories, which are listed again whenever something is fired, as
// by an inspection.
func startWatch(t *testing.T, root string, dirs ...string) chan string {
	t.Helper()
	if err := os.MkdirAll(root+markDir, 0o755); err != nil {
		t.Fatal(err)
	}
	w := NewHostWatch(root)
	return run(t, w, func() { look(t, w, dirs...) })
}

// run runs a watch, with something that looks at the host at first, and whenever it fires.
func run(t *testing.T, w *HostWatch, look func()) chan string {
	t.Helper()
	fired := make(chan string, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	look()
	go func() {
		done <- w.Run(ctx, func(why string) {
			look()
			fired <- why
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-fired
	return fired
}

// look lists directories.
func look(t *testing.T, w *HostWatch, dirs ...string) {
	t.Helper()
	tree, err := hostroot.Open(w.Root)
	if err != nil {
		t.Error(err)
		return
	}
	defer tree.Close()
	for _, dir := range dirs {
		_, _ = tree.ReadDir(dir) // which may not be there
	}
	var at kmod.Looked
	at.Names, at.Lists = tree.Looked()
	w.Looked(at)
}

// await waits until something with this text is fired. It normally comes at once:
// the limit is for what never comes.
func await(t *testing.T, fired chan string, want string) {
	t.Helper()
	var got []string
	limit := time.After(time.Minute)
	for {
		select {
		case why := <-fired:
			if got = append(got, why); strings.Contains(why, want) {
				return
			}
		case <-limit:
			t.Fatalf("fired: %q, want something about %q", got, want)
		}
	}
}

// markDir is a directory that is there and watched all the time.
const markDir = "/lib/modules/6.1.0"

// handled is what is fired of all that was done before, when the watch has heard of
// all of it: inotify(7) gives events in the order in which they happened, so it
// adds a mark after them. To wait until nothing is fired for a while would prove
// nothing on a busy machine.
func handled(t *testing.T, fired chan string, root string) (got []string) {
	t.Helper()
	// Making a directory is one event.
	mark, err := os.MkdirTemp(root+markDir, "modules.mark")
	if err != nil {
		t.Fatal(err)
	}
	limit := time.After(time.Minute)
	for {
		select {
		case why := <-fired:
			if strings.Contains(why, filepath.Base(mark)) {
				return got
			}
			got = append(got, why)
		case <-limit:
			t.Fatalf("fired: %q, and nothing of %s", got, mark)
		}
	}
}

// collect what is fired until nothing is for this long.
func collect(fired chan string, quiet time.Duration) []string {
	var got []string
	for {
		select {
		case why := <-fired:
			got = append(got, why)
		case <-time.After(quiet):
			return got
		}
	}
}
