package hostroot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Tree reads an [fs.FS] as a host root. The Open of such a file system may
// follow links, or leave its root by them, so a name is resolved here,
// component by component, and only names without links are given to it.
type Tree struct {
	fsys  fs.FS
	looks map[string]look // by name without links, relative to the root
	ids   map[string]ID
	root  io.Closer // what fsys is a part of, nil if that is the caller's
	// partial: only some directories of the host are mounted here, each separately.
	// The target of a dangling link may then be outside of them.
	partial bool
	check   func(name string) error
}

// disk is the directory that [Open] opens on Linux, where names are any bytes.
type disk interface {
	fs.FS
	automount(name string) bool
}

func newTree(fsys fs.FS) *Tree {
	return &Tree{fsys: fsys, looks: map[string]look{}, ids: map[string]ID{}, check: func(string) error { return nil }}
}

// Checked is the tree without the files that check refuses.
func (t *Tree) Checked(check func(name string) error) *Tree {
	c := *t
	c.check = func(name string) error {
		if err := t.check(name); err != nil {
			return err
		}
		return check(name)
	}
	return &c
}

// look is what was seen of a name at the first look.
type look struct {
	info fs.FileInfo
	err  error
	link *link // where it leads, once that was read
}

type link struct {
	target string
	err    error
}

// FromFS takes a file system that can read links ([fs.ReadLinkFS]) for the root
// of a host. Another one is [errors.ErrUnsupported].
func FromFS(fsys fs.FS) (*Tree, error) {
	if _, ok := fsys.(fs.ReadLinkFS); !ok {
		return nil, fmt.Errorf("%w: a file system that cannot read symbolic links (%T is no fs.ReadLinkFS)", errors.ErrUnsupported, fsys)
	}
	info, err := fs.Stat(fsys, ".")
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: ".", Err: syscall.ENOTDIR}
	}
	return newTree(fsys), nil
}

// lstat reads a name without links, once.
func (t *Tree) lstat(name string) (fs.FileInfo, error) {
	l, ok := t.looks[name]
	if !ok {
		if _, live := t.fsys.(disk); live || fs.ValidPath(name) {
			l.info, l.err = fs.Lstat(t.fsys, name)
		} else {
			l.err = errBadName
		}
		Remember(t.looks, name, l)
	}
	return l.info, l.err
}

// resolve follows a name as in path_resolution(7), and returns the name of its
// target without links, relative to the root. If that is missing, it is the name of
// what is missing.
func (t *Tree) resolve(name string) (at string, info fs.FileInfo, err error) {
	return t.resolveWithin(name, maxLinks)
}

// TooDeep reports whether more than so many links are on the way to what a name leads
// to: some programs give up before the kernel does.
func (t *Tree) TooDeep(name string, links int) bool {
	_, _, err := t.resolveWithin(name, links)
	return errors.Is(err, syscall.ELOOP)
}

func (t *Tree) resolveWithin(name string, limit int) (at string, info fs.FileInfo, err error) {
	if err := t.check(name); err != nil {
		return "", nil, err
	}
	rest, own, inLink := name, len(name), false
	fail := func(err error) (string, fs.FileInfo, error) {
		if t.partial && inLink && errors.Is(err, fs.ErrNotExist) {
			err = ErrNotMounted
		}
		return at, nil, &fs.PathError{Op: "open", Path: name, Err: Bare(err)}
	}
	at = "."
	if info, err = t.lstat(at); err != nil {
		return fail(err)
	}
	plain := path.IsAbs(name) && path.Clean(name) == name // so far, at is the beginning of name
	for links := 0; rest != ""; {
		// Of what is left, the last own bytes are of the name itself.
		inLink = len(rest) > own
		own = min(own, len(rest))
		var component string
		component, rest, _ = strings.Cut(rest, "/")
		switch {
		case !info.IsDir():
			return fail(syscall.ENOTDIR)
		case component == "" || component == ".":
			continue
		case component == "..":
			at = path.Dir(at)
		case at == ".":
			at = component
		case plain:
			at = strings.TrimSuffix(name[1:len(name)-len(rest)], "/")
		default:
			at += "/" + component
		}
		if info, err = t.lstat(at); err != nil {
			if rest != "" {
				at = path.Join(at, rest)
			}
			return fail(err)
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			continue
		}
		plain = false
		if links++; links > limit {
			return fail(syscall.ELOOP)
		}
		target, err := t.target(at)
		if err != nil {
			return fail(err)
		}
		if at = path.Dir(at); path.IsAbs(target) {
			at = "."
		}
		if info, err = t.lstat(at); err != nil {
			return fail(err)
		}
		own = min(own, len(rest))
		rest = target + "/" + rest
	}
	return at, info, nil
}

