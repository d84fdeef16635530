package apiserver

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// proxy stands between an agent and the API server, and makes trouble.
type proxy struct {
	*httptest.Server
	requests atomic.Int64
	mu       sync.Mutex
	// trouble, if set, may answer a request itself: it returns true then.
	trouble func(http.ResponseWriter, *http.Request) bool
	// cut ends every watch after this time; 0 for never.
	cut time.Duration
}

func newProxy(t *testing.T, c *cluster) *proxy {
	t.Helper()
	target, err := url.Parse(c.URL())
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{}
	rp := httputil.NewSingleHostReverseProxy(target)
	rp.FlushInterval = -1
	rp.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	tr, err := rest.TransportFor(&rest.Config{Host: c.URL(), TLSClientConfig: rest.TLSClientConfig{CAData: c.CA()}})
	if err != nil {
		t.Fatal(err)
	}
	rp.Transport = tr
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.requests.Add(1)
		p.mu.Lock()
		trouble, cut := p.trouble, p.cut
		p.mu.Unlock()
		if trouble != nil && trouble(w, r) {
			return
		}
		if cut > 0 && r.URL.Query().Get("watch") == "true" {
			// In the middle of whatever is being sent, as a lost connection.
			defer time.AfterFunc(cut, p.CloseClientConnections).Stop()
		}
		defer func() {
			// A watch whose backend went away: ReverseProxy panics with
			// ErrAbortHandler, which is what a client sees as a cut.
			if err := recover(); err != nil {
				panic(http.ErrAbortHandler)
			}
		}()
		rp.ServeHTTP(w, r)
	}))
	p.Config.ErrorLog = nil
	p.EnableHTTP2 = true
	p.StartTLS()
	t.Cleanup(func() { p.CloseClientConnections(); p.Close() })
	return p
}

func (p *proxy) makeTrouble(f func(http.ResponseWriter, *http.Request) bool) {
	p.mu.Lock()
	p.trouble = f
	p.mu.Unlock()
}

// through is cfg, by way of the proxy.
func (p *proxy) through(cfg *rest.Config) *rest.Config {
	cfg = rest.CopyConfig(cfg)
	cfg.Host = p.URL
	cert := p.Certificate()
	if cert == nil {
		cert = new(x509.Certificate)
	}
	cfg.TLSClientConfig = rest.TLSClientConfig{CAData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), ServerName: "example.com"}
	return cfg
}
