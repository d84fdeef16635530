package audit

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sctp-agent/sctp-agent/internal/meshview"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/machineconfig"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// kubeNode is a Node object as the agent leaves it.
func kubeNode(name, role string, r verdict.Report) corev1.Node {
	r.APIVersion, r.Kind, r.Node = verdict.APIVersion, verdict.Kind, name
	r.Kernel.BootID = "boot-of-" + name
	var keys nodelabel.Keys
	n := corev1.Node{}
	n.Name = name
	n.Status.NodeInfo.BootID = r.Kernel.BootID
	n.Labels = map[string]string{rolePrefix + role: "", keys.OnBoot(): string(r.OnBoot)}
	if r.Ready != kmod.AnswerUnknown {
		n.Labels[keys.Ready()] = string(r.Ready)
	}
	n.Annotations = map[string]string{
		keys.Reason(): string(r.Reason), keys.Message(): r.Message,
		keys.Since(): "2026-01-02T03:04:05Z", keys.Report(): string(r.Compact(verdict.MaxAnnotation)),
	}
	return n
}

func ready() verdict.Report {
	return verdict.Report{Ready: kmod.AnswerTrue, Reason: verdict.ReasonProbePassed, OnBoot: verdict.OnBootLoaded, Module: verdict.Module{State: kmod.StateLoaded}, Message: "SCTP works"}
}

func blacklisted() verdict.Report {
	return verdict.Report{Ready: kmod.AnswerFalse, Reason: verdict.ReasonModuleBlacklisted, OnBoot: verdict.OnBootBlocked, Module: verdict.Module{State: kmod.StateLoadable},
		Message: "sctp is blacklisted: /etc/modprobe.d/x.conf:1: blacklist sctp", Remedy: "remove line 1 of /etc/modprobe.d/x.conf"}
}

func withAgent(n Node) Node {
	n.Agent = &AgentPod{Namespace: "sctp-agent", Name: "sctp-agent-" + n.Name, Version: "v1", Ready: true}
	return n
}

func effect(enabled kmod.Answer) *machineconfig.Effect {
	return &machineconfig.Effect{Enabled: enabled, Message: "judged"}
}

// healthy is a cluster with every kind of object and no finding: a ready pool with
// workloads, and a pool without SCTP that needs none.
func healthy() *Snapshot {
	s := &Snapshot{Time: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)}
	for _, n := range []corev1.Node{
		kubeNode("master-0", "master", blacklisted()),
		kubeNode("worker-0", "worker", ready()), kubeNode("worker-1", "worker", ready()),
	} {
		s.Nodes = append(s.Nodes, withAgent(node(&n, nodelabel.Keys{})))
	}
	s.Pods = []Pod{{
		Namespace: "core", Name: "amf-0", Node: "worker-0", Labels: map[string]string{"app": "amf"},
		Ports: []Port{{"amf", "ngap", 38412}}, Services: []string{"core/amf"}, Listens: []int32{38412},
		Owner: Object{"Pod", "core", "amf-0"},
	}}
	s.Services = []Service{{
		Namespace: "core", Name: "amf", Type: corev1.ServiceTypeClusterIP,
		Ports:     []corev1.ServicePort{{Port: 38412, Protocol: corev1.ProtocolSCTP}},
		Endpoints: []Endpoint{{Address: "10.1.0.1", Node: "worker-0", Pod: "amf-0", Ready: true, Port: 38412}},
	}, {
		Namespace: "core", Name: "outside", Type: corev1.ServiceTypeLoadBalancer, Addresses: []string{"192.0.2.1"},
		Ports:     []corev1.ServicePort{{Port: 38412, Protocol: corev1.ProtocolSCTP}},
		Endpoints: []Endpoint{{Address: "192.0.2.7", Ready: true, Port: 38412}},
	}}
	s.Network = Network{ProxySeen: true, ProxyMode: "iptables"}
	s.Policies = []Policy{{
		Namespace: "core", Name: "ngap",
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "amf"}},
			Ingress:     []networkingv1.NetworkPolicyIngressRule{{Ports: []networkingv1.NetworkPolicyPort{sctpPort(intstr.FromInt32(38412)), sctpPort(intstr.FromString("ngap")), {Protocol: new(corev1.ProtocolSCTP)}}}},
			Egress: []networkingv1.NetworkPolicyEgressRule{
				{Ports: []networkingv1.NetworkPolicyPort{sctpPort(intstr.FromInt32(9))}, To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "192.0.2.0/24"}}}},
				{Ports: []networkingv1.NetworkPolicyPort{sctpPort(intstr.FromInt32(38412))}, To: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}}},
			},
		},
	}}
	done := Rendered{Name: "rendered-worker-1", Effect: effect(kmod.AnswerTrue)}
	s.Pools = []Pool{
		{Name: "worker", Current: done, Target: done, Machines: 2, Updated: 2},
		{Name: "master", Current: Rendered{"rendered-master-1", effect(kmod.AnswerFalse)}, Target: Rendered{"rendered-master-1", effect(kmod.AnswerFalse)}, Machines: 1, Updated: 1},
	}
	return s
}

func sctpPort(p intstr.IntOrString) networkingv1.NetworkPolicyPort {
	return networkingv1.NetworkPolicyPort{Protocol: new(corev1.ProtocolSCTP), Port: &p}
}

// pending is a pod that the scheduler refused.
func pending(name string, change func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "core", Name: name}}
	p.Spec.Containers = []corev1.Container{{Name: "main"}}
	p.Status.Phase = corev1.PodPending
	p.Status.Conditions = []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable,
		Message: "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
	}}
	change(p)
	return p
}

// waitsForReady is a pod that selects nodes with SCTP, and has none.
func waitsForReady(change func(*corev1.Pod)) Pod {
	return *pod(pending("smf-0", func(p *corev1.Pod) {
		p.Spec.NodeSelector = map[string]string{nodelabel.Keys{}.Ready(): "true"}
		if change != nil {
			change(p)
		}
	}), nodelabel.Keys{}, nil)
}

// inDeployment makes a pod one of a Deployment's, as the controllers do.
func inDeployment(p *corev1.Pod, name, hash string) {
	p.Labels = map[string]string{"pod-template-hash": hash}
	p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: name + "-" + hash, Controller: new(true)}}
}

func meshOf(found ...meshview.Finding) *meshview.Result { return &meshview.Result{Findings: found} }

