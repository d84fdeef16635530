package dump

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// Config is for a client whose requests the files answer.
func (d *Dump) Config() *rest.Config {
	return &rest.Config{Host: "http://files.invalid", Transport: d}
}

// RoundTrip answers one request as an API server would: lists and objects that
// the files hold, and an error for everything else.
func (d *Dump) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	body, code := d.answer(r)
	return &http.Response{
		StatusCode: code, Status: http.StatusText(code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": []string{"application/json"}},
		Body:   io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}, nil
}

// request is the address of objects, as the API server has it:
// /api/VERSION/… or /apis/GROUP/VERSION/…, then [namespaces/NAMESPACE/]RESOURCE[/NAME].
type request struct {
	resource        schema.GroupVersionResource
	namespace, name string
}

func parse(path string) (q request, ok bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case len(parts) >= 3 && parts[0] == "api":
		q.resource.Version, parts = parts[1], parts[2:]
	case len(parts) >= 4 && parts[0] == "apis":
		q.resource.Group, q.resource.Version, parts = parts[1], parts[2], parts[3:]
	default:
		return q, false
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		q.namespace, parts = parts[1], parts[2:]
	}
	q.resource.Resource = parts[0]
	if len(parts) == 2 {
		q.name = parts[1]
	}
	return q, len(parts) <= 2
}

func (d *Dump) answer(r *http.Request) (body []byte, code int) {
	q, ok := parse(r.URL.Path)
	if !ok || r.Method != http.MethodGet {
		return failure(http.StatusNotFound, metav1.StatusReasonNotFound, "files answer lists and gets only")
	}
	resource := q.resource.GroupResource()
	if resource.Group == machineConfigs && d.coverage[resource] == nil && !d.openShift {
		return failure(http.StatusNotFound, metav1.StatusReasonNotFound, "the server could not find the requested resource")
	}
	if q.name != "" {
		if o := d.objects[resource][q.namespace+"/"+q.name]; o != nil {
			text, err := d.shelves[resource].opener()(o.packed)
			if err != nil {
				return failure(http.StatusInternalServerError, metav1.StatusReasonInternalError, err.Error())
			}
			return text, http.StatusOK
		}
		c := d.coverage[resource]
		if seen := c != nil && c.covers(q.namespace); resource.Resource == "namespaces" && (seen || d.whole()) && !d.names(q.name) || seen && resource.Resource != "namespaces" {
			return failure(http.StatusNotFound, metav1.StatusReasonNotFound, fmt.Sprintf("%s %q not found", resource, q.name))
		}
		return unseen(resource, q.namespace)
	}
	if !d.has(resource, q.namespace) {
		return unseen(resource, q.namespace)
	}
	return d.list(r, q)
}

// unseen is the answer about what the files do not hold. It is not a server's
// answer, so it has no code.
func unseen(resource schema.GroupResource, namespace string) (body []byte, code int) {
	of := " -A"
	if namespace != "" {
		of = " -n " + namespace
	}
	if resource.Resource == "nodes" || resource.Group == machineConfigs {
		of = ""
	}
	return failure(0, "NotInFiles", fmt.Sprintf("not in the files (kubectl get %s%s -o yaml)", resource, of))
}

func failure(code int, reason metav1.StatusReason, message string) (body []byte, status int) {
	body, _ = json.Marshal(metav1.Status{ // it has no field that cannot be written
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Reason: reason, Message: message, Code: int32(code),
	})
	if code == 0 {
		return body, http.StatusNotImplemented
	}
	return body, code
}

// has reports whether the files have the objects of a namespace; "" is any.
func (d *Dump) has(resource schema.GroupResource, namespace string) bool {
	c := d.coverage[resource]
	return c != nil && (namespace == "" || c.covers(namespace) || c.some[namespace])
}

// whole reports whether the files have the workloads of all namespaces.
func (d *Dump) whole() bool {
	return slices.ContainsFunc(workloads, func(resource schema.GroupResource) bool {
		return d.coverage[resource] != nil && d.coverage[resource].all
	})
}

// names reports whether an object of the files is in a namespace.
func (d *Dump) names(namespace string) bool {
	for _, list := range d.sorted {
		if slices.ContainsFunc(list, func(o *object) bool { return o.namespace == namespace }) {
			return true
		}
	}
	return false
}

const machineConfigs = "machineconfiguration.openshift.io"

func (d *Dump) list(r *http.Request, q request) (body []byte, code int) {
	query := r.URL.Query()
	selector, err := labels.Parse(query.Get("labelSelector"))
	var field fields.Selector
	if err == nil {
		field, err = fields.ParseSelector(query.Get("fieldSelector"))
	}
	if err != nil {
		return failure(http.StatusBadRequest, metav1.StatusReasonBadRequest, err.Error())
	}
	first, _ := strconv.Atoi(query.Get("continue"))
	limit, _ := strconv.Atoi(query.Get("limit"))
	all := d.sorted[q.resource.GroupResource()]
	items, next, at := []json.RawMessage{}, "", max(first, 0)
	var open func([]byte) ([]byte, error)
	if len(all) > 0 {
		open = d.shelves[q.resource.GroupResource()].opener()
	}
	for ; at < len(all); at++ {
		o := all[at]
		if q.namespace != "" && o.namespace != q.namespace || !field.Empty() && !field.Matches(fields.Set{"metadata.name": o.name, "metadata.namespace": o.namespace}) {
			continue
		}
		text, err := open(o.packed)
		if err != nil {
			return failure(http.StatusInternalServerError, metav1.StatusReasonInternalError, err.Error())
		}
		if !selected(text, selector) {
			continue
		}
		if limit > 0 && len(items) == limit {
			next = strconv.Itoa(at)
			break
		}
		items = append(items, text)
	}
	version := q.resource.GroupVersion().String()
	body, err = json.Marshal(map[string]any{
		"apiVersion": version, "kind": kindOf(q.resource.GroupVersion(), q.resource.Resource) + "List", "metadata": map[string]any{"continue": next, "resourceVersion": "1"}, "items": items,
	})
	if err != nil {
		return failure(http.StatusInternalServerError, metav1.StatusReasonInternalError, err.Error())
	}
	return body, http.StatusOK
}

// kindOf is the kind of a requested resource.
func kindOf(group schema.GroupVersion, resource string) string {
	i := slices.IndexFunc(kinds, func(kind string) bool {
		plural, _ := meta.UnsafeGuessKindToResource(group.WithKind(kind))
		return plural.Resource == resource
	})
	if i < 0 {
		return ""
	}
	return kinds[i]
}

func selected(text []byte, selector labels.Selector) bool {
	if selector.Empty() {
		return true
	}
	var head struct {
		Metadata metav1.ObjectMeta `json:"metadata"`
	}
	return json.Unmarshal(text, &head) == nil && selector.Matches(labels.Set(head.Metadata.Labels))
}
