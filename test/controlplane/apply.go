package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
)

// Apply applies manifests (YAML documents) as the administrator, in their
// order, as "kubectl apply --server-side" does.
func (cp *ControlPlane) Apply(ctx context.Context, manifests []byte) error {
	client, err := dynamic.NewForConfig(cp.Admin())
	if err != nil {
		return fmt.Errorf("applying manifests: %w", err)
	}
	for dec := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifests), 4096); ; {
		var obj unstructured.Unstructured
		if err := dec.Decode(&obj); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("applying manifests: %w", err)
		}
		if len(obj.Object) == 0 {
			continue
		}
		resource, _ := meta.UnsafeGuessKindToResource(obj.GroupVersionKind())
		var target dynamic.ResourceInterface = client.Resource(resource)
		if ns := obj.GetNamespace(); ns != "" {
			target = client.Resource(resource).Namespace(ns)
		}
		_, err := target.Apply(ctx, obj.GetName(), &obj, metav1.ApplyOptions{FieldManager: "controlplane", Force: true})
		if err != nil {
			return fmt.Errorf("applying %s %s: %w", obj.GetKind(), obj.GetName(), err)
		}
	}
}
