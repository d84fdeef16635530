package kubeconn

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a network of connections in memory, in virtual time.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
	end      sync.Once

	mu   sync.Mutex
	last *silent
	n    int
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepted:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.end.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 6443} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	c := &silent{Conn: client, peer: server}
	p.mu.Lock()
	p.last, p.n = c, p.n+1
	p.mu.Unlock()
	p.accepted <- server
	return c, nil
}

// silent is a connection that can die as when a host or a NAT's entry disappears:
// what is sent is lost, nothing arrives, and there is no error.
type silent struct {
	net.Conn
	peer net.Conn
	dead atomic.Bool
}

func (s *silent) Write(b []byte) (int, error) {
	if s.dead.Load() {
		return len(b), nil
	}
	return s.Conn.Write(b)
}

// Read reads what has come; what comes after the death is lost.
func (s *silent) Read(b []byte) (int, error) {
	for {
		n, err := s.Conn.Read(b)
		if err != nil || !s.dead.Load() {
			return n, err
		}
	}
}

func (s *silent) Close() error {
	s.peer.Close()
	return s.Conn.Close()
}

// A connection that dies without a packet is found dead by its pings, within 45
// seconds: a watch on it ends, and the next request uses another one.
func TestConnectionDiesSilently(t *testing.T) {
	dir := t.TempDir()
	a := newAuthority(t, "a")
	cert, key := a.issue(t, "kubernetes")
	write(t, dir, map[string][]byte{"ca": a.pem()})
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		network := &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})}
		server := &http.Server{
			TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}},
			Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if req.URL.Path == "/watch" {
					_ = http.NewResponseController(w).Flush()
					<-req.Context().Done()
				}
			}),
		}
		go func() { _ = server.ServeTLS(network, "", "") }()
		defer server.Close()
		conn, err := Connect(Config{Server: "https://127.0.0.1:6443", CA: Material{File: filepath.Join(dir, "ca")}})
		if err != nil {
			t.Fatal(err)
		}
		h := conn.HTTP.Transport.(*transport).http
		h.DialContext = network.dial
		defer conn.HTTP.CloseIdleConnections()
		ask := func(path string, within time.Duration) (*http.Response, error) {
			ctx, cancel := context.WithTimeout(t.Context(), within)
			t.Cleanup(cancel)
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, conn.Server.String()+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			return conn.HTTP.Do(req)
		}
		watch, err := ask("/watch", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute) // at rest, and alive
		network.last.dead.Store(true)
		start := time.Now()
		if _, err := io.ReadAll(watch.Body); err == nil || time.Since(start) > time.Minute {
			t.Errorf("the watch ended after %s: %v", time.Since(start), err)
		}
		if _, err := ask("/", 10*time.Second); err != nil || network.n != 2 {
			t.Errorf("a request afterwards: %v, over connection %d", err, network.n)
		}

		// It dies before a watch is answered: the next one does not wait on it.
		network.last.dead.Store(true)
		if _, err := ask("/watch", 30*time.Second); err == nil {
			t.Error("a watch was answered over a dead connection")
		}
		time.Sleep(time.Second) // as every caller pauses before it tries again
		if _, err := ask("/watch", 30*time.Second); err != nil || network.n != 3 {
			t.Errorf("a watch after one without an answer: %v, over connection %d", err, network.n)
		}
	})
}
