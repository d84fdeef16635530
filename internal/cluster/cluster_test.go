package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// serve makes a client of a server that answers by this function.
func serve(t *testing.T, answer http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	return connect(t, &rest.Config{Host: server.URL})
}

func connect(t *testing.T, cfg *rest.Config) *Client {
	t.Helper()
	c, err := Connect(cfg, "kubectl-sctp", "v1.2.3", t.Output())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func status(w http.ResponseWriter, code int, reason, message, token string) {
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","metadata":{"continue":%q},"reason":%q,"message":%q,"code":%d}`, token, reason, message, code)
}

func names(t *testing.T, c *Client) ([]string, error) {
	t.Helper()
	var out []string
	err := List(t.Context(), "pods", "a b", c.Kube.CoreV1().Pods("a b").List, metav1.ListOptions{LabelSelector: "x=y"},
		func(p *corev1.Pod) { out = append(out, p.Name) })
	return out, err
}

// A list continues where a page ended, and where an expired one may be continued (a
// real server's answer after five minutes), a limited number of times. The request
// has the program's name, and the answer may be Protobuf.
func TestListPagesAndExpiry(t *testing.T) {
	requests := 0
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		if r.URL.EscapedPath() != "/api/v1/namespaces/a%20b/pods" || r.URL.Query().Get("labelSelector") != "x=y" || r.URL.Query().Get("limit") != "500" {
			t.Errorf("asked for %s", r.URL)
		}
		if want := "kubectl-sctp/v1.2.3 (" + runtime.GOOS + "/" + runtime.GOARCH + ")"; r.UserAgent() != want {
			t.Errorf("asked by %q, want %q", r.UserAgent(), want)
		}
		if accept := r.Header.Get("Accept"); accept != "application/vnd.kubernetes.protobuf,application/json" {
			t.Errorf("accepts %q", accept)
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

// A request to a busy server is repeated when it asks for that; a refusal is final,
// and the error names the object and the right.
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
		{func(w http.ResponseWriter, _ *http.Request) {
			status(w, 403, "Forbidden", `pods is forbidden: User "visitor" cannot list resource "pods" in API group "" in the namespace "a b"`, "")
		}, "list pods in namespace a b: forbidden: the right to list pods is missing (pods is", apierrors.IsForbidden},
		{func(w http.ResponseWriter, _ *http.Request) {
			status(w, 403, "Forbidden", `pods "x" is forbidden: violates PodSecurity "restricted:latest": hostNetwork`, "")
		}, `list pods in namespace a b: refused: pods "x" is forbidden: violates PodSecurity`, apierrors.IsForbidden},
		{func(w http.ResponseWriter, _ *http.Request) { status(w, 401, "Unauthorized", "no", "") }, "does not accept these credentials", apierrors.IsUnauthorized},
		{func(w http.ResponseWriter, _ *http.Request) { http.NotFound(w, nil) }, "HTTP 404", apierrors.IsNotFound},
		{func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<html>a login page</html>")
		}, "list pods in namespace a b: the answer is text/html, which no API server sends", nil},
		{func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"items":[{"metadata":{"name":7}}]}`) }, "list pods in namespace a b: json: cannot unmarshal", nil},
	} {
		_, err := names(t, serve(t, x.answer))
		if err == nil || !strings.Contains(err.Error(), x.want) || x.is != nil && !x.is(err) {
			t.Errorf("%v, want %q", err, x.want)
		}
	}
}

// A server that is not there is named.
func TestNoServer(t *testing.T) {
	_, err := names(t, connect(t, &rest.Config{Host: "https://127.0.0.1:1"}))
	if !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), "list pods in namespace a b: no answer from the API server at 127.0.0.1:1: ") {
		t.Error(err)
	}
}

// Credentials that cannot be had are not an API server that does not answer, and a
// plugin that hangs keeps no request beyond its deadline.
func TestCredentialPlugin(t *testing.T) {
	plugin := func(command string, args ...string) *rest.Config {
		return &rest.Config{ExecProvider: &clientcmdapi.ExecConfig{
			Command: command, Args: args, APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
		}}
	}
	token := `{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"t"}}`
	oidc := &rest.Config{AuthProvider: &clientcmdapi.AuthProviderConfig{Name: "oidc", Config: map[string]string{
		"idp-issuer-url": "https://127.0.0.1:1", "client-id": "c", "refresh-token": "r", "id-token": "no JWT",
	}}}
	for _, c := range []struct {
		cfg     *rest.Config
		timeout time.Duration
		want    string
	}{
		{plugin("/does/not/exist/plugin"), time.Minute, "getting credentials: exec: fork/exec /does/not/exist/plugin: "},
		{plugin("sleep", "2"), 10 * time.Millisecond, "getting credentials: context deadline exceeded"},
		{plugin("echo", token), time.Minute, "no answer from the API server at 127.0.0.1:1: dial"},
		{oidc, time.Minute, "getting credentials: ID Token is not a valid JWT"},
	} {
		c.cfg.Host, c.cfg.Timeout = "https://127.0.0.1:1", c.timeout
		if _, err := names(t, connect(t, c.cfg)); err == nil || !strings.HasPrefix(err.Error(), "list pods in namespace a b: "+c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// The caller's deadline ends a request that hangs, and so does Ctrl-C; the error
// shows which it was.
func TestDeadline(t *testing.T) {
	for _, c := range []struct {
		end  func(context.Context) (context.Context, context.CancelFunc)
		want error
	}{
		{func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}, context.DeadlineExceeded},
		{func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		}, context.Canceled},
	} {
		synctest.Test(t, func(t *testing.T) {
			client := connect(t, &rest.Config{Host: "api.invalid", Transport: hanging{}})
			ctx, cancel := c.end(t.Context())
			defer cancel()
			_, err := client.Kube.CoreV1().Pods("a").Get(ctx, "b", metav1.GetOptions{})
			err = Failed("get", "pods", "a", "b", err)
			if !errors.Is(err, c.want) || !strings.HasPrefix(err.Error(), "get pods/b in namespace a: no answer from the API server at api.invalid: "+c.want.Error()) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// hanging is a server that never answers.
type hanging struct{}

func (hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// A subresource is a right of its own, of an object that is named without it.
func TestSubresource(t *testing.T) {
	err := Failed("patch", "nodes/status", "", "n0", apierrors.NewForbidden(corev1.Resource("nodes"), "n0", errors.New(`User "x" cannot patch resource "nodes/status"`)))
	if want := "patch nodes/n0: forbidden: the right to patch nodes/status is missing ("; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
	if err := Failed("get", "nodes", "", "n0", nil); err != nil {
		t.Error(err)
	}
}
