// Package agent is the loop of "sctp-agent run": it waits for triggers, assesses
// the host and passes the report to the writer of the Node. It judges nothing
// itself.
package agent

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/sctp-agent/sctp-agent/internal/backoff"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// Writer keeps the Node true to the newest report; see pkg/nodelabel.
type Writer interface {
	// Run works until ctx ends.
	Run(ctx context.Context) error
	// Publish makes a report the newest one. It does not block.
	Publish(verdict.Report)
	// Flush waits until the Node has what was published last.
	Flush(ctx context.Context) error
}

// Trigger notices that an assessment is due.
type Trigger interface {
	// Run calls fire, with the cause, each time something happened that may change
	// the verdict, until ctx ends. An error means that it cannot notice anything
	// (any more).
	Run(ctx context.Context, fire func(why string)) error
	// Name of the trigger, for logs and metrics.
	Name() string
}

// Config of an agent.
type Config struct {
	// Assess makes a report. It is bounded by ctx, and its errors are in the
	// report.
	Assess func(context.Context) verdict.Report
	Writer Writer
	// Triggers make the agent assess at once. Without them it assesses every Resync
	// only.
	Triggers []Trigger
	// Resync is the mean time between assessments while nothing happens; 0
	// means [DefaultResync]. Each one comes after 0.8 to 1.2 times as long.
	Resync time.Duration
	// AssessTimeout bounds one assessment; 0 means [DefaultAssessTimeout].
	AssessTimeout time.Duration
	// Shutdown notices that the node shuts down; nil where that cannot be known.
	Shutdown ShutdownWatch
	// Outputs hear of every report besides the Node, such as a feature file;
	// an error is logged once until it goes away.
	Outputs []func(verdict.Report) error
	// AtRest is called once after assessments, when nothing more happens for
	// a while; nil for nothing.
	AtRest func()
	// Metrics hears of everything; nil for those that nobody reads.
	Metrics *Metrics
	Log     *slog.Logger
}

const (
	// DefaultResync is slow: it is the safety net below the triggers.
	DefaultResync = 10 * time.Minute
	resyncSpread  = 0.2
	// DefaultAssessTimeout is far beyond what reading some files and a probe
	// take.
	DefaultAssessTimeout = 20 * time.Second

	// A burst of triggers is one assessment: it waits until nothing happened
	// for settle, but no longer than settleMost after the first.
	settle, settleMost = 50 * time.Millisecond, 250 * time.Millisecond
	// So many assessments that change nothing are made at once; then, one each often:
	// a log that a script names is written all the time.
	atOnce, often = 20, 10 * time.Second

	// While the answer is unknown, the agent assesses again, with increasing delay;
	// a module that is being loaded or unloaded needs milliseconds.
	firstRecheck, lastRecheck = 200 * time.Millisecond, time.Minute
	// A trigger that fails is started again, with increasing delay; until it
	// works the agent looks this often itself.
	firstRestart, lastRestart = time.Second, 5 * time.Minute
	withoutTrigger            = time.Minute
	// At the end, the last result may still be written to the Node.
	lastFlush = 2 * time.Second
	// Nothing is to be expected once nothing happened for so long.
	restAfter = 2 * time.Second
)

// Agent is one node's agent.
type Agent struct {
	cfg  Config
	fire chan string
	// progress is when the loop last began again, in nanoseconds of the monotonic
	// clock since start, and period how long it waits at most until it does again.
	start    time.Time
	progress atomic.Int64
	period   atomic.Int64
	broken   atomic.Int32 // triggers that do not work
	// outputErr is what each output failed with last; of the loop alone.
	outputErr []string
}

