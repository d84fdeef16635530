package kmod

import "golang.org/x/sys/unix"

// machine is the hardware name of uname(2), for kernels that do not have it in
// /proc.
func machine() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Machine[:])
}
