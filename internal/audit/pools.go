package audit

import (
	"fmt"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

func eachPool(f func(Pool, poolReport)) func(*view, report) {
	return func(v *view, found report) {
		for _, p := range v.Pools {
			f(p, func(message string, evidence ...string) {
				found(Finding{Object: Object{Kind: "MachineConfigPool", Name: p.Name}, Pool: p.Name, Message: message, Evidence: evidence})
			})
		}
	}
}

func poolsThatUndo(v *view, found report) {
	for _, p := range v.Pools {
		t := p.Target.Effect
		// Where nodes have SCTP by other means than their configuration, each
		// reports whether its next boot brings it.
		if t == nil || t.Enabled != kmod.AnswerFalse || p.Updated >= p.Machines {
			continue
		}
		if enables(p.Current) {
			f := Finding{
				Object:   Object{Kind: "MachineConfigPool", Name: p.Name},
				Pool:     p.Name,
				Message:  fmt.Sprintf("the pool's next configuration does not enable SCTP, which it has now (%s)", cluster.Count(v.readyIn[p.Name][kmod.AnswerTrue], "node")),
				Evidence: []string{fmt.Sprintf("MachineConfig %s: %s", p.Target.Name, t.Why()), p.progress()},
			}
			if p.Paused {
				f.Message += "; it is paused, and gets that once it is not"
				f.Fix = "add the MachineConfig that enables SCTP (kubectl sctp machineconfig) before the pool is unpaused"
			}
			found(f)
		}
	}
}

func enables(r Rendered) bool { return r.Effect != nil && r.Effect.Enabled == kmod.AnswerTrue }

// gets reports whether SCTP comes with the configuration that the pool's nodes do
// not all have yet, not with the one before.
func (p *Pool) gets() bool {
	before := p.Current.Effect
	return enables(p.Target) && p.Updated < p.Machines && (p.Current.Name == "" || before != nil && before.Enabled == kmod.AnswerFalse)
}

func (p *Pool) progress() string {
	return fmt.Sprintf("%d of %d nodes have %s", p.Updated, p.Machines, p.Target.Name)
}
