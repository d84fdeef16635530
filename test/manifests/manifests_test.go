// Package manifests_test checks what "kubectl apply -k" would send, without a
// cluster: each object decodes strictly into its API's own Go type, and
// nothing changes unnoticed.
package manifests_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	machineconfigv1 "github.com/openshift/api/machineconfiguration/v1"
	securityv1 "github.com/openshift/api/security/v1"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	kjson "sigs.k8s.io/json"
	nfdv1alpha1 "sigs.k8s.io/node-feature-discovery/api/nfd/v1alpha1"
	"sigs.k8s.io/yaml"

	"github.com/sctp-agent/sctp-agent/internal/agent"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
	"github.com/sctp-agent/sctp-agent/test/controlplane"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	root     = "../../manifests"
	overlays = root + "/overlays"
	examples = root + "/examples"
)

// nodeReadinessRule is the part of readiness.node.x-k8s.io/v1alpha1 that the
// rule uses; the API's module cannot be had from the Go proxy.
type nodeReadinessRule struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Conditions []struct {
			Type           string                 `json:"type"`
			RequiredStatus corev1.ConditionStatus `json:"requiredStatus"`
		} `json:"conditions"`
		EnforcementMode string               `json:"enforcementMode"`
		Taint           corev1.Taint         `json:"taint"`
		NodeSelector    metav1.LabelSelector `json:"nodeSelector"`
	} `json:"spec"`
}

// newObject makes an empty object of the API's own type.
func newObject(meta metav1.TypeMeta) (any, error) {
	switch meta.APIVersion + " " + meta.Kind {
	case "v1 Namespace":
		return new(corev1.Namespace), nil
	case "v1 ServiceAccount":
		return new(corev1.ServiceAccount), nil
	case "v1 ConfigMap":
		return new(corev1.ConfigMap), nil
	case "v1 Pod":
		return new(corev1.Pod), nil
	case "v1 ResourceQuota":
		return new(corev1.ResourceQuota), nil
	case "v1 Service":
		return new(corev1.Service), nil
	case "apps/v1 DaemonSet":
		return new(appsv1.DaemonSet), nil
	case "apps/v1 Deployment":
		return new(appsv1.Deployment), nil
	case "batch/v1 CronJob":
		return new(batchv1.CronJob), nil
	case "flowcontrol.apiserver.k8s.io/v1 PriorityLevelConfiguration":
		return new(flowcontrolv1.PriorityLevelConfiguration), nil
	case "flowcontrol.apiserver.k8s.io/v1 FlowSchema":
		return new(flowcontrolv1.FlowSchema), nil
	case "networking.k8s.io/v1 NetworkPolicy":
		return new(networkingv1.NetworkPolicy), nil
	case "rbac.authorization.k8s.io/v1 ClusterRole":
		return new(rbacv1.ClusterRole), nil
	case "rbac.authorization.k8s.io/v1 ClusterRoleBinding":
		return new(rbacv1.ClusterRoleBinding), nil
	case "rbac.authorization.k8s.io/v1 Role":
		return new(rbacv1.Role), nil
	case "rbac.authorization.k8s.io/v1 RoleBinding":
		return new(rbacv1.RoleBinding), nil
	case "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy":
		return new(admissionv1.ValidatingAdmissionPolicy), nil
	case "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding":
		return new(admissionv1.ValidatingAdmissionPolicyBinding), nil
	case "admissionregistration.k8s.io/v1 MutatingAdmissionPolicy":
		return new(admissionv1.MutatingAdmissionPolicy), nil
	case "admissionregistration.k8s.io/v1 MutatingAdmissionPolicyBinding":
		return new(admissionv1.MutatingAdmissionPolicyBinding), nil
	case "security.openshift.io/v1 SecurityContextConstraints":
		return new(securityv1.SecurityContextConstraints), nil
	case "machineconfiguration.openshift.io/v1 MachineConfig":
		return new(machineconfigv1.MachineConfig), nil
	case "monitoring.coreos.com/v1 PodMonitor":
		return new(monitoringv1.PodMonitor), nil
	case "monitoring.coreos.com/v1 PrometheusRule":
		return new(monitoringv1.PrometheusRule), nil
	case "nfd.k8s-sigs.io/v1alpha1 NodeFeatureRule":
		return new(nfdv1alpha1.NodeFeatureRule), nil
	case "readiness.node.x-k8s.io/v1alpha1 NodeReadinessRule":
		return new(nodeReadinessRule), nil
	}
	return nil, fmt.Errorf("no API type is known for %s %s", meta.APIVersion, meta.Kind)
}

