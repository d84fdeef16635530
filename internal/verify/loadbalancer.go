package verify

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
)

const (
	// addressPatience is how long a load balancer may take to have an address,
	// and forwardPatience how long to forward: it checks its targets first.
	addressPatience = 2 * time.Minute
	forwardPatience = time.Minute
)

// LoadBalancer is a Service of type LoadBalancer, with one endpoint.
type LoadBalancer struct {
	// To is the endpoint's node, "" where no other node reaches any.
	To string `json:"to,omitempty"`
	// Addresses that it got, and Seconds until then.
	Addresses []string `json:"addresses"`
	Seconds   float64  `json:"seconds,omitempty"`
	// Detail is why it has none.
	Detail string `json:"detail,omitempty"`
}

// tryLoadBalancer tries the way through a load balancer to the listener of one
// node, from the other nodes that reach it directly.
func (r *run) tryLoadBalancer(ctx context.Context) error {
	lb := r.result.LoadBalancer
	if lb == nil {
		return nil
	}
	to, from := r.loadBalancerNodes()
	if to == nil {
		return nil
	}
	lb.To = to.Name
	r.opts.Progress("load balancer: a Service of type LoadBalancer for node " + to.Name)
	s := service(to)
	s.Name, s.Spec.Type = "load-balancer", corev1.ServiceTypeLoadBalancer
	services := r.c.CoreV1().Services(r.namespace)
	if _, err := create(ctx, r, services, "services", s); err != nil {
		return err
	}
	if err := r.awaitAddress(ctx, s.Name, lb); err != nil {
		return err
	}
	direct := r.result.reached(PathPod)
	var paths []planned
	for _, n := range from {
		for _, a := range lb.Addresses {
			if direct.has(n, to, a) {
				paths = append(paths, newPath(PathLoadBalancer, n, to, a, EchoPort, forwardPatience))
			}
		}
	}
	return r.dial(ctx, paths)
}

// loadBalancerNodes are a node, and the others that reach it directly.
func (r *run) loadBalancerNodes() (to *Node, from []*Node) {
	direct := r.result.reached(PathPod)
	all := r.ordered()
	for _, to := range all {
		from := slices.DeleteFunc(slices.Clone(all), func(n *Node) bool {
			return n == to || !direct.any(n, to)
		})
		if len(from) > 0 {
			return to, from
		}
	}
	return nil, nil
}

// awaitAddress waits until a Service has an address; else it returns why, from its
// events.
func (r *run) awaitAddress(ctx context.Context, name string, lb *LoadBalancer) error {
	start := time.Now()
	until := start.Add(addressPatience)
	if share := r.share(ctx); share.Before(until) {
		until = share
	}
	var s *corev1.Service
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		err := r.untilAnswered(ctx, func(ctx context.Context) (err error) {
			s, err = r.c.CoreV1().Services(r.namespace).Get(ctx, name, metav1.GetOptions{})
			return cluster.Failed("get", "services", "", name, err)
		})
		return err == nil && len(s.Status.LoadBalancer.Ingress) > 0 || time.Now().After(until), err
	})
	if err != nil {
		return err
	}
	for _, i := range s.Status.LoadBalancer.Ingress {
		if i.IP == "" {
			lb.Detail = fmt.Sprintf("it has a host name, %s, and no address", i.Hostname)
			continue
		}
		lb.Addresses = append(lb.Addresses, i.IP)
	}
	if len(lb.Addresses) > 0 {
		lb.Seconds, lb.Detail = time.Since(start).Seconds(), ""
		return nil
	}
	if lb.Detail == "" {
		lb.Detail = fmt.Sprintf("none within %.0f s; %s", time.Since(start).Seconds(), r.eventOf(ctx, name))
	}
	return nil
}

// eventOf is the last event of a Service, a warning before others.
func (r *run) eventOf(ctx context.Context, name string) string {
	var last *corev1.Event
	err := cluster.List(ctx, "events", r.namespace, r.c.CoreV1().Events(r.namespace).List,
		metav1.ListOptions{FieldSelector: "involvedObject.kind=Service,involvedObject.name=" + name}, func(e *corev1.Event) {
			warns := func(e *corev1.Event) bool { return e.Type == corev1.EventTypeWarning }
			if last == nil || warns(e) && !warns(last) || warns(e) == warns(last) && e.LastTimestamp.After(last.LastTimestamp.Time) {
				last = e.DeepCopy()
			}
		})
	switch {
	case err != nil:
		return err.Error()
	case last == nil:
		return "no event of it: is there a controller for load balancers?"
	}
	return fmt.Sprintf("event %s: %s", last.Reason, last.Message)
}