// TestFindings holds every kind to a case that shows it, and to the healthy
// cluster, which shows none; and each case to just what it should show.
func TestFindings(t *testing.T) {
	setNode := func(i int, r verdict.Report) func(*Snapshot) {
		return func(s *Snapshot) {
			role := s.Nodes[i].Pool
			n := kubeNode(s.Nodes[i].Name, role, r)
			s.Nodes[i] = withAgent(node(&n, nodelabel.Keys{}))
		}
	}
	cases := []struct {
		name  string
		spoil func(*Snapshot)
		// want are "Kind object" in order.
		want []string
		// says is part of the first finding's message, evidence or fix.
		says string
	}{
		{"healthy", func(*Snapshot) {}, nil, ""},
		{"a node that must have it", func(s *Snapshot) { s.Require = []string{rolePrefix + "master", rolePrefix + "worker"} },
			[]string{"RequiredNodeNotReady master-0"}, "remove line 1 of /etc/modprobe.d/x.conf"},
		{"required nodes that are not there", func(s *Snapshot) { s.Require = []string{"a=b"} }, []string{"RequiredNodeNotReady a=b"}, "no node has these labels"},
		{"a worker without SCTP, with a workload", setNode(1, blacklisted()),
			[]string{"PodOnUnreadyNode core/amf-0", "EndpointOnUnreadyNode core/amf", "NodeNotReadyInPool worker-0"}, "container amf declares port 38412/SCTP"},
		{"a worker without SCTP, without workload", setNode(2, blacklisted()),
			[]string{"NodeNotReadyInPool worker-1"}, "remove line 1 of /etc/modprobe.d/x.conf"},
		{"all workers without SCTP, nobody asks", func(s *Snapshot) {
			setNode(1, blacklisted())(s)
			setNode(2, blacklisted())(s)
			s.Pods, s.Services, s.Policies, s.Pools = nil, nil, nil, nil
		}, nil, ""},
		{"an endpoint that is not ready gets nothing", func(s *Snapshot) {
			setNode(2, blacklisted())(s)
			s.Services[0].Endpoints = append(s.Services[0].Endpoints, Endpoint{Node: "worker-1", Pod: "amf-1"})
		}, []string{"NodeNotReadyInPool worker-1"}, ""},
		{"a dual-stack pod is one endpoint", func(s *Snapshot) {
			setNode(1, blacklisted())(s)
			e := s.Services[0].Endpoints[0]
			e.Address = "2001:db8::1"
			s.Services[0].Endpoints = append(s.Services[0].Endpoints, e)
			s.Pods, s.Policies = nil, nil
		}, []string{"EndpointOnUnreadyNode core/amf", "NodeNotReadyInPool worker-0"}, "1 of its 1 ready endpoints"},
		{"an endpoint with two ports is one", func(s *Snapshot) {
			setNode(1, blacklisted())(s)
			e := s.Services[0].Endpoints[0]
			e.Port = 36412
			s.Services[0].Endpoints = append(s.Services[0].Endpoints, e)
			s.Pods = nil
			s.Policies = nil
		}, []string{"EndpointOnUnreadyNode core/amf", "NodeNotReadyInPool worker-0"}, "1 of its 1 ready endpoints"},
		{"will be lost", setNode(2, func() verdict.Report {
			r := ready()
			r.OnBoot, r.Warnings = verdict.OnBootBlocked, []verdict.Warning{{Reason: verdict.ReasonWillNotSurviveReboot, Message: "blocked by /etc/modprobe.d/x.conf:7"}}
			return r
		}()), []string{"NodeLosesSCTPAtReboot worker-1"}, "/etc/modprobe.d/x.conf:7"},
		{"on demand is not lost", setNode(2, func() verdict.Report { r := ready(); r.OnBoot = verdict.OnBootOnDemand; return r }()), nil, ""},
		{"rebooted since", func(s *Snapshot) { s.Nodes[1].BootID = "another" },
			[]string{"ReportOlderThanBoot worker-0", "PodOnUnprovedNode core/amf-0"}, "boot-of-worker-0"},
		{"kubelet tells no boot ID", func(s *Snapshot) { s.Nodes[1].BootID = "" }, nil, ""},
		{"a label set by hand", func(s *Snapshot) { s.Nodes[0].Ready = "true" },
			[]string{"LabelContradictsReport master-0", "NodeLosesSCTPAtReboot master-0"}, "label ready=true, report false (ModuleBlacklisted)"},
		{"a label set to false by hand", func(s *Snapshot) { s.Nodes[2].Ready = "false" },
			[]string{"LabelContradictsReport worker-1"}, "label ready=false, report true (ProbePassed)"},
		{"a label removed by hand", func(s *Snapshot) { s.Nodes[2].OnBoot = "" },
			[]string{"LabelContradictsReport worker-1"}, "label on-boot=(absent), report loaded"},
		{"an undecided report leaves the labels", func(s *Snapshot) {
			r := ready()
			r.Ready, r.Reason, r.Message = kmod.AnswerUnknown, verdict.ReasonPermissionDenied, "seccomp"
			setNode(2, r)(s)
			s.Nodes[2].Ready = "true"
		}, []string{"NodeUnproved worker-1"}, "PermissionDenied: seccomp"},
		{"an undecided report leaves on-boot, too", func(s *Snapshot) {
			r := ready()
			r.Ready, r.Reason, r.OnBoot = kmod.AnswerUnknown, verdict.ReasonPermissionDenied, verdict.OnBootOnDemand
			setNode(2, r)(s)
			s.Nodes[2].Ready, s.Nodes[2].OnBoot = "true", "loaded"
		}, []string{"NodeUnproved worker-1"}, "PermissionDenied"},
		{"an agent of another prefix", func(s *Snapshot) {
			s.Nodes[2] = withAgent(Node{Name: "worker-1", Pool: "worker"})
		}, []string{"NodeUnproved worker-1"}, "where agents have another --prefix, give that one"},
		{"no report that can be read", func(s *Snapshot) { s.Nodes[2].Report, s.Nodes[2].ReportError = nil, fmt.Errorf("unexpected end") },
			[]string{"ReportUnreadable worker-1"}, "unexpected end"},
		{"no agent", func(s *Snapshot) { s.Nodes[0].Agent = nil }, []string{"NodeWithoutAgent master-0"}, "are not updated"},
		{"no agent keeps the label true", func(s *Snapshot) { s.Nodes[2].Agent = nil }, []string{"ReadyWithoutAgent worker-1"}, "updates its labels"},
		{"a condition that nobody renews", func(s *Snapshot) { s.Nodes[2].Heartbeat = s.Time.Add(-16 * time.Minute) },
			[]string{"ConditionStale worker-1"}, "lastHeartbeatTime 2026-02-03T03:49:06Z"},
		{"a condition that is renewed", func(s *Snapshot) { s.Nodes[2].Heartbeat = s.Time.Add(-14 * time.Minute) }, nil, ""},
		{"a condition that is renewed once an hour", func(s *Snapshot) {
			s.Nodes[2].Agent.Heartbeat = time.Hour
			s.Nodes[2].Heartbeat = s.Time.Add(-2 * time.Hour)
		}, nil, ""},
		{"a condition of an agent that went, renewed once an hour", func(s *Snapshot) {
			s.Nodes[2].Agent.Heartbeat = time.Hour
			s.Nodes[2].Heartbeat = s.Time.Add(-4 * time.Hour)
		}, []string{"ConditionStale worker-1"}, "no agent has renewed"},
		{"a condition and no agent", func(s *Snapshot) {
			s.Nodes[2].Agent = nil
			s.Nodes[2].Heartbeat = s.Time.Add(-16 * time.Minute)
		}, []string{"ReadyWithoutAgent worker-1", "ConditionStale worker-1"}, "updates its labels"},
		{"a policy that confines nobody", setNode(2, func() verdict.Report {
			r := ready()
			r.Warnings = []verdict.Warning{{Reason: verdict.ReasonPolicyConfinesNobody, Message: "no admission policy confines the agent"}}
			return r
		}()), []string{"PolicyConfinesNobody worker-1"}, "matchConditions"},
		{"a node that Kubernetes does not reach", func(s *Snapshot) { s.Nodes[2].Down = "condition Ready=Unknown" }, []string{"KubeletNotReady worker-1"}, "Ready=Unknown"},
		{"a report of another node", func(s *Snapshot) { s.Nodes[2].Report.Node = "worker-7" }, []string{"ReportOfAnotherNode worker-1"}, "report.node worker-7"},
		{"an agent of another version", func(s *Snapshot) { s.Nodes[2].Agent.Version = "v2" }, []string{"AgentVersionSkew worker-1"}, "the agent is v2, most are v1"},
		{"Cilium without SCTP", func(s *Snapshot) {
			s.Network = Network{Cilium: readCilium(map[string]string{"enable-sctp": "false", "kube-proxy-replacement": "true"})}
		}, []string{"ServicePortNotServed core/amf", "ServicePortNotServed core/outside"}, "switched off"},
		{"Cilium with SCTP", func(s *Snapshot) { s.Network = Network{Cilium: readCilium(map[string]string{"enable-sctp": "true"})} }, nil, ""},
		{"Cilium and another port", func(s *Snapshot) {
			s.Network = Network{Cilium: readCilium(map[string]string{"enable-sctp": "true"})}
			s.Services[0].Ports[0].TargetPort = intstr.FromInt32(36412)
		}, []string{"ServicePortNotServed core/amf"}, "port 38412/SCTP, targetPort 36412"},
		{"Cilium and another port, of a Service without an address", func(s *Snapshot) {
			s.Network = Network{Cilium: readCilium(map[string]string{"enable-sctp": "True"})}
			s.Services[0].Ports[0].TargetPort, s.Services[0].Headless = intstr.FromInt32(38413), true
		}, nil, ""},
		{"Cilium and a named port that is another", func(s *Snapshot) {
			s.Network = Network{Cilium: readCilium(map[string]string{"enable-sctp": "true"})}
			s.Services[0].Ports[0].TargetPort = intstr.FromString("ngap")
			s.Services[0].Endpoints[0].Port = 36412
		}, []string{"ServicePortNotServed core/amf"}, "targetPort 36412"},
		{"Cilium in the place of kube-proxy", func(s *Snapshot) {
			s.Network = Network{Cilium: readCilium(map[string]string{"enable-sctp": "true", "kube-proxy-replacement": "strict"})}
		}, []string{"ServicePortNotServed core/outside"}, "node ports"},
		{"Cilium for node ports only", func(s *Snapshot) {
			s.Network = Network{Cilium: readCilium(map[string]string{"enable-sctp": "true", "kube-proxy-replacement": "false", "enable-node-port": "true"})}
		}, []string{"ServicePortNotServed core/outside"}, "enable-node-port"},
		{"Cilium and a named port that is another in one of two pods", func(s *Snapshot) {
			s.Network = Network{Cilium: readCilium(map[string]string{"enable-sctp": "true"})}
			s.Services[0].Ports[0].TargetPort = intstr.FromString("ngap")
			s.Services[0].Endpoints = append(s.Services[0].Endpoints, Endpoint{Address: "10.1.0.2", Node: "worker-1", Ready: true, Port: 36412})
		}, []string{"ServicePortNotServed core/amf"}, "targetPort 36412"},
		{"kube-proxy in ipvs mode", func(s *Snapshot) {
			if err := s.Network.readProxy(map[string]string{"config.conf": "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: ipvs\n"}); err != nil {
				t.Fatal(err)
			}
			s.Services[1].Local = true
		}, []string{"ServicePortNotServed core/outside"}, "mode: ipvs"},
		{"kube-proxy with its mode in another ConfigMap", func(s *Snapshot) {
			s.Network = Network{}
			if err := s.Network.readProxy(map[string]string{"kubeconfig": "apiVersion: v1\n"}); err != nil || s.Network.ProxySeen {
				t.Errorf("%v, %+v", err, s.Network)
			}
		}, nil, ""},
		{"kube-proxy in ipvs mode, everywhere", func(s *Snapshot) { s.Network.ProxyMode = "ipvs" }, nil, ""},
		{"a load balancer that refuses", func(s *Snapshot) { s.Services[1].Refused = []string{"port 38412/SCTP: MixedProtocolNotSupported"} },
			[]string{"LoadBalancerRefusesSCTP core/outside"}, "MixedProtocolNotSupported"},
		{"nobody answers", func(s *Snapshot) { s.Services[0].Endpoints[0].Ready = false }, []string{"ServiceWithoutEndpoints core/amf"}, "none of its SCTP endpoints is ready (1)"},
		{"nobody uses it", func(s *Snapshot) { s.Pods, s.Services, s.Policies = nil, nil, nil }, []string{"SCTPUnused worker-0"}, "no pod, Service or NetworkPolicy of the cluster declares SCTP"},
		{"nobody uses it in some namespaces", func(s *Snapshot) { s.Pods, s.Services, s.Policies, s.Narrowed = nil, nil, nil, true }, nil, ""},
		{"a hosted control plane", func(s *Snapshot) {
			s.Pools = nil
			r := blacklisted()
			r.Host.Platform = "openshift"
			setNode(2, r)(s)
		}, []string{"NodeNotReadyInPool worker-1"}, "the NodePool names"},
		{"no agent where the DaemonSet puts none", func(s *Snapshot) {
			for _, labels := range []map[string]string{
				{"kubernetes.io/os": "windows"}, {"kubernetes.io/os": "linux", "type": "virtual-kubelet"},
				{"eks.amazonaws.com/compute-type": "fargate"}, {"type": "kwok"}, {"beta.kubernetes.io/os": "windows"},
			} {
				n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "x", Labels: labels}}
				n.Status.NodeInfo.OperatingSystem = labels["beta.kubernetes.io/os"]
				s.Nodes = append(s.Nodes, node(&n, nodelabel.Keys{}))
			}
			virtual := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "z", Labels: map[string]string{"kubernetes.io/os": "linux"}}}
			virtual.Spec.Taints = []corev1.Taint{{Key: "virtual-kubelet.io/provider", Value: "azure", Effect: corev1.TaintEffectNoSchedule}}
			s.Nodes = append(s.Nodes, node(&virtual, nodelabel.Keys{}))
			n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "y", Labels: map[string]string{"kubernetes.io/os": "linux"}}}
			s.Nodes = append(s.Nodes, node(&n, nodelabel.Keys{}))
		}, []string{"NodeWithoutAgent y"}, "never reported"},
		{"a workload where no agent can run", func(s *Snapshot) {
			s.Nodes[1] = Node{Name: "worker-0", Foreign: true}
		}, []string{"PodOnUnprovedNode core/amf-0"}, "move the pod"},
		{"never an agent, and a workload", func(s *Snapshot) {
			s.Nodes[1] = Node{Name: "worker-0", Pool: "worker"}
		}, []string{"PodOnUnprovedNode core/amf-0", "NodeWithoutAgent worker-0"}, "has not proved SCTP"},
		{"an agent that crashes", func(s *Snapshot) { s.Nodes[2].Agent.Ready, s.Nodes[2].Agent.Trouble = false, "CrashLoopBackOff" },
			[]string{"AgentNotReady worker-1"}, "CrashLoopBackOff"},
		{"a pod that the scheduler has not looked at", func(s *Snapshot) { s.Pods = append(s.Pods, Pod{Namespace: "core", Name: "smf-0"}) }, nil, ""},
		{"a pod that waits for SCTP", func(s *Snapshot) {
			s.Pods = append(s.Pods, *pod(pending("smf-0", func(p *corev1.Pod) {
				p.Spec.NodeSelector = map[string]string{nodelabel.Keys{}.Ready(): "true", rolePrefix + "master": ""}
			}), nodelabel.Keys{}, nil))
		}, []string{"PodWaitsForSCTP core/smf-0"}, "1 node of pool master: ModuleBlacklisted: sctp is blacklisted: /etc/modprobe.d/x.conf:1: blacklist sctp; master-0"},
		{"a pod that waits for SCTP, and an autoscaler would help", func(s *Snapshot) {
			s.Pods = append(s.Pods, *pod(pending("smf-0", func(p *corev1.Pod) {
				p.Spec.NodeSelector = map[string]string{nodelabel.Keys{}.Ready(): "true", rolePrefix + "master": ""}
			}), nodelabel.Keys{}, nil))
		}, []string{"PodWaitsForSCTP core/smf-0"}, "remove line 1 of /etc/modprobe.d/x.conf; an autoscaler adds a node for the pod only if the node group's template has the label"},
		{"a pod that waits for SCTP on nodes that do not exist yet", func(s *Snapshot) {
			s.Pods = append(s.Pods, *pod(pending("smf-0", func(p *corev1.Pod) {
				p.Spec.NodeSelector = map[string]string{nodelabel.Keys{}.Ready(): "true", "karpenter.sh/nodepool": "telco"}
			}), nodelabel.Keys{}, nil))
		}, []string{"PodWaitsForSCTP core/smf-0"}, "add a node with these labels; an autoscaler"},
		{"a Deployment that waits for SCTP is one", func(s *Snapshot) {
			for i := range 12 {
				s.Pods = append(s.Pods, *pod(pending(fmt.Sprintf("smf-5d9-%d", i), func(p *corev1.Pod) {
					p.Spec.NodeSelector = map[string]string{nodelabel.Keys{}.Ready(): "true", rolePrefix + "master": ""}
					inDeployment(p, "smf", "5d9")
				}), nodelabel.Keys{}, nil))
			}
		}, []string{"PodWaitsForSCTP core/smf"}, "12 pods: waits for a node with SCTP: of 1 node that it could use, none has it"},
		{"a pod that waits for SCTP at boot", func(s *Snapshot) {
			r := ready()
			r.OnBoot = verdict.OnBootOnDemand
			setNode(1, r)(s)
			setNode(2, r)(s)
			s.Pods = append(s.Pods, *pod(pending("smf-0", func(p *corev1.Pod) {
				p.Spec.NodeSelector = map[string]string{nodelabel.Keys{}.OnBoot(): "loaded", rolePrefix + "worker": ""}
			}), nodelabel.Keys{}, nil))
		}, []string{"PodWaitsForSCTP core/smf-0"}, "waits for a node with SCTP (sctp-agent/on-boot=loaded): of 2 nodes that it could use, none has it"},
		{"a pod that waits for a second path", func(s *Snapshot) {
			s.Nodes[1].Labels[nodelabel.Keys{}.Multihoming()] = "false"
			s.Pods = append(s.Pods, *pod(pending("smf-0", func(p *corev1.Pod) {
				p.Spec.NodeSelector = map[string]string{nodelabel.Keys{}.Multihoming(): "true", rolePrefix + "worker": ""}
			}), nodelabel.Keys{}, nil))
		}, []string{"PodWaitsForSCTP core/smf-0"}, "label sctp-agent/multihoming=false: worker-0\nwithout the label sctp-agent/multihoming: worker-1"},
		{"a DaemonSet's pod that waits on its node", func(s *Snapshot) {
			s.Pods = append(s.Pods, *pod(pending("smf-0", func(p *corev1.Pod) {
				p.Spec.NodeSelector = map[string]string{nodelabel.Keys{}.Ready(): "true"}
				p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
					{MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{"master-0"}}}},
				}}}}
			}), nodelabel.Keys{}, nil))
		}, []string{"PodWaitsForSCTP core/smf-0"}, "of 1 node that it could use, none has it"},
		{"a pod that waits for SCTP, and taints that it does not tolerate", func(s *Snapshot) {
			setNode(1, blacklisted())(s)
			s.Nodes[0].Taints = []corev1.Taint{{Key: rolePrefix + "master", Effect: corev1.TaintEffectNoSchedule}}
			s.Nodes[2].Taints = []corev1.Taint{{Key: "dedicated", Value: "x", Effect: corev1.TaintEffectNoExecute}}
			s.Pods, s.Services, s.Policies = []Pod{waitsForReady(nil)}, nil, nil
		}, []string{"PodWaitsForSCTP core/smf-0", "NodeNotReadyInPool worker-0"}, "of 1 node that it could use, none has it, and 1 node with it has a taint that it does not tolerate"},
		{"a pod that waits for SCTP, and only taints", func(s *Snapshot) {
			for i := range s.Nodes {
				s.Nodes[i].Taints = []corev1.Taint{{Key: "dedicated", Value: "x", Effect: corev1.TaintEffectNoSchedule}}
			}
			s.Pods = append(s.Pods, waitsForReady(nil))
		}, []string{"PodWaitsForSCTP core/smf-0"}, "taint dedicated=x:NoSchedule: master-0 and 2 more"},
		{"a pod that waits for SCTP, and taints of nodes that do not have it", func(s *Snapshot) {
			s.Nodes[0].Taints = []corev1.Taint{{Key: rolePrefix + "master", Effect: corev1.TaintEffectNoSchedule}}
			s.Pods = append(s.Pods, waitsForReady(func(p *corev1.Pod) { p.Spec.NodeSelector[rolePrefix+"master"] = "" }))
		}, []string{"PodWaitsForSCTP core/smf-0"}, "1 node of pool master: ModuleBlacklisted: sctp is blacklisted: /etc/modprobe.d/x.conf:1: blacklist sctp; master-0\ntaint node-role.kubernetes.io/master:NoSchedule: master-0"},
		{"a pod that waits for SCTP, and a node that is not ready", func(s *Snapshot) {
			n := kubeNode("master-0", "master", blacklisted())
			n.Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule}, {Key: nodelabel.Keys{}.StartupTaint(), Effect: corev1.TaintEffectNoSchedule}}
			s.Nodes[0] = withAgent(node(&n, nodelabel.Keys{}))
			s.Pods = append(s.Pods, waitsForReady(func(p *corev1.Pod) { p.Spec.NodeSelector[rolePrefix+"master"] = "" }))
		}, []string{"PodWaitsForSCTP core/smf-0"}, "of 1 node that it could use, none has it"},
		{"a pod that waits for SCTP, and a cordoned node", func(s *Snapshot) {
			n := kubeNode("worker-0", "worker", ready())
			n.Spec.Unschedulable = true
			s.Nodes[1] = withAgent(node(&n, nodelabel.Keys{}))
			s.Nodes, s.Pods = s.Nodes[:2], append(s.Pods, waitsForReady(nil))
		}, []string{"PodWaitsForSCTP core/smf-0"}, "taint node.kubernetes.io/unschedulable:NoSchedule: worker-0"},
		{"a pod that waits for SCTP, and a taint that it tolerates", func(s *Snapshot) {
			s.Nodes[0].Taints = []corev1.Taint{{Key: rolePrefix + "master", Effect: corev1.TaintEffectNoSchedule}}
			s.Pods = append(s.Pods, waitsForReady(func(p *corev1.Pod) {
				p.Spec.NodeSelector[rolePrefix+"master"] = ""
				p.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
			}))
		}, []string{"PodWaitsForSCTP core/smf-0"}, "of 1 node that it could use, none has it"},
		{"a pod that waits for SCTP, and a node of Windows", func(s *Snapshot) {
			setNode(1, blacklisted())(s)
			setNode(2, blacklisted())(s)
			n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "win"}}
			n.Status.NodeInfo.OperatingSystem = "windows"
			s.Nodes = append(s.Nodes, node(&n, nodelabel.Keys{}))
			s.Pods, s.Services, s.Policies = []Pod{waitsForReady(nil)}, nil, nil
		}, []string{"PodWaitsForSCTP core/smf-0"}, "of 3 nodes that it could use, none has it"},
		{"a pod that waits for nodes that were not asked for", func(s *Snapshot) {
			s.SomeNodes = true
			s.Pods = append(s.Pods, waitsForReady(func(p *corev1.Pod) { p.Spec.NodeSelector["zone"] = "b" }))
		}, []string{"PodWaitsForSCTP core/smf-0"}, "no node looked at has the other labels"},
		{"required nodes that were not asked for", func(s *Snapshot) { s.SomeNodes, s.Require = true, []string{"a=b"} }, nil, ""},
		{"a pod that uses SCTP and waits for something else", func(s *Snapshot) {
			s.Pods = append(s.Pods, *pod(pending("smf-0", func(p *corev1.Pod) {
				p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 36412, Protocol: corev1.ProtocolSCTP}}
			}), nodelabel.Keys{}, nil))
		}, []string{"PodWaitsForSCTP core/smf-0"}, "2 of 3 nodes do"},
		{"and its fix is not SCTP", func(s *Snapshot) {
			s.Pods = append(s.Pods, *pod(pending("smf-0", func(p *corev1.Pod) {
				p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 36412, Protocol: corev1.ProtocolSCTP}}
			}), nodelabel.Keys{}, nil))
		}, []string{"PodWaitsForSCTP core/smf-0"}, "the pod does not wait for SCTP"},
		{"a pod for which there is no room on nodes with SCTP", func(s *Snapshot) { s.Pods = append(s.Pods, waitsForReady(nil)) },
			[]string{"PodWaitsForSCTP core/smf-0"}, "see the scheduler's message; for a further node with SCTP: remove line 1"},
		{"a pod that waits for a value that there is not", func(s *Snapshot) {
			s.Pods = append(s.Pods, waitsForReady(func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{nodelabel.Keys{}.Ready(): "True"} }))
		}, []string{"PodWaitsForSCTP core/smf-0"}, "waits for a node with the label sctp-agent/ready=True, which no agent sets (true, false)"},
		{"or for one of several", func(s *Snapshot) {
			s.Pods = append(s.Pods, waitsForReady(func(p *corev1.Pod) {
				p.Spec.NodeSelector = nil
				p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
					{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: nodelabel.Keys{}.OnBoot(), Operator: corev1.NodeSelectorOpIn, Values: []string{"yes", "enabled"}}}},
				}}}}
			}))
		}, []string{"PodWaitsForSCTP core/smf-0"}, "which no agent sets (loaded, on-demand, blocked)"},
		{"no agent anywhere", func(s *Snapshot) {
			s.Pods, s.Services, s.Policies, s.Nodes = nil, nil, nil, []Node{{Name: "worker-0"}}
		}, []string{"NodeWithoutAgent worker-0"}, "install the agent"},
		{"pods of a Deployment on nodes without SCTP are one finding", func(s *Snapshot) {
			s.Nodes[1].Ready, s.Nodes[2].Ready = "false", "false"
			s.Nodes[1].Report, s.Nodes[2].Report = nil, nil
			s.Services, s.Policies, s.Pods = nil, nil, nil
			for i := range 1562 {
				s.Pods = append(s.Pods, Pod{Namespace: "core", Name: fmt.Sprint("amf-", i), Node: s.Nodes[1+i%2].Name, Owner: Object{"Deployment", "core", "amf"}, Ports: []Port{{"amf", "ngap", 38412}}})
			}
		}, []string{"PodOnUnreadyNode core/amf"}, "1562 pods on 2 nodes, each of which does not have SCTP"},
		{"no load balancer takes it", func(s *Snapshot) { s.Services[1].Addresses = nil }, []string{"ServiceUnsuitable core/outside"}, "status.loadBalancer is empty"},
		{"an alias in DNS", func(s *Snapshot) { s.Services[1].Type = corev1.ServiceTypeExternalName }, []string{"ServiceUnsuitable core/outside"}, "no ports"},
		{"a NodePort", func(s *Snapshot) { s.Services[1].Type = corev1.ServiceTypeNodePort }, nil, ""},
		{"a policy for another port", func(s *Snapshot) { s.Policies[0].Spec.Ingress[0].Ports[0].Port.IntVal = 38413 },
			[]string{"PolicyPortUnused core/ngap"}, "spec.ingress[0] allows port 38413/SCTP"},
		{"a policy for another port, in a direction that is not in force", func(s *Snapshot) {
			s.Policies[0].Spec.Ingress[0].Ports[0].Port.IntVal = 38413
			s.Policies[0].Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}
		}, nil, ""},
		{"egress to a port of nobody, not in force", func(s *Snapshot) {
			s.Policies[0].Spec.Egress[1].Ports[0].Port.IntVal = 1
			s.Policies[0].Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
		}, nil, ""},
		{"a policy for a range that covers it", func(s *Snapshot) {
			p := &s.Policies[0].Spec.Ingress[0].Ports[0]
			p.Port.IntVal, p.EndPort = 38000, new(int32(39000))
		}, nil, ""},
		{"a policy for a name nobody has", func(s *Snapshot) { s.Policies[0].Spec.Ingress[0].Ports[1].Port.StrVal = "s1ap" },
			[]string{"PolicyPortUnused core/ngap"}, "s1ap"},
		{"a policy that selects others", func(s *Snapshot) { s.Policies[0].Spec.PodSelector.MatchLabels["app"] = "smf" },
			[]string{"PolicyPortUnused core/ngap"}, "none of the pods it selects declares it"},
		{"a policy for another protocol", func(s *Snapshot) {
			p := &s.Policies[0].Spec.Ingress[0].Ports[0]
			p.Port.IntVal, p.Protocol = 1, new(corev1.ProtocolTCP)
		}, nil, ""},
		{"egress to a port of nobody", func(s *Snapshot) { s.Policies[0].Spec.Egress[1].Ports[0].Port.IntVal = 1 },
			[]string{"PolicyPortUnused core/ngap"}, "spec.egress[1]"},
		{"egress to a namespace that was not read", func(s *Snapshot) {
			s.Narrowed = true
			s.Policies[0].Spec.Egress[1] = networkingv1.NetworkPolicyEgressRule{
				Ports: []networkingv1.NetworkPolicyPort{sctpPort(intstr.FromInt32(1))}, To: []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{}}},
			}
		}, nil, ""},
		{"egress within a namespace that was read", func(s *Snapshot) {
			s.Narrowed = true
			s.Policies[0].Spec.Egress[1].Ports[0].Port.IntVal = 1
		}, []string{"PolicyPortUnused core/ngap"}, "spec.egress[1]"},
		{"a declared port is not needed behind a Service", func(s *Snapshot) { s.Pods[0].Ports = s.Pods[0].Ports[:1]; s.Pods[0].Ports[0].Number = 1 }, nil, ""},
		{"a pool about to lose it", func(s *Snapshot) {
			s.Pools[0].Target, s.Pools[0].Updated = Rendered{"rendered-worker-2", effect(kmod.AnswerFalse)}, 0
		}, []string{"PoolUndoesSCTP worker"}, "rendered-worker-2"},
		{"loaded by hand in a pool that stays as it is", setNode(0, func() verdict.Report { r := ready(); r.OnBoot = verdict.OnBootBlocked; return r }()),
			[]string{"NodeLosesSCTPAtReboot master-0"}, "the next boot will not bring it"},
		{"loaded by hand in a pool whose next configuration brings nothing either", func(s *Snapshot) {
			setNode(0, func() verdict.Report { r := ready(); r.OnBoot = verdict.OnBootBlocked; return r }())(s)
			s.Pools[1].Target, s.Pools[1].Updated = Rendered{"rendered-master-2", effect(kmod.AnswerFalse)}, 0
		}, []string{"NodeLosesSCTPAtReboot master-0"}, "the next boot will not bring it"},
		{"a pool getting it", func(s *Snapshot) {
			s.Pools[1].Target, s.Pools[1].Updated = Rendered{"rendered-master-2", effect(kmod.AnswerTrue)}, 0
		}, []string{"PoolProgressing master"}, "0 of 1 nodes have rendered-master-2"},
		{"a pool getting it, paused", func(s *Snapshot) {
			s.Pools[1].Target, s.Pools[1].Updated, s.Pools[1].Paused = Rendered{"rendered-master-2", effect(kmod.AnswerTrue)}, 0, true
		}, []string{"PoolStuck master"}, "paused"},
		{"a pool getting it, degraded", func(s *Snapshot) {
			s.Pools[1].Target, s.Pools[1].Updated = Rendered{"rendered-master-2", effect(kmod.AnswerTrue)}, 0
			s.Pools[1].Degraded, s.Pools[1].Trouble = true, "node master-0: disk full"
		}, []string{"PoolStuck master"}, "disk full"},
		{"a paused pool about to lose it", func(s *Snapshot) {
			s.Pools[0].Target, s.Pools[0].Updated, s.Pools[0].Paused = Rendered{"rendered-worker-2", effect(kmod.AnswerFalse)}, 0, true
		}, []string{"PoolUndoesSCTP worker"}, "before the pool is unpaused"},
		{"a pool that has it, and is paused before another change", func(s *Snapshot) {
			s.Pools[0].Target, s.Pools[0].Updated, s.Pools[0].Paused = Rendered{"rendered-worker-2", effect(kmod.AnswerTrue)}, 0, true
		}, nil, ""},
		{"a pool that has it, and is getting another change", func(s *Snapshot) {
			s.Pools[0].Target, s.Pools[0].Updated = Rendered{"rendered-worker-2", effect(kmod.AnswerTrue)}, 1
		}, nil, ""},
		{"a pool of which only the next configuration is known", func(s *Snapshot) {
			s.Pools[0].Current.Effect, s.Pools[0].Target, s.Pools[0].Updated = nil, Rendered{"rendered-worker-2", effect(kmod.AnswerTrue)}, 1
		}, nil, ""},
		{"a pool's first configuration", func(s *Snapshot) {
			s.Pools[0].Current, s.Pools[0].Updated = Rendered{}, 0
		}, []string{"PoolProgressing worker"}, "0 of 2 nodes"},
		{"the mesh finds nothing", func(s *Snapshot) { s.Mesh = meshOf() }, nil, ""},
		{"the mesh finds a node", func(s *Snapshot) {
			s.Mesh = meshOf(meshview.Finding{Kind: meshview.NodeUnreachableBySCTP, Node: "worker-1", Message: "SCTP fails from 2 of 2", Evidence: []string{"fail: a, b"}, Fix: "see", Since: time.Unix(0, 0)})
		}, []string{"NodeUnreachableBySCTP worker-1"}, "since 1970-01-01T00:00:00Z"},
		{"the mesh finds paths, and what was not asked for", func(s *Snapshot) {
			s.Mesh = meshOf(
				meshview.Finding{Kind: meshview.NodeUnreachableBySCTP, Node: "another", Message: "m", Fix: "see"},
				meshview.Finding{Kind: meshview.PathBroken, From: "a", To: "b", Zones: true, Message: "m", Evidence: []string{"fail: many"}, Fix: "see firewalls"},
				meshview.Finding{Kind: meshview.PathBroken, From: "worker-0", To: "another", Message: "m", Evidence: []string{}, Fix: "see"},
				meshview.Finding{Kind: meshview.PathBroken, From: "another", To: "yet-another", Message: "m", Fix: "see"})
		}, []string{"PathBroken worker-0 → another", "PathBroken zone a → zone b"}, ""},
		{"a degraded pool that has it", func(s *Snapshot) { s.Pools[0].Degraded = true }, nil, ""},
		{"a target that cannot be judged", func(s *Snapshot) {
			s.Pools[0].Target = Rendered{"rendered-worker-2", effect(kmod.AnswerUnknown)}
			s.Pools[0].Updated = 0
		}, nil, ""},
	}
	other, err := nodelabel.NewKeys("sctp.example.com")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := healthy()
			c.spoil(s)
			r := Examine(s)
			var got []string
			for _, f := range r.Findings {
				got = append(got, string(f.Kind)+" "+f.Object.String())
				shown[string(f.Kind)] = true
				if f.Fix == "" || f.Message == "" || f.Evidence == nil {
					t.Errorf("%s has no message, evidence or fix: %+v", f.Kind, f)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			s.Keys = other
			for _, f := range Examine(s).Findings {
				if strings.Contains(f.Fix, "sctp-agent/ready") || strings.Count(f.Fix, "kubectl sctp cleanup") != strings.Count(f.Fix, "kubectl sctp cleanup --prefix sctp.example.com/") {
					t.Errorf("%s, with another prefix: %s", f.Kind, f.Fix)
				}
			}
			if c.says != "" && len(r.Findings) > 0 {
				f := r.Findings[0]
				if text := strings.Join(append(f.Evidence, f.Message, f.Fix), "\n"); !strings.Contains(text, c.says) {
					t.Errorf("the first finding does not say %q:\n%s", c.says, text)
				}
			}
		})
	}
	for _, k := range Kinds() {
		if !shown[string(k)] {
			t.Errorf("no case shows %s", k)
		}
	}
}

