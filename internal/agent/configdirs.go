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

// ConfigDirs is the trigger of files that are written, replaced or removed in
// directories that may themselves be made, removed or replaced (inotify(7)).
//
// Each directory is watched, and the directory it is in (or, as long as that is
// missing, the nearest one above that exists). inotify does not report a file
// system that is mounted over one of these, nor fsnotify one that is unmounted; so
// when mounts change (see watchMounts), it checks whether the directories are still
// the same ones. A directory that this process may not read, and an automount that
// nothing has used, are left out. What none of them sees (a link's target outside
// these directories, a mount over a single file, a file system of another machine)
// is left to the slow resync.
type ConfigDirs struct {
	// Root is the host's root; links are resolved inside it.
	Root string
	// Dirs as the host names them ("/etc/modprobe.d").
	Dirs []string
	// Subdir, if set, reports whether a directory of this name in one of Dirs is to
	// be watched as they are.
	Subdir func(dir, name string) bool
	// Relevant reports whether a file of this name matters.
	Relevant func(dir, name string) bool
}

// Name of the trigger.
func (ConfigDirs) Name() string { return "inotify" }

// Run fires until ctx ends.
func (t ConfigDirs) Run(ctx context.Context, fire func(string)) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching the configuration: %w", err)
	}
	defer w.Close()
	s := dirWatch{ConfigDirs: t, w: w, watched: map[string]inode{}}
	if err := s.scan(); err != nil {
		return err
	}
	mounts := make(chan struct{}, 1)
	mountsCtx, stopMounts := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stopMounts()
	// Without /proc the resync must do.
	wg.Go(func() { _ = watchMounts(mountsCtx, mounts) })
	// What happened before the watches were there.
	fire("configuration watch started")
	for {
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
			if err := s.scan(); err != nil {
				return err
			}
			fire("inotify events lost")
		case <-mounts:
			if s.unchanged() {
				continue
			}
			if err := s.scan(); err != nil {
				return err
			}
			fire("mounts changed")
		case e, ok := <-w.Events:
			if !ok {
				return errors.New("watching the configuration: the watch ended")
			}
			what, structural := s.concerns(e)
			if structural {
				if e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename) {
					// The watch went with the directory. There may be another
					// one already, even with the same inode number.
					s.forget(e.Name)
				}
				if err := s.scan(); err != nil {
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
}

type inode struct{ dev, ino uint64 }

// dirWatch is the state of one run.
type dirWatch struct {
	ConfigDirs
	w *fsnotify.Watcher
	// watched holds what is watched, by path on this side.
	watched map[string]inode
	// dirs are the directories themselves, resolved; steps are the names
	// whose coming and going changes what is to be watched.
	dirs  map[string]string // path → the host's name
	steps map[string]bool
}

// scan watches what is there now. What is made below a directory before that is
// watched goes unnoticed, so it looks again until nothing is new.
func (s *dirWatch) scan() error {
	for {
		for _, path := range s.ended() {
			s.forget(path)
		}
		added, err := s.scanOnce()
		if err != nil || !added {
			return err
		}
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
	s.dirs, s.steps = map[string]string{}, map[string]bool{}
	want := map[string]inode{}
	root, err := hostroot.Open(s.Root)
	if err != nil {
		return false, fmt.Errorf("watching the configuration: %w", err)
	}
	defer root.Close()
	for _, dir := range s.all(root) {
		// What cannot be reached (no permission, a loop of links) is left to the slow
		// resync; the others can be watched.
		if path, err := s.path(root, dir); err == nil {
			if id, ok := identify(path); ok {
				want[path] = id
				s.dirs[path] = dir
			}
			s.follow(path, want)
		}
		// Where it is a link, the link too may be replaced.
		if parent, err := s.path(root, filepath.Dir(dir)); err == nil {
			s.follow(filepath.Join(parent, filepath.Base(dir)), want)
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

// all are the directories and those below them that count, without those below an
// automount: to look there would mount something.
func (s *dirWatch) all(root *hostroot.Tree) []string {
	dirs := slices.DeleteFunc(slices.Clone(s.Dirs), func(dir string) bool {
		top, _, _ := strings.Cut(strings.TrimPrefix(dir, "/"), "/")
		return root.Automount("/" + top)
	})
	if s.Subdir == nil {
		return dirs
	}
	for _, dir := range slices.Clone(dirs) {
		entries, _ := root.ReadDir(dir) // perhaps not there, or not to be read
		for _, e := range entries {
			if s.Subdir(dir, e.Name) {
				dirs = append(dirs, dir+"/"+e.Name)
			}
		}
	}
	return dirs
}

// path is that of a directory of the host on this side, links resolved.
func (s *dirWatch) path(root *hostroot.Tree, dir string) (string, error) {
	at, err := root.Resolve(dir)
	return filepath.Join(s.Root, at), err
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

// concerns reports whether an event matters, and whether the directories themselves
// changed.
func (s *dirWatch) concerns(e fsnotify.Event) (what string, structural bool) {
	if s.steps[e.Name] {
		if e.Has(fsnotify.Write) || e.Op == fsnotify.Chmod {
			if dir, ok := s.dirs[e.Name]; ok {
				return dir + " changed", true
			}
			return "", false
		}
		return e.Name + " changed", true
	}
	if _, ok := s.watched[e.Name]; ok && (e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename)) {
		return e.Name + " went away", true
	}
	if dir, ok := s.dirs[filepath.Dir(e.Name)]; ok {
		name := filepath.Base(e.Name)
		if s.Subdir != nil && s.Subdir(dir, name) {
			return filepath.Join(dir, name) + " changed", true
		}
		if s.Relevant == nil || s.Relevant(dir, name) {
			return filepath.Join(dir, name) + " changed", false
		}
	}
	return "", false
}

// modulesDir holds one directory for each kernel's modules and their index.
const modulesDir = "/lib/modules"

// relevantConfig reports which files of modprobe.d(5), modules-load.d(5),
// sysctl.d(5), the boot loader's entries, systemd's units and depmod(8)'s directory
// matter, and that all do where scripts and rules are.
func relevantConfig(dir, name string) bool {
	switch {
	case dir == "/etc/systemd":
		return name == "system.conf"
	case strings.HasSuffix(dir, "/system-generators"):
		return true
	case strings.Contains(dir, "/systemd/"):
		return slices.Contains([]string{".service", ".target", ".timer", ".path", ".socket", ".conf", ".d", ".wants", ".requires"}, filepath.Ext(name))
	case strings.HasPrefix(dir, modulesDir+"/"):
		return strings.HasPrefix(name, "modules.")
	case slices.Contains(kmod.NextBootFiles(), filepath.Join(dir, name)):
		return true
	case slices.ContainsFunc(kmod.NextBootFiles(), func(file string) bool { return filepath.Dir(file) == dir }):
		return false
	}
	switch filepath.Base(dir) {
	case "modprobe.d", "modules-load.d", "sysctl.d", "entries", "kargs.d", "grub.d":
		// kmod before 33 also reads *.alias.
		return slices.Contains([]string{".conf", ".alias", ".toml", ".cfg"}, filepath.Ext(name))
	}
	return true
}

// WatchHost is the trigger of everything on disk that decides: the directories
// of modprobe.d and modules-load.d, of systemd's units and what else may run at
// boot, the running kernel's module index, and what the next boot differs by.
func WatchHost(host kmod.Options) ConfigDirs {
	release := host.KernelRelease
	if release == "" {
		var u unix.Utsname
		if unix.Uname(&u) == nil {
			release = unix.ByteSliceToString(u.Release[:])
		}
	}
	dirs := append(host.ConfigDirs(), host.NextBootDirs()...)
	if release != "" {
		dirs = append(dirs, filepath.Join(modulesDir, release))
	}
	return ConfigDirs{Root: cmp.Or(host.Root, "/"), Dirs: dirs, Subdir: kmod.ConfigSubdir, Relevant: relevantConfig}
}
