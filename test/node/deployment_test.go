package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
	"github.com/sctp-agent/sctp-agent/test/controlplane"
	"github.com/sctp-agent/sctp-agent/test/image"
	"github.com/sctp-agent/sctp-agent/test/node"
)

const (
	readyLabel  = "sctp-agent/ready"
	onBootLabel = "sctp-agent/on-boot"
	reasonKey   = "sctp-agent/reason"
	reportKey   = "sctp-agent/report"
	namespace   = "sctp-agent"
	repository  = "ghcr.io/sctp-agent/sctp-agent"
	// What the component startup-taint removes.
	startupTaint = "sctp-agent/unproved"
	features     = "/etc/kubernetes/node-feature-discovery/features.d/sctp-agent"
	// What the manifests name, and what comes before and after it.
	firstVersion, version, nextVersion = "v0.1.0", "v0.2.0", "v0.2.1"
	manifests                          = "../../manifests"
)

// deployment is one cluster of one node, to which the manifests are applied.
type deployment struct {
	*testing.T
	cp         *controlplane.ControlPlane
	client     kubernetes.Interface
	node       *node.Node
	kubectl    string
	kubeconfig string
	first      string // the source of firstVersion; "" is none
	times      []string
	hasNFD     bool // in the guest
}

// TestDeployment goes through the life of the DaemonSet on a real node: from
// "kubectl apply -k" on a node with a blacklist to its removal without a trace.
func TestDeployment(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 55*time.Minute)
	defer cancel()
	d := &deployment{T: t}
	t.Cleanup(func() {
		for _, s := range d.times {
			t.Log(s)
		}
	})
	d.start(ctx, node.Config{
		Taints: []string{startupTaint + "=:NoSchedule"},
		// As RHEL's kernel-modules-extra brings it.
		Files: []node.File{{Path: "/etc/modprobe.d/sctp-blacklist.conf", Content: "# Remove this line to enable SCTP.\nblacklist sctp\n"}},
	})

	d.stage("apply, to the label false", func() {
		d.run(ctx, "apply", "-k", manifests+"/overlays/kubernetes")
		d.awaitNode(ctx, "false", verdict.ReasonModuleBlacklisted)
	})
	d.checkBlacklisted(ctx)
	d.awaitRollout(ctx)
	// What an administrator may add, and the workloads of the examples, which
	// wait for a node with SCTP.
	d.stage("every option", func() {
		d.run(ctx, "apply", "-k", "testdata/options")
		d.awaitRollout(ctx)
		d.awaitCondition(ctx, corev1.ConditionFalse, verdict.ReasonModuleBlacklisted)
	})
	d.checkFeatures(ctx, map[string]string{"sctp.ready": "false", "sctp.reason": string(verdict.ReasonModuleBlacklisted)}, false)
	d.run(ctx, "apply", "-k", "testdata/examples")

	d.stage("MachineConfig files and reboot, to the label true", func() {
		d.enableSCTP(ctx)
		// Beside it a module that cannot be loaded: the unit fails, and sctp is
		// loaded all the same. (One that there is not is no failure to it.)
		for _, f := range []node.File{
			{Path: "/etc/modprobe.d/zz-none.conf", Content: "install no_such_module /bin/false\n"},
			{Path: "/etc/modules-load.d/zz-none.conf", Content: "no_such_module\n"},
		} {
			if err := d.node.WriteFile(ctx, f); err != nil {
				t.Fatal(err)
			}
		}
		d.checkWaiting(ctx)
		reasons := d.reasons(ctx, func() {
			if err := d.node.Reboot(ctx); err != nil {
				t.Fatal(err)
			}
		})
		if !slices.Contains(reasons, string(verdict.ReasonNodeRebooting)) {
			t.Errorf("the Node has not said that it goes down: %v", reasons)
		}
		d.awaitNode(ctx, "true", verdict.ReasonProbePassed)
	})
	if got := d.get(ctx).Labels[onBootLabel]; got != "loaded" {
		t.Errorf("%s is %q after the reboot", onBootLabel, got)
	}
	// A guest that has just booted may be too busy to answer on its bus in time:
	// the agent says nothing then, and asks again with the next assessment. By
	// itself that comes ten minutes later.
	looked := time.Now()
	d.await(ctx, "the report to say that a module could not be loaded at boot, as systemd does", func() (bool, string) {
		r := d.report(ctx)
		said := slices.ContainsFunc(r.Warnings, func(w verdict.Warning) bool { return w.Reason == verdict.ReasonModulesLoadUnitFailed })
		if !said && time.Since(looked) > 15*time.Second {
			looked = time.Now()
			if _, err := d.node.Run(ctx, "touch", "/etc/modules-load.d/zz-none.conf"); err != nil {
				t.Fatal(err)
			}
		}
		return said, fmt.Sprintf("%+v", r.Warnings)
	})
	d.stage("workloads that waited for the label", func() {
		await(ctx, t, d.client, "gnb", corev1.PodRunning)
		d.awaitLog(ctx, "gnb", "SCTP socket open")
		d.run(ctx, "-n", metav1.NamespaceDefault, "rollout", "status", "deployment/amf", "--timeout=10m")
	})
	d.stage("check in the agent's pod", func() { d.checkByHand(ctx) })
	if has := d.hasTaint(ctx); has {
		t.Errorf("the startup taint is still there: %+v", d.get(ctx).Spec.Taints)
	}
	d.stage("the condition under kubelet's updates", func() { d.checkConditionStays(ctx) })
	d.stage("pods come and go, and nothing is assessed", func() { d.checkRest(ctx) })
	d.checkFeatures(ctx, map[string]string{"sctp.ready": "true", "sctp.reason": string(verdict.ReasonProbePassed), "sctp.on-boot": "loaded"}, true)

	d.stage("rolling update", func() {
		d.labelled(ctx, func() {
			d.run(ctx, "-n", namespace, "set", "image", "daemonset/sctp-agent", "agent="+repository+":"+nextVersion)
			d.awaitRollout(ctx)
		})
	})
	d.stage("host network", func() {
		d.labelled(ctx, func() {
			d.run(ctx, "apply", "-k", "testdata/host-network")
			d.awaitRollout(ctx)
		})
	})
	if p := d.agentPod(ctx); !p.Spec.HostNetwork || p.Status.PodIP != p.Status.HostIP {
		t.Errorf("host network %v, pod %s, node %s", p.Spec.HostNetwork, p.Status.PodIP, p.Status.HostIP)
	}
	// That overlay has none of the options.
	d.await(ctx, "the condition to go", func() (bool, string) {
		c := d.condition(ctx)
		return c == nil, fmt.Sprintf("%+v", c)
	})
	d.checkFeaturesExpire(ctx)
	d.stage("hardened profile", func() {
		d.labelled(ctx, func() {
			d.run(ctx, "apply", "-k", manifests+"/overlays/kubernetes-hardened")
			d.awaitRollout(ctx)
		})
	})
	d.stage("what the hardened profile does not see", func() { d.checkHardened(ctx) })

	d.stage("delete -k", func() {
		d.run(ctx, "delete", "--ignore-not-found", "-k", "testdata/options", "--wait=true", "--timeout=5m")
	})
	if d.get(ctx).Labels[readyLabel] != "true" {
		t.Error("the label went with the agent: schedulers would have noticed its removal, and its upgrade by delete and apply")
	}
	d.stage("cleanup", func() { d.cleanup(ctx) })
	d.checkNothingLeft(ctx)
}

