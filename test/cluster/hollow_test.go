package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sctp-agent/sctp-agent/internal/doctest"
	"github.com/sctp-agent/sctp-agent/internal/verify"
	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
	"github.com/sctp-agent/sctp-agent/test/controlplane"
)

// hollow stands in for the kubelets of all nodes: it says of verify's pods what
// kubelets would, and runs nothing. What verify does to the cluster, and what
// becomes of it when something goes wrong, needs no kernel.
type hollow struct {
	client kubernetes.Interface
	mu     sync.Mutex
	// hold is the node whose clients do not end; "*" means all nodes.
	hold string
	// linger is how long pods take to end.
	linger time.Duration
	// outcome is what a client says of a target; nil: it is reached.
	outcome func(wire.Job, wire.Target) wire.Outcome
}

func (h *hollow) set(hold string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hold = hold
}

func (h *hollow) say(outcome func(wire.Job, wire.Target) wire.Outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.outcome = outcome
}

func (h *hollow) serve(ctx context.Context) {
	var beat time.Time
	for ctx.Err() == nil {
		if time.Since(beat) > 5*time.Second {
			beat = time.Now()
			h.heartbeat(ctx)
		}
		list, err := h.client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: "sctp-agent-verify/run"})
		if err == nil {
			for i := range list.Items {
				h.pod(ctx, &list.Items[i])
			}
		}
		h.balance(ctx)
		time.Sleep(100 * time.Millisecond)
	}
}

// heartbeat says of all nodes that they are ready. The controller manager takes
// a node whose kubelet is silent for most of a minute for one that is not.
func (h *hollow) heartbeat(ctx context.Context) {
	list, err := h.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	for _, n := range list.Items {
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now()}}
		_, _ = h.client.CoreV1().Nodes().UpdateStatus(ctx, &n, metav1.UpdateOptions{})
	}
}

// balance gives each Service of type LoadBalancer an address.
func (h *hollow) balance(ctx context.Context) {
	list, err := h.client.CoreV1().Services(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: "sctp-agent-verify/run"})
	if err != nil {
		return
	}
	for _, s := range list.Items {
		if s.Spec.Type == corev1.ServiceTypeLoadBalancer && s.Status.LoadBalancer.Ingress == nil {
			s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.100"}}
			_, _ = h.client.CoreV1().Services(s.Namespace).UpdateStatus(ctx, &s, metav1.UpdateOptions{})
		}
	}
}

// pod moves a pod on. A change that is refused is made the next time.
func (h *hollow) pod(ctx context.Context, p *corev1.Pod) {
	h.mu.Lock()
	hold, linger, outcome := h.hold, h.linger, h.outcome
	h.mu.Unlock()
	pods := h.client.CoreV1().Pods(p.Namespace)
	switch {
	case p.DeletionTimestamp != nil && time.Since(p.DeletionTimestamp.Time) < linger:
		return
	case p.DeletionTimestamp != nil:
		_ = pods.Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))})
		return
	case p.Labels["sctp-agent-verify/role"] == "failover-client" && p.Status.Phase == corev1.PodRunning:
		// It ends when the endpoint is gone that it has an association with.
		_, err := pods.Get(ctx, "endpoint-0", metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return
		}
		text, err := wire.Encode("test", wire.Say{Recoveries: []wire.Recovery{{Outcome: wire.OK, Peer: 1, Port: 40000, Gap: 2500}}})
		if err != nil {
			return
		}
		end(p, text)
	case p.Status.Phase != corev1.PodPending:
		return
	case p.Labels["sctp-agent-verify/role"] != "client":
		ip := "10.244.0." + p.Labels["sctp-agent-verify/index"]
		p.Status.Phase, p.Status.PodIP, p.Status.PodIPs = corev1.PodRunning, ip, []corev1.PodIP{{IP: ip}}
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	case hold == "*" || hold == p.Spec.NodeName:
		return
	default:
		var job wire.Job
		env := p.Spec.Containers[0].Env
		if err := wire.Decode(env[0].Value, &job); err != nil || env[0].Name != wire.JobVariable {
			return
		}
		var say wire.Say
		said := map[int]wire.Outcome{}
		for _, t := range job.Targets {
			o := wire.OK
			if outcome != nil {
				o = outcome(job, t)
			}
			for _, id := range t.Needs {
				if said[id] != wire.OK {
					o = wire.NotTried
				}
			}
			said[t.ID] = o
			say.Results = append(say.Results, wire.Result{ID: t.ID, Outcome: o, Handshake: time.Millisecond, RTT: time.Millisecond})
		}
		text, err := wire.Encode("test", say)
		if err != nil {
			return
		}
		end(p, text)
	}
	_, _ = pods.UpdateStatus(ctx, p, metav1.UpdateOptions{})
}

