// Package node boots full guests that are real Kubernetes nodes: Debian with
// systemd, containerd, runc, CNI plugins and a kernel whose sctp is a module,
// run by QEMU in software emulation, with the kubelet (and kube-proxy) of the
// control plane's own version, joined to it through QEMU's user-mode network.
//
// Guests on a common [Link] reach each other's pods and node ports as the nodes
// of a cluster do, by routes.
package node

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sctp-agent/sctp-agent/test/child"
	"github.com/sctp-agent/sctp-agent/test/controlplane"
	"github.com/sctp-agent/sctp-agent/test/node/internal/guestapi"
)

// Config of a node.
type Config struct {
	// Name of the Node and of the host.
	Name string
	// ControlPlane to join; nil boots a guest without kubelet.
	ControlPlane *controlplane.ControlPlane
	// Link to the other nodes; nil for a node alone.
	Link *Link
	// KubeProxy runs kube-proxy in this mode; without it no Service works, nor
	// the in-cluster configuration of a pod.
	KubeProxy ProxyMode
	// Images are archives (OCI or docker save) that containerd has before
	// kubelet starts.
	Images []string
	// Files are there before anything of the guest's user space starts.
	Files []File
	// Labels that kubelet registers the Node with (--node-labels), and Taints
	// (--register-with-taints, "key=value:effect").
	Labels map[string]string
	Taints []string
	// Logf, when not nil, hears what takes time.
	Logf func(format string, args ...any)
}

// ProxyMode of kube-proxy; "" is none.
type ProxyMode string

// Modes of kube-proxy.
const (
	ProxyIPTables ProxyMode = "iptables"
	ProxyNFTables ProxyMode = "nftables"
)

// File of a guest.
type File struct {
	Path    string
	Content string
	// Mode 0 means 0644.
	Mode os.FileMode
}

// Node is a running guest.
type Node struct {
	cfg   Config
	addr  addresses
	dir   string
	port  int
	token string
	http  *http.Client

	qemu   *child.Process
	stderr bytes.Buffer // QEMU's; complete when it has ended
}

// Boot starts a guest and returns once its guestd answers; kubelet is then
// about to start ([Node.WaitReady]). The first call on a machine builds the
// image and the Kubernetes programs, which takes minutes.
func Boot(ctx context.Context, cfg Config) (*Node, error) {
	if cfg.Logf == nil {
		cfg.Logf = func(string, ...any) {}
	}
	img, err := BuildImage(ctx)
	if err != nil {
		return nil, fmt.Errorf("booting node %s: %w", cfg.Name, err)
	}
	n := &Node{cfg: cfg}
	if n.addr, err = cfg.Link.join(); err != nil {
		return nil, fmt.Errorf("booting node %s: %w", cfg.Name, err)
	}
	if n.dir, err = os.MkdirTemp("", "node-"+cfg.Name+"-"); err != nil {
		return nil, fmt.Errorf("booting node %s: %w", cfg.Name, err)
	}
	if err := n.boot(ctx, img); err != nil {
		console := n.Console()
		n.Close()
		return nil, fmt.Errorf("booting node %s: %w\n%s", cfg.Name, err, tail(console))
	}
	return n, nil
}

func (n *Node) boot(ctx context.Context, img Image) error {
	tools, err := toolsDisk(ctx, n.cfg.ControlPlane != nil)
	if err != nil {
		return err
	}
	n.token = rand.Text()
	seed := filepath.Join(n.dir, "seed.tar")
	if err := n.writeSeed(ctx, seed); err != nil {
		return err
	}
	start := time.Now()
	// The port is picked, then bound by QEMU: somebody else may be faster.
	for attempt := 0; ; attempt++ {
		ports, err := controlplane.FreePorts(1)
		if err != nil {
			return err
		}
		n.port = ports[0]
		if err := n.startQEMU(img, tools, seed); err != nil {
			return err
		}
		n.newClient()
		_, err = n.waitBoot(ctx, "")
		if err == nil {
			break
		}
		if attempt == 2 || !strings.Contains(err.Error(), "Could not set up host forwarding rule") {
			return err
		}
	}
	n.cfg.Logf("node %s: booted in %.1f s", n.cfg.Name, time.Since(start).Seconds())
	return nil
}

