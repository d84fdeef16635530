package verify

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
)

const (
	// FailoverBound is how long a Service's client may be without an endpoint
	// when the one that served it is deleted. A healthy cluster needs seconds.
	FailoverBound = 30 * time.Second
	// failoverPatience is how long the client tries.
	failoverPatience = time.Minute
)

// Failover is a client of a Service with two endpoints, of which the one that
// served it is deleted while it keeps its source port.
type Failover struct {
	// Family is "IPv4" or "IPv6", Address the Service's, Port the client's.
	Family  string `json:"family"`
	Address string `json:"address"`
	Port    int    `json:"port,omitempty"`
	// From is the client's node, Deleted that of the endpoint that is deleted,
	// To that of the one that stays.
	From    string `json:"from"`
	Deleted string `json:"deleted"`
	To      string `json:"to"`
	// Outcome is "ok" when the endpoint that stays answered the client's port.
	Outcome wire.Outcome `json:"outcome"`
	Errno   string       `json:"errno,omitempty"`
	// Seconds from the last answer of the deleted endpoint to the first of the
	// other one; where there was none, how long the client tried.
	Seconds float64 `json:"seconds,omitempty"`
	// OtherPortSeconds are those of a client that took another port at each
	// try; none where it was not answered before the first was.
	OtherPortSeconds float64 `json:"otherPortSeconds,omitempty"`
}

// tryFailover deletes the endpoint of a Service that serves a client, where what
// that needs works: the direct paths, and Services.
func (r *run) tryFailover(ctx context.Context) error {
	if !r.opts.Failover {
		return nil
	}
	from, ends := r.failoverNodes()
	if from == nil {
		return nil
	}
	r.opts.Progress(fmt.Sprintf("failover: a Service with endpoints on nodes %s and %s, its client on node %s", ends[0].Name, ends[1].Name, from.Name))
	for i, n := range ends {
		if err := r.startListener(ctx, n, roleEndpoint, i); err != nil {
			return err
		}
	}
	service, err := create(ctx, r, r.c.CoreV1().Services(r.namespace), "services",
		newService("failover", corev1.ServiceTypeClusterIP, map[string]string{labelRole: roleEndpoint}))
	if err != nil {
		return err
	}
	job := wire.Client{
		Timeout: wire.Millis(r.opts.PathTimeout.Milliseconds()),
		Begin:   wire.Millis(failoverPatience.Milliseconds()), Patience: wire.Millis(failoverPatience.Milliseconds()),
	}
	direct := r.result.reached(PathPod)
	for _, a := range service.Spec.ClusterIPs {
		if !direct.has(from, ends[0], a) || !direct.has(from, ends[1], a) {
			continue
		}
		f := Failover{
			Family: family(a), Address: net.JoinHostPort(a, strconv.Itoa(EchoPort)), From: from.Name, Deleted: ends[0].Name, To: ends[1].Name,
			Outcome: wire.Unknown, Errno: "its client reported nothing in time",
		}
		job.Targets = append(job.Targets, wire.Target{ID: len(r.result.Failovers), Address: f.Address})
		r.result.Failovers = append(r.result.Failovers, f)
	}
	if len(job.Targets) == 0 {
		return nil
	}
	why, err := r.failOver(ctx, from, job, len(ends))
	if why != "" {
		for i := range r.result.Failovers {
			r.result.Failovers[i].Errno = why
		}
	}
	return err
}

// failoverNodes are the node of the client, and those of the endpoints that it
// reaches directly: other nodes before its own, and two rather than one.
func (r *run) failoverNodes() (from *Node, ends []*Node) {
	direct, served := r.result.reached(PathPod), map[string]bool{}
	for at := range r.result.reached(PathClusterIP) {
		served[at[0]] = true
	}
	all := r.ordered()
	for at, n := range all {
		if !served[n.Name] {
			continue
		}
		var reached []*Node
		for _, to := range append(slices.Clone(all[at+1:]), all[:at+1]...) {
			if direct.any(n, to) {
				reached = append(reached, to)
			}
		}
		if len(reached) > 0 && (from == nil || len(reached) > 1) {
			from, ends = n, []*Node{reached[0], reached[min(1, len(reached)-1)]}
		}
		if len(reached) > 1 {
			break
		}
	}
	return from, ends
}

// failOver starts the client when the endpoints listen, deletes the first of these
// when the client has an association with it, and reads the client's result.
// Otherwise it returns why there is none.
func (r *run) failOver(ctx context.Context, from *Node, job wire.Client, endpoints int) (why string, err error) {
	list, err := r.awaitStart(ctx, roleEndpoint, endpoints)
	if err != nil {
		return "", err
	}
	if i := slices.IndexFunc(list, func(p corev1.Pod) bool { return !isReady(&p) }); i >= 0 || len(list) < endpoints {
		why = "an endpoint is gone: somebody deleted the pod"
		if i >= 0 {
			why = fmt.Sprintf("pod %s did not start: %s", list[i].Name, trouble(&list[i]))
		}
		return why, nil
	}
	pod, err := r.failoverClient(from, job)
	if err != nil {
		return "", err
	}
	pods := r.c.CoreV1().Pods(r.namespace)
	if _, err := create(ctx, r, pods, "pods", pod); err != nil {
		return "", err
	}
	if list, err = r.awaitStart(ctx, roleFailover, 1); err != nil {
		return "", err
	}
	if len(list) == 1 && isReady(&list[0]) {
		r.opts.Progress(fmt.Sprintf("failover: deleting the endpoint on node %s", r.result.Failovers[0].Deleted))
		ending := podName(roleEndpoint, job.Ending)
		err = r.untilAnswered(ctx, func(ctx context.Context) error {
			err := pods.Delete(ctx, ending, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return cluster.Failed("delete", "pods", "", ending, err)
		})
		if err != nil {
			return "", err
		}
		if list, err = r.await(ctx, roleFailover, 1, terminated); err != nil {
			return "", err
		}
	}
	switch {
	case len(list) == 0:
		return "its client is gone: somebody deleted the pod", nil
	case !terminated(&list[0]):
		return "its client did not end: " + trouble(&list[0]), nil
	}
	say, err := r.sayOf(&list[0])
	if err != nil {
		return "", err
	}
	for _, s := range say.Recoveries {
		if s.ID < 0 || s.ID >= len(r.result.Failovers) {
			continue
		}
		f := &r.result.Failovers[s.ID]
		f.Outcome, f.Errno, f.Port = s.Outcome, s.Errno, s.Port
		f.Seconds, f.OtherPortSeconds = s.Gap.Duration().Seconds(), s.OtherPort.Duration().Seconds()
		r.opts.Progress("failover: " + f.String())
	}
	return say.Detail, nil
}

// String is what happened, as people read it.
func (f Failover) String() string {
	s := fmt.Sprintf("%s, node %s to %s", f.Family, f.From, f.Address)
	if f.Port > 0 {
		s += fmt.Sprintf(" from port %d", f.Port)
	}
	other := ""
	if f.OtherPortSeconds > 0 {
		other = fmt.Sprintf(", from other ports after %.1f s", f.OtherPortSeconds)
	}
	switch f.Outcome {
	case wire.OK:
		return fmt.Sprintf("%s: the endpoint on node %s answered %.1f s after that on node %s%s", s, f.To, f.Seconds, f.Deleted, other)
	case wire.NotTried, wire.Unknown:
		return s + ": " + f.Errno
	}
	return fmt.Sprintf("%s: no answer within %.0f s after that of the endpoint on node %s (%s)%s", s, f.Seconds, f.Deleted, f.Outcome, other)
}
