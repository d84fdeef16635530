package main

import (
	"archive/tar"
	"bytes"
	"cmp"
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
	"testing/fstest"

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
	onBoot := verdict.OnBootLoaded
	if reason == verdict.ReasonModuleBlacklisted {
		onBoot = verdict.OnBootBlocked
	}
	r.Ready, r.Reason, r.OnBoot, r.Kernel.BootID = ready, reason, onBoot, "boot"
	report := string(r.Compact(verdict.MaxAnnotation))
	return fmt.Sprintf(`---
apiVersion: v1
kind: Node
metadata:
  name: %s
  creationTimestamp: "2026-01-02T03:04:05Z"
  labels: {node-role.kubernetes.io/worker: "", %s: "%s", %s: %s}
  annotations: {%s: %s, %s: %q}
status:
  nodeInfo: {bootID: boot}
`, name, keys.Ready(), ready, keys.OnBoot(), onBoot, keys.Reason(), reason, keys.Report(), report)
}

const amf = `  apiVersion: v1
  kind: Pod
  metadata: {name: amf-0, namespace: core, resourceVersion: "12", managedFields: [{time: "2026-02-03T04:05:06Z"}]}
  spec: {nodeName: worker-1, containers: [{name: main, image: amf, ports: [{containerPort: 38412, protocol: SCTP}]}]}
  status: {phase: Running}
`

// An agent is missed where its DaemonSet puts one: on the nodes that its pods select.
func TestAuditAgentsOfSomeNodes(t *testing.T) {
	bare := func(name, role string) string {
		return fmt.Sprintf("---\napiVersion: v1\nkind: Node\nmetadata: {name: %s, labels: {node-role.kubernetes.io/%s: \"\"}}\n", name, role)
	}
	agent := func(spec string) string {
		return `---
apiVersion: v1
kind: PodList
items:
- metadata: {name: sctp-agent-0, namespace: sctp-agent, labels: {app.kubernetes.io/name: sctp-agent}, ownerReferences: [{apiVersion: apps/v1, kind: DaemonSet, name: sctp-agent, uid: x, controller: true}]}
  spec: {nodeName: worker-0, containers: [{name: agent, image: sctp-agent}]` + spec + `}
  status: {phase: Running, conditions: [{type: Ready, status: "True"}]}
- metadata: {name: x, namespace: default}
`
	}
	nodes := nodeYAML("worker-0", kmod.AnswerTrue, verdict.ReasonProbePassed) + bare("worker-1", "worker") + bare("master-0", "master") + bare("infra-0", "infra")
	const name = `matchFields: [{key: metadata.name, operator: In, values: [worker-0]}]`
	for spec, want := range map[string][]string{
		"": {"infra-0", "master-0", "worker-1"},
		", nodeSelector: {node-role.kubernetes.io/worker: \"\"}":                                                                                                                                                 {"worker-1"},
		", affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{" + name + "}]}}}":                                                                                    {"infra-0", "master-0", "worker-1"},
		", affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: node-role.kubernetes.io/master, operator: DoesNotExist}], " + name + "}]}}}": {"infra-0", "worker-1"},
		", tolerations: [{operator: Exists}]": {"infra-0", "master-0", "worker-1"},
	} {
		r, _, stderr := auditOf(t, nodes+agent(spec), "-f", "-")
		var got []string
		for _, f := range r.Findings {
			if f.Kind == audit.NodeWithoutAgent {
				got = append(got, cmp.Or(strings.Join(f.Members, " "), f.Object.Name))
			}
		}
		if slices.Sort(got); stderr != "" || !slices.Equal(got, want) {
			t.Errorf("%s: no agent on %q, want %q; %s", spec, got, want, stderr)
		}
	}
}

