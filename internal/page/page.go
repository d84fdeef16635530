// Package page writes a result as one self-contained HTML page: the result as JSON,
// and a script that shows it. A page loads nothing from the network, and its policy
// forbids that.
package page

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"strings"
)

// frame is what all pages share: policy, style, and the script's first lines.
//
//go:embed frame.html
var frame string

// Page is one kind of page.
type Page struct {
	Title string
	// Body is HTML below the title and the summary line.
	Body string
	// Script fills the body. It finds the result as r, and may use byId, make,
	// list and summary of frame.html. It must show foreign strings as text.
	Script string
}

// Write writes the page of a result.
func (p Page) Write(w io.Writer, result any) error {
	// json.Marshal escapes <, > and &, so no string in it can end the script
	// element.
	data, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("write the page %q: %w", p.Title, err)
	}
	// One pass: inserted text is not searched.
	_, err = strings.NewReplacer(
		"{{title}}", html.EscapeString(p.Title), "{{body}}", p.Body, "{{result}}", string(data), "{{script}}", p.Script,
	).WriteString(w, frame)
	return err
}
