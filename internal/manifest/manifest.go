// Package manifest reads the text of manifests: YAML documents or JSON values, as
// kubectl, editors and the shells of all systems write them.
package manifest

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"strings"
	"unicode/utf16"
)

// UTF8 is text in UTF-8 and without its byte order mark. The ">" of Windows
// PowerShell writes UTF-16.
func UTF8(text []byte) []byte {
	order := map[string]binary.ByteOrder{"\xff\xfe": binary.LittleEndian, "\xfe\xff": binary.BigEndian}[string(text[:min(2, len(text))])]
	if order == nil {
		return bytes.TrimPrefix(text, []byte("\ufeff"))
	}
	units := make([]uint16, len(text)/2-1)
	for i := range units {
		units[i] = order.Uint16(text[2*(i+1):])
	}
	return []byte(string(utf16.Decode(units)))
}

// Values are the YAML documents or JSON values of a text, as JSON. The first one
// that cannot be read comes with its error, and is the last.
func Values(text []byte) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		for document := range documents(UTF8(text)) {
			for raw, err := range values(document) {
				if !yield(raw, err) || err != nil {
					return
				}
			}
		}
	}
}

// documents splits a YAML stream at its "---" lines (YAML 1.2, 9.2). Text after the
// dashes belongs to the document.
func documents(text []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		start, at := 0, 0
		for line := range bytes.Lines(text) {
			rest, marker := bytes.CutPrefix(line, []byte("---"))
			if marker && (len(rest) == 0 || bytes.IndexByte([]byte(" \t\r\n"), rest[0]) >= 0) {
				if !yield(withoutDirectives(text[start:at])) {
					return
				}
				start = at + len("---")
			}
			at += len(line)
		}
		yield(withoutDirectives(text[start:]))
	}
}

// withoutDirectives leaves out directives, and comments before them, at a document's
// beginning: they do not matter here.
func withoutDirectives(document []byte) []byte {
	for rest := document; len(rest) > 0; {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		switch trimmed := bytes.TrimSpace(line); {
		case bytes.HasPrefix(line, []byte("%")):
			document = after
		case len(trimmed) > 0 && trimmed[0] != '#':
			return document
		}
		rest = after
	}
	return document
}

// values are those of a document: JSON values in a row, or one of YAML.
func values(document []byte) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		document = bytes.TrimSpace(bytes.TrimPrefix(document, []byte("\ufeff"))) // files put together
		if len(document) == 0 {
			return
		}
		var broken error
		if document[0] == '{' || document[0] == '[' {
			decoder := json.NewDecoder(bytes.NewReader(document))
			for first := true; ; first = false {
				var raw json.RawMessage
				err := decoder.Decode(&raw)
				if errors.Is(err, io.EOF) {
					return
				}
				if err != nil && first {
					broken = err
					break // a mapping or a list of YAML may begin like that, too
				}
				if !yield(raw, err) || err != nil {
					return
				}
			}
		}
		raw, err := toJSON(document)
		if err != nil && errors.Is(broken, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("JSON that is cut short: %w", broken)
		}
		yield(raw, err)
	}
}

// InWords is the error of decoding a value of a wrong type, or a field that is not
// known, without Go's words for it.
func InWords(err error) error {
	before, why, _ := strings.Cut(err.Error(), "json: ")
	before = strings.TrimPrefix(before, "error unmarshaling JSON: while decoding JSON: ") // of sigs.k8s.io/yaml
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case ok:
		return fmt.Errorf("%s%s is of the type %s, want %s", before, cmp.Or(wrong.Field, "it"), wrong.Value, typeOf(wrong.Type.Kind()))
	case strings.HasPrefix(why, "unknown field"):
		return errors.New(before + why)
	}
	return err
}

// typeOf is the type of JSON that is decoded into a Go type.
func typeOf(kind reflect.Kind) string {
	switch {
	case kind == reflect.String:
		return "string"
	case kind == reflect.Bool:
		return "bool"
	case kind == reflect.Slice:
		return "array"
	case kind >= reflect.Int && kind <= reflect.Float64:
		return "number"
	}
	return "object"
}
