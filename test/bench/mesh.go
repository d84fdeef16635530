package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/sctp-agent/sctp-agent/internal/backoff"
	"github.com/sctp-agent/sctp-agent/internal/kubeconn"
	"github.com/sctp-agent/sctp-agent/internal/mesh"
	"github.com/sctp-agent/sctp-agent/internal/mesh/conclusion"
	"github.com/sctp-agent/sctp-agent/internal/mesh/kube"
	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
	"github.com/sctp-agent/sctp-agent/test/controlplane"
	"github.com/sctp-agent/sctp-agent/test/source"
)

const (
	meshAccount = "sctp-mesh" // and the Service's name
	meshZones   = 3
	// rolledOut is how many pods of a DaemonSet are made in a second at most
	// (kube-controller-manager's default for --kube-api-qps).
	rolledOut = 20
)

// meshCluster is the agents of the mesh on one API server: what they ask of it is
// real, and the network between them is not.
type meshCluster struct {
	client kubernetes.Interface
	url    *url.URL
	tls    *tls.Config
	tally  tally
	// dropped says whether SCTP between two of them is.
	dropped atomic.Pointer[func(from, to *meshAgent) bool]

	mu     sync.Mutex
	at     map[netip.Addr]*meshAgent
	lists  [][]mesh.Peer
	serial uint32
}

// meshAgent is one agent, and its pod.
type meshAgent struct {
	cluster *meshCluster
	index   int
	node    string
	address netip.Addr
	pod     *corev1.Pod
	agent   *mesh.Agent
	events  *kube.Events
	tokens  *kube.Tokens
	review  kube.Reviewer
	stop    context.CancelFunc
	working sync.WaitGroup
	// reviewed are the tokens that were, as the mesh's server remembers them.
	reviewed sync.Map
}

// benchMesh rolls the mesh out, leaves it at rest, and then breaks things.
func benchMesh(ctx context.Context, nodes int, rest time.Duration) error {
	root, err := source.Root()
	if err != nil {
		return err
	}
	cp, err := controlplane.Start(ctx, controlplane.Options{
		Progress: func(p controlplane.Progress) { fmt.Fprintln(os.Stderr, p) },
		// Nothing else of it is needed, and nobody is there who would keep
		// the Nodes ready.
		ControllerManagerArgs: []string{"--controllers=endpointslice-controller"},
	})
	if err != nil {
		return err
	}
	defer cp.Stop()
	if err := install(ctx, cp, root, "components/mesh/rbac.yaml", "components/mesh/service.yaml"); err != nil {
		return err
	}
	client, err := cp.Client()
	if err != nil {
		return err
	}
	server, err := url.Parse(cp.URL())
	if err != nil {
		return err
	}
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(cp.CA())
	// Thousands of lists in one process.
	defer debug.SetGCPercent(debug.SetGCPercent(25))
	c := &meshCluster{
		client: client, url: server, tls: &tls.Config{RootCAs: authorities},
		at: map[netip.Addr]*meshAgent{},
	}
	nothing := func(_, _ *meshAgent) bool { return false }
	c.dropped.Store(&nothing)

	begin := time.Now()
	agents := make([]*meshAgent, nodes)
	if err := parallel(nodes, func(i int) (err error) {
		node := fmt.Sprintf("node-%04d", i)
		labels := map[string]string{corev1.LabelTopologyZone: fmt.Sprintf("zone-%d", i%meshZones)}
		if _, err := client.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node, Labels: labels}}, metav1.CreateOptions{}); err != nil {
			return err
		}
		agents[i], err = c.place(ctx, i)
		return err
	}); err != nil {
		return err
	}
	if err := cp.StartComponent(ctx, controlplane.ControllerManager); err != nil {
		return err
	}
	if err := c.sliced(ctx, nodes); err != nil {
		return err
	}
	fmt.Printf("mesh: %d Nodes, pods and tokens made in %s\n", nodes, time.Since(begin).Round(time.Second))
	defer func() {
		for _, a := range agents {
			a.end()
		}
	}()

	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	pid := cp.PID(controlplane.APIServer)
	phase := func(what string, least time.Duration, do func() error, done func() bool) error {
		c.tally.reset(usage(pid))
		start := time.Now()
		if err := do(); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		for !done() || time.Since(start) < least {
			backoff.Sleep(ctx, time.Second)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if time.Since(start) > 30*time.Minute {
				return fmt.Errorf("%s: not over after %s", what, time.Since(start))
			}
		}
		fmt.Printf("mesh: %s\n%s", what, c.tally.text(time.Since(start), usage(pid)))
		return nil
	}
	now := func() bool { return true }
	know := func() bool {
		for _, a := range agents {
			if a.agent.Picture().Nodes != nodes {
				return false
			}
		}
		return true
	}

	if err := phase(fmt.Sprintf("%d agents start each second, until each has the list", rolledOut), 0, func() error {
		for _, a := range agents {
			a.start(ctx)
			backoff.Sleep(ctx, time.Second/rolledOut)
		}
		return nil
	}, know); err != nil {
		return err
	}
	var after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&after)
	fmt.Printf("    heap of an agent with that list: %.0f kB\n", float64(after.HeapAlloc-before.HeapAlloc)/float64(nodes)/1e3)
	backoff.Sleep(ctx, settled)

	if err := phase("at rest", rest, func() error { return nil }, now); err != nil {
		return err
	}
	drop := func(f func(from, to *meshAgent) bool) func() error {
		return func() error { c.dropped.Store(&f); return nil }
	}
	dead := agents[nodes/2]
	if err := phase("SCTP to one node is dropped", time.Minute, drop(func(_, to *meshAgent) bool { return to.node == dead.node }), now); err != nil {
		return err
	}
	if err := phase("it works again", time.Minute, drop(nothing), now); err != nil {
		return err
	}
	if err := phase("SCTP between one zone and the others is dropped", time.Minute, drop(func(from, to *meshAgent) bool {
		return (from.index%meshZones == 0) != (to.index%meshZones == 0)
	}), now); err != nil {
		return err
	}
	if err := phase("it works again", time.Minute, drop(nothing), now); err != nil {
		return err
	}
	return phase("a tenth of the pods is replaced", time.Minute, func() error {
		return parallel((nodes+9)/10, func(i int) error {
			next, err := agents[i*10].replace(ctx)
			if err == nil {
				agents[i*10] = next
				next.start(ctx)
			}
			return err
		})
	}, now)
}

