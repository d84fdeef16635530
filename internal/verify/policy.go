package verify

import (
	"context"
	"net"
	"strconv"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
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
			pair := [3]string{from.Name, to.Name, family(a)}
			if !direct[pair] || !before[pair] {
				continue
			}
			allowed := net.JoinHostPort(a, strconv.Itoa(EchoPort))
			denied := net.JoinHostPort(a, strconv.Itoa(DeniedPort))
			patience := wire.Millis(policyPatience.Milliseconds())
			path := Path{Kind: PathAllowed, From: from.Name, To: to.Name, Family: family(a), Address: allowed}
			paths = append(paths, planned{Path: path, target: wire.Target{Address: allowed, Patience: patience}})
			path.Kind, path.Address = PathDenied, denied
			paths = append(paths, planned{Path: path, target: wire.Target{Address: denied, Patience: patience, Beside: allowed}})
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
