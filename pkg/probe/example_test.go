package probe_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sctp-agent/sctp-agent/pkg/probe"
)

// procWith makes a directory that has, of a /proc, a list of the kernel's
// protocols.
func procWith(protocols string) string {
	proc, err := os.MkdirTemp("", "proc")
	if err != nil {
		panic(err)
	}
	if err := os.Mkdir(filepath.Join(proc, "net"), 0o755); err != nil {
		panic(err)
	}
	if err := os.WriteFile(filepath.Join(proc, "net/protocols"), []byte(protocols), 0o644); err != nil {
		panic(err)
	}
	return proc
}

// Whether SCTP is in the kernel, without a socket that would have it loaded.
func ExampleRegistered() {
	proc := procWith("protocol  size sockets\nSCTP      1392       0\nTCP       2304       3\n")
	defer os.RemoveAll(proc)
	found, err := probe.Registered(proc) // of this machine: Registered("")
	fmt.Println(found, err)
	// Output: true <nil>
}

// Without SCTP in the kernel nothing is attempted, and so no module loaded.
func ExampleRun() {
	proc := procWith("protocol  size sockets\nTCP       2304       3\n")
	defer os.RemoveAll(proc)
	r := probe.Run(context.Background(), probe.Options{Proc: proc}) // of this machine: Options{}
	fmt.Println("attempted:", r.Attempted)
	for _, c := range r.Checks {
		fmt.Println(c.Name, c.Result, c.Detail)
	}
	// Output: attempted: false
}
