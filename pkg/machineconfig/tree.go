package machineconfig

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// tree is a host root in memory, by name relative to it: an fs.ReadLinkFS, whose
// files are as old as the boot.
type tree map[string]node

// node is a file, a directory or a link, whose data is its target; or something
// of which only is known why it is not known.
type node struct {
	name string
	mode fs.FileMode
	data []byte
	err  error
}

func (n node) Name() string               { return path.Base(n.name) }
func (n node) Size() int64                { return int64(len(n.data)) }
func (n node) Mode() fs.FileMode          { return n.mode | 0o555 }
func (n node) Type() fs.FileMode          { return n.mode.Type() }
func (n node) ModTime() time.Time         { return time.Time{} }
func (n node) IsDir() bool                { return n.mode.IsDir() }
func (n node) Sys() any                   { return nil }
func (n node) Info() (fs.FileInfo, error) { return n, nil }

// openNode is an open file or directory.
type openNode struct {
	*bytes.Reader
	node
	entries []fs.DirEntry
}

func (o *openNode) Size() int64                { return o.node.Size() }
func (o *openNode) Stat() (fs.FileInfo, error) { return o.node, nil }
func (o *openNode) Close() error               { return nil }

func (o *openNode) ReadDir(n int) ([]fs.DirEntry, error) {
	if n > 0 && len(o.entries) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(o.entries) {
		n = len(o.entries)
	}
	list := o.entries[:n]
	o.entries = o.entries[n:]
	return list, nil
}

// find finds a name without links.
func (t tree) find(op, name string) (node, error) {
	n, ok := t[name]
	if !ok {
		n.err = fs.ErrNotExist
	}
	if n.err != nil {
		return n, &fs.PathError{Op: op, Path: name, Err: n.err}
	}
	n.name = name
	return n, nil
}

// Lstat looks at a name without links.
func (t tree) Lstat(name string) (fs.FileInfo, error) {
	n, err := t.find("stat", name)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// ReadLink reads a link.
func (t tree) ReadLink(name string) (string, error) {
	if n, ok := t[name]; ok && n.mode&fs.ModeSymlink != 0 {
		return string(n.data), nil
	}
	return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
}

// Open opens a name without links.
func (t tree) Open(name string) (fs.File, error) {
	n, err := t.find("open", name)
	if err != nil {
		return nil, err
	}
	o := &openNode{Reader: bytes.NewReader(n.data), node: n}
	if n.IsDir() {
		for _, entry := range slices.Sorted(maps.Keys(t)) {
			if entry != "." && path.Dir(entry) == name {
				child := t[entry]
				child.name = entry
				o.entries = append(o.entries, child)
			}
		}
	}
	return o, nil
}

const maxLinks = 40 // as in path_resolution(7)

// parents takes the links out of the directories of a host's path, and returns
// its name in the tree.
func (t tree) parents(p string) string {
	rest := path.Clean(p)
	at := "."
	for links := 0; ; {
		component, more, found := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
		if component == ".." {
			at, rest = path.Dir(at), more
			continue
		}
		at, rest = path.Join(at, component), more
		if !found {
			return at
		}
		if n := t[at]; n.mode&fs.ModeSymlink != 0 && links < maxLinks {
			links++
			target := string(n.data)
			if at = path.Dir(at); path.IsAbs(target) {
				at = "."
			}
			rest = path.Join(target, rest)
		}
	}
}

// put makes the directories of a host's path, and puts something there in place
// of what is there. It returns its name in the tree.
func (t tree) put(p string, n node) (string, error) {
	if !path.IsAbs(p) {
		return "", errors.New("not an absolute path")
	}
	at := t.parents(p)
	if !fs.ValidPath(at) || at == "." {
		return "", errors.New("not the path of a file")
	}
	for dir := path.Dir(at); ; dir = path.Dir(dir) {
		if have, ok := t[dir]; ok && !have.IsDir() {
			return "", fmt.Errorf("/%s is not a directory", dir)
		}
		t[dir] = node{mode: fs.ModeDir}
		if dir == "." {
			break
		}
	}
	maps.DeleteFunc(t, func(name string, _ node) bool { return strings.HasPrefix(name, at+"/") })
	t[at] = n
	return at, nil
}

// deliveredTree is the host as it is delivered, with the kernel's files.
func deliveredTree() tree {
	t := tree{".": {mode: fs.ModeDir}}
	for _, link := range []string{"bin", "sbin", "lib"} {
		t[link] = node{mode: fs.ModeSymlink, data: []byte("usr/" + link)}
	}
	for name, text := range map[string]string{
		"/proc/modules":                       "",
		"/proc/sys/kernel/modprobe":           "/sbin/modprobe\n",
		"/proc/sys/kernel/modules_disabled":   "0\n",
		"/proc/sys/kernel/osrelease":          deliveredRelease + "\n",
		"/sys/module/kernel/parameters/.keep": "",
	} {
		t.mustPut(name, []byte(text))
	}
	for _, name := range []string{"local-fs", "sockets", "timers", "paths", "network", "network-online", "graphical"} {
		t.mustPut(unitDir+name+".target", []byte("[Unit]\n"))
	}
	// An embedded tree has no links, and every error of it is one of the build.
	err := fs.WalkDir(delivered, "delivered", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := delivered.ReadFile(p)
		if err == nil {
			t.mustPut(strings.TrimPrefix(p, "delivered"), data)
		}
		return err
	})
	if err != nil {
		panic(err)
	}
	for name, target := range map[string]string{
		unitConfigDir + "default.target":                              unitDir + "multi-user.target",
		unitDir + "sysinit.target.wants/systemd-modules-load.service": "../systemd-modules-load.service",
		unitConfigDir + "multi-user.target.wants/crio.service":        unitDir + "crio.service",
		unitConfigDir + "multi-user.target.wants/kubelet.service":     unitConfigDir + "kubelet.service",
	} {
		if _, err := t.put(name, node{mode: fs.ModeSymlink, data: []byte(target)}); err != nil {
			panic(err)
		}
	}
	return t
}

const unitDir = "/usr/lib/systemd/system/"

func (t tree) mustPut(p string, data []byte) {
	if _, err := t.put(p, node{data: data}); err != nil {
		panic(fmt.Sprintf("%s: %v", p, err))
	}
}
