package node

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sctp-agent/sctp-agent/test/controlplane"
)

// Tunnel makes a cluster whole whose API server runs on this machine and whose
// nodes are guests: it leads the API server to the kubelets, for logs and exec,
// as an egress proxy does in clusters whose control plane lives elsewhere
// (apiserver.k8s.io/v1beta1 EgressSelectorConfiguration), and it makes the
// "kubernetes" Service point to where pods find the API server.
type Tunnel struct {
	dir string
	l   net.Listener

	mu    sync.Mutex
	nodes []*Node
}

// NewTunnel makes a tunnel that knows no nodes yet. The API server must be
// started with [Tunnel.APIServerArgs].
func NewTunnel() (*Tunnel, error) {
	dir, err := os.MkdirTemp("", "tunnel-")
	if err != nil {
		return nil, fmt.Errorf("making a tunnel: %w", err)
	}
	t := &Tunnel{dir: dir}
	if err := os.WriteFile(t.config(), []byte(`apiVersion: apiserver.k8s.io/v1beta1
kind: EgressSelectorConfiguration
egressSelections:
- name: cluster
  connection:
    proxyProtocol: HTTPConnect
    transport: {uds: {udsName: `+t.socket()+`}}
`), 0o600); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("making a tunnel: %w", err)
	}
	if t.l, err = net.Listen("unix", t.socket()); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("making a tunnel: %w", err)
	}
	go t.serve()
	return t, nil
}

func (t *Tunnel) config() string { return filepath.Join(t.dir, "egress.yaml") }
func (t *Tunnel) socket() string { return filepath.Join(t.dir, "socket") }

// APIServerArgs go into [controlplane.Options].
func (t *Tunnel) APIServerArgs() []string {
	return []string{
		"--egress-selector-config-file=" + t.config(),
		"--advertise-address=" + controlplane.GuestHost, "--endpoint-reconciler-type=lease",
	}
}

// Add tells the tunnel of a node.
func (t *Tunnel) Add(n *Node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nodes = append(t.nodes, n)
}

// Close ends the tunnel; connections that are open stay so.
func (t *Tunnel) Close() {
	t.l.Close()
	os.RemoveAll(t.dir)
}

// node of the name (which the API server prefers), with the address, or with
// the range that a pod's address is from.
func (t *Tunnel) node(host string) (*Node, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.nodes {
		// The guest knows its own name (/etc/hosts).
		if n.Name() == host {
			return n, nil
		}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return nil, fmt.Errorf("no node is called %s", host)
	}
	for _, n := range t.nodes {
		for _, a := range n.Addresses() {
			if netip.MustParseAddr(a) == addr {
				return n, nil
			}
		}
		for _, p := range n.PodCIDRs() {
			if netip.MustParsePrefix(p).Contains(addr) {
				return n, nil
			}
		}
	}
	return nil, fmt.Errorf("no node has the address %s", host)
}

func (t *Tunnel) serve() {
	for {
		c, err := t.l.Accept()
		if err != nil {
			return
		}
		go t.connect(c)
	}
}

func (t *Tunnel) connect(in net.Conn) {
	defer in.Close()
	r := bufio.NewReader(in)
	req, err := http.ReadRequest(r)
	if err != nil || req.Method != http.MethodConnect {
		return
	}
	out, err := t.dial(req.RequestURI)
	if err != nil {
		fmt.Fprintf(in, "HTTP/1.1 502 Bad Gateway\r\n\r\n%v", err)
		return
	}
	defer out.Close()
	if _, err := io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	done := make(chan struct{}, 2)
	go func() { _, _ = io.Copy(out, r); done <- struct{}{} }()
	go func() { _, _ = io.Copy(in, out); done <- struct{}{} }()
	<-done
}

// dial by the request's target; the Host header of the API server's egress
// dialer is a constant.
func (t *Tunnel) dial(target string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		return nil, err
	}
	n, err := t.node(host)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return n.Dial(ctx, target)
}
