package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/sctp-agent/sctp-agent/internal/audit"
	api "github.com/sctp-agent/sctp-agent/internal/kubeapi"
)

// nobody is whom the pods run as, where the platform does not say.
const nobody = 65532

// prepare finds the image, what it is pulled with, and what the platform wants of pods.
func (r *run) prepare(ctx context.Context) error {
	r.runner = &runner{image: r.opts.Image, command: cmp.Or(r.opts.Command, DefaultCommand), life: r.opts.Timeout + cleanupTimeout}
	var agents []SecretName
	if r.image == "" {
		err := api.List(ctx, r.c, pods(), api.ListOptions{LabelSelector: audit.AgentSelector}, func(p *api.Pod) {
			if len(p.Spec.Containers) > 0 {
				r.image, agents = p.Spec.Containers[0].Image, pullSecretsOf(p)
			}
		})
		if err != nil {
			return fmt.Errorf("look for the agent's image: %w", err)
		}
	}
	if r.image == "" {
		return errors.New("no agent runs in this cluster, so its image is not known: name it with --image")
	}
	r.result.Image = r.image
	if err := r.readPullSecrets(ctx, agents); err != nil {
		return err
	}
	// OpenShift assigns users itself, and refuses others.
	err := r.c.Get(ctx, api.Resource{GroupVersion: "security.openshift.io/v1", Name: "securitycontextconstraints"}, "", "restricted-v2", nil)
	switch {
	case api.IsNotFound(err):
		r.user = new(int64(nobody))
	case err != nil && !api.IsForbidden(err):
		return err
	}
	return nil
}
