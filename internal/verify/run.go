package verify

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/audit"
	api "github.com/sctp-agent/sctp-agent/internal/kubeapi"
	"github.com/sctp-agent/sctp-agent/internal/verify/peer"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
)

// Options of a run. The zero value tries all ready nodes with the image of the
// agent that runs on them.
type Options struct {
	Keys nodelabel.Keys
	// Nodes to try; none means all that are ready for SCTP, if they are not
	// more than [MostUnnamed].
	Nodes []string
	// Image of the pods; "" means that of the agent's pods.
	Image string
	// PullSecrets are copied, and the image is pulled with them; none means
	// those of the agent's pods, if the image is theirs.
	PullSecrets []SecretName
	// Command is the program's path in the image; "" means [DefaultCommand].
	Command string
	// Policy also tries whether NetworkPolicy is enforced.
	Policy bool
	// Timeout of the whole run, and PathTimeout of each step of a path; 0
	// means [DefaultTimeout] and [DefaultPathTimeout].
	Timeout, PathTimeout time.Duration
	// Progress hears what is being done; it may be nil.
	Progress func(string)
}

// Defaults of [Options]. The command is where the Dockerfile puts it.
const (
	DefaultCommand     = "/usr/bin/sctp-agent"
	DefaultTimeout     = 5 * time.Minute
	DefaultPathTimeout = 5 * time.Second
)

// MostUnnamed nodes are tried unless they were named. Each is tried against each:
// 100 are 10,000 pairs and 100 node ports, and 1,000 would be a million and a
// third of the node ports that a cluster has.
const MostUnnamed = 100

// cleanupTimeout bounds taking everything away again: kubelets end pods in
// seconds, and in minutes where a node is behind. cleanupWord is how often it is
// said meanwhile what is waited for.
const (
	cleanupTimeout = 3 * time.Minute
	cleanupWord    = 15 * time.Second
)

// nobody is whom the pods run as, where the platform does not say.
const nobody = 65532

// servicePatience is how long a path through a Service may take to be there.
const servicePatience = 20 * time.Second

// sizes of the messages that are sent: one byte, what fits a packet, what does
// not, and the largest that the default socket buffers take well.
func sizes() []int { return []int{1, 512, 1400, 9000, peer.MaxMessage} }

// run is the state of one run.
type run struct {
	*runner
	c         *api.Client
	opts      Options
	namespace string
	result    *Result
	// services by node index, as the API server made them.
	services map[int]*api.Service
	diallers int
}

// Run does a whole run. Whatever happens, the namespace is deleted before it
// returns, with a deadline of its own. An error means that nothing can be said;
// what is wrong with SCTP is in the result.
func Run(ctx context.Context, c *api.Client, opts Options) (result *Result, err error) {
	opts.Timeout = cmp.Or(opts.Timeout, DefaultTimeout)
	opts.PathTimeout = cmp.Or(opts.PathTimeout, DefaultPathTimeout)
	if opts.Progress == nil {
		opts.Progress = func(string) {}
	}
	start := time.Now()
	whole := ctx
	ctx, cancel := context.WithTimeoutCause(ctx, opts.Timeout, fmt.Errorf("not done within %v", opts.Timeout))
	defer cancel()

	if err := Sweep(ctx, c, opts.Progress); err != nil {
		return nil, err
	}
	r := &run{c: c, opts: opts, services: map[int]*api.Service{}, result: &Result{
		APIVersion: APIVersion, Kind: ResultKind, Time: start.UTC().Truncate(time.Second),
		Paths: []Path{}, Findings: []Finding{},
	}}
	if opts.Policy {
		r.result.Policy = policyUnknown
	}
	if err := r.chooseNodes(ctx); err != nil {
		return nil, err
	}
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	// A name of its own: when the answer is not heard, the namespace may be
	// there all the same.
	r.namespace = namespacePrefix + strings.ToLower(rand.Text()[:8])
	created := c.Create(ctx, namespaces(), "", newNamespace(r.namespace, start.Add(opts.Timeout+cleanupTimeout)), nil)
	if isRefused(created) {
		return nil, created
	}
	defer func() {
		// The caller's context may have ended: Ctrl-C is when cleaning up
		// matters most.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		if e := r.remove(ctx); e != nil {
			err = errors.Join(err, e)
		}
	}()
	if created != nil {
		return nil, created
	}
	late, err := r.try(ctx)
	if err == nil {
		err = r.conclude(whole, late)
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = fmt.Errorf("%w (%w)", cause, err)
		}
		return nil, err
	}
	r.result.DurationMillis = time.Since(start).Milliseconds()
	return r.result, nil
}

