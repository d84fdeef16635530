package audit

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// The agent is told from what stands beside it, first or not, in its pod.
func TestAgentContainer(t *testing.T) {
	proxy := corev1.Container{Name: "proxy", Image: "registry.example/mesh/proxy:1"}
	for name, c := range map[string]struct {
		containers []corev1.Container
		want       string // "" for none
	}{
		"a sidecar is first":  {[]corev1.Container{proxy, {Name: "agent", Image: "mirror/x:v1"}}, "mirror/x:v1"},
		"by the image's name": {[]corev1.Container{proxy, {Name: "main", Image: "registry.example:5000/k/sctp-agent:v1@sha256:00"}}, "registry.example:5000/k/sctp-agent:v1@sha256:00"},
		"another's image":     {[]corev1.Container{proxy, {Name: "main", Image: "k/sctp-agent-exporter:v1"}}, ""},
		"the only one":        {[]corev1.Container{{Name: "main", Image: "mirror/x"}}, "mirror/x"},
		"none":                {nil, ""},
	} {
		p := &corev1.Pod{Spec: corev1.PodSpec{Containers: c.containers}}
		got := ""
		if container := AgentContainer(p); container != nil {
			got = container.Image
		}
		if got != c.want || agentPod(p).Image != c.want {
			t.Errorf("%s: %q, audit has %q, want %q", name, got, agentPod(p).Image, c.want)
		}
	}
}
