package probe

import (
	"os/exec"
	"testing"
	"time"
)

// TestInterleavingLate: on a busy machine, the receiver's packet that its window is
// shut arrives when all has been sent, and the sender tries that window with the
// next piece of any message, which is lost. Interleaving is found to work
// nevertheless. For a guest of test/probe.
func TestInterleavingLate(t *testing.T) {
	onlyInGuest(t)
	if err := openOne(); err != nil { // loads the module
		t.Fatal(err)
	}
	nft := func(script string) {
		t.Helper()
		if out, err := exec.Command("nft", script).CombinedOutput(); err != nil {
			t.Fatalf("nft %s: %v\n%s", script, err, out)
		}
	}
	for range 5 {
		e := &env{family: ipv4, proc: "/proc", step: 20 * time.Second}
		a, err := e.interleaving(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// Chunks of type 3 are acknowledgements (RFC 9260, section 3.2).
		nft("table inet late { chain c { type filter hook input priority 0; meta l4proto sctp @th,96,8 3 drop; }; }")
		sent, err := a.sendInterleaved(t.Context())
		nft("delete table inet late")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // what was sent is sent again, and acknowledged
		if err := a.receiveInterleaved(t.Context(), sent); err != nil {
			t.Error(err)
		}
		e.close()
	}
}