// end gives a pod the status of one that has left this message.
func end(p *corev1.Pod, message string) {
	p.Status.Phase = corev1.PodSucceeded
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "verify", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: message}}}}
}

// TestVerifyTidies: whatever becomes of a run, of its program, or of its
// connection, it says what it can say and leaves nothing behind; or the next
// one takes it away.
func TestVerifyTidies(t *testing.T) {
	t.Parallel() // most of it is waiting
	bin := program(t, "kubectl-sctp")
	cp := controlPlane(t, controlplane.Options{AuditPolicy: controlplane.AuditMetadata})
	if err := cp.StartComponent(t.Context(), controlplane.ControllerManager); err != nil {
		t.Fatal(err)
	}
	client := clientFor(t, cp.Admin())
	s := &seed{t, t.Context(), client}
	for _, name := range []string{"worker-0", "worker-1"} {
		r := report(name, kmod.AnswerTrue, verdict.ReasonProbePassed, verdict.OnBootLoaded)
		s.ok(s.node(name, "worker", &r, func(n *corev1.Node) {
			n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.1"}}
		}))
	}
	link := newCable(t, strings.TrimPrefix(cp.URL(), "https://"))
	cfg, err := cp.ClientConfig("admin", "system:masters")
	s.ok(err)
	text, err := controlplane.Kubeconfig(cfg, "https://"+link.Addr().String())
	s.ok(err)
	admin := t.TempDir() + "/kubeconfig"
	s.ok(os.WriteFile(admin, text, 0o600))
	h := &hollow{client: client}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); h.serve(ctx) }()
	t.Cleanup(func() { stop(); <-done })

	left := func() (names []string) {
		t.Helper()
		list := must[*corev1.NamespaceList](s)(client.CoreV1().Namespaces().List(s.ctx, metav1.ListOptions{LabelSelector: "sctp-agent-verify/run"}))
		for _, n := range list.Items {
			names = append(names, n.Name)
		}
		return names
	}
	args := func(more ...string) []string {
		return append([]string{"verify", "--kubeconfig", admin, "--image", agentImage, "-o", "json"}, more...)
	}
	whole := func(t *testing.T, r ran) {
		t.Helper()
		var result verify.Result
		if err := json.Unmarshal([]byte(r.stdout), &result); r.code != 0 || err != nil || len(result.Paths) != 16 || result.Verdict() != kmod.AnswerTrue {
			t.Errorf("exit status %d, %v\n%s%s", r.code, err, r.stdout, r.stderr)
		}
	}
	// waits says whether the program has asked whether the clients in a
	// namespace are done: it has heard by then that they were created, which
	// whoever sees them does not know.
	waits := func(namespace string) bool {
		t.Helper()
		events, err := cp.AuditEvents()
		s.ok(err)
		return slices.ContainsFunc(events, func(e controlplane.AuditEvent) bool {
			return e.Verb == "list" && strings.HasPrefix(e.UserAgent, "kubectl-sctp/") &&
				strings.HasPrefix(e.RequestURI, "/api/v1/namespaces/"+namespace+"/pods?") && strings.Contains(e.RequestURI, "client")
		})
	}
	// begun starts a run whose clients do not end, and returns once it waits
	// for them.
	begun := func(t *testing.T, more ...string) (cmd *exec.Cmd, stderr *bytes.Buffer) {
		t.Helper()
		h.set("*")
		cmd = exec.CommandContext(t.Context(), bin, args(more...)...)
		stderr = &bytes.Buffer{}
		cmd.Stderr = stderr
		s.ok(cmd.Start())
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
			list := must[*corev1.PodList](s)(client.CoreV1().Pods("").List(s.ctx, metav1.ListOptions{LabelSelector: "sctp-agent-verify/role=client"}))
			if len(list.Items) == 2 && waits(list.Items[0].Namespace) {
				return cmd, stderr
			}
			if time.Now().After(deadline) {
				t.Fatalf("no clients\n%s", stderr)
			}
		}
	}

	t.Run("nothing goes wrong", func(t *testing.T) {
		r := run(t, bin, args()...)
		whole(t, r)
		t.Logf("%.1f s\n%s", r.elapsed.Seconds(), r.stderr)
		for _, want := range []string{"a listener on each of 2 nodes", "2 of 2 listeners have started", "trying 16 paths", "2 of 2 clients are done", "deleting namespace "} {
			if !strings.Contains(r.stderr, want) {
				t.Errorf("it does not say meanwhile: %s", want)
			}
		}
		if r := run(t, bin, args("--quiet")...); r.stderr != "" || r.code != 0 {
			t.Errorf("--quiet: exit status %d, %s", r.code, r.stderr)
		}
		if names := left(); names != nil {
			t.Errorf("left behind: %v", names)
		}
	})
	t.Run("a client that does not end", func(t *testing.T) {
		h.set("worker-1")
		defer h.set("")
		// Two thirds of it for this client, and one to notice and to conclude.
		r := run(t, bin, args("--timeout", "30s")...)
		var result verify.Result
		if err := json.Unmarshal([]byte(r.stdout), &result); err != nil {
			t.Fatalf("%v\n%s", err, r.stderr)
		}
		if r.code != 2 || !slices.Equal(findingKinds(&result), []string{verify.FindingUndecided}) {
			t.Errorf("exit status %d, findings %+v", r.code, result.Findings)
		}
		for _, p := range result.Paths {
			if want := map[string]wire.Outcome{"worker-0": wire.OK, "worker-1": wire.Unknown}[p.From]; p.Outcome != want {
				t.Errorf("want %s: %+v", want, p)
			}
		}
		if !strings.Contains(r.stderr, "on node worker-1: Pending") {
			t.Errorf("it does not say whom it did not wait for: %s", r.stderr)
		}
		if names := left(); names != nil {
			t.Errorf("left behind: %v", names)
		}
	})
	t.Run("direct paths that work at the second try", func(t *testing.T) {
		for _, first := range []wire.Outcome{wire.Dropped, wire.Lost} {
			h.say(func(job wire.Job, target wire.Target) wire.Outcome {
				if strings.HasPrefix(target.Address, "10.244.0.1:") && !job.Diagnose {
					return first
				}
				return wire.OK
			})
			r := run(t, bin, args()...)
			whole(t, r) // what was not tried because of them has been tried since
			if !strings.Contains(r.stderr, "2 paths fail: finding out") || !strings.Contains(r.stderr, "paths were not tried, and can be now") {
				t.Errorf("it does not say what it tries again: %s", r.stderr)
			}
		}
		h.say(nil)
	})
	t.Run("pods that take their time to end", func(t *testing.T) {
		// It is said after 15 s; these pods are there for as long again.
		h.mu.Lock()
		h.linger = 30 * time.Second
		h.mu.Unlock()
		r := run(t, bin, args()...)
		whole(t, r)
		if !strings.Contains(r.stderr, "it is still being deleted, pods are still ending: listener-0 on node worker-0, listener-1 on node worker-1") {
			t.Errorf("it does not say what it waits for: %s", r.stderr)
		}
		h.mu.Lock()
		h.linger = 0
		h.mu.Unlock()
	})
	t.Run("NetworkPolicy", func(t *testing.T) {
		defer h.say(nil)
		for _, c := range []struct {
			denied wire.Outcome
			code   int
			policy string
		}{{wire.Blocked, 0, "enforced"}, {wire.OK, 1, "not-enforced"}, {wire.Unknown, 2, "unknown"}} {
			h.say(func(_ wire.Job, target wire.Target) wire.Outcome {
				if target.Beside != "" {
					return c.denied
				}
				return wire.OK
			})
			r := run(t, bin, args("--network-policy")...)
			var result verify.Result
			if err := json.Unmarshal([]byte(r.stdout), &result); err != nil {
				t.Fatalf("%v\n%s", err, r.stderr)
			}
			// Besides the 16: each node to the other, before, allowed, denied.
			if r.code != c.code || result.Policy != c.policy || len(result.Paths) != 22 {
				t.Errorf("denied ports %s: exit status %d, policy %s, %d paths", c.denied, r.code, result.Policy, len(result.Paths))
			}
		}
		if names := left(); names != nil {
			t.Errorf("left behind: %v", names)
		}
	})
	t.Run("failover", func(t *testing.T) {
		r := run(t, bin, args("--failover")...)
		whole(t, r)
		var result verify.Result
		s.ok(json.Unmarshal([]byte(r.stdout), &result))
		if len(result.Failovers) != 1 || result.Failovers[0].Seconds != 2.5 || result.Failovers[0].Deleted != "worker-1" {
			t.Errorf("%+v", result.Failovers)
		}
		if names := left(); names != nil {
			t.Errorf("left behind: %v", names)
		}
	})
	t.Run("Ctrl-C", func(t *testing.T) {
		cmd, stderr := begun(t)
		s.ok(cmd.Process.Signal(interrupt))
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 2 {
			t.Errorf("%v, want exit status 2\n%s", err, stderr)
		}
		if names := left(); names != nil {
			t.Errorf("left behind: %v", names)
		}
	})
	t.Run("killed", func(t *testing.T) {
		cmd, _ := begun(t)
		s.ok(cmd.Process.Kill())
		_ = cmd.Wait() // killed
		h.set("")
		names := left()
		if len(names) != 1 {
			t.Fatalf("left behind: %v", names)
		}
		// Its time is not over: it may still be running.
		whole(t, run(t, bin, args()...))
		if now := left(); !slices.Equal(now, names) {
			t.Fatalf("left behind: %v, want %v", now, names)
		}
		past := fmt.Sprintf(`{"metadata":{"annotations":{"sctp-agent-verify/until":%q}}}`, time.Now().Add(-time.Minute).UTC().Format(time.RFC3339))
		must[*corev1.Namespace](s)(client.CoreV1().Namespaces().Patch(s.ctx, names[0], types.MergePatchType, []byte(past), metav1.PatchOptions{}))
		r := run(t, bin, args()...)
		whole(t, r)
		if !strings.Contains(r.stderr, names[0]+", left by an earlier run") {
			t.Errorf("it does not say what it took away: %s", r.stderr)
		}
		// Namespaces are taken down one after the other: some 8 s each.
		for deadline := time.Now().Add(2 * time.Minute); left() != nil; time.Sleep(100 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("left behind: %v", left())
			}
		}
	})
	t.Run("the API server is away for a while", func(t *testing.T) {
		cmd, stderr := begun(t)
		link.cut(true)
		h.set("")
		time.Sleep(4 * time.Second)
		link.cut(false)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v\n%s", err, stderr)
		}
		if names := left(); names != nil {
			t.Errorf("left behind: %v", names)
		}
	})
	t.Run("an image that is pulled with a secret", func(t *testing.T) { s.pullSecrets(t, bin, cp, h, left) })
	t.Run("as the documents show it", func(t *testing.T) {
		if testing.Short() {
			t.Skip("only in make test-full")
		}
		h.say(func(_ wire.Job, target wire.Target) wire.Outcome {
			if target.Beside != "" {
				return wire.Blocked
			}
			return wire.OK
		})
		defer h.say(nil)
		for _, c := range []struct{ line, prints string }{
			{"kubectl sctp verify", "16 paths"},
			{"kubectl sctp verify --node worker-0 --node worker-1", "16 paths"},
			{"kubectl sctp verify --all-pairs", "16 paths"},
			{"kubectl sctp verify --network-policy --load-balancer --failover", "NetworkPolicy"},
			{"kubectl sctp verify -o html > verify.html", "<title>"},
			{"kubectl sctp verify --image registry.example/sctp-agent:v1 --image-pull-secret registry/regcred", "16 paths"},
		} {
			r := run(t, bin, append(doctest.Args(t, c.line), "--kubeconfig", admin)...)
			if r.code != 0 || !strings.Contains(r.stdout, c.prints) {
				t.Errorf("%s: exit status %d, %q is not in\n%s%s", c.line, r.code, c.prints, r.stdout, r.stderr)
			}
		}
	})
	t.Run("without rights", func(t *testing.T) {
		r := run(t, bin, "verify", "--kubeconfig", kubeconfig(t, cp, "visitor"), "--image", agentImage)
		if r.code != 2 || r.stdout != "" || !strings.Contains(r.stderr, "list namespaces: forbidden: the right to list namespaces is missing") {
			t.Errorf("exit status %d, %q", r.code, r.stderr)
		}
		must[*rbacv1.ClusterRoleBinding](s)(client.RbacV1().ClusterRoleBindings().Create(s.ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "visitor-views"},
			Subjects:   []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "visitor"}},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "see"},
		}, metav1.CreateOptions{}))
		must[*rbacv1.ClusterRole](s)(client.RbacV1().ClusterRoles().Create(s.ctx, &rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: "see"},
			Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"*"}, Verbs: []string{"get", "list"}}},
		}, metav1.CreateOptions{}))
		const want = "forbidden: the right to create namespaces is missing"
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
			r = run(t, bin, "verify", "--kubeconfig", kubeconfig(t, cp, "visitor"), "--image", agentImage)
			if r.code == 2 && strings.Contains(r.stderr, want) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("exit status %d, %q does not say %q", r.code, r.stderr, want)
			}
		}
	})
}

