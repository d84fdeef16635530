package manifests_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sctp-agent/sctp-agent/internal/mesh/conclusion"
	"github.com/sctp-agent/sctp-agent/internal/mesh/kube"
	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
	"github.com/sctp-agent/sctp-agent/internal/meshview"
	"github.com/sctp-agent/sctp-agent/test/controlplane"
)

const (
	meshNamespace = "sctp-agent"
	meshAccount   = "system:serviceaccount:sctp-agent:sctp-mesh"
)

// The mesh's agents are granted what they call and nothing else, and of that only
// what is theirs: their own list, and tokens of their own account.
func TestMeshRBACIsExact(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute) // the first build of the API server
	defer cancel()
	objects, cp, client := installed(ctx, t, "testdata/mesh", controlplane.Options{AuditPolicy: controlplane.AuditMetadata})
	// The token is of a pod on the node, as the DaemonSet's is.
	token, err := cp.NodeToken(ctx, controlplane.NodeTokenOptions{Node: "worker-0", Namespace: meshNamespace, ServiceAccount: "sctp-mesh"})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := controlplane.Conn(cp.TokenConfig(token))
	if err != nil {
		t.Fatal(err)
	}
	pod, err := client.CoreV1().Pods(meshNamespace).Get(ctx, "sctp-agent-worker-0", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := &kube.Client{Conn: conn, Identity: kube.Identity{Node: "worker-0", Namespace: meshNamespace, Account: "sctp-mesh", Pod: pod.Name, UID: string(pod.UID)}}
	before, err := cp.AuditEvents()
	if err != nil {
		t.Fatal(err)
	}
	liveMesh(ctx, t, client, c)

	granted := rights(meshRoles(objects, "sctp-mesh"))
	var g, u []string
	until(ctx, t, "the audit log", func() bool {
		events, err := cp.AuditEvents()
		if err != nil {
			t.Fatal(err)
		}
		used, refused := called(events[len(before):], meshAccount)
		if len(refused) > 0 {
			t.Fatalf("refused: %v", refused)
		}
		g, u = slices.Sorted(maps.Keys(granted)), slices.Sorted(maps.Keys(used))
		return len(u) >= len(g)
	})
	if !slices.Equal(g, u) {
		t.Errorf("granted\n\t%s\nused\n\t%s", strings.Join(g, "\n\t"), strings.Join(u, "\n\t"))
	}

	// Nothing of others.
	mesh, err := kubernetes.NewForConfig(cp.TokenConfig(token))
	if err != nil {
		t.Fatal(err)
	}
	for what, try := range map[string]func() error{
		"another's token": func() error {
			foreign := *c
			foreign.Account = "sctp-agent"
			_, err := (&kube.Tokens{Client: &foreign}).Token(ctx, "x")
			return err
		},
		"another namespace's slices": func() error {
			_, err := mesh.DiscoveryV1().EndpointSlices("default").List(ctx, metav1.ListOptions{})
			return err
		},
		"pods":  func() error { _, err := mesh.CoreV1().Pods(meshNamespace).List(ctx, metav1.ListOptions{}); return err },
		"nodes": func() error { _, err := mesh.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); return err },
		"an agent's picture": func() error {
			_, err := mesh.CoreV1().Pods(meshNamespace).ProxyGet("http", pod.Name, "9477", "mesh", nil).DoRaw(ctx)
			return err
		},
	} {
		if err := try(); !apierrors.IsForbidden(err) && (err == nil || !strings.Contains(err.Error(), "forbidden")) {
			t.Errorf("%s: %v, want a refusal", what, err)
		}
	}
}

