package audit

import (
	"fmt"

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
		ready := v.readyIn[p.Name][kmod.AnswerTrue]
		if enables(p.Current) {
			found(Finding{
				Object:   Object{Kind: "MachineConfigPool", Name: p.Name},
				Pool:     p.Name,
				Message:  fmt.Sprintf("the pool's next configuration does not enable SCTP, which it has now (%s)", count(ready, "node")),
				Evidence: []string{fmt.Sprintf("MachineConfig %s: %s", p.Target.Name, t.Why()), p.progress()},
			})
		}
	}
}

func enables(r Rendered) bool { return r.Effect != nil && r.Effect.Enabled == kmod.AnswerTrue }

func (p *Pool) progress() string {
	return fmt.Sprintf("%d of %d nodes have %s", p.Updated, p.Machines, p.Target.Name)
}
