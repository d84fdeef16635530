package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/sctp-agent/sctp-agent/internal/manifest"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// IntentKind is the kind of a file with what a fleet must have.
const IntentKind = "AuditIntent"

// Intent is what a fleet is meant to be. The file is public API.
type Intent struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Require are label selectors: the nodes of each must have SCTP.
	Require []string `json:"require,omitempty"`
	// Accept are findings that are as they should be.
	Accept []Exception `json:"accept,omitempty"`
}

// Exception accepts the findings that have all of what it names.
type Exception struct {
	Kind Kind `json:"kind,omitempty"`
	// Pool is that of the nodes, or the machine config pool itself.
	Pool string `json:"pool,omitempty"`
	// Object is NAME, or NAMESPACE/NAME.
	Object string `json:"object,omitempty"`
	// Why is for readers of the file, and is shown with what is accepted.
	Why string `json:"why,omitempty"`
}

// ReadIntent reads an intent's YAML. A field that is not known is an error: a
// misspelt exception would accept too much.
func ReadIntent(r io.Reader) (Intent, error) {
	var in Intent
	text, err := readText(r)
	if err != nil {
		return in, err
	}
	documents := 0
	for value, err := range manifest.Values(text) {
		if err == nil && string(value) != "null" {
			documents++
		}
	}
	if documents > 1 {
		return in, errors.New("more than one document: what is required and accepted is one")
	}
	err = yaml.UnmarshalStrict(text, &in)
	switch {
	case err != nil && in.Kind == "":
		return in, manifest.InWords(err)
	case in.APIVersion != APIVersion || in.Kind != IntentKind:
		return in, fmt.Errorf("it is a %q of %q, want a %q of %q", in.Kind, in.APIVersion, IntentKind, APIVersion)
	case err != nil:
		return in, manifest.InWords(err)
	}
	return in, in.Check()
}

// maxText bounds an intent, and a result of the largest cluster.
const maxText = 256 << 20

// readText reads such a file in any shell's encoding.
func readText(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxText+1))
	if err == nil && len(text) > maxText {
		err = fmt.Errorf("more than %d MiB", maxText>>20)
	}
	return manifest.UTF8(text), err
}

// ParseException reads an exception as a flag has it: kind=K,pool=P,object=O.
func ParseException(s string) (Exception, error) {
	var e Exception
	fields := map[string]*string{"kind": (*string)(&e.Kind), "pool": &e.Pool, "object": &e.Object}
	for field := range strings.SplitSeq(s, ",") {
		key, value, _ := strings.Cut(field, "=")
		if fields[key] == nil {
			return e, fmt.Errorf("exception %q: want kind=, pool= or object=, each once, joined by commas", s)
		}
		*fields[key] = value
		delete(fields, key)
	}
	return e, e.check()
}

// Check reports whether the intent can be applied.
func (in *Intent) Check() error {
	if _, err := in.selectors(); err != nil {
		return err
	}
	for _, e := range in.Accept {
		if err := e.check(); err != nil {
			return err
		}
	}
	return nil
}

func (in *Intent) selectors() ([]labels.Selector, error) {
	var out []labels.Selector
	for _, text := range in.Require {
		s, err := labels.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("required nodes %q: %w", text, err)
		}
		if s.Empty() {
			return nil, errors.New("required nodes: the selector is empty")
		}
		out = append(out, s)
	}
	return out, nil
}

func (e Exception) check() error {
	if e.Kind == "" && e.Pool == "" && e.Object == "" {
		return errors.New("an exception without kind, pool and object would accept everything")
	}
	if e.Kind != "" && !slices.Contains(Kinds(), e.Kind) {
		return fmt.Errorf("exception: no kind of finding is called %q", e.Kind)
	}
	return nil
}

// accepts is all or nothing for a finding about several nodes: these are of one
// pool, and cannot be accepted by their names.
func (e Exception) accepts(f Finding) bool {
	return (e.Kind == "" || e.Kind == f.Kind) && (e.Pool == "" || e.Pool == f.Pool) &&
		(e.Object == "" || !slices.ContainsFunc(f.Subjects(), func(o Object) bool { return o.String() != e.Object }))
}

// Subjects are the objects that make a finding the same as an earlier one: its
// nodes, or what controls its pods, which come and go.
func (f Finding) Subjects() []Object {
	if f.Object.Kind != "Node" || len(f.Members) == 0 {
		return []Object{f.Object}
	}
	out := make([]Object, len(f.Members))
	for i, name := range f.Members {
		out[i] = Object{Kind: "Node", Name: name}
	}
	return out
}

// Accept moves the findings that exceptions accept out of Findings.
func (r *Result) Accept(exceptions []Exception) {
	r.Findings, r.Accepted = split(r.Findings, func(f *Finding) bool {
		i := slices.IndexFunc(exceptions, func(e Exception) bool { return e.accepts(*f) })
		if i >= 0 {
			f.Why = exceptions[i].Why
		}
		return i >= 0
	})
	r.count()
}

// ReadBaseline reads an earlier result.
func ReadBaseline(in io.Reader) (Result, error) {
	var r Result
	text, err := readText(in)
	if err != nil {
		return r, err
	}
	for value, err := range manifest.Values(text) {
		if err == nil {
			err = json.Unmarshal(value, &r)
		}
		if err != nil {
			return r, manifest.InWords(err)
		}
		break // of a result that was watched, the first one
	}
	if r.APIVersion != APIVersion || r.Kind != ResultKind {
		return r, fmt.Errorf("it is a %q of %q, want a %q of %q", r.Kind, r.APIVersion, ResultKind, APIVersion)
	}
	return r, nil
}

// Since moves the findings that an earlier result had out of Findings: those of
// the same kind about the same objects. One about a further node is new.
func (r *Result) Since(old Result) {
	type key struct {
		Kind
		Object
	}
	had := map[key]bool{}
	for _, list := range [][]Finding{old.Findings, old.Known} {
		for _, f := range list {
			for _, o := range f.Subjects() {
				had[key{f.Kind, o}] = true
			}
		}
	}
	r.Findings, r.Known = split(r.Findings, func(f *Finding) bool {
		return !slices.ContainsFunc(f.Subjects(), func(o Object) bool { return !had[key{f.Kind, o}] })
	})
	r.count()
}

func split(list []Finding, out func(*Finding) bool) (kept, taken []Finding) {
	kept = []Finding{}
	for _, f := range list {
		if out(&f) {
			taken = append(taken, f)
		} else {
			kept = append(kept, f)
		}
	}
	return kept, taken
}

// requiredNodes finds the nodes that must have SCTP and have not proved it.
func requiredNodes(v *view, found report) {
	for i, selector := range v.required {
		matched := false
		eachNode(func(n *Node, found nodeReport) {
			if !selector.Matches(labels.Set(n.Labels)) {
				return
			}
			matched = true
			if n.SCTP() != kmod.AnswerTrue {
				found(n.remedy(), fmt.Sprintf("must have SCTP (required: %s)", v.Require[i]), n.why())
			}
		})(v, found)
		// One that was not looked at, or could not be decoded, may have them.
		if !matched && !v.SomeNodes && !v.unseen(SourceNodes) {
			found(Finding{Object: Object{Kind: objectSelector, Name: v.Require[i]}, Message: "nodes are required to have SCTP, and no node has these labels"})
		}
	}
}
