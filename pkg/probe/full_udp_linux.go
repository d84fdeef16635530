package probe

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/sctp"
)

// proveUDP: an association inside UDP packets (RFC 6951, section 5), which
// unlike plain ones carry a checksum even on loopback.
func proveUDP(ctx context.Context, e *env) error {
	const udpPort = "9899" // RFC 6951, section 6.1
	if err := e.sysctl("net/sctp/udp_port", udpPort); err != nil {
		return err
	}
	before, err := e.udpDatagrams()
	if err != nil {
		return err
	}
	here := netip.AddrFrom4([4]byte{127, 0, 4, 1})
	a, err := e.associate(ctx, ends{
		client: []netip.Addr{here},
		server: []netip.Addr{here},
		prepare: []setup{func(s *socket) error {
			port := sctp.UDPEncaps{Port: [2]byte{9899 >> 8, 9899 & 0xff}}
			return unsupported(sctp.Set(s.Socket, sctp.OptRemoteUDPPort, port), "encapsulation in UDP")
		}},
	})
	if err != nil {
		return err
	}
	if err := echo(ctx, a.client, a.server); err != nil {
		return err
	}
	// Handshake and echo are eight packets at least, half of them each way.
	after, err := e.udpDatagrams()
	if err != nil {
		return err
	}
	if after-before < 8 {
		return wrong("the association works, and %d packets of it were in UDP", after-before)
	}
	return a.shutdown(ctx)
}

// udpDatagrams is how many UDP packets the network namespace has received (RFC
// 4113, udpInDatagrams).
func (e *env) udpDatagrams() (n uint64, err error) {
	text, err := os.ReadFile(filepath.Join(e.proc, "net/snmp"))
	if err != nil {
		return 0, undecided("", err, "read the counters of UDP")
	}
	// Two lines: names, then values.
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "Udp:" {
			if n, err = strconv.ParseUint(fields[1], 10, 64); err == nil {
				return n, nil
			}
		}
	}
	return 0, undecided("", err, "find the counters of UDP in %s/net/snmp", e.proc)
}
