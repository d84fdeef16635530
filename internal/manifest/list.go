package manifest

import (
	"bytes"
	"encoding/json"

	"sigs.k8s.io/yaml"
)

// Part is what a line of YAML belongs to.
type Part int

const (
	// Rest: the document, without the items of a list.
	Rest Part = iota
	// NextItem: an item that begins with this line.
	NextItem
	// Item: the item that has begun.
	Item
	// NextDocument: the line begins or ends a document.
	NextDocument
)

// Lines tells the items of lists from the rest, line by line. Of a list in block style,
// as kubectl and oc write it, the items begin with a dash, all in the same column;
// nothing else of a document is in that column or before it (YAML 1.2, 8.2.1).
type Lines struct {
	items  bool // the last line was one of an item
	column int  // of the dashes then
	begin  bool // the last line of the document was "items:"
}

// Part takes the next line. A line that is Rest ends the items.
func (l *Lines) Part(line []byte) Part {
	bare := bytes.TrimLeft(line, " ")
	at, bare := len(line)-len(bare), bytes.TrimRight(bare, " \r\n")
	dash := bytes.Equal(bare, []byte("-")) || bytes.HasPrefix(bare, []byte("- "))
	blank := len(bare) == 0 || bare[0] == '#'
	switch {
	case at == 0 && (bytes.Equal(bare, []byte("---")) || bytes.HasPrefix(bare, []byte("--- ")) || bytes.Equal(bare, []byte("..."))):
		*l = Lines{}
		return NextDocument
	case l.begin && dash:
		l.begin, l.items, l.column = false, true, at
		return NextItem
	case l.items && (at > l.column || blank):
		return Item
	case l.items && at == l.column && dash:
		return NextItem
	}
	l.items = false
	l.begin = l.begin && blank || at == 0 && bytes.Equal(bare, []byte("items:"))
	return Rest
}

// toJSON decodes a document of YAML, and the items of a list one by one: decoded whole,
// that of a large cluster takes many times its text.
func toJSON(document []byte) (json.RawMessage, error) {
	var lines Lines
	var rest, item, items []byte
	ended, bad := false, false
	endItem := func() {
		if len(item) == 0 || bad {
			return
		}
		list, err := yaml.YAMLToJSON(item)
		if bad = err != nil || len(list) < 2 || list[0] != '['; !bad {
			items = append(append(items, list[1:len(list)-1]...), ',')
		}
		item = item[:0]
	}
	for line := range bytes.Lines(document) {
		text := bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		bad = bad || bytes.ContainsAny(text, "\r\u0085\u2028\u2029") // which break lines, too (YAML 1.1, 4.1.4)
		switch lines.Part(line) {
		case NextItem:
			bad = bad || ended // a second list
			endItem()
			item = append(item, line...)
		case Item:
			item = append(item, line...)
		default:
			endItem()
			ended = len(items) > 0
			rest = append(rest, line...)
		}
	}
	endItem()
	if bad || len(items) == 0 {
		return yaml.YAMLToJSON(document) // with the names that items give each other, and the number of a bad line
	}
	head, err := yaml.YAMLToJSON(rest)
	var fields map[string]json.RawMessage
	if err != nil || json.Unmarshal(head, &fields) != nil || string(fields["items"]) != "null" {
		return yaml.YAMLToJSON(document)
	}
	fields["items"] = append(append([]byte{'['}, items[:len(items)-1]...), ']')
	return json.Marshal(fields)
}
