package main

import (
	"testing"

	"github.com/sctp-agent/sctp-agent/internal/doctest"
)

// The reference has every flag, and documents show only commands and flags that
// exist, with the output that they have.
func TestDocuments(t *testing.T) {
	doctest.Section(t, "flags of kubectl-sctp", doctest.Flags(newRootCommand()))
	doctest.Commands(t, newRootCommand, program.Path, "kubectl sctp", "kubectl-sctp", "bin/kubectl-sctp")
}
