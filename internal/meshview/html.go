package meshview

import (
	_ "embed"
	"io"

	"github.com/sctp-agent/sctp-agent/internal/page"
)

//go:embed page.html
var body string

//go:embed page.js
var script string

// WriteHTML writes a result as one self-contained page.
func WriteHTML(w io.Writer, r *Result) error {
	return page.Page{Title: "SCTP mesh", Body: body, Script: script}.Write(w, r)
}
