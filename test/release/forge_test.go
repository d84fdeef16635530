package release

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const forge = "../../.github"

func load(t *testing.T, path string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(forge, path))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// A module that is not listed is never updated.
func TestEveryModuleIsUpdated(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "git", "-C", "../..", "ls-files", "--cached", "--others", "--exclude-standard", "go.mod", "*/go.mod").Output()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range bytes.Lines(out) {
		want = append(want, strings.TrimSuffix("/"+filepath.Dir(strings.TrimSpace(string(line))), "/."))
	}
	for i := range want {
		if want[i] == "" {
			want[i] = "/"
		}
	}
	var config struct {
		Updates []struct {
			Ecosystem string `json:"package-ecosystem"`
			Directory string
		}
	}
	load(t, "dependabot.yml", &config)
	var got []string
	actions := false
	for _, u := range config.Updates {
		switch u.Ecosystem {
		case "gomod":
			got = append(got, u.Directory)
		case "github-actions":
			actions = true
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || len(want) < 5 {
		t.Errorf("updated are %v, modules are in %v", got, want)
	}
	if !actions {
		t.Error("the workflows' actions are not updated")
	}
}

// Both forms ask for the report that answers most questions.
func TestIssueFormsAskForTheReport(t *testing.T) {
	forms, err := filepath.Glob(filepath.Join(forge, "ISSUE_TEMPLATE", "*.yml"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, f := range forms {
		if filepath.Base(f) == "config.yml" {
			continue
		}
		var form struct {
			Name, Description string
			Body              []struct {
				Type, ID   string
				Attributes struct{ Label string }
			}
		}
		load(t, filepath.Join("ISSUE_TEMPLATE", filepath.Base(f)), &form)
		seen++
		asks := false
		for _, field := range form.Body {
			asks = asks || strings.HasPrefix(field.Attributes.Label, "sctp-agent check -o json")
		}
		if form.Name == "" || form.Description == "" || !asks {
			t.Errorf("%s: %+v", f, form)
		}
	}
	if seen != 2 {
		t.Errorf("%d forms", seen)
	}
}

// A pull request passes what .ci/run does; at night everything runs.
func TestWorkflowsRunStages(t *testing.T) {
	script, err := os.ReadFile("../../hack/test")
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`(?m)^\s*stages\+?=\(([a-z ]+)\)$`).FindAllSubmatch(script, -1)
	if len(list) != 2 {
		t.Fatalf("hack/test lists stages %d times, want those of the slice, then those of -full", len(list))
	}
	slice := strings.Fields(string(list[0][1]))
	full := slices.Concat(slice, strings.Fields(string(list[1][1])), []string{"versions"})
	for _, w := range []struct {
		file, command string
		stages        []string
	}{
		{"pull-request.yml", "hack/test ${{ matrix.stages }}", slice},
		{"nightly.yml", "hack/test -full ${{ matrix.stages }}", full},
	} {
		var workflow struct {
			Jobs struct {
				Test struct {
					Strategy struct {
						Matrix struct{ Stages []string }
					}
					Steps []struct{ Run string }
				}
			}
		}
		load(t, "workflows/"+w.file, &workflow)
		job := workflow.Jobs.Test
		if last := job.Steps[len(job.Steps)-1].Run; last != w.command {
			t.Errorf("%s runs %q, want %q", w.file, last, w.command)
		}
		got := strings.Fields(strings.Join(job.Strategy.Matrix.Stages, " "))
		if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(w.stages))) {
			t.Errorf("%s runs %v, want %v", w.file, got, w.stages)
		}
	}
}
