package audit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/machineconfig"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// Options of a collection. The zero value looks at the whole cluster.
type Options struct {
	Keys nodelabel.Keys
	// NodeSelector narrows the nodes (a label selector).
	NodeSelector string
	// Namespaces narrow the workloads; none means all. With rights in some
	// namespaces only, name them.
	Namespaces []string
	// AgentSelector finds the agent's pods; "" means [AgentSelector].
	AgentSelector string
	// Mesh is the namespace of the mesh, to read what its agents see; "" means
	// not to.
	Mesh string
}

// AgentSelector finds the pods of the DaemonSet as the manifests deploy it.
const AgentSelector = "app.kubernetes.io/name=sctp-agent"

// resource is a source as RBAC rules name it.
func (s Source) resource() string {
	switch s {
	case SourceSlices:
		return string(s) + "." + discoveryv1.GroupName
	case SourcePolicies:
		return string(s) + "." + networkingv1.GroupName
	case SourcePools, SourceConfigs:
		return s.machineConfig().GroupResource().String()
	default:
		return string(s)
	}
}

// machineConfig is a source of the machine-config-operator's API.
func (s Source) machineConfig() schema.GroupVersionResource {
	group, version, _ := strings.Cut(machineconfig.APIVersion, "/")
	return schema.GroupVersionResource{Group: group, Version: version, Resource: string(s)}
}

// Collect reads the cluster. Nodes must be readable; other kinds that are not are
// listed in the snapshot's Unseen.
func Collect(ctx context.Context, c *cluster.Client, opts Options) (*Snapshot, error) {
	agents := cmp.Or(opts.AgentSelector, AgentSelector)
	agentSelector, err := labels.Parse(agents)
	if err != nil {
		return nil, fmt.Errorf("the agent's label selector %q: %w", agents, err)
	}
	if _, err := labels.Parse(opts.NodeSelector); err != nil {
		return nil, fmt.Errorf("label selector %q: %w", opts.NodeSelector, err)
	}
	if err := namespacesExist(ctx, c, opts.Namespaces); err != nil {
		return nil, err
	}
	s := &Snapshot{Time: time.Now(), Keys: opts.Keys, Narrowed: len(opts.Namespaces) > 0, SomeNodes: opts.NodeSelector != ""}
	var mu sync.Mutex
	unseen := func(source Source, err error) {
		mu.Lock()
		defer mu.Unlock()
		if !s.unseen(source) {
			s.Unseen = append(s.Unseen, Unseen{Source: source, Why: err.Error()})
		}
	}

	var wg sync.WaitGroup
	var nodesErr error
	wg.Go(func() {
		nodesErr = cluster.List(ctx, SourceNodes.resource(), "", c.Kube.CoreV1().Nodes().List, metav1.ListOptions{LabelSelector: opts.NodeSelector}, func(n *corev1.Node) {
			s.Nodes = append(s.Nodes, node(n, opts.Keys))
		})
	})
	var agentPods map[string]*AgentPod
	wg.Go(func() {
		endpoints := s.collectServices(ctx, c, opts, unseen)
		agentPods = s.collectPods(ctx, c, opts, agentSelector, endpoints, unseen)
	})
	wg.Go(func() { s.collectPolicies(ctx, c, opts, unseen) })
	wg.Wait()
	if nodesErr != nil {
		return nil, nodesErr
	}
	wg.Go(func() { s.collectPools(ctx, c, unseen) }) // judged by the versions on their nodes
	if len(s.Services) > 0 {
		wg.Go(func() { s.collectNetwork(ctx, c, unseen) })
	}
	if opts.Mesh != "" {
		wg.Go(func() { s.collectMesh(ctx, c, opts.Mesh, unseen) })
	}
	wg.Wait()
	// Of no node at all nothing is good: a selector may be misspelt.
	if len(s.Nodes) == 0 && opts.NodeSelector != "" {
		return nil, fmt.Errorf("no node has the labels %q", opts.NodeSelector)
	}
	if len(s.Nodes) == 0 {
		return nil, errors.New("the cluster has no nodes")
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("reading the cluster: %w", context.Cause(ctx))
	}
	for i := range s.Nodes {
		s.Nodes[i].Agent = agentPods[s.Nodes[i].Name]
	}
	slices.SortFunc(s.Nodes, func(a, b Node) int { return cluster.CompareNames(a.Name, b.Name) })
	slices.SortFunc(s.Unseen, func(a, b Unseen) int { return strings.Compare(string(a.Source), string(b.Source)) })
	return s, nil
}

