package meshview

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
)

const namespace = "/api/v1/namespaces/mesh/pods"

// podOn is the mesh's pod on a node, as kubelet and the DaemonSet leave it.
func podOn(node string) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "sctp-mesh-" + node, OwnerReferences: []metav1.OwnerReference{{Kind: "DaemonSet", Name: "sctp-mesh", Controller: new(true)}}},
		Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "mesh", Ports: []corev1.ContainerPort{
			{Name: "questions", ContainerPort: 7000}, {Name: PortName, ContainerPort: 7443},
		}}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
}

// serve is an API server that lists pods, and proxies to what answers for them.
func serve(t *testing.T, pods []corev1.Pod, proxy func(w http.ResponseWriter, r *http.Request, pod string)) *cluster.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == namespace {
			if got := r.URL.Query().Get("labelSelector"); got != Selector {
				t.Errorf("selects %q", got)
			}
			if err := json.NewEncoder(w).Encode(corev1.PodList{Items: pods}); err != nil {
				t.Error(err)
			}
			return
		}
		pod, isProxy := strings.CutPrefix(r.URL.Path, namespace+"/http:")
		pod, isMesh := strings.CutSuffix(pod, ":7443/proxy/mesh")
		if !isProxy || !isMesh {
			t.Errorf("asked for %s", r.URL)
		}
		proxy(w, r, pod)
	}))
	t.Cleanup(server.Close)
	c, err := cluster.Connect(&rest.Config{Host: server.URL}, "kubectl-sctp", "v1", t.Output())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func show(t *testing.T, w http.ResponseWriter, p picture.Picture) {
	if err := json.NewEncoder(w).Encode(p); err != nil {
		t.Error(err)
	}
}

func refuse(w http.ResponseWriter, code int, message string) {
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":%q,"code":%d}`, message, code)
}

// An agent that does not answer, or not with a picture of its own node, is not
// seen, with the reason; all others are.
func TestCollect(t *testing.T) {
	f := fake{nodes: 16, zone: func(int) string { return "a" }, fails: func(int, int) picture.Scope { return "" }}
	var pods []corev1.Pod
	for i := range f.nodes {
		pods = append(pods, podOn(name(i)))
	}
	stray := podOn("stray")
	stray.OwnerReferences = nil // with the labels, and of no DaemonSet
	pods = append(pods, stray)
	pods[1].Status.Phase = corev1.PodPending
	pods[2].Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}}}
	pods[3].Spec.Containers[0].Ports = nil
	pods[4].DeletionTimestamp = &metav1.Time{Time: now}
	replaced := podOn(name(4)) // its successor
	replaced.Name = "sctp-mesh-new"
	pods = append(pods, replaced)
	c := serve(t, pods, func(w http.ResponseWriter, r *http.Request, pod string) {
		switch pod {
		case "sctp-mesh-new":
			show(t, w, f.picture(4))
		case "sctp-mesh-worker-5":
			refuse(w, http.StatusServiceUnavailable, "dial tcp 10.0.0.5:7443: connect: connection refused")
		case "sctp-mesh-worker-6":
			<-r.Context().Done()
		case "sctp-mesh-worker-7":
			show(t, w, f.picture(8))
		case "sctp-mesh-worker-8":
			fmt.Fprint(w, `{"apiVersion":"v1","kind":"`+strings.Repeat("x", 10_000)+`"}`)
		case "sctp-mesh-worker-9":
			fmt.Fprint(w, `"`+strings.Repeat("x", maxPicture)+`"`)
		case "sctp-mesh-worker-10":
			fmt.Fprint(w, "<html>")
		case "sctp-mesh-worker-11", "sctp-mesh-worker-12":
			// The pod itself, or a sidecar: the API server's is a Status.
			code := map[string]int{"sctp-mesh-worker-11": http.StatusForbidden, "sctp-mesh-worker-12": http.StatusUnauthorized}[pod]
			w.Header().Set("Content-Type", "text/plain")
			http.Error(w, "RBAC: access denied", code)
		default:
			var i int
			if _, err := fmt.Sscanf(pod, "sctp-mesh-worker-%d", &i); err != nil {
				t.Errorf("asked for %s", pod)
			}
			show(t, w, f.picture(i))
		}
	})
	var progress []string
	r, err := Collect(t.Context(), c.Kube, Options{Namespace: "mesh", Timeout: 2 * time.Second, Progress: func(s string) { progress = append(progress, s) }})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"worker-1": "its pod is Pending", "worker-2": "its pod waits: CrashLoopBackOff", "worker-3": `has no port "metrics"`,
		"worker-5": "get pods/sctp-mesh-worker-5 in namespace mesh: dial tcp 10.0.0.5:7443: connect: connection refused (HTTP 503)",
		"worker-6": "no answer within 2s", "worker-7": "answers for another node, worker-8", "worker-8": `answers with a "xxx`,
		"worker-9": "more than 256 KiB", "worker-10": "cannot be read",
		"worker-11": "the pod sctp-mesh-worker-11 answers with HTTP 403", "worker-12": "the pod sctp-mesh-worker-12 answers with HTTP 401",
	}
	for _, u := range r.Unseen {
		if part, expected := want[u.Node]; !expected || !strings.Contains(u.Why, part) || len(u.Why) > 510 {
			t.Errorf("%s: %s, want %q", u.Node, u.Why, part)
		}
		delete(want, u.Node)
	}
	if len(want) > 0 || r.Summary.Nodes != f.nodes || r.Summary.Seen != f.nodes-11 {
		t.Errorf("%+v; not listed: %v", r.Summary, want)
	}
	if len(progress) != 1 || progress[0] != "asked 16 of 16 agents" {
		t.Errorf("progress: %q", progress)
	}
}

// A missing right is named once, and ends it; so does the end of the context.
func TestCollectEnds(t *testing.T) {
	var pods []corev1.Pod
	for i := range 500 {
		pods = append(pods, podOn(name(i)))
	}
	var asked atomic.Int32
	c := serve(t, pods, func(w http.ResponseWriter, _ *http.Request, _ string) {
		asked.Add(1)
		refuse(w, http.StatusForbidden, `pods "x" is forbidden: User "u" cannot get resource "pods/proxy" in API group "" in the namespace "mesh"`)
	})
	_, err := Collect(t.Context(), c.Kube, Options{Namespace: "mesh"})
	if err == nil || !strings.Contains(err.Error(), "the right to get pods/proxy is missing") || strings.Count(err.Error(), "forbidden:") != 2 {
		t.Errorf("%v", err)
	}
	if n := asked.Load(); n > 4*parallel {
		t.Errorf("asked %d times", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c = serve(t, pods, func(_ http.ResponseWriter, r *http.Request, _ string) {
		cancel()
		<-r.Context().Done()
	})
	if _, err := Collect(ctx, c.Kube, Options{Namespace: "mesh"}); err == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("%v", err)
	}
	if _, err := Collect(t.Context(), serve(t, nil, nil).Kube, Options{Namespace: "mesh"}); err == nil || !strings.Contains(err.Error(), "is the mesh installed there") {
		t.Errorf("%v", err)
	}
}
