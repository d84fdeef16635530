// Package doctest tests the documents of this repository against its code:
// generated sections, golden files, and the commands that documents show.
package doctest

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sctp-agent/sctp-agent/internal/command"
)

var update = flag.Bool("update", false, "write generated sections of documents, and golden files")

// reference is the document that has the generated sections.
const reference = "docs/reference.md"

// root is the repository's directory, as a path from that of the test.
func root(t *testing.T) string {
	t.Helper()
	for dir := "."; len(dir) < 20; dir = filepath.Join(dir, "..") {
		if _, err := os.Stat(filepath.Join(dir, reference)); err == nil {
			return dir
		}
	}
	t.Fatalf("no %s above the test", reference)
	return ""
}

// Golden fails where a file of the repository is not the text. With -update it
// writes the file.
func Golden(t *testing.T, name, text string) {
	t.Helper()
	name = filepath.Join(root(t), name)
	if *update {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, name, string(have), text)
}

// Section fails where a section of the reference is not the text. A section is
// between comments with its name. With -update it is written.
func Section(t *testing.T, section, text string) {
	t.Helper()
	name := filepath.Join(root(t), reference)
	document, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- generated: "+section+" -->\n", "<!-- end: "+section+" -->\n"
	before, rest, ok := strings.Cut(string(document), begin)
	have, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		t.Fatalf("%s has no section %q", name, section)
	}
	if *update {
		if err := os.WriteFile(name, []byte(before+begin+text+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	compare(t, name, have, text)
}

// compare names the first line that differs.
func compare(t *testing.T, name, have, want string) {
	t.Helper()
	if have == want {
		return
	}
	h, w := strings.Split(have, "\n"), strings.Split(want, "\n")
	i := 0
	for i < len(h) && i < len(w) && h[i] == w[i] {
		i++
	}
	line := func(lines []string) string {
		if i < len(lines) {
			return lines[i]
		}
		return "(end)"
	}
	t.Errorf("%s is out of date (go test -run '^%s$' -update writes it):\n\thas  %s\n\twant %s", name, t.Name(), line(h), line(w))
}

// exitStatus is the paragraph about it in a command's help.
var exitStatus = regexp.MustCompile(`(?s)(Exit status.*?)(?:\n\n|$)`)

// Flags is, for a section, a table of the flags of every command, with its exit
// status. A flag that is the same in several commands is listed once. The flags of
// kubectl are left out, as in the usage text.
func Flags(root *cobra.Command) string {
	type row struct{ name, text string }
	type section struct {
		cmd  *cobra.Command
		rows []row
	}
	var sections []section
	users := map[row][]string{}
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		s := section{cmd: cmd}
		cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if f.Hidden || f.Annotations[command.ConnectionFlag] != nil || f.Name == "help" || f.Name == "version" {
				return
			}
			value, usage := pflag.UnquoteUsage(f)
			value = strings.NewReplacer("stringArray", "string", "strings", "string", "uint16", "int").Replace(value)
			name := "`" + strings.TrimSpace("--"+f.Name+" "+value) + "`"
			if f.NoOptDefVal != "" && f.Value.Type() != "bool" {
				name = fmt.Sprintf("`--%s[=%s]`", f.Name, value)
				usage += fmt.Sprintf(" (without a value: `%s`)", f.NoOptDefVal)
			}
			if f.Shorthand != "" {
				name += ", `-" + f.Shorthand + "`"
			}
			usage = strings.ReplaceAll(usage, "|", `\|`)
			if standard := f.DefValue; !slices.Contains([]string{"", "0", "[]", "false"}, standard) && !strings.Contains(usage, "(default") {
				usage += " (default: `" + strings.Trim(standard, "[]") + "`)"
			}
			r := row{name, usage}
			s.rows = append(s.rows, r)
			users[r] = append(users[r], "`"+cmd.Name()+"`")
		})
		sections = append(sections, s)
		for _, sub := range cmd.Commands() {
			if !sub.Hidden {
				visit(sub)
			}
		}
	}
	visit(root)

	var b strings.Builder
	table := func(rows []string) {
		if len(rows) > 0 {
			b.WriteString("\n| flag | meaning |\n|---|---|\n" + strings.Join(rows, ""))
		}
	}
	var several []string
	for _, s := range sections {
		for _, r := range s.rows {
			if len(users[r]) > 1 && users[r][0] == "`"+s.cmd.Name()+"`" {
				several = append(several, fmt.Sprintf("| %s | %s (%s) |\n", r.name, r.text, strings.Join(users[r], ", ")))
			}
		}
	}
	if len(several) > 0 {
		slices.Sort(several)
		fmt.Fprintf(&b, "\n### Several commands of `%s`\n", root.CommandPath())
		table(several)
	}
	for _, s := range sections {
		var rows []string
		for _, r := range s.rows {
			if len(users[r]) == 1 {
				rows = append(rows, fmt.Sprintf("| %s | %s |\n", r.name, r.text))
			}
		}
		status := strings.Join(strings.Fields(exitStatus.FindString(s.cmd.Long)), " ")
		if len(rows) == 0 && status == "" {
			continue
		}
		fmt.Fprintf(&b, "\n### `%s`\n\n%s\n", s.cmd.CommandPath(), strings.TrimSpace(s.cmd.Short+". "+status))
		table(rows)
	}
	return b.String() + "\n"
}