func (n *Node) startQEMU(img Image, tools, seed string) error {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return err
	}
	cmdline := []string{
		"root=/dev/vda", "rw", "console=ttyS0", "quiet", "panic=10", "net.ifnames=0",
		"systemd.show_status=0", "systemd.hostname=" + n.cfg.Name, "systemd.machine_id=" + hex.EncodeToString(id),
		// Mitigations cost much under emulation and protect nobody there.
		"mitigations=off", "audit=0",
	}
	args := []string{
		"-M", "q35", "-cpu", "max", "-accel", "tcg,thread=multi", "-smp", "2", "-m", "2048",
		"-display", "none", "-nodefaults", "-serial", "file:" + n.consolePath(),
		"-kernel", img.Kernel, "-initrd", img.Initrd, "-append", strings.Join(cmdline, " "),
		"-drive", "file=" + img.Root + ",if=virtio,format=raw,snapshot=on,cache=unsafe",
		"-drive", "file=" + tools + ",if=virtio,format=raw,readonly=on",
		"-drive", "file=" + seed + ",if=virtio,format=raw,readonly=on",
		"-device", "virtio-rng-pci",
		"-netdev", fmt.Sprintf("user,id=host,ipv6=off,hostfwd=tcp:127.0.0.1:%d-10.0.2.15:%d", n.port, guestapi.Port),
		"-device", "virtio-net-pci,romfile=,netdev=host,mac=52:54:00:00:02:" + n.addr.macSuffix(),
	}
	if n.cfg.Link != nil {
		args = append(args,
			"-netdev", "stream,id=link,server=off,addr.type=unix,addr.path="+n.cfg.Link.path,
			"-device", "virtio-net-pci,romfile=,netdev=link,mac=52:54:00:00:77:"+n.addr.macSuffix())
	}
	qemu := exec.Command("qemu-system-x86_64", args...)
	// Where QEMU keeps what the guest writes (snapshot=on).
	qemu.Env = append(os.Environ(), "TMPDIR="+n.dir)
	n.stderr.Reset()
	qemu.Stderr = &n.stderr
	var err error
	if n.qemu, err = child.Start(qemu); err != nil {
		n.qemu = nil
		return fmt.Errorf("starting QEMU: %w", err)
	}
	return nil
}

// ended is how QEMU has.
func (n *Node) ended() error {
	return fmt.Errorf("QEMU ended: %v: %s", n.qemu.Err, bytes.TrimSpace(n.stderr.Bytes()))
}

func (n *Node) consolePath() string { return filepath.Join(n.dir, "console.log") }

// Console is what the guest has written to its serial console.
func (n *Node) Console() string {
	b, err := os.ReadFile(n.consolePath())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func tail(s string) string {
	if len(s) > 3000 {
		s = s[len(s)-3000:]
	}
	return s
}

// Name of the Node.
func (n *Node) Name() string { return n.cfg.Name }

// Addresses of the node that other nodes and kubelet use: IPv4, and IPv6 if
// there is a link.
func (n *Node) Addresses() []string { return n.addr.node() }

// Number of the node on its link ([Frame.From]).
func (n *Node) Number() int { return n.addr.index }

// PodCIDRs are the ranges that the node's pods have their addresses from.
func (n *Node) PodCIDRs() []string { return n.addr.pods() }

// Close ends the guest at once, and removes what it wrote.
func (n *Node) Close() {
	if n.http != nil {
		n.http.CloseIdleConnections()
	}
	if n.qemu != nil {
		_ = n.qemu.Cmd.Process.Kill()
		<-n.qemu.Done
	}
	_ = os.RemoveAll(n.dir)
}

func (n *Node) newClient() {
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(n.port))
	n.http = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}}
}

func (n *Node) request(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://guest"+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set(guestapi.TokenHeader, n.token)
	resp, err := n.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		msg, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return nil, fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(msg))
	}
	return resp, nil
}

