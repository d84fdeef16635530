package chart

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sctp-agent/sctp-agent/test/controlplane"
)

// cluster is one control plane for all tests here, which follow each other.
type cluster struct {
	*controlplane.ControlPlane
	admin      kubernetes.Interface
	dynamic    dynamic.Interface
	kubeconfig string
	// placement says that the component of that name finds its API (Kubernetes
	// 1.36).
	placement bool
}

var shared = sync.OnceValues(func() (*cluster, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute) // the first build
	defer cancel()
	cp, err := controlplane.Start(ctx, controlplane.Options{AuditPolicy: controlplane.AuditMetadata})
	if err != nil {
		return nil, err
	}
	c := &cluster{ControlPlane: cp}
	if err := c.prepare(ctx); err != nil {
		cp.Stop()
		return nil, err
	}
	return c, nil
})

func (c *cluster) prepare(ctx context.Context) (err error) {
	quiet := c.Admin() // who wants the policies' warnings asks for them
	quiet.WarningHandler = rest.NoWarnings{}
	if c.admin, err = kubernetes.NewForConfig(quiet); err != nil {
		return err
	}
	if c.dynamic, err = dynamic.NewForConfig(c.Admin()); err != nil {
		return err
	}
	if c.kubeconfig, err = c.AdminKubeconfig(); err != nil {
		return err
	}
	served, err := c.admin.Discovery().ServerResourcesForGroupVersion("admissionregistration.k8s.io/v1")
	if err != nil {
		return err
	}
	c.placement = slices.ContainsFunc(served.APIResources, func(r metav1.APIResource) bool { return r.Name == "mutatingadmissionpolicies" })
	// Its controllers make pods of Deployments, and collect what has lost its owner.
	if err := c.StartComponent(ctx, controlplane.ControllerManager); err != nil {
		return err
	}
	for _, crd := range foreign {
		if err := c.Apply(ctx, crd.definition()); err != nil {
			return err
		}
	}
	for _, crd := range foreign {
		if err := poll(ctx, func() error {
			_, err := c.dynamic.Resource(crd.resource()).List(ctx, metav1.ListOptions{})
			return err
		}); err != nil {
			return fmt.Errorf("serving %s: %w", crd.plural, err)
		}
	}
	return nil
}

func TestMain(m *testing.M) {
	code := m.Run()
	if c, err := shared(); err == nil {
		c.Stop()
	}
	os.Exit(code)
}

func sharedCluster(t *testing.T) *cluster {
	t.Helper()
	c, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.clean(context.Background()) })
	return c
}

// kind is one of another project's, which the manifests use.
type kind struct {
	group, version, kind, plural string
	namespaced                   bool
}

var foreign = []kind{
	{"monitoring.coreos.com", "v1", "PodMonitor", "podmonitors", true},
	{"monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules", true},
	{"readiness.node.x-k8s.io", "v1alpha1", "NodeReadinessRule", "nodereadinessrules", false},
	// The plural that is guessed from the kind, and not OpenShift's.
	{"security.openshift.io", "v1", "SecurityContextConstraints", "securitycontextconstraintses", false},
	{"machineconfiguration.openshift.io", "v1", "MachineConfigPool", "machineconfigpools", false},
	{"machineconfiguration.openshift.io", "v1", "MachineConfig", "machineconfigs", false},
}

func (k kind) resource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: k.group, Version: k.version, Resource: k.plural}
}

// definition serves the kind without looking at its fields: those are held by
// test/manifests, against the projects' own types.
func (k kind) definition() []byte {
	scope := "Cluster"
	if k.namespaced {
		scope = "Namespaced"
	}
	b, err := json.Marshal(map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": k.plural + "." + k.group, "annotations": map[string]any{
			"api-approved.kubernetes.io": "unapproved, a test's stand-in",
		}},
		"spec": map[string]any{
			"group": k.group, "scope": scope,
			"names": map[string]any{"kind": k.kind, "plural": k.plural, "singular": strings.ToLower(k.kind)},
			"versions": []any{map[string]any{
				"name": k.version, "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
			}},
		},
	})
	if err != nil {
		panic(err) // strings only
	}
	return b
}

