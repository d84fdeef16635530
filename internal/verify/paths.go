package verify

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sctp-agent/sctp-agent/internal/mesh/ring"
	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
)

// planned is a path with its client's instructions.
type planned struct {
	Path
	target wire.Target
	// group is of the paths that one client tries: those to, and through, one
	// node, with the direct path that they need.
	group int
}

// newPath is the way to a port of an address, that may take some time to be there.
func newPath(kind PathKind, from, to *Node, address string, port int32, patience time.Duration) planned {
	at := net.JoinHostPort(address, strconv.Itoa(int(port)))
	return planned{
		Path:   Path{Kind: kind, From: from.Name, To: to.Name, Family: family(address), Address: at},
		target: wire.Target{Address: at, Patience: wire.Millis(patience.Milliseconds())},
	}
}

// servicePatience is how long a path through a Service may take to be there.
const servicePatience = 20 * time.Second

// paths are all paths between the nodes that take part.
func (r *run) paths() []planned {
	var out []planned
	all := r.ordered()
	for at, from := range all {
		add := func(kind PathKind, to, via *Node, address string, port int32, patience time.Duration) {
			p := newPath(kind, from, to, address, port, patience)
			if via != nil {
				p.Via = via.Name
			}
			p.group = cmp.Or(via, to).Index
			out = append(out, p)
		}
		peers, vias := all, len(all)
		if r.result.Plan == PlanRing {
			peers, vias = after(all, at), ringVias
		}
		for i, to := range peers {
			for _, a := range to.PodAddresses {
				if !hasFamily(from.PodAddresses, a) {
					continue
				}
				add(PathPod, to, nil, a, EchoPort, 0)
				if r.opts.Policy && to == next(all, from) {
					add(PathBefore, to, nil, a, DeniedPort, 0)
				}
			}
			if s := r.services[to.Index]; s != nil {
				for _, a := range s.Spec.ClusterIPs {
					if hasFamily(to.PodAddresses, a) && hasFamily(from.PodAddresses, a) {
						add(PathClusterIP, to, nil, a, EchoPort, servicePatience)
					}
				}
			}
			if i >= vias {
				continue
			}
			// Each node's port is tried for the pod on it, and for one
			// elsewhere, to which it forwards. A Service has node ports of the
			// families of its cluster addresses.
			ends := []*Node{to}
			if far := r.far(peers, i); far != to {
				ends = append(ends, far)
			}
			for _, a := range to.Addresses {
				for _, end := range ends {
					s := r.services[end.Index]
					if s != nil && hasFamily(s.Spec.ClusterIPs, a) && hasFamily(end.PodAddresses, a) && hasFamily(to.PodAddresses, a) && hasFamily(from.PodAddresses, a) {
						add(PathNodePort, end, to, a, s.Spec.Ports[0].NodePort, servicePatience)
					}
				}
			}
		}
	}
	return out
}

// after are the nodes that the one at an index of the ring tries.
func after(all []*Node, at int) (out []*Node) {
	for i := range ring.Peers {
		out = append(out, all[(at+1+i)%len(all)])
	}
	return out
}

// far is the node with a Service to which the node port of one peer is to
// forward: the next that this peer tries itself, so that what lies between them
// is known.
func (r *run) far(peers []*Node, via int) *Node {
	if r.result.Plan == PlanAllPairs {
		return peers[(via+1)%len(peers)]
	}
	for _, n := range peers[via+1:] {
		if r.services[n.Index] != nil {
			return n
		}
	}
	return nil // not for one of the first ringVias
}

// next is the node after another, in a ring; a node alone is its own.
func next(all []*Node, n *Node) *Node {
	i := slices.Index(all, n)
	return all[(i+1)%len(all)]
}

func hasFamily(addresses []string, like string) bool {
	return slices.ContainsFunc(addresses, func(a string) bool { return family(a) == family(like) })
}

// jobs divides the paths from one node among clients, groups whole, and sets what
// each path needs: the direct paths to the nodes that it goes to and through, if
// the same client tries them.
func jobs(paths []planned, ids []int) (out [][]int) {
	for start := 0; start < len(ids); {
		end := start
		for end < len(ids) && paths[ids[end]].group == paths[ids[start]].group {
			end++
		}
		if last := len(out) - 1; last >= 0 && len(out[last])+end-start <= wire.MaxTargets {
			out[last] = append(out[last], ids[start:end]...)
		} else {
			// No group is that large, unless a node has dozens of addresses.
			for part := range slices.Chunk(ids[start:end], wire.MaxTargets) {
				out = append(out, slices.Clone(part))
			}
		}
		start = end
	}
	for _, job := range out {
		direct := map[[2]string]int{}
		for _, id := range job {
			if p := &paths[id]; p.Kind == PathPod {
				direct[[2]string{p.To, p.Family}] = id
			}
		}
		slices.SortStableFunc(job, func(a, b int) int {
			return order(paths[a].Kind) - order(paths[b].Kind)
		})
		for _, id := range job {
			p := &paths[id]
			p.target.ID = id
			for _, to := range []string{p.To, p.Via} {
				if at, found := direct[[2]string{to, p.Family}]; found && at != id {
					p.target.Needs = append(p.target.Needs, at)
				}
			}
		}
	}
	return out
}

