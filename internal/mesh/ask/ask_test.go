package ask

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/mesh/conclusion"
	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
)

// authority issues and reviews tokens, as an API server does.
type authority struct {
	mu      sync.Mutex
	tokens  map[string]issued
	reviews int
}

type issued struct {
	holder   Holder
	audience string
}

// as gets tokens for one holder.
type as struct {
	*authority
	holder Holder
	// sent are the tokens, as their receivers have them.
	sent *[]string
}

func (a as) Token(_ context.Context, audience string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	token := fmt.Sprintf("token-%d", len(a.tokens))
	a.tokens[token] = issued{a.holder, audience}
	if a.sent != nil {
		*a.sent = append(*a.sent, token)
	}
	return token, nil
}

func (a *authority) Review(_ context.Context, token, audience string) (Holder, error) {
	time.Sleep(10 * time.Millisecond) // what others ask meanwhile waits for it
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reviews++
	i, found := a.tokens[token]
	if !found || i.audience != audience {
		return Holder{}, errors.New("not authenticated")
	}
	return i.holder, nil
}

// node is a server, and how often it has probed.
type node struct {
	*Server
	at                netip.AddrPort
	checks, strangers atomic.Int64
}

// loopback addresses of peers: a test needs no other network.
func loopback(i int) netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, byte(i)}) }

// holderOf is what the list has of the peer at an address.
func holderOf(i int) Holder {
	return Holder{Pod: fmt.Sprintf("pod-%d", i), UID: fmt.Sprintf("uid-%d", i), Node: fmt.Sprintf("node-%d", i)}
}

// serve a node of a mesh of nodes 1 to 9; 10 and above are none.
func serve(t *testing.T, authority *authority, i int) *node {
	t.Helper()
	l, err := net.Listen("tcp", loopback(i).String()+":0")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{at: netip.MustParseAddrPort(l.Addr().String())}
	n.Server = &Server{
		Node: holderOf(i).Node, Reviewer: authority,
		Asker: func(from netip.Addr) (Asker, bool) {
			host := int(from.As4()[3])
			h := holderOf(host)
			return Asker{Node: h.Node, Pod: h.Pod, UID: h.UID}, host < 10
		},
		Stranger: func(netip.Addr) { n.strangers.Add(1) },
		Check: func(_ context.Context, about string, _ conclusion.Kind) (picture.State, bool) {
			if len(about) != len("node-1") {
				return "", false
			}
			n.checks.Add(1)
			return picture.StateFailed, true
		},
		Answered: func(error) {},
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- n.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return n
}

func newAuthority() *authority { return &authority{tokens: map[string]issued{}} }

func TestAsk(t *testing.T) {
	authority := newAuthority()
	n := serve(t, authority, 1)
	c := Client{Tokens: as{authority, holderOf(2), nil}, Local: loopback(2)}
	state, err := c.Ask(t.Context(), "node-1", n.at, "node-3", conclusion.New)
	if err != nil || state != picture.StateFailed || n.checks.Load() != 1 {
		t.Errorf("%s, %v, %d checks", state, err, n.checks.Load())
	}
	if _, err := c.Ask(t.Context(), "node-7", netip.AddrPortFrom(loopback(7), n.at.Port()), "node-3", conclusion.New); !errors.Is(err, conclusion.ErrUnreached) {
		t.Errorf("of a node that is not there: %v", err)
	}
}

// Nobody but a peer, in its own name, is answered, and nothing is probed that is
// no peer.
func TestRefused(t *testing.T) {
	authority := newAuthority()
	var stolen []string
	replay := func(context.Context, string) (string, error) { return stolen[0], nil }
	for _, c := range []struct {
		name   string
		tokens Tokens
		from   int
		about  string
		want   string // "" where the connection just ends
	}{
		{"a pod that is no agent", as{authority, holderOf(12), nil}, 12, "node-3", ""},
		{"a pod that is no agent, with a peer's address", as{authority, holderOf(12), nil}, 2, "node-3", "not that of the peer"},
		{"another pod of that node", as{authority, Holder{Pod: "pod-x", UID: "uid-x", Node: "node-2"}, nil}, 2, "node-3", "not that of the peer"},
		{"an earlier pod of that name", as{authority, Holder{Pod: "pod-2", UID: "uid-0", Node: "node-2"}, nil}, 2, "node-3", "not that of the peer"},
		{"a peer that claims another node", as{authority, holderOf(3), nil}, 2, "node-5", "not that of the peer"},
		{"a token on another node", as{authority, Holder{Pod: "pod-2", UID: "uid-2", Node: "node-6"}, nil}, 2, "node-5", "not that of the peer"},
		{"no token", tokens(func(context.Context, string) (string, error) { return "", nil }), 2, "node-3", "not accepted"},
		{"a token of one's own making", tokens(func(context.Context, string) (string, error) { return "x", nil }), 2, "node-3", "not accepted"},
		{"a token that was sent to another peer", tokens(replay), 2, "node-3", "not accepted"},
		{"about an address", as{authority, holderOf(2), nil}, 2, "192.0.2.1:80", "no such peer"},
		{"about a node that is no peer", as{authority, holderOf(2), nil}, 2, "node-99", "no such peer"},
		{"about the asked node", as{authority, holderOf(2), nil}, 2, "node-1", "about itself"},
		{"about the asking node", as{authority, holderOf(2), nil}, 2, "node-2", "about itself"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, other := serve(t, authority, 1), serve(t, authority, 4)
			// The same node's question to another peer, which keeps the token.
			sender := Client{Tokens: as{authority, holderOf(2), &stolen}, Local: loopback(2)}
			if _, err := sender.Ask(t.Context(), "node-4", other.at, "node-3", conclusion.New); err != nil {
				t.Fatal(err)
			}
			client := Client{Tokens: c.tokens, Local: loopback(c.from)}
			_, err := client.Ask(t.Context(), "node-1", n.at, c.about, conclusion.New)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if n.checks.Load() > 0 {
				t.Error("it has probed")
			}
			// Those of the mesh's account may be a peer's successor.
			if heard := n.strangers.Load() > 0; heard != (c.want == "not that of the peer") {
				t.Errorf("it hears of a stranger: %v", heard)
			}
		})
	}
}

