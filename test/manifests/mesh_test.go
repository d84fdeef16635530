package manifests_test

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sctp-agent/sctp-agent/test/controlplane"
)

// The API server admits the mesh's pod where it enforces the Pod Security
// Standard "restricted", without a warning, and refuses it on the node's network.
func TestMeshIsRestricted(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute) // the first build of the API server
	defer cancel()
	cp, err := controlplane.Start(ctx, controlplane.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cp.Stop)
	client, err := cp.Client()
	if err != nil {
		t.Fatal(err)
	}
	const namespace = "sctp-agent"
	if _, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: namespace, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest"},
	}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().ServiceAccounts(namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "sctp-mesh"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dir, refusal string
	}{{"testdata/mesh", ""}, {"testdata/openshift-all", ""}, {"testdata/kubernetes-all", "hostNetwork=true"}} {
		template := daemonSetNamed(t, c.dir, "sctp-mesh").Spec.Template
		_, err := client.CoreV1().Pods(namespace).Create(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "sctp-mesh-", Labels: template.Labels}, Spec: template.Spec,
		}, metav1.CreateOptions{})
		switch {
		case c.refusal == "" && err != nil:
			t.Errorf("%s: %v", c.dir, err)
		case c.refusal != "" && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), c.refusal)):
			t.Errorf("%s: %v, want %q", c.dir, err, c.refusal)
		}
	}
}

// What whoever runs the cluster expects of the mesh's pod.
func TestMeshOperations(t *testing.T) {
	spec := daemonSetNamed(t, "testdata/mesh", "sctp-mesh").Spec.Template.Spec
	c := spec.Containers[0]
	if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
		t.Errorf("resources %+v", c.Resources)
	}
	if spec.NodeSelector["sctp-agent/ready"] != "true" {
		t.Errorf("on nodes with %v", spec.NodeSelector)
	}
	if len(spec.Volumes) != 0 || len(spec.Containers) != 1 || len(spec.InitContainers) != 0 {
		t.Errorf("%d volumes, %d containers", len(spec.Volumes), len(spec.Containers))
	}
	// The node's uid range decides on OpenShift.
	if spec.SecurityContext.RunAsUser != nil || c.SecurityContext.RunAsUser != nil {
		t.Error("the pod names a user")
	}
	for _, p := range c.Ports {
		if p.Protocol == corev1.ProtocolSCTP {
			t.Errorf("the pod declares %d/SCTP: the audit takes it for a workload", p.ContainerPort)
		}
	}
}
