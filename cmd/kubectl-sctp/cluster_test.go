package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/internal/doctest"
)

// kubeconfig serves an API by this function, and names it to a command.
func kubeconfig(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	return writeKubeconfig(t, server.URL, "{}")
}

// writeKubeconfig makes the flag of a kubeconfig for a server and a user.
func writeKubeconfig(t *testing.T, server, user string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],
"users":[{"name":"u","user":%s}],"clusters":[{"name":"c","cluster":{"server":%q}}]}`, user, server)
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

// What --watch prints for programs is a stream that they can read: YAML's documents
// are separated by a line, and a page is not a stream.
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
	stdout, stderr, err := execute(ctx, append(doctest.Args(t, "kubectl sctp audit --watch"), config, "--interval", "1s", "-o", "yaml")...)
	if documents := strings.Split(stdout, "---\n"); err != nil || len(documents) != 3 || documents[0] != "" || strings.Count(documents[1], "kind: Audit\n") != 1 {
		t.Errorf("%v, %s\n%s", err, stderr, stdout)
	}
	if _, _, err := execute(t.Context(), "audit", config, "--watch", "-o", "html"); err == nil || !strings.Contains(err.Error(), "--watch") {
		t.Errorf("a page again and again: %v", err)
	}
}

// cleanup reports once why nothing can be removed, finishes a node when it is
// interrupted and reports how far it got, refuses while agents run, and finds what
// is written again.
func TestCleanupFails(t *testing.T) {
	const nodes = 20
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	forbidden, agents, patches := true, "", 0
	interrupt := func() {}
	config := kubeconfig(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/nodes"):
			var items []string
			for i := range nodes {
				items = append(items, fmt.Sprintf(`{"metadata":{"name":"n%d","labels":{"sctp-agent/ready":"true"},"annotations":{"own.example/report":"{\"apiVersion\":\"sctp-agent/v1\"}"}}}`, i))
			}
			fmt.Fprintf(w, `{"items":[%s]}`, strings.Join(items, ","))
		case strings.HasSuffix(r.URL.Path, "/daemonsets"):
			fmt.Fprintf(w, `{"items":[%s]}`, agents)
		case r.Method == http.MethodGet:
			fmt.Fprint(w, `{"metadata":{"name":"n","labels":{"sctp-agent/ready":"true"}}}`)
		case forbidden:
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":403,"message":"User \"x\" cannot patch resource \"nodes/status\""}`)
		default:
			if patches++; patches == 3 {
				interrupt()
			}
			fmt.Fprint(w, `{"metadata":{"name":"n"}}`)
		}
	})
	stdout, stderr, err := execute(ctx, append(doctest.Args(t, "kubectl sctp cleanup"), config)...)
	if code := command.Exit(0); !errors.As(err, &code) || code != command.ExitNo || !strings.Contains(stdout, "n19") || !strings.Contains(stderr, "Nothing was removed (--yes removes it)") {
		t.Errorf("without --yes: %v\n%s%s", err, stdout, stderr)
	}
	_, _, err = execute(ctx, "cleanup", config, "--yes")
	if err == nil || !strings.HasPrefix(err.Error(), "20 of 20 nodes not cleaned up") || !strings.HasSuffix(err.Error(), "and 15 more") {
		t.Errorf("%v", err)
	}
	if want := "the right to patch nodes/status is missing"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("it does not say %q: %v", want, err)
	}

	forbidden, interrupt = false, cancel
	_, _, err = execute(ctx, "cleanup", config, "--yes")
	if err == nil || !strings.HasPrefix(err.Error(), "interrupted: 3 of 20 nodes cleaned up") {
		t.Errorf("interrupted at the third node: %v", err)
	}
	if _, _, err = execute(ctx, "cleanup", config, "--yes"); err == nil || err.Error() != "interrupted: nothing was removed" {
		t.Errorf("interrupted before anything: %v", err)
	}

	// An agent writes again, and is not one of a DaemonSet.
	stdout, stderr, err = execute(t.Context(), "cleanup", config, "--yes")
	if code := command.Exit(0); !errors.As(err, &code) || code != command.ExitNo || !strings.Contains(stderr, "Written again on 20 nodes") || strings.Count(stderr, "labels: sctp-agent/ready") != most {
		t.Errorf("all comes back: %v\n%s", err, stderr)
	}
	if !strings.Contains(stdout, "n19") {
		t.Errorf("it does not show what it removes: %s", stdout)
	}

	// What runs decides: of which prefix, and whether it is the agent.
	daemonSet := func(name, args string) string {
		return fmt.Sprintf(`{"metadata":{"namespace":"infra","name":"sctp"},"spec":{"template":{"metadata":{"labels":{"app.kubernetes.io/name":%q}},"spec":{"containers":[{"name":"proxy"},{"name":"agent","args":[%s]}]}}}}`, name, args)
	}
	patches = 0
	for _, c := range []struct {
		agents string
		args   []string
		refuse bool
	}{
		{daemonSet("sctp-agent", `"run"`), nil, true},
		{daemonSet("sctp-agent", `"run","--prefix=own.example/"`), nil, true},
		{daemonSet("sctp-agent", `"run","--prefix=own.example/"`), []string{"--prefix", "own.example"}, true},
		{daemonSet("sctp-agent", `"run","--prefix=own.example/"`), []string{"--prefix", "sctp-agent", "--dry-run"}, false},
		{daemonSet("sctp-agent", `"run"`), []string{"--dry-run"}, false},
		{daemonSet("sctp-agent", `"run"`), []string{"--yes=false", "--ignore-agents"}, false},
		{daemonSet("sctp-mesh", `"run"`), []string{"--yes=false"}, false},
	} {
		agents = c.agents
		_, _, err := execute(t.Context(), append([]string{"cleanup", config}, c.args...)...)
		refused := err != nil && strings.Contains(err.Error(), "kubectl delete daemonset --namespace infra sctp")
		if refused != c.refuse {
			t.Errorf("%s %v: %v", c.agents, c.args, err)
		}
	}
	if patches != 0 {
		t.Errorf("%d patches, though it was to refuse or to show", patches)
	}
	if _, _, err := execute(t.Context(), "cleanup", config, "--timeout", "0"); err == nil || !strings.Contains(err.Error(), "--timeout must be more than 0") {
		t.Errorf("%v", err)
	}
}

