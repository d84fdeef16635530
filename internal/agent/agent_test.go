package agent

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/sctp-agent/sctp-agent/internal/buildinfo"
	"github.com/sctp-agent/sctp-agent/internal/doctest"
	"github.com/sctp-agent/sctp-agent/internal/nodewriter"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// notebook is a writer that writes down.
type notebook struct {
	mu       sync.Mutex
	reports  []verdict.Report
	flushErr error
}

func (n *notebook) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func (n *notebook) Publish(r verdict.Report) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reports = append(n.reports, r)
}

func (n *notebook) Flush(ctx context.Context) error {
	if n.flushErr != nil {
		<-ctx.Done()
		return n.flushErr
	}
	return nil
}

func (n *notebook) all() []verdict.Report {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]verdict.Report(nil), n.reports...)
}

// hand is a trigger and a shutdown watch worked by hand.
type hand struct {
	fired     chan string
	shutdowns chan Shutdown
	err       chan error
}

func newHand() *hand {
	return &hand{fired: make(chan string), shutdowns: make(chan Shutdown), err: make(chan error)}
}

func (h *hand) Name() string { return "hand" }

func (h *hand) Run(ctx context.Context, fire func(string)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case why := <-h.fired:
			fire(why)
		case err := <-h.err:
			return err
		}
	}
}

type shutdownHand struct{ *hand }

func (h shutdownHand) Run(ctx context.Context, notice func(Shutdown)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-h.shutdowns:
			notice(s)
		}
	}
}

func reportOf(reason verdict.Reason) verdict.Report {
	r := verdict.Judge(verdict.Facts{Node: "n"})
	r.Reason, r.Ready = reason, reason.Ready()
	return r
}

// script is an assessment with given results, which counts its calls.
type script struct {
	mu     sync.Mutex
	n      int
	reason verdict.Reason
}

func says(reason verdict.Reason) *script { return &script{reason: reason} }

func (s *script) assess(context.Context) verdict.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	return reportOf(s.reason)
}

func (s *script) say(reason verdict.Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reason = reason
}

func (s *script) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

// start runs an agent in the test's bubble of time.
func start(t *testing.T, cfg Config) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	a := New(cfg)
	go func() { done <- a.Run(ctx) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// A burst is one assessment; at rest there is one in about ten minutes, each with a
// message.
func TestBurstAndRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := says(verdict.ReasonModuleNotLoaded)
		h, w := newHand(), &notebook{}
		var rests atomic.Int32
		stop := start(t, Config{
			Assess: s.assess,
			Writer: w, Triggers: []Trigger{h},
			AtRest: func() { rests.Add(1) },
		})
		if s.count() != 1 {
			t.Fatalf("%d assessments at the start", s.count())
		}
		for range 100 {
			h.fired <- "burst"
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		if s.count() != 2 {
			t.Errorf("%d assessments for a burst of 100", s.count()-1)
		}
		// A stream that never ends does not keep it from looking, nor does it keep it
		// busy.
		stream := func(length time.Duration) int {
			before := s.count()
			for range length / (10 * time.Millisecond) {
				h.fired <- "stream"
				time.Sleep(10 * time.Millisecond)
			}
			return s.count() - before
		}
		if got := stream(5 * time.Second); got < 15 || got > 25 {
			t.Errorf("%d assessments in the first five seconds of events", got)
		}
		if rests.Load() != 0 {
			t.Errorf("at rest %d times while there were events", rests.Load())
		}
		if got := stream(10 * time.Minute); got < 55 || got > 65 {
			t.Errorf("%d assessments in ten more minutes of events", got)
		}
		// What follows a change is not held back.
		s.say(verdict.ReasonProbePassed)
		if got := stream(time.Minute); got < 20 || got > 30 {
			t.Errorf("%d assessments in a minute of events after a change", got)
		}
		last := s.count()
		time.Sleep(10 * time.Second)
		before := s.count()
		if before != last+1 {
			t.Errorf("%d assessments after the last of the events", before-last)
		}
		rests.Store(0)
		time.Sleep(time.Hour)
		got := s.count() - before
		if got < 5 || got > 8 {
			t.Errorf("%d assessments in an hour at rest", got)
		}
		// Perhaps the last one was a moment ago.
		if rested := int(rests.Load()); rested < got || rested > got+1 {
			t.Errorf("at rest %d times, with %d assessments in that hour", rested, got)
		}
		stop()
	})
}

