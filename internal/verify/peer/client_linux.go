package peer

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/backoff"
	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
)

const (
	// beat is how often the listener of a kept association is asked.
	beat = 200 * time.Millisecond
	// silence ends a kept association. A listener that was only slow answers the
	// next try, and so does not count as ended.
	silence = 2 * time.Second
)

// Client is a Service's client: it keeps its port when the listener that it has
// an association with ends, as an MME or a base station does, whose port its peer
// knows. Like [Dial] it causes no module load.
func Client(ctx context.Context, job wire.Client) wire.Say {
	if say, ok := registered(); !ok {
		return say
	}
	control, err := net.Listen("tcp", job.Control)
	if err != nil {
		return wire.Say{Fault: wire.Unknown, Detail: err.Error()}
	}
	c := &client{Client: job, open: openAssociation}
	c.waiting.Store(int32(len(job.Targets)))
	server := &http.Server{Handler: c, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(control) }() // until it is closed
	defer server.Close()
	say := wire.Say{Recoveries: make([]wire.Recovery, len(job.Targets))}
	var all sync.WaitGroup
	for i, t := range job.Targets {
		all.Go(func() { say.Recoveries[i] = c.follow(ctx, t) })
	}
	all.Wait()
	return say
}

type client struct {
	wire.Client
	// open sets up an association, from a port unless that is 0.
	open func(ctx context.Context, to netip.AddrPort, port uint16) (association, error)
	// waiting counts the targets whose association may still come.
	waiting atomic.Int32
}

// association with a listener.
type association interface {
	// index of the listener.
	index(context.Context) (int, error)
	// port that it was set up from.
	port() (uint16, error)
	// end it at once, with an ABORT.
	Abort()
}

func openAssociation(ctx context.Context, to netip.AddrPort, port uint16) (association, error) {
	var from netip.AddrPort
	if port != 0 {
		all := netip.IPv4Unspecified()
		if to.Addr().Is6() {
			all = netip.IPv6Unspecified()
		}
		from = netip.AddrPortFrom(all, port)
	}
	c, err := dial(ctx, to, from)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (c *conversation) index(ctx context.Context) (int, error) { return c.ask(ctx, who+rand.Text()) }

func (c *conversation) port() (uint16, error) {
	at, err := c.LocalAddr()
	return at.Port(), err
}

// ServeHTTP answers whether the listener that is to end may end.
func (c *client) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != wire.ReadyPath || c.waiting.Load() > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// follow keeps an association with the listener that is to end, until another
// one answers or patience has ended.
func (c *client) follow(ctx context.Context, t wire.Target) wire.Recovery {
	r := wire.Recovery{ID: t.ID, Outcome: wire.NotTried, Peer: -1}
	to, err := netip.ParseAddrPort(t.Address)
	if err != nil {
		r.Errno = err.Error()
		return r
	}
	begin, cancel := context.WithTimeout(ctx, c.Begin.Duration())
	a, _, err := c.find(begin, to, 0, func(index int) bool { return index == c.Ending })
	cancel()
	c.waiting.Add(-1)
	var port uint16
	if err == nil {
		port, err = a.port()
	}
	if err != nil {
		_, r.Errno = classify(err)
		return r
	}
	r.Port, r.Outcome = int(port), wire.Unknown
	for a != nil {
		last := c.keep(ctx, a)
		a = c.again(ctx, to, last, &r)
	}
	return r
}

// keep returns, when the association fails, when its listener last answered.
func (c *client) keep(ctx context.Context, a association) (last time.Time) {
	defer a.Abort()
	for {
		last = time.Now()
		backoff.Sleep(ctx, beat)
		answer, cancel := context.WithTimeout(ctx, silence)
		_, err := a.index(answer)
		cancel()
		if err != nil {
			return last
		}
	}
}

// again sets up an association from the same port, while a client beside it takes
// another port at each try: when the latter is answered, the Service has a new
// endpoint, and only the first client's port fails. The association is not nil
// where the listener that was deleted still answers.
func (c *client) again(ctx context.Context, to netip.AddrPort, last time.Time, r *wire.Recovery) association {
	since := func() wire.Millis { return wire.Millis(time.Since(last).Milliseconds()) }
	ctx, cancel := context.WithDeadline(ctx, last.Add(c.Patience.Duration()))
	defer cancel()
	r.OtherPort = 0
	var beside sync.WaitGroup
	beside.Go(func() {
		a, _, err := c.find(ctx, to, 0, func(index int) bool { return index != c.Ending })
		if err == nil {
			r.OtherPort = since()
			a.Abort()
		}
	})
	a, index, err := c.find(ctx, to, uint16(r.Port), func(int) bool { return true })
	r.Gap = since()
	cancel()
	beside.Wait()
	if err != nil {
		r.Outcome, r.Errno = classify(err)
		return nil
	}
	if index == c.Ending {
		return a
	}
	a.Abort()
	r.Outcome, r.Peer = wire.OK, index
	return nil
}

// find tries until a listener answers that is wanted. The error is that of the
// last try that was not interrupted.
func (c *client) find(ctx context.Context, to netip.AddrPort, port uint16, wanted func(index int) bool) (association, int, error) {
	var last error
	for {
		a, index, err := c.try(ctx, to, port)
		if err == nil && wanted(index) {
			return a, index, nil
		}
		if err == nil {
			a.Abort()
			err = fmt.Errorf("only listener %d answers", index)
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		if backoff.Sleep(ctx, pause); ctx.Err() != nil {
			return nil, -1, last
		}
	}
}

// try sets up one association.
func (c *client) try(ctx context.Context, to netip.AddrPort, port uint16) (association, int, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout.Duration())
	defer cancel()
	a, err := c.open(ctx, to, port)
	if err != nil {
		return nil, -1, err
	}
	index, err := a.index(ctx)
	if err != nil {
		a.Abort()
		return nil, -1, err
	}
	return a, index, nil
}
