package audit

import (
	_ "embed"
	"io"
	"maps"
	"slices"

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
		Labels []column        `json:"labels"`
	}{r, titles, columns(r.Labels)})
}

// column is one label of all nodes.
type column struct {
	Key    string   `json:"key"`
	Values []string `json:"values"`
	// Of is the place of each node's value in Values.
	Of []int `json:"of"`
}

// columns are the labels by which nodes can be grouped: those with more than one
// value, and fewer than there are nodes.
func columns(nodes []map[string]string) []column {
	keys := map[string]bool{}
	for _, labels := range nodes {
		for key := range labels {
			keys[key] = true
		}
	}
	out := []column{}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		c := column{Key: key, Of: make([]int, len(nodes))}
		at := map[string]int{}
		for i, labels := range nodes {
			value := labels[key]
			if _, found := at[value]; !found {
				at[value] = len(c.Values)
				c.Values = append(c.Values, value)
			}
			c.Of[i] = at[value]
		}
		if n := len(c.Values); 1 < n && n < len(nodes) {
			out = append(out, c)
		}
	}
	return out
}
