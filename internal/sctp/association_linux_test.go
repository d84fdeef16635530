package sctp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inGuest skips a test elsewhere: it would have the module loaded.
func inGuest(t *testing.T) context.Context {
	t.Helper()
	if name, _ := os.Hostname(); name != "probe-guest" {
		t.Skip("only in a guest of test/probe")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// ends is an association: who dialled it, and who accepted it.
func ends(ctx context.Context, t *testing.T, local, at string, o Options) (client, server *Socket) {
	t.Helper()
	listener, err := Listen(netip.MustParseAddrPort(at), 8, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	to, err := listener.LocalAddr()
	if err != nil {
		t.Fatal(err)
	}
	o.Local = netip.MustParseAddrPort(local)
	if client, err = Dial(ctx, to, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Abort)
	server, from, err := listener.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Abort)
	if from.Addr() != o.Local.Addr() {
		t.Errorf("dialled from %v, want %v", from, o.Local)
	}
	return client, server
}

func TestAssociation(t *testing.T) {
	ctx := inGuest(t)
	for _, hosts := range [][2]string{{"127.0.0.2:0", "127.0.0.1:0"}, {"[::1]:0", "[::1]:0"}} {
		client, server := ends(ctx, t, hosts[0], hosts[1], Options{Init: InitMsg{OutStreams: 7, MaxInStreams: 7}})
		if err := Set(server, OptRecvRcvInfo, int32(1)); err != nil {
			t.Fatal(err)
		}
		if st, err := client.Status(); err != nil || st.State != StateEstablished || st.OutStreams != 7 || st.InStreams != 7 {
			t.Errorf("%+v, %v", st, err)
		}
		for _, size := range []int{1, 5000, 100_000} {
			sent := bytes.Repeat([]byte{byte(size)}, size)
			if err := client.Send(ctx, sent, SendInfo{Stream: 6, PPID: 60}, netip.AddrPort{}); err != nil {
				t.Fatal(err)
			}
			m, err := server.ReceiveMessage(ctx, make([]byte, 10), size)
			if err != nil || !bytes.Equal(m.Data, sent) || m.Stream != 6 || m.PPID() != 60 {
				t.Errorf("%d bytes: got %d, %+v, %v", size, len(m.Data), m.RcvInfo, err)
			}
		}
		if err := client.Send(ctx, make([]byte, 11), SendInfo{}, netip.AddrPort{}); err != nil {
			t.Fatal(err)
		}
		if _, err := server.ReceiveMessage(ctx, nil, 10); err == nil || !strings.Contains(err.Error(), "more than 10 bytes") {
			t.Errorf("11 bytes, and 10 at most: %v", err)
		}
	}
}

// How an association ends is reported to the other end.
func TestAssociationEnds(t *testing.T) {
	ctx := inGuest(t)
	for name, tc := range map[string]struct {
		end   func(*Socket) error
		state uint16
		err   error
	}{
		"gracefully": {(*Socket).Close, AssocShutdownDone, io.EOF},
		"aborted":    {func(s *Socket) error { s.Abort(); return nil }, AssocLost, unix.ECONNRESET},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := ends(ctx, t, "127.0.0.1:0", "127.0.0.1:0", Options{})
			if err := Set(server, OptEvents, Subscription{Association: 1}); err != nil {
				t.Fatal(err)
			}
			if err := tc.end(client); err != nil {
				t.Fatal(err)
			}
			var states []uint16
			for {
				m, err := server.Receive(ctx, make([]byte, 1<<10))
				if err != nil {
					if !errors.Is(err, tc.err) {
						t.Errorf("got %v, want %v", err, tc.err)
					}
					break
				}
				if change, ok := m.AssocChange(); ok {
					states = append(states, change.State)
				}
			}
			if tc.err == io.EOF && (len(states) != 1 || states[0] != tc.state) {
				t.Errorf("changes %v, want %d", states, tc.state)
			}
		})
	}
}

// Nobody listens: that comes back over the network. An address that is not this
// host's is refused by its own kernel.
func TestDialFails(t *testing.T) {
	ctx := inGuest(t)
	nowhere := netip.MustParseAddrPort("127.0.0.1:9")
	if _, err := Dial(ctx, nowhere, Options{}); !errors.Is(err, unix.ECONNREFUSED) || !errors.As(err, new(Answered)) {
		t.Errorf("nobody listens: %v", err)
	}
	elsewhere := Options{Local: netip.MustParseAddrPort("192.0.2.1:0")} // RFC 5737
	if _, err := Dial(ctx, nowhere, elsewhere); !errors.Is(err, unix.EADDRNOTAVAIL) || errors.As(err, new(Answered)) {
		t.Errorf("from an address of another host: %v", err)
	}
}
