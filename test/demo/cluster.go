package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
	"github.com/sctp-agent/sctp-agent/test/controlplane"
	"github.com/sctp-agent/sctp-agent/test/guest"
	"github.com/sctp-agent/sctp-agent/test/source"
)

const (
	agentPath      = "/usr/bin/sctp-agent"
	kubeconfigPath = "/etc/sctp-agent/kubeconfig"
	namespace      = "sctp-agent" // as in manifests/base
	serviceAccount = "sctp-agent"
)

// join makes the guests nodes of the cluster, and starts the agent in each with
// a token that is good for its own Node.
func (d *demo) join(ctx context.Context) error {
	end := d.screen.phase("joining the nodes, the agents' first word")
	defer end()
	d.screen.say("applying manifests/base: the agent's account, its rights, and the policy that keeps it to its own Node")
	if err := d.applyManifests(ctx); err != nil {
		return err
	}
	client, err := d.cp.Client()
	if err != nil {
		return err
	}
	for _, n := range d.nodes {
		if _, err := client.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.name}}, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("registering %s: %w", n.name, err)
		}
		token, err := d.cp.NodeToken(ctx, controlplane.NodeTokenOptions{Node: n.name, Namespace: namespace, ServiceAccount: serviceAccount})
		if err != nil {
			return err
		}
		kubeconfig, err := controlplane.Kubeconfig(d.cp.TokenConfig(token), d.cp.GuestURL())
		if err != nil {
			return err
		}
		if err := n.guest.PutFile(ctx, guest.File{Path: kubeconfigPath, Mode: 0o600, Data: kubeconfig}); err != nil {
			return err
		}
		n.startAgent(ctx)
	}
	d.screen.say("\"sctp-agent run\" is running on each node, with a service-account token bound to a pod on that node")
	return nil
}

func (d *demo) applyManifests(ctx context.Context) error {
	dir, err := source.Root()
	if err != nil {
		return err
	}
	all := []byte("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: " + namespace + "\n")
	for _, name := range []string{"rbac.yaml", "admission.yaml"} {
		b, err := os.ReadFile(filepath.Join(dir, "manifests/base", name))
		if err != nil {
			return err
		}
		all = append(append(all, "\n---\n"...), b...)
	}
	return d.cp.Apply(ctx, all)
}

// agentRun is "sctp-agent run" in a guest.
type agentRun struct {
	stop func()
	done chan struct{}
	res  guest.Result
	err  error
}

func (n *node) startAgent(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	run := &agentRun{done: make(chan struct{})}
	run.stop = func() { cancel(); <-run.done }
	go func() {
		defer close(run.done)
		run.res, run.err = n.guest.Run(ctx, guest.Command{
			Path: agentPath,
			Args: []string{"run", "--kubeconfig", kubeconfigPath, "--timeout=60s"},
			Env:  []string{"NODE_NAME=" + n.name},
		})
	}()
	n.agent = run
}

// says is what a Node tells about SCTP.
type says struct {
	ready, onBoot, reason, evidence, bootID string
}

func (d *demo) nodeSays(ctx context.Context, n *node) (says, error) {
	client, err := d.cp.Client()
	if err != nil {
		return says{}, err
	}
	obj, err := client.CoreV1().Nodes().Get(ctx, n.name, metav1.GetOptions{})
	if err != nil {
		return says{}, err
	}
	s := says{
		ready:  obj.Labels["sctp-agent/ready"],
		onBoot: obj.Labels["sctp-agent/on-boot"],
		reason: obj.Annotations["sctp-agent/reason"],
	}
	text := obj.Annotations["sctp-agent/report"]
	if text == "" {
		return s, nil
	}
	var r verdict.Report
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return says{}, fmt.Errorf("the report on Node %s: %w", n.name, err)
	}
	s.bootID = r.Kernel.BootID
	s.evidence = evidence(r)
	return s, nil
}

// evidence is the line that explains the verdict: what stops the module, else
// what asks for it.
func evidence(r verdict.Report) string {
	lists := [][]kmod.Evidence{r.Policy.ModulesLoad.Evidence}
	if r.Ready != kmod.AnswerTrue {
		lists = [][]kmod.Evidence{r.Policy.Autoload.Evidence, r.Policy.ModulesLoad.Evidence}
	}
	for _, list := range lists {
		for _, e := range list {
			return e.String()
		}
	}
	return r.Message
}

