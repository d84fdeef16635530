package hostroot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"
)

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
	return newTree(&fileSystem{fsys: fsys, ids: map[string]ID{}}), nil
}

// fileSystem is an [fs.FS] as a source.
type fileSystem struct {
	fsys fs.FS
	ids  map[string]ID
	root io.Closer // what fsys is a part of, nil if that is the caller's
}

func (f *fileSystem) lstat(name string) (Info, error) {
	if !fs.ValidPath(name) {
		return Info{}, errBadName
	}
	i, err := fs.Lstat(f.fsys, name)
	if err != nil {
		return Info{}, err
	}
	return f.describe(name, i), nil
}

func (f *fileSystem) describe(name string, i fs.FileInfo) Info {
	id, ok := f.ids[name]
	switch {
	case name == nullName:
		id = nullDevice
	case !ok:
		id = ID{ino: uint64(len(f.ids) + 1)}
		f.ids[name] = id
	}
	return Info{Mode: i.Mode(), Size: i.Size(), Changed: i.ModTime(), ID: id}
}

func (f *fileSystem) readlink(name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", errBadName
	}
	target, err := fs.ReadLink(f.fsys, name)
	return filepath.ToSlash(target), err
}

func (f *fileSystem) open(name string) (io.ReadCloser, Info, error) {
	if !fs.ValidPath(name) {
		return nil, Info{}, errBadName
	}
	file, err := f.fsys.Open(name)
	if err != nil {
		return nil, Info{}, err
	}
	i, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, Info{}, err
	}
	return file, f.describe(name, i), nil
}

func (f *fileSystem) list(name string, most int) (entries []Entry, err error) {
	if !fs.ValidPath(name) {
		return nil, errBadName
	}
	file, err := f.fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var list []fs.DirEntry
	dir, ok := file.(fs.ReadDirFile)
	for ok && err == nil && len(list) < most {
		var more []fs.DirEntry
		more, err = dir.ReadDir(most - len(list))
		list = append(list, more...)
	}
	if !ok {
		list, err = fs.ReadDir(f.fsys, name)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for _, e := range list {
		entries = append(entries, Entry{e.Name(), e.Type()})
	}
	return entries, nil
}

func (f *fileSystem) notEntered(string) bool { return false }

func (f *fileSystem) Close() error {
	if f.root == nil {
		return nil
	}
	return f.root.Close()
}
