package audit

import (
	"cmp"
	"fmt"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

func labelContradictions(n *Node, found nodeReport) {
	r := n.Report
	// An undecided report leaves the labels alone (contract, section 4).
	if r == nil || n.Stale() || r.Ready == kmod.AnswerUnknown {
		return
	}
	var evidence []string
	if string(r.Ready) != n.Ready {
		evidence = append(evidence, fmt.Sprintf("label ready=%s, report %s (%s)", cmp.Or(n.Ready, "(absent)"), r.Ready, r.Reason))
	}
	if r.OnBoot != verdict.OnBootUnknown && string(r.OnBoot) != n.OnBoot {
		evidence = append(evidence, fmt.Sprintf("label on-boot=%s, report %s", cmp.Or(n.OnBoot, "(absent)"), r.OnBoot))
	}
	if len(evidence) > 0 {
		found("", "a label is not what the agent reported", evidence...)
	}
}

// versionSkew finds the agents that are not of the version that most have.
func versionSkew(v *view, found report) {
	count := map[string]int{}
	for i := range v.Nodes {
		if a := v.Nodes[i].Agent; a != nil {
			count[a.Version]++
		}
	}
	usual := ""
	for version, n := range count {
		// Of two that are as frequent, the one that sorts last.
		if c := cmp.Or(n-count[usual], cluster.CompareNames(version, usual)); c > 0 {
			usual = version
		}
	}
	eachNode(func(n *Node, found nodeReport) {
		if n.Agent != nil && n.Agent.Version != usual {
			found("", fmt.Sprintf("the agent is %s, most are %s", n.Agent.Version, usual), "image "+n.Agent.Image)
		}
	})(v, found)
}

// heartbeatsMissed is after how many heartbeats that did not come a condition is
// stale: one or two an API server may be too busy for.
const heartbeatsMissed = 3

func staleConditions(v *view, found report) {
	eachNode(func(n *Node, found nodeReport) {
		every := nodelabel.DefaultHeartbeat
		if n.Agent != nil {
			every = n.Agent.Heartbeat
		}
		// Without a heartbeat, none was to be expected.
		if n.Heartbeat.IsZero() || v.Time.Sub(n.Heartbeat) <= heartbeatsMissed*max(every, nodelabel.DefaultHeartbeat) {
			return
		}
		found("", "no agent has renewed the condition "+nodelabel.ConditionType+": it may be out of date",
			fmt.Sprintf("status.conditions: %s, lastHeartbeatTime %s", nodelabel.ConditionType, n.Heartbeat.UTC().Format(time.RFC3339)))
	})(v, found)
}

// why is the reason in the node's report.
func (n *Node) why() string {
	switch {
	case n.Stale():
		return "its report is from an earlier boot"
	case n.Reason == "":
		return "it has no report"
	case n.Message == "":
		return string(n.Reason)
	default:
		return string(n.Reason) + ": " + n.Message
	}
}

// remedy is the node's own, "" when it has none.
func (n *Node) remedy() string {
	if n.Report == nil {
		return ""
	}
	if n.hosted && n.Report.Remedy != "" {
		return n.Report.Remedy + " (this cluster has no MachineConfigPools: its control plane is hosted. The MachineConfig goes into a ConfigMap that the NodePool names, in the management cluster)"
	}
	return n.Report.Remedy
}

// prefixOf is that the node's agent writes other keys, if it does.
func (n *Node) prefixOf() []string {
	if n.Agent == nil {
		return nil
	}
	return []string{fmt.Sprintf("pod %s/%s has --prefix %s", n.Agent.Namespace, n.Agent.Name, n.Agent.elsewhere)}
}

// warning is a warning's message in the report, if it has that warning.
func (n *Node) warning(reason verdict.Reason) []string {
	if n.Report != nil {
		for _, w := range n.Report.Warnings {
			if w.Reason == reason {
				return []string{w.Message}
			}
		}
	}
	return nil
}