// Sweep deletes the namespaces of runs that were cut off and whose time is over.
func Sweep(ctx context.Context, c *api.Client, progress func(string)) error {
	var old []string
	err := api.List(ctx, c, namespaces(), api.ListOptions{LabelSelector: labelRun}, func(n *api.Namespace) {
		until, err := time.Parse(time.RFC3339, n.Annotations[annotationUntil])
		if err == nil && time.Now().After(until) && n.DeletionTimestamp == nil {
			old = append(old, n.Name)
		}
	})
	if err != nil {
		return fmt.Errorf("look for what an earlier run left: %w", err)
	}
	for _, name := range old {
		progress("deleting namespace " + name + ", left by an earlier run")
		if err := c.Delete(ctx, namespaces(), "", name); err != nil {
			return err
		}
	}
	return nil
}

// chooseNodes reads the nodes that take part.
func (r *run) chooseNodes(ctx context.Context) error {
	wanted := map[string]bool{}
	for _, name := range r.opts.Nodes {
		wanted[name] = true
	}
	ready := 0
	err := api.List(ctx, r.c, nodes(), api.ListOptions{}, func(n *api.Node) {
		hasSCTP := n.Labels[r.opts.Keys.Ready()] == string(kmod.AnswerTrue)
		if hasSCTP {
			ready++
		}
		if len(wanted) > 0 && !wanted[n.Name] || len(wanted) == 0 && !hasSCTP {
			return
		}
		delete(wanted, n.Name)
		node := Node{Name: n.Name, Index: len(r.result.Nodes), Addresses: []string{}, PodAddresses: []string{}}
		for _, a := range n.Status.Addresses {
			if a.Type == api.NodeInternalIP {
				node.Addresses = append(node.Addresses, a.Address)
			}
		}
		for _, c := range n.Status.Conditions {
			if c.Type == api.NodeReady && c.Status != api.ConditionTrue {
				node.Fault, node.Detail = peer.Unknown, "kubelet is not ready: "+c.Message
			}
		}
		r.result.Nodes = append(r.result.Nodes, node)
	})
	if err != nil {
		return err
	}
	// wanted has become empty when all were found.
	for _, name := range r.opts.Nodes {
		if !slices.ContainsFunc(r.result.Nodes, func(n Node) bool { return n.Name == name }) {
			return fmt.Errorf("there is no node %q", name)
		}
	}
	if n := len(r.result.Nodes); n > MostUnnamed && len(r.opts.Nodes) == 0 {
		return fmt.Errorf("%d nodes are ready for SCTP, and each would be tried against each: name some, of different pools or zones, with --node (more than %d if you mean it)", n, MostUnnamed)
	}
	if len(r.result.Nodes) == 0 {
		return fmt.Errorf("no node is ready for SCTP (label %s=true): see \"kubectl sctp audit\", or name nodes", r.opts.Keys.Ready())
	}
	return nil
}

// prepare finds the image, what it is pulled with, and what the platform wants of pods.
func (r *run) prepare(ctx context.Context) error {
	r.runner = &runner{image: r.opts.Image, command: cmp.Or(r.opts.Command, DefaultCommand), life: r.opts.Timeout + cleanupTimeout}
	var agents []SecretName
	if r.image == "" {
		err := api.List(ctx, r.c, pods(), api.ListOptions{LabelSelector: audit.AgentSelector}, func(p *api.Pod) {
			if len(p.Spec.Containers) > 0 {
				r.image, agents = p.Spec.Containers[0].Image, pullSecretsOf(p)
			}
		})
		if err != nil {
			return fmt.Errorf("look for the agent's image: %w", err)
		}
	}
	if r.image == "" {
		return errors.New("no agent runs in this cluster, so its image is not known: name it with --image")
	}
	r.result.Image = r.image
	if err := r.readPullSecrets(ctx, agents); err != nil {
		return err
	}
	// OpenShift assigns users itself, and refuses others.
	err := r.c.Get(ctx, api.Resource{GroupVersion: "security.openshift.io/v1", Name: "securitycontextconstraints"}, "", "restricted-v2", nil)
	switch {
	case api.IsNotFound(err):
		r.user = new(int64(nobody))
	case err != nil && !api.IsForbidden(err):
		return err
	}
	return nil
}