// decode reads a stream of YAML documents, each strictly into its own type: a
// field that the API does not have, or has twice, is an error.
func decode(stream []byte) ([]any, error) {
	var objects []any
	r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(stream)))
	for {
		doc, err := r.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		var meta struct {
			metav1.TypeMeta `json:",inline"`
			Metadata        struct{ Name string }
		}
		if err := yaml.Unmarshal(doc, &meta); err != nil {
			return nil, err
		}
		obj, err := newObject(meta.TypeMeta)
		if err != nil {
			return nil, err
		}
		// The API server's own strict decoder: encoding/json would take
		// "hostnetwork" for hostNetwork.
		data, err := yaml.YAMLToJSONStrict(doc)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", meta.Kind, meta.Metadata.Name, err)
		}
		strict, err := kjson.UnmarshalStrict(data, obj)
		if err := errors.Join(append(strict, err)...); err != nil {
			return nil, fmt.Errorf("%s %s: %w", meta.Kind, meta.Metadata.Name, err)
		}
		objects = append(objects, obj)
	}
}

// kustomize renders a directory as "kubectl apply -k" does.
func kustomize(t *testing.T, dir string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute) // the first build of kubectl
	defer cancel()
	bin, err := controlplane.Build(ctx, nil, controlplane.Kubectl)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, bin[controlplane.Kubectl], "kustomize", dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("rendering %s: %v\n%s", dir, err, stderr.Bytes())
	}
	if stderr.Len() > 0 {
		t.Errorf("rendering %s: %s", dir, stderr.Bytes())
	}
	return out
}

// renders are all that is held by golden files.
func renders(t *testing.T) map[string]string {
	t.Helper()
	dirs := map[string]string{
		"kubernetes-all": "testdata/kubernetes-all",
		"openshift-all":  "testdata/openshift-all",
		// The hardened profile narrows the SCC.
		"openshift-hardened": "testdata/openshift-hardened",
		"examples":           examples,
	}
	entries, err := os.ReadDir(overlays)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		dirs[e.Name()] = filepath.Join(overlays, e.Name())
	}
	return dirs
}

func TestRendersAreGoldenAndDecode(t *testing.T) {
	for name, dir := range renders(t) {
		t.Run(name, func(t *testing.T) {
			got := kustomize(t, dir)
			if objects, err := decode(got); err != nil {
				t.Error(err)
			} else if len(objects) < 3 {
				t.Errorf("%d objects", len(objects))
			}
			golden := filepath.Join("testdata", "golden", name+".yaml")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s is not what %s holds (if that is meant: go test ./manifests -update):\n%s", dir, golden, firstDifference(want, got))
			}
		})
	}
}

// Strict means strict: what the other tests rely on.
func TestDecodeRefusesUnknownFields(t *testing.T) {
	for _, doc := range []string{
		"apiVersion: v1\nkind: Namespace\nmetadata: {name: x, lables: {}}\n",
		"apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: x}\nspec: {template: {spec: {hostnetwork: true}}}\n",
		"apiVersion: v2\nkind: Namespace\nmetadata: {name: x}\n",
	} {
		if _, err := decode([]byte(doc)); err == nil {
			t.Errorf("no error for:\n%s", doc)
		}
	}
}

// The example for node-feature-discovery speaks of what the agent writes.
func TestNodeFeatureRule(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(examples, "nodefeaturerule.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	objects, err := decode(b)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r := verdict.Judge(verdict.Facts{})
	r.Ready, r.Reason, r.OnBoot = kmod.AnswerTrue, verdict.ReasonProbePassed, verdict.OnBootLoaded
	if err := (agent.FeatureFile{Dir: dir}).Write(r); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, agent.FeatureFileName))
	if err != nil {
		t.Fatal(err)
	}
	names := 0
	for _, rule := range objects[0].(*nfdv1alpha1.NodeFeatureRule).Spec.Rules {
		for _, term := range rule.MatchFeatures {
			if term.Feature != "local.feature" || term.MatchExpressions == nil {
				t.Errorf("%+v", term)
				continue
			}
			for name := range *term.MatchExpressions {
				names++
				if !strings.Contains(string(file), "\n"+name+"=") {
					t.Errorf("the feature file has no %s:\n%s", name, file)
				}
			}
		}
	}
	if names == 0 {
		t.Error("the rule matches nothing")
	}
}

