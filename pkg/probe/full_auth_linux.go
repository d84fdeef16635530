package probe

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/sctp"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

var authenticated = extension(sctp.OptAuthSupported, 1, "authenticated chunks")

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
		const chunkData uint8 = 0
		a, err := e.associate(ctx, ends{prepare: []setup{authenticated, option(sctp.OptAuthChunk, chunkData, "demand that DATA chunks are authenticated")}})
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
		if err := a.client.send(ctx, []byte("forged"), sctp.SendInfo{}); err != nil {
			return err
		}
		// On loopback it would be there before the send call returned.
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		m, err := a.server.receive(short, "a forged message")
		cancel()
		if err == nil {
			return wrong("a message of %d bytes arrived although the ends have different keys", len(m.Data))
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return nil
}

// useKey gives an association a shared key and sends with it.
func (s *socket) useKey(number uint16, text string) error {
	if err := s.SetAuthKey(number, text); err != nil {
		return stopped(result.StageConnect, err, "set a shared key")
	}
	return stopped(result.StageConnect, sctp.Set(s.Socket, sctp.OptAuthActiveKey, sctp.AuthKeyID{Number: number}), "choose a shared key")
}

// proveAsconf: an address joins a live association, and carries data, without
// a new handshake; the request is authenticated, as it must be (RFC 5061,
// sections 4.1.1, 4.2.1 and 5.1).
func proveAsconf(ctx context.Context, e *env) error {
	a, err := e.associate(ctx, ends{prepare: []setup{authenticated, extension(sctp.OptAsconfSupported, 1, "address reconfiguration")}})
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
	joining := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 3, 1}), port)
	if err := a.client.bound(a.client.BindMore(joining), joining); err != nil {
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
	if err := a.server.send(ctx, []byte("to the added address"), sctp.SendInfo{Flags: sctp.FlagAddrOver}, joining); err != nil {
		return err
	}
	if _, err := a.client.receive(ctx, "a message to the added address"); err != nil {
		return err
	}
	return a.shutdown(ctx)
}