// What is unknown is asked for again soon, and then less and less often.
func TestUnknownIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := says(verdict.ReasonModuleInTransition)
		stop := start(t, Config{
			Assess: s.assess,
			Writer: &notebook{},
		})
		time.Sleep(500 * time.Millisecond)
		if s.count() < 2 {
			t.Error("a module in transition is not looked at again within half a second")
		}
		time.Sleep(time.Hour)
		if s.count() > 90 {
			t.Errorf("%d assessments in an hour of not knowing", s.count())
		}
		s.say(verdict.ReasonProbePassed)
		time.Sleep(2 * time.Minute)
		before := s.count()
		time.Sleep(5 * time.Minute)
		if s.count() != before {
			t.Error("it goes on asking although it knows")
		}
		stop()
	})
}

// Without a trigger, the agent looks every minute instead.
func TestBrokenTrigger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := says(verdict.ReasonModuleNotLoaded)
		h := newHand()
		m := NewMetrics(MetricsOptions{})
		stop := start(t, Config{
			Assess: s.assess,
			Writer: &notebook{}, Triggers: []Trigger{h}, Metrics: m,
		})
		for range 12 {
			h.err <- errors.New("inotify: too many watches")
		}
		synctest.Wait()
		if m.triggerWorks.Get("hand") != 0 {
			t.Error("a broken trigger is shown as working")
		}
		// It has failed so often that it is left alone for some five minutes.
		before := s.count()
		time.Sleep(3*time.Minute + 30*time.Second)
		if got := s.count() - before; got < 2 || got > 5 {
			t.Errorf("%d assessments in three and a half minutes without a trigger", got)
		}
		time.Sleep(5 * time.Minute)
		if m.triggerWorks.Get("hand") != 1 {
			t.Error("the trigger was not started again")
		}
		stop()
	})
}

// A shutdown turns the verdict before the lock is released; a writer that
// cannot does not hold the shutdown up for long; one that is called off is
// followed by a new look.
func TestShutdown(t *testing.T) {
	for _, stuck := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h, w := newHand(), &notebook{}
			if stuck {
				w.flushErr = errors.New("no API server")
			}
			stop := start(t, Config{
				Assess: func(context.Context) verdict.Report { return reportOf(verdict.ReasonProbePassed) },
				Writer: w, Shutdown: shutdownHand{h}, Triggers: []Trigger{h},
			})
			released := make(chan struct{})
			begin := time.Now()
			h.shutdowns <- Shutdown{Begins: true, Release: func() { close(released) }}
			<-released
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("the shutdown was held up for %s", took)
			}
			reports := w.all()
			if got := reports[len(reports)-1]; got.Reason != verdict.ReasonNodeRebooting || got.Ready != kmod.AnswerFalse {
				t.Errorf("the last word before the shutdown is %s %s", got.Ready, got.Reason)
			}
			h.fired <- "services stop"
			time.Sleep(time.Second)
			if got := w.all(); len(got) != len(reports) {
				t.Error("what is found while the node shuts down was published")
			}
			h.shutdowns <- Shutdown{Begins: false, Release: func() {}}
			time.Sleep(time.Second)
			reports = w.all()
			if got := reports[len(reports)-1].Reason; got != verdict.ReasonProbePassed {
				t.Errorf("after a shutdown that was called off: %s", got)
			}
			stop()
		})
	}
}

