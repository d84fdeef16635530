package chart

import (
	"context"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sctp-agent/sctp-agent/test/controlplane"
)

// placement is the policies as one way to install them makes them.
type placement struct {
	prefix string
	// warning is the name of the policy that warns. Another's, which was removed
	// a moment ago, may still be in force.
	warning string
	// in has opted in; out has not, and no has said no.
	in, out, no string
	c           *cluster
}

// withPlacement runs a test with the policies of kustomize, and with those of the
// chart under other names and another prefix. An API server without mutating ones
// has only the warning.
func withPlacement(t *testing.T, test func(*testing.T, placement)) {
	c := sharedCluster(t)
	component, value := "placement", "placement"
	if !c.placement {
		component, value = "placement-warning", "placementWarning"
	}
	t.Run("kustomize", func(t *testing.T) {
		rendered := kustomize(t, "kubernetes", component)
		if err := c.Apply(t.Context(), rendered); err != nil {
			t.Fatal(err)
		}
		defer c.delete(t, rendered)
		p := placement{prefix: "sctp-agent/", warning: "sctp-agent-placement-warning", in: "in", out: "out", no: "no", c: c}
		p.prepare(t)
		test(t, p)
	})
	t.Run("chart", func(t *testing.T) {
		helm(t, c.kubeconfig, "install", "sctp-other", chartDir, "--namespace", "telco", "--create-namespace",
			"--set", value+".enabled=true,labelPrefix=example.com/")
		defer c.nothingRemains(t)
		defer helm(t, c.kubeconfig, "uninstall", "sctp-other", "--namespace", "telco")
		p := placement{prefix: "example.com/", warning: "sctp-other-sctp-agent-placement-warning", in: "in2", out: "out2", no: "no2", c: c}
		p.prepare(t)
		test(t, p)
	})
}

// needsPlacement skips what an older API server cannot do; what the chart and
// kubectl say there is shown by TestPlacementNeedsItsAPI.
func needsPlacement(t *testing.T) {
	t.Helper()
	if !sharedCluster(t).placement {
		t.Skipf("Kubernetes %s has no MutatingAdmissionPolicy v1", controlplane.ServerVersion())
	}
}

// An API server without the API refuses the component, by kustomize and by the
// chart, and nothing of it stays.
func TestPlacementNeedsItsAPI(t *testing.T) {
	c := sharedCluster(t)
	if c.placement {
		t.Skipf("Kubernetes %s has MutatingAdmissionPolicy v1", controlplane.ServerVersion())
	}
	_, err := tryHelm(t, c.kubeconfig, "install", "sctp-agent", chartDir, "--namespace", "sctp-agent", "--create-namespace", "--set", "placement.enabled=true")
	if err == nil || !strings.Contains(err.Error(), "placement needs Kubernetes 1.36") {
		t.Errorf("the chart: %v", err)
	}
	if err := c.Apply(t.Context(), kustomize(t, "kubernetes", "placement")); err == nil || !strings.Contains(err.Error(), "MutatingAdmissionPolicy") {
		t.Errorf("kustomize: %v", err)
	}
	c.clean(t.Context())
	c.nothingRemains(t)
}

func (p placement) ready() string { return p.prefix + "ready" }
func (p placement) label() string { return p.prefix + "placement" }

// prepare makes the namespaces, and waits for the policies.
func (p placement) prepare(t *testing.T) {
	t.Helper()
	for name, labels := range map[string]map[string]string{
		p.in: {p.label(): "enabled"}, p.out: nil, p.no: {p.label(): "disabled"},
	} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
		if _, err := p.c.admin.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
		within(t, func() error { // the controller makes it
			_, err := p.c.admin.CoreV1().ServiceAccounts(name).Get(t.Context(), "default", metav1.GetOptions{})
			return err
		})
	}
	client, warnings := p.warned(t)
	within(t, func() error {
		pod, err := p.c.try(t.Context(), sctpPod(p.in))
		if err != nil {
			return err
		}
		if p.c.placement && pod.Spec.NodeSelector[p.ready()] != "true" {
			return fmt.Errorf("placement is not in force: %v", pod.Spec.NodeSelector)
		}
		if _, err := client.CoreV1().Pods(p.out).Create(t.Context(), sctpPod(p.out), dryRun); err != nil {
			return err
		}
		if len(warnings.take()) == 0 {
			return fmt.Errorf("the warning is not in force")
		}
		return nil
	})
}

