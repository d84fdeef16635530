package nodewriter

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// The Node has the warning that no policy confines its agent once that is sure,
// until one does; a confined agent asks once.
func TestPolicyConfines(t *testing.T) {
	const never = 24 * time.Hour
	for _, tt := range []struct {
		name              string
		comes             time.Duration // the policy, after the start
		warned            bool
		lines             int // in the log
		questions, atMost int
	}{
		{"from the start", 0, false, 0, 1, 1},
		{"a moment after the agent", 2 * time.Second, false, 0, 1, 2},
		{"an hour later", time.Hour, true, 2, 3, 6},
		{"never", never, true, 1, 3, 12},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := oneNode(&apiNode{version: 1})
				server.unconfined = tt.comes > 0
				time.AfterFunc(tt.comes, func() { server.mu.Lock(); server.unconfined = false; server.mu.Unlock() })
				var (
					mu  sync.Mutex
					log bytes.Buffer
				)
				w, stop := startWriter(t, server, Config{Log: slog.New(slog.NewTextHandler(&lockedWriter{w: &log, mu: &mu}, nil))})
				defer stop()
				w.Publish(report(boot1, verdict.ReasonProbePassed, verdict.OnBootLoaded))
				says := func() bool {
					server.mu.Lock()
					defer server.mu.Unlock()
					r, ok := nodelabel.ParseReport(server.nodes["n"].annotations[nodelabel.Keys{}.Report()])
					if !ok {
						t.Fatal("no report on the Node")
					}
					for _, warning := range r.Warnings {
						if warning.Reason == verdict.ReasonPolicyConfinesNobody {
							return true
						}
					}
					return false
				}
				time.Sleep(eventSpread + 2*policySettles + time.Second)
				if says() != tt.warned || w.Unconfined() != tt.warned {
					t.Errorf("the Node warns: %v, the metric says %v, want %v", says(), w.Unconfined(), tt.warned)
				}
				time.Sleep(2 * time.Hour)
				confined := tt.comes < never
				if says() == confined || w.Unconfined() == confined {
					t.Errorf("hours later the Node warns: %v, the metric says %v", says(), w.Unconfined())
				}
				mu.Lock()
				lines := strings.Count(log.String(), "admission policy")
				mu.Unlock()
				if lines != tt.lines {
					t.Errorf("%d lines in the log, want %d:\n%s", lines, tt.lines, log.String())
				}
				server.mu.Lock()
				asked := server.questions
				server.mu.Unlock()
				if asked < tt.questions || asked > tt.atMost {
					t.Errorf("asked %d times, want %d to %d", asked, tt.questions, tt.atMost)
				}
			})
		})
	}
}
