package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
)

var podResource = Resource{GroupVersion: "v1", Name: "pods"}

// serve makes a client of a server that answers by this function.
func serve(t *testing.T, answer http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	c, err := New(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func status(w http.ResponseWriter, code int, reason, message, token string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","metadata":{"continue":%q},"reason":%q,"message":%q,"code":%d}`, token, reason, message, code)
}

func names(t *testing.T, c *Client) ([]string, error) {
	t.Helper()
	var out []string
	err := List(t.Context(), c, podResource, ListOptions{Namespace: "a b", LabelSelector: "x=y"}, func(p *corev1.Pod) { out = append(out, p.Name) })
	return out, err
}

// A list goes on where a page ended, and where an expired one may be continued
// (a real server's answer of five minutes later), and does so a bounded number
// of times.
func TestListPagesAndExpiry(t *testing.T) {
	requests := 0
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		if r.URL.EscapedPath() != "/api/v1/namespaces/a%20b/pods" || r.URL.Query().Get("labelSelector") != "x=y" || r.URL.Query().Get("limit") == "" {
			t.Errorf("asked for %s", r.URL)
		}
		switch r.URL.Query().Get("continue") {
		case "":
			fmt.Fprint(w, `{"metadata":{"continue":"old"},"items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"}}]}`)
		case "old":
			status(w, http.StatusGone, "Expired", "the provided continue parameter is too old", "new")
		case "new":
			fmt.Fprint(w, `{"metadata":{},"items":[{"metadata":{"name":"c"}}]}`)
		}
	})
	got, err := names(t, c)
	if err != nil || !slices.Equal(got, []string{"a", "b", "c"}) || requests != 3 {
		t.Errorf("got %v, %v after %d requests", got, err, requests)
	}

	c = serve(t, func(w http.ResponseWriter, _ *http.Request) {
		status(w, http.StatusGone, "Expired", "too old", "again")
	})
	if _, err := names(t, c); err == nil {
		t.Error("a list that always expires ends without an error")
	}
}

// A busy server is asked again when it says so; a refusal is final, and names
// the object and the right.
func TestErrors(t *testing.T) {
	requests := 0
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if requests++; requests == 1 {
			w.Header().Set("Retry-After", "1")
			status(w, http.StatusTooManyRequests, "TooManyRequests", "busy", "")
			return
		}
		fmt.Fprint(w, `{"items":[{"metadata":{"name":"a"}}]}`)
	})
	if got, err := names(t, c); err != nil || len(got) != 1 || requests != 2 {
		t.Errorf("got %v, %v after %d requests", got, err, requests)
	}

	for _, x := range []struct {
		answer http.HandlerFunc
		want   string
		is     func(error) bool
	}{
		{func(w http.ResponseWriter, _ *http.Request) { status(w, 403, "Forbidden", "no", "") },
			"list pods in namespace a b: forbidden: the right to list pods is missing", IsForbidden},
		{func(w http.ResponseWriter, _ *http.Request) {
			status(w, 403, "Forbidden", `pods is forbidden: User "visitor" cannot list resource "pods" in API group "" in the namespace "a b"`, "")
		}, "the right to list pods is missing", IsForbidden},
		{func(w http.ResponseWriter, _ *http.Request) {
			status(w, 403, "Forbidden", `pods "x" is forbidden: violates PodSecurity "restricted:latest": hostNetwork`, "")
		}, `list pods in namespace a b: refused: pods "x" is forbidden: violates PodSecurity`, IsForbidden},
		{func(w http.ResponseWriter, _ *http.Request) { status(w, 401, "Unauthorized", "no", "") }, "does not accept these credentials", nil},
		{func(w http.ResponseWriter, _ *http.Request) { http.NotFound(w, nil) }, "HTTP 404", IsNotFound},
		{func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>a login page</html>") }, "decode the answer", nil},
		{func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"items":[{"metadata":{"name":7}}]}`) }, "decode the answer", nil},
		{func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "no answer from the API server at", nil},
	} {
		_, err := names(t, serve(t, x.answer))
		if err == nil || !strings.Contains(err.Error(), x.want) || x.is != nil && !x.is(err) {
			t.Errorf("%v, want %q", err, x.want)
		}
	}
}

// The caller's deadline ends a request that hangs.
func TestDeadline(t *testing.T) {
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := c.Get(ctx, podResource, "a", "b", nil)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "get pods/b in namespace a") {
		t.Error(err)
	}
}

// Deleting what is not there is done.
func TestDelete(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodDelete {
			t.Errorf("%s", r.Method)
		}
		status(w, 404, "NotFound", "not there", "")
	})
	if err := c.Delete(t.Context(), podResource, "a", "b"); err != nil {
		t.Error(err)
	}
}
