package echo

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/backoff"
	"github.com/sctp-agent/sctp-agent/internal/places"
	"github.com/sctp-agent/sctp-agent/internal/sctp"
)

// Bounds of the listener. A node has ten probers and a visitor, with one
// association that is kept and one that is new; the kernel keeps 11 kB for each
// at this end.
var bounds = places.Limits{PerPeer: 8, PerStranger: 4, Strangers: 32, All: 512}

const (
	// idle is when an association without messages ends: a kept one has one
	// every ten seconds.
	idle = 40 * time.Second
	// pace is the least time between two echoes of an association.
	pace = 50 * time.Millisecond
)

// Listener sends back what comes, of no more than the size that nodes of the
// mesh send: never more than it got.
type Listener struct {
	// Known reports whether an address is that of a peer.
	Known func(netip.Addr) bool
	// Stranger hears of associations from others: a node may have joined.
	Stranger func(netip.Addr)
}

// Serve listens on one address until ctx ends. The end of the associations is
// graceful, and then they are waited for.
func (l *Listener) Serve(ctx context.Context, at netip.AddrPort) error {
	listener, err := sctp.Listen(at, bounds.All, options(netip.AddrPort{}))
	if err != nil {
		return fmt.Errorf("listen on SCTP %v: %w", at, err)
	}
	defer listener.Close()
	taken := places.New(bounds)
	var associations sync.WaitGroup
	defer associations.Wait()
	err = listener.Serve(ctx, func(s *sctp.Socket, from netip.AddrPort) {
		source := from.Addr()
		known := l.Known(source)
		if !known {
			l.Stranger(source)
		}
		leave, ok := taken.Take(source, known)
		if !ok {
			s.Abort()
			return
		}
		associations.Go(func() {
			defer leave()
			defer s.Close()
			serve(ctx, s)
		})
	})
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("accept on SCTP %v: %w", at, err)
}

func serve(ctx context.Context, s *sctp.Socket) {
	s.Patience = idle
	for buf := make([]byte, nonce); ; backoff.Sleep(ctx, pace) {
		m, err := s.ReceiveMessage(ctx, buf, len(buf))
		if err != nil {
			return
		}
		if s.Send(ctx, m.Data, sctp.SendInfo{}, netip.AddrPort{}) != nil {
			return
		}
	}
}