// Resolve returns where in the root a name leads, links resolved, and where what is
// missing would be.
func (t *Tree) Resolve(name string) (string, error) {
	at, _, err := t.resolve(name)
	if err != nil && !Absent(err) && !errors.Is(err, ErrNotMounted) {
		return "", err
	}
	return at, nil
}

// pathMax bounds a link's target, as PATH_MAX of limits.h does.
const pathMax = 4096

// target reads a link, by its name without links, once.
func (t *Tree) target(name string) (string, error) {
	l := t.looks[name]
	if l.link == nil {
		target, err := fs.ReadLink(t.fsys, name)
		switch {
		case err != nil:
		case target == "":
			err = fs.ErrNotExist
		case len(target) >= pathMax:
			err = syscall.ENAMETOOLONG
		}
		l.link = &link{filepath.ToSlash(target), err}
		if _, ok := t.looks[name]; ok {
			t.looks[name] = l
		}
	}
	return l.link.target, l.link.err
}

func (t *Tree) info(at string, i fs.FileInfo) Info {
	id, ok := t.ids[at]
	switch {
	case at == "dev/null":
		id = nullDevice
	case !ok:
		id = ID{ino: uint64(len(t.ids) + 1)}
		t.ids[at] = id
	}
	if live, ok := i.Sys().(Info); ok {
		return live
	}
	return Info{Mode: i.Mode(), Size: i.Size(), Changed: i.ModTime(), ID: id}
}

// Stat describes the target of a name.
func (t *Tree) Stat(name string) (Info, error) {
	at, info, err := t.resolve(name)
	if err != nil {
		return Info{}, err
	}
	return t.info(at, info), nil
}

// Readlink reads a link itself.
func (t *Tree) Readlink(name string) (string, error) {
	if err := t.check(name); err != nil {
		return "", err
	}
	dir, _, err := t.resolve(parentOf(name))
	if err != nil {
		return "", err
	}
	at := path.Join(dir, path.Base(name))
	info, err := t.lstat(at)
	switch {
	case err != nil:
	case info.Mode()&fs.ModeSymlink == 0:
		err = fs.ErrInvalid
	default:
		var target string
		if target, err = t.target(at); err == nil {
			return target, nil
		}
	}
	return "", &fs.PathError{Op: "readlink", Path: name, Err: Bare(err)}
}

// Open opens a regular file. Anything else is refused unopened: ErrNullDevice
// for /dev/null, which a tree need not have, ErrNotRegular otherwise.
func (t *Tree) Open(name string) (File, error) {
	at, info, err := t.resolve(name)
	if err != nil {
		if at == "dev/null" && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotMounted)) {
			err = ErrNullDevice
		}
		return nil, err
	}
	f := &treeFile{name: name, info: t.info(at, info)}
	if err := f.info.Regular(name); err != nil {
		return nil, err
	}
	if f.file, err = t.fsys.Open(at); err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: Bare(err)}
	}
	// The file may have been removed since.
	if info, err = f.file.Stat(); err == nil {
		f.info = t.info(at, info)
		err = f.info.Regular(name)
	}
	if err != nil {
		f.file.Close()
		return nil, err
	}
	return f, nil
}

