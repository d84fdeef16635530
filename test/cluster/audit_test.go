package cluster

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	watchapi "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sctp-agent/sctp-agent/internal/audit"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/machineconfig"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
	"github.com/sctp-agent/sctp-agent/test/controlplane"
)

const (
	agentNamespace = "sctp-agent"
	workloads      = "core"
	wideName       = "ip-10-201-103-47.eu-central-1.compute.internal"
)

// seed fills a cluster.
type seed struct {
	t      *testing.T
	ctx    context.Context
	client kubernetes.Interface
}

func must[T any](s *seed) func(T, error) T {
	return func(v T, err error) T {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
		return v
	}
}

func (s *seed) namespace(name string) {
	s.t.Helper()
	must[*corev1.Namespace](s)(s.client.CoreV1().Namespaces().Create(s.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}))
	// Pods need their namespace's service account; no controller makes it here.
	must[*corev1.ServiceAccount](s)(s.client.CoreV1().ServiceAccounts(name).Create(s.ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{}))
}

func report(name string, ready kmod.Answer, reason verdict.Reason, onBoot verdict.OnBoot) verdict.Report {
	r := verdict.Judge(verdict.Facts{Node: name})
	r.Ready, r.Reason, r.OnBoot = ready, reason, onBoot
	r.Remedy = ""
	r.Message = fmt.Sprintf("as the test wants it: %s", reason)
	r.Kernel = verdict.Kernel{Release: "5.14.0-570.el9.x86_64", BootID: "boot-of-" + name, Machine: "x86_64"}
	r.Module = verdict.Module{State: kmod.StateLoaded}
	if ready == kmod.AnswerFalse {
		r.Module.State = kmod.StateLoadable
	}
	return r
}

// node creates a Node as kubelet and agent leave it.
func (s *seed) node(name, role string, r *verdict.Report, change func(*corev1.Node)) error {
	var keys nodelabel.Keys
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"node-role.kubernetes.io/" + role: ""}}}
	status := corev1.NodeStatus{
		NodeInfo:   corev1.NodeSystemInfo{BootID: "boot-of-" + name},
		Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
	}
	if r != nil {
		if r.Ready != kmod.AnswerUnknown {
			n.Labels[keys.Ready()] = string(r.Ready)
		}
		n.Labels[keys.OnBoot()] = string(r.OnBoot)
		n.Annotations = map[string]string{
			keys.Reason(): string(r.Reason), keys.Message(): r.Message,
			keys.Since():  time.Now().Add(-3 * time.Hour).UTC().Format(time.RFC3339),
			keys.Report(): string(r.Compact(verdict.MaxAnnotation)),
		}
	}
	n.Status = status
	if change != nil {
		change(n)
	}
	status = n.Status
	created, err := s.client.CoreV1().Nodes().Create(s.ctx, n, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	created.Status = status
	_, err = s.client.CoreV1().Nodes().UpdateStatus(s.ctx, created, metav1.UpdateOptions{})
	return err
}

// pod creates a pod that runs, on a node.
func (s *seed) pod(namespace, name, node string, labels map[string]string, ports []corev1.ContainerPort, owners ...metav1.OwnerReference) error {
	p, err := s.client.CoreV1().Pods(namespace).Create(s.ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels, OwnerReferences: owners},
		Spec: corev1.PodSpec{
			NodeName:   node,
			Containers: []corev1.Container{{Name: "main", Image: "registry.example.com/app:v1.4.2", Ports: ports}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	p.Status.Phase = corev1.PodRunning
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	_, err = s.client.CoreV1().Pods(namespace).UpdateStatus(s.ctx, p, metav1.UpdateOptions{})
	return err
}

func (s *seed) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func sctp(port int32) []corev1.ContainerPort {
	return []corev1.ContainerPort{{Name: "ngap", ContainerPort: port, Protocol: corev1.ProtocolSCTP}}
}

func (s *seed) agentOn(node string) error {
	return s.pod(agentNamespace, "sctp-agent-"+node[:min(19, len(node))], node, map[string]string{"app.kubernetes.io/name": "sctp-agent"}, nil,
		metav1.OwnerReference{APIVersion: "apps/v1", Kind: "DaemonSet", Name: "sctp-agent", UID: "1", Controller: new(true)})
}

// machineConfigAPI serves the two kinds of the machine-config-operator that the
// audit reads.
func machineConfigAPI(t *testing.T, cfg *rest.Config) dynamic.Interface {
	t.Helper()
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	crds := client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	for kind, plural := range map[string]string{"MachineConfig": "machineconfigs", "MachineConfigPool": "machineconfigpools"} {
		_, err := crds.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
			"metadata": map[string]any{"name": plural + ".machineconfiguration.openshift.io", "annotations": map[string]any{
				"api-approved.kubernetes.io": "unapproved, for a test"}},
			"spec": map[string]any{
				"group": "machineconfiguration.openshift.io", "scope": "Cluster",
				"names": map[string]any{"kind": kind, "plural": plural, "singular": strings.ToLower(kind), "listKind": kind + "List"},
				"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true,
					"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}},
			},
		}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	// Served a moment after they are established.
	for plural := range map[string]bool{"machineconfigs": true, "machineconfigpools": true} {
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
			_, err := client.Resource(machineConfigResource(plural)).List(t.Context(), metav1.ListOptions{})
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
	}
	return client
}

func machineConfigResource(plural string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "machineconfiguration.openshift.io", Version: "v1", Resource: plural}
}

// rendered is a rendered MachineConfig: everything the operator puts on a pool's
// nodes, here the printed one's files and one that has nothing to do with them.
func rendered(name string, enables bool) *unstructured.Unstructured {
	files := []any{map[string]any{"path": "/etc/motd", "mode": int64(420), "contents": map[string]any{"source": "data:,hello"}}}
	if enables {
		for _, f := range machineconfig.Files(false) {
			files = append(files, map[string]any{"path": f.Path, "mode": int64(f.Mode), "overwrite": true, "contents": map[string]any{"source": "data:," + f.Contents}})
		}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": machineconfig.APIVersion, "kind": machineconfig.Kind, "metadata": map[string]any{"name": name},
		"spec": map[string]any{"config": map[string]any{"ignition": map[string]any{"version": "3.2.0"}, "storage": map[string]any{"files": files}}},
	}}
}

