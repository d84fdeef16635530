package verify

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sctp-agent/sctp-agent/pkg/cluster/api"
	"github.com/sctp-agent/sctp-agent/pkg/cluster/verify/peer"
)

// Ports of a listener.
const (
	// EchoPort is where everything is tried.
	EchoPort = 38412
	// DeniedPort is the port that the NetworkPolicy does not allow.
	DeniedPort = 38413
	// controlPort is TCP.
	controlPort = 8080
)

// Labels of what is created.
const (
	labelRun   = "sctp-agent-verify/run"
	labelRole  = "sctp-agent-verify/role"
	labelIndex = "sctp-agent-verify/index"

	roleListener = "listener"
	roleDialler  = "dialler"
)

// annotationUntil is on the namespace: a run that was cut off is cleaned up by
// the next one after this time (RFC 3339).
const annotationUntil = "sctp-agent-verify/until"

func namespaces() api.Resource { return api.Resource{GroupVersion: "v1", Name: "namespaces"} }
func nodes() api.Resource      { return api.Resource{GroupVersion: "v1", Name: "nodes"} }
func pods() api.Resource       { return api.Resource{GroupVersion: "v1", Name: "pods"} }
func services() api.Resource   { return api.Resource{GroupVersion: "v1", Name: "services"} }
func accounts() api.Resource   { return api.Resource{GroupVersion: "v1", Name: "serviceaccounts"} }
func endpointSlices() api.Resource {
	return api.Resource{GroupVersion: "discovery.k8s.io/v1", Name: "endpointslices"}
}
func policies() api.Resource {
	return api.Resource{GroupVersion: "networking.k8s.io/v1", Name: "networkpolicies"}
}

func newNamespace(until time.Time) *corev1.Namespace {
	return &corev1.Namespace{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: "sctp-agent-verify-",
			Labels: map[string]string{
				labelRun: "true",
				// Nothing here needs more; where admission is strict, nothing
				// more would be let in.
				"pod-security.kubernetes.io/enforce": "restricted",
			},
			Annotations: map[string]string{annotationUntil: until.UTC().Format(time.RFC3339)},
		},
	}
}

func newAccount() *corev1.ServiceAccount {
	return &corev1.ServiceAccount{
		TypeMeta:                     metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
		ObjectMeta:                   metav1.ObjectMeta{Name: "verify"},
		AutomountServiceAccountToken: new(false),
	}
}

// runner makes the pods of one run.
type runner struct {
	image   string
	command string
	// life bounds the pods' life, should nobody be left to delete them.
	life time.Duration
	// user is whom containers run as, nil where the platform decides
	// (OpenShift gives each namespace a range of its own).
	user *int64
}

func (r *runner) pod(name, node, role string, index int, args []string, env []corev1.EnvVar) *corev1.Pod {
	return &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Name:   name,
			Labels: map[string]string{labelRun: "true", labelRole: role, labelIndex: strconv.Itoa(index)},
		},
		Spec: corev1.PodSpec{
			// Each node is meant, whatever its taints; no scheduler is needed.
			NodeName:                      node,
			Tolerations:                   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			RestartPolicy:                 corev1.RestartPolicyNever,
			ServiceAccountName:            "verify",
			AutomountServiceAccountToken:  new(false),
			EnableServiceLinks:            new(false),
			DNSPolicy:                     corev1.DNSDefault,
			TerminationGracePeriodSeconds: new(int64(1)),
			ActiveDeadlineSeconds:         new(int64(r.life / time.Second)),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot:   new(true),
				RunAsUser:      r.user,
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name:            "verify",
				Image:           r.image,
				ImagePullPolicy: corev1.PullIfNotPresent,
				Command:         []string{r.command},
				Args:            args,
				Env:             env,
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: new(false),
					ReadOnlyRootFilesystem:   new(true),
					Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}
}

func (r *runner) listener(n *Node) *corev1.Pod {
	p := r.pod(fmt.Sprintf("listener-%d", n.Index), n.Name, roleListener, n.Index, []string{
		"verify-listen", "--index", strconv.Itoa(n.Index),
		"--port", strconv.Itoa(EchoPort), "--port", strconv.Itoa(DeniedPort),
		"--control", fmt.Sprintf(":%d", controlPort),
	}, nil)
	c := &p.Spec.Containers[0]
	c.Ports = []corev1.ContainerPort{
		{Name: "echo", ContainerPort: EchoPort, Protocol: corev1.ProtocolSCTP},
		{Name: "denied", ContainerPort: DeniedPort, Protocol: corev1.ProtocolSCTP},
		{Name: "control", ContainerPort: controlPort, Protocol: corev1.ProtocolTCP},
	}
	c.ReadinessProbe = &corev1.Probe{
		ProbeHandler:     corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: peer.ReadyPath, Port: intstr.FromInt32(controlPort)}},
		PeriodSeconds:    1,
		TimeoutSeconds:   5,
		FailureThreshold: 120,
	}
	return p
}

// JobVariable is the environment variable that holds a dialler's job.
const JobVariable = "SCTP_AGENT_VERIFY_JOB"

func (r *runner) dialler(name string, n *Node, job peer.Job) (*corev1.Pod, error) {
	text, err := json.Marshal(job)
	if err != nil {
		return nil, err
	}
	return r.pod(name, n.Name, roleDialler, n.Index, []string{"verify-dial"},
		[]corev1.EnvVar{{Name: JobVariable, Value: string(text)}}), nil
}

// service leads to the listener of one node, so that every path has one end.
func service(n *Node) *corev1.Service {
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("listener-%d", n.Index), Labels: map[string]string{labelRun: "true"}},
		Spec: corev1.ServiceSpec{
			Type:           corev1.ServiceTypeNodePort,
			Selector:       map[string]string{labelRole: roleListener, labelIndex: strconv.Itoa(n.Index)},
			IPFamilyPolicy: new(corev1.IPFamilyPolicyPreferDualStack),
			Ports: []corev1.ServicePort{{
				Name: "echo", Port: EchoPort, TargetPort: intstr.FromInt32(EchoPort), Protocol: corev1.ProtocolSCTP,
			}},
		},
	}
}

// policy allows one SCTP port of the listeners, and their control port.
func policy() *networkingv1.NetworkPolicy {
	port := func(p corev1.Protocol, n int32) networkingv1.NetworkPolicyPort {
		return networkingv1.NetworkPolicyPort{Protocol: &p, Port: new(intstr.FromInt32(n))}
	}
	return &networkingv1.NetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"},
		ObjectMeta: metav1.ObjectMeta{Name: "allow-echo"},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{labelRole: roleListener}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress: []networkingv1.NetworkPolicyIngressRule{{Ports: []networkingv1.NetworkPolicyPort{
				port(corev1.ProtocolSCTP, EchoPort), port(corev1.ProtocolTCP, controlPort),
			}}},
		},
	}
}
