package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sctp-agent/sctp-agent/pkg/agent"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
	"github.com/sctp-agent/sctp-agent/test/controlplane"
)

// traffic counts what arrives back from the API server, by second.
type traffic struct {
	mu      sync.Mutex
	seconds map[int64]int
	errors  int
}

func (t *traffic) reset() {
	t.mu.Lock()
	t.seconds, t.errors = map[int64]int{}, 0
	t.mu.Unlock()
}

// sums up since reset: total, peak and mean per second, errors.
func (t *traffic) sums() (total, peak int, mean float64, errors int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var first, last int64
	for s, n := range t.seconds {
		total += n
		peak = max(peak, n)
		if first == 0 || s < first {
			first = s
		}
		last = max(last, s)
	}
	if total > 0 {
		mean = float64(total) / float64(last-first+1)
	}
	return total, peak, mean, t.errors
}

type counted struct {
	traffic *traffic
	base    http.RoundTripper
}

func (c counted) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.base.RoundTrip(req)
	c.traffic.mu.Lock()
	defer c.traffic.mu.Unlock()
	if err == nil {
		c.traffic.seconds[time.Now().Unix()]++
	}
	if req.Context().Err() == nil && (err != nil || resp.StatusCode >= 400) {
		c.traffic.errors++
	}
	return resp, err
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
					w, err := nodelabel.NewWriter(nodelabel.Config{REST: cfg, Node: name})
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
	fmt.Printf("%-44s %10s %9s %7s %7s %10s %7s\n", "", "converged", "requests", "peak/s", "mean/s", "peak/mean", "errors")

	ctx, stop := context.WithCancel(ctx)
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
		total, peak, mean, errors := t.sums()
		fmt.Printf("%-44s %9.1fs %9d %7d %7.0f %10.1f %7d\n", what, took.Seconds(), total, peak, mean, float64(peak)/max(mean, 1), errors)
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