// place makes a node's pod, with a new address, and says of it what kubelet does.
func (c *meshCluster) place(ctx context.Context, i int) (*meshAgent, error) {
	c.mu.Lock()
	c.serial++
	n := c.serial
	c.mu.Unlock()
	a := &meshAgent{
		cluster: c, index: i, node: fmt.Sprintf("node-%04d", i),
		address: netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}),
	}
	labels := map[string]string{"app.kubernetes.io/name": meshAccount, "app.kubernetes.io/component": "mesh"}
	pods := c.client.CoreV1().Pods(account)
	pod, err := pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: meshAccount + "-", Labels: labels},
		Spec: corev1.PodSpec{
			NodeName: a.node, ServiceAccountName: meshAccount,
			Containers: []corev1.Container{{Name: "mesh", Image: meshAccount}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	a.pod = pod
	status := fmt.Sprintf(`{"status":{"phase":"Running","podIP":%q,"podIPs":[{"ip":%q}],"conditions":[{"type":"Ready","status":"True"}]}}`, a.address, a.address)
	if _, err := pods.Patch(ctx, pod.Name, types.StrategicMergePatchType, []byte(status), metav1.PatchOptions{}, "status"); err != nil {
		return nil, err
	}
	token, err := c.client.CoreV1().ServiceAccounts(account).CreateToken(ctx, meshAccount, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{
			BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	conn := &kubeconn.Conn{Server: c.url, HTTP: &http.Client{Transport: tallied{&c.tally, token.Status.Token, &http.Transport{
		DialContext: c.tally.dial, TLSClientConfig: c.tls, IdleConnTimeout: 90 * time.Second, ForceAttemptHTTP2: true,
	}}}}
	client := &kube.Client{Conn: conn, Identity: kube.Identity{
		Node: a.node, Namespace: account, Account: meshAccount, Pod: pod.Name, UID: string(pod.UID),
	}}
	a.tokens, a.review = &kube.Tokens{Client: client}, kube.Reviewer{Client: client}
	peers := &kube.Peers{Client: client, Service: meshAccount, Family: a.address}
	a.events = kube.NewEvents(client, slog.New(slog.DiscardHandler))
	a.agent = mesh.New(mesh.Config{
		Node: a.node,
		New: func(ctx context.Context, to netip.Addr) conclusion.Outcome {
			if b := c.live(to); b != nil && !(*c.dropped.Load())(a, b) {
				if !b.agent.Knows(a.address) {
					b.agent.Stranger(a.address)
				}
			}
			return a.probe(ctx, to)
		},
		Keep: func(to netip.Addr) mesh.Kept { return meshKept{a, to} },
		TCP: func(ctx context.Context, to netip.Addr) conclusion.Outcome {
			o := conclusion.Outcome{State: picture.StateOK, Began: time.Now()}
			if c.live(to) == nil {
				<-ctx.Done()
				o.State, o.Cause = picture.StateFailed, conclusion.CauseSilence
			}
			o.Ended = time.Now()
			return o
		},
		Ask: a.ask,
		List: func(ctx context.Context) ([]mesh.Peer, error) {
			list, err := peers.List(ctx)
			return c.shared(list), err
		},
		Changed: func(change conclusion.Change) {
			c.tally.concluded(change)
			a.events.Changed(change)
		},
		Log: slog.New(slog.DiscardHandler),
	})
	// A pod that is ready echoes, with the list and without.
	c.mu.Lock()
	c.at[a.address] = a
	c.mu.Unlock()
	return a, nil
}

// sliced waits until the EndpointSlices have all nodes.
func (c *meshCluster) sliced(ctx context.Context, nodes int) error {
	for {
		list, err := c.client.DiscoveryV1().EndpointSlices(account).List(ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + meshAccount})
		if err != nil {
			return err
		}
		n, size := 0, 0
		for _, s := range list.Items {
			n += len(s.Endpoints)
			b, err := json.Marshal(s)
			if err != nil {
				return err
			}
			size += len(b)
		}
		if n == nodes {
			fmt.Printf("mesh: %d EndpointSlices, %.0f kB of JSON each\n", len(list.Items), float64(size)/float64(len(list.Items))/1e3)
			return nil
		}
		backoff.Sleep(ctx, time.Second)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

func (a *meshAgent) start(ctx context.Context) {
	ctx, a.stop = context.WithCancel(ctx)
	a.working.Go(func() { a.agent.Run(ctx) })
	a.working.Go(func() { a.events.Run(ctx) })
}

func (a *meshAgent) end() {
	a.cluster.mu.Lock()
	delete(a.cluster.at, a.address)
	a.cluster.mu.Unlock()
	if a.stop == nil {
		return
	}
	a.stop()
	a.working.Wait()
}

// replace ends the pod as the DaemonSet's controller and kubelet do, and makes
// the next one.
func (a *meshAgent) replace(ctx context.Context) (*meshAgent, error) {
	pods := a.cluster.client.CoreV1().Pods(account)
	if err := pods.Delete(ctx, a.pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(10))}); err != nil {
		return nil, err
	}
	a.end()
	err := pods.Delete(ctx, a.pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))})
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	return a.cluster.place(ctx, a.index)
}

