// Package audit finds what is wrong with SCTP in a whole cluster, with read-only
// rights: what the nodes report, which workloads use SCTP, and where the two do
// not match.
//
// [Collect] reads, [Examine] judges (a pure function of the snapshot).
package audit

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/internal/meshview"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/machineconfig"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Snapshot is what was seen of the cluster, reduced to what bears on SCTP.
type Snapshot struct {
	Time time.Time
	// Keys are those that were looked for.
	Keys     nodelabel.Keys
	Nodes    []Node
	Pods     []Pod
	Services []Service
	Policies []Policy
	Pools    []Pool
	Network  Network
	// Agents are the nodes that the agent's pods select, those of its DaemonSet.
	Agents []NodeTerm
	// Mesh is the combined result of its agents, nil where that was not asked for.
	Mesh *meshview.Result
	// Require are the label selectors of nodes that must have SCTP ([Intent]).
	Require []string
	// Narrowed: only workloads of some namespaces were read.
	Narrowed bool
	// SomeNodes: the cluster may have nodes that were not looked at.
	SomeNodes bool
	// Unseen lists what could not be read.
	Unseen []Unseen
}

// Source is a kind of object in a snapshot.
type Source string

const (
	SourceNodes    Source = "nodes"
	SourcePods     Source = "pods"
	SourceAgents   Source = "agents" // the agent's pods, where pods of some namespaces only are read
	SourceServices Source = "services"
	SourceSlices   Source = "endpointslices"
	SourcePolicies Source = "networkpolicies"
	SourcePools    Source = "machineconfigpools"
	SourceConfigs  Source = "machineconfigs"
	SourceNetwork  Source = "configmaps" // of the cluster's network

	// What the mesh's agents see, and those of them that did not answer.
	SourceMesh       Source = "mesh"
	SourceMeshAgents Source = "mesh-agents"

	// With files in place of a cluster: namespaces that are not in them, and files
	// that could not be decoded.
	SourceNamespaces Source = "namespaces"
	SourceFiles      Source = "files"
)

// Unseen is something that could not be read.
type Unseen struct {
	Source Source `json:"source"`
	// Why names the object and the missing right.
	Why string `json:"why"`
	// NotChecked are the kinds of findings that were not looked for.
	NotChecked []Kind `json:"notChecked"`
	// Objects is how many could not be decoded, where all others of the source
	// were read: only what needs every one of them is not looked for.
	Objects int `json:"objects,omitempty"`
	// Unknown: all there is was read, and is not conclusive. No right is missing,
	// and the exit status does not depend on it.
	Unknown bool `json:"unknown,omitempty"`
	// Some: there may be more of the source than was read.
	Some bool `json:"-"`
}

// unseen reports whether a source, or a part of it, could not be read.
func (s *Snapshot) unseen(source Source) bool {
	return slices.ContainsFunc(s.Unseen, func(u Unseen) bool { return u.Source == source })
}

// Node is what one Node object has.
type Node struct {
	Name   string
	Pool   string
	Labels map[string]string
	// BootID of the boot that kubelet reports.
	BootID string
	// Ready and OnBoot are the labels' values, "" when absent.
	Ready, OnBoot string
	// Reason and Message are the annotations'.
	Reason  verdict.Reason
	Message string
	// Since is zero when the annotation is absent or no time.
	Since time.Time
	// Report is nil when the annotation is absent or unreadable; ReportError is why
	// it is unreadable.
	Report      *verdict.Report
	ReportError error
	// Foreign nodes have no Linux kernel to ask, or none of their own (Windows,
	// virtual kubelets): the DaemonSet leaves them out.
	Foreign bool
	// Agent is the agent's pod on the node, nil when none was seen.
	Agent *AgentPod
	// Taints keep pods that do not tolerate them off the node.
	Taints []corev1.Taint
	// Down is the message of the condition Ready where it is not True.
	Down string
	// Heartbeat is when the condition SCTPReady was last renewed; zero where
	// there is none.
	Heartbeat time.Time
	// hosted: an OpenShift node of a cluster without machine config pools.
	hosted bool
}

// AgentPod is the agent's pod on one node.
type AgentPod struct {
	Namespace, Name string
	// Version is the tag of its image.
	Version string
	Image   string
	// Heartbeat is how often it renews the condition, by its arguments.
	Heartbeat time.Duration
	Ready     bool
	// Trouble is why it is not ready.
	Trouble string
	// elsewhere is the prefix of the keys that it writes, "" where that is the one
	// looked for, or is not known.
	elsewhere string
}