func TestMachineConfigExamplesDecode(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(examples, "machineconfig-*.yaml"))
	if err != nil || len(files) != 2 {
		t.Fatalf("found %v, %v", files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		objects, err := decode(b)
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		mc := objects[0].(*machineconfigv1.MachineConfig)
		role := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), "machineconfig-"), ".yaml")
		if got := mc.Labels["machineconfiguration.openshift.io/role"]; got != role {
			t.Errorf("%s: for the role %q", f, got)
		}
	}
}

// The example of an audit in the cluster runs with the account that the
// component "auditor" makes.
func TestAuditCronJob(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(examples, "cronjob-audit.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	objects, err := decode(b)
	if err != nil {
		t.Fatal(err)
	}
	job := objects[0].(*batchv1.CronJob)
	rendered, err := decode(kustomize(t, "testdata/kubernetes-all"))
	if err != nil {
		t.Fatal(err)
	}
	pod := job.Spec.JobTemplate.Spec.Template.Spec
	if !slices.ContainsFunc(rendered, func(o any) bool {
		sa, ok := o.(*corev1.ServiceAccount)
		return ok && sa.Name == pod.ServiceAccountName && sa.Namespace == job.Namespace
	}) {
		t.Errorf("no account %s in %s", pod.ServiceAccountName, job.Namespace)
	}
}

// daemonSet of the agent in a rendered directory.
func daemonSet(t *testing.T, dir string) *appsv1.DaemonSet {
	t.Helper()
	return daemonSetNamed(t, dir, "sctp-agent")
}

func daemonSetNamed(t *testing.T, dir, name string) *appsv1.DaemonSet {
	t.Helper()
	objects, err := decode(kustomize(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if ds, ok := o.(*appsv1.DaemonSet); ok && ds.Name == name {
			return ds
		}
	}
	t.Fatalf("%s has no DaemonSet %s", dir, name)
	return nil
}

// nfdFeatures is where node-feature-discovery looks for feature files.
const nfdFeatures = "/etc/kubernetes/node-feature-discovery/features.d"

// Whatever the profile: nothing of the host is writable, and nothing is made
// there, but for the directory of the component "nfd".
func TestHostIsReadOnly(t *testing.T) {
	for name, dir := range renders(t) {
		if name == "examples" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			spec := daemonSet(t, dir).Spec.Template.Spec
			if len(spec.Containers) != 1 || len(spec.InitContainers) != 0 {
				t.Fatalf("want one container, have %d and %d", len(spec.Containers), len(spec.InitContainers))
			}
			hostPaths := map[string]*corev1.HostPathVolumeSource{}
			for _, v := range spec.Volumes {
				if v.HostPath == nil {
					t.Errorf("volume %s is not of the host", v.Name)
					continue
				}
				hostPaths[v.Name] = v.HostPath
			}
			writable := false
			for _, m := range spec.Containers[0].VolumeMounts {
				p := hostPaths[m.Name]
				if p.Type == nil {
					t.Errorf("%s: without a type the runtime makes what is missing", m.MountPath)
					continue
				}
				if p.Path == nfdFeatures && m.MountPath == p.Path && !m.ReadOnly && *p.Type == corev1.HostPathDirectoryOrCreate {
					writable = true
					continue
				}
				if !m.ReadOnly || m.MountPropagation == nil || *m.MountPropagation != corev1.MountPropagationHostToContainer {
					t.Errorf("%s: read-only %v, propagation %v", m.MountPath, m.ReadOnly, m.MountPropagation)
				}
				// Any other type has the kubelet or the runtime make it.
				if *p.Type != corev1.HostPathDirectory {
					t.Errorf("%s: hostPath type %s", m.MountPath, *p.Type)
				}
				if want := filepath.Join("/host", p.Path); m.MountPath != want {
					t.Errorf("%s of the host at %s", p.Path, m.MountPath)
				}
			}
			// Only with the component, and never without the flag.
			flag := slices.Contains(spec.Containers[0].Args, "--nfd-features-dir="+nfdFeatures)
			if with := strings.HasSuffix(name, "-all"); writable != with || flag != with {
				t.Errorf("writable directory for node-feature-discovery %v, flag %v, want %v", writable, flag, with)
			}
			if sc := spec.Containers[0].SecurityContext; sc.ReadOnlyRootFilesystem == nil || !*sc.ReadOnlyRootFilesystem {
				t.Error("the container's root is writable")
			}
			if spec.HostPID || spec.HostIPC {
				t.Error("shares namespaces of the host that it does not need")
			}
		})
	}
}

