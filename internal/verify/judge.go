package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
)

// Kinds of findings. The values are public API.
const (
	FindingModuleMissing  = "ModuleMissing"
	FindingDropped        = "SCTPDropped"
	FindingOneWay         = "SCTPDroppedOneWay"
	FindingNetworkDown    = "NetworkDown"
	FindingNoRoute        = "NoRoute"
	FindingRefused        = "Refused"
	FindingMessagesLost   = "MessagesLost"
	FindingServices       = "ServicesNotServed"
	FindingNodePorts      = "NodePortsNotServed"
	FindingTargetPort     = "ServiceWrongPort"
	FindingNotEnforced    = "PolicyNotEnforced"
	FindingPolicyBlocks   = "PolicyBlocksAllowed"
	FindingUndecided      = "Undecided"
	FindingServiceBroken  = "ServiceBroken"
	FindingNodePortBroken = "NodePortBroken"
	FindingLoadBalancer   = "LoadBalancerBroken"
	FindingPathDown       = "NetworkPathDown"
	FindingFailoverStale  = "FailoverStale"
	FindingFailoverSlow   = "FailoverSlow"
	FindingFailoverFailed = "FailoverFailed"
)

// judge explains what failed. A path through a Service is reported only where the
// same two pods reach each other without it: else they have the cause. late is the
// step for which there was no time, if any.
func judge(r *Result, ports map[string][]int32, late step) []Finding {
	j := &judgement{r: r, late: late, out: []Finding{}, podOK: r.reached(PathPod)}
	j.nodes()
	j.pods()
	j.services(j.wrongPorts(ports))
	j.untold()
	j.loadBalancer()
	j.policy()
	j.failover()
	j.network()
	j.time()
	return j.out
}

type judgement struct {
	r    *Result
	late step
	out  []Finding
	// podOK are the pairs (and families) that work without a Service.
	podOK connected
}

func (j *judgement) add(kind, fix, message string, evidence ...string) {
	if evidence == nil {
		evidence = []string{}
	}
	j.out = append(j.out, Finding{Kind: kind, Message: message, Evidence: evidence, Fix: fix})
}

// nodes adds findings about nodes that were not tried, one for each cause.
func (j *judgement) nodes() {
	var groups cluster.Groups[nodeTrouble, *Node]
	for i := range j.r.Nodes {
		if n := &j.r.Nodes[i]; n.Fault != "" {
			groups.Add(troubleOf(n), n)
		}
	}
	for trouble, nodes := range groups.All() {
		message := fmt.Sprintf("node %s %s", nodes[0].Name, trouble.one)
		if len(nodes) > 1 {
			message = fmt.Sprintf("%d nodes %s", len(nodes), trouble.many)
		}
		j.add(trouble.kind, trouble.fix, message, details(nodes)...)
	}
}

// nodeTrouble is what nodes lack; one and many are the words for one node and
// for several.
type nodeTrouble struct{ kind, one, many, fix string }

func troubleOf(n *Node) nodeTrouble {
	switch n.Fault {
	case wire.ModuleMissing:
		return nodeTrouble{
			FindingModuleMissing, "has no SCTP in its kernel; its paths were not tried", "have no SCTP in their kernels; their paths were not tried",
			"see \"sctp-agent check\" on the node, or its Node's annotations, for the remedy",
		}
	case wire.Denied:
		return nodeTrouble{
			FindingUndecided, "refuses SCTP sockets to pods by a security policy", "refuse SCTP sockets to pods by a security policy",
			"allow pods to open SCTP sockets: seccomp profile, SELinux (class sctp_socket)",
		}
	}
	fix := "see the pod's events; --image names an image the node can get"
	// kubelet's reasons, pkg/kubelet/images/types.go.
	if strings.Contains(n.Detail, "ErrImagePull") || strings.Contains(n.Detail, "ImagePullBackOff") {
		fix += ", --image-pull-secret NAMESPACE/NAME the secret that its registry asks for"
	}
	return nodeTrouble{FindingUndecided, "was not tested", "were not tested", fix}
}

// most is how many names a finding lists.
const most = 10

// details are what the nodes' pods left, each text once; of several nodes with
// those that have it.
func details(nodes []*Node) (out []string) {
	if len(nodes) == 1 {
		return []string{nodes[0].Detail}
	}
	var names cluster.Groups[string, string]
	for _, n := range nodes {
		names.Add(n.Detail, n.Name)
	}
	for detail, list := range names.All() {
		out = append(out, cluster.FirstNames(list, most)+": "+detail)
	}
	return out
}

