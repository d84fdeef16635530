package apiserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sctp-agent/sctp-agent/internal/agent"
	"github.com/sctp-agent/sctp-agent/internal/nodewriter"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
	"github.com/sctp-agent/sctp-agent/test/controlplane"
)

// reasonIs says whether the Node gives this reason.
func (c *cluster) reasonIs(node string, want verdict.Reason) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		n, err := c.admin.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if got := n.Annotations["sctp-agent/reason"]; got != string(want) {
			return fmt.Errorf("reason = %q, want %s", got, want)
		}
		return nil
	}
}

// recovers is how long the agent may take until the Node is right again. Up to
// 40 s of it are its own: it asks again after 30 s at most, or 33 s where it was
// told to wait ("Retry-After" and pkg/nodelabel's lastWindow), and then writes
// within 10 s (comeback). The rest is the machine's.
const recovers = 75 * time.Second

// The whole agent, with facts that the test makes up, through an API server
// that is killed, paused, killed at the start, and comes back each time.
func TestAPIServerAway(t *testing.T) {
	t.Parallel() // most of it is waiting
	c := ownCluster(t, controlplane.Options{})
	c.makeNode(t, "away")
	before := c.others(t, "away")
	w := c.startAgent(t, "away")
	w.facts(verdict.ReasonModuleNotLoaded)
	within(t, 10*time.Second, c.reasonIs("away", verdict.ReasonModuleNotLoaded))

	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Log("killed, and the verdict changes meanwhile")
	must(c.Kill(controlplane.APIServer))
	w.facts(verdict.ReasonProbePassed)
	time.Sleep(2 * time.Minute)
	tries := w.total()
	must(c.StartComponent(t.Context(), controlplane.APIServer))
	took := within(t, recovers, c.reasonIs("away", verdict.ReasonProbePassed))
	t.Logf("right %s after the API server came back; %d tries while it was away", took, tries)
	if tries > 40 {
		t.Errorf("%d tries in two minutes without an API server", tries)
	}

	t.Log("paused, and the verdict changes meanwhile")
	must(c.Pause(controlplane.APIServer))
	w.facts(verdict.ReasonProbeFailed)
	time.Sleep(5 * time.Second)
	must(c.Resume(controlplane.APIServer))
	took = within(t, recovers, c.reasonIs("away", verdict.ReasonProbeFailed))
	t.Logf("right %s after the API server went on", took)

	t.Log("etcd is killed")
	must(c.Kill(controlplane.Etcd))
	w.facts(verdict.ReasonModuleBlacklisted)
	time.Sleep(3 * time.Second)
	must(c.StartComponent(t.Context(), controlplane.Etcd))
	took = within(t, recovers, c.reasonIs("away", verdict.ReasonModuleBlacklisted))
	t.Logf("right %s after etcd came back", took)

	t.Log("the agent starts without an API server")
	w.stop()
	must(c.Kill(controlplane.APIServer))
	again := c.startAgent(t, "away")
	again.facts(verdict.ReasonModuleMissing)
	time.Sleep(3 * time.Second)
	must(c.StartComponent(t.Context(), controlplane.APIServer))
	within(t, recovers, c.reasonIs("away", verdict.ReasonModuleMissing))

	if after := c.others(t, "away"); after != before {
		t.Errorf("the rest of the Node changed:\n%s\n%s", before, after)
	}
}

// running agent with facts by hand.
type madeUp struct {
	mu      sync.Mutex
	reason  verdict.Reason
	changed chan struct{}
	writer  *running
	agent   *agent.Agent
	stop    func()
}

func (m *madeUp) Name() string { return "facts" }

// Run is a trigger.
func (m *madeUp) Run(ctx context.Context, fire func(string)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.changed:
			fire("facts")
		}
	}
}

func (m *madeUp) facts(r verdict.Reason) {
	m.mu.Lock()
	m.reason = r
	m.mu.Unlock()
	m.changed <- struct{}{}
}

