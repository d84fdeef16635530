package imports_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sctp-agent/sctp-agent/internal/doctest"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
)

// section of a document: from a heading to the next of the same level.
func section(t *testing.T, document, heading string) string {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n"+heading+"\n")
	if !ok {
		t.Fatalf("%s has no %s", document, heading)
	}
	level, _, _ := strings.Cut(heading, " ")
	rest, _, _ = strings.Cut(rest, "\n"+level+" ")
	return rest
}

// found are the matches of a pattern's group in files, sorted, each once.
func found(t *testing.T, pattern string, names ...string) (all []string) {
	t.Helper()
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
			all = append(all, m[1])
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// TestKeysAreDocumented: the contract has every label, annotation and taint with
// the agent's prefix, and no other.
func TestKeysAreDocumented(t *testing.T) {
	keys := nodelabel.Keys{}
	want := append(keys.Labels(), keys.Annotations()...)
	want = append(want, found(t, `'(sctp-agent/placement)'`, "manifests/components/placement/policy.yaml")...)
	want = append(want, found(t, `--startup-taint=(sctp-agent/[a-z]+)`, "manifests/components/startup-taint/kustomization.yaml")...)
	slices.Sort(want)
	var documented []string
	for line := range strings.Lines(section(t, "docs/contract.md", "## 4. On the Node")) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cell, _, _ := strings.Cut(line[2:], " | ")
		for key := range strings.SplitSeq(cell, ", ") {
			documented = append(documented, strings.Trim(key, "`"))
		}
	}
	slices.Sort(documented)
	if !slices.Equal(documented, want) {
		t.Errorf("the contract has the keys\n%q, the code\n%q", documented, want)
	}
}

// TestShownCommandsAreRun: each command line that a document shows is in a test, word
// for word, or runs tests itself. Beside these, doctest.Commands runs the lines that
// read docs/examples.
func TestShownCommandsAreRun(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*_test.go").Output()
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		tests.Write(text)
	}
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	targets := regexp.MustCompile(`^make (\S+)$`)
	runsTests := regexp.MustCompile(`^(cd test && )?go test \./\S+$|^hack/test [a-z -]+$`)
	for _, l := range doctest.Lines(t) {
		quoted := regexp.QuoteMeta(l.Line)
		inTest := regexp.MustCompile("(?m)(^\\s*|[\"`])" + quoted + "([\"`]|$)")
		ranByCommands := l.Output != "" && strings.Contains(l.Line, " docs/examples/")
		target := targets.FindStringSubmatch(l.Line)
		isTarget := target != nil && strings.Contains(string(makefile), "\n"+target[1]+":")
		if !ranByCommands && !isTarget && !runsTests.MatchString(l.Line) && !inTest.MatchString(tests.String()) {
			t.Errorf("%s: %s is in no test", l.Document, l.Line)
		}
	}
}

// TestMeshIsDocumented: mesh.md has the findings of the mesh, and the contract
// these and the reasons of its Events, and no others.
func TestMeshIsDocumented(t *testing.T) {
	names := regexp.MustCompile("`([A-Z][A-Za-z]+)`")
	inRow := func(text, row string) (list []string) {
		for line := range strings.Lines(text) {
			if cell, ok := strings.CutPrefix(line, row); ok {
				for _, m := range names.FindAllStringSubmatch(cell, -1) {
					list = append(list, m[1])
				}
			}
		}
		slices.Sort(list)
		return slices.Compact(list)
	}
	kinds := found(t, `(?m)^\t(\w+) +Kind = "`, "internal/meshview/result.go")
	events := found(t, `(?:reason, message = |return "Normal", )"(\w+)"`, "internal/mesh/kube/events.go")
	contract := section(t, "docs/contract.md", "## 5. The mesh")
	for _, c := range []struct {
		where     string
		got, want []string
	}{
		{"findings in docs/mesh.md", found(t, "(?m)^\\| `([A-Z][A-Za-z]+)`", "docs/mesh.md"), kinds},
		{"findings in docs/contract.md", inRow(contract, "| findings"), kinds},
		{"Events in docs/contract.md", inRow(contract, "| Events"), events},
	} {
		if len(c.want) < 2 || !slices.Equal(c.got, c.want) {
			t.Errorf("%s: %q, the code has %q", c.where, c.got, c.want)
		}
	}
}

// TestAlertsAreDocumented: the reference has every alert.
func TestAlertsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("manifests/components/monitoring/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var object struct {
		Spec struct {
			Groups []struct {
				Rules []struct {
					Alert, For          string
					Labels, Annotations map[string]string
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("\n| alert | severity | after | summary |\n|---|---|---|---|\n")
	values := regexp.MustCompile(`\{\{ \$(?:labels\.)?(\w+) }}`)
	for _, group := range object.Spec.Groups {
		for _, r := range group.Rules {
			if r.Alert != "" {
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.Alert, r.Labels["severity"], r.For, values.ReplaceAllString(r.Annotations["summary"], "*$1*"))
			}
		}
	}
	doctest.Section(t, "alerts", b.String()+"\n")
}

// TestComponentsAreDocumented: install.md has every component, and no other.
func TestComponentsAreDocumented(t *testing.T) {
	entries, err := os.ReadDir("manifests/components")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, e := range entries {
		want = append(want, e.Name())
	}
	var got []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllStringSubmatch(section(t, "docs/install.md", "## Options: components"), -1) {
		got = append(got, m[1])
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("docs/install.md has the components %q, want %q", got, want)
	}
}
