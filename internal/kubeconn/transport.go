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

// transport sends requests with the credentials as they are now. The agent sends
// a few an hour: reading some kilobytes for each is less than to watch files.
type transport struct {
	cfg Config
	// unanswered is set by a request that was given up before an answer came:
	// its connection may be dead, and the next request does not wait on it.
	unanswered atomic.Bool

	mu sync.Mutex
	// http is made of material.
	http     *http.Transport
	material tlsMaterial
	// lastToken is the last one that could be read.
	lastToken string
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	// What cannot be read just now, or does not fit together, is being
	// replaced: what was good a moment ago may still be, and the server
	// judges it.
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

// CloseIdleConnections serves [http.Client.CloseIdleConnections].
func (t *transport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.http.CloseIdleConnections()
}

// token as its file has it now, or had it last.
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

// read what TLS is made of.
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

// renew makes new connections of m, unless those there are have been made of the
// same. A watch stays where it is until it ends.
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
		// One connection for all requests and the watch. A watch says nothing
		// for long: pings find out that its connection is dead.
		ForceAttemptHTTP2: true,
		HTTP2:             &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	}
	t.material = m
	return nil
}
