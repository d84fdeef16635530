package inguest

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/sctp"
)

// attack is what a pod does that is no agent: once, in a namespace of its own,
// and again until the time is over.
type attack struct {
	name string
	once func(context.Context) error
}

// TestAttacks floods one agent from a pod that is no agent: nothing is
// concluded from it, the agents send at most twice the bytes that they get, and
// the one that is attacked stays within its memory.
func TestAttacks(t *testing.T) {
	const attackers, lasts = 8, 10 * time.Second
	m := newMesh(t, *nodes)
	m.stop(0)
	m.group = limited(t, *memory)
	m.start(m.pod(0, 0))
	m.group = nil
	time.Sleep(time.Minute)

	stranger := *nodes
	victim := netip.MustParseAddr(address(0, 0))
	mesh := netip.AddrPortFrom(victim, meshPort)
	for _, a := range []attack{
		{name: "associations that stay", once: func(ctx context.Context) error {
			s, err := sctp.Dial(ctx, mesh, sctp.Options{})
			if err != nil {
				return err
			}
			context.AfterFunc(ctx, func() { s.Abort() })
			return s.Send(ctx, make([]byte, 64), sctp.SendInfo{}, netip.AddrPort{})
		}},
		{name: "answers that nobody reads", once: func(ctx context.Context) error {
			return send(ctx, mesh, 64)
		}},
	} {
		t.Run(a.name, func(t *testing.T) {
			start, before := time.Now(), through(t, stranger)
			ctx, cancel := context.WithTimeout(t.Context(), lasts)
			defer cancel()
			var attacking sync.WaitGroup
			var count struct {
				sync.Mutex
				n, failed int
				last      error
			}
			for range attackers {
				attacking.Go(func() {
					_ = in(stranger, func() error {
						for ctx.Err() == nil {
							err := a.once(ctx)
							count.Lock()
							count.n++
							if err != nil {
								count.failed++
								count.last = err
							}
							count.Unlock()
							time.Sleep(20 * time.Millisecond)
						}
						return nil
					})
				})
			}
			attacking.Wait()
			after := through(t, stranger)
			sent, got := after[0]-before[0], after[1]-before[1]
			t.Logf("%d times, %d failed (%v); %.0f bytes to the agent, %.0f back: %.2f", count.n, count.failed, count.last, sent, got, got/sent)
			if count.n < 10 || sent < 1000 {
				t.Error("that is no flood")
			}
			if got > 2*sent {
				t.Errorf("%.0f bytes come back for %.0f", got, sent)
			}
			time.Sleep(20 * time.Second)
			m.quiet(start, a.name)
			for _, file := range []string{"memory.current", "memory.peak", "memory.events"} {
				text, err := os.ReadFile(groups + "/agent/" + file)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%s: %s", file, strings.Join(strings.Fields(string(text)), " "))
				if file == "memory.events" && !strings.Contains(string(text), "oom 0\n") {
					t.Error("the agent was out of memory")
				}
			}
		})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case err := <-m.agents[0].ended:
		t.Fatalf("the agent has ended: %v", err)
	default:
	}
}

// groups is where cgroups are.
const groups = "/run/cgroups"

// limited makes a cgroup with a limit of its memory.
func limited(t *testing.T, most int64) *os.File {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(groups, 0o755))
	must(unix.Mount("cgroup2", groups, "cgroup2", 0, ""))
	must(os.WriteFile(groups+"/cgroup.subtree_control", []byte("+memory"), 0))
	must(os.Mkdir(groups+"/agent", 0o755))
	must(os.WriteFile(groups+"/agent/memory.max", fmt.Append(nil, most), 0))
	group, err := os.Open(groups + "/agent")
	must(err)
	t.Cleanup(func() { group.Close() })
	return group
}

// through is what has gone through a namespace's port: from it, and to it.
func through(t *testing.T, i int) (bytes [2]float64) {
	t.Helper()
	for at, counter := range []string{"rx_bytes", "tx_bytes"} { // as the bridge sees it
		text, err := os.ReadFile("/sys/class/net/" + port(i) + "/statistics/" + counter)
		if err != nil {
			t.Fatal(err)
		}
		bytes[at] = parse(t, strings.TrimSpace(string(text)))
	}
	return bytes
}

// send messages of a size over an association, and read nothing, until it ends or
// nothing more can be sent.
func send(ctx context.Context, to netip.AddrPort, size int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	s, err := sctp.Dial(ctx, to, sctp.Options{})
	if err != nil {
		return err
	}
	defer s.Abort()
	for message := make([]byte, size); err == nil; time.Sleep(5 * time.Millisecond) {
		err = s.Send(ctx, message, sctp.SendInfo{}, netip.AddrPort{})
	}
	return err
}
