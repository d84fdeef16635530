package kubeconn

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert, key}
}

func (a authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// issue a certificate, for a server at 127.0.0.1 and for a client.
func (a authority) issue(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &k.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// serve answers with what it sees of each request: "PROTOCOL TOKEN CLIENT AGENT".
func serve(t *testing.T, a authority, clients *x509.CertPool) *httptest.Server {
	t.Helper()
	cert, key := a.issue(t, "kubernetes")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/elsewhere" {
			http.Redirect(w, req, "/", http.StatusFound)
			return
		}
		client := "-"
		if len(req.TLS.PeerCertificates) > 0 {
			client = req.TLS.PeerCertificates[0].Subject.CommonName
		}
		fmt.Fprintf(w, "%s %q %s %s", req.Proto, req.Header.Get("Authorization"), client, req.UserAgent())
	}))
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: clients}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func get(t *testing.T, c *Conn, path string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.Server.JoinPath(path).String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return resp.Status, err
	}
	return string(b), err
}

func write(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A token, a certificate and an authority are renewed in their files, in any
// order, while the program runs; each request goes out with those of the moment.
func TestRenewed(t *testing.T) {
	first, second := newAuthority(t, "first"), newAuthority(t, "second")
	clients := x509.NewCertPool()
	clients.AddCert(first.cert)
	s := serve(t, first, clients)
	dir := t.TempDir()
	cert, key := first.issue(t, "node-1")
	write(t, dir, map[string][]byte{"ca": first.pem(), "cert": cert, "key": key, "token": []byte("one\n")})
	file := func(name string) Material { return Material{File: filepath.Join(dir, name)} }
	c, err := Connect(Config{Server: s.URL, CA: file("ca"), Certificate: file("cert"), Key: file("key"), Token: file("token"), UserAgent: "sctp-agent/v1"})
	if err != nil {
		t.Fatal(err)
	}
	expect := func(what, want string) {
		t.Helper()
		if got, err := get(t, c, "/"); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", what, got, err, want)
		}
	}
	expect("at first", `HTTP/2.0 "Bearer one" node-1 sctp-agent/v1`)

	write(t, dir, map[string][]byte{"token": []byte("two")})
	expect("another token", `HTTP/2.0 "Bearer two" node-1 sctp-agent/v1`)
	write(t, dir, map[string][]byte{"token": nil})
	expect("a token that is being written", `HTTP/2.0 "Bearer two" node-1 sctp-agent/v1`)
	if err := os.Remove(filepath.Join(dir, "token")); err != nil {
		t.Fatal(err)
	}
	expect("a token that is gone", `HTTP/2.0 "Bearer two" node-1 sctp-agent/v1`)

	cert, key = first.issue(t, "node-1-renewed")
	write(t, dir, map[string][]byte{"cert": cert})
	expect("a certificate whose key is not there yet", `HTTP/2.0 "Bearer two" node-1 sctp-agent/v1`)
	write(t, dir, map[string][]byte{"key": key})
	expect("another certificate", `HTTP/2.0 "Bearer two" node-1-renewed sctp-agent/v1`)

	// The server gets a certificate of another authority, and both are
	// trusted for a while.
	s.CloseClientConnections()
	other := serve(t, second, clients)
	c.Server.Host = other.Listener.Addr().String()
	_, err = get(t, c, "/")
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); !unknown {
		t.Errorf("a server of an authority that is not trusted: %v", err)
	}
	write(t, dir, map[string][]byte{"ca": append(first.pem(), second.pem()...)})
	expect("another authority", `HTTP/2.0 "Bearer two" node-1-renewed sctp-agent/v1`)
}

// A watch that runs stays on its connection when the credentials change.
func TestWatchOutlivesRenewal(t *testing.T) {
	a := newAuthority(t, "a")
	cert, key := a.issue(t, "kubernetes")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	more := make(chan string)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/watch" {
			return
		}
		for line := range more {
			fmt.Fprintln(w, line)
			w.(http.Flusher).Flush()
		}
	}))
	s.EnableHTTP2, s.TLS = true, &tls.Config{Certificates: []tls.Certificate{pair}}
	s.StartTLS()
	defer s.Close()
	dir := t.TempDir()
	write(t, dir, map[string][]byte{"ca": a.pem()})
	c, err := Connect(Config{Server: s.URL, CA: Material{File: filepath.Join(dir, "ca")}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() { more <- "one" }()
	resp, err := c.HTTP.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	write(t, dir, map[string][]byte{"ca": append(a.pem(), newAuthority(t, "b").pem()...)})
	if _, err := get(t, c, "/"); err != nil {
		t.Fatal(err)
	}
	more <- "two"
	close(more)
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "one\ntwo\n" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestConnect(t *testing.T) {
	a := newAuthority(t, "a")
	s := serve(t, a, nil)
	ca := Material{Data: a.pem()}

	// A name instead of the address: API servers behind a load balancer.
	for name, ok := range map[string]bool{"": true, "kubernetes": true, "other": false} {
		c, err := Connect(Config{Server: s.URL, ServerName: name, CA: ca})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := get(t, c, "/"); (err == nil) != ok {
			t.Errorf("server name %q: %v", name, err)
		}
	}
	for insecure, ok := range map[bool]bool{true: true, false: false} {
		c, err := Connect(Config{Server: s.URL, Insecure: insecure, Token: Material{Data: []byte("t")}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := get(t, c, "/"); (err == nil) != ok {
			t.Errorf("insecure %v: %v", insecure, err)
		}
		if ok {
			// A redirect would send the token to its target.
			if got, _ := get(t, c, "/elsewhere"); got != "302 Found" {
				t.Errorf("a redirect: %s", got)
			}
		}
	}
	cert, key := a.issue(t, "n")
	_, otherKey := a.issue(t, "n")
	for _, tt := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"no scheme", Config{Server: "10.0.0.1:6443"}, "want https://"},
		{"no server", Config{}, "want https://"},
		{"an authority, and no trust", Config{Server: s.URL, CA: ca, Insecure: true}, "want one of them"},
		{"an authority that is none", Config{Server: s.URL, CA: Material{Data: []byte("x")}}, "no certificate in PEM"},
		{"an authority that is not there", Config{Server: s.URL, CA: Material{File: "/no/ca.crt"}}, "/no/ca.crt"},
		{"a token that is not there", Config{Server: s.URL, CA: ca, Token: Material{File: "/no/token"}}, "/no/token"},
		{"a certificate without a key", Config{Server: s.URL, CA: ca, Certificate: Material{Data: cert}}, "client certificate"},
		{"another certificate's key", Config{Server: s.URL, CA: ca, Certificate: Material{Data: cert}, Key: Material{Data: otherKey}}, "private key does not match"},
		{"a key that is not there", Config{Server: s.URL, CA: ca, Certificate: Material{Data: cert}, Key: Material{File: "/no/key"}}, "/no/key"},
	} {
		if _, err := Connect(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if _, err := Connect(Config{Server: s.URL, CA: ca, Certificate: Material{Data: cert}, Key: Material{Data: key}}); err != nil {
		t.Error(err)
	}
}
