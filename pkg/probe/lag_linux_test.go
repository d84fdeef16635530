package probe

import (
	"runtime"
	"testing"
	"time"
)

// A packet that is under way counts as late from the moment that it is, if
// others have arrived; where none ever does, loopback is filtered, which says
// nothing about time.
func TestLagOfPackets(t *testing.T) {
	const ago = time.Second
	for name, arrived := range map[string]bool{"others arrived": true, "none arrived": false} {
		t.Run(name, func(t *testing.T) {
			l := &lag{sent: time.Now().Add(-ago), arrives: arrived}
			if got := l.soFar(); (got.total >= ago) != arrived || (got.worst >= ago) != arrived {
				t.Errorf("%+v", got)
			}
		})
	}
}

// Delays that every machine has do not add up to anything.
func TestLagOfAMachineThatIsWell(t *testing.T) {
	var l lateness
	for range 1000 {
		l.add(lagInterval / 2)
	}
	if l.total != 0 || l.worst != lagInterval/2 {
		t.Errorf("%+v", l)
	}
	l.add(3 * lagInterval)
	if l.total != 3*lagInterval {
		t.Errorf("%+v", l)
	}
}

// The watch over packets sees its own arrive, and leaves nothing.
func TestLagEnds(t *testing.T) {
	fds, goroutines := descriptors(t), runtime.NumGoroutine()
	l := watchLag(false)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		l.mu.Lock()
		arrived := l.arrives
		l.mu.Unlock()
		if arrived {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no packet arrived")
		}
	}
	l.end()
	settle(t, "descriptors", fds, func() int { return descriptors(t) })
	settle(t, "goroutines", goroutines, runtime.NumGoroutine)
}
