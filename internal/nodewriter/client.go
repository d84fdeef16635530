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

	"github.com/sctp-agent/sctp-agent/internal/backoff"
	"github.com/sctp-agent/sctp-agent/internal/kubeconn"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
)

// requestTimeout bounds every request; of a watch, the wait for it to begin. An
// API server under load queues requests for up to a minute (API priority and
// fairness); asking again sooner only lengthens the queue.
const requestTimeout = 30 * time.Second

// answerMost bounds what is read of an answer: etcd keeps no object beyond
// 1.5 MiB.
const answerMost = 4 << 20

// The patches of the API server (k8s.io/apimachinery/pkg/types).
const (
	jsonPatch  = "application/json-patch+json"
	mergePatch = "application/merge-patch+json"
	applyPatch = "application/apply-patch+yaml" // of which JSON is a part
)

// client speaks to the API server about one Node. It is little more than HTTP
// with the cluster's credentials: client-go and the types of the API would make
// the program twice as large.
type client struct {
	kubeconn.Conn
	node string
	// status asks for the conditions; without it the server sends the metadata
	// only, a fraction of a Node.
	status bool
}

// path of the Node, or of something below it.
func (c *client) path(below ...string) string {
	return "/api/v1/nodes/" + strings.Join(append([]string{url.PathEscape(c.node)}, below...), "/")
}

// open sends a request and returns the answer's body if it is a good one.
func (c *client) open(ctx context.Context, method, path string, query url.Values, contentType, accept string, body []byte) (io.ReadCloser, error) {
	u := c.Server.JoinPath(path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	return nil, refusalOf(resp)
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
	out, err := c.do(ctx, http.MethodPatch, c.path("status"), query, applyPatch, c.accept(), body)
	return decodeNode("applying to node "+c.node, out, err)
}

// remove keys that an apply does not remove.
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
	out, err := c.do(ctx, http.MethodPatch, c.path("status"), url.Values{"fieldManager": {nodelabel.FieldManager}}, mergePatch, c.accept(), body)
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
	// The server ends a watch after the time asked for; a server that does not, or
	// a connection that died unnoticed, is abandoned a minute later.
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
			refused := new(refusal)
			if err := json.Unmarshal(event.Object, refused); err != nil {
				return fmt.Errorf("%s: decoding an error: %w", doing, err)
			}
			return fmt.Errorf("%s: %w", doing, refused)
		}
	}
}

// unhurried makes a request that needs a new connection wait, once it has it, for
// up to as long again as the connection took. When the agents of a whole cluster
// start in the same instant, the API server does the TLS handshakes of all of them
// first, which takes seconds, and would then get all their requests at once. A
// connection to an idle server takes milliseconds.
func unhurried(ctx context.Context) context.Context {
	began := time.Now()
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(conn httptrace.GotConnInfo) {
		if !conn.Reused {
			backoff.Sleep(ctx, backoff.Within(min(time.Since(began), firstWindow)))
		}
	}})
}
