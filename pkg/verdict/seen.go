package verdict

import "github.com/sctp-agent/sctp-agent/pkg/kmod"

// withSeenLoad is the inspection with what the probe saw: its socket had the kernel
// load the module, so autoload works, even if the files say otherwise.
func withSeenLoad(i *kmod.Inspection, causedLoad bool) *kmod.Inspection {
	if !causedLoad || !i.State.InKernel() || i.Autoload.Allowed == kmod.AnswerTrue {
		return i
	}
	out := *i
	out.Autoload = kmod.Decision{Allowed: kmod.AnswerTrue, Evidence: []kmod.Evidence{{
		File: "/proc/modules", Effect: i.Module + " was loaded when the probe opened a socket",
	}}}
	return &out
}