// podFinding is the finding about pods that fail to reach each other in this way.
func podFinding(o wire.Outcome) (kind, message, fix string) {
	switch o {
	case wire.Dropped:
		return FindingDropped, "SCTP packets are dropped on the way (TCP passes)",
			"look for a firewall, security group or network policy that lets TCP through and not IP protocol 132"
	case wire.OneWay:
		return FindingOneWay, "SCTP packets arrive, and the answers are dropped (TCP passes)",
			"check the way back: a stateful firewall or NAT that does not support SCTP, or an asymmetric route"
	case wire.NetworkDown:
		return FindingNetworkDown, "neither SCTP nor TCP arrives",
			"it is the pod network between these nodes, not SCTP: routes, tunnel, CNI plugin"
	case wire.NoRoute:
		return FindingNoRoute, "there is no route, or a firewall rejects it",
			"see the routes to the pod network on the node, and rules that reject with ICMP"
	case wire.Refused:
		return FindingRefused, "the packets are refused although a listener is there",
			"look for a rule that rejects SCTP (an ABORT or ICMP answers in the listener's place)"
	case wire.Lost, wire.Corrupt:
		return FindingMessagesLost, "the handshake succeeds, and messages do not come through",
			"compare the MTU of the pod network with that of the way; look at checksum offload (ethtool -K … tx-checksum-sctp off)"
	default:
		return FindingUndecided, "the cause is unknown", "see the errors"
	}
}

func (j *judgement) pods() {
	// silence: what becomes of the packets was not found out.
	type group struct {
		outcome wire.Outcome
		silence bool
	}
	var groups cluster.Groups[group, *Path]
	for i := range j.r.Paths {
		p := &j.r.Paths[i]
		if p.Kind != PathPod || p.Outcome == wire.OK {
			continue
		}
		g := group{p.Outcome, p.Outcome == wire.Dropped && (p.unasked || j.late == stepPaths || j.late == stepDiagnose)}
		if g.outcome == wire.Corrupt {
			g.outcome = wire.Lost
		}
		groups.Add(g, p)
	}
	causes := newCauses(j.r, PathPod)
	for g, paths := range groups.All() {
		kind, message, fix := podFinding(g.outcome)
		if g.silence {
			message, fix = "SCTP gets no answer; where its packets are lost, and whether TCP passes, is not known", longer
			if j.late == "" {
				fix = "fix what the other findings name, and try again: many paths fail, and not each was looked into"
			}
		}
		j.add(kind, fix, message, causes.rows(paths)...)
	}
}

// text is a failed path as people read it.
func (p *Path) text() string {
	s := fmt.Sprintf("%s → %s, %s", p.From, p.To, p.Family)
	if p.Via != "" && p.Via != p.To {
		s = fmt.Sprintf("%s → %s through node %s, %s", p.From, p.To, p.Via, p.Family)
	}
	outcome := string(p.Outcome)
	if p.Outcome == wire.OK {
		outcome = "reached" // evidence only where it is not to be
	}
	s += fmt.Sprintf(" (%s): %s", p.Address, outcome)
	if p.FailedSize > 0 {
		s += fmt.Sprintf(", a message of %d bytes", p.FailedSize)
	}
	if p.Errno != "" && p.Errno != "ETIMEDOUT" {
		s += ", " + p.Errno
	}
	return s
}

// wrongPorts adds findings about Services that send to a port on which nobody
// listens, and returns their nodes. ports are the endpoints' ports by node, as the
// API server has them.
func (j *judgement) wrongPorts(ports map[string][]int32) (wrong map[string]bool) {
	wrong = map[string]bool{}
	for _, n := range j.r.Nodes {
		for _, port := range ports[n.Name] {
			if port != EchoPort && !wrong[n.Name] {
				wrong[n.Name] = true
				j.add(FindingTargetPort, "correct the Service's targetPort",
					fmt.Sprintf("the Service for node %s sends to port %d, on which nobody listens", n.Name, port),
					append([]string{fmt.Sprintf("its endpoints have port %d, the listener has %d", port, EchoPort)}, j.failedThrough(n.Name)...)...)
			}
		}
	}
	return wrong
}

