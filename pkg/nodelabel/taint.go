package nodelabel

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// taint of a Node's spec.
type taint struct {
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
	Effect string `json:"effect"`
	// TimeAdded is kept as it stands: the patch tests for the whole taint.
	TimeAdded string `json:"timeAdded,omitempty"`
}

// untaint removes the startup taint, once for each life of the Node object.
func (w *Writer) untaint(ctx context.Context, n *node) error {
	if w.cfg.StartupTaint == "" || w.untainted == n.Metadata.UID {
		return nil
	}
	removed, err := w.client.untaint(ctx, w.cfg.StartupTaint)
	if err != nil {
		return err
	}
	if removed {
		w.cfg.Log.Info("removed the startup taint", "taint", w.cfg.StartupTaint)
	}
	w.untainted = n.Metadata.UID
	return nil
}

func (c *client) untaint(ctx context.Context, which string) (removed bool, err error) {
	doing := "removing the startup taint from node " + c.node
	body, err := c.do(ctx, http.MethodGet, c.path(), nil, "", "application/json", nil)
	if err != nil {
		return false, fmt.Errorf("%s: %w", doing, err)
	}
	var n struct {
		Spec struct {
			Taints []taint `json:"taints"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(body, &n); err != nil {
		return false, fmt.Errorf("%s: decoding the Node: %w", doing, err)
	}
	key, effect, _ := strings.Cut(which, ":")
	for i, t := range n.Spec.Taints {
		if t.Key != key || effect != "" && t.Effect != effect {
			continue
		}
		// RFC 6902: the test makes the removal fail if the list has changed
		// since it was read.
		path := fmt.Sprintf("/spec/taints/%d", i)
		patch, err := json.Marshal([]map[string]any{
			{"op": "test", "path": path, "value": t},
			{"op": "remove", "path": path},
		})
		if err != nil {
			return false, fmt.Errorf("%s: %w", doing, err)
		}
		_, err = c.do(ctx, http.MethodPatch, c.path(), url.Values{"fieldManager": {FieldManager}}, string(types.JSONPatchType), c.accept(), patch)
		if err != nil {
			return false, fmt.Errorf("%s: %w", doing, err)
		}
		return true, nil
	}
	return false, nil
}
