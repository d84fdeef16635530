package audit

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// Waiting is what a pod asks of a node that the scheduler has not found.
type Waiting struct {
	// Scheduler is the message of the pod's condition PodScheduled.
	Scheduler string
	// ForSCTP: on every node that the pod accepts, SCTP works or will work, by the
	// agent's labels.
	ForSCTP bool
	// Nodes are what it accepts: a node that has all of one of them.
	Nodes       []NodeTerm
	Tolerations []corev1.Toleration
}

// NodeTerm is what a pod selects nodes by.
type NodeTerm struct {
	// SCTP are the requirements on the agent's labels, Others all further ones.
	SCTP, Others labels.Selector
	// Names are those on the node's name (the only field that there is).
	Names []corev1.NodeSelectorRequirement
	// Never is a requirement on a label of the agent's that none of its values meets,
	// with these values.
	Never string
}

// waiting reads why a pod has no node, nil when the scheduler has not refused it.
func waiting(p *corev1.Pod, keys nodelabel.Keys) *Waiting {
	if p.Spec.NodeName != "" || p.DeletionTimestamp != nil {
		return nil
	}
	i := slices.IndexFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable
	})
	if i < 0 {
		return nil
	}
	w := &Waiting{Scheduler: bounded(p.Status.Conditions[i].Message), Tolerations: p.Spec.Tolerations}
	w.Nodes, w.ForSCTP = nodeTerms(&p.Spec, keys)
	return w
}

// nodeTerms is what a pod selects nodes by, and whether all of it requires SCTP.
func nodeTerms(spec *corev1.PodSpec, keys nodelabel.Keys) (list []NodeTerm, forSCTP bool) {
	var all []corev1.NodeSelectorRequirement
	for key, value := range spec.NodeSelector {
		all = append(all, corev1.NodeSelectorRequirement{Key: key, Operator: corev1.NodeSelectorOpIn, Values: []string{value}})
	}
	terms := []corev1.NodeSelectorTerm{{}}
	if a := spec.Affinity; a != nil && a.NodeAffinity != nil && a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		// An empty term matches no node.
		terms = slices.DeleteFunc(slices.Clone(a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms), func(t corev1.NodeSelectorTerm) bool {
			return len(t.MatchExpressions)+len(t.MatchFields) == 0
		})
	}
	// One term is enough for the scheduler: a term without the labels allows nodes
	// without SCTP.
	forSCTP = len(terms) > 0
	for _, term := range terms {
		node, asks := nodeTerm(slices.Concat(all, term.MatchExpressions), keys)
		node.Names = term.MatchFields
		list = append(list, node)
		forSCTP = forSCTP && asks
	}
	return list, forSCTP
}

// sctpLabels are the labels about SCTP, with the values for which it works or will
// work, and the others. node-feature-discovery gives Nodes those of the agent's
// feature file.
func sctpLabels(keys nodelabel.Keys) map[string]struct{ good, bad []string } {
	type values = struct{ good, bad []string }
	answer := values{[]string{string(kmod.AnswerTrue)}, []string{string(kmod.AnswerFalse)}}
	onBoot := values{[]string{string(verdict.OnBootLoaded), string(verdict.OnBootOnDemand)}, []string{string(verdict.OnBootBlocked)}}
	const features = "feature.node.kubernetes.io/sctp."
	return map[string]values{
		keys.Ready(): answer, keys.IPv6(): answer, keys.Multihoming(): answer, keys.OnBoot(): onBoot,
		features + "ready": answer, features + "on-boot": onBoot,
	}
}

// requirement is nil for what no scheduler accepts.
func requirement(e corev1.NodeSelectorRequirement) *labels.Requirement {
	operator, known := map[corev1.NodeSelectorOperator]selection.Operator{
		corev1.NodeSelectorOpIn: selection.In, corev1.NodeSelectorOpNotIn: selection.NotIn,
		corev1.NodeSelectorOpExists: selection.Exists, corev1.NodeSelectorOpDoesNotExist: selection.DoesNotExist,
		corev1.NodeSelectorOpGt: selection.GreaterThan, corev1.NodeSelectorOpLt: selection.LessThan,
	}[e.Operator]
	if e.Operator == corev1.NodeSelectorOpIn && len(e.Values) == 1 {
		operator = selection.Equals // reads better
	}
	r, err := labels.NewRequirement(e.Key, operator, e.Values)
	if !known || err != nil {
		return nil
	}
	return r
}

