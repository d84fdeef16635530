package peer

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
)

// network connects a client to a listener, 0 or 1, and makes the first of them end.
type network struct {
	start time.Time
	// ends is when listener 0 ends, moved when new ports are led to listener 1,
	// and expires when a port is that was led to listener 0; 0 is never.
	ends, moved, expires time.Duration
	// mute is when listener 0 is silent for three seconds.
	mute time.Duration
	// one: new ports get listener 0 only, else each in turn.
	one bool

	mu   sync.Mutex
	kept map[uint16]bool
	next uint16
}

func (n *network) over(after time.Duration) bool { return after > 0 && time.Since(n.start) >= after }

// lead is the listener of a port.
func (n *network) lead(port uint16) (uint16, int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.kept[port] && !n.over(n.expires) {
		return port, 0
	}
	n.next++
	if port == 0 {
		port = 40000 + n.next
	}
	if n.over(n.moved) || !n.one && n.next%2 == 1 {
		return port, 1
	}
	n.kept[port] = true
	return port, 0
}

func (n *network) open(ctx context.Context, _ netip.AddrPort, port uint16) (association, error) {
	port, listener := n.lead(port)
	if listener == 0 && n.over(n.ends) {
		<-ctx.Done()
		return nil, os.NewSyscallError("connect", unix.ETIMEDOUT)
	}
	return &fakeAssociation{n, port, listener}, nil
}

type fakeAssociation struct {
	n        *network
	at       uint16
	listener int
}

func (a *fakeAssociation) index(ctx context.Context) (int, error) {
	since := time.Since(a.n.start)
	if a.listener == 0 && (a.n.over(a.n.ends) || a.n.mute > 0 && since >= a.n.mute && since < a.n.mute+3*time.Second) {
		<-ctx.Done()
		return -1, ctx.Err()
	}
	return a.listener, nil
}

func (a *fakeAssociation) port() (uint16, error) { return a.at, nil }
func (a *fakeAssociation) Abort()                {}

// A client follows the listener that is to end, whichever answers first,
// distinguishes a stale port from a Service that keeps its endpoint, and a slow
// listener from one that has ended.
func TestClient(t *testing.T) {
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	for _, c := range []struct {
		name    string
		network *network
		want    wire.Recovery
		// gap is this or up to 7 s more, other too where it is not 0.
		gap, other time.Duration
	}{
		{"served again at once", &network{ends: seconds(20), moved: seconds(20), expires: seconds(20)}, wire.Recovery{Outcome: wire.OK, Peer: 1}, 0, 0},
		{"its port is held up for a while", &network{ends: seconds(20), moved: seconds(22), expires: seconds(50)}, wire.Recovery{Outcome: wire.OK, Peer: 1}, seconds(29), seconds(2)},
		{"its port is held up", &network{ends: seconds(20), moved: seconds(22)}, wire.Recovery{Outcome: wire.Dropped, Peer: -1}, seconds(60), seconds(2)},
		{"nobody is led to the other", &network{ends: seconds(20), one: true}, wire.Recovery{Outcome: wire.Dropped, Peer: -1}, seconds(60), -1},
		{"it is slow before it ends", &network{mute: seconds(10), ends: seconds(40), moved: seconds(40), expires: seconds(41)}, wire.Recovery{Outcome: wire.OK, Peer: 1}, 0, 0},
		{"the Service does not lead to it", &network{moved: 1}, wire.Recovery{Outcome: wire.NotTried, Errno: "only listener 1 answers", Peer: -1}, 0, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.network.start, c.network.kept = time.Now(), map[uint16]bool{}
				d := &client{Client: wire.Client{Timeout: 5000, Begin: 20_000, Patience: 60_000}, open: c.network.open}
				d.waiting.Store(1)
				time.Sleep(time.Second)
				if code := ready(d); code != http.StatusServiceUnavailable {
					t.Errorf("before there is an association: %d", code)
				}
				done := make(chan wire.Recovery)
				go func() { done <- d.follow(t.Context(), wire.Target{ID: 3, Address: "192.0.2.1:38412"}) }()
				time.Sleep(5 * time.Second)
				if code := ready(d); code != http.StatusOK && c.want.Outcome != wire.NotTried {
					t.Errorf("with an association: %d", code)
				}
				r := <-done
				if r.ID != 3 || r.Outcome != c.want.Outcome || r.Peer != c.want.Peer || c.want.Errno != "" && r.Errno != c.want.Errno || (r.Port > 0) != (r.Outcome != wire.NotTried) {
					t.Errorf("got %+v, want %+v", r, c.want)
				}
				if gap := r.Gap.Duration(); gap < c.gap || gap > c.gap+7*time.Second {
					t.Errorf("gap %v, want %v", gap, c.gap)
				}
				if other := r.OtherPort.Duration(); c.other < 0 && other > 0 || other < c.other || other > max(0, c.other)+7*time.Second {
					t.Errorf("another port after %v, want %v", other, c.other)
				}
			})
		})
	}
}

func ready(h http.Handler) int {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, wire.ReadyPath, nil))
	return w.Code
}
