package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
	"github.com/sctp-agent/sctp-agent/test/chart"
	"github.com/sctp-agent/sctp-agent/test/node"
)

// firstCommit is the last one before the work on version 0.2.
const firstCommit = "fc6fad1a084a74a1430b2afa97e6664982f5b841"

// TestUpgrade goes from v0.1, its program and its manifests as they are in this
// repository's history, to today's, by kustomize, back, and by Helm; at no moment
// the Node is without its label, and no key has two owners. Then pods whose author
// knows nothing of labels start where SCTP was proved.
func TestUpgrade(t *testing.T) {
	if testing.Short() {
		t.Skip("only in make test-full")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 55*time.Minute)
	defer cancel()
	d := &deployment{T: t, first: firstSource(ctx, t)}
	t.Cleanup(func() {
		for _, s := range d.times {
			t.Log(s)
		}
	})
	d.start(ctx, node.Config{Files: []node.File{{Path: "/etc/modules-load.d/sctp.conf", Content: "sctp\n"}}})
	d.stage("v0.1, to the label true", func() {
		d.run(ctx, "apply", "-k", d.first)
		d.awaitVersion(ctx, firstVersion)
		d.awaitNode(ctx, "true", verdict.ReasonProbePassed)
		d.checkVersion(ctx, firstVersion)
	})
	fixture, err := os.ReadFile("../chart/testdata/manifests-v0.1.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if d.run(ctx, "kustomize", filepath.Join(d.first, "manifests/overlays/kubernetes")) != string(fixture) {
		t.Error("the chart's upgrade starts from other manifests than those of v0.1")
	}
	d.stage("upgrade by kustomize", func() {
		d.labelled(ctx, func() {
			d.run(ctx, "apply", "-k", "testdata/upgrade")
			d.awaitVersion(ctx, version)
		})
		d.checkVersion(ctx, version)
	})
	d.stage("back to v0.1", func() {
		d.labelled(ctx, func() {
			d.run(ctx, "apply", "-k", d.first)
			d.awaitVersion(ctx, firstVersion)
		})
		d.checkVersion(ctx, firstVersion)
	})
	d.stage("upgrade by Helm", func() {
		helm, err := chart.Helm(ctx, "../chart/helm")
		if err != nil {
			t.Fatal(err)
		}
		d.labelled(ctx, func() {
			install := exec.CommandContext(ctx, helm, "install", "sctp-agent", "../../charts/sctp-agent", "--namespace", namespace, "--take-ownership",
				"--set", "placement.enabled=true,condition.enabled=true")
			home := t.TempDir()
			install.Env = append(os.Environ(), "KUBECONFIG="+d.kubeconfig, "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
			if out, err := install.CombinedOutput(); err != nil {
				t.Fatalf("helm install: %v\n%s", err, out)
			}
			d.awaitVersion(ctx, version)
		})
		d.checkVersion(ctx, version)
	})
	d.stage("placement", func() { d.checkPlacement(ctx) })
}

// firstSource is the tree of v0.1, with an overlay of it that has the condition.
func firstSource(ctx context.Context, t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	archive := exec.CommandContext(ctx, "git", "-C", "../..", "archive", firstCommit)
	unpack := exec.CommandContext(ctx, "tar", "-x", "-C", dir)
	var err error
	if unpack.Stdin, err = archive.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	archive.Stderr, unpack.Stderr = &said, &said
	if err := errors.Join(archive.Start(), unpack.Run(), archive.Wait()); err != nil {
		t.Fatalf("v0.1 from this repository's history, which has to be complete: %v\n%s", err, said.String())
	}
	overlay := "resources: [manifests/overlays/kubernetes]\ncomponents: [manifests/components/condition]\n"
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(overlay), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// awaitVersion waits until the DaemonSet's rollout has brought the version.
func (d *deployment) awaitVersion(ctx context.Context, version string) {
	d.Helper()
	d.awaitRollout(ctx)
	if image := d.agentPod(ctx).Spec.Containers[0].Image; image != repository+":"+version {
		d.Fatalf("the agent's image is %s, want that of %s", image, version)
	}
}

// checkVersion: it is that version's program that reports, and one field manager
// owns what it writes. What an earlier version's kept beside it nobody would remove.
func (d *deployment) checkVersion(ctx context.Context, version string) {
	d.Helper()
	d.awaitCondition(ctx, corev1.ConditionTrue, verdict.ReasonProbePassed)
	// Its pod is ready before it has written anything.
	d.await(ctx, "a report of "+version, func() (bool, string) {
		platform := d.report(ctx).Host.Platform
		return (platform != "") == (version != firstVersion), fmt.Sprintf("one whose platform is %q", platform)
	})
	owners := map[string][]string{}
	for _, m := range d.get(ctx).ManagedFields {
		var fields struct {
			Metadata struct {
				Labels      map[string]any `json:"f:labels"`
				Annotations map[string]any `json:"f:annotations"`
			} `json:"f:metadata"`
			Status struct {
				Conditions map[string]any `json:"f:conditions"`
			} `json:"f:status"`
		}
		if err := json.Unmarshal(m.FieldsV1.GetRawBytes(), &fields); err != nil {
			d.Fatal(err)
		}
		for _, keys := range []map[string]any{fields.Metadata.Labels, fields.Metadata.Annotations, fields.Status.Conditions} {
			for key := range keys {
				if strings.HasPrefix(key, "f:sctp-agent/") || strings.Contains(key, nodelabel.ConditionType) {
					owners[key] = append(owners[key], fmt.Sprintf("%s of %q", m.Manager, m.Subresource))
				}
			}
		}
	}
	if len(owners) < 3 {
		d.Errorf("%s: owned are %v", version, owners)
	}
	for key, who := range owners {
		if len(who) != 1 {
			d.Errorf("%s: %s belongs to %v", version, key, who)
		}
	}
}

// checkPlacement creates one Deployment, as it is, in a namespace that has opted
// in and in one that has not, in a cluster with a second node that is empty, large,
// and never proved SCTP.
func (d *deployment) checkPlacement(ctx context.Context) {
	d.Helper()
	const bare = "bare"
	d.standIn(ctx, bare)
	d.run(ctx, "create", "namespace", "core")
	d.run(ctx, "label", "namespace", "core", "sctp-agent/placement=enabled")
	d.run(ctx, "create", "namespace", "elsewhere")

	const amf = "testdata/amf.yaml"
	try := pod("try", "")
	try.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 38412, Protocol: corev1.ProtocolSCTP}}
	d.await(ctx, "the policies to be in force", func() (bool, string) {
		p, err := d.client.CoreV1().Pods("core").Create(ctx, try, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil {
			return false, err.Error()
		}
		_, warning, err := d.kubectlOutput(ctx, "-n", "elsewhere", "create", "--dry-run=server", "-f", amf)
		return err == nil && warning != "" && p.Spec.NodeSelector[readyLabel] == "true", fmt.Sprint(p.Spec.NodeSelector, warning, err)
	})
	// run fails on any warning: in the namespace that has opted in there is none.
	d.run(ctx, "-n", "core", "create", "-f", amf)
	_, warning, err := d.kubectlOutput(ctx, "-n", "elsewhere", "create", "-f", amf)
	if err != nil {
		d.Fatal(err)
	}
	if !strings.Contains(warning, "the pods of this Deployment use SCTP and may start on nodes without it") {
		d.Errorf("whoever creates the Deployment elsewhere sees %q", warning)
	}
	d.run(ctx, "-n", "core", "rollout", "status", "deployment/amf", "--timeout=10m")
	for _, p := range d.pods(ctx, "core") {
		if p.Spec.NodeName != d.node.Name() || p.Status.Phase != corev1.PodRunning {
			d.Errorf("core/%s is %s on %s, want it on the node with SCTP", p.Name, p.Status.Phase, p.Spec.NodeName)
		}
	}
	// The scheduler had a choice, and would have taken the other node.
	d.await(ctx, "a pod elsewhere to be on the other node", func() (bool, string) {
		var where []string
		onBare := false
		for _, p := range d.pods(ctx, "elsewhere") {
			where = append(where, fmt.Sprintf("%s on %q", p.Name, p.Spec.NodeName))
			onBare = onBare || p.Spec.NodeName == bare
		}
		return onBare, strings.Join(where, ", ")
	})
	if got := d.get(ctx).Labels[readyLabel]; got != "true" {
		d.Errorf("the label is %q", got)
	}
}

func (d *deployment) pods(ctx context.Context, namespace string) []corev1.Pod {
	d.Helper()
	list, err := d.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		d.Fatal(err)
	}
	if len(list.Items) == 0 {
		d.Fatalf("no pod in %s", namespace)
	}
	return list.Items
}

