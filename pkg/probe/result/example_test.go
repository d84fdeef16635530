package result_test

import (
	"fmt"

	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// SCTP is ready when every required check has passed, and not ready when one
// has failed; what is skipped or unknown proves neither.
func ExampleResult() {
	r := result.Result{Attempted: true, Suite: result.SuiteQuick, Checks: []result.Check{
		{Name: result.CheckIPv4Stream, Required: true, Result: result.OutcomeFail, Stage: result.StageConnect, Errno: "ECONNREFUSED"},
		{Name: result.CheckIPv6Stream, Result: result.OutcomeSkip, Detail: "this kernel runs without IPv6"},
	}}
	for _, c := range r.Checks {
		if c.Required && c.Result == result.OutcomeFail {
			fmt.Printf("%s failed at %s: %s\n", c.Name, c.Stage, c.Errno)
		}
	}
	// Output: ipv4-stream failed at connect: ECONNREFUSED
}