// The order of the checks is that of the findings: the worst first.
func TestChecksAreInOrderOfSeverity(t *testing.T) {
	last := 0
	for _, c := range checks() {
		if c.severity.Rank() < last {
			t.Errorf("%s (%s) stands behind something less severe", c.kind, c.severity)
		}
		last = c.severity.Rank()
		if c.kind.Title() != c.title || c.title == "" || c.fix == "" {
			t.Errorf("%s: title %q, fix %q", c.kind, c.title, c.fix)
		}
	}
}

// The documentation's table has every kind, in the same order, with its severity.
func TestKindsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, " | "); len(cells) == 3 && strings.HasPrefix(line, "| `") {
			got = append(got, strings.Trim(cells[0], "|` ")+" "+cells[1])
		}
	}
	for _, c := range checks() {
		want = append(want, string(c.kind)+" "+string(c.severity))
	}
	if !slices.Equal(got, want) {
		t.Errorf("docs/audit.md has %q, want %q", got, want)
	}
}

// What could not be seen is not checked, and that is reported.
func TestUnseen(t *testing.T) {
	s := healthy()
	s.Nodes[1].Ready = "false"
	s.Pods, s.Nodes[1].Agent = nil, nil
	s.Unseen = []Unseen{{Source: SourcePods, Why: "list pods: forbidden"}}
	r := Examine(s)
	for _, f := range r.Findings {
		switch f.Kind {
		case NodeWithoutAgent, PolicyPortUnused, PodOnUnreadyNode:
			t.Errorf("found without having seen pods: %+v", f)
		}
	}
	if len(r.Unseen) != 1 || !slices.Contains(r.Unseen[0].NotChecked, NodeWithoutAgent) || !slices.Contains(r.Unseen[0].NotChecked, PolicyPortUnused) {
		t.Errorf("unseen: %+v", r.Unseen)
	}
}