// updated reports whether an agent updates the node's labels.
func (n *Node) updated() bool { return n.Agent != nil && n.Agent.elsewhere == "" }

// Stale: the report is of an earlier boot of the node.
func (n *Node) Stale() bool {
	return n.Report != nil && n.Report.Kernel.BootID != "" && n.BootID != "" && n.Report.Kernel.BootID != n.BootID
}

// SCTP is what is known about SCTP on the node now.
func (n *Node) SCTP() kmod.Answer {
	switch {
	case n.Stale():
		return kmod.AnswerUnknown
	case n.Ready == string(kmod.AnswerTrue):
		return kmod.AnswerTrue
	case n.Ready == string(kmod.AnswerFalse):
		return kmod.AnswerFalse
	default:
		return kmod.AnswerUnknown
	}
}

// Pod is a pod that uses SCTP: it declares a port, is an endpoint of a Service with
// an SCTP port, or waits for a node that has SCTP.
type Pod struct {
	Namespace, Name, Node string
	Labels                map[string]string
	// Owner is what it is one of several of, or the pod itself.
	Owner Object
	// Waits is nil unless the scheduler has no node for it.
	Waits *Waiting
	// Ports are the SCTP ports that its containers declare.
	Ports []Port
	// Services are the SCTP Services that it is an endpoint of.
	Services []string
	// Listens are the target ports of those Services.
	Listens []int32
}

// Port is a declared container port.
type Port struct {
	Container string
	Name      string
	Number    int32
}

// Service is a Service with SCTP ports.
type Service struct {
	Namespace, Name string
	Type            corev1.ServiceType
	Ports           []corev1.ServicePort
	// Addresses that a load balancer gave it.
	Addresses []string
	// Refused are the SCTP ports that a load balancer has an error for.
	Refused []string
	// Local is externalTrafficPolicy: Local.
	Local bool
	// Headless: it has no address, so that nothing is translated.
	Headless bool
	// Endpoints are its SCTP endpoints.
	Endpoints []Endpoint
}

// Endpoint is one address of a Service's endpoints.
type Endpoint struct {
	Address, Node, Pod string
	Ready              bool
	Port               int32
	PortName           string
}

// Policy is a NetworkPolicy that names SCTP.
type Policy struct {
	Namespace, Name string
	Spec            networkingv1.NetworkPolicySpec
}

// Pool is a machine config pool.
type Pool struct {
	Name string
	// Current and Target are the rendered configurations that its nodes had
	// and shall have.
	Current, Target Rendered
	// Machines of the pool, and how many have the target already.
	Machines, Updated int
	Paused, Degraded  bool
	// Trouble is the message of the Degraded condition.
	Trouble string
	// Unread is what of its configurations could not be read or judged.
	Unread []string
}

// Rendered is a rendered MachineConfig, and what it does for SCTP.
type Rendered struct {
	Name string
	// Effect is nil when the configuration was not seen.
	Effect *machineconfig.Effect
}

