package nodewriter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"

	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
)

// requestTimeout bounds every request; of a watch, the wait for it to begin. An
// API server under load queues requests for up to a minute (API priority and
// fairness); asking again sooner only lengthens the queue.
const requestTimeout = 30 * time.Second

// answerMost bounds what is read of an answer: etcd keeps no object beyond
// 1.5 MiB.
const answerMost = 4 << 20

// client speaks to the API server about one Node. It is little more than HTTP
// with the cluster's credentials: the typed clientset registers every API there
// is, which would more than double the program's size and memory.
type client struct {
	http *http.Client
	base *url.URL
	node string
	// status says that conditions are wanted; without it the server sends
	// the metadata only, a fraction of a Node.
	status bool
}

func newClient(cfg *rest.Config, node string, status bool) (*client, error) {
	cfg = rest.CopyConfig(cfg)
	if cfg.UserAgent == "" {
		cfg.UserAgent = rest.DefaultKubernetesUserAgent()
	}
	if cfg.BearerTokenFile != "" {
		// client-go's own way reads the file again a minute later, whatever
		// the server said; this one also at once after a 401.
		source := transport.NewCachedFileTokenSource(cfg.BearerTokenFile)
		cfg.BearerTokenFile, cfg.BearerToken = "", ""
		cfg.Wrap(transport.ResettableTokenSourceWrapTransport(source))
	}
	h, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("building a client for %s: %w", cfg.Host, err)
	}
	base, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("the API server's address %q: %w", cfg.Host, err)
	}
	return &client{http: h, base: base, node: node, status: status}, nil
}

// path of the Node, or of something below it.
func (c *client) path(below ...string) string {
	return "/api/v1/nodes/" + strings.Join(append([]string{url.PathEscape(c.node)}, below...), "/")
}

// open sends a request and returns the answer's body if it is a good one.
func (c *client) open(ctx context.Context, method, path string, query url.Values, contentType, accept string, body []byte) (io.ReadCloser, error) {
	u := c.base.JoinPath(path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	return nil, refusal(resp, method, c.node)
}

// do sends a request with a deadline and reads the whole answer.
func (c *client) do(ctx context.Context, method, path string, query url.Values, contentType, accept string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := c.open(ctx, method, path, query, contentType, accept, body)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	return io.ReadAll(io.LimitReader(stream, answerMost))
}

// refusal is the Status in an answer, or one made from the code: proxies, and
// the API server when it is overrun, answer with a line of text. How long to
// wait stands in a header.
func refusal(resp *http.Response, method, node string) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	asked, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	var status metav1.Status
	if json.Unmarshal(text, &status) != nil || status.Kind != "Status" {
		return apierrors.NewGenericServerResponse(resp.StatusCode, strings.ToLower(method), schema.GroupResource{Resource: "nodes"}, node, strings.TrimSpace(string(text)), asked, true)
	}
	if status.Code == 0 {
		status.Code = int32(resp.StatusCode)
	}
	if asked > 0 {
		if status.Details == nil {
			status.Details = &metav1.StatusDetails{}
		}
		status.Details.RetryAfterSeconds = max(status.Details.RetryAfterSeconds, int32(min(asked, 3600)))
	}
	return &apierrors.StatusError{ErrStatus: status}
}

func (c *client) accept() string {
	if c.status {
		return "application/json"
	}
	return "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
}

// apply what the agent owns, by server-side apply on nodes/status: the smallest
// grant that carries labels, annotations and a condition, and cannot touch the
// spec.
func (c *client) apply(ctx context.Context, want nodelabel.Metadata, cond *Condition) (*node, error) {
	type metadata struct {
		Name        string            `json:"name"`
		Labels      map[string]string `json:"labels,omitempty"`
		Annotations map[string]string `json:"annotations,omitempty"`
	}
	type status struct {
		Conditions []Condition `json:"conditions"`
	}
	obj := struct {
		APIVersion string   `json:"apiVersion"`
		Kind       string   `json:"kind"`
		Metadata   metadata `json:"metadata"`
		Status     *status  `json:"status,omitempty"`
	}{"v1", "Node", metadata{c.node, want.Labels, want.Annotations}, nil}
	if cond != nil {
		obj.Status = &status{[]Condition{*cond}}
	}
	body, err := json.Marshal(obj)
	if err != nil {
		return nil, fmt.Errorf("encoding node %s: %w", c.node, err)
	}
	// Forced: the agent is the authority on its own keys.
	query := url.Values{"fieldManager": {nodelabel.FieldManager}, "force": {"true"}}
	out, err := c.do(ctx, http.MethodPatch, c.path("status"), query, string(types.ApplyYAMLPatchType), c.accept(), body)
	return decodeNode("applying to node "+c.node, out, err)
}

