package nodelabel

import (
	"context"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// oneNode is a model of an API server with the Node "n".
func oneNode(n *apiNode) *apiServer {
	server := &apiServer{mostQueued: 10, nodes: map[string]*apiNode{"n": n}, gone: make(chan struct{})}
	server.reset()
	return server
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
		w, err := NewWriter(Config{REST: &rest.Config{Host: "https://model", Transport: way}, Node: "n"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = w.Run(ctx) })
		w.Publish(report(boot1, verdict.ModuleMissing, verdict.BootBlocked))
		time.Sleep(10 * time.Second)
		way.granted.Store(true)
		time.Sleep(2 * lastRetry)
		stop()
		wg.Wait()
		want := map[string]string{"sctp-agent/ready": "false", "sctp-agent/on-boot": "blocked"}
		if !maps.Equal(node.labels, want) {
			t.Errorf("the Node has the labels %v, want %v", node.labels, want)
		}
	})
}
