package nodewriter

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"github.com/sctp-agent/sctp-agent/internal/backoff"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
)

// event is the content of an Event about the Node.
type event struct {
	node    *node
	kind    string // Normal or Warning
	reason  string
	message string
	at      time.Time // when it happened
	due     time.Time // when it is sent
}

// Limits on Events: a flapping node must not fill etcd.
const (
	eventBurst   = 10
	eventRefill  = time.Minute
	eventMessage = 1024
	// Events are the least urgent writes: when all nodes of a cluster change at
	// once, labels come first, and Events follow within this time.
	eventSpread = 30 * time.Second
	// At the end, those on their way and those that wait have so long.
	lastEvents = time.Second
)

// emit hands an Event over, and drops it rather than wait.
func (w *Writer) emit(e event) {
	if !w.cfg.Events || e.node == nil {
		return
	}
	e.at = time.Now()
	e.due = e.at.Add(backoff.Within(eventSpread))
	select {
	case w.events <- e:
	default:
		w.cfg.Log.Warn("too many Events; dropped one", "reason", e.reason)
	}
}

func (w *Writer) sendEvents(ctx context.Context) {
	ending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { backoff.Sleep(ending, lastEvents); cancel() })()
	allowed := rate.NewLimiter(rate.Every(eventRefill), eventBurst)
	for {
		var e event
		select {
		case e = <-w.events:
			backoff.Sleep(ctx, time.Until(e.due))
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			w.sendLastEvents(ending, e)
			return
		}
		if !allowed.Allow() {
			w.cfg.Log.Warn("too many Events; dropped one", "reason", e.reason)
			continue
		}
		// Events are for people, and best effort: one more try, then the
		// log line has to do.
		err := w.client.event(ending, e)
		if err != nil && ctx.Err() == nil {
			again := retries{Backoff: backoff.Backoff{First: 2 * time.Second, Last: 2 * time.Second}}
			backoff.Sleep(ctx, again.after(err))
			err = w.client.event(ctx, e)
		}
		if err != nil && ctx.Err() == nil {
			w.cfg.Log.Warn("an Event could not be created", "reason", e.reason, "error", err.Error())
		}
	}
}

// sendLastEvents sends what is left, from e on, where that needs no wait.
func (w *Writer) sendLastEvents(ctx context.Context, e event) {
	for {
		if e.node != nil {
			_ = w.client.event(ctx, e)
		}
		select {
		case e = <-w.events:
		default:
			return
		}
	}
}

// event creates an Event about the Node, in the namespace "default" as every
// Event about an object without a namespace.
func (c *client) event(ctx context.Context, e event) error {
	at := e.at.UTC().Format(time.RFC3339)
	message := e.message
	if len(message) > eventMessage {
		message = message[:eventMessage]
	}
	body, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Event",
		"metadata": map[string]any{"generateName": c.node + ".", "namespace": "default"},
		"involvedObject": map[string]any{
			"apiVersion": "v1", "kind": "Node", "name": c.node, "uid": e.node.Metadata.UID,
		},
		"type": e.kind, "reason": e.reason, "message": message,
		"source":             map[string]any{"component": nodelabel.FieldManager, "host": c.node},
		"reportingComponent": nodelabel.FieldManager,
		"reportingInstance":  c.node,
		"firstTimestamp":     at,
		"lastTimestamp":      at,
		"count":              1,
	})
	if err != nil {
		return fmt.Errorf("encoding an Event: %w", err)
	}
	if _, err := c.do(ctx, http.MethodPost, "/api/v1/namespaces/default/events", nil, "application/json", "application/json", body); err != nil {
		return fmt.Errorf("creating an Event: %w", err)
	}
	return nil
}
