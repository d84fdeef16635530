package mesh

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// stuck is how long nothing may have been judged: it is done every second.
const stuck = time.Minute

// Handler serves /mesh, /metrics and /healthz, which is this program's own
// progress: a node without peers, or whose peers fail, is a healthy one.
func (a *Agent) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /mesh", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a.Picture())
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write(a.cfg.Metrics.Text())
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if time.Since(time.Unix(0, a.judged.Load())) > stuck {
			http.Error(w, "the loop is stuck", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return mux
}