// An assessment that is under way does not hold the shutdown up for longer, and a
// shutdown that takes its time (kubelet's grace period may be an hour) does not
// make the agent look stuck: restarted, it would report ready again.
func TestSlowShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, w := newHand(), &notebook{}
		var slow atomic.Bool
		a := New(Config{
			Assess: func(context.Context) verdict.Report {
				if slow.Load() {
					time.Sleep(10 * time.Second)
				}
				return reportOf(verdict.ReasonProbePassed)
			},
			Writer: w, Shutdown: shutdownHand{h}, Triggers: []Trigger{h},
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		synctest.Wait()
		slow.Store(true)
		h.fired <- "test"
		time.Sleep(time.Second)
		var released atomic.Int64
		begin := time.Now()
		h.shutdowns <- Shutdown{Begins: true, Release: func() { released.Store(int64(time.Since(begin))) }}
		time.Sleep(time.Hour)
		if took := time.Duration(released.Load()); took == 0 || took > 2*time.Second {
			t.Errorf("the shutdown was held up for %s", took)
		}
		reports := w.all()
		if got := reports[len(reports)-1].Reason; got != verdict.ReasonNodeRebooting {
			t.Errorf("the last word is %s", got)
		}
		if !a.healthy() {
			t.Error("an agent that waits for the end of the shutdown is unhealthy")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// An agent that learns first of all that the node shuts down reports that too,
// whatever its predecessor wrote.
func TestStartedWhileShuttingDown(t *testing.T) {
	for range 20 { // the first assessment and the news are due together
		synctest.Test(t, func(t *testing.T) {
			w := &notebook{}
			a := New(Config{Assess: says(verdict.ReasonProbePassed).assess, Writer: w})
			ctx, cancel := context.WithCancel(t.Context())
			shutdown, done := make(chan Shutdown, 1), make(chan struct{})
			shutdown <- Shutdown{Begins: true, Release: cancel}
			go func() { a.loop(ctx, shutdown, nil); close(done) }()
			<-done
			reports := w.all()
			if len(reports) == 0 || reports[len(reports)-1].Reason != verdict.ReasonNodeRebooting {
				t.Errorf("published: %+v", reports)
			}
		})
	}
}

// An inspection that fails, and so does not know which boot this is, changes
// nothing: neither for the Node's writer nor in the feature file.
func TestBootIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proved := reportOf(verdict.ReasonProbePassed)
		proved.Kernel.BootID = "one"
		var failed atomic.Bool
		h, w, file := newHand(), &notebook{}, FeatureFile{Dir: t.TempDir()}
		stop := start(t, Config{
			Assess: func(context.Context) verdict.Report {
				if failed.Load() {
					return reportOf(verdict.ReasonInspectionFailed)
				}
				return proved
			},
			Writer: w, Triggers: []Trigger{h}, Outputs: []func(verdict.Report) error{file.Write},
		})
		failed.Store(true)
		h.fired <- "test"
		time.Sleep(time.Second)
		stop()
		reports := w.all()
		if last := reports[len(reports)-1]; last.Reason != verdict.ReasonInspectionFailed || last.Kernel.BootID != "one" {
			t.Errorf("published last: %s of boot %q", last.Reason, last.Kernel.BootID)
		}
		text, err := os.ReadFile(filepath.Join(file.Dir, FeatureFileName))
		if err != nil || !strings.Contains(string(text), "sctp.ready=true\n") {
			t.Errorf("the feature file says %q, %v", text, err)
		}
	})
}

// One line per transition, with the evidence, and silence otherwise.
func TestLogsTransitionsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var buf bytes.Buffer
		var mu sync.Mutex
		s := says(verdict.ReasonModuleNotLoaded)
		h := newHand()
		stop := start(t, Config{
			Assess: s.assess,
			Writer: &notebook{}, Triggers: []Trigger{h},
			Log: slog.New(slog.NewTextHandler(lockedWriter{&mu, &buf}, nil)),
		})
		for _, reason := range []verdict.Reason{verdict.ReasonModuleNotLoaded, verdict.ReasonProbePassed, verdict.ReasonProbePassed} {
			s.say(reason)
			h.fired <- "test"
			time.Sleep(time.Second)
		}
		time.Sleep(time.Hour)
		stop()
		mu.Lock()
		defer mu.Unlock()
		if n := strings.Count(buf.String(), "\n"); n != 2 || !strings.Contains(buf.String(), "wasReason=ModuleNotLoaded") {
			t.Errorf("%d lines:\n%s", n, buf.String())
		}
	})
}

