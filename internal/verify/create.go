package verify

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	lost := false
	err := r.untilAnswered(ctx, func(ctx context.Context) (err error) {
		stored, err = c.Create(ctx, want, metav1.CreateOptions{})
		if lost && apierrors.IsAlreadyExists(err) {
			stored, err = c.Get(ctx, want.GetName(), metav1.GetOptions{})
		}
		lost = err != nil
		return cluster.Failed("create", resource, "", want.GetName(), err)
	})
	return stored, err
}