// Metrics is a table of the metrics in Prometheus's text format, for a section.
// The values of a label are listed where the text has all of them: those of the
// labels in valued.
func Metrics(text string, valued ...string) string {
	var b strings.Builder
	b.WriteString("\n| metric | type | meaning |\n|---|---|---|\n")
	label := regexp.MustCompile(`(\w+)="([^"]*)"`)
	for _, m := range regexp.MustCompile(`(?m)^# HELP (\S+) (.*)\n# TYPE \S+ (\w+)\n((?:[^#].*\n)*)`).FindAllStringSubmatch(text, -1) {
		var names []string
		values := map[string][]string{}
		for _, l := range label.FindAllStringSubmatch(m[4], -1) {
			if l[1] == "le" {
				continue
			}
			if !slices.Contains(names, l[1]) {
				names = append(names, l[1])
			}
			if slices.Contains(valued, l[1]) && !slices.Contains(values[l[1]], l[2]) {
				values[l[1]] = append(values[l[1]], l[2])
			}
		}
		for i, name := range names {
			if list := values[name]; list != nil {
				names[i] += "=" + strings.Join(list, "/")
			}
		}
		labels := ""
		if names != nil {
			labels = "{" + strings.Join(names, ",") + "}"
		}
		fmt.Fprintf(&b, "| `%s%s` | %s | %s |\n", m[1], labels, m[3], m[2])
	}
	return b.String() + "\n"
}

var (
	fenced   = regexp.MustCompile("(?ms)^ *```(\\w*)\n(.*?)^ *```")
	span     = regexp.MustCompile("`([^`\n]+)`")
	comment  = regexp.MustCompile(`(^| )# .*$`)
	goesOn   = regexp.MustCompile(`\s*\\\n\s*`)
	joints   = regexp.MustCompile(` (?:\|\|?|&&|;|>|<) `)
	examples = "docs/examples/"
)

// documents are the Markdown files that describe what is there now.
func documents(t *testing.T) (names []string) {
	t.Helper()
	root := root(t)
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && entry.Name() == ".git" {
			return filepath.SkipDir
		}
		if err == nil && filepath.Ext(name) == ".md" && entry.Name() != "CHANGELOG.md" {
			names = append(names, name)
		}
		return err
	})
	if err != nil || len(names) == 0 {
		t.Fatalf("documents: %v, %v", names, err)
	}
	return names
}

// Shown is a command line that a document's code block shows.
type Shown struct {
	Document string // its path from the directory of the test
	Line     string // without its comment
	Output   string // what is shown below it, in a block of the language console
}

// Lines are the command lines that documents show: those of the code blocks in the
// language sh, and those behind a prompt in the language console.
func Lines(t *testing.T) (list []Shown) {
	t.Helper()
	for _, name := range documents(t) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		add := func(line, output string) {
			if line = strings.TrimSpace(comment.ReplaceAllString(strings.TrimSpace(line), "")); line != "" {
				list = append(list, Shown{name, line, output})
			}
		}
		for _, m := range fenced.FindAllStringSubmatch(string(data), -1) {
			block := goesOn.ReplaceAllString(m[2], " ")
			if m[1] == "sh" {
				for line := range strings.Lines(block) {
					add(line, "")
				}
			}
			if m[1] != "console" {
				continue
			}
			for _, shown := range strings.Split("\n"+block, "\n$ ")[1:] {
				line, output, _ := strings.Cut(shown, "\n")
				add(line, output)
			}
		}
	}
	return list
}

