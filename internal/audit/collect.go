package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	api "github.com/sctp-agent/sctp-agent/internal/kubeapi"
	"github.com/sctp-agent/sctp-agent/pkg/machineconfig"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
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
}

// AgentSelector finds the pods of the DaemonSet as the manifests deploy it.
const AgentSelector = "app.kubernetes.io/name=sctp-agent"

// The collections that are read.
func resource(s Source) api.Resource {
	switch s {
	case SourceSlices:
		return api.Resource{GroupVersion: "discovery.k8s.io/v1", Name: string(s)}
	case SourcePolicies:
		return api.Resource{GroupVersion: "networking.k8s.io/v1", Name: string(s)}
	case SourcePools, SourceConfigs:
		return api.Resource{GroupVersion: machineconfig.APIVersion, Name: string(s)}
	default:
		return api.Resource{GroupVersion: "v1", Name: string(s)}
	}
}

// Collect reads the cluster. Nodes must be readable; whatever else is not is
// listed in the snapshot's Unseen.
func Collect(ctx context.Context, c *api.Client, opts Options) (*Snapshot, error) {
	agents := opts.AgentSelector
	if agents == "" {
		agents = AgentSelector
	}
	agentSelector, err := labels.Parse(agents)
	if err != nil {
		return nil, fmt.Errorf("the agent's label selector %q: %w", agents, err)
	}
	if _, err := labels.Parse(opts.NodeSelector); err != nil {
		return nil, fmt.Errorf("label selector %q: %w", opts.NodeSelector, err)
	}
	s := &Snapshot{Time: time.Now(), Narrowed: len(opts.Namespaces) > 0}
	var mu sync.Mutex
	unseen := func(source Source, err error) {
		mu.Lock()
		defer mu.Unlock()
		for _, u := range s.Unseen {
			if u.Source == source {
				return
			}
		}
		s.Unseen = append(s.Unseen, Unseen{Source: source, Why: err.Error()})
	}

	var wg sync.WaitGroup
	var nodesErr error
	wg.Go(func() {
		nodesErr = api.List(ctx, c, resource(SourceNodes), api.ListOptions{LabelSelector: opts.NodeSelector}, func(n *api.Node) {
			s.Nodes = append(s.Nodes, node(n, opts.Keys))
		})
	})
	var agentPods map[string]*AgentPod
	wg.Go(func() {
		endpoints := s.collectServices(ctx, c, opts, unseen)
		agentPods = s.collectPods(ctx, c, opts, agentSelector, endpoints, unseen)
	})
	wg.Go(func() { s.collectPolicies(ctx, c, opts, unseen) })
	wg.Go(func() { s.collectPools(ctx, c, unseen) })
	wg.Wait()
	if nodesErr != nil {
		return nil, nodesErr
	}
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
	slices.SortFunc(s.Nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Unseen, func(a, b Unseen) int { return strings.Compare(string(a.Source), string(b.Source)) })
	return s, nil
}

// namespaces to list; "" stands for all.
func (o Options) namespaces() []string {
	if len(o.Namespaces) == 0 {
		return []string{""}
	}
	return o.Namespaces
}

// list lists a source in all wanted namespaces, and says whether all of it was
// seen.
func list[T any](ctx context.Context, c *api.Client, source Source, opts Options, unseen func(Source, error), each func(*T)) bool {
	complete := true
	for _, namespace := range opts.namespaces() {
		if err := api.List(ctx, c, resource(source), api.ListOptions{Namespace: namespace}, each); err != nil {
			unseen(source, err)
			complete = false
		}
	}
	return complete
}

