package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// HostWatch is the trigger of the files that decide: what the last inspection has
// looked at is written, replaced, removed, or made (inotify(7)).
//
// Each directory that it listed is watched, and the directory that a name is in (or, as
// long as that is missing, the nearest one above that exists). inotify does not report a
// file system that is mounted over one of these, nor fsnotify one that is unmounted; so
// when mounts change (see watchMounts), it checks whether the directories are still
// the same ones. A directory that this process may not read, and an automount that
// nothing has used, are left out. What none of them sees (a mount over a single file, a
// file system of another machine) is left to the slow resync.
type HostWatch struct {
	// Root is the host's root.
	Root string

	changed chan struct{}
	mu      sync.Mutex
	looked  kmod.Looked
}

// NewHostWatch watches nothing yet.
func NewHostWatch(root string) *HostWatch {
	return &HostWatch{Root: cmp.Or(root, "/"), changed: make(chan struct{}, 1)}
}

// Name of the trigger.
func (*HostWatch) Name() string { return "inotify" }

// Looked takes what an inspection has looked at.
func (t *HostWatch) Looked(at kmod.Looked) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if slices.Equal(at.Names, t.looked.Names) && slices.Equal(at.Lists, t.looked.Lists) {
		return
	}
	t.looked = at
	select {
	case t.changed <- struct{}{}:
	default: // the watch has not seen the one before yet
	}
}

// Run fires until ctx ends.
func (t *HostWatch) Run(ctx context.Context, fire func(string)) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching the configuration: %w", err)
	}
	defer w.Close()
	s := dirWatch{HostWatch: t, w: w, watched: map[string]inode{}}
	mounts := make(chan struct{}, 1)
	mountsCtx, stopMounts := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stopMounts()
	// Without /proc the resync must do.
	wg.Go(func() { _ = watchMounts(mountsCtx, mounts) })
	for again := true; ; {
		select {
		case <-t.changed: // before what happens there
			again = true
		default:
		}
		if again {
			again = false
			switch added, err := s.scan(); {
			case err != nil:
				return err
			case added: // and what happened before
				fire("watching more of the host")
				continue
			}
		}
		var what string
		structural := true
		select {
		case <-ctx.Done():
			return nil
		case err, ok := <-w.Errors:
			if !ok {
				return errors.New("watching the configuration: the watch ended")
			}
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return fmt.Errorf("watching the configuration: %w", err)
			}
			what = "inotify events lost"
		case <-t.changed:
			again = true
			continue
		case <-mounts:
			if s.unchanged() {
				continue
			}
			what = "mounts changed"
		case e, ok := <-w.Events:
			if !ok {
				return errors.New("watching the configuration: the watch ended")
			}
			what, structural = s.concerns(e)
			if structural && (e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename)) {
				// The watch went with the directory. There may be another
				// one already, even with the same inode number.
				s.forget(e.Name)
			}
		}
		if structural {
			if _, err := s.scan(); err != nil {
				return err
			}
		}
		if what != "" {
			// After scan: what was written into a new directory
			// before it was watched is seen by the assessment.
			fire(what)
		}
	}
}

type inode struct{ dev, ino uint64 }

// dirWatch is the state of one run.
type dirWatch struct {
	*HostWatch
	w *fsnotify.Watcher
	// watched holds what is watched, by path on this side.
	watched map[string]inode
	// lists are the directories of which every entry counts; steps are the names that
	// count, and those on the way to them that are missing.
	lists, steps map[string]bool
}

// scan watches what is there now, and reports whether that is more than before. What is
// made below a directory before that is watched goes unnoticed, so it looks again until
// nothing is new.
func (s *dirWatch) scan() (more bool, err error) {
	for {
		for _, path := range s.ended() {
			s.forget(path)
		}
		added, err := s.scanOnce()
		if err != nil || !added {
			return more, err
		}
		more = true
	}
}

// unchanged reports whether what is watched is still there, and the same. A mount
// cannot bring a directory without covering one that is watched: the nearest one
// above.
func (s *dirWatch) unchanged() bool {
	if len(s.ended()) > 0 {
		return false
	}
	for path, id := range s.watched {
		if now, _ := identify(path); now != id {
			return false
		}
	}
	return true
}

