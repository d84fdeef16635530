// Package cleanup removes everything that the agent wrote on Nodes: labels,
// annotations, the condition, and the startup taint.
package cleanup

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sctp-agent/sctp-agent/internal/audit"
	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// Options of a cleanup.
type Options struct {
	// Keys are those of the one prefix to clean up; nil means each that an agent
	// used on the Node.
	Keys *nodelabel.Keys
	// NodeSelector narrows the nodes (a label selector).
	NodeSelector string
}

// List is what is to be removed.
type List struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Items      []Node `json:"items"`
}

// Kind is the kind of a [List].
const Kind = "CleanupList"

// Node is what is to be removed from one Node.
type Node struct {
	Name        string   `json:"name"`
	Labels      []string `json:"labels"`
	Annotations []string `json:"annotations"`
	// Condition: the Node has the agent's condition.
	Condition bool `json:"condition"`
	// Taints has the documented startup taint's keys that the Node has.
	Taints []string `json:"taints"`
}

// Find lists the Nodes that carry something of the agent's. With a prefix, the
// documented keys count, and what the agent's field manager owns: so what other
// versions wrote goes too, and what others wrote stays.
func Find(ctx context.Context, c *cluster.Client, opts Options) (List, error) {
	out := List{APIVersion: verdict.APIVersion, Kind: Kind, Items: []Node{}}
	if _, err := labels.Parse(opts.NodeSelector); err != nil {
		return out, fmt.Errorf("label selector %q: %w", opts.NodeSelector, err)
	}
	err := cluster.List(ctx, "nodes", "", c.Kube.CoreV1().Nodes().List, metav1.ListOptions{LabelSelector: opts.NodeSelector}, func(n *corev1.Node) {
		if found := find(n, opts.Keys); found != nil {
			out.Items = append(out.Items, *found)
		}
	})
	return out, err
}

// Agents names the DaemonSets, NAMESPACE/NAME, whose pods would write again what is
// removed.
func Agents(ctx context.Context, c *cluster.Client, opts Options) (names []string, err error) {
	agents, err := labels.Parse(audit.AgentSelector)
	if err != nil {
		return nil, err
	}
	err = cluster.List(ctx, "daemonsets.apps", "", c.Kube.AppsV1().DaemonSets("").List, metav1.ListOptions{}, func(d *appsv1.DaemonSet) {
		if !agents.Matches(labels.Set(d.Spec.Template.Labels)) {
			return
		}
		if opts.Keys == nil || mayWrite(d.Spec.Template, *opts.Keys) {
			names = append(names, d.Namespace+"/"+d.Name)
		}
	})
	return names, err
}

// mayWrite says whether an agent writes these keys. What the value of a variable
// is, in $(NAME), is not known.
func mayWrite(t corev1.PodTemplateSpec, keys nodelabel.Keys) bool {
	var own nodelabel.Keys
	if c := audit.AgentContainer(&corev1.Pod{Spec: t.Spec}); c != nil {
		if prefix, found := audit.Argument(c, "--prefix"); found {
			if strings.Contains(prefix, "$(") {
				return true
			}
			own, _ = nodelabel.NewKeys(prefix) // else it does not run
		}
	}
	return own.Prefix() == keys.Prefix()
}

func find(n *corev1.Node, only *nodelabel.Keys) *Node {
	managed := managedKeys(n)
	out := Node{Name: n.Name, Labels: []string{}, Annotations: []string{}, Taints: []string{}}
	// The condition's type is the same for each prefix: it stays while the Node has
	// the report of an agent with another one, unless it has that of the default one,
	// whose condition it is then.
	other := only != nil && slices.ContainsFunc(reporting(n), func(prefix string) bool { return prefix != only.Prefix() })
	for _, keys := range prefixes(n, managed, only) {
		// Another prefix may be another program's, with a key named like one of
		// ours: the Machine Config Operator has an annotation "reason". Only an
		// agent writes a report, and its field manager owns what it wrote.
		reported := isReport(n.Annotations[keys.Report()])
		standard := keys.Prefix() == nodelabel.DefaultPrefix
		ours := func(key string) bool { return strings.HasPrefix(key, keys.Prefix()) }
		agents := standard || reported || slices.ContainsFunc(managed["f:labels"], ours) || slices.ContainsFunc(managed["f:annotations"], ours)
		if !agents {
			continue
		}
		out.Labels = append(out.Labels, owned(n.Labels, keys.Prefix(), keys.Labels(), managed["f:labels"])...)
		out.Annotations = append(out.Annotations, owned(n.Annotations, keys.Prefix(), keys.Annotations(), managed["f:annotations"])...)
		for _, c := range n.Status.Conditions {
			out.Condition = out.Condition || c.Type == nodelabel.ConditionType && (!other || standard && reported)
		}
		for _, t := range n.Spec.Taints {
			if t.Key == keys.StartupTaint() && !slices.Contains(out.Taints, t.Key) {
				out.Taints = append(out.Taints, t.Key)
			}
		}
	}
	if len(out.Labels)+len(out.Annotations)+len(out.Taints) == 0 && !out.Condition {
		return nil
	}
	return &out
}

