package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	api "github.com/sctp-agent/sctp-agent/internal/kubeapi"
)

// cleanupTimeout bounds taking everything away again: kubelets end pods in
// seconds, and in minutes where a node is behind. cleanupWord is how often it is
// said meanwhile what is waited for.
const (
	cleanupTimeout = 3 * time.Minute
	cleanupWord    = 15 * time.Second
)

// Sweep deletes the namespaces of runs that were cut off and whose time is over.
func Sweep(ctx context.Context, c *api.Client, progress func(string)) error {
	var old []string
	err := api.List(ctx, c, namespaces(), api.ListOptions{LabelSelector: labelRun}, func(n *api.Namespace) {
		until, err := time.Parse(time.RFC3339, n.Annotations[annotationUntil])
		if err == nil && time.Now().After(until) && n.DeletionTimestamp == nil {
			old = append(old, n.Name)
		}
	})
	if err != nil {
		return fmt.Errorf("look for what an earlier run left: %w", err)
	}
	for _, name := range old {
		progress("deleting namespace " + name + ", left by an earlier run")
		if err := c.Delete(ctx, namespaces(), "", name); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes the namespace and waits until it is gone.
func (r *run) remove(ctx context.Context) error {
	r.opts.Progress("deleting namespace " + r.namespace)
	waiting := ""
	failed := func(err error) error {
		return fmt.Errorf("namespace %s is left behind (the next run deletes it after its time): %w%s", r.namespace, err, waiting)
	}
	// The namespace controller begins five seconds after it has heard
	// (namespaceDeletionGracePeriod). Pods take longest to end, so they may
	// begin now. It is no matter if that is refused.
	_ = r.c.DeleteAll(ctx, pods(), r.namespace)
	said := time.Now()
	for {
		err := r.c.Delete(ctx, namespaces(), "", r.namespace)
		if err == nil {
			err = r.c.Get(ctx, namespaces(), "", r.namespace, nil)
			if api.IsNotFound(err) {
				return nil
			}
			if err == nil {
				err = errors.New("it is still being deleted")
			}
		}
		// It answers 409 while it is being deleted.
		if api.IsForbidden(err) {
			return failed(err)
		}
		if time.Since(said) > cleanupWord {
			said = time.Now()
			waiting = r.remaining(ctx)
			r.opts.Progress(err.Error() + waiting)
		}
		select {
		case <-ctx.Done():
			return failed(err)
		case <-time.After(pollInterval):
		}
	}
}

// remaining are the pods that are there still, and their nodes: a namespace goes
// when they have.
func (r *run) remaining(ctx context.Context) string {
	var list []string
	err := api.List(ctx, r.c, pods(), api.ListOptions{Namespace: r.namespace}, func(p *api.Pod) {
		list = append(list, p.Name+" on node "+p.Spec.NodeName)
	})
	if err != nil || len(list) == 0 {
		return ""
	}
	const most = 5
	if more := len(list) - most; more > 0 {
		list = append(list[:most], fmt.Sprintf("%d more", more))
	}
	return ", pods are still ending: " + strings.Join(list, ", ")
}