// collectServices reads Services and EndpointSlices, and returns the SCTP
// endpoints by namespace/pod.
func (s *Snapshot) collectServices(ctx context.Context, c *api.Client, opts Options, unseen func(Source, error)) map[string][]backing {
	byName := map[string]int{}
	list(ctx, c, SourceServices, opts, unseen, func(svc *api.Service) {
		out := Service{Namespace: svc.Namespace, Name: svc.Name, Type: svc.Spec.Type}
		for _, p := range svc.Spec.Ports {
			if p.Protocol == api.ProtocolSCTP {
				out.Ports = append(out.Ports, p)
			}
		}
		if len(out.Ports) == 0 {
			return
		}
		for _, in := range svc.Status.LoadBalancer.Ingress {
			out.Addresses = append(out.Addresses, in.IP+in.Hostname)
		}
		byName[svc.Namespace+"/"+svc.Name] = len(s.Services)
		s.Services = append(s.Services, out)
	})
	backings := map[string][]backing{}
	list(ctx, c, SourceSlices, opts, unseen, func(slice *api.EndpointSlice) {
		name := slice.Labels[api.LabelServiceName]
		if name == "" {
			return
		}
		for _, p := range slice.Ports {
			if p.Protocol == nil || *p.Protocol != api.ProtocolSCTP || p.Port == nil {
				continue
			}
			for _, e := range slice.Endpoints {
				end := Endpoint{Port: *p.Port, Ready: e.Conditions.Ready == nil || *e.Conditions.Ready}
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
func (s *Snapshot) collectPods(ctx context.Context, c *api.Client, opts Options, agents labels.Selector, endpoints map[string][]backing, unseen func(Source, error)) map[string]*AgentPod {
	byNode := map[string]*AgentPod{}
	seeAgent := func(p *api.Pod) {
		if p.Spec.NodeName == "" || p.DeletionTimestamp != nil || !agents.Matches(labels.Set(p.Labels)) {
			return
		}
		// During a rolling update two may stand on one node.
		if old := byNode[p.Spec.NodeName]; old == nil || !old.Ready {
			byNode[p.Spec.NodeName] = agentPod(p)
		}
	}
	list(ctx, c, SourcePods, opts, unseen, func(p *api.Pod) {
		seeAgent(p)
		if found := pod(p, endpoints); found != nil {
			s.Pods = append(s.Pods, *found)
		}
	})
	if len(opts.Namespaces) > 0 {
		// The agent lives in a namespace of its own.
		err := api.List(ctx, c, resource(SourcePods), api.ListOptions{LabelSelector: agents.String()}, seeAgent)
		if err != nil {
			unseen(SourceAgents, fmt.Errorf("the agent's pods: %w", err))
		}
	}
	return byNode
}

func (s *Snapshot) collectPolicies(ctx context.Context, c *api.Client, opts Options, unseen func(Source, error)) {
	list(ctx, c, SourcePolicies, opts, unseen, func(p *api.NetworkPolicy) {
		for _, r := range p.Spec.Ingress {
			if namesSCTP(r.Ports) {
				s.Policies = append(s.Policies, Policy{p.Namespace, p.Name, p.Spec})
				return
			}
		}
		for _, r := range p.Spec.Egress {
			if namesSCTP(r.Ports) {
				s.Policies = append(s.Policies, Policy{p.Namespace, p.Name, p.Spec})
				return
			}
		}
	})
}

func namesSCTP(ports []api.NetworkPolicyPort) bool {
	return slices.ContainsFunc(ports, isSCTP)
}

func isSCTP(p api.NetworkPolicyPort) bool {
	return p.Protocol != nil && *p.Protocol == api.ProtocolSCTP
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
func (s *Snapshot) collectPools(ctx context.Context, c *api.Client, unseen func(Source, error)) {
	err := api.List(ctx, c, resource(SourcePools), api.ListOptions{}, func(p *machineConfigPool) {
		out := Pool{
			Name:    p.Metadata.Name,
			Current: Rendered{Name: p.Status.Configuration.Name}, Target: Rendered{Name: p.Spec.Configuration.Name},
			Machines: p.Status.MachineCount, Updated: p.Status.UpdatedMachineCount,
			Paused: p.Spec.Paused,
		}
		for _, condition := range p.Status.Conditions {
			if condition.Type == "Degraded" && condition.Status == string(api.ConditionTrue) {
				out.Degraded, out.Trouble = true, condition.Message
			}
		}
		s.Pools = append(s.Pools, out)
	})
	if api.IsNotFound(err) {
		return
	}
	if api.IsForbidden(err) {
		if served, e := c.Serves(ctx, machineconfig.APIVersion); e == nil && !served {
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
			effect, err := judgeRendered(ctx, c, p.Name, r.Name)
			if err != nil {
				unseen(SourceConfigs, err)
				continue
			}
			r.Effect = effect
		}
	}
}

// judgeRendered says what a rendered configuration, which holds everything that
// its pool's nodes get, does for SCTP.
func judgeRendered(ctx context.Context, c *api.Client, pool, name string) (*machineconfig.Effect, error) {
	var object struct {
		Spec struct {
			Config          json.RawMessage `json:"config"`
			KernelArguments []string        `json:"kernelArguments"`
		} `json:"spec"`
	}
	if err := c.Get(ctx, resource(SourceConfigs), "", name, &object); err != nil {
		return nil, err
	}
	config, err := machineconfig.DecodeConfig(object.Spec.Config)
	if err != nil {
		return nil, fmt.Errorf("decode machineconfigs/%s: %w", name, err)
	}
	config.Name, config.Role = name, pool
	config.KernelArguments = append(config.KernelArguments, object.Spec.KernelArguments...)
	effect, err := machineconfig.Judge(ctx, machineconfig.Pool{Role: pool, Configs: []machineconfig.Config{config}}, machineconfig.Host{})
	if err != nil {
		return nil, fmt.Errorf("judge machineconfigs/%s: %w", name, err)
	}
	return &effect, nil
}