// services distinguishes nodes that do not serve Services at all from single paths
// that fail. Services with a wrong port, by their nodes, are explained already.
func (j *judgement) services(wrong map[string]bool) {
	for _, c := range []struct {
		kind  PathKind
		where func(Path) string
		all   string // finding where a node serves none
		one   string // finding where single paths fail
		what  string
	}{
		{PathClusterIP, func(p Path) string { return p.From }, FindingServices, FindingServiceBroken, "cluster addresses of Services"},
		{PathNodePort, func(p Path) string { return p.Via }, FindingNodePorts, FindingNodePortBroken, "node ports"},
	} {
		var bad cluster.Groups[string, *Path]
		good := map[string]int{}
		for i := range j.r.Paths {
			p := &j.r.Paths[i]
			if p.Kind != c.kind || wrong[p.To] || !p.Outcome.Conclusive() {
				continue
			}
			where := c.where(*p)
			if p.Outcome == wire.OK {
				good[where]++
				continue
			}
			if !j.podOK[p.ends()] || p.Via != "" && p.Via != p.To && !j.podOK[[3]string{p.Via, p.To, p.Family}] {
				continue
			}
			bad.Add(where, p)
		}
		var none []string
		var all, single []*Path
		for node, paths := range bad.All() {
			if good[node] > 0 {
				single = append(single, paths...)
				continue
			}
			none = append(none, node)
			all = append(all, paths...)
		}
		causes := newCauses(j.r, c.kind)
		if len(none) > 0 {
			message := fmt.Sprintf("node %s does not serve %s; the pods behind them are reached directly", none[0], c.what)
			evidence := causes.rows(all)
			if len(none) > 1 {
				message = fmt.Sprintf("%d nodes do not serve %s; the pods behind them are reached directly", len(none), c.what)
				evidence = append([]string{"nodes " + cluster.FirstNames(none, most)}, evidence...)
			}
			j.add(c.all, "check kube-proxy (or its replacement) on the node: is it running, does it support SCTP?", message, evidence...)
		}
		if len(single) > 0 {
			j.add(c.one, "check the rules for these Services on the nodes named (kube-proxy or its replacement), and the network between the nodes",
				fmt.Sprintf("some %s fail where the pods behind them are reached directly", c.what), causes.rows(single)...)
		}
	}
}

// untold adds a finding about paths through Services of which nothing is known
// although everything that they depend on works: else they would seem to be
// explained.
func (j *judgement) untold() {
	var untried, unknown []string
	for _, kind := range []PathKind{PathClusterIP, PathNodePort, PathLoadBalancer} {
		passable := func(want func(wire.Outcome) bool) []string {
			return j.rows(kind, func(p *Path) bool { return want(p.Outcome) && p.passable(j.podOK) })
		}
		untried = append(untried, passable(func(o wire.Outcome) bool { return o == wire.NotTried })...)
		unknown = append(unknown, passable(func(o wire.Outcome) bool { return o != wire.NotTried && !o.Conclusive() })...)
	}
	if len(untried) > 0 {
		j.add(FindingUndecided, "try again", "the direct paths that these depend on failed at first, and worked later; these were not tried again", untried...)
	}
	if len(unknown) > 0 {
		j.add(FindingUndecided, longer, "these paths through Services were not tested", unknown...)
	}
}

// rows are those of the paths of a kind that are wanted.
func (j *judgement) rows(kind PathKind, want func(*Path) bool) []string {
	var list []*Path
	for i := range j.r.Paths {
		if p := &j.r.Paths[i]; p.Kind == kind && want(p) {
			list = append(list, p)
		}
	}
	return newCauses(j.r, kind).rows(list)
}

// longer is the remedy where time ran out.
const longer = "try again, with a longer --timeout"

// time adds a finding about what there was no time for.
func (j *judgement) time() {
	switch j.late {
	case "":
	case stepEndpoints:
		j.add(FindingUndecided, "try again: the API server gave no answer", "there was no time for "+string(j.late))
	default:
		j.add(FindingUndecided, longer, "time ran out while "+string(j.late)+"; the findings are of what was known by then")
	}
}

// interrupted reports whether time ran out in one of the trials.
func (j *judgement) interrupted() bool { return j.late != "" && j.late != stepEndpoints }

// passable reports whether the paths work that this one needs: from the same pod
// straight to its target, and to the node that it goes through.
func (p *Path) passable(podOK connected) bool {
	return podOK[p.ends()] && (p.Via == "" || podOK[[3]string{p.From, p.Via, p.Family}])
}

// failedThrough are the paths that fail through the Service of a node.
func (j *judgement) failedThrough(node string) (out []string) {
	for _, kind := range []PathKind{PathClusterIP, PathNodePort} {
		out = append(out, j.rows(kind, func(p *Path) bool {
			return p.To == node && p.Outcome != wire.OK && p.Outcome != wire.NotTried
		})...)
	}
	return out
}

