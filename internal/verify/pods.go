package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/sctp-agent/sctp-agent/internal/buildinfo"
	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
)

// listen creates what others need, and a listener on each node; then, when it is
// known which nodes take part, their Services.
func (r *run) listen(ctx context.Context) error {
	r.opts.Progress(fmt.Sprintf("namespace %s: a listener on each of %s", r.namespace, cluster.Count(len(r.result.Nodes), "node")))
	if _, err := create(ctx, r, r.c.CoreV1().ServiceAccounts(r.namespace), "serviceaccounts", newAccount()); err != nil {
		return err
	}
	for _, s := range r.pullSecrets {
		if _, err := create(ctx, r, r.c.CoreV1().Secrets(r.namespace), "secrets", s); err != nil {
			return err
		}
	}
	// Read at the end; without the right to, a run would fail after all its work.
	err := r.untilAnswered(ctx, func(ctx context.Context) error {
		_, err := r.endpointPorts(ctx)
		return err
	})
	if err != nil {
		return err
	}
	err = each(ctx, r.taking(), func(ctx context.Context, n *Node) error {
		return r.startListener(ctx, n, roleListener, n.Index)
	})
	if err != nil {
		return err
	}
	if err := r.awaitListeners(ctx); err != nil {
		return err
	}
	r.plan()
	return each(ctx, r.served(), func(ctx context.Context, n *Node) error {
		s, err := create(ctx, r, r.c.CoreV1().Services(r.namespace), "services", service(n))
		if err != nil {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.services[n.Index] = s
		return nil
	})
}

// startListener creates a listener; the pod is called by its role and index.
func (r *run) startListener(ctx context.Context, n *Node, role string, index int) error {
	pod, err := r.listener(podName(role, index), n, role, index)
	if err != nil {
		return err
	}
	_, err = create(ctx, r, r.c.CoreV1().Pods(r.namespace), "pods", pod)
	return err
}

func podName(role string, index int) string { return fmt.Sprintf("%s-%d", role, index) }

// awaitListeners waits until each listener listens or has reported why not, for at
// most half of the time; a node that needs more is not tried.
func (r *run) awaitListeners(ctx context.Context) error {
	until := time.Now().Add(r.opts.Timeout / 2)
	all := len(r.taking())
	said := ""
	return r.poll(ctx, roleListener, func(list []corev1.Pod) (bool, error) {
		started, waiting := 0, 0
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
				say, err := r.sayOf(p)
				if err != nil {
					return false, err
				}
				n.Fault, n.Detail = cmp.Or(say.Fault, wire.Unknown), say.Detail
			case isReady(p):
				started++
				n.PodAddresses = n.PodAddresses[:0]
				for _, ip := range p.Status.PodIPs {
					n.PodAddresses = append(n.PodAddresses, ip.IP)
				}
			case time.Now().After(until):
				n.Fault, n.Detail = wire.Unknown, "its listener did not start: "+trouble(p)
			default:
				waiting++
			}
		}
		for _, n := range r.taking() {
			if !there[n] {
				n.Fault, n.Detail = wire.Unknown, "its listener is gone: somebody deleted the pod"
			}
		}
		state := fmt.Sprintf("%d of %d listeners have started", started, all)
		if failed := all - started - waiting; failed > 0 {
			state += fmt.Sprintf(", %d failed", failed)
		}
		if state != said {
			said = state
			r.opts.Progress(state)
		}
		return waiting == 0, nil
	})
}

