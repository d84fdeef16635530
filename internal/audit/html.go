package audit

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
func WriteHTML(w io.Writer, r Result) error {
	titles := map[Kind]string{}
	for _, c := range checks() {
		titles[c.kind] = c.title
	}
	return page.Page{Title: "SCTP audit", Body: body, Script: script}.Write(w, struct {
		Result
		Titles map[Kind]string `json:"titles"`
	}{r, titles})
}