// An agent with another prefix does not update the labels that are looked for.
func TestAuditAgentsOfAnotherPrefix(t *testing.T) {
	agent := func(node string) string {
		return `---
apiVersion: v1
kind: Pod
metadata: {name: a-` + node + `, namespace: sctp-agent, labels: {app.kubernetes.io/name: sctp-agent}, ownerReferences: [{apiVersion: apps/v1, kind: DaemonSet, name: sctp-agent, uid: x, controller: true}]}
spec: {nodeName: ` + node + `, containers: [{name: agent, image: sctp-agent, args: [run, --prefix=own.example/]}]}
status: {phase: Running, conditions: [{type: Ready, status: "True"}]}
`
	}
	objects := nodeYAML("worker-0", kmod.AnswerTrue, verdict.ReasonProbePassed) + "---\napiVersion: v1\nkind: Node\nmetadata: {name: worker-1}\n" + agent("worker-0") + agent("worker-1")
	for prefix, want := range map[string][]string{
		"":             {"ReadyWithoutAgent worker-0: pod sctp-agent/a-worker-0 has --prefix own.example/", "NodeWithoutAgent worker-1: pod sctp-agent/a-worker-1 has --prefix own.example/"},
		"own.example/": {"NodeUnproved worker-0: ", "NodeUnproved worker-1: "},
	} {
		r, _, stderr := auditOf(t, objects, "-f", "-", "--prefix", prefix)
		var got []string
		for _, f := range r.Findings {
			for _, name := range append(f.Members, f.Object.Name)[:f.Count] {
				evidence := append(f.Evidence, "")[0]
				got = append(got, fmt.Sprintf("%s %s: %s", f.Kind, name, evidence))
			}
		}
		if stderr != "" || !slices.Equal(got, want) {
			t.Errorf("prefix %q: %q, want %q; %s", prefix, got, want, stderr)
		}
	}
}

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

// A must-gather is judged as of its own time. What it leaves out is named, with the
// command that collects it, and nothing is concluded from it.
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
	const shown = "kubectl sctp audit -f must-gather.tar.gz"
	var table, errs bytes.Buffer
	if code := command.Main(newRootCommand(), doctest.Args(t, shown, "must-gather.tar.gz", archive), &table, &errs); code != command.ExitNo || !strings.HasPrefix(table.String(), "As of 2026-11-20T10:05:00Z, when the files were written.\n") {
		t.Errorf("exit status %d:\n%s%s", code, &table, &errs)
	}
	doctest.Shows(t, "docs/dumps.md", shown, table.String())
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

