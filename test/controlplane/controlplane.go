// Package controlplane runs a real Kubernetes control plane on this machine's
// loopback, without containers: etcd and kube-apiserver, and on demand
// kube-controller-manager and kube-scheduler, built from their Go modules (see
// [Build]). Nodes, kubelets and agents reach it with real credentials under the
// Node and RBAC authorizers, from this machine or from QEMU guests (user-mode
// networking puts the host's loopback at 10.0.2.2).
//
// Every process can be killed, paused and started again, to see what the
// product does about it, and none of them survives the process that started it.
package controlplane

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sctp-agent/sctp-agent/internal/kubeconn"
)

// GuestHost is the address at which a QEMU guest on user-mode networking finds
// the API server; it is in the serving certificate.
const GuestHost = "10.0.2.2"

// Options of a control plane. The zero value is a good one.
type Options struct {
	// Progress hears about builds; see [Build].
	Progress func(Progress)
	// AuditPolicy, when not empty, is an audit policy (audit.k8s.io/v1, YAML);
	// the events go to [ControlPlane.AuditLog]. See [AuditMetadata].
	AuditPolicy string
	// APIServerArgs, EtcdArgs and ControllerManagerArgs are added to the
	// command lines.
	APIServerArgs, EtcdArgs, ControllerManagerArgs []string
}

// AuditMetadata is an audit policy that logs one line per finished request,
// without bodies.
const AuditMetadata = `{"apiVersion":"audit.k8s.io/v1","kind":"Policy","omitStages":["RequestReceived","ResponseStarted"],"rules":[{"level":"Metadata"}]}`

// ControlPlane is a running control plane.
type ControlPlane struct {
	dir      string
	opts     Options
	ca       *authority
	saKey    *ecdsa.PrivateKey
	port     int // of the API server; kept over restarts
	etcdPort int

	admin *rest.Config

	mu    sync.Mutex
	procs map[Component]*process
}

// Start builds what is missing, starts etcd and kube-apiserver, and waits until
// the API server says it is ready (some three seconds).
func Start(ctx context.Context, opts Options) (*ControlPlane, error) {
	_, err := Build(ctx, opts.Progress, Etcd, APIServer)
	if err != nil {
		return nil, err
	}
	cp := &ControlPlane{opts: opts, procs: map[Component]*process{}}
	if cp.dir, err = os.MkdirTemp("", "controlplane-"); err != nil {
		return nil, fmt.Errorf("starting the control plane: %w", err)
	}
	if err := cp.start(ctx); err != nil {
		cp.Stop()
		return nil, fmt.Errorf("starting the control plane: %w", err)
	}
	return cp, nil
}

func (cp *ControlPlane) start(ctx context.Context) error {
	if err := cp.writePKI(); err != nil {
		return err
	}
	// Ports are picked, then bound by the child: somebody else may be faster.
	for attempt := 0; ; attempt++ {
		ports, err := FreePorts(2)
		if err != nil {
			return err
		}
		cp.port, cp.etcdPort = ports[0], ports[1]
		err = cp.StartComponent(ctx, Etcd)
		if err == nil {
			err = cp.StartComponent(ctx, APIServer)
		}
		if err == nil {
			break
		}
		if attempt == 2 || !addressTaken(err) {
			return err
		}
		cp.stopAll()
	}
	cfg, err := cp.ClientConfig("admin", "system:masters")
	if err != nil {
		return err
	}
	cp.admin = cfg
	return nil
}

// FreePorts are so many TCP ports of the loopback that nobody listens on.
func FreePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("looking for a free port: %w", err)
		}
		// Held until all are found, so that they differ.
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func (cp *ControlPlane) path(name string) string { return filepath.Join(cp.dir, name) }