// nodeTerm splits what a pod requires of nodes' labels, and returns whether it
// requires SCTP.
func nodeTerm(requirements []corev1.NodeSelectorRequirement, keys nodelabel.Keys) (term NodeTerm, asks bool) {
	term = NodeTerm{SCTP: labels.NewSelector(), Others: labels.NewSelector()}
	about := sctpLabels(keys)
	for _, e := range requirements {
		r := requirement(e)
		if r == nil { // as the scheduler has it (component-helpers, nodeaffinity)
			term.Others = labels.Nothing()
			continue
		}
		values, ours := about[e.Key]
		if !ours {
			term.Others = term.Others.Add(*r)
			continue
		}
		term.SCTP = term.SCTP.Add(*r)
		accepts := func(value string) bool { return r.Matches(labels.Set{e.Key: value}) }
		good, bad := slices.ContainsFunc(values.good, accepts), slices.ContainsFunc(values.bad, accepts)
		if !good && !bad && !r.Matches(labels.Set{}) {
			term.Never = fmt.Sprintf("%s, which no agent sets (%s)", r, strings.Join(slices.Concat(values.good, values.bad), ", "))
		}
		asks = asks || good && !bad || term.Never != ""
	}
	return term, asks
}

// fits reports whether a node is one of those that the pod selects, SCTP and
// taints apart.
func (w *Waiting) fits(n *Node) bool {
	return !n.Foreign && slices.ContainsFunc(w.Nodes, func(t NodeTerm) bool { return t.fits(n) })
}

// taint is one of the node's that the pod does not tolerate, nil if there is none.
func (w *Waiting) taint(n *Node) *corev1.Taint {
	for i, taint := range n.Taints {
		if !slices.ContainsFunc(w.Tolerations, func(t corev1.Toleration) bool { return tolerates(t, taint) }) {
			return &n.Taints[i]
		}
	}
	return nil
}

// tolerates is as the scheduler has it, except that a comparison of numbers is left
// to its message.
func tolerates(t corev1.Toleration, taint corev1.Taint) bool {
	return (t.Effect == "" || t.Effect == taint.Effect) && (t.Key == "" || t.Key == taint.Key) &&
		(t.Value == taint.Value || t.Operator != "" && t.Operator != corev1.TolerationOpEqual)
}

func (t NodeTerm) fits(n *Node) bool {
	return t.Others.Matches(labels.Set(n.Labels)) && !slices.ContainsFunc(t.Names, func(e corev1.NodeSelectorRequirement) bool {
		// In or NotIn, with one name, which need not be a label's value.
		return slices.Contains(e.Values, n.Name) != (e.Operator == corev1.NodeSelectorOpIn)
	})
}

func (t NodeTerm) equal(other NodeTerm) bool {
	return t.SCTP.String() == other.SCTP.String() && t.Others.String() == other.Others.String()
}

// has reports whether a node is one of those that the pod selects.
func (w *Waiting) has(n *Node) bool {
	return slices.ContainsFunc(w.Nodes, func(t NodeTerm) bool { return t.fits(n) && t.SCTP.Matches(labels.Set(n.Labels)) })
}

// wants is the kind of node that the pod waits for, and the labels that it requires
// besides that for SCTP.
func (w *Waiting) wants(keys nodelabel.Keys) (text string, besides []string) {
	var selectors []string
	for _, t := range w.Nodes {
		if text := t.SCTP.String(); !slices.Contains(selectors, text) {
			selectors = append(selectors, text)
		}
		requirements, _ := t.SCTP.Requirements()
		for _, r := range requirements {
			if r.Key() != keys.Ready() && !slices.Contains(besides, r.Key()) {
				besides = append(besides, r.Key())
			}
		}
	}
	text = "a node with SCTP"
	if len(besides) > 0 {
		text += " (" + strings.Join(selectors, " or ") + ")"
	}
	return text, besides
}

// autoscalers judge a node that does not exist yet by its template.
const autoscalers = "an autoscaler adds a node for the pod only if the node group's template has the label (docs/labels.md, Autoscalers)"

