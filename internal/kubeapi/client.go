// Package api is the little of a Kubernetes client that the administrator's
// commands need: paged lists, and single objects by path. It decodes the plain
// types of k8s.io/api from JSON and registers no scheme, which keeps the
// program less than half the size that a typed clientset makes it.
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// Client talks to one API server.
type Client struct {
	http *http.Client
	base *url.URL
}

// RequestTimeout bounds one request, however patient the caller's context is.
const RequestTimeout = 60 * time.Second

// New makes a client from a configuration. Its rate limits are not used: these
// commands send few requests, and large ones.
func New(cfg *rest.Config) (*Client, error) {
	cfg = rest.CopyConfig(cfg)
	if cfg.UserAgent == "" {
		cfg.UserAgent = rest.DefaultKubernetesUserAgent()
	}
	httpClient, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("set up the connection to the API server: %w", err)
	}
	base, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("the API server's address %q: %w", cfg.Host, err)
	}
	return &Client{http: httpClient, base: base}, nil
}

// Resource names a collection: an API group and version, and a plural.
type Resource struct {
	// GroupVersion is "v1" or "GROUP/VERSION".
	GroupVersion string
	// Name is the plural, as in RBAC rules.
	Name string
}

// path of the collection, or of an object in it; namespace and name may be "".
// Without a plural it is that of the group and version.
func (r Resource) path(namespace, name string) string {
	p := "/apis/" + r.GroupVersion
	if !strings.Contains(r.GroupVersion, "/") {
		p = "/api/" + r.GroupVersion
	}
	if namespace != "" {
		p += "/namespaces/" + url.PathEscape(namespace)
	}
	if r.Name != "" {
		p += "/" + r.Name
	}
	if name != "" {
		p += "/" + url.PathEscape(name)
	}
	return p
}

// group is the API group as RBAC names it.
func (r Resource) group() string {
	group, _, found := strings.Cut(r.GroupVersion, "/")
	if !found {
		return ""
	}
	return group
}

// Error is a request that the API server did not grant. It names the object
// and the right that was wanted.
type Error struct {
	Verb     string
	Resource Resource
	// Subresource, as "status", is a right of its own.
	Subresource string
	Namespace   string
	Name        string
	// Code is the HTTP status, 0 when there was no answer.
	Code int
	// Reason and Message are the server's (metav1.Status).
	Reason  metav1.StatusReason
	Message string
	// Continue is the token with which an expired list may be continued.
	Continue string
	Err      error
}

func (e *Error) Error() string {
	object := e.Resource.Name
	if group := e.Resource.group(); group != "" {
		object += "." + group
	}
	if e.Name != "" {
		object += "/" + e.Name
	}
	if e.Namespace != "" {
		object += " in namespace " + e.Namespace
	}
	switch {
	case e.Err != nil:
		return fmt.Sprintf("%s %s: %v", e.Verb, object, e.Err)
	case e.Code == http.StatusForbidden && strings.Contains(e.Message, "forbidden: ") && !strings.Contains(e.Message, " cannot "):
		// Admission refuses with the same code (Pod Security, quotas), in
		// words of its own; an authorizer's are "User x cannot list …".
		return fmt.Sprintf("%s %s: refused: %s", e.Verb, object, e.Message)
	case e.Code == http.StatusForbidden:
		right := e.Resource.Name
		if e.Subresource != "" {
			right += "/" + e.Subresource
		}
		return fmt.Sprintf("%s %s: forbidden: the right to %s %s is missing (%s)", e.Verb, object, e.Verb, right, e.Message)
	case e.Code == http.StatusUnauthorized:
		return fmt.Sprintf("%s %s: the API server does not accept these credentials", e.Verb, object)
	default:
		return fmt.Sprintf("%s %s: %s (HTTP %d)", e.Verb, object, e.Message, e.Code)
	}
}

func (e *Error) Unwrap() error { return e.Err }

// IsForbidden says that a right is missing.
func IsForbidden(err error) bool { return hasCode(err, http.StatusForbidden) }

// IsNotFound says that the object, or its whole API, is not there.
func IsNotFound(err error) bool { return hasCode(err, http.StatusNotFound) }

// IsConflict says that the object exists already, or has changed.
func IsConflict(err error) bool { return hasCode(err, http.StatusConflict) }

func hasCode(err error, code int) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}

// ListOptions narrow a list.
type ListOptions struct {
	Namespace     string
	LabelSelector string
	FieldSelector string
}

// PageSize is how many objects one request asks for: few enough to keep a page
// of pods at some megabytes, many enough for 20,000 in 40 requests.
const PageSize = 500

// maxRestarts bounds how often an expired list is begun anew.
const maxRestarts = 3

// List reads a collection page by page, in the order of the server, and calls
// each with each object. The pointer is not kept.
//
// A list that takes longer than etcd keeps its revision (five minutes) expires;
// it is then continued at a newer one, as the server offers: an object may
// then be seen as it is later than others, and none is seen twice.
func List[T any](ctx context.Context, c *Client, r Resource, opts ListOptions, each func(*T)) error {
	token, restarts := "", 0
	for {
		query := url.Values{"limit": {strconv.Itoa(PageSize)}}
		if token != "" {
			query.Set("continue", token)
		}
		if opts.LabelSelector != "" {
			query.Set("labelSelector", opts.LabelSelector)
		}
		if opts.FieldSelector != "" {
			query.Set("fieldSelector", opts.FieldSelector)
		}
		body, err := c.do(ctx, "list", http.MethodGet, r, opts.Namespace, "", "", query, "", nil)
		var refused *Error
		if errors.As(err, &refused) && refused.Code == http.StatusGone && refused.Continue != "" && restarts < maxRestarts {
			token = refused.Continue
			restarts++
			continue
		}
		if err != nil {
			return err
		}
		var page struct {
			Metadata struct {
				Continue string `json:"continue"`
			} `json:"metadata"`
			Items []T `json:"items"`
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return &Error{Verb: "list", Resource: r, Namespace: opts.Namespace, Err: fmt.Errorf("decode the answer: %w", err)}
		}
		for i := range page.Items {
			each(&page.Items[i])
		}
		token = page.Metadata.Continue
		if token == "" {
			return nil
		}
	}
}

