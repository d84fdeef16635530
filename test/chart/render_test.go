package chart

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/sctp-agent/sctp-agent/test/controlplane"
)

// helmsOwn are the labels and annotations that Helm puts on what it installs.
var helmsOwn = []string{"helm.sh/chart", "app.kubernetes.io/managed-by", "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"}

// comparable returns the objects without what is Helm's own, and without
// Namespaces, which the chart does not make.
func comparable(all map[string]*unstructured.Unstructured) map[string]*unstructured.Unstructured {
	out := map[string]*unstructured.Unstructured{}
	for name, o := range all {
		if o.GetKind() == "Namespace" {
			continue
		}
		o = o.DeepCopy()
		labels, annotations := o.GetLabels(), o.GetAnnotations()
		for _, key := range helmsOwn {
			delete(labels, key)
			delete(annotations, key)
		}
		if len(labels) == 0 {
			labels = nil
		}
		if len(annotations) == 0 {
			annotations = nil
		}
		o.SetLabels(labels)
		o.SetAnnotations(annotations)
		out[name] = o
	}
	return out
}

// differences lists the fields in which two values differ.
func differences(path string, want, got any) []string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			break
		}
		keys := map[string]bool{}
		for k := range w {
			keys[k] = true
		}
		for k := range g {
			keys[k] = true
		}
		var out []string
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			at := path + "." + k
			wv, in := w[k]
			gv, has := g[k]
			switch {
			case !in:
				out = append(out, fmt.Sprintf("%s: %v, want nothing", at, gv))
			case !has:
				out = append(out, fmt.Sprintf("%s: nothing, want %v", at, wv))
			default:
				out = append(out, differences(at, wv, gv)...)
			}
		}
		return out
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			break
		}
		var out []string
		for i := range w {
			out = append(out, differences(fmt.Sprintf("%s[%d]", path, i), w[i], g[i])...)
		}
		return out
	}
	if reflect.DeepEqual(want, got) {
		return nil
	}
	return []string{fmt.Sprintf("%s: %v, want %v", path, got, want)}
}

// differ compares two sets of objects, field by field.
func differ(want, got map[string]*unstructured.Unstructured) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		g := got[name]
		if g == nil {
			out = append(out, name+": missing")
			continue
		}
		for _, d := range differences("", want[name].Object, g.Object) {
			out = append(out, name+": "+strings.TrimPrefix(d, "."))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if want[name] == nil {
			out = append(out, name+": not in manifests/")
		}
	}
	return out
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(manifests, dir))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// excluded are components that an overlay cannot have.
func excluded(overlay, component string) bool {
	return strings.HasSuffix(overlay, "-hardened") && (component == "hardened" || component == "nfd")
}

func values(kind, name string) []string {
	return []string{"--values", filepath.Join(chartDir, "ci", kind+"-"+name+"-values.yaml")}
}

// The chart and kustomize make the same objects: each overlay alone and with all
// components that go together, and each component alone.
func TestChartEqualsKustomize(t *testing.T) {
	components := names(t, "components")
	for _, overlay := range names(t, "overlays") {
		sets := [][]string{nil}
		var all []string
		for _, c := range components {
			if excluded(overlay, c) {
				continue
			}
			// Hardened narrows OpenShift's constraints, too, and goes with less than
			// all; the others add the same everywhere.
			if c == "node-readiness" && overlay == "kubernetes" {
				sets = append(sets, []string{"condition", c}) // as the chart demands
			} else if overlay == "kubernetes" || c == "hardened" {
				sets = append(sets, []string{c})
			}
			// placement-warning is a part of placement, mesh of mesh-host-network.
			if c != "placement-warning" && c != "mesh" && c != "hardened" {
				all = append(all, c)
			}
		}
		for _, set := range append(sets, all) {
			t.Run(overlay+"/"+strings.Join(set, "+"), func(t *testing.T) {
				args := values("overlay", overlay)
				for _, c := range set {
					args = append(args, values("component", c)...)
				}
				want := comparable(objects(t, kustomize(t, overlay, set...)))
				got := comparable(objects(t, template(t, args...)))
				if len(want) < 7 {
					t.Fatalf("%d objects", len(want))
				}
				for _, d := range differ(want, got) {
					t.Error(d)
				}
			})
		}
	}
}

// What the test above relies on: a field that differs is named.
func TestDifferencesAreNamed(t *testing.T) {
	want := comparable(objects(t, template(t)))
	got := comparable(objects(t, template(t, "--set", "terminationGracePeriodSeconds=11", "--set", "podLabels.x=y", "--set", "criticalPodsQuota.enabled=true")))
	have := differ(want, got)
	expected := []string{
		"apps/v1 DaemonSet sctp-agent/sctp-agent: spec.template.metadata.labels.x: y, want nothing",
		"apps/v1 DaemonSet sctp-agent/sctp-agent: spec.template.spec.terminationGracePeriodSeconds: 11, want 10",
		"v1 ResourceQuota sctp-agent/sctp-agent-critical-pods: not in manifests/",
	}
	if !slices.Equal(have, expected) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(expected, "\n"))
	}
}

