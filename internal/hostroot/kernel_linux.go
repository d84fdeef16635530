package hostroot

import (
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Kernel is a file system of the kernel's own, as /proc and /sys, or a directory in
// its place. Only the kernel writes it, so names are opened without resolving
// links.
type Kernel struct {
	name string
	dir  *os.File // O_PATH
	err  error    // why there is no dir
}

// OpenKernel opens such a directory. Where it cannot be opened, none of its
// files can.
func OpenKernel(name string) *Kernel {
	dir, err := os.OpenFile(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return &Kernel{name: name, dir: dir, err: err}
}

// Close closes it.
func (k *Kernel) Close() error {
	if k.err != nil {
		return nil
	}
	return k.dir.Close()
}

// IsProc reports whether it is the running kernel's procfs.
func (k *Kernel) IsProc() bool {
	var st unix.Statfs_t
	return k.err == nil && unix.Fstatfs(int(k.dir.Fd()), &st) == nil && st.Type == unix.PROC_SUPER_MAGIC
}

// Stat describes a file, by its name relative to the directory.
func (k *Kernel) Stat(name string) (Info, error) {
	if k.err != nil {
		return Info{}, k.err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(int(k.dir.Fd()), name, &st, 0); err != nil {
		return Info{}, &fs.PathError{Op: "stat", Path: path.Join(k.name, name), Err: err}
	}
	return infoOf(&st), nil
}

// ReadFile reads a file, by its name relative to the directory.
func (k *Kernel) ReadFile(name string) (string, error) {
	if k.err != nil {
		return "", k.err
	}
	f, info, err := open(int(k.dir.Fd()), name, 0)
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: path.Join(k.name, name), Err: err}
	}
	defer f.Close()
	full := path.Join(k.name, name)
	if err := info.Regular(full); err != nil {
		return "", err
	}
	// Files of /proc and /sys have no size; a short read is not their end.
	data, err := readAll(f, full, 0, maxKernelFile)
	return string(data), err
}
