package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// kubeconfig serves an API by this function, and names it to a command.
func kubeconfig(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],
"users":[{"name":"u","user":{}}],"clusters":[{"name":"c","cluster":{"server":%q}}]}`, server.URL)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "--kubeconfig=" + path
}

// execute runs a command in this process.
func execute(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	cmd := newRootCommand()
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(""))
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	err = cmd.ExecuteContext(ctx)
	return out.String(), errs.String(), err
}

func oneNode(w http.ResponseWriter, name, ready string) {
	fmt.Fprintf(w, `{"items":[{"metadata":{"name":%q,"labels":{"sctp-agent/ready":%q}}}]}`, name, ready)
}

// What --watch prints for programs is a stream that they can read: YAML's
// documents are told apart by a line of their own, and a page is no stream.
func TestWatchForms(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	looks := 0
	config := kubeconfig(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/nodes") {
			http.NotFound(w, r)
			return
		}
		if looks++; looks == 3 {
			cancel()
		}
		oneNode(w, "n0", []string{"true", "false"}[looks%2])
	})
	stdout, stderr, err := execute(ctx, "audit", config, "--watch", "--interval", "1s", "-o", "yaml")
	if documents := strings.Split(stdout, "---\n"); err != nil || len(documents) != 3 || documents[0] != "" || strings.Count(documents[1], "kind: Audit\n") != 1 {
		t.Errorf("%v, %s\n%s", err, stderr, stdout)
	}
	if _, _, err := execute(t.Context(), "audit", config, "--watch", "-o", "html"); err == nil || !strings.Contains(err.Error(), "--watch") {
		t.Errorf("a page again and again: %v", err)
	}
}

// cleanup says once why nothing can be removed, and counts what is left also
// when it is interrupted.
func TestCleanupFails(t *testing.T) {
	const nodes = 20
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	interrupted, gets := false, 0
	config := kubeconfig(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/nodes"):
			var items []string
			for i := range nodes {
				items = append(items, fmt.Sprintf(`{"metadata":{"name":"n%d","labels":{"sctp-agent/ready":"true"}}}`, i))
			}
			fmt.Fprintf(w, `{"items":[%s]}`, strings.Join(items, ","))
		case r.Method == http.MethodGet:
			if gets++; interrupted && gets == 3 {
				cancel()
			}
			fmt.Fprint(w, `{"metadata":{"name":"n","labels":{"sctp-agent/ready":"true"}}}`)
		case interrupted:
			fmt.Fprint(w, `{"metadata":{"name":"n"}}`)
		default:
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":403,"message":"User \"x\" cannot patch resource \"nodes/status\""}`)
		}
	})
	_, _, err := execute(ctx, "cleanup", config, "--yes")
	if err == nil || !strings.HasPrefix(err.Error(), "20 of 20 nodes are not cleaned up") || !strings.HasSuffix(err.Error(), "and 15 more") {
		t.Errorf("%v", err)
	}
	if want := "the right to patch nodes/status is missing"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("it does not say %q: %v", want, err)
	}
	interrupted, gets = true, 0
	_, _, err = execute(ctx, "cleanup", config, "--yes")
	if err == nil || !strings.HasPrefix(err.Error(), "18 of 20 nodes are not cleaned up") {
		t.Errorf("interrupted at the third node: %v", err)
	}
	if _, _, err := execute(t.Context(), "cleanup", config, "--timeout", "0"); err == nil || !strings.Contains(err.Error(), "--timeout wants more than 0") {
		t.Errorf("%v", err)
	}
}