// standIn is a node without a kubelet, ready until the test ends. The agent's
// DaemonSet leaves virtual nodes alone.
func (d *deployment) standIn(ctx context.Context, name string) {
	d.Helper()
	nodes := d.client.CoreV1().Nodes()
	if _, err := nodes.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{"type": "virtual-kubelet", corev1.LabelHostname: name},
	}}, metav1.CreateOptions{}); err != nil {
		d.Fatal(err)
	}
	beat := func() error {
		n, err := nodes.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now()}}
		n.Status.Capacity = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("64"), corev1.ResourceMemory: resource.MustParse("256Gi"), corev1.ResourcePods: resource.MustParse("100")}
		n.Status.Allocatable = n.Status.Capacity
		_, err = nodes.UpdateStatus(ctx, n, metav1.UpdateOptions{})
		return err
	}
	if err := beat(); err != nil {
		d.Fatal(err)
	}
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = beat() // refused when the controller wrote meanwhile; the next one follows
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Second):
			}
		}
	}()
	d.Cleanup(func() { stop(); <-done })
	// The controller takes its first taint away.
	d.await(ctx, name+" to be ready", func() (bool, string) {
		n, err := nodes.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return len(n.Spec.Taints) == 0, fmt.Sprint(n.Spec.Taints)
	})
}