// liveMesh lets an agent ask everything of the API server that it ever does.
func liveMesh(ctx context.Context, t *testing.T, client kubernetes.Interface, c *kube.Client) {
	t.Helper()
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "sctp-mesh-x", Namespace: meshNamespace, Labels: map[string]string{discoveryv1.LabelServiceName: "sctp-mesh"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.1"}, NodeName: new("worker-1"), Zone: new("a")}},
	}
	slices := client.DiscoveryV1().EndpointSlices(meshNamespace)
	slice, err := slices.Create(ctx, slice, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	peers := &kube.Peers{Client: c, Service: "sctp-mesh", Family: netip.MustParseAddr("192.0.2.2")}
	if list, err := peers.List(ctx); err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	// One that has changed is read alone.
	slice.Endpoints[0].Addresses[0] = "192.0.2.3"
	if _, err := slices.Update(ctx, slice, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if list, err := peers.List(ctx); err != nil || len(list) != 1 || list[0].Address != netip.MustParseAddr("192.0.2.3") {
		t.Fatalf("%+v, %v", list, err)
	}
	token, err := (&kube.Tokens{Client: c}).Token(ctx, "worker-1")
	if err != nil {
		t.Fatal(err)
	}
	holder, err := (kube.Reviewer{Client: c}).Review(ctx, token, "worker-1")
	if lasts := time.Until(holder.Until); err != nil || holder.Pod != c.Pod || holder.Node != c.Node || lasts < time.Minute || lasts > 10*time.Minute {
		t.Fatalf("%+v, %v", holder, err)
	}
	events := kube.NewEvents(c, slog.New(slog.NewTextHandler(t.Output(), nil)))
	running, stop := context.WithCancel(ctx)
	defer stop()
	go events.Run(running)
	events.Changed(conclusion.Change{Peer: picture.Peer{Node: "worker-1"}, To: picture.ConclusionPath})
	until(ctx, t, "an Event", func() bool {
		list, err := client.CoreV1().Events(meshNamespace).List(ctx, metav1.ListOptions{})
		return err == nil && len(list.Items) > 0
	})
}

// meshRoles are the roles of a name.
func meshRoles(objects []any, name string) (roles []any) {
	for _, o := range objects {
		switch r := o.(type) {
		case *rbacv1.ClusterRole:
			if r.Name == name {
				roles = append(roles, r)
			}
		case *rbacv1.Role:
			if r.Name == name {
				roles = append(roles, r)
			}
		}
	}
	return roles
}

// Who has the Role sctp-mesh-reader reads the agents' pictures through the API
// server, and needs all of it; the account of the auditor has it.
func TestMeshReader(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	objects, cp, admin := installed(ctx, t, "testdata/mesh", controlplane.Options{})
	template := daemonSetNamed(t, "testdata/mesh", "sctp-mesh").Spec.Template
	for node, other := range map[string]string{"worker-0": "worker-1", "worker-1": "worker-0"} {
		address, port := serveMesh(t, picture.Picture{
			APIVersion: picture.APIVersion, Kind: picture.Kind, Node: node, Self: picture.Self{State: picture.StateOK},
			Peers: []picture.Peer{{Node: other, New: picture.Probe{State: picture.StateOK}}},
		})
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Name: "sctp-mesh-" + node, Labels: template.Labels,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "DaemonSet", Name: "sctp-mesh", UID: "1", Controller: new(true)}},
		}, Spec: *template.Spec.DeepCopy()}
		pod.Spec.NodeName = node
		for i, p := range pod.Spec.Containers[0].Ports {
			if p.Name == meshview.PortName {
				pod.Spec.Containers[0].Ports[i].ContainerPort = port
			}
		}
		created, err := admin.CoreV1().Pods(meshNamespace).Create(ctx, pod, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		created.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: address, PodIPs: []corev1.PodIP{{IP: address}}}
		if _, err := admin.CoreV1().Pods(meshNamespace).UpdateStatus(ctx, created, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ user, refusal string }{
		{"system:serviceaccount:sctp-agent:sctp-auditor", ""},
		{"visitor", "the right to list pods is missing"},
		{"lister", "the right to get pods/proxy is missing"},
	} {
		if c.user == "lister" { // one half of the Role
			role := meshRoles(objects, "sctp-mesh-reader")[0].(*rbacv1.Role).DeepCopy()
			role.Name = "lister"
			role.Rules = slices.DeleteFunc(role.Rules, func(r rbacv1.PolicyRule) bool { return !slices.Contains(r.Resources, "pods") })
			if _, err := admin.RbacV1().Roles(meshNamespace).Create(ctx, role, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			if _, err := admin.RbacV1().RoleBindings(meshNamespace).Create(ctx, &rbacv1.RoleBinding{
				ObjectMeta: metav1.ObjectMeta{Name: "lister"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "lister"},
				Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: "lister"}},
			}, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		cfg, err := cp.ClientConfig(c.user)
		if err != nil {
			t.Fatal(err)
		}
		client, err := kubernetes.NewForConfig(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var r *meshview.Result
		// A binding is in force a moment later.
		until(ctx, t, c.user+" to be let in", func() bool {
			r, err = meshview.Collect(ctx, client, meshview.Options{Namespace: meshNamespace})
			return c.refusal == "" || err != nil && strings.Contains(err.Error(), c.refusal)
		})
		if c.refusal == "" && (err != nil || r.Summary.Seen != 2 || r.Summary.OK != 2) {
			t.Errorf("%s: %+v, %v", c.user, r, err)
		}
	}
}

// serveMesh is an agent on an address of this machine that the API server proxies
// to: it refuses those of the loopback.
func serveMesh(t *testing.T, p picture.Picture) (address string, port int32) {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(addresses, func(a net.Addr) bool {
		ip, isNet := a.(*net.IPNet)
		return isNet && ip.IP.To4() != nil && ip.IP.IsGlobalUnicast()
	})
	if at < 0 {
		t.Fatal("this machine has no address but the loopback's")
	}
	l, err := net.Listen("tcp", addresses[at].(*net.IPNet).IP.String()+":0")
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/mesh" {
			t.Errorf("asked for %s", r.URL)
		}
		if err := json.NewEncoder(w).Encode(p); err != nil {
			t.Error(err)
		}
	})}}
	server.Start()
	t.Cleanup(server.Close)
	a := l.Addr().(*net.TCPAddr)
	return a.IP.String(), int32(a.Port)
}
