package inguest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// floor is testdata/floor.c.
const floor = "/usr/local/bin/floor"

// use is what a node's processes have used, together.
type use struct {
	bytes, packets float64
	cpu            time.Duration
	anon           float64 // bytes
	threads        int
}

// used by the processes of a node.
func used(t *testing.T, i int, pids ...int) (u use) {
	t.Helper()
	for line := range strings.Lines(run(t, "", "ip", "netns", "exec", namespace(i), "cat", "/proc/net/dev")) {
		if name, counters, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "eth0" {
			f := strings.Fields(counters)
			for _, at := range []int{0, 8} { // received, sent
				u.bytes += parse(t, f[at])
				u.packets += parse(t, f[at+1])
			}
		}
	}
	for _, pid := range pids {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil || len(tasks) == 0 {
			t.Fatalf("no threads of %d: %v", pid, err)
		}
		for _, task := range tasks {
			text, err := os.ReadFile(task)
			if err != nil {
				t.Fatal(err)
			}
			u.cpu += time.Duration(parse(t, strings.Fields(string(text))[0]))
			u.threads++
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		_, anon, _ := strings.Cut(string(status), "RssAnon:")
		u.anon += 1024 * parse(t, strings.Fields(anon)[0])
	}
	return u
}

func parse(t *testing.T, text string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// metric is a value of a page of /metrics.
func metric(t *testing.T, page, series string) float64 {
	t.Helper()
	for line := range strings.Lines(page) {
		if value, found := strings.CutPrefix(line, series+" "); found {
			return parse(t, strings.TrimSpace(value))
		}
	}
	t.Fatalf("no %s in\n%s", series, page)
	return 0
}

// dropped packets, of all ports of the bridge.
func dropped(t *testing.T) (n int) {
	t.Helper()
	for _, part := range strings.Split(run(t, "", "tc", "-s", "qdisc", "show"), "(dropped ")[1:] {
		n += int(parse(t, part[:strings.IndexByte(part, ',')]))
	}
	return n
}

// TestRest measures what an agent costs at rest, with ten peers on the ring and
// one other node, beside a program that sends the same messages and does nothing
// else.
func TestRest(t *testing.T) {
	const nodes, warm, watched = 12, time.Minute, 2 * time.Minute
	m := newMesh(t, nodes)
	time.Sleep(warm)
	before := make([]use, nodes)
	for i := range nodes {
		before[i] = used(t, i, m.agents[i].cmd.Process.Pid)
	}
	time.Sleep(watched)
	var agent, most use
	for i := range nodes {
		after := used(t, i, m.agents[i].cmd.Process.Pid)
		agent.bytes += (after.bytes - before[i].bytes) / nodes / watched.Seconds()
		agent.packets += (after.packets - before[i].packets) / nodes / watched.Seconds()
		agent.cpu += (after.cpu - before[i].cpu) / nodes
		agent.anon += after.anon / nodes
		most.anon, most.threads = max(most.anon, after.anon), max(most.threads, after.threads)
	}
	series := 0
	for line := range strings.Lines(string(m.get(0, "/metrics"))) {
		if !strings.HasPrefix(line, "#") {
			series++
		}
	}
	addresses := map[int][]string{} // of the others, the one that is not on the ring first
	for name, p := range m.pictures() {
		on := map[string]bool{}
		for _, peer := range p.Peers {
			if peer.Role == "ring" {
				on[peer.Address] = true
				addresses[number(name)] = append(addresses[number(name)], peer.Address)
			}
		}
		for i := range nodes {
			if a := address(i, 0); !on[a] && i != number(name) {
				addresses[number(name)] = append([]string{a}, addresses[number(name)]...)
			}
		}
	}
	for _, i := range m.running() {
		m.stop(i)
	}

	cmds := make([]*exec.Cmd, nodes)
	for i := range nodes {
		cmds[i] = exec.Command(floor, append([]string{address(i, 0)}, addresses[i]...)...)
		cmds[i].Stderr = os.Stderr
		if err := in(i, cmds[i].Start); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cmds[i].Process.Kill(); _ = cmds[i].Wait() }()
	}
	time.Sleep(warm)
	pids := func(i int) []int {
		pid := cmds[i].Process.Pid
		child, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		if err != nil {
			t.Fatal(err)
		}
		return []int{pid, int(parse(t, strings.TrimSpace(string(child))))}
	}
	for i := range nodes {
		before[i] = used(t, i, pids(i)...)
	}
	time.Sleep(watched)
	var least use
	for i := range nodes {
		after := used(t, i, pids(i)...)
		least.bytes += (after.bytes - before[i].bytes) / nodes / watched.Seconds()
		least.packets += (after.packets - before[i].packets) / nodes / watched.Seconds()
		least.cpu += (after.cpu - before[i].cpu) / nodes
		least.anon += after.anon / nodes
	}

	ratio := float64(agent.cpu) / float64(least.cpu)
	t.Logf("a node with ten peers, for %v: agent, floor", watched)
	t.Logf("kbit/s, sent and received: %.1f, %.1f", 8*agent.bytes/1000, 8*least.bytes/1000)
	t.Logf("packets/s: %.1f, %.1f", agent.packets, least.packets)
	t.Logf("processor, ms/s at a thousand million instructions a second: %.2f, %.2f; ratio %.2f",
		float64(agent.cpu.Milliseconds())/watched.Seconds(), float64(least.cpu.Milliseconds())/watched.Seconds(), ratio)
	t.Logf("own memory, MB: %.2f (most %.2f, %d threads), %.2f", agent.anon/1e6, most.anon/1e6, most.threads, least.anon/1e6)
	t.Logf("series: %d", series)
	if kbit := 8 * agent.bytes / 1000; kbit > 40 {
		t.Errorf("%.1f kbit/s, want 40 at most", kbit)
	}
	if least.bytes < 0.8*agent.bytes {
		t.Errorf("the floor sends %.0f bytes/s, the agent %.0f: they do not do the same", least.bytes, agent.bytes)
	}
	if ratio > 3 {
		t.Errorf("the agent takes %.1f times as much of the processor as the floor, want 3 at most", ratio)
	}
	// Without what the DaemonSet sets it takes more, which is printed.
	if most.anon > 5e6 && *environ != "" {
		t.Errorf("%.2f MB of own memory, want 5 at most", most.anon/1e6)
	}
	if series > 40 {
		t.Errorf("%d series, want 40 at most", series)
	}
}