var dryRun = metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}

// try says what the API server would make of a pod.
func (c *cluster) try(ctx context.Context, pod *corev1.Pod) (*corev1.Pod, error) {
	return c.admin.CoreV1().Pods(pod.Namespace).Create(ctx, pod, dryRun)
}

func container(name string, protocol corev1.Protocol) corev1.Container {
	c := corev1.Container{Name: name, Image: "registry.example/amf:1.0"}
	if protocol != "" {
		c.Ports = []corev1.ContainerPort{{ContainerPort: 38412, Protocol: protocol}}
	}
	return c
}

func sctpPod(namespace string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "amf", Namespace: namespace},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{container("amf", corev1.ProtocolSCTP)}},
	}
}

func ownedBy(kind string) []metav1.OwnerReference {
	yes := true
	version := "apps/v1"
	if kind == "Job" {
		version = "batch/v1"
	}
	return []metav1.OwnerReference{{APIVersion: version, Kind: kind, Name: "owner", UID: "11111111-1111-4111-8111-111111111111", Controller: &yes}}
}

func terms(t ...corev1.NodeSelectorTerm) *corev1.Affinity {
	return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: t},
	}}
}

func expression(key string, values ...string) corev1.NodeSelectorTerm {
	return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: corev1.NodeSelectorOpIn, Values: values}}}
}

func field(name string) corev1.NodeSelectorTerm {
	return corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{name}}}}
}

