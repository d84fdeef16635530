// Package echo exchanges a message between nodes of the mesh over SCTP: an
// association, and one message that comes back.
//
// It opens SCTP sockets, and so may cause the module to be loaded: its callers
// check first that the kernel has SCTP (probe.Registered).
package echo

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/internal/mesh/conclusion"
	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
	"github.com/sctp-agent/sctp-agent/internal/sctp"
)

const (
	// nonce is the size of the message that comes back, in bytes.
	nonce = 64
	// stubborn is how long an association without answers is kept: it stays
	// what a long-lived one of a workload is by then.
	stubborn = time.Minute
	// resend is when what was lost is sent again. Linux would wait 3 s for
	// the first answer, and 1 s at the least after that: beyond the end of a
	// try. It is more than the 200 ms that an acknowledgement may be delayed.
	resend = 250 // ms
)

// options of both ends, as both send.
func options(local netip.AddrPort) sctp.Options {
	return sctp.Options{
		Local: local,
		// One stream, and a lost INIT is sent again until the try ends.
		Init:  sctp.InitMsg{OutStreams: 1, MaxInStreams: 1, MaxAttempts: 8, MaxInitTimeo: resend},
		RTO:   sctp.RTOInfo{Initial: resend, Max: resend, Min: resend},
		Assoc: sctp.AssocParams{MaxRetrans: uint16(stubborn / (resend * time.Millisecond))},
	}
}

// Dialer dials from one address, so that each association is one path, to the
// same port everywhere.
type Dialer struct {
	Local netip.Addr
	Port  uint16
}

func (d Dialer) dial(ctx context.Context, to netip.Addr) (*sctp.Socket, error) {
	return sctp.Dial(ctx, netip.AddrPortFrom(to, d.Port), options(netip.AddrPortFrom(d.Local, 0)))
}

// New sets up an association, has a message come back, and shuts it down.
func (d Dialer) New(ctx context.Context, to netip.Addr) conclusion.Outcome {
	began := time.Now()
	s, err := d.dial(ctx, to)
	if err != nil {
		return outcome(began, 0, err)
	}
	defer s.Close()
	rtt, err := echo(ctx, s)
	return outcome(began, rtt, err)
}

// TCP connects to the port, and no more.
func (d Dialer) TCP(ctx context.Context, to netip.Addr) conclusion.Outcome {
	began := time.Now()
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(d.Local, 0))}
	conn, err := dialer.DialContext(ctx, "tcp", netip.AddrPortFrom(to, d.Port).String())
	if err == nil {
		conn.Close()
	}
	return outcome(began, time.Since(began), err)
}

// Keep is an association that is set up when it is first used, and kept.
func (d Dialer) Keep(to netip.Addr) *Kept { return &Kept{dialer: d, to: to} }

// Kept is an association for echoes, one at a time.
type Kept struct {
	dialer Dialer
	to     netip.Addr

	mu sync.Mutex
	s  *sctp.Socket
	// silent is when the first echo of those without an answer was sent.
	silent time.Time
}

// Echo sends a message over the association and waits for it to come back. An
// association that the peer has ended is not a failure: it is replaced by a new one
// at once.
func (k *Kept) Echo(ctx context.Context) conclusion.Outcome {
	k.mu.Lock()
	defer k.mu.Unlock()
	began := time.Now()
	if !k.silent.IsZero() && began.Sub(k.silent) > stubborn {
		k.drop()
	}
	had := k.s != nil
	rtt, err := k.echo(ctx)
	if had && k.s == nil && ctx.Err() == nil {
		rtt, err = k.echo(ctx)
	}
	switch {
	case err == nil:
		k.silent = time.Time{}
	case k.silent.IsZero():
		k.silent = began
	}
	return outcome(began, rtt, err)
}

func (k *Kept) echo(ctx context.Context) (rtt time.Duration, err error) {
	if k.s == nil {
		if k.s, err = k.dialer.dial(ctx, k.to); err != nil {
			k.s = nil
			return 0, err
		}
	}
	rtt, err = echo(ctx, k.s)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.Canceled) {
		k.drop()
	}
	return rtt, err
}

func (k *Kept) drop() {
	if k.s != nil {
		k.s.Abort()
	}
	k.s, k.silent = nil, time.Time{}
}

// Close ends the association gracefully.
func (k *Kept) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.s != nil {
		k.s.Close()
	}
	k.s = nil
}

// echo passes over answers to earlier questions.
func echo(ctx context.Context, s *sctp.Socket) (time.Duration, error) {
	question := make([]byte, nonce)
	rand.Read(question) // never fails (crypto/rand)
	start := time.Now()
	if err := s.Send(ctx, question, sctp.SendInfo{}, netip.AddrPort{}); err != nil {
		return 0, err
	}
	for buf := make([]byte, nonce); ; {
		answer, err := s.ReceiveMessage(ctx, buf, len(buf))
		if err != nil {
			return 0, err
		}
		if bytes.Equal(answer.Data, question) {
			return time.Since(start), nil
		}
	}
}

// outcome of a try. An error of this process itself, such as no file descriptor
// left, proves nothing about the peer.
func outcome(began time.Time, rtt time.Duration, err error) conclusion.Outcome {
	o := conclusion.Outcome{State: picture.StateFailed, RTT: rtt, Began: began, Ended: time.Now()}
	var answered sctp.Answered
	switch {
	case err == nil:
		o.State = picture.StateOK
	case errors.Is(err, unix.ECONNREFUSED):
		o.Cause = conclusion.CauseRefused
	case errors.As(err, &answered):
		o.Cause = "answered: " + answered.Error()
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETDOWN):
		o.Cause = "no route"
	case errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.ECONNABORTED), errors.Is(err, unix.EPIPE):
		o.Cause = "ended by the peer"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, unix.ETIMEDOUT):
		o.Cause = conclusion.CauseSilence
	default:
		o.State, o.Cause = picture.StateUnknown, err.Error()
	}
	return o
}
