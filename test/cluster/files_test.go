package cluster

import (
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/sctp-agent/sctp-agent/internal/audit"
	"github.com/sctp-agent/sctp-agent/test/controlplane"
)

// testFiles: what kubectl writes of the cluster gives the findings that the
// cluster itself gives, but for what is named as not seen.
func testFiles(t *testing.T, bin, admin string) {
	programs, err := controlplane.Build(t.Context(), nil, controlplane.Kubectl)
	if err != nil {
		t.Fatal(err)
	}
	kubectl := programs[controlplane.Kubectl]
	live := decodeAudit(t, run(t, bin, "audit", "--kubeconfig", admin, "-o", "json").stdout)
	dir := t.TempDir()
	written := func(name, text string) string {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	get := func(name string, args ...string) string {
		r := run(t, kubectl, append([]string{"get", "--kubeconfig", admin}, args...)...)
		if r.code != 0 {
			t.Fatalf("kubectl get %v: %s", args, r.stderr)
		}
		return written(name, r.stdout)
	}
	const workloadKinds, machineKinds = "pods,services,endpointslices,networkpolicies,configmaps", "machineconfigs,machineconfigpools"
	all := get("all.yaml", "nodes,namespaces,"+workloadKinds+","+machineKinds, "-A", "-o", "yaml")
	inJSON := get("all.json", "nodes,namespaces,"+workloadKinds+","+machineKinds, "-A", "-o", "json")
	nodes := get("nodes.json", "nodes,"+machineKinds, "-o", "json")
	byNamespace := []string{"-f", nodes}
	for _, namespace := range []string{agentNamespace, workloads, "default"} {
		for _, kind := range []string{"pods", "services", "endpointslices.discovery.k8s.io", "networkpolicies.networking.k8s.io"} {
			get("gathered/namespaces/"+namespace+"/"+kind+".yaml", kind, "-n", namespace, "-o", "yaml")
		}
	}
	// kubectl does not write the kind of an empty list, so some are not seen.
	byNamespace = append(byNamespace, "-f", filepath.Join(dir, "gathered"))

	for _, x := range []struct {
		name string
		args []string
		// complete: nothing is named as not seen.
		complete bool
	}{
		{"one list", []string{"-f", all}, true},
		{"compressed", []string{"-f", written("all.yaml.gz", gzipped(t, all))}, true},
		{"by PowerShell", []string{"-f", written("all.txt", utf16Of(t, all))}, true},
		{"by jq .items", []string{"-f", written("items.json", items(t, inJSON))}, true},
		{"by namespace", byNamespace, false},
		{"nodes alone", []string{"-f", nodes}, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			started := time.Now()
			r := run(t, bin, append([]string{"audit", "-o", "json"}, x.args...)...)
			files := decodeAudit(t, r.stdout)
			if r.code != 1 || r.stderr != "" {
				t.Errorf("exit status %d: %s", r.code, r.stderr)
			}
			if files.Summary.Nodes != live.Summary.Nodes || files.Summary.Ready != live.Summary.Ready || files.Time.After(started) {
				t.Errorf("%+v at %s, live %+v", files.Summary, files.Time, live.Summary)
			}
			if x.complete != (len(files.Unseen) == 0) {
				t.Errorf("not seen: %+v", files.Unseen)
			}
			var unchecked []audit.Kind
			for _, u := range files.Unseen {
				unchecked = append(unchecked, u.NotChecked...)
			}
			for _, f := range live.Findings {
				found := slices.ContainsFunc(files.Findings, func(g audit.Finding) bool { return reflect.DeepEqual(f, g) })
				if !found && !slices.Contains(unchecked, f.Kind) {
					t.Errorf("not found by the files: %+v", f)
				}
			}
			for _, g := range files.Findings {
				if !slices.ContainsFunc(live.Findings, func(f audit.Finding) bool { return reflect.DeepEqual(f, g) }) {
					t.Errorf("found by the files alone: %+v", g)
				}
			}
			t.Logf("%d findings live, %d by the files; not seen: %+v", len(live.Findings), len(files.Findings), files.Unseen)
		})
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func gzipped(t *testing.T, name string) string {
	t.Helper()
	var b strings.Builder
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, readFile(t, name)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// utf16Of is a file as the ">" of Windows PowerShell writes it.
func utf16Of(t *testing.T, name string) string {
	t.Helper()
	out := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(strings.ReplaceAll(readFile(t, name), "\n", "\r\n"))) {
		out = binary.LittleEndian.AppendUint16(out, unit)
	}
	return string(out)
}

// items are those of a list, as "jq .items" prints them.
func items(t *testing.T, name string) string {
	t.Helper()
	var list struct {
		Items json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal([]byte(readFile(t, name)), &list); err != nil {
		t.Fatal(err)
	}
	return string(list.Items)
}
