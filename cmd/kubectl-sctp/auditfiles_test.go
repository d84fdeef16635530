package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sctp-agent/sctp-agent/internal/audit"
	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/internal/doctest"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// nodeYAML is a Node as oc writes it into a file of its own.
func nodeYAML(name string, ready kmod.Answer, reason verdict.Reason) string {
	var keys nodelabel.Keys
	r := verdict.Judge(verdict.Facts{Node: name})
	r.Ready, r.Reason, r.OnBoot, r.Kernel.BootID = ready, reason, verdict.OnBootLoaded, "boot"
	report := string(r.Compact(verdict.MaxAnnotation))
	return fmt.Sprintf(`---
apiVersion: v1
kind: Node
metadata:
  name: %s
  creationTimestamp: "2026-01-02T03:04:05Z"
  labels: {node-role.kubernetes.io/worker: "", %s: "%s", %s: loaded}
  annotations: {%s: %s, %s: %q}
status:
  nodeInfo: {bootID: boot}
`, name, keys.Ready(), ready, keys.OnBoot(), keys.Reason(), reason, keys.Report(), report)
}

const amf = `  apiVersion: v1
  kind: Pod
  metadata: {name: amf-0, namespace: core, resourceVersion: "12", managedFields: [{time: "2026-02-03T04:05:06Z"}]}
  spec: {nodeName: worker-1, containers: [{name: main, image: amf, ports: [{containerPort: 38412, protocol: SCTP}]}]}
  status: {phase: Running}
`

// mustGather is a must-gather, of which oc adm inspect brought one namespace.
var mustGather = map[string]string{
	"timestamp": "2026-11-20 10:00:00.123456789 +0000 UTC m=+0.1\n2026-11-20 10:05:00.5 +0000 UTC m=+300.4\n",
	"cluster-scoped-resources/core/nodes/worker-0.yaml":                                         nodeYAML("worker-0", kmod.AnswerTrue, verdict.ReasonProbePassed),
	"cluster-scoped-resources/core/nodes/worker-1.yaml":                                         nodeYAML("worker-1", kmod.AnswerFalse, verdict.ReasonModuleBlacklisted),
	"cluster-scoped-resources/core/namespaces/edge.yaml":                                        "apiVersion: v1\nkind: Namespace\nmetadata: {name: edge}\n",
	"cluster-scoped-resources/apiextensions.k8s.io/customresourcedefinitions/x.yaml":            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: x}\n",
	"cluster-scoped-resources/machineconfiguration.openshift.io/machineconfigpools/broken.yaml": "kind: MachineConfigPool\nmetadata: {name: \n",
	"namespaces/core/core/pods.yaml":                                                            "---\napiVersion: v1\nkind: PodList\nmetadata: {resourceVersion: \"9\"}\nitems:\n" + strings.Replace(amf, "  apiVersion", "- apiVersion", 1),
	"namespaces/core/pods/amf-0/amf-0.yaml":                                                     strings.ReplaceAll(amf, "\n  ", "\n")[2:],
	"namespaces/core/core/services.yaml":                                                        "apiVersion: v1\nkind: ServiceList\nitems: []\n",
	"namespaces/core/discovery.k8s.io/endpointslices.yaml":                                      "apiVersion: discovery.k8s.io/v1\nkind: EndpointSliceList\nitems: []\n",
	"namespaces/core/networking.k8s.io/networkpolicies.yaml":                                    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicyList\nitems: []\n",
	"namespaces/core/pods/amf-0/main/main/logs/current.log":                                     "kind: Pod\n",
}

