// Command bench measures what the agent costs: one of it at rest, beside a
// floor, and thousands of it on one API server.
//
//	go run ./bench -rest 1h -nodes 5000 -away 5m
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
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sctp-agent/sctp-agent/test/controlplane"
)

const account = "sctp-agent"

func main() {
	var (
		rest   = flag.Duration("rest", time.Minute, "how long one agent is watched at rest; 0 leaves this part out")
		cycles = flag.Duration("cycles", 10*time.Second, "how long one agent assesses every 50 ms")
		nodes  = flag.Int("nodes", 500, "nodes of the simulated cluster; 0 for none")
		away   = flag.Duration("away", 30*time.Second, "how long the simulated cluster's API server is away")
	)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := bench(ctx, *rest, *cycles, *nodes, *away); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, rest, cycles time.Duration, nodes int, away time.Duration) error {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/sctp-agent/sctp-agent").Output()
	if err != nil {
		return fmt.Errorf("finding the product: %w", err)
	}
	root := strings.TrimSpace(string(out))
	agent, err := build(ctx, root, filepath.Join(dir, "agent"), "./cmd/sctp-agent")
	if err != nil {
		return err
	}
	floor, err := build(ctx, filepath.Join(root, "test"), filepath.Join(dir, "floor"), "./bench/floor")
	if err != nil {
		return err
	}
	cp, err := controlplane.Start(ctx, controlplane.Options{
		AuditPolicy: controlplane.AuditMetadata,
		Progress:    func(p controlplane.Progress) { fmt.Fprintln(os.Stderr, p) },
	})
	if err != nil {
		return err
	}
	defer cp.Stop()
	if err := install(ctx, cp, root); err != nil {
		return err
	}
	if rest > 0 {
		if err := single(ctx, cp, dir, agent, floor, rest, cycles); err != nil {
			return err
		}
	}
	if nodes == 0 {
		return nil
	}
	return many(ctx, cp, nodes, away)
}

// build builds a package, by its path in the module at dir.
func build(ctx context.Context, dir, path, pkg string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", pkg, err, out)
	}
	return path, nil
}

// install the product's rights.
func install(ctx context.Context, cp *controlplane.ControlPlane, root string) error {
	client, err := cp.Client()
	if err != nil {
		return err
	}
	if _, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: account}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	for _, name := range []string{"rbac.yaml", "admission.yaml"} {
		b, err := os.ReadFile(filepath.Join(root, "manifests/base", name))
		if err != nil {
			return err
		}
		if err := cp.Apply(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// single measures one process at rest, and at work.
func single(ctx context.Context, cp *controlplane.ControlPlane, dir, agent, floor string, rest, cycles time.Duration) error {
	client, err := cp.Client()
	if err != nil {
		return err
	}
	fmt.Printf("%-8s %10s %14s %14s %12s %14s %12s\n", "", "binary", "RSS at start", "RSS after", "CPU at rest", "requests/hour", "CPU/cycle")
	for _, p := range []struct {
		name, path string
		args       []string
	}{
		{"floor", floor, nil},
		{"agent", agent, []string{"run", "--listen", "127.0.0.1:0"}},
	} {
		node := "single-" + p.name
		if _, err := client.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}, metav1.CreateOptions{}); err != nil {
			return err
		}
		token, err := cp.NodeToken(ctx, controlplane.NodeTokenOptions{Node: node, Namespace: account, ServiceAccount: account})
		if err != nil {
			return err
		}
		kubeconfig := filepath.Join(dir, node)
		b, err := controlplane.Kubeconfig(cp.TokenConfig(token), cp.URL())
		if err != nil {
			return err
		}
		if err := os.WriteFile(kubeconfig, b, 0o600); err != nil {
			return err
		}
		start := func(extra ...string) (*exec.Cmd, error) {
			args := []string{kubeconfig, node}
			if p.args != nil {
				args = append(append(append([]string{}, p.args...), "--kubeconfig", kubeconfig, "--node-name", node), extra...)
			}
			cmd := exec.CommandContext(ctx, p.path, args...)
			cmd.Stderr = os.Stderr
			return cmd, cmd.Start()
		}
		cmd, err := start()
		if err != nil {
			return err
		}
		sleep(ctx, 5*time.Second)
		before := usage(cmd.Process.Pid)
		events, err := cp.AuditEvents()
		if err != nil {
			return err
		}
		requests := count(events, node)
		sleep(ctx, rest)
		after := usage(cmd.Process.Pid)
		if events, err = cp.AuditEvents(); err != nil {
			return err
		}
		requests = count(events, node) - requests
		_ = cmd.Process.Kill()
		_ = cmd.Wait()

		perCycle := "-"
		if p.args != nil {
			if perCycle, err = cycle(ctx, start, cycles); err != nil {
				return err
			}
		}
		size, err := os.Stat(p.path)
		if err != nil {
			return err
		}
		fmt.Printf("%-8s %7.2f MB %11.1f MB %11.1f MB %6d ticks %14.1f %12s\n", p.name, float64(size.Size())/1e6,
			before.rss/1e6, after.rss/1e6, after.ticks-before.ticks, float64(requests)/rest.Hours(), perCycle)
	}
	fmt.Printf("(at rest for %s; a tick of CPU is 10 ms)\n\n", rest)
	return nil
}

// cycle runs an agent that assesses all the time, and divides.
func cycle(ctx context.Context, start func(...string) (*exec.Cmd, error), during time.Duration) (string, error) {
	const address = "127.0.0.1:19475"
	cmd, err := start("--listen", address, "--resync", "50ms")
	if err != nil {
		return "", err
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	sleep(ctx, 3*time.Second)
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
	sleep(ctx, during)
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
	rss   float64 // bytes
	ticks int64
}

// usage of a process: proc_pid_status(5), proc_pid_stat(5).
func usage(pid int) used {
	var u used
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			kb, _ := strconv.ParseFloat(f[1], 64)
			u.rss = kb * 1024
		}
	}
	b, _ = os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if _, after, ok := strings.Cut(string(b), ") "); ok {
		if f := strings.Fields(after); len(f) > 12 {
			user, _ := strconv.ParseInt(f[11], 10, 64)
			system, _ := strconv.ParseInt(f[12], 10, 64)
			u.ticks = user + system
		}
	}
	return u
}

func count(events []controlplane.AuditEvent, node string) int {
	n := 0
	for _, e := range events {
		for _, v := range e.User.Extra["authentication.kubernetes.io/node-name"] {
			if v == node {
				n++
			}
		}
	}
	return n
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