// isRefused says that the API server has answered, and that asking again is of
// no use.
func isRefused(err error) bool {
	var e *api.Error
	return errors.As(err, &e) && e.Code >= 400 && e.Code < 500 && e.Code != http.StatusTooManyRequests
}

// outOfTime says that an error is for want of time, and not because of Ctrl-C or
// a refusal.
func outOfTime(ctx context.Context, err error) bool {
	return err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && !isRefused(err)
}

// step is something that time may run out in, when something is known already.
type step string

const (
	stepPaths     step = "trying all paths"
	stepDiagnose  step = "finding out where packets go on paths that fail"
	stepCatchUp   step = "trying paths that could not be tried at first"
	stepPolicy    step = "trying the NetworkPolicy"
	stepEndpoints step = "reading the ports of the Services' endpoints"
)

// try creates everything, waits, and tries all paths. late is the step that time
// ran out in, "" when there was enough: what is known by then is not lost.
func (r *run) try(ctx context.Context) (late step, err error) {
	if err := r.listen(ctx); err != nil {
		return "", err
	}
	paths := r.paths()
	for _, s := range []struct {
		step step
		do   func() error
	}{
		{stepPaths, func() error { return r.dial(ctx, paths) }},
		{stepDiagnose, func() error { return r.diagnose(ctx) }},
		{stepCatchUp, func() error { return r.catchUp(ctx, paths) }},
		{stepPolicy, func() error { return r.tryPolicy(ctx) }},
	} {
		err := s.do()
		if outOfTime(ctx, err) && slices.ContainsFunc(r.result.Paths, func(p Path) bool { return p.Outcome != peer.Unknown }) {
			r.opts.Progress(fmt.Sprintf("%v, while %s", context.Cause(ctx), s.step))
			return s.step, nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", nil
}

// endpointsTimeout bounds the last look at the Services' endpoints: the time of
// the whole may be over.
const endpointsTimeout = 10 * time.Second

// conclude judges what was seen.
func (r *run) conclude(ctx context.Context, late step) error {
	ctx, cancel := context.WithTimeout(ctx, endpointsTimeout)
	defer cancel()
	for {
		ports, err := r.endpointPorts(ctx)
		if err == nil {
			r.result.Findings = judge(r.result, ports, late)
			return nil
		}
		if isRefused(err) {
			return err
		}
		select {
		case <-ctx.Done():
			if !outOfTime(ctx, err) {
				return err
			}
			r.opts.Progress(fmt.Sprintf("not within %v: %v", endpointsTimeout, err))
			r.result.Findings = judge(r.result, nil, cmp.Or(late, stepEndpoints))
			return nil
		case <-time.After(pollInterval):
		}
	}
}

// listen creates what others need, and a listener on each node.
func (r *run) listen(ctx context.Context) error {
	r.opts.Progress(fmt.Sprintf("namespace %s: a listener on each of %d nodes", r.namespace, len(r.result.Nodes)))
	if err := r.c.Create(ctx, accounts(), r.namespace, newAccount(), nil); err != nil {
		return err
	}
	for _, s := range r.pullSecrets {
		if err := r.c.Create(ctx, secrets(), r.namespace, s, nil); err != nil {
			return err
		}
	}
	// Read at the end; without the right to, everything before would be in vain.
	if _, err := r.endpointPorts(ctx); err != nil {
		return err
	}
	for i := range r.result.Nodes {
		n := &r.result.Nodes[i]
		if n.Fault != "" {
			continue
		}
		if err := r.c.Create(ctx, pods(), r.namespace, r.listener(n), nil); err != nil {
			return err
		}
		var s api.Service
		if err := r.c.Create(ctx, services(), r.namespace, service(n), &s); err != nil {
			return err
		}
		r.services[n.Index] = &s
	}
	return r.awaitListeners(ctx)
}

// pollInterval is how often pods are looked at.
const pollInterval = time.Second

// poll lists the pods of a role until done says so. An API server that is away
// is waited for, as long as the context lasts.
func (r *run) poll(ctx context.Context, role string, done func([]api.Pod) bool) error {
	for {
		var list []api.Pod
		err := api.List(ctx, r.c, pods(), api.ListOptions{Namespace: r.namespace, LabelSelector: labelRole + "=" + role}, func(p *api.Pod) {
			list = append(list, *p)
		})
		switch {
		case err == nil:
			if done(list) {
				return nil
			}
		case isRefused(err):
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("waiting for pods in namespace %s: %w", r.namespace, context.Cause(ctx)), err)
		case <-time.After(pollInterval):
		}
	}
}

// awaitListeners waits until each listener listens or has said why not. Half of
// the time is theirs; a node that needs more takes no part.
func (r *run) awaitListeners(ctx context.Context) error {
	until := time.Now().Add(r.opts.Timeout / 2)
	all := len(r.taking())
	said := all
	return r.poll(ctx, roleListener, func(list []api.Pod) bool {
		waiting := 0
		there := map[*Node]bool{}
		for i := range list {
			p := &list[i]
			n := r.nodeOf(p)
			if n == nil || n.Fault != "" {
				continue
			}
			there[n] = true
			switch {
			case terminated(p):
				say := sayOf(p)
				n.Fault, n.Detail = cmp.Or(say.Fault, peer.Unknown), say.Detail
			case isReady(p):
				n.PodAddresses = n.PodAddresses[:0]
				for _, ip := range p.Status.PodIPs {
					n.PodAddresses = append(n.PodAddresses, ip.IP)
				}
			case time.Now().After(until):
				n.Fault, n.Detail = peer.Unknown, "its listener did not start: "+trouble(p)
			default:
				waiting++
			}
		}
		for _, n := range r.taking() {
			if !there[n] {
				n.Fault, n.Detail = peer.Unknown, "its listener is gone: somebody deleted the pod"
			}
		}
		if waiting != said {
			said = waiting
			r.opts.Progress(fmt.Sprintf("%d of %d listeners have started", all-waiting, all))
		}
		return waiting == 0
	})
}

func (r *run) nodeOf(p *api.Pod) *Node {
	index, err := strconv.Atoi(p.Labels[labelIndex])
	if err != nil || index < 0 || index >= len(r.result.Nodes) {
		return nil
	}
	return &r.result.Nodes[index]
}

func terminated(p *api.Pod) bool {
	return p.Status.Phase == api.PodFailed || p.Status.Phase == api.PodSucceeded
}

func isReady(p *api.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == api.PodReady {
			return c.Status == api.ConditionTrue && len(p.Status.PodIPs) > 0
		}
	}
	return false
}

