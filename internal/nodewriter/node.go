package nodewriter

import (
	"encoding/json"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
)

// node is what the writer reads of a Node object. Where no condition is
// written, the API server is asked for the metadata alone, and Status stays
// empty.
type node struct {
	Metadata metadata `json:"metadata"`
	Status   struct {
		Conditions []Condition `json:"conditions,omitempty"`
	} `json:"status"`
}

// metadata is what is read of an object's (k8s.io/apimachinery/pkg/apis/meta/v1,
// ObjectMeta).
type metadata struct {
	UID             string            `json:"uid"`
	ResourceVersion string            `json:"resourceVersion"`
	Labels          map[string]string `json:"labels"`
	Annotations     map[string]string `json:"annotations"`
	// ManagedFields are the fields that each writer owns.
	ManagedFields []struct {
		Manager     string   `json:"manager"`
		Operation   string   `json:"operation"` // Apply or Update
		Subresource string   `json:"subresource"`
		FieldsV1    fieldSet `json:"fieldsV1"`
	} `json:"managedFields"`
}

// Condition is a Node condition as the agent writes it. The type of k8s.io/api has
// a heartbeat time that cannot be omitted.
type Condition struct {
	Type               string `json:"type"`
	Status             string `json:"status"`
	Reason             string `json:"reason,omitempty"`
	Message            string `json:"message,omitempty"`
	LastHeartbeatTime  string `json:"lastHeartbeatTime,omitempty"`
	LastTransitionTime string `json:"lastTransitionTime,omitempty"`
}

// says reports whether two conditions are the same except for the times.
func (c *Condition) says(other *Condition) bool {
	if c == nil || other == nil {
		return c == other
	}
	return c.Status == other.Status && c.Reason == other.Reason && c.Message == other.Message
}

// untilHeartbeat is the time until the next heartbeat, if one is due that often: 0
// if the last one is missing, not a time, or in the future.
func (c *Condition) untilHeartbeat(every time.Duration, now time.Time) time.Duration {
	last, err := time.Parse(time.RFC3339, c.LastHeartbeatTime)
	if err != nil || last.After(now) {
		return 0
	}
	return max(0, every-now.Sub(last))
}

func (n *node) condition() *Condition {
	for i := range n.Status.Conditions {
		if n.Status.Conditions[i].Type == nodelabel.ConditionType {
			return &n.Status.Conditions[i]
		}
	}
	return nil
}

// newer reports whether n was written after old. Resource versions of one object
// are numbers that grow (Kubernetes 1.35 promises it; etcd always did); what is not
// a number counts as newer.
func (n *node) newer(old *node) bool {
	if old == nil || n.Metadata.UID != old.Metadata.UID {
		return true
	}
	a, errA := strconv.ParseUint(n.Metadata.ResourceVersion, 10, 64)
	b, errB := strconv.ParseUint(old.Metadata.ResourceVersion, 10, 64)
	return errA != nil || errB != nil || a > b
}

// ownership is what managedFields records as the agent's.
type ownership struct {
	// labels, annotations, the condition and its heartbeat are owned by server-side
	// apply on nodes/status: leaving one out of the next apply removes it, unless
	// another writer owns it too.
	labels, annotations  map[string]bool
	condition, heartbeat bool
	// strayLabels and strayAnnotations were written under the agent's name
	// in some other way (by hand, by an older version): apply does not
	// remove these.
	strayLabels, strayAnnotations map[string]bool
}

// fieldSet is a node of the FieldsV1 tree: see
// k8s.io/apimachinery/pkg/apis/meta/v1 FieldsV1.
type fieldSet map[string]json.RawMessage

func (f fieldSet) child(name string) fieldSet {
	var c fieldSet
	if raw, ok := f[name]; ok {
		// Fails only for a server that sends nonsense; then nothing is owned.
		_ = json.Unmarshal(raw, &c)
	}
	return c
}

func (f fieldSet) names() map[string]bool {
	out := map[string]bool{}
	for name := range f {
		if key, ok := strings.CutPrefix(name, "f:"); ok {
			out[key] = true
		}
	}
	return out
}