func (d *deployment) stage(name string, do func()) {
	d.Helper()
	start := time.Now()
	do()
	d.times = append(d.times, fmt.Sprintf("%-50s %6.1f s", name, time.Since(start).Seconds()))
}

// start a cluster of one node, which is what cfg says besides.
func (d *deployment) start(ctx context.Context, cfg node.Config) {
	d.Helper()
	var images []string
	d.stage("images", func() {
		sources := map[string]string{version: "", nextVersion: ""}
		if d.first != "" {
			sources = map[string]string{firstVersion: d.first, version: ""}
		}
		for v, source := range sources {
			archive, err := image.Build(ctx, image.Options{Dir: d.TempDir(), Source: source, Ref: repository + ":" + v, Version: v, Revision: "test"})
			if err != nil {
				d.Fatal(err)
			}
			images = append(images, archive)
		}
		images = append(images, workload(ctx, d.T))
	})
	tunnel, err := node.NewTunnel()
	if err != nil {
		d.Fatal(err)
	}
	d.Cleanup(tunnel.Close)
	d.stage("control plane", func() {
		if d.cp, err = controlplane.Start(ctx, controlplane.Options{APIServerArgs: tunnel.APIServerArgs()}); err != nil {
			d.Fatal(err)
		}
		d.Cleanup(d.cp.Stop)
		for _, c := range []controlplane.Component{controlplane.ControllerManager, controlplane.Scheduler} {
			if err := d.cp.StartComponent(ctx, c); err != nil {
				d.Fatal(err)
			}
		}
	})
	if d.client, err = d.cp.Client(); err != nil {
		d.Fatal(err)
	}
	bin, err := controlplane.Build(ctx, nil, controlplane.Kubectl)
	if err != nil {
		d.Fatal(err)
	}
	d.kubectl = bin[controlplane.Kubectl]
	config, err := controlplane.Kubeconfig(d.cp.Admin(), d.cp.URL())
	if err != nil {
		d.Fatal(err)
	}
	d.kubeconfig = filepath.Join(d.TempDir(), "kubeconfig")
	if err := os.WriteFile(d.kubeconfig, config, 0o600); err != nil {
		d.Fatal(err)
	}
	d.stage("node, to Ready", func() {
		cfg.Name, cfg.ControlPlane, cfg.KubeProxy, cfg.Images, cfg.Logf = "worker-0", d.cp, node.ProxyIPTables, images, d.Logf
		d.node, err = node.Boot(ctx, cfg)
		if err != nil {
			d.Fatal(err)
		}
		d.Cleanup(d.node.Close)
		tunnel.Add(d.node)
		if err := d.node.WaitReady(ctx); err != nil {
			d.Fatal(err)
		}
	})
}

