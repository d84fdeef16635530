package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/sctp-agent/sctp-agent/internal/verify"
	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/machineconfig"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
	"github.com/sctp-agent/sctp-agent/test/controlplane"
	"github.com/sctp-agent/sctp-agent/test/node"
)

const agentImage = "localhost/sctp-agent:test"

// runTimeout of one run: guests in software emulation start a pod in seconds,
// on a busy machine in minutes.
const runTimeout = "15m"

// pair is a cluster of two full guests.
type pair struct {
	t      *testing.T
	ctx    context.Context
	cp     *controlplane.ControlPlane
	client kubernetes.Interface
	link   *node.Link
	nodes  [2]*node.Node
	bin    string
	admin  string
}

// bootPair boots two nodes with these files, and kube-proxy in a mode.
func bootPair(t *testing.T, mode node.ProxyMode, files [2][]node.File) *pair {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Minute)
	t.Cleanup(cancel)
	p := &pair{t: t, ctx: ctx, bin: program(t, "kubectl-sctp")}
	p.cp = controlPlane(t, controlplane.Options{APIServerArgs: []string{"--service-cluster-ip-range=10.0.0.0/24,fd00:10::/112"}})
	if err := p.cp.StartComponent(ctx, controlplane.ControllerManager); err != nil {
		t.Fatal(err)
	}
	p.client = clientFor(t, p.cp.Admin())
	p.admin = kubeconfig(t, p.cp, "admin", "system:masters")
	archive := filepath.Join(t.TempDir(), "image.tar")
	err := node.WriteImage(archive, agentImage, node.ImageConfig{Entrypoint: []string{verify.DefaultCommand}, User: "65532:65532"},
		map[string]string{verify.DefaultCommand: program(t, "sctp-agent")})
	if err != nil {
		t.Fatal(err)
	}
	if p.link, err = node.NewLink(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.link.Close)
	var wg sync.WaitGroup
	for i := range p.nodes {
		wg.Go(func() {
			n, err := node.Boot(ctx, node.Config{
				Name: fmt.Sprintf("worker-%d", i), ControlPlane: p.cp, Link: p.link, KubeProxy: mode,
				Images: []string{archive}, Files: files[i], Logf: t.Logf,
			})
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(n.Close)
			p.nodes[i] = n
			if err := n.WaitReady(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return p
}

// hostFiles are the files of the printed MachineConfig.
func hostFiles() (out []node.File) {
	for _, f := range machineconfig.Files(false) {
		out = append(out, node.File{Path: f.Path, Content: f.Contents})
	}
	return out
}

// ready says on the Node what the agent there would.
func (p *pair) ready(i int, value kmod.Answer) {
	p.t.Helper()
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%q}}}`, nodelabel.Keys{}.Ready(), value)
	if _, err := p.client.CoreV1().Nodes().Patch(p.ctx, p.nodes[i].Name(), types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pair) loaded(i int) bool {
	p.t.Helper()
	out, err := p.nodes[i].Run(p.ctx, "cat", "/proc/modules")
	if err != nil {
		p.t.Fatal(err)
	}
	return slices.ContainsFunc(strings.Split(out, "\n"), func(line string) bool { return strings.HasPrefix(line, "sctp ") })
}

// verify runs the program against the cluster, and sees that it leaves nothing.
func (p *pair) verify(t *testing.T, args ...string) (ran, *verify.Result) {
	t.Helper()
	r := run(t, p.bin, append([]string{"verify", "--kubeconfig", p.admin, "--image", agentImage, "-o", "json", "--timeout", runTimeout, "--path-timeout", "10s"}, args...)...)
	t.Logf("verify %v: exit status %d after %.1f s\n%s", args, r.code, r.elapsed.Seconds(), r.stderr)
	p.clean(t)
	if r.stdout == "" {
		return r, nil
	}
	var result verify.Result
	if err := json.Unmarshal([]byte(r.stdout), &result); err != nil {
		t.Fatalf("%v in:\n%s", err, r.stdout)
	}
	outcomes := map[string]int{}
	for _, path := range result.Paths {
		outcomes[fmt.Sprintf("%s %s %s", path.Kind, path.Family, path.Outcome)]++
	}
	t.Logf("paths: %v", outcomes)
	for _, f := range result.Findings {
		t.Logf("%s: %s\n  %s", f.Kind, f.Message, strings.Join(f.Evidence, "\n  "))
	}
	return r, &result
}

// clean fails if a namespace of a run is there still.
func (p *pair) clean(t *testing.T) {
	t.Helper()
	list, err := p.client.CoreV1().Namespaces().List(p.ctx, metav1.ListOptions{LabelSelector: "sctp-agent-verify/run"})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range list.Items {
		t.Errorf("left behind: namespace %s", n.Name)
	}
}

func findingKinds(r *verify.Result) []string {
	out := []string{}
	for _, f := range r.Findings {
		out = append(out, f.Kind)
	}
	return out
}

// expect fails unless exactly these findings were made.
func expect(t *testing.T, r ran, result *verify.Result, code int, kinds ...string) {
	t.Helper()
	if result == nil {
		t.Fatalf("no result: %s", r.stderr)
	}
	if r.code != code {
		t.Errorf("exit status %d, want %d", r.code, code)
	}
	if got := findingKinds(result); !slices.Equal(got, append([]string{}, kinds...)) {
		t.Errorf("findings %q, want %q", got, kinds)
	}
}

// Two nodes that are ready: the program on the healthy cluster, with two faults at
// once, of which neither hides the other, with an engine for NetworkPolicy, a load
// balancer, and a Service whose endpoint is deleted.
func TestVerifyPair(t *testing.T) {
	if testing.Short() {
		t.Skip("only in make test-full")
	}
	p := bootPair(t, node.ProxyNFTables, [2][]node.File{hostFiles(), hostFiles()})
	p.ready(0, kmod.AnswerTrue)
	p.ready(1, kmod.AnswerTrue)
	p.step(t, "both are ready", p.healthy)
	p.step(t, "dropped one way, and a wrong target port", func(t *testing.T) {
		stop := p.spoilService(t)
		defer stop()
		p.oneWay(t, verify.FindingOneWay, verify.FindingDropped, verify.FindingTargetPort)
	})
	p.policyEngine(t)
	p.step(t, "load balancer", p.loadBalancer)
	p.step(t, "failover", p.failover)
}

// healthy is a run on a cluster of two ready nodes that have no fault.
func (p *pair) healthy(t *testing.T) {
	r, result := p.verify(t)
	expect(t, r, result, 0)
	// 4 pairs over two families; per pair a Service; node ports of two nodes,
	// each leading to its own pod and to the other's, from two pods.
	want := map[verify.PathKind]int{verify.PathPod: 8, verify.PathClusterIP: 8, verify.PathNodePort: 16}
	got := map[verify.PathKind]int{}
	for _, path := range result.Paths {
		got[path.Kind]++
		if path.RTTMicros == 0 || path.HandshakeMicros == 0 {
			t.Errorf("no time measured: %+v", path)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("paths %v, want %v", got, want)
	}
}

// failover is a run in which a client's endpoint is deleted. The endpoint ends its
// association, and so connection tracking leads the client's port to it for some
// seconds only; another port is led elsewhere before.
func (p *pair) failover(t *testing.T) {
	r, result := p.verify(t, "--failover")
	if result == nil {
		t.Fatal(r.stderr)
	}
	families, slow := []string{}, false
	for _, f := range result.Failovers {
		t.Logf("%s", f)
		families = append(families, f.Family)
		slow = slow || f.Seconds > verify.FailoverBound.Seconds()
		if f.Outcome != wire.OK || f.Port == 0 || f.Deleted == f.To {
			t.Errorf("%+v", f)
		}
		if f.OtherPortSeconds <= 0 || f.OtherPortSeconds >= f.Seconds {
			t.Errorf("from another port after %v s, from the same after %v s", f.OtherPortSeconds, f.Seconds)
		}
	}
	if slices.Sort(families); !slices.Equal(families, []string{"IPv4", "IPv6"}) {
		t.Errorf("failovers over %q", families)
	}
	// On a busy machine a guest's seconds are long.
	if slow {
		expect(t, r, result, 1, verify.FindingFailoverSlow)
	} else {
		expect(t, r, result, 0)
	}
}

// oneWay is a run while the second node's SCTP packets do not get to the first:
// what the first sends arrives, and nothing else.
func (p *pair) oneWay(t *testing.T, findings ...string) {
	second := p.nodes[1].Number()
	p.link.Filter(func(f node.Frame) bool { return f.From != second || !f.SCTP() })
	defer p.link.Filter(nil)
	r, result := p.verify(t)
	if result == nil {
		t.Fatal(r.stderr)
	}
	got := findingKinds(result)
	slices.Sort(got)
	slices.Sort(findings)
	if r.code != 1 || !slices.Equal(got, findings) {
		t.Errorf("exit status %d, findings %q, want %q", r.code, got, findings)
	}
	for _, path := range result.Paths {
		want := map[string]wire.Outcome{"worker-0": wire.OneWay, "worker-1": wire.Dropped}[path.From]
		if path.Kind == verify.PathPod && path.From != path.To && path.Outcome != want {
			t.Errorf("want %s: %+v", want, path)
		}
	}
}

// The program on one cluster of two full nodes, of which first one has SCTP,
// then both: it finds each fault that is put there, and none where there is
// none.
func TestVerify(t *testing.T) {
	if testing.Short() {
		t.Skip("only in make test-full")
	}
	blacklisted := []node.File{{Path: verdict.VendorBlacklist, Content: "blacklist sctp\n"}}
	p := bootPair(t, node.ProxyIPTables, [2][]node.File{hostFiles(), blacklisted})
	p.ready(0, kmod.AnswerTrue)
	p.ready(1, kmod.AnswerFalse)

	p.step(t, "one node is ready", func(t *testing.T) {
		r, result := p.verify(t)
		expect(t, r, result, 0)
		if len(result.Nodes) != 1 || len(result.Paths) == 0 {
			t.Errorf("nodes %+v", result.Nodes)
		}
	})
	p.step(t, "the module is missing on one node", func(t *testing.T) {
		r, result := p.verify(t, "--node", "worker-0,worker-1")
		expect(t, r, result, 1, verify.FindingModuleMissing)
		if p.loaded(1) {
			t.Error("verify had the module loaded")
		}
	})
	p.step(t, "the MachineConfig's files and a reboot", func(t *testing.T) {
		for _, f := range hostFiles() {
			if err := p.nodes[1].WriteFile(p.ctx, f); err != nil {
				t.Fatal(err)
			}
		}
		if p.loaded(1) {
			t.Fatal("the module is there before the reboot")
		}
		if err := p.nodes[1].Reboot(p.ctx); err != nil {
			t.Fatal(err)
		}
		if !p.loaded(1) {
			t.Fatal("the MachineConfig's files do not load the module at boot")
		}
		if err := p.nodes[1].WaitReady(p.ctx); err != nil {
			t.Fatal(err)
		}
		p.ready(1, kmod.AnswerTrue)
	})
	if t.Failed() {
		t.FailNow() // what follows needs two nodes
	}
	p.step(t, "both are ready", p.healthy)
	p.step(t, "failover", p.failover)
	p.step(t, "dropped between the nodes", func(t *testing.T) {
		p.link.Filter(func(f node.Frame) bool { return !f.SCTP() })
		defer p.link.Filter(nil)
		r, result := p.verify(t)
		expect(t, r, result, 1, verify.FindingDropped)
		for _, path := range result.Paths {
			far := path.From != path.To || path.Via != "" && path.Via != path.From
			want := wire.OK
			switch {
			case far && path.Kind == verify.PathPod:
				want = wire.Dropped
			case far:
				want = wire.NotTried
			}
			if path.Outcome != want {
				t.Errorf("want %s: %+v", want, path)
			}
		}
	})
	p.step(t, "dropped one way", func(t *testing.T) { p.oneWay(t, verify.FindingOneWay, verify.FindingDropped) })
	p.step(t, "kube-proxy stopped", func(t *testing.T) {
		if _, err := p.nodes[1].Run(p.ctx, "systemctl", "stop", "kube-proxy"); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if _, err := p.nodes[1].Run(p.ctx, "systemctl", "start", "kube-proxy"); err != nil {
				t.Fatal(err)
			}
		}()
		r, result := p.verify(t)
		expect(t, r, result, 1, verify.FindingServices, verify.FindingNodePorts)
		for _, f := range result.Findings {
			if !strings.Contains(f.Message, "worker-1") {
				t.Errorf("it does not name the node: %s", f.Message)
			}
		}
	})
	p.step(t, "wrong target port", func(t *testing.T) {
		stop := p.spoilService(t)
		defer stop()
		r, result := p.verify(t)
		expect(t, r, result, 1, verify.FindingTargetPort)
	})
	p.step(t, "no engine enforces NetworkPolicy", func(t *testing.T) {
		r, result := p.verify(t, "--network-policy")
		expect(t, r, result, 1, verify.FindingNotEnforced)
		if result.Policy != "not-enforced" {
			t.Errorf("policy %q", result.Policy)
		}
	})
	p.step(t, "ten runs on the healthy cluster", func(t *testing.T) {
		var seconds []string
		for range 10 {
			r, result := p.verify(t)
			expect(t, r, result, 0)
			seconds = append(seconds, fmt.Sprintf("%.0f", r.elapsed.Seconds()))
		}
		t.Logf("ten runs: %s s", strings.Join(seconds, ", "))
	})
}

// step is a subtest whose duration is told.
func (p *pair) step(t *testing.T, name string, f func(*testing.T)) {
	t.Run(name, func(t *testing.T) {
		start := time.Now()
		f(t)
		t.Logf("step: %.1f s", time.Since(start).Seconds())
	})
}

// spoilService gives the first Service of the next run another target port.
func (p *pair) spoilService(t *testing.T) (stop func()) {
	return p.onService(t, "listener-1", func(s *corev1.Service) error {
		if s.Spec.Ports[0].TargetPort.IntVal == 9 {
			return nil
		}
		_, err := p.client.CoreV1().Services(s.Namespace).Patch(p.ctx, s.Name, types.JSONPatchType,
			[]byte(`[{"op":"replace","path":"/spec/ports/0/targetPort","value":9}]`), metav1.PatchOptions{})
		return err
	})
}

// balance stands in for a load balancer's controller: the nodes' kube-proxies
// serve the addresses that it gives.
func (p *pair) balance(t *testing.T, addresses ...string) (stop func()) {
	return p.onService(t, "load-balancer", func(s *corev1.Service) error {
		if len(s.Status.LoadBalancer.Ingress) > 0 {
			return nil
		}
		for _, a := range addresses {
			s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a})
		}
		_, err := p.client.CoreV1().Services(s.Namespace).UpdateStatus(p.ctx, s, metav1.UpdateOptions{})
		return err
	})
}

// loadBalancer is a run through a load balancer that gets addresses, and one
// through one that nobody provides.
func (p *pair) loadBalancer(t *testing.T) {
	stop := p.balance(t, "198.51.100.7", "2001:db8:1::7")
	r, result := p.verify(t, "--load-balancer")
	stop()
	expect(t, r, result, 0)
	got := map[string]wire.Outcome{}
	for _, path := range result.Paths {
		if path.Kind == verify.PathLoadBalancer {
			got[path.From+" "+path.To+" "+path.Address] = path.Outcome
		}
	}
	want := map[string]wire.Outcome{"worker-1 worker-0 198.51.100.7:38412": wire.OK, "worker-1 worker-0 [2001:db8:1::7]:38412": wire.OK}
	if !maps.Equal(got, want) {
		t.Errorf("paths %v, want %v", got, want)
	}
	r, result = p.verify(t, "--load-balancer")
	expect(t, r, result, 2, verify.FindingUndecided)
}

// onService has something done to a Service of the next run, again and again, as
// soon as it appears.
func (p *pair) onService(t *testing.T, name string, do func(*corev1.Service) error) (stop func()) {
	ctx, cancel := context.WithCancel(p.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			list, err := p.client.CoreV1().Services(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: "sctp-agent-verify/run"})
			if err == nil {
				for _, s := range list.Items {
					if s.Name != name {
						continue
					}
					if err := do(&s); err != nil {
						t.Log(err)
					}
				}
			}
			time.Sleep(200 * time.Millisecond)
		}
	}()
	return func() { cancel(); <-done }
}
