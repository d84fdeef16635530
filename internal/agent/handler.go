package agent

import (
	"fmt"
	"net/http"
)

// Handler serves /metrics, /healthz and /readyz.
//
// /healthz is the loop's own progress: a node without SCTP is a healthy agent, and
// so is one whose API server is away. /readyz is ready once the Node was seen with
// a conclusive report of this process.
func (a *Agent) Handler(concluded func() bool) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", exposition(a.cfg.Metrics))
	status := func(ok func() bool, no string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if !ok() {
				http.Error(w, no, http.StatusServiceUnavailable)
				return
			}
			fmt.Fprintln(w, "ok")
		}
	}
	mux.Handle("GET /healthz", status(a.healthy, "the agent's loop makes no progress"))
	mux.Handle("GET /readyz", status(concluded, "the Node has no conclusive report of this agent yet"))
	return mux
}

// mostScrapes is how many scrapes are answered at the same time.
const mostScrapes = 4

// exposition serves metrics in Prometheus's text format.
func exposition(m *Metrics) http.Handler {
	scrapes := make(chan struct{}, mostScrapes)
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		select {
		case scrapes <- struct{}{}:
			defer func() { <-scrapes }()
		default:
			http.Error(w, "too many scrapes at once", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write(m.Text())
	})
}
