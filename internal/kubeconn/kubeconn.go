// Package kubeconn connects the node's program to its cluster's API server: by
// the service account of its pod ([inCluster]), or by a kubeconfig file
// ([loadFile]).
//
// It is HTTP with TLS and credentials, and no more. client-go's rest and clientcmd
// do the same and much else, such as credential plugins, which nodes do not have:
// they would make the program 4 MB larger.
package kubeconn

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
)

// Config is an API server's address and our credentials. A file is read again for
// each request: a renewed token or certificate needs no restart of the program.
type Config struct {
	// Server is the API server's URL. Its path is the prefix of each request's.
	Server string
	// ServerName is the name in the server's certificate; "" means the host
	// of Server.
	ServerName string
	// Insecure trusts any certificate of the server.
	Insecure bool
	// CA are the trusted authorities, in PEM; empty means the system's.
	CA Material
	// Certificate and Key identify the client, in PEM. Both or neither.
	Certificate, Key Material
	// Token identifies the client, too.
	Token Material
	// Proxy is the URL of a proxy; nil means that of the environment
	// ([http.ProxyFromEnvironment]).
	Proxy *url.URL
	// UserAgent is this program's name for the server.
	UserAgent string
}

// Material is a certificate, a key or a token. The zero value is none.
type Material struct {
	// Data is the material itself.
	Data []byte
	// File holds it, if Data is empty.
	File string
}

func (m Material) empty() bool { return len(m.Data) == 0 && m.File == "" }

func (m Material) read() ([]byte, error) {
	if len(m.Data) > 0 || m.File == "" {
		return m.Data, nil
	}
	return os.ReadFile(m.File)
}

// Conn is a way to one API server.
type Conn struct {
	// HTTP sends requests with the credentials. It follows no redirects, which
	// would send the token elsewhere.
	HTTP *http.Client
	// Server is the API server's URL; requests go to paths below it.
	Server *url.URL
}

// Connect checks the configuration and reads its files. It sends nothing.
func Connect(cfg Config) (*Conn, error) {
	server, err := url.Parse(cfg.Server)
	if err != nil || server.Host == "" || server.Scheme != "https" && server.Scheme != "http" {
		return nil, fmt.Errorf("the API server's address %q: want https://HOST[:PORT]", cfg.Server)
	}
	if cfg.Insecure && !cfg.CA.empty() {
		return nil, errors.New("a certificate authority and insecure-skip-tls-verify are both set: want one of them")
	}
	t := &transport{cfg: cfg}
	material, err := t.read()
	if err == nil {
		err = t.renew(material)
	}
	if err == nil {
		_, err = t.token()
	}
	if err != nil {
		return nil, err
	}
	return &Conn{
		HTTP: &http.Client{
			Transport:     t,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Server: server,
	}, nil
}

// tlsMaterial is the content of the certificates and keys, as it was read.
type tlsMaterial struct{ ca, certificate, key []byte }

func (c *Config) tls(m tlsMaterial) (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName, InsecureSkipVerify: c.Insecure}
	if !c.CA.empty() {
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(m.ca) {
			return nil, fmt.Errorf("the certificate authority%s: no certificate in PEM", c.CA.where())
		}
	}
	if !c.Certificate.empty() || !c.Key.empty() {
		pair, err := tls.X509KeyPair(m.certificate, m.key)
		if err != nil {
			return nil, fmt.Errorf("the client certificate%s and its key%s: %w", c.Certificate.where(), c.Key.where(), err)
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}

// where names the file, for errors.
func (m Material) where() string {
	if len(m.Data) > 0 || m.File == "" {
		return ""
	}
	return " in " + m.File
}
