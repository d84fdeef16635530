package audit

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// Waiting is what a pod asks of a node that the scheduler has not found.
type Waiting struct {
	// Scheduler is the message of the pod's condition PodScheduled.
	Scheduler string
	// ForSCTP: the pod selects nodes by the label that says that SCTP works.
	ForSCTP bool
	// Selector and Terms are what else it selects nodes by: all of Selector, and
	// one of Terms where there are any.
	Selector labels.Set
	Terms    []labels.Selector
}

// waiting reads why a pod has no node, nil when the scheduler has not refused it.
func waiting(p *corev1.Pod, readyLabel string) *Waiting {
	if p.Spec.NodeName != "" || p.DeletionTimestamp != nil {
		return nil
	}
	i := slices.IndexFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable
	})
	if i < 0 {
		return nil
	}
	w := &Waiting{Scheduler: p.Status.Conditions[i].Message, Selector: labels.Set{}}
	for key, value := range p.Spec.NodeSelector {
		if key == readyLabel {
			w.ForSCTP = w.ForSCTP || value == string(kmod.AnswerTrue)
			continue
		}
		w.Selector[key] = value
	}
	if a := p.Spec.Affinity; a != nil && a.NodeAffinity != nil && a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		all := true
		for _, term := range a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
			selector, asks := nodeTerm(term, readyLabel)
			all = all && asks
			w.Terms = append(w.Terms, selector)
		}
		// One term is enough for the scheduler: a term without the label leads to
		// nodes without SCTP.
		w.ForSCTP = w.ForSCTP || all && len(w.Terms) > 0
	}
	return w
}

// nodeTerm is a term without what it asks of the label, and whether it asks that
// SCTP works. What a selector of labels cannot express (Gt, Lt, fields) is left
// to the scheduler's message.
func nodeTerm(term corev1.NodeSelectorTerm, readyLabel string) (selector labels.Selector, asks bool) {
	var rest []metav1.LabelSelectorRequirement
	for _, e := range term.MatchExpressions {
		if e.Key == readyLabel {
			asks = asks || keeps(e, kmod.AnswerTrue) && !keeps(e, kmod.AnswerFalse)
			continue
		}
		switch e.Operator {
		case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn, corev1.NodeSelectorOpExists, corev1.NodeSelectorOpDoesNotExist:
			rest = append(rest, metav1.LabelSelectorRequirement{Key: e.Key, Operator: metav1.LabelSelectorOperator(e.Operator), Values: e.Values})
		}
	}
	selector, err := metav1.LabelSelectorAsSelector(&metav1.LabelSelector{MatchExpressions: rest})
	if err != nil { // the API server has accepted it
		return labels.Everything(), asks
	}
	return selector, asks
}

// keeps says whether a node whose label has this value is left to the pod.
func keeps(e corev1.NodeSelectorRequirement, value kmod.Answer) bool {
	return e.Operator == corev1.NodeSelectorOpExists || slices.Contains(e.Values, string(value)) == (e.Operator == corev1.NodeSelectorOpIn)
}

// fits says whether a node is one of those that the pod selects, but for SCTP.
func (w *Waiting) fits(n *Node) bool {
	have := labels.Set(n.Labels)
	return w.Selector.AsSelector().Matches(have) &&
		(len(w.Terms) == 0 || slices.ContainsFunc(w.Terms, func(s labels.Selector) bool { return s.Matches(have) }))
}

// autoscalers judge a node that does not exist yet by its template.
const autoscalers = "an autoscaler adds a node for the pod only if the node group's template has the label (docs/labels.md, Autoscalers)"

// podsThatWait finds pods that the scheduler has no node for. It only says that
// a selector did not match; why the nodes refuse stands in their reports.
func podsThatWait(v *view, found report) {
	var pods []*Pod
	for i := range v.Pods {
		if v.Pods[i].Waits != nil {
			pods = append(pods, &v.Pods[i])
		}
	}
	for _, group := range podsByOwner(pods) {
		p := group[0]
		var without []*Node
		fit, with := 0, 0
		for i := range v.Nodes {
			n := &v.Nodes[i]
			if !p.Waits.fits(n) {
				continue
			}
			fit++
			if n.Ready == string(kmod.AnswerTrue) {
				with++
			} else {
				without = append(without, n)
			}
		}
		var message, fix string
		if len(without) > 0 {
			fix = without[0].remedy()
		}
		switch {
		case !p.Waits.ForSCTP:
			message = fmt.Sprintf("uses SCTP and has no node; it does not select nodes that have SCTP (%d of %s do)", with, count(fit, "node"))
			without, fix = nil, ""
		case fit == 0:
			fix = "add a node with these labels; " + autoscalers
			message = "waits for a node with SCTP, and no node has the other labels that it selects"
		case with == 0:
			message = fmt.Sprintf("waits for a node with SCTP: of %s that it could use, none has it", count(fit, "node"))
			fix = cmp.Or(fix, "enable SCTP on one of them") + "; " + autoscalers
		default:
			message = fmt.Sprintf("waits for a node with SCTP: of %s that it could use, %d have it and refuse for another reason", count(fit, "node"), with)
		}
		evidence := append(lines(groupNodes(without)), "scheduler: "+p.Waits.Scheduler)
		f := Finding{Object: p.Owner, Count: len(group), Message: message, Evidence: append(p.uses(), evidence...), Fix: fix}
		if p.Owner.Kind != "Pod" {
			f.Message = fmt.Sprintf("%s: %s", count(len(group), "pod"), message)
			f.Members = podNames(group)
		}
		found(f)
	}
}
