package verify

import (
	"context"
	"time"
)

// policyPatience is how long a network plugin may take to enforce a policy.
const policyPatience = 20 * time.Second

// tryPolicy creates the NetworkPolicy and tries a port that it allows and one
// that it does not, where both were reached before.
func (r *run) tryPolicy(ctx context.Context) error {
	if !r.opts.Policy {
		return nil
	}
	direct, before := r.result.reached(PathPod), r.result.reached(PathBefore)
	var paths []planned
	all := r.ordered()
	for _, from := range all {
		to := next(all, from)
		for _, a := range to.PodAddresses {
			if !direct.has(from, to, a) || !before.has(from, to, a) {
				continue
			}
			allowed := newPath(PathAllowed, from, to, a, EchoPort, policyPatience)
			denied := newPath(PathDenied, from, to, a, DeniedPort, policyPatience)
			denied.target.Beside = allowed.Address
			paths = append(paths, allowed, denied)
		}
	}
	if len(paths) == 0 {
		return nil
	}
	r.opts.Progress("NetworkPolicy: allowing one SCTP port")
	if _, err := create(ctx, r, r.c.NetworkingV1().NetworkPolicies(r.namespace), "networkpolicies.networking.k8s.io", policy()); err != nil {
		return err
	}
	return r.dial(ctx, paths)
}