// bootID names the guest's current boot.
func (n *Node) bootID(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	resp, err := n.request(ctx, http.MethodGet, "/boot", nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var b guestapi.Boot
	if err := json.NewDecoder(resp.Body).Decode(&b); err != nil {
		return "", err
	}
	return b.ID, nil
}

// waitBoot waits for guestd to answer from another boot than old.
func (n *Node) waitBoot(ctx context.Context, old string) (string, error) {
	for {
		id, err := n.bootID(ctx)
		if err == nil && id != old {
			return id, nil
		}
		select {
		case <-n.qemu.Done:
			return "", n.ended()
		case <-ctx.Done():
			return "", fmt.Errorf("waiting for the guest to answer: %w (last: %v)", context.Cause(ctx), err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Reboot restarts the guest by systemd, in good order, and returns when it
// answers again. The same QEMU keeps its disk.
func (n *Node) Reboot(ctx context.Context) error {
	start := time.Now()
	old, err := n.waitBoot(ctx, "") // a guest under load may not answer at the first try
	if err != nil {
		return fmt.Errorf("rebooting node %s: %w", n.cfg.Name, err)
	}
	if _, err := n.Run(ctx, "systemctl", "--no-block", "reboot"); err != nil {
		return fmt.Errorf("rebooting node %s: %w", n.cfg.Name, err)
	}
	if _, err := n.waitBoot(ctx, old); err != nil {
		return fmt.Errorf("rebooting node %s: %w\n%s", n.cfg.Name, err, tail(n.Console()))
	}
	n.cfg.Logf("node %s: rebooted in %.1f s", n.cfg.Name, time.Since(start).Seconds())
	return nil
}

// ExitError says that a program in the guest failed.
type ExitError struct {
	Argv   []string
	Code   int
	Stdout string
	Stderr string
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("%s: exit code %d: %s%s", strings.Join(e.Argv, " "), e.Code, tail(e.Stdout), tail(e.Stderr))
}

// Run runs a program in the guest, as root, and returns what it printed on
// standard output. An exit code other than 0 is an [*ExitError]. The program
// is killed when ctx ends.
func (n *Node) Run(ctx context.Context, argv ...string) (string, error) {
	return n.RunInput(ctx, nil, argv...)
}

// RunInput is Run with a standard input.
func (n *Node) RunInput(ctx context.Context, stdin []byte, argv ...string) (string, error) {
	body, err := json.Marshal(guestapi.Command{Argv: argv, Stdin: stdin})
	if err != nil {
		return "", err
	}
	resp, err := n.request(ctx, http.MethodPost, "/exec", bytes.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("running %q on node %s: %w", argv, n.cfg.Name, err)
	}
	defer resp.Body.Close()
	var res guestapi.Result
	if err := json.NewDecoder(resp.Body).Decode(&res); err != nil {
		return "", fmt.Errorf("running %q on node %s: %w", argv, n.cfg.Name, err)
	}
	if res.ExitCode != 0 {
		return string(res.Stdout), &ExitError{Argv: argv, Code: res.ExitCode, Stdout: string(res.Stdout), Stderr: string(res.Stderr)}
	}
	return string(res.Stdout), nil
}

// Shell runs a script by sh -eu.
func (n *Node) Shell(ctx context.Context, script string) (string, error) {
	return n.Run(ctx, "sh", "-euc", script)
}

// WriteFile writes a file in the guest, in one step.
func (n *Node) WriteFile(ctx context.Context, f File) error {
	return n.upload(ctx, f.Path, f.mode(), strings.NewReader(f.Content))
}

func (n *Node) upload(ctx context.Context, path string, mode os.FileMode, r io.Reader) error {
	q := url.Values{"path": {path}, "mode": {strconv.FormatUint(uint64(mode), 8)}}
	resp, err := n.request(ctx, http.MethodPut, "/file?"+q.Encode(), r)
	if err != nil {
		return fmt.Errorf("writing %s on node %s: %w", path, n.cfg.Name, err)
	}
	return resp.Body.Close()
}

// Upload copies a file of this machine into the guest.
func (n *Node) Upload(ctx context.Context, local, path string, mode os.FileMode) error {
	f, err := os.Open(local)
	if err != nil {
		return err
	}
	defer f.Close()
	return n.upload(ctx, path, mode, f)
}

// Dial opens a TCP connection from within the guest.
func (n *Node) Dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(n.port)))
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	r := bufio.NewReader(conn)
	if _, err = fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s: %s\r\n\r\n", address, address, guestapi.TokenHeader, n.token); err == nil {
		var resp *http.Response
		if resp, err = http.ReadResponse(r, &http.Request{Method: http.MethodConnect}); err == nil && resp.StatusCode != http.StatusOK {
			msg, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
			err = errors.New(string(bytes.TrimSpace(msg)))
		}
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("dialling %s from node %s: %w", address, n.cfg.Name, err)
	}
	return &bufferedConn{Conn: conn, r: r}, nil
}

// bufferedConn gives back first what came with the answer to CONNECT.
type bufferedConn struct {
	net.Conn
	r *bufio.Reader
}

func (c *bufferedConn) Read(b []byte) (int, error) { return c.r.Read(b) }

func (c *bufferedConn) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

// WaitReady waits until the Node is Ready at the API server, as its kubelet of
// the current boot says.
func (n *Node) WaitReady(ctx context.Context) error {
	start := time.Now()
	cfg, err := n.cfg.ControlPlane.ClientConfig("system:node:"+n.cfg.Name, "system:nodes")
	if err != nil {
		return err
	}
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	for {
		boot, last := n.bootID(ctx)
		if last == nil {
			last = n.readyOnce(ctx, client, cfg.Host, boot)
		}
		if last == nil {
			n.cfg.Logf("node %s: Ready after %.1f s more", n.cfg.Name, time.Since(start).Seconds())
			return nil
		}
		select {
		case <-n.qemu.Done:
			return n.ended()
		case <-ctx.Done():
			diag, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
			defer cancel()
			log, _ := n.Shell(diag, "systemctl --no-pager status kubelet containerd guest-images | cat; journalctl --no-pager -n 30 -u kubelet")
			return fmt.Errorf("waiting for node %s to be Ready: %w (last: %v)\n%s", n.cfg.Name, context.Cause(ctx), last, tail(log))
		case <-time.After(300 * time.Millisecond):
		}
	}
}

func (n *Node) readyOnce(ctx context.Context, client *http.Client, host, boot string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, host+"/api/v1/nodes/"+n.cfg.Name, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var obj struct {
		Message string
		Status  struct {
			NodeInfo   struct{ BootID string }
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&obj); err != nil {
		return err
	}
	if got := obj.Status.NodeInfo.BootID; resp.StatusCode == http.StatusOK && got != boot {
		return fmt.Errorf("kubelet speaks of boot %q, the guest is in %s", got, boot)
	}
	for _, c := range obj.Status.Conditions {
		if c.Type == "Ready" {
			if c.Status == "True" {
				return nil
			}
			return errors.New(c.Message)
		}
	}
	return fmt.Errorf("%s %s", resp.Status, obj.Message)
}

// addresses of a node, all from its number on the link.
type addresses struct {
	index  int
	linked bool
}

func (a addresses) macSuffix() string { return fmt.Sprintf("%02x", a.index+1) }

func (a addresses) node() []string {
	if !a.linked {
		return []string{"10.0.2.15"}
	}
	return []string{fmt.Sprintf("10.77.0.%d", a.index+1), fmt.Sprintf("fd00:77::%d", a.index+1)}
}

func (a addresses) pods() []string {
	if !a.linked {
		return []string{"10.244.0.0/24"}
	}
	return []string{fmt.Sprintf("10.244.%d.0/24", a.index), fmt.Sprintf("fd00:244:%d::/64", a.index)}
}

// maxNodes on one link.
const maxNodes = 8

// network is the script that sets up the guest's interfaces: eth0 leads to the
// host, eth1 to the other nodes, whose pods are a route away.
func (a addresses) network() string {
	var b strings.Builder
	b.WriteString(`modprobe -a virtio_net overlay br_netfilter
sysctl -q -w net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1
ip link set lo up
ip address add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2
# Pods keep their addresses among themselves; only towards the host they take
# the node's.
iptables -w -t nat -A POSTROUTING -s 10.244.0.0/16 -o eth0 -j MASQUERADE
`)
	if !a.linked {
		return b.String()
	}
	fmt.Fprintf(&b, `ip address add %s/24 dev eth1
ip -6 address add %s/64 dev eth1 nodad
ip link set eth1 up
`, a.node()[0], a.node()[1])
	for i := range maxNodes {
		if i == a.index {
			continue
		}
		o := addresses{index: i, linked: true}
		fmt.Fprintf(&b, "ip route add %s via %s\nip -6 route add %s via %s\n", o.pods()[0], o.node()[0], o.pods()[1], o.node()[1])
	}
	return b.String()
}

func (f File) mode() os.FileMode { return cmp.Or(f.Mode, 0o644) }