// Values of [Result.Policy].
const (
	policyUnknown  = "unknown"
	policyEnforced = "enforced"
	policyOpen     = "not-enforced"
	policyPartly   = "partly-enforced"
)

// policy reports whether the NetworkPolicy was enforced. Only paths count that
// worked before there was one. An echo from a port that is not allowed proves that
// nothing is enforced there; failures while the allowed port of the same pod works
// prove that something is. Where neither was seen, there is no answer: what is
// unclear on one path is not decided by the others.
func (j *judgement) policy() {
	if j.r.Policy == "" {
		return
	}
	j.r.Policy = policyUnknown
	before, allowed := j.r.reached(PathBefore), j.r.reached(PathAllowed)
	var open, shut, unclear, refused []*Path
	for i := range j.r.Paths {
		switch p := &j.r.Paths[i]; {
		case !before[p.ends()]:
		case p.Kind == PathAllowed && p.Outcome.Conclusive() && p.Outcome != wire.OK:
			refused = append(refused, p)
		case p.Kind != PathDenied:
		case p.Outcome == wire.OK:
			open = append(open, p)
		case p.Outcome == wire.Blocked && allowed[p.ends()]:
			shut = append(shut, p)
		default:
			unclear = append(unclear, p)
		}
	}
	denied := newCauses(j.r, PathDenied)
	const wanted = "use a network plugin that enforces NetworkPolicy for SCTP; without one, policies have no effect"
	switch {
	case len(open) > 0 && len(shut) > 0:
		j.r.Policy = policyPartly
		j.add(FindingNotEnforced, "see whether the network plugin runs on all nodes, and whether it supports SCTP over both address families",
			"a NetworkPolicy is enforced on some paths and not on others", denied.rows(append(open, shut...))...)
	case len(open) > 0:
		j.r.Policy = policyOpen
		j.add(FindingNotEnforced, wanted, "a NetworkPolicy that does not allow a port is not enforced", denied.rows(open)...)
	case len(shut) > 0 && len(unclear) == 0:
		j.r.Policy = policyEnforced
	case j.interrupted(): // that is why
	case len(shut)+len(unclear) == 0:
		j.add(FindingUndecided, "fix the paths first", "whether NetworkPolicy is enforced is unknown: no path worked before it was created")
	case len(refused) == 0: // else that is why
		j.add(FindingUndecided, "try again: the network, or a node, was overloaded",
			"whether NetworkPolicy is enforced is unknown on some paths: the port that it allows failed at times, too", denied.rows(append(unclear, shut...))...)
	}
	if len(refused) > 0 {
		j.add(FindingPolicyBlocks, "see whether the network plugin works on these nodes (it may be overloaded or restarting), then how it treats SCTP in NetworkPolicies", "a NetworkPolicy blocks an SCTP port that it allows", newCauses(j.r, PathAllowed).rows(refused)...)
	}
}

// loadBalancer adds findings about a load balancer without an address, and about
// paths that fail through it while its target is reached directly.
func (j *judgement) loadBalancer() {
	lb := j.r.LoadBalancer
	if lb == nil {
		return
	}
	if failed := j.rows(PathLoadBalancer, func(p *Path) bool { return p.Outcome != wire.OK && p.Outcome.Conclusive() }); len(failed) > 0 {
		j.add(FindingLoadBalancer, "see whether the load balancer forwards SCTP, its health check, and the rules for its address on the client's node (kube-proxy or its replacement)",
			"a load balancer's address fails where the pod behind it is reached directly", failed...)
	}
	switch {
	case j.interrupted() && len(lb.Addresses) == 0: // that is why
	case lb.To == "":
		j.add(FindingUndecided, "fix the paths first", "no load balancer was tried: no node reaches the pod of another")
	case len(lb.Addresses) == 0:
		j.add(FindingUndecided, "see the events of Services of type LoadBalancer; \"kubectl sctp audit\" lists those whose load balancer refuses SCTP",
			"a Service of type LoadBalancer got no address", lb.Detail)
	}
}

