package guest_test

import (
	"testing"

	"github.com/sctp-agent/sctp-agent/test/guest"
)

// The tests of test/guest/internal/wire are there for this one: they pass
// only in a guest.
func TestRunGoTest(t *testing.T) {
	g := boot(t, guest.Config{Name: "gotest"})
	g.RunGoTest(t.Context(), t, "github.com/sctp-agent/sctp-agent/test/guest/internal/wire", "-test.run=.")
}
