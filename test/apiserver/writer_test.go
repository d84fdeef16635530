package apiserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sctp-agent/sctp-agent/internal/nodewriter"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// The Node says what the contract promises, and the rest of it is untouched to
// the byte.
func TestNodeSaysTheReport(t *testing.T) {
	c := sharedCluster(t)
	c.makeNode(t, "says")
	before := c.others(t, "says")
	w := c.startWriter(t, "says", nil)
	w.say(t, report("says", boot1, verdict.ReasonProbePassed))

	n := c.node(t, "says")
	got := says(n)
	want := map[string]string{"sctp-agent/ready": "true", "sctp-agent/on-boot": "loaded", "sctp-agent/ipv6": "true", "sctp-agent/multihoming": "false"}
	if !maps.Equal(got.Labels, want) {
		t.Errorf("labels = %v, want %v", got.Labels, want)
	}
	if len(got.Annotations) != 4 || got.Annotations["sctp-agent/reason"] != "ProbePassed" || got.Annotations["sctp-agent/message"] != "because of ProbePassed" {
		t.Errorf("annotations = %v", got.Annotations)
	}
	if _, err := time.Parse(time.RFC3339, got.Annotations["sctp-agent/since"]); err != nil {
		t.Errorf("since: %v", err)
	}
	var r verdict.Report
	if err := json.Unmarshal([]byte(got.Annotations["sctp-agent/report"]), &r); err != nil || r.Kernel.BootID != boot1 {
		t.Errorf("report = %s (%v)", got.Annotations["sctp-agent/report"], err)
	}
	if after := c.others(t, "says"); after != before {
		t.Errorf("the rest of the Node changed:\n%s\n%s", before, after)
	}
	if !w.Concluded() {
		t.Error("a conclusive report is on the Node, and the writer does not know")
	}
}

// The same report again, after a restart too, is no write: durations are no
// news.
func TestNothingChangedIsNoWrite(t *testing.T) {
	c := sharedCluster(t)
	c.makeNode(t, "same")
	w := c.startWriter(t, "same", nil)
	w.say(t, report("same", boot1, verdict.ReasonProbePassed))
	version := c.node(t, "same").ResourceVersion
	for range 5 {
		w.say(t, report("same", boot1, verdict.ReasonProbePassed))
	}
	w.stop()
	again := c.startWriter(t, "same", nil)
	again.say(t, report("same", boot1, verdict.ReasonProbePassed))
	if got := c.node(t, "same").ResourceVersion; got != version {
		t.Errorf("resourceVersion moved from %s to %s", version, got)
	}
	events, err := c.AuditEvents()
	if err != nil {
		t.Fatal(err)
	}
	patches := 0
	for _, e := range events {
		if e.Verb == "patch" && e.ObjectRef != nil && e.ObjectRef.Name == "same" && strings.Contains(e.User.Username, serviceAccount) && !isDryRun(e) {
			patches++
		}
	}
	if patches != 1 {
		t.Errorf("%d patches were sent, want 1", patches)
	}
}

func TestSinceMovesWithTheVerdict(t *testing.T) {
	c := sharedCluster(t)
	c.makeNode(t, "since")
	w := c.startWriter(t, "since", nil)
	at := func() string { return c.node(t, "since").Annotations["sctp-agent/since"] }
	w.say(t, report("since", boot1, verdict.ReasonModuleNotLoaded))
	first := at()
	time.Sleep(1100 * time.Millisecond)
	r := report("since", boot1, verdict.ReasonModuleNotLoaded)
	r.Message = "the same in other words"
	w.say(t, r)
	if at() != first {
		t.Error("since moved although neither ready nor reason changed")
	}
	w.say(t, report("since", boot1, verdict.ReasonModuleBlacklisted))
	if at() == first {
		t.Error("since did not move although the reason changed")
	}
}

