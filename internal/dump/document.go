package dump

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

func (doc *document) itemsJSON(in *json.Decoder) error {
	t, err := in.Token()
	if t != json.Delim('[') || err != nil {
		if t == nil { // null: an empty list
			return err
		}
		return cmp.Or(err, fmt.Errorf("items: %v is no list", t))
	}
	return doc.rest(in)
}

// rest takes the items of an array that has begun.
func (doc *document) rest(in *json.Decoder) error {
	for in.More() {
		var item json.RawMessage
		if err := in.Decode(&item); err != nil {
			return err
		}
		doc.item(item)
	}
	_, err := in.Token()
	return err
}

// itemYAML takes an item of this kind, if that is known.
func (doc *document) itemYAML(text []byte, kind string) error {
	// Of other kinds a dump has many.
	if len(text) == 0 || kind != "" && !slices.Contains(kinds, kind) && !strings.HasSuffix(kind, "List") {
		return nil
	}
	list, err := yaml.YAMLToJSON(text)
	if err != nil {
		return err
	}
	var items []json.RawMessage
	if err := json.Unmarshal(list, &items); err != nil {
		return err
	}
	for _, item := range items {
		doc.item(item)
	}
	return nil
}

// document is an object, or a list of which the items come one by one.
type document struct {
	*file
	head
	depth int // of lists that it is in
	list  bool
	taken int // items
	// unnamed are items without a kind, which that of the list names.
	unnamed []json.RawMessage
	in      map[string]bool // namespaces
	of      map[schema.GroupResource]bool
	has     []place
}

// head is the fields that identify a value.
type head struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

// maxNesting bounds lists of lists.
const maxNesting = 3

// item takes an item of a list. One that cannot be read leaves the others.
func (doc *document) item(text json.RawMessage) {
	doc.list = true
	h := head{APIVersion: doc.APIVersion}
	if text[0] == '[' { // the items of a list, as jq puts together those of several
		h.Kind = "List"
	} else if err := json.Unmarshal(text, &h); err != nil {
		if text[0] == '{' {
			doc.d.isBroken(schema.GroupResource{}, fmt.Sprintf("%s: item %d", doc.name, doc.taken), err)
		}
		doc.taken++
		return
	}
	if h.Kind == "" && doc.Kind == "" {
		doc.unnamed = append(doc.unnamed, text)
		return
	}
	var o *object
	var resource schema.GroupResource
	var err error
	if strings.HasSuffix(h.Kind, "List") {
		err = (&document{file: doc.file, depth: doc.depth + 1}).end(text)
	} else {
		h.Kind = cmp.Or(h.Kind, doc.ofKind())
		o, resource, err = doc.d.object(text, h)
	}
	if err != nil {
		doc.d.isBroken(resource, fmt.Sprintf("%s: item %d", doc.name, doc.taken), err)
	}
	doc.taken++
	if o == nil || err != nil {
		return
	}
	if doc.of == nil {
		doc.of, doc.in = map[schema.GroupResource]bool{}, map[string]bool{}
	}
	doc.of[resource] = true
	doc.has = append(doc.has, place{resource, o.namespace, o.name})
	doc.d.coverageOf(resource).some[o.namespace] = true // more, if the list can be read to its end
	if o.namespace != "" {
		doc.in[o.namespace] = true
	}
}

// ofKind is the kind of the items of a list, "" for kubectl's.
func (doc *document) ofKind() string { return strings.TrimSuffix(doc.Kind, "List") }

// end takes the document; those items of a list that have been taken are not in
// it.
func (doc *document) end(text []byte) error {
	var whole struct {
		head
		Metadata json.RawMessage `json:"metadata"`
		Items    json.RawMessage `json:"items"`
	}
	if text = bytes.TrimSpace(text); len(text) > 0 && text[0] == '[' { // jq .items
		whole.Kind, whole.Items = "List", text
	} else if err := json.Unmarshal(text, &whole); err != nil {
		if len(text) > 0 && text[0] == '{' { // else no object at all: a text, a number
			doc.d.isBroken(schema.GroupResource{}, doc.name, err)
		}
		return nil
	}
	doc.head = whole.head
	if doc.depth == 0 {
		doc.documents++
	}
	switch isList := strings.HasSuffix(doc.Kind, "List"); {
	case !isList && doc.list:
		return errors.New("a list without its kind: the file may be cut short")
	case !isList:
		doc.byItself(text)
		return nil
	case doc.depth == maxNesting:
		return fmt.Errorf("lists nested more than %d deep", maxNesting)
	}
	var items []json.RawMessage
	if err := json.Unmarshal(whole.Items, &items); err != nil && len(whole.Items) > 0 {
		return fmt.Errorf("a %s: %w", doc.Kind, err)
	}
	for _, item := range append(doc.unnamed, items...) {
		doc.item(item)
	}
	doc.cover(whole.Metadata)
	return nil
}

// byItself takes an object that is in no list.
func (doc *document) byItself(text []byte) {
	o, resource, err := doc.d.object(text, doc.head)
	switch {
	case err != nil:
		doc.d.isBroken(resource, doc.name, err)
	case o == nil:
	case doc.namespace != "" && o.namespace == doc.namespace:
		doc.d.coverageOf(resource).some[o.namespace] = true
	default:
		doc.single = append(doc.single, place{resource, o.namespace, o.name})
	}
}

// cover notes what a list has all objects of.
func (doc *document) cover(metadata json.RawMessage) {
	in, of := doc.in, doc.of
	if of == nil {
		of, in = map[schema.GroupResource]bool{}, map[string]bool{}
	}
	if resource, ok := resourceOf(head{doc.APIVersion, doc.ofKind()}); ok {
		of[resource] = true
	}
	// kubectl lists one namespace or all of them, and does not note which.
	all := doc.namespace == "" && len(in) > 1
	if doc.namespace != "" {
		in[doc.namespace] = true
	}
	var list struct{ Continue, ResourceVersion string }
	_ = json.Unmarshal(metadata, &list)                            // of a list that an API server wrote
	revision, _ := strconv.ParseUint(list.ResourceVersion, 10, 64) // kubectl's own has none
	for resource := range of {
		c := doc.d.coverageOf(resource)
		if len(in) == 0 {
			in = map[string]bool{"": true}
		}
		for name := range in {
			if list.Continue != "" { // one of several parts
				c.some[name] = true
				continue
			}
			c.all = c.all || all
			c.namespaces[name] = true
			if all {
				c.everywhere = max(c.everywhere, revision)
			} else {
				c.revisions[name] = max(c.revisions[name], revision)
			}
		}
	}
	for _, at := range doc.has {
		o := doc.d.objects[at.resource][at.namespace+"/"+at.name]
		o.listed = max(o.listed, revision)
	}
}
