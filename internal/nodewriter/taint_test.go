package nodewriter

import (
	"io"
	"net/http"
	"testing"
)

// tainted is an API server with one Node, which keeps the last patch.
type tainted struct {
	taints string
	patch  string
}

func (s *tainted) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodPatch {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		s.patch = string(body)
	}
	return answer(http.StatusOK, `{"metadata":{"uid":"n"},"spec":{"taints":`+s.taints+`}}`, ""), nil
}

// A key stands for its taints of every effect: a Node that kept one of them
// would take no pods.
func TestUntaint(t *testing.T) {
	const (
		other      = `{"key":"example.com/dedicated","effect":"NoSchedule"}`
		noSchedule = `{"key":"sctp-agent/unproved","effect":"NoSchedule"}`
		noExecute  = `{"key":"sctp-agent/unproved","effect":"NoExecute","timeAdded":"2026-03-01T12:00:00Z"}`
		last       = `[{"op":"test","path":"/spec/taints/2","value":` + noExecute + `},{"op":"remove","path":"/spec/taints/2"}`
	)
	for _, tt := range []struct{ which, taints, patch string }{
		{"sctp-agent/unproved", `[` + noSchedule + `,` + other + `,` + noExecute + `]`,
			last + `,{"op":"test","path":"/spec/taints/0","value":` + noSchedule + `},{"op":"remove","path":"/spec/taints/0"}]`},
		{"sctp-agent/unproved:NoExecute", `[` + noSchedule + `,` + other + `,` + noExecute + `]`, last + `]`},
		{"sctp-agent/unproved:NoExecute", `[` + noSchedule + `,` + other + `]`, ""},
		{"sctp-agent/unproved", `null`, ""},
	} {
		server := &tainted{taints: tt.taints}
		w, err := NewWriter(Config{Conn: model(server), Node: "n", StartupTaint: tt.which})
		if err != nil {
			t.Fatal(err)
		}
		removed, err := w.client.untaint(t.Context(), tt.which)
		if err != nil || removed != (tt.patch != "") {
			t.Errorf("%s of %s: %v, %v", tt.which, tt.taints, removed, err)
		}
		if server.patch != tt.patch {
			t.Errorf("%s of %s:\n%s\nwant\n%s", tt.which, tt.taints, server.patch, tt.patch)
		}
	}
	for _, which := range []string{"sctp-agent/unproved=:NoSchedule", "sctp-agent/unproved=true", "sctp-agent/unproved:", "sctp-agent/unproved:noschedule", ":NoSchedule"} {
		if _, err := NewWriter(Config{Conn: model(nil), Node: "n", StartupTaint: which}); err == nil {
			t.Errorf("the startup taint %q, which no taint is like, was taken", which)
		}
	}
}
