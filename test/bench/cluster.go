package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sctp-agent/sctp-agent/pkg/agent"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
	"github.com/sctp-agent/sctp-agent/test/controlplane"
)

// traffic counts what the API server answers, by second, and what it does not.
type traffic struct {
	mu      sync.Mutex
	seconds map[int64]int
	refused map[int64]int
	failed  map[string]int
	over    context.Context // done when the agents are told to end
}

func (t *traffic) reset() {
	t.mu.Lock()
	t.seconds, t.refused, t.failed = map[int64]int{}, map[int64]int{}, map[string]int{}
	t.mu.Unlock()
}

// sums are what happened since reset.
type sums struct {
	served, refused  int            // answers; those among the tries that were turned away by 429
	peak, peakTries  int            // per second, without and with what was turned away
	mean             float64        // served per second, from the first to the last
	failed           map[string]int // tries by what became of them
	perSecond        []int          // served
	refusedPerSecond []int
}

func (t *traffic) sums() sums {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := sums{failed: maps.Clone(t.failed)}
	var first, last int64
	for _, m := range []map[int64]int{t.seconds, t.refused} {
		for at := range m {
			if first == 0 || at < first {
				first = at
			}
			last = max(last, at)
		}
	}
	if first == 0 {
		return s
	}
	for at := first; at <= last; at++ {
		n, refused := t.seconds[at], t.refused[at]
		s.served += n
		s.refused += refused
		s.peak = max(s.peak, n)
		s.peakTries = max(s.peakTries, n+refused)
		s.perSecond = append(s.perSecond, n)
		s.refusedPerSecond = append(s.refusedPerSecond, refused)
	}
	s.mean = float64(s.served) / float64(last-first+1)
	return s
}

type counted struct {
	traffic *traffic
	base    http.RoundTripper
}

func (c counted) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.base.RoundTrip(req)
	if c.traffic.over.Err() != nil {
		return resp, err
	}
	c.traffic.mu.Lock()
	defer c.traffic.mu.Unlock()
	now := time.Now().Unix()
	switch {
	case err != nil:
		c.traffic.failed[failure(err)]++
	case resp.StatusCode == http.StatusTooManyRequests:
		c.traffic.refused[now]++
		c.traffic.failed["429"]++
	default:
		c.traffic.seconds[now]++
		if resp.StatusCode >= 400 {
			c.traffic.failed[strconv.Itoa(resp.StatusCode)]++
		}
	}
	return resp, err
}

// failure names the kind of an error without an answer.
func failure(err error) string {
	var network net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection reset"
	case strings.Contains(err.Error(), "http2: client connection lost"), strings.Contains(err.Error(), "GOAWAY"):
		return "connection lost"
	case strings.Contains(err.Error(), "TLS handshake timeout"):
		return "no TLS handshake within 10 s"
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer within the request's deadline"
	case errors.Is(err, context.Canceled):
		return "given up by the agent"
	case errors.As(err, &network) && network.Timeout():
		return "timeout"
	}
	return err.Error()
}

func (s sums) String() string {
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(s.failed)) {
		kinds = append(kinds, fmt.Sprintf("%d %s", s.failed[kind], kind))
	}
	if len(kinds) == 0 {
		return "none"
	}
	return strings.Join(kinds, ", ")
}

// facts of the whole simulated cluster.
type facts struct {
	reason  atomic.Value
	mu      sync.Mutex
	changed chan struct{}
}

func (f *facts) set(r verdict.Reason) {
	f.reason.Store(r)
	f.mu.Lock()
	close(f.changed)
	f.changed = make(chan struct{})
	f.mu.Unlock()
}

func (f *facts) Name() string { return "facts" }

func (f *facts) Run(ctx context.Context, fire func(string)) error {
	for {
		f.mu.Lock()
		ch := f.changed
		f.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-ch:
			fire("facts")
		}
	}
}

