// Command demo shows sctp-agent on a machine without a cluster: three virtual
// machines with a Debian kernel are the nodes of a real API server, each runs
// the agent with its own service account's token, and the Nodes' labels show which
// can run SCTP and why the others cannot. Then one of them is fixed.
//
//	make demo
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sctp-agent/sctp-agent/test/controlplane"
	"github.com/sctp-agent/sctp-agent/test/guest"
)

// buildArg makes this program build the control plane and nothing else: as a
// process of its own it can step behind the guests.
const buildArg = "build-controlplane"

func main() {
	log.SetFlags(0)
	log.SetPrefix("demo: ")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	if len(os.Args) > 1 && os.Args[1] == buildArg {
		if err := buildControlPlane(ctx); err != nil {
			log.Fatal(err)
		}
		return
	}
	d := &demo{screen: &screen{out: os.Stdout, start: time.Now()}}
	err := d.run(ctx)
	d.cleanUp()
	if err != nil {
		log.Fatal(err)
	}
}

func buildControlPlane(ctx context.Context) error {
	_, err := controlplane.Build(ctx, func(p controlplane.Progress) { fmt.Println(p) }, controlplane.Etcd, controlplane.APIServer)
	return err
}

// screen is what the audience sees: lines with the time since the start.
type screen struct {
	mu    sync.Mutex
	out   io.Writer
	start time.Time
	took  []string
}

func (s *screen) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "%6.1fs  %s\n", time.Since(s.start).Seconds(), fmt.Sprintf(format, args...))
}

// block prints whole lines without the time.
func (s *screen) block(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(s.out)
	for line := range strings.Lines(text) {
		fmt.Fprint(s.out, "         ", line)
	}
	fmt.Fprintln(s.out)
}

// phase notes how long a part of the demo took, and gives back what ends it.
func (s *screen) phase(name string) func() {
	begin := time.Now()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.took = append(s.took, fmt.Sprintf("%-52s %6.1f s, from %.1f s on", name, time.Since(begin).Seconds(), begin.Sub(s.start).Seconds()))
	}
}

// vendorBlacklist is what RHEL's kernel-modules-extra package installs.
const vendorBlacklist = `# Remove the blacklist by adding a comment # at the start of the line.
#
# This kernel module can be automatically loaded by non-root users. To
# enhance system security, the module is blacklisted by default to ensure
# system administrators make the module available for use as needed.
blacklist sctp
`

// asShipped is RHCOS without a MachineConfig; enabled are the two files of the
// MachineConfig that OpenShift documents.
func asShipped() []guest.File {
	return []guest.File{guest.Text("/etc/modprobe.d/sctp-blacklist.conf", vendorBlacklist)}
}

func enabled() []guest.File {
	return []guest.File{
		guest.Text("/etc/modprobe.d/sctp-blacklist.conf", ""),
		guest.Text("/etc/modules-load.d/sctp-load.conf", "sctp"),
	}
}

// node is a virtual machine that is a node of the cluster.
type node struct {
	name  string
	story string
	files []guest.File

	guest *guest.Guest
	agent *agentRun
}

type demo struct {
	screen *screen
	nodes  []*node
	cp     *controlplane.ControlPlane
}

func (d *demo) run(ctx context.Context) error {
	d.nodes = []*node{
		{name: "worker-a", story: "as RHCOS ships", files: asShipped()},
		{name: "worker-b", story: "with the MachineConfig's two files", files: enabled()},
		{name: "worker-c", story: "like b, and a hardening profile's sctp.conf", files: append(enabled(),
			guest.Text("/etc/modprobe.d/sctp.conf", "install sctp /bin/false\n"))},
	}
	d.screen.say("Three nodes with a real kernel, and a real API server. Nothing here touches this machine's kernel.")

	if err := d.startAll(ctx); err != nil {
		return err
	}
	if err := d.join(ctx); err != nil {
		return err
	}
	if err := d.showNodes(ctx); err != nil {
		return err
	}
	return d.fix(ctx, d.nodes[0])
}

// startAll starts the nodes and the API server side by side. Neither is still
// on its way when it returns.
func (d *demo) startAll(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	control := make(chan error, 1)
	go func() {
		err := d.startControlPlane(ctx)
		if err != nil {
			cancel(err)
		}
		control <- err
	}()
	err := d.bootNodes(ctx)
	if err != nil {
		cancel(err)
	} else {
		d.screen.say("all nodes are up")
	}
	// The one that failed first is the reason of both.
	if controlErr := <-control; controlErr != nil || err != nil {
		return context.Cause(ctx)
	}
	return nil
}