func TestPool(t *testing.T) {
	for _, c := range []struct {
		labels, annotations map[string]string
		want                string
	}{
		{map[string]string{rolePrefix + "worker": ""}, nil, "worker"},
		{map[string]string{rolePrefix + "worker": "", rolePrefix + "infra": ""}, nil, "infra"},
		{map[string]string{rolePrefix + "master": "", rolePrefix + "control-plane": ""}, nil, "control-plane,master"},
		{map[string]string{rolePrefix + "worker": ""}, map[string]string{configAnnotation: "rendered-edge-site-0123abcd"}, "edge-site"},
		{map[string]string{"eks.amazonaws.com/nodegroup": "telco"}, nil, "telco"},
		{nil, nil, ""},
	} {
		n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: c.labels, Annotations: c.annotations}}
		if got := pool(&n); got != c.want {
			t.Errorf("pool of %v %v: %q, want %q", c.labels, c.annotations, got, c.want)
		}
	}
}

func TestImageVersion(t *testing.T) {
	for image, want := range map[string]string{
		"ghcr.io/x/sctp-agent:v1.2": "v1.2", "localhost:5000/sctp-agent": "latest",
		"x/sctp-agent:v1@sha256:0123456789abcdef": "0123456789ab", "sctp-agent@sha256:01": "01",
	} {
		if got := imageVersion(image); got != want {
			t.Errorf("version of %s: %q, want %q", image, got, want)
		}
	}
}

