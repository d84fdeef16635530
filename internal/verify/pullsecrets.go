package verify

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
)

// SecretName names a secret.
type SecretName struct{ Namespace, Name string }

func (n SecretName) String() string { return n.Namespace + "/" + n.Name }

// pullSecretsOf are the secrets that a pod's images are pulled with. Those of its
// service account are among them: admission writes them into the pod
// (plugin/pkg/admission/serviceaccount).
func pullSecretsOf(p *corev1.Pod) (out []SecretName) {
	for _, s := range p.Spec.ImagePullSecrets {
		if s.Name != "" { // allowed, and passed over by kubelet
			out = append(out, SecretName{p.Namespace, s.Name})
		}
	}
	return out
}

// readPullSecrets reads what is to be copied: the secrets of the agent's pod, or in
// their place those that were named. Of the former, kubelet skips those that are
// missing (getPullSecretsForPod in kubelet_pods.go) or of a type that it does not
// know; of the latter, each is needed.
func (r *run) readPullSecrets(ctx context.Context, agents []SecretName) error {
	names, named := agents, false
	if len(r.opts.PullSecrets) > 0 {
		names, named = r.opts.PullSecrets, true
	}
	seen := map[string]SecretName{}
	for _, name := range names {
		if other, found := seen[name.Name]; found {
			if other == name {
				continue
			}
			return fmt.Errorf("image pull secrets %s and %s cannot be copied into one namespace: name one of them with --image-pull-secret", other, name)
		}
		seen[name.Name] = name
		s, err := r.c.CoreV1().Secrets(name.Namespace).Get(ctx, name.Name, metav1.GetOptions{})
		err = cluster.Failed("get", "secrets", name.Namespace, name.Name, err)
		problem := ""
		switch {
		case apierrors.IsNotFound(err):
			problem = "is not there"
		case apierrors.IsForbidden(err) && named:
			return fmt.Errorf("read image pull secret %s: %w", name, err)
		case apierrors.IsForbidden(err):
			return fmt.Errorf("read image pull secret %s of the agent's pods: %w: get that right, or name a secret that you may read with --image-pull-secret, or, where nodes need none, the image with --image", name, err)
		case err != nil:
			return fmt.Errorf("read image pull secret %s: %w", name, err)
		case s.Type != corev1.SecretTypeDockerConfigJson && s.Type != corev1.SecretTypeDockercfg:
			problem = fmt.Sprintf("is of type %s, with which no image is pulled", s.Type)
		}
		switch {
		case problem != "" && named:
			return fmt.Errorf("secret %s %s: name another with --image-pull-secret", name, problem)
		case problem != "":
			r.opts.Progress(fmt.Sprintf("image pull secret %s of the agent's pods %s: continuing without it", name, problem))
		default:
			r.pullSecrets = append(r.pullSecrets, copyOf(s))
		}
	}
	return nil
}

// copyOf is a secret without what belongs to its old place.
func copyOf(s *corev1.Secret) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: s.Name, Labels: map[string]string{labelRun: "true"}},
		Type:       s.Type,
		Data:       s.Data,
	}
}
