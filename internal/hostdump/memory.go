package hostdump

import (
	"bytes"
	"io"
	"io/fs"
	"path"
	"slices"
	"time"
)

// memory is the tree of an archive: every name, and the content of the files
// that decide something. It follows no links.
type memory map[string]*node

type node struct {
	name    string // the last component
	mode    fs.FileMode
	size    int64
	mtime   time.Time
	data    []byte // a link's target, too
	kept    bool   // data is the file's content
	entries []string
}

func newMemory() memory { return memory{".": {name: ".", mode: fs.ModeDir | 0o755}} }

// add enters a node under a clean name, with the directories that lead to it. A
// later entry of one name replaces the earlier one, as when tar unpacks it.
func (m memory) add(name string, n *node) {
	n.name = path.Base(name)
	if old := m[name]; old != nil {
		if n.mode.IsDir() && old.mode.IsDir() {
			n.entries = old.entries
		}
		m[name] = n
		return
	}
	m[name] = n
	dir := path.Dir(name)
	if m[dir] == nil {
		m.add(dir, &node{mode: fs.ModeDir | 0o755})
	}
	m[dir].entries = append(m[dir].entries, n.name)
}

func (m memory) find(op, name string) (*node, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	if n := m[name]; n != nil {
		return n, nil
	}
	return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}

// Lstat looks at a file, or at a link itself.
func (m memory) Lstat(name string) (fs.FileInfo, error) {
	n, err := m.find("lstat", name)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// ReadLink reads a link.
func (m memory) ReadLink(name string) (string, error) {
	n, err := m.find("readlink", name)
	if err != nil {
		return "", err
	}
	if n.mode&fs.ModeSymlink == 0 {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return string(n.data), nil
}

// Open opens a file or a directory.
func (m memory) Open(name string) (fs.File, error) {
	n, err := m.find("open", name)
	switch {
	case err != nil:
		return nil, err
	case n.mode.IsDir():
		return &openDir{node: n, tree: m, at: name, rest: slices.Clone(n.entries)}, nil
	case !n.mode.IsRegular():
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	case !n.kept:
		return nil, &fs.PathError{Op: "open", Path: name, Err: errNotKept}
	}
	return openFile{bytes.NewReader(n.data), n}, nil
}

func (n *node) Name() string               { return n.name }
func (n *node) Size() int64                { return n.size }
func (n *node) Mode() fs.FileMode          { return n.mode }
func (n *node) ModTime() time.Time         { return n.mtime }
func (n *node) IsDir() bool                { return n.mode.IsDir() }
func (n *node) Sys() any                   { return nil }
func (n *node) Type() fs.FileMode          { return n.mode.Type() }
func (n *node) Info() (fs.FileInfo, error) { return n, nil }

type openFile struct {
	*bytes.Reader
	node *node
}

func (f openFile) Stat() (fs.FileInfo, error) { return f.node, nil }
func (openFile) Close() error                 { return nil }

type openDir struct {
	*node
	tree memory
	at   string
	rest []string
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.node, nil }
func (*openDir) Close() error                 { return nil }
func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.at, Err: fs.ErrInvalid}
}

// ReadDir lists the directory in the order of the archive.
func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	count := len(d.rest)
	if n > 0 {
		if count == 0 {
			return nil, io.EOF
		}
		count = min(n, count)
	}
	list := make([]fs.DirEntry, count)
	for i, name := range d.rest[:count] {
		list[i] = d.tree[path.Join(d.at, name)]
	}
	d.rest = d.rest[count:]
	return list, nil
}