// await polls a Node until it says what is wanted; an agent that ended, or two
// minutes without, is a failure.
func (d *demo) await(ctx context.Context, n *node, what string, ok func(says) bool) (says, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	var last says
	for {
		s, err := d.nodeSays(ctx, n)
		if err == nil && ok(s) {
			return s, nil
		}
		last = s
		select {
		case <-n.agent.done:
			return s, fmt.Errorf("the agent on %s ended: exit code %d, %v\n%s%s", n.name, n.agent.res.ExitCode, n.agent.err, n.agent.res.Stdout, n.agent.res.Stderr)
		case <-ctx.Done():
			n.agent.stop()
			return s, fmt.Errorf("waiting for Node %s to say %s: %w; it says %+v (%v); the agent:\n%s", n.name, what, context.Cause(ctx), last, err, n.agent.res.Stderr)
		case <-tick.C:
		}
	}
}

func (d *demo) showNodes(ctx context.Context) error {
	var rows []says
	for _, n := range d.nodes {
		s, err := d.await(ctx, n, "a verdict", func(s says) bool { return s.reason != "" })
		if err != nil {
			return err
		}
		rows = append(rows, s)
	}
	d.screen.say("what the Nodes say (labels sctp-agent/ready and sctp-agent/on-boot, annotations reason and report):")
	d.screen.block(table(d.nodes, rows))
	want := []says{
		{ready: "false", onBoot: "blocked", reason: string(verdict.ReasonModuleBlacklisted)},
		{ready: "true", onBoot: "loaded", reason: string(verdict.ReasonProbePassed)},
		{ready: "false", onBoot: "blocked", reason: string(verdict.ReasonModuleInstallOverridden)},
	}
	var err error
	for i, w := range want {
		if r := rows[i]; r.ready != w.ready || r.onBoot != w.onBoot || r.reason != w.reason {
			err = errors.Join(err, fmt.Errorf("the Node %s says %s, %s, %s; want %s, %s, %s", d.nodes[i].name, r.ready, r.onBoot, r.reason, w.ready, w.onBoot, w.reason))
		}
	}
	return err
}

func table(nodes []*node, rows []says) string {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 8, 3, ' ', 0)
	fmt.Fprintln(w, "NODE\tREADY\tON-BOOT\tREASON\tEVIDENCE")
	for i, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", nodes[i].name, r.ready, r.onBoot, r.reason, r.evidence)
	}
	w.Flush()
	return b.String()
}

// fix writes the MachineConfig's two files into a node, reboots it, and shows
// the label turn.
func (d *demo) fix(ctx context.Context, n *node) error {
	end := d.screen.phase("fixing " + n.name + ", with its reboot")
	defer end()
	before, err := d.nodeSays(ctx, n)
	if err != nil {
		return err
	}
	d.screen.say("fixing %s: /etc/modprobe.d/sctp-blacklist.conf is emptied, /etc/modules-load.d/sctp-load.conf asks for sctp", n.name)
	for _, f := range enabled() {
		if err := n.guest.PutFile(ctx, f); err != nil {
			return err
		}
	}
	pending, err := d.await(ctx, n, "on-boot=loaded", func(s says) bool { return s.onBoot == "loaded" })
	if err != nil {
		return err
	}
	d.screen.say("the agent has noticed: ready=%s, on-boot=%s (%s); rebooting %s", pending.ready, pending.onBoot, pending.reason, n.name)
	n.agent.stop()
	if err := n.guest.Reboot(ctx); err != nil {
		return err
	}
	d.screen.say("%s is back after %.1f s; the agent starts again", n.name, n.guest.BootTime.Seconds())
	n.startAgent(ctx)
	after, err := d.await(ctx, n, "ready=true", func(s says) bool { return s.ready == "true" && s.bootID != before.bootID })
	if err != nil {
		return err
	}
	d.screen.say("the label has turned:")
	nodes := []*node{{name: n.name + " before"}, {name: n.name + " files written"}, {name: n.name + " rebooted"}}
	d.screen.block(table(nodes, []says{before, pending, after}))
	return nil
}
