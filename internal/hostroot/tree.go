package hostroot

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Tree reads a source of files as a host root. A source may follow links, or leave
// its root by them, so a name is resolved here, component by component, and only
// names without links, relative to the root, are given to it.
type Tree struct {
	source source
	*seen
	// partial: only some directories of the host are mounted here, each separately.
	// The target of a dangling link may then be outside of them.
	partial bool
	check   func(name string) error
}

// source is where a tree's files come from. None of its methods follows a link.
type source interface {
	lstat(name string) (Info, error)
	readlink(name string) (string, error)
	// open opens a file that was regular a moment ago; Info is what it is now.
	open(name string) (io.ReadCloser, Info, error)
	// list is a directory's entries, in any order, and at most so many and some more.
	list(name string, most int) ([]Entry, error)
	notEntered(name string) bool
	Close() error
}

func newTree(from source) *Tree {
	return &Tree{
		source: from, check: func(string) error { return nil },
		seen: &seen{looks: make(map[string]look, usualLooks), ways: make(map[string]way, usualLooks), links: map[string]link{}, lists: map[string][]Entry{}},
	}
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

// seen is what the source was asked already, by names without links. A tree is as it
// was at the first look.
type seen struct {
	looks map[string]look
	links map[string]link
	lists map[string][]Entry // of directories, sorted by name
	// entries are those of all lists.
	entries int
	// ways are where names lead, which may have links.
	ways map[string]way
}

type look struct {
	info Info
	err  error
}

type link struct {
	target string
	err    error
}

// way is where a name leads: what is there, or where the way ends with an error, and
// whether that is within the target of a link.
type way struct {
	at     string
	mode   fs.FileMode
	err    error
	inLink bool
}

// lstat describes a name without links, read once.
func (t *Tree) lstat(name string) (Info, error) {
	l, ok := t.looks[name]
	if !ok {
		l.info, l.err = t.source.lstat(name)
		Remember(t.looks, name, l)
	}
	return l.info, l.err
}

// typeOf is the type of a name without links, by the list of its directory if that
// was read.
func (t *Tree) typeOf(name string) (fs.FileMode, error) {
	if l, ok := t.looks[name]; ok {
		return l.info.Mode, l.err
	}
	dir, base := ".", name
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		dir, base = name[:i], name[i+1:]
	}
	list := t.lists[dir]
	if i, ok := slices.BinarySearchFunc(list, base, func(e Entry, name string) int { return strings.Compare(e.Name, name) }); ok {
		return list[i].Mode, nil
	}
	info, err := t.lstat(name)
	return info.Mode, err
}

// resolve follows a name as in path_resolution(7), and returns the name of its
// target without links, relative to the root. If that is missing, it is the name of
// what is missing.
func (t *Tree) resolve(name string) (at string, mode fs.FileMode, err error) {
	if err := t.check(name); err != nil {
		return "", 0, err
	}
	w, ok := t.ways[name]
	if !ok {
		w = t.follow(name, maxLinks)
		Remember(t.ways, name, w)
	}
	if w.err != nil {
		err := w.err
		if t.partial && w.inLink && errors.Is(err, fs.ErrNotExist) {
			err = ErrNotMounted
		}
		return w.at, 0, &fs.PathError{Op: "open", Path: name, Err: Bare(err)}
	}
	return w.at, w.mode, nil
}

// TooDeep reports whether more than so many links are on the way to what a name leads
// to: some programs give up before the kernel does.
func (t *Tree) TooDeep(name string, links int) bool {
	return t.check(name) == nil && errors.Is(t.follow(name, links).err, syscall.ELOOP)
}

// follow follows a name.
func (t *Tree) follow(name string, limit int) (w way) {
	w.at = "."
	if w.mode, w.err = t.typeOf(w.at); w.err != nil {
		return w
	}
	rest, own := name, len(name)
	plain := path.IsAbs(name) && path.Clean(name) == name // so far, w.at is the beginning of name
	for links := 0; rest != ""; {
		// Of what is left, the last own bytes are of the name itself.
		w.inLink = len(rest) > own
		own = min(own, len(rest))
		var component string
		component, rest, _ = strings.Cut(rest, "/")
		switch {
		case !w.mode.IsDir():
			w.err = syscall.ENOTDIR
			return w
		case component == "" || component == ".":
			continue
		case component == "..":
			w.at = path.Dir(w.at)
		case w.at == ".":
			w.at = component
		case plain:
			w.at = strings.TrimSuffix(name[1:len(name)-len(rest)], "/")
		default:
			w.at += "/" + component
		}
		if w.mode, w.err = t.typeOf(w.at); w.err != nil {
			if missing := path.Join(w.at, rest); missing == nullName && !leadsToNull(w.at, rest) {
				w.at, w.err = missing, syscall.ENOTDIR
			} else if rest != "" {
				w.at = missing
			}
			return w
		}
		if w.mode&fs.ModeSymlink == 0 {
			continue
		}
		plain = false
		if links++; links > limit {
			w.err = syscall.ELOOP
			return w
		}
		var target string
		if target, w.err = t.target(w.at); w.err != nil {
			return w
		}
		if w.at = path.Dir(w.at); path.IsAbs(target) {
			w.at = "."
		}
		if w.mode, w.err = t.typeOf(w.at); w.err != nil {
			return w
		}
		own = min(own, len(rest))
		rest = target + "/" + rest
	}
	return w
}

