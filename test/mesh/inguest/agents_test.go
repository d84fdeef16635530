package inguest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
)

// program is where the guest has it.
const program = "/usr/local/bin/sctp-mesh"

// mesh is agents in namespaces of their own, with an API server.
type mesh struct {
	t   *testing.T
	api *api

	// group is the cgroup of the agents that are started.
	group *os.File

	mu     sync.Mutex
	agents map[int]*agent
	told   []change
}

type agent struct {
	pod
	cmd   *exec.Cmd
	ended chan error
}

// change of a conclusion, as an agent logs it: about one of its peers, or about
// itself where there is none.
type change struct {
	Time      time.Time
	Msg, Peer string
	From, To  picture.Conclusion
	Scope     picture.Scope
	observer  string
}

func (c change) String() string {
	return fmt.Sprintf("%s %s says of %q: %q, %s, was %q", c.Time.Format("15:04:05.000"), c.observer, c.Peer, c.To, c.Scope, c.From)
}

func nodeName(i int) string { return fmt.Sprintf("node-%d", i) }

// newMesh starts that many agents and waits until each has probed its peers. The
// network has one namespace more, of a pod that is no agent.
func newMesh(t *testing.T, nodes int) *mesh {
	t.Helper()
	newNetwork(t, nodes+1)
	m := &mesh{t: t, api: startAPI(t), agents: map[int]*agent{}}
	for i := range nodes {
		m.api.put(m.pod(i, 0))
	}
	t.Cleanup(func() {
		for _, i := range m.running() {
			m.stop(i)
		}
	})
	for i := range nodes {
		m.start(m.pod(i, 0))
	}
	m.await(2*time.Minute, "each peer is reached", func(p picture.Picture) bool {
		return len(p.Peers) > 0 && p.Self.State == picture.StateOK && !slices.ContainsFunc(p.Peers, func(p picture.Peer) bool {
			return p.New.State != picture.StateOK || p.Role == picture.RoleRing && p.Kept.State != picture.StateOK
		})
	}, len(m.agents))
	return m
}

// pod of a node: those that follow each other have other names and addresses.
func (m *mesh) pod(i, generation int) pod {
	return pod{
		node: nodeName(i), zone: fmt.Sprintf("zone-%d", i%3), address: address(i, generation),
		name: fmt.Sprintf("mesh-%d-%d", i, generation), serving: true,
	}
}

func number(node string) (i int) {
	_, _ = fmt.Sscanf(node, "node-%d", &i)
	return i
}

// start an agent as a DaemonSet's pod would be: without privilege, in its own
// network.
func (m *mesh) start(p pod) {
	m.t.Helper()
	cmd := exec.Command(program, "--kubeconfig", kubeconfig, "--log-format", "json")
	cmd.Env = []string{
		"NODE_NAME=" + p.node, "POD_NAMESPACE=ns", "POD_NAME=" + p.name, "POD_UID=" + p.uid(), "POD_IP=" + p.address,
	}
	cmd.Env = append(cmd.Env, strings.Fields(*environ)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if m.group != nil {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(m.group.Fd())
	}
	r, w, err := os.Pipe()
	if err != nil {
		m.t.Fatal(err)
	}
	cmd.Stderr = w
	i := number(p.node)
	if err := in(i, cmd.Start); err != nil {
		m.t.Fatalf("start the agent of %s: %v", p.node, err)
	}
	w.Close()
	a := &agent{p, cmd, make(chan error, 1)}
	m.mu.Lock()
	m.agents[i] = a
	m.mu.Unlock()
	go func() {
		m.listen(p.node, r)
		r.Close()
		a.ended <- cmd.Wait()
	}()
}

// listen to what an agent logs.
func (m *mesh) listen(node string, log io.Reader) {
	for lines := bufio.NewScanner(log); lines.Scan(); {
		c := change{observer: node}
		switch err := json.Unmarshal(lines.Bytes(), &c); {
		case err != nil:
			m.t.Errorf("%s: %s", node, lines.Text()) // a panic, for example
		case c.Msg == "the conclusion has changed":
			m.mu.Lock()
			m.told = append(m.told, c)
			m.mu.Unlock()
		default:
			m.t.Logf("%s: %s", node, lines.Text())
		}
	}
}

// stop an agent as a kubelet does.
func (m *mesh) stop(i int) {
	m.t.Helper()
	a := m.forget(i)
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		m.t.Errorf("end the agent of %s: %v", a.node, err)
	}
	select {
	case err := <-a.ended:
		if err != nil {
			m.t.Errorf("the agent of %s: %v", a.node, err)
		}
	case <-time.After(10 * time.Second): // terminationGracePeriodSeconds
		m.t.Errorf("the agent of %s does not end", a.node)
		_ = a.cmd.Process.Kill()
		<-a.ended
	}
}

