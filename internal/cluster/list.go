package cluster

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// pageSize is how many objects one request asks for: few enough to keep a page
// of pods at some megabytes, many enough for 20,000 in 40 requests.
const pageSize = 500

// maxContinuations bounds how often an expired list is continued.
const maxContinuations = 3

// List reads a collection page by page, in the order of the server, and calls
// each with each object, which must not be kept: it would keep its page. list is
// the List method of a typed or dynamic client; resource and namespace are for
// errors.
//
// A list that takes longer than etcd keeps its revision (five minutes) expires; it
// is then continued at a newer one, as the server offers: some objects may be seen
// in a later state than others, and none twice.
func List[T, L runtime.Object](ctx context.Context, resource, namespace string, list func(context.Context, metav1.ListOptions) (L, error), opts metav1.ListOptions, each func(T)) error {
	opts.Limit = pageSize
	continuations := 0
	for {
		page, err := list(ctx, opts)
		var status apierrors.APIStatus
		if apierrors.IsResourceExpired(err) && errors.As(err, &status) && status.Status().Continue != "" && continuations < maxContinuations {
			opts.Continue = status.Status().Continue
			continuations++
			continue
		}
		if err != nil {
			return Failed("list", resource, namespace, "", err)
		}
		err = meta.EachListItem(page, func(object runtime.Object) error {
			each(object.(T))
			return nil
		})
		if err != nil {
			return Failed("list", resource, namespace, "", err)
		}
		accessor, err := meta.ListAccessor(page)
		if err != nil {
			return Failed("list", resource, namespace, "", err)
		}
		if opts.Continue = accessor.GetContinue(); opts.Continue == "" {
			return nil
		}
	}
}