// ReadDir lists a directory of at most maxDirEntries entries, sorted by name.
func (t *Tree) ReadDir(name string) ([]Entry, error) {
	at, info, err := t.resolve(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.ENOTDIR}
	}
	list, err := t.list(at)
	if err != nil {
		return nil, &fs.PathError{Op: "list", Path: name, Err: Bare(err)}
	}
	entries := make([]Entry, len(list))
	for i, e := range list {
		entries[i] = Entry{Name: e.Name(), Mode: e.Type()}
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries, nil
}

func (t *Tree) list(at string) (list []fs.DirEntry, err error) {
	f, err := t.fsys.Open(at)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	dir, ok := f.(fs.ReadDirFile)
	for ok && err == nil && len(list) <= maxDirEntries {
		var more []fs.DirEntry
		more, err = dir.ReadDir(maxDirEntries + 1 - len(list))
		list = append(list, more...)
	}
	if !ok {
		list, err = fs.ReadDir(t.fsys, at)
	}
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, err
	case len(list) > maxDirEntries:
		return nil, ErrTooLarge
	}
	return list, nil
}

// MayHave reports whether a name that does not resolve here may resolve on the
// host: the directory that it begins with is not mounted.
func (t *Tree) MayHave(name string) bool {
	if !t.partial {
		return false
	}
	top, _, _ := strings.Cut(strings.TrimPrefix(path.Clean(name), "/"), "/")
	_, err := t.Stat("/" + top)
	return err != nil && Absent(err)
}

// Automount reports whether a name is a mount point of autofs that nothing has
// used: a look below it would mount something, and may wait for a server.
func (t *Tree) Automount(name string) bool {
	live, ok := t.fsys.(disk)
	if !ok {
		return false
	}
	at, _, err := t.resolve(name)
	return err == nil && live.automount(at)
}

// Close leaves the file system to the caller, if it is the caller's.
func (t *Tree) Close() error {
	if t.root == nil {
		return nil
	}
	return t.root.Close()
}

// Sub is a directory of the tree in place of one of the kernel's own, as Kernel is
// on a live host. Its names are relative to the directory.
func (t *Tree) Sub(dir string) *Sub { return &Sub{tree: t, dir: dir} }

// Sub is a directory of a Tree.
type Sub struct {
	tree *Tree
	dir  string
}

// Stat describes a file.
func (s *Sub) Stat(name string) (Info, error) { return s.tree.Stat(path.Join("/", s.dir, name)) }

// ReadFile reads a file.
func (s *Sub) ReadFile(name string) (string, error) {
	f, err := s.tree.Open(path.Join("/", s.dir, name))
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := f.ReadAll(maxKernelFile)
	return string(data), err
}

// Close has nothing to do.
func (s *Sub) Close() error { return nil }

// treeFile is an open file of a tree. Where it cannot be read by position, it is
// read whole at the first such request.
type treeFile struct {
	file fs.File
	name string
	info Info
	at   io.ReaderAt
}

// maxByPosition is how much of a file is held that cannot be read by position;
// the largest of a host's indexes has some megabytes.
const maxByPosition = 32 << 20

func (f *treeFile) Info() Info   { return f.info }
func (f *treeFile) Close() error { return f.file.Close() }

func (f *treeFile) ReadAt(p []byte, off int64) (int, error) {
	if f.at == nil {
		at, ok := f.file.(io.ReaderAt)
		if !ok {
			data, err := readAll(f.file, f.name, f.info.Size, maxByPosition)
			if err != nil {
				return 0, err
			}
			at = bytes.NewReader(data)
		}
		f.at = at
	}
	return f.at.ReadAt(p, off)
}

func (f *treeFile) ReadAll(limit int64) ([]byte, error) {
	if f.info.Size > limit {
		return nil, &fs.PathError{Op: "read", Path: f.name, Err: ErrTooLarge}
	}
	return readAll(f.file, f.name, f.info.Size, limit)
}