func (c *meshCluster) live(at netip.Addr) *meshAgent {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at[at]
}

// shared is one copy of equal lists: that of thousands of agents is not what is
// measured here.
func (c *meshCluster) shared(list []mesh.Peer) []mesh.Peer {
	slices.SortFunc(list, func(a, b mesh.Peer) int { return strings.Compare(a.Node, b.Node) })
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, known := range c.lists {
		if slices.Equal(known, list) {
			return c.lists[i]
		}
	}
	if len(c.lists) == 8 {
		c.lists = slices.Delete(c.lists, 0, 1)
	}
	c.lists = append(c.lists, list)
	return list
}

// probe SCTP, which takes no time where it works.
func (a *meshAgent) probe(ctx context.Context, to netip.Addr) conclusion.Outcome {
	o := conclusion.Outcome{State: picture.StateOK, RTT: time.Millisecond, Began: time.Now()}
	if b := a.cluster.live(to); b == nil || (*a.cluster.dropped.Load())(a, b) {
		<-ctx.Done()
		o.State, o.Cause, o.RTT = picture.StateFailed, conclusion.CauseSilence, 0
	}
	o.Ended = time.Now()
	return o
}

type meshKept struct {
	from *meshAgent
	to   netip.Addr
}

func (k meshKept) Echo(ctx context.Context) conclusion.Outcome { return k.from.probe(ctx, k.to) }
func (k meshKept) Close()                                      {}

// ask as internal/mesh/ask does, without the connection.
func (a *meshAgent) ask(ctx context.Context, asked mesh.Peer, about string, kind conclusion.Kind) (picture.State, error) {
	b := a.cluster.live(asked.Address)
	if b == nil {
		backoff.Sleep(ctx, 2*time.Second)
		return picture.StateUnknown, errors.New("no connection")
	}
	ctx, cancel := context.WithTimeout(ctx, 4500*time.Millisecond)
	defer cancel()
	audience := meshAccount + "/" + b.node + "/" + b.pod.Name
	token, err := a.tokens.Token(ctx, audience)
	if err != nil {
		return picture.StateUnknown, err
	}
	if p, known := b.agent.At(a.address); !known || p.UID != string(a.pod.UID) {
		return picture.StateUnknown, errors.New("refused")
	}
	if _, known := b.reviewed.Load(token); !known {
		if _, err := b.review.Review(ctx, token, audience); err != nil {
			return picture.StateUnknown, err
		}
		b.reviewed.Store(token, true)
	}
	state, _ := b.agent.Check(ctx, about, kind)
	return state, nil
}

