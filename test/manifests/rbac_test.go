package manifests_test

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sctp-agent/sctp-agent/internal/nodewriter"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
	"github.com/sctp-agent/sctp-agent/test/controlplane"
)

const account = "system:serviceaccount:sctp-agent:sctp-agent"

// installed is a control plane with the objects of a kustomization.
func installed(ctx context.Context, t *testing.T, dir string, opts controlplane.Options) ([]any, *controlplane.ControlPlane, kubernetes.Interface) {
	t.Helper()
	rendered := kustomize(t, dir)
	objects, err := decode(rendered)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := controlplane.Start(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cp.Stop)
	if err := cp.Apply(ctx, rendered); err != nil {
		t.Fatal(err)
	}
	client, err := cp.Client()
	if err != nil {
		t.Fatal(err)
	}
	return objects, cp, client
}

// The agent is granted what it calls and nothing else: every right of the
// manifests is used in the life of a writer with all its options, and no call
// is refused. The API server's audit log says what was called.
func TestRBACIsExact(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute) // the first build of the API server
	defer cancel()
	objects, cp, client := installed(ctx, t, "testdata/rbac", controlplane.Options{AuditPolicy: controlplane.AuditMetadata})
	const name = "worker-0"
	_, err := client.CoreV1().Nodes().Create(ctx, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.NodeSpec{Taints: []corev1.Taint{{Key: "sctp-agent/unproved", Effect: corev1.TaintEffectNoSchedule}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	token, err := cp.NodeToken(ctx, controlplane.NodeTokenOptions{Node: name, Namespace: "sctp-agent", ServiceAccount: "sctp-agent"})
	if err != nil {
		t.Fatal(err)
	}
	schema, err := client.FlowcontrolV1().FlowSchemas().Get(ctx, "sctp-agent", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	agents := cp.TokenConfig(token)
	flows := &flowRecorder{seen: map[string]bool{}}
	agents.Wrap(func(base http.RoundTripper) http.RoundTripper { return flows.over(base) })
	reader, err := kubernetes.NewForConfig(agents)
	if err != nil {
		t.Fatal(err)
	}
	until(ctx, t, "the flow schema to be in force", func() bool {
		_, err := reader.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		return err == nil && flows.reset()[string(schema.UID)]
	})
	before, err := cp.AuditEvents()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := controlplane.Conn(agents)
	if err != nil {
		t.Fatal(err)
	}
	live(ctx, t, client, nodewriter.Config{
		Conn: conn, Node: name, Condition: true, Events: true, StartupTaint: "sctp-agent/unproved",
		Log: slog.New(slog.DiscardHandler),
	})

	// The component priority-level means all of the agent's requests.
	if got, want := flows.reset(), map[string]bool{string(schema.UID): true}; !maps.Equal(got, want) {
		t.Errorf("the agent's requests belong to the flow schemas %v, want only %v", got, want)
	}

	granted := rights(objects)
	var g, u []string
	// A watch is in the log once the API server has noticed its end.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		events, err := cp.AuditEvents()
		if err != nil {
			t.Fatal(err)
		}
		used, refused := called(events[len(before):], account)
		for _, uri := range refused {
			t.Errorf("refused: %s", uri)
		}
		g, u = slices.Sorted(maps.Keys(granted)), slices.Sorted(maps.Keys(used))
		if slices.Equal(g, u) || t.Failed() || time.Now().After(deadline) {
			break
		}
	}
	if !slices.Equal(g, u) {
		t.Errorf("granted\n\t%s\nused\n\t%s", strings.Join(g, "\n\t"), strings.Join(u, "\n\t"))
	}
}

// called are the rights that an account has used, "verb resource", and what it
// was refused.
func called(events []controlplane.AuditEvent, account string) (used map[string]bool, refused []string) {
	used = map[string]bool{}
	for _, e := range events {
		if e.User.Username != account || e.ObjectRef == nil {
			continue
		}
		right := e.Verb + " " + e.ObjectRef.Resource
		if e.ObjectRef.Subresource != "" {
			right += "/" + e.ObjectRef.Subresource
		}
		used[right] = true
		// By a dry run the agent asks for what the policy is to refuse.
		if e.ResponseStatus != nil && e.ResponseStatus.Code == 403 && !strings.Contains(e.RequestURI, "dryRun=All") {
			refused = append(refused, e.Verb+" "+e.RequestURI)
		}
	}
	return used, refused
}

// flowRecorder notes by which flow schemas requests were admitted (API priority
// and fairness says it in each answer).
type flowRecorder struct {
	mu   sync.Mutex
	seen map[string]bool
}

func (f *flowRecorder) reset() map[string]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := f.seen
	f.seen = map[string]bool{}
	return seen
}

func (f *flowRecorder) over(base http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		resp, err := base.RoundTrip(req)
		if err == nil {
			f.mu.Lock()
			f.seen[resp.Header.Get("X-Kubernetes-Pf-Flowschema-Uid")] = true
			f.mu.Unlock()
		}
		return resp, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// live lets a writer do everything that it ever does.
func live(ctx context.Context, t *testing.T, client kubernetes.Interface, cfg nodewriter.Config) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute) // Events take half a minute by themselves
	defer cancel()
	w, err := nodewriter.NewWriter(cfg)
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- w.Run(running) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the writer ended: %v", err)
		}
	}()
	say := func(reason verdict.Reason) {
		t.Helper()
		r := verdict.Judge(verdict.Facts{Node: cfg.Node})
		r.Reason, r.Ready, r.Message = reason, reason.Ready(), string(reason)
		r.Kernel.BootID = "11111111-1111-4111-8111-111111111111"
		w.Publish(r)
		if err := w.Flush(ctx); err != nil {
			t.Fatalf("publishing %s: %v", reason, err)
		}
	}
	say(verdict.ReasonModuleBlacklisted)
	say(verdict.ReasonProbePassed)
	until(ctx, t, "the startup taint to go", func() bool {
		n, err := client.CoreV1().Nodes().Get(ctx, cfg.Node, metav1.GetOptions{})
		// The API server adds one of its own to a new Node.
		return err == nil && !slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == cfg.StartupTaint })
	})
	until(ctx, t, "an Event for each transition", func() bool {
		list, err := client.CoreV1().Events(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{})
		return err == nil && len(list.Items) >= 2
	})
	// A foreign edit is noticed by the watch, and put back.
	n, err := client.CoreV1().Nodes().Get(ctx, cfg.Node, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n.Labels["sctp-agent/ready"] = "false"
	if _, err := client.CoreV1().Nodes().Update(ctx, n, metav1.UpdateOptions{FieldManager: "somebody"}); err != nil {
		t.Fatal(err)
	}
	until(ctx, t, "the label to be put back", func() bool {
		n, err := client.CoreV1().Nodes().Get(ctx, cfg.Node, metav1.GetOptions{})
		return err == nil && n.Labels["sctp-agent/ready"] == "true"
	})
}

func until(ctx context.Context, t *testing.T, what string, done func() bool) {
	t.Helper()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("waiting for %s: %v", what, context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// rights that the objects grant, "verb resource".
func rights(objects []any) map[string]bool {
	granted := map[string]bool{}
	add := func(rules []rbacv1.PolicyRule) {
		for _, rule := range rules {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					granted[verb+" "+resource] = true
				}
			}
		}
	}
	for _, o := range objects {
		switch o := o.(type) {
		case *rbacv1.ClusterRole:
			add(o.Rules)
		case *rbacv1.Role:
			add(o.Rules)
		}
	}
	return granted
}