// Unknown keeps the labels of this boot, and never those of an earlier one.
func TestUnknown(t *testing.T) {
	c := sharedCluster(t)
	c.makeNode(t, "unknown")
	w := c.startWriter(t, "unknown", nil)
	w.say(t, report("unknown", boot1, verdict.ReasonProbePassed))
	labels := says(c.node(t, "unknown")).Labels
	w.say(t, report("unknown", boot1, verdict.ReasonPermissionDenied))
	n := c.node(t, "unknown")
	if got := says(n).Labels; !maps.Equal(got, labels) {
		t.Errorf("labels after unknown in the same boot = %v, want %v", got, labels)
	}
	if got := n.Annotations["sctp-agent/reason"]; got != "PermissionDenied" {
		t.Errorf("reason = %s", got)
	}
	if !w.Concluded() {
		t.Error("an earlier conclusion was forgotten")
	}

	w.stop()
	rebooted := c.startWriter(t, "unknown", nil)
	rebooted.say(t, report("unknown", boot2, verdict.ReasonPermissionDenied))
	got := says(c.node(t, "unknown")).Labels
	if _, ok := got["sctp-agent/ready"]; ok || got["sctp-agent/ipv6"] != "" || got["sctp-agent/on-boot"] != "blocked" {
		t.Errorf("labels after unknown in a new boot = %v", got)
	}
	if rebooted.Concluded() {
		t.Error("concluded without a conclusion")
	}
}

// A label somebody put there by hand is not the agent's conclusion.
func TestForeignLabelIsNotTrusted(t *testing.T) {
	c := sharedCluster(t)
	c.makeNode(t, "byhand")
	patch(t, c, "byhand", `{"metadata":{"labels":{"sctp-agent/ready":"true"},"annotations":{"sctp-agent/report":"{\"apiVersion\":\"sctp-agent/v1\",\"ready\":\"true\",\"kernel\":{\"bootID\":\"`+boot1+`\"}}"}}}`)
	w := c.startWriter(t, "byhand", nil)
	w.say(t, report("byhand", boot1, verdict.ReasonResourceExhausted))
	if v, ok := c.node(t, "byhand").Labels["sctp-agent/ready"]; ok {
		t.Errorf("ready=%s is kept, though nobody proved it", v)
	}
}