// trouble is why a pod does not run.
func trouble(p *api.Pod) string {
	for _, s := range p.Status.ContainerStatuses {
		if w := s.State.Waiting; w != nil {
			return strings.TrimSuffix(w.Reason+": "+w.Message, ": ")
		}
	}
	return cmp.Or(p.Status.Message, p.Status.Reason, string(p.Status.Phase), "no status")
}

// sayOf is what a pod left as its termination message.
func sayOf(p *api.Pod) peer.Say {
	for _, s := range p.Status.ContainerStatuses {
		t := s.State.Terminated
		if t == nil {
			continue
		}
		var say peer.Say
		if err := json.Unmarshal([]byte(t.Message), &say); err == nil {
			return say
		}
		return peer.Say{Fault: peer.Unknown, Detail: fmt.Sprintf("its pod ended with exit status %d, %s: %s", t.ExitCode, t.Reason, cmp.Or(t.Message, "no word"))}
	}
	return peer.Say{Fault: peer.Unknown, Detail: "its pod ended: " + trouble(p)}
}

// planned is a path with what its dialler is told.
type planned struct {
	Path
	target peer.Target
	// group is of the paths that one dialler tries: those to, and through, one
	// node, with the direct path that they need.
	group int
}

// taking are the nodes whose listener listens.
func (r *run) taking() []*Node {
	var out []*Node
	for i := range r.result.Nodes {
		if n := &r.result.Nodes[i]; n.Fault == "" {
			out = append(out, n)
		}
	}
	return out
}

