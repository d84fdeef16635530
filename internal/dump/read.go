package dump

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
	"github.com/sctp-agent/sctp-agent/internal/manifest"
	"github.com/sctp-agent/sctp-agent/internal/tarball"
)

// inNamespace is the namespace of a file of a must-gather, which may be in a
// directory "namespaces/all".
var inNamespace = regexp.MustCompile(`^(?:.*/)?namespaces/([^/]+)/`)

// mayHold finds documents with one of the kinds without decoding them.
var mayHold = regexp.MustCompile(`kind["']?\s*:\s*(?:!!str\s+)?["']?(?:List|(?:` + strings.Join(kinds, "|") + `)(?:List)?)\b`)

// documentsOf takes the objects of a file. The items of a list are decoded one by
// one: decoded whole, that of a large cluster takes many times its text.
func (d *Dump) documentsOf(name string, r io.Reader) error {
	limited := &limitedReader{d: d, r: r, left: maxFile}
	in := bufio.NewReaderSize(limited, 64<<10)
	f := file{d: d, name: name}
	d.reading = name
	if m := inNamespace.FindStringSubmatch(name); m != nil {
		f.namespace, d.inspected = m[1], true
	}
	var err error
	if mark, _ := in.Peek(3); string(mark) == "\ufeff" {
		in.Discard(len(mark))
	}
	switch mark, _ := in.Peek(2); { // a reader's error is returned again
	case path.Base(name) == "timestamp":
		var text []byte
		text, err = io.ReadAll(in)
		d.readTimestamp(text)
	case string(mark) == "\xff\xfe", string(mark) == "\xfe\xff": // UTF-16
		var text []byte
		if text, err = io.ReadAll(in); err == nil {
			err = f.read(bufio.NewReader(bytes.NewReader(manifest.UTF8(text))))
		}
	default:
		err = f.read(in)
	}
	// kubectl get KIND NAME prints one object, of which there may be others, as in a
	// file that is not whole.
	for _, o := range f.single {
		if c := d.coverageOf(o.resource); d.alone && f.documents == 1 || err != nil {
			c.some[o.namespace] = true
		} else {
			c.namespaces[o.namespace] = true
		}
	}
	switch {
	case limited.err != nil:
		err = hostroot.Bare(limited.err)
	case err != nil:
		err = fmt.Errorf("%w: %w", errObjects, err)
	}
	if err != nil && !d.alone { // else Open names it
		err = fmt.Errorf("%s: %w", name, err)
	}
	return err
}

// limitedReader fails where more is read than is kept of one file, or of all.
type limitedReader struct {
	d    *Dump
	r    io.Reader
	left int64
	err  error // no io.EOF
}

func (l *limitedReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	l.left -= int64(n)
	l.d.read += int64(n)
	if l.left < 0 || l.d.read > maxDocuments {
		err = tarball.ErrTooMuch
	}
	if err != nil && !errors.Is(err, io.EOF) {
		l.err = err
	}
	return n, err
}

// file is one that is read.
type file struct {
	d         *Dump
	name      string
	namespace string // by its path in a must-gather
	documents int
	single    []place // objects that are in no list
}

// place is where an object is.
type place struct {
	resource        schema.GroupResource
	namespace, name string
}

// asJSON is the beginning of a JSON object, or of an array of them; YAML may begin
// with a brace, too, and is decoded whole then.
var asJSON = regexp.MustCompile(`^(?:\[\s*)?\{\s*["}]`)

func (f *file) read(in *bufio.Reader) error {
	for {
		c, err := in.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case strings.ContainsRune(" \t\r\n", rune(c)):
			continue
		}
		if err := in.UnreadByte(); err != nil {
			return err
		}
		switch begin, _ := in.Peek(4096); {
		case bytes.HasPrefix(begin, logBegins):
			if err := skipLog(in); err != nil {
				return err
			}
			continue
		case !asJSON.Match(begin):
			return f.readYAML(in)
		}
		values := json.NewDecoder(in)
		if err := f.readJSON(values); err != nil {
			return err
		}
		in = bufio.NewReader(io.MultiReader(values.Buffered(), in))
	}
}

// logBegins and logEnds are around the log of a container in what "kubectl cluster-info
// dump" prints between the lists (kubectl, pkg/cmd/clusterinfo/clusterinfo_dump.go). The
// log need not end a line.
var logBegins, logEnds = []byte("==== START logs for container "), []byte("==== END logs for container ")

