package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sctp-agent/sctp-agent/internal/audit"
	"github.com/sctp-agent/sctp-agent/internal/cluster"
)

// nobody is the user of the pods, where the platform does not assign one.
const nobody = 65532

// openShift is the API group and version whose presence makes a cluster one that
// assigns users itself, and refuses others.
const openShift = "security.openshift.io/v1"

// prepare finds the image, what it is pulled with, and what the platform wants of pods.
func (r *run) prepare(ctx context.Context) error {
	r.runner = &runner{image: r.opts.Image, command: cmp.Or(r.opts.Command, DefaultCommand), life: r.opts.Timeout + cleanupTimeout}
	var agents []SecretName
	if r.image == "" {
		pod, err := r.agentPod(ctx)
		if err != nil {
			return fmt.Errorf("look for the agent's image: %w", err)
		}
		r.image, agents = audit.AgentContainer(pod).Image, pullSecretsOf(pod)
	}
	r.result.Image = r.image
	if err := r.readPullSecrets(ctx, agents); err != nil {
		return err
	}
	// Everybody may ask for what an API server serves (ClusterRole
	// system:discovery).
	switch err := r.c.Discovery().RESTClient().Get().AbsPath("/apis/" + openShift).Do(ctx).Error(); {
	case apierrors.IsNotFound(err):
		r.user = new(int64(nobody))
	case err != nil && !apierrors.IsForbidden(err):
		return fmt.Errorf("check whether the API server has %s: %w", openShift, err)
	}
	return nil
}

// agentPod is the pod whose image counts as that of all agents: of those that are
// not being deleted, one that is ready, of the newest generation of its DaemonSet.
func (r *run) agentPod(ctx context.Context) (*corev1.Pod, error) {
	var best *corev1.Pod
	err := cluster.List(ctx, "pods", "", r.c.CoreV1().Pods("").List, metav1.ListOptions{LabelSelector: audit.AgentSelector}, func(p *corev1.Pod) {
		if p.DeletionTimestamp == nil && audit.AgentContainer(p) != nil && (best == nil || preferred(p, best) > 0) {
			best = p.DeepCopy()
		}
	})
	if err == nil && best == nil {
		err = errors.New("no agent runs in this cluster: name an image with --image")
	}
	return best, err
}

// preferred compares two pods by how well they represent the agent as it is
// deployed now.
func preferred(a, b *corev1.Pod) int {
	yes := func(is bool) int {
		if is {
			return 1
		}
		return 0
	}
	// The DaemonSet controller counts its template's changes in this label
	// (pkg/controller/daemon/util, CreatePodTemplate).
	generation := func(p *corev1.Pod) int {
		n, _ := strconv.Atoi(p.Labels["pod-template-generation"])
		return n
	}
	return cmp.Or(
		cmp.Compare(yes(audit.IsAgent(a)), yes(audit.IsAgent(b))), // anybody can set the labels
		cmp.Compare(yes(isReady(a)), yes(isReady(b))),
		cmp.Compare(generation(a), generation(b)),
		a.CreationTimestamp.Compare(b.CreationTimestamp.Time),
	)
}
