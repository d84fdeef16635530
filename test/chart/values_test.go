package chart

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sctp-agent/sctp-agent/test/controlplane"
)

// everything is each component that goes with the others, by its value.
const everything = `
condition: {enabled: true}
startupTaint: {enabled: true}
shutdown: {enabled: true}
nodeReadiness: {enabled: true}
monitoring: {enabled: true}
placementWarning: {enabled: true}
priorityLevel: {enabled: true}
criticalPodsQuota: {enabled: true}
mesh: {enabled: true}
auditor: {schedule: "17 * * * *"}
`

// oddValues are what strangers have. Each is rendered in a namespace, and as a
// release, of its own.
var oddValues = []struct{ name, release, namespace, values string }{
	{"everything", "sctp-agent", "sctp-agent", everything + `
nfd: {enabled: true}
openshift: {enabled: true}
hostNetwork: {enabled: true}
`},
	{"everything, hardened", "sctp-agent", "sctp-agent", everything + `
openshift: {enabled: true}
hardened: {enabled: true}
hostNetwork: {enabled: true}
agent: {port: 19475}
`},
	{"a release with a digit and a dot", "5g.core", "telco", everything},
	{"the longest release", strings.Repeat("r", 52) + "9", "telco", everything},
	{"the longest name, a namespace of digits", "x", "2026", everything + "fullnameOverride: n" + strings.Repeat("9", 39)},
	{"another prefix", "sctp-agent", "telco", everything + "nfd: {enabled: true}\nlabelPrefix: sctp.example.com"},
	{"the longest prefix", "sctp-agent", "telco", everything + "labelPrefix: " + strings.Repeat(strings.Repeat("p", 62)+".", 4) + "p"},
	{"a mirror, by digest, with a secret", "sctp-agent", "sctp-agent", `
auditor: {schedule: "17 * * * *"}
imagePullSecrets: [{name: mirror}]
image: &image {repository: mirror.example:5000/sctp, digest: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}
cliImage: *image
mesh: {enabled: true, image: *image}
`},
	{"nothing of the pods' defaults", "sctp-agent", "sctp-agent", `
tolerations: null
nodeSelector: null
affinity: null
resources: null
updateStrategy: null
podAnnotations: null
podLabels: null
priorityClassName: ""
monitoring: {enabled: true, prometheusAccounts: []}
mesh: {enabled: true, tolerations: [], resources: null}
`},
	{"pods of one's own kind", "sctp-agent", "sctp-agent", `
tolerations: [{key: node-role.kubernetes.io/control-plane, effect: NoSchedule}]
nodeSelector: {pool: sctp}
affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: zone, labelSelector: {}}}]}}
podAnnotations: {kubectl.kubernetes.io/default-logs-container: agent}
podLabels: {team: core}
priorityClassName: system-cluster-critical
terminationGracePeriodSeconds: 0
updateStrategy: {type: OnDelete}
criticalPodsQuota: {enabled: true, pods: 1000000}
`},
	{"every flag", "sctp-agent", "sctp-agent", `
agent:
  {port: 80, autoload: allow, suite: full, timeout: 1m30s, resync: 1h, logFormat: json, logLevel: debug, events: false, extraArgs: [--kmod-version=28]}
condition: {enabled: true, heartbeat: 0}
memoryLimit: 100MiB
`},
}

// What a stranger renders is accepted by the API server, without a warning, as
// "helm template | kubectl apply" sends it; and what the values say is in every
// object that it is about.
func TestOddValues(t *testing.T) {
	c := sharedCluster(t)
	bin, err := controlplane.Build(t.Context(), nil, controlplane.Kubectl)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "values.yaml") // Helm takes no comma in a path
	for _, odd := range oddValues {
		t.Run(odd.name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(odd.values), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := c.admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: odd.namespace}}, metav1.CreateOptions{})
			if err != nil && !apierrors.IsAlreadyExists(err) {
				t.Fatal(err)
			}
			rendered := helm(t, "", "template", odd.release, chartDir, "--namespace", odd.namespace, "--values", file, "--kube-version", controlplane.ServerVersion())
			cmd := exec.CommandContext(t.Context(), bin[controlplane.Kubectl], "--kubeconfig", c.kubeconfig, "apply", "--dry-run=server", "-f", "-")
			cmd.Stdin = bytes.NewReader(rendered)
			var warnings bytes.Buffer
			cmd.Stderr = &warnings
			if _, err := cmd.Output(); err != nil || warnings.Len() > 0 {
				t.Errorf("%v\n%s", err, warnings.Bytes())
			}
			pods := 0
			for id, o := range objects(t, rendered) {
				if ns := o.GetNamespace(); ns != "" && ns != odd.namespace && ns != "default" {
					t.Errorf("%s is in another namespace", id)
				}
				if spec := podSpec(o); spec != nil {
					pods++
					checkMirror(t, id, spec, strings.Contains(odd.values, "mirror.example"))
				}
			}
			if pods < 2 { // the agent's, and that of "helm test"
				t.Errorf("%d pods", pods)
			}
			if strings.Contains(odd.values, "labelPrefix") {
				for _, key := range []string{"ready", "placement", "unproved", "report", "message"} {
					if at := bytes.Index(rendered, []byte("sctp-agent/"+key)); at >= 0 {
						t.Errorf("the default prefix is still there: %s", rendered[at-60:at+40])
					}
				}
			}
		})
	}
}

// podSpec of an object that makes pods, or nil.
func podSpec(o *unstructured.Unstructured) map[string]any {
	path := []string{"spec", "template", "spec"}
	if o.GetKind() == "CronJob" {
		path = slices.Concat([]string{"spec", "jobTemplate"}, path)
	}
	spec, _, _ := unstructured.NestedMap(o.Object, path...)
	return spec
}

// checkMirror: all images come from the mirror, with its secret, or none does.
func checkMirror(t *testing.T, id string, spec map[string]any, mirror bool) {
	t.Helper()
	secrets := fmt.Sprint(spec["imagePullSecrets"])
	containers, _, _ := unstructured.NestedSlice(spec, "containers")
	for _, c := range containers {
		image := fmt.Sprint(c.(map[string]any)["image"])
		if strings.HasPrefix(image, "mirror.example:5000/sctp@sha256:") != mirror || (secrets == "[map[name:mirror]]") != mirror {
			t.Errorf("%s: image %s, secrets %s", id, image, secrets)
		}
	}
}
