package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/ishidawataru/sctp"
	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// proveAuth: DATA chunks that both ends want authenticated arrive while the
// ends have the same key, and are dropped when they have not (RFC 4895,
// sections 6.2 and 6.3): the second is what makes the first worth something.
func proveAuth(ctx context.Context, e *env) error {
	for _, key := range []struct {
		client, server string
		arrives        bool
	}{
		{"a shared key", "a shared key", true},
		{"a shared key", "another key", false},
	} {
		a, err := e.associate(ctx, ends{prepare: func(s *socket) error {
			if err := s.enable(optAuthSupported, 1, "authenticated chunks"); err != nil {
				return err
			}
			if err := s.do(func(fd int) error {
				const chunkData = 0
				return unix.SetsockoptString(fd, solSCTP, optAuthChunk, string([]byte{chunkData}))
			}); err != nil {
				return &stop{stage: result.StageSocket, err: err, detail: "demand that DATA chunks are authenticated"}
			}
			return nil
		}})
		if err != nil {
			return err
		}
		for s, text := range map[*socket]string{a.client: key.client, a.server: key.server} {
			if err := s.useKey(1, text); err != nil {
				return err
			}
		}
		if key.arrives {
			if err := echo(ctx, a.client, a.server); err != nil {
				return err
			}
			if err := a.shutdown(ctx); err != nil {
				return err
			}
			continue
		}
		if err := a.client.send(ctx, []byte("forged"), sctp.SndRcvInfo{}, nil); err != nil {
			return err
		}
		// On loopback it would be there before the send call returned.
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		m, err := a.server.receive(short, "a forged message")
		cancel()
		if err == nil {
			return wrong("a message of %d bytes arrived although the ends have different keys", len(m.data))
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return nil
}

// useKey gives an association a shared key and sends with it.
func (s *socket) useKey(number uint16, text string) error {
	key := fmt.Appendf(nil, "%s", text)
	head := raw(authKey{Number: number, Length: uint16(len(key))})
	if err := s.do(func(fd int) error {
		return unix.SetsockoptString(fd, solSCTP, optAuthKey, string(head)+string(key))
	}); err != nil {
		return &stop{stage: result.StageConnect, err: err, detail: "set a shared key"}
	}
	if err := s.set(optAuthActiveKey, raw(authKeyID{Number: number})); err != nil {
		return &stop{stage: result.StageConnect, err: err, detail: "choose a shared key"}
	}
	return nil
}

// proveAsconf: an address joins a live association, and carries data, without
// a new handshake; the request is authenticated, as it must be (RFC 5061,
// sections 4.1.1, 4.2.1 and 5.1).
func proveAsconf(ctx context.Context, e *env) error {
	a, err := e.associate(ctx, ends{prepare: func(s *socket) error {
		if err := s.enable(optAuthSupported, 1, "authenticated chunks"); err != nil {
			return err
		}
		return s.enable(optAsconfSupported, 1, "address reconfiguration")
	}})
	if err != nil {
		return err
	}
	if err := subscribed(a.server); err != nil {
		return err
	}
	port, err := a.client.port()
	if err != nil {
		return err
	}
	joining := at(port, net.IPAddr{IP: net.IPv4(127, 0, 3, 1)})
	if err := a.client.bind(joining); err != nil {
		return err
	}
	if err := a.server.waitUntil(ctx, result.StageConnect, "the peer to learn of an added address", func() (bool, error) {
		_, err := a.server.pathState(joining)
		if errors.Is(err, unix.EINVAL) {
			return false, nil
		}
		return err == nil, err
	}); err != nil {
		return err
	}
	if err := a.server.confirm(ctx, joining); err != nil {
		return err
	}
	if err := a.server.send(ctx, []byte("to the added address"), sctp.SndRcvInfo{Flags: flagAddrOver}, joining); err != nil {
		return err
	}
	if _, err := a.client.receive(ctx, "a message to the added address"); err != nil {
		return err
	}
	return a.shutdown(ctx)
}
