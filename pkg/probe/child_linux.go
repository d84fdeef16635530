package probe

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// childArg is the one argument of a program that is to be the child.
const childArg = "sctp-probe-child"

// task is what the parent asks of the child, as JSON on its standard input.
type task struct {
	// Only runs the checks of the current namespace's smaller pass.
	Suite   result.Suite
	Current bool
	// Load only opens a socket, so that the kernel loads the module.
	Load bool
	// Isolated: the child has a network namespace of its own.
	Isolated bool
	// Timeout and Step bound the checks; the parent's deadline is later.
	Timeout, Step time.Duration
	Proc          string
}

// line is one line of the child's standard output, a JSON object, written as soon
// as its content is known: what was written is kept if the child hangs or is
// killed.
type line struct {
	Check *result.Check `json:",omitempty"`
	// Unusable is why nothing can be tried in the child's own network namespace.
	Unusable string `json:",omitempty"`
	// Done is the last line.
	Done bool `json:",omitempty"`
}

// ChildMain runs the checks if args are those of the probe's child process, and
// reports whether they were: the program must then exit. Call it with os.Args first
// thing in main of a program that sets [Options.Child] to [Self], before anything
// that the child does not need.
func ChildMain(args []string) (handled bool) {
	if len(args) != 2 || args[1] != childArg {
		return false
	}
	var t task
	if err := json.NewDecoder(os.Stdin).Decode(&t); err != nil {
		fmt.Fprintf(os.Stderr, "%s: read the task: %v\n", childArg, err)
		return true
	}
	out := bufio.NewWriter(os.Stdout)
	enc := json.NewEncoder(out)
	say := func(l line) {
		// A parent that is gone needs no answer.
		if enc.Encode(l) == nil {
			out.Flush()
		}
	}
	t.perform(say)
	say(line{Done: true})
	return true
}

func (t task) perform(say func(line)) {
	ctx, cancel := context.WithTimeout(context.Background(), t.Timeout)
	defer cancel()
	report := func(c result.Check) { say(line{Check: &c}) }
	if err := readyPoller(); err != nil {
		report(first().conclude(err, 0))
		return
	}
	if t.Load {
		began := time.Now()
		report(first().conclude(openOne(), time.Since(began)))
		return
	}
	if t.Isolated {
		if err := raiseLoopback(); err != nil {
			say(line{Unusable: err.Error()})
			return
		}
	}
	run, _ := selected(t.Suite, t.Isolated)
	if t.Current {
		run = forCurrent()
	}
	runChecks(ctx, run, t.Proc, t.Step, t.Isolated, report)
}
