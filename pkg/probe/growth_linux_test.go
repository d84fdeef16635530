package probe

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// TestGrowth: ten thousand probes in a row leave no growth in descriptors,
// threads, memory or associations. It is for a guest of test/probe; in others
// it would open SCTP sockets, and have the module loaded.
func TestGrowth(t *testing.T) {
	onlyInGuest(t)
	if err := openOne(); err != nil { // loads the module
		t.Fatal(err)
	}
	core := forCurrent()[:1]
	probes := func(n int) {
		t.Helper()
		for range n {
			runChecks(context.Background(), core, "/proc", 20*time.Second, false, func(c result.Check) {
				if c.Result != result.OutcomePass {
					t.Fatalf("%+v", c)
				}
			})
		}
	}
	probes(500) // what the runtime and the kernel keep for good
	before := measure(t)
	began := time.Now()
	n := 10_000
	if testing.Short() {
		n = 1_000
	}
	probes(n)
	after := measure(t)
	t.Logf("%d probes, %v each\nbefore %+v\nafter  %+v", n, time.Since(began)/time.Duration(n), before, after)
	if after.descriptors > before.descriptors || after.threads > before.threads+4 || after.goroutines > before.goroutines ||
		after.endpoints > 0 || after.associations > 0 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	// One object of 16 bytes left by each of ten thousand would be 160 KiB. The runtime
	// lets resident memory come and go with how fast it is asked for.
	if after.heap > before.heap+128 || after.resident > before.resident+2048 || after.slab > before.slab+1024 {
		t.Errorf("memory in KiB: before %+v, after %+v", before, after)
	}
}

type measured struct {
	descriptors, threads, goroutines int
	endpoints, associations          int
	// heap is what this process's objects take, resident all its memory, slab
	// the kernel's objects; in KiB.
	heap, resident, slab int
}

func measure(t *testing.T) (m measured) {
	t.Helper()
	time.Sleep(time.Second) // the kernel frees sockets a little later (RCU)
	debug.FreeOSMemory()    // collects; twice, for what finalizers held
	debug.FreeOSMemory()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	m.heap = int(mem.HeapAlloc >> 10)
	m.descriptors = descriptors(t)
	m.goroutines = runtime.NumGoroutine()
	field := func(file, name string) (n int) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, name+":"); ok {
				if _, err := fmt.Sscan(rest, &n); err != nil {
					t.Fatal(err)
				}
				return n
			}
		}
		t.Fatalf("%s has no %s", file, name)
		return 0
	}
	m.threads = field("/proc/self/status", "Threads")
	m.resident = field("/proc/self/status", "RssAnon")
	m.slab = field("/proc/meminfo", "SUnreclaim")
	for file, n := range map[string]*int{"eps": &m.endpoints, "assocs": &m.associations} {
		text, err := os.ReadFile("/proc/net/sctp/" + file)
		if err != nil {
			t.Fatal(err)
		}
		*n = strings.Count(string(text), "\n") - 1
	}
	return m
}
