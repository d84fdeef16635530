package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sctp-agent/sctp-agent/internal/agent"
	"github.com/sctp-agent/sctp-agent/internal/backoff"
	"github.com/sctp-agent/sctp-agent/internal/nodewriter"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
	"github.com/sctp-agent/sctp-agent/test/controlplane"
)

// traffic counts what the API server answers, by second, and what it does not.
type traffic struct {
	mu      sync.Mutex
	begun   time.Time
	seconds map[int]int
	refused map[int]int
	failed  map[string]int
	applied map[string]time.Duration // when each Node was last written
	over    context.Context          // done when the agents are told to end
}

func (t *traffic) reset() {
	t.mu.Lock()
	t.begun = time.Now()
	t.seconds, t.refused, t.failed, t.applied = map[int]int{}, map[int]int{}, map[string]int{}, map[string]time.Duration{}
	t.mu.Unlock()
}

// written is how many Nodes have been written since reset.
func (t *traffic) written() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.applied)
}

// sums are what happened since reset.
type sums struct {
	served, refused int            // answers; those among the tries that were turned away by 429
	labelled        []float64      // when the Nodes were written, in seconds, ascending
	peak            int            // served in one second
	converging      float64        // served per second, from the first to the last Node written
	all             float64        // served per second, from the first to the last answer
	failed          map[string]int // tries by what became of them
	perSecond       []int          // served
	turnedAway      []int          // per second
}

func (t *traffic) sums() sums {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := sums{failed: maps.Clone(t.failed)}
	for _, d := range t.applied {
		s.labelled = append(s.labelled, d.Seconds())
	}
	slices.Sort(s.labelled)
	first, last := -1, 0
	for _, m := range []map[int]int{t.seconds, t.refused} {
		for at := range m {
			if first < 0 || at < first {
				first = at
			}
			last = max(last, at)
		}
	}
	if first < 0 || len(s.labelled) == 0 {
		return s
	}
	written := int(s.labelled[len(s.labelled)-1])
	for at := first; at <= last; at++ {
		n, refused := t.seconds[at], t.refused[at]
		s.served += n
		s.refused += refused
		s.peak = max(s.peak, n)
		s.perSecond = append(s.perSecond, n)
		s.turnedAway = append(s.turnedAway, refused)
		if at <= written {
			s.converging += float64(n)
		}
	}
	s.converging /= float64(written - first + 1)
	s.all = float64(s.served) / float64(last-first+1)
	return s
}

// after is the time by which a part of the Nodes were written.
func (s sums) after(part float64) float64 {
	return s.labelled[min(int(part*float64(len(s.labelled))), len(s.labelled)-1)]
}

// counted is one agent's way to the API server.
type counted struct {
	traffic *traffic
	node    string
	base    http.RoundTripper
}

func (c counted) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.base.RoundTrip(req)
	if c.traffic.over.Err() != nil {
		return resp, err
	}
	c.traffic.mu.Lock()
	defer c.traffic.mu.Unlock()
	since := time.Since(c.traffic.begun)
	second := int(since / time.Second)
	switch {
	case err != nil:
		c.traffic.failed[failure(err)]++
	case resp.StatusCode == http.StatusTooManyRequests:
		c.traffic.refused[second]++
		c.traffic.failed["429"]++
	default:
		c.traffic.seconds[second]++
		switch {
		case req.URL.Query().Has("dryRun"): // is to be refused
		case resp.StatusCode >= 400:
			c.traffic.failed[strconv.Itoa(resp.StatusCode)]++
		case req.Method == http.MethodPatch:
			c.traffic.applied[c.node] = since
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

// settled is how long the traffic is watched after all Nodes are right: by then
// the Events have followed, too.
const settled = 45 * time.Second

// parallel does n things, sixteen at a time.
func parallel(n int, do func(i int) error) error {
	var all errgroup.Group
	all.SetLimit(16)
	for i := range n {
		all.Go(func() error { return do(i) })
	}
	return all.Wait()
}

// many runs one agent per node, each with its own connection and token.
func many(ctx context.Context, cp *controlplane.ControlPlane, nodes int, away time.Duration) error {
	client, err := cp.Client()
	if err != nil {
		return err
	}
	// Thousands of agents in one process: collecting their garbage would take
	// from the API server what real ones never do.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	var (
		t      traffic
		f      = &facts{changed: make(chan struct{})}
		agents = make([]*agent.Agent, nodes)
		wg     sync.WaitGroup
	)
	t.reset()
	f.reason.Store(verdict.ReasonModuleNotLoaded)
	begin := time.Now()
	err = parallel(nodes, func(i int) error {
		name := fmt.Sprintf("node-%04d", i)
		if _, err := client.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			return err
		}
		token, err := cp.NodeToken(ctx, controlplane.NodeTokenOptions{Node: name, Namespace: account, ServiceAccount: account})
		if err != nil {
			return err
		}
		conn, err := controlplane.Conn(cp.TokenConfig(token))
		if err != nil {
			return err
		}
		conn.HTTP.Transport = counted{&t, name, conn.HTTP.Transport}
		w, err := nodewriter.NewWriter(nodewriter.Config{Conn: conn, Node: name, Events: true})
		if err != nil {
			return err
		}
		agents[i] = agent.New(agent.Config{Writer: w, Triggers: []agent.Trigger{f}, Assess: func(context.Context) verdict.Report {
			r := verdict.Judge(verdict.Facts{Node: name})
			r.Reason = f.reason.Load().(verdict.Reason)
			r.Ready = r.Reason.Ready()
			r.Kernel.BootID = "11111111-1111-4111-8111-111111111111"
			return r
		}})
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Printf("%d Nodes and tokens made in %s\n", nodes, time.Since(begin).Round(time.Second))
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
		// The agents' own traffic tells when to look; what counts is what the
		// API server says then.
		want := f.reason.Load().(verdict.Reason)
		for wrong := nodes; wrong > 0; {
			backoff.Sleep(ctx, time.Second)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if time.Since(start) > 15*time.Minute {
				return fmt.Errorf("%s: not converged after %s", what, time.Since(start))
			}
			if t.written() < nodes {
				continue
			}
			list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
			if err != nil {
				continue
			}
			wrong = nodes
			for _, n := range list.Items {
				if n.Annotations["sctp-agent/reason"] == string(want) {
					wrong--
				}
			}
		}
		backoff.Sleep(ctx, settled)
		s := t.sums()
		fmt.Printf("%s\n", what)
		fmt.Printf("    labelled: half after %.1f s, 95 %% %.1f s, 99 %% %.1f s, all %.1f s\n", s.after(.5), s.after(.95), s.after(.99), s.after(1))
		fmt.Printf("    answered: %d; per second at most %d; on average %.0f until all were labelled (peak %.1f times), %.0f until the last Event (%.1f times)\n",
			s.served, s.peak, s.converging, float64(s.peak)/s.converging, s.all, float64(s.peak)/s.all)
		fmt.Printf("    turned away (429): %d; tries that failed: %v\n", s.refused, s)
		fmt.Printf("    answered each second: %v\n    turned away each second: %v\n", s.perSecond, s.turnedAway)
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
	err = converge("every verdict flips at once", func() error { f.set(verdict.ReasonProbePassed); return nil })
	if err != nil {
		return err
	}
	if err := cp.Kill(controlplane.APIServer); err != nil {
		return err
	}
	f.set(verdict.ReasonProbeFailed)
	backoff.Sleep(ctx, away)
	return converge(fmt.Sprintf("API server back after %s, all flipped", away), func() error {
		return cp.StartComponent(ctx, controlplane.APIServer)
	})
}