// The example of manifests/ and the chart's CronJob are the same.
func TestCronJobEqualsExample(t *testing.T) {
	example, err := os.ReadFile(filepath.Join(manifests, "examples/cronjob-audit.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want := comparable(objects(t, example))
	got := comparable(objects(t, template(t, "--set", "auditor.schedule=17 * * * *")))
	maps.DeleteFunc(got, func(_ string, o *unstructured.Unstructured) bool { return o.GetKind() != "CronJob" })
	for _, d := range differ(want, got) {
		t.Error(d)
	}
}

// Helm's own check, for every values file that is tested here.
func TestLint(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(chartDir, "ci", "*.yaml"))
	if err != nil || len(files) != len(names(t, "overlays"))+len(names(t, "components")) {
		t.Fatalf("%d files of values, %v", len(files), err)
	}
	for _, f := range files {
		helm(t, "", "lint", "--strict", chartDir, "--values", f, "--kube-version", "1.37.2")
	}
}

// What would do nothing, or harm, is refused before it reaches a cluster.
func TestValuesAreChecked(t *testing.T) {
	for _, c := range []struct {
		name, want string
		args       []string
	}{
		{"a value that does not exist", "hostnetwork", []string{"--set", "hostnetwork.enabled=true"}},
		{"a value that does not exist, below", "enable", []string{"--set", "condition.enable=true"}},
		{"a prefix of Kubernetes", "are reserved", []string{"--set", "labelPrefix=node.kubernetes.io/"}},
		{"a prefix that ends a string in the policy", "labelPrefix", []string{"--set", "labelPrefix=x') || true || ('/"}},
		{"a name that ends a string in the policy", "fullnameOverride", []string{"--set", "fullnameOverride=x' || true"}},
		{"a severity that does not exist", "failOn", []string{"--set", "auditor.failOn=all"}},
		{"node-feature-discovery's file without privilege", "belongs to root", []string{"--set", "nfd.enabled=true,hardened.enabled=true"}},
		{"a rule on a condition that nobody writes", "needs condition.enabled", []string{"--set", "nodeReadiness.enabled=true"}},
		{"a heartbeat in words", "heartbeat", []string{"--set", "condition.heartbeat=5 minutes"}},
		{"a quota for no class", "needs priorityClassName", []string{"--set", "criticalPodsQuota.enabled=true,priorityClassName="}},
		{"one port for two things", "must differ: [9477 9477]", []string{"--set", "mesh.enabled=true,mesh.port=9477"}},
		{"a node's port for two pods", "must differ", []string{"--set", "mesh.enabled=true,mesh.hostNetwork=true,hostNetwork.enabled=true,agent.port=9476"}},
		{"a prefix past the policy", "set labelPrefix instead of --prefix", []string{"--set", "agent.extraArgs={--prefix=example.com/}"}},
		{"a label of the selector", "podLabels", []string{"--set", `podLabels.app\.kubernetes\.io/name=x`}},
		{"placement before its API", "placement needs Kubernetes 1.36", []string{"--set", "placement.enabled=true", "--kube-version", "1.35.9"}},
		{"a Kubernetes without the node's name in tokens", "requires kubeVersion", []string{"--kube-version", "1.31.4"}},
	} {
		args := append([]string{"template", "sctp-agent", chartDir, "--kube-version", controlplane.Version}, c.args...)
		_, err := tryHelm(t, "", args...)
		if err == nil {
			t.Errorf("%s: not refused", c.name)
			continue
		}
		// The first line has the arguments.
		if _, said, _ := strings.Cut(err.Error(), "\n"); !strings.Contains(said, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// The warning alone needs no mutating policy.
	helm(t, "", "template", "sctp-agent", chartDir, "--set", "placementWarning.enabled=true", "--kube-version", "1.32.0")
}

// A value that stands for a flag is the agent's argument, and only with what it
// belongs to.
func TestFlagsOfValues(t *testing.T) {
	for _, c := range []struct{ enabled, heartbeat, want string }{
		{"true", `"1h"`, "--condition-heartbeat=1h"},
		{"true", `"0"`, "--condition-heartbeat=0"},
		{"true", `0`, "--condition-heartbeat=0"},
		{"true", `""`, ""},
		{"true", `null`, ""},
		{"false", `"1h"`, ""},
	} {
		rendered := string(template(t, "--set", "condition.enabled="+c.enabled, "--set-json", "condition.heartbeat="+c.heartbeat))
		_, after, found := strings.Cut(rendered, "--condition-heartbeat")
		arg, _, _ := strings.Cut(after, "\n")
		if got := "--condition-heartbeat" + arg; found != (c.want != "") || found && got != c.want {
			t.Errorf("condition %s, heartbeat %q: %q, want %q", c.enabled, c.heartbeat, got, c.want)
		}
	}
}

// Every value of values.yaml is in the schema, and the other way round, so that
// neither is forgotten.
func TestSchemaIsComplete(t *testing.T) {
	var defaults, schema map[string]any
	for file, into := range map[string]*map[string]any{"values.yaml": &defaults, "values.schema.json": &schema} {
		b, err := os.ReadFile(filepath.Join(chartDir, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(b, into); err != nil {
			t.Fatal(err)
		}
	}
	var check func(path string, value, schema map[string]any)
	check = func(path string, value, schema map[string]any) {
		properties, ok := schema["properties"].(map[string]any)
		if !ok {
			return // a Kubernetes object, or a map of the user's
		}
		if schema["additionalProperties"] != false {
			t.Errorf("%s: what is not known is not refused", path)
		}
		required, _ := schema["required"].([]any)
		for k, p := range properties {
			if _, ok := value[k]; !ok && k != "global" {
				t.Errorf("%s.%s has no default", path, k)
			}
			// What templates look into; without it they would fail with no word about it.
			if group := p.(map[string]any)["additionalProperties"] == false; group && k != "global" && !slices.Contains(required, any(k)) {
				t.Errorf("%s.%s is not required", path, k)
			}
		}
		for k, v := range value {
			p, ok := properties[k].(map[string]any)
			if !ok {
				t.Errorf("%s.%s is not in the schema", path, k)
			} else if m, ok := v.(map[string]any); ok {
				check(path+"."+k, m, p)
			}
		}
	}
	check("", defaults, schema)
}