// podsThatWait finds pods that the scheduler has no node for. The scheduler only
// reports that a selector did not match; why the nodes refuse is in their reports.
func podsThatWait(v *view, found report) {
	var pods []*Pod
	for i := range v.Pods {
		if v.Pods[i].Waits != nil {
			pods = append(pods, &v.Pods[i])
		}
	}
	for _, group := range podsByOwner(pods) {
		p := group[0]
		wanted, besides := p.Waits.wants(v.Keys)
		c := v.choiceOf(p.Waits)
		looked := ""
		if v.SomeNodes {
			looked = " looked at"
		}
		var message, fix string
		if len(c.without) > 0 {
			fix = c.without[0].remedy()
		}
		switch {
		case p.Waits.ForSCTP && !slices.ContainsFunc(p.Waits.Nodes, func(t NodeTerm) bool { return t.Never == "" }):
			message = "waits for a node with the label " + p.Waits.Nodes[0].Never
			c, fix = choice{}, "correct the pod's nodeSelector or affinity"
		case !p.Waits.ForSCTP:
			message = fmt.Sprintf("uses SCTP and has no node; it does not select nodes that have SCTP (%d of %s%s do)", c.works, cluster.Count(c.fit, "node"), looked)
			c.without, fix = nil, "see the scheduler's message: the pod does not wait for SCTP"
		case c.fit == 0 && len(c.tainted) > 0:
			if c.kept > 0 || fix == "" {
				fix = "tolerate the taint, or remove it"
			} else {
				fix = "tolerate the taint, or remove it; and " + fix
			}
			message = fmt.Sprintf("waits for %s, and each node%s with the other labels that it selects has a taint that it does not tolerate (%d with SCTP)", wanted, looked, c.kept)
		case c.fit == 0:
			fix = "add a node with these labels; " + autoscalers
			message = fmt.Sprintf("waits for %s, and no node%s has the other labels that it selects", wanted, looked)
		case c.with == 0:
			message = fmt.Sprintf("waits for %s: of %s%s that it could use, none has it", wanted, cluster.Count(c.fit, "node"), looked)
			fix = cmp.Or(fix, "enable SCTP on one of them") + "; " + autoscalers
			if c.kept > 0 {
				message += fmt.Sprintf(", and %s with it has a taint that it does not tolerate", cluster.Count(c.kept, "node"))
				fix = "tolerate the taint, or " + fix
			}
		default:
			message = fmt.Sprintf("waits for %s: of %s%s that it could use, %d with it cannot take it for another reason", wanted, cluster.Count(c.fit, "node"), looked, c.with)
			if fix != "" {
				fix = "; for a further node with SCTP: " + fix
			}
			fix = "see the scheduler's message" + fix
		}
		evidence := append(lines(groupNodes(c.without)), labelsOf(c.without, besides)...)
		if c.with == 0 {
			evidence = append(evidence, byText(c.tainted, func(n *Node) string { return "taint " + p.Waits.taint(n).ToString() })...)
		}
		evidence = append(evidence, "scheduler: "+p.Waits.Scheduler)
		f := Finding{Object: p.Owner, Count: len(group), Message: message, Evidence: append(p.uses(), evidence...), Fix: fix}
		if p.Owner.Kind != "Pod" {
			f.Message = fmt.Sprintf("%s: %s", cluster.Count(len(group), "pod"), message)
			f.Members = podNames(group)
		}
		found(f)
	}
}

// choice is which nodes there are for a pod that waits.
type choice struct {
	// fit counts those that it could use; works, those of them on which SCTP works,
	// and with, those that have the labels about SCTP that it selects.
	fit, works, with int
	// tainted are those that would fit but for a taint; kept counts those of them
	// that have the labels about SCTP.
	tainted []*Node
	kept    int
	// without are those that fit, else those that are tainted, without these labels.
	without []*Node
}

func (v *view) choiceOf(w *Waiting) (c choice) {
	var behind []*Node
	for i := range v.Nodes {
		n := &v.Nodes[i]
		switch {
		case !w.fits(n):
			continue
		case w.taint(n) == nil:
			c.fit++
			if n.Ready == string(kmod.AnswerTrue) {
				c.works++
			}
			if w.has(n) {
				c.with++
			} else {
				c.without = append(c.without, n)
			}
		default:
			c.tainted = append(c.tainted, n)
			if w.has(n) {
				c.kept++
			} else {
				behind = append(behind, n)
			}
		}
	}
	if c.fit == 0 {
		c.without = behind
	}
	return c
}

// labelsOf is which values of some labels nodes have.
func labelsOf(list []*Node, keys []string) (out []string) {
	for _, key := range keys {
		out = append(out, byText(list, func(n *Node) string {
			if value, found := n.Labels[key]; found {
				return "label " + key + "=" + value
			}
			return "without the label " + key
		})...)
	}
	return out
}

// byText is each text that there is about nodes, and which it is about.
func byText(list []*Node, text func(*Node) string) (out []string) {
	names := map[string][]string{}
	for _, n := range list {
		is := text(n)
		names[is] = append(names[is], n.Name)
	}
	for _, is := range slices.Sorted(maps.Keys(names)) {
		out = append(out, is+": "+cluster.FirstNames(names[is], 1))
	}
	return out
}
