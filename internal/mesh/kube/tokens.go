package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/mesh/ask"
)

const (
	// lifetime of a token, in seconds: the least that an API server grants.
	lifetime = 600
	// early is how long before its end a token is no longer used.
	early = time.Minute
)

// Tokens gets tokens of this pod's own service account, bound to the pod. They
// are kept until shortly before they expire.
type Tokens struct {
	Client *Client

	mu   sync.Mutex
	kept map[string]token
}

type token struct {
	text  string
	until time.Time
}

// Token serves [ask.Tokens].
func (t *Tokens) Token(ctx context.Context, audience string) (string, error) {
	now := time.Now()
	t.mu.Lock()
	kept, found := t.kept[audience]
	t.mu.Unlock()
	if found && now.Before(kept.until) {
		return kept.text, nil
	}
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
		return "", fmt.Errorf("request a token of %s: %w", id.Account, err)
	}
	if answer.Status.Token == "" {
		return "", fmt.Errorf("request a token of %s: the answer has none", id.Account)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kept == nil {
		t.kept = map[string]token{}
	}
	for audience, kept := range t.kept {
		if now.After(kept.until) {
			delete(t.kept, audience)
		}
	}
	t.kept[audience] = token{answer.Status.Token, answer.Status.ExpirationTimestamp.Add(-early)}
	return answer.Status.Token, nil
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
	// API servers before 1.30 do not say the node.
	return ask.Holder{Pod: extra("pod-name"), UID: extra("pod-uid"), Node: extra("node-name")}, nil
}