type lockedWriter struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// A loop that hangs is unhealthy; a node without SCTP is not.
func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		var hanging atomic.Bool
		a := New(Config{
			Assess: func(context.Context) verdict.Report {
				if hanging.Load() {
					<-hang
				}
				return reportOf(verdict.ReasonModuleMissing)
			},
			Writer: &notebook{},
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		get := func(path string) int {
			rec := httptest.NewRecorder()
			a.Handler(func() bool { return false }).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
			return rec.Code
		}
		time.Sleep(3 * time.Hour)
		if get("/healthz") != 200 || get("/readyz") != 503 {
			t.Errorf("healthz %d, readyz %d on a node without SCTP that the API server never heard of", get("/healthz"), get("/readyz"))
		}
		hanging.Store(true)
		time.Sleep(time.Hour)
		if get("/healthz") != 503 {
			t.Error("a loop that hangs is healthy")
		}
		close(hang)
		cancel()
		<-done
	})
}

// The metrics are clean, complete from the start, and have what was found.
func TestMetrics(t *testing.T) {
	proc := t.TempDir()
	if err := os.MkdirAll(filepath.Join(proc, "net/sctp"), 0o755); err != nil {
		t.Fatal(err)
	}
	// As net/sctp/proc.c prints it.
	established := "SctpCurrEstab                   \t2\n"
	snmp := established + "SctpActiveEstabs                \t7\nSctpT3RtxExpireds               \t1\nSctpInPktBacklog                \t0\nnonsense\n"
	if err := os.WriteFile(filepath.Join(proc, "net/sctp/snmp"), []byte(established), 0o644); err != nil {
		t.Fatal(err)
	}
	m := NewMetrics(MetricsOptions{Build: buildinfo.Info{Version: "v1"}, Proc: proc, Contested: func() bool { return true }, Unconfined: func() bool { return true }})
	r := reportOf(verdict.ReasonProbePassed)
	r.Probe = verdict.Probe{Attempted: true, DurationMicros: 1500, Checks: []verdict.Check{{Name: "ipv4-stream", Result: "pass"}}}
	m.assessed(r, time.Millisecond)
	m.published(r)
	m.Wrote(nodewriter.Applied)
	m.fired("inotify")
	m.trigger("inotify", true)
	doctest.Section(t, "metrics of sctp-agent", doctest.Metrics(string(m.Text()), "ready", "state", "on_boot", "outcome", "result"))
	// The kernel's counters are many; the reference has them in one sentence.
	if err := os.WriteFile(filepath.Join(proc, "net/sctp/snmp"), []byte(snmp), 0o644); err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.New(bytes.NewReader(m.Text())).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	rec := httptest.NewRecorder()
	New(Config{Metrics: m}).Handler(nil).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`sctp_agent_ready{ready="true"} 1`, `sctp_agent_ready{ready="false"} 0`,
		`sctp_agent_reason{reason="ProbePassed"} 1`, `sctp_agent_reason{reason="ModuleBlacklisted"} 0`,
		`sctp_agent_check_result{check="ipv4-stream",result="pass"} 1`,
		`sctp_agent_node_writes_total{outcome="applied"} 1`, `sctp_agent_node_writes_total{outcome="throttled"} 0`,
		`sctp_agent_labels_contested 1`, `sctp_agent_unconfined 1`, `sctp_agent_probe_duration_seconds_count 1`,
		`sctp_associations 2`, `sctp_active_estabs_total 7`, `sctp_t3_rtx_expireds_total 1`, `sctp_in_pkt_backlog_total 0`,
	} {
		if !strings.Contains(rec.Body.String(), want+"\n") {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	if strings.Contains(rec.Body.String(), "go_") {
		t.Error("/metrics shows what is not the agent's")
	}
}
