// Command bench measures what the agent costs: one agent at rest, beside the
// smallest program of its kind, and thousands of agents on one API server.
//
//	go run ./bench -rest 1h -nodes 5000 -away 5m
//	go run ./bench -peers -nodes 0   # beside node-feature-discovery's worker
//	go run ./bench -rest 12m -mesh 5000   # the mesh's agents instead
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sctp-agent/sctp-agent/internal/backoff"
	"github.com/sctp-agent/sctp-agent/test/child"
	"github.com/sctp-agent/sctp-agent/test/controlplane"
	"github.com/sctp-agent/sctp-agent/test/source"
)

const account = "sctp-agent"

func main() {
	var (
		rest   = flag.Duration("rest", time.Minute, "how long one agent is watched at rest; 0 leaves this part out")
		cycles = flag.Duration("cycles", 10*time.Second, "how long one agent assesses every 50 ms")
		nodes  = flag.Int("nodes", 500, "nodes of the simulated cluster; 0 for none")
		away   = flag.Duration("away", 30*time.Second, "how long the simulated cluster's API server is away")
		peers  = flag.Bool("peers", false, "one agent is also watched beside nfd-worker, built from its module as the agent is")
		meshed = flag.Int("mesh", 0, "agents of the mesh on one API server, instead of all else: at rest for the time of -rest, and in trouble")
		level  = flag.Bool("priority-level", true, "the simulated cluster has the component priority-level")
	)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	run := func() error { return bench(ctx, *rest, *cycles, *nodes, *away, *level, *peers) }
	if *meshed > 0 {
		run = func() error { return benchMesh(ctx, *meshed, *rest) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, rest, cycles time.Duration, nodes int, away time.Duration, priorityLevel, peers bool) error {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	root, err := source.Root()
	if err != nil {
		return err
	}
	agent, err := build(ctx, root, root, filepath.Join(dir, "agent"), "./cmd/sctp-agent")
	if err != nil {
		return err
	}
	floor, err := build(ctx, root, filepath.Join(root, "test"), filepath.Join(dir, "floor"), "./bench/floor")
	if err != nil {
		return err
	}
	subjects := []*subject{
		{name: "floor", path: floor},
		{name: "agent", path: agent, args: []string{"run", "--listen", "127.0.0.1:0"}},
	}
	if peers {
		// A module of its own, which requires it.
		worker, err := build(ctx, root, filepath.Join(root, "test/node/nfd"), filepath.Join(dir, "nfd-worker"), "sigs.k8s.io/node-feature-discovery/cmd/nfd-worker")
		if err != nil {
			return err
		}
		subjects = append(subjects, &subject{name: "nfd-worker", path: worker, worker: true})
	}
	cp, err := controlplane.Start(ctx, controlplane.Options{
		AuditPolicy: controlplane.AuditMetadata,
		Progress:    func(p controlplane.Progress) { fmt.Fprintln(os.Stderr, p) },
	})
	if err != nil {
		return err
	}
	defer cp.Stop()
	manifests := []string{"base/rbac.yaml", "base/admission.yaml"}
	if priorityLevel {
		manifests = append(manifests, "components/priority-level/priority-level.yaml")
	}
	if err := install(ctx, cp, root, manifests...); err != nil {
		return err
	}
	if rest > 0 {
		if err := single(ctx, cp, dir, subjects, rest, cycles); err != nil {
			return err
		}
	}
	if nodes == 0 {
		return nil
	}
	return many(ctx, cp, nodes, away)
}

// build builds a package, by its path in the module at dir, as the product is
// built.
func build(ctx context.Context, root, dir, path, pkg string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(root, "hack/build"), path, pkg)
	cmd.Dir = dir
	_, err := child.Output(cmd)
	return path, err
}

// install the product's namespace and rights.
func install(ctx context.Context, cp *controlplane.ControlPlane, root string, manifests ...string) error {
	client, err := cp.Client()
	if err != nil {
		return err
	}
	if _, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: account}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	for _, name := range manifests {
		b, err := os.ReadFile(filepath.Join(root, "manifests", name))
		if err != nil {
			return err
		}
		if err := cp.Apply(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// subject is one of the processes that are watched at rest, side by side.
type subject struct {
	name, path string
	args       []string // the agent's; the others have none
	worker     bool     // nfd-worker: it looks at the host, and publishes nothing
	node       string
	kubeconfig string

	cmd              *exec.Cmd
	before, after    used
	most             float64 // the largest resident size seen after the start
	requests, writes int
}

func (s *subject) start(ctx context.Context, extra ...string) (*exec.Cmd, error) {
	args := []string{s.kubeconfig, s.node}
	if s.args != nil {
		args = append(append(slices.Clone(s.args), "--kubeconfig", s.kubeconfig, "--node-name", s.node), extra...)
	}
	if s.worker {
		args = []string{"-kubeconfig", s.kubeconfig, "-no-publish"}
	}
	cmd := exec.CommandContext(ctx, s.path, args...)
	cmd.Env = append(os.Environ(), "NODE_NAME="+s.node, "KUBERNETES_NAMESPACE="+account)
	if !s.worker { // which logs all that it does
		cmd.Stderr = os.Stderr
		cmd.Env = append(cmd.Env, "GODEBUG=disablethp=1", "GOMAXPROCS=1") // the DaemonSet's
	}
	return cmd, cmd.Start()
}

func (s *subject) end() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// single measures one agent and those beside it at rest, at the same time, and
// then the agent at work.
func single(ctx context.Context, cp *controlplane.ControlPlane, dir string, subjects []*subject, rest, cycles time.Duration) error {
	client, err := cp.Client()
	if err != nil {
		return err
	}
	for _, s := range subjects {
		s.node = "single-" + s.name
		if _, err := client.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: s.node}}, metav1.CreateOptions{}); err != nil {
			return err
		}
		token, err := cp.NodeToken(ctx, controlplane.NodeTokenOptions{Node: s.node, Namespace: account, ServiceAccount: account})
		if err != nil {
			return err
		}
		s.kubeconfig = filepath.Join(dir, s.node)
		b, err := controlplane.Kubeconfig(cp.TokenConfig(token), cp.URL())
		if err != nil {
			return err
		}
		if err := os.WriteFile(s.kubeconfig, b, 0o600); err != nil {
			return err
		}
		if s.cmd, err = s.start(ctx); err != nil {
			return err
		}
		defer s.end()
	}
	backoff.Sleep(ctx, 5*time.Second)
	started := map[*subject]used{}
	for _, s := range subjects {
		started[s] = usage(s.cmd.Process.Pid)
	}
	// The Event on the first verdict follows within half a minute.
	backoff.Sleep(ctx, settled)
	events, err := cp.AuditEvents()
	if err != nil {
		return err
	}
	for _, s := range subjects {
		s.before = usage(s.cmd.Process.Pid)
		s.requests, s.writes = count(events, s.node)
	}
	for end := time.Now().Add(rest); ctx.Err() == nil && time.Now().Before(end); {
		backoff.Sleep(ctx, min(time.Second, time.Until(end)))
		for _, s := range subjects {
			s.after = usage(s.cmd.Process.Pid)
			s.most = max(s.most, s.after.rss)
		}
	}
	if events, err = cp.AuditEvents(); err != nil {
		return err
	}
	fmt.Printf("%-10s %10s %26s %26s %12s %12s %8s %14s %12s\n", "", "binary",
		"RSS at start (own, file)", "RSS after (own, file)", "RSS at most", "CPU at rest", "writes", "requests/hour", "CPU/cycle")
	for _, s := range subjects {
		requests, writes := count(events, s.node)
		perCycle := "-"
		if s.args != nil {
			s.end()
			if perCycle, err = cycle(ctx, s, cycles); err != nil {
				return err
			}
		}
		size, err := os.Stat(s.path)
		if err != nil {
			return err
		}
		fmt.Printf("%-10s %7.2f MB %26s %26s %9.1f MB %6d ticks %8d %14.1f %12s\n", s.name, float64(size.Size())/1e6,
			started[s], s.after, s.most/1e6, s.after.ticks-s.before.ticks, writes-s.writes, float64(requests-s.requests)/rest.Hours(), perCycle)
	}
	fmt.Printf("(at rest for %s; a tick of CPU is 10 ms; at start: after 5 s; at rest: from %s later)\n", rest, settled)
	for _, s := range subjects {
		if s.args != nil {
			return latency(ctx, cp, dir, s)
		}
	}
	return nil
}

