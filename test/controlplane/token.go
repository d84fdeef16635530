package controlplane

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// NodeTokenOptions say whose token is asked for.
type NodeTokenOptions struct {
	// Node whose name the token carries, as the user's extra
	// authentication.kubernetes.io/node-name.
	Node string
	// Namespace and ServiceAccount; both are created if missing, without any
	// rights.
	Namespace, ServiceAccount string
	// TTL is the token's life; 0 means one day. The API server grants no less
	// than ten minutes, so a shorter token (already expired, even: negative)
	// is signed here, with the control plane's own key. The API server
	// accepts a token for a minute after it expired.
	TTL time.Duration
}

// NodeToken makes a service-account token as a DaemonSet's pod on the node has
// it: bound to a pod object whose spec.nodeName is the node. The pod
// (sctp-agent-NODE by name) need not run for that. Deleting it revokes the token
// within some ten seconds.
func (cp *ControlPlane) NodeToken(ctx context.Context, opts NodeTokenOptions) (string, error) {
	token, err := cp.nodeToken(ctx, opts)
	if err != nil {
		return "", fmt.Errorf("making a token for node %s: %w", opts.Node, err)
	}
	return token, nil
}

func (cp *ControlPlane) nodeToken(ctx context.Context, opts NodeTokenOptions) (string, error) {
	client, err := cp.Client()
	if err != nil {
		return "", err
	}
	core := client.CoreV1()
	_, err = core.Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: opts.Namespace}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return "", err
	}
	_, err = core.ServiceAccounts(opts.Namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: opts.ServiceAccount}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return "", err
	}
	name := "sctp-agent-" + opts.Node
	pod, err := core.Pods(opts.Namespace).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			NodeName: opts.Node, ServiceAccountName: opts.ServiceAccount,
			Containers: []corev1.Container{{Name: "agent", Image: "sctp-agent"}},
		},
	}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		pod, err = core.Pods(opts.Namespace).Get(ctx, name, metav1.GetOptions{})
	}
	if err != nil {
		return "", err
	}
	ttl := cmp.Or(opts.TTL, 24*time.Hour)
	granted := int64(max(ttl, 10*time.Minute).Seconds())
	req, err := core.ServiceAccounts(opts.Namespace).CreateToken(ctx, opts.ServiceAccount, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{
			ExpirationSeconds: &granted,
			BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	if ttl < 10*time.Minute {
		return cp.withExpiry(req.Status.Token, time.Now().Add(ttl))
	}
	return req.Status.Token, nil
}

// withExpiry signs a service-account token's claims again, with another expiry.
func (cp *ControlPlane) withExpiry(token string, expiry time.Time) (string, error) {
	failed := func(err error) (string, error) { return "", fmt.Errorf("signing a token again: %w", err) }
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return failed(errors.New("not a JWT"))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return failed(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		return failed(err)
	}
	claims["exp"] = expiry.Unix()
	claims["nbf"] = min(expiry.Unix(), time.Now().Unix()) - 3600
	claims["iat"] = claims["nbf"]
	if payload, err = json.Marshal(claims); err != nil {
		return failed(err)
	}
	signed := parts[0] + "." + base64.RawURLEncoding.EncodeToString(payload)
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, cp.saKey, sum[:])
	if err != nil {
		return failed(err)
	}
	// RFC 7518 section 3.4: ES256 is R and S, 32 octets each.
	sig := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig), nil
}
