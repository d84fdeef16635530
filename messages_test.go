package imports_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/internal/doctest"
)

// messagesFile has everything that users read in the programs' output, file by
// file, so that a reviewer reads it in one go.
const messagesFile = "testdata/messages.golden"

// notShown are packages for tests, whose texts are for developers, and code whose words
// are GRUB's and systemd's.
var notShown = []string{"internal/bootloader", "internal/hostcase", "internal/programtest", "internal/doctest", "internal/systemdunit/hindrance.go"}

// sentence is text of at least two words; names, keys and formats are not.
var sentence = regexp.MustCompile(`\pL{2}[\pL'),.:;"]* .*\pL{2}`)

// format is a verb of a format, which is no word.
var format = regexp.MustCompile(`%[-+#0-9.*]*\[?[0-9]*\]?[a-z]`)

// TestMessages: messages.golden has the messages, help, Events, findings,
// remedies, logs and help of metrics: each string of more than one word in the
// code, in the pages' templates, and in the manifests' admission policies and
// alerts.
func TestMessages(t *testing.T) {
	var b strings.Builder
	b.WriteString("Everything that users read. Written by: go test -run '^TestMessages$' -update .\n")
	for _, root := range []string{"cmd", "internal", "pkg", "manifests"} {
		err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
			name = filepath.ToSlash(name)
			if err != nil || entry.IsDir() || slices.Contains(notShown, name) {
				if entry.IsDir() && slices.Contains(notShown, name) || err == nil && entry.Name() == "testdata" {
					return filepath.SkipDir
				}
				return err
			}
			var texts []string
			switch filepath.Ext(name) {
			case ".go":
				if strings.HasSuffix(name, "_test.go") {
					return nil
				}
				texts, err = stringsOf(name)
			case ".html", ".js":
				texts, err = shownBy(name, regexp.MustCompile(`>([^<>{}]+)<|"([^"\n]+)"|'([^'\n]+)'`))
			case ".yaml":
				texts, err = shownBy(name, regexp.MustCompile(`(?m)^ *-? *(?:message|messageExpression|summary|description): *(?:>-\s+)?((?:.+\n)(?:              .+\n)*)`))
			}
			if len(texts) > 0 {
				fmt.Fprintf(&b, "\n== %s\n%s\n", name, strings.Join(texts, "\n"))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	doctest.Golden(t, messagesFile, b.String())
}

// stringsOf are the strings of a Go file that have more than one word. A
// concatenation has "…" for parts that are not literals.
func stringsOf(name string) (texts []string, err error) {
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		return nil, err
	}
	add := func(e ast.Expr) {
		if text := literal(e); sentence.MatchString(format.ReplaceAllString(text, "")) {
			texts = append(texts, strings.ReplaceAll(strings.Trim(text, "\n"), "\n", "\n  "))
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec, *ast.Field:
			f, ok := n.(*ast.Field)
			return ok && f.Tag == nil
		case *ast.CallExpr:
			// A pattern is no message.
			if f, ok := n.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "MustCompile" {
				return false
			}
		case *ast.BinaryExpr:
			if n.Op == token.ADD && literal(n) != "…" {
				add(n)
				return false
			}
		case *ast.BasicLit:
			add(n)
		}
		return true
	})
	return texts, nil
}

// literal is the text of an expression, as far as it consists of literals.
func literal(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return text
		}
	case *ast.BinaryExpr:
		if text := literal(e.X) + literal(e.Y); strings.Trim(text, "…") != "" {
			return text
		}
	case *ast.ParenExpr:
		return literal(e.X)
	}
	return "…"
}

// shownBy are the texts in a file that a pattern's groups find.
func shownBy(name string, pattern *regexp.Regexp) (texts []string, err error) {
	data, err := os.ReadFile(name)
	for _, m := range pattern.FindAllStringSubmatch(string(data), -1) {
		if text := strings.Join(strings.Fields(strings.Join(m[1:], "")), " "); sentence.MatchString(text) {
			texts = append(texts, text)
		}
	}
	return texts, err
}

// plain are the words that users are not to read, each with what to write.
func plain(t *testing.T) map[*regexp.Regexp]string {
	t.Helper()
	list, err := os.ReadFile("testdata/forbidden.txt")
	if err != nil {
		t.Fatal(err)
	}
	words := map[*regexp.Regexp]string{}
	for line := range strings.Lines(string(list)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		word, instead, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok {
			t.Fatalf("no tab: %s", line)
		}
		words[regexp.MustCompile(`(?i)\b(?:`+word+`)\b`)] = instead
	}
	return words
}

// shown reports whether users read a file as it is.
func shown(name string) bool {
	dir, _, _ := strings.Cut(name, "/")
	return slices.Contains([]string{"charts", "manifests", "docs", ".github"}, dir) || path.Ext(name) == ".md" ||
		slices.Contains([]string{"Dockerfile", "Makefile", "hack/release"}, name)
}

// files are those of this repository that a function wants, without links and
// what others wrote.
func files(t *testing.T, want func(string) bool) (names []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		switch name = filepath.ToSlash(name); {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "testdata" || name == "docs/examples"):
			return filepath.SkipDir
		case entry.Type().IsRegular() && want(name):
			names = append(names, name)
		}
		return nil
	})
	if err != nil || len(names) < 50 {
		t.Fatal(err, names)
	}
	return names
}

// TestPlainWords: no forbidden word is in the messages or in a file that users
// read.
func TestPlainWords(t *testing.T) {
	words := plain(t)
	if len(words) == 0 {
		t.Fatal("the list is empty")
	}
	for _, name := range append(files(t, shown), messagesFile) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for line := range strings.Lines(string(text)) {
			n++
			for word, instead := range words {
				if found := word.FindString(line); found != "" {
					t.Errorf("%s:%d: %q: write %s\n\t%s", name, n, found, instead, strings.TrimSpace(line))
				}
			}
		}
	}
}

// TestPackageComments: every package has one comment, which begins as go doc
// expects it.
func TestPackageComments(t *testing.T) {
	comments := map[string][]string{}
	code := func(name string) bool { return path.Ext(name) == ".go" && !strings.HasSuffix(name, "_test.go") }
	for _, name := range files(t, code) {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Dir(name)
		if comments[dir] == nil {
			comments[dir] = []string{}
		}
		if file.Doc == nil {
			continue
		}
		comments[dir] = append(comments[dir], name)
		begin := "Package " + file.Name.Name + " "
		if file.Name.Name == "main" {
			begin = "Command " + filepath.Base(dir) + " "
		}
		if !strings.HasPrefix(file.Doc.Text(), begin) {
			t.Errorf("%s: the package comment does not begin with %q", name, begin)
		}
	}
	for dir, in := range comments {
		if len(in) != 1 {
			t.Errorf("%s: package comments in %v, want one", dir, in)
		}
	}
}
