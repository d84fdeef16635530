package chart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/sctp-agent/sctp-agent/test/controlplane"
)

// plugin is kubectl-sctp, which stands in no image here.
var plugin = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "kubectl-sctp-")
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-o", dir, "./cmd/kubectl-sctp")
	build.Dir = "../.."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building kubectl-sctp: %w\n%s", err, out)
	}
	return filepath.Join(dir, "kubectl-sctp"), nil
})

// runPlugin runs kubectl-sctp as a pod of the account would, and returns its exit
// status.
func (c *cluster) runPlugin(t *testing.T, namespace, account string, args ...string) (status int, output string) {
	t.Helper()
	bin, err := plugin()
	if err != nil {
		t.Fatal(err)
	}
	b, err := controlplane.Kubeconfig(c.TokenConfig(c.podToken(t, namespace, account)), c.URL())
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, b, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), out.String()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, out.String()
}

// machineConfigs makes a pool and its rendered configuration, as OpenShift has
// them.
func (c *cluster) machineConfigs(t *testing.T) {
	t.Helper()
	for _, o := range []map[string]any{
		{"kind": "MachineConfigPool", "metadata": map[string]any{"name": "worker"}, "spec": map[string]any{"configuration": map[string]any{"name": "rendered-worker-1"}}},
		{"kind": "MachineConfig", "metadata": map[string]any{"name": "rendered-worker-1"}, "spec": map[string]any{"config": map[string]any{"ignition": map[string]any{"version": "3.2.0"}}}},
	} {
		o["apiVersion"] = "machineconfiguration.openshift.io/v1"
		plural := strings.ToLower(o["kind"].(string)) + "s"
		for _, k := range foreign {
			if k.plural != plural {
				continue
			}
			r := c.dynamic.Resource(k.resource())
			u := &unstructured.Unstructured{Object: o}
			if _, err := r.Create(t.Context(), u, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = r.Delete(context.Background(), u.GetName(), metav1.DeleteOptions{}) })
		}
	}
}

// The ClusterRole sctp-auditor is what the audit uses and nothing else: the API
// server's audit log says what was called, and nothing was refused.
func TestAuditorIsExact(t *testing.T) {
	c := sharedCluster(t)
	rendered := kustomize(t, "kubernetes", "auditor")
	if err := c.Apply(t.Context(), rendered); err != nil {
		t.Fatal(err)
	}
	defer c.delete(t, rendered)
	c.machineConfigs(t)
	c.makeNode(t, "audited", nil)
	// The network is asked for where a Service uses SCTP.
	services := c.admin.CoreV1().Services("default")
	if _, err := services.Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "ngap"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 38412, Protocol: corev1.ProtocolSCTP}}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	defer services.Delete(context.Background(), "ngap", metav1.DeleteOptions{})

	granted := map[string]bool{}
	for _, o := range objects(t, rendered) {
		if o.GetKind() != "ClusterRole" || o.GetName() != "sctp-auditor" {
			continue
		}
		var role rbacv1.ClusterRole
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &role); err != nil {
			t.Fatal(err)
		}
		for _, rule := range role.Rules {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					granted[verb+" "+resource] = true
				}
			}
		}
	}
	within(t, func() error { // RBAC comes into force
		if status, out := c.runPlugin(t, "sctp-agent", "sctp-auditor", "audit", "--fail-on=never"); status != 0 || strings.Contains(out, "the right to") {
			return fmt.Errorf("exit status %d:\n%s", status, out)
		}
		return nil
	})
	used := map[string]bool{}
	within(t, func() error {
		events, err := c.AuditEvents()
		if err != nil {
			return err
		}
		clear(used)
		for _, e := range events {
			if e.User.Username == "system:serviceaccount:sctp-agent:sctp-auditor" && e.ObjectRef != nil && e.ObjectRef.Resource != "" {
				used[e.Verb+" "+e.ObjectRef.Resource] = true
			}
		}
		if !maps.Equal(used, granted) {
			return fmt.Errorf("used %v, granted %v", slices.Sorted(maps.Keys(used)), slices.Sorted(maps.Keys(granted)))
		}
		return nil
	})
}

// kubelet runs the pods of a Job's name here, with the Job's own arguments and
// account, and says how they ended.
func (c *cluster) kubelet(ctx context.Context, t *testing.T, namespace, name string) {
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		}
		pods, err := c.admin.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: batchv1.JobNameLabel + "=" + name})
		if err != nil {
			continue
		}
		for _, pod := range pods.Items {
			if pod.Status.Phase != corev1.PodPending {
				continue
			}
			status, out := c.runPlugin(t, namespace, pod.Spec.ServiceAccountName, pod.Spec.Containers[0].Args...)
			t.Logf("%s %v: exit status %d\n%s", pod.Name, pod.Spec.Containers[0].Args, status, out)
			pod.Status.Phase = corev1.PodSucceeded
			if status != 0 {
				pod.Status.Phase = corev1.PodFailed
			}
			pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
				Name: pod.Spec.Containers[0].Name, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: int32(status)}},
			}}
			if _, err := c.admin.CoreV1().Pods(namespace).UpdateStatus(ctx, &pod, metav1.UpdateOptions{}); err != nil {
				t.Errorf("%s: %v", pod.Name, err)
			}
		}
	}
}

// "helm test" is the audit: it passes on a cluster where nothing is critical,
// fails where a pod uses SCTP on a node without it, and takes its account away.
func TestHelmTest(t *testing.T) {
	c := sharedCluster(t)
	c.makeNode(t, "without", map[string]string{"sctp.example/ready": "false"})
	helm(t, c.kubeconfig, "install", "sctp-agent", chartDir, "--namespace", "sctp-agent", "--create-namespace", "--set", "labelPrefix=sctp.example/")
	ctx, cancel := context.WithCancel(t.Context())
	var node sync.WaitGroup
	node.Go(func() { c.kubelet(ctx, t, "sctp-agent", "sctp-agent-test") })
	defer node.Wait()
	defer cancel()

	out, err := tryHelm(t, c.kubeconfig, "test", "sctp-agent", "--namespace", "sctp-agent", "--timeout", "60s")
	if err != nil || !strings.Contains(string(out), "Succeeded") {
		t.Errorf("nothing is critical: %v\n%s", err, out)
	}
	pod := sctpPod("default")
	pod.Spec.NodeName = "without"
	within(t, func() error { // the account is the controller's to make
		_, err := c.admin.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{})
		return err
	})
	t.Cleanup(func() {
		zero := int64(0)
		_ = c.admin.CoreV1().Pods("default").Delete(context.Background(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &zero})
	})
	if out, err := tryHelm(t, c.kubeconfig, "test", "sctp-agent", "--namespace", "sctp-agent", "--timeout", "60s"); err == nil {
		t.Errorf("a pod with SCTP on a node without:\n%s", out)
	}
	// What failed stays for its log, for an hour; its account does not.
	var left []string
	for name := range c.managed(t) {
		if strings.Contains(name, "-test") {
			left = append(left, name)
		}
	}
	if want := []string{"batch/v1 Job sctp-agent/sctp-agent-test"}; !slices.Equal(left, want) {
		t.Errorf("not removed: %v, want %v", left, want)
	}
	helm(t, c.kubeconfig, "uninstall", "sctp-agent", "--namespace", "sctp-agent")
	background := metav1.DeletePropagationBackground
	if err := c.admin.BatchV1().Jobs("sctp-agent").Delete(t.Context(), "sctp-agent-test", metav1.DeleteOptions{PropagationPolicy: &background}); err != nil {
		t.Error(err)
	}
	c.nothingRemains(t)
}
