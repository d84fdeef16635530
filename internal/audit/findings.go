package audit

import (
	"cmp"
	"slices"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/internal/meshview"
)

// Kind names a kind of finding. The values are public API; [checks] has what each
// is.
type Kind string

const (
	PodOnUnreadyNode        Kind = "PodOnUnreadyNode"
	RequiredNodeNotReady    Kind = "RequiredNodeNotReady"
	PodWaitsForSCTP         Kind = "PodWaitsForSCTP"
	EndpointOnUnreadyNode   Kind = "EndpointOnUnreadyNode"
	ReportOlderThanBoot     Kind = "ReportOlderThanBoot"
	LabelContradictsReport  Kind = "LabelContradictsReport"
	PoolUndoesSCTP          Kind = "PoolUndoesSCTP"
	ReportOfAnotherNode     Kind = "ReportOfAnotherNode"
	ServicePortNotServed    Kind = "ServicePortNotServed"
	LoadBalancerRefusesSCTP Kind = "LoadBalancerRefusesSCTP"
	NodeUnreachableBySCTP        = Kind(meshview.NodeUnreachableBySCTP)
	PathBroken                   = Kind(meshview.PathBroken)
	NodeLosesSCTPAtReboot   Kind = "NodeLosesSCTPAtReboot"
	NodeNotReadyInPool      Kind = "NodeNotReadyInPool"
	PodOnUnprovedNode       Kind = "PodOnUnprovedNode"
	PoolStuck               Kind = "PoolStuck"
	NodeUnproved            Kind = "NodeUnproved"
	ReportUnreadable        Kind = "ReportUnreadable"
	ReadyWithoutAgent       Kind = "ReadyWithoutAgent"
	ConditionStale          Kind = "ConditionStale"
	PolicyConfinesNobody    Kind = "PolicyConfinesNobody"
	KubeletNotReady         Kind = "KubeletNotReady"
	NodeWithoutAgent        Kind = "NodeWithoutAgent"
	AgentNotReady           Kind = "AgentNotReady"
	ServiceUnsuitable       Kind = "ServiceUnsuitable"
	ServiceWithoutEndpoints Kind = "ServiceWithoutEndpoints"
	AgentVersionSkew        Kind = "AgentVersionSkew"
	PolicyPortUnused        Kind = "PolicyPortUnused"
	PoolProgressing         Kind = "PoolProgressing"
	SCTPUnused              Kind = "SCTPUnused"
)

// Severity of a finding.
type Severity string

const (
	// Critical: SCTP traffic fails now, or what schedulers act on is wrong.
	Critical Severity = "critical"
	// Warning: it will fail, or is not known.
	Warning Severity = "warning"
	// Info: worth knowing.
	Info Severity = "info"
)

// Rank orders severities, the worst first.
func (s Severity) Rank() int {
	return slices.Index([]Severity{Critical, Warning, Info}, s)
}

// Object is what a finding is about.
type Object struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

func (o Object) String() string {
	if o.Namespace == "" {
		return o.Name
	}
	return o.Namespace + "/" + o.Name
}

// Kinds of objects that the API does not have: a path of the mesh, and a label
// selector that matches no node.
const (
	objectPath     = "Path"
	objectSelector = "Selector"
)

// InAPI reports whether the API server has such objects.
func (o Object) InAPI() bool { return o.Kind != objectPath && o.Kind != objectSelector }

// Finding is something wrong, or worth knowing.
type Finding struct {
	Kind     Kind     `json:"kind"`
	Severity Severity `json:"severity"`
	Object   Object   `json:"object"`
	// Pool of the nodes it is about.
	Pool string `json:"pool,omitempty"`
	// Count is how many objects it is about: pods of an owner, nodes of a pool.
	Count int `json:"count"`
	// Members are their names, where Object is not the only one of them.
	Members []string `json:"members,omitempty"`
	Message string   `json:"message"`
	// Evidence is what was read that shows it.
	Evidence []string `json:"evidence"`
	// Fix is what to do.
	Fix string `json:"fix"`
	// Why it is accepted, by the exception.
	Why string `json:"why,omitempty"`
}

// Subject is what the finding is about, as people read it.
func (f Finding) Subject() string {
	switch {
	case len(f.Members) == 0:
		return f.Object.String()
	case f.Object.Kind == "Node":
		return cluster.FirstNames(f.Members, 1)
	default:
		return f.Object.Kind + " " + f.Object.String()
	}
}

// report takes what a check found. The kind, the severity, and the fix and the
// count where they are not set, are the check's.
type report func(Finding)

// check is one kind of finding.
type check struct {
	kind     Kind
	severity Severity
	// title heads the findings of this kind.
	title string
	fix   string
	// needs are the sources without which it is not looked for.
	needs []Source
	// all are the sources that it must see every object of, because it concludes
	// from what is not there.
	all  []Source
	find func(*view, report)
}

// Title heads a group of findings of one kind.
func (k Kind) Title() string {
	for _, c := range checks() {
		if c.kind == k {
			return c.title
		}
	}
	return string(k)
}

// Kinds lists every kind of finding.
func Kinds() []Kind {
	var out []Kind
	for _, c := range checks() {
		out = append(out, c.kind)
	}
	return out
}

// examine runs all checks that have what they need.
func examine(s *Snapshot) (findings []Finding, unseen []Unseen) {
	findings, unseen = []Finding{}, []Unseen{}
	for _, u := range s.Unseen {
		u.NotChecked = []Kind{}
		unseen = append(unseen, u)
	}
	ofNetwork := func(u Unseen) bool { return u.Source == SourceNetwork }
	if !slices.ContainsFunc(unseen, ofNetwork) && s.Network.Cilium == nil && !s.Network.ProxySeen && len(s.Services) > 0 {
		unseen = append(unseen, Unseen{Source: SourceNetwork, Why: errUnknownNetwork.Error(), NotChecked: []Kind{}, Unknown: true})
	}
	known := len(unseen)
	for _, p := range s.Pools {
		for _, why := range p.Unread {
			unseen = append(unseen, Unseen{Source: SourceConfigs, Why: "pool " + p.Name + ": " + why, NotChecked: []Kind{PoolUndoesSCTP, PoolStuck, PoolProgressing}})
		}
	}
	v := newView(s)
	for _, c := range checks() {
		blind := false
		for i, u := range unseen[:known] { // of pools the others are judged
			if slices.Contains(c.all, u.Source) || u.Objects == 0 && !u.Some && slices.Contains(c.needs, u.Source) {
				unseen[i].NotChecked = append(unseen[i].NotChecked, c.kind)
				blind = true
			}
		}
		if blind {
			continue
		}
		start := len(findings)
		c.find(v, func(f Finding) {
			f.Kind, f.Severity = c.kind, c.severity
			f.Fix, f.Count = cluster.ForPrefix(s.Keys, cmp.Or(f.Fix, c.fix)), cmp.Or(f.Count, 1)
			if f.Evidence == nil {
				f.Evidence = []string{}
			}
			findings = append(findings, f)
		})
		// The checks are in the order of their urgency.
		slices.SortStableFunc(findings[start:], func(a, b Finding) int {
			return compareObjects(a.Object, b.Object)
		})
	}
	return findings, unseen
}
