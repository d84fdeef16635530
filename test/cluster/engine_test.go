package cluster

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sctp-agent/sctp-agent/internal/verify"
	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
	"github.com/sctp-agent/sctp-agent/test/node"
)

// engineModule is kube-network-policies, which has nftables queue the packets of
// pods that a policy selects, and judges them.
const (
	engineModule = "../node/netpol"
	enginePath   = "sigs.k8s.io/kube-network-policies"
	engineQueue  = "98"
)

// policyEngine is what verify says of NetworkPolicy where an engine enforces it.
// What it says where there is none is in TestVerify.
func (p *pair) policyEngine(t *testing.T) {
	p.installEngine(t)
	for i := range p.nodes {
		p.startEngine(t, i)
	}
	p.step(t, "an engine enforces NetworkPolicy", func(t *testing.T) {
		r, result := p.verify(t, "--network-policy")
		expect(t, r, result, 0)
		if result.Policy != "enforced" {
			t.Errorf("policy %q", result.Policy)
		}
	})
	// Until it is back the kernel drops what it would judge, what is allowed too.
	p.step(t, "the engine is killed as the policy is made", func(t *testing.T) {
		p.disturbedEngine(t, func(context.Context) {
			if _, err := p.nodes[0].Run(p.ctx, "systemctl", "kill", "--signal=KILL", "netpol"); err != nil {
				t.Errorf("killing the engine: %v", err)
			}
		})
	})
	p.step(t, "the engine's queue is full as the policy is made", func(t *testing.T) {
		p.disturbedEngine(t, func(ctx context.Context) { p.fillQueue(ctx, t) })
	})
	// Told to by SIGINT, it takes its rules away.
	stop := func(i int) {
		if _, err := p.nodes[i].Run(p.ctx, "systemctl", "stop", "netpol"); err != nil {
			t.Fatal(err)
		}
	}
	stop(1)
	p.step(t, "one node has no engine", func(t *testing.T) {
		r, result := p.verify(t, "--network-policy")
		expect(t, r, result, 1, verify.FindingNotEnforced)
		for _, path := range result.Paths {
			want := map[string]wire.Outcome{"worker-0": wire.Blocked, "worker-1": wire.OK}[path.To]
			if path.Kind == verify.PathDenied && path.Outcome != want {
				t.Errorf("want %s: %+v", want, path)
			}
		}
	})
	stop(0)
}

// disturbedEngine is a run in which something happens to the engine of the first node
// once a NetworkPolicy is there.
func (p *pair) disturbedEngine(t *testing.T, disturb func(context.Context)) {
	ctx, cancel := context.WithCancel(p.ctx)
	var disturber sync.WaitGroup
	disturber.Go(func() {
		for ctx.Err() == nil {
			list, err := p.client.NetworkingV1().NetworkPolicies("").List(ctx, metav1.ListOptions{})
			if err == nil && len(list.Items) > 0 {
				disturb(ctx)
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(500 * time.Millisecond):
			}
		}
		t.Error("no NetworkPolicy was seen")
	})
	r, result := p.verify(t, "--network-policy")
	cancel()
	disturber.Wait()
	if result == nil {
		t.Fatal(r.stderr)
	}
	switch result.Policy {
	case "enforced":
		expect(t, r, result, 0)
	case "unknown":
		expect(t, r, result, 2, verify.FindingUndecided)
	default:
		t.Errorf("policy %q, exit status %d, findings %q", result.Policy, r.code, findingKinds(result))
	}
}

// fillQueue stops the engine of the first node for as long as it takes to fill its
// queue, from the other node (a node's own packets to its pods are not judged), with
// datagrams for the listener.
func (p *pair) fillQueue(ctx context.Context, t *testing.T) {
	n := p.nodes[0]
	list, err := p.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{
		LabelSelector: "sctp-agent-verify/role=listener", FieldSelector: "spec.nodeName=" + n.Name(),
	})
	if err != nil || len(list.Items) != 1 {
		t.Errorf("listeners on %s: %v, %v", n.Name(), list, err)
		return
	}
	shell := func(n *node.Node, script string) string {
		out, err := n.Shell(ctx, script)
		if err != nil {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
		return out
	}
	// The fields: number, port, length, copy mode and range, dropped as the queue was
	// full, dropped as the program did not take them (net/netfilter/nfnetlink_queue.c).
	const queue = "grep '^ *" + engineQueue + " ' /proc/net/netfilter/nfnetlink_queue"
	const dropped = queue + " | awk '{ print $6 + $7 }'"
	before := shell(n, dropped)
	shell(n, "systemctl kill --signal=STOP netpol")
	shell(p.nodes[1], "bash -c 'for i in $(seq 5000); do echo > /dev/udp/"+list.Items[0].Status.PodIP+"/$((20000 + i)); done' 2>/dev/null || true")
	if after := shell(n, dropped); after == before {
		t.Errorf("nothing was dropped by a full queue: %s", shell(n, queue))
	}
	shell(n, "systemctl kill --signal=CONT netpol")
}

// installEngine gives the engine its rights, by its own manifest, and brings the
// program to the nodes, which run it as a service: an image of it would take
// minutes to unpack there.
func (p *pair) installEngine(t *testing.T) {
	t.Helper()
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", enginePath)
	list.Dir = engineModule
	dir, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "install.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var rights [][]byte
	for _, object := range bytes.Split(manifest, []byte("\n---\n")) {
		if !bytes.Contains(object, []byte("kind: DaemonSet")) {
			rights = append(rights, object)
		}
	}
	if err := p.cp.Apply(p.ctx, bytes.Join(rights, []byte("\n---\n"))); err != nil {
		t.Fatal(err)
	}
	token, err := p.client.CoreV1().ServiceAccounts(metav1.NamespaceSystem).CreateToken(p.ctx, "kube-network-policies", &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(4 * 3600))},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	program := buildProgram(t, engineModule, enginePath+"/cmd")
	for _, n := range p.nodes {
		for name, content := range map[string]string{"token": token.Status.Token, "ca.crt": string(p.cp.CA())} {
			if err := n.WriteFile(p.ctx, node.File{Path: "/var/run/secrets/kubernetes.io/serviceaccount/" + name, Content: content}); err != nil {
				t.Fatal(err)
			}
		}
		if err := n.Upload(p.ctx, program, "/opt/guest/netpol", 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// startEngine returns when the engine has bound its queue.
func (p *pair) startEngine(t *testing.T, i int) {
	t.Helper()
	server, err := url.Parse(p.cp.GuestURL())
	if err != nil {
		t.Fatal(err)
	}
	n := p.nodes[i]
	if _, err := n.Run(p.ctx, "systemd-run", "--unit=netpol", "--property=Restart=always", "--property=RestartSec=1", "--property=KillSignal=SIGINT",
		"--setenv=KUBERNETES_SERVICE_HOST="+server.Hostname(), "--setenv=KUBERNETES_SERVICE_PORT="+server.Port(),
		"/opt/guest/netpol", "--hostname-override="+n.Name(), "--nfqueue-id="+engineQueue); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Shell(p.ctx, `i=0; until grep -q '^ *`+engineQueue+` ' /proc/net/netfilter/nfnetlink_queue 2>/dev/null; do i=$((i + 1)); [ $i -lt 600 ]; sleep 1; done`); err != nil {
		log, _ := n.Run(p.ctx, "journalctl", "-u", "netpol", "-n", "50", "--no-pager")
		t.Fatalf("the engine does not come up: %v\n%s", err, log)
	}
}
