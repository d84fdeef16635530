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
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

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