// poll tries until there is no error.
func poll(ctx context.Context, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func within(t *testing.T, try func() error) {
	t.Helper()
	if err := poll(t.Context(), try); err != nil {
		t.Fatal(err)
	}
}

// ours are the kinds of objects that the manifests make, as far as the API server
// has them.
func (c *cluster) ours() []schema.GroupVersionResource {
	var out []schema.GroupVersionResource
	for _, crd := range foreign {
		out = append(out, crd.resource())
	}
	for gv, plurals := range map[schema.GroupVersion][]string{
		{Version: "v1"}:                                        {"serviceaccounts", "configmaps", "resourcequotas", "services"},
		{Group: "apps", Version: "v1"}:                         {"daemonsets"},
		{Group: "batch", Version: "v1"}:                        {"cronjobs", "jobs"},
		{Group: "rbac.authorization.k8s.io", Version: "v1"}:    {"clusterroles", "clusterrolebindings", "roles", "rolebindings"},
		{Group: "admissionregistration.k8s.io", Version: "v1"}: {"validatingadmissionpolicies", "validatingadmissionpolicybindings", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings"},
		{Group: "flowcontrol.apiserver.k8s.io", Version: "v1"}: {"prioritylevelconfigurations", "flowschemas"},
	} {
		for _, p := range plurals {
			if c.placement || !strings.HasPrefix(p, "mutating") {
				out = append(out, gv.WithResource(p))
			}
		}
	}
	return out
}

// clean removes what a test that failed has not.
func (c *cluster) clean(ctx context.Context) {
	for _, r := range c.ours() {
		list, err := c.dynamic.Resource(r).List(ctx, metav1.ListOptions{})
		if err != nil {
			continue
		}
		for _, o := range list.Items {
			if strings.HasPrefix(o.GetName(), "sctp-") {
				_ = c.dynamic.Resource(r).Namespace(o.GetNamespace()).Delete(ctx, o.GetName(), metav1.DeleteOptions{})
			}
		}
	}
	releases, err := c.admin.CoreV1().Secrets("").List(ctx, metav1.ListOptions{FieldSelector: "type=helm.sh/release.v1"})
	if err != nil {
		return
	}
	for _, r := range releases.Items {
		_ = c.admin.CoreV1().Secrets(r.Namespace).Delete(ctx, r.Name, metav1.DeleteOptions{})
	}
}

// managed are the objects in the cluster that are ours, by their kinds and names.
func (c *cluster) managed(t *testing.T) map[string]*unstructured.Unstructured {
	t.Helper()
	out := map[string]*unstructured.Unstructured{}
	for _, r := range c.ours() {
		list, err := c.dynamic.Resource(r).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatalf("listing %s: %v", r, err)
		}
		for _, o := range list.Items {
			if !strings.HasPrefix(o.GetName(), "sctp-") {
				continue
			}
			for _, field := range []string{"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"} {
				unstructured.RemoveNestedField(o.Object, "metadata", field)
			}
			annotations := o.GetAnnotations()
			delete(annotations, "deprecated.daemonset.template.generation")
			o.SetAnnotations(annotations)
			unstructured.RemoveNestedField(o.Object, "status")
			out[id(&o)] = &o
		}
	}
	return out
}

// delete removes objects that were applied.
func (c *cluster) delete(t *testing.T, manifests []byte) {
	t.Helper()
	for name, o := range objects(t, manifests) {
		if o.GetKind() == "Namespace" {
			continue
		}
		resource, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
		r := c.dynamic.Resource(resource)
		if err := r.Namespace(o.GetNamespace()).Delete(t.Context(), o.GetName(), metav1.DeleteOptions{}); err != nil {
			t.Errorf("deleting %s: %v", name, err)
		}
	}
	c.nothingRemains(t)
}

// nothingRemains of what was installed.
func (c *cluster) nothingRemains(t *testing.T) {
	t.Helper()
	within(t, func() error {
		left := slices.Sorted(maps.Keys(c.managed(t)))
		releases, err := c.admin.CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{FieldSelector: "type=helm.sh/release.v1"})
		if err != nil {
			return err
		}
		for _, r := range releases.Items {
			left = append(left, r.Name)
		}
		if len(left) > 0 {
			return fmt.Errorf("not removed: %v", left)
		}
		return nil
	})
}

