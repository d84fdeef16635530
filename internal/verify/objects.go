package verify

import (
	"fmt"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sctp-agent/sctp-agent/internal/buildinfo"
	api "github.com/sctp-agent/sctp-agent/internal/kubeapi"
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
func secrets() api.Resource    { return api.Resource{GroupVersion: "v1", Name: "secrets"} }
func endpointSlices() api.Resource {
	return api.Resource{GroupVersion: "discovery.k8s.io/v1", Name: "endpointslices"}
}
func policies() api.Resource {
	return api.Resource{GroupVersion: "networking.k8s.io/v1", Name: "networkpolicies"}
}

// namespacePrefix begins the names of runs' namespaces.
const namespacePrefix = "sctp-agent-verify-"

func newNamespace(name string, until time.Time) *api.Namespace {
	return &api.Namespace{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
		ObjectMeta: metav1.ObjectMeta{
			Name: name,
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

func newAccount() *api.ServiceAccount {
	return &api.ServiceAccount{
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
	// pullSecrets are the secrets that the image is pulled with.
	pullSecrets []*api.Secret
}

// pod runs a hidden command of sctp-agent with a job of [wire].
func (r *runner) pod(name string, n *Node, role, command string, job any) (*api.Pod, error) {
	text, err := wire.Encode(buildinfo.Current().Version, job)
	if err != nil {
		return nil, fmt.Errorf("encode the job of pod %s: %w", name, err)
	}
	var pullSecrets []api.LocalReference
	for _, s := range r.pullSecrets {
		pullSecrets = append(pullSecrets, api.LocalReference{Name: s.Name})
	}
	return &api.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Name:   name,
			Labels: map[string]string{labelRun: "true", labelRole: role, labelIndex: strconv.Itoa(n.Index)},
		},
		Spec: api.PodSpec{
			// Each node is meant, whatever its taints; no scheduler is needed.
			NodeName:                      n.Name,
			Tolerations:                   []api.Toleration{{Operator: api.TolerationOpExists}},
			RestartPolicy:                 api.RestartPolicyNever,
			ServiceAccountName:            "verify",
			AutomountServiceAccountToken:  new(false),
			EnableServiceLinks:            new(false),
			DNSPolicy:                     api.DNSDefault,
			TerminationGracePeriodSeconds: new(int64(1)),
			ActiveDeadlineSeconds:         new(int64(r.life / time.Second)),
			ImagePullSecrets:              pullSecrets,
			SecurityContext: &api.PodSecurityContext{
				RunAsNonRoot:   new(true),
				RunAsUser:      r.user,
				SeccompProfile: &api.SeccompProfile{Type: api.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []api.Container{{
				Name:            "verify",
				Image:           r.image,
				ImagePullPolicy: api.PullIfNotPresent,
				Command:         []string{r.command},
				Args:            []string{command},
				Env:             []api.EnvVar{{Name: wire.JobVariable, Value: text}},
				SecurityContext: &api.SecurityContext{
					AllowPrivilegeEscalation: new(false),
					ReadOnlyRootFilesystem:   new(true),
					Capabilities:             &api.Capabilities{Drop: []string{"ALL"}},
				},
			}},
		},
	}, nil
}

func (r *runner) listener(n *Node) (*api.Pod, error) {
	p, err := r.pod(fmt.Sprintf("listener-%d", n.Index), n, roleListener, "verify-listen",
		wire.Listener{Index: n.Index, Ports: []int{EchoPort, DeniedPort}, Control: fmt.Sprintf(":%d", controlPort)})
	if err != nil {
		return nil, err
	}
	c := &p.Spec.Containers[0]
	c.Ports = []api.ContainerPort{
		{Name: "echo", ContainerPort: EchoPort, Protocol: api.ProtocolSCTP},
		{Name: "denied", ContainerPort: DeniedPort, Protocol: api.ProtocolSCTP},
		{Name: "control", ContainerPort: controlPort, Protocol: api.ProtocolTCP},
	}
	c.ReadinessProbe = &api.Probe{
		HTTPGet:          &api.HTTPGetAction{Path: wire.ReadyPath, Port: intstr.FromInt32(controlPort)},
		PeriodSeconds:    1,
		TimeoutSeconds:   5,
		FailureThreshold: 120,
	}
	return p, nil
}

func (r *runner) dialler(name string, n *Node, job wire.Job) (*api.Pod, error) {
	return r.pod(name, n, roleDialler, "verify-dial", job)
}

// service leads to the listener of one node, so that every path has one end.
func service(n *Node) *api.Service {
	return &api.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("listener-%d", n.Index), Labels: map[string]string{labelRun: "true"}},
		Spec: api.ServiceSpec{
			Type:           api.ServiceTypeNodePort,
			Selector:       map[string]string{labelRole: roleListener, labelIndex: strconv.Itoa(n.Index)},
			IPFamilyPolicy: new(api.IPFamilyPolicyPreferDualStack),
			Ports: []api.ServicePort{{
				Name: "echo", Port: EchoPort, TargetPort: intstr.FromInt32(EchoPort), Protocol: api.ProtocolSCTP,
			}},
		},
	}
}

// policy allows one SCTP port of the listeners, and their control port.
func policy() *api.NetworkPolicy {
	port := func(p api.Protocol, n int32) api.NetworkPolicyPort {
		return api.NetworkPolicyPort{Protocol: &p, Port: new(intstr.FromInt32(n))}
	}
	return &api.NetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"},
		ObjectMeta: metav1.ObjectMeta{Name: "allow-echo"},
		Spec: api.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{labelRole: roleListener}},
			PolicyTypes: []api.PolicyType{api.PolicyTypeIngress},
			Ingress: []api.NetworkPolicyIngressRule{{Ports: []api.NetworkPolicyPort{
				port(api.ProtocolSCTP, EchoPort), port(api.ProtocolTCP, controlPort),
			}}},
		},
	}
}