// node reads a Node object.
func node(n *corev1.Node, keys nodelabel.Keys) Node {
	out := Node{
		Name:    n.Name,
		Pool:    pool(n),
		Labels:  n.Labels,
		BootID:  n.Status.NodeInfo.BootID,
		Ready:   n.Labels[keys.Ready()],
		OnBoot:  n.Labels[keys.OnBoot()],
		Reason:  verdict.Reason(bounded(n.Annotations[keys.Reason()])),
		Message: bounded(n.Annotations[keys.Message()]),
	}
	// Shown only. With some offsets the year in UTC is one that RFC 3339, and so
	// JSON, does not have.
	if since, err := time.Parse(time.RFC3339, n.Annotations[keys.Since()]); err == nil {
		if year := since.UTC().Year(); 0 <= year && year <= 9999 {
			out.Since = since
		}
	}
	out.Foreign = foreign(n)
	for _, t := range n.Spec.Taints {
		// The agent removes its own once SCTP is proved, Kubernetes those of a node
		// that is not ready or under pressure.
		ofCondition := strings.HasPrefix(t.Key, "node.kubernetes.io/") && t.Key != corev1.TaintNodeUnschedulable
		if t.Effect != corev1.TaintEffectPreferNoSchedule && t.Key != keys.StartupTaint() && !ofCondition {
			out.Taints = append(out.Taints, t)
		}
	}
	if t := (corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}); n.Spec.Unschedulable && !slices.ContainsFunc(out.Taints, func(have corev1.Taint) bool { return have.Key == t.Key }) {
		out.Taints = append(out.Taints, t)
	}
	for _, c := range n.Status.Conditions {
		switch {
		case c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue:
			out.Down = bounded(fmt.Sprintf("condition Ready=%s, %s: %s", c.Status, c.Reason, c.Message))
		case c.Type == nodelabel.ConditionType:
			out.Heartbeat = c.LastHeartbeatTime.Time
		}
	}
	text, found := n.Annotations[keys.Report()]
	if !found {
		return out
	}
	var r verdict.Report
	err := json.Unmarshal([]byte(text), &r)
	if err == nil && (r.APIVersion != verdict.APIVersion || r.Kind != verdict.Kind) {
		err = fmt.Errorf("it is a %q of %q", r.Kind, r.APIVersion)
	}
	if err != nil {
		out.ReportError = errors.New(bounded(err.Error()))
		return out
	}
	for i := range r.Warnings {
		r.Warnings[i].Message = bounded(r.Warnings[i].Message)
	}
	// What the snapshot keeps of 5,000 reports is what is shown or judged.
	out.Report = &verdict.Report{
		Node: bounded(r.Node), Ready: word(r.Ready), Reason: word(r.Reason), Message: bounded(r.Message), Remedy: bounded(r.Remedy), OnBoot: word(r.OnBoot),
		Kernel: verdict.Kernel{BootID: word(r.Kernel.BootID)}, Module: verdict.Module{State: cmp.Or(word(r.Module.State), kmod.StateUnknown)}, Warnings: r.Warnings,
		Host: verdict.Host{Kmod: word(r.Host.Kmod), Platform: word(r.Host.Platform)},
	}
	if out.Reason == "" { // the annotation was removed
		out.Reason, out.Message = out.Report.Reason, out.Report.Message
	}
	return out
}

// foreign reports whether a Node has no Linux kernel, or none of its own.
func foreign(n *corev1.Node) bool {
	os := cmp.Or(n.Labels["kubernetes.io/os"], n.Status.NodeInfo.OperatingSystem)
	return os != "" && os != "linux" ||
		n.Labels["type"] == "virtual-kubelet" ||
		slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == "virtual-kubelet.io/provider" }) ||
		n.Labels["eks.amazonaws.com/compute-type"] == "fargate" || // a virtual machine per pod, no DaemonSets
		n.Labels["type"] == "kwok" || n.Annotations["kwok.x-k8s.io/node"] == "fake"
}

// bounded is text of an annotation, whose values may have 256 KiB. The agent's
// report has all of its texts in [verdict.MaxAnnotation].
func bounded(s string) string { return cluster.Bounded(s, verdict.MaxAnnotation) }

// word is a value of a report that is one word: a cell of a table, or a boot ID.
func word[T ~string](s T) T { return T(cluster.Bounded(string(s), 100)) }

// rolePrefix starts the labels that name a node's roles.
const rolePrefix = "node-role.kubernetes.io/"

// poolLabels name the group a node was made with, on clusters without roles.
var poolLabels = [...]string{
	"karpenter.sh/nodepool",
	"eks.amazonaws.com/nodegroup",
	"cloud.google.com/gke-nodepool",
	"kubernetes.azure.com/agentpool",
}

// configAnnotation names the rendered configuration of an OpenShift node:
// rendered-POOL-HASH.
const configAnnotation = "machineconfiguration.openshift.io/currentConfig"

// pool is the group of nodes set up alike that a node belongs to. "worker"
// comes last: nodes of a custom pool are workers too.
func pool(n *corev1.Node) string {
	if name, found := strings.CutPrefix(n.Annotations[configAnnotation], "rendered-"); found {
		if cut := strings.LastIndexByte(name, '-'); cut > 0 {
			return name[:cut]
		}
	}
	for _, key := range poolLabels {
		if value := n.Labels[key]; value != "" {
			return value
		}
	}
	var roles []string
	for key := range n.Labels {
		if role, found := strings.CutPrefix(key, rolePrefix); found && role != "worker" {
			roles = append(roles, role)
		}
	}
	slices.Sort(roles)
	if len(roles) > 0 {
		return strings.Join(roles, ",")
	}
	if _, found := n.Labels[rolePrefix+"worker"]; found {
		return "worker"
	}
	return ""
}

