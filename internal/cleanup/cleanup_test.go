package cleanup

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
)

// TestFind checks that only what is the agent's is found, whatever the prefix.
func TestFind(t *testing.T) {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: "n",
			Labels: map[string]string{
				"sctp-agent/ready": "true", "sctp-agent/old": "x", "sctp-agent/foreign": "x",
				"eks.amazonaws.com/nodegroup": "x", "own.example/ready": "true", "own.example/foreign": "x",
			},
			Annotations: map[string]string{
				"sctp-agent/report": "{}", "own.example/report": "{}",
				"machineconfiguration.openshift.io/reason": "", "machineconfiguration.openshift.io/state": "Done",
			},
			ManagedFields: []metav1.ManagedFieldsEntry{
				{Manager: nodelabel.FieldManager, FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:labels":{"f:sctp-agent/old":{}}}}`)},
				{Manager: "kubectl", FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:labels":{"f:sctp-agent/foreign":{}}}}`)},
			},
		},
		Spec:   corev1.NodeSpec{Taints: []corev1.Taint{{Key: "sctp-agent/unproved"}, {Key: "sctp-agent/foreign"}}},
		Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: nodelabel.ConditionType}}},
	}
	for _, c := range []struct {
		prefix string
		want   *Node
	}{
		{"", &Node{Labels: []string{"sctp-agent/old", "sctp-agent/ready"}, Annotations: []string{"sctp-agent/report"}, Condition: true, Taints: []string{"sctp-agent/unproved"}}},
		{"own.example", &Node{Labels: []string{"own.example/ready"}, Annotations: []string{"own.example/report"}}},
		{"machineconfiguration.openshift.io", nil},
		{"eks.amazonaws.com", nil},
	} {
		keys, err := nodelabel.NewKeys(c.prefix)
		if err != nil {
			t.Fatal(err)
		}
		got := find(node, keys)
		if got == nil || c.want == nil {
			if got != c.want {
				t.Errorf("prefix %q: %+v, want %+v", c.prefix, got, c.want)
			}
			continue
		}
		if !slices.Equal(got.Labels, c.want.Labels) || !slices.Equal(got.Annotations, c.want.Annotations) ||
			!slices.Equal(got.Taints, c.want.Taints) || got.Condition != c.want.Condition {
			t.Errorf("prefix %q: %+v, want %+v", c.prefix, got, c.want)
		}
	}
}
