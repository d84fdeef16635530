package nodewriter

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections exist in memory, where synctest's clock
// rules.
type pipes struct {
	conns chan net.Conn
	ended context.Context
	end   context.CancelFunc
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.ended.Done():
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error   { p.end(); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// Agents whose API server takes its time to accept a connection do not all have
// their first request answered in the same second; those whose server has time
// do not wait.
func TestFirstRequestsAreSpread(t *testing.T) {
	const agents = 100
	for name, accepting := range map[string]time.Duration{"a server with time": 0, "a server that is overrun": 4 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				seconds := map[int]int{}
				listener := pipes{conns: make(chan net.Conn)}
				listener.ended, listener.end = context.WithCancel(t.Context())
				begun := time.Now()
				server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					mu.Lock()
					defer mu.Unlock()
					if req.ProtoMajor != 2 {
						t.Errorf("asked by %s", req.Proto)
					}
					since := time.Since(begun)
					if since < accepting || since > accepting+min(accepting, firstWindow) {
						t.Errorf("asked after %s", since)
					}
					seconds[int(since/time.Second)]++
					fmt.Fprintln(w, `{"type":"ADDED","object":{"metadata":{"name":"n","uid":"u","resourceVersion":"1"}}}`)
				}))
				server.Listener.Close()
				server.Listener, server.EnableHTTP2 = listener, true
				server.Config.ErrorLog = log.New(io.Discard, "", 0)
				server.StartTLS()
				var wg sync.WaitGroup
				for range agents {
					way := &http.Transport{
						ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
						DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
							time.Sleep(accepting)
							here, there := net.Pipe()
							listener.conns <- there
							return here, nil
						},
					}
					c := &client{Conn: *model(way), node: "n"}
					wg.Go(func() {
						seen := 0
						if err := c.watch(t.Context(), time.Minute, func() {}, func(*node) { seen++ }); err != nil || seen != 1 {
							t.Errorf("%d events, %v", seen, err)
						}
						c.HTTP.CloseIdleConnections()
					})
				}
				wg.Wait()
				server.CloseClientConnections()
				server.Close()
				most := 2 * agents / len(seconds)
				for second, n := range seconds {
					if len(seconds) > 1 && n > most {
						t.Errorf("%d of %d in second %d: %v", n, agents, second, seconds)
					}
				}
				if accepting > 0 && len(seconds) < 3 {
					t.Errorf("all within %d seconds: %v", len(seconds), seconds)
				}
			})
		})
	}
}
