package audit

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
)

// page shows a result that is put into it as JSON. It needs nothing from
// anywhere else: its policy forbids it to ask.
//
//go:embed page.html
var page []byte

// placeholder is where the page gets the result.
const placeholder = `{"result":"here"}`

// WriteHTML writes a result as one self-contained page.
func WriteHTML(w io.Writer, r Result) error {
	// json.Marshal escapes <, > and &, so no name found in the cluster can
	// end the script element; the page shows every string as text.
	data, err := json.Marshal(struct {
		Result
		Titles map[Kind]string `json:"titles"`
	}{r, titles()})
	if err != nil {
		return err
	}
	before, after, found := bytes.Cut(page, []byte(placeholder))
	if !found {
		return fmt.Errorf("the page has no place for the result")
	}
	for _, part := range [][]byte{before, data, after} {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

func titles() map[Kind]string {
	out := map[Kind]string{}
	for _, c := range checks() {
		out[c.kind] = c.title
	}
	return out
}