// namespacesExist fails for a namespace that is not there: its lists are empty,
// and nothing is found in it. Who may not ask is not stopped.
func namespacesExist(ctx context.Context, c *cluster.Client, names []string) error {
	for _, name := range names {
		if _, err := c.Kube.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{}); apierrors.IsNotFound(err) {
			return fmt.Errorf("namespace %q not found", name)
		}
	}
	return nil
}

// namespaces to list; "" means all.
func (o Options) namespaces() []string {
	if len(o.Namespaces) == 0 {
		return []string{""}
	}
	return o.Namespaces
}

// list lists a source in all wanted namespaces.
func list[T, L runtime.Object](ctx context.Context, source Source, in func(namespace string) listing[L], opts Options, unseen func(Source, error), each func(T)) {
	for _, namespace := range opts.namespaces() {
		if err := cluster.List(ctx, source.resource(), namespace, in(namespace), metav1.ListOptions{}, each); err != nil {
			unseen(source, err)
		}
	}
}

// listing is the List method of a typed client.
type listing[L runtime.Object] func(context.Context, metav1.ListOptions) (L, error)

// collectServices reads Services and EndpointSlices, and returns the SCTP
// endpoints by namespace/pod.
func (s *Snapshot) collectServices(ctx context.Context, c *cluster.Client, opts Options, unseen func(Source, error)) map[string][]backing {
	byName := map[string]int{}
	list(ctx, SourceServices, func(namespace string) listing[*corev1.ServiceList] { return c.Kube.CoreV1().Services(namespace).List }, opts, unseen, func(svc *corev1.Service) {
		out := Service{
			Namespace: svc.Namespace, Name: svc.Name, Type: svc.Spec.Type,
			Local: svc.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal, Headless: svc.Spec.ClusterIP == corev1.ClusterIPNone,
		}
		for _, p := range svc.Spec.Ports {
			if p.Protocol == corev1.ProtocolSCTP {
				out.Ports = append(out.Ports, p)
			}
		}
		if len(out.Ports) == 0 {
			return
		}
		for _, in := range svc.Status.LoadBalancer.Ingress {
			out.Addresses = append(out.Addresses, in.IP+in.Hostname)
			for _, p := range in.Ports {
				if p.Protocol == corev1.ProtocolSCTP && p.Error != nil {
					out.Refused = append(out.Refused, bounded(fmt.Sprintf("status.loadBalancer of %s, port %d/SCTP: %s", in.IP+in.Hostname, p.Port, *p.Error)))
				}
			}
		}
		byName[svc.Namespace+"/"+svc.Name] = len(s.Services)
		s.Services = append(s.Services, out)
	})
	backings := map[string][]backing{}
	list(ctx, SourceSlices, func(namespace string) listing[*discoveryv1.EndpointSliceList] {
		return c.Kube.DiscoveryV1().EndpointSlices(namespace).List
	}, opts, unseen, func(slice *discoveryv1.EndpointSlice) {
		name := slice.Labels[discoveryv1.LabelServiceName]
		if name == "" {
			return
		}
		for _, p := range slice.Ports {
			if p.Protocol == nil || *p.Protocol != corev1.ProtocolSCTP || p.Port == nil {
				continue
			}
			for _, e := range slice.Endpoints {
				end := Endpoint{Port: *p.Port, Ready: e.Conditions.Ready == nil || *e.Conditions.Ready}
				if p.Name != nil {
					end.PortName = *p.Name
				}
				if len(e.Addresses) > 0 {
					end.Address = e.Addresses[0]
				}
				if e.NodeName != nil {
					end.Node = *e.NodeName
				}
				if e.TargetRef != nil && e.TargetRef.Kind == "Pod" {
					end.Pod = e.TargetRef.Name
					key := slice.Namespace + "/" + end.Pod
					b := backing{slice.Namespace + "/" + name, *p.Port}
					if !slices.Contains(backings[key], b) { // a dual-stack Service has two slices
						backings[key] = append(backings[key], b)
					}
				}
				if i, found := byName[slice.Namespace+"/"+name]; found {
					s.Services[i].Endpoints = append(s.Services[i].Endpoints, end)
				}
			}
		}
	})
	return backings
}

