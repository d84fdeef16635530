package verify

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
)

// object is one that can be created.
type object[T any] interface {
	*T
	metav1.Object
}

// collection is what a typed client offers for objects of a kind.
type collection[P any] interface {
	Create(context.Context, P, metav1.CreateOptions) (P, error)
	Get(context.Context, string, metav1.GetOptions) (P, error)
}

// create creates an object, and returns it as it was stored. The creation is
// repeated when its answer is lost: the object may then exist, and is this run's
// own, as its namespace is.
func create[T any, P object[T]](ctx context.Context, r *run, c collection[P], resource string, want P) (P, error) {
	var stored P
	var lost error
	_ = wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		made, err := c.Create(ctx, want, metav1.CreateOptions{})
		if lost != nil && apierrors.IsAlreadyExists(err) {
			made, err = c.Get(ctx, want.GetName(), metav1.GetOptions{})
		}
		err = cluster.Failed("create", resource, "", want.GetName(), err)
		if err == nil || isRefused(err) {
			stored, lost = made, err
			return true, nil
		}
		if lost == nil {
			r.opts.Progress(err.Error() + "; trying again")
		}
		// That time is over explains less than what used it up.
		if lost == nil || ctx.Err() == nil {
			lost = err
		}
		return false, nil
	})
	return stored, lost
}
