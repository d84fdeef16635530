package main

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
)

const (
	// mostOwnMemory of a running agent at rest, in bytes: anonymous, besides its
	// program's file.
	mostOwnMemory = 3_500_000
	// The heap has its lasting size after some assessments.
	assessments, resync = 4, 5 * time.Second
)

// TestOwnMemory: an agent that has written its Node, watches it and has looked at
// its host several times keeps little memory.
func TestOwnMemory(t *testing.T) {
	written := make(chan struct{}, 100)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Query().Has("dryRun") { // is to be refused: the policy confines the agent
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if req.Method == http.MethodPatch {
			var applied struct {
				Metadata struct{ Labels, Annotations map[string]string }
			}
			if err := json.NewDecoder(req.Body).Decode(&applied); err != nil {
				t.Error(err)
			}
			fields := func(m map[string]string) map[string]any {
				out := map[string]any{}
				for key := range m {
					out["f:"+key] = map[string]any{}
				}
				return out
			}
			answer, err := json.Marshal(map[string]any{"metadata": map[string]any{
				"name": "n", "uid": "u", "resourceVersion": "2",
				"labels": applied.Metadata.Labels, "annotations": applied.Metadata.Annotations,
				"managedFields": []any{map[string]any{
					"manager": nodelabel.FieldManager, "operation": "Apply", "subresource": "status",
					"fieldsV1": map[string]any{"f:metadata": map[string]any{
						"f:labels": fields(applied.Metadata.Labels), "f:annotations": fields(applied.Metadata.Annotations),
					}},
				}},
			}})
			if err != nil {
				t.Error(err)
			}
			_, _ = w.Write(answer)
			written <- struct{}{}
			return
		}
		fmt.Fprintln(w, `{"type":"ADDED","object":{"metadata":{"name":"n","uid":"u","resourceVersion":"1"}}}`)
		w.(http.Flusher).Flush()
		<-req.Context().Done()
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	kubeconfig, err := yaml.Marshal(map[string]any{
		"current-context": "c",
		"contexts":        []any{map[string]any{"name": "c", "context": map[string]any{"cluster": "c", "user": "u"}}},
		"clusters": []any{map[string]any{"name": "c", "cluster": map[string]any{
			"server":                     server.URL,
			"certificate-authority-data": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
		}}},
		"users": []any{map[string]any{"name": "u", "user": map[string]any{"token": "t"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, kubeconfig, 0o600); err != nil {
		t.Fatal(err)
	}
	agent := exec.CommandContext(t.Context(), program.Path, "run", "--node-name", "n", "--kubeconfig", file,
		"--events=false", "--listen", "127.0.0.1:0", "--resync", resync.String())
	agent.Env = append(os.Environ(), manifestEnviron(t)...)
	agent.Stderr = t.Output()
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = agent.Process.Kill(); _ = agent.Wait() }()
	select {
	case <-written:
	case <-time.After(time.Minute):
		t.Fatal("the agent does not write its Node")
	}
	time.Sleep(assessments * resync)
	// Two seconds after each assessment what it took is given back, and a busy
	// machine takes its time.
	own := math.MaxInt
	for range 100 {
		if own = min(own, rssAnon(t, agent.Process.Pid)); own <= mostOwnMemory {
			break
		}
		time.Sleep(300 * time.Millisecond)
	}
	t.Logf("own memory: %.2f MB", float64(own)/1e6)
	if own > mostOwnMemory {
		t.Errorf("own memory at rest: %.2f MB, want at most %.1f", float64(own)/1e6, mostOwnMemory/1e6)
	}
}

// manifestEnviron is what the DaemonSet sets, besides what it takes from the pod.
func manifestEnviron(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../manifests/base/daemonset.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var ds struct {
		Spec struct {
			Template struct {
				Spec struct {
					Containers []struct {
						Env []struct{ Name, Value string }
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &ds); err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range ds.Spec.Template.Spec.Containers[0].Env {
		if e.Value != "" {
			list = append(list, e.Name+"="+e.Value)
		}
	}
	return list
}

// rssAnon of a process, in bytes (proc_pid_status(5)).
func rssAnon(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			if err != nil {
				t.Fatal(err)
			}
			return kib * 1024
		}
	}
	t.Fatal("no RssAnon")
	return 0
}
