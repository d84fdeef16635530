package nodewriter

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// halfOpen is a connection that takes requests and, while dead, never answers
// them; else it answers late.
type halfOpen struct {
	server *apiServer
	late   time.Duration
	dead   atomic.Bool
	tries  atomic.Int32
}

func (h *halfOpen) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Query().Get("dryRun") == "" { // which nothing waits for
		h.tries.Add(1)
	}
	if h.dead.Load() {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	time.Sleep(h.late)
	return h.server.RoundTrip(req)
}

// A slow API server is waited for, and a connection on which no answer ever
// comes is given up: the writer tries again, at its ease, and ends right.
func TestSlowAndHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := oneNode(&apiNode{version: 1})
		way := &halfOpen{server: server, late: 20 * time.Second}
		outcomes := map[Outcome]int{}
		var mu sync.Mutex
		w, stop := startWriter(t, way, Config{Observe: func(o Outcome) {
			mu.Lock()
			outcomes[o]++
			mu.Unlock()
		}})
		say := func(reason verdict.Reason) {
			r := verdict.Judge(verdict.Facts{Node: "n"})
			r.Reason, r.Ready = reason, reason.Ready()
			w.Publish(r)
		}
		right := func(reason verdict.Reason, most time.Duration) {
			t.Helper()
			start := time.Now()
			for server.says(reason) == 0 {
				if time.Since(start) > most {
					t.Fatalf("the Node does not say %s after %s", reason, most)
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
		say(verdict.ReasonModuleNotLoaded)
		right(verdict.ReasonModuleNotLoaded, 45*time.Second) // a watch, then a write

		way.dead.Store(true)
		before := way.tries.Load()
		say(verdict.ReasonProbePassed)
		time.Sleep(5 * time.Minute)
		if n := way.tries.Load() - before; n < 4 || n > 12 {
			t.Errorf("%d tries in five minutes without an answer", n)
		}
		mu.Lock()
		if outcomes[Unreachable] < 4 || outcomes[Applied] != 1 {
			t.Errorf("outcomes %v", outcomes)
		}
		mu.Unlock()
		way.dead.Store(false)
		// The try that hangs, the window after it, and the slow answer.
		right(verdict.ReasonProbePassed, requestTimeout+lastWindow+20*time.Second)
		stop()
	})
}

// The first watch meets a connection on which no answer comes: it too is abandoned,
// or the Node would have no labels for as long as a watch may last.
func TestHalfOpenFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := oneNode(&apiNode{version: 1})
		way := &halfOpen{server: server}
		way.dead.Store(true)
		w, stop := startWriter(t, way, Config{})
		w.Publish(verdict.Judge(verdict.Facts{Node: "n"}))
		time.Sleep(10 * time.Second)
		way.dead.Store(false)
		start := time.Now()
		for server.says(verdict.ReasonInspectionFailed) == 0 {
			// The try that hangs, and the window after it.
			if time.Since(start) > requestTimeout+firstWindow {
				t.Fatal("the Node does not say what was published")
			}
			time.Sleep(100 * time.Millisecond)
		}
		stop()
	})
}

// noEvents is an API server that never answers about Events.
type noEvents struct {
	server *apiServer
	asked  chan struct{}
}

func (n noEvents) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.HasSuffix(req.URL.Path, "/events") {
		n.asked <- struct{}{}
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	return n.server.RoundTrip(req)
}

// An Event that does not get through does not keep the writer from its end.
func TestEndWhileAnEventHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := oneNode(&apiNode{version: 1})
		way := noEvents{server, make(chan struct{})}
		w, stop := startWriter(t, way, Config{Events: true})
		w.Publish(verdict.Judge(verdict.Facts{Node: "n"}))
		<-way.asked
		ended := time.Now()
		stop()
		if took := time.Since(ended); took > lastEvents {
			t.Errorf("it took %s to end", took)
		}
	})
}
