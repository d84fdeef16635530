package kube

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/mesh/ask"
)

const (
	// lifetime of a token, in seconds: the least that an API server grants.
	lifetime = 600
	// early is how long before its end a token is no longer used.
	early = time.Minute
	// patience is the least time between a request that failed and the next:
	// the API server is away, or has too much to do.
	patience = 5 * time.Second
)

// Tokens gets tokens of this pod's own service account, bound to the pod, one at
// a time. They are kept until shortly before they expire.
type Tokens struct {
	Client *Client

	mu   sync.Mutex // held during a request, whose caller waits a few seconds at most
	kept map[string]token
	// failed is when the last request did, and why.
	failed time.Time
	err    error
}

type token struct {
	text  string
	until time.Time
}

// Token serves [ask.Tokens].
func (t *Tokens) Token(ctx context.Context, audience string) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now() // with the monotonic clock: the other may be set
	if kept, found := t.kept[audience]; found && now.Before(kept.until) {
		return kept.text, nil
	}
	if now.Sub(t.failed) < patience {
		return "", t.err
	}
	text, until, err := t.request(ctx, audience)
	if err != nil {
		t.failed, t.err = time.Now(), fmt.Errorf("request a token of %s: %w", t.Client.Account, err)
		return "", t.err
	}
	if t.kept == nil {
		t.kept = map[string]token{}
	}
	maps.DeleteFunc(t.kept, func(_ string, kept token) bool { return now.After(kept.until) })
	// By a clock that is slow, a token is valid when the API server's refuses it.
	if most := now.Add(lifetime * time.Second); until.After(most) {
		until = most
	}
	t.kept[audience] = token{text, until.Add(-early)}
	return text, nil
}

func (t *Tokens) request(ctx context.Context, audience string) (text string, until time.Time, err error) {
	id := t.Client.Identity
	request := map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
		"spec": map[string]any{
			"audiences": []string{audience}, "expirationSeconds": lifetime,
			"boundObjectRef": map[string]any{"apiVersion": "v1", "kind": "Pod", "name": id.Pod, "uid": id.UID},
		},
	}
	var answer struct {
		Status struct {
			Token               string    `json:"token"`
			ExpirationTimestamp time.Time `json:"expirationTimestamp"`
		} `json:"status"`
	}
	path := "/api/v1/namespaces/" + url.PathEscape(id.Namespace) + "/serviceaccounts/" + url.PathEscape(id.Account) + "/token"
	if err := t.Client.call(ctx, http.MethodPost, path, nil, asJSON, request, &answer); err != nil {
		return "", until, err
	}
	if answer.Status.Token == "" {
		return "", until, errors.New("the answer has none")
	}
	return answer.Status.Token, answer.Status.ExpirationTimestamp, nil
}

// Reviewer has the API server review tokens, and accepts those of the same
// service account alone.
type Reviewer struct{ Client *Client }

// Review serves [ask.Reviewer].
func (r Reviewer) Review(ctx context.Context, token, audience string) (ask.Holder, error) {
	request := map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
		"spec": map[string]any{"token": token, "audiences": []string{audience}},
	}
	var answer struct {
		Status struct {
			Authenticated bool     `json:"authenticated"`
			Audiences     []string `json:"audiences"`
			User          struct {
				Username string              `json:"username"`
				Extra    map[string][]string `json:"extra"`
			} `json:"user"`
		} `json:"status"`
	}
	if err := r.Client.call(ctx, http.MethodPost, "/apis/authentication.k8s.io/v1/tokenreviews", nil, asJSON, request, &answer); err != nil {
		return ask.Holder{}, fmt.Errorf("review a token: %w", err)
	}
	status := answer.Status
	switch {
	case !status.Authenticated:
		return ask.Holder{}, errors.New("not authenticated")
	case !slices.Contains(status.Audiences, audience):
		return ask.Holder{}, errors.New("of another audience")
	case status.User.Username != "system:serviceaccount:"+r.Client.Namespace+":"+r.Client.Account:
		return ask.Holder{}, errors.New("of another account")
	}
	extra := func(name string) string {
		if values := status.User.Extra["authentication.kubernetes.io/"+name]; len(values) == 1 {
			return values[0]
		}
		return ""
	}
	// API servers before 1.30 do not report the node.
	return ask.Holder{Pod: extra("pod-name"), UID: extra("pod-uid"), Node: extra("node-name"), Until: expiry(token)}, nil
}

// expiry of a token that was accepted, which a review does not have: it is a JWT
// (RFC 7519, section 4.1.4). It is no later than that of this program's own tokens;
// for what is not a JWT, it is long past.
func expiry(token string) time.Time {
	var claims struct {
		Expiry int64 `json:"exp"`
	}
	if parts := strings.Split(token, "."); len(parts) == 3 {
		if payload, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
			_ = json.Unmarshal(payload, &claims)
		}
	}
	return time.Unix(min(claims.Expiry, time.Now().Unix()+lifetime), 0)
}