// TestVerifyRing: two hundred stand-in nodes on a real API server are a ring, of
// which one node that drops everything comes out as one row. Of the creations,
// every other answer gets lost, and in between the API server is away.
func TestVerifyRing(t *testing.T) {
	const nodes = 200
	bin := program(t, "kubectl-sctp")
	cp := controlPlane(t, controlplane.Options{})
	if err := cp.StartComponent(t.Context(), controlplane.ControllerManager); err != nil {
		t.Fatal(err)
	}
	client := clientFor(t, cp.Admin())
	s := &seed{t, t.Context(), client}
	for i := range nodes {
		name := fmt.Sprintf("n%03d", i) // listed, and so numbered, in this order
		r := report(name, kmod.AnswerTrue, verdict.ReasonProbePassed, verdict.OnBootLoaded)
		s.ok(s.node(name, "worker", &r, func(n *corev1.Node) {
			n.Labels[corev1.LabelTopologyZone] = fmt.Sprintf("z%d", i%3)
			n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("192.0.2.%d", i)}}
		}))
	}
	h := &hollow{client: client, outcome: func(_ wire.Job, target wire.Target) wire.Outcome {
		if strings.HasPrefix(target.Address, "10.244.0.7:") {
			return wire.Dropped
		}
		return wire.OK
	}}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); h.serve(ctx) }()
	t.Cleanup(func() { stop(); <-done })

	way := newLossyWay(t, cp)
	text, err := controlplane.Kubeconfig(cp.Admin(), way.URL)
	s.ok(err)
	config := t.TempDir() + "/kubeconfig"
	s.ok(os.WriteFile(config, text, 0o600))
	r := run(t, bin, "verify", "--kubeconfig", config, "--image", agentImage, "-o", "json", "--timeout", "10m")
	t.Logf("%.1f s\n%s", r.elapsed.Seconds(), r.stderr)
	var result verify.Result
	if err := json.Unmarshal([]byte(r.stdout), &result); err != nil {
		t.Fatalf("%v\n%s", err, r.stderr)
	}
	direct := 0
	for _, p := range result.Paths {
		if p.Kind == verify.PathPod {
			direct++
		}
	}
	if r.code != 1 || result.Plan != verify.PlanRing || direct != 10*nodes {
		t.Errorf("exit status %d, plan %s, %d direct paths", r.code, result.Plan, direct)
	}
	if len(result.Findings) != 1 || result.Findings[0].Kind != verify.FindingDropped || len(result.Findings[0].Evidence) != 1 ||
		!strings.HasPrefix(result.Findings[0].Evidence[0], "to node n007: 10 of 10 paths, such as ") {
		t.Errorf("findings %+v", result.Findings)
	}
	list := must[*corev1.NamespaceList](s)(client.CoreV1().Namespaces().List(s.ctx, metav1.ListOptions{LabelSelector: "sctp-agent-verify/run"}))
	for _, n := range list.Items {
		t.Errorf("left behind: %s", n.Name)
	}
	t.Logf("answers lost: %v; repeated, and found to exist: %v; requests while the API server was away: %d", way.lost, way.exists, way.refused)
	for _, resource := range []string{"namespaces", "pods", "services"} {
		if way.lost[resource] == 0 || way.exists[resource] == 0 {
			t.Errorf("no answer about %s was lost, or none repeated", resource)
		}
	}
	if way.refused == 0 {
		t.Error("nothing was asked while the API server was away")
	}
}

