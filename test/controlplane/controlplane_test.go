package controlplane_test

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sctp-agent/sctp-agent/test/controlplane"
)

func client(t *testing.T, cfg *rest.Config) kubernetes.Interface {
	t.Helper()
	c, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What every test that stands on this package relies on: the version, RBAC
// really refusing, tokens that carry their node, tokens that expire, and an API
// server that comes back with what it knew after a crash.
func TestControlPlane(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	cp, err := controlplane.Start(ctx, controlplane.Options{
		AuditPolicy: controlplane.AuditMetadata,
		Progress:    func(p controlplane.Progress) { t.Log(p) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cp.Stop)
	admin := client(t, cp.Admin())

	version, err := admin.Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	if version.GitVersion != controlplane.ServerVersion() {
		t.Errorf("server version = %s, want %s", version.GitVersion, controlplane.ServerVersion())
	}
	if _, err := admin.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker-0"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	opts := controlplane.NodeTokenOptions{Node: "worker-0", Namespace: "sctp-agent", ServiceAccount: "sctp-agent"}
	token, err := cp.NodeToken(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	agent := client(t, cp.TokenConfig(token))
	who, err := agent.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := who.Status.UserInfo.Extra["authentication.kubernetes.io/node-name"]; len(got) != 1 || got[0] != "worker-0" {
		t.Errorf("the token's node is %q, want worker-0", got)
	}
	if _, err := agent.CoreV1().Nodes().Get(ctx, "worker-0", metav1.GetOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("an account without rights read a node: %v", err)
	}

	opts.TTL = -2 * time.Minute // beyond go-jose's leeway of one
	expired, err := cp.NodeToken(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client(t, cp.TokenConfig(expired)).CoreV1().Nodes().Get(ctx, "worker-0", metav1.GetOptions{}); !apierrors.IsUnauthorized(err) {
		t.Errorf("an expired token: %v, want 401", err)
	}
	opts.TTL = time.Minute
	short, err := cp.NodeToken(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client(t, cp.TokenConfig(short)).CoreV1().Nodes().Get(ctx, "worker-0", metav1.GetOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a token with a minute to live: %v, want 403 (known, without rights)", err)
	}

	if err := cp.Kill(controlplane.APIServer); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CoreV1().Nodes().Get(ctx, "worker-0", metav1.GetOptions{}); err == nil {
		t.Error("a killed API server answered")
	}
	if err := cp.StartComponent(ctx, controlplane.APIServer); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CoreV1().Nodes().Get(ctx, "worker-0", metav1.GetOptions{}); err != nil {
		t.Errorf("after a restart: %v", err)
	}

	for range 10 {
		if err := cp.Pause(controlplane.APIServer); err != nil {
			t.Fatal(err)
		}
		paused, stop := context.WithTimeout(ctx, 100*time.Millisecond)
		if _, err := admin.CoreV1().Nodes().Get(paused, "worker-0", metav1.GetOptions{}); err == nil {
			t.Error("a paused API server answered")
		}
		stop()
		if err := cp.Resume(controlplane.APIServer); err != nil {
			t.Fatal(err)
		}
		if _, err := admin.CoreV1().Nodes().Get(ctx, "worker-0", metav1.GetOptions{}); err != nil {
			t.Errorf("after a pause: %v", err)
		}
	}

	events, err := cp.AuditEvents()
	if err != nil {
		t.Fatal(err)
	}
	forbidden := 0
	for _, e := range events {
		if e.User.Username == "system:serviceaccount:sctp-agent:sctp-agent" && e.ResponseStatus.Code == 403 {
			forbidden++
		}
	}
	if forbidden != 2 {
		t.Errorf("%d refusals in the audit log, want 2", forbidden)
	}

	dir, pid := cp.Dir(), cp.PID(controlplane.APIServer)
	cp.Stop()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("Stop left %s: %v", dir, err)
	}
	if b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline"); err == nil && strings.Contains(string(b), dir) {
		t.Error("Stop left the API server running")
	}
}
