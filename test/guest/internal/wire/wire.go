// Package wire has the messages between a guest's first process and the machine
// that runs the guest: one yamux stream per request, gob values on it.
package wire

import (
	"io/fs"
	"time"

	"github.com/hashicorp/yamux"
)

// PortName is the name of the virtio serial port that carries the session.
const PortName = "org.sctp-agent.guest"

// Request starts a stream. Exactly one field is set.
type Request struct {
	Hello *Hello
	Exec  *Exec
	Put   *File
	Get   string
	Save  []string // directories to return, each with all that is in it
}

// Hello asks whether the guest is up.
type Hello struct{}

// Boot is what happened before the guest was up.
type Boot struct {
	// ModulesLoadRan says whether systemd-modules-load's unit conditions
	// held, so that it ran.
	ModulesLoadRan    bool
	ModulesLoadExit   int
	ModulesLoadOutput []byte
}

// Exec runs a program; the answer is a series of [Event].
type Exec struct {
	Path  string
	Args  []string
	Env   []string
	Dir   string
	Stdin []byte
	// UID and GID to run as.
	UID, GID uint32
}

// Event is a piece of a running program's output, or its end.
type Event struct {
	Stdout, Stderr []byte
	Exited         bool
	// Code is the exit code, or 128 plus the signal that ended it, as a shell
	// says it.
	Code int
	// Err says why the program could not be started.
	Err string
}

// File is a file of any type. Put writes it, Get and Save return it.
type File struct {
	Path     string
	Mode     fs.FileMode // with the type bits
	UID, GID int
	ModTime  time.Time
	Data     []byte
	Link     string // target of a symbolic link
}

// Answer is that to all requests but Exec.
type Answer struct {
	Boot  Boot   // to Hello
	Files []File // to Get and Save
	Err   string
}

// Config is that of both ends: a guest without hardware virtualisation on a
// busy machine is slow, never dead, and its end is seen by other means.
func Config() *yamux.Config {
	c := yamux.DefaultConfig()
	c.EnableKeepAlive = false
	c.ConnectionWriteTimeout = 5 * time.Minute
	c.StreamOpenTimeout = 0
	c.StreamCloseTimeout = 5 * time.Minute
	c.MaxStreamWindowSize = 4 << 20
	return c
}