// lay writes files below a directory.
func lay(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	for name, text := range files {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func auditOf(t *testing.T, stdin string, args ...string) (r audit.Result, code int, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	root := newRootCommand()
	root.SetIn(strings.NewReader(stdin))
	code = command.Main(root, append([]string{"audit", "-o", "json"}, args...), &out, &errs)
	if errs.Len() == 0 {
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatalf("%v: %s", err, &out)
		}
	}
	return r, code, errs.String()
}

// A must-gather is judged as of its own time. What it leaves out is named, with
// the command that brings it, and nothing is made of it.
func TestAuditMustGather(t *testing.T) {
	dir := lay(t, filepath.Join(t.TempDir(), "must-gather.local.1", "quay-io-image-sha256-0123"), mustGather)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	w := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(mustGather)) {
		if err := w.WriteHeader(&tar.Header{Name: "must-gather.local.1/image/" + name, Mode: 0o644, Size: int64(len(mustGather[name]))}); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(mustGather[name]))
	}
	w.Close()
	z.Close()
	archive := filepath.Join(t.TempDir(), "must-gather.tar.gz")
	if err := os.WriteFile(archive, packed.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	var table, errs bytes.Buffer
	if code := command.Main(newRootCommand(), []string{"audit", "-f", dir}, &table, &errs); code != command.ExitNo || !strings.HasPrefix(table.String(), "As of 2026-11-20T10:05:00Z, when the files were written.\n") {
		t.Errorf("exit status %d:\n%s%s", code, &table, &errs)
	}
	doctest.Shows(t, "docs/dumps.md", "kubectl sctp audit -f must-gather.tar.gz", table.String())
	for _, path := range []string{dir, filepath.Dir(dir), archive} {
		r, code, stderr := auditOf(t, "", "-f", path)
		if code != command.ExitNo || r.Summary.Nodes != 2 || r.Summary.Ready != 1 {
			t.Fatalf("%s: exit status %d: %+v %s", path, code, r.Summary, stderr)
		}
		if got := r.Time.Format("2006-01-02 15:04:05"); got != "2026-11-20 10:05:00" {
			t.Errorf("judged as of %s", got)
		}
		found := map[audit.Kind]int{}
		for _, f := range r.Findings {
			found[f.Kind]++
		}
		if found[audit.PodOnUnreadyNode] != 1 || found[audit.NodeWithoutAgent] != 0 {
			t.Errorf("found %v", found)
		}
		notSeen := ""
		for _, u := range r.Unseen {
			if !slices.Contains([]audit.Source{audit.SourceNamespaces, audit.SourceAgents, audit.SourceFiles}, u.Source) {
				t.Errorf("not seen: %+v", u)
			}
			notSeen += u.Why + "\n"
		}
		for _, want := range []string{"oc adm inspect ns/edge", "oc adm inspect ns/sctp-agent", "broken.yaml"} {
			if !strings.Contains(notSeen, want) {
				t.Errorf("not named: %q in\n%s", want, notSeen)
			}
		}
	}
}

// kubectl's lists: one file, several, standard input; what none of them holds
// is not seen, never absent.
func TestAuditLists(t *testing.T) {
	node := func(name string) string {
		return strings.TrimPrefix(nodeYAML(name, kmod.AnswerTrue, verdict.ReasonProbePassed), "---\n")
	}
	nodes := "apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(strings.TrimSpace(node("worker-1")), "\n", "\n  ") + "\n"
	pods := "apiVersion: v1\nkind: List\nitems:\n" + strings.Replace(amf, "  apiVersion", "- apiVersion", 1)
	dir := lay(t, t.TempDir(), map[string]string{"nodes.yaml": nodes, "pods.txt": pods, "both.yaml": node("worker-0") + "---\n" + nodes, "none.yaml": "kind: Event\n", "cut.yaml": nodes[:len(nodes)-40] + "\n\t- {"})
	at := func(name string) string { return filepath.Join(dir, name) }

	r, code, stderr := auditOf(t, "", "-f", at("nodes.yaml"), at("pods.txt"))
	if r.Summary.Nodes != 1 || code == command.ExitYes {
		t.Errorf("exit status %d: %+v %s", code, r.Summary, stderr)
	}
	if got := r.Time.Format("2006-01-02"); got != "2026-02-03" {
		t.Errorf("judged as of %s", got)
	}
	sources := map[audit.Source]string{}
	for _, u := range r.Unseen {
		sources[u.Source] = u.Why
	}
	for _, want := range []audit.Source{audit.SourceServices, audit.SourceSlices, audit.SourcePolicies, audit.SourceNamespaces} {
		if sources[want] == "" {
			t.Errorf("%s: seen", want)
		}
	}
	if want := "list services: not in the files (kubectl get services -A -o yaml)"; sources[audit.SourceServices] != want {
		t.Errorf("%q, want %q", sources[audit.SourceServices], want)
	}
	if _, found := sources[audit.SourcePools]; found {
		t.Error("no node has a machine config, and its pools are not seen")
	}
	if r, _, stderr := auditOf(t, nodes, "-f", "-", "-f", at("both.yaml")); r.Summary.Nodes != 2 {
		t.Errorf("%+v %s", r.Summary, stderr)
	}
	for _, x := range []struct{ args, says []string }{
		{[]string{"-f", at("none.yaml")}, []string{"none.yaml", "no Kubernetes objects"}},
		{[]string{"-f", at("cut.yaml")}, []string{"cut.yaml", "no Kubernetes objects"}},
		{[]string{"-f", at("absent.yaml")}, []string{"absent.yaml"}},
		{[]string{"-f", at("pods.txt")}, []string{"list nodes: not in the files (kubectl get nodes -o yaml)"}},
		{[]string{"-f", at("nodes.yaml"), "--watch"}, []string{"--watch"}},
		{[]string{at("nodes.yaml")}, []string{"-f"}},
	} {
		_, code, stderr := auditOf(t, "", x.args...)
		for _, want := range x.says {
			if code != command.ExitUnknown || !strings.Contains(stderr, want) {
				t.Errorf("%v: exit status %d: %s", x.args, code, stderr)
			}
		}
	}
}