func (m *madeUp) total() int {
	m.writer.mu.Lock()
	defer m.writer.mu.Unlock()
	n := 0
	for _, c := range m.writer.outcomes {
		n += c
	}
	return n
}

// startAgent runs the loop and the writer, without a host.
func (c *cluster) startAgent(t *testing.T, node string) *madeUp {
	t.Helper()
	cfg := c.TokenConfig("") // the API server may be away
	cfg.BearerTokenFile = filepath.Join(t.TempDir(), "token")
	tokens.Lock()
	token := tokens.m[c.URL()+node]
	if token == "" {
		token = c.token(t, node, 0)
		tokens.m[c.URL()+node] = token
	}
	tokens.Unlock()
	if err := os.WriteFile(cfg.BearerTokenFile, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &running{outcomes: map[nodewriter.Outcome]int{}, log: new(logBuffer)}
	log := slog.New(slog.NewTextHandler(io.MultiWriter(r.log, testLog{t}), nil))
	w, err := nodewriter.NewWriter(nodewriter.Config{
		Conn: connect(t, cfg), Node: node, Log: log,
		Observe: func(o nodewriter.Outcome) { r.mu.Lock(); r.outcomes[o]++; r.mu.Unlock() },
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Writer = w
	m := &madeUp{reason: verdict.ReasonModuleNotLoaded, changed: make(chan struct{}), writer: r}
	m.agent = agent.New(agent.Config{
		Assess: func(context.Context) verdict.Report {
			m.mu.Lock()
			defer m.mu.Unlock()
			return report(node, boot1, m.reason)
		},
		Writer: w, Triggers: []agent.Trigger{m}, Log: log,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.agent.Run(ctx) }()
	m.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("the agent ended: %v", err)
			}
		case <-time.After(time.Minute):
			t.Error("the agent does not end")
		}
	})
	t.Cleanup(m.stop)
	return m
}

// tokens made while the API server was there.
var tokens = struct {
	sync.Mutex
	m map[string]string
}{m: map[string]string{}}

// The API server asks for patience, fails, or sends nonsense: the agent waits
// as told, and ends right.
func TestAPIServerTroubled(t *testing.T) {
	c := sharedCluster(t)
	status := func(code int, retryAfter string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			if retryAfter != "" {
				w.Header().Set("Retry-After", retryAfter)
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":%d,"reason":"","message":"made up"}`, code)
			return true
		}
	}
	for _, tt := range []struct {
		name    string
		trouble func(http.ResponseWriter, *http.Request) bool
		outcome nodewriter.Outcome
		most    int // requests in the five seconds of trouble
	}{
		{"429", status(429, "1"), nodewriter.Throttled, 14},
		{"429-long", status(429, "4"), nodewriter.Throttled, 6},
		{"500", status(500, ""), nodewriter.ServerError, 14},
		{"503", status(503, ""), nodewriter.ServerError, 14},
		{"html", func(w http.ResponseWriter, _ *http.Request) bool {
			fmt.Fprint(w, "<html>captive portal</html>")
			return true
		}, nodewriter.Unreachable, 14},
		{"cut", func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, nodewriter.Unreachable, 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			node := "troubled-" + tt.name
			c.makeNode(t, node)
			p := newProxy(t, c)
			w := c.startWriter(t, node, func(cfg *nodewriter.Config) { cfg.Conn = connect(t, p.through(c.agentConfig(t, node))) })
			w.say(t, report(node, boot1, verdict.ReasonModuleNotLoaded))
			p.makeTrouble(tt.trouble)
			before := p.requests.Load()
			w.Publish(report(node, boot1, verdict.ReasonProbePassed))
			time.Sleep(5 * time.Second)
			if n := p.requests.Load() - before; n > int64(tt.most) {
				t.Errorf("%d requests in five seconds of trouble, want at most %d", n, tt.most)
			}
			if w.count(tt.outcome) == 0 {
				t.Errorf("no %s was counted: %v", tt.outcome, w.counts())
			}
			p.makeTrouble(nil)
			took := within(t, recovers, c.reasonIs(node, verdict.ReasonProbePassed))
			t.Logf("right %s after the trouble", took)
		})
	}
}