// writePKI makes the keys and certificates.
func (cp *ControlPlane) writePKI() error {
	var err error
	if cp.ca, err = newAuthority(); err != nil {
		return err
	}
	names := []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
	ips := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback, net.ParseIP(GuestHost), net.IPv4(10, 0, 0, 1)}
	serving, servingKey, err := cp.ca.issue("kube-apiserver", nil, names, ips)
	if err != nil {
		return err
	}
	kubelet, kubeletKey, err := cp.ca.issue("kube-apiserver-kubelet-client", []string{"system:masters"}, nil, nil)
	if err != nil {
		return err
	}
	if cp.saKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return fmt.Errorf("generating the service-account key: %w", err)
	}
	sa, err := sec1(cp.saKey)
	if err != nil {
		return fmt.Errorf("encoding the service-account key: %w", err)
	}
	files := map[string][]byte{
		"ca.crt": cp.ca.certPEM, "apiserver.crt": serving, "apiserver.key": servingKey,
		"kubelet-client.crt": kubelet, "kubelet-client.key": kubeletKey, "sa.key": sa,
	}
	if cp.opts.AuditPolicy != "" {
		files["audit-policy.yaml"] = []byte(cp.opts.AuditPolicy)
	}
	for name, content := range files {
		if err := os.WriteFile(cp.path(name), content, 0o600); err != nil {
			return fmt.Errorf("writing the control plane's files: %w", err)
		}
	}
	return nil
}

func (cp *ControlPlane) args(c Component) ([]string, error) {
	etcd := cp.EtcdURL()
	switch c {
	case Etcd:
		return append([]string{
			"--name=default", "--data-dir=" + cp.path("etcd"),
			"--listen-client-urls=" + etcd, "--advertise-client-urls=" + etcd,
			// Nobody peers; a unix socket needs no port.
			"--listen-peer-urls=unix://localhost:0",
			"--unsafe-no-fsync", "--log-level=warn",
		}, cp.opts.EtcdArgs...), nil
	case APIServer:
		args := []string{
			"--etcd-servers=" + etcd,
			"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(cp.port),
			"--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
			"--tls-cert-file=" + cp.path("apiserver.crt"), "--tls-private-key-file=" + cp.path("apiserver.key"),
			"--client-ca-file=" + cp.path("ca.crt"),
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-key-file=" + cp.path("sa.key"), "--service-account-signing-key-file=" + cp.path("sa.key"),
			"--kubelet-client-certificate=" + cp.path("kubelet-client.crt"), "--kubelet-client-key=" + cp.path("kubelet-client.key"),
			"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
			"--service-cluster-ip-range=10.0.0.0/24", "--allow-privileged=true",
		}
		if cp.opts.AuditPolicy != "" {
			args = append(args, "--audit-policy-file="+cp.path("audit-policy.yaml"), "--audit-log-path="+cp.AuditLog())
		}
		return append(args, cp.opts.APIServerArgs...), nil
	case ControllerManager:
		kubeconfig, err := cp.writeKubeconfig("controller-manager.kubeconfig", "system:kube-controller-manager")
		return append([]string{
			"--kubeconfig=" + kubeconfig, "--bind-address=127.0.0.1", "--secure-port=0", "--leader-elect=false",
			"--use-service-account-credentials=true",
			"--service-account-private-key-file=" + cp.path("sa.key"), "--root-ca-file=" + cp.path("ca.crt"),
		}, cp.opts.ControllerManagerArgs...), err
	case Scheduler:
		kubeconfig, err := cp.writeKubeconfig("scheduler.kubeconfig", "system:kube-scheduler")
		return []string{"--kubeconfig=" + kubeconfig, "--bind-address=127.0.0.1", "--secure-port=0", "--leader-elect=false"}, err
	}
	return nil, fmt.Errorf("%s does not run as a part of this control plane", c)
}

func (cp *ControlPlane) ready(c Component) func(context.Context) error {
	get := func(client *http.Client, url string) func(context.Context) error {
		return func(ctx context.Context) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			if err != nil {
				return err
			}
			resp, err := client.Do(req)
			if err != nil {
				return err
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("%s: %s", url, resp.Status)
			}
			return nil
		}
	}
	switch c {
	case Etcd:
		return get(http.DefaultClient, cp.EtcdURL()+"/readyz")
	case APIServer:
		return func(ctx context.Context) error {
			cfg := rest.AnonymousClientConfig(&rest.Config{Host: cp.URL(), TLSClientConfig: rest.TLSClientConfig{CAData: cp.CA()}})
			client, err := rest.HTTPClientFor(cfg)
			if err != nil {
				return err
			}
			defer client.CloseIdleConnections()
			return get(client, cp.URL()+"/readyz")(ctx)
		}
	}
	return func(context.Context) error { return nil }
}