func patch(t *testing.T, c *cluster, node, body string) *corev1.Node {
	t.Helper()
	n, err := c.admin.CoreV1().Nodes().Patch(t.Context(), node, types.MergePatchType, []byte(body), metav1.PatchOptions{FieldManager: "somebody"})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// An edit of the agent's keys is put back within two seconds, whatever its
// kind, and the foreign parts of the same edit stay.
func TestForeignEditIsPutBack(t *testing.T) {
	c := sharedCluster(t)
	for name, body := range map[string]string{
		"changed":     `{"metadata":{"labels":{"sctp-agent/ready":"false","mine":"x"}}}`,
		"removed":     `{"metadata":{"labels":{"sctp-agent/ready":null,"sctp-agent/ipv6":null,"mine":"x"}}}`,
		"annotations": `{"metadata":{"labels":{"mine":"x"},"annotations":{"sctp-agent/report":"{}","sctp-agent/since":"2001-01-01T00:00:00Z","sctp-agent/reason":null}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.makeNode(t, "edit-"+name)
			w := c.startWriter(t, "edit-"+name, nil)
			w.say(t, report("edit-"+name, boot1, verdict.ReasonProbePassed))
			want := says(c.node(t, "edit-"+name))
			putBack := func() error {
				n := c.node(t, "edit-"+name)
				got := says(n)
				if !maps.Equal(got.Labels, want.Labels) || !maps.Equal(got.Annotations, want.Annotations) {
					return fmt.Errorf("%v, want %v", got, want)
				}
				if n.Labels["mine"] != "x" {
					return errors.New("somebody else's label went away")
				}
				return nil
			}
			// A machine that stands still for a moment is no reason to fail:
			// it does not do so each time.
			const promise, tries = 2 * time.Second, 3
			for try := 1; ; try++ {
				patch(t, c, "edit-"+name, body)
				took := within(t, 30*time.Second, putBack)
				t.Logf("put back after %s", took)
				within(t, 10*time.Second, func() error {
					if w.count(nodewriter.PutBack) != try {
						return fmt.Errorf("%d put back, want %d", w.count(nodewriter.PutBack), try)
					}
					return nil
				})
				if took <= promise {
					break
				}
				if try == tries {
					t.Fatalf("%d times not put back within %s", tries, promise)
				}
			}
		})
	}
}

// A writer that insists is noticed, and not fought at full speed; the verdict
// itself is never held back by that.
func TestFight(t *testing.T) {
	t.Parallel() // most of it is waiting
	c := sharedCluster(t)
	c.makeNode(t, "fight")
	w := c.startWriter(t, "fight", func(cfg *nodewriter.Config) { cfg.Events = true })
	w.say(t, report("fight", boot1, verdict.ReasonProbePassed))
	edits := 0
	c.contend(t, w, func() {
		patch(t, c, "fight", fmt.Sprintf(`{"metadata":{"labels":{"sctp-agent/ready":"false","edit":"%d"}}}`, edits))
		edits++
	})
	if n := w.count(nodewriter.PutBack); n < 3 || n > 6 {
		t.Errorf("%d edits were put back %d times, want about 5", edits, n)
	}
	// Events follow within half a minute.
	within(t, 40*time.Second, func() error { return c.hasEvent(t, "fight", "SCTPLabelsContested") })
	w.say(t, report("fight", boot1, verdict.ReasonProbeFailed))
	if got := c.node(t, "fight").Annotations["sctp-agent/reason"]; got != "ProbeFailed" {
		t.Errorf("reason = %s: a change of the verdict waits for the fight to end", got)
	}
}

// contend edits until the writer has noticed that somebody insists, however slow
// the machine is, and for five seconds more.
func (c *cluster) contend(t *testing.T, w *running, edit func()) {
	t.Helper()
	edits := func(while func() bool) {
		for ; while(); time.Sleep(100 * time.Millisecond) {
			edit()
		}
	}
	limit := time.Now().Add(time.Minute)
	edits(func() bool { return !w.Fighting() && time.Now().Before(limit) })
	if !w.Fighting() {
		t.Fatalf("the fight goes unnoticed: %v", w.counts())
	}
	more := time.Now().Add(5 * time.Second)
	edits(func() bool { return time.Now().Before(more) })
}

func (c *cluster) hasEvent(t *testing.T, node, reason string) error {
	list, err := c.admin.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=" + node})
	if err != nil {
		return err
	}
	var got []string
	for _, e := range list.Items {
		if e.Reason == reason {
			return nil
		}
		got = append(got, e.Reason)
	}
	return fmt.Errorf("Events of %s: %v, want %s", node, got, reason)
}

// What an older version wrote, in whichever way, goes away.
func TestStaleKeysDisappear(t *testing.T) {
	c := sharedCluster(t)
	c.makeNode(t, "stale")
	older := func(kind types.PatchType, body string, sub ...string) {
		t.Helper()
		force := true
		opts := metav1.PatchOptions{FieldManager: nodelabel.FieldManager}
		if kind == types.ApplyPatchType {
			opts.Force = &force
		}
		if _, err := c.admin.CoreV1().Nodes().Patch(t.Context(), "stale", kind, []byte(body), opts, sub...); err != nil {
			t.Fatal(err)
		}
	}
	older(types.ApplyPatchType, `{"apiVersion":"v1","kind":"Node","metadata":{"name":"stale","labels":{"sctp-agent/applied":"old","other-prefix/ready":"true"}}}`, "status")
	older(types.ApplyPatchType, `{"apiVersion":"v1","kind":"Node","metadata":{"name":"stale","labels":{"sctp-agent/main":"old"}}}`)
	older(types.MergePatchType, `{"metadata":{"annotations":{"sctp-agent/merged":"old"}}}`)
	patch(t, c, "stale", `{"metadata":{"labels":{"sctp-agent/multihoming":"true","sctp-agent/somebody":"else"}}}`)
	w := c.startWriter(t, "stale", nil)
	w.say(t, report("stale", boot1, verdict.ReasonModuleMissing))
	n := c.node(t, "stale")
	got := says(n)
	// "somebody" is no key of the contract, and not the agent's.
	want := map[string]string{"sctp-agent/ready": "false", "sctp-agent/on-boot": "blocked", "sctp-agent/somebody": "else"}
	if !maps.Equal(got.Labels, want) {
		t.Errorf("labels = %v, want %v", got.Labels, want)
	}
	// The policy confines the agent to one prefix: a key of another one cannot
	// go away, and must not keep the agent from its work.
	if n.Labels["other-prefix/ready"] != "true" || !strings.Contains(w.log.String(), "cleanup") {
		t.Error("the key of another prefix went away, or nobody was told that it stays")
	}
	if len(got.Annotations) != 4 {
		t.Errorf("annotations = %v", got.Annotations)
	}
}

// The Node comes back as somebody else's object of the same name; what is true
// of the host is said again.
func TestNodeDeletedAndMadeAgain(t *testing.T) {
	c := sharedCluster(t)
	c.makeNode(t, "again")
	w := c.startWriter(t, "again", nil)
	w.say(t, report("again", boot1, verdict.ReasonProbePassed))
	since := c.node(t, "again").Annotations["sctp-agent/since"]
	time.Sleep(1100 * time.Millisecond)
	c.deleteNode(t.Context(), "again")
	time.Sleep(500 * time.Millisecond)
	c.makeNode(t, "again")
	before := c.others(t, "again")
	took := within(t, 5*time.Second, c.hasLabel(t, "again", "sctp-agent/ready", "true"))
	t.Logf("labelled again after %s", took)
	if got := c.node(t, "again").Annotations["sctp-agent/since"]; got != since {
		t.Errorf("since = %s, want %s: the verdict did not change", got, since)
	}
	if after := c.others(t, "again"); after != before {
		t.Errorf("the rest of the Node changed:\n%s\n%s", before, after)
	}
}

// An agent that is there before its Node waits for it.
func TestNodeMissingAtFirst(t *testing.T) {
	c := sharedCluster(t)
	w := c.startWriter(t, "late", nil)
	w.Publish(report("late", boot1, verdict.ReasonProbePassed))
	time.Sleep(500 * time.Millisecond)
	c.makeNode(t, "late")
	within(t, 5*time.Second, c.hasLabel(t, "late", "sctp-agent/ready", "true"))
}

// Two agents for one node by mistake: if they see the same, they agree; if they
// do not, they do not fight at full speed.
func TestTwoAgents(t *testing.T) {
	c := sharedCluster(t)
	c.makeNode(t, "two")
	a, b := c.startWriter(t, "two", nil), c.startWriter(t, "two", nil)
	a.say(t, report("two", boot1, verdict.ReasonProbePassed))
	time.Sleep(1100 * time.Millisecond)
	b.say(t, report("two", boot1, verdict.ReasonProbePassed))
	version := c.node(t, "two").ResourceVersion
	for range 5 {
		a.say(t, report("two", boot1, verdict.ReasonProbePassed))
		b.say(t, report("two", boot1, verdict.ReasonProbePassed))
	}
	time.Sleep(time.Second)
	if got := c.node(t, "two").ResourceVersion; got != version {
		t.Errorf("two agents that agree wrote (%s, then %s)", version, got)
	}

	b.Publish(report("two", boot1, verdict.ReasonPermissionDenied))
	b.Publish(report("two", boot1, verdict.ReasonModuleMissing))
	time.Sleep(5 * time.Second)
	if n := a.count(nodewriter.PutBack) + b.count(nodewriter.PutBack); n > 14 {
		t.Errorf("two agents that disagree wrote %d times in five seconds", n)
	}
	b.stop()
	a.say(t, report("two", boot1, verdict.ReasonProbeFailed))
	if got := c.node(t, "two").Annotations["sctp-agent/reason"]; got != "ProbeFailed" {
		t.Errorf("reason = %s after the other agent went", got)
	}
}

func TestCondition(t *testing.T) {
	c := sharedCluster(t)
	c.makeNode(t, "condition")
	before := c.others(t, "condition")
	on := func(cfg *nodewriter.Config) { cfg.Condition = true }
	w := c.startWriter(t, "condition", on)
	find := func() *corev1.NodeCondition {
		for _, cond := range c.node(t, "condition").Status.Conditions {
			if cond.Type == nodelabel.ConditionType {
				return &cond
			}
		}
		return nil
	}
	for _, tt := range []struct {
		reason verdict.Reason
		status corev1.ConditionStatus
	}{
		{verdict.ReasonProbePassed, corev1.ConditionTrue},
		{verdict.ReasonPermissionDenied, corev1.ConditionUnknown},
		{verdict.ReasonModuleBlacklisted, corev1.ConditionFalse},
	} {
		w.say(t, report("condition", boot1, tt.reason))
		got := find()
		if got == nil || got.Status != tt.status || got.Reason != string(tt.reason) || got.LastTransitionTime.IsZero() {
			t.Errorf("%s: condition = %+v, want status %s", tt.reason, got, tt.status)
		}
	}
	version := c.node(t, "condition").ResourceVersion
	w.say(t, report("condition", boot1, verdict.ReasonModuleBlacklisted))
	if got := c.node(t, "condition").ResourceVersion; got != version {
		t.Error("an unchanged condition was written")
	}
	if after := c.others(t, "condition"); after != before {
		t.Errorf("the rest of the Node changed:\n%s\n%s", before, after)
	}
	// Without the option, the next version of the agent takes it away.
	w.stop()
	off := c.startWriter(t, "condition", nil)
	off.say(t, report("condition", boot1, verdict.ReasonModuleBlacklisted))
	if got := find(); got != nil {
		t.Errorf("the condition stays after the option went: %+v", got)
	}
}

// The heartbeat is renewed, past the admission policy, and nothing else of the
// Node moves; without it nothing is written, and the one of before goes away.
func TestHeartbeat(t *testing.T) {
	c := sharedCluster(t)
	c.makeNode(t, "heartbeat")
	before := c.others(t, "heartbeat")
	find := func() corev1.NodeCondition {
		for _, cond := range c.node(t, "heartbeat").Status.Conditions {
			if cond.Type == nodelabel.ConditionType {
				return cond
			}
		}
		return corev1.NodeCondition{}
	}
	start := func(every time.Duration) *running {
		w := c.startWriter(t, "heartbeat", func(cfg *nodewriter.Config) { cfg.Condition, cfg.Heartbeat = true, every })
		w.say(t, report("heartbeat", boot1, verdict.ReasonProbePassed))
		return w
	}
	w := start(time.Second)
	first := find()
	within(t, 30*time.Second, func() error {
		if n := w.count(nodewriter.Applied); n < 4 {
			return fmt.Errorf("%d writes", n)
		}
		return nil
	})
	w.stop()
	last := find()
	if !last.LastHeartbeatTime.After(first.LastHeartbeatTime.Time) || first.LastHeartbeatTime.IsZero() {
		t.Errorf("the heartbeat was at %s, is at %s", first.LastHeartbeatTime, last.LastHeartbeatTime)
	}
	first.LastHeartbeatTime = last.LastHeartbeatTime
	if first != last || w.count(nodewriter.PutBack) > 0 {
		t.Errorf("the condition was %+v, is %+v, %v", first, last, w.counts())
	}
	if after := c.others(t, "heartbeat"); after != before {
		t.Errorf("the rest of the Node changed:\n%s\n%s", before, after)
	}

	off := start(0)
	version := c.node(t, "heartbeat").ResourceVersion
	if got := find().LastHeartbeatTime; !got.IsZero() {
		t.Errorf("the heartbeat of before is still there: %s", got)
	}
	time.Sleep(3 * time.Second)
	off.say(t, report("heartbeat", boot1, verdict.ReasonProbePassed))
	if got := c.node(t, "heartbeat").ResourceVersion; got != version {
		t.Error("written without a heartbeat and without news")
	}
}

// Somebody who keeps changing the condition is noticed as one who keeps changing
// the labels; so is a second agent that is to keep no condition.
func TestConditionFight(t *testing.T) {
	c := sharedCluster(t)
	for name, begin := range map[string]func(t *testing.T, node string) (edit func()){
		"a controller": func(t *testing.T, node string) func() {
			return func() {
				body := []byte(`{"status":{"conditions":[{"type":"SCTPReady","status":"False","reason":"Mine"}]}}`)
				if _, err := c.admin.CoreV1().Nodes().Patch(t.Context(), node, types.StrategicMergePatchType, body, metav1.PatchOptions{FieldManager: "somebody"}, "status"); err != nil {
					t.Fatal(err)
				}
			}
		},
		"an agent without it": func(t *testing.T, node string) func() {
			c.startWriter(t, node, nil).Publish(report(node, boot1, verdict.ReasonProbePassed))
			return func() {}
		},
	} {
		t.Run(name, func(t *testing.T) {
			node := "condition-" + name[len(name)-2:]
			c.makeNode(t, node)
			w := c.startWriter(t, node, func(cfg *nodewriter.Config) { cfg.Condition = true })
			w.say(t, report(node, boot1, verdict.ReasonProbePassed))
			c.contend(t, w, begin(t, node))
			if n := w.count(nodewriter.Applied) + w.count(nodewriter.PutBack); n > 8 {
				t.Errorf("%d writes until five seconds after it was noticed: %v", n, w.counts())
			}
		})
	}
}

func TestEvents(t *testing.T) {
	c := sharedCluster(t)
	// A writer that ends has a second for the Events that wait (pkg/nodelabel,
	// lastEvents). Where its end took longer, they may be lost for want of
	// time, and nothing is shown.
	const tries = 5
	for try := 1; ; try++ {
		node := fmt.Sprintf("events-%d", try)
		c.makeNode(t, node)
		took := c.transitions(t, node)
		if took < time.Second {
			c.eventsOf(t, node)
			return
		}
		t.Logf("the writers took %s to end", took)
		if try == tries {
			t.Fatalf("%d times the writers took a second or more to end", tries)
		}
	}
}

// transitions has a Node say two things in the life of two writers, and says
// how long the slower of these took to end.
func (c *cluster) transitions(t *testing.T, node string) (slowest time.Duration) {
	t.Helper()
	for _, life := range [][]verdict.Reason{
		{verdict.ReasonModuleNotLoaded, verdict.ReasonModuleNotLoaded, verdict.ReasonProbePassed, verdict.ReasonProbePassed},
		{verdict.ReasonProbePassed},
	} {
		w := c.startWriter(t, node, func(cfg *nodewriter.Config) { cfg.Events = true })
		for _, reason := range life {
			w.say(t, report(node, boot1, reason))
		}
		start := time.Now()
		w.stop()
		slowest = max(slowest, time.Since(start))
	}
	return slowest
}

// eventsOf fails unless there is one Event for each of the two transitions.
func (c *cluster) eventsOf(t *testing.T, node string) {
	t.Helper()
	list, err := c.admin.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=" + node})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, e := range list.Items {
		got[e.Reason] = e.Type
		if e.InvolvedObject.UID != c.node(t, node).UID || e.Source.Component != "sctp-agent" {
			t.Errorf("event %+v", e)
		}
	}
	if want := map[string]string{"ModuleNotLoaded": "Warning", "ProbePassed": "Normal"}; !maps.Equal(got, want) || len(list.Items) != 2 {
		t.Errorf("%d Events, %v, want one each of %v", len(list.Items), got, want)
	}
}