func machineConfigPool(name, current, target string, machines, updated int64, degraded string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": machineconfig.APIVersion, "kind": "MachineConfigPool", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"configuration": map[string]any{"name": target}},
		"status": map[string]any{"configuration": map[string]any{"name": current}, "machineCount": machines, "updatedMachineCount": updated,
			"conditions": []any{map[string]any{"type": "Degraded", "status": map[bool]string{true: "True", false: "False"}[degraded != ""], "message": degraded}}},
	}}
}

// troubled is a cluster that shows every kind of finding once.
func troubled(t *testing.T, cp *controlplane.ControlPlane) {
	s := &seed{t, t.Context(), clientFor(t, cp.Admin())}
	s.namespace(agentNamespace)
	s.namespace(workloads)
	good := func(name string) *verdict.Report {
		r := report(name, kmod.AnswerTrue, verdict.ReasonProbePassed, verdict.OnBootLoaded)
		return &r
	}
	bad := func(name string) *verdict.Report {
		r := report(name, kmod.AnswerFalse, verdict.ReasonModuleBlacklisted, verdict.OnBootBlocked)
		r.Remedy = "empty /etc/modprobe.d/sctp-blacklist.conf"
		return &r
	}
	nodes := []struct {
		name, role string
		r          *verdict.Report
		agent      bool
		change     func(*corev1.Node)
	}{
		{"good-0", "worker", good("good-0"), true, func(n *corev1.Node) {
			n.Labels["kubernetes.io/hostname"] = "good-0"
		}},
		{wideName, "worker", bad(wideName), true, func(n *corev1.Node) { n.Labels["kubernetes.io/hostname"] = wideName }}, // NodeNotReadyInPool
		{"stale", "worker", good("stale"), true, func(n *corev1.Node) { n.Status.NodeInfo.BootID = "another" }},
		{"edited", "worker", good("edited"), true, func(n *corev1.Node) { n.Labels[nodelabel.Keys{}.Ready()] = "false" }},
		{"fading", "infra", func() *verdict.Report {
			r := good("fading")
			r.OnBoot, r.Node = verdict.OnBootBlocked, "another"
			r.Warnings = append(r.Warnings, verdict.Warning{Reason: verdict.ReasonPolicyConfinesNobody, Message: "no admission policy confines the agent"})
			return r
		}(), true, nil},
		{"undecided", "infra", func() *verdict.Report {
			r := report("undecided", kmod.AnswerUnknown, verdict.ReasonPermissionDenied, verdict.OnBootUnknown)
			return &r
		}(), true, func(n *corev1.Node) { delete(n.Labels, nodelabel.Keys{}.OnBoot()) }},
		{"garbled", "infra", good("garbled"), true, func(n *corev1.Node) { n.Annotations[nodelabel.Keys{}.Report()] = "{" }},
		{"agentless", "infra", nil, false, func(n *corev1.Node) {
			n.Status.Conditions[0].Status = corev1.ConditionUnknown // KubeletNotReady
		}},
		{"crashing", "infra", good("crashing"), true, nil},
		{"about-to-lose", "edge", good("about-to-lose"), false, func(n *corev1.Node) {
			n.Annotations["machineconfiguration.openshift.io/currentConfig"] = "rendered-edge-1"
			n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{ // ConditionStale
				Type: nodelabel.ConditionType, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.NewTime(time.Now().Add(-24 * time.Hour)),
			})
		}},
	}
	for _, n := range nodes {
		s.ok(s.node(n.name, n.role, n.r, n.change))
		if n.agent {
			s.ok(s.agentOn(n.name))
		}
	}
	p := must[*corev1.Pod](s)(s.client.CoreV1().Pods(agentNamespace).Get(s.ctx, "sctp-agent-crashing", metav1.GetOptions{}))
	p.Spec.Containers[0].Image = "registry.example.com/app:v1.4.1" // AgentVersionSkew
	p = must[*corev1.Pod](s)(s.client.CoreV1().Pods(agentNamespace).Update(s.ctx, p, metav1.UpdateOptions{}))
	// The label alone makes no agent.
	s.ok(s.pod(workloads, "no-agent", "agentless", map[string]string{"app.kubernetes.io/name": "sctp-agent"}, nil))
	p.Status.Conditions[0].Status = corev1.ConditionFalse
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off 5m0s"}}}}
	must[*corev1.Pod](s)(s.client.CoreV1().Pods(agentNamespace).UpdateStatus(s.ctx, p, metav1.UpdateOptions{}))

	s.ok(s.pod(workloads, "amf-0", wideName, map[string]string{"app": "amf"}, sctp(38412)))
	s.ok(s.pod(workloads, "amf-1", "stale", map[string]string{"app": "amf"}, sctp(38412)))
	s.ok(s.pod(workloads, "web-0", wideName, map[string]string{"app": "web"}, []corev1.ContainerPort{{ContainerPort: 80}}))

	// PodWaitsForSCTP: no scheduler runs here, so the test leaves its condition.
	for _, name := range []string{"smf-0", "smf-1"} {
		p := must[*corev1.Pod](s)(s.client.CoreV1().Pods(workloads).Create(s.ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "smf", UID: "1", Controller: new(true)}}},
			Spec: corev1.PodSpec{
				NodeSelector: map[string]string{nodelabel.Keys{}.Ready(): "true", "kubernetes.io/hostname": wideName},
				Containers:   []corev1.Container{{Name: "main", Image: "registry.example.com/app:v1.4.2"}},
			},
		}, metav1.CreateOptions{}))
		p.Status.Conditions = []corev1.PodCondition{{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable,
			Message: "0/10 nodes are available: 10 node(s) didn't match Pod's node affinity/selector.",
		}}
		must[*corev1.Pod](s)(s.client.CoreV1().Pods(workloads).UpdateStatus(s.ctx, p, metav1.UpdateOptions{}))
	}

	services := s.client.CoreV1().Services(workloads)
	for name, kind := range map[string]corev1.ServiceType{"amf": corev1.ServiceTypeClusterIP, "outside": corev1.ServiceTypeLoadBalancer} {
		must[*corev1.Service](s)(services.Create(s.ctx, &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: corev1.ServiceSpec{Type: kind, Selector: map[string]string{"app": "amf"}, Ports: []corev1.ServicePort{{
				Name: "ngap", Port: 38412, Protocol: corev1.ProtocolSCTP,
			}}},
		}, metav1.CreateOptions{}))
	}
	refused := must[*corev1.Service](s)(services.Create(s.ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "refused"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 38412, Protocol: corev1.ProtocolSCTP}}},
	}, metav1.CreateOptions{}))
	refused.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1", Ports: []corev1.PortStatus{{Port: 38412, Protocol: corev1.ProtocolSCTP, Error: new("MixedProtocolNotSupported")}}}}
	must[*corev1.Service](s)(services.UpdateStatus(s.ctx, refused, metav1.UpdateOptions{}))
	must[*corev1.ConfigMap](s)(s.client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Create(s.ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "cilium-config"},
		Data:       map[string]string{"enable-sctp": "false", "kube-proxy-replacement": "false", "cluster-name": "default"},
	}, metav1.CreateOptions{}))
	must[*discoveryv1.EndpointSlice](s)(s.client.DiscoveryV1().EndpointSlices(workloads).Create(s.ctx, &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "amf-1", Labels: map[string]string{discoveryv1.LabelServiceName: "amf"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new("ngap"), Port: new(int32(38412)), Protocol: new(corev1.ProtocolSCTP)}},
		Endpoints: []discoveryv1.Endpoint{{
			Addresses: []string{"10.128.0.7"}, NodeName: new(wideName), Conditions: discoveryv1.EndpointConditions{Ready: new(true)},
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: workloads, Name: "amf-0"},
		}},
	}, metav1.CreateOptions{}))
	must[*networkingv1.NetworkPolicy](s)(s.client.NetworkingV1().NetworkPolicies(workloads).Create(s.ctx, &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "ngap"},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "amf"}},
			Ingress:     []networkingv1.NetworkPolicyIngressRule{{Ports: []networkingv1.NetworkPolicyPort{{Protocol: new(corev1.ProtocolSCTP), Port: new(intstr.FromInt32(36412))}}}},
		},
	}, metav1.CreateOptions{}))

	mcs := machineConfigAPI(t, cp.Admin())
	for name, enables := range map[string]bool{"rendered-worker-1": false, "rendered-worker-2": true, "rendered-edge-1": true, "rendered-edge-2": false} {
		must[*unstructured.Unstructured](s)(mcs.Resource(machineConfigResource("machineconfigs")).Create(s.ctx, rendered(name, enables), metav1.CreateOptions{}))
	}
	for _, pool := range []*unstructured.Unstructured{
		machineConfigPool("worker", "rendered-worker-1", "rendered-worker-2", 4, 1, ""),
		machineConfigPool("infra", "rendered-worker-1", "rendered-worker-2", 5, 2, "node fading: disk full"),
		machineConfigPool("edge", "rendered-edge-1", "rendered-edge-2", 1, 0, ""),
	} {
		must[*unstructured.Unstructured](s)(mcs.Resource(machineConfigResource("machineconfigpools")).Create(s.ctx, pool, metav1.CreateOptions{}))
	}
}