// StartComponent starts a component that is not running, building it if need
// be, and waits until it is ready: for the first time (ControllerManager,
// Scheduler), or again after Kill. Ports and data are those of before.
func (cp *ControlPlane) StartComponent(ctx context.Context, c Component) error {
	bin, err := Build(ctx, cp.opts.Progress, c)
	if err != nil {
		return err
	}
	args, err := cp.args(c)
	if err != nil {
		return err
	}
	cp.mu.Lock()
	if cp.procs[c] != nil {
		cp.mu.Unlock()
		return fmt.Errorf("starting %s: it is running", c)
	}
	p, err := startProcess(string(c), cp.Log(c), append([]string{bin[c]}, args...)...)
	if err != nil {
		cp.mu.Unlock()
		return err
	}
	cp.procs[c] = p
	cp.mu.Unlock()

	// Three seconds on an idle machine, and more than 90 on one with thirty
	// processes for each processor.
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	return p.await(ctx, cp.ready(c))
}

// Kill ends a component at once, as a crash of its machine would (SIGKILL).
func (cp *ControlPlane) Kill(c Component) error {
	p, err := cp.signal(c, syscall.SIGKILL)
	if err != nil {
		return err
	}
	<-p.Done
	cp.mu.Lock()
	defer cp.mu.Unlock()
	delete(cp.procs, c)
	return nil
}

// Pause stops a component where it stands (SIGSTOP), and returns when all of
// it does: connections stay open and nothing answers any more.
func (cp *ControlPlane) Pause(c Component) error {
	p, err := cp.signal(c, syscall.SIGSTOP)
	if err != nil {
		return err
	}
	return p.awaitStopped()
}

// Resume lets a paused component go on.
func (cp *ControlPlane) Resume(c Component) error {
	_, err := cp.signal(c, syscall.SIGCONT)
	return err
}

func (cp *ControlPlane) signal(c Component, sig syscall.Signal) (*process, error) {
	cp.mu.Lock()
	p := cp.procs[c]
	cp.mu.Unlock()
	if p == nil {
		return nil, fmt.Errorf("signalling %s: it is not running", c)
	}
	return p, p.signal(sig)
}

// Stop ends everything, and removes the directory.
func (cp *ControlPlane) Stop() {
	cp.stopAll()
	os.RemoveAll(cp.dir)
}

func (cp *ControlPlane) stopAll() {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	// The API server drains for long while watches are open; nobody needs
	// that here.
	for _, c := range []Component{ControllerManager, Scheduler, APIServer, Etcd} {
		if p := cp.procs[c]; p != nil {
			p.stop(time.Second)
			delete(cp.procs, c)
		}
	}
}

// EtcdURL is where etcd answers, without authentication.
func (cp *ControlPlane) EtcdURL() string {
	return "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(cp.etcdPort))
}

// SetEtcdArgs replaces Options.EtcdArgs for the next start of etcd.
func (cp *ControlPlane) SetEtcdArgs(args ...string) { cp.opts.EtcdArgs = args }

// PID of a running component; 0 when it does not run.
func (cp *ControlPlane) PID(c Component) int {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if p := cp.procs[c]; p != nil {
		return p.Cmd.Process.Pid
	}
	return 0
}

// Log is the path of a component's log.
func (cp *ControlPlane) Log(c Component) string { return cp.path(string(c) + ".log") }

// AuditLog is the path of the audit log, one JSON object per line.
func (cp *ControlPlane) AuditLog() string { return cp.path("audit.log") }

// Dir is where data, certificates and logs are.
func (cp *ControlPlane) Dir() string { return cp.dir }

// CA is the certificate that clients trust, PEM.
func (cp *ControlPlane) CA() []byte { return slices.Clone(cp.ca.certPEM) }

// URL of the API server, as seen from this machine.
func (cp *ControlPlane) URL() string {
	return "https://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(cp.port))
}

// GuestURL is the API server's URL as seen from a QEMU guest.
func (cp *ControlPlane) GuestURL() string {
	return "https://" + net.JoinHostPort(GuestHost, strconv.Itoa(cp.port))
}

// Admin is the configuration of a client that may do everything, without a
// client-side rate limit.
func (cp *ControlPlane) Admin() *rest.Config { return rest.CopyConfig(cp.admin) }