// What every profile's pod has, for whoever runs the cluster.
func TestOperations(t *testing.T) {
	for name, dir := range renders(t) {
		if name == "examples" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			ds := daemonSet(t, dir)
			spec := ds.Spec.Template.Spec
			c := spec.Containers[0]
			if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
				t.Errorf("resources %+v", c.Resources)
			}
			if _, limited := c.Resources.Limits[corev1.ResourceCPU]; limited {
				t.Error("has a CPU limit")
			}
			if c.LivenessProbe == nil || c.ReadinessProbe == nil || c.LivenessProbe.HTTPGet.Path == c.ReadinessProbe.HTTPGet.Path {
				t.Error("wants two probes")
			}
			if c.TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError || c.ImagePullPolicy != corev1.PullIfNotPresent {
				t.Errorf("%s, %s", c.TerminationMessagePolicy, c.ImagePullPolicy)
			}
			// A DaemonSet's selector cannot change: it must not hold what may.
			want := map[string]string{"app.kubernetes.io/name": "sctp-agent", "app.kubernetes.io/component": "agent"}
			if !maps.Equal(ds.Spec.Selector.MatchLabels, want) {
				t.Errorf("selector %v", ds.Spec.Selector.MatchLabels)
			}
			if ds.Spec.Template.Labels["app.kubernetes.io/part-of"] != "sctp-agent" {
				t.Errorf("labels %v", ds.Spec.Template.Labels)
			}
			if u := ds.Spec.UpdateStrategy; u.Type != appsv1.RollingUpdateDaemonSetStrategyType || u.RollingUpdate.MaxUnavailable.String() != "10%" {
				t.Errorf("update strategy %+v", u)
			}
			if spec.PriorityClassName != "system-node-critical" || len(spec.Tolerations) != 1 || spec.Tolerations[0] != (corev1.Toleration{Operator: corev1.TolerationOpExists}) {
				t.Errorf("priority class %s, tolerations %+v", spec.PriorityClassName, spec.Tolerations)
			}
			if !slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool {
				return e.Name == "NODE_NAME" && e.ValueFrom != nil && e.ValueFrom.FieldRef != nil && e.ValueFrom.FieldRef.FieldPath == "spec.nodeName"
			}) {
				t.Errorf("environment %+v", c.Env)
			}
		})
	}
}

// The programs understand their arguments in every render.
func TestArguments(t *testing.T) {
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "./cmd/sctp-agent", "./cmd/sctp-mesh")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the programs: %v\n%s", err, out)
	}
	parse := func(program string, args []string) ([]byte, error) {
		// The flags before it are read first.
		return exec.CommandContext(t.Context(), filepath.Join(dir, program), append(slices.Clone(args), "--help")...).CombinedOutput()
	}
	for name, render := range renders(t) {
		if name == "examples" {
			continue
		}
		programs := []string{"sctp-agent"}
		if strings.HasSuffix(name, "-all") {
			programs = append(programs, "sctp-mesh")
		}
		for _, program := range programs {
			args := daemonSetNamed(t, render, program).Spec.Template.Spec.Containers[0].Args
			if out, err := parse(program, args); err != nil {
				t.Errorf("%s: %s %s: %v\n%s", name, program, strings.Join(args, " "), err, out)
			}
			if _, err := parse(program, append(args, "--no-such-flag")); err == nil {
				t.Error("a flag that is not there is no error: this test shows nothing")
			}
		}
	}
}

// The hardened profile passes the Pod Security Standard "restricted" in all but
// its volumes.
func TestHardened(t *testing.T) {
	spec := daemonSet(t, filepath.Join(overlays, "kubernetes-hardened")).Spec.Template.Spec
	sc := spec.Containers[0].SecurityContext
	if sc.Privileged != nil || sc.AllowPrivilegeEscalation == nil || *sc.AllowPrivilegeEscalation {
		t.Errorf("privilege: %+v", sc)
	}
	if sc.RunAsUser != nil {
		t.Errorf("the container's user %d stands above the pod's", *sc.RunAsUser)
	}
	if sc.Capabilities == nil || len(sc.Capabilities.Drop) != 1 || sc.Capabilities.Drop[0] != "ALL" || len(sc.Capabilities.Add) != 0 {
		t.Errorf("capabilities: %+v", sc.Capabilities)
	}
	psc := spec.SecurityContext
	if psc.RunAsNonRoot == nil || !*psc.RunAsNonRoot || psc.RunAsUser == nil || *psc.RunAsUser == 0 ||
		psc.SeccompProfile == nil || psc.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("pod: %+v", psc)
	}
	for _, v := range spec.Volumes {
		if v.HostPath.Path == "/" {
			t.Error("the whole host is mounted")
		}
	}
}

