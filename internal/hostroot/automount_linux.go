package hostroot

import (
	"path"

	"golang.org/x/sys/unix"
)

// automount reports whether a directory is a mount point of autofs that nothing has
// used. To open the mount point itself with O_PATH mounts nothing (open(2)).
func (d *directory) automount(name string) bool {
	parent, err := d.handle(path.Dir(name))
	if err != nil {
		return false
	}
	fd, err := unix.Openat(parent, path.Base(name), unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var st unix.Statfs_t
	return unix.Fstatfs(fd, &st) == nil && st.Type == unix.AUTOFS_SUPER_MAGIC
}
