package probe

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What changes its thread's namespace never does so to the first one, whose
// namespace is what /proc/self/net shows to the whole process, and leaves no
// thread behind.
func TestApart(t *testing.T) {
	threads := func() int {
		entries, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := threads()
	const n = 500
	tids := map[int]bool{}
	for range n {
		if err := apart(func() error {
			tids[unix.Gettid()] = true
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if tids[unix.Getpid()] {
		t.Error("it ran in the first thread")
	}
	if len(tids) < n/2 {
		t.Errorf("it ran in %d threads, %d times", len(tids), n)
	}
	// The runtime may have made some for itself meanwhile.
	for deadline := time.Now().Add(time.Minute); threads() > before+10; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d threads before, %d after", before, threads())
		}
	}
}