// many runs one agent per node, each with its own connection and token.
func many(ctx context.Context, cp *controlplane.ControlPlane, nodes int, away time.Duration) error {
	client, err := cp.Client()
	if err != nil {
		return err
	}
	var (
		t       traffic
		f       = &facts{changed: make(chan struct{})}
		writers = make([]*nodelabel.Writer, nodes)
		agents  = make([]*agent.Agent, nodes)
		wg      sync.WaitGroup
		next    atomic.Int64
		failed  = make(chan error, 1)
	)
	t.reset()
	f.reason.Store(verdict.ModuleNotLoaded)
	begin := time.Now()
	for range 16 {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= nodes || ctx.Err() != nil {
					return
				}
				name := fmt.Sprintf("node-%04d", i)
				err := func() error {
					if _, err := client.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
						return err
					}
					token, err := cp.NodeToken(ctx, controlplane.NodeTokenOptions{Node: name, Namespace: account, ServiceAccount: account})
					if err != nil {
						return err
					}
					cfg := cp.TokenConfig(token)
					// A dialer of its own: without, all would share one
					// connection.
					cfg.Dial = (&net.Dialer{Timeout: 30 * time.Second}).DialContext
					cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper { return counted{&t, rt} })
					w, err := nodelabel.NewWriter(nodelabel.Config{REST: cfg, Node: name, Events: true, Component: "sctp-agent"})
					if err != nil {
						return err
					}
					writers[i] = w
					agents[i] = agent.New(agent.Config{Writer: w, Triggers: []agent.Trigger{f}, Assess: func(context.Context) verdict.Report {
						r := verdict.Judge(verdict.Facts{Node: name})
						r.Reason = f.reason.Load().(verdict.Reason)
						r.Ready = r.Reason.Ready()
						r.Kernel.BootID = "11111111-1111-4111-8111-111111111111"
						return r
					}})
					return nil
				}()
				if err != nil {
					select {
					case failed <- err:
					default:
					}
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		return err
	default:
	}
	fmt.Printf("%d Nodes and tokens made in %s\n", nodes, time.Since(begin).Round(time.Second))
	fmt.Printf("%-44s %10s %9s %7s %7s %10s %10s %12s\n", "", "converged", "answered", "peak/s", "mean/s", "peak/mean", "429", "peak tries/s")

	ctx, stop := context.WithCancel(ctx)
	t.over = ctx
	defer wg.Wait()
	defer stop()
	converge := func(what string, do func() error) error {
		t.reset()
		start := time.Now()
		if err := do(); err != nil {
			return err
		}
		want := f.reason.Load().(verdict.Reason)
		for {
			list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
			if err == nil {
				done := 0
				for _, n := range list.Items {
					if n.Annotations["sctp-agent/reason"] == string(want) {
						done++
					}
				}
				if done == nodes {
					break
				}
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if time.Since(start) > 15*time.Minute {
				return fmt.Errorf("%s: not converged after %s", what, time.Since(start))
			}
			sleep(ctx, 500*time.Millisecond)
		}
		took := time.Since(start)
		sleep(ctx, 2*time.Second)
		s := t.sums()
		fmt.Printf("%-44s %9.1fs %9d %7d %7.0f %10.1f %10d %12d\n", what, took.Seconds(), s.served, s.peak, s.mean, float64(s.peak)/max(s.mean, 1), s.refused, s.peakTries)
		fmt.Printf("    tries that failed: %v\n    answered each second: %v\n    turned away each second: %v\n", s, s.perSecond, s.refusedPerSecond)
		return nil
	}
	err = converge("roll-out, all at once", func() error {
		for _, a := range agents {
			wg.Go(func() { _ = a.Run(ctx) })
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = converge("every verdict flips at once", func() error { f.set(verdict.ProbePassed); return nil })
	if err != nil {
		return err
	}
	if err := cp.Kill(controlplane.APIServer); err != nil {
		return err
	}
	f.set(verdict.ProbeFailed)
	sleep(ctx, away)
	return converge(fmt.Sprintf("API server back after %s, all flipped", away), func() error {
		return cp.StartComponent(ctx, controlplane.APIServer)
	})
}