// Args are the arguments of the plugin in a command line that a document shows, for
// the test that runs it. Names in the documents are replaced by what is there.
func Args(t *testing.T, line string, oldnew ...string) []string {
	t.Helper()
	if !slices.ContainsFunc(Lines(t), func(s Shown) bool { return s.Line == line }) {
		t.Fatalf("no document shows %s", line)
	}
	args, ok := arguments(joints.Split(strings.NewReplacer(oldnew...).Replace(line), -1)[0], []string{"kubectl sctp"})
	if !ok {
		t.Fatalf("not a command of the plugin: %s", line)
	}
	return args
}

// Commands checks every command of the program that a document shows against the
// program's commands and flags, and runs those that read docs/examples: what the
// document shows below such a command must be what the program prints. A line "…"
// matches any lines.
//
// names are what the program is called in documents; program is its path.
func Commands(t *testing.T, newRoot func() *cobra.Command, program string, names ...string) {
	t.Helper()
	program, err := filepath.Abs(program)
	if err != nil {
		t.Fatal(err)
	}
	seen, run := 0, 0
	check := func(document, line string) []string {
		var all []string
		for _, part := range joints.Split(comment.ReplaceAllString(line, ""), -1) {
			args, ok := arguments(part, names)
			if !ok {
				continue
			}
			seen++
			all = args
			if err := parse(newRoot(), args); err != nil {
				t.Errorf("%s: %s: %v", document, part, err)
			}
		}
		return all
	}
	for _, shown := range Lines(t) {
		args := check(shown.Document, shown.Line)
		if shown.Output == "" || !slices.ContainsFunc(args, func(s string) bool { return strings.HasPrefix(s, examples) }) {
			continue
		}
		run++
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir = root(t)
		var stdout bytes.Buffer
		cmd.Stdout = &stdout
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		if !prints(stdout.String(), shown.Output) {
			t.Errorf("%s: %s prints\n%s\nand not\n%s", shown.Document, shown.Line, &stdout, shown.Output)
		}
	}
	for _, name := range documents(t) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range span.FindAllStringSubmatch(fenced.ReplaceAllString(string(data), ""), -1) {
			check(name, m[1])
		}
	}
	if seen == 0 {
		t.Errorf("no document shows %q", names)
	}
	t.Logf("%d commands in documents, %d of them run", seen, run)
}

// Shows fails where a document does not show the output of a command.
func Shows(t *testing.T, document, command, output string) {
	t.Helper()
	document = filepath.Join(root(t), document)
	for _, shown := range Lines(t) {
		if shown.Document != document || shown.Line != command {
			continue
		}
		if !prints(output, shown.Output) {
			t.Errorf("%s: %s prints\n%s\nand not\n%s", document, command, output, shown.Output)
		}
		return
	}
	t.Errorf("%s does not show %s", document, command)
}

// arguments are those of the program in a command line, if it is in it.
func arguments(line string, names []string) (args []string, ok bool) {
	for _, name := range names {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return words(rest), true
		}
		if _, rest, ok := strings.Cut(line, " -- "+name+" "); ok { // kubectl exec
			return words(rest), true
		}
	}
	return nil, false
}

// words splits as a shell does, for the quoting that documents use.
func words(line string) (list []string) {
	for _, m := range regexp.MustCompile(`(?:[^\s'"]|'[^']*'|"[^"]*")+`).FindAllString(line, -1) {
		list = append(list, strings.NewReplacer("'", "", `"`, "").Replace(m))
	}
	return list
}

// parse fails for a command or a flag that the program does not have.
func parse(root *cobra.Command, args []string) error {
	args = slices.DeleteFunc(args, func(s string) bool { return s == "…" || s == "..." })
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if cmd == root && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		return fmt.Errorf("unknown command %q", args[0])
	}
	if cmd.DisableFlagParsing {
		return fmt.Errorf("%s is a command of another program", cmd.Name())
	}
	cmd.InitDefaultHelpFlag()
	// A flag in prose may be named without its value.
	if err := cmd.ParseFlags(rest); err != nil && !strings.Contains(err.Error(), "needs an argument") {
		return err
	}
	return nil
}

// prints reports whether an output is what a document shows.
func prints(output, shown string) bool {
	pattern := "(?s)^"
	for line := range strings.Lines(strings.TrimRight(shown, "\n") + "\n") {
		if strings.TrimSpace(line) == "…" {
			pattern += "(?:[^\n]*\n)*"
		} else {
			pattern += regexp.QuoteMeta(line)
		}
	}
	return regexp.MustCompile(pattern + "$").MatchString(strings.TrimRight(output, "\n") + "\n")
}