// A report is foreign input: whatever it holds, reading it must not fail the
// audit.
func FuzzNode(f *testing.F) {
	n := kubeNode("n", "worker", ready())
	f.Add(n.Annotations[nodelabel.Keys{}.Report()], "true", "2026-01-02T03:04:05Z")
	f.Add(`{"apiVersion":"sctp-agent/v1","kind":"Report","warnings":null}`, "maybe", "yesterday")
	// In UTC that is the year 10000, which JSON's times do not have.
	f.Add("{", "true", "9999-12-31T23:59:59-12:00")
	f.Fuzz(func(t *testing.T, report, label, since string) {
		n := kubeNode("n", "worker", ready())
		n.Annotations[nodelabel.Keys{}.Report()] = report
		n.Annotations[nodelabel.Keys{}.Since()] = since
		n.Labels[nodelabel.Keys{}.Ready()] = label
		s := healthy()
		s.Nodes = append(s.Nodes, node(&n, nodelabel.Keys{}))
		if _, err := json.Marshal(Examine(s)); err != nil {
			t.Error(err)
		}
	})
}

// What a pod asks of the scheduler by required affinity counts where every term
// asks it: one term is enough for a node.
func TestWaiting(t *testing.T) {
	ready := nodelabel.Keys{}.Ready()
	term := func(requirements ...corev1.NodeSelectorRequirement) corev1.NodeSelectorTerm {
		return corev1.NodeSelectorTerm{MatchExpressions: requirements}
	}
	in := func(key string, values ...string) corev1.NodeSelectorRequirement {
		return corev1.NodeSelectorRequirement{Key: key, Operator: corev1.NodeSelectorOpIn, Values: values}
	}
	require := func(terms ...corev1.NodeSelectorTerm) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: terms}}}
		}
	}
	// Longer than a label's value may be.
	n := &Node{Name: "worker-0.telco-cluster-production-east-region-0001.lab.eng.example.com", Labels: map[string]string{"zone": "a", "type": "virtual", "cores": "8"}}
	named := func(operator corev1.NodeSelectorOperator, name string) func(*corev1.Pod) {
		return require(corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{{Key: metav1.ObjectNameField, Operator: operator, Values: []string{name}}}})
	}
	for name, c := range map[string]struct {
		change        func(*corev1.Pod)
		forSCTP, fits bool
	}{
		"nothing":              {func(*corev1.Pod) {}, false, true},
		"nodeSelector":         {func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{ready: "true"} }, true, true},
		"for no SCTP":          {func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{ready: "false"} }, false, true},
		"another zone":         {func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{ready: "true", "zone": "b"} }, true, false},
		"affinity":             {require(term(in(ready, "true"), in("zone", "a", "b"))), true, true},
		"either of two":        {require(term(in(ready, "true")), term(in("zone", "b"))), false, true},
		"both of two":          {require(term(in(ready, "true"), in("zone", "c")), term(in(ready, "true"), in("zone", "b"))), true, false},
		"not false":            {require(term(corev1.NodeSelectorRequirement{Key: ready, Operator: corev1.NodeSelectorOpNotIn, Values: []string{"false"}})), true, true},
		"not true":             {require(term(corev1.NodeSelectorRequirement{Key: ready, Operator: corev1.NodeSelectorOpNotIn, Values: []string{"true"}})), false, true},
		"true or other":        {require(term(in(ready, "true", "unknown"))), true, true},
		"any value":            {require(term(corev1.NodeSelectorRequirement{Key: ready, Operator: corev1.NodeSelectorOpExists})), false, true},
		"no label":             {require(term(corev1.NodeSelectorRequirement{Key: ready, Operator: corev1.NodeSelectorOpDoesNotExist})), false, true},
		"true or false":        {require(term(in(ready, "true", "false"))), false, true},
		"at boot":              {func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{nodelabel.Keys{}.OnBoot(): "loaded"} }, true, true},
		"blocked":              {func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{nodelabel.Keys{}.OnBoot(): "blocked"} }, false, true},
		"at boot or on demand": {require(term(in(nodelabel.Keys{}.OnBoot(), "loaded", "on-demand"))), true, true},
		"not blocked":          {require(term(corev1.NodeSelectorRequirement{Key: nodelabel.Keys{}.OnBoot(), Operator: corev1.NodeSelectorOpNotIn, Values: []string{"blocked"}})), true, true},
		"two labels":           {require(term(in(ready, "true")), term(in(nodelabel.Keys{}.Multihoming(), "true"))), true, true},
		"IPv6":                 {func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{nodelabel.Keys{}.IPv6(): "true"} }, true, true},
		"by NFD": {func(p *corev1.Pod) {
			p.Spec.NodeSelector = map[string]string{"feature.node.kubernetes.io/sctp.ready": "true"}
		}, true, true},
		"selector and affinity": {func(p *corev1.Pod) {
			require(term(in("zone", "a")), term(in("zone", "b")))(p)
			p.Spec.NodeSelector = map[string]string{ready: "true"}
		}, true, true},
		"not the label":         {require(term(corev1.NodeSelectorRequirement{Key: "type", Operator: corev1.NodeSelectorOpNotIn, Values: []string{"virtual"}})), false, false},
		"more than":             {require(term(in(ready, "true"), corev1.NodeSelectorRequirement{Key: "cores", Operator: corev1.NodeSelectorOpGt, Values: []string{"7"}})), true, true},
		"less than":             {require(term(in(ready, "true"), corev1.NodeSelectorRequirement{Key: "cores", Operator: corev1.NodeSelectorOpLt, Values: []string{"8"}})), true, false},
		"more than no number":   {require(term(in(ready, "true"), corev1.NodeSelectorRequirement{Key: "zone", Operator: corev1.NodeSelectorOpGt, Values: []string{"1"}})), true, false},
		"more than a word":      {require(term(in(ready, "true"), corev1.NodeSelectorRequirement{Key: "cores", Operator: corev1.NodeSelectorOpGt, Values: []string{"many"}})), true, false},
		"by name":               {named(corev1.NodeSelectorOpIn, n.Name), false, true},
		"by another's name":     {named(corev1.NodeSelectorOpIn, strings.Replace(n.Name, "0", "1", 1)), false, false},
		"not by name":           {named(corev1.NodeSelectorOpNotIn, n.Name), false, false},
		"an empty term is none": {require(term(), term(in(ready, "true"))), true, true},
		"only empty terms":      {require(term()), false, false},
	} {
		w := waiting(pending("x", c.change), nodelabel.Keys{})
		if w == nil || w.ForSCTP != c.forSCTP || w.fits(n) != c.fits {
			t.Errorf("%s: %+v, want ForSCTP %v and fits %v", name, w, c.forSCTP, c.fits)
		}
	}
	taint := corev1.Taint{Key: "dedicated", Value: "telco", Effect: corev1.TaintEffectNoSchedule}
	for name, c := range map[string]struct {
		t    corev1.Toleration
		want bool
	}{
		"equal":           {corev1.Toleration{Key: "dedicated", Value: "telco"}, true},
		"another value":   {corev1.Toleration{Key: "dedicated", Operator: corev1.TolerationOpEqual, Value: "db"}, false},
		"any value":       {corev1.Toleration{Key: "dedicated", Operator: corev1.TolerationOpExists}, true},
		"another key":     {corev1.Toleration{Key: "gpu", Operator: corev1.TolerationOpExists}, false},
		"every taint":     {corev1.Toleration{Operator: corev1.TolerationOpExists}, true},
		"another effect":  {corev1.Toleration{Key: "dedicated", Value: "telco", Effect: corev1.TaintEffectNoExecute}, false},
		"the same effect": {corev1.Toleration{Key: "dedicated", Value: "telco", Effect: corev1.TaintEffectNoSchedule}, true},
	} {
		if got := tolerates(c.t, taint); got != c.want {
			t.Errorf("%s: tolerates: %v", name, got)
		}
	}
	for name, change := range map[string]func(*corev1.Pod){
		"scheduled": func(p *corev1.Pod) { p.Spec.NodeName = "n" },
		"gated":     func(p *corev1.Pod) { p.Status.Conditions[0].Reason = corev1.PodReasonSchedulingGated },
		"new":       func(p *corev1.Pod) { p.Status.Conditions = nil },
		"ending":    func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} },
	} {
		if w := waiting(pending("x", change), nodelabel.Keys{}); w != nil {
			t.Errorf("%s: %+v", name, w)
		}
	}
}