// lossyWay leads to an API server: every other creation is made and its answer
// lost, and for some seconds in the middle nothing gets through.
type lossyWay struct {
	*httptest.Server
	proxy *httputil.ReverseProxy

	mu                 sync.Mutex
	creations, refused int
	back               time.Time
	lost, exists       map[string]int // by resource
}

func newLossyWay(t *testing.T, cp *controlplane.ControlPlane) *lossyWay {
	t.Helper()
	to, err := url.Parse(cp.URL())
	if err != nil {
		t.Fatal(err)
	}
	w := &lossyWay{lost: map[string]int{}, exists: map[string]int{}}
	w.proxy = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	if w.proxy.Transport, err = rest.TransportFor(cp.Admin()); err != nil {
		t.Fatal(err)
	}
	w.proxy.ModifyResponse = func(resp *http.Response) error {
		if resp.StatusCode == http.StatusConflict {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.exists[path.Base(resp.Request.URL.Path)]++
		}
		return nil
	}
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	return w
}

func (w *lossyWay) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	if r.Method == http.MethodPost {
		if w.creations++; w.creations == 100 {
			w.back = time.Now().Add(4 * time.Second)
		}
	}
	away, lost := time.Now().Before(w.back), r.Method == http.MethodPost && w.creations%2 == 1
	switch {
	case away:
		w.refused++
	case lost:
		w.lost[path.Base(r.URL.Path)]++
	}
	w.mu.Unlock()
	switch {
	case away:
		panic(http.ErrAbortHandler)
	case lost:
		w.proxy.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	}
	w.proxy.ServeHTTP(rw, r)
}

