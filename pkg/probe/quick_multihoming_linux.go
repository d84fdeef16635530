package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/ishidawataru/sctp"

	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// proveMultihoming: both ends have two addresses, the one that the handshake
// did not use is verified by a heartbeat (RFC 9260, sections 5.1.2, 5.4 and
// 8.3), and then carries a message.
func proveMultihoming(ctx context.Context, e *env) error {
	a, err := e.associate(ctx, ends{
		client: []net.IPAddr{e.family.host(3), e.family.host(4)},
		server: []net.IPAddr{e.family.host(1), e.family.host(2)},
	})
	if err != nil {
		return err
	}
	port, err := a.server.port()
	if err != nil {
		return err
	}
	second := at(port, e.family.host(2))
	if err := a.client.confirm(ctx, second); err != nil {
		return err
	}
	nonce := make([]byte, 32)
	rand.Read(nonce)
	if err := a.client.send(ctx, nonce, sctp.SndRcvInfo{Flags: flagAddrOver}, second); err != nil {
		return err
	}
	m, err := a.server.receive(ctx, "a message over the second path")
	if err != nil {
		return err
	}
	if !bytes.Equal(m.data, nonce) {
		return wrong("over the second path, %d bytes were received that are not the nonce sent", len(m.data))
	}
	return a.shutdown(ctx)
}

// confirm asks for a heartbeat to one of the peer's addresses and waits until
// it has been answered. The socket must be subscribed to address events.
func (s *socket) confirm(ctx context.Context, addr *sctp.SCTPAddr) error {
	params := pathParams{}
	binary.NativeEndian.PutUint32(params.Flags[:], pathHeartbeatNow)
	copy(params.Address[:], addr.ToRawSockAddrBuf())
	// A heartbeat is not sent again until the next is due, half a minute later
	// (RFC 9260, section 8.3), so one that is lost is asked for again.
	const patience = 200 * time.Millisecond
	since := time.Now()
	end := since.Add(s.env.step)
	for asked := false; ; {
		over := !time.Now().Before(end) // looked at before the last question, not after it
		state, err := s.pathState(addr)
		if err != nil {
			return err
		}
		if state == pathActive {
			return nil
		}
		if over {
			return &stop{stage: result.StageConnect, err: os.ErrDeadlineExceeded, since: since, detail: "wait for a heartbeat to " + hostsOf(addr) + " to be answered"}
		}
		if !asked {
			asked = true
			if err := s.set(optPeerAddrParams, raw(params)); err != nil {
				return &stop{stage: result.StageConnect, err: err, detail: "ask for a heartbeat to " + hostsOf(addr)}
			}
			continue
		}
		short, cancel := context.WithTimeout(ctx, min(patience, time.Until(end)))
		m, err := s.receiveInto(short, result.StageConnect, "wait for a heartbeat to "+hostsOf(addr)+" to be answered", make([]byte, 1<<10))
		cancel()
		switch {
		case err == io.EOF:
			return &stop{outcome: result.OutcomeFail, stage: result.StageConnect, detail: "the association ended instead of confirming " + hostsOf(addr)}
		case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil:
			asked = false
		case err != nil:
			return err
		case !m.notification:
			return wrong("%d bytes arrived that nobody sent", len(m.data))
		}
	}
}

// pathState is what the kernel thinks of one of the peer's addresses.
func (s *socket) pathState(addr *sctp.SCTPAddr) (int32, error) {
	var info peerAddrInfo
	copy(info.Address[:], addr.ToRawSockAddrBuf())
	if err := s.get(optPeerAddrInfo, bytesOf(&info)); err != nil {
		return 0, &stop{stage: result.StageConnect, err: err, detail: "ask for the state of the path to " + hostsOf(addr)}
	}
	return info.State, nil
}
