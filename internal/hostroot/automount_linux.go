package hostroot

import "golang.org/x/sys/unix"

// Automount says whether a name is a mount point of autofs that nobody has
// entered: a look below it would mount something, and may wait for a server. To
// open the mount point itself with O_PATH does not (open(2)).
func (r *Live) Automount(name string) bool {
	h, err := r.resolve(name)
	if err != nil {
		return false
	}
	defer h.Close()
	var st unix.Statfs_t
	return unix.Fstatfs(int(h.Fd()), &st) == nil && st.Type == unix.AUTOFS_SUPER_MAGIC
}
