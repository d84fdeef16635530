package nodewriter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/backoff"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// Agents that are turned away in the same instant do not come back in the same
// second, nor any sooner than they were asked to.
func TestTurnedAwayTogether(t *testing.T) {
	const agents, asked = 2000, 5
	err := fmt.Errorf("applying: %w", refusalOf(answer(http.StatusTooManyRequests, "too many", fmt.Sprint(asked))))
	all := make([]retries, agents)
	for i := range all {
		all[i] = retries{Backoff: backoff.Backoff{First: firstRetry, Last: lastRetry}}
	}
	for _, window := range []time.Duration{8, 16, 32, 32} {
		seconds := map[int]int{}
		for i := range all {
			d := all[i].after(err)
			if d < asked*time.Second {
				t.Fatalf("back after %s, although asked to wait %d s", d, asked)
			}
			if most := (asked + window) * time.Second; d > most {
				t.Fatalf("back after %s, want at most %s", d, most)
			}
			seconds[int(d/time.Second)]++
		}
		mean := agents / float64(window)
		for s, n := range seconds {
			if float64(n) > 2*mean {
				t.Errorf("window of %d s: %d come back in second %d, %.0f would be even", window, n, s, mean)
			}
		}
	}
	b := retries{Backoff: backoff.Backoff{First: firstRetry, Last: lastRetry}}
	if d := b.after(errors.New("no answer")); d < firstRetry/2 || d > 3*firstRetry/2 {
		t.Errorf("nobody asked to wait, and the first retry comes after %s", d)
	}
}

// apiServer is a model of an API server and its priority and fairness: it
// answers so many requests a second, holds so many back, and turns the rest
// away for a second. A watch is open until the server ends.
type apiServer struct {
	mostQueued int

	mu       sync.Mutex
	nodes    map[string]*apiNode
	queued   int
	free     time.Time // when the request that comes now would be served
	away     bool
	gone     chan struct{} // closed when the server ends
	starting time.Time     // requests wait until then

	unconfined bool // no admission policy refuses what is not the agent's
	questions  int  // dry runs

	begun    time.Time
	answered map[int]int // by second
	refused  int
	events   int
}

type apiNode struct {
	version             int
	labels, annotations map[string]string
	conditions          []Condition
}

const servedPerSecond = 20

func (s *apiServer) reset() {
	s.mu.Lock()
	s.begun, s.answered, s.refused, s.events = time.Now(), map[int]int{}, 0, 0
	s.mu.Unlock()
}

// shape of the traffic since reset. The mean is over the time in which 99 % of
// the answers came: one agent that was turned away three times does not make the
// others' peak a smaller one.
func (s *apiServer) shape() (answered, peak, refused int, mean float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.answered {
		answered += n
		peak = max(peak, n)
	}
	seconds, sum := 0, 0
	for ; sum*100 < answered*99; seconds++ {
		sum += s.answered[seconds]
	}
	return answered, peak, s.refused, float64(sum) / float64(max(seconds, 1))
}

func (s *apiServer) stop() {
	s.mu.Lock()
	s.away = true
	close(s.gone)
	s.mu.Unlock()
}

func (s *apiServer) start(ready time.Duration) {
	s.mu.Lock()
	s.away, s.gone, s.starting = false, make(chan struct{}), time.Now().Add(ready)
	s.mu.Unlock()
}

// says counts the Nodes that give a reason.
func (s *apiServer) says(reason verdict.Reason) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, node := range s.nodes {
		if node.annotations["sctp-agent/reason"] == string(reason) {
			n++
		}
	}
	return n
}

