// Package nodewriter keeps a Node's labels, annotations, condition and startup
// taint as the newest report has them: it watches the Node, writes by server-side
// apply only when something differs, retries, and creates Events.
package nodewriter

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/backoff"
	"github.com/sctp-agent/sctp-agent/internal/kubeconn"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// Config of a writer.
type Config struct {
	// Conn is the way to the API server.
	Conn *kubeconn.Conn
	// Node is the Node's name.
	Node string
	Keys nodelabel.Keys
	// Condition also writes the condition SCTPReady.
	Condition bool
	// Heartbeat is how often the condition's lastHeartbeatTime is renewed while
	// nothing changes, so that the condition of an agent that died can be
	// recognised; 0 for never. It has no fraction of a second.
	Heartbeat time.Duration
	// Events creates one Event per transition.
	Events bool
	// StartupTaint is a taint, "key" or "key:effect", removed from the Node
	// when SCTP is first proved there; "" for none.
	StartupTaint string
	// Observe, if not nil, hears of every write that was tried.
	Observe func(Outcome)
	Log     *slog.Logger
}

// Writer keeps a Node's keys as in the newest report, despite lost connections,
// foreign edits, and the Node's deletion and return. While nothing changes, it
// writes only the condition's heartbeat.
type Writer struct {
	cfg    Config
	client *client
	events chan event

	wake   chan struct{} // the report or the Node changed
	urgent chan struct{} // a caller waits in Flush
	back   chan struct{} // the API server answers again

	mu sync.Mutex
	// report is the newest one, bootID the newest boot ID that any had.
	report *verdict.Report
	bootID string
	seq    uint64 // counts reports
	// node is the newest known version; nil before the first one, and while
	// it is missing.
	node    *node
	missing bool
	// memory is what was applied last, to the Node with this UID.
	memory    *applied
	memoryUID string
	// done is the report that the Node is known to have caught up with.
	done      uint64
	caughtUp  chan struct{} // closed and replaced whenever done moves
	concluded bool
	fighting  bool
	// unconfined: see checkPolicy.
	unconfined bool

	// Of the goroutine of Run alone.
	untainted string // whose startup taint was removed
	carryOld  bool   // keys of another prefix may not be removed
}

