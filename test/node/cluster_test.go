package node_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"github.com/sctp-agent/sctp-agent/test/controlplane"
	"github.com/sctp-agent/sctp-agent/test/node"
)

const workloadImage = "localhost/workload:test"

// workload builds the tests' application as an image archive.
func workload(ctx context.Context, t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "workload")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", bin, "./workload")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the workload: %v\n%s", err, out)
	}
	archive := filepath.Join(dir, "workload.tar")
	if err := node.WriteImage(archive, workloadImage, node.ImageConfig{Entrypoint: []string{"/workload"}, User: "65532:65532"}, map[string]string{"/workload": bin}); err != nil {
		t.Fatal(err)
	}
	return archive
}

func pod(name, node string, args ...string) *corev1.Pod {
	no := false
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			NodeName: node, RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: &no,
			Containers: []corev1.Container{{
				Name: "workload", Image: workloadImage, ImagePullPolicy: corev1.PullNever, Args: args,
				TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
			}},
		},
	}
}

// Pods of two nodes reach each other over SCTP in all the ways that a cluster
// offers, and do not once the network between the nodes drops it; the API
// server reaches their logs.
func TestTwoNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("only in make test-full")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	tunnel, err := node.NewTunnel()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tunnel.Close)
	cp, err := controlplane.Start(ctx, controlplane.Options{APIServerArgs: tunnel.APIServerArgs()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cp.Stop)
	if err := cp.StartComponent(ctx, controlplane.ControllerManager); err != nil {
		t.Fatal(err)
	}
	client, err := cp.Client()
	if err != nil {
		t.Fatal(err)
	}
	link, err := node.NewLink()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(link.Close)
	image := workload(ctx, t)

	nodes := make([]*node.Node, 2)
	var wg sync.WaitGroup
	for i := range nodes {
		wg.Go(func() {
			n, err := node.Boot(ctx, node.Config{
				Name: fmt.Sprintf("worker-%d", i), ControlPlane: cp, Link: link, KubeProxy: node.ProxyIPTables,
				Images: []string{image}, Logf: t.Logf,
				Files: []node.File{{Path: "/etc/modules-load.d/sctp.conf", Content: "sctp\n"}},
			})
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(n.Close)
			tunnel.Add(n)
			nodes[i] = n
			if err := n.WaitReady(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}

	const port = 38412
	pods := client.CoreV1().Pods(metav1.NamespaceDefault)
	if _, err := pods.Create(ctx, pod("server", "worker-1", "serve", fmt.Sprint(port)), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	svc, err := client.CoreV1().Services(metav1.NamespaceDefault).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "server"},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeNodePort, Selector: map[string]string{"app": "server"},
			Ports: []corev1.ServicePort{{Protocol: corev1.ProtocolSCTP, Port: port, TargetPort: intstr.FromInt32(port)}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	server := await(ctx, t, client, "server", corev1.PodRunning)
	if len(server.Status.PodIPs) != 2 {
		t.Errorf("the server's addresses: %v, want IPv4 and IPv6", server.Status.PodIPs)
	}
	nodePort := fmt.Sprint(svc.Spec.Ports[0].NodePort)

	paths := map[string][]string{
		"cluster-ip":    {svc.Spec.ClusterIP, fmt.Sprint(port)},
		"node-port":     {nodes[0].Addresses()[0], nodePort},
		"far-node-port": {nodes[1].Addresses()[0], nodePort},
	}
	for i, ip := range server.Status.PodIPs {
		paths[fmt.Sprintf("pod-ip-%d", i)] = []string{ip.IP, fmt.Sprint(port)}
	}
	for name, to := range paths {
		if _, err := pods.Create(ctx, pod(name, "worker-0", append([]string{"dial"}, to...)...), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for name := range paths {
		await(ctx, t, client, name, corev1.PodSucceeded)
	}
	log, err := pods.GetLogs("cluster-ip", &corev1.PodLogOptions{}).DoRaw(ctx)
	if err != nil || !strings.Contains(string(log), "nonce echoed by "+svc.Spec.ClusterIP) {
		t.Errorf("the log of a pod, through the API server: %v\n%s", err, log)
	}

	link.Filter(func(f node.Frame) bool { return !f.SCTP() })
	if _, err := pods.Create(ctx, pod("dropped", "worker-0", "dial", server.Status.PodIP, fmt.Sprint(port)), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	failed := await(ctx, t, client, "dropped", corev1.PodFailed)
	if msg := failed.Status.ContainerStatuses[0].State.Terminated.Message; !strings.Contains(msg, "connecting to") {
		t.Errorf("with SCTP dropped between the nodes: %q, want a failure to connect", msg)
	}
}

// await waits until the pod is in the phase.
func await(ctx context.Context, t *testing.T, client kubernetes.Interface, name string, phase corev1.PodPhase) *corev1.Pod {
	t.Helper()
	start := time.Now()
	for {
		p, err := client.CoreV1().Pods(metav1.NamespaceDefault).Get(ctx, name, metav1.GetOptions{})
		if err == nil && p.Status.Phase == phase {
			t.Logf("pod %s: %s after %.1f s", name, phase, time.Since(start).Seconds())
			return p
		}
		if err == nil && (p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded) {
			t.Fatalf("pod %s: %s, want %s: %+v", name, p.Status.Phase, phase, p.Status.ContainerStatuses)
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waiting for pod %s to be %s: %v; it is %+v", name, phase, err, p.Status)
		case <-time.After(300 * time.Millisecond):
		}
	}
}
