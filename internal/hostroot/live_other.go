//go:build !linux

package hostroot

import (
	"io/fs"
	"os"
	"syscall"
)

// Open opens the directory that a host's root has been unpacked to. On Linux it
// serves live hosts as well.
func Open(name string) (*Tree, error) {
	if info, err := os.Stat(name); err == nil && !info.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.ENOTDIR}
	}
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return newTree(&fileSystem{fsys: root.FS(), ids: map[string]ID{}, root: root}), nil
}