// collectPods reads all pods, keeps those that use SCTP, and returns the
// agent's by node.
func (s *Snapshot) collectPods(ctx context.Context, c *cluster.Client, opts Options, agents labels.Selector, endpoints map[string][]backing, unseen func(Source, error)) map[string]*AgentPod {
	byNode := map[string]*AgentPod{}
	seeAgent := func(p *corev1.Pod) {
		if !agents.Matches(labels.Set(p.Labels)) || !IsAgent(p) {
			return
		}
		// The DaemonSet adds the node's name to each term.
		terms, _ := nodeTerms(&p.Spec, opts.Keys)
		for _, t := range terms {
			if t.Names = nil; !slices.ContainsFunc(s.Agents, t.equal) {
				s.Agents = append(s.Agents, t)
			}
		}
		// During a rolling update a node may have two.
		if old := byNode[p.Spec.NodeName]; old == nil || !old.Ready {
			a := agentPod(p)
			a.elsewhere, byNode[p.Spec.NodeName] = elsewhere(p, opts.Keys), a
		}
	}
	list(ctx, SourcePods, func(namespace string) listing[*corev1.PodList] { return c.Kube.CoreV1().Pods(namespace).List }, opts, unseen, func(p *corev1.Pod) {
		seeAgent(p)
		if found := pod(p, opts.Keys, endpoints); found != nil {
			s.Pods = append(s.Pods, *found)
		}
	})
	if len(opts.Namespaces) > 0 {
		// The agent lives in a namespace of its own.
		err := cluster.List(ctx, SourcePods.resource(), "", c.Kube.CoreV1().Pods("").List, metav1.ListOptions{LabelSelector: agents.String()}, seeAgent)
		if err != nil {
			unseen(SourceAgents, fmt.Errorf("the agent's pods: %w", err))
		}
	}
	return byNode
}

func (s *Snapshot) collectPolicies(ctx context.Context, c *cluster.Client, opts Options, unseen func(Source, error)) {
	list(ctx, SourcePolicies, func(namespace string) listing[*networkingv1.NetworkPolicyList] {
		return c.Kube.NetworkingV1().NetworkPolicies(namespace).List
	}, opts, unseen, func(p *networkingv1.NetworkPolicy) {
		if slices.ContainsFunc(p.Spec.Ingress, func(r networkingv1.NetworkPolicyIngressRule) bool { return slices.ContainsFunc(r.Ports, isSCTP) }) ||
			slices.ContainsFunc(p.Spec.Egress, func(r networkingv1.NetworkPolicyEgressRule) bool { return slices.ContainsFunc(r.Ports, isSCTP) }) {
			s.Policies = append(s.Policies, Policy{p.Namespace, p.Name, p.Spec})
		}
	})
}

func isSCTP(p networkingv1.NetworkPolicyPort) bool {
	return p.Protocol != nil && *p.Protocol == corev1.ProtocolSCTP
}

// machineConfigPool is what is read of a MachineConfigPool.
type machineConfigPool struct {
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Paused        bool          `json:"paused"`
		Configuration configuration `json:"configuration"`
	} `json:"spec"`
	Status struct {
		Configuration       configuration `json:"configuration"`
		MachineCount        int           `json:"machineCount"`
		UpdatedMachineCount int           `json:"updatedMachineCount"`
		Conditions          []struct {
			Type    string `json:"type"`
			Status  string `json:"status"`
			Message string `json:"message"`
		} `json:"conditions"`
	} `json:"status"`
}

type configuration struct {
	Name string `json:"name"`
}