// crash ends an agent as the kernel does that is out of memory.
func (m *mesh) crash(i int) {
	m.t.Helper()
	a := m.forget(i)
	if err := a.cmd.Process.Kill(); err != nil {
		m.t.Error(err)
	}
	<-a.ended
}

func (m *mesh) forget(i int) *agent {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.agents[i]
	delete(m.agents, i)
	return a
}

func (m *mesh) running() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.agents))
}

var client = http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// get a page of an agent.
func (m *mesh) get(i int, page string) []byte {
	m.t.Helper()
	m.mu.Lock()
	url := "http://" + m.agents[i].address + ":9477" + page
	m.mu.Unlock()
	resp, err := client.Get(url)
	if err != nil {
		m.t.Errorf("%s: %v", url, err)
		return nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		m.t.Errorf("%s: %s, %v", url, resp.Status, err)
		return nil
	}
	return text
}

// pictures of all agents.
func (m *mesh) pictures() map[string]picture.Picture {
	m.t.Helper()
	all := map[string]picture.Picture{}
	for _, i := range m.running() {
		var p picture.Picture
		if text := m.get(i, "/mesh"); text != nil {
			if err := json.Unmarshal(text, &p); err != nil {
				m.t.Errorf("%s: %v", nodeName(i), err)
			}
		}
		all[nodeName(i)] = p
	}
	return all
}

// await that something holds for so many agents.
func (m *mesh) await(most time.Duration, what string, holds func(picture.Picture) bool, want int) {
	m.t.Helper()
	began := time.Now()
	for {
		time.Sleep(time.Second)
		var who []string
		for name, p := range m.pictures() {
			if holds(p) {
				who = append(who, name)
			}
		}
		if len(who) == want {
			m.t.Logf("%s: after %.1f s", what, time.Since(began).Seconds())
			return
		}
		if time.Since(began) > most {
			m.t.Fatalf("%s: after %v of %v, want %d", what, most, who, want)
		}
	}
}

// said are the changes since then, in their order.
func (m *mesh) said(since time.Time) []change {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []change
	for _, c := range m.told {
		if !c.Time.Before(since) {
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b change) int { return a.Time.Compare(b.Time) })
	return list
}

// seen is what agents conclude now, by whom and about whom, and about themselves
// by their own name alone.
func seen(pictures map[string]picture.Picture) map[string]string {
	all := map[string]string{}
	for name, p := range pictures {
		for _, peer := range p.Failing() {
			all[name+" "+peer.Node] = said(peer.Conclusion, peer.Scope)
		}
		switch p.Self.State {
		case picture.StateOK:
		case picture.StateFailed:
			all[name] = said(picture.ConclusionSelf, p.Self.Scope)
		default:
			all[name] = string(p.Self.State)
		}
	}
	return all
}

func said(c picture.Conclusion, s picture.Scope) string { return string(c) + ", " + string(s) }

// quiet fails where anything was concluded since then, or is.
func (m *mesh) quiet(since time.Time, doing string) {
	m.t.Helper()
	if now, told := seen(m.pictures()), m.said(since); len(now) > 0 || len(told) > 0 {
		m.t.Errorf("%s: %v; %v", doing, now, lines(told))
	}
}

func lines(changes []change) string {
	var text strings.Builder
	for _, c := range changes {
		fmt.Fprintf(&text, "\n  %v", c)
	}
	return text.String()
}
