package nodewriter

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// restarting is an API server that goes away, and refuses everything for a while
// once it is asked again.
type restarting struct {
	server  *apiServer
	refuses time.Duration

	mu    sync.Mutex
	away  bool
	until time.Time // refuses until then; zero before it is asked again
}

func (r *restarting) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	away := r.away
	policy := req.URL.Query().Has("dryRun") // what is to be refused, whenever it is asked
	if !away && !policy && r.until.IsZero() {
		r.until = time.Now().Add(r.refuses)
	}
	refused := policy || time.Now().Before(r.until)
	r.mu.Unlock()
	switch {
	case away:
		return nil, syscall.ECONNREFUSED
	case refused:
		return answer(http.StatusForbidden, `{"kind":"Status","status":"Failure","reason":"Forbidden","code":403,"message":"nodes \"n\" is forbidden: User \"u\" cannot patch resource"}`, ""), nil
	}
	return r.server.RoundTrip(req)
}

// An API server that has just started refuses what it does not know of yet. The
// agent retries soon, and reports forbidden only when that continues.
func TestForbiddenOnceItPersists(t *testing.T) {
	for _, tt := range []struct {
		name      string
		refuses   time.Duration
		forbidden bool
		// within this the Node is right, from the last refusal on: the watch's
		// last wait, and what the write waits for its turn then.
		within time.Duration
	}{
		{"for a moment", time.Second, false, 3*time.Second + comeback},
		{"as often as is not believed", 3400 * time.Millisecond, false, 6*time.Second + comeback},
		{"for good", 10 * time.Minute, true, lastWatch*3/2 + comeback},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				way := &restarting{server: oneNode(&apiNode{version: 1}), until: time.Now()}
				var (
					mu       sync.Mutex
					outcomes = map[Outcome]int{}
					log      bytes.Buffer
				)
				w, stop := startWriter(t, way, Config{
					Observe: func(o Outcome) { mu.Lock(); outcomes[o]++; mu.Unlock() },
					Log:     slog.New(slog.NewTextHandler(&lockedWriter{w: &log, mu: &mu}, nil)),
				})
				w.Publish(report(boot1, verdict.ReasonModuleMissing, verdict.OnBootBlocked))
				if err := w.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				set := func(away bool) {
					way.mu.Lock()
					way.away, way.refuses, way.until = away, tt.refuses, time.Time{}
					way.mu.Unlock()
				}
				// Away for so long that the next retries are as late as they
				// ever are.
				set(true)
				way.server.stop()
				w.Publish(report(boot1, verdict.ReasonProbePassed, verdict.OnBootLoaded))
				time.Sleep(10 * time.Minute)
				way.server.start(0)
				set(false)
				var until time.Time
				for until.IsZero() || time.Now().Before(until) {
					time.Sleep(10 * time.Millisecond)
					way.mu.Lock()
					until = way.until
					way.mu.Unlock()
				}
				for way.server.says(verdict.ReasonProbePassed) == 0 {
					if time.Since(until) > tt.within {
						t.Fatalf("not right within %s", tt.within)
					}
					time.Sleep(10 * time.Millisecond)
				}
				stop()
				if got := outcomes[Forbidden] > 0; got != tt.forbidden || outcomes[NotReady] > unbelieved {
					t.Errorf("outcomes %v; forbidden for good: %v", outcomes, tt.forbidden)
				}
				if got := strings.Contains(log.String(), "orbidden"); got != tt.forbidden {
					t.Errorf("forbidden for good: %v, and the log has:\n%s", tt.forbidden, log.String())
				}
			})
		})
	}
}

// lockedWriter is a log that is read while it is written.
type lockedWriter struct {
	w  *bytes.Buffer
	mu *sync.Mutex
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
