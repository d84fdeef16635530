package release

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
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

// The workflows run stages that hack/test has, and nightly everything.
func TestWorkflowsRunStages(t *testing.T) {
	type workflow struct {
		Jobs map[string]struct {
			Strategy struct {
				Matrix struct{ Stages []string }
			}
			Steps []struct{ Run string }
		}
	}
	script, err := os.ReadFile("../../hack/test")
	if err != nil {
		t.Fatal(err)
	}
	var pull, nightly workflow
	load(t, "workflows/pull-request.yml", &pull)
	load(t, "workflows/nightly.yml", &nightly)
	stages := 0
	for _, job := range pull.Jobs {
		for _, some := range job.Strategy.Matrix.Stages {
			for stage := range strings.FieldsSeq(some) {
				stages++
				if !bytes.Contains(script, []byte("\nstage "+stage+" ")) {
					t.Errorf("hack/test has no stage %s", stage)
				}
			}
		}
	}
	if stages < 6 {
		t.Errorf("%d stages", stages)
	}
	for _, job := range nightly.Jobs {
		for _, step := range job.Steps {
			if step.Run == ".ci/run" {
				return
			}
		}
	}
	t.Error("nothing runs .ci/run at night")
}