// Get reads one object into out.
func (c *Client) Get(ctx context.Context, r Resource, namespace, name string, out any) error {
	return c.object(ctx, "get", http.MethodGet, r, namespace, name, "", nil, "", nil, out)
}

// Serves says whether the API server has a group and version. Everybody may ask
// (ClusterRole system:discovery); who may not list a collection gets 403, whether
// it exists or not.
func (c *Client) Serves(ctx context.Context, groupVersion string) (bool, error) {
	err := c.Get(ctx, Resource{GroupVersion: groupVersion}, "", "", nil)
	if IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// Create creates an object; out, if not nil, gets it as it was stored.
func (c *Client) Create(ctx context.Context, r Resource, namespace string, object, out any) error {
	body, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("encode %s: %w", r.Name, err)
	}
	return c.object(ctx, "create", http.MethodPost, r, namespace, "", "", nil, "application/json", body, out)
}

// PatchType is a media type of a patch.
type PatchType string

const (
	MergePatch PatchType = "application/merge-patch+json"
	JSONPatch  PatchType = "application/json-patch+json"
)

// PatchOptions of a patch. Subresource may be "".
type PatchOptions struct {
	Type         PatchType
	Subresource  string
	DryRun       bool
	FieldManager string
}

// Patch patches an object; out, if not nil, gets the result.
func (c *Client) Patch(ctx context.Context, r Resource, namespace, name string, patch []byte, opts PatchOptions, out any) error {
	query := url.Values{}
	if opts.DryRun {
		query.Set("dryRun", "All")
	}
	if opts.FieldManager != "" {
		query.Set("fieldManager", opts.FieldManager)
	}
	return c.object(ctx, "patch", http.MethodPatch, r, namespace, name, opts.Subresource, query, string(opts.Type), patch, out)
}

// Delete deletes an object. One that is not there is no error.
func (c *Client) Delete(ctx context.Context, r Resource, namespace, name string) error {
	err := c.object(ctx, "delete", http.MethodDelete, r, namespace, name, "", nil, "", nil, nil)
	if IsNotFound(err) {
		return nil
	}
	return err
}

// DeleteAll deletes all objects of a kind in a namespace.
func (c *Client) DeleteAll(ctx context.Context, r Resource, namespace string) error {
	return c.object(ctx, "deletecollection", http.MethodDelete, r, namespace, "", "", nil, "", nil, nil)
}

func (c *Client) object(ctx context.Context, verb, method string, r Resource, namespace, name, subresource string, query url.Values, contentType string, body []byte, out any) error {
	answer, err := c.do(ctx, verb, method, r, namespace, name, subresource, query, contentType, body)
	if err != nil {
		return err
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return &Error{Verb: verb, Resource: r, Namespace: namespace, Name: name, Err: fmt.Errorf("decode the answer: %w", err)}
	}
	return nil
}

// Attempts at one request when the server asks to come back later (429, 503),
// and the longest wait between two.
const (
	maxAttempts = 5
	maxWait     = 10 * time.Second
)

func (c *Client) do(ctx context.Context, verb, method string, r Resource, namespace, name, subresource string, query url.Values, contentType string, body []byte) ([]byte, error) {
	failed := &Error{Verb: verb, Resource: r, Subresource: subresource, Namespace: namespace, Name: name}
	p := r.path(namespace, name)
	if subresource != "" {
		p += "/" + subresource
	}
	u := c.base.JoinPath(p) // keeps what is escaped
	u.RawQuery = query.Encode()
	for attempt := 1; ; attempt++ {
		answer, wait, err := c.once(ctx, method, u.String(), contentType, body, failed)
		if err == nil || wait == 0 || attempt == maxAttempts {
			return answer, err
		}
		select {
		case <-time.After(min(wait, maxWait)):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// once sends one request. wait is not zero when it is worth sending again.
func (c *Client) once(ctx context.Context, method, address, contentType string, body []byte, failed *Error) (answer []byte, wait time.Duration, _ error) {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	fail := func(err error) error {
		e := *failed
		e.Err = err
		return &e
	}
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, 0, fail(err)
	}
	request.Header.Set("Accept", "application/json")
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := c.http.Do(request)
	if err != nil {
		// The address and its query say nothing to a reader.
		var withURL *url.Error
		if errors.As(err, &withURL) {
			err = withURL.Err
		}
		return nil, 0, fail(fmt.Errorf("no answer from the API server at %s: %w", c.base.Host, err))
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	if err != nil {
		return nil, 0, fail(fmt.Errorf("read the answer: %w", err))
	}
	if response.StatusCode < 300 {
		return answer, 0, nil
	}
	e := *failed
	e.Code = response.StatusCode
	var status metav1.Status
	if json.Unmarshal(answer, &status) == nil && status.Kind == "Status" {
		e.Reason, e.Message, e.Continue = status.Reason, status.Message, status.Continue
	} else {
		e.Message = http.StatusText(response.StatusCode)
	}
	if response.StatusCode == http.StatusTooManyRequests || response.StatusCode == http.StatusServiceUnavailable {
		wait = time.Second
		if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
			wait = time.Duration(seconds) * time.Second
		}
	}
	return nil, wait, &e
}