func (s *apiServer) RoundTrip(req *http.Request) (*http.Response, error) {
	var sent []byte
	if req.Body != nil {
		sent, _ = io.ReadAll(req.Body)
	}
	s.mu.Lock()
	if s.away {
		s.mu.Unlock()
		return nil, syscall.ECONNREFUSED
	}
	if s.queued >= s.mostQueued {
		s.refused++
		s.mu.Unlock()
		return answer(http.StatusTooManyRequests, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":429,"reason":"TooManyRequests"}`, "1"), nil
	}
	s.queued++
	now := time.Now()
	for _, earliest := range []time.Time{now, s.starting} {
		if s.free.Before(earliest) {
			s.free = earliest
		}
	}
	s.free = s.free.Add(time.Second / servedPerSecond)
	wait, gone := s.free.Sub(now), s.gone
	s.mu.Unlock()

	served := time.NewTimer(wait)
	defer served.Stop()
	var err error
	select {
	case <-served.C:
	case <-gone:
		err = syscall.ECONNRESET
	case <-req.Context().Done():
		err = req.Context().Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queued--
	if err != nil {
		return nil, err
	}
	s.answered[int(time.Since(s.begun)/time.Second)]++
	if strings.HasSuffix(req.URL.Path, "/events") {
		s.events++
		return answer(http.StatusCreated, `{"kind":"Event","apiVersion":"v1"}`, ""), nil
	}
	if req.URL.Query().Get("watch") != "" {
		name := strings.TrimPrefix(req.URL.Query().Get("fieldSelector"), "metadata.name=")
		first := `{"type":"ADDED","object":` + s.nodes[name].json(name) + "}\n"
		body, w := io.Pipe()
		context.AfterFunc(req.Context(), func() { w.CloseWithError(req.Context().Err()) })
		go func() {
			if _, err := io.WriteString(w, first); err != nil {
				return
			}
			select {
			case <-gone:
				w.CloseWithError(io.ErrUnexpectedEOF)
			case <-req.Context().Done():
			}
		}()
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: body}, nil
	}
	name := strings.TrimSuffix(strings.TrimPrefix(req.URL.Path, "/api/v1/nodes/"), "/status")
	n := s.nodes[name]
	if n == nil {
		return nil, fmt.Errorf("%s %s is not in the model", req.Method, req.URL)
	}
	if req.URL.Query().Get("dryRun") != "" {
		s.questions++
		if !s.unconfined {
			return answer(http.StatusForbidden, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":403,"reason":"Forbidden"}`, ""), nil
		}
		return answer(http.StatusOK, n.json(name), ""), nil
	}
	if req.Method == http.MethodPatch {
		var applied struct {
			Metadata struct{ Labels, Annotations map[string]string }
			Status   struct{ Conditions []Condition }
		}
		if err := json.Unmarshal(sent, &applied); err != nil {
			return nil, err
		}
		n.labels, n.annotations, n.conditions = applied.Metadata.Labels, applied.Metadata.Annotations, applied.Status.Conditions
		n.version++
	}
	return answer(http.StatusOK, n.json(name), ""), nil
}

func (n *apiNode) json(name string) string {
	fields := func(m map[string]string) map[string]any {
		out := map[string]any{}
		for k := range m {
			out["f:"+k] = map[string]any{}
		}
		return out
	}
	conditions := map[string]any{}
	for _, c := range n.conditions {
		owned := map[string]any{".": map[string]any{}}
		if c.LastHeartbeatTime != "" {
			owned["f:lastHeartbeatTime"] = map[string]any{}
		}
		conditions[`k:{"type":"`+c.Type+`"}`] = owned
	}
	text, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": n.conditions}, "metadata": map[string]any{
		"name": name, "uid": name, "resourceVersion": fmt.Sprint(n.version), "labels": n.labels, "annotations": n.annotations,
		"managedFields": []any{map[string]any{
			"manager": nodelabel.FieldManager, "operation": "Apply", "subresource": "status",
			"fieldsV1": map[string]any{
				"f:metadata": map[string]any{"f:labels": fields(n.labels), "f:annotations": fields(n.annotations)},
				"f:status":   map[string]any{"f:conditions": conditions},
			},
		}},
	}})
	if err != nil {
		panic(err) // strings only
	}
	return string(text)
}

