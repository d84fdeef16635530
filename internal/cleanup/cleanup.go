// Package cleanup removes everything that the agent ever wrote on Nodes:
// labels, annotations, the condition, and the startup taint it was to remove.
package cleanup

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
)

// Options of a cleanup.
type Options struct {
	Keys nodelabel.Keys
	// NodeSelector narrows the nodes (a label selector).
	NodeSelector string
}

// Node is what is to be removed from one Node.
type Node struct {
	Name        string   `json:"name"`
	Labels      []string `json:"labels"`
	Annotations []string `json:"annotations"`
	// Condition says that the Node has the agent's condition.
	Condition bool `json:"condition"`
	// Taints are the keys of taints with the agent's prefix.
	Taints []string `json:"taints"`
}

// Find lists the Nodes that carry something of the agent's. Every key with the
// prefix counts, so that what other versions wrote goes too.
func Find(ctx context.Context, c *cluster.Client, opts Options) ([]Node, error) {
	var out []Node
	err := cluster.List(ctx, "nodes", "", c.Kube.CoreV1().Nodes().List, metav1.ListOptions{LabelSelector: opts.NodeSelector}, func(n *corev1.Node) {
		if found := find(n, opts.Keys); found != nil {
			out = append(out, *found)
		}
	})
	return out, err
}

func find(n *corev1.Node, keys nodelabel.Keys) *Node {
	out := Node{
		Name:        n.Name,
		Labels:      owned(n.Labels, keys.Prefix()),
		Annotations: owned(n.Annotations, keys.Prefix()),
		Taints:      []string{},
	}
	for _, c := range n.Status.Conditions {
		if c.Type == nodelabel.ConditionType {
			out.Condition = true
		}
	}
	for _, t := range n.Spec.Taints {
		if strings.HasPrefix(t.Key, keys.Prefix()) {
			out.Taints = append(out.Taints, t.Key)
		}
	}
	if len(out.Labels)+len(out.Annotations)+len(out.Taints) == 0 && !out.Condition {
		return nil
	}
	return &out
}

func owned(m map[string]string, prefix string) []string {
	out := []string{}
	for key := range m {
		if strings.HasPrefix(key, prefix) {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

// attempts at one Node, when something else writes it at the same time.
const attempts = 5

// Remove takes from one Node what is the agent's. The Node is read again, and
// the patches fail rather than touch a list that has changed since.
func Remove(ctx context.Context, c *cluster.Client, name string, opts Options) error {
	for attempt := 1; ; attempt++ {
		err := remove(ctx, c, name, opts)
		if err == nil || apierrors.IsNotFound(err) {
			return nil
		}
		changed := apierrors.IsConflict(err) || apierrors.IsInvalid(err) // a test operation failed
		if !changed || attempt == attempts {
			return fmt.Errorf("clean up node %s: %w", name, err)
		}
	}
}

func remove(ctx context.Context, c *cluster.Client, name string, opts Options) error {
	n, err := c.Kube.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return cluster.Failed("get", "nodes", "", name, err)
	}
	found := find(n, opts.Keys)
	if found == nil {
		return nil
	}
	// Metadata and conditions go through the status subresource, as the agent
	// writes them: the smaller right, which cannot touch the spec.
	var status []operation
	for _, key := range found.Labels {
		status = append(status, operation{Op: "remove", Path: "/metadata/labels/" + escape(key)})
	}
	for _, key := range found.Annotations {
		status = append(status, operation{Op: "remove", Path: "/metadata/annotations/" + escape(key)})
	}
	for i := len(n.Status.Conditions) - 1; i >= 0; i-- {
		if n.Status.Conditions[i].Type == nodelabel.ConditionType {
			status = append(status, removeAt("/status/conditions", i, "type", nodelabel.ConditionType)...)
		}
	}
	if err := patch(ctx, c, name, status, "status"); err != nil {
		return err
	}
	var spec []operation
	for i := len(n.Spec.Taints) - 1; i >= 0; i-- {
		if key := n.Spec.Taints[i].Key; strings.HasPrefix(key, opts.Keys.Prefix()) {
			spec = append(spec, removeAt("/spec/taints", i, "key", key)...)
		}
	}
	return patch(ctx, c, name, spec)
}

// operation of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value string `json:"value,omitempty"`
}

// removeAt removes a list's element, if it is still the one that was read.
func removeAt(list string, i int, field, value string) []operation {
	at := fmt.Sprintf("%s/%d", list, i)
	return []operation{{Op: "test", Path: at + "/" + field, Value: value}, {Op: "remove", Path: at}}
}

// escape makes a key a part of a JSON pointer (RFC 6901).
func escape(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}

func patch(ctx context.Context, c *cluster.Client, name string, operations []operation, subresource ...string) error {
	if len(operations) == 0 {
		return nil
	}
	body, err := json.Marshal(operations)
	if err != nil {
		return err
	}
	_, err = c.Kube.CoreV1().Nodes().Patch(ctx, name, types.JSONPatchType, body, metav1.PatchOptions{FieldManager: nodelabel.FieldManager}, subresource...)
	return cluster.Failed("patch", path.Join(append([]string{"nodes"}, subresource...)...), "", name, err)
}