// outcomes runs clients and waits for them; the results are in the order of
// the paths. Those that were heard are there also when something fails.
func (r *run) outcomes(ctx context.Context, paths []planned, diagnose bool) ([]wire.Result, error) {
	out := make([]wire.Result, len(paths))
	byNode := map[string][]int{}
	for i, p := range paths {
		out[i] = wire.Result{ID: i, Outcome: wire.Unknown, Errno: "its client reported nothing in time", Peer: -1}
		byNode[p.From] = append(byNode[p.From], i)
	}
	running := map[string]bool{}
	pods := map[*Node][]*corev1.Pod{}
	for _, n := range r.taking() {
		for _, ids := range jobs(paths, byNode[n.Name]) {
			// One byte, what fits a packet, what does not, and the largest that the
			// default socket buffers take well.
			job := wire.Job{Sizes: []int{1, 512, 1400, 9000, wire.MaxMessage}, Timeout: wire.Millis(r.opts.PathTimeout.Milliseconds()), Parallel: 8, Diagnose: diagnose}
			if diagnose {
				job.Parallel = 1
			}
			for _, id := range ids {
				job.Targets = append(job.Targets, paths[id].target)
			}
			name := fmt.Sprintf("client-%d", r.clients)
			r.clients++
			pod, err := r.pod(name, n, roleClient, "verify-dial", job)
			if err != nil {
				return out, err
			}
			pods[n] = append(pods[n], pod)
			running[name] = true
		}
	}
	err := each(ctx, r.taking(), func(ctx context.Context, n *Node) error {
		for _, pod := range pods[n] {
			if _, err := create(ctx, r, r.c.CoreV1().Pods(r.namespace), "pods", pod); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return out, err
	}
	return out, r.collect(ctx, running, out)
}

// collect waits until the clients have ended, for at most two thirds of the time
// that is left, and reads their results. One that needs more has none.
func (r *run) collect(ctx context.Context, running map[string]bool, out []wire.Result) error {
	until := r.share(ctx)
	all := len(running)
	before := all
	return r.poll(ctx, roleClient, func(list []corev1.Pod) (bool, error) {
		for i := range list {
			p := &list[i]
			if !running[p.Name] || !terminated(p) {
				continue
			}
			delete(running, p.Name)
			say, err := r.sayOf(p)
			if err != nil {
				return false, err
			}
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
			r.opts.Progress(fmt.Sprintf("%d of %d clients are done", all-before, all))
		}
		if time.Now().Before(until) {
			return len(running) == 0, nil
		}
		for i := range list {
			if p := &list[i]; running[p.Name] {
				r.opts.Progress(fmt.Sprintf("stopped waiting for %s on node %s: %s", p.Name, p.Spec.NodeName, trouble(p)))
			}
		}
		return true, nil
	})
}

// awaitStart waits until a role's pods, so many, are ready or have ended.
func (r *run) awaitStart(ctx context.Context, role string, many int) ([]corev1.Pod, error) {
	return r.await(ctx, role, many, func(p *corev1.Pod) bool { return isReady(p) || terminated(p) })
}

// share of what is left of the time: two thirds.
func (r *run) share(ctx context.Context) time.Time {
	left := r.opts.Timeout
	if deadline, ok := ctx.Deadline(); ok {
		left = time.Until(deadline) * 2 / 3
	}
	return time.Now().Add(left)
}

// await waits until all of a role's pods are done, and returns them. It gives up
// after two thirds of what is left of the time.
func (r *run) await(ctx context.Context, role string, many int, done func(*corev1.Pod) bool) (pods []corev1.Pod, err error) {
	until := r.share(ctx)
	err = r.poll(ctx, role, func(list []corev1.Pod) (bool, error) {
		pods = list
		missing := len(list) < many || slices.ContainsFunc(list, func(p corev1.Pod) bool { return !done(&p) })
		return !missing || time.Now().After(until), nil
	})
	return pods, err
}

// pollInterval is how often pods are looked at, or a request is repeated, and
// pollPerNode what it is at least for each node: a list of the pods of a thousand
// nodes is megabytes.
const (
	pollInterval = time.Second
	pollPerNode  = 5 * time.Millisecond
)

// poll lists the pods of a role until done says so. While the API server does not
// answer, it waits until the context ends.
func (r *run) poll(ctx context.Context, role string, done func([]corev1.Pod) (bool, error)) error {
	var last error
	interval := max(pollInterval, pollPerNode*time.Duration(len(r.result.Nodes)))
	err := wait.PollUntilContextCancel(ctx, interval, true, func(ctx context.Context) (bool, error) {
		var list []corev1.Pod
		last = cluster.List(ctx, "pods", r.namespace, r.c.CoreV1().Pods(r.namespace).List, metav1.ListOptions{LabelSelector: labelRole + "=" + role}, func(p *corev1.Pod) {
			list = append(list, *p)
		})
		switch {
		case isRefused(last):
			return false, last
		case last != nil:
			return false, nil
		}
		return done(list)
	})
	if err != nil && err == ctx.Err() {
		return errors.Join(fmt.Errorf("waiting for pods in namespace %s: %w", r.namespace, context.Cause(ctx)), last)
	}
	return err
}

func (r *run) nodeOf(p *corev1.Pod) *Node {
	index, err := strconv.Atoi(p.Labels[labelIndex])
	if err != nil || index < 0 || index >= len(r.result.Nodes) {
		return nil
	}
	return &r.result.Nodes[index]
}

func terminated(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded
}

func isReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue && len(p.Status.PodIPs) > 0
		}
	}
	return false
}

// trouble is why a pod does not run.
func trouble(p *corev1.Pod) string {
	for _, s := range p.Status.ContainerStatuses {
		if w := s.State.Waiting; w != nil {
			return strings.TrimSuffix(w.Reason+": "+w.Message, ": ")
		}
	}
	return cmp.Or(p.Status.Message, p.Status.Reason, string(p.Status.Phase), "no status")
}

// sayOf is a pod's termination message. An error concerns all pods: the image has a
// program with another protocol.
func (r *run) sayOf(p *corev1.Pod) (wire.Say, error) {
	for _, s := range p.Status.ContainerStatuses {
		t := s.State.Terminated
		if t == nil {
			continue
		}
		var say wire.Say
		err := wire.Decode(t.Message, &say)
		if other, ok := errors.AsType[*wire.MismatchError](err); ok {
			return say, r.mismatch(other)
		}
		if err != nil {
			say = wire.Say{Fault: wire.Unknown, Detail: fmt.Sprintf("its pod ended with exit status %d, %s: %s", t.ExitCode, t.Reason, cmp.Or(t.Message, "no result"))}
		}
		return say, nil
	}
	return wire.Say{Fault: wire.Unknown, Detail: "its pod ended: " + trouble(p)}, nil
}

// mismatch explains that the image is of a version that does not fit this program.
func (r *run) mismatch(e *wire.MismatchError) error {
	image, own := cmp.Or(e.Version, "of an unknown version"), buildinfo.Current().Version
	return fmt.Errorf("image %s holds sctp-agent %s, which has protocol %d of verify; kubectl-sctp %s has protocol %d: name an image of sctp-agent %s with --image, or use kubectl-sctp %s",
		r.image, image, e.Protocol, own, wire.Protocol, own, image)
}