func answer(code int, body, retryAfter string) *http.Response {
	h := http.Header{"Content-Type": {"application/json"}}
	if retryAfter != "" {
		h.Set("Retry-After", retryAfter)
	}
	return &http.Response{StatusCode: code, Header: h, Body: io.NopCloser(bytes.NewBufferString(body))}
}

// Many writers on one API server that cannot serve them at once, in virtual time:
// they all start, all verdicts change, the server is away for a moment, and for
// five minutes, and returns slowly. Its answers never peak beyond three times the
// mean, and all Nodes are right at the end; with an API server that refuses
// requests, and with one that queues them (manifests/components/priority-level).
func TestHerd(t *testing.T) {
	for name, mostQueued := range map[string]int{"turned away": 25, "queued": 10_000} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { herd(t, mostQueued) })
		})
	}
}

func herd(t *testing.T, mostQueued int) {
	const nodes = 200
	server := &apiServer{mostQueued: mostQueued, nodes: map[string]*apiNode{}, gone: make(chan struct{})}
	server.reset()
	ctx, stop := context.WithCancel(t.Context())
	var (
		wg      sync.WaitGroup
		writers []*Writer
	)
	for i := range nodes {
		name := fmt.Sprintf("node-%d", i)
		server.nodes[name] = &apiNode{version: 1}
		w, err := NewWriter(Config{Conn: model(server), Node: name, Events: true})
		if err != nil {
			t.Fatal(err)
		}
		writers = append(writers, w)
	}
	say := func(reason verdict.Reason) {
		for _, w := range writers {
			r := verdict.Judge(verdict.Facts{Node: w.cfg.Node})
			r.Reason, r.Ready = reason, reason.Ready()
			r.Kernel.BootID = "11111111-1111-4111-8111-111111111111"
			w.Publish(r)
		}
	}
	first := nodes // questions
	converges := func(what string, reason verdict.Reason, most time.Duration, events int) {
		t.Helper()
		start := time.Now()
		for server.says(reason) < nodes {
			if time.Since(start) > most {
				t.Fatalf("%s: after %s, %d of %d say %s", what, most, server.says(reason), nodes, reason)
			}
			time.Sleep(100 * time.Millisecond)
		}
		took := time.Since(start)
		time.Sleep(2 * time.Minute) // watches are opened, and Events sent, too
		answered, peak, refused, mean := server.shape()
		t.Logf("%-28s right after %5.1f s; %d answered, at most %d a second, %.0f on average; %d turned away", what, took.Seconds(), answered, peak, mean, refused)
		if float64(peak) > 3*mean {
			t.Errorf("%s: a peak of %d a second, the mean is %.0f", what, peak, mean)
		}
		if refused > 4*nodes {
			t.Errorf("%s: %d tries were turned away", what, refused)
		}
		// One PATCH each, one watch at most, one Event each, and at the start the
		// question whether a policy confines the agent: an Event that is turned
		// away twice is left out.
		if most := 3*nodes + first; answered > most {
			t.Errorf("%s: %d answers for %d nodes", what, answered, nodes)
		}
		if server.events < events*9/10 || server.events > events {
			t.Errorf("%s: %d Events, want %d", what, server.events, events)
		}
		first = 0
	}

	say(verdict.ReasonModuleNotLoaded)
	for _, w := range writers {
		wg.Go(func() { _ = w.Run(ctx) })
	}
	converges("all start at once", verdict.ReasonModuleNotLoaded, 3*time.Minute, nodes)

	server.reset()
	say(verdict.ReasonProbePassed)
	converges("all verdicts flip at once", verdict.ReasonProbePassed, 2*time.Minute, nodes)

	server.stop()
	time.Sleep(2 * time.Second)
	server.reset()
	server.start(0)
	converges("all lose their watch", verdict.ReasonProbePassed, time.Second, 0)

	server.stop()
	say(verdict.ReasonProbeFailed)
	time.Sleep(5 * time.Minute)
	server.reset()
	server.start(5 * time.Second)
	converges("back after five minutes", verdict.ReasonProbeFailed, 3*time.Minute, nodes)

	stop()
	wg.Wait()
}
