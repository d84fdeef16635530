package dump

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzOpen: no file makes the reading, or the answers from it, fail otherwise
// than by an error.
func FuzzOpen(f *testing.F) {
	f.Add("apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Node\n  metadata: {name: a, labels: {x: y}}\n")
	f.Add(`{"kind":"PodList","apiVersion":"v1","items":[{"metadata":{"name":"a","namespace":"b"}}]}`)
	f.Add("kind: Node\nmetadata: {name: a}\n---\nkind: List\nitems: [[]]\n")
	f.Add("apiVersion: 1\nitems:\n- kind: Node\n  metadata: {name: a}\n") // no version, after the items
	f.Fuzz(func(t *testing.T, text string) {
		d, err := Open(t.Context(), strings.NewReader(text), []string{"-"})
		if err != nil {
			return
		}
		d.Gaps()
		d.Time()
		for _, at := range []string{"/api/v1/nodes", "/api/v1/pods?limit=1&labelSelector=x%3Dy", "/api/v1/namespaces/b/pods/a", "/apis/x", "/"} {
			r, err := d.RoundTrip(httptest.NewRequest(http.MethodGet, at, nil))
			if err != nil {
				t.Error(err)
				continue
			}
			r.Body.Close()
		}
	})
}