func decodeAudit(t *testing.T, text string) audit.Result {
	t.Helper()
	var r audit.Result
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	return r
}

func kinds(r audit.Result) []audit.Kind {
	var out []audit.Kind
	for _, f := range r.Findings {
		if !slices.Contains(out, f.Kind) {
			out = append(out, f.Kind)
		}
	}
	return out
}

// The audit of a cluster that shows every kind of finding, read as a person, as
// a program and in a browser; with all rights and with few.
func TestAudit(t *testing.T) {
	bin := program(t, "kubectl-sctp")
	cp := controlPlane(t, controlplane.Options{})
	troubled(t, cp)
	admin := kubeconfig(t, cp, "admin", "system:masters")

	t.Run("json", func(t *testing.T) {
		r := run(t, bin, "audit", "--kubeconfig", admin, "-o", "json", "--require", "kubernetes.io/hostname="+wideName)
		if r.code != 1 || r.stderr != "" {
			t.Errorf("exit status %d, stderr %q", r.code, r.stderr)
		}
		result := decodeAudit(t, r.stdout)
		// All but what needs a cluster without workloads, see TestAuditSight, or a mesh.
		want := slices.DeleteFunc(audit.Kinds(), func(k audit.Kind) bool {
			return k == audit.SCTPUnused || k == audit.NodeUnreachableBySCTP || k == audit.PathBroken
		})
		if got := kinds(result); !slices.Equal(got, want) {
			t.Errorf("kinds found %v\nall kinds   %v", got, want)
		}
		if s := result.Summary; s.Nodes != 10 || s.Ready != 5 || s.NotReady != 2 || s.Unknown != 3 {
			t.Errorf("summary %+v", s)
		}
		if len(result.Unseen) != 0 {
			t.Errorf("not seen: %+v", result.Unseen)
		}
		for _, f := range result.Findings {
			if f.Kind == audit.PodOnUnreadyNode && (f.Object.Name != "amf-0" || !slices.Contains(f.Evidence, "Service core/amf sends to its port 38412/SCTP")) {
				t.Errorf("got %+v", f)
			}
			if f.Kind == audit.PodWaitsForSCTP && (f.Object != audit.Object{Kind: "StatefulSet", Namespace: workloads, Name: "smf"} || f.Count != 2 || !slices.Equal(f.Members, []string{"smf-0", "smf-1"}) ||
				!slices.Contains(f.Evidence, "1 node of pool worker: ModuleBlacklisted: as the test wants it: ModuleBlacklisted; "+wideName)) {
				t.Errorf("got %+v", f)
			}
		}
	})

	t.Run("files", func(t *testing.T) { testFiles(t, bin, admin) })

	t.Run("table", func(t *testing.T) {
		r := run(t, bin, "audit", "--kubeconfig", admin)
		t.Logf("\n%s", r.stdout)
		// Whole names into a pipe.
		for _, want := range []string{"\n" + wideName + "  ", "CRITICAL  Pods that use SCTP on nodes that do not have it", "core/amf-0", "→ empty /etc/modprobe.d/sctp-blacklist.conf", "10 nodes: 5 ready, 2 not ready, 3 unknown", "v1.4.2"} {
			if !strings.Contains(r.stdout, want) {
				t.Errorf("the table does not say %q", want)
			}
		}
	})

	t.Run("terminal", func(t *testing.T) {
		screen, code := onTerminal(t, "", bin, "audit", "--kubeconfig", admin)
		if code != 1 || !strings.Contains(screen, "\x1b[1;31mCRITICAL\x1b[0m") {
			t.Errorf("no colour on a terminal (exit status %d):\n%s", code, screen)
		}
		t.Setenv("NO_COLOR", "1")
		if screen, _ := onTerminal(t, "", bin, "audit", "--kubeconfig", admin); strings.Contains(screen, "\x1b") {
			t.Error("colour, and NO_COLOR is set")
		}
	})

	t.Run("exit status", func(t *testing.T) {
		for _, c := range []struct {
			args []string
			code int
		}{
			{[]string{"--fail-on", "critical"}, 1},
			{[]string{"--fail-on", "never"}, 0},
			{[]string{"--selector", "node-role.kubernetes.io/infra", "--fail-on", "critical"}, 1}, // the edge pool's
			{[]string{"--fail-on", "bad"}, 2},
			{[]string{"--selector", "a b"}, 2},
			{[]string{"-n", workloads + "," + agentNamespace}, 1},
			{[]string{"--prefix", "kubernetes.io/"}, 2},
			{[]string{"--context", "nobody"}, 2},
		} {
			if r := run(t, bin, append([]string{"audit", "--kubeconfig", admin}, c.args...)...); r.code != c.code {
				t.Errorf("%v: exit status %d, want %d: %s", c.args, r.code, c.code, r.stderr)
			}
		}
	})

	t.Run("intent and baseline", func(t *testing.T) {
		dir := t.TempDir()
		old, file := filepath.Join(dir, "old.json"), filepath.Join(dir, "fleet.yaml")
		if err := os.WriteFile(old, []byte(run(t, bin, "audit", "--kubeconfig", admin, "-o", "json").stdout), 0o600); err != nil {
			t.Fatal(err)
		}
		text := "apiVersion: sctp-agent/v1\nkind: AuditIntent\nrequire: ['kubernetes.io/hostname=" + wideName + "']\naccept: [{kind: RequiredNodeNotReady, pool: worker}]\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			args []string
			code int
			says string
		}{
			{[]string{"--baseline", old}, 0, "Nothing found."},
			{[]string{"--baseline", old, "--require", "kubernetes.io/hostname=" + wideName}, 1, "Findings: 1 critical, 0 warnings, 0 infos."},
			{[]string{"--baseline", old, "--intent", file}, 0, "Accepted by the intent: 1."},
			{[]string{"--baseline", file}, 2, ""},
			{[]string{"--intent", old}, 2, ""},
			{[]string{"--accept", "kind=Misspelt"}, 2, ""},
		} {
			if r := run(t, bin, append([]string{"audit", "--kubeconfig", admin}, c.args...)...); r.code != c.code || !strings.Contains(r.stdout, c.says) {
				t.Errorf("%v: exit status %d, want %d and %q: %s%s", c.args, r.code, c.code, c.says, r.stdout, r.stderr)
			}
		}
	})

	t.Run("no such namespace", func(t *testing.T) {
		r := run(t, bin, "audit", "--kubeconfig", admin, "-n", workloads+",misspelt")
		if r.code != 2 || r.stdout != "" || !strings.Contains(r.stderr, `namespace "misspelt" not found`) {
			t.Errorf("exit status %d, %q, %q", r.code, r.stdout, r.stderr)
		}
	})

	t.Run("few rights", func(t *testing.T) {
		s := &seed{t, t.Context(), clientFor(t, cp.Admin())}
		must[*rbacv1.ClusterRole](s)(s.client.RbacV1().ClusterRoles().Create(s.ctx, &rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: "see-nodes"},
			Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"list"}}},
		}, metav1.CreateOptions{}))
		must[*rbacv1.ClusterRoleBinding](s)(s.client.RbacV1().ClusterRoleBindings().Create(s.ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "see-nodes"},
			Subjects:   []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "visitor"}},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "see-nodes"},
		}, metav1.CreateOptions{}))
		visitor := kubeconfig(t, cp, "visitor")
		var r ran
		// The authorizer learns of the binding a moment later.
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
			r = run(t, bin, "audit", "--kubeconfig", visitor, "--selector", "kubernetes.io/hostname=good-0")
			if r.stderr == "" || time.Now().After(deadline) {
				break
			}
		}
		if r.code != 2 {
			t.Errorf("exit status %d without the right to see pods, want 2: %s%s", r.code, r.stderr, r.stdout)
		}
		fits(t, r.stdout)
		for _, want := range []string{"the right to list pods is missing", "the right to list machineconfigpools.machineconfiguration.openshift.io is missing", "therefore not checked: PodOnUnreadyNode"} {
			if !strings.Contains(strings.Join(strings.Fields(r.stdout), " "), want) {
				t.Errorf("it does not say %q:\n%s", want, r.stdout)
			}
		}
		r = run(t, bin, "audit", "--kubeconfig", visitor)
		if r.code != 1 || !strings.Contains(r.stdout, "Reports from before the node's last boot") {
			t.Errorf("what can be seen is not examined (exit status %d):\n%s", r.code, r.stdout)
		}
		page := filepath.Join(t.TempDir(), "audit.html")
		s.ok(os.WriteFile(page, []byte(run(t, bin, "audit", "--kubeconfig", visitor, "-o", "html").stdout), 0o600))
		if dom := browse(t, page, "", ""); !strings.Contains(dom, "<td>?</td>") || strings.Contains(dom, "<td>none</td>") {
			t.Error("the page says of agents that it could not see that there are none")
		}
		r = run(t, bin, "audit", "--kubeconfig", kubeconfig(t, cp, "nobody"))
		if r.code != 2 || !strings.Contains(r.stderr, "list nodes: forbidden: the right to list nodes is missing") || r.stdout != "" {
			t.Errorf("without rights: exit status %d, %q, %q", r.code, r.stdout, r.stderr)
		}
	})

	t.Run("html", func(t *testing.T) {
		r := run(t, bin, "audit", "--kubeconfig", admin, "-o", "html")
		page := filepath.Join(t.TempDir(), "audit.html")
		if err := os.WriteFile(page, []byte(r.stdout), 0o600); err != nil {
			t.Fatal(err)
		}
		dom := browse(t, page, "", "")
		for _, want := range []string{"<td>" + wideName + "</td>", "10 of 10 nodes", "Pods that use SCTP on nodes that do not have it (1)", `data-kind="PolicyPortUnused"`, "edge: enables SCTP: false"} {
			if !strings.Contains(dom, want) {
				t.Errorf("the page does not show %q", want)
			}
		}
		narrowed := func(dom string) {
			t.Helper()
			if !strings.Contains(dom, "3 of 10 nodes") || strings.Contains(dom, "<td>good-0</td>") || !strings.Contains(dom, "<td>fading</td>") {
				t.Errorf("the filter does not narrow the rows:\n%s", dom[strings.Index(dom, "id=\"nodes\""):])
			}
		}
		narrowed(browse(t, page, "infra%20true", ""))
		narrowed(browse(t, page, "", `byId("filter").value = "Infra true"; byId("filter").dispatchEvent(new Event("input"));`))
		dom = browse(t, page, "", `for (let i = 0; i < 2; i++) document.querySelector("#nodes th button").click();`)
		if first := dom[strings.Index(dom, "<tbody>"):]; !strings.HasPrefix(first, "<tbody><tr><td>undecided</td>") {
			t.Errorf("two clicks on the first head do not sort downwards: %.200s", first)
		}
	})

	t.Run("watch", func(t *testing.T) { testWatch(t, bin, cp, admin) })

	// Last: it takes away what the others look at.
	t.Run("cleanup", func(t *testing.T) { testCleanup(t, bin, cp, admin) })
}

