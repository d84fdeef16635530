package verdict_test

import (
	"fmt"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// A vendor's blacklist keeps the module out of the kernel. The probe opened no
// socket, so the host's files decide.
func ExampleJudge() {
	blacklisted := kmod.Decision{Allowed: kmod.AnswerFalse, Cause: kmod.CauseBlacklist, Evidence: []kmod.Evidence{
		{File: verdict.VendorBlacklist, Line: 6, Text: "blacklist sctp", Cause: kmod.CauseBlacklist},
	}}
	report := verdict.Judge(verdict.Facts{
		Node: "worker-0",
		Inspection: &kmod.Inspection{ // as kmod.Inspect returns it
			Module: "sctp", State: kmod.StateLoadable,
			ByName: kmod.Decision{Allowed: kmod.AnswerTrue}, Autoload: blacklisted, AutoloadIPv6: blacklisted,
			BootLoad: kmod.BootLoad{Requested: kmod.AnswerFalse, Decision: blacklisted},
		},
		Probe: result.Result{Suite: result.SuiteQuick}, // as probe.Run returns it
	})
	fmt.Println(report.Ready, report.Reason, report.OnBoot)
	fmt.Println(report.Message)
	// Output:
	// false ModuleBlacklisted blocked
	// sctp is blacklisted: /etc/modprobe.d/sctp-blacklist.conf:6: blacklist sctp
}
