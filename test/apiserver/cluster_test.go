package apiserver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sctp-agent/sctp-agent/internal/kubeconn"
	"github.com/sctp-agent/sctp-agent/internal/nodewriter"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
	"github.com/sctp-agent/sctp-agent/test/controlplane"
)

const (
	namespace      = "sctp-agent"
	serviceAccount = "sctp-agent"
)

// cluster is a control plane with the product's RBAC and policy in force.
type cluster struct {
	*controlplane.ControlPlane
	admin kubernetes.Interface
}

// shared is the control plane of the tests that do it no harm.
var shared = sync.OnceValues(func() (*cluster, error) {
	return newCluster(context.Background(), controlplane.Options{AuditPolicy: controlplane.AuditMetadata})
})

func TestMain(m *testing.M) {
	code := m.Run()
	if c, err := shared(); err == nil {
		c.Stop()
	}
	os.Exit(code)
}

func sharedCluster(t *testing.T) *cluster {
	t.Helper()
	c, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ownCluster is a control plane that the test may hurt.
func ownCluster(t *testing.T, opts controlplane.Options) *cluster {
	t.Helper()
	c, err := newCluster(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return c
}

func newCluster(ctx context.Context, opts controlplane.Options) (*cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
	defer cancel()
	opts.Progress = func(p controlplane.Progress) {
		if !p.Cached {
			fmt.Fprintln(os.Stderr, p)
		}
	}
	cp, err := controlplane.Start(ctx, opts)
	if err != nil {
		return nil, err
	}
	c := &cluster{ControlPlane: cp}
	if c.admin, err = cp.Client(); err == nil {
		err = c.install(ctx)
	}
	if err != nil {
		cp.Stop()
		return nil, err
	}
	return c, nil
}

// install applies the manifests, and waits until RBAC and the policy are in
// force.
func (c *cluster) install(ctx context.Context) error {
	ns := []byte(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"` + namespace + `"}}`)
	for _, m := range []string{"", "base/rbac.yaml", "base/admission.yaml"} {
		b := ns
		if m != "" {
			var err error
			if b, err = os.ReadFile(filepath.Join("../../manifests", m)); err != nil {
				return err
			}
		}
		if err := c.Apply(ctx, b); err != nil {
			return err
		}
	}
	if _, err := c.admin.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "probe"}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	token, err := c.NodeToken(ctx, controlplane.NodeTokenOptions{Node: "probe", Namespace: namespace, ServiceAccount: serviceAccount})
	if err != nil {
		return err
	}
	agent, err := kubernetes.NewForConfig(c.TokenConfig(token))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var last error
	for try := 0; ; try++ {
		// A value of its own each time: the same label again changes nothing,
		// and passes.
		other := fmt.Appendf(nil, `{"metadata":{"labels":{"other":"%d"}}}`, try)
		_, allowed := agent.CoreV1().Nodes().Patch(ctx, "probe", types.MergePatchType, []byte(`{"metadata":{"labels":{"sctp-agent/ready":"false"}}}`), metav1.PatchOptions{}, "status")
		_, denied := agent.CoreV1().Nodes().Patch(ctx, "probe", types.MergePatchType, other, metav1.PatchOptions{}, "status")
		if allowed == nil && apierrors.IsForbidden(denied) {
			break
		}
		if ctx.Err() == nil {
			last = fmt.Errorf("the agent's own label: %v; another: %v", allowed, denied)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the policy does not come into force: %w", last)
		case <-time.After(100 * time.Millisecond):
		}
	}
	return c.admin.CoreV1().Nodes().Delete(ctx, "probe", metav1.DeleteOptions{})
}

// makeNode creates a Node as a kubelet and a cloud provider would leave it.
func (c *cluster) makeNode(t *testing.T, name string) {
	t.Helper()
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Labels:      map[string]string{"kubernetes.io/hostname": name, "node-role.kubernetes.io/worker": "", "example.com/rack": "7"},
			Annotations: map[string]string{"volumes.kubernetes.io/controller-managed-attach-detach": "true", "example.com/note": "a\nb"},
			Finalizers:  []string{"example.com/keep"},
		},
		Spec: corev1.NodeSpec{
			ProviderID: "example:///" + name, Unschedulable: true,
			Taints: []corev1.Taint{{Key: "example.com/dedicated", Value: "telco", Effect: corev1.TaintEffectNoSchedule}, {Key: "sctp-agent/startup", Effect: corev1.TaintEffectNoSchedule}},
		},
	}
	created, err := c.admin.CoreV1().Nodes().Create(t.Context(), n, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.deleteNode(context.Background(), name) })
	now := metav1.Now()
	status := corev1.NodeStatus{
		Capacity:    corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("8"), corev1.ResourceMemory: resource.MustParse("32Gi")},
		Allocatable: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("7500m"), corev1.ResourceMemory: resource.MustParse("30Gi")},
		Addresses:   []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.7"}},
		Conditions: []corev1.NodeCondition{
			{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", LastHeartbeatTime: now, LastTransitionTime: now},
			{Type: "NetworkUnavailable", Status: corev1.ConditionFalse, Reason: "RouteCreated", LastHeartbeatTime: now, LastTransitionTime: now},
		},
		NodeInfo: corev1.NodeSystemInfo{KernelVersion: "5.14.0", BootID: "b", MachineID: "m", SystemUUID: "s"},
		Images:   []corev1.ContainerImage{{Names: []string{"example.com/a@sha256:0"}, SizeBytes: 1}},
	}
	// The agent may be faster.
	for {
		created.Status = status
		_, err := c.admin.CoreV1().Nodes().UpdateStatus(t.Context(), created, metav1.UpdateOptions{FieldManager: "kubelet"})
		if err == nil {
			return
		}
		if !apierrors.IsConflict(err) {
			t.Fatal(err)
		}
		created = c.node(t, name)
	}
}

func (c *cluster) deleteNode(ctx context.Context, name string) {
	_, _ = c.admin.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	_ = c.admin.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{})
}

func (c *cluster) node(t *testing.T, name string) *corev1.Node {
	t.Helper()
	n, err := c.admin.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// others is all of a Node that is not the agent's, as it stands on the wire.
func (c *cluster) others(t *testing.T, name string) string {
	t.Helper()
	raw, err := c.admin.CoreV1().RESTClient().Get().Resource("nodes").Name(name).SetHeader("Accept", "application/json").Do(t.Context()).Raw()
	if err != nil {
		t.Fatal(err)
	}
	var obj map[string]any
	if err := json.Unmarshal(raw, &obj); err != nil {
		t.Fatal(err)
	}
	meta := obj["metadata"].(map[string]any)
	for _, part := range []string{"labels", "annotations"} {
		if m, ok := meta[part].(map[string]any); ok {
			maps.DeleteFunc(m, func(k string, _ any) bool { return strings.HasPrefix(k, nodelabel.DefaultPrefix) })
		}
	}
	delete(meta, "resourceVersion")
	meta["managedFields"] = slices.DeleteFunc(meta["managedFields"].([]any), func(e any) bool {
		return e.(map[string]any)["manager"] == nodelabel.FieldManager
	})
	if status, ok := obj["status"].(map[string]any); ok {
		if conditions, ok := status["conditions"].([]any); ok {
			status["conditions"] = slices.DeleteFunc(conditions, func(e any) bool {
				return e.(map[string]any)["type"] == nodelabel.ConditionType
			})
		}
	}
	out, err := json.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// says is the agent's part of a Node.
func says(n *corev1.Node) nodelabel.Metadata {
	own := func(m map[string]string) map[string]string {
		out := map[string]string{}
		for k, v := range m {
			if strings.HasPrefix(k, nodelabel.DefaultPrefix) {
				out[k] = v
			}
		}
		return out
	}
	return nodelabel.Metadata{Labels: own(n.Labels), Annotations: own(n.Annotations)}
}

// token of the agent's pod on a node.
func (c *cluster) token(t *testing.T, node string, ttl time.Duration) string {
	t.Helper()
	token, err := c.NodeToken(t.Context(), controlplane.NodeTokenOptions{Node: node, Namespace: namespace, ServiceAccount: serviceAccount, TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// connect the agent as a client with that configuration.
func connect(t *testing.T, cfg *rest.Config) *kubeconn.Conn {
	t.Helper()
	conn, err := controlplane.Conn(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// agentConfig is what the agent on a node connects with.
func (c *cluster) agentConfig(t *testing.T, node string) *rest.Config {
	return c.TokenConfig(c.token(t, node, 0))
}

// running is a writer that runs, and what came of its writes.
type running struct {
	*nodewriter.Writer
	mu       sync.Mutex
	outcomes map[nodewriter.Outcome]int
	log      *logBuffer
	stop     func()
}

func (r *running) count(o nodewriter.Outcome) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.outcomes[o]
}

// counts are the outcomes of all writes so far.
func (r *running) counts() map[nodewriter.Outcome]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.outcomes)
}

// startWriter runs a writer for a node until the test ends.
func (c *cluster) startWriter(t *testing.T, node string, change func(*nodewriter.Config)) *running {
	t.Helper()
	r := &running{outcomes: map[nodewriter.Outcome]int{}, log: new(logBuffer)}
	cfg := nodewriter.Config{
		Node:    node,
		Observe: func(o nodewriter.Outcome) { r.mu.Lock(); r.outcomes[o]++; r.mu.Unlock() },
		Log:     slog.New(slog.NewTextHandler(io.MultiWriter(r.log, testLog{t}), nil)),
	}
	if change != nil {
		change(&cfg)
	}
	if cfg.Conn == nil {
		cfg.Conn = connect(t, c.agentConfig(t, node))
	}
	w, err := nodewriter.NewWriter(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Writer = w
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.Run(ctx); err != nil {
			t.Errorf("the writer ended: %v", err)
		}
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Error("the writer does not end")
		}
	})
	t.Cleanup(r.stop)
	return r
}

// say publishes a report and waits until the Node says it.
func (r *running) say(t *testing.T, report verdict.Report) {
	t.Helper()
	r.Publish(report)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := r.Flush(ctx); err != nil {
		t.Fatalf("publishing %s: %v", report.Reason, err)
	}
}

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// within polls until check returns nil. One poll counts as a second at most: a
// machine that stands still uses up no limit.
func within(t *testing.T, limit time.Duration, check func() error) time.Duration {
	t.Helper()
	start := time.Now()
	for used := time.Duration(0); ; {
		began := time.Now()
		err := check()
		if err == nil {
			return time.Since(start)
		}
		if used > limit {
			t.Fatalf("after %s: %v", limit, err)
		}
		time.Sleep(20 * time.Millisecond)
		used += min(time.Since(began), time.Second)
	}
}

// hasLabel says whether a Node has the label with this value; "" for absent.
func (c *cluster) hasLabel(t *testing.T, node, key, want string) func() error {
	return func() error {
		n, err := c.admin.CoreV1().Nodes().Get(t.Context(), node, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if got := n.Labels[key]; got != want {
			return fmt.Errorf("node %s: %s=%q, want %q", node, key, got, want)
		}
		return nil
	}
}

const (
	boot1 = "11111111-1111-4111-8111-111111111111"
	boot2 = "22222222-2222-4222-8222-222222222222"
)

// report as Judge makes them, with what the writer looks at.
func report(node, bootID string, reason verdict.Reason) verdict.Report {
	r := verdict.Judge(verdict.Facts{Node: node})
	r.Reason, r.Ready, r.Message = reason, reason.Ready(), "because of "+string(reason)
	r.Kernel = verdict.Kernel{Release: "6.1.0", BootID: bootID, Machine: "x86_64"}
	r.OnBoot = verdict.OnBootBlocked
	if r.Ready == kmod.AnswerTrue {
		r.OnBoot = verdict.OnBootLoaded
		r.Module.State = kmod.StateLoaded
		r.Probe = verdict.Probe{Attempted: true, Suite: "quick", DurationMicros: time.Now().UnixNano() % 5000, Checks: []verdict.Check{
			{Name: "ipv4-stream", Result: "pass", DurationMicros: time.Now().UnixNano() % 999},
			{Name: "ipv6-stream", Result: "pass"},
			{Name: "multihoming", Result: "fail", Stage: "connect", Errno: "ETIMEDOUT"},
		}}
	}
	return r
}
