package chart

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/sctp-agent/sctp-agent/test/controlplane"
)

const (
	chartDir  = "../../charts/sctp-agent"
	manifests = "../../manifests"
)

var helmProgram = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	return Helm(ctx, "helm")
})

// tryHelm runs Helm with a home of its own; kubeconfig may be "".
func tryHelm(t *testing.T, kubeconfig string, args ...string) (stdout []byte, err error) {
	t.Helper()
	bin, err := helmProgram()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	home := t.TempDir()
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home, "KUBECONFIG="+kubeconfig)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err = cmd.Output()
	if err != nil {
		return stdout, fmt.Errorf("helm %v: %w\n%s", args, err, stderr.Bytes())
	}
	return stdout, nil
}

func helm(t *testing.T, kubeconfig string, args ...string) []byte {
	t.Helper()
	out, err := tryHelm(t, kubeconfig, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// template renders the chart as the release sctp-agent in the namespace
// sctp-agent, without the objects of "helm test".
func template(t *testing.T, args ...string) []byte {
	t.Helper()
	return helm(t, "", append([]string{
		"template", "sctp-agent", chartDir, "--namespace", "sctp-agent", "--skip-tests", "--kube-version", controlplane.Version,
	}, args...)...)
}

// kustomize renders an overlay with components.
func kustomize(t *testing.T, overlay string, components ...string) []byte {
	t.Helper()
	bin, err := controlplane.Build(t.Context(), nil, controlplane.Kubectl)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	root, err := filepath.Abs(manifests)
	if err != nil {
		t.Fatal(err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	// Kustomize takes no absolute path.
	relative, err := filepath.Rel(dir, root)
	if err != nil {
		t.Fatal(err)
	}
	k := map[string]any{
		"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
		"resources": []string{relative + "/overlays/" + overlay},
	}
	var paths []string
	for _, c := range components {
		paths = append(paths, relative+"/components/"+c)
	}
	if len(paths) > 0 {
		k["components"] = paths
	}
	b, err := yaml.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), b, 0o644); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), bin[controlplane.Kubectl], "kustomize", dir)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("rendering %s with %v: %v\n%s", overlay, components, err, stderr.Bytes())
	}
	return out
}

// objects of a stream of YAML documents, by what names them.
func objects(t *testing.T, stream []byte) map[string]*unstructured.Unstructured {
	t.Helper()
	out := map[string]*unstructured.Unstructured{}
	for r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(stream))); ; {
		doc, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		var obj unstructured.Unstructured
		if err := yaml.UnmarshalStrict(doc, &obj.Object); err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		if len(obj.Object) == 0 {
			continue
		}
		if out[id(&obj)] != nil {
			t.Errorf("%s is there twice", id(&obj))
		}
		out[id(&obj)] = &obj
	}
}

// id names an object.
func id(o *unstructured.Unstructured) string {
	name := o.GetName()
	if o.GetNamespace() != "" {
		name = o.GetNamespace() + "/" + name
	}
	return o.GetAPIVersion() + " " + o.GetKind() + " " + name
}
