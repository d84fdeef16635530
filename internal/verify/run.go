package verify

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
)

// Options of a run. The zero value tries all ready nodes with the image of the
// agent that runs on them.
type Options struct {
	Keys nodelabel.Keys
	// Nodes to try; none means all that are ready for SCTP.
	Nodes []string
	// AllPairs tries each node against each, also where they are more than
	// [AllPairsByDefault]; of more than [mostAllPairs] that is refused.
	AllPairs bool
	// Image of the pods; "" means that of the agent's pods.
	Image string
	// PullSecrets are copied, and the image is pulled with them; none means
	// those of the agent's pods, if the image is theirs.
	PullSecrets []SecretName
	// Command is the program's path in the image; "" means [DefaultCommand].
	Command string
	// Policy also tries whether NetworkPolicy is enforced.
	Policy bool
	// LoadBalancer also tries a Service of type LoadBalancer.
	LoadBalancer bool
	// Network is a NetworkAttachmentDefinition, NAMESPACE/NAME: associations with
	// one path in it, and one in the pod network, are tried too.
	Network string
	// Failover also tries what becomes of a Service's client whose endpoint is
	// deleted.
	Failover bool
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

// run is the state of one run.
type run struct {
	*runner
	c         kubernetes.Interface
	opts      Options
	namespace string
	result    *Result
	// services by node index, as the API server made them; in a ring not each
	// node has one.
	services map[int]*corev1.Service
	clients  int

	mu sync.Mutex
	// complained is when a request was last reported to have had no answer.
	complained time.Time
}

// Run does a whole run. The namespace is always deleted before it returns, with a
// deadline of its own. An error means that there is no result; what is wrong with
// SCTP is in the result.
func Run(ctx context.Context, c kubernetes.Interface, opts Options) (result *Result, err error) {
	opts.Timeout = cmp.Or(opts.Timeout, DefaultTimeout)
	opts.PathTimeout = cmp.Or(opts.PathTimeout, DefaultPathTimeout)
	opts.Progress = oneAtATime(opts.Progress)
	start := time.Now()
	whole := ctx
	ctx, cancel := context.WithTimeoutCause(ctx, opts.Timeout, fmt.Errorf("not done within %v", opts.Timeout))
	defer cancel()

	if err := sweep(ctx, c, opts.Progress); err != nil {
		return nil, err
	}
	r := &run{c: c, opts: opts, services: map[int]*corev1.Service{}, result: &Result{
		APIVersion: APIVersion, Kind: ResultKind, Time: start.UTC().Truncate(time.Second),
		Paths: []Path{}, Findings: []Finding{},
	}}
	if opts.Policy {
		r.result.Policy = policyUnknown
	}
	if opts.LoadBalancer {
		r.result.LoadBalancer = &LoadBalancer{Addresses: []string{}}
	}
	if opts.Network != "" {
		r.result.Network = &Network{Name: opts.Network, Missing: []string{}}
	}
	if opts.Failover {
		r.result.Failovers = []Failover{}
	}
	if err := r.chooseNodes(ctx); err != nil {
		return nil, err
	}
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	// The name is set here: if the answer is lost, the namespace may exist.
	r.namespace = namespacePrefix + strings.ToLower(rand.Text()[:8])
	_, created := create(ctx, r, c.CoreV1().Namespaces(), "namespaces", newNamespace(r.namespace, start.Add(opts.Timeout+cleanupTimeout)))
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

// oneAtATime makes a progress function, which may be nil, safe to be called by
// several goroutines.
func oneAtATime(progress func(string)) func(string) {
	var mu sync.Mutex
	return func(what string) {
		mu.Lock()
		defer mu.Unlock()
		if progress != nil {
			progress(what)
		}
	}
}

// untilAnswered repeats a request until the API server answers, be it by a
// refusal. The error is that of the last request whose deadline was not over.
func (r *run) untilAnswered(ctx context.Context, do func(context.Context) error) error {
	var last error
	_ = wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		err := do(ctx)
		// That time is over explains less than what used it up.
		if last == nil || ctx.Err() == nil {
			last = err
		}
		if last == nil || isRefused(err) {
			return true, nil
		}
		r.complain(err)
		return false, nil
	})
	return last
}

// complain reports a request that is repeated. Many fail at once where the API
// server is away.
func (r *run) complain(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.complained) > progressInterval {
		r.complained = time.Now()
		r.opts.Progress(err.Error() + "; trying again")
	}
}

// parallel bounds how many requests are under way at once: a thousand creations
// one after another would take minutes where the API server is far away.
const parallel = 16

// each calls do for each node, several at a time, until one fails.
func each(ctx context.Context, nodes []*Node, do func(context.Context, *Node) error) error {
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(parallel)
	for _, n := range nodes {
		all.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return do(ctx, n)
		})
	}
	return all.Wait()
}

// isRefused reports whether the API server has answered so that a retry has no
// effect.
func isRefused(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	switch code := status.Status().Code; code {
	case http.StatusRequestTimeout, http.StatusGone, http.StatusTooManyRequests:
		return false // 410: a list that took too long
	default:
		return code >= 400 && code < 500
	}
}

// outOfTime reports whether an error is a lack of time, and not Ctrl-C or a
// refusal.
func outOfTime(ctx context.Context, err error) bool {
	return err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && !isRefused(err)
}

// step is something that time may run out in, when something is known already.
type step string

const (
	stepPaths     step = "trying all paths"
	stepDiagnose  step = "finding out where packets go on paths that fail"
	stepCatchUp   step = "trying paths that could not be tried at first"
	stepBalancer  step = "trying a load balancer"
	stepPolicy    step = "trying the NetworkPolicy"
	stepFailover  step = "trying the failover of a Service"
	stepNetwork   step = "trying a second network"
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
		do   func(context.Context) error
	}{
		{stepPaths, func(ctx context.Context) error { return r.dial(ctx, paths) }},
		{stepDiagnose, r.diagnose},
		{stepCatchUp, func(ctx context.Context) error { return r.catchUp(ctx, paths) }},
		{stepBalancer, r.tryLoadBalancer},
		{stepPolicy, r.tryPolicy},
		{stepFailover, r.tryFailover},
		{stepNetwork, r.tryNetwork},
	} {
		err := s.do(ctx)
		if outOfTime(ctx, err) && slices.ContainsFunc(r.result.Paths, func(p Path) bool { return p.Outcome != wire.Unknown }) {
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
	var ports map[string][]int32
	err := r.untilAnswered(ctx, func(ctx context.Context) (err error) {
		ports, err = r.endpointPorts(ctx)
		return err
	})
	switch {
	case outOfTime(ctx, err):
		r.opts.Progress(fmt.Sprintf("not within %v: %v", endpointsTimeout, err))
		ports, late = nil, cmp.Or(late, stepEndpoints)
	case err != nil:
		return err
	}
	r.result.Findings = judge(r.result, ports, late)
	return nil
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
	err := cluster.List(ctx, "endpointslices.discovery.k8s.io", r.namespace, r.c.DiscoveryV1().EndpointSlices(r.namespace).List, metav1.ListOptions{}, func(s *discoveryv1.EndpointSlice) {
		node := nodeOf[s.Labels[discoveryv1.LabelServiceName]]
		for _, p := range s.Ports {
			if node != "" && p.Port != nil && len(s.Endpoints) > 0 {
				out[node] = append(out[node], *p.Port)
			}
		}
	})
	return out, err
}