// Client is a client that may do everything.
func (cp *ControlPlane) Client() (kubernetes.Interface, error) {
	client, err := kubernetes.NewForConfig(cp.admin)
	if err != nil {
		return nil, fmt.Errorf("building the administrator's client: %w", err)
	}
	return client, nil
}

// ClientConfig is the configuration of a client with a certificate for the user
// and groups: ("system:node:worker-0", "system:nodes") is a kubelet.
func (cp *ControlPlane) ClientConfig(user string, groups ...string) (*rest.Config, error) {
	cert, key, err := cp.ca.issue(user, groups, nil, nil)
	if err != nil {
		return nil, err
	}
	return &rest.Config{
		Host:            cp.URL(),
		TLSClientConfig: rest.TLSClientConfig{CAData: cp.CA(), CertData: cert, KeyData: key},
		QPS:             -1,
	}, nil
}

// TokenConfig is the configuration of a client with a bearer token.
func (cp *ControlPlane) TokenConfig(token string) *rest.Config {
	return &rest.Config{
		Host:            cp.URL(),
		TLSClientConfig: rest.TLSClientConfig{CAData: cp.CA()},
		BearerToken:     token,
		QPS:             -1,
	}
}

// Conn connects the agent as such a client.
func Conn(cfg *rest.Config) (*kubeconn.Conn, error) {
	conn, err := kubeconn.Connect(kubeconn.Config{
		Server: cfg.Host, ServerName: cfg.ServerName,
		CA:          kubeconn.Material{Data: cfg.CAData},
		Certificate: kubeconn.Material{Data: cfg.CertData}, Key: kubeconn.Material{Data: cfg.KeyData},
		Token: kubeconn.Material{Data: []byte(cfg.BearerToken), File: cfg.BearerTokenFile},
	})
	if err == nil && cfg.WrapTransport != nil {
		conn.HTTP.Transport = cfg.WrapTransport(conn.HTTP.Transport)
	}
	return conn, err
}

// Kubeconfig writes a client's configuration as a kubeconfig, for the server at
// the given URL (cp.URL() or cp.GuestURL()).
func Kubeconfig(cfg *rest.Config, server string) ([]byte, error) {
	const name = "default"
	return clientcmd.Write(clientcmdapi.Config{
		CurrentContext: name,
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
		Clusters: map[string]*clientcmdapi.Cluster{name: {
			Server: server, CertificateAuthorityData: cfg.CAData,
		}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{name: {
			Token: cfg.BearerToken, ClientCertificateData: cfg.CertData, ClientKeyData: cfg.KeyData,
		}},
	})
}

func (cp *ControlPlane) writeKubeconfig(name, user string, groups ...string) (string, error) {
	cfg, err := cp.ClientConfig(user, groups...)
	if err != nil {
		return "", err
	}
	b, err := Kubeconfig(cfg, cp.URL())
	if err == nil {
		err = os.WriteFile(cp.path(name), b, 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("writing a kubeconfig: %w", err)
	}
	return cp.path(name), nil
}

// AdminKubeconfig writes the administrator's kubeconfig, and returns its path.
func (cp *ControlPlane) AdminKubeconfig() (string, error) {
	return cp.writeKubeconfig("admin.kubeconfig", "admin", "system:masters")
}

// AuditEvent is the part of an audit event (audit.k8s.io/v1) that tests ask
// about.
type AuditEvent struct {
	Verb       string `json:"verb"`
	RequestURI string `json:"requestURI"`
	UserAgent  string `json:"userAgent"`
	User       struct {
		Username string              `json:"username"`
		Extra    map[string][]string `json:"extra"`
	} `json:"user"`
	ObjectRef *struct {
		Resource, Subresource, Name string
	} `json:"objectRef"`
	ResponseStatus *struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

// AuditEvents reads the audit log. Only with Options.AuditPolicy. An event whose
// line is still being written is none yet.
func (cp *ControlPlane) AuditEvents() ([]AuditEvent, error) {
	log, err := os.ReadFile(cp.AuditLog())
	if errors.Is(err, os.ErrNotExist) && cp.opts.AuditPolicy != "" {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	var events []AuditEvent
	for line := range bytes.Lines(log) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		var e AuditEvent
		if err := json.Unmarshal(line, &e); err != nil {
			return events, fmt.Errorf("reading the audit log: %w", err)
		}
		events = append(events, e)
	}
	return events, nil
}
