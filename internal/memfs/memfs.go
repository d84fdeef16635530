// Package memfs is a tree of files in memory, an [fs.ReadLinkFS] that follows no
// links.
package memfs

import (
	"bytes"
	"io"
	"io/fs"
	"path"
	"slices"
	"time"
)

// FS is a tree by clean names; "." is its root.
type FS map[string]*Node

// Node is a file, a directory or a link.
type Node struct {
	Mode    fs.FileMode
	Size    int64
	ModTime time.Time
	Data    []byte // a link's target, too
	// Err is why the data of a file are not known.
	Err     error
	name    string // the last component
	entries []string
}

// New is an empty tree.
func New() FS { return FS{".": {name: ".", Mode: fs.ModeDir | 0o755}} }

// File is a file by itself, with its name.
func File(name string, mode fs.FileMode, data []byte) *Node {
	return &Node{name: path.Base(name), Mode: mode, Size: int64(len(data)), Data: data}
}

// Add adds a node under a clean name, with its parent directories. A later one of
// the same name replaces the earlier one, but a directory keeps its content.
func (t FS) Add(name string, n *Node) {
	n.name = path.Base(name)
	old := t[name]
	if old != nil && n.Mode.IsDir() && old.Mode.IsDir() {
		n.entries = old.entries
	}
	t[name] = n
	if old != nil {
		return
	}
	dir := path.Dir(name)
	if t[dir] == nil {
		t.Add(dir, &Node{Mode: fs.ModeDir | 0o755})
	}
	t[dir].entries = append(t[dir].entries, n.name)
}

// Remove removes a name and all below it.
func (t FS) Remove(name string) {
	n := t[name]
	if n == nil {
		return
	}
	for _, entry := range slices.Clone(n.entries) {
		t.Remove(path.Join(name, entry))
	}
	delete(t, name)
	parent := t[path.Dir(name)]
	parent.entries = slices.DeleteFunc(parent.entries, func(entry string) bool { return entry == path.Base(name) })
}

func (t FS) find(op, name string) (*Node, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	if n := t[name]; n != nil {
		return n, nil
	}
	return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}

// Lstat describes a file, or a link itself.
func (t FS) Lstat(name string) (fs.FileInfo, error) {
	n, err := t.find("lstat", name)
	if err != nil {
		return nil, err
	}
	return n.Info(), nil
}

// ReadLink reads a link.
func (t FS) ReadLink(name string) (string, error) {
	n, err := t.find("readlink", name)
	if err != nil {
		return "", err
	}
	if n.Mode&fs.ModeSymlink == 0 {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return string(n.Data), nil
}

// Open opens a file or a directory.
func (t FS) Open(name string) (fs.File, error) {
	n, err := t.find("open", name)
	switch {
	case err != nil:
		return nil, err
	case n.Mode.IsDir():
		return &openDir{info: n.Info(), tree: t, at: name, rest: slices.Clone(n.entries)}, nil
	}
	return n.Open()
}

// Open opens a file.
func (n *Node) Open() (fs.File, error) {
	err := n.Err
	if !n.Mode.IsRegular() {
		err = fs.ErrInvalid
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: n.name, Err: err}
	}
	return openFile{bytes.NewReader(n.Data), n.Info()}, nil
}

// Info is Lstat's result for the node.
func (n *Node) Info() fs.FileInfo { return info{n} }

type info struct{ n *Node }

func (i info) Name() string               { return i.n.name }
func (i info) Size() int64                { return i.n.Size }
func (i info) Mode() fs.FileMode          { return i.n.Mode }
func (i info) Type() fs.FileMode          { return i.n.Mode.Type() }
func (i info) ModTime() time.Time         { return i.n.ModTime }
func (i info) IsDir() bool                { return i.n.Mode.IsDir() }
func (i info) Sys() any                   { return nil }
func (i info) Info() (fs.FileInfo, error) { return i, nil }

type openFile struct {
	*bytes.Reader
	info fs.FileInfo
}

func (f openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (openFile) Close() error                 { return nil }

type openDir struct {
	info fs.FileInfo
	tree FS
	at   string
	rest []string
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (*openDir) Close() error                 { return nil }
func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.at, Err: fs.ErrInvalid}
}

// ReadDir lists the directory in the order in which its entries were added.
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
		list[i] = info{d.tree[path.Join(d.at, name)]}
	}
	d.rest = d.rest[count:]
	return list, nil
}