// cycle runs an agent that assesses all the time, and divides.
func cycle(ctx context.Context, s *subject, during time.Duration) (string, error) {
	const address = "127.0.0.1:19475"
	cmd, err := s.start(ctx, "--listen", address, "--resync", "50ms")
	if err != nil {
		return "", err
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	backoff.Sleep(ctx, 3*time.Second)
	assessments := func() (float64, error) {
		resp, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(b)) {
			if rest, ok := strings.CutPrefix(line, "sctp_agent_assessment_duration_seconds_count "); ok {
				return strconv.ParseFloat(strings.TrimSpace(rest), 64)
			}
		}
		return 0, errors.New("no count of assessments in /metrics")
	}
	n0, err := assessments()
	if err != nil {
		return "", err
	}
	u0 := usage(cmd.Process.Pid)
	backoff.Sleep(ctx, during)
	u1 := usage(cmd.Process.Pid)
	n1, err := assessments()
	if err != nil {
		return "", err
	}
	if n1 <= n0 {
		return "", errors.New("the agent does not assess")
	}
	return fmt.Sprintf("%.2f ms", float64(u1.ticks-u0.ticks)*10/(n1-n0)), nil
}

type used struct {
	// Resident: all, the process's own (anonymous), and of files, which is
	// the program itself. In bytes.
	rss, own, file float64
	ticks          int64
}

func (u used) String() string {
	return fmt.Sprintf("%.1f MB (%.1f, %.1f)", u.rss/1e6, u.own/1e6, u.file/1e6)
}

// usage of a process: proc_pid_status(5), proc_pid_stat(5).
func usage(pid int) used {
	var u used
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kb, _ := strconv.ParseFloat(f[1], 64)
		switch f[0] {
		case "VmRSS:":
			u.rss = kb * 1024
		case "RssAnon:":
			u.own = kb * 1024
		case "RssFile:":
			u.file = kb * 1024
		}
	}
	b, _ = os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if _, after, ok := strings.Cut(string(b), ") "); ok {
		if f := strings.Fields(after); len(f) > 14 {
			for _, field := range f[11:15] { // utime, stime, and those of processes that it waited for
				ticks, _ := strconv.ParseInt(field, 10, 64)
				u.ticks += ticks
			}
		}
	}
	return u
}

// count the requests of a node's agent, and those among them that write.
func count(events []controlplane.AuditEvent, node string) (requests, writes int) {
	for _, e := range events {
		if !slices.Contains(e.User.Extra["authentication.kubernetes.io/node-name"], node) {
			continue
		}
		requests++
		switch e.Verb {
		case "get", "list", "watch":
		default:
			writes++
		}
	}
	return requests, writes
}