// TestAuditSight: what an audit may not see, and what is not there, are two
// things; and where there is nothing to look at, nothing is found to be good.
func TestAuditSight(t *testing.T) {
	bin := program(t, "kubectl-sctp")
	cp := controlPlane(t, controlplane.Options{})
	s := &seed{t, t.Context(), clientFor(t, cp.Admin())}
	audited := func(user string, args ...string) (ran, audit.Result) {
		t.Helper()
		r := run(t, bin, append([]string{"audit", "-o", "json", "--kubeconfig", kubeconfig(t, cp, user)}, args...)...)
		if r.stdout == "" {
			return r, audit.Result{}
		}
		return r, decodeAudit(t, r.stdout)
	}
	lists := func(group string, resources ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: []string{"list"}}
	}
	workloadRules := []rbacv1.PolicyRule{lists("", "pods", "services"), lists("discovery.k8s.io", "endpointslices"), lists("networking.k8s.io", "networkpolicies")}
	for name, rules := range map[string][]rbacv1.PolicyRule{"nodes": {lists("", "nodes")}, "workloads": workloadRules} {
		must[*rbacv1.ClusterRole](s)(s.client.RbacV1().ClusterRoles().Create(s.ctx, &rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules,
		}, metav1.CreateOptions{}))
	}
	ref := func(name string) rbacv1.RoleRef {
		return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}
	}
	users := func(names ...string) (out []rbacv1.Subject) {
		for _, name := range names {
			out = append(out, rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName, Name: name})
		}
		return out
	}
	for role, who := range map[string][]rbacv1.Subject{"nodes": users("viewer", "tenant"), "workloads": users("viewer")} {
		must[*rbacv1.ClusterRoleBinding](s)(s.client.RbacV1().ClusterRoleBindings().Create(s.ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: role}, Subjects: who, RoleRef: ref(role),
		}, metav1.CreateOptions{}))
	}
	s.namespace(agentNamespace)
	s.namespace(workloads)
	must[*rbacv1.RoleBinding](s)(s.client.RbacV1().RoleBindings(workloads).Create(s.ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "tenant"}, Subjects: users("tenant"), RoleRef: ref("workloads"),
	}, metav1.CreateOptions{}))

	// The authorizer learns of each binding a moment later.
	for _, right := range []struct{ user, namespace, group, resource string }{
		{"viewer", "", "", "nodes"},
		{"viewer", "", "networking.k8s.io", "networkpolicies"},
		{"tenant", "", "", "nodes"},
		{"tenant", workloads, "networking.k8s.io", "networkpolicies"},
	} {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: right.user, ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: "list", Namespace: right.namespace, Group: right.group, Resource: right.resource,
		}}}
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
			if must[*authorizationv1.SubjectAccessReview](s)(s.client.AuthorizationV1().SubjectAccessReviews().Create(s.ctx, review, metav1.CreateOptions{})).Status.Allowed {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("it does not come into force: %+v", right)
			}
		}
	}
	if r, _ := audited("viewer"); r.code != 2 || !strings.Contains(r.stderr, "the cluster has no nodes") {
		t.Errorf("no nodes: exit status %d, %q", r.code, r.stderr)
	}
	good := report("good", kmod.AnswerTrue, verdict.ReasonProbePassed, verdict.OnBootLoaded)
	s.ok(s.node("good", "worker", &good, nil))
	s.ok(s.agentOn("good"))
	if r, _ := audited("viewer", "--selector", "node-role.kubernetes.io/wroker"); r.code != 2 || !strings.Contains(r.stderr, `no node has the labels "node-role.kubernetes.io/wroker"`) {
		t.Errorf("a selector that selects nothing: exit status %d, %q", r.code, r.stderr)
	}

	// Rights are looked at before it is looked whether there is such an API: a
	// user without any for MachineConfigs gets 403 where there are none.
	if r, result := audited("viewer"); r.code != 0 || len(result.Unseen) != 0 || !slices.Equal(kinds(result), []audit.Kind{audit.SCTPUnused}) {
		t.Errorf("without the MachineConfig API: exit status %d, found %v, not seen %+v", r.code, kinds(result), result.Unseen)
	}

	bad := report("bad", kmod.AnswerFalse, verdict.ReasonModuleBlacklisted, verdict.OnBootBlocked)
	s.ok(s.node("bad", "infra", &bad, nil))
	s.ok(s.pod(workloads, "amf-0", "bad", nil, sctp(38412)))
	r, result := audited("tenant", "--namespace", workloads)
	if got := kinds(result); r.code != 1 || !slices.Equal(got, []audit.Kind{audit.PodOnUnreadyNode}) {
		t.Errorf("rights in one namespace: exit status %d, findings %v", r.code, got)
	}
	if u := result.Unseen; len(u) != 1 || u[0].Source != audit.SourceAgents || !strings.Contains(u[0].Why, "the agent's pods: list pods: forbidden") ||
		!slices.Equal(u[0].NotChecked, []audit.Kind{audit.ReadyWithoutAgent, audit.ConditionStale, audit.NodeWithoutAgent, audit.AgentNotReady, audit.AgentVersionSkew}) {
		t.Errorf("rights in one namespace: not seen %+v", u)
	}
}