// remove keys that an apply leaves behind.
func (c *client) remove(ctx context.Context, labels, annotations []string) (*node, error) {
	null := func(keys []string) map[string]any {
		m := map[string]any{}
		for _, k := range keys {
			m[k] = nil
		}
		return m
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": null(labels), "annotations": null(annotations)}})
	if err != nil {
		return nil, fmt.Errorf("encoding node %s: %w", c.node, err)
	}
	out, err := c.do(ctx, http.MethodPatch, c.path("status"), url.Values{"fieldManager": {nodelabel.FieldManager}}, string(types.MergePatchType), c.accept(), body)
	return decodeNode("removing keys from node "+c.node, out, err)
}

func decodeNode(doing string, body []byte, err error) (*node, error) {
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	n := new(node)
	if err := json.Unmarshal(body, n); err != nil {
		return nil, fmt.Errorf("%s: decoding the answer: %w", doing, err)
	}
	if n.Metadata.UID == "" {
		return nil, fmt.Errorf("%s: the answer is no Node", doing)
	}
	return n, nil
}

// watch the Node until the server ends the watch, the connection breaks or ctx
// ends. changed is called with its present state (a watch without a resource
// version begins with that), then with each version, and with nil when the Node
// is deleted.
func (c *client) watch(ctx context.Context, timeout time.Duration, opened func(), changed func(*node)) error {
	// The server ends a watch after the time asked for; a server that does
	// not, or a connection that died unnoticed, is given up a minute later.
	ctx, cancel := context.WithTimeout(ctx, timeout+time.Minute)
	defer cancel()
	doing := "watching node " + c.node
	query := url.Values{
		"watch":          {"true"},
		"fieldSelector":  {"metadata.name=" + c.node},
		"timeoutSeconds": {strconv.Itoa(int(timeout.Seconds()))},
	}
	// Its answer begins at once, as any other, and has no end for long.
	unanswered := time.AfterFunc(requestTimeout, cancel)
	stream, err := c.open(unhurried(ctx), http.MethodGet, "/api/v1/nodes", query, "", c.accept(), nil)
	if !unanswered.Stop() && err != nil {
		err = fmt.Errorf("no answer within %s: %w", requestTimeout, context.DeadlineExceeded)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	defer stream.Close()
	opened()
	for dec := json.NewDecoder(stream); ; {
		var event struct {
			Type   string          `json:"type"`
			Object json.RawMessage `json:"object"`
		}
		if err := dec.Decode(&event); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("%s: %w", doing, err)
		}
		switch event.Type {
		case "ADDED", "MODIFIED":
			n, err := decodeNode(doing, event.Object, nil)
			if err != nil {
				return err
			}
			changed(n)
		case "DELETED":
			changed(nil)
		case "ERROR":
			var status metav1.Status
			if err := json.Unmarshal(event.Object, &status); err != nil {
				return fmt.Errorf("%s: decoding an error: %w", doing, err)
			}
			return fmt.Errorf("%s: %w", doing, &apierrors.StatusError{ErrStatus: status})
		}
	}
}

// unhurried makes a request that needs a new connection wait, once it has it,
// for up to as long again as the connection took. When the agents of a whole
// cluster start in the same instant, the API server shakes hands with all of
// them first, which takes it seconds, and would then have all their requests at
// once. A connection to a server with time takes milliseconds.
func unhurried(ctx context.Context) context.Context {
	began := time.Now()
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(conn httptrace.GotConnInfo) {
		if !conn.Reused {
			sleep(ctx, within(min(time.Since(began), firstWindow)))
		}
	}})
}

// Outcome classifies what came of a write, for metrics.
type Outcome string

const (
	// Applied: the Node was changed.
	Applied Outcome = "applied"
	// PutBack: the Node was changed back after somebody else's edit.
	PutBack Outcome = "put-back"
	// Conflict: somebody else wrote at the same time (409).
	Conflict Outcome = "conflict"
	// Throttled: the API server asked for patience (429).
	Throttled Outcome = "throttled"
	// Unauthorized: the token was refused (401).
	Unauthorized Outcome = "unauthorized"
	// Forbidden: RBAC or an admission policy refused (403, 422).
	Forbidden Outcome = "forbidden"
	// NodeMissing: there is no such Node (404).
	NodeMissing Outcome = "node-missing"
	// ServerError: the API server failed (5xx).
	ServerError Outcome = "server-error"
	// Unreachable: no answer at all, or not in time.
	Unreachable Outcome = "unreachable"
)

// Outcomes lists every outcome.
func Outcomes() []Outcome {
	return []Outcome{Applied, PutBack, Conflict, Throttled, Unauthorized, Forbidden, NodeMissing, ServerError, Unreachable}
}

func classify(err error) Outcome {
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return Applied
	case apierrors.IsTooManyRequests(err):
		return Throttled
	case apierrors.IsUnauthorized(err):
		return Unauthorized
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err):
		return Forbidden
	case apierrors.IsNotFound(err):
		return NodeMissing
	case apierrors.IsConflict(err):
		return Conflict
	case errors.As(err, &status):
		return ServerError
	default:
		return Unreachable
	}
}

// askedDelay is how long the server asked to be left alone (Retry-After).
func askedDelay(err error) time.Duration {
	if s, ok := apierrors.SuggestsClientDelay(err); ok {
		return time.Duration(s) * time.Second
	}
	return 0
}
