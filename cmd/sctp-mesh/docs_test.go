package main

import (
	"testing"

	"github.com/sctp-agent/sctp-agent/internal/doctest"
)

// The reference has every flag.
func TestDocuments(t *testing.T) {
	for _, name := range []string{"NODE_NAME", "POD_NAMESPACE", "POD_NAME", "POD_UID", "POD_IP", "SERVICE_ACCOUNT"} {
		t.Setenv(name, "")
	}
	doctest.Section(t, "flags of sctp-mesh", doctest.Flags(newRootCommand()))
}