// startControlPlane builds what is missing, in a process that gives way to the
// guests, and starts etcd and the API server.
func (d *demo) startControlPlane(ctx context.Context) error {
	end := d.screen.phase("building etcd and kube-apiserver (then kept)")
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "nice", "-n", "15", self, buildArg)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &progress{screen: d.screen}, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building the control plane: %w\n%s", err, stderr.Bytes())
	}
	end()
	end = d.screen.phase("starting etcd and kube-apiserver")
	d.cp, err = controlplane.Start(ctx, controlplane.Options{})
	if err != nil {
		return err
	}
	end()
	d.screen.say("the API server %s is ready at %s", controlplane.Version, d.cp.URL())
	return nil
}

// progress shows the lines of a build: what is done at once, the rest every
// few seconds.
type progress struct {
	screen *screen
	rest   []byte
	last   time.Time
}

func (p *progress) Write(b []byte) (int, error) {
	p.rest = append(p.rest, b...)
	for {
		line, rest, ok := bytes.Cut(p.rest, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		p.rest = rest
		if bytes.Contains(line, []byte("compiling")) && time.Since(p.last) < 10*time.Second {
			continue
		}
		p.last = time.Now()
		p.screen.say("%s", line)
	}
}

// bootNodes boots the virtual machines, and shows what "sctp-agent check" says
// in each.
func (d *demo) bootNodes(ctx context.Context) error {
	end := d.screen.phase("kernel, kmod and systemd from Debian (then kept)")
	d.screen.say("preparing a Debian kernel with its kmod and systemd-modules-load, and the agent")
	agent, err := guest.GoProgram(ctx, agentPath, "github.com/sctp-agent/sctp-agent/cmd/sctp-agent")
	if err != nil {
		return err
	}
	if err := guest.Prepare(ctx, guest.Config{}); err != nil {
		return err
	}
	end()
	end = d.screen.phase("booting three nodes, and their own verdicts")
	defer end()
	d.screen.say("booting three nodes")
	errs := make(chan error, len(d.nodes))
	for _, n := range d.nodes {
		go func() { errs <- d.bootNode(ctx, n, agent) }()
	}
	var failed error
	for range d.nodes {
		failed = errors.Join(failed, <-errs)
	}
	return failed
}

func (d *demo) bootNode(ctx context.Context, n *node, agent guest.File) error {
	g, err := guest.Boot(ctx, guest.Config{Name: n.name, Net: true, Files: append(n.files, agent)})
	if err != nil {
		return err
	}
	n.guest = g
	out, err := check(ctx, n)
	if err != nil {
		return err
	}
	d.screen.say("%s (%s): Linux %s booted in %.1f s; \"sctp-agent check\" says:\n\n%s", n.name, n.story, g.Release, g.BootTime.Seconds(), out)
	return nil
}

// check runs "sctp-agent check", and returns what matters most of its output.
func check(ctx context.Context, n *node) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	// Software emulation is slow; everywhere else the default will do.
	res, err := n.guest.Run(ctx, guest.Command{Path: agentPath, Args: []string{"check", "--timeout=60s"}})
	if err != nil {
		return "", err
	}
	if res.ExitCode != 0 && res.ExitCode != 1 {
		return "", fmt.Errorf("check on %s: exit code %d\n%s%s", n.name, res.ExitCode, res.Stdout, res.Stderr)
	}
	var b strings.Builder
	for i, paragraph := range strings.Split(string(res.Stdout), "\n\n") {
		if i == 0 || strings.HasPrefix(paragraph, "Evidence") || strings.HasPrefix(paragraph, "What to do") {
			for line := range strings.Lines(strings.Trim(paragraph, "\n") + "\n") {
				b.WriteString("           | " + line)
			}
		}
	}
	return b.String(), nil
}

func (d *demo) cleanUp() {
	for _, n := range d.nodes {
		if n.agent != nil {
			n.agent.stop()
		}
		if n.guest != nil {
			n.guest.Close()
		}
	}
	if d.cp != nil {
		d.cp.Stop()
	}
	d.screen.say("cleaned up: no node, no API server, no file is left but the cache")
	d.screen.say("where the time went:")
	d.screen.block(strings.Join(d.screen.took, "\n") + "\n")
}
