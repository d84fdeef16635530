package audit

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
)

// The agent is distinguished from other containers of its pod, before or after it.
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

// How often a condition is renewed is in the agent's arguments, also where another
// container comes first.
func TestAgentHeartbeat(t *testing.T) {
	for want, args := range map[time.Duration][]string{
		nodelabel.DefaultHeartbeat: {"run", "--condition"},
		time.Hour:                  {"run", "--condition", "--condition-heartbeat=1h"},
		0:                          {"run", "--condition-heartbeat=0"},
		2 * time.Hour:              {"run", "--condition-heartbeat=1h", "--condition-heartbeat", "2h"},
	} {
		p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{
			{Name: "proxy", Args: []string{"--condition-heartbeat=7m"}}, {Name: "agent", Args: args},
		}}}
		if got := agentPod(p).Heartbeat; got != want {
			t.Errorf("%v: %s, want %s", args, got, want)
		}
	}
	command := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "agent", Command: []string{"/sctp-agent", "run", "--condition-heartbeat=3h"}}}}}
	if got := agentPod(command).Heartbeat; got != 3*time.Hour {
		t.Errorf("by its command: %s", got)
	}
	n := corev1.Node{}
	at := metav1.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, LastHeartbeatTime: metav1.Now()}, {Type: nodelabel.ConditionType, LastHeartbeatTime: at}}
	if got := node(&n, nodelabel.Keys{}).Heartbeat; !got.Equal(at.Time) {
		t.Errorf("the condition's heartbeat is read as %s", got)
	}
}
