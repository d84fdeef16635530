package ask

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/backoff"
	"github.com/sctp-agent/sctp-agent/internal/mesh/conclusion"
	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
	"github.com/sctp-agent/sctp-agent/internal/places"
)

const (
	// questionTimeout is from the connection to the question: its client gets
	// a token meanwhile.
	questionTimeout = 7 * time.Second
	// place is how long a connection keeps its place at the least, so that
	// the number of places is a rate, too.
	place = time.Second
	// reviewAgain is the least time between two reviews for the same address:
	// a peer has one token for this node until shortly before its end.
	reviewAgain = 5 * time.Second
)

// limits: a peer asks about its ten at most. Other addresses than peers' are not
// served at all.
var limits = places.Limits{PerPeer: 10, All: 64}

// Asker is a peer, as the list of peers has it.
type Asker struct{ Node, Pod, UID string }

// Server answers questions of peers.
type Server struct {
	// Node that answers.
	Node     string
	Reviewer Reviewer
	// Asker is the peer that has an address.
	Asker func(netip.Addr) (Asker, bool)
	// Stranger hears of a pod of the mesh that is not the peer with its address:
	// that peer has been replaced, perhaps.
	Stranger func(netip.Addr)
	// Check returns whether this node fails towards a peer, false where the list
	// has no such peer. It limits how often it probes.
	Check func(ctx context.Context, about string, kind conclusion.Kind) (picture.State, bool)
	// Answered hears of each question that was read, and why it was refused.
	Answered func(error)

	audience string
	mu       sync.Mutex
	reviewed map[netip.Addr]*review
}

// review is the latest for an address.
type review struct {
	token [sha256.Size]byte
	began time.Time
	done  chan struct{}
	// What follows is there when it is done. It serves until then.
	holder Holder
	err    error
	until  time.Time
}

// Serve answers until ctx ends, and closes the listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	certificate, err := newCertificate()
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	s.audience = audience(s.Node, certificate.Certificate[0])
	s.reviewed = map[netip.Addr]*review{}
	config := &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{certificate},
		// A key share of 1,216 bytes must come in before the certificate goes out:
		// no client gets twice what it sends.
		CurvePreferences:       []tls.CurveID{tls.X25519MLKEM768},
		SessionTicketsDisabled: true,
	}
	taken := places.New(limits)
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("accept questions: %w", err)
			}
			backoff.Sleep(ctx, 10*time.Millisecond) // no descriptor left, for example
			continue
		}
		from, asker, leave, ok := s.admit(conn, taken)
		if !ok {
			conn.Close()
			continue
		}
		go func() {
			began := time.Now()
			s.serve(ctx, tls.Server(conn, config), from, asker)
			conn.Close()
			backoff.Sleep(ctx, place-time.Since(began))
			leave()
		}()
	}
}

// admit lets peers in, by their addresses, before anything is spent on them.
func (s *Server) admit(conn net.Conn, taken *places.Places) (from netip.Addr, asker Asker, leave func(), ok bool) {
	source, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return from, asker, nil, false
	}
	from = source.Addr().Unmap()
	if asker, ok = s.Asker(from); ok {
		leave, ok = taken.Take(from, true)
	}
	return from, asker, leave, ok
}

func (s *Server) serve(ctx context.Context, conn *tls.Conn, from netip.Addr, asker Asker) {
	defer context.AfterFunc(ctx, func() { conn.NetConn().Close() })()
	var q question
	if conn.SetDeadline(time.Now().Add(questionTimeout)) != nil ||
		json.NewDecoder(io.LimitReader(conn, mostQuestion)).Decode(&q) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	state, err := s.answer(ctx, q, from, asker)
	a := answer{State: state}
	if err != nil {
		a.Refused = err.Error()
	}
	s.Answered(err)
	if conn.SetDeadline(time.Now().Add(shakeTimeout)) == nil && json.NewEncoder(conn).Encode(a) == nil {
		_ = conn.CloseWrite()
	}
}

func (s *Server) answer(ctx context.Context, q question, from netip.Addr, asker Asker) (picture.State, error) {
	if !slices.Contains(conclusion.Kinds(), q.Kind) {
		return "", errors.New("no such kind of probe")
	}
	holder, err := s.review(ctx, from, q.Token)
	switch {
	case err != nil:
		return "", fmt.Errorf("the token is not accepted: %w", err)
	case holder.Pod != asker.Pod || holder.UID != asker.UID || holder.Node != "" && holder.Node != asker.Node:
		s.Stranger(from)
		return "", errors.New("the token is not that of the peer with this address")
	case q.About == s.Node || q.About == asker.Node:
		return "", errors.New("no node is asked about itself, or about the one that asks")
	}
	state, known := s.Check(ctx, q.About, q.Kind)
	if !known {
		return "", errors.New("no such peer")
	}
	return state, nil
}

// review has a token reviewed once for all questions from an address that come
// with it, until it expires.
func (s *Server) review(ctx context.Context, from netip.Addr, token string) (Holder, error) {
	if token == "" {
		return Holder{}, errors.New("there is none")
	}
	key, now := sha256.Sum256([]byte(token)), time.Now()
	s.mu.Lock()
	r := s.reviewed[from]
	switch {
	case r != nil && r.token == key && (r.until.IsZero() || now.Before(r.until)):
		s.mu.Unlock()
	case r != nil && now.Sub(r.began) < reviewAgain:
		s.mu.Unlock()
		return Holder{}, errors.New("another token of this peer was reviewed within the last seconds")
	default:
		maps.DeleteFunc(s.reviewed, func(_ netip.Addr, r *review) bool { return !r.until.IsZero() && now.After(r.until) })
		r = &review{token: key, began: now, done: make(chan struct{})}
		s.reviewed[from] = r
		s.mu.Unlock()
		holder, err := s.Reviewer.Review(ctx, token, s.audience)
		s.mu.Lock()
		r.holder, r.err, r.until = holder, err, now.Add(reviewAgain)
		if holder.Until.After(r.until) {
			r.until = holder.Until
		}
		s.mu.Unlock()
		close(r.done)
	}
	select {
	case <-r.done:
		return r.holder, r.err
	case <-ctx.Done():
		return Holder{}, ctx.Err()
	}
}

// newCertificate is signed by its own key, as small as it can be.
func newCertificate() (c tls.Certificate, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return c, err
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