// An init container that has done its work listens no more; a sidecar does.
func TestFinishedInitContainer(t *testing.T) {
	port := []corev1.ContainerPort{{ContainerPort: 1, Protocol: corev1.ProtocolSCTP}}
	done := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
	always := corev1.ContainerRestartPolicyAlways
	for _, c := range []struct {
		state  corev1.ContainerState
		policy *corev1.ContainerRestartPolicy
		uses   bool
	}{
		{corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}, nil, true},
		{done, nil, false},
		{done, &always, true}, // about to be restarted
	} {
		p := &corev1.Pod{}
		p.Spec.InitContainers = []corev1.Container{{Name: "init", Ports: port, RestartPolicy: c.policy}}
		p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "init", State: c.state}}
		if got := pod(p, nodelabel.Keys{}, nil) != nil; got != c.uses {
			t.Errorf("%+v: uses SCTP: %v", c, got)
		}
	}
}

func TestOwner(t *testing.T) {
	for _, c := range []struct {
		kind, name, hash string
		want             Object
	}{
		{"ReplicaSet", "amf-5d9", "5d9", Object{"Deployment", "core", "amf"}},
		{"ReplicaSet", "amf-5d9", "", Object{"ReplicaSet", "core", "amf-5d9"}},
		{"StatefulSet", "amf", "", Object{"StatefulSet", "core", "amf"}},
		{"Job", "probe-29412345", "", Object{"CronJob", "core", "probe"}},
		{"Job", "migrate-1", "", Object{"Job", "core", "migrate-1"}},
		{"Node", "worker-0", "", Object{"Pod", "core", "p"}},
		{"", "", "", Object{"Pod", "core", "p"}},
	} {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "core", Name: "p", Labels: map[string]string{"pod-template-hash": c.hash}}}
		if c.kind != "" {
			p.OwnerReferences = []metav1.OwnerReference{{Kind: c.kind, Name: c.name, Controller: new(true)}}
		}
		if got := owner(p); got != c.want {
			t.Errorf("%+v: %+v", c, got)
		}
	}
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "core", Labels: map[string]string{"rollouts-pod-template-hash": "5d9"}}}
	p.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "amf-5d9", Controller: new(true)}}
	if got := owner(p); got != (Object{"Rollout", "core", "amf"}) {
		t.Errorf("%+v", got)
	}
}

