package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
)

// cleanupTimeout bounds taking everything away again: kubelets end pods in
// seconds, and in minutes where a node is overloaded. progressInterval is how
// often is reported what is waited for.
const (
	cleanupTimeout   = 3 * time.Minute
	progressInterval = 15 * time.Second
)

// sweep deletes the namespaces of runs that were cut off and whose time is over.
func sweep(ctx context.Context, c kubernetes.Interface, progress func(string)) error {
	var old []string
	err := cluster.List(ctx, "namespaces", "", c.CoreV1().Namespaces().List, metav1.ListOptions{LabelSelector: labelRun}, func(n *corev1.Namespace) {
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
		if err := c.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return cluster.Failed("delete", "namespaces", "", name, err)
		}
	}
	return nil
}

// remove deletes the namespace and waits until it is gone.
func (r *run) remove(ctx context.Context) error {
	r.opts.Progress("deleting namespace " + r.namespace)
	// The namespace controller begins five seconds after the request
	// (namespaceDeletionGracePeriod). Pods take longest to end, so they are deleted
	// now. A refusal is ignored.
	_ = r.c.CoreV1().Pods(r.namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
	said, waiting := time.Now(), ""
	var last error
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		err := r.c.CoreV1().Namespaces().Delete(ctx, r.namespace, metav1.DeleteOptions{})
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		last = cluster.Failed("delete", "namespaces", "", r.namespace, err)
		if apierrors.IsForbidden(err) {
			return false, last
		}
		if err == nil || apierrors.IsConflict(err) {
			last = errors.New("it is still being deleted")
		}
		if time.Since(said) > progressInterval {
			said = time.Now()
			waiting = r.remaining(ctx)
			r.opts.Progress(last.Error() + waiting)
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("namespace %s was not deleted (the next run deletes it when its time is over): %w%s", r.namespace, last, waiting)
	}
	return nil
}

// remaining are the pods that are there still, and their nodes: a namespace goes
// when they have.
func (r *run) remaining(ctx context.Context) string {
	var list []string
	err := cluster.List(ctx, "pods", r.namespace, r.c.CoreV1().Pods(r.namespace).List, metav1.ListOptions{}, func(p *corev1.Pod) {
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
