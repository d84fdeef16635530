// Command opensocket opens a one-to-one SCTP socket, as any program might, and
// prints "ok" or the name of the error. On a host that autoloads the module
// this loads it.
//
//	opensocket 4|6
package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func main() {
	family := unix.AF_INET
	if len(os.Args) > 1 && os.Args[1] == "6" {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		fmt.Println(unix.ErrnoName(errno))
		return
	}
	_ = unix.Close(fd)
	fmt.Println("ok")
}
