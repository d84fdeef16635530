// Package nodelabel turns a report into labels and annotations of a Node
// ([Keys.Desired], a pure function). It makes no requests.
package nodelabel

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	// Its older neighbour, util/validation, links klog and 20 packages more.
	"k8s.io/apimachinery/pkg/api/validate/content"
)

const (
	// DefaultPrefix is the prefix of every label and annotation key.
	DefaultPrefix = "sctp-agent/"
	// FieldManager is the name under which server-side apply records what
	// the agent owns.
	FieldManager = "sctp-agent"
	// ConditionType is the Node condition's type.
	ConditionType = "SCTPReady"
	// DefaultHeartbeat is how often an agent renews the condition's
	// lastHeartbeatTime by default.
	DefaultHeartbeat = 5 * time.Minute
)

// Keys are the keys on the Node, under one prefix. The zero value uses
// [DefaultPrefix].
type Keys struct{ prefix string }

// NewKeys checks a prefix: a DNS subdomain and a slash. A missing slash is
// added; "" is [DefaultPrefix].
func NewKeys(prefix string) (Keys, error) {
	if prefix == "" {
		return Keys{}, nil
	}
	domain := strings.TrimSuffix(prefix, "/")
	if errs := content.IsDNS1123Subdomain(domain); len(errs) > 0 {
		return Keys{}, fmt.Errorf("key prefix %q: %s", prefix, errs[0])
	}
	// What kubelet and the control plane trust belongs to them.
	for _, reserved := range []string{"kubernetes.io", "k8s.io"} {
		if domain == reserved || strings.HasSuffix(domain, "."+reserved) {
			return Keys{}, fmt.Errorf("key prefix %q: %s is reserved for Kubernetes", prefix, reserved)
		}
	}
	return Keys{prefix: domain + "/"}, nil
}

// Prefix of every key, with its slash.
func (k Keys) Prefix() string { return cmp.Or(k.prefix, DefaultPrefix) }

// Ready is the label "true" or "false"; absent when never concluded.
func (k Keys) Ready() string { return k.Prefix() + "ready" }

// OnBoot is the label "loaded", "on-demand" or "blocked".
func (k Keys) OnBoot() string { return k.Prefix() + "on-boot" }

// IPv6 is the label "true" or "false" from the probe.
func (k Keys) IPv6() string { return k.Prefix() + "ipv6" }

// Multihoming is the label "true" or "false" from the probe.
func (k Keys) Multihoming() string { return k.Prefix() + "multihoming" }

// Reason is the annotation with the verdict's reason.
func (k Keys) Reason() string { return k.Prefix() + "reason" }

// Message is the annotation with one sentence for people.
func (k Keys) Message() string { return k.Prefix() + "message" }

// Since is the annotation with the time (RFC 3339) at which the verdict or its
// reason last changed.
func (k Keys) Since() string { return k.Prefix() + "since" }

// Report is the annotation with the report as compact JSON.
func (k Keys) Report() string { return k.Prefix() + "report" }

// StartupTaint is the key that docs/labels.md gives to the startup taint.
func (k Keys) StartupTaint() string { return k.Prefix() + "unproved" }

// Labels lists the label keys.
func (k Keys) Labels() []string {
	return []string{k.Ready(), k.OnBoot(), k.IPv6(), k.Multihoming()}
}

// Annotations lists the annotation keys.
func (k Keys) Annotations() []string {
	return []string{k.Reason(), k.Message(), k.Since(), k.Report()}
}