// zipped is a text compressed by gzip.
func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// tarred is an archive of files.
func tarred(t *testing.T, files map[string]string) string {
	t.Helper()
	tree := fstest.MapFS{}
	for name, text := range files {
		tree[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.AddFS(tree); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A case of support has archives and compressed files in directories and archives.
// What cannot be read of them is named, and the others are read.
func TestAuditPackedFiles(t *testing.T) {
	node := func(name string) string { return nodeYAML(name, kmod.AnswerTrue, verdict.ReasonProbePassed) }
	files := map[string]string{
		"nodes/0.yaml.gz": zipped(t, node("worker-0")), "must-gather.tar.gz": zipped(t, tarred(t, map[string]string{
			"nodes/1.yaml": node("worker-1"), "inspect.tar": tarred(t, map[string]string{"namespaces/core/core/pods.json": `{"kind":"PodList","apiVersion":"v1","items":[]}`}),
		})),
		"cut.tar.gz": zipped(t, tarred(t, map[string]string{"2.yaml": node("worker-2")}))[:60], "3.yaml.zst": "\x28\xb5\x2f\xfd", "4.yaml.gz": zipped(t, "kind: Node\n  x: [")[:20],
		"logs/current.log.gz": "no gzip", "deep.tar": tarred(t, map[string]string{"a.tar": tarred(t, map[string]string{"b.tar": tarred(t, map[string]string{"c.tar": ""})})}),
	}
	outer := filepath.Join(t.TempDir(), "case.tar")
	if err := os.WriteFile(outer, []byte(tarred(t, files)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{lay(t, t.TempDir(), files), outer} {
		r, _, stderr := auditOf(t, "", "-f", path)
		var unread, undecoded string
		for _, u := range r.Unseen {
			if u.Source == audit.SourceFiles {
				unread += u.Why
			}
			if u.Source == audit.SourcePods {
				undecoded = u.Why // of no namespace but core
			}
		}
		if r.Summary.Nodes != 2 || r.Summary.Undecoded != 4 || undecoded != "" {
			t.Errorf("%+v, %s %s", r.Summary, stderr, undecoded)
		}
		for _, want := range []string{"cut.tar.gz: unexpected EOF", "3.yaml.zst: not a tar archive (plain, .gz, .xz or .bz2): decompress it first (zstd -d)", "4.yaml.gz: unexpected EOF", "archives in archives"} {
			if !strings.Contains(unread, want) {
				t.Errorf("%s: not named: %q in %s", filepath.Base(path), want, unread)
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
		{[]string{"-f", at("cut.yaml")}, []string{"cut.yaml", "not whole Kubernetes objects"}},
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

// The forms in which kubectl, jq, gzip and shells write objects give the same
// result.
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
		"arrays in an array":  {"[[" + node("worker-0") + "],[" + node("worker-1") + "]]", ""},
		"values":              {node("worker-0") + node("worker-1"), ""},
		"a list in a list":    {`{"apiVersion":"v1","kind":"List","items":[` + list + `]}`, ""},
		"a list of its kind":  {`{"apiVersion":"v1","kind":"NodeList","items":[` + strings.ReplaceAll(items, `"kind":"Node"`, `"x":""`) + `]}`, ""},
		"with a mark":         {"\ufeff" + list, ""},
		"UTF-16":              {utf16, ""},
		"compressed":          {gz.String(), ""},
		"with broken items":   {`[7,"x",null,{"apiVersion":"v1","kind":"Pod","metadata":{}},` + items + `]`, "item 3: a Pod has no name"},
		"with a wrong type":   {`[{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"hostNetwork":"yes"}},` + items + `]`, "Pod p: spec.hostNetwork is of the type string, want bool"},
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
				i := slices.IndexFunc(r.Unseen, func(u audit.Unseen) bool { return u.Objects > 0 })
				if (i >= 0) != (c.unread != "") || i >= 0 && !strings.Contains(r.Unseen[i].Why, c.unread) {
					t.Errorf("not seen: %+v, want %q", r.Unseen, c.unread)
				}
			}
		})
	}
}

// One object of a wrong type, which no API server gives, is named and left out; the
// others are judged. What would be concluded from its absence is not.
func TestAuditBrokenObjects(t *testing.T) {
	indented := func(text string) string {
		return "- " + strings.ReplaceAll(strings.TrimSpace(strings.TrimPrefix(text, "---\n")), "\n", "\n  ") + "\n"
	}
	good := nodeYAML("worker-0", kmod.AnswerTrue, verdict.ReasonProbePassed)
	other := nodeYAML("worker-2", kmod.AnswerTrue, verdict.ReasonProbePassed)
	for name, change := range map[string][2]string{
		"a label":       {"kubernetes.io/worker: \"\"", "kubernetes.io/worker: 1"},
		"labels":        {"labels: {", "labels: [a]\n  x: {"},
		"an annotation": {"annotations: {", "annotations: {a: {}, "},
		"metadata":      {"metadata:\n  name", "spec:\n  name"},
		"a time":        {"2026-01-02T03:04:05Z", "yesterday"},
		"status":        {"nodeInfo: {bootID: boot}", "conditions: {}"},
		"a boot ID":     {"bootID: boot", "bootID: [boot]"},
		"the version":   {"apiVersion: v1", "apiVersion: 1"},
		"no YAML":       {"bootID: boot", "bootID: [boot}"},
	} {
		broken := strings.Replace(nodeYAML("worker-1", kmod.AnswerTrue, verdict.ReasonProbePassed), change[0], change[1], 1)
		lists := map[string]string{
			"List":     "apiVersion: v1\nitems:\n" + indented(good) + indented(broken) + indented(other) + "kind: List\n",
			"NodeList": "apiVersion: v1\nkind: NodeList\nitems:\n" + indented(good) + indented(broken) + indented(other),
		}
		if name != "no YAML" {
			lists["documents"] = good + broken + other
			text, err := yaml.YAMLToJSON([]byte(lists["List"]))
			if err != nil {
				t.Fatal(err)
			}
			lists["JSON"] = string(text)
		}
		for form, text := range lists {
			r, code, stderr := auditOf(t, text, "-f", "-")
			if r.Summary.Nodes != 2 || r.Summary.Undecoded != 1 || code != command.ExitUnknown {
				t.Errorf("%s, %s: exit status %d, %+v, %s", name, form, code, r.Summary, stderr)
			}
			if !slices.ContainsFunc(r.Unseen, func(u audit.Unseen) bool { return u.Objects == 1 && strings.Contains(u.Why, "-: ") }) {
				t.Errorf("%s, %s: not named: %+v", name, form, r.Unseen)
			}
		}
		dir := lay(t, t.TempDir(), map[string]string{"0.yaml": good, "1.yaml": broken, "2.yaml": other})
		var table, errs bytes.Buffer
		command.Main(newRootCommand(), []string{"audit", "-f", dir}, &table, &errs)
		for _, want := range []string{"2 nodes: 2 ready", "Not decoded, and so not judged: 1 (see \"Not seen\").", "1.yaml: "} {
			if !strings.Contains(table.String(), want) {
				t.Errorf("%s: it does not say %q:\n%s%s", name, want, &table, &errs)
			}
		}
	}
	if _, code, stderr := auditOf(t, strings.Replace(good, "bootID: boot", "bootID: [boot]", 1), "-f", "-"); code != command.ExitUnknown || !strings.Contains(stderr, "Node worker-0: ") {
		t.Errorf("exit status %d: %s", code, stderr)
	}

	// A broken object may be of any node or Service.
	var workloads strings.Builder
	for _, namespace := range []string{"core", "edge"} {
		for kind, rest := range map[string]string{
			"v1, kind: Pod": "spec: {}", "v1, kind: Service": "spec: {ports: [{port: 38412, protocol: SCTP}]}",
			"discovery.k8s.io/v1, kind: EndpointSlice": "endpoints: []", "networking.k8s.io/v1, kind: NetworkPolicy": "spec: {}",
		} {
			fmt.Fprintf(&workloads, "- {apiVersion: %s, metadata: {name: a, namespace: %s}, %s}\n", kind, namespace, rest)
		}
	}
	for brokenItem, want := range map[string]map[audit.Kind]bool{
		"": {audit.ServiceWithoutEndpoints: true, audit.ReadyWithoutAgent: true, audit.RequiredNodeNotReady: true},
		"- {apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: b, namespace: core}, endpoints: 5}\n": {audit.ReadyWithoutAgent: true, audit.RequiredNodeNotReady: true},
		"- {apiVersion: v1, kind: Pod, metadata: {name: b, namespace: core}, spec: 5}\n":                                 {audit.ServiceWithoutEndpoints: true, audit.RequiredNodeNotReady: true},
		"- {apiVersion: v1, kind: Node, metadata: {name: b}, spec: 5}\n":                                                 {audit.ServiceWithoutEndpoints: true, audit.ReadyWithoutAgent: true},
	} {
		list := "apiVersion: v1\nitems:\n" + indented(good) + workloads.String() + brokenItem + "kind: List\n"
		r, _, stderr := auditOf(t, list, "-f", "-", "--require", "a=b")
		found := map[audit.Kind]bool{}
		for _, f := range r.Findings {
			found[f.Kind] = true
		}
		for _, kind := range []audit.Kind{audit.ServiceWithoutEndpoints, audit.ReadyWithoutAgent, audit.RequiredNodeNotReady} {
			unchecked := slices.ContainsFunc(r.Unseen, func(u audit.Unseen) bool { return slices.Contains(u.NotChecked, kind) })
			if found[kind] != want[kind] || unchecked == want[kind] && kind != audit.RequiredNodeNotReady {
				t.Errorf("%q: %s: found %v, not checked %v; %s", brokenItem, kind, found[kind], unchecked, stderr)
			}
		}
	}
}

// What is concluded from the absence of an object is not where the files may lack
// it: there is one object of its kind and no list, or a part of a list. What is
// found in what is there is found.
func TestAuditSomeObjects(t *testing.T) {
	object := func(version, kind, namespace, name, rest string) string {
		return fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata":{"namespace":%q,"name":%q,"labels":{"kubernetes.io/service-name":%[4]q}},%s}`, version, kind, namespace, name, rest)
	}
	node := func(name string, ready kmod.Answer) string {
		text, err := yaml.YAMLToJSON([]byte(nodeYAML(name, ready, verdict.ReasonProbePassed)))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	list := func(version, kind, metadata string, items ...string) string {
		return fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata":{%s},"items":[%s]}`, version, kind, metadata, strings.Join(items, ","))
	}
	service := func(namespace, name, rest string) string {
		return object("v1", "Service", namespace, name, `"spec":{`+rest+`"ports":[{"port":38412,"protocol":"SCTP"}]}`)
	}
	slice := func(namespace, name, endpoints string) string {
		return object("discovery.k8s.io/v1", "EndpointSlice", namespace, name, `"ports":[{"port":38412,"protocol":"SCTP"}],"endpoints":[`+endpoints+`]`)
	}
	pod := func(name, status, spec string) string {
		return object("v1", "Pod", "core", name, `"status":{`+status+`},"spec":{`+spec+`"containers":[{"name":"c","ports":[{"containerPort":38412,"protocol":"SCTP"}]}]}`)
	}
	waits := pod("smf-0", `"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","reason":"Unschedulable"}]`, `"nodeSelector":{"sctp-agent/ready":"true","zone":"b"},`)
	endpoint := `{"addresses":["10.1.0.1"],"nodeName":"worker-1","conditions":{"ready":true},"targetRef":{"kind":"Pod","name":"amf-0"}}`
	nodes := list("v1", "NodeList", "", node("worker-0", kmod.AnswerTrue), node("worker-1", kmod.AnswerFalse))
	services := list("v1", "ServiceList", "", service("core", "amf", ""), service("core", "smf", ""), service("edge", "upf", ""))
	eps := list("discovery.k8s.io/v1", "EndpointSliceList", "", slice("core", "amf", endpoint), slice("edge", "upf", endpoint))
	const part = `"continue":"x"`
	config := func(name, data string) string {
		return object("v1", "ConfigMap", "kube-system", name, `"data":{`+data+`}`)
	}
	cilium := config("cilium-config", `"enable-sctp":"true"`)
	for name, c := range map[string]struct {
		files      []string
		args       []string
		found, not []audit.Kind
		unseen     audit.Source
	}{
		"a list of slices":        {[]string{nodes, services, eps}, nil, []audit.Kind{audit.ServiceWithoutEndpoints, audit.EndpointOnUnreadyNode}, nil, ""},
		"slices of v1beta1":       {[]string{nodes, services, strings.NewReplacer("k8s.io/v1", "k8s.io/v1beta1", `"nodeName":"worker-1"`, `"topology":{"kubernetes.io/hostname":"worker-1"}`).Replace(eps)}, nil, []audit.Kind{audit.EndpointOnUnreadyNode}, nil, ""},
		"a part of a list":        {[]string{nodes, services, list("discovery.k8s.io/v1", "EndpointSliceList", part, slice("core", "amf", endpoint), slice("edge", "upf", endpoint))}, nil, []audit.Kind{audit.EndpointOnUnreadyNode}, []audit.Kind{audit.ServiceWithoutEndpoints}, audit.SourceSlices},
		"one slice":               {[]string{nodes, services, slice("core", "amf", endpoint)}, nil, []audit.Kind{audit.EndpointOnUnreadyNode}, []audit.Kind{audit.ServiceWithoutEndpoints}, audit.SourceSlices},
		"slices of one namespace": {[]string{nodes, services, list("discovery.k8s.io/v1", "EndpointSliceList", "", slice("core", "amf", endpoint))}, nil, []audit.Kind{audit.EndpointOnUnreadyNode}, []audit.Kind{audit.ServiceWithoutEndpoints}, audit.SourceSlices},
		"one pod":                 {[]string{nodes, services, pod("amf-0", `"phase":"Running"`, `"nodeName":"worker-1",`)}, nil, []audit.Kind{audit.PodOnUnreadyNode}, []audit.Kind{audit.ReadyWithoutAgent}, audit.SourcePods},
		"one node":                {[]string{node("worker-0", kmod.AnswerTrue), list("v1", "PodList", "", waits)}, []string{"--require", "zone=b"}, []audit.Kind{audit.PodWaitsForSCTP}, []audit.Kind{audit.RequiredNodeNotReady}, audit.SourceNodes},
		"some nodes of the files": {[]string{nodes, list("v1", "PodList", "", waits)}, []string{"--require", "zone=b", "-l", "node-role.kubernetes.io/worker"}, []audit.Kind{audit.PodWaitsForSCTP}, []audit.Kind{audit.RequiredNodeNotReady}, ""},
		"all nodes":               {[]string{nodes, list("v1", "PodList", "", waits)}, []string{"--require", "zone=b"}, []audit.Kind{audit.PodWaitsForSCTP, audit.RequiredNodeNotReady}, nil, ""},
		"another ConfigMap":       {[]string{nodes, services, eps, config("coredns", "")}, nil, nil, []audit.Kind{audit.ServicePortNotServed}, audit.SourceNetwork},
		"Cilium without SCTP":     {[]string{nodes, services, eps, config("cilium-config", "")}, nil, []audit.Kind{audit.ServicePortNotServed}, nil, ""},
		"Cilium":                  {[]string{nodes, services, eps, cilium}, nil, nil, nil, ""},
		"Cilium and kube-proxy":   {[]string{nodes, list("v1", "ServiceList", "", service("core", "amf", `"externalTrafficPolicy":"Local",`), service("edge", "upf", "")), eps, cilium}, nil, nil, []audit.Kind{audit.ServicePortNotServed}, audit.SourceNetwork},
		"Cilium, kube-proxy's left": {[]string{nodes, list("v1", "ServiceList", "", service("core", "amf", `"externalTrafficPolicy":"Local",`), service("edge", "upf", "")), eps,
			list("v1", "ConfigMapList", "", config("cilium-config", `"enable-sctp":"true","kube-proxy-replacement":"true"`), config("kube-proxy", `"config.conf":"mode: ipvs"`))}, nil, nil, []audit.Kind{audit.ServicePortNotServed}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			args := c.args
			for i, text := range c.files {
				file := filepath.Join(t.TempDir(), fmt.Sprint(i, ".json"))
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				args = append(args, "-f", file)
			}
			r, code, stderr := auditOf(t, "", args...)
			for _, kind := range append(c.found, c.not...) {
				i := slices.IndexFunc(r.Findings, func(f audit.Finding) bool { return f.Kind == kind })
				if (i >= 0) != slices.Contains(c.found, kind) {
					t.Errorf("%s: found %v, exit status %d %s; not seen %+v", kind, i >= 0, code, stderr, r.Unseen)
				}
				if i >= 0 && name != "all nodes" && strings.Contains(r.Findings[i].Message, "no node has") {
					t.Errorf("concluded from nodes that may be there: %s", r.Findings[i].Message)
				}
			}
			for _, source := range []audit.Source{audit.SourceSlices, audit.SourceNodes, audit.SourceNetwork} {
				unseen := slices.ContainsFunc(r.Unseen, func(u audit.Unseen) bool {
					return u.Source == source && !u.Unknown && !strings.HasPrefix(u.Why, "list ")
				})
				configs := strings.Contains(strings.Join(c.files, ""), "ConfigMap")
				if unseen != (c.unseen == source) && (configs || source != audit.SourceNetwork) {
					t.Errorf("%s: unseen %v: %+v", source, unseen, r.Unseen)
				}
			}
		})
	}
}

// Of two lists that an API server wrote, what only the earlier one has is gone,
// whichever is read first.
func TestAuditLaterList(t *testing.T) {
	pods := func(revision int, names ...string) string {
		text := fmt.Sprintf(`{"apiVersion":"v1","kind":"PodList","metadata":{"resourceVersion":"%d"},"items":[`, revision)
		for i, name := range names {
			text += fmt.Sprintf(`%s{"metadata":{"namespace":"core","name":%q,"resourceVersion":"5"},"spec":{"nodeName":"worker-0","containers":[{"name":"c","ports":[{"containerPort":1,"protocol":"SCTP"}]}]}}`, strings.Repeat(",", min(i, 1)), name)
		}
		return text + "]}"
	}
	node := nodeYAML("worker-0", kmod.AnswerFalse, verdict.ReasonModuleBlacklisted)
	dir := lay(t, t.TempDir(), map[string]string{"node.yaml": node, "0.json": pods(10, "amf-0", "amf-1"), "1.json": pods(20, "amf-1"), "2.json": pods(0, "amf-0", "amf-1")})
	at := func(name string) []string { return []string{"-f", filepath.Join(dir, name)} }
	for name, c := range map[string]struct {
		files []string
		want  int
	}{
		"earlier, later": {slices.Concat(at("0.json"), at("1.json")), 1}, "later, earlier": {slices.Concat(at("1.json"), at("0.json")), 1},
		"one that notes no time": {at("2.json"), 2}, "the earlier one": {at("0.json"), 2},
	} {
		r, _, stderr := auditOf(t, "", append(c.files, at("node.yaml")...)...)
		if n := strings.Count(fmt.Sprint(r.Findings), string(audit.PodOnUnreadyNode)); n != c.want {
			t.Errorf("%s: %d pods, want %d: %+v %s", name, n, c.want, r.Findings, stderr)
		}
	}
}

// Programs other than kubectl quote a kind, or write something after it.
func TestAuditKindsOfYAML(t *testing.T) {
	list := "apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(strings.TrimSpace(strings.TrimPrefix(nodeYAML("worker-0", kmod.AnswerTrue, verdict.ReasonProbePassed), "---\n")), "\n", "\n  ") + "\n"
	for _, kind := range []string{`"Node"`, "'Node'", "Node ", "Node  # one of two", "!!str Node", "Node\r"} {
		for _, text := range []string{strings.Replace(list, "kind: Node", "kind: "+kind, 1), strings.Replace(nodeYAML("worker-0", kmod.AnswerTrue, verdict.ReasonProbePassed), "kind: Node", "kind: "+kind, 1)} {
			if r, _, stderr := auditOf(t, text, "-f", "-"); r.Summary.Nodes != 1 {
				t.Errorf("%q: %s\n%s", kind, stderr, text)
			}
		}
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
	// What brings the rest needs no oc where the cluster is no OpenShift.
	for annotations, want := range map[string]string{"annotations: {": "kubectl get pods", "annotations: {machineconfiguration.openshift.io/currentConfig: a, ": "oc adm inspect"} {
		r, _, _ := auditOf(t, strings.Replace(list(amf), "annotations: {", annotations, 1), "-f", "-")
		for _, source := range []audit.Source{audit.SourceNamespaces, audit.SourceAgents} {
			i := slices.IndexFunc(r.Unseen, func(u audit.Unseen) bool { return u.Source == source })
			if i < 0 || !strings.Contains(r.Unseen[i].Why, "("+want) {
				t.Errorf("%s: not seen %+v, want %q", source, r.Unseen, want)
			}
		}
	}
}

// Files that are never written do not block the command.
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
