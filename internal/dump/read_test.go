package dump

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// names are those that a request lists, with a text of each.
func names(t *testing.T, d *Dump, at string) string {
	t.Helper()
	r, err := d.RoundTrip(httptest.NewRequest(http.MethodGet, at, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var list struct {
		Message string
		Items   []struct {
			Kind     string
			Metadata struct {
				Namespace, Name string
				Annotations     map[string]string
			}
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, o := range list.Items {
		out = append(out, strings.TrimPrefix(o.Metadata.Namespace+"/", "/")+o.Metadata.Name+o.Metadata.Annotations["text"])
	}
	return strings.Join(out, " ") + list.Message
}

// A list is the same in every way in which YAML and JSON write it, item by item:
// all that the library decodes at once.
func TestItemsOneByOne(t *testing.T) {
	const block = `apiVersion: v1
items:
- apiVersion: v1
  kind: Node
  metadata:
    annotations:
      text: |
        items:
        - kind: Pod

        # no comment
        ---x
    name: b
- kind: Event
  metadata: {name: e}
  broken: {}
# a comment
- apiVersion: v1
  kind: Pod
  metadata: {name: p, namespace: core}
- # its dash stands alone
  apiVersion: v1
  kind: Node
  metadata:
    name: a
    annotations: {text: "two
      lines"}
-
  apiVersion: v1
  kind: Pod
  metadata: {name: q, namespace: edge}
kind: List
metadata:
  resourceVersion: ""
`
	whole, err := yaml.YAMLToJSON([]byte(block))
	if err != nil {
		t.Fatal(err)
	}
	const nodes, pods = "atwo lines bitems:\n- kind: Pod\n\n# no comment\n---x\n", "core/p edge/q"
	const log = "==== START logs for container main of pod core/p ====\n- {\n\t: kind: Pod\n{\"kind\":\"Node\"}\nno end==== END logs for container main of pod core/p ====\n"
	indented := strings.Replace(strings.ReplaceAll(block, "\n", "\n  "), "apiVersion: v1\n  items:", "apiVersion: v1\nitems:", 1)
	indented = strings.Replace(indented, "\n  kind: List\n  metadata:\n    resourceVersion: \"\"\n  ", "\nkind: List\nmetadata:\n  resourceVersion: \"\"\n", 1)
	for name, c := range map[string]struct{ text, nodes, pods string }{
		"block":                {block, nodes, pods},
		"indented":             {indented, nodes, pods},
		"CRLF":                 {strings.ReplaceAll(block, "\n", "\r\n"), nodes, pods},
		"JSON":                 {string(whole), nodes, pods},
		"JSON in YAML":         {"---\n" + string(whole), nodes, pods},
		"JSON, one by one":     {`{"kind":"Node","apiVersion":"v1","metadata":{"name":"a"}} {"apiVersion":"v1","items":[],"kind":"PodList"}`, "a", ""},
		"kind before":          {`{"kind":"NodeList","apiVersion":"v1","items":[{"metadata":{"name":"a"}}]}`, "a", "not in the files (kubectl get pods -A -o yaml)"},
		"kind behind":          {`{"items":[{"metadata":{"name":"a"}}],"apiVersion":"v1","kind":"NodeList"}`, "a", "not in the files (kubectl get pods -A -o yaml)"},
		"kind behind, YAML":    {"items:\n- metadata: {name: a}\n- metadata: {name: b}\napiVersion: v1\nkind: NodeList\n", "a b", "not in the files (kubectl get pods -A -o yaml)"},
		"flow style":           {"kind: List\napiVersion: v1\nitems: [{apiVersion: v1, kind: Node, metadata: {name: a}}]\n", "a", "not in the files (kubectl get pods -A -o yaml)"},
		"lists in a list":      {"apiVersion: v1\nitems:\n- apiVersion: v1\n  items:\n  - metadata: {name: a}\n  kind: NodeList\n- apiVersion: v1\n  kind: List\n  items: []\nkind: List\n", "a", "not in the files (kubectl get pods -A -o yaml)"},
		"an empty list":        {"apiVersion: v1\nitems: []\nkind: PodList\n---\nkind: Node\napiVersion: v1\nmetadata: {name: a}\n", "a", ""},
		"an object's items":    {"apiVersion: v1\nkind: Node\nmetadata:\n  name: a\nspec:\n  items:\n  - kind: Pod\n", "a", "not in the files (kubectl get pods -A -o yaml)"},
		"logs between":         {`{"kind":"NodeList","apiVersion":"v1","items":[{"metadata":{"name":"a"}}]}` + "\n" + log + `{"kind":"PodList","apiVersion":"v1","items":[{"metadata":{"name":"p","namespace":"core"}}]}` + "\n" + log, "a", "core/p"},
		"logs between, YAML":   {"apiVersion: v1\nitems:\n- metadata: {name: a}\nkind: NodeList\n" + log + "---\n" + block + log, "atwo lines bitems:\n- kind: Pod\n\n# no comment\n---x\n", pods},
		"documents with items": {strings.Replace(block, "kind: List", "kind: List\n...", 1) + "---\nkind: Node\napiVersion: v1\nmetadata: {name: c}\n", nodes + " c", pods},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Open(t.Context(), strings.NewReader(c.text), []string{"-"})
			if err != nil {
				t.Fatal(err)
			}
			if got := names(t, d, "/api/v1/nodes"); got != c.nodes {
				t.Errorf("nodes %q, want %q", got, c.nodes)
			}
			if got := names(t, d, "/api/v1/pods"); got != c.pods {
				t.Errorf("pods %q, want %q", got, c.pods)
			}
		})
	}

	// A file that was cut short is an error, not a smaller cluster. A comment, and
	// objects of other kinds, are no sign of it.
	const documents = "kind: Node\napiVersion: v1\nmetadata: {name: a}\n---\n"
	for _, end := range []string{"# end\n", "\n...\n", "\n\t\n  ", "apiVersion: v1\ndata: {}\nkind: Secret\n", `{"data": {}, "kind": "Secret"}`, `{a: b, kind: Secret}`} {
		if _, err := Open(t.Context(), strings.NewReader(documents+end), []string{"-"}); err != nil {
			t.Errorf("%q: %v", end, err)
		}
	}
	cut := strings.LastIndex(block, "\nkind: List")
	for name, text := range map[string]string{
		"before its kind": block[:cut+1], "in an item": block[:cut-20], "JSON": string(whole[:len(whole)-30]), "null": `{"kind":"PodList","apiVersion":"v1","items":[null]}`,
		"no list": `{"kind":"PodList","apiVersion":"v1","items":{"a":1}}`, "a document after another": documents + "addressType: IPv4\napiVers",
		"a log": `{"kind":"NodeList","apiVersion":"v1","items":[{"metadata":{"name":"a"}}]}` + "\n" + log[:80], "a log, YAML": "apiVersion: v1\nitems: []\nkind: NodeList\n" + log[:80],
		"in another": documents + "addressType: IPv4\nendpoints:\n- targetRef:\n    kind: Pod\n",
	} {
		if d, err := Open(t.Context(), strings.NewReader(text), []string{"-"}); err == nil {
			t.Errorf("%s: nodes %q", name, names(t, d, "/api/v1/nodes"))
		}
	}
}

// The items of a list that cannot be read to its end are some of its objects: of the
// others nothing is known.
func TestListWithoutReadableEnd(t *testing.T) {
	dir := t.TempDir()
	const item = "items:\n- apiVersion: v1\n  kind: Node\n  metadata: {name: a}\n"
	for name, text := range map[string]string{
		"version":   "apiVersion: 1\nkind: List\n" + item,
		"after":     item + "kind: List\napiVersion: 1\n",
		"cut short": "apiVersion: v1\n" + item,
		"documents": "apiVersion: v1\nkind: Node\nmetadata: {name: a}\n---\naddressType: IPv4\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, "list.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := Open(t.Context(), nil, []string{dir})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := names(t, d, "/api/v1/nodes"); got != "a" {
			t.Errorf("%s: nodes %q", name, got)
		}
		if len(d.Partial()) != 1 || len(d.Broken())+len(d.Unread()) != 1 {
			t.Errorf("%s: partial %v, broken %v, unread %v", name, d.Partial(), d.Broken(), d.Unread())
		}
	}
}

// The files of two clusters are not one cluster's. A namespace that was made again is.
func TestSeveralClusters(t *testing.T) {
	namespace := func(name, uid string) string {
		return "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + name + ", uid: " + uid + "}\n"
	}
	for name, c := range map[string]struct {
		files []string
		err   string
	}{
		"one":                  {[]string{namespace("kube-system", "a"), namespace("kube-system", "a"), namespace("default", "b")}, ""},
		"one, made again":      {[]string{namespace("core", "a"), namespace("core", "b")}, ""},
		"one without an UID":   {[]string{namespace("kube-system", "a"), namespace("kube-system", "''")}, ""},
		"two":                  {[]string{namespace("kube-system", "a"), namespace("kube-system", "b")}, "0/x.yaml and 1/x.yaml have namespace kube-system with different UIDs"},
		"two, in another list": {[]string{namespace("default", "a"), "apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(namespace("default", "b"), "\n", "\n  ")}, "several clusters"},
	} {
		dir := t.TempDir()
		for i, text := range c.files {
			at := filepath.Join(dir, strconv.Itoa(i))
			if err := errors.Join(os.Mkdir(at, 0o700), os.WriteFile(filepath.Join(at, "x.yaml"), []byte(text), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Open(t.Context(), nil, []string{dir}); (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, want %q", name, err, c.err)
		}
	}
}