// NewWriter checks the configuration; it does not speak to the API server yet.
func NewWriter(cfg Config) (*Writer, error) {
	if cfg.Node == "" || cfg.Conn == nil {
		return nil, errors.New("the Node's name, or a way to the API server, is missing")
	}
	if cfg.StartupTaint != "" {
		if err := checkTaint(cfg.StartupTaint); err != nil {
			return nil, err
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Observe == nil {
		cfg.Observe = func(Outcome) {}
	}
	return &Writer{
		cfg: cfg,
		// Only a condition's content needs more than metadata.
		client:   &client{Conn: *cfg.Conn, node: cfg.Node, status: cfg.Condition},
		events:   make(chan event, 16),
		wake:     make(chan struct{}, 1),
		urgent:   make(chan struct{}, 1),
		back:     make(chan struct{}, 1),
		caughtUp: make(chan struct{}),
	}, nil
}

// Publish sets the report that the Node should have. It never blocks; it replaces a
// report that was not written yet.
func (w *Writer) Publish(r verdict.Report) {
	w.mu.Lock()
	w.report = &r
	if r.Kernel.BootID != "" {
		w.bootID = r.Kernel.BootID
	}
	w.seq++
	w.mu.Unlock()
	poke(w.wake)
}

// Flush waits until the Node has what was published last, or ctx ends. A retry that
// is due later is made now.
func (w *Writer) Flush(ctx context.Context) error {
	w.mu.Lock()
	seq := w.seq
	w.mu.Unlock()
	poke(w.urgent)
	for {
		w.mu.Lock()
		done, ch := w.done, w.caughtUp
		w.mu.Unlock()
		if done >= seq {
			return nil
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Concluded reports whether the Node was seen with a conclusive report of this
// process.
func (w *Writer) Concluded() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.concluded
}

// Fighting reports whether another writer keeps changing the agent's keys.
func (w *Writer) Fighting() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fighting
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Times of the writer's life.
const (
	// A failed write is retried after about half a second, then with
	// increasing delay.
	firstRetry, lastRetry = 500 * time.Millisecond, time.Minute
	// A watch that ended is opened again after about a second, then with increasing
	// delay; the count starts again after one that lasted.
	firstWatch, lastWatch, lastingWatch = time.Second, 20 * time.Second, time.Minute
	// The API server is asked to end a watch after some half to one and a
	// half of this.
	watchTimeout = 40 * time.Minute
	// A watch shows the Node at once; if it shows nothing for this long, there is
	// no such Node.
	firstSight = 2 * time.Second
	// An API server that ends does so for the whole cluster at the same time: its
	// watches are opened again at random within this time (where there are several,
	// at another one). And while one starts, requests queue up and are answered all
	// at once: the writes that waited for it are spread over this time.
	comeback = 10 * time.Second
	// So many times within the window a foreign edit is put back at once;
	// after that, with increasing delay.
	putBacks, putBackWindow        = 5, 10 * time.Minute
	firstPutBackDelay, lastPutBack = 10 * time.Second, 5 * time.Minute
)

// Run keeps the Node true until ctx ends.
func (w *Writer) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { w.follow(ctx) })
	wg.Go(func() { w.sendEvents(ctx) })
	wg.Go(func() { w.checkPolicy(ctx) })

	retry := time.NewTimer(time.Hour)
	retry.Stop()
	defer retry.Stop()
	var (
		pending   bool      // a failed write waits for retry
		notBefore time.Time // the server asked to wait until then
		failures  = retries{Backoff: backoff.Backoff{First: firstRetry, Last: lastRetry}}
		warned    Outcome // how these failures are logged
		fight     fightWatch
	)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
			if pending {
				// What is to be written is read when the retry is due.
				continue
			}
		case <-w.back:
			// A write that waits for its turn need not wait on.
			if !pending || time.Now().Before(notBefore) {
				continue
			}
		case <-w.urgent:
		case <-retry.C:
		}
		pending = false
		retry.Stop()
		wait, err := w.reconcile(ctx, &fight)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			pending = true
			delay := failures.after(err)
			outcome := classify(err)
			if failures.notReady() {
				outcome = NotReady
			} else if news(warned, outcome) {
				warned = outcome
				w.cfg.Log.Warn("writing the Node failed; retrying", "outcome", string(outcome), "error", err.Error())
			}
			w.cfg.Observe(outcome)
			if askedDelay(err) > 0 {
				notBefore = time.Now().Add(delay)
			}
			retry.Reset(delay)
		case wait > 0:
			retry.Reset(wait)
		default:
			if warned != "" {
				w.cfg.Log.Info("writing the Node works again", "failures", failures.Failures())
			}
			warned = ""
			failures.reset()
			if wait := w.untilHeartbeat(); wait > 0 {
				retry.Reset(wait)
			}
		}
	}
}

// untilHeartbeat is how long the condition on the Node needs no new heartbeat, 0
// where none is due ever. The agents of a cluster, which may have started in the
// same instant, wait up to a tenth longer.
func (w *Writer) untilHeartbeat() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cfg.Heartbeat <= 0 || w.node == nil || w.memory == nil || w.memory.condition == nil {
		return 0
	}
	return w.memory.condition.untilHeartbeat(w.cfg.Heartbeat, time.Now()) + backoff.Within(w.cfg.Heartbeat/10)
}

// reconcile writes what differs. wait is when to call it again although nothing
// failed.
func (w *Writer) reconcile(ctx context.Context, fight *fightWatch) (wait time.Duration, err error) {
	w.mu.Lock()
	report, bootID, seq, n, memory, memoryUID, unconfined := w.report, w.bootID, w.seq, w.node, w.memory, w.memoryUID, w.unconfined
	w.mu.Unlock()
	if report == nil || n == nil {
		return 0, nil // follow or Publish will wake us
	}
	if unconfined {
		report = new(unconfinedReport(*report))
	}
	now := time.Now()
	k := w.cfg.Keys
	var known nodelabel.Metadata
	if memory != nil {
		known = memory.Metadata
	}
	said := n.said(known)
	want := k.Desired(*report, said, bootID, now)
	cond := w.condition(*report, n, now)
	if memoryUID != n.Metadata.UID {
		// Another object of the same name: what it lacks was not removed by anyone.
		memory = nil
	}
	if w.carryOld {
		carry(k, want, n)
	}
	p := diff(k, n, want, cond, memory)

	// A change of the verdict is never held back, only the same words again.
	if len(p.foreign) > 0 && sameVerdict(k, want, known) {
		if wait := fight.due(now); wait > 0 {
			w.noticeFight(p.foreign, wait)
			return wait, nil
		}
	}
	if fight.over(now) {
		w.mu.Lock()
		w.fighting = false
		w.mu.Unlock()
	}

	written, err := w.write(ctx, n, p, want, cond)
	if err != nil {
		return 0, err
	}
	if written != n {
		outcome := Applied
		if len(p.foreign) > 0 {
			outcome = PutBack
			fight.putBack(now)
			slices.Sort(p.foreign)
			w.cfg.Log.Warn("another writer changed the agent's keys; restored", "keys", strings.Join(p.foreign, ","))
		}
		w.cfg.Observe(outcome)
		// Before Flush returns: its caller may end the writer then.
		w.transition(*report, said, written)
	}

	w.remember(written, &applied{want, cond}, seq, report.Ready)
	if report.Ready == kmod.AnswerTrue {
		return 0, w.untaint(ctx, written)
	}
	return 0, nil
}

