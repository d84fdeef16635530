package nodewriter

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"

	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
)

// taint of a Node's spec.
type taint struct {
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
	Effect string `json:"effect"`
	// TimeAdded is kept as text: the patch tests for the whole taint.
	TimeAdded string `json:"timeAdded,omitempty"`
}

// untaint removes the startup taint, with every effect unless one is named, once
// for each life of the Node object.
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
	var patch []map[string]any
	// From the end: what is removed moves what comes after it.
	for i, t := range slices.Backward(n.Spec.Taints) {
		if t.Key != key || effect != "" && t.Effect != effect {
			continue
		}
		// RFC 6902: the test makes the removal fail if the list has changed
		// since it was read.
		path := fmt.Sprintf("/spec/taints/%d", i)
		patch = append(patch,
			map[string]any{"op": "test", "path": path, "value": t},
			map[string]any{"op": "remove", "path": path})
	}
	if len(patch) == 0 {
		return false, nil
	}
	body, err = json.Marshal(patch)
	if err != nil {
		return false, fmt.Errorf("%s: %w", doing, err)
	}
	_, err = c.do(ctx, http.MethodPatch, c.path(), url.Values{"fieldManager": {nodelabel.FieldManager}}, jsonPatch, c.accept(), body)
	if err != nil {
		return false, fmt.Errorf("%s: %w", doing, err)
	}
	return true, nil
}

// checkTaint refuses what no taint can be like, and so would never be removed.
func checkTaint(which string) error {
	key, effect, narrowed := strings.Cut(which, ":")
	if errs := content.IsLabelKey(key); len(errs) > 0 {
		return fmt.Errorf("startup taint %q: want \"key\" or \"key:effect\": %s", which, errs[0])
	}
	if narrowed && !slices.Contains([]string{"NoSchedule", "PreferNoSchedule", "NoExecute"}, effect) {
		return fmt.Errorf("startup taint %q: want the effect NoSchedule, PreferNoSchedule or NoExecute", which)
	}
	return nil
}