// skipLog reads on to the line after a log.
func skipLog(in *bufio.Reader) error {
	for {
		line, err := in.ReadBytes('\n')
		switch {
		case bytes.Contains(line, logEnds):
			return nil
		case errors.Is(err, io.EOF):
			return errors.New("a log without its end: the file may be cut short")
		case err != nil:
			return err
		}
	}
}

// readJSON takes one object, or an array of them.
func (f *file) readJSON(in *json.Decoder) error {
	doc := document{file: f}
	t, err := in.Token()
	if err != nil {
		return err
	}
	if t == json.Delim('[') {
		doc.Kind = "List"
		if err := doc.rest(in); err != nil {
			return err
		}
		return doc.end([]byte(`{"kind":"List"}`))
	}
	fields := map[string]json.RawMessage{}
	for in.More() {
		key, err := in.Token()
		if err != nil {
			return err
		}
		if key == "items" {
			err = doc.itemsJSON(in)
		} else {
			var value json.RawMessage
			err = in.Decode(&value)
			fields[key.(string)] = value // no other token is before a colon
		}
		if err != nil {
			return err
		}
		if key == "kind" || key == "apiVersion" {
			text, _ := json.Marshal(fields)     // they have been JSON
			_ = json.Unmarshal(text, &doc.head) // end tells whether it is an object
		}
	}
	if _, err := in.Token(); err != nil { // its end
		return err
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	return doc.end(text)
}

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

// readYAML takes documents, and the items of lists, one after the other.
func (f *file) readYAML(in *bufio.Reader) error {
	doc := document{file: f}
	var text, item []byte // of the document without its items, and of one item
	var lines manifest.Lines
	// An item that cannot be decoded is left out if another follows. The last one
	// may be where the file was cut short.
	var failed error
	var kind string
	nextItem := func() {
		if failed != nil {
			resource, _ := resourceOf(head{Kind: kind})
			f.d.isBroken(resource, fmt.Sprintf("%s: item %d", f.name, doc.taken), failed)
			doc.taken++
		}
		kind = cmp.Or(kindOfItem(item), doc.ofKind())
		failed = doc.itemYAML(item, kind)
		item = item[:0]
	}
	endItems := func() error {
		nextItem()
		defer func() { failed = nil }()
		return failed
	}
	endDocument := func(last bool) error {
		err := endItems()
		if err == nil && last && f.documents > 0 && lacksKind(text) {
			return errors.New("the last document has no kind: the file may be cut short")
		}
		if err == nil && (doc.list || mayHold.Match(text)) {
			for value, failed := range manifest.Values(text) {
				if err = failed; err == nil {
					err = doc.end(value)
				}
				if err != nil {
					break
				}
				doc = document{file: f}
			}
		}
		doc, text = document{file: f}, text[:0]
		return err
	}
	for {
		line, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if bytes.HasPrefix(line, logBegins) {
			if err := skipLog(in); err != nil {
				return cmp.Or(endDocument(true), err)
			}
			continue
		}
		switch lines.Part(line) {
		case manifest.NextDocument:
			if err := endDocument(false); err != nil {
				return err
			}
			text = append(text, line[3:]...)
		case manifest.NextItem:
			nextItem()
			doc.list = true
			item = append(item, line...)
		case manifest.Item:
			item = append(item, line...)
		default:
			if err := endItems(); err != nil {
				return err
			}
			text = append(text, line...)
		}
		if err != nil {
			return endDocument(true)
		}
	}
}

// lacksKind reports whether a document of YAML has something else than comments, and
// no kind. In flow style it has its end, or cannot be read.
func lacksKind(text []byte) bool {
	top := -1 // the column of its fields
	for line := range bytes.Lines(text) {
		bare := bytes.TrimLeft(line, " ")
		if trimmed := bytes.TrimSpace(bare); len(trimmed) == 0 || trimmed[0] == '#' {
			continue
		}
		if at := len(line) - len(bare); top < 0 {
			if top = at; bare[0] == '{' {
				return false
			}
		} else if at != top {
			continue
		}
		if key, _, _ := bytes.Cut(bare, []byte(":")); string(bytes.Trim(key, `"' `)) == "kind" {
			return false
		}
	}
	return top >= 0
}

// kindField is a kind in a line of its own.
var kindField = regexp.MustCompile(`^kind: ["']?(\w+)["']?\s*(?: #.*\n?)?$`)

// kindOfItem reads the kind of an item, "" where it is not in a line of its own.
func kindOfItem(text []byte) string {
	column := bytes.IndexByte(text, '-')
	for line := range bytes.Lines(text) {
		if len(line) < column+2 {
			continue
		}
		if m := kindField.FindSubmatch(line[column+2:]); m != nil {
			return string(m[1])
		}
	}
	return ""
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
	if err := json.Unmarshal(text, &h); err != nil {
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

// unused are the fields of objects that are not needed and take most of their text;
// a path goes through all items of a list.
var unused = map[string][]string{
	"Node": {"status.images"},
	"Pod": {
		"metadata.annotations", "spec.volumes",
		"spec.containers.env", "spec.containers.envFrom", "spec.containers.volumeMounts", "spec.containers.resources",
		"spec.containers.securityContext", "spec.containers.livenessProbe", "spec.containers.readinessProbe", "spec.containers.startupProbe", "spec.containers.lifecycle",
		"spec.initContainers.env", "spec.initContainers.envFrom", "spec.initContainers.volumeMounts", "spec.initContainers.resources", "spec.initContainers.securityContext",
		"status.containerStatuses.imageID", "status.containerStatuses.containerID", "status.containerStatuses.lastState",
	},
}

func drop(value any, field string) {
	if list, ok := value.([]any); ok {
		for _, item := range list {
			drop(item, field)
		}
		return
	}
	fields, _ := value.(map[string]any)
	first, rest, deeper := strings.Cut(field, ".")
	if !deeper {
		delete(fields, first)
		return
	}
	drop(fields[first], rest)
}

// object takes one object; nil if its kind is not needed.
func (d *Dump) object(text json.RawMessage, h head) (*object, schema.GroupResource, error) {
	resource, ok := resourceOf(h)
	if !ok {
		return nil, resource, nil
	}
	var whole map[string]any
	if err := json.Unmarshal(text, &whole); err != nil {
		return nil, resource, err
	}
	if whole == nil { // null
		return nil, resource, fmt.Errorf("a %s has no name", h.Kind)
	}
	whole["apiVersion"], whole["kind"] = h.APIVersion, h.Kind
	metadata, _ := whole["metadata"].(map[string]any)
	o := &object{}
	o.namespace, _ = metadata["namespace"].(string)
	if o.name, _ = metadata["name"].(string); o.name == "" {
		return nil, resource, fmt.Errorf("a %s has no name", h.Kind)
	}
	revision, _ := metadata["resourceVersion"].(string)
	o.revision, _ = strconv.ParseUint(revision, 10, 64)
	d.seeTimes(metadata, whole)
	if h.Kind == "Namespace" {
		d.seeCluster(o, metadata)
	}
	delete(metadata, "managedFields") // a third of a pod
	if h.Kind == "EndpointSlice" && strings.HasSuffix(h.APIVersion, "/v1beta1") {
		nameNodes(whole["endpoints"])
	}
	for _, field := range unused[h.Kind] {
		drop(whole, field)
	}
	kept, err := json.Marshal(whole)
	if err == nil {
		err = decodes(kept, resource, h.Kind)
	}
	if err != nil {
		return nil, resource, fmt.Errorf("%s %s: %w", h.Kind, strings.TrimPrefix(o.namespace+"/"+o.name, "/"), err)
	}
	if d.shelves[resource] == nil {
		d.shelves[resource] = &shelf{like: kept}
	}
	if o.packed, err = d.shelves[resource].pack(kept); err != nil {
		return nil, resource, err
	}
	if annotations, _ := metadata["annotations"].(map[string]any); h.Kind == "Node" && annotations[machineConfigs+"/currentConfig"] != nil {
		d.openShift = true
	}
	if d.objects[resource] == nil {
		d.objects[resource] = map[string]*object{}
	}
	key := o.namespace + "/" + o.name
	old := d.objects[resource][key]
	if old != nil {
		o.listed = old.listed
	}
	if old == nil || old.revision <= o.revision {
		d.objects[resource][key] = o
	}
	return o, resource, nil
}

// nameNodes gives endpoints of discovery.k8s.io/v1beta1 the field that v1 has in
// place of a topology.
func nameNodes(endpoints any) {
	list, _ := endpoints.([]any)
	for _, e := range list {
		e, _ := e.(map[string]any)
		topology, _ := e["topology"].(map[string]any)
		if name := topology["kubernetes.io/hostname"]; name != nil && e["nodeName"] == nil {
			e["nodeName"] = name
		}
	}
}

// decodes is the error of a client that reads the object. In a list it would fail
// for all of the list's objects.
func decodes(text []byte, resource schema.GroupResource, kind string) error {
	into, err := scheme.Scheme.New(schema.GroupVersionKind{Group: resource.Group, Version: "v1", Kind: kind})
	if err != nil {
		return nil // not a kind of Kubernetes' own: it is read field by field
	}
	return utiljson.Unmarshal(text, into)
}