// failover reports whether a client that keeps its port is served again when its
// endpoint is deleted. Where other ports are served and this one is not, the cause
// is connection tracking.
func (j *judgement) failover() {
	if j.r.Failovers == nil {
		return
	}
	var stale, slow, failed, unclear []string
	for _, f := range j.r.Failovers {
		switch {
		case f.Outcome == wire.OK && f.Seconds <= FailoverBound.Seconds():
		case f.Outcome == wire.OK:
			slow = append(slow, f.String())
		case f.Outcome == wire.NotTried || f.Outcome == wire.Unknown:
			unclear = append(unclear, f.String())
		case f.OtherPortSeconds > 0:
			stale = append(stale, f.String())
		default:
			failed = append(failed, f.String())
		}
	}
	const look = "look on the client's node for entries of the Service's address that lead to the deleted pod (conntrack -L -p sctp, with IPv6 -f ipv6; with IPVS ipvsadm -Lnc)"
	if len(stale) > 0 {
		j.add(FindingFailoverStale, look+", which stay as long as the client tries: delete them (conntrack -D), or let clients take another source port, or pause until they have expired (sysctl net.netfilter.nf_conntrack_sctp_timeout_…); kube-proxy deletes such entries for UDP only",
			"a Service's client that keeps its source port is not served again when its endpoint is deleted; from other ports it is", stale...)
	}
	if len(slow) > 0 {
		j.add(FindingFailoverSlow, "where other ports were served soon, "+look+"; where they were not, see how soon the Service's EndpointSlices and kube-proxy (or its replacement) follow",
			fmt.Sprintf("a Service's client that keeps its source port is served again only after more than %.0f s when its endpoint is deleted", FailoverBound.Seconds()), slow...)
	}
	if len(failed) > 0 {
		j.add(FindingFailoverFailed, "see the Service's EndpointSlices, and the rules of kube-proxy (or its replacement) on the client's node",
			"a Service's client is not served again when its endpoint is deleted, from other source ports neither", failed...)
	}
	switch {
	case j.interrupted(): // that is why
	case len(j.r.Failovers) == 0:
		j.add(FindingUndecided, "fix the paths first", "failover was not tried: there is no node from which pods and Services are reached")
	case len(unclear) > 0:
		j.add(FindingUndecided, "see what it waited for, and try again", "failover was not tested", unclear...)
	}
}

// network adds findings about associations that lack a path in the second network,
// or fail.
func (j *judgement) network() {
	n := j.r.Network
	if n == nil {
		return
	}
	down := j.rows(PathNetwork, func(p *Path) bool { return p.Outcome.Conclusive() && p.Outcome != wire.OK })
	if len(down) > 0 {
		j.add(FindingPathDown, "see whether the network attachment reaches the same segment on both nodes (interface, VLAN, routes), and passes IP protocol 132; an address that is not offered may be out of scope (sysctl net.sctp.addr_scope_policy)",
			fmt.Sprintf("associations between pods that are in the network %s, too, have a path that does not work", n.Name), down...)
	}
	unknown := j.rows(PathNetwork, func(p *Path) bool { return !p.Outcome.Conclusive() })
	switch {
	case j.interrupted(): // that is why
	case len(n.Missing)+len(unknown) > 0:
		j.add(FindingUndecided, "see the events of such pods, and the NetworkAttachmentDefinition", fmt.Sprintf("network %s was not tried everywhere", n.Name), append(n.Missing, unknown...)...)
	case !slices.ContainsFunc(j.r.Paths, func(p Path) bool { return p.Kind == PathNetwork }):
		j.add(FindingUndecided, "fix the paths first", fmt.Sprintf("network %s was not tried: there is no pair of nodes whose pods have addresses of one family in it", n.Name))
	}
}

// ends of a path: what lies between is another matter.
func (p *Path) ends() [3]string { return [3]string{p.From, p.To, p.Family} }

// connected are the ends of paths that work.
type connected map[[3]string]bool

// has reports whether the nodes are connected over the family of an address.
func (c connected) has(from, to *Node, address string) bool {
	return c[[3]string{from.Name, to.Name, family(address)}]
}

// any reports whether the nodes are connected at all.
func (c connected) any(from, to *Node) bool {
	return c[[3]string{from.Name, to.Name, "IPv4"}] || c[[3]string{from.Name, to.Name, "IPv6"}]
}

// reached are the ends that a path of this kind connects.
func (r *Result) reached(kind PathKind) connected {
	out := connected{}
	for _, p := range r.Paths {
		if p.Kind == kind && p.Outcome == wire.OK {
			out[p.ends()] = true
		}
	}
	return out
}

// family of an address.
func family(address string) string {
	if strings.Contains(address, ":") {
		return "IPv6"
	}
	return "IPv4"
}