// shapes of pods, in a namespace that has opted in.
func (p placement) shapes() []struct {
	name   string
	placed bool
	change func(*corev1.Pod)
} {
	ready, label := p.ready(), p.label()
	always := corev1.ContainerRestartPolicyAlways
	return []struct {
		name   string
		placed bool
		change func(*corev1.Pod)
	}{
		{"an SCTP port", true, func(*corev1.Pod) {}},
		{"no port", false, func(o *corev1.Pod) { o.Spec.Containers[0].Ports = nil }},
		{"a TCP port", false, func(o *corev1.Pod) { o.Spec.Containers[0].Ports[0].Protocol = corev1.ProtocolTCP }},
		{"a port without a protocol", false, func(o *corev1.Pod) { o.Spec.Containers[0].Ports[0].Protocol = "" }},
		{"a second container's port", true, func(o *corev1.Pod) {
			o.Spec.Containers = []corev1.Container{container("web", corev1.ProtocolTCP), container("amf", corev1.ProtocolSCTP)}
		}},
		{"a second port", true, func(o *corev1.Pod) {
			o.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 80}, {ContainerPort: 38412, Protocol: corev1.ProtocolSCTP}}
		}},
		{"an init container's port", true, func(o *corev1.Pod) {
			o.Spec.Containers = []corev1.Container{container("web", "")}
			o.Spec.InitContainers = []corev1.Container{container("probe", corev1.ProtocolSCTP)}
		}},
		{"a sidecar's port", true, func(o *corev1.Pod) {
			o.Spec.Containers = []corev1.Container{container("web", "")}
			sidecar := container("proxy", corev1.ProtocolSCTP)
			sidecar.RestartPolicy = &always
			o.Spec.InitContainers = []corev1.Container{sidecar}
		}},
		{"a port on the host's network", true, func(o *corev1.Pod) {
			o.Spec.HostNetwork = true
			o.Spec.Containers[0].Ports[0].HostPort = 38412
		}},
		{"a client, by its label", true, func(o *corev1.Pod) {
			o.Labels = map[string]string{label: "enabled"}
			o.Spec.Containers[0].Ports = nil
		}},
		{"a label with another value", false, func(o *corev1.Pod) {
			o.Labels = map[string]string{label: "perhaps"}
			o.Spec.Containers[0].Ports = nil
		}},
		{"an opt-out by label", false, func(o *corev1.Pod) { o.Labels = map[string]string{label: "disabled"} }},
		{"other labels", true, func(o *corev1.Pod) { o.Labels = map[string]string{"app": "amf"} }},
		{"a node selector on another key", true, func(o *corev1.Pod) { o.Spec.NodeSelector = map[string]string{"example.org/pool": "telco"} }},
		{"an empty node selector", true, func(o *corev1.Pod) { o.Spec.NodeSelector = map[string]string{} }},
		{"a node selector on the key", false, func(o *corev1.Pod) { o.Spec.NodeSelector = map[string]string{ready: "true"} }},
		{"a node selector for nodes without SCTP", false, func(o *corev1.Pod) { o.Spec.NodeSelector = map[string]string{ready: "false"} }},
		{"a required affinity on the key", false, func(o *corev1.Pod) { o.Spec.Affinity = terms(expression(ready, "true")) }},
		{"a required affinity on the key, in one of two terms", false, func(o *corev1.Pod) {
			o.Spec.Affinity = terms(expression("example.org/pool", "telco"), expression(ready, "true"))
		}},
		{"a required affinity on another key", true, func(o *corev1.Pod) { o.Spec.Affinity = terms(expression("example.org/pool", "telco")) }},
		{"a preferred affinity on the key", true, func(o *corev1.Pod) {
			o.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
				PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{Weight: 1, Preference: expression(ready, "true")}},
			}}
		}},
		{"an affinity to pods", true, func(o *corev1.Pod) {
			o.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
					TopologyKey: "kubernetes.io/hostname", LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "amf"}},
				}},
			}}
		}},
		{"bound to a node", false, func(o *corev1.Pod) { o.Spec.NodeName = "worker-0" }},
		{"bound by an affinity to a node's name", false, func(o *corev1.Pod) { o.Spec.Affinity = terms(field("worker-0")) }},
		{"owned by a DaemonSet", false, func(o *corev1.Pod) { o.OwnerReferences = ownedBy("DaemonSet") }},
		{"owned by a ReplicaSet", true, func(o *corev1.Pod) { o.OwnerReferences = ownedBy("ReplicaSet") }},
		{"owned by a StatefulSet", true, func(o *corev1.Pod) { o.OwnerReferences = ownedBy("StatefulSet") }},
		{"owned by a Job", true, func(o *corev1.Pod) { o.OwnerReferences = ownedBy("Job") }},
		{"a gate", true, func(o *corev1.Pod) { o.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.org/quota"}} }},
	}
}

