package guest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path"
	"strings"
	"testing"
)

// RunGoTest runs the tests of a Go package of the product in the guest, as
// root, and reports each of them as a subtest of t with its output: a test
// that fails or skips in the guest fails or skips here. The arguments are
// those of a test binary ("-test.run=^TestX$"). The package's testdata is not
// there. No test having run is a failure.
func (g *Guest) RunGoTest(ctx context.Context, t *testing.T, pkg string, args ...string) {
	t.Helper()
	program, err := goBuild(ctx, g.image.machine.arch, pkg, "test", "-c")
	if err != nil {
		t.Fatalf("building the tests of %s: %v", pkg, err)
	}
	file := "/tmp/" + path.Base(pkg) + ".test"
	if err := g.PutFile(ctx, File{Path: file, Mode: 0o755, Data: program}); err != nil {
		t.Fatal(err)
	}
	res, err := g.Run(ctx, Command{Path: file, Args: append([]string{"-test.v=test2json"}, args...), Dir: "/tmp", Stdout: g.cfg.Console})
	if err != nil {
		t.Fatalf("running the tests of %s: %v\n%s%s", pkg, err, res.Stdout, res.Stderr)
	}
	root, err := parseTests(ctx, res.Stdout)
	if err != nil {
		t.Fatalf("reading the output of the tests of %s: %v\n%s", pkg, err, res.Stdout)
	}
	if len(root.subs) == 0 {
		t.Errorf("no test of %s ran in the guest\n%s", pkg, res.Stdout)
	}
	root.report(t)
	if res.ExitCode != 0 && !t.Failed() {
		t.Errorf("the tests of %s ended with exit code %d\n%s%s", pkg, res.ExitCode, res.Stdout, res.Stderr)
	}
	if len(res.Stderr) > 0 {
		t.Logf("standard error:\n%s", res.Stderr)
	}
}

// testResult is what became of one test in the guest.
type testResult struct {
	name   string
	action string // the last one: pass, fail, skip, or "" where the output just ends
	output strings.Builder
	subs   []*testResult
}

func parseTests(ctx context.Context, out []byte) (*testResult, error) {
	cmd := exec.CommandContext(ctx, "go", "tool", "test2json")
	cmd.Stdin = bytes.NewReader(out)
	events, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cmd, err)
	}
	root := &testResult{}
	for dec := json.NewDecoder(bytes.NewReader(events)); dec.More(); {
		var ev struct {
			Action, Test, Output string
		}
		if err := dec.Decode(&ev); err != nil {
			return nil, err
		}
		if ev.Test == "" {
			continue
		}
		r := root.find(ev.Test)
		switch ev.Action {
		case "output":
			r.output.WriteString(ev.Output)
		case "pass", "fail", "skip":
			r.action = ev.Action
		}
	}
	return root, nil
}

// find returns the result of the test with a full name such as "TestA/b".
func (r *testResult) find(full string) *testResult {
	for name := range strings.SplitSeq(full, "/") {
		var sub *testResult
		for _, s := range r.subs {
			if s.name == name {
				sub = s
			}
		}
		if sub == nil {
			sub = &testResult{name: name}
			r.subs = append(r.subs, sub)
		}
		r = sub
	}
	return r
}

func (r *testResult) report(t *testing.T) {
	for _, s := range r.subs {
		t.Run(s.name, func(t *testing.T) {
			t.Logf("in the guest:\n%s", s.output.String())
			s.report(t)
			switch s.action {
			case "pass":
			case "skip":
				t.SkipNow()
			case "fail":
				t.FailNow()
			default:
				t.Fatal("the test did not end")
			}
		})
	}
}
