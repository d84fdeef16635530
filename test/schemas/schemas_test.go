package schemas

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the schemas, unless they lose a field")

const root = "../.."

// The schemas in the repository are those of the types. A type that has lost a
// field, or has it under another name, is not written even with -update: that
// takes another apiVersion.
func TestSchemas(t *testing.T) {
	t.Chdir(root)
	for kind, value := range Types() {
		want, err := Generate(kind, value)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(Dir, kind+".json")
		have, err := os.ReadFile(file)
		if err != nil && !*update {
			t.Fatal(err)
		}
		if err == nil {
			gone, err := Removed(have, want)
			if err != nil {
				t.Fatal(err)
			}
			if len(gone) > 0 {
				t.Errorf("%s promises what the type no longer has:\n%s", file, strings.Join(gone, "\n"))
				continue
			}
		}
		switch {
		case bytes.Equal(have, want):
		case *update:
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		default:
			t.Errorf("%s is not that of the type (go test ./schemas -update writes it)", file)
		}
	}
	list, err := os.ReadDir(Dir)
	if err != nil || len(list) != len(Types()) {
		t.Errorf("%d files in %s, %d kinds: %v", len(list), Dir, len(Types()), err)
	}
}

// A field that is renamed, removed, of another type or sometimes left out is
// found; one that is added is not.
func TestRemoved(t *testing.T) {
	t.Chdir(root)
	type inner struct {
		Name string `json:"name"`
		Age  int    `json:"age"`
	}
	type head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	type before struct {
		head
		List []inner           `json:"list"`
		One  *inner            `json:"one"`
		Map  map[string]string `json:"map"`
	}
	generate := func(value any) []byte {
		t.Helper()
		out, err := Generate("Test", value)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	old := generate(before{})
	for name, x := range map[string]struct {
		value any
		want  string
	}{
		"the same": {before{}, ""},
		"added": {struct {
			before
			More string `json:"more"`
		}{}, ""},
		"renamed": {struct {
			head
			List []inner           `json:"items"`
			One  *inner            `json:"one"`
			Map  map[string]string `json:"map"`
		}{}, ".list"},
		"of another type": {struct {
			head
			List []inner        `json:"list"`
			One  *inner         `json:"one"`
			Map  map[string]int `json:"map"`
		}{}, ".map.*"},
		"inside": {struct {
			head
			List []struct {
				Name string `json:"name"`
			} `json:"list"`
			One *inner            `json:"one"`
			Map map[string]string `json:"map"`
		}{}, ".list[].age"},
		"left out": {struct {
			head
			List []inner           `json:"list,omitempty"`
			One  *inner            `json:"one"`
			Map  map[string]string `json:"map"`
		}{}, ".list"},
	} {
		gone, err := Removed(old, generate(x.value))
		if err != nil {
			t.Fatal(err)
		}
		if found := slices.ContainsFunc(gone, func(s string) bool { return strings.HasPrefix(s, x.want+":") }); found != (x.want != "") || x.want == "" && len(gone) > 0 {
			t.Errorf("%s: %q, want one of %q", name, gone, x.want)
		}
	}
}

// What the programs print is what the schemas say. The tests of package cluster do
// the same for each run with -o json.
func TestOutputs(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"sctp-agent", "kubectl-sctp"} {
		build := exec.Command("go", "build", "-o", filepath.Join(dir, name), "./cmd/"+name)
		build.Dir = root
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"items":[{"metadata":{"name":"n0","labels":{"sctp-agent/ready":"true"}},"status":{"conditions":[{"type":"SCTPReady"}]}}]}`)
	}))
	t.Cleanup(server.Close)
	kubeconfig := filepath.Join(dir, "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],
"users":[{"name":"u","user":{}}],"clusters":[{"name":"c","cluster":{"server":%q}}]}`, server.URL)
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		kind string
		args []string
	}{
		{"Report", []string{"sctp-agent", "check"}},
		{"Version", []string{"sctp-agent", "version"}},
		{"Version", []string{"kubectl-sctp", "version"}},
		{"Report", []string{"kubectl-sctp", "host", "docs/examples/sosreport-worker-1"}},
		{"Audit", []string{"kubectl-sctp", "audit", "-f", "docs/examples/cluster.yaml"}},
		{"MachineConfigEffectList", []string{"kubectl-sctp", "machineconfig", "--check", "docs/examples/75-stig.yaml"}},
		{"CleanupList", []string{"kubectl-sctp", "cleanup", "--dry-run", "--kubeconfig", kubeconfig}},
	} {
		var stderr bytes.Buffer
		cmd := exec.Command(filepath.Join(dir, x.args[0]), append(x.args[1:], "-o", "json")...)
		cmd.Dir, cmd.Stderr = root, &stderr
		out, err := cmd.Output() // what it is asked may be answered with no
		if len(out) == 0 {
			t.Errorf("%v: %v\n%s", x.args, err, stderr.String())
			continue
		}
		if err := Validate(root, out); err != nil {
			t.Errorf("%v: %v\n%s", x.args, err, out)
		}
		var head struct{ APIVersion, Kind string }
		if json.Unmarshal(out, &head); head.APIVersion != "sctp-agent/v1" || head.Kind != x.kind {
			t.Errorf("%v: %+v", x.args, head)
		}
		// And the schema notices what is missing.
		if err := Validate(root, bytes.Replace(out, []byte(`"apiVersion"`), []byte(`"version"`), 1)); err == nil {
			t.Errorf("%v: a field that is renamed fits the schema", x.args)
		}
	}
}