// paths are all paths between the nodes that take part.
func (r *run) paths() []planned {
	var out []planned
	all := r.taking()
	for _, from := range all {
		add := func(kind PathKind, to, via *Node, address string, port int32, patience time.Duration) {
			p := planned{Path: Path{Kind: kind, From: from.Name, To: to.Name, Family: family(address), Address: net.JoinHostPort(address, strconv.Itoa(int(port)))}}
			if via != nil {
				p.Via = via.Name
			}
			p.target = peer.Target{Address: p.Address, Patience: peer.Millis(patience.Milliseconds())}
			p.group = cmp.Or(via, to).Index
			for _, a := range to.PodAddresses {
				if family(a) == p.Family && kind == PathPod {
					p.target.Control = net.JoinHostPort(a, strconv.Itoa(controlPort))
				}
			}
			out = append(out, p)
		}
		for i, to := range all {
			for _, a := range to.PodAddresses {
				if !hasFamily(from.PodAddresses, a) {
					continue
				}
				add(PathPod, to, nil, a, EchoPort, 0)
				if r.opts.Policy && (len(all) == 1 || to == next(all, from)) {
					add(PathBefore, to, nil, a, DeniedPort, 0)
				}
			}
			s := r.services[to.Index]
			for _, a := range s.Spec.ClusterIPs {
				if hasFamily(to.PodAddresses, a) && hasFamily(from.PodAddresses, a) {
					add(PathClusterIP, to, nil, a, EchoPort, servicePatience)
				}
			}
			for _, a := range to.Addresses {
				if !serves(s, a) || !hasFamily(to.PodAddresses, a) || !hasFamily(from.PodAddresses, a) {
					continue
				}
				// Each node's port is tried for the pod on it, and for one
				// elsewhere, to which it forwards.
				add(PathNodePort, to, to, a, s.Spec.Ports[0].NodePort, servicePatience)
				if far := all[(i+1)%len(all)]; far != to && hasFamily(far.PodAddresses, a) {
					add(PathNodePort, far, to, a, r.services[far.Index].Spec.Ports[0].NodePort, servicePatience)
				}
			}
		}
	}
	return out
}

// next is the node behind another, in a ring.
func next(all []*Node, n *Node) *Node {
	i := slices.Index(all, n)
	return all[(i+1)%len(all)]
}

func hasFamily(addresses []string, like string) bool {
	return slices.ContainsFunc(addresses, func(a string) bool { return family(a) == family(like) })
}

// serves says whether a Service has the address's family, and so a node port of
// it.
func serves(s *api.Service, address string) bool { return hasFamily(s.Spec.ClusterIPs, address) }

// dial has the paths tried, by pods on the nodes they come from, and adds their
// outcomes to the result, as far as there are any also when that fails.
func (r *run) dial(ctx context.Context, paths []planned) error {
	r.opts.Progress(fmt.Sprintf("trying %d paths", len(paths)))
	outcomes, err := r.outcomes(ctx, paths, false)
	for i, p := range paths {
		p.Path.set(outcomes[i])
		r.result.Paths = append(r.result.Paths, p.Path)
	}
	return err
}

func (p *Path) set(o peer.Result) {
	p.Outcome, p.Errno, p.FailedSize = o.Outcome, o.Errno, o.Size
	p.HandshakeMicros, p.RTTMicros = o.Handshake.Microseconds(), o.RTT.Microseconds()
}

// outcomes runs diallers and waits for them; the results are in the order of
// the paths. Those that were heard are there also when something fails.
func (r *run) outcomes(ctx context.Context, paths []planned, diagnose bool) ([]peer.Result, error) {
	out := make([]peer.Result, len(paths))
	byNode := map[string][]int{}
	for i, p := range paths {
		out[i] = peer.Result{ID: i, Outcome: peer.Unknown, Errno: "its dialler said nothing in time", Peer: -1}
		byNode[p.From] = append(byNode[p.From], i)
	}
	running := map[string]bool{}
	for _, n := range r.taking() {
		for _, ids := range jobs(paths, byNode[n.Name]) {
			job := peer.Job{Sizes: sizes(), Timeout: peer.Millis(r.opts.PathTimeout.Milliseconds()), Parallel: 8, Diagnose: diagnose}
			if diagnose {
				job.Parallel = 1
			}
			for _, id := range ids {
				job.Targets = append(job.Targets, paths[id].target)
			}
			name := fmt.Sprintf("dialler-%d", r.diallers)
			r.diallers++
			pod, err := r.dialler(name, n, job)
			if err != nil {
				return out, err
			}
			if err := r.c.Create(ctx, pods(), r.namespace, pod, nil); err != nil {
				return out, err
			}
			running[name] = true
		}
	}
	return out, r.collect(ctx, running, out)
}