// kubectlOutput runs kubectl.
func (d *deployment) kubectlOutput(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(ctx, d.kubectl, append([]string{"--kubeconfig", d.kubeconfig}, args...)...)
	var out, warnings strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &warnings
	if err := cmd.Run(); err != nil {
		return "", "", fmt.Errorf("kubectl %s: %w\n%s%s", strings.Join(args, " "), err, out.String(), warnings.String())
	}
	return out.String(), warnings.String(), nil
}

// run runs kubectl, which must have no reason to warn: users would see it.
func (d *deployment) run(ctx context.Context, args ...string) string {
	d.Helper()
	out, warnings, err := d.kubectlOutput(ctx, args...)
	if err != nil {
		d.Fatal(err)
	}
	if warnings != "" {
		d.Errorf("kubectl %s says: %s", strings.Join(args, " "), warnings)
	}
	return out
}

func (d *deployment) get(ctx context.Context) *corev1.Node {
	d.Helper()
	n, err := d.client.CoreV1().Nodes().Get(ctx, d.node.Name(), metav1.GetOptions{})
	if err != nil {
		d.Fatal(err)
	}
	return n
}

// report that the Node carries.
func (d *deployment) report(ctx context.Context) verdict.Report {
	d.Helper()
	var r verdict.Report
	if err := json.Unmarshal([]byte(d.get(ctx).Annotations[reportKey]), &r); err != nil {
		d.Fatalf("the annotation %s: %v", reportKey, err)
	}
	return r
}

