package nodewriter

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// refusal is an answer of the API server that is not a good one
// (k8s.io/apimachinery/pkg/apis/meta/v1, Status).
type refusal struct {
	Kind    string `json:"kind"`
	Code    int    `json:"code"`
	Message string `json:"message"`
	Details struct {
		RetryAfterSeconds int `json:"retryAfterSeconds"`
	} `json:"details"`
}

func (r *refusal) Error() string {
	return fmt.Sprintf("%s (HTTP %d)", r.Message, r.Code)
}

// refusalOf is the Status in an answer, or one made from the code: proxies, and an
// overloaded API server, answer with a line of text. How long to wait is in a
// header.
func refusalOf(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	r := new(refusal)
	if json.Unmarshal(text, r) != nil || r.Kind != "Status" {
		*r = refusal{Message: strings.TrimSpace(string(text))}
	}
	if r.Message == "" {
		r.Message = "refused with " + http.StatusText(resp.StatusCode)
	}
	// The code in the Status may be of another server.
	r.Code = resp.StatusCode
	if asked, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && asked > 0 {
		r.Details.RetryAfterSeconds = max(r.Details.RetryAfterSeconds, min(asked, 3600))
	}
	return r
}

// Outcome classifies what came of a write, for metrics.
type Outcome string

const (
	// Applied: the Node was changed.
	Applied Outcome = "applied"
	// PutBack: another writer's edit was reverted.
	PutBack Outcome = "put-back"
	// Conflict: another writer wrote at the same time (409).
	Conflict Outcome = "conflict"
	// Throttled: the API server asked to wait (429).
	Throttled Outcome = "throttled"
	// Unauthorized: the token was refused (401).
	Unauthorized Outcome = "unauthorized"
	// Forbidden: RBAC or an admission policy refused (403, 422).
	Forbidden Outcome = "forbidden"
	// NotReady: refused, as an API server does that has just started (403), and
	// not often enough yet to be Forbidden.
	NotReady Outcome = "not-ready"
	// NodeMissing: there is no such Node (404).
	NodeMissing Outcome = "node-missing"
	// ServerError: the API server failed (5xx).
	ServerError Outcome = "server-error"
	// Unreachable: no answer at all, or not in time.
	Unreachable Outcome = "unreachable"
)

// Outcomes lists every outcome.
func Outcomes() []Outcome {
	return []Outcome{Applied, PutBack, Conflict, Throttled, Unauthorized, NotReady, Forbidden, NodeMissing, ServerError, Unreachable}
}

func classify(err error) Outcome {
	r, ok := errors.AsType[*refusal](err)
	switch {
	case err == nil:
		return Applied
	case !ok:
		return Unreachable
	}
	switch r.Code {
	case http.StatusTooManyRequests:
		return Throttled
	case http.StatusUnauthorized:
		return Unauthorized
	case http.StatusForbidden, http.StatusUnprocessableEntity:
		return Forbidden
	case http.StatusNotFound:
		return NodeMissing
	case http.StatusConflict:
		return Conflict
	default:
		return ServerError
	}
}

// isForbidden: 422 is an admission policy's, which a server that is not ready
// does not give.
func isForbidden(err error) bool {
	r, ok := errors.AsType[*refusal](err)
	return ok && r.Code == http.StatusForbidden
}

// askedDelay is how long the server asked to wait (Retry-After).
func askedDelay(err error) time.Duration {
	if r, ok := errors.AsType[*refusal](err); ok {
		return time.Duration(r.Details.RetryAfterSeconds) * time.Second
	}
	return 0
}