// New makes an agent. It does nothing before Run.
func New(cfg Config) *Agent {
	if cfg.Resync <= 0 {
		cfg.Resync = DefaultResync
	}
	if cfg.AssessTimeout <= 0 {
		cfg.AssessTimeout = DefaultAssessTimeout
	}
	if cfg.AtRest == nil {
		cfg.AtRest = func() {}
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(MetricsOptions{})
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Agent{cfg: cfg, fire: make(chan string, 1), start: time.Now(), outputErr: make([]string, len(cfg.Outputs))}
}

// Run works until ctx ends, and then leaves the Node as it is: the last result is
// still the best available.
func (a *Agent) Run(ctx context.Context) error {
	if a.cfg.Assess == nil || a.cfg.Writer == nil {
		return errors.New("an agent needs something to assess with and something to write with")
	}
	// The writer outlives the loop by a moment, for the last words.
	writerCtx, stopWriter := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWriter()
	writerErr := make(chan error, 1)
	go func() { writerErr <- a.cfg.Writer.Run(writerCtx) }()

	var wg sync.WaitGroup
	loopCtx, stopLoop := context.WithCancel(ctx)
	defer wg.Wait()
	defer stopLoop()
	for _, t := range a.cfg.Triggers {
		wg.Go(func() { a.runTrigger(loopCtx, t) })
	}
	var shutdown <-chan Shutdown
	if a.cfg.Shutdown != nil {
		ch := make(chan Shutdown)
		shutdown = ch
		wg.Go(func() { a.runShutdownWatch(loopCtx, ch) })
	}

	a.loop(loopCtx, shutdown, writerErr)

	flush, cancel := context.WithTimeout(writerCtx, lastFlush)
	_ = a.cfg.Writer.Flush(flush)
	cancel()
	stopWriter()
	select {
	case err := <-writerErr:
		return err
	case <-time.After(lastFlush):
		return errors.New("the writer did not end")
	}
}

func (a *Agent) loop(ctx context.Context, shutdown <-chan Shutdown, writerErr chan error) {
	var (
		last      *verdict.Report
		rebooting bool
		unknown   = backoff.Backoff{First: firstRecheck, Last: lastRecheck}
	)
	timer := time.NewTimer(0)
	defer timer.Stop()
	rest := time.AfterFunc(restAfter, a.cfg.AtRest)
	defer rest.Stop()
	why := "start"
	limit := idleLimit()
	for {
		a.alive()
		select {
		case <-ctx.Done():
			return
		case err := <-writerErr:
			// Only ever at the end; kept for Run to return.
			writerErr <- err
			return
		case s := <-shutdown:
			rebooting = s.Begins
			if s.Begins {
				if last == nil {
					// Started during a shutdown: the Node still has the previous
					// agent's result.
					r := a.assess(ctx)
					last = &r
				}
				r := verdict.Rebooting(*last)
				a.publish(r, last, "shutdown")
				last = &r
				flush, cancel := context.WithTimeout(ctx, lastFlush)
				if err := a.cfg.Writer.Flush(flush); err != nil {
					a.cfg.Log.Warn("the node shuts down, and its label could not be changed in time", "error", err.Error())
				}
				cancel()
				s.Release()
				continue
			}
			why = "shutdown cancelled"
		case why = <-a.fire:
			if !limit.Allow() {
				timer.Reset(often)
				continue
			}
			a.settle(ctx)
		case <-timer.C:
		}
		if rebooting {
			// A result is not worth publishing now: services stop and modules may
			// be unloaded in any order. The timer shows that the loop runs.
			timer.Reset(withoutTrigger)
			continue
		}
		r := a.assess(ctx)
		if ctx.Err() != nil {
			return
		}
		if r.Kernel.BootID == "" && last != nil {
			// An inspection that failed has no boot ID, but it is the same boot.
			r.Kernel.BootID = last.Kernel.BootID
		}
		a.publish(r, last, why)
		if last == nil || !same(r, *last) {
			limit = idleLimit()
		}
		last = &r
		rest.Reset(restAfter)

		wait := backoff.Spread(a.cfg.Resync, resyncSpread)
		if a.broken.Load() > 0 {
			wait = min(wait, backoff.Spread(withoutTrigger, resyncSpread))
		}
		if r.Ready == kmod.AnswerUnknown {
			wait = min(wait, unknown.Next())
		} else {
			unknown.Reset()
		}
		a.period.Store(int64(wait))
		timer.Reset(wait)
		why = "resync"
	}
}

// same reports whether two reports have the same verdict.
func same(a, b verdict.Report) bool {
	return a.Ready == b.Ready && a.Reason == b.Reason && a.OnBoot == b.OnBoot
}

// idleLimit limits the assessments that change nothing.
func idleLimit() *rate.Limiter { return rate.NewLimiter(rate.Every(often), atOnce) }

// settle swallows a burst.
func (a *Agent) settle(ctx context.Context) {
	most := time.NewTimer(settleMost)
	defer most.Stop()
	quiet := time.NewTimer(settle)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-most.C:
			return
		case <-quiet.C:
			return
		case <-a.fire:
			quiet.Reset(settle)
		}
	}
}

