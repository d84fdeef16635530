package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSummary(t *testing.T) {
	const passes = `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p"}
`
	const fails = `{"Action":"run","Package":"q","Test":"TestF"}
{"Action":"output","Package":"q","Test":"TestF","Output":"=== RUN   TestF\n"}
{"Action":"output","Package":"q","Test":"TestF","Output":"    f_test.go:7: got 1\n"}
{"Action":"output","Package":"q","Test":"TestF","Output":"        want 2\n"}
{"Action":"output","Package":"q","Test":"TestF","Output":"--- FAIL: TestF (0.00s)\n"}
{"Action":"fail","Package":"q","Test":"TestF"}
{"Action":"fail","Package":"q"}
`
	for name, c := range map[string]struct {
		runs   []string
		broken []string
		want   string
		ok     bool
	}{
		"all is well": {
			runs: []string{passes, passes},
			want: "2 passed, 0 failed, 0 skipped\n", ok: true,
		},
		"nothing ran": {
			runs: []string{`{"Action":"pass","Package":"p"}` + "\n"},
			want: "failed: no test ran\n0 passed, 1 failed, 0 skipped\n",
		},
		"skipped, with its reason": {
			runs: []string{passes + `{"Action":"run","Package":"p","Test":"TestS"}
{"Action":"output","Package":"p","Test":"TestS","Output":"    s_test.go:7: no IPv6 here\n"}
{"Action":"output","Package":"p","Test":"TestS","Output":"--- SKIP: TestS (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestS"}
`},
			want: "skipped: p TestS: s_test.go:7: no IPv6 here\n1 passed, 0 failed, 1 skipped\n", ok: true,
		},
		"failed": {
			runs: []string{passes, fails},
			want: "failed: q TestF\n\t    f_test.go:7: got 1\n\t        want 2\n1 passed, 1 failed, 0 skipped\n",
		},
		"failed, and passed when it was run again": {
			runs: []string{passes + fails + `{"Action":"run","Package":"q","Test":"TestF"}
{"Action":"output","Package":"q","Test":"TestF","Output":"    f_test.go:9: all is well\n"}
{"Action":"pass","Package":"q","Test":"TestF"}
{"Action":"pass","Package":"q"}
`},
			want: "flaky: q TestF\n\t    f_test.go:7: got 1\n\t        want 2\n2 passed, 0 failed, 0 skipped\n", ok: true,
		},
		"failed twice": {
			runs: []string{passes + fails + fails},
			want: "failed: q TestF\n\t    f_test.go:7: got 1\n\t        want 2\n1 passed, 1 failed, 0 skipped\n",
		},
		"failed, and skipped when it was run again": {
			runs: []string{passes + fails + `{"Action":"run","Package":"q","Test":"TestF"}
{"Action":"skip","Package":"q","Test":"TestF"}
{"Action":"pass","Package":"q"}
`},
			want: "failed: q TestF\n1 passed, 1 failed, 0 skipped\n",
		},
		"passed when it was run again, but its process did not end well": {
			runs: []string{passes + fails + `{"Action":"run","Package":"q","Test":"TestF"}
{"Action":"pass","Package":"q","Test":"TestF"}
{"Action":"fail","Package":"q"}
`},
			want: "flaky: q TestF\n\t    f_test.go:7: got 1\n\t        want 2\nfailed: q\n2 passed, 1 failed, 0 skipped\n",
		},
		"failed in two stages": {
			runs: []string{passes + fails, `{"Action":"run","Package":"q","Test":"TestF"}
{"Action":"pass","Package":"q","Test":"TestF"}
{"Action":"pass","Package":"q"}
`},
			want: "failed: q TestF\n\t    f_test.go:7: got 1\n\t        want 2\n2 passed, 1 failed, 0 skipped\n",
		},
		"a process that died in a test": {
			runs: []string{passes + `{"Action":"run","Package":"q","Test":"TestHangs"}
{"Action":"fail","Package":"q"}
`},
			want: "failed: q TestHangs\n1 passed, 1 failed, 0 skipped\n",
		},
		"a package that does not compile": {
			runs: []string{passes + `{"Action":"fail","Package":"q"}` + "\n"},
			want: "failed: q\n1 passed, 1 failed, 0 skipped\n",
		},
		"a stage without tests": {
			runs:   []string{passes},
			broken: []string{"vet"},
			want:   "failed: vet\n1 passed, 1 failed, 0 skipped\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSummary()
			for _, run := range c.runs {
				if err := s.add(strings.NewReader(run)); err != nil {
					t.Fatal(err)
				}
			}
			s.broken = append(s.broken, c.broken...)
			var out strings.Builder
			if ok := s.write(&out); ok != c.ok {
				t.Errorf("all is well: %v", ok)
			}
			if out.String() != c.want {
				t.Errorf("got\n%swant\n%s", out.String(), c.want)
			}
		})
	}
}

// TestStages: a stage that failed is a failure of its own unless its tests are.
func TestStages(t *testing.T) {
	dir := t.TempDir()
	file := func(name, action string) string {
		name = filepath.Join(dir, name)
		text := fmt.Sprintf(`{"Action":"run","Package":"p","Test":"TestA"}
{"Action":%q,"Package":"p","Test":"TestA"}
{"Action":%[1]q,"Package":"p"}
`, action)
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return name
	}
	s := newSummary()
	s.addStages([]string{file("unit.json", "fail"), file("fuzz-FuzzA.json", "fail"), file("fuzz-FuzzB.json", "pass"),
		file("node.json", "pass"), file("nodes.json", "fail")}, []string{"vet", "unit", "fuzz", "node", "nodes"})
	if want := []string{"vet", "node"}; !slices.Equal(s.broken, want) {
		t.Errorf("broken stages %q, want %q", s.broken, want)
	}
	if len(s.failed) != 3 || s.passed != 2 {
		t.Errorf("failed %v, %d passed", s.failed, s.passed)
	}
}

func TestSummaryRefusesWhatIsNoEvent(t *testing.T) {
	if err := newSummary().add(strings.NewReader("FAIL\n")); err == nil {
		t.Error("no error")
	}
}
