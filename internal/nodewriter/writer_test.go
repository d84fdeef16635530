package nodewriter

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/kubeconn"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

const boot1 = "11111111-1111-4111-8111-111111111111"

// report is a verdict as an assessment in that boot gives it.
func report(boot string, reason verdict.Reason, onBoot verdict.OnBoot) verdict.Report {
	r := verdict.Judge(verdict.Facts{Node: "n"})
	r.Reason, r.Ready, r.OnBoot, r.Message = reason, reason.Ready(), onBoot, "because"
	r.Kernel.BootID = boot
	return r
}

// oneNode is a model of an API server with the Node "n".
func oneNode(n *apiNode) *apiServer {
	server := &apiServer{mostQueued: 10, nodes: map[string]*apiNode{"n": n}, gone: make(chan struct{})}
	server.reset()
	return server
}

// model is a connection to a model of an API server.
func model(way http.RoundTripper) *kubeconn.Conn {
	return &kubeconn.Conn{HTTP: &http.Client{Transport: way}, Server: &url.URL{Scheme: "https", Host: "model"}}
}

// startWriter runs a writer for that Node, on a way to its API server; stop ends
// it.
func startWriter(t *testing.T, way http.RoundTripper, cfg Config) (w *Writer, stop func()) {
	t.Helper()
	cfg.Conn, cfg.Node = model(way), "n"
	w, err := NewWriter(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.Run(ctx) })
	return w, func() { cancel(); wg.Wait() }
}

// noGrant is an API server that refuses all writes until the agent's grant is
// there.
type noGrant struct {
	server  *apiServer
	granted atomic.Bool
}

func (g *noGrant) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodPatch && !g.granted.Load() {
		return answer(http.StatusForbidden, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`, ""), nil
	}
	return g.server.RoundTrip(req)
}

// Keys of another prefix stay where a policy wants them to, not because the
// agent started before its role was bound.
func TestOtherPrefixGoesOnceGranted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &apiNode{version: 1, labels: map[string]string{"old-prefix/ready": "true"}}
		way := &noGrant{server: oneNode(node)}
		w, stop := startWriter(t, way, Config{})
		w.Publish(report(boot1, verdict.ReasonModuleMissing, verdict.OnBootBlocked))
		time.Sleep(10 * time.Second)
		way.granted.Store(true)
		time.Sleep(2 * lastRetry)
		stop()
		want := map[string]string{"sctp-agent/ready": "false", "sctp-agent/on-boot": "blocked"}
		if !maps.Equal(node.labels, want) {
			t.Errorf("the Node has the labels %v, want %v", node.labels, want)
		}
	})
}

// madeAgain is an API server whose Node is deleted and made again while the
// answer to the first write is on its way.
type madeAgain struct {
	events io.Writer
	body   io.ReadCloser
	writes atomic.Int32
}

func (m *madeAgain) RoundTrip(req *http.Request) (*http.Response, error) {
	say := func(kind, uid string, version int) {
		_, _ = fmt.Fprintf(m.events, `{"type":%q,"object":{"metadata":{"uid":%q,"resourceVersion":"%d"}}}`+"\n", kind, uid, version)
	}
	if req.Method != http.MethodPatch {
		go say("ADDED", "one", 1)
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: m.body}, nil
	}
	var applied struct {
		Metadata struct{ Labels, Annotations map[string]string }
	}
	if err := json.NewDecoder(req.Body).Decode(&applied); err != nil {
		return nil, err
	}
	uid, n := "two", &apiNode{version: 4, labels: applied.Metadata.Labels, annotations: applied.Metadata.Annotations}
	if m.writes.Add(1) == 1 {
		uid, n.version = "one", 2
		say("DELETED", "one", 2)
		say("ADDED", "two", 3)
		time.Sleep(time.Second)
	}
	return answer(http.StatusOK, n.json(uid), ""), nil
}

// What was written to a Node that is gone does not count for the one that has its
// name now.
func TestMadeAgainWhileWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		way := &madeAgain{}
		way.body, way.events = io.Pipe()
		w, stop := startWriter(t, way, Config{})
		w.Publish(report(boot1, verdict.ReasonModuleMissing, verdict.OnBootBlocked))
		time.Sleep(10 * time.Second)
		if way.writes.Load() < 2 {
			t.Error("the new Node was never written")
		}
		way.body.Close()
		stop()
	})
}

// What was written to a Node has its Event, also when the writer ends at once.
func TestLastEventIsSent(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			server := oneNode(&apiNode{version: 1})
			w, stop := startWriter(t, server, Config{Events: true})
			w.Publish(report(boot1, verdict.ReasonModuleMissing, verdict.OnBootBlocked))
			if err := w.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			stop()
			if server.events != 1 {
				t.Errorf("%d Events, want 1", server.events)
			}
		})
	}
}

func TestFightWatch(t *testing.T) {
	var f fightWatch
	now := time.Now()
	for i := range putBacks {
		if d := f.due(now); d != 0 {
			t.Fatalf("put-back %d waits %s", i, d)
		}
		f.putBack(now)
		now = now.Add(time.Second)
	}
	last := time.Duration(0)
	for range 6 {
		d := f.due(now)
		if d <= last/2 || d > lastPutBack {
			t.Fatalf("waits %s after %s", d, last)
		}
		now = now.Add(d)
		if f.due(now) != 0 {
			t.Fatal("still waits when its time has come")
		}
		f.putBack(now)
		last = d
	}
	if f.over(now) || !f.over(now.Add(putBackWindow+time.Minute)) {
		t.Error("the fight ends when nobody edits for long, and no sooner")
	}
}