// all are the values of every component that goes with an overlay, and with the
// cluster: one of the two about placement. The mesh is a part of mesh-host-network.
func (c *cluster) all(t *testing.T, overlay string) (components, args []string) {
	t.Helper()
	args = values("overlay", overlay)
	without := "placement"
	if c.placement {
		without = "placement-warning"
	}
	for _, name := range names(t, "components") {
		if name != without && name != "mesh" && name != "hardened" && !excluded(overlay, name) {
			components = append(components, name)
			args = append(args, values("component", name)...)
		}
	}
	return components, args
}

// Installed by kustomize or by Helm, the cluster is the same, but for Helm's own
// labels and its release's Secret; and both can be removed without a trace.
func TestSameClusterState(t *testing.T) {
	c := sharedCluster(t)
	for _, overlay := range []string{"kubernetes-hardened", "openshift"} {
		components, args := c.all(t, overlay)
		rendered := kustomize(t, overlay, components...)
		if err := c.Apply(t.Context(), rendered); err != nil {
			t.Fatal(err)
		}
		want := comparable(c.managed(t))
		c.delete(t, rendered)
		if len(want) < 15 {
			t.Fatalf("%d objects", len(want))
		}

		helm(t, c.kubeconfig, append([]string{"install", "sctp-agent", chartDir, "--namespace", "sctp-agent", "--create-namespace"}, args...)...)
		for _, d := range differ(want, comparable(c.managed(t))) {
			t.Errorf("%s: %s", overlay, d)
		}
		helm(t, c.kubeconfig, "uninstall", "sctp-agent", "--namespace", "sctp-agent")
		c.nothingRemains(t)
	}
}

