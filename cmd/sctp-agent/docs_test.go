package main

import (
	"testing"

	"github.com/sctp-agent/sctp-agent/internal/doctest"
)

// The reference has every flag, and documents show only commands and flags that
// exist, with the output that they have.
func TestDocuments(t *testing.T) {
	doctest.Section(t, "flags of sctp-agent", doctest.Flags(newRootCommand()))
	doctest.Commands(t, newRootCommand, program.Path, "sctp-agent", "bin/sctp-agent", "/usr/bin/sctp-agent")
}
