package probe

import (
	"context"
	"os"
	"testing"
	"time"
)

// onlyInGuest: elsewhere it would open SCTP sockets, and have the module
// loaded.
func onlyInGuest(tb testing.TB) {
	tb.Helper()
	if name, _ := os.Hostname(); name != "probe-guest" {
		tb.Skip("only in a guest of test/probe")
	}
}

// TestMain: the benchmark of the child starts this program.
func TestMain(m *testing.M) {
	if !ChildMain(os.Args) {
		os.Exit(m.Run())
	}
}

// BenchmarkCore is one handshake, an echo each way and a shutdown, as test/probe
// compares them with C.
func BenchmarkCore(b *testing.B) {
	onlyInGuest(b)
	if err := openOne(); err != nil { // loads the module
		b.Fatal(err)
	}
	for b.Loop() {
		e := &env{family: ipv4, proc: "/proc", step: 20 * time.Second}
		if err := e.run(context.Background(), proveStream); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkChild is a process that does nothing, with a network namespace of
// its own and the loopback in it raised.
func BenchmarkChild(b *testing.B) {
	onlyInGuest(b)
	for b.Loop() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		c, err := startChild(ctx, Self, task{Isolated: true, Suite: "none", Timeout: time.Second, Step: time.Second, Proc: "/proc"})
		if err != nil {
			b.Fatal(err)
		}
		if a := <-c; a.err != nil {
			b.Fatal(a.err)
		}
		cancel()
	}
}
