package imports_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	inlineLink = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading    = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
	fence      = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	codeSpan   = regexp.MustCompile("`[^`\n]*`")
	noAnchor   = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// anchors are what links into a document may name, as GitHub makes them of its
// headings. No document here has a heading twice.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, h := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		all[strings.ReplaceAll(noAnchor.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-")] = true
	}
	return all
}

// broken are the relative links of a document without a target.
func broken(tree fs.FS, name string) (links []string, err error) {
	text, err := fs.ReadFile(tree, name)
	if err != nil {
		return nil, err
	}
	prose := codeSpan.ReplaceAllString(fence.ReplaceAllString(string(text), ""), "")
	for _, m := range inlineLink.FindAllStringSubmatch(prose, -1) {
		if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
			continue
		}
		file, anchor, _ := strings.Cut(m[1], "#")
		target := name
		if file != "" {
			target = path.Join(path.Dir(name), file)
		}
		if _, err := fs.Stat(tree, target); err != nil {
			links = append(links, m[1])
			continue
		}
		if anchor == "" {
			continue
		}
		there, err := fs.ReadFile(tree, target)
		if err != nil || !anchors(string(there))[anchor] {
			links = append(links, m[1])
		}
	}
	return links, nil
}

// Every relative link of a document leads to a file of this repository, and to
// a heading in it.
func TestDocumentLinks(t *testing.T) {
	tree := os.DirFS(".")
	documents := 0
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == ".git":
			return filepath.SkipDir
		case entry.IsDir() || filepath.Ext(name) != ".md":
			return nil
		}
		documents++
		links, err := broken(tree, filepath.ToSlash(name))
		for _, link := range links {
			t.Errorf("%s: link %s leads nowhere", name, link)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if documents == 0 {
		t.Error("no document was found")
	}
}
