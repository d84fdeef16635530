package httpserver

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/places"
)

// Many connections from one address are ended, and others are served.
func TestBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	b := bounded{l, places.New(limits)}
	dial := func(from string) {
		t.Helper()
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		conn, err := dialer.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
	accept := func() (net.Conn, string) {
		t.Helper()
		conn, err := b.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return conn, netip.MustParseAddrPort(conn.RemoteAddr().String()).Addr().String()
	}
	const flood, other = "127.0.0.5", "127.0.0.6"
	for range 100 {
		dial(flood)
	}
	dial(other)
	var flooding []net.Conn
	for {
		conn, from := accept() // in their order
		defer conn.Close()
		if from == other {
			break
		}
		flooding = append(flooding, conn)
	}
	if len(flooding) != limits.PerStranger {
		t.Errorf("%d connections of one address, want %d", len(flooding), limits.PerStranger)
	}
	flooding[0].Close()
	flooding[0].Close() // as net/http does: one place is left
	dial(flood)
	dial(flood)
	dial(other)
	for _, want := range []string{flood, other} {
		conn, from := accept()
		defer conn.Close()
		if from != want {
			t.Errorf("served %s, want %s", from, want)
		}
	}
}
