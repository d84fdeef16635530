package httpserver

import (
	"net"
	"net/netip"
	"sync"

	"github.com/sctp-agent/sctp-agent/internal/places"
)

// limits of connections at the same time, of some 20 kB each: monitoring, a
// kubelet and the API server's proxy need a few.
var limits = places.Limits{PerStranger: 16, Strangers: 64, All: 64}

// bounded closes connections above the limit at once.
type bounded struct {
	net.Listener
	taken *places.Places
}

func (b bounded) Accept() (net.Conn, error) {
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from, err := netip.ParseAddrPort(conn.RemoteAddr().String())
		if err == nil {
			if leave, ok := b.taken.Take(from.Addr(), false); ok {
				return placed{conn, sync.OnceFunc(leave)}, nil
			}
		}
		conn.Close()
	}
}

// placed frees its place when it is closed.
type placed struct {
	net.Conn
	leave func()
}

func (p placed) Close() error {
	defer p.leave()
	return p.Conn.Close()
}
