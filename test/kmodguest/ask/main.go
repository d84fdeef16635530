// Command ask runs in a guest: it prints what pkg/kmod answers there, or opens an
// SCTP socket.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: ask sctp|sctp_diag|socket")
		os.Exit(2)
	}
	module := kmod.SCTP()
	switch os.Args[1] {
	case "socket":
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP)
		if err != nil {
			fmt.Println(errors.Is(err, unix.EPROTONOSUPPORT), err)
			os.Exit(1)
		}
		unix.Close(fd)
		return
	case "sctp_diag":
		module = kmod.SCTPDiag()
	}
	ins, err := kmod.Inspect(context.Background(), kmod.Options{}, module)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(ins); err != nil {
		os.Exit(1)
	}
}
