// Command summary adds up several runs of go test, from their files of test events
// (go doc test2json): what was skipped and why, what failed, with the end of its
// output, what failed and passed when it was run again, and the totals on the
// last line. Its exit code is 0 only if something ran and nothing failed in the
// end.
//
//	summary [-broken "STAGE..."] STAGE.json...
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	broken := flag.String("broken", "", "stages that failed; each is one failure unless tests in STAGE.json or STAGE-*.json are")
	flag.Parse()
	s := newSummary()
	s.addStages(flag.Args(), strings.Fields(*broken))
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
	// flaky tests failed, and passed when the same run did them again.
	flaky []key
	// output is what skipped, failed and flaky tests printed, of the latter in
	// the run that failed.
	output map[key]string
	// broken are failures that are no test's: of a package that does not
	// compile or whose process died, of a stage that is no test.
	broken []string
}

func newSummary() *summary {
	return &summary{output: map[key]string{}}
}

// addStages counts the events in files that are named after their stages, and
// the stages that failed without a test in them that did.
func (s *summary) addStages(files, broken []string) {
	accounted := map[string]bool{}
	for _, file := range files {
		before := s.failures()
		if err := s.addFile(file); err != nil {
			s.broken = append(s.broken, err.Error())
		}
		if s.failures() > before {
			stage, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".json"), "-")
			accounted[stage] = true
		}
	}
	for _, stage := range broken {
		if !accounted[stage] {
			s.broken = append(s.broken, stage)
		}
	}
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

// outcome is what became of one test in one run of go test.
type outcome struct {
	action string // the last one: run, pass, fail, skip
	output strings.Builder
	// failed is what it printed when it failed, and then was run again.
	failed *string
}

// add counts the events of one run, in which failed tests may be done again.
func (s *summary) add(r io.Reader) error {
	tests := map[key]*outcome{}
	// What is under way, and has failed, in the process that runs a package.
	running, failed := map[string]int{}, map[string]int{}
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		var ev struct{ Action, Package, Test, Output string }
		if err := json.Unmarshal(scanner.Bytes(), &ev); err != nil {
			return err
		}
		if ev.Test == "" {
			switch ev.Action {
			case "fail":
				if running[ev.Package] == 0 && failed[ev.Package] == 0 {
					s.broken = append(s.broken, ev.Package)
				}
				fallthrough
			case "pass", "skip":
				running[ev.Package], failed[ev.Package] = 0, 0
			}
			continue
		}
		k := key{ev.Package, ev.Test}
		o := tests[k]
		if o == nil {
			o = &outcome{}
			tests[k] = o
		}
		switch ev.Action {
		case "run":
			if o.action == "fail" {
				text := o.output.String()
				o.failed = &text
			}
			o.output.Reset()
			o.action = ev.Action
			running[k.pkg]++
		case "output":
			o.output.WriteString(ev.Output)
		case "pass", "fail", "skip":
			o.action = ev.Action
			running[k.pkg]--
			if ev.Action == "fail" {
				failed[k.pkg]++
			}
		}
	}
	if err := scanner.Err(); err != nil {
		return err
	}
	for k, o := range tests {
		text := o.output.String()
		switch {
		case o.action == "pass" && o.failed == nil:
			s.passed++
			continue
		case o.action == "pass":
			s.passed++
			s.flaky = append(s.flaky, k)
			text = *o.failed
		case o.action == "skip" && o.failed == nil:
			s.skipped = append(s.skipped, k)
		default:
			// One that did not end is a failure, too: a crash, a timeout.
			s.failed = append(s.failed, k)
		}
		s.output[k] = text
	}
	return nil
}

// failures is how many there are so far.
func (s *summary) failures() int { return len(s.failed) + len(s.broken) }

// write prints the summary, and says whether all is well.
func (s *summary) write(w io.Writer) bool {
	order := func(a, b key) int {
		return strings.Compare(a.pkg+"\x00"+a.test, b.pkg+"\x00"+b.test)
	}
	slices.SortFunc(s.failed, order)
	slices.SortFunc(s.skipped, order)
	slices.SortFunc(s.flaky, order)
	slices.Sort(s.broken)
	var errs []error
	print := func(format string, args ...any) {
		_, err := fmt.Fprintf(w, format, args...)
		errs = append(errs, err)
	}
	for _, k := range s.skipped {
		print("skipped: %s %s: %s\n", k.pkg, k.test, s.reason(k))
	}
	failures := func(kind string, list []key) {
		for _, k := range list {
			print("%s: %s %s\n", kind, k.pkg, k.test)
			for _, line := range s.last(k) {
				print("\t%s\n", line)
			}
		}
	}
	failures("flaky", s.flaky)
	failures("failed", s.failed)
	for _, b := range s.broken {
		print("failed: %s\n", b)
	}
	failed := s.failures()
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

// last is what a test that failed said in the end.
func (s *summary) last(k key) []string {
	lines := s.said(k)
	return lines[max(0, len(lines)-most):]
}

// said are the lines of a test's output that are its own, not "go test"'s.
func (s *summary) said(k key) (lines []string) {
	for line := range strings.Lines(s.output[k]) {
		own := strings.TrimSpace(line)
		if own == "" || strings.HasPrefix(own, "=== ") || strings.HasPrefix(own, "--- ") {
			continue
		}
		lines = append(lines, strings.TrimRight(line, " \t\r\n"))
	}
	return lines
}