// isReport reports whether an annotation is an agent's report.
func isReport(annotation string) bool {
	var report struct {
		APIVersion string `json:"apiVersion"`
	}
	return json.Unmarshal([]byte(annotation), &report) == nil && report.APIVersion == verdict.APIVersion
}

// reporting are the prefixes of the agents' reports on a Node.
func reporting(n *corev1.Node) (prefixes []string) {
	for key, value := range n.Annotations {
		if domain, name, _ := strings.Cut(key, "/"); name == "report" && isReport(value) {
			prefixes = append(prefixes, domain+"/")
		}
	}
	return prefixes
}

// prefixes are those to look for: the one that was asked for, else the default
// one, each that the agent's field manager has keys of, and each of a report.
func prefixes(n *corev1.Node, managed map[string][]string, only *nodelabel.Keys) []nodelabel.Keys {
	if only != nil {
		return []nodelabel.Keys{*only}
	}
	all := []string{nodelabel.DefaultPrefix}
	for _, list := range managed {
		for _, key := range list {
			if domain, _, ok := strings.Cut(key, "/"); ok {
				all = append(all, domain+"/")
			}
		}
	}
	all = append(all, reporting(n)...)
	slices.Sort(all)
	var out []nodelabel.Keys
	for _, prefix := range slices.Compact(all) {
		if keys, err := nodelabel.NewKeys(prefix); err == nil { // else no agent takes it
			out = append(out, keys)
		}
	}
	return out
}

// managedKeys are the metadata keys that the agent's field manager owns, by
// "f:labels" and "f:annotations", as managedFields writes them ("f:" and the key).
func managedKeys(n *corev1.Node) map[string][]string {
	out := map[string][]string{}
	for _, e := range n.ManagedFields {
		var fields struct {
			Metadata map[string]json.RawMessage `json:"f:metadata"`
		}
		if e.Manager != nodelabel.FieldManager || e.FieldsV1 == nil || json.Unmarshal(e.FieldsV1.GetRawBytes(), &fields) != nil {
			continue
		}
		for _, part := range []string{"f:labels", "f:annotations"} {
			var set map[string]json.RawMessage
			if json.Unmarshal(fields.Metadata[part], &set) != nil {
				continue // the manager owns none
			}
			for field := range set {
				if key, ok := strings.CutPrefix(field, "f:"); ok {
					out[part] = append(out[part], key)
				}
			}
		}
	}
	return out
}

// owned are the keys of m with the prefix that are documented or managed.
func owned(m map[string]string, prefix string, documented, managed []string) (out []string) {
	for key := range m {
		if slices.Contains(documented, key) || strings.HasPrefix(key, prefix) && slices.Contains(managed, key) {
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
		if found.Condition && n.Status.Conditions[i].Type == nodelabel.ConditionType {
			status = append(status, removeAt("/status/conditions", i, "type", nodelabel.ConditionType)...)
		}
	}
	var spec []operation
	for i := len(n.Spec.Taints) - 1; i >= 0; i-- {
		if key := n.Spec.Taints[i].Key; slices.Contains(found.Taints, key) {
			spec = append(spec, removeAt("/spec/taints", i, "key", key)...)
		}
	}
	// The report goes last: without it, a second attempt would not know the prefix.
	if err := patch(ctx, c, name, spec); err != nil {
		return err
	}
	return patch(ctx, c, name, status, "status")
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