// What the earlier chart installed becomes what this one installs, and back; the
// DaemonSet is changed, never replaced: its pods, and with them the labels, go on.
func TestUpgradeAndRollback(t *testing.T) {
	c := sharedCluster(t)
	release := func(args ...string) { helm(t, c.kubeconfig, append(args, "--namespace", "sctp-agent")...) }
	uid := func() string {
		ds, err := c.admin.AppsV1().DaemonSets("sctp-agent").Get(t.Context(), "sctp-agent", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return string(ds.UID)
	}
	release("install", "sctp-agent", "testdata/sctp-agent-0.0.1.tgz", "--create-namespace")
	before, daemonSet := c.managed(t), uid()

	_, args := c.all(t, "kubernetes")
	release(append([]string{"upgrade", "sctp-agent", chartDir}, args...)...)
	upgraded := comparable(c.managed(t))
	if uid() != daemonSet {
		t.Error("the upgrade has replaced the DaemonSet")
	}
	release("rollback", "sctp-agent", "1")
	if uid() != daemonSet {
		t.Error("the rollback has replaced the DaemonSet")
	}
	for _, d := range differ(before, c.managed(t)) {
		t.Errorf("after the rollback: %s", d)
	}
	// Those of the earlier chart, without what is new.
	if _, err := tryHelm(t, c.kubeconfig, "upgrade", "sctp-agent", chartDir, "--namespace", "sctp-agent", "--reuse-values"); err == nil || !strings.Contains(err.Error(), "missing properties 'cliImage'") {
		t.Errorf("an upgrade that lacks this chart's values: %v", err)
	}
	release("upgrade", "sctp-agent", chartDir, "--reset-then-reuse-values")
	release("uninstall", "sctp-agent")
	c.nothingRemains(t)

	// An upgrade ends where an installation does.
	release(append([]string{"install", "sctp-agent", chartDir}, args...)...)
	for _, d := range differ(comparable(c.managed(t)), upgraded) {
		t.Errorf("after the upgrade: %s", d)
	}
	release("uninstall", "sctp-agent")
	c.nothingRemains(t)
}

// Whoever has applied the manifests of v0.1 goes on with Helm.
func TestTakeOwnership(t *testing.T) {
	c := sharedCluster(t)
	old, err := os.ReadFile("testdata/manifests-v0.1.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Apply(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	daemonSets := c.admin.AppsV1().DaemonSets("sctp-agent")
	before, err := daemonSets.Get(t.Context(), "sctp-agent", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	install := []string{"install", "sctp-agent", chartDir, "--namespace", "sctp-agent", "--create-namespace"}
	if _, err := tryHelm(t, c.kubeconfig, install...); err == nil || !strings.Contains(err.Error(), "cannot be imported") {
		t.Errorf("without --take-ownership: %v", err)
	}
	helm(t, c.kubeconfig, append(install, "--take-ownership")...)
	after, err := daemonSets.Get(t.Context(), "sctp-agent", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if after.UID != before.UID {
		t.Error("the DaemonSet was replaced")
	}
	want := comparable(objects(t, template(t)))
	for name := range want {
		if c.managed(t)[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
	helm(t, c.kubeconfig, "uninstall", "sctp-agent", "--namespace", "sctp-agent")
	c.nothingRemains(t)
}

// podToken is a token of a service account.
func (c *cluster) podToken(t *testing.T, namespace, account string) string {
	t.Helper()
	r, err := c.admin.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r.Status.Token
}

func (c *cluster) makeNode(t *testing.T, name string, labels map[string]string) {
	t.Helper()
	_, err := c.admin.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.admin.CoreV1().Nodes().Delete(context.Background(), name, metav1.DeleteOptions{}) })
}

// In whatever namespace, under whatever name and prefix the chart is installed,
// and as kustomize installs it, its policy confines the agent: its own keys on
// its own Node pass, everything else does not. A policy that looked for another
// account would let all of it pass, in silence.
func TestPolicyConfines(t *testing.T) {
	c := sharedCluster(t)
	for _, install := range []struct {
		name, namespace, account, prefix string
		helm                             []string // nil: kustomize
	}{
		{"kustomize", "sctp-agent", "sctp-agent", "sctp-agent/", nil},
		{"the chart's defaults", "sctp-agent", "sctp-agent", "sctp-agent/", []string{"sctp-agent"}},
		{"another namespace", "telco", "sctp-agent", "sctp-agent/", []string{"sctp-agent"}},
		{"another release", "sctp-agent", "sctp-edge-sctp-agent", "sctp-agent/", []string{"sctp-edge"}},
		{"another name and prefix", "kube-system", "sctp-probe", "example.com/", []string{"x", "--set", "fullnameOverride=sctp-probe,labelPrefix=example.com/"}},
		{"a prefix that ends like the default", "telco", "sctp-my-sctp-agent", "my.sctp-agent/", []string{"sctp-my", "--set", "labelPrefix=my.sctp-agent"}},
	} {
		t.Run(install.name, func(t *testing.T) {
			if install.helm == nil {
				rendered := kustomize(t, "kubernetes", "startup-taint")
				if err := c.Apply(t.Context(), rendered); err != nil {
					t.Fatal(err)
				}
				defer c.delete(t, rendered)
			} else {
				args := append([]string{"install", install.helm[0], chartDir, "--create-namespace", "--namespace", install.namespace, "--set", "startupTaint.enabled=true"}, install.helm[1:]...)
				helm(t, c.kubeconfig, args...)
				defer c.nothingRemains(t)
				defer helm(t, c.kubeconfig, "uninstall", install.helm[0], "--namespace", install.namespace)
			}
			// The agent that is installed is the one that the policy means.
			ds, err := c.admin.AppsV1().DaemonSets(install.namespace).Get(t.Context(), install.account, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			pod := ds.Spec.Template.Spec
			if pod.ServiceAccountName != install.account {
				t.Errorf("the agent's account is %s", pod.ServiceAccountName)
			}
			args := pod.Containers[0].Args
			if other := install.prefix != "sctp-agent/"; slices.Contains(args, "--prefix="+install.prefix) != other {
				t.Errorf("the agent's arguments are %q", args)
			}
			if !slices.Contains(args, "--startup-taint="+install.prefix+"unproved") {
				t.Errorf("the agent's arguments are %q", args)
			}
			node := strings.Trim("confined-"+strings.NewReplacer(" ", "-", "'", "").Replace(install.name), "-")
			c.makeNode(t, node, map[string]string{"example.org/rack": "7"})
			c.makeNode(t, node+"-neighbour", nil)
			token, err := c.NodeToken(t.Context(), controlplane.NodeTokenOptions{Node: node, Namespace: install.namespace, ServiceAccount: install.account})
			if err != nil {
				t.Fatal(err)
			}
			agent, err := kubernetes.NewForConfig(c.TokenConfig(token))
			if err != nil {
				t.Fatal(err)
			}
			tries := 0
			write := func(node, key, subresource string) error {
				tries++ // a value that is there already would change nothing, and pass
				patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:"w%d"}}}`, key, tries)
				var sub []string
				if subresource != "" {
					sub = []string{subresource}
				}
				_, err := agent.CoreV1().Nodes().Patch(t.Context(), node, types.MergePatchType, patch, metav1.PatchOptions{}, sub...)
				return err
			}
			within(t, func() error { // RBAC and the policy come into force
				if err := write(node, install.prefix+"ready", "status"); err != nil {
					return fmt.Errorf("the agent's own key: %w", err)
				}
				if err := write(node, install.prefix+"ready", ""); err != nil {
					return fmt.Errorf("the agent's own key, on the Node itself: %w", err)
				}
				if err := write(node, "example.org/other", "status"); !apierrors.IsForbidden(err) {
					return fmt.Errorf("a foreign key: %v, want it refused", err)
				}
				return nil
			})
			keys := []string{"example.org/other", "example.org/rack", "node-role.kubernetes.io/control-plane", "x." + install.prefix + "ready", "ready"}
			for _, prefix := range []string{"sctp-agent/", "example.com/", "my.sctp-agent/"} {
				if prefix != install.prefix {
					keys = append(keys, prefix+"ready")
				}
			}
			for _, key := range keys {
				for _, subresource := range []string{"status", ""} {
					if err := write(node, key, subresource); !apierrors.IsForbidden(err) {
						t.Errorf("label %s (%q): %v, want it refused", key, subresource, err)
					}
				}
			}
			for _, subresource := range []string{"status", ""} {
				if err := write(node+"-neighbour", install.prefix+"ready", subresource); !apierrors.IsForbidden(err) {
					t.Errorf("another Node (%q): %v, want it refused", subresource, err)
				}
			}
			for _, patch := range []string{
				`{"spec":{"unschedulable":true}}`,
				`{"metadata":{"annotations":{"example.org/note":"x"}}}`,
				`{"spec":{"taints":[{"key":"` + install.prefix + `x","effect":"NoExecute"}]}}`,
			} {
				if _, err := agent.CoreV1().Nodes().Patch(t.Context(), node, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); !apierrors.IsForbidden(err) {
					t.Errorf("%s: %v, want it refused", patch, err)
				}
			}
		})
	}
}
