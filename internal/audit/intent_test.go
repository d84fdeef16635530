package audit

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const intentHead = "apiVersion: sctp-agent/v1\nkind: AuditIntent\n"

func TestReadIntent(t *testing.T) {
	in, err := ReadIntent(strings.NewReader(intentHead + "require: [a=b]\naccept:\n- {pool: infra, why: hardened}\n- {kind: NodeUnproved, object: core/amf}\n"))
	if err != nil || !slices.Equal(in.Require, []string{"a=b"}) || !slices.Equal(in.Accept, []Exception{{Pool: "infra", Why: "hardened"}, {Kind: NodeUnproved, Object: "core/amf"}}) {
		t.Errorf("%+v, %v", in, err)
	}
	for text, want := range map[string]string{
		"kind: AuditIntent":                          `of ""`,
		intentHead + "acept: []":                     `unknown field "acept"`,
		intentHead + "require: 5":                    "require is of the type number, want array",
		"kind: [x]":                                  "kind is of the type array, want string",
		"kind: Service\nmetadata: {name: s}":         `it is a "Service" of ""`,
		intentHead + "accept: [{why: x}]":            "accept everything",
		intentHead + "accept: [{kind: NodeUnprovd}]": "NodeUnprovd",
		intentHead + "require: ['a in']":             `"a in"`,
		intentHead + "require: ['']":                 "empty",
		intentHead + "accept: [{kind: X, kind: Y}]":  "already",
		intentHead + "---\n" + intentHead:            "more than one document",
	} {
		if _, err := ReadIntent(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "json: ") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if e, err := ParseException("kind=NodeUnproved,pool=infra,object=a/b"); err != nil || e != (Exception{Kind: NodeUnproved, Pool: "infra", Object: "a/b"}) {
		t.Errorf("%+v, %v", e, err)
	}
	for _, text := range []string{"", "infra", "kind=X", "pool=", "pool=a,pool=b"} {
		if e, err := ParseException(text); err == nil {
			t.Errorf("%q: %+v", text, e)
		}
	}
}

// What is accepted, or was there before, does not count; what is new does.
func TestAcceptAndBaseline(t *testing.T) {
	node := Finding{Kind: NodeUnproved, Severity: Warning, Pool: "infra", Object: Object{Kind: "Node", Name: "a"}, Count: 2, Members: []string{"a", "b"}}
	pods := Finding{Kind: PodOnUnreadyNode, Severity: Critical, Object: Object{"Deployment", "core", "amf"}, Count: 1, Members: []string{"amf-1"}}
	of := func(list ...Finding) Result {
		r := Result{APIVersion: APIVersion, Kind: ResultKind, Findings: list}
		r.count()
		return r
	}
	for name, c := range map[string]struct {
		e    Exception
		left int
	}{
		"kind":           {Exception{Kind: NodeUnproved}, 1},
		"pool":           {Exception{Pool: "infra"}, 1},
		"object":         {Exception{Object: "core/amf"}, 1},
		"another pool":   {Exception{Kind: NodeUnproved, Pool: "worker"}, 2},
		"one of several": {Exception{Object: "a"}, 2},
	} {
		r := of(node, pods)
		r.Accept([]Exception{c.e})
		if len(r.Findings) != c.left || len(r.Accepted) != 2-c.left || r.Summary.Critical+r.Summary.Warnings != c.left {
			t.Errorf("%s: %+v", name, r)
		}
	}

	text, err := json.Marshal(of(node, pods))
	if err != nil {
		t.Fatal(err)
	}
	old, err := ReadBaseline(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	// As PowerShell's ">" writes it, and as YAML.
	utf16 := "\xff\xfe"
	for _, b := range text {
		utf16 += string([]byte{b, 0})
	}
	inYAML, err := yaml.JSONToYAML(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{utf16, "\ufeff" + string(text), string(inYAML), string(text) + string(text)} {
		if r, err := ReadBaseline(strings.NewReader(other)); err != nil || !reflect.DeepEqual(r, old) {
			t.Errorf("%.20q: %+v, %v", other, r, err)
		}
	}
	fewer, more, others, second := node, node, pods, pods
	fewer.Object.Name, fewer.Members = "b", []string{"b"}
	more.Members = []string{"a", "b", "c"}
	others.Members = []string{"amf-7", "amf-8"} // pods come and go
	second.Object.Name = "smf"
	r := of(fewer, more, others, second)
	r.Since(old)
	if len(r.Findings) != 2 || r.Findings[0].Count != more.Count || r.Findings[1].Object.Name != "smf" || len(r.Known) != 2 || r.Worst() != Critical {
		t.Errorf("new %+v\nknown %+v", r.Findings, r.Known)
	}
	// A baseline that was made against a baseline has all.
	again := of(fewer, others)
	again.Since(Result{Known: old.Findings})
	if len(again.Findings) != 0 || len(again.Known) != 2 || again.Worst() != "" {
		t.Errorf("%+v", again)
	}
	if _, err := ReadBaseline(strings.NewReader("{}")); err == nil {
		t.Error("any JSON is a baseline")
	}
}