func (n *node) owned() ownership {
	o := ownership{
		labels: map[string]bool{}, annotations: map[string]bool{},
		strayLabels: map[string]bool{}, strayAnnotations: map[string]bool{},
	}
	for _, e := range n.Metadata.ManagedFields {
		if e.Manager != nodelabel.FieldManager {
			continue
		}
		labels := e.FieldsV1.child("f:metadata").child("f:labels").names()
		annotations := e.FieldsV1.child("f:metadata").child("f:annotations").names()
		if e.Operation == "Apply" && e.Subresource == "status" {
			o.labels, o.annotations = labels, annotations
			condition := e.FieldsV1.child("f:status").child("f:conditions").child(`k:{"type":"` + nodelabel.ConditionType + `"}`)
			o.condition = condition != nil
			_, o.heartbeat = condition["f:lastHeartbeatTime"]
			continue
		}
		maps.Copy(o.strayLabels, labels)
		maps.Copy(o.strayAnnotations, annotations)
	}
	return o
}

// plan is the difference between what a Node has and what it should have.
type plan struct {
	// apply: an apply is due.
	apply bool
	// foreign lists the keys that another writer changed, removed or owns.
	foreign []string
	// removeLabels and removeAnnotations are keys that an apply does not remove,
	// because another writer owns them too.
	removeLabels, removeAnnotations []string
}

// applied is what the agent wrote in an apply.
type applied struct {
	nodelabel.Metadata
	condition *Condition
}

// diff compares a Node to what is desired. before is what the agent applied
// last, nil if it does not know.
func diff(k nodelabel.Keys, n *node, want nodelabel.Metadata, cond *Condition, before *applied) plan {
	o := n.owned()
	var p plan
	part := func(have, want, before map[string]string, owned, stray map[string]bool, contract []string, remove *[]string) {
		for key, value := range want {
			if got, ok := have[key]; ok && got == value && owned[key] {
				continue
			}
			p.apply = true
			if old, ok := before[key]; ok && old == value {
				p.foreign = append(p.foreign, key)
			}
		}
		for key := range owned {
			if _, ok := want[key]; !ok {
				p.apply = true
			}
		}
		// Keys of the contract must not be on the Node unless they are desired,
		// even if another writer wrote them: schedulers trust them.
		left := maps.Clone(stray)
		for _, key := range contract {
			left[key] = true
		}
		for key := range left {
			_, wanted := want[key]
			if _, there := have[key]; there && !wanted && !owned[key] {
				*remove = append(*remove, key)
				if before != nil {
					p.foreign = append(p.foreign, key)
				}
			}
		}
	}
	var beforeLabels, beforeAnnotations map[string]string
	if before != nil {
		beforeLabels, beforeAnnotations = before.Labels, before.Annotations
	}
	part(n.Metadata.Labels, want.Labels, beforeLabels, o.labels, o.strayLabels, k.Labels(), &p.removeLabels)
	part(n.Metadata.Annotations, want.Annotations, beforeAnnotations, o.annotations, o.strayAnnotations, k.Annotations(), &p.removeAnnotations)
	// Where no condition is wanted, the Node is read without its status.
	differs := o.condition
	if cond != nil {
		differs = !o.condition || !cond.says(n.condition())
		switch {
		case cond.LastHeartbeatTime == "":
			p.apply = p.apply || o.heartbeat
		case !differs && cond.LastHeartbeatTime != n.condition().LastHeartbeatTime:
			p.apply = true
		}
	}
	if differs {
		p.apply = true
		if before != nil && cond.says(before.condition) {
			p.foreign = append(p.foreign, "condition "+nodelabel.ConditionType)
		}
	}
	return p
}

// carry adds the agent's keys of another prefix to what is desired, with their
// values on the Node, and returns whether there are any.
func carry(k nodelabel.Keys, want nodelabel.Metadata, n *node) bool {
	any := false
	part := func(want, have map[string]string, owned map[string]bool) {
		for key := range owned {
			if value, ok := have[key]; ok && !strings.HasPrefix(key, k.Prefix()) {
				want[key] = value
				any = true
			}
		}
	}
	o := n.owned()
	part(want.Labels, n.Metadata.Labels, o.labels)
	part(want.Annotations, n.Metadata.Annotations, o.annotations)
	return any
}

// said is what the agent wrote on the Node: its own keys with their values, except
// those that another writer changed.
func (n *node) said(memory nodelabel.Metadata) nodelabel.Metadata {
	o := n.owned()
	out := nodelabel.Metadata{Labels: map[string]string{}, Annotations: map[string]string{}}
	part := func(out, memory, have map[string]string, owned map[string]bool) {
		maps.Copy(out, memory)
		for key := range owned {
			if value, ok := have[key]; ok {
				out[key] = value
			}
		}
	}
	part(out.Labels, memory.Labels, n.Metadata.Labels, o.labels)
	part(out.Annotations, memory.Annotations, n.Metadata.Annotations, o.annotations)
	return out
}