// write writes what the plan has, and returns the Node as it is then.
func (w *Writer) write(ctx context.Context, n *node, p plan, want nodelabel.Metadata, cond *Condition) (written *node, err error) {
	written = n
	if p.apply {
		written, err = w.client.apply(ctx, want, cond)
		if classify(err) == Forbidden && !w.carryOld && carry(w.cfg.Keys, want, n) {
			// Perhaps an admission policy that knows one prefix only: better
			// the new keys beside the old ones than none.
			refused := err
			if written, err = w.client.apply(ctx, want, cond); err == nil {
				w.carryOld = true
				w.cfg.Log.Warn("keys of another prefix may not be removed by the agent; kubectl sctp cleanup can", "error", refused.Error())
			}
		}
		if err != nil {
			return nil, err
		}
		// Somebody may have written in between: look again.
		p = diff(w.cfg.Keys, written, want, nil, nil)
	}
	if len(p.removeLabels)+len(p.removeAnnotations) > 0 {
		return w.client.remove(ctx, p.removeLabels, p.removeAnnotations)
	}
	return written, nil
}

// remember notes that the Node has caught up with a report.
func (w *Writer) remember(written *node, memory *applied, seq uint64, ready kmod.Answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// Only the watch knows which Node there is: the one that was written may be
	// gone by now.
	if w.node != nil && w.node.Metadata.UID == written.Metadata.UID && written.newer(w.node) {
		w.node = written
	}
	w.memory, w.memoryUID = memory, written.Metadata.UID
	if w.done < seq {
		w.done = seq
		close(w.caughtUp)
		w.caughtUp = make(chan struct{})
	}
	if ready == kmod.AnswerTrue || ready == kmod.AnswerFalse {
		w.concluded = true
	}
}

// sameVerdict reports whether two sets are the same to schedulers.
func sameVerdict(k nodelabel.Keys, a, b nodelabel.Metadata) bool {
	return maps.Equal(a.Labels, b.Labels) && a.Annotations[k.Reason()] == b.Annotations[k.Reason()]
}

// condition is what the Node's condition should be, nil if it is not to be written.
func (w *Writer) condition(r verdict.Report, n *node, now time.Time) *Condition {
	if !w.cfg.Condition {
		return nil
	}
	c := &Condition{
		Type: nodelabel.ConditionType, Status: "Unknown",
		Reason: string(r.Reason), Message: r.Message,
		LastTransitionTime: now.UTC().Format(time.RFC3339),
	}
	switch r.Ready {
	case kmod.AnswerTrue:
		c.Status = "True"
	case kmod.AnswerFalse:
		c.Status = "False"
	}
	old := n.condition()
	if old != nil && old.Status == c.Status && old.LastTransitionTime != "" {
		c.LastTransitionTime = old.LastTransitionTime
	}
	if w.cfg.Heartbeat > 0 {
		c.LastHeartbeatTime = now.UTC().Format(time.RFC3339)
		if c.says(old) && old.untilHeartbeat(w.cfg.Heartbeat, now) > 0 {
			c.LastHeartbeatTime = old.LastHeartbeatTime
		}
	}
	return c
}