func (a *Agent) assess(ctx context.Context) verdict.Report {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.AssessTimeout)
	defer cancel()
	start := time.Now()
	r := a.cfg.Assess(ctx)
	a.cfg.Metrics.assessed(r, time.Since(start))
	return r
}

// publish hands a report to the writer, and logs it if it is new.
func (a *Agent) publish(r verdict.Report, last *verdict.Report, why string) {
	a.cfg.Writer.Publish(r)
	a.cfg.Metrics.published(r)
	for i, output := range a.cfg.Outputs {
		switch err := output(r); {
		case err == nil:
			a.outputErr[i] = ""
		case a.outputErr[i] != err.Error():
			a.outputErr[i] = err.Error()
			a.cfg.Log.Warn("an optional output failed", "error", err.Error())
		}
	}
	if last != nil && same(r, *last) {
		return
	}
	attrs := []any{"ready", string(r.Ready), "reason", string(r.Reason), "onBoot", string(r.OnBoot), "trigger", why, "message", r.Message}
	if last != nil {
		attrs = append(attrs, "was", string(last.Ready), "wasReason", string(last.Reason))
	}
	if e := evidence(r); e != "" {
		attrs = append(attrs, "evidence", e)
	}
	a.cfg.Log.Info("verdict", attrs...)
}

func (a *Agent) runTrigger(ctx context.Context, t Trigger) {
	failed := backoff.Backoff{First: firstRestart, Last: lastRestart}
	fire := func(why string) {
		select {
		case a.fire <- why:
		default:
			// One is waiting already, and was not handled yet.
		}
	}
	works := true
	failed.Keep(ctx, func() error {
		if !works {
			a.broken.Add(-1)
			works = true
		}
		a.cfg.Metrics.trigger(t.Name(), true)
		return t.Run(ctx, func(why string) {
			a.cfg.Metrics.fired(t.Name())
			fire(why)
		})
	}, func(err error) {
		a.broken.Add(1)
		works = false
		a.cfg.Metrics.trigger(t.Name(), false)
		a.cfg.Log.Warn("a trigger failed; assessing more often instead", "trigger", t.Name(), "every", withoutTrigger.String(), "error", cmp.Or(err, errEnded).Error())
		fire("trigger lost")
	})
}

// errEnded is why something failed that should not end, where it has no error.
var errEnded = errors.New("it ended")

func (a *Agent) alive() { a.progress.Store(int64(time.Since(a.start))) }

// healthy reports whether the loop makes progress: it must begin again within its
// own waiting time and the time that an assessment may take.
func (a *Agent) healthy() bool {
	idle := time.Since(a.start) - time.Duration(a.progress.Load())
	allowed := max(time.Duration(a.period.Load()), withoutTrigger) + 2*a.cfg.AssessTimeout
	return idle < allowed
}

// evidence is the line that decides.
func evidence(r verdict.Report) string {
	for _, list := range [][]kmod.Evidence{r.Policy.Autoload.Evidence, r.Policy.ModulesLoad.Evidence, r.Policy.Modprobe.Evidence} {
		if len(list) > 0 {
			return list[0].String()
		}
	}
	return ""
}
