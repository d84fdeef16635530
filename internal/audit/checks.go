package audit

import (
	"cmp"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// view is a snapshot with what the checks look up in it.
type view struct {
	*Snapshot
	nodes map[string]*Node
	// readyIn counts a pool's nodes by what is known of SCTP on them.
	readyIn map[string]map[kmod.Answer]int
	// required are the selectors of Require.
	required []labels.Selector
}

func newView(s *Snapshot) *view {
	intent := Intent{Require: s.Require}
	required, _ := intent.selectors() // checked where they were given
	v := &view{Snapshot: s, required: required, nodes: map[string]*Node{}, readyIn: map[string]map[kmod.Answer]int{}}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		n.hosted = !s.unseen(SourcePools) && len(s.Pools) == 0 && n.Report != nil && n.Report.Host.Platform == "openshift"
		v.nodes[n.Name] = n
		if v.readyIn[n.Pool] == nil {
			v.readyIn[n.Pool] = map[kmod.Answer]int{}
		}
		v.readyIn[n.Pool][n.SCTP()]++
	}
	return v
}

// checks are all kinds of findings, the most urgent first.
func checks() []check {
	return []check{
		{
			kind: PodOnUnreadyNode, severity: Critical,
			title: "Pods that use SCTP on nodes that do not have it",
			fix:   `enable SCTP on the node, or move the pod: nodeSelector {sctp-agent/ready: "true"}`,
			needs: []Source{SourcePods},
			find:  func(v *view, found report) { v.podsOn(kmod.AnswerFalse, found) },
		},
		{
			kind: RequiredNodeNotReady, severity: Critical,
			title: "Nodes that must have SCTP and do not",
			fix:   "enable SCTP on the node, or correct what is required (--require, --intent)",
			find:  requiredNodes,
		},
		{
			kind: PodWaitsForSCTP, severity: Critical,
			title: "Pods that use SCTP and wait for a node",
			fix:   "enable SCTP on nodes that the pods may use, or check the scheduler's other requirements",
			needs: []Source{SourcePods},
			find:  podsThatWait,
		},
		{
			kind: EndpointOnUnreadyNode, severity: Critical,
			title: "Services that send SCTP to nodes that do not have it",
			fix:   "enable SCTP on the node, or move the Service's pods",
			needs: []Source{SourceServices, SourceSlices},
			find:  endpointsOnUnreadyNodes,
		},
		{
			kind: ReportOlderThanBoot, severity: Critical,
			title: "Reports from before the node's last boot",
			fix:   "find out why the agent has not reported since: read its pod's log on this node",
			find: eachNode(func(n *Node, found nodeReport) {
				if n.Stale() {
					found("", fmt.Sprintf("the node was rebooted after its report: its labels (ready=%s) do not apply to this boot", cmp.Or(n.Ready, "(absent)")),
						"report.kernel.bootID "+n.Report.Kernel.BootID, "status.nodeInfo.bootID "+n.BootID)
				}
			}),
		},
		{
			kind: LabelContradictsReport, severity: Critical,
			title: "Labels that contradict the report",
			fix:   "find who writes the label: kubectl get node --show-managed-fields; a running agent restores it",
			find:  eachNode(labelContradictions),
		},
		{
			kind: PoolUndoesSCTP, severity: Critical,
			title: "Machine config pools that are about to lose SCTP",
			fix:   "add the MachineConfig that enables SCTP (kubectl sctp machineconfig), or pause the pool until it is there",
			needs: []Source{SourcePools, SourceConfigs},
			find:  poolsThatUndo,
		},
		{
			kind: ReportOfAnotherNode, severity: Critical,
			title: "Reports that name another node",
			fix:   "see the agent's --node-name on this node: the DaemonSet takes it from spec.nodeName",
			find: eachNode(func(n *Node, found nodeReport) {
				if n.Report != nil && n.Report.Node != "" && n.Report.Node != n.Name {
					found("", "the report is of another node, and so may be the labels", "report.node "+n.Report.Node)
				}
			}),
		},
		{
			kind: ServicePortNotServed, severity: Critical,
			title: "Services whose SCTP ports the network cannot serve",
			fix:   "see the limits of the cluster's network",
			needs: []Source{SourceServices, SourceSlices, SourceNetwork},
			all:   []Source{SourceNetwork},
			find:  unserved,
		},
		{
			kind: LoadBalancerRefusesSCTP, severity: Critical,
			title: "Load balancers that refuse SCTP ports",
			fix:   "ask for a load balancer that supports SCTP, or give the SCTP ports a Service of their own",
			needs: []Source{SourceServices},
			find: func(v *view, found report) {
				for _, s := range v.Services {
					if len(s.Refused) > 0 {
						found(Finding{
							Object: s.object(), Evidence: s.Refused,
							Message: "the load balancer does not take its SCTP ports",
						})
					}
				}
			},
		},
		{
			kind: NodeUnreachableBySCTP, severity: Critical,
			title: "Nodes that others do not reach by SCTP, by the mesh",
			fix:   "see what the mesh sees: kubectl sctp mesh",
			needs: []Source{SourceMesh},
			find:  func(v *view, found report) { v.meshFindings(NodeUnreachableBySCTP, found) },
		},
		{
			kind: PathBroken, severity: Critical,
			title: "Paths between nodes on which SCTP fails, by the mesh",
			fix:   "see what the mesh sees: kubectl sctp mesh",
			needs: []Source{SourceMesh},
			find:  func(v *view, found report) { v.meshFindings(PathBroken, found) },
		},
		{
			kind: NodeLosesSCTPAtReboot, severity: Warning,
			title: "Nodes that lose SCTP at the next reboot",
			fix:   "ask for the module at boot: kubectl sctp machineconfig, or \"sctp-agent check\" on the node for its remedy",
			find: eachNode(func(n *Node, found nodeReport) {
				if n.SCTP() == kmod.AnswerTrue && n.OnBoot == string(verdict.OnBootBlocked) {
					found(n.remedy(), "SCTP works now, and the next boot will not bring it", append(n.warning(verdict.ReasonWillNotSurviveReboot), "label on-boot=blocked")...)
				}
			}),
		},
		{
			kind: NodeNotReadyInPool, severity: Warning,
			title: "Nodes without SCTP in pools where others have it",
			fix:   "configure the node like the others of its pool",
			find: func(v *view, found report) {
				eachNode(func(n *Node, found nodeReport) {
					// A label that contradicts its report is another finding.
					contradicted := n.Report != nil && !n.Stale() && n.Report.Ready == kmod.AnswerTrue
					if n.SCTP() == kmod.AnswerFalse && !contradicted && v.readyIn[n.Pool][kmod.AnswerTrue] > 0 {
						found(n.remedy(), fmt.Sprintf("no SCTP, while others of pool %s have it (%s)", cmp.Or(n.Pool, "(none)"), cluster.Count(v.readyIn[n.Pool][kmod.AnswerTrue], "node")), n.why())
					}
				})(v, found)
			},
		},
		{
			kind: PodOnUnprovedNode, severity: Warning,
			title: "Pods that use SCTP on nodes that have not proved it",
			fix:   "run the agent on the node until it reports a verdict",
			needs: []Source{SourcePods},
			find:  func(v *view, found report) { v.podsOn(kmod.AnswerUnknown, found) },
		},
		{
			kind: PoolStuck, severity: Warning,
			title: "Machine config pools in which enabling SCTP is stuck",
			fix:   "fix what degrades the pool (oc describe mcp), or unpause it",
			needs: []Source{SourcePools, SourceConfigs},
			find: eachPool(func(p Pool, found poolReport) {
				if p.gets() && (p.Paused || p.Degraded) {
					how := "paused"
					if p.Degraded {
						how = "degraded"
					}
					evidence := []string{p.progress()}
					if p.Trouble != "" {
						evidence = append(evidence, p.Trouble)
					}
					found("its target enables SCTP, and the pool is "+how, evidence...)
				}
			}),
		},
		{
			kind: NodeUnproved, severity: Warning,
			title: "Nodes on which the agent could not conclude",
			fix:   "give the agent the right or the resource in the message",
			find: eachNode(func(n *Node, found nodeReport) {
				if n.updated() && n.Agent.Ready && n.Ready+string(n.Reason) == "" && n.Report == nil && n.ReportError == nil {
					found("read the log of the agent's pod; where agents have another --prefix, give that one", "its agent is ready, and has reported nothing with this prefix")
				}
				if !n.Stale() && n.Reason != "" && n.Reason.Ready() == kmod.AnswerUnknown {
					found(n.remedy(), fmt.Sprintf("the agent could not conclude: %s", n.Reason), n.why())
				}
			}),
		},
		{
			kind: ReportUnreadable, severity: Warning,
			title: "Reports that cannot be read",
			fix:   "a running agent writes it again; check that its version matches this program's",
			find: eachNode(func(n *Node, found nodeReport) {
				if n.ReportError != nil {
					found("", "the report annotation is no report", n.ReportError.Error())
				}
			}),
		},
		{
			kind: ReadyWithoutAgent, severity: Warning,
			title: "Nodes whose labels no agent updates",
			fix:   "run an agent on the node, or remove the label: kubectl sctp cleanup",
			needs: []Source{SourcePods, SourceAgents},
			all:   []Source{SourcePods},
			find: eachNode(func(n *Node, found nodeReport) {
				if !n.updated() && n.Ready == string(kmod.AnswerTrue) {
					found("", "no agent's pod on the node updates its labels", append(n.prefixOf(), "label ready=true")...)
				}
			}),
		},
		{
			kind: ConditionStale, severity: Warning,
			title: "Conditions that no agent renews",
			fix:   "run an agent with --condition on the node, or remove the condition: kubectl sctp cleanup",
			needs: []Source{SourcePods, SourceAgents},
			all:   []Source{SourcePods},
			find:  staleConditions,
		},
		{
			kind: PolicyConfinesNobody, severity: Warning,
			title: "Agents that no admission policy confines",
			fix:   "install the policy for the agent's namespace and account: kubectl get validatingadmissionpolicy sctp-agent -o yaml, under matchConditions",
			find: eachNode(func(n *Node, found nodeReport) {
				if w := n.warning(verdict.ReasonPolicyConfinesNobody); w != nil {
					found("", "the API server allows the agent to write keys that are not its own", w...)
				}
			}),
		},
		{
			kind: KubeletNotReady, severity: Warning,
			title: "Nodes that Kubernetes does not reach",
			fix:   "see the node's conditions: kubectl describe node",
			find: eachNode(func(n *Node, found nodeReport) {
				if n.Down != "" {
					found("", "the node is NotReady: its labels may be out of date", n.Down)
				}
			}),
		},
		{
			kind: NodeWithoutAgent, severity: Warning,
			title: "Nodes without an agent",
			fix:   "see the DaemonSet's nodeSelector and tolerations, and the node's taints",
			needs: []Source{SourcePods, SourceAgents},
			all:   []Source{SourcePods},
			find: func(v *view, found report) {
				fix := ""
				if !slices.ContainsFunc(v.Nodes, func(n Node) bool { return n.Agent != nil || n.Report != nil }) {
					fix = "install the agent (docs/install.md), or give the labels of its pods (--agent-selector)"
				}
				eachNode(func(n *Node, found nodeReport) {
					selected := len(v.Agents) == 0 || slices.ContainsFunc(v.Agents, func(t NodeTerm) bool { return t.fits(n) })
					if !n.updated() && selected && !n.Foreign && n.Ready != string(kmod.AnswerTrue) {
						fix, what := fix, "no agent's pod on the node"
						if n.Agent != nil {
							fix, what = "audit with the agents' --prefix", "the agent's pod on the node writes other keys"
						}
						said := "it never reported"
						if n.Ready != "" || n.Report != nil {
							said = "its labels are not updated"
						}
						found(fix, what+"; "+said, append(n.prefixOf(), "label ready="+cmp.Or(n.Ready, "(absent)"))...)
					}
				})(v, found)
			},
		},
		{
			kind: AgentNotReady, severity: Warning,
			title: "Agents that are not ready",
			fix:   "see the pod's log and events",
			needs: []Source{SourcePods, SourceAgents},
			find: eachNode(func(n *Node, found nodeReport) {
				if n.Agent != nil && !n.Agent.Ready {
					found("", "the agent's pod is not ready", fmt.Sprintf("pod %s/%s: %s", n.Agent.Namespace, n.Agent.Name, n.Agent.Trouble))
				}
			}),
		},
		{
			kind: ServiceUnsuitable, severity: Warning,
			title: "Services of a kind that does not carry SCTP, or not everywhere",
			fix:   "use ClusterIP or NodePort, or make sure that the load balancer supports SCTP",
			needs: []Source{SourceServices},
			find:  unsuitableServices,
		},
		{
			kind: ServiceWithoutEndpoints, severity: Warning,
			title: "Services without a ready endpoint",
			fix:   "check that its selector matches pods, and that they are ready",
			needs: []Source{SourceServices, SourceSlices},
			all:   []Source{SourceSlices},
			find:  servicesWithoutEndpoints,
		},
		{
			kind: AgentVersionSkew, severity: Info,
			title: "Agents of another version than most",
			fix:   "wait for the roll-out, or find out why it is stuck: kubectl rollout status",
			needs: []Source{SourcePods, SourceAgents},
			find:  versionSkew,
		},
		{
			kind: PolicyPortUnused, severity: Info,
			title: "NetworkPolicies that name SCTP ports no pod declares",
			fix:   "correct the port or its protocol, or declare the pods' containerPort (protocol: SCTP)",
			needs: []Source{SourcePolicies, SourcePods, SourceSlices},
			all:   []Source{SourcePods, SourceSlices},
			find:  unusedPolicyPorts,
		},
		{
			kind: PoolProgressing, severity: Info,
			title: "Machine config pools that are getting SCTP",
			fix:   "wait: the machine-config-operator reboots the nodes one after another",
			needs: []Source{SourcePools, SourceConfigs},
			find: eachPool(func(p Pool, found poolReport) {
				if p.gets() && !p.Paused && !p.Degraded {
					found("its target enables SCTP", p.progress())
				}
			}),
		},
		{
			kind: SCTPUnused, severity: Info,
			title: "Nodes that have SCTP and no workload that declares it",
			fix:   "if nobody needs SCTP, do not load the module, to reduce the attack surface",
			needs: []Source{SourcePods, SourceServices, SourceSlices, SourcePolicies},
			all:   []Source{SourcePods, SourceServices, SourcePolicies},
			find: func(v *view, found report) {
				if v.Narrowed || len(v.Pods)+len(v.Services)+len(v.Policies) > 0 {
					return
				}
				eachNode(func(n *Node, found nodeReport) {
					if r := n.Report; r != nil && !n.Stale() && r.Module.State == kmod.StateLoaded {
						found("", "the module is loaded, and no pod, Service or NetworkPolicy of the cluster declares SCTP (clients, and pods on other networks, need not)")
					}
				})(v, found)
			},
		},
	}
}

