package kubeconn

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// transport sends requests with the current credentials. The agent sends a few an
// hour: reading some kilobytes for each is cheaper than watching files.
type transport struct {
	cfg Config
	// unanswered is set by a request that was abandoned before an answer came: its
	// connection may be dead, and the next request does not wait on it.
	unanswered atomic.Bool

	mu sync.Mutex
	// http was made with material.
	http     *http.Transport
	material tlsMaterial
	// lastToken is the last one that could be read.
	lastToken string
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	// Files that cannot be read now, or do not match each other, are being
	// replaced: the previous content may still be valid, and the server decides.
	if material, err := t.read(); err == nil {
		_ = t.renew(material)
	}
	token, err := t.token()
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	if t.cfg.UserAgent != "" {
		req.Header.Set("User-Agent", t.cfg.UserAgent)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	t.mu.Lock()
	h := t.http
	t.mu.Unlock()
	if t.unanswered.Swap(false) {
		h.CloseIdleConnections()
	}
	resp, err := h.RoundTrip(req)
	if err != nil && req.Context().Err() != nil {
		t.unanswered.Store(true)
	}
	return resp, err
}

// CloseIdleConnections is called by [http.Client.CloseIdleConnections].
func (t *transport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.http.CloseIdleConnections()
}

// token is the one in its file, or the last one read.
func (t *transport) token() (string, error) {
	text, err := t.cfg.Token.read()
	token := strings.TrimSpace(string(text))
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.cfg.Token.empty():
		return "", nil
	case err == nil && token != "":
		t.lastToken = token
	case t.lastToken != "":
	case err != nil:
		return "", fmt.Errorf("reading the token: %w", err)
	default:
		return "", fmt.Errorf("the token%s is empty", t.cfg.Token.where())
	}
	return t.lastToken, nil
}

// read the certificates and keys.
func (t *transport) read() (m tlsMaterial, err error) {
	if m.ca, err = t.cfg.CA.read(); err != nil {
		return m, fmt.Errorf("reading the certificate authority: %w", err)
	}
	if m.certificate, err = t.cfg.Certificate.read(); err != nil {
		return m, fmt.Errorf("reading the client certificate: %w", err)
	}
	if m.key, err = t.cfg.Key.read(); err != nil {
		return m, fmt.Errorf("reading the client certificate's key: %w", err)
	}
	return m, nil
}

// renew makes a transport with m, unless the present one has the same. A watch
// keeps its connection until it ends.
func (t *transport) renew(m tlsMaterial) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.http != nil && bytes.Equal(m.ca, t.material.ca) && bytes.Equal(m.certificate, t.material.certificate) && bytes.Equal(m.key, t.material.key) {
		return nil
	}
	config, err := t.cfg.tls(m)
	if err != nil {
		return err
	}
	proxy := http.ProxyFromEnvironment
	if t.cfg.Proxy != nil {
		proxy = http.ProxyURL(t.cfg.Proxy)
	}
	if t.http != nil {
		t.http.CloseIdleConnections()
	}
	t.http = &http.Transport{
		Proxy:               proxy,
		DialContext:         (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     90 * time.Second,
		// One connection for all requests and the watch. A watch has no traffic for
		// long times: pings detect a dead connection.
		ForceAttemptHTTP2: true,
		HTTP2:             &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	}
	t.material = m
	return nil
}