// ended lists the watches that have ended by themselves, as their file system was
// unmounted: another one may have replaced it, even with the same numbers.
func (s *dirWatch) ended() (paths []string) {
	alive := map[inode]bool{}
	for _, path := range s.w.WatchList() {
		alive[s.watched[path]] = true
	}
	for path, id := range s.watched {
		// Of two paths to one directory, the list has one.
		if !alive[id] {
			paths = append(paths, path)
		}
	}
	return paths
}

func (s *dirWatch) scanOnce() (added bool, err error) {
	s.mu.Lock()
	looked := s.looked
	s.mu.Unlock()
	s.lists, s.steps = map[string]bool{}, map[string]bool{}
	want := map[string]inode{}
	root, err := hostroot.OpenLocal(s.Root)
	if err != nil {
		return false, fmt.Errorf("watching the configuration: %w", err)
	}
	defer root.Close()
	for _, name := range looked.Names {
		if !leftOut(root, name) {
			s.follow(filepath.Join(s.Root, name), want)
		}
	}
	for _, dir := range looked.Lists {
		path := filepath.Join(s.Root, dir)
		if leftOut(root, dir) {
			continue
		}
		if id, ok := identify(path); ok {
			want[path] = id
			s.lists[path] = true
		}
	}
	for path, id := range s.watched {
		// Another directory of the same name counts as gone.
		if want[path] != id {
			s.forget(path)
		}
	}
	for path, id := range want {
		if s.watched[path] == id {
			continue
		}
		err := s.w.Add(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // it was removed meanwhile; its parent's watch will report that
		case errors.Is(err, fs.ErrPermission):
			continue // the others can be watched; the slow resync must do
		case err != nil:
			// ENOSPC: fs.inotify.max_user_watches.
			return false, fmt.Errorf("watching %s: %w", path, err)
		}
		s.watched[path] = id
		added = true
	}
	return added, nil
}

// leftOut reports whether a name is not watched: nothing that decides is there, or to look
// there would mount something, or may wait for ever.
func leftOut(root *hostroot.Tree, name string) bool {
	for _, dir := range []string{"/proc", "/sys", "/dev", "/tmp", "/var/tmp", "/var/log"} {
		if name == dir || strings.HasPrefix(name, dir+"/") {
			return true
		}
	}
	_, err := root.Stat(name)
	return errors.Is(err, hostroot.ErrNotEntered)
}

// forget ends a watch, which may have ended already.
func (s *dirWatch) forget(path string) {
	id := s.watched[path]
	_ = s.w.Remove(path)
	delete(s.watched, path)
	for other, same := range s.watched {
		// A directory has one watch, by however many paths it is reached.
		if same == id {
			_ = s.w.Remove(other)
			delete(s.watched, other)
		}
	}
}

// follow wants the directory in which path comes and goes, and as long as that
// is missing, the nearest one above that exists.
func (s *dirWatch) follow(path string, want map[string]inode) {
	for step := path; ; step = filepath.Dir(step) {
		s.steps[step] = true
		parent := filepath.Dir(step)
		if parent == step {
			return
		}
		if id, ok := identify(parent); ok {
			want[parent] = id
			return
		}
	}
}

// identify is the number of a directory.
func identify(path string) (inode, bool) {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return inode{}, false
	}
	return inode{uint64(st.Dev), st.Ino}, true
}

// concerns reports whether an event matters, and whether it changes what is to be
// watched.
func (s *dirWatch) concerns(e fsnotify.Event) (what string, structural bool) {
	host := strings.TrimPrefix(e.Name, strings.TrimSuffix(s.Root, "/"))
	_, watched := s.watched[e.Name]
	switch dir, name := filepath.Split(e.Name); {
	case s.steps[e.Name]:
		return host + " changed", !e.Has(fsnotify.Write)
	case watched && (e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename)):
		return host + " went away", true
	case s.lists[filepath.Clean(dir)] && !strings.HasPrefix(name, "."): // as editors name what they write
		return host + " changed", false
	}
	return "", false
}