// jobs divides the paths from one node among diallers, groups whole, and says
// what each path needs: the direct paths to the nodes that it leads to and
// through, as far as the same dialler tries them.
func jobs(paths []planned, ids []int) (out [][]int) {
	for start := 0; start < len(ids); {
		end := start
		for end < len(ids) && paths[ids[end]].group == paths[ids[start]].group {
			end++
		}
		if last := len(out) - 1; last >= 0 && len(out[last])+end-start <= peer.MaxTargets {
			out[last] = append(out[last], ids[start:end]...)
		} else {
			// No group is that large, unless a node has dozens of addresses.
			for part := range slices.Chunk(ids[start:end], peer.MaxTargets) {
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

// collect waits until the diallers have ended, and takes what they say. Two
// thirds of what is left of the time are theirs; of one that needs more nothing
// is known.
func (r *run) collect(ctx context.Context, running map[string]bool, out []peer.Result) error {
	until := time.Now().Add(r.opts.Timeout)
	if deadline, ok := ctx.Deadline(); ok {
		until = time.Now().Add(time.Until(deadline) * 2 / 3)
	}
	all := len(running)
	before := all
	return r.poll(ctx, roleDialler, func(list []api.Pod) bool {
		for i := range list {
			p := &list[i]
			if !running[p.Name] || !terminated(p) {
				continue
			}
			delete(running, p.Name)
			say := sayOf(p)
			for _, result := range say.Results {
				if result.ID >= 0 && result.ID < len(out) {
					out[result.ID] = result
				}
			}
			if n := r.nodeOf(p); say.Fault != "" && n != nil {
				n.Fault, n.Detail = say.Fault, say.Detail
			}
		}
		if len(running) != before {
			before = len(running)
			r.opts.Progress(fmt.Sprintf("%d of %d diallers are done", all-before, all))
		}
		if time.Now().Before(until) {
			return len(running) == 0
		}
		for i := range list {
			if p := &list[i]; running[p.Name] {
				r.opts.Progress(fmt.Sprintf("%s on node %s is not waited for any longer: %s", p.Name, p.Spec.NodeName, trouble(p)))
			}
		}
		return true
	})
}

// diagnosed bounds how many failed paths from each node, and to each, are looked
// into: the cause is rarely another for the rest.
const diagnosed = 6

// diagnose tries direct paths once more that were silent or lost messages, and
// finds out what becomes of the packets.
func (r *run) diagnose(ctx context.Context) error {
	var paths []planned
	var index []int
	from, to := map[string]int{}, map[string]int{}
	for i, p := range r.result.Paths {
		if p.Kind != PathPod || p.Outcome != peer.Dropped && p.Outcome != peer.Lost {
			continue
		}
		if from[p.From] == diagnosed || to[p.To] == diagnosed {
			continue
		}
		from[p.From]++
		to[p.To]++
		host, _, err := net.SplitHostPort(p.Address)
		if err != nil {
			return err
		}
		paths = append(paths, planned{Path: p, target: peer.Target{Address: p.Address, Control: net.JoinHostPort(host, strconv.Itoa(controlPort))}})
		index = append(index, i)
	}
	if len(paths) == 0 {
		return nil
	}
	r.opts.Progress(fmt.Sprintf("%d paths fail: finding out where packets go", len(paths)))
	return r.retry(ctx, paths, index, true)
}

// retry has paths tried once more, and puts the outcomes, as far as there are
// any, in place of the result's at these indices.
func (r *run) retry(ctx context.Context, paths []planned, index []int, diagnose bool) error {
	outcomes, err := r.outcomes(ctx, paths, diagnose)
	for i, o := range outcomes {
		if o.Outcome != peer.Unknown {
			r.result.Paths[index[i]].set(o)
		}
	}
	return err
}

// catchUp tries what was not tried because of direct paths that have worked at
// the second try. paths are those of the result, in the same order.
func (r *run) catchUp(ctx context.Context, paths []planned) error {
	podOK := map[[3]string]bool{}
	for _, p := range r.result.Paths {
		if p.Kind == PathPod && p.Outcome == peer.OK {
			podOK[p.ends()] = true
		}
	}
	var again []planned
	var index []int
	for i, p := range r.result.Paths {
		if p.Outcome == peer.NotTried && p.passable(podOK) {
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

// policyPatience is how long a network plugin may take to enforce a policy.
const policyPatience = 20 * time.Second

// tryPolicy creates the NetworkPolicy and tries a port that it allows and one
// that it does not, where both were reached before.
func (r *run) tryPolicy(ctx context.Context) error {
	if !r.opts.Policy {
		return nil
	}
	reached := map[PathKind]map[[3]string]bool{PathPod: {}, PathBefore: {}}
	for _, p := range r.result.Paths {
		if of := reached[p.Kind]; of != nil && p.Outcome == peer.OK {
			of[p.ends()] = true
		}
	}
	var paths []planned
	all := r.taking()
	for _, from := range all {
		to := next(all, from)
		for _, a := range to.PodAddresses {
			pair := [3]string{from.Name, to.Name, family(a)}
			if !reached[PathPod][pair] || !reached[PathBefore][pair] {
				continue
			}
			allowed := net.JoinHostPort(a, strconv.Itoa(EchoPort))
			denied := net.JoinHostPort(a, strconv.Itoa(DeniedPort))
			patience := peer.Millis(policyPatience.Milliseconds())
			path := Path{Kind: PathAllowed, From: from.Name, To: to.Name, Family: family(a), Address: allowed}
			paths = append(paths, planned{Path: path, target: peer.Target{Address: allowed, Patience: patience}})
			path.Kind, path.Address = PathDenied, denied
			paths = append(paths, planned{Path: path, target: peer.Target{Address: denied, Patience: patience, Beside: allowed}})
		}
	}
	if len(paths) == 0 {
		return nil
	}
	r.opts.Progress("NetworkPolicy: allowing one SCTP port")
	if err := r.c.Create(ctx, policies(), r.namespace, policy(), nil); err != nil {
		return err
	}
	return r.dial(ctx, paths)
}

// endpointPorts are the ports of the Services' endpoints, by node.
func (r *run) endpointPorts(ctx context.Context) (map[string][]int32, error) {
	nodeOf := map[string]string{}
	for _, n := range r.result.Nodes {
		if s := r.services[n.Index]; s != nil {
			nodeOf[s.Name] = n.Name
		}
	}
	out := map[string][]int32{}
	err := api.List(ctx, r.c, endpointSlices(), api.ListOptions{Namespace: r.namespace}, func(s *api.EndpointSlice) {
		node := nodeOf[s.Labels[api.LabelServiceName]]
		for _, p := range s.Ports {
			if node != "" && p.Port != nil && len(s.Endpoints) > 0 {
				out[node] = append(out[node], *p.Port)
			}
		}
	})
	return out, err
}

// remove deletes the namespace and waits until it is gone.
func (r *run) remove(ctx context.Context) error {
	r.opts.Progress("deleting namespace " + r.namespace)
	waiting := ""
	failed := func(err error) error {
		return fmt.Errorf("namespace %s is left behind (the next run deletes it after its time): %w%s", r.namespace, err, waiting)
	}
	// The namespace controller begins five seconds after it has heard
	// (namespaceDeletionGracePeriod). Pods take longest to end, so they may
	// begin now. It is no matter if that is refused.
	_ = r.c.DeleteAll(ctx, pods(), r.namespace)
	said := time.Now()
	for {
		err := r.c.Delete(ctx, namespaces(), "", r.namespace)
		if err == nil {
			err = r.c.Get(ctx, namespaces(), "", r.namespace, nil)
			if api.IsNotFound(err) {
				return nil
			}
			if err == nil {
				err = errors.New("it is still being deleted")
			}
		}
		// It answers 409 while it is being deleted.
		if api.IsForbidden(err) {
			return failed(err)
		}
		if time.Since(said) > cleanupWord {
			said = time.Now()
			waiting = r.remaining(ctx)
			r.opts.Progress(err.Error() + waiting)
		}
		select {
		case <-ctx.Done():
			return failed(err)
		case <-time.After(pollInterval):
		}
	}
}

// remaining are the pods that are there still, and their nodes: a namespace goes
// when they have.
func (r *run) remaining(ctx context.Context) string {
	var list []string
	err := api.List(ctx, r.c, pods(), api.ListOptions{Namespace: r.namespace}, func(p *api.Pod) {
		list = append(list, p.Name+" on node "+p.Spec.NodeName)
	})
	if err != nil || len(list) == 0 {
		return ""
	}
	const most = 5
	if more := len(list) - most; more > 0 {
		list = append(list[:most], fmt.Sprintf("%d more", more))
	}
	return ", pods are still ending: " + strings.Join(list, ", ")
}