const nullName = "dev/null"

// leadsToNull reports whether what is left of a way leads to the null device from /dev, or
// from the device itself, which is not there; on a host it is, and is no directory.
func leadsToNull(at, rest string) bool {
	for rest != "" {
		if at == nullName {
			return false
		}
		var component string
		component, rest, _ = strings.Cut(rest, "/")
		if at = path.Join(at, component); at != "." && at != "dev" && at != nullName {
			return false
		}
	}
	return at == nullName
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
	l, ok := t.links[name]
	if !ok {
		l.target, l.err = t.source.readlink(name)
		switch {
		case l.err != nil:
		case l.target == "":
			l.err = fs.ErrNotExist
		case len(l.target) >= pathMax:
			l.err = syscall.ENAMETOOLONG
		}
		Remember(t.links, name, l)
	}
	return l.target, l.err
}

// Stat describes the target of a name.
func (t *Tree) Stat(name string) (Info, error) {
	at, _, err := t.resolve(name)
	if err != nil {
		return Info{}, err
	}
	info, err := t.lstat(at)
	if err != nil {
		return Info{}, &fs.PathError{Op: "open", Path: name, Err: Bare(err)}
	}
	return info, nil
}

// LinkChanged is when a link was made, zero for anything else.
func (t *Tree) LinkChanged(name string) time.Time {
	dir, _, err := t.resolve(parentOf(name))
	if err != nil {
		return time.Time{}
	}
	at := path.Join(dir, path.Base(name))
	if mode, err := t.typeOf(at); err != nil || mode&fs.ModeSymlink == 0 {
		return time.Time{}
	}
	info, _ := t.lstat(at)
	return info.Changed
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
	mode, err := t.typeOf(at)
	switch {
	case err != nil:
	case mode&fs.ModeSymlink == 0:
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
	at, mode, err := t.resolve(name)
	if err != nil {
		if at == nullName && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotMounted)) {
			err = ErrNullDevice
		}
		return nil, err
	}
	if !mode.IsRegular() {
		info, err := t.lstat(at)
		if err == nil {
			err = info.Regular(name)
		}
		return nil, err
	}
	file, info, err := t.source.open(at)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: Bare(err)}
	}
	// Another file may have its place since.
	if err := info.Regular(name); err != nil {
		file.Close()
		return nil, err
	}
	return &treeFile{file: file, name: name, info: info}, nil
}

// ReadDir lists a directory of at most maxDirEntries entries, sorted by name. The list is
// not to be written to.
func (t *Tree) ReadDir(name string) ([]Entry, error) {
	at, mode, err := t.resolve(name)
	if err != nil {
		return nil, err
	}
	if !mode.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.ENOTDIR}
	}
	if entries, ok := t.lists[at]; ok {
		return entries, nil
	}
	entries, err := t.source.list(at, maxDirEntries+1)
	if err == nil && len(entries) > maxDirEntries {
		err = ErrTooLarge
	}
	if err != nil {
		return nil, &fs.PathError{Op: "list", Path: name, Err: Bare(err)}
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	if t.entries += len(entries); t.entries > maxRemembered {
		clear(t.lists)
		t.entries = len(entries)
	}
	Remember(t.lists, at, entries)
	return entries, nil
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

// NotEntered reports whether a name is a mount point below which nothing is looked at;
// see ErrNotEntered.
func (t *Tree) NotEntered(name string) bool {
	at, _, err := t.resolve(name)
	return err == nil && t.source.notEntered(at)
}

// Looked are the names that were looked at, there or not, and the directories that were
// listed, all without links, sorted. The links on the way are among the names. Left out
// are names that the list of their directory has, unless others are below them.
func (t *Tree) Looked() (names, lists []string) {
	seen := map[string]bool{}
	for name := range t.looks {
		seen[name] = true
	}
	for name := range t.links {
		seen[name] = true
	}
	for _, w := range t.ways {
		seen[w.at] = true
	}
	delete(seen, ".")
	above := map[string]bool{}
	for name := range seen {
		above[path.Dir(name)] = true
	}
	for name := range seen {
		_, listed := t.lists[path.Dir(name)]
		_, lists := t.lists[name]
		if !listed || lists || above[name] || strings.HasPrefix(path.Base(name), ".") {
			names = append(names, "/"+name)
		}
	}
	for dir := range t.lists {
		lists = append(lists, path.Join("/", dir))
	}
	slices.Sort(names)
	slices.Sort(lists)
	return names, lists
}

// Close leaves a file system to the caller, if it is the caller's.
func (t *Tree) Close() error { return t.source.Close() }

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
	file io.ReadCloser
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