// TestConnectionFlags: what kubectl's flags choose is what the API server sees.
func TestConnectionFlags(t *testing.T) {
	var asked http.Header
	var path string
	// Credentials are sent over TLS only.
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/nodes") {
			asked, path = r.Header, r.URL.Path
		}
		http.NotFound(w, r)
	}))
	defer server.Close()
	plugin := filepath.Join(t.TempDir(), "plugin")
	script := "#!/bin/sh\necho '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{\"token\":\"from-the-plugin\"}}'\n"
	if err := os.WriteFile(plugin, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	config := writeKubeconfig(t, server.URL, "{}")
	withPlugin := writeKubeconfig(t, server.URL, fmt.Sprintf(`{"exec":{"apiVersion":"client.authentication.k8s.io/v1","interactiveMode":"Never","command":%q}}`, plugin))
	for _, c := range []struct {
		args          []string
		header, value string
	}{
		{[]string{config}, "User-Agent", "kubectl-sctp/devel (" + runtime.GOOS + "/" + runtime.GOARCH + ")"},
		{[]string{config, "--as", "somebody", "--as-group", "g"}, "Impersonate-User", "somebody"},
		{[]string{config, "--as", "somebody", "--as-group", "g"}, "Impersonate-Group", "g"},
		{[]string{config, "--token", "secret"}, "Authorization", "Bearer secret"},
		{[]string{withPlugin}, "Authorization", "Bearer from-the-plugin"},
	} {
		asked, path = nil, ""
		_, _, err := execute(t.Context(), append([]string{"audit", "--insecure-skip-tls-verify"}, c.args...)...)
		if err == nil || path != "/api/v1/nodes" || asked.Get(c.header) != c.value {
			t.Errorf("%q: %v; %s: %q, want %q", c.args, err, c.header, asked.Get(c.header), c.value)
		}
	}
	for _, c := range []struct{ flag, value, want string }{
		{"--context", "none", `context "none" does not exist`},
		{"--cluster", "none", `cluster "none" does not exist`},
		{"--user", "none", `auth info "none" does not exist`},
		{"--certificate-authority", "/does/not/exist", "/does/not/exist"},
		{"--server", "https://127.0.0.1:1", "no answer from the API server at 127.0.0.1:1"},
		{"--request-timeout", "1x", "Invalid timeout value"},
	} {
		if _, _, err := execute(t.Context(), "audit", config, c.flag, c.value); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v, want %q", c.flag, c.value, err, c.want)
		}
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"example.com": "HTTP 404", "example.org": "not example.org"} {
		if _, _, err := execute(t.Context(), "audit", config, "--certificate-authority", ca, "--tls-server-name", name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

// TestOIDC: the credential plugin is linked. Its issuer is asked for a new token,
// and is not there.
func TestOIDC(t *testing.T) {
	config := writeKubeconfig(t, "https://127.0.0.1:2", `{"auth-provider":{"name":"oidc","config":{"client-id":"c","idp-issuer-url":"https://127.0.0.1:1","refresh-token":"r"}}}`)
	if _, _, err := execute(t.Context(), "audit", config); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1/.well-known/openid-configuration") {
		t.Error(err)
	}
}