// order of kinds in a job: what others need comes first.
func order(k PathKind) int {
	if k == PathPod {
		return 0
	}
	return 1
}

// dial has the paths tried, by pods on the nodes they come from, and adds their
// outcomes to the result, as far as there are any also when that fails.
func (r *run) dial(ctx context.Context, paths []planned) error {
	if len(paths) == 0 {
		return nil
	}
	r.opts.Progress(fmt.Sprintf("trying %d paths", len(paths)))
	outcomes, err := r.outcomes(ctx, paths, false)
	for i, p := range paths {
		p.Path.set(outcomes[i])
		r.result.Paths = append(r.result.Paths, p.Path)
	}
	return err
}

func (p *Path) set(o wire.Result) {
	p.Outcome, p.Errno, p.FailedSize, p.States = o.Outcome, o.Errno, o.Size, o.States
	p.HandshakeMicros, p.RTTMicros = o.Handshake.Microseconds(), o.RTT.Microseconds()
}

// diagnosed bounds how many failed paths from each node, and to each, are looked
// into: all that there are in a ring, or among as many nodes as are tried each
// against each by default.
const diagnosed = AllPairsByDefault

// diagnose tries again the direct paths that had no answer or lost messages, and
// finds out where the packets are lost.
func (r *run) diagnose(ctx context.Context) error {
	if err := r.passOverEnded(ctx); err != nil {
		return err
	}
	var paths []planned
	var index []int
	from, to := map[string]int{}, map[string]int{}
	for i, p := range r.result.Paths {
		if p.Kind != PathPod || p.Outcome != wire.Dropped && p.Outcome != wire.Lost {
			continue
		}
		if from[p.From] == diagnosed || to[p.To] == diagnosed {
			r.result.Paths[i].unasked = true
			continue
		}
		from[p.From]++
		to[p.To]++
		host, _, err := net.SplitHostPort(p.Address)
		if err != nil {
			return err
		}
		paths = append(paths, planned{Path: p, target: wire.Target{Address: p.Address, Control: net.JoinHostPort(host, strconv.Itoa(controlPort))}})
		index = append(index, i)
	}
	if len(paths) == 0 {
		return nil
	}
	r.opts.Progress(fmt.Sprintf("%d paths fail: finding out where packets go", len(paths)))
	return r.retry(ctx, paths, index, true)
}

// passOverEnded takes what failed towards listeners that have ended meanwhile as
// not known: it is no fault of the network.
func (r *run) passOverEnded(ctx context.Context) error {
	fails := func(p Path) bool { return p.Kind == PathPod && p.Outcome != wire.OK }
	if !slices.ContainsFunc(r.result.Paths, fails) {
		return nil
	}
	return r.poll(ctx, roleListener, func(list []corev1.Pod) (bool, error) {
		for _, n := range r.taking() {
			at := slices.IndexFunc(list, func(p corev1.Pod) bool { return r.nodeOf(&p) == n })
			if at >= 0 && !terminated(&list[at]) && list[at].DeletionTimestamp == nil {
				continue
			}
			n.Fault, n.Detail = wire.Unknown, "its listener has ended while paths were tried"
			for i := range r.result.Paths {
				if p := &r.result.Paths[i]; p.To == n.Name && p.Outcome != wire.OK {
					p.Outcome, p.Errno = wire.Unknown, n.Detail
				}
			}
		}
		return true, nil
	})
}

// retry tries paths again, and replaces the result's outcomes at these indices with
// the new ones, where there are any.
func (r *run) retry(ctx context.Context, paths []planned, index []int, diagnose bool) error {
	outcomes, err := r.outcomes(ctx, paths, diagnose)
	for i, o := range outcomes {
		if o.Outcome != wire.Unknown {
			r.result.Paths[index[i]].set(o)
		}
	}
	return err
}

// catchUp tries what was not tried because of direct paths that have worked at
// the second try. paths are those of the result, in the same order.
func (r *run) catchUp(ctx context.Context, paths []planned) error {
	podOK := r.result.reached(PathPod)
	var again []planned
	var index []int
	for i, p := range r.result.Paths {
		if p.Outcome == wire.NotTried && p.passable(podOK) {
			planned := paths[i]
			planned.target.Needs = nil
			again = append(again, planned)
			index = append(index, i)
		}
	}
	if len(again) == 0 {
		return nil
	}
	r.opts.Progress(fmt.Sprintf("%d paths were not tried, and can be now", len(again)))
	return r.retry(ctx, again, index, false)
}
