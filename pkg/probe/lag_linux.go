package probe

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// lag collects what silence needs before it may be called a fault: evidence
// that all the while this machine ran the probe and delivered its packets. Only
// where that is there can the missing answer be laid to SCTP or to a filter;
// where it is not, nothing is concluded.
//
// The evidence is two series of beats. One is of waking up. The other is of
// packets that are not SCTP's and come back over loopback: these wait for the
// kernel's softirq thread where it is busy, which waits for its turn like any
// process, while one that slept comes first. Beats are counted, not delays, so
// that what was not seen does not count as well: a process that had no
// processor has no beats.
type lag struct {
	proc string
	// beat is the time between two, on a machine that is well.
	beat time.Duration
	// private: loopback is up and unfiltered, in a namespace of the probe's own.
	// Elsewhere it may be down or filtered.
	private bool
	began   time.Time
	// lost is what loopback had lost when the watch began.
	lost uint64

	mu       sync.Mutex
	sleeping pulse
	packets  pulse

	stop chan struct{}
	done sync.WaitGroup
}

// leastSilence is the time in which a packet is sent three times
// (retransmit: after 200 and again 400 ms) and the last one can be
// answered. Less proves nothing: loopback does lose packets.
const leastSilence = 800 * time.Millisecond

// pulse is a series of beats: when it began, and when each one was.
type pulse struct {
	began time.Time
	beats []time.Time
}

// between is how many there were from since until now, and the longest time
// without one, that which lasts until now included.
func (p *pulse) between(since, now time.Time) (n int, longest time.Duration) {
	last := since
	for _, b := range p.beats {
		if b.After(since) && !b.After(now) {
			n++
			longest = max(longest, b.Sub(last))
			last = b
		}
	}
	return n, max(longest, now.Sub(last))
}

// irregular reports whether it had a pause of more than a tenth of the time from
// since until now, or less than half of the beats that fit into it.
func (p *pulse) irregular(beat time.Duration, since, now time.Time) bool {
	if p.began.After(since) {
		since = p.began
	}
	whole := now.Sub(since)
	n, longest := p.between(since, now)
	return longest > whole/10 || n < int(whole/beat)/2
}

// watchLag begins the watch over steps of at most that time. private: loopback is
// up and unfiltered.
func watchLag(proc string, step time.Duration, private bool) *lag {
	l := &lag{
		proc: proc, private: private, began: time.Now(), stop: make(chan struct{}),
		beat: max(step/50, 20*time.Millisecond),
	}
	l.sleeping.began = l.began
	if !private { // a new namespace has lost none
		l.lost, _ = lostPackets(proc)
	}
	l.done.Go(l.watch)
	return l
}

func (l *lag) watch() {
	ticks := time.NewTicker(l.beat)
	defer ticks.Stop()
	for n := 1; ; n++ {
		select {
		case <-ticks.C:
		case <-l.stop:
			return
		}
		l.mu.Lock()
		l.sleeping.beats = append(l.sleeping.beats, time.Now())
		l.mu.Unlock()
		// On a machine that is well, the probe is over before.
		if n == 3 {
			l.done.Go(l.watchPackets)
		}
	}
}

// watchPackets sends packets to itself.
func (l *lag) watchPackets() {
	l.mu.Lock()
	l.packets.began = time.Now()
	l.mu.Unlock()
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
	ticks := time.NewTicker(l.beat)
	defer ticks.Stop()
	for buf := make([]byte, 1); ; {
		_, err := c.WriteToUDP(buf, here)
		if err == nil {
			_, _, err = c.ReadFromUDP(buf)
		}
		if err != nil {
			return
		}
		l.mu.Lock()
		l.packets.beats = append(l.packets.beats, time.Now())
		l.mu.Unlock()
		select {
		case <-ticks.C:
		case <-l.stop:
			return
		}
	}
}

// doubt is why a wait without an answer from since until now proves nothing, "" if
// it does. A zero since is the whole run. It has no figures: they differ each time,
// so that an unchanged report would look changed.
func (l *lag) doubt(since, now time.Time) string {
	if since.IsZero() {
		since = l.began
	}
	if now.Sub(since) < leastSilence {
		return fmt.Sprintf("less than %v is too short for a lost packet to be sent again", leastSilence)
	}
	// The kernel's own count of dropped packets is the best evidence.
	switch lost, err := lostPackets(l.proc); {
	case err != nil:
		return "whether the kernel's queue of packets ran over is not known: " + err.Error()
	case lost > l.lost:
		return "the kernel's queue of packets ran over, and some were lost"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sleeping.irregular(l.beat, since, now) {
		return "this machine is overloaded: it ran the probe too rarely"
	}
	if len(l.packets.beats) == 0 && !l.private {
		// Not of SCTP's own making, but an answer.
		if lo, err := net.InterfaceByName("lo"); err == nil && lo.Flags&net.FlagUp == 0 {
			return ""
		}
		return "nothing else arrives over loopback either"
	}
	if l.packets.irregular(l.beat, since, now) {
		return "this machine is overloaded: it delivered packets too rarely"
	}
	return ""
}

// end ends the watch and waits for its end.
func (l *lag) end() {
	close(l.stop)
	l.done.Wait()
}

// lostPackets is how many packets loopback in this network namespace lost
// because the queue in which the kernel keeps received ones was full
// (net.core.netdev_max_backlog; net/core/dev.c, enqueue_to_backlog). A filter
// loses them later, and counts them elsewhere or not at all.
//
// A line of net/dev is a name and the received bytes, packets, errors, and
// those dropped (net/core/net-procfs.c, dev_seq_printf_stats).
func lostPackets(proc string) (uint64, error) {
	f, err := os.Open(filepath.Join(proc, "net/dev"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, counters, _ := strings.Cut(lines.Text(), ":")
		if strings.TrimSpace(name) != "lo" {
			continue
		}
		fields := strings.Fields(counters)
		if len(fields) < 4 {
			return 0, fmt.Errorf("%s: %q has no count of packets dropped", f.Name(), lines.Text())
		}
		return strconv.ParseUint(fields[3], 10, 64)
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("%s has no lo", f.Name())
}
