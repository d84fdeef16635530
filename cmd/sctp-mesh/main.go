// Command sctp-mesh tests SCTP from this node to others, all the time; see
// docs/mesh.md.
package main

import (
	"os"

	"github.com/sctp-agent/sctp-agent/internal/command"
)

func main() { os.Exit(command.Main(newRootCommand(), os.Args[1:], os.Stdout, os.Stderr)) }