// collectPools reads the machine config pools and their rendered
// configurations. A cluster without that API has none.
func (s *Snapshot) collectPools(ctx context.Context, c *cluster.Client, unseen func(Source, error)) {
	err := cluster.List(ctx, SourcePools.resource(), "", c.Dynamic.Resource(SourcePools.machineConfig()).List, metav1.ListOptions{}, func(object *unstructured.Unstructured) {
		var p machineConfigPool
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &p); err != nil {
			s.Pools = append(s.Pools, Pool{Name: object.GetName(), Unread: []string{fmt.Sprintf("decode machineconfigpools/%s: %v", object.GetName(), err)}})
			return
		}
		out := Pool{
			Name:    p.Metadata.Name,
			Current: Rendered{Name: p.Status.Configuration.Name}, Target: Rendered{Name: p.Spec.Configuration.Name},
			Machines: p.Status.MachineCount, Updated: p.Status.UpdatedMachineCount,
			Paused: p.Spec.Paused,
		}
		for _, condition := range p.Status.Conditions {
			if condition.Type == "Degraded" && condition.Status == string(corev1.ConditionTrue) {
				out.Degraded, out.Trouble = true, condition.Message
			}
		}
		s.Pools = append(s.Pools, out)
	})
	if apierrors.IsNotFound(err) {
		return
	}
	if apierrors.IsForbidden(err) {
		// Who may not list a collection gets 403, whether it exists or not.
		// Everybody may ask for what there is (ClusterRole system:discovery).
		if _, e := c.Kube.Discovery().ServerResourcesForGroupVersionWithContext(ctx, machineconfig.APIVersion); apierrors.IsNotFound(e) {
			return
		}
	}
	if err != nil {
		unseen(SourcePools, err)
		return
	}
	for i := range s.Pools {
		p := &s.Pools[i]
		for _, r := range []*Rendered{&p.Target, &p.Current} {
			if r.Name == "" {
				continue
			}
			if r == &p.Current && r.Name == p.Target.Name {
				p.Current.Effect = p.Target.Effect
				continue
			}
			effect, err := judgeRendered(ctx, c, p.Name, r.Name, s.kmodIn(p.Name))
			switch {
			case apierrors.IsForbidden(err): // and so are the others
				unseen(SourceConfigs, err)
				return
			case err != nil:
				p.Unread = append(p.Unread, err.Error())
			default:
				r.Effect = effect
			}
		}
	}
}

// kmodIn are the versions of kmod on a pool's nodes, by their reports; 0, which
// means what the release ships, where no report has one.
func (s *Snapshot) kmodIn(pool string) []int {
	var out []int
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if n.Pool != pool || n.Report == nil {
			continue
		}
		if version, err := strconv.Atoi(n.Report.Host.Kmod); err == nil && version > 0 && !slices.Contains(out, version) {
			out = append(out, version)
		}
	}
	if out == nil {
		return []int{0}
	}
	slices.Sort(out)
	return out
}

// judgeRendered judges a rendered configuration, which has everything that its
// pool's nodes get.
func judgeRendered(ctx context.Context, c *cluster.Client, pool, name string, kmods []int) (*machineconfig.Effect, error) {
	object, err := c.Dynamic.Resource(SourceConfigs.machineConfig()).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, cluster.Failed("get", SourceConfigs.resource(), "", name, err)
	}
	text, err := object.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("decode machineconfigs/%s: %w", name, err)
	}
	configs, err := machineconfig.Decode(bytes.NewReader(text), "machineconfigs/"+name)
	if err != nil {
		return nil, err
	}
	return judge(ctx, machineconfig.Pool{Role: pool, Configs: configs}, kmods)
}

// judge judges a pool by the rules of each version of kmod on its nodes. Where
// these differ, the pool's effect is not known.
func judge(ctx context.Context, pool machineconfig.Pool, kmods []int) (*machineconfig.Effect, error) {
	var out machineconfig.Effect
	for i, version := range kmods {
		effect, err := machineconfig.Judge(ctx, pool, machineconfig.Host{KmodVersion: version})
		if err != nil {
			return nil, fmt.Errorf("judge the configuration of pool %s: %w", pool.Role, err)
		}
		if i > 0 && effect.Enabled != out.Enabled {
			effect.Enabled, effect.OnBoot = kmod.AnswerUnknown, verdict.OnBootUnknown
			effect.Message = fmt.Sprintf("kmod %d and kmod %d of the pool's nodes differ in what they make of it", kmods[0], version)
			return &effect, nil
		}
		out = effect
	}
	return &out, nil
}