type tokens func(context.Context, string) (string, error)

func (f tokens) Token(ctx context.Context, audience string) (string, error) { return f(ctx, audience) }

// Somebody in the middle, whom a node asks, gets a token that is of no use to
// him: he cannot ask in that node's name, although he has its address.
func TestInTheMiddle(t *testing.T) {
	authority := newAuthority()
	n := serve(t, authority, 1)
	certificate, err := newCertificate()
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", loopback(11).String()+":0", &tls.Config{Certificates: []tls.Certificate{certificate}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		var q question
		if json.NewDecoder(conn).Decode(&q) != nil {
			return
		}
		relay := Client{Local: loopback(2), Tokens: tokens(func(context.Context, string) (string, error) { return q.Token, nil })}
		state, err := relay.Ask(context.Background(), "node-1", n.at, q.About, q.Kind)
		a := answer{State: state}
		if err != nil {
			a.Refused = err.Error()
		}
		_ = json.NewEncoder(conn).Encode(a)
	}()
	c := Client{Tokens: as{authority, holderOf(2), nil}, Local: loopback(2)}
	_, err = c.Ask(t.Context(), "node-1", netip.MustParseAddrPort(l.Addr().String()), "node-3", conclusion.New)
	if err == nil || !strings.Contains(err.Error(), "not accepted") || n.checks.Load() != 0 {
		t.Errorf("%v, and %d checks", err, n.checks.Load())
	}
}