// checkByHand asks as docs/troubleshooting.md says: the image has no shell, and
// the program is all that is needed.
func (d *deployment) checkByHand(ctx context.Context) {
	d.Helper()
	out := d.run(ctx, "-n", namespace, "exec", "daemonset/sctp-agent", "--",
		"/usr/bin/sctp-agent", "check", "--root", "/host", "--timeout=60s", "-o", "json")
	var r verdict.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		d.Fatalf("check in the agent's pod: %v\n%s", err, out)
	}
	if said := d.report(ctx); r.Ready != kmod.AnswerTrue || !reflect.DeepEqual(r.Host, said.Host) || r.Kernel != said.Kernel || r.Node != said.Node {
		d.Errorf("check in the agent's pod says %s, %+v, %+v; the agent %+v", out, r.Host, r.Kernel, said)
	}
}

// awaitNode waits until the Node says so.
func (d *deployment) awaitNode(ctx context.Context, ready string, reason verdict.Reason) {
	d.Helper()
	d.await(ctx, fmt.Sprintf("the Node to say %s, %s", ready, reason), func() (bool, string) {
		n := d.get(ctx)
		said := fmt.Sprintf("%s=%q, %s=%q", readyLabel, n.Labels[readyLabel], reasonKey, n.Annotations[reasonKey])
		return n.Labels[readyLabel] == ready && n.Annotations[reasonKey] == string(reason), said
	})
}