// OpenShift's SecurityContextConstraints let the DaemonSet's pod be what it is,
// and no more. Whether OpenShift itself agrees was not tried.
func TestSecurityContextConstraints(t *testing.T) {
	for name, dir := range map[string]string{
		"openshift":          filepath.Join(overlays, "openshift"),
		"openshift-all":      "testdata/openshift-all",
		"openshift-hardened": "testdata/openshift-hardened",
	} {
		t.Run(name, func(t *testing.T) {
			objects, err := decode(kustomize(t, dir))
			if err != nil {
				t.Fatal(err)
			}
			var scc *securityv1.SecurityContextConstraints
			var ds *appsv1.DaemonSet
			var ns *corev1.Namespace
			for _, o := range objects {
				switch o := o.(type) {
				case *securityv1.SecurityContextConstraints:
					scc = o
				case *appsv1.DaemonSet:
					if o.Name == "sctp-agent" {
						ds = o
					}
				case *corev1.Namespace:
					ns = o
				}
			}
			if scc == nil || ds == nil || ns == nil {
				t.Fatal("wants an SCC, a DaemonSet and a Namespace")
			}
			spec := ds.Spec.Template.Spec
			if want := []string{"system:serviceaccount:" + ds.Namespace + ":" + spec.ServiceAccountName}; !slices.Equal(scc.Users, want) || len(scc.Groups) != 0 {
				t.Errorf("for %v and %v, want %v alone", scc.Users, scc.Groups, want)
			}
			if got := ds.Spec.Template.Annotations["openshift.io/required-scc"]; got != scc.Name {
				t.Errorf("the pod requires the SCC %q", got)
			}
			// Workload partitioning wants both (OpenShift, "Workload partitioning").
			var workload struct {
				Effect string `json:"effect"`
			}
			annotation := ds.Spec.Template.Annotations["target.workload.openshift.io/management"]
			if err := json.Unmarshal([]byte(annotation), &workload); err != nil || workload.Effect != "PreferredDuringScheduling" {
				t.Errorf("workload annotation %q: %v", annotation, err)
			}
			if ns.Annotations["workload.openshift.io/allowed"] != "management" || ns.Labels["openshift.io/cluster-monitoring"] != "true" {
				t.Errorf("namespace: %v, %v", ns.Annotations, ns.Labels)
			}
			if scc.AllowHostNetwork != spec.HostNetwork || scc.AllowHostPID != spec.HostPID || scc.AllowHostIPC != spec.HostIPC {
				t.Errorf("host namespaces: the SCC allows %v %v %v", scc.AllowHostNetwork, scc.AllowHostPID, scc.AllowHostIPC)
			}
			hostPorts := false
			for _, p := range spec.Containers[0].Ports {
				hostPorts = hostPorts || p.HostPort != 0
			}
			if scc.AllowHostPorts != hostPorts {
				t.Errorf("host ports: the pod %v, the SCC %v", hostPorts, scc.AllowHostPorts)
			}
			// The account's token is a projected volume, put there by admission.
			if want := []securityv1.FSType{securityv1.FSTypeHostPath, securityv1.FSProjected}; !slices.Equal(scc.Volumes, want) || !scc.AllowHostDirVolumePlugin {
				t.Errorf("volumes %v, host directories %v", scc.Volumes, scc.AllowHostDirVolumePlugin)
			}
			sc := spec.Containers[0].SecurityContext
			if privileged := sc.Privileged != nil && *sc.Privileged; scc.AllowPrivilegedContainer != privileged {
				t.Errorf("privileged: the pod %v, the SCC %v", privileged, scc.AllowPrivilegedContainer)
			}
			if escalation := sc.AllowPrivilegeEscalation == nil || *sc.AllowPrivilegeEscalation; *scc.AllowPrivilegeEscalation != escalation {
				t.Errorf("privilege escalation: the pod %v, the SCC %v", escalation, *scc.AllowPrivilegeEscalation)
			}
			if !scc.ReadOnlyRootFilesystem {
				t.Error("the SCC allows a writable root")
			}
		})
	}
}

func firstDifference(want, got []byte) string {
	w, g := strings.Split(string(want), "\n"), strings.Split(string(got), "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d:\n- %s\n+ %s", i+1, w[i], g[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}
