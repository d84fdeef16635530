package probe

import (
	"net"
	"sync"
	"time"
)

// lag measures how far the machine is behind: how late it wakes those who
// sleep, and how late it delivers a packet over loopback that is not SCTP's. A
// step that waited in vain on a machine that could not run the probe, or the
// kernel's side of it, proves nothing about SCTP.
//
// The second is apart from the first: packets over loopback wait for the
// kernel's softirq thread when that is busy, which has to wait for its turn
// like any process, while one that slept comes first.
type lag struct {
	mu       sync.Mutex
	sleeping lateness
	packets  lateness
	// sent is when the packet under way was sent, zero if none is.
	sent time.Time
	// arrives: loopback delivers, since it is up and nobody else's (a
	// namespace of the probe's own), or since a packet has arrived. Where none
	// ever does, it is filtered or down, and says nothing about time.
	arrives bool

	stop chan struct{}
	done sync.WaitGroup
}

// lateness is the longest delay, and the sum of all that are worth counting:
// one long pause, or a machine that is always behind.
type lateness struct{ worst, total time.Duration }

func (l *lateness) add(by time.Duration) {
	l.worst = max(l.worst, by)
	// Less than this is every machine's, and little of any step.
	if by > lagInterval {
		l.total += by
	}
}

const lagInterval = 20 * time.Millisecond

// watchLag begins the watch. Private says that loopback is up and nobody
// filters it.
func watchLag(private bool) *lag {
	l := &lag{arrives: private, stop: make(chan struct{})}
	l.done.Go(l.watch)
	return l
}

func (l *lag) watch() {
	timer := time.NewTimer(lagInterval)
	defer timer.Stop()
	due := time.Now().Add(lagInterval)
	for ticks := 1; ; ticks++ {
		select {
		case <-timer.C:
		case <-l.stop:
			return
		}
		now := time.Now()
		l.mu.Lock()
		l.sleeping.add(now.Sub(due))
		l.mu.Unlock()
		// On a machine that is well, the probe is over before.
		if ticks == 5 {
			l.done.Go(l.watchPackets)
		}
		due = now.Add(lagInterval)
		timer.Reset(lagInterval)
	}
}

// watchPackets sends packets to itself. Where it cannot, the clock is all there
// is.
func (l *lag) watchPackets() {
	here := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}
	c, err := net.ListenUDP("udp4", here)
	if err != nil {
		return
	}
	defer c.Close()
	l.done.Go(func() {
		<-l.stop
		c.SetDeadline(time.Unix(1, 0))
	})
	here.Port = c.LocalAddr().(*net.UDPAddr).Port
	for buf := make([]byte, 1); ; {
		began := time.Now()
		l.mu.Lock()
		l.sent = began
		l.mu.Unlock()
		_, err := c.WriteToUDP(buf, here)
		if err == nil {
			_, _, err = c.ReadFromUDP(buf)
		}
		l.mu.Lock()
		l.sent = time.Time{}
		if err == nil {
			l.arrives = true
			l.packets.add(time.Since(began))
		}
		l.mu.Unlock()
		if err != nil {
			return
		}
		select {
		case <-time.After(lagInterval):
		case <-l.stop:
			return
		}
	}
}

// soFar is what was seen since the watch began, the worse of both.
func (l *lag) soFar() lateness {
	l.mu.Lock()
	defer l.mu.Unlock()
	packets := l.packets
	if !l.sent.IsZero() && l.arrives {
		packets.add(time.Since(l.sent))
	}
	if packets.total > l.sleeping.total {
		return packets
	}
	return l.sleeping
}

// end ends the watch and waits for its end.
func (l *lag) end() {
	close(l.stop)
	l.done.Wait()
}