// tally counts requests and bytes.
type tally struct {
	in, out atomic.Int64 // on the wire, with TLS

	mu          sync.Mutex
	begun       time.Time
	before      used
	seconds     map[int]int
	kinds       map[string]*kindOfRequest
	failed      map[string]int
	conclusions map[picture.Conclusion][]float64
}

type kindOfRequest struct {
	n     int
	bytes int64 // of the answers, decompressed
}

func (t *tally) reset(u used) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.in.Store(0)
	t.out.Store(0)
	t.begun, t.before = time.Now(), u
	t.seconds, t.kinds, t.failed = map[int]int{}, map[string]*kindOfRequest{}, map[string]int{}
	t.conclusions = map[picture.Conclusion][]float64{}
}

func (t *tally) concluded(c conclusion.Change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conclusions[c.To] = append(t.conclusions[c.To], time.Since(t.begun).Seconds())
}

func (t *tally) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	return talliedConn{conn, t}, err
}

type talliedConn struct {
	net.Conn
	tally *tally
}

func (c talliedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.tally.in.Add(int64(n))
	return n, err
}

func (c talliedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.tally.out.Add(int64(n))
	return n, err
}

// tallied is one agent's way to the API server.
type tallied struct {
	tally *tally
	token string
	base  http.RoundTripper
}

func (r tallied) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+r.token)
	resp, err := r.base.RoundTrip(req)
	t := r.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err != nil:
		t.failed[failure(err)]++
		return resp, err
	case resp.StatusCode >= 300:
		t.failed[strconv.Itoa(resp.StatusCode)]++
	}
	t.seconds[int(time.Since(t.begun)/time.Second)]++
	name := "token reviews"
	path := strings.Split(strings.TrimSuffix(req.URL.Path, "/"), "/")
	switch last := path[len(path)-1]; {
	case last == "endpointslices" && req.Header.Get("Accept") == "application/json":
		name = "pages of the list"
	case last == "endpointslices":
		name = "pages of its metadata"
	case path[len(path)-2] == "endpointslices":
		name = "slices that have changed"
	case last == "token":
		name = "tokens"
	case last == "events":
		name = "Events"
	}
	k := t.kinds[name]
	if k == nil {
		k = &kindOfRequest{}
		t.kinds[name] = k
	}
	k.n++
	resp.Body = talliedBody{resp.Body, t, k}
	return resp, nil
}

type talliedBody struct {
	io.ReadCloser
	tally *tally
	kind  *kindOfRequest
}

func (b talliedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.tally.mu.Lock()
	b.kind.bytes += int64(n)
	b.tally.mu.Unlock()
	return n, err
}

// text of what happened since reset.
func (t *tally) text(took time.Duration, u used) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	n, peak := 0, 0
	for _, s := range t.seconds {
		n += s
		peak = max(peak, s)
	}
	seconds := took.Seconds()
	fmt.Fprintf(&b, "    %.0f s: %d requests, %.1f a second, at most %d; on the wire %.1f MB to the agents (%.0f kB/s), %.1f MB from them; CPU of the API server %.1f s\n",
		seconds, n, float64(n)/seconds, peak, float64(t.in.Load())/1e6, float64(t.in.Load())/1e3/seconds, float64(t.out.Load())/1e6, float64(u.ticks-t.before.ticks)/100)
	for _, name := range slices.Sorted(maps.Keys(t.kinds)) {
		k := t.kinds[name]
		fmt.Fprintf(&b, "    %s: %d, %.1f MB before compression\n", name, k.n, float64(k.bytes)/1e6)
	}
	fmt.Fprintf(&b, "    tries that failed: %v\n", sums{failed: t.failed})
	for _, to := range slices.Sorted(maps.Keys(t.conclusions)) {
		at := t.conclusions[to]
		slices.Sort(at)
		fmt.Fprintf(&b, "    concluded %s: %d times, half of them after %.1f s, all after %.1f s\n", cmp.Or(string(to), "that it works"), len(at), at[len(at)/2], at[len(at)-1])
	}
	return b.String()
}
