package places

import (
	"net/netip"
	"testing"
)

// A flood from many unknown addresses, or from one peer, leaves a place for each
// peer; closed connections free their places.
func TestPlaces(t *testing.T) {
	addr := func(net, host int) netip.Addr {
		return netip.AddrFrom4([4]byte{10, byte(net), byte(host >> 8), byte(host)})
	}
	p := New(Limits{PerPeer: 8, PerStranger: 4, Strangers: 32, All: 100})
	flood := func(net, sources int, peer bool) (leave []func()) {
		for host := range sources {
			for range 10 {
				if l, ok := p.Take(addr(net, host), peer); ok {
					leave = append(leave, l)
				}
			}
		}
		return leave
	}
	first := flood(1, 1000, false)
	if len(first) != 32 {
		t.Errorf("strangers have %d places", len(first))
	}
	if n := len(flood(2, 1, true)); n != 8 {
		t.Errorf("one peer has %d places", n)
	}
	for host := range 20 {
		if _, ok := p.Take(addr(3, host), true); !ok {
			t.Errorf("no place for peer %d", host)
		}
	}
	if n := len(flood(4, 1000, true)); n != 40 {
		t.Errorf("%d places were left", n)
	}
	for _, leave := range first {
		leave()
	}
	if n := len(flood(5, 1000, false)); n != 32 {
		t.Errorf("afterwards strangers have %d places", n)
	}
	if _, remembered := p.by[addr(1, 0)]; remembered {
		t.Error("a source that has left is remembered")
	}
}
