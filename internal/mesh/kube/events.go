package kube

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/time/rate"

	"github.com/sctp-agent/sctp-agent/internal/backoff"
	"github.com/sctp-agent/sctp-agent/internal/mesh/conclusion"
	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
)

// Bounds on Events: what breaks for many nodes at once must not fill etcd.
const (
	eventBurst  = 10
	eventRefill = time.Minute
	// eventSpread is the time in which an Event follows: all who probe a
	// node conclude at the same time.
	eventSpread = 10 * time.Second
)

// Events creates one Event about this pod for each change of a conclusion.
type Events struct {
	client  *Client
	log     *slog.Logger
	changes chan conclusion.Change
}

// NewEvents keeps changes until [Events.Run] creates Events.
func NewEvents(client *Client, log *slog.Logger) *Events {
	return &Events{client, log, make(chan conclusion.Change, 2*eventBurst)}
}

// Changed takes a change in, and drops it rather than wait.
func (e *Events) Changed(c conclusion.Change) {
	select {
	case e.changes <- c:
	default:
		e.log.Warn("too many Events; dropped one", "peer", c.Peer.Node)
	}
}

// Run creates Events until ctx ends.
func (e *Events) Run(ctx context.Context) {
	allowed := rate.NewLimiter(rate.Every(eventRefill), eventBurst)
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-e.changes:
			if !allowed.Allow() {
				e.log.Warn("too many Events; dropped one", "peer", c.Peer.Node)
				continue
			}
			backoff.Sleep(ctx, backoff.Within(eventSpread))
			if err := e.create(ctx, c); err != nil && ctx.Err() == nil {
				e.log.Warn("an Event could not be created", "error", err.Error())
			}
		}
	}
}

func (e *Events) create(ctx context.Context, c conclusion.Change) error {
	kind, reason, message := describe(e.client.Node, c)
	at := c.At.UTC().Format(time.RFC3339)
	id := e.client.Identity
	event := map[string]any{
		"apiVersion": "v1", "kind": "Event",
		"metadata": map[string]any{"generateName": id.Pod + ".", "namespace": id.Namespace},
		"involvedObject": map[string]any{
			"apiVersion": "v1", "kind": "Pod", "namespace": id.Namespace, "name": id.Pod, "uid": id.UID,
		},
		"type": kind, "reason": reason, "message": message,
		"source":             map[string]any{"component": "sctp-mesh", "host": id.Node},
		"reportingComponent": "sctp-mesh",
		"reportingInstance":  id.Node,
		"firstTimestamp":     at,
		"lastTimestamp":      at,
		"count":              1,
	}
	return e.client.call(ctx, http.MethodPost, "/api/v1/namespaces/"+url.PathEscape(id.Namespace)+"/events", nil, asJSON, event, nil)
}

// describe a change in an Event's type, reason and message.
func describe(node string, c conclusion.Change) (kind, reason, message string) {
	concerned := map[picture.Scope]string{
		picture.ScopeSCTP:       "SCTP; TCP works",
		picture.ScopeEverything: "SCTP, and TCP too",
	}
	conclusion, scope := cmp.Or(c.To, c.From), cmp.Or(c.Peer.Scope, c.Self.Scope)
	since := c.Peer.Since
	switch conclusion {
	case picture.ConclusionSelf:
		since = c.Self.Since
		reason, message = "NodeFails", fmt.Sprintf("node %s fails towards most of its peers", node)
	case picture.ConclusionNode:
		reason, message = "NodeUnreachableBySCTP", fmt.Sprintf("node %s%s fails, as seen from %s and from others", c.Peer.Node, zone(c.Peer.Zone), node)
	case picture.ConclusionPath:
		reason, message = "PathBroken", fmt.Sprintf("the path from node %s to node %s%s fails", node, c.Peer.Node, zone(c.Peer.Zone))
		if c.Peer.Asked > c.Peer.AlsoFail {
			message += "; others reach that node"
		}
	}
	if what := concerned[scope]; what != "" {
		message += " (" + what + ")"
	}
	message += ", since " + since.UTC().Format(time.RFC3339)
	if c.To == picture.ConclusionNone {
		return "Normal", "SCTPRecovered", "it works again: " + message
	}
	return "Warning", reason, message
}

func zone(name string) string {
	if name == "" {
		return ""
	}
	return " in zone " + name
}