// A watch that is cut every second does not keep foreign edits from being put
// back, and does not become a storm of requests.
func TestWatchCutEverySecond(t *testing.T) {
	c := sharedCluster(t)
	c.makeNode(t, "cut")
	p := newProxy(t, c)
	p.cut = time.Second
	w := c.startWriter(t, "cut", func(cfg *nodewriter.Config) { cfg.Conn = connect(t, p.through(c.agentConfig(t, "cut"))) })
	w.say(t, report("cut", boot1, verdict.ReasonProbePassed))
	start := time.Now()
	for i := range 3 {
		time.Sleep(1300 * time.Millisecond)
		patch(t, c, "cut", fmt.Sprintf(`{"metadata":{"labels":{"sctp-agent/ready":"false","n":"%d"}}}`, i))
		took := within(t, recovers, c.hasLabel(t, "cut", "sctp-agent/ready", "true"))
		t.Logf("put back after %s", took)
	}
	if rate := float64(p.requests.Load()) / time.Since(start).Seconds(); rate > 6 {
		t.Errorf("%.1f requests a second", rate)
	}
}

// A token that expires is read again from its file, at once after a refusal.
func TestTokenExpires(t *testing.T) {
	t.Parallel() // most of it is waiting
	c := sharedCluster(t)
	c.makeNode(t, "expires")
	file := filepath.Join(t.TempDir(), "token")
	write := func(ttl time.Duration) {
		t.Helper()
		if err := os.WriteFile(file, []byte(c.token(t, "expires", ttl)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// A token is good for a minute longer than it says (go-jose's leeway): this
	// one for as long as say waits.
	write(-40 * time.Second)
	cfg := c.TokenConfig("")
	cfg.BearerTokenFile = file
	w := c.startWriter(t, "expires", func(nc *nodewriter.Config) { nc.Conn = connect(t, cfg) })
	w.say(t, report("expires", boot1, verdict.ReasonModuleNotLoaded))
	// And the API server remembers a token that it has accepted for another
	// ten.
	time.Sleep(32 * time.Second)
	w.Publish(report("expires", boot1, verdict.ReasonProbePassed))
	within(t, recovers, func() error {
		if w.count(nodewriter.Unauthorized) == 0 {
			return errors.New("an expired token was accepted")
		}
		return nil
	})
	write(0)
	took := within(t, recovers, c.reasonIs("expires", verdict.ReasonProbePassed))
	t.Logf("right %s after the token was renewed", took)
}

// etcd has no space left: writes fail, and succeed once there is space again.
func TestEtcdFull(t *testing.T) {
	c := ownCluster(t, controlplane.Options{EtcdArgs: []string{"--quota-backend-bytes=8388608"}})
	c.makeNode(t, "full")
	before := c.others(t, "full")
	w := c.startWriter(t, "full", nil)
	w.say(t, report("full", boot1, verdict.ReasonModuleNotLoaded))

	blob := strings.Repeat("x", 700_000)
	var err error
	for i := 0; err == nil && i < 100; i++ {
		_, err = c.admin.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("blob-%d", i)}, Data: map[string]string{"x": blob},
		}, metav1.CreateOptions{})
	}
	if err == nil || !strings.Contains(err.Error(), "space") {
		t.Fatalf("etcd does not fill up: %v", err)
	}
	w.Publish(report("full", boot1, verdict.ReasonProbePassed))
	within(t, 10*time.Second, func() error {
		if w.count(nodewriter.ServerError) == 0 {
			return fmt.Errorf("no server error was counted: %v", w.counts())
		}
		return nil
	})
	// More space, and the alarm taken back, as an administrator would.
	if err := c.Kill(controlplane.Etcd); err != nil {
		t.Fatal(err)
	}
	c.SetEtcdArgs("--quota-backend-bytes=200000000")
	if err := c.StartComponent(t.Context(), controlplane.Etcd); err != nil {
		t.Fatal(err)
	}
	var alarms struct {
		Alarms []struct {
			MemberID string `json:"memberID"`
			Alarm    string `json:"alarm"`
		} `json:"alarms"`
	}
	c.alarm(t, map[string]any{"action": "GET"}, &alarms)
	if len(alarms.Alarms) != 1 {
		t.Fatalf("alarms = %v", alarms)
	}
	c.alarm(t, map[string]any{"action": "DEACTIVATE", "memberID": alarms.Alarms[0].MemberID, "alarm": "NOSPACE"}, nil)
	took := within(t, recovers, c.reasonIs("full", verdict.ReasonProbePassed))
	t.Logf("right %s after there was space", took)
	if after := c.others(t, "full"); after != before {
		t.Errorf("the rest of the Node changed:\n%s\n%s", before, after)
	}
}

