package verify

import (
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sctp-agent/sctp-agent/internal/buildinfo"
	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
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
	roleClient   = "client"
	// roleEndpoint are the listeners of one Service, and roleFailover its client.
	roleEndpoint = "endpoint"
	roleFailover = "failover-client"
	// roleNetwork are listeners in a second network, too.
	roleNetwork = "network"
)

// annotationUntil is on the namespace: a run that was cut off is cleaned up by
// the next one after this time (RFC 3339).
const annotationUntil = "sctp-agent-verify/until"

// namespacePrefix begins the names of runs' namespaces.
const namespacePrefix = "sctp-agent-verify-"

func newNamespace(name string, until time.Time) *corev1.Namespace {
	return &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{
			Name: name,
			Labels: map[string]string{
				labelRun: "true",
				// Nothing here needs more; strict admission would not accept more.
				"pod-security.kubernetes.io/enforce": "restricted",
			},
			Annotations: map[string]string{annotationUntil: until.UTC().Format(time.RFC3339)},
		},
	}
}

func newAccount() *corev1.ServiceAccount {
	return &corev1.ServiceAccount{
		ObjectMeta:                   metav1.ObjectMeta{Name: "verify"},
		AutomountServiceAccountToken: new(false),
	}
}

// runner makes the pods of one run.
type runner struct {
	image   string
	command string
	// life limits how long the pods run if nothing deletes them.
	life time.Duration
	// user is whom containers run as, nil where the platform decides
	// (OpenShift gives each namespace a range of its own).
	user *int64
	// pullSecrets are the secrets that the image is pulled with.
	pullSecrets []*corev1.Secret
	// network is a second network that pods ask for from now on.
	network string
}

// pod runs a hidden command of sctp-agent with a job of [wire].
func (r *runner) pod(name string, n *Node, role, command string, job any) (*corev1.Pod, error) {
	text, err := wire.Encode(buildinfo.Current().Version, job)
	if err != nil {
		return nil, fmt.Errorf("encode the job of pod %s: %w", name, err)
	}
	var pullSecrets []corev1.LocalObjectReference
	for _, s := range r.pullSecrets {
		pullSecrets = append(pullSecrets, corev1.LocalObjectReference{Name: s.Name})
	}
	var annotations map[string]string
	if r.network != "" {
		annotations = map[string]string{annotationNetworks: r.network}
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Labels:      map[string]string{labelRun: "true", labelRole: role, labelIndex: strconv.Itoa(n.Index)},
			Annotations: annotations,
		},
		Spec: corev1.PodSpec{
			// Pods are for each node, with any taints; no scheduler is needed.
			NodeName:                      n.Name,
			Tolerations:                   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			RestartPolicy:                 corev1.RestartPolicyNever,
			ServiceAccountName:            "verify",
			AutomountServiceAccountToken:  new(false),
			EnableServiceLinks:            new(false),
			DNSPolicy:                     corev1.DNSDefault,
			TerminationGracePeriodSeconds: new(int64(1)),
			ActiveDeadlineSeconds:         new(int64(r.life / time.Second)),
			ImagePullSecrets:              pullSecrets,
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
				Args:            []string{command},
				Env:             []corev1.EnvVar{{Name: wire.JobVariable, Value: text}},
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: new(false),
					ReadOnlyRootFilesystem:   new(true),
					Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}, nil
}

// listener echoes, and answers a question for its index.
func (r *runner) listener(name string, n *Node, role string, index int) (*corev1.Pod, error) {
	return r.answering(name, n, role, "verify-listen",
		wire.Listener{Index: index, Ports: []int{EchoPort, DeniedPort}, Control: control()},
		corev1.ContainerPort{Name: "echo", ContainerPort: EchoPort, Protocol: corev1.ProtocolSCTP},
		corev1.ContainerPort{Name: "denied", ContainerPort: DeniedPort, Protocol: corev1.ProtocolSCTP},
	)
}

// failoverClient is the client of a Service whose endpoint is deleted.
func (r *runner) failoverClient(n *Node, job wire.Client) (*corev1.Pod, error) {
	job.Control = control()
	return r.answering("failover-client", n, roleFailover, "verify-client", job)
}

// control is where a peer's HTTP server listens.
func control() string { return fmt.Sprintf(":%d", controlPort) }

// answering is a pod that is ready when its peer is.
func (r *runner) answering(name string, n *Node, role, command string, job any, ports ...corev1.ContainerPort) (*corev1.Pod, error) {
	p, err := r.pod(name, n, role, command, job)
	if err != nil {
		return nil, err
	}
	c := &p.Spec.Containers[0]
	c.Ports = append(ports, corev1.ContainerPort{Name: "control", ContainerPort: controlPort, Protocol: corev1.ProtocolTCP})
	c.ReadinessProbe = &corev1.Probe{
		ProbeHandler:     corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: wire.ReadyPath, Port: intstr.FromInt32(controlPort)}},
		PeriodSeconds:    1,
		TimeoutSeconds:   5,
		FailureThreshold: 120,
	}
	return p, nil
}

// service has the listener of one node as its only endpoint, so that every path has
// one end.
func service(n *Node) *corev1.Service {
	return newService(fmt.Sprintf("listener-%d", n.Index), corev1.ServiceTypeNodePort,
		map[string]string{labelRole: roleListener, labelIndex: strconv.Itoa(n.Index)})
}

func newService(name string, kind corev1.ServiceType, selector map[string]string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{labelRun: "true"}},
		Spec: corev1.ServiceSpec{
			Type:           kind,
			Selector:       selector,
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
