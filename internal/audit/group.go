package audit

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/internal/pattern"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// ofCronJob matches the names of a CronJob's Jobs: NAME-MINUTES since 1970.
var ofCronJob = pattern.MustCompile(`^(.+)-[23][0-9]{7}$`)

// owner is what a pod is grouped by: the Deployment of its ReplicaSet, the CronJob of
// its Job, or its other controller. A pod without one, or a static pod, which kubelet controls, is its
// own group.
func owner(p *corev1.Pod) Object {
	c := metav1.GetControllerOf(p)
	if c == nil || c.Kind == "Node" {
		return Object{Kind: "Pod", Namespace: p.Namespace, Name: p.Name}
	}
	out := Object{Kind: c.Kind, Namespace: p.Namespace, Name: c.Name}
	// The deployment controller, and that of Argo Rollouts, name their ReplicaSets
	// NAME-HASH, and give the hash to their pods as a label.
	for kind, label := range map[string]string{"Deployment": "pod-template-hash", "Rollout": "rollouts-pod-template-hash"} {
		if hash := p.Labels[label]; c.Kind == "ReplicaSet" && hash != "" {
			if name, found := strings.CutSuffix(c.Name, "-"+hash); found {
				out.Kind, out.Name = kind, name
			}
		}
	}
	// The CronJob controller names its Jobs by the minute of their time (getJobName).
	if name := ofCronJob().FindStringSubmatch(c.Name); c.Kind == "Job" && name != nil {
		out.Kind, out.Name = "CronJob", name[1]
	}
	return out
}

// podsByOwner groups pods, sorted as people count.
func podsByOwner(pods []*Pod) [][]*Pod {
	groups := map[Object][]*Pod{}
	for _, p := range pods {
		groups[p.Owner] = append(groups[p.Owner], p)
	}
	out := make([][]*Pod, 0, len(groups))
	for _, group := range groups {
		slices.SortFunc(group, func(a, b *Pod) int { return cluster.CompareNames(a.Name, b.Name) })
		out = append(out, group)
	}
	slices.SortFunc(out, func(a, b []*Pod) int { return compareObjects(a[0].Owner, b[0].Owner) })
	return out
}

func podNames(pods []*Pod) []string {
	out := make([]string, len(pods))
	for i, p := range pods {
		out[i] = p.Name
	}
	return out
}

// NodeGroup is nodes of one pool of which the same is known, for the same cause.
type NodeGroup struct {
	Pool  string
	Ready kmod.Answer
	// Cause is the reason and its deciding line, "" where SCTP works.
	Cause string
	// Nodes are their names.
	Nodes []string
}

// Note is the cause, and which nodes have it.
func (g NodeGroup) Note() string {
	return cmp.Or(g.Cause, "SCTP works") + "; " + cluster.FirstNames(g.Nodes, 1)
}

// Fleet are all nodes by pool and cause.
func (r *Result) Fleet() []NodeGroup { return groupRows(r.Nodes) }

// String is the group as one line.
func (g NodeGroup) String() string {
	return fmt.Sprintf("%s of pool %s: %s", cluster.Count(len(g.Nodes), "node"), cmp.Or(g.Pool, "(none)"), g.Note())
}

// groupRows puts together what rows of the table have in common, within each pool
// what does not work first.
func groupRows(rows []NodeRow) []NodeGroup {
	type key struct {
		pool, cause string
		ready       kmod.Answer
	}
	var groups cluster.Groups[key, string]
	for _, row := range rows {
		groups.Add(key{row.Pool, row.cause(), row.Ready}, row.Name)
	}
	out := []NodeGroup{}
	for k, names := range groups.All() {
		slices.SortFunc(names, cluster.CompareNames)
		out = append(out, NodeGroup{Pool: k.pool, Ready: k.ready, Cause: k.cause, Nodes: names})
	}
	order := []kmod.Answer{kmod.AnswerFalse, kmod.AnswerUnknown, kmod.AnswerTrue}
	slices.SortStableFunc(out, func(a, b NodeGroup) int {
		return cmp.Or(cluster.CompareNames(a.Pool, b.Pool), slices.Index(order, a.Ready)-slices.Index(order, b.Ready), len(b.Nodes)-len(a.Nodes))
	})
	return out
}

// cause is why the node does not have SCTP, or has not proved it.
func (r NodeRow) cause() string {
	if r.Ready == kmod.AnswerTrue {
		return ""
	}
	return cmp.Or(strings.TrimSuffix(strings.TrimPrefix(string(r.Reason)+": "+r.Message, ": "), ": "), "it has no report")
}

// groupNodes is groupRows of nodes.
func groupNodes(list []*Node) []NodeGroup {
	rows := make([]NodeRow, len(list))
	for i, n := range list {
		rows[i] = n.row()
	}
	return groupRows(rows)
}

// lines are at most a few groups as lines.
func lines(groups []NodeGroup) []string {
	const most = 10
	var out []string
	for i, g := range groups {
		if i == most {
			return append(out, fmt.Sprintf("and %d further causes", len(groups)-most))
		}
		out = append(out, g.String())
	}
	return out
}

func compareObjects(a, b Object) int {
	return cmp.Or(cluster.CompareNames(a.Namespace, b.Namespace), cluster.CompareNames(a.Name, b.Name), strings.Compare(a.Kind, b.Kind))
}