// Pods that need SCTP get the node selector and nothing else is changed; the
// same pod once more stays as it is; elsewhere nothing happens at all.
func TestPlacement(t *testing.T) {
	needsPlacement(t)
	withPlacement(t, func(t *testing.T, p placement) {
		ctx := t.Context()
		all := p.shapes()
		if len(all) < 20 {
			t.Fatalf("%d shapes", len(all))
		}
		for _, s := range all {
			make := func(namespace string) *corev1.Pod {
				pod := sctpPod(namespace)
				s.change(pod)
				return pod
			}
			asked := make(p.out)
			got, err := p.c.try(ctx, make(p.in))
			if err != nil {
				t.Errorf("%s: %v", s.name, err)
				continue
			}
			want := maps.Clone(asked.Spec.NodeSelector)
			if s.placed {
				if want == nil {
					want = map[string]string{}
				}
				want[p.ready()] = "true"
			}
			if !maps.Equal(got.Spec.NodeSelector, want) {
				t.Errorf("%s: node selector %v, want %v", s.name, got.Spec.NodeSelector, want)
			}

			again := got.DeepCopy()
			again.ResourceVersion, again.UID = "", ""
			if again, err = p.c.try(ctx, again); err != nil {
				t.Errorf("%s, once more: %v", s.name, err)
			} else if !reflect.DeepEqual(again.Spec, got.Spec) {
				t.Errorf("%s, once more: %+v, want %+v", s.name, again.Spec, got.Spec)
			}

			for _, namespace := range []string{p.out, p.no} {
				other, err := p.c.try(ctx, make(namespace))
				if err != nil {
					t.Errorf("%s, in %s: %v", s.name, namespace, err)
					continue
				}
				if !maps.Equal(other.Spec.NodeSelector, asked.Spec.NodeSelector) {
					t.Errorf("%s, in %s: node selector %v", s.name, namespace, other.Spec.NodeSelector)
				}
				// But for the selector and what has a random name, all is the same.
				for _, spec := range []*corev1.PodSpec{&got.Spec, &other.Spec} {
					spec.NodeSelector = nil
					spec.Volumes = nil
					for _, list := range [][]corev1.Container{spec.Containers, spec.InitContainers} {
						for i := range list {
							list[i].VolumeMounts = nil
						}
					}
				}
				if !reflect.DeepEqual(got.Spec, other.Spec) {
					t.Errorf("%s: changed more than the node selector:\n%+v\n%+v", s.name, got.Spec, other.Spec)
				}
			}
		}
		t.Logf("%d shapes", len(all))
	})
}

func podTemplate(labels map[string]string) corev1.PodTemplateSpec {
	labels = maps.Clone(labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels["app"] = "amf"
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{container("amf", corev1.ProtocolSCTP)}},
	}
}

var selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "amf"}}

func deployment(namespace string, template corev1.PodTemplateSpec) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "amf", Namespace: namespace},
		Spec:       appsv1.DeploymentSpec{Selector: selector, Template: template},
	}
}

func daemonSet(namespace string) *appsv1.DaemonSet {
	return &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: "amf-on-each", Namespace: namespace},
		Spec:       appsv1.DaemonSetSpec{Selector: selector, Template: podTemplate(nil)},
	}
}

func job(template corev1.PodTemplateSpec) batchv1.JobSpec {
	template.Spec.RestartPolicy = corev1.RestartPolicyNever
	template.Labels = nil
	return batchv1.JobSpec{Template: template}
}

// The real controllers make pods that are placed, and a DaemonSet has its pod on
// a node that is not proved: its controller would otherwise make one, and wait
// for it, forever.
func TestPlacementOfControllers(t *testing.T) {
	needsPlacement(t)
	withPlacement(t, func(t *testing.T, p placement) {
		ctx := t.Context()
		p.c.makeNode(t, "unproved-"+p.in, map[string]string{p.ready(): "false"})
		apps, batch := p.c.admin.AppsV1(), p.c.admin.BatchV1()
		var errs []error
		create := func(_ any, err error) { errs = append(errs, err) }
		create(apps.Deployments(p.in).Create(ctx, deployment(p.in, podTemplate(nil)), metav1.CreateOptions{}))
		create(apps.DaemonSets(p.in).Create(ctx, daemonSet(p.in), metav1.CreateOptions{}))
		create(apps.StatefulSets(p.in).Create(ctx, &appsv1.StatefulSet{
			ObjectMeta: metav1.ObjectMeta{Name: "amf-set"}, Spec: appsv1.StatefulSetSpec{Selector: selector, Template: podTemplate(nil)},
		}, metav1.CreateOptions{}))
		create(batch.Jobs(p.in).Create(ctx, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "amf-job"}, Spec: job(podTemplate(nil))}, metav1.CreateOptions{}))
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
		t.Cleanup(func() {
			ctx, background := context.Background(), metav1.DeletePropagationBackground
			opts := metav1.DeleteOptions{PropagationPolicy: &background}
			_ = apps.Deployments(p.in).Delete(ctx, "amf", opts)
			_ = apps.DaemonSets(p.in).Delete(ctx, "amf-on-each", opts)
			_ = apps.StatefulSets(p.in).Delete(ctx, "amf-set", opts)
			_ = batch.Jobs(p.in).Delete(ctx, "amf-job", opts)
		})
		want := map[string]string{"ReplicaSet": "true", "StatefulSet": "true", "Job": "true", "DaemonSet": ""}
		within(t, func() error {
			pods, err := p.c.admin.CoreV1().Pods(p.in).List(ctx, metav1.ListOptions{})
			if err != nil {
				return err
			}
			got := map[string]string{}
			for _, pod := range pods.Items {
				if owner := metav1.GetControllerOf(&pod); owner != nil {
					got[owner.Kind] = pod.Spec.NodeSelector[p.ready()]
				}
			}
			if !maps.Equal(got, want) {
				return fmt.Errorf("pods by owner: %v, want %v", got, want)
			}
			return nil
		})
	})
}