// Nodes that lack SCTP for one cause are one finding, with all their names.
func TestNodesOfOneCause(t *testing.T) {
	s := healthy()
	s.Pods, s.Policies = nil, nil
	for i := range 57 {
		n := kubeNode(fmt.Sprint("bad-", i), "worker", blacklisted())
		s.Nodes = append(s.Nodes, withAgent(node(&n, nodelabel.Keys{})))
	}
	other := blacklisted()
	other.Message, other.Remedy = "sctp is blacklisted: /etc/modprobe.d/y.conf:1: blacklist sctp", "remove line 1 of /etc/modprobe.d/y.conf"
	n := kubeNode("other", "worker", other)
	s.Nodes = append(s.Nodes, withAgent(node(&n, nodelabel.Keys{})))
	r := Examine(s)
	if len(r.Findings) != 2 {
		t.Fatalf("%d findings: %+v", len(r.Findings), r.Findings)
	}
	if f := r.Findings[0]; f.Count != 57 || len(f.Members) != 57 || f.Subject() != "bad-0 and 56 more" || f.Fix != "remove line 1 of /etc/modprobe.d/x.conf" {
		t.Errorf("%+v", f)
	}
	if f := r.Findings[1]; f.Count != 1 || f.Subject() != "other" {
		t.Errorf("%+v", f)
	}
}

