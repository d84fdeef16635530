package verify

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
)

// page shows a result that is put into it as JSON; it needs nothing else.
//
//go:embed page.html
var page []byte

const placeholder = `{"result":"here"}`

// WriteHTML writes a result as one self-contained page.
func WriteHTML(w io.Writer, r *Result) error {
	data, err := json.Marshal(r) // escapes <, > and &
	if err != nil {
		return err
	}
	before, after, found := bytes.Cut(page, []byte(placeholder))
	if !found {
		return fmt.Errorf("the page has no place for the result")
	}
	_, err = w.Write(append(append(append([]byte{}, before...), data...), after...))
	return err
}
