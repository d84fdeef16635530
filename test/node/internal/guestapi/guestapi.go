// Package guestapi has the messages between a test and the guestd in its guest.
package guestapi

const (
	// Port of guestd in the guest.
	Port = 10022
	// TokenFile holds, in the guest, what TokenHeader must say.
	TokenFile   = "/opt/guest/token"
	TokenHeader = "Guest-Token"
)

// Boot answers GET /boot.
type Boot struct {
	ID string `json:"id"`
}

// Command is the body of POST /exec.
type Command struct {
	Argv  []string `json:"argv"`
	Stdin []byte   `json:"stdin,omitempty"`
}

// Result answers POST /exec.
type Result struct {
	// ExitCode is -1 for a program that a signal ended.
	ExitCode int    `json:"exitCode"`
	Stdout   []byte `json:"stdout,omitempty"`
	Stderr   []byte `json:"stderr,omitempty"`
}