// alarm asks etcd's maintenance API.
func (c *cluster) alarm(t *testing.T, req map[string]any, out any) {
	t.Helper()
	body, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(c.EtcdURL()+"/v3/maintenance/alarm", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("alarm: %s", resp.Status)
	}
	if out != nil {
		if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
			t.Fatal(err)
		}
	}
}

// Another writer that rewrites the Node all the time, as kubelets and
// controllers do, neither disturbs nor is disturbed.
func TestBusyNode(t *testing.T) {
	c := sharedCluster(t)
	c.makeNode(t, "busy")
	w := c.startWriter(t, "busy", nil)
	w.say(t, report("busy", boot1, verdict.ReasonModuleNotLoaded))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			body, _ := json.Marshal(map[string]any{"status": map[string]any{"conditions": []any{map[string]any{"type": "Ready", "status": "True", "reason": fmt.Sprint("R", i)}}}})
			_, _ = c.admin.CoreV1().Nodes().Patch(t.Context(), "busy", types.StrategicMergePatchType, body, metav1.PatchOptions{}, "status")
		}
	})
	for i := range 20 {
		reason := verdict.ReasonProbePassed
		if i%2 == 0 {
			reason = verdict.ReasonProbeFailed
		}
		w.say(t, report("busy", boot1, reason))
		if got := c.node(t, "busy").Annotations["sctp-agent/reason"]; got != string(reason) {
			t.Errorf("reason = %q, want %s", got, reason)
		}
	}
	close(stop)
	wg.Wait()
	if n := w.count(nodewriter.Applied); n != 21 {
		t.Errorf("%d writes for 21 reports: %v", n, w.counts())
	}
}

// The startup taint goes with the first proof, on each life of the Node, and
// nothing else of the spec does.
func TestStartupTaint(t *testing.T) {
	c := ownCluster(t, controlplane.Options{})
	manifest, err := os.ReadFile("../../manifests/components/startup-taint/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Apply(t.Context(), manifest); err != nil {
		t.Fatal(err)
	}
	c.makeNode(t, "tainted")
	w := c.startWriter(t, "tainted", func(cfg *nodewriter.Config) { cfg.StartupTaint = "sctp-agent/startup:NoSchedule" })
	w.say(t, report("tainted", boot1, verdict.ReasonModuleNotLoaded))
	keys := func() string {
		var out []string
		for _, taint := range c.node(t, "tainted").Spec.Taints {
			out = append(out, taint.Key)
		}
		return strings.Join(out, " ")
	}
	if got := keys(); !strings.Contains(got, "sctp-agent/startup") {
		t.Fatalf("taints = %s before any proof", got)
	}
	w.say(t, report("tainted", boot1, verdict.ReasonProbePassed))
	within(t, recovers, func() error {
		if got := keys(); strings.Contains(got, "sctp-agent") || !strings.Contains(got, "example.com/dedicated") {
			return fmt.Errorf("taints = %s", got)
		}
		return nil
	})
	c.deleteNode(t.Context(), "tainted")
	c.makeNode(t, "tainted")
	within(t, recovers, func() error {
		if got := keys(); strings.Contains(got, "sctp-agent") {
			return fmt.Errorf("taints of the next Node = %s", got)
		}
		return nil
	})
}