// A flood of one peer's connections leaves the others answered, and a token is
// reviewed once.
func TestFlood(t *testing.T) {
	authority := newAuthority()
	n := serve(t, authority, 1)
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(loopback(5), 0))}
	for range 200 {
		conn, err := dialer.Dial("tcp", n.at.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	token := ""
	once := tokens(func(ctx context.Context, audience string) (string, error) {
		if token == "" {
			token, _ = as{authority, holderOf(2), nil}.Token(ctx, audience)
		}
		return token, nil
	})
	c := Client{Tokens: once, Local: loopback(2)}
	begun := time.Now()
	for range limits.PerPeer {
		if state, err := c.Ask(t.Context(), "node-1", n.at, "node-3", conclusion.Kept); err != nil || state != picture.StateFailed {
			t.Fatalf("%s, %v", state, err)
		}
	}
	if authority.reviews != 1 {
		t.Errorf("%d reviews of one token", authority.reviews)
	}
	if _, err := c.Ask(t.Context(), "node-1", n.at, "node-3", conclusion.Kept); err == nil && time.Since(begun) < place {
		t.Errorf("more than %d questions in %v are answered", limits.PerPeer, place)
	}
}

// Many peers who ask many times at once cost one review each, until their tokens
// expire; a peer with ever new tokens gets few of them reviewed, and the other
// peers still get answers.
func TestReviews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		authority := newAuthority()
		s := &Server{Node: "node-1", Reviewer: authority, reviewed: map[netip.Addr]*review{}}
		peers, at := 50, time.Now()
		tokens := make([]string, peers)
		renew := func(i int) {
			authority.mu.Lock()
			defer authority.mu.Unlock()
			tokens[i] = fmt.Sprintf("token-%d", len(authority.tokens))
			authority.tokens[tokens[i]] = issued{Holder{Pod: fmt.Sprint(i), Until: at.Add(8 * time.Minute)}, ""}
		}
		ask := func(i int) error {
			holder, err := s.review(t.Context(), loopback(i), tokens[i])
			if err == nil && holder.Pod != fmt.Sprint(i) {
				t.Errorf("peer %d is taken for %q", i, holder.Pod)
			}
			return err
		}
		all := func(want int) {
			t.Helper()
			authority.reviews = 0
			var asking sync.WaitGroup
			for i := range peers {
				for range limits.PerPeer {
					asking.Go(func() {
						if err := ask(i); err != nil {
							t.Errorf("peer %d: %v", i, err)
						}
					})
				}
			}
			asking.Wait()
			if authority.reviews != want {
				t.Errorf("%v after the first question: %d reviews, want %d", time.Since(at), authority.reviews, want)
			}
		}
		for i := range peers {
			renew(i)
		}
		all(peers)
		time.Sleep(7 * time.Minute)
		all(0)
		time.Sleep(time.Minute)
		all(peers) // the authority has them reviewed again

		authority.reviews = 0
		for range 600 { // for a minute
			renew(0)
			_ = ask(0)
			time.Sleep(100 * time.Millisecond)
		}
		if authority.reviews > int(time.Minute/reviewAgain) {
			t.Errorf("%d reviews for one peer in a minute", authority.reviews)
		}
		time.Sleep(reviewAgain)
		renew(0)
		all(peers)
	})
}

// counted counts what goes over a connection.
type counted struct {
	net.Conn
	in, out *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.in.Add(int64(n))
	return n, err
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.out.Add(int64(n))
	return n, err
}

// Nobody gets twice what he sends: not in a whole exchange, and not with the
// smallest beginning of one.
func TestNoAmplification(t *testing.T) {
	authority := newAuthority()
	n := serve(t, authority, 1)
	for name, c := range map[string]*tls.Config{
		"a client of this program": {InsecureSkipVerify: true, MinVersion: tls.VersionTLS13},
		"a small hello":            {InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}},
		"an old version":           {InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CurvePreferences: []tls.CurveID{tls.X25519}},
	} {
		t.Run(name, func(t *testing.T) {
			dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(loopback(2), 0))}
			raw, err := dialer.Dial("tcp", n.at.String())
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			var in, out atomic.Int64
			conn := tls.Client(counted{raw, &in, &out}, c)
			if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			if err := conn.Handshake(); err == nil {
				if err := json.NewEncoder(conn).Encode(question{Token: "x", About: "node-3", Kind: conclusion.New}); err != nil {
					t.Fatal(err)
				}
				_, _ = io.ReadAll(conn)
			}
			t.Logf("%d bytes in, %d out", out.Load(), in.Load())
			if in.Load() > 2*out.Load() {
				t.Errorf("the server sends %d bytes for %d", in.Load(), out.Load())
			}
		})
	}
}
