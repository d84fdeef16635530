package cleanup

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
)

// TestFind checks that only what is the agent's is found, with any prefix.
func TestFind(t *testing.T) {
	const report = `{"apiVersion":"sctp-agent/v1","kind":"Report"}`
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: "n",
			Labels: map[string]string{
				"sctp-agent/ready": "true", "sctp-agent/old": "x", "sctp-agent/foreign": "x",
				"eks.amazonaws.com/nodegroup": "x", "own.example/ready": "true", "own.example/foreign": "x",
			},
			Annotations: map[string]string{
				"sctp-agent/report": report, "own.example/report": report, "foreign.example/report": "{}", "foreign.example/reason": "x",
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
	// As the agent has them that writes one prefix after another.
	two := node.DeepCopy()
	two.Labels["other.example/ipv6"], two.Labels["other.example/foreign"], two.Labels["gone.example/ready"] = "true", "x", "x"
	two.Annotations["other.example/message"] = "x"
	two.ManagedFields = append(two.ManagedFields, metav1.ManagedFieldsEntry{
		Manager: nodelabel.FieldManager, FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:annotations":{"f:other.example/since":{},"f:odd":{}}}}`),
	})
	// As an agent with another prefix has it.
	alone := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Annotations: map[string]string{"own.example/report": report}}, Status: node.Status}
	for _, c := range []struct {
		node   *corev1.Node
		all    bool
		prefix string
		want   *Node
	}{
		{node, true, "", &Node{Labels: []string{"own.example/ready", "sctp-agent/old", "sctp-agent/ready"}, Annotations: []string{"own.example/report", "sctp-agent/report"}, Condition: true, Taints: []string{"sctp-agent/unproved"}}},
		{two, true, "", &Node{
			Labels:      []string{"other.example/ipv6", "own.example/ready", "sctp-agent/old", "sctp-agent/ready"},
			Annotations: []string{"other.example/message", "own.example/report", "sctp-agent/report"}, Condition: true, Taints: []string{"sctp-agent/unproved"},
		}},
		{two, false, "other.example", &Node{Labels: []string{"other.example/ipv6"}, Annotations: []string{"other.example/message"}}},
		{node, false, "", &Node{Labels: []string{"sctp-agent/old", "sctp-agent/ready"}, Annotations: []string{"sctp-agent/report"}, Condition: true, Taints: []string{"sctp-agent/unproved"}}},
		{node, false, "own.example", &Node{Labels: []string{"own.example/ready"}, Annotations: []string{"own.example/report"}}},
		{alone, true, "", &Node{Annotations: []string{"own.example/report"}, Condition: true}},
		{alone, false, "own.example", &Node{Annotations: []string{"own.example/report"}, Condition: true}},
		{alone, false, "", nil},
		{node, false, "machineconfiguration.openshift.io", nil},
		{node, false, "foreign.example", nil},
		{node, false, "eks.amazonaws.com", nil},
	} {
		keys, err := nodelabel.NewKeys(c.prefix)
		if err != nil {
			t.Fatal(err)
		}
		only := &keys
		if c.all {
			only = nil
		}
		got := find(c.node, only)
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

// An agent whose prefix is not known may write any.
func TestMayWrite(t *testing.T) {
	own, err := nodelabel.NewKeys("own.example")
	if err != nil {
		t.Fatal(err)
	}
	for arg, want := range map[string][2]bool{"--prefix=own.example/": {false, true}, "--prefix=$(PREFIX)": {true, true}, "--node-name=n": {true, false}} {
		var pod corev1.PodTemplateSpec
		pod.Spec.Containers = []corev1.Container{{Name: "agent", Args: []string{"run", arg}}}
		if got := [2]bool{mayWrite(pod, nodelabel.Keys{}), mayWrite(pod, own)}; got != want {
			t.Errorf("%s: %v, want %v", arg, got, want)
		}
	}
}