// follow keeps w.node fresh by watching the Node, over and over. Each watch
// begins with the Node as it is: that is one request, not two.
func (w *Writer) follow(ctx context.Context) {
	delay := retries{Backoff: backoff.Backoff{First: firstWatch, Last: lastWatch}}
	down, warned := false, Outcome("")
	for ctx.Err() == nil {
		var (
			opened time.Time
			mu     sync.Mutex
			seen   bool // the watch has shown something, or is over
		)
		see := func(n *node, first bool) {
			mu.Lock()
			defer mu.Unlock()
			if first && seen {
				return
			}
			seen = true
			w.setNode(n)
		}
		timeout := backoff.Spread(watchTimeout, 0.5)
		err := w.client.watch(ctx, timeout, func() {
			opened = time.Now()
			time.AfterFunc(firstSight, func() { see(nil, true) })
			answers := time.Duration(0)
			if down {
				down = false
				answers = backoff.Within(comeback)
				if warned != "" {
					warned = ""
					w.cfg.Log.Info("watching the Node again")
				}
			}
			time.AfterFunc(answers, func() { poke(w.back) })
		}, func(n *node) { see(n, false) })
		mu.Lock()
		seen = true
		mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		lasted := time.Duration(0)
		if !opened.IsZero() {
			lasted = time.Since(opened)
		}
		if lasted > lastingWatch {
			delay.reset()
		}
		wait := backoff.Within(comeback)
		if lasted <= lastingWatch || lasted >= timeout-firstWatch {
			wait = delay.after(err)
		}
		if err != nil {
			down = true
			if outcome := classify(err); !delay.notReady() && news(warned, outcome) {
				warned = outcome
				w.cfg.Log.Warn("watching the Node failed; retrying", "error", err.Error())
			}
		}
		backoff.Sleep(ctx, wait)
	}
}

// news reports whether to log a failure: the first of a series, and a missing
// right, which no retry brings.
func news(before, now Outcome) bool {
	return before == "" || now == Forbidden && before != Forbidden
}

func (w *Writer) setNode(n *node) {
	w.mu.Lock()
	switch {
	case n == nil:
		if !w.missing {
			w.cfg.Log.Warn("the Node does not exist; waiting for it", "node", w.cfg.Node)
		}
		w.node, w.missing = nil, true
	case n.newer(w.node):
		w.node, w.missing = n, false
	}
	w.mu.Unlock()
	poke(w.wake)
}

// fightWatch remembers when foreign edits were put back.
type fightWatch struct{ times []time.Time }

func (f *fightWatch) putBack(now time.Time) { f.times = append(f.trim(now), now) }

func (f *fightWatch) trim(now time.Time) []time.Time {
	f.times = slices.DeleteFunc(f.times, func(t time.Time) bool { return now.Sub(t) > putBackWindow })
	return f.times
}

// due is how long the next reversal of an edit has to wait; 0 for not at all.
func (f *fightWatch) due(now time.Time) time.Duration {
	times := f.trim(now)
	if len(times) < putBacks {
		return 0
	}
	delay := min(firstPutBackDelay<<min(len(times)-putBacks, 10), lastPutBack)
	return max(0, delay-now.Sub(times[len(times)-1]))
}

// over reports whether nobody has changed anything for long.
func (f *fightWatch) over(now time.Time) bool { return len(f.trim(now)) < putBacks }

func (w *Writer) noticeFight(keys []string, wait time.Duration) {
	w.mu.Lock()
	first := !w.fighting
	w.fighting = true
	n := w.node
	w.mu.Unlock()
	if !first {
		return
	}
	slices.Sort(keys)
	w.cfg.Log.Error("another writer keeps changing the agent's keys; restoring them with increasing delay", "keys", strings.Join(keys, ","), "wait", wait.Round(time.Second).String())
	w.emit(event{node: n, kind: "Warning", reason: "SCTPLabelsContested", message: "another writer keeps changing " + strings.Join(keys, ", ") + "; the agent restores them with increasing delay"})
}

// transition emits an Event if ready or reason changed.
func (w *Writer) transition(r verdict.Report, said nodelabel.Metadata, n *node) {
	k := w.cfg.Keys
	before, _ := nodelabel.ParseReport(said.Annotations[k.Report()])
	if before.Ready == r.Ready && said.Annotations[k.Reason()] == string(r.Reason) {
		return
	}
	kind := "Warning"
	if r.Ready == kmod.AnswerTrue {
		kind = "Normal"
	}
	w.emit(event{node: n, kind: kind, reason: string(r.Reason), message: r.Message})
}