// pod reads a Pod object; nil when it does not use SCTP. endpoints are the SCTP
// endpoints by namespace/pod.
func pod(p *corev1.Pod, keys nodelabel.Keys, endpoints map[string][]backing) *Pod {
	if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return nil
	}
	out := Pod{Namespace: p.Namespace, Name: p.Name, Node: p.Spec.NodeName, Labels: p.Labels, Owner: owner(p), Waits: waiting(p, keys)}
	for _, list := range [][]corev1.Container{p.Spec.Containers, p.Spec.InitContainers} {
		for _, c := range list {
			if finished(p, c) {
				continue
			}
			for _, port := range c.Ports {
				if port.Protocol == corev1.ProtocolSCTP {
					out.Ports = append(out.Ports, Port{c.Name, port.Name, port.ContainerPort})
				}
			}
		}
	}
	for _, b := range endpoints[p.Namespace+"/"+p.Name] {
		out.Services = append(out.Services, b.service)
		out.Listens = append(out.Listens, b.port)
	}
	if len(out.Ports) == 0 && len(out.Services) == 0 && (out.Waits == nil || !out.Waits.ForSCTP) {
		return nil
	}
	return &out
}

// finished reports whether a container was an init container and has completed.
// Sidecars are init containers that run as long as the pod.
func finished(p *corev1.Pod, c corev1.Container) bool {
	if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
		return false
	}
	return slices.ContainsFunc(p.Status.InitContainerStatuses, func(s corev1.ContainerStatus) bool {
		return s.Name == c.Name && s.State.Terminated != nil && s.State.Terminated.ExitCode == 0
	})
}

// backing is what ties a pod to a Service.
type backing struct {
	service string
	port    int32
}

// IsAgent reports whether a pod with the agent's labels is the agent: one that a
// DaemonSet runs. Anybody can set the labels.
func IsAgent(p *corev1.Pod) bool {
	c := metav1.GetControllerOf(p)
	return c != nil && c.Kind == "DaemonSet" && p.Spec.NodeName != "" && p.DeletionTimestamp == nil
}

// agentPod reads the agent's pod.
func agentPod(p *corev1.Pod) *AgentPod {
	out := &AgentPod{Namespace: p.Namespace, Name: p.Name, Heartbeat: nodelabel.DefaultHeartbeat, Trouble: string(p.Status.Phase)}
	if c := AgentContainer(p); c != nil {
		if every, found := Argument(c, "--condition-heartbeat"); found {
			out.Heartbeat, _ = time.ParseDuration(every) // else it does not run
		}
		out.Image = c.Image
		out.Version = imageVersion(out.Image)
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			out.Ready = c.Status == corev1.ConditionTrue
			if c.Message != "" {
				out.Trouble = c.Message
			}
		}
	}
	for _, s := range p.Status.ContainerStatuses {
		if w := s.State.Waiting; w != nil && w.Reason != "" {
			out.Trouble = strings.TrimSuffix(w.Reason+": "+w.Message, ": ")
		}
	}
	if out.Ready {
		out.Trouble = ""
	}
	return out
}

// elsewhere is the prefix of the keys that an agent's pod writes, "" where that is
// the one of keys, or is not known.
func elsewhere(p *corev1.Pod, keys nodelabel.Keys) string {
	c := AgentContainer(p)
	if c == nil || !slices.Contains(slices.Concat(c.Command, c.Args), "run") {
		return ""
	}
	prefix, _ := Argument(c, "--prefix")
	own, err := nodelabel.NewKeys(prefix) // else it is a variable, or does not run
	if err != nil || own.Prefix() == keys.Prefix() {
		return ""
	}
	return own.Prefix()
}

// imageVersion is an image's tag, or the start of its digest.
func imageVersion(image string) string {
	if _, digest, found := strings.Cut(image, "@sha256:"); found {
		return digest[:min(12, len(digest))]
	}
	name := image[strings.LastIndexByte(image, '/')+1:]
	if _, tag, found := strings.Cut(name, ":"); found {
		return tag
	}
	return "latest"
}