// pullSecrets: what the agent's pods pull their image with is copied, or what was
// named, and the pods name it; what may not be read is told before anything is
// made.
func (s *seed) pullSecrets(t *testing.T, bin string, cp *controlplane.ControlPlane, h *hollow, left func() []string) {
	const text = `{"auths":{"registry.example.com":{"auth":"bm9ib2R5OnNlY3JldA=="}}}`
	// A controller runs here, which makes the namespace's own account.
	must[*corev1.Namespace](s)(s.client.CoreV1().Namespaces().Create(s.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "registry"}}, metav1.CreateOptions{}))
	for _, name := range []string{"regcred", "other"} {
		must[*corev1.Secret](s)(s.client.CoreV1().Secrets("registry").Create(s.ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Type: corev1.SecretTypeDockerConfigJson,
			Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(text)},
		}, metav1.CreateOptions{}))
	}
	must[*corev1.Secret](s)(s.client.CoreV1().Secrets("registry").Create(s.ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "opaque"}, StringData: map[string]string{"key": "bm9ib2R5"},
	}, metav1.CreateOptions{}))
	// As kubelet sees it: the secret came from the service account.
	must[*corev1.ServiceAccount](s)(s.client.CoreV1().ServiceAccounts("registry").Create(s.ctx, &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: "agent"}, ImagePullSecrets: []corev1.LocalObjectReference{{Name: "regcred"}, {Name: "gone"}},
	}, metav1.CreateOptions{}))
	agent := must[*corev1.Pod](s)(s.client.CoreV1().Pods("registry").Create(s.ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "agent", Labels: map[string]string{"app.kubernetes.io/name": "sctp-agent"}},
		Spec:       corev1.PodSpec{NodeName: "worker-0", ServiceAccountName: "agent", Containers: []corev1.Container{{Name: "agent", Image: agentImage}}},
	}, metav1.CreateOptions{}))
	if len(agent.Spec.ImagePullSecrets) != 2 {
		t.Fatalf("the agent's pod has %v", agent.Spec.ImagePullSecrets)
	}
	admin := kubeconfig(t, cp, "admin", "system:masters")
	defer h.set("")
	for _, c := range []struct {
		args   []string
		secret string
		says   string
	}{
		{nil, "regcred", "image pull secret registry/gone of the agent's pods is not there"},
		{[]string{"--image", agentImage, "--image-pull-secret", "registry/other"}, "other", ""},
		{[]string{"--image", agentImage}, "", ""},
	} {
		h.set("*")
		cmd := exec.CommandContext(t.Context(), bin, append([]string{"verify", "--kubeconfig", admin}, c.args...)...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		s.ok(cmd.Start())
		var pods *corev1.PodList
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
			pods = must[*corev1.PodList](s)(s.client.CoreV1().Pods("").List(s.ctx, metav1.ListOptions{LabelSelector: "sctp-agent-verify/run"}))
			if len(pods.Items) == 4 {
				break
			}
			if time.Now().After(deadline) {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				t.Fatalf("%d pods\n%s", len(pods.Items), &out)
			}
		}
		var want []corev1.LocalObjectReference
		if c.secret != "" {
			want = []corev1.LocalObjectReference{{Name: c.secret}}
		}
		for _, p := range pods.Items {
			if !slices.Equal(p.Spec.ImagePullSecrets, want) {
				t.Errorf("%s has %v, want %v", p.Name, p.Spec.ImagePullSecrets, want)
			}
		}
		secrets := must[*corev1.SecretList](s)(s.client.CoreV1().Secrets(pods.Items[0].Namespace).List(s.ctx, metav1.ListOptions{}))
		if len(secrets.Items) != len(want) {
			t.Errorf("%d secrets, want %d", len(secrets.Items), len(want))
		}
		for _, got := range secrets.Items {
			if got.Name != c.secret || got.Type != corev1.SecretTypeDockerConfigJson || string(got.Data[corev1.DockerConfigJsonKey]) != text {
				t.Errorf("secret %s of type %s is not a copy of %s", got.Name, got.Type, c.secret)
			}
		}
		h.set("")
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v\n%s", err, &out)
		}
		if !strings.Contains(out.String(), c.says) || strings.Contains(out.String(), "bm9ib2R5") {
			t.Errorf("it does not say %q, or tells the secret: %s", c.says, &out)
		}
		if names := left(); names != nil {
			t.Errorf("left behind: %v", names)
		}
	}

	// Who may do all of it but read secrets.
	must[*rbacv1.ClusterRole](s)(s.client.RbacV1().ClusterRoles().Create(s.ctx, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "no-secrets"},
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"nodes", "pods"}, Verbs: []string{"list"}},
			{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"get", "list", "create", "delete"}},
		},
	}, metav1.CreateOptions{}))
	must[*rbacv1.ClusterRoleBinding](s)(s.client.RbacV1().ClusterRoleBindings().Create(s.ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "no-secrets"},
		Subjects:   []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "reader"}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "no-secrets"},
	}, metav1.CreateOptions{}))
	reader := kubeconfig(t, cp, "reader")
	for _, c := range []struct {
		config string
		args   []string
		want   []string
	}{
		{reader, nil, []string{"secret registry/regcred of the agent's pods", "the right to get secrets is missing", "--image-pull-secret"}},
		{reader, []string{"--image", "x", "--image-pull-secret", "registry/other"}, []string{"secret registry/other", "the right to get secrets is missing"}},
		{admin, []string{"--image-pull-secret", "registry/gone"}, []string{"registry/gone is not there", "--image-pull-secret"}},
		{admin, []string{"--image-pull-secret", "registry/opaque"}, []string{"registry/opaque is of type Opaque"}},
		{admin, []string{"--image-pull-secret", "registry/other,default/other"}, []string{"default/other", "one namespace"}},
		{admin, []string{"--image-pull-secret", "other"}, []string{"wants NAMESPACE/NAME"}},
	} {
		if c.args != nil && strings.HasSuffix(c.args[len(c.args)-1], "default/other") {
			must[*corev1.Secret](s)(s.client.CoreV1().Secrets("default").Create(s.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "other"}}, metav1.CreateOptions{}))
		}
		var r ran
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
			r = run(t, bin, append([]string{"verify", "--kubeconfig", c.config}, c.args...)...)
			// The authorizer hears of a role with some delay.
			if !strings.Contains(r.stderr, "list namespaces: forbidden") || time.Now().After(deadline) {
				break
			}
		}
		for _, want := range c.want {
			if r.code != 2 || !strings.Contains(r.stderr, want) {
				t.Errorf("%q: exit status %d, %q does not say %q", c.args, r.code, r.stderr, want)
			}
		}
		if strings.Contains(r.stderr, "bm9ib2R5") || strings.Contains(r.stderr, "namespace sctp-agent-verify-") || left() != nil {
			t.Errorf("%q: it tells the secret, or has made a namespace: %s", c.args, r.stderr)
		}
	}
}

// cable passes TCP on to an address, until it is cut.
type cable struct {
	net.Listener
	mu    sync.Mutex
	isCut bool
	conns []net.Conn
}

func newCable(t *testing.T, to string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &cable{Listener: l}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			w.mu.Lock()
			if err != nil || w.isCut {
				near.Close()
				if far != nil {
					far.Close()
				}
				w.mu.Unlock()
				continue
			}
			w.conns = append(w.conns, near, far)
			w.mu.Unlock()
			for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
				go func() {
					_, _ = io.Copy(pair[0], pair[1])
					pair[0].Close()
					pair[1].Close()
				}()
			}
		}
	}()
	t.Cleanup(func() { l.Close(); w.cut(true) })
	return w
}

// cut ends all connections, and while yes, new ones too.
func (w *cable) cut(yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = yes
	for _, c := range w.conns {
		c.Close()
	}
	w.conns = nil
}