// What many nodes of a pool have is one finding with one fix, whatever differs from
// node to node; and the text about each is limited.
func TestManyOfOneCause(t *testing.T) {
	const many = 100
	for kind, spoil := range map[Kind]func(*Node){
		ReportOlderThanBoot:    func(n *Node) { n.BootID = "another-of-" + n.Name },
		LabelContradictsReport: func(n *Node) { n.Ready = "false" },
		ReportOfAnotherNode:    func(n *Node) { n.Report.Node = "not-" + n.Name },
		NodeLosesSCTPAtReboot:  func(n *Node) { n.OnBoot, n.Report.OnBoot = "blocked", verdict.OnBootBlocked },
		NodeNotReadyInPool: func(n *Node) {
			bad := kubeNode(n.Name, "worker", blacklisted())
			*n = withAgent(node(&bad, nodelabel.Keys{}))
		},
		NodeUnproved:      func(n *Node) { n.Reason, n.Report.Ready = verdict.ReasonPermissionDenied, kmod.AnswerUnknown },
		ReportUnreadable:  func(n *Node) { n.Report, n.ReportError = nil, fmt.Errorf("at character %d", len(n.Name)) },
		ReadyWithoutAgent: func(n *Node) { n.Agent = nil },
		ConditionStale: func(n *Node) {
			n.Heartbeat = healthy().Time.Add(-time.Hour - time.Duration(len(n.Name))*time.Minute)
		},
		PolicyConfinesNobody: func(n *Node) {
			n.Report.Warnings = []verdict.Warning{{Reason: verdict.ReasonPolicyConfinesNobody, Message: "seen by " + n.Name}}
		},
		KubeletNotReady:  func(n *Node) { n.Down = "no heartbeat of " + n.Name },
		NodeWithoutAgent: func(n *Node) { n.Agent, n.Ready, n.Report, n.Reason, n.Message = nil, "", nil, "", "" },
		AgentNotReady:    func(n *Node) { n.Agent.Ready, n.Agent.Trouble = false, "back-off of "+n.Agent.Name },
		AgentVersionSkew: func(n *Node) { n.Agent.Version, n.Agent.Image = "v2", "registry.example.com/"+n.Name+":v2" },
	} {
		s := healthy()
		s.Policies = nil
		for i := range 2*many + 1 { // most are as they should be
			n := kubeNode(fmt.Sprint("node-", i), "worker", ready())
			s.Nodes = append(s.Nodes, withAgent(node(&n, nodelabel.Keys{})))
		}
		for i := range many {
			spoil(&s.Nodes[len(s.Nodes)-1-i])
		}
		var got []Finding
		for _, f := range Examine(s).Findings {
			if f.Kind == kind {
				got = append(got, f)
			}
		}
		if len(got) != 1 || got[0].Count != many || len(got[0].Members) != many || len(got[0].Evidence) > mostEvidence {
			t.Errorf("%s: %d findings, the first %+v", kind, len(got), got)
		}
	}

	s := healthy()
	bad := kubeNode("bad", "infra", blacklisted())
	s.Nodes = append(s.Nodes, withAgent(node(&bad, nodelabel.Keys{})))
	for i := range many {
		s.Services[0].Endpoints = append(s.Services[0].Endpoints, Endpoint{Address: fmt.Sprint("10.2.0.", i), Node: "bad", Pod: fmt.Sprint("amf-", i+1), Ready: true, Port: 38412})
	}
	f := Examine(s).Findings[0]
	if f.Kind != EndpointOnUnreadyNode || len(f.Evidence) != mostEvidence+1 || f.Evidence[2] != "endpoint 10.2.0.2 (pod amf-3) on node bad: ModuleBlacklisted" || f.Evidence[mostEvidence] != "and 92 further endpoints" {
		t.Errorf("%+v", f)
	}
}

// A long annotation is not printed for pages.
func TestLongAnnotations(t *testing.T) {
	var keys nodelabel.Keys
	long := strings.Repeat("ü", 125<<10)
	r := blacklisted()
	r.Message, r.Remedy = long, long
	n := kubeNode("n", "worker", r)
	n.Annotations[keys.Message()], n.Annotations[keys.Reason()] = long, long
	text, err := json.Marshal(verdict.Report{APIVersion: verdict.APIVersion, Kind: verdict.Kind, Ready: kmod.AnswerFalse, Message: long, Remedy: long, Warnings: []verdict.Warning{{Message: long}}})
	if err != nil {
		t.Fatal(err)
	}
	n.Annotations[keys.Report()] = string(text)
	s := healthy()
	s.Nodes = append(s.Nodes, node(&n, keys))
	out, err := json.Marshal(Examine(s))
	if err != nil || len(out) > 10*verdict.MaxAnnotation {
		t.Errorf("%d bytes, %v", len(out), err)
	}
	for _, r := range []verdict.Report{{Ready: kmod.Answer(long)}, {Reason: verdict.Reason(long)}, {OnBoot: verdict.OnBoot(long)}, {Kernel: verdict.Kernel{BootID: long}}, {Module: verdict.Module{State: kmod.State(long)}}} {
		n := kubeNode("n", "worker", ready())
		r.APIVersion, r.Kind = verdict.APIVersion, verdict.Kind
		if text, err = json.Marshal(r); err != nil {
			t.Fatal(err)
		}
		n.Annotations[keys.Report()] = string(text)
		s := healthy()
		s.Nodes = append(s.Nodes, node(&n, keys))
		out, err := json.Marshal(Examine(s))
		if err != nil || len(out) > verdict.MaxAnnotation {
			t.Errorf("%.200s: %d bytes, %v", text, len(out), err)
		}
	}
}

// A network that is not known is not seen, and that is no missing right; what was
// read of one pool does not depend on another.
func TestPartlySeen(t *testing.T) {
	s := healthy()
	s.Network = Network{}
	r := Examine(s)
	if u := r.Unseen; len(r.Findings) != 0 || len(u) != 1 || u[0].Source != SourceNetwork || !u[0].Unknown || !slices.Equal(u[0].NotChecked, []Kind{ServicePortNotServed}) {
		t.Errorf("%+v, not seen %+v", r.Findings, u)
	}

	s = healthy()
	s.Pools[0].Target, s.Pools[0].Updated = Rendered{"rendered-worker-2", effect(kmod.AnswerFalse)}, 0
	s.Pools[1] = Pool{Name: "master", Unread: []string{"get machineconfigs/rendered-master-1: not found"}}
	r = Examine(s)
	if u := r.Unseen; len(u) != 1 || u[0].Unknown || !strings.Contains(u[0].Why, "pool master: get machineconfigs/rendered-master-1") || !slices.Contains(u[0].NotChecked, PoolUndoesSCTP) {
		t.Errorf("not seen %+v", u)
	}
	if len(r.Findings) != 1 || r.Findings[0].Kind != PoolUndoesSCTP {
		t.Errorf("%+v", r.Findings)
	}
}

// Only pods that a DaemonSet runs are agents: anybody can set the label.
func TestIsAgent(t *testing.T) {
	for kind, want := range map[string]bool{"DaemonSet": true, "ReplicaSet": false, "": false} {
		p := &corev1.Pod{Spec: corev1.PodSpec{NodeName: "n"}}
		if kind != "" {
			p.OwnerReferences = []metav1.OwnerReference{{Kind: kind, Name: "x", Controller: new(true)}}
		}
		if got := IsAgent(p); got != want {
			t.Errorf("a pod of %q: %v", kind, got)
		}
	}
}

// A pool is judged by the kmod of its nodes, of all its nodes.
func TestPoolsByTheirVersions(t *testing.T) {
	s := healthy()
	if got := s.kmodIn("worker"); !slices.Equal(got, []int{0}) {
		t.Errorf("without a version: %v", got)
	}
	for i, version := range []string{"28", "31", "x"} {
		s.Nodes[i].Pool, s.Nodes[i].Report.Host.Kmod = "worker", version
	}
	if got := s.kmodIn("worker"); !slices.Equal(got, []int{28, 31}) {
		t.Errorf("%v", got)
	}
}

// TestReasonOfTheReport: where the annotation with the reason is gone, the report has it.
func TestReasonOfTheReport(t *testing.T) {
	n := kubeNode("w1", "worker", blacklisted())
	var keys nodelabel.Keys
	delete(n.Annotations, keys.Reason())
	delete(n.Annotations, keys.Message())
	out := node(&n, keys)
	if out.Reason != verdict.ReasonModuleBlacklisted || out.Message != blacklisted().Message {
		t.Errorf("reason %q, message %q", out.Reason, out.Message)
	}
}