type (
	nodeReport func(fix, message string, evidence ...string)
	poolReport func(message string, evidence ...string)
)

// eachNode examines the nodes one by one. Nodes of one pool with the same cause and
// the same fix are one finding.
func eachNode(f func(*Node, nodeReport)) func(*view, report) {
	type key struct{ pool, cause, fix, message string }
	type seen struct {
		node     string
		evidence []string
	}
	return func(v *view, found report) {
		var groups cluster.Groups[key, seen]
		for i := range v.Nodes {
			n := &v.Nodes[i]
			f(n, func(fix, message string, evidence ...string) {
				groups.Add(key{n.Pool, n.row().cause(), fix, message}, seen{n.Name, evidence})
			})
		}
		for k, nodes := range groups.All() {
			out := Finding{
				Object: Object{Kind: "Node", Name: nodes[0].node}, Pool: k.pool, Count: len(nodes),
				Fix: k.fix, Message: k.message, Evidence: nodes[0].evidence,
			}
			for i, n := range nodes {
				if len(nodes) > 1 {
					out.Members = append(out.Members, n.node)
				}
				for _, e := range n.evidence {
					if i > 0 && len(out.Evidence) < mostEvidence && !slices.Contains(out.Evidence, e) {
						out.Evidence = append(out.Evidence, e)
					}
				}
			}
			found(out)
		}
	}
}

// mostEvidence bounds what a finding about several objects shows of each.
const mostEvidence = 8