// warnings collects what the API server warns about.
type warnings struct {
	policy string
	mu     sync.Mutex
	text   []string
}

func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, text)
}

// take returns the policy's warnings so far, and forgets them.
func (w *warnings) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	ours := slices.DeleteFunc(w.text, func(s string) bool { return !strings.Contains(s, "'"+w.policy+"' with binding") })
	w.text = nil
	return ours
}

// warned is an administrator who sees warnings.
func (p placement) warned(t *testing.T) (kubernetes.Interface, *warnings) {
	t.Helper()
	w := &warnings{policy: p.warning}
	cfg := p.c.Admin()
	cfg.WarningHandler = w
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client, w
}

// Whoever creates a workload that nothing places is told, once, and what to do;
// nobody else is.
func TestPlacementWarning(t *testing.T) {
	withPlacement(t, func(t *testing.T, p placement) {
		client, got := p.warned(t)
		ctx := t.Context()
		ignored := func(_ any, err error) error { return err }
		deploy := func(namespace string, change func(*corev1.PodTemplateSpec)) func() error {
			return func() error {
				template := podTemplate(nil)
				if change != nil {
					change(&template)
				}
				return ignored(client.AppsV1().Deployments(namespace).Create(ctx, deployment(namespace, template), dryRun))
			}
		}
		pod := func(namespace string, change func(*corev1.Pod)) func() error {
			return func() error {
				o := sctpPod(namespace)
				if change != nil {
					change(o)
				}
				return ignored(client.CoreV1().Pods(namespace).Create(ctx, o, dryRun))
			}
		}
		for _, s := range []struct {
			name   string
			warned bool
			create func() error
		}{
			{"a Deployment", true, deploy(p.out, nil)},
			{"a Deployment where placement is off by label", true, deploy(p.no, nil)},
			{"a Deployment where placement is on", false, deploy(p.in, nil)},
			{"a Deployment with the node selector", false, deploy(p.out, func(o *corev1.PodTemplateSpec) { o.Spec.NodeSelector = map[string]string{p.ready(): "true"} })},
			{"a Deployment with another node selector", true, deploy(p.out, func(o *corev1.PodTemplateSpec) { o.Spec.NodeSelector = map[string]string{"example.org/pool": "telco"} })},
			{"a Deployment with the affinity", false, deploy(p.out, func(o *corev1.PodTemplateSpec) { o.Spec.Affinity = terms(expression(p.ready(), "true")) })},
			{"a Deployment that opts out", false, deploy(p.out, func(o *corev1.PodTemplateSpec) { o.Labels[p.label()] = "disabled" })},
			{"a Deployment of a client", true, deploy(p.out, func(o *corev1.PodTemplateSpec) {
				o.Labels[p.label()] = "enabled"
				o.Spec.Containers[0].Ports = nil
			})},
			{"a Deployment without SCTP", false, deploy(p.out, func(o *corev1.PodTemplateSpec) { o.Spec.Containers[0].Ports[0].Protocol = corev1.ProtocolTCP })},
			{"a Deployment with an init container's port", true, deploy(p.out, func(o *corev1.PodTemplateSpec) {
				o.Spec.InitContainers = []corev1.Container{container("probe", corev1.ProtocolSCTP)}
				o.Spec.Containers[0].Ports = nil
			})},
			{"a StatefulSet", true, func() error {
				return ignored(client.AppsV1().StatefulSets(p.out).Create(ctx, &appsv1.StatefulSet{
					ObjectMeta: metav1.ObjectMeta{Name: "amf"}, Spec: appsv1.StatefulSetSpec{Selector: selector, Template: podTemplate(nil)},
				}, dryRun))
			}},
			{"a Job", true, func() error {
				return ignored(client.BatchV1().Jobs(p.out).Create(ctx, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "amf"}, Spec: job(podTemplate(nil))}, dryRun))
			}},
			{"a CronJob", true, func() error {
				return ignored(client.BatchV1().CronJobs(p.out).Create(ctx, &batchv1.CronJob{
					ObjectMeta: metav1.ObjectMeta{Name: "amf"},
					Spec:       batchv1.CronJobSpec{Schedule: "0 0 * * *", JobTemplate: batchv1.JobTemplateSpec{Spec: job(podTemplate(nil))}},
				}, dryRun))
			}},
			{"a DaemonSet", true, func() error { return ignored(client.AppsV1().DaemonSets(p.out).Create(ctx, daemonSet(p.out), dryRun)) }},
			{"a DaemonSet where placement is on", true, func() error { return ignored(client.AppsV1().DaemonSets(p.in).Create(ctx, daemonSet(p.in), dryRun)) }},
			{"a pod", true, pod(p.out, nil)},
			{"a pod of a ReplicaSet", false, pod(p.out, func(o *corev1.Pod) { o.OwnerReferences = ownedBy("ReplicaSet") })},
			{"a pod with a node", false, pod(p.out, func(o *corev1.Pod) { o.Spec.NodeName = "worker-0" })},
		} {
			if err := s.create(); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
			w := got.take()
			if s.warned != (len(w) == 1) || len(w) > 1 {
				t.Errorf("%s: warnings %q", s.name, w)
			}
			for _, text := range w {
				if !strings.Contains(text, p.ready()+"=true") || strings.Contains(text, p.label()+"=enabled") == strings.Contains(s.name, "DaemonSet") {
					t.Errorf("%s: %s", s.name, text)
				}
			}
		}

		// A change that is not about pods is no occasion; one that is, is.
		deployments := client.AppsV1().Deployments(p.out)
		d, err := deployments.Create(ctx, deployment(p.out, podTemplate(nil)), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			background := metav1.DeletePropagationBackground
			_ = deployments.Delete(context.Background(), d.Name, metav1.DeleteOptions{PropagationPolicy: &background})
		})
		if w := got.take(); len(w) != 1 {
			t.Errorf("created: warnings %q", w)
		}
		for _, change := range []struct {
			patch string
			want  int
		}{{`{"metadata":{"labels":{"x":"y"}}}`, 0}, {`{"spec":{"replicas":2}}`, 1}} {
			if _, err := deployments.Patch(ctx, d.Name, "application/merge-patch+json", []byte(change.patch), metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
			if w := got.take(); len(w) != change.want {
				t.Errorf("%s: warnings %q", change.patch, w)
			}
		}
		within(t, func() error {
			log, err := os.ReadFile(p.c.AuditLog())
			if err != nil {
				return err
			}
			for line := range strings.Lines(string(log)) {
				if strings.Contains(line, "validation.policy.admission.k8s.io/validation_failure") && strings.Contains(line, "/namespaces/"+p.out+"/deployments") {
					return nil
				}
			}
			return fmt.Errorf("the audit log does not have it")
		})
	})
}
