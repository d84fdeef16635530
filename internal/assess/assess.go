// Package assess makes one assessment of one host: it inspects, probes and
// judges, in that order, and changes nothing.
package assess

import (
	"context"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/probe"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// Options of an assessment.
type Options struct {
	// Node is the name that the report carries.
	Node string
	// Host is which host is inspected.
	Host kmod.Options
	// Probe is how SCTP is proved. Its AllowLoad is the only way in which an
	// assessment may make the kernel load a module.
	Probe probe.Options
	// ModulesLoadUnit returns how systemd-modules-load.service failed, "" if it did
	// not, or that is not known. Optional: nil where there is no access to the
	// host's system bus.
	ModulesLoadUnit func(context.Context) string `json:"-"`
}

// Assess makes an assessment. It always has a report: what could not be found
// out is "unknown" in it.
func Assess(ctx context.Context, opts Options) verdict.Report {
	facts := verdict.Facts{Node: opts.Node, SELinuxType: selinuxType()}
	facts.Inspection, facts.InspectionError = kmod.Inspect(ctx, opts.Host, kmod.SCTP())
	if mayProbe(facts.Inspection, opts.Probe) {
		facts.Probe = probe.Run(ctx, opts.Probe)
		if facts.Probe.CausedLoad {
			// The probe changed what was inspected.
			facts.Inspection, facts.InspectionError = kmod.Inspect(ctx, opts.Host, kmod.SCTP())
		}
	} else {
		facts.Probe.Suite = opts.Probe.Suite
	}
	if facts.Inspection != nil && facts.Inspection.State.InKernel() {
		// It is for a warning about a module that works (ss --sctp).
		host := opts.Host
		host.Looked = nil // it looks at little else
		facts.Diag, _ = kmod.Inspect(ctx, host, kmod.SCTPDiag())
	}
	if opts.ModulesLoadUnit != nil {
		facts.ModulesLoadUnit = opts.ModulesLoadUnit(ctx)
	}
	return verdict.Judge(facts)
}

// mayProbe keeps the probe from a module that is not in the kernel, unless
// causing a load is allowed, and from one on its way in or out: the protocol
// is registered before loading ends (net/sctp/protocol.c, sctp_init), and a
// socket opened then proves nothing.
//
// Where the state could not be read the probe may run: it opens no socket
// unless the protocol is registered.
func mayProbe(i *kmod.Inspection, opts probe.Options) bool {
	if i == nil {
		return true
	}
	switch i.State {
	case kmod.StateLoaded, kmod.StateBuiltin, kmod.StateUnknown:
		return true
	case kmod.StateLoadable:
		return opts.AllowLoad
	default:
		return false
	}
}
