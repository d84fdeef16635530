// Command summary adds up what several runs of go test said, from their files
// of test events (go doc test2json): what was skipped and why, what failed and
// what it said last, and the totals on the last line. Its exit code is 0 only if something ran
// and nothing failed.
//
//	summary [-broken "STAGE..."] FILE.json...
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	broken := flag.String("broken", "", "stages that failed, whatever their tests say")
	flag.Parse()
	s := newSummary()
	for _, file := range flag.Args() {
		if err := s.addFile(file); err != nil {
			s.broken = append(s.broken, err.Error())
		}
	}
	s.broken = append(s.broken, strings.Fields(*broken)...)
	if !s.write(os.Stdout) {
		os.Exit(1)
	}
}

// key identifies a test.
type key struct{ pkg, test string }

type summary struct {
	passed  int
	failed  []key
	skipped []key
	output  map[key]*strings.Builder
	// broken are failures that are no test's: of a package that does not
	// compile or whose process died, of a stage that is no test.
	broken []string
}

func newSummary() *summary {
	return &summary{output: map[key]*strings.Builder{}}
}

func (s *summary) addFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := s.add(f); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// add counts the events of one run.
func (s *summary) add(r io.Reader) error {
	started := map[key]bool{}
	pkgFailed := map[string]bool{}
	testFailed := map[string]bool{}
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		var ev struct{ Action, Package, Test, Output string }
		if err := json.Unmarshal(scanner.Bytes(), &ev); err != nil {
			return err
		}
		k := key{ev.Package, ev.Test}
		if ev.Test == "" {
			if ev.Action == "fail" {
				pkgFailed[ev.Package] = true
			}
			continue
		}
		switch ev.Action {
		case "run":
			started[k] = true
		case "output":
			if s.output[k] == nil {
				s.output[k] = &strings.Builder{}
			}
			s.output[k].WriteString(ev.Output)
		case "pass":
			s.passed++
			delete(started, k)
			delete(s.output, k)
		case "fail":
			s.failed = append(s.failed, k)
			testFailed[k.pkg] = true
			delete(started, k)
		case "skip":
			s.skipped = append(s.skipped, k)
			delete(started, k)
		}
	}
	if err := scanner.Err(); err != nil {
		return err
	}
	// A test that did not end is a failure: a crash, a timeout.
	for k := range started {
		s.failed = append(s.failed, k)
		testFailed[k.pkg] = true
	}
	for pkg := range pkgFailed {
		if !testFailed[pkg] {
			s.broken = append(s.broken, pkg)
		}
	}
	return nil
}

// write prints the summary, and says whether all is well.
func (s *summary) write(w io.Writer) bool {
	order := func(a, b key) int {
		return strings.Compare(a.pkg+"\x00"+a.test, b.pkg+"\x00"+b.test)
	}
	slices.SortFunc(s.failed, order)
	slices.SortFunc(s.skipped, order)
	slices.Sort(s.broken)
	var errs []error
	print := func(format string, args ...any) {
		_, err := fmt.Fprintf(w, format, args...)
		errs = append(errs, err)
	}
	for _, k := range s.skipped {
		print("skipped: %s %s: %s\n", k.pkg, k.test, s.reason(k))
	}
	for _, k := range s.failed {
		print("failed: %s %s\n", k.pkg, k.test)
		for _, line := range s.last(k) {
			print("\t%s\n", line)
		}
	}
	for _, b := range s.broken {
		print("failed: %s\n", b)
	}
	failed := len(s.failed) + len(s.broken)
	if s.passed == 0 && failed == 0 {
		failed++
		print("failed: no test ran\n")
	}
	print("%d passed, %d failed, %d skipped\n", s.passed, failed, len(s.skipped))
	return failed == 0 && errors.Join(errs...) == nil
}

// reason is what a skipped test said: the last line of its output that is its
// own.
func (s *summary) reason(k key) string {
	if lines := s.said(k); len(lines) > 0 {
		return strings.TrimSpace(lines[len(lines)-1])
	}
	return "(no reason given)"
}

// most is how many lines a failed test may take in the summary. All of them
// are in the run's own output, which may be long, or kept in part only.
const most = 15

// last is what a failed test said in the end.
func (s *summary) last(k key) []string {
	lines := s.said(k)
	return lines[max(0, len(lines)-most):]
}

// said are the lines of a test's output that are its own, not "go test"'s.
func (s *summary) said(k key) (lines []string) {
	out := s.output[k]
	if out == nil {
		return nil
	}
	for line := range strings.Lines(out.String()) {
		own := strings.TrimSpace(line)
		if own == "" || strings.HasPrefix(own, "=== ") || strings.HasPrefix(own, "--- ") {
			continue
		}
		lines = append(lines, strings.TrimRight(line, " \t\r\n"))
	}
	return lines
}