// The forms in which kubectl, jq, gzip and shells write objects say the same.
func TestAuditForms(t *testing.T) {
	node := func(name string) string {
		text, err := yaml.YAMLToJSON([]byte(nodeYAML(name, kmod.AnswerTrue, verdict.ReasonProbePassed)))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	items := node("worker-0") + "," + node("worker-1")
	list := `{"apiVersion":"v1","kind":"List","items":[` + items + `]}`
	var gz bytes.Buffer
	z := gzip.NewWriter(&gz)
	z.Write([]byte(list))
	z.Close()
	utf16 := "\xff\xfe"
	for _, b := range []byte(list) {
		utf16 += string([]byte{b, 0})
	}
	for name, c := range map[string]struct {
		text   string
		unread string
	}{
		"a list":              {list, ""},
		"an array":            {"[" + items + "]", ""},
		"values":              {node("worker-0") + node("worker-1"), ""},
		"a list in a list":    {`{"apiVersion":"v1","kind":"List","items":[` + list + `]}`, ""},
		"a list of its kind":  {`{"apiVersion":"v1","kind":"NodeList","items":[` + strings.ReplaceAll(items, `"kind":"Node"`, `"x":""`) + `]}`, ""},
		"with a mark":         {"\ufeff" + list, ""},
		"UTF-16":              {utf16, ""},
		"compressed":          {gz.String(), ""},
		"with broken items":   {`[7,"x",null,{"apiVersion":"v1","kind":"Pod","metadata":{}},` + items + `]`, "item 3: a Pod has no name"},
		"with lists too deep": {strings.Repeat(`{"kind":"List","items":[`, 9) + strings.Repeat("]}", 9) + list, "lists nested"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "cluster.dump")
			if err := os.WriteFile(file, []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			for _, r := range []func() (audit.Result, int, string){
				func() (audit.Result, int, string) { return auditOf(t, "", "-f", file) },
				func() (audit.Result, int, string) { return auditOf(t, c.text, "-f", "-") },
			} {
				r, _, stderr := r()
				if r.Summary.Nodes != 2 {
					t.Fatalf("%d nodes, want 2: %s", r.Summary.Nodes, stderr)
				}
				i := slices.IndexFunc(r.Unseen, func(u audit.Unseen) bool { return u.Source == audit.SourceFiles })
				if (i >= 0) != (c.unread != "") || i >= 0 && !strings.Contains(r.Unseen[i].Why, c.unread) {
					t.Errorf("not seen: %+v, want %q", r.Unseen, c.unread)
				}
			}
		})
	}
}

// A namespace that none of all objects is in was misspelt; one that the files leave
// out is not seen.
func TestAuditNamespaceOfFiles(t *testing.T) {
	node := nodeYAML("worker-1", kmod.AnswerTrue, verdict.ReasonProbePassed)
	list := func(pods ...string) string {
		return node + "---\napiVersion: v1\nkind: List\nitems:\n" + strings.ReplaceAll(strings.Join(pods, ""), "  apiVersion", "- apiVersion")
	}
	edge := strings.ReplaceAll(amf, "namespace: core", "namespace: edge")
	for _, c := range []struct{ files, namespace, stderr string }{
		{list(amf, edge), "core", ""},
		{list(amf, edge), "cor", `namespace "cor" not found`},
		{list(amf), "edge", ""},
	} {
		r, code, stderr := auditOf(t, c.files, "-f", "-", "-n", c.namespace)
		if code != command.ExitUnknown && code != command.ExitNo || !strings.Contains(stderr, c.stderr) || (c.stderr == "") != (r.Summary.Nodes == 1) {
			t.Errorf("-n %s: exit status %d, %+v, %q, want %q", c.namespace, code, r.Summary, stderr, c.stderr)
		}
	}
}

// Files that nobody writes end with the command.
func TestFilesEndWhenInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	stdin, writer := io.Pipe()
	defer writer.Close()
	if _, err := auditFiles(ctx, stdin, io.Discard, []string{"-"}, "", audit.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("-f -: %v", err)
	}
	blocked := func() (audit.Intent, error) {
		_, err := stdin.Read(make([]byte, 1))
		return audit.Intent{}, err
	}
	if _, err := until(ctx, "intent.yaml", blocked); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "intent.yaml") {
		t.Errorf("--intent: %v", err)
	}
}