// awaitRollout waits until the newest DaemonSet's pod runs and is ready.
func (d *deployment) awaitRollout(ctx context.Context) {
	d.Helper()
	d.await(ctx, "the DaemonSet's rollout", func() (bool, string) {
		ds, err := d.client.AppsV1().DaemonSets(namespace).Get(ctx, "sctp-agent", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		s := ds.Status
		return s.ObservedGeneration == ds.Generation && s.DesiredNumberScheduled == 1 && s.UpdatedNumberScheduled == 1 && s.NumberReady == 1,
			fmt.Sprintf("%+v", s)
	})
}

func (d *deployment) await(ctx context.Context, what string, done func() (bool, string)) {
	d.Helper()
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	for {
		ok, state := done()
		if ok {
			return
		}
		select {
		case <-ctx.Done():
			d.diagnose()
			d.Fatalf("waiting for %s: it is %s", what, state)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// diagnose prints what one would ask for first.
func (d *deployment) diagnose() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, args := range [][]string{
		{"get", "nodes,pods,daemonsets", "-A", "-o", "wide"},
		{"-n", namespace, "describe", "pods"},
		{"-n", namespace, "logs", "daemonset/sctp-agent", "--tail=30"},
	} {
		out, _ := exec.CommandContext(ctx, d.kubectl, append([]string{"--kubeconfig", d.kubeconfig}, args...)...).CombinedOutput()
		d.Logf("kubectl %s\n%s", strings.Join(args, " "), out)
	}
}

func (d *deployment) awaitLog(ctx context.Context, name, want string) {
	d.Helper()
	d.await(ctx, fmt.Sprintf("%q in the log of %s", want, name), func() (bool, string) {
		log, err := d.client.CoreV1().Pods(metav1.NamespaceDefault).GetLogs(name, &corev1.PodLogOptions{}).DoRaw(ctx)
		if err != nil {
			return false, err.Error()
		}
		return strings.Contains(string(log), want), string(log)
	})
}

func (d *deployment) agentPod(ctx context.Context) *corev1.Pod {
	d.Helper()
	list, err := d.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=agent"})
	if err != nil {
		d.Fatal(err)
	}
	var live []corev1.Pod
	for _, p := range list.Items {
		if p.DeletionTimestamp == nil {
			live = append(live, p)
		}
	}
	if len(live) != 1 {
		d.Fatalf("%d pods of the agent", len(live))
	}
	return &live[0]
}

func (d *deployment) checkBlacklisted(ctx context.Context) {
	d.Helper()
	r := d.report(ctx)
	found := false
	for _, e := range r.Policy.Autoload.Evidence {
		found = found || e.File == "/etc/modprobe.d/sctp-blacklist.conf" && e.Line == 2
	}
	if !found {
		d.Errorf("the report does not name the line that blacklists: %+v", r.Policy)
	}
	if out, err := d.node.Run(ctx, "cat", "/proc/modules"); err != nil || strings.Contains(out, "sctp ") {
		d.Errorf("the agent's probe has loaded the module (%v)", err)
	}
	if r.OnBoot != verdict.OnBootBlocked && r.OnBoot != verdict.OnBootOnDemand {
		d.Errorf("next boot: %s", r.OnBoot)
	}
}

// enableSCTP writes what OpenShift's documented MachineConfig writes.
func (d *deployment) enableSCTP(ctx context.Context) {
	d.Helper()
	for _, f := range []node.File{
		{Path: "/etc/modprobe.d/sctp-blacklist.conf"},
		{Path: "/etc/modules-load.d/sctp-load.conf", Content: "sctp"},
	} {
		if err := d.node.WriteFile(ctx, f); err != nil {
			d.Fatal(err)
		}
	}
}

// checkWaiting: the examples' workloads are nowhere, by the label and the taint.
func (d *deployment) checkWaiting(ctx context.Context) {
	d.Helper()
	if !d.hasTaint(ctx) {
		d.Errorf("kubelet has registered no taint, or it is gone: %+v", d.get(ctx).Spec.Taints)
	}
	var list *corev1.PodList
	// A Deployment's come from the controller manager, a moment after it.
	d.await(ctx, "the examples' pods to be there", func() (bool, string) {
		var err error
		if list, err = d.client.CoreV1().Pods(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{}); err != nil {
			return false, err.Error()
		}
		return len(list.Items) >= 3, fmt.Sprintf("%d pods", len(list.Items))
	})
	if len(list.Items) != 3 {
		d.Errorf("%d pods of the examples", len(list.Items))
	}
	for _, p := range list.Items {
		if p.Status.Phase != corev1.PodPending || p.Spec.NodeName != "" {
			d.Errorf("before SCTP was proved %s is %s on %q", p.Name, p.Status.Phase, p.Spec.NodeName)
		}
	}
}

func (d *deployment) hasTaint(ctx context.Context) bool {
	d.Helper()
	return slices.ContainsFunc(d.get(ctx).Spec.Taints, func(t corev1.Taint) bool { return t.Key == startupTaint })
}

// condition SCTPReady of the Node, or nil.
func (d *deployment) condition(ctx context.Context) *corev1.NodeCondition {
	d.Helper()
	return conditionOf(d.get(ctx), nodelabel.ConditionType)
}

func conditionOf(n *corev1.Node, kind corev1.NodeConditionType) *corev1.NodeCondition {
	for i, c := range n.Status.Conditions {
		if c.Type == kind {
			return &n.Status.Conditions[i]
		}
	}
	return nil
}

func (d *deployment) awaitCondition(ctx context.Context, status corev1.ConditionStatus, reason verdict.Reason) {
	d.Helper()
	d.await(ctx, fmt.Sprintf("the condition %s, %s", status, reason), func() (bool, string) {
		c := d.condition(ctx)
		return c != nil && c.Status == status && c.Reason == string(reason), fmt.Sprintf("%+v", c)
	})
}

// checkConditionStays: kubelet writes the Node's status all the time, and
// leaves the agent's condition as it is.
func (d *deployment) checkConditionStays(ctx context.Context) {
	d.Helper()
	d.awaitCondition(ctx, corev1.ConditionTrue, verdict.ReasonProbePassed)
	before := d.condition(ctx)
	beats := map[metav1.Time]bool{}
	d.await(ctx, "kubelet to write the status again", func() (bool, string) {
		n := d.get(ctx)
		c := conditionOf(n, nodelabel.ConditionType)
		if c == nil {
			d.Fatalf("the condition was %+v, and is gone", before)
		}
		before.LastHeartbeatTime = c.LastHeartbeatTime // the agent's own
		if *c != *before {
			d.Fatalf("the condition was %+v, and is %+v", before, c)
		}
		beats[conditionOf(n, corev1.NodeReady).LastHeartbeatTime] = true
		return len(beats) > 2, fmt.Sprint(len(beats))
	})
}

// checkRest: what kubelet, the container runtime and systemd write for each pod that comes
// and goes is nothing that decides.
func (d *deployment) checkRest(ctx context.Context) {
	d.Helper()
	fired := func() string {
		d.Helper()
		script := fmt.Sprintf(`exec 3<>/dev/tcp/%s/9475; printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3; grep '^sctp_agent_triggers_total' <&3`, d.agentPod(ctx).Status.PodIP)
		out, err := d.node.Run(ctx, "bash", "-c", script)
		if err != nil {
			d.Fatal(err)
		}
		return out
	}
	before := fired()
	for range 2 {
		d.run(ctx, "-n", metav1.NamespaceDefault, "rollout", "restart", "deployment/amf")
		d.run(ctx, "-n", metav1.NamespaceDefault, "rollout", "status", "deployment/amf", "--timeout=10m")
	}
	if after := fired(); after != before || !strings.Contains(after, "inotify") {
		d.Errorf("what started assessments:\n%safterwards:\n%s", before, after)
	}
}

// nodeFeatures are the labels that node-feature-discovery would give the Node:
// its own code reads the feature files of the node, and applies the example's
// rule.
func (d *deployment) nodeFeatures(ctx context.Context) map[string]string {
	d.Helper()
	const path = "/opt/guest/nfd"
	if !d.hasNFD {
		exe := filepath.Join(d.TempDir(), "nfd")
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", exe, ".")
		build.Dir = "nfd"
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64")
		if out, err := build.CombinedOutput(); err != nil {
			d.Fatalf("building node-feature-discovery: %v\n%s", err, out)
		}
		if err := d.node.Upload(ctx, exe, path, 0o755); err != nil {
			d.Fatal(err)
		}
		d.hasNFD = true
	}
	rule, err := os.ReadFile(manifests + "/examples/nodefeaturerule.yaml")
	if err != nil {
		d.Fatal(err)
	}
	out, err := d.node.RunInput(ctx, rule, path)
	if err != nil {
		d.Fatal(err)
	}
	var labels map[string]string
	if err := json.Unmarshal([]byte(out), &labels); err != nil {
		d.Fatalf("%v: %s", err, out)
	}
	return labels
}

// checkFeatures: node-feature-discovery makes these labels (and on-boot), and
// that of the example's rule.
func (d *deployment) checkFeatures(ctx context.Context, want map[string]string, rule bool) {
	d.Helper()
	got := d.nodeFeatures(ctx)
	for name, value := range want {
		if v := got["feature.node.kubernetes.io/"+name]; v != value {
			d.Errorf("node-feature-discovery: %s=%q, want %q", name, v, value)
		}
	}
	if _, has := got["example.com/sctp-lasting"]; has != rule {
		d.Errorf("node-feature-discovery: the example's label %v, want %v; all: %v", has, rule, got)
	}
}

// checkFeaturesExpire: what an agent has said that does not say it any more is
// dropped.
func (d *deployment) checkFeaturesExpire(ctx context.Context) {
	d.Helper()
	if labels := d.nodeFeatures(ctx); len(labels) == 0 {
		d.Error("node-feature-discovery has dropped the labels already")
	}
	if _, err := d.node.Run(ctx, "sed", "-i", "s/^# +expiry-time=.*/# +expiry-time=2001-01-01T00:00:00Z/", features); err != nil {
		d.Fatal(err)
	}
	if labels := d.nodeFeatures(ctx); len(labels) != 0 {
		d.Errorf("expired, and node-feature-discovery still makes %v", labels)
	}
	// As docs/install.md says.
	if _, err := d.node.Run(ctx, "rm", features); err != nil {
		d.Fatal(err)
	}
}

// reasons that the Node gives while do runs.
func (d *deployment) reasons(ctx context.Context, do func()) []string {
	d.Helper()
	w, err := d.client.CoreV1().Nodes().Watch(ctx, metav1.ListOptions{
		FieldSelector: "metadata.name=" + d.node.Name(), ResourceVersion: d.get(ctx).ResourceVersion,
	})
	if err != nil {
		d.Fatal(err)
	}
	seen := make(chan []string, 1)
	go func() {
		var reasons []string
		for e := range w.ResultChan() {
			if n, ok := e.Object.(*corev1.Node); ok && !slices.Contains(reasons, n.Annotations[reasonKey]) {
				reasons = append(reasons, n.Annotations[reasonKey])
			}
		}
		seen <- reasons
	}()
	do()
	w.Stop()
	return <-seen
}

// labelled fails if the Node is without the label, or denies it, at any moment
// while do runs.
func (d *deployment) labelled(ctx context.Context, do func()) {
	d.Helper()
	n := d.get(ctx)
	w, err := d.client.CoreV1().Nodes().Watch(ctx, metav1.ListOptions{
		FieldSelector: "metadata.name=" + d.node.Name(), ResourceVersion: n.ResourceVersion,
	})
	if err != nil {
		d.Fatal(err)
	}
	lost := make(chan string, 1)
	var stopped atomic.Bool
	seen := 0
	go func() {
		defer close(lost)
		for e := range w.ResultChan() {
			n, ok := e.Object.(*corev1.Node)
			if !ok || e.Type == watch.Error {
				// So ends a watch that is stopped in the middle of a read, too.
				if !stopped.Load() {
					lost <- fmt.Sprintf("the watch broke: %v", e.Object)
				}
				return
			}
			if seen++; n.Labels[readyLabel] != "true" {
				lost <- fmt.Sprintf("at version %s the label is %q (%s)", n.ResourceVersion, n.Labels[readyLabel], n.Annotations[reasonKey])
				return
			}
		}
		if !stopped.Load() {
			lost <- "the watch ended"
		}
	}()
	do()
	if got := d.get(ctx).Labels[readyLabel]; got != "true" {
		d.Errorf("after it the label is %q", got)
	}
	// What was written until now is on its way.
	time.Sleep(time.Second)
	stopped.Store(true)
	w.Stop()
	if msg, bad := <-lost; bad {
		d.Errorf("meanwhile: %s", msg)
	}
	if seen == 0 {
		d.Log("the Node did not change at all meanwhile")
	}
}

// checkHardened: the same verdict; and what it cannot see it does not call
// clean.
func (d *deployment) checkHardened(ctx context.Context) {
	d.Helper()
	p := d.agentPod(ctx)
	if sc := p.Spec.Containers[0].SecurityContext; sc.Privileged != nil && *sc.Privileged {
		d.Fatal("the hardened profile is privileged")
	}
	r := d.report(ctx)
	if r.Ready != kmod.AnswerTrue || !r.Probe.Attempted {
		d.Errorf("the hardened profile has not proved SCTP: %s, %s", r.Ready, r.Reason)
	}
	if r.OnBoot != verdict.OnBootLoaded || r.Policy.Modprobe.Allowed != kmod.AnswerTrue {
		d.Errorf("on an ordinary host the hardened profile sees: on boot %s, by name %s", r.OnBoot, r.Policy.Modprobe.Allowed)
	}
	const modprobe, modulesLoad = "/etc/modprobe.d", "/etc/modules-load.d"
	for _, tt := range []struct {
		name     string
		do, undo string
		warning  string // in one of the warnings
	}{
		{"a file that only root may read",
			"umask 077; echo 'install sctp /bin/false' > /root/secret; mv /root/secret " + modprobe + "/zz-secret.conf", "rm " + modprobe + "/zz-secret.conf",
			modprobe + "/zz-secret.conf"},
		{"a link out of what is mounted",
			"ln -s /opt/sctp.conf " + modprobe + "/zz-out.conf", "rm " + modprobe + "/zz-out.conf",
			modprobe + "/zz-out.conf"},
		{"a link out of what is mounted, for boot",
			"mv " + modulesLoad + "/sctp-load.conf /opt/; ln -s /opt/sctp-load.conf " + modulesLoad + "/sctp-load.conf",
			"mv /opt/sctp-load.conf " + modulesLoad + "/sctp-load.conf",
			modulesLoad + "/sctp-load.conf"},
		{"a directory that only root may read",
			"chmod 0700 " + modprobe + "; touch " + modprobe + "/zz-now.conf", "chmod 0755 " + modprobe + "; rm " + modprobe + "/zz-now.conf",
			modprobe},
		{"a directory elsewhere",
			"mv " + modprobe + " /opt/modprobe.d; ln -s /opt/modprobe.d " + modprobe, "rm " + modprobe + "; mv /opt/modprobe.d " + modprobe,
			modprobe},
	} {
		if _, err := d.node.Shell(ctx, tt.do); err != nil {
			d.Fatal(err)
		}
		var r verdict.Report
		d.await(ctx, tt.name+": the next boot to be unknown", func() (bool, string) {
			r = d.report(ctx)
			return r.OnBoot == verdict.OnBootUnknown, fmt.Sprintf("on boot %s, by name %s, warnings %+v", r.OnBoot, r.Policy.Modprobe.Allowed, r.Warnings)
		})
		d.Logf("hardened, %s: ready %s, on boot %s, by name %s, warnings %+v", tt.name, r.Ready, r.OnBoot, r.Policy.Modprobe.Allowed, r.Warnings)
		if !slices.ContainsFunc(r.Warnings, func(w verdict.Warning) bool {
			return w.Reason == verdict.ReasonInspectionIncomplete && strings.Contains(w.Message, tt.warning)
		}) {
			d.Errorf("%s: no warning names %s: %+v", tt.name, tt.warning, r.Warnings)
		}
		// The proof stands: it does not depend on files.
		if got := d.get(ctx).Labels[readyLabel]; got != "true" || r.Ready != kmod.AnswerTrue {
			d.Errorf("%s: ready is %s, the label %q", tt.name, r.Ready, got)
		}
		if _, err := d.node.Shell(ctx, tt.undo); err != nil {
			d.Fatal(err)
		}
		d.await(ctx, tt.name+", undone: the next boot to be known again", func() (bool, string) {
			r := d.report(ctx)
			return r.OnBoot == verdict.OnBootLoaded, fmt.Sprintf("%s, %+v", r.OnBoot, r.Warnings)
		})
	}
}

func (d *deployment) cleanup(ctx context.Context) {
	d.Helper()
	exe := filepath.Join(d.TempDir(), "kubectl-sctp")
	build := exec.CommandContext(ctx, "go", "build", "-o", exe, "./cmd/kubectl-sctp")
	build.Dir = "../.."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		d.Fatalf("building kubectl-sctp: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(ctx, exe, "cleanup", "--yes", "--kubeconfig", d.kubeconfig).CombinedOutput()
	if err != nil {
		d.Fatalf("kubectl-sctp cleanup: %v\n%s", err, out)
	}
	d.Logf("kubectl-sctp cleanup\n%s", out)
}

func (d *deployment) checkNothingLeft(ctx context.Context) {
	d.Helper()
	n := d.get(ctx)
	for _, m := range []map[string]string{n.Labels, n.Annotations} {
		for k := range m {
			if strings.HasPrefix(k, "sctp-agent/") {
				d.Errorf("the Node still has %s", k)
			}
		}
	}
	for _, c := range n.Status.Conditions {
		if c.Type == "SCTPReady" {
			d.Error("the Node still has the condition")
		}
	}
	out := d.run(ctx, "get", "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,roles,rolebindings,namespaces", "-A", "-o", "name")
	for line := range strings.Lines(out) {
		if strings.Contains(line, "sctp-agent") {
			d.Errorf("the cluster still has %s", strings.TrimSpace(line))
		}
	}
	// The host: nothing was ever made there, but for the directory of the
	// component "nfd".
	out, err := d.node.Shell(ctx, "ls -d /host /run/modprobe.d /usr/local/lib/modprobe.d 2>/dev/null || true; find /etc/kubernetes/node-feature-discovery ! -type d")
	if err != nil || strings.TrimSpace(out) != "" {
		d.Errorf("on the host there is now (%v)\n%s", err, out)
	}
}
