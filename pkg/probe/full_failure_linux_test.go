package probe

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/sctp"
)

// TestGivenUpBeforeItIsSent: a message whose lifetime ended before it was sent, as
// on a busy machine, proves nothing, and another one is sent. For a guest of
// test/probe.
func TestGivenUpBeforeItIsSent(t *testing.T) {
	onlyInGuest(t)
	if err := openOne(); err != nil { // loads the module
		t.Fatal(err)
	}
	e := &env{family: ipv4, proc: "/proc", step: 20 * time.Second}
	defer e.close()
	to := netip.AddrFrom4([4]byte{127, 0, 3, 1})
	a, err := e.associate(t.Context(), ends{server: []netip.Addr{to}, prepare: []setup{fastTimers, subscribed}})
	if err != nil {
		t.Fatal(err)
	}
	port, err := a.server.port()
	if err != nil {
		t.Fatal(err)
	}
	restore, err := blackhole(to)
	if err != nil {
		t.Fatal(err)
	}
	defer restore()
	info := sctp.SendInfo{Flags: sctp.FlagLifetime, TTL: 10}
	var sent []string
	if err := a.giveUp(t.Context(), func() error {
		if len(sent) > 0 {
			sent = append(sent, "at once")
			return a.client.send(t.Context(), []byte("given up"), info)
		}
		sent = append(sent, "late")
		// It waits for more (net/sctp/output.c, sctp_packet_can_append_data), until
		// something else is sent.
		const defaultPRInfo = 114 // SCTP_DEFAULT_PRINFO (RFC 7496, section 4.5)
		if err := sctp.Set(a.client.Socket, defaultPRInfo, struct {
			Assoc  int32
			Value  uint32
			Policy uint16
			_      uint16
		}{Value: info.TTL, Policy: info.Flags}); err != nil {
			return err
		}
		if err := a.client.Control(func(fd int) error { return unix.Send(fd, []byte("late"), unix.MSG_MORE) }); err != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
		return a.client.Heartbeat(netip.AddrPortFrom(to, port))
	}); err != nil {
		t.Fatal(err)
	}
	if len(sent) != 2 {
		t.Errorf("sent: %q", sent)
	}
}
