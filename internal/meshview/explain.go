package meshview

import (
	"fmt"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
)

// explain is what a finding means, and what to try next.
func (f *Finding) explain() {
	what := map[Associations]string{
		AssociationsAll:  "SCTP fails",
		AssociationsNew:  "new SCTP associations fail",
		AssociationsKept: "kept SCTP associations fail",
	}[f.Associations]
	switch {
	case f.Kind == NodeUnreachableBySCTP && f.Direction == DirectionOut:
		f.Message = fmt.Sprintf("%s from it towards %d of %d peers, which others reach", what, f.Failed, f.Probed)
		if 2*len(f.unreached) >= f.Failed {
			f.Message = fmt.Sprintf("%s from it towards %d of %d peers, and whether others reach them is not known", what, f.Failed, f.Probed)
		}
	case f.Kind == NodeUnreachableBySCTP:
		f.Message = fmt.Sprintf("%s from %d of %d nodes that probe it", what, f.Failed, f.Probed)
		if f.Direction == DirectionBoth {
			f.Message += ", and from it towards most of its peers"
		}
	case f.Zones:
		f.Message = fmt.Sprintf("%s between %d of %d pairs of nodes, which others reach", what, f.Failed, f.Probed)
	case len(f.unreached) > 0:
		f.Message = fmt.Sprintf("%s on this path, and whether others reach %s is not known", what, strings.Join(f.unreached, " and "))
	case f.BothWays:
		f.Message = what + " on this path, and both nodes are reached by others"
	default:
		f.Message = what + " on this path, and others reach the node"
	}
	switch f.Scope {
	case picture.ScopeEverything:
		f.Message += "; TCP fails, too"
	case picture.ScopeSCTP:
		f.Message += "; TCP works"
	}
	f.Fix = f.fix()
}

// fix is where to look, the likeliest place first.
func (f *Finding) fix() string {
	where := "between the two"
	if f.Kind == NodeUnreachableBySCTP {
		where = "on this node and on its way to the others"
	}
	switch {
	case f.Associations == AssociationsKept:
		return "long-lived associations have lost their state, new ones work: see connection tracking and NAT " + where +
			" (conntrack -L -p sctp; what was restarted, or which policy was applied, at that time), and let applications reconnect"
	case f.Associations == AssociationsNew:
		return "existing associations work, new ones fail: see policies and firewalls that drop INIT, and a full connection tracking table " + where + " (conntrack -S; nft list ruleset)"
	case f.Scope == picture.ScopeEverything && f.Kind == NodeUnreachableBySCTP:
		return "see the node and its network: kubectl describe node " + f.Node + "; its CNI pod, its routes, its link"
	case f.Scope == picture.ScopeEverything:
		return "see routes, tunnels and firewalls " + where + ": it is not SCTP alone"
	case f.Kind == NodeUnreachableBySCTP:
		return "see what drops IP protocol 132 " + where + " (nft list ruleset, security groups, NetworkPolicies), and the node's verdict: kubectl sctp audit"
	case f.Zones:
		return "see what drops IP protocol 132 " + where + ": firewalls, security groups and routers that pass TCP and UDP only"
	default:
		return fmt.Sprintf("see what drops IP protocol 132 %s (nft list ruleset, conntrack -L -p sctp, security groups), and try it: kubectl sctp verify --node %s --node %s", where, f.From, f.To)
	}
}