// testWatch: --watch prints once, again when a Node has changed, and ends in
// good order at Ctrl-C.
func testWatch(t *testing.T, bin string, cp *controlplane.ControlPlane, admin string) {
	client := clientFor(t, cp.Admin())
	// The label of a node that no other test looks at, and back.
	set := func(value string) {
		t.Helper()
		patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%q}}}`, nodelabel.Keys{}.Ready(), value)
		if _, err := client.CoreV1().Nodes().Patch(t.Context(), "good-0", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), bin, "audit", "--kubeconfig", admin, "--watch", "--interval", "1s")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var sums []string
	first := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if !strings.HasPrefix(lines.Text(), "10 nodes: ") {
			continue
		}
		// The summary stands first and last.
		if first = !first; first {
			continue
		}
		sums = append(sums, lines.Text())
		switch len(sums) {
		case 1:
			// Nothing changes for some looks: nothing is printed.
			time.AfterFunc(4*time.Second, func() { set("false") })
		case 2:
			set("true")
		case 3:
			if err := cmd.Process.Signal(interrupt); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, stderr.String())
	}
	want := []string{"10 nodes: 5 ready, 2 not ready, 3 unknown", "10 nodes: 4 ready, 3 not ready, 3 unknown", "10 nodes: 5 ready, 2 not ready, 3 unknown"}
	if !slices.Equal(sums, want) {
		t.Errorf("it printed %q, want %q", sums, want)
	}
}

func testCleanup(t *testing.T, bin string, cp *controlplane.ControlPlane, admin string) {
	s := &seed{t, t.Context(), clientFor(t, cp.Admin())}
	// Besides what the agent wrote: a condition, the startup taint and one of
	// others', and a key with the prefix that somebody else wrote.
	n := must[*corev1.Node](s)(s.client.CoreV1().Nodes().Get(s.ctx, "good-0", metav1.GetOptions{}))
	n.Labels["sctp-agent/from-the-future"] = "x"
	n.Labels["sctp-agent.example.com/ready"] = "not-ours"
	n.Annotations["example.com/keep"] = "not ours"
	n.Spec.Taints = []corev1.Taint{{Key: "example.com/keep", Effect: corev1.TaintEffectNoSchedule}, {Key: "sctp-agent/unproved", Effect: corev1.TaintEffectNoSchedule}}
	n = must[*corev1.Node](s)(s.client.CoreV1().Nodes().Update(s.ctx, n, metav1.UpdateOptions{}))
	n.Status.Conditions = append([]corev1.NodeCondition{{Type: nodelabel.ConditionType, Status: corev1.ConditionTrue}}, n.Status.Conditions...)
	must[*corev1.Node](s)(s.client.CoreV1().Nodes().UpdateStatus(s.ctx, n, metav1.UpdateOptions{}))

	ours := func() (out []string) {
		list := must[*corev1.NodeList](s)(s.client.CoreV1().Nodes().List(s.ctx, metav1.ListOptions{}))
		for _, n := range list.Items {
			for key := range n.Labels {
				if strings.HasPrefix(key, "sctp-agent/") {
					out = append(out, n.Name+" "+key)
				}
			}
			for key := range n.Annotations {
				if strings.HasPrefix(key, "sctp-agent/") {
					out = append(out, n.Name+" "+key)
				}
			}
			for _, c := range n.Status.Conditions {
				if c.Type == nodelabel.ConditionType {
					out = append(out, n.Name+" condition")
				}
			}
			for _, taint := range n.Spec.Taints {
				if strings.HasPrefix(taint.Key, "sctp-agent/") {
					out = append(out, n.Name+" taint")
				}
			}
		}
		return out
	}
	// What an agent wrote before it was given another prefix: managedFields have it.
	apply := `{"apiVersion":"v1","kind":"Node","metadata":{"name":"stale","labels":{"own.example/ready":"true","own.example/of-a-later-version":"x"},"annotations":{"own.example/since":"x"}}}`
	must[*corev1.Node](s)(s.client.CoreV1().Nodes().Patch(s.ctx, "stale", types.ApplyPatchType, []byte(apply), metav1.PatchOptions{FieldManager: nodelabel.FieldManager}))
	must[*corev1.Node](s)(s.client.CoreV1().Nodes().Patch(s.ctx, "stale", types.MergePatchType, []byte(`{"metadata":{"labels":{"own.example/foreign":"x"},"annotations":{"machineconfiguration.openshift.io/reason":"","machineconfiguration.openshift.io/state":"Done"}}}`), metav1.PatchOptions{FieldManager: "somebody"}))
	before := ours()

	// Agents run: nothing is removed, but what they do not write.
	daemonSet := &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: agentNamespace, Name: "sctp-agent"},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app.kubernetes.io/name": "sctp-agent"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app.kubernetes.io/name": "sctp-agent"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "agent", Image: "registry.example.com/sctp-agent:v0.2.0", Command: []string{"/sctp-agent", "run"}, Args: []string{"--prefix", "own.example"}}}},
			},
		},
	}
	must[*appsv1.DaemonSet](s)(s.client.AppsV1().DaemonSets(agentNamespace).Create(s.ctx, daemonSet, metav1.CreateOptions{}))
	for _, args := range [][]string{{"--yes"}, {"--yes", "--prefix", "own.example"}} {
		if r := run(t, bin, append([]string{"cleanup", "--kubeconfig", admin}, args...)...); r.code != 2 || !strings.Contains(r.stderr, "kubectl delete daemonset --namespace sctp-agent sctp-agent") {
			t.Errorf("%v, while agents run: exit status %d, %s", args, r.code, r.stderr)
		}
	}
	if now := ours(); len(now) != len(before) {
		t.Fatalf("refused, and yet something was removed: %v", now)
	}
	s.ok(s.client.AppsV1().DaemonSets(agentNamespace).Delete(s.ctx, daemonSet.Name, metav1.DeleteOptions{}))

	// Without a terminal nobody can be asked: nothing happens.
	r := run(t, bin, "cleanup", "--kubeconfig", admin)
	fits(t, r.stdout)
	if r.code != 1 || !strings.Contains(r.stderr, "Nothing was removed") || !strings.Contains(r.stdout, "sctp-agent/unproved") {
		t.Errorf("exit status %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if r := run(t, bin, "cleanup", "--kubeconfig", admin, "--dry-run"); r.code != 1 {
		t.Errorf("--dry-run: exit status %d", r.code)
	}
	if now := ours(); len(now) != len(before) {
		t.Fatalf("a dry run removed something: %v", now)
	}

	// On a terminal it asks, and takes silence and anything but yes for a no.
	for _, answer := range []string{"n\n", "\n", "yes please\n", "\x04"} { // ^D
		screen, code := onTerminal(t, answer, bin, "cleanup", "--kubeconfig", admin)
		if code != 1 || !strings.Contains(screen, fmt.Sprintf("Remove all of this from %d nodes? [y/N]", 9)) || !strings.Contains(screen, "sctp-agent/unproved") {
			t.Errorf("answer %q: exit status %d\n%s", answer, code, screen)
		}
	}
	if now := ours(); len(now) != len(before) {
		t.Fatalf("declined, and yet something was removed: %v", now)
	}

	r = run(t, bin, "cleanup", "--kubeconfig", kubeconfig(t, cp, "visitor"), "--yes")
	if r.code != 2 || !strings.Contains(r.stderr, "list daemonsets.apps: forbidden: the right to list daemonsets.apps is missing") {
		t.Errorf("without the right to see agents: exit status %d, %s", r.code, r.stderr)
	}
	r = run(t, bin, "cleanup", "--kubeconfig", kubeconfig(t, cp, "visitor"), "--yes", "--ignore-agents")
	if r.code != 2 || !strings.Contains(r.stderr, "clean up node ") || !strings.Contains(r.stderr, ": forbidden: the right to get nodes is missing") {
		t.Errorf("without rights: exit status %d, %s", r.code, r.stderr)
	}

	r = run(t, bin, "cleanup", "--kubeconfig", admin, "--yes", "--selector", "kubernetes.io/hostname=nobody")
	if now := ours(); r.code != 0 || len(now) != len(before) || !strings.Contains(r.stderr, `Only nodes with the labels "kubernetes.io/hostname=nobody" were looked at`) {
		t.Errorf("nodes that were not selected are cleaned up: exit status %d, %v, %s", r.code, now, r.stderr)
	}
	if screen, code := onTerminal(t, "y\n", bin, "cleanup", "--kubeconfig", admin); code != 0 || !strings.Contains(screen, "Removed from 9 nodes") {
		t.Errorf("exit status %d: %s", code, screen)
	}
	if now := ours(); !slices.Equal(now, []string{"good-0 sctp-agent/from-the-future"}) {
		t.Errorf("left on the nodes: %v", now)
	}
	n = must[*corev1.Node](s)(s.client.CoreV1().Nodes().Get(s.ctx, "stale", metav1.GetOptions{}))
	for key, left := range map[string]bool{"own.example/ready": false, "own.example/of-a-later-version": false, "own.example/since": false, "own.example/foreign": true,
		"machineconfiguration.openshift.io/reason": true, "machineconfiguration.openshift.io/state": true} {
		_, label := n.Labels[key]
		if _, annotation := n.Annotations[key]; (label || annotation) != left {
			t.Errorf("%s is left: %v, want %v", key, !left, left)
		}
	}
	n = must[*corev1.Node](s)(s.client.CoreV1().Nodes().Get(s.ctx, "good-0", metav1.GetOptions{}))
	if n.Labels["sctp-agent.example.com/ready"] == "" || n.Annotations["example.com/keep"] == "" || len(n.Spec.Taints) != 1 || len(n.Status.Conditions) != 1 {
		t.Errorf("something of others' was touched: %v %v %v %v", n.Labels, n.Annotations, n.Spec.Taints, n.Status.Conditions)
	}
	if r := run(t, bin, "cleanup", "--kubeconfig", admin); r.code != 0 || !strings.Contains(r.stdout, "Nothing of the agent's") {
		t.Errorf("a second time: exit status %d, %s", r.code, r.stdout)
	}

	// Somebody who is no DaemonSet writes again as soon as it is gone.
	write := func() {
		if _, err := s.client.CoreV1().Nodes().Patch(s.ctx, "stale", types.MergePatchType, []byte(`{"metadata":{"labels":{"sctp-agent/ready":"true"}}}`), metav1.PatchOptions{}); err != nil {
			t.Error(err)
		}
	}
	write()
	ctx, stop := context.WithCancel(s.ctx)
	defer stop()
	watch := must[watchapi.Interface](s)(s.client.CoreV1().Nodes().Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=stale"}))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range watch.ResultChan() {
			if n, ok := e.Object.(*corev1.Node); ok && n.Labels["sctp-agent/ready"] == "" {
				write()
				return
			}
		}
	}()
	r = run(t, bin, "cleanup", "--kubeconfig", admin, "--yes")
	<-done
	if r.code != 1 || !strings.Contains(r.stderr, "Written again on 1 node:") || !strings.Contains(r.stderr, "stale") {
		t.Errorf("something came back: exit status %d, %s", r.code, r.stderr)
	}

	// Ctrl-C while it waits to look again.
	cmd := exec.CommandContext(s.ctx, bin, "cleanup", "--kubeconfig", admin, "--yes")
	stderr, err := cmd.StderrPipe()
	s.ok(err)
	s.ok(cmd.Start())
	said := ""
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		if said += lines.Text() + "\n"; strings.HasPrefix(lines.Text(), "Checking again") {
			s.ok(cmd.Process.Signal(interrupt))
		}
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 2 || !strings.HasSuffix(said, "kubectl-sctp: interrupted: 1 node cleaned up; whether an agent writes again is not known\n") {
		t.Errorf("interrupted: %v\n%s", err, said)
	}
}

// TestAuditAtScale holds an audit of 5,000 nodes and 20,000 findings to its
// memory, of the cluster and of what kubectl writes of it.
func TestAuditAtScale(t *testing.T) {
	const (
		nodeCount, sctpPods, otherPods = 5000, 20_000, 1000
		unready                        = nodeCount - 1 // one of their pool has SCTP
		most                           = 150_000_000
	)
	bin := program(t, "kubectl-sctp")
	cp := controlPlane(t, controlplane.Options{APIServerArgs: []string{"--max-requests-inflight=2000", "--max-mutating-requests-inflight=2000"}})
	s := &seed{t, t.Context(), clientFor(t, cp.Admin())}
	s.namespace(agentNamespace)
	s.namespace(workloads)
	name := func(i int) string { return fmt.Sprintf("worker-%04d", i) }
	start := time.Now()
	inParallel(t, nodeCount, func(i int) error {
		r := report(name(i), kmod.AnswerTrue, verdict.ReasonProbePassed, verdict.OnBootLoaded)
		if i < unready {
			r = report(name(i), kmod.AnswerFalse, verdict.ReasonModuleBlacklisted, verdict.OnBootBlocked)
		}
		return s.node(name(i), "worker", &r, nil)
	})
	inParallel(t, nodeCount+sctpPods+otherPods, func(i int) error {
		switch {
		case i < nodeCount:
			return s.agentOn(name(i))
		case i < nodeCount+sctpPods:
			return s.pod(workloads, fmt.Sprintf("sctp-%d", i), name(i%unready), map[string]string{"app": "sctp"}, sctp(38412))
		default:
			return s.pod(workloads, fmt.Sprintf("web-%d", i), name(i%nodeCount), map[string]string{"app": "web"}, []corev1.ContainerPort{{ContainerPort: 80}})
		}
	})
	t.Logf("%d nodes and %d pods created in %v", nodeCount, nodeCount+sctpPods+otherPods, time.Since(start).Round(time.Second))

	admin := kubeconfig(t, cp, "admin", "system:masters")
	programs, err := controlplane.Build(t.Context(), nil, controlplane.Kubectl)
	if err != nil {
		t.Fatal(err)
	}
	dump := filepath.Join(t.TempDir(), "cluster.json")
	file, err := os.Create(dump)
	s.ok(err)
	get := exec.Command(programs[controlplane.Kubectl], "get", "--kubeconfig", admin, "nodes,namespaces,pods,services,endpointslices,networkpolicies", "-A", "-o", "json")
	get.Stdout, get.Stderr = file, t.Output()
	s.ok(get.Run())
	s.ok(file.Close())
	for source, args := range map[string][]string{"cluster": {"--kubeconfig", admin}, "files": {"-f", dump}} {
		for _, form := range []string{"json", "yaml", "html", "table", "wide", "name", "jsonpath={.findings[*].object.name}", "go-template={{range .findings}}{{.object.name}} {{end}}"} {
			r := run(t, bin, append([]string{"audit", "-o", form, "--timeout", "10m"}, args...)...)
			t.Logf("%s, -o %s: %.1f s, peak memory %d MB, %d KiB", source, form, r.elapsed.Seconds(), r.peakKiB<<10/1_000_000, len(r.stdout)>>10)
			if r.code != 1 || r.peakKiB<<10 > most {
				t.Errorf("%s, -o %s: exit status %d, peak memory %d KiB; %s", source, form, r.code, r.peakKiB, r.stderr)
			}
			switch form {
			case "json":
				result := decodeAudit(t, r.stdout)
				perKind := map[audit.Kind]int{}
				for _, f := range result.Findings {
					perKind[f.Kind] += f.Count
				}
				if len(result.Nodes) != nodeCount || perKind[audit.NodeNotReadyInPool] != unready || perKind[audit.PodOnUnreadyNode] != sctpPods || len(perKind) != 2 || len(result.Findings) != sctpPods+1 {
					t.Errorf("%s: %d nodes, findings %v", source, len(result.Nodes), perKind)
				}
			case "table":
				fits(t, r.stdout)
				if !strings.Contains(r.stdout, "… and 19995 more") {
					t.Error("the table lists every finding of a kind")
				}
				if !strings.Contains(r.stdout, "worker-0000 and 4998 more") {
					t.Error("nodes of one cause are not one finding")
				}
			case "name":
				if n := strings.Count(r.stdout, "\n"); n != unready+sctpPods {
					t.Errorf("%d names", n)
				}
			}
		}
	}
}

// inParallel calls f for 0 to n-1 from a few goroutines.
func inParallel(t *testing.T, n int, f func(int) error) {
	t.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	var once sync.Once
	var failed error
	for range 16 {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := f(i); err != nil {
					once.Do(func() { failed = err })
					next.Store(int64(n))
				}
			}
		})
	}
	wg.Wait()
	if failed != nil {
		t.Fatal(failed)
	}
}

// The program is a plugin by its name: kubectl finds it on the path, and passes
// on arguments, output and exit status. By its second name it is asked what may
// follow on the command line.
func TestKubectlPlugin(t *testing.T) {
	plugin := program(t, "kubectl-sctp")
	programs, err := controlplane.Build(t.Context(), nil, controlplane.Kubectl)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Dir(plugin))
	kubectl := programs[controlplane.Kubectl]
	if r := run(t, kubectl, "sctp", "audit", "--help"); r.code != 0 || !strings.Contains(r.stdout, "kubectl sctp audit [flags]") {
		t.Errorf("exit status %d:\n%s%s", r.code, r.stdout, r.stderr)
	}
	if r := run(t, kubectl, "sctp", "audit", "--kubeconfig", "/does/not/exist"); r.code != 2 || !strings.Contains(r.stderr, "/does/not/exist") {
		t.Errorf("exit status %d:\n%s%s", r.code, r.stdout, r.stderr)
	}

	if err := os.Symlink(plugin, filepath.Join(filepath.Dir(plugin), "kubectl_complete-sctp")); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/api/v1/namespaces":
			fmt.Fprint(w, `{"items":[{"metadata":{"name":"core"}},{"metadata":{"name":"edge"}}]}`)
		case "/api/v1/nodes":
			fmt.Fprint(w, `{"items":[{"metadata":{"name":"worker-0"}}]}`)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	config := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"east","contexts":[{"name":"east","context":{"cluster":"c1","user":"u1"}},{"name":"west","context":{"cluster":"c1","user":"u1"}}],
"users":[{"name":"u1","user":{}}],"clusters":[{"name":"c1","cluster":{"server":%q}}]}`, server.URL)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		line []string
		want []string
	}{
		{[]string{"au"}, []string{"audit"}},
		{[]string{"audit", "--fail-on", ""}, []string{"critical", "warning", "info", "never"}},
		{[]string{"audit", "-o", ""}, []string{
			"table", "wide", "name", "html", "json", "yaml", "go-template", "go-template-file", "template", "templatefile", "jsonpath", "jsonpath-as-json", "jsonpath-file",
		}},
		{[]string{"audit", "--kubeconfig", config, "--context", ""}, []string{"east", "west"}},
		{[]string{"audit", "--kubeconfig", config, "--cluster", ""}, []string{"c1"}},
		{[]string{"audit", "--kubeconfig", config, "--user", ""}, []string{"u1"}},
		{[]string{"audit", "--kubeconfig", config, "--context", "west", "-n", ""}, []string{"core", "edge"}},
		{[]string{"verify", "--kubeconfig", config, "--node", ""}, []string{"worker-0"}},
		{[]string{"machineconfig", "--format", ""}, []string{"machineconfig", "butane", "modprobe.d"}},
	} {
		r := run(t, kubectl, append([]string{"__complete", "sctp"}, c.line...)...)
		var got []string
		for line := range strings.Lines(r.stdout) {
			if word, _, _ := strings.Cut(strings.TrimSpace(line), "\t"); !strings.HasPrefix(word, ":") {
				got = append(got, word)
			}
		}
		if r.code != 0 || !slices.Equal(got, c.want) {
			t.Errorf("kubectl __complete sctp %q: %q, want %q; exit status %d, %s", c.line, got, c.want, r.code, r.stderr)
		}
	}
}
