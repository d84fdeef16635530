package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/sctp-agent/sctp-agent/internal/cluster"
	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/internal/terminal"
	"github.com/sctp-agent/sctp-agent/internal/verify"
	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
)

func newVerifyCommand() *cobra.Command {
	var (
		connect clusterFlags
		output  outputFlags
		opts    verify.Options
		secrets []string
		quiet   bool
	)
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Prove SCTP between pods, through Services, under NetworkPolicy",
		Long: `verify runs a listener and clients on each ready node (or on those named), as
pods of the agent's own image in a namespace of their own, and tries every path
between them: straight from pod to pod, through a Service's cluster address,
through node ports, over IPv4 and IPv6. Each path is proved by a handshake, a
nonce that comes back, and messages of 1 byte to 64 KiB.

Up to 12 nodes are tried each against each. More are put on a ring, and each
tries the next ten: 1,000 nodes are 10,000 pairs. --all-pairs tries all pairs of
up to 100 nodes.

Findings name the cause: refused, no route, dropped on the way there, dropped on
the way back, messages lost, Services not served, a module that is missing; and
where: a node, a pair of nodes, a zone, a pair of zones.

With --failover, a client that keeps its source port has an association with one
of a Service's two endpoints, which is deleted without a grace period. The time
until the other answers shows whether connection tracking keeps stale entries.

It needs the right to create namespaces, pods, services, service accounts (and
network policies with --network-policy; to delete pods with --failover), but no
route to pods or nodes from here, no exec, no logs. The namespace is always
deleted; after a run that was killed, by the next run.

Where the agent's pods pull their image with secrets (imagePullSecrets), these
are copied into that namespace, which needs the right to get them and to create
secrets. With --image, name them with --image-pull-secret.

Exit status: 0 everything works, 1 something does not, 2 unknown, or the command
failed or was misused.`,
		Example: `  kubectl sctp verify
  kubectl sctp verify --node worker-0 --node worker-1 --network-policy
  kubectl sctp verify -o html > verify.html`,
		Args: noArguments("nodes are named with --node"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			// In less, no path works.
			if opts.Timeout < 10*time.Second || opts.PathTimeout < 100*time.Millisecond {
				return errors.New("--timeout must be at least 10s, and --path-timeout 100ms")
			}
			for _, s := range secrets {
				namespace, name, ok := namespaced(s)
				if !ok {
					return fmt.Errorf("--image-pull-secret wants NAMESPACE/NAME, not %q", s)
				}
				opts.PullSecrets = append(opts.PullSecrets, verify.SecretName{Namespace: namespace, Name: name})
			}
			if _, _, ok := namespaced(opts.Network); opts.Network != "" && !ok {
				return fmt.Errorf("--network wants NAMESPACE/NAME, not %q", opts.Network)
			}
			client, keys, err := connect.open(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			opts.Keys = keys
			opts.Progress = progress(cmd.ErrOrStderr(), quiet)
			r, err := verify.Run(cmd.Context(), client.Kube, opts)
			if r == nil {
				return err
			}
			printErr := output.Print(cmd.OutOrStdout(), r, map[command.Output]form{
				"table": func(w io.Writer, p terminal.Palette) error { return printVerify(w, p, r) },
				"html":  func(w io.Writer, _ terminal.Palette) error { return verify.WriteHTML(w, r) },
			})
			if err = errors.Join(err, printErr); err != nil {
				return err
			}
			return command.Answered(r.Verdict())
		},
	}
	connect.register(cmd)
	output.register(cmd, "html")
	flags := cmd.Flags()
	flags.StringSliceVar(&opts.Nodes, "node", nil, "node to try; repeatable (default: all that are ready for SCTP)")
	flags.BoolVar(&opts.AllPairs, "all-pairs", false, "try each node against each, of up to 100 nodes (default: of up to 12)")
	flags.StringVar(&opts.Image, "image", "", "image of the pods (default: that of the agent's pods)")
	flags.StringSliceVar(&secrets, "image-pull-secret", nil, "secret (NAMESPACE/NAME) to copy and to pull the image with; repeatable (default: those of the agent's pods, if the image is theirs)")
	flags.StringVar(&opts.Command, "command", verify.DefaultCommand, "path of sctp-agent in that image")
	flags.BoolVar(&opts.Policy, "network-policy", false, "also try whether a NetworkPolicy for SCTP ports is enforced")
	flags.BoolVar(&opts.LoadBalancer, "load-balancer", false, "also try a Service of type LoadBalancer, from nodes without its endpoint")
	flags.StringVar(&opts.Network, "network", "", "also try associations with a second path in this network (NetworkAttachmentDefinition NAMESPACE/NAME; Multus)")
	flags.BoolVar(&opts.Failover, "failover", false, "also delete a Service's endpoint under a client that keeps its source port, and measure how long until another answers")
	flags.DurationVar(&opts.Timeout, "timeout", verify.DefaultTimeout, "deadline of the whole run, without cleaning up")
	flags.DurationVar(&opts.PathTimeout, "path-timeout", verify.DefaultPathTimeout, "how long each step on a path may take")
	flags.BoolVarP(&quiet, "quiet", "q", false, "suppress progress output")
	completeObjects(cmd, &connect, "node", func(c *cluster.Client) listing[*corev1.NodeList] { return c.Kube.CoreV1().Nodes().List })
	return cmd
}

// namespaced takes NAMESPACE/NAME apart.
func namespaced(s string) (namespace, name string, ok bool) {
	namespace, name, _ = strings.Cut(s, "/")
	return namespace, name, namespace != "" && name != "" && !strings.Contains(name, "/")
}

// short is an outcome in a cell of the matrix.
func short(o wire.Outcome) string {
	return cmp.Or(map[wire.Outcome]string{
		wire.OK: "ok", wire.NotTried: "untried", wire.Blocked: "blocked",
		wire.Refused: "REFUSED", wire.NoRoute: "NOROUTE", wire.Dropped: "DROPPED", wire.OneWay: "ONE-WAY", wire.NetworkDown: "DOWN",
		wire.Lost: "LOST", wire.Corrupt: "LOST", wire.PathDown: "PATHDOWN", wire.ModuleMissing: "NOMOD", wire.Denied: "DENIED",
	}[o], "?")
}

// cellWidth and cells per block keep a matrix within the terminal.
const (
	cellWidth = 9
	perBlock  = (terminal.Width - 6) / cellWidth
)

func printVerify(w io.Writer, p terminal.Palette, r *verify.Result) error {
	t := p.Writer(w)
	matrix := printByZone
	if len(r.Nodes) <= verify.AllPairsByDefault {
		matrix = printMatrix
		printListeners(t, r)
	}
	for _, m := range []struct {
		kind  verify.PathKind
		title string
	}{
		{verify.PathPod, "pod to pod"},
		{verify.PathClusterIP, "pod to Service (ClusterIP) of the node's listener"},
		{verify.PathNodePort, "pod to node port of the node (its own and another's listener)"},
		{verify.PathLoadBalancer, "pod to load balancer of the node's listener"},
		{verify.PathNetwork, "pod to pod, with a second path in another network"},
		{verify.PathAllowed, "NetworkPolicy: the port it allows"},
		{verify.PathDenied, "NetworkPolicy: a port it does not allow"},
	} {
		for _, family := range []string{"IPv4", "IPv6"} {
			matrix(t, r, m.kind, family, m.title)
		}
	}
	for _, f := range r.Findings {
		t.Line("")
		head := p.Bad(f.Kind)
		if f.Kind == verify.FindingUndecided {
			head = p.Warn(f.Kind)
		}
		t.Line("%s", head)
		t.Wrapped(2, f.Message)
		for i, e := range f.Evidence {
			if i == 2*most {
				t.Line("      … and %d more (-o json lists all)", len(f.Evidence)-i)
				break
			}
			t.Wrapped(6, e)
		}
		t.Wrapped(4, "→ "+f.Fix)
	}
	good, notTried := r.Count()
	t.Line("")
	t.Line("%s, %d of %d paths are as expected, %.1f s", cluster.Count(len(r.Nodes), "node"), good, len(r.Paths), float64(r.DurationMillis)/1000)
	if r.Plan == verify.PlanRing {
		t.Line("each node was tried against the next ten on a ring")
	}
	if notTried > 0 {
		t.Line("%d were not tried: they depend on pairs of pods that do not reach each other", notTried)
	}
	if r.Policy != "" {
		t.Line("NetworkPolicy for SCTP: %s", r.Policy)
	}
	if lb := r.LoadBalancer; lb != nil && len(lb.Addresses) > 0 {
		t.Line("load balancer: %s after %.1f s", strings.Join(lb.Addresses, ", "), lb.Seconds)
	}
	for _, f := range r.Failovers {
		t.Wrapped(0, "failover: "+f.String())
	}
	t.Line("%s", p.Answer(r.Verdict(), "SCTP works", "SCTP does not work everywhere", "Unknown for some paths"))
	return t.Err
}

func printListeners(t *terminal.Writer, r *verify.Result) {
	t.Line("%s", t.Head("nodes by number (in the tables below, paths go from the row to the column)"))
	for _, n := range r.Nodes {
		state := t.Good("listens")
		switch {
		case n.Fault == wire.ModuleMissing:
			state = t.Bad("no SCTP in the kernel")
		case n.Fault != "":
			state = t.Warn("not tested")
		}
		t.Line("%3d  %s: %s", n.Index, n.Name, state)
	}
}

// printByZone prints paths of one kind, where a matrix of the nodes would be too
// large to be read: how many of those from the zone of the row to that of the
// column are as they should be.
func printByZone(t *terminal.Writer, r *verify.Result, kind verify.PathKind, family, title string) {
	zoneOf := map[string]string{}
	for _, n := range r.Nodes {
		zoneOf[n.Name] = terminal.OrDash(n.Zone)
	}
	type pair struct{ from, to string }
	good, all := map[pair]int{}, map[pair]int{}
	var zones []string
	var trips []int64
	for _, path := range r.Paths {
		if path.Kind != kind || path.Family != family {
			continue
		}
		at := pair{zoneOf[path.From], zoneOf[cmp.Or(path.Via, path.To)]}
		zones = append(zones, at.from, at.to)
		all[at]++
		if path.Good() {
			good[at]++
		}
		if path.Outcome == wire.OK {
			trips = append(trips, path.RTTMicros)
		}
	}
	if len(all) == 0 {
		return
	}
	slices.Sort(zones)
	zones = slices.Compact(zones)
	slices.Sort(trips)
	t.Line("")
	title += ", " + family
	if len(trips) > 0 {
		title += fmt.Sprintf(", round trip %s, 99 %% within %s", rtt(trips[len(trips)/2]), rtt(trips[len(trips)*99/100]))
	}
	t.Line("%s", t.Head(title))
	columns := []terminal.Column{{Head: "from zone", Shrink: true}}
	rows := make([][]string, len(zones))
	for i, from := range zones {
		columns = append(columns, terminal.Column{Head: "to " + from, Shrink: true})
		rows[i] = []string{from}
		for _, to := range zones {
			cell := "-"
			if n := all[pair{from, to}]; n > 0 {
				cell = fmt.Sprintf("%d/%d", good[pair{from, to}], n)
			}
			rows[i] = append(rows[i], cell)
		}
	}
	t.Table(columns, rows, func(_ int, cell, padded string) string {
		ok, of, found := strings.Cut(cell, "/")
		switch {
		case !found:
			return padded
		case ok == of:
			return t.Good(padded)
		}
		return t.Bad(padded)
	}, func(int) string { return "" })
}

// printMatrix prints paths of one kind: from the node of the row to that of the
// column (for node ports: through it). A cell is the round trip's time, or the
// worst that happened.
func printMatrix(t *terminal.Writer, r *verify.Result, kind verify.PathKind, family, title string) {
	type pair struct{ from, to string }
	cells := map[pair]verify.Path{}
	for _, path := range r.Paths {
		if path.Kind != kind || path.Family != family {
			continue
		}
		at := pair{path.From, cmp.Or(path.Via, path.To)}
		old, found := cells[at]
		if !found || old.Outcome == wire.OK || old.Outcome == wire.NotTried && path.Outcome != wire.OK {
			cells[at] = path
		}
	}
	if len(cells) == 0 {
		return
	}
	t.Line("")
	t.Line("%s", t.Head(title+", "+family))
	for start := 0; start < len(r.Nodes); start += perBlock {
		block := r.Nodes[start:min(start+perBlock, len(r.Nodes))]
		head := "  from"
		for _, to := range block {
			head += fmt.Sprintf("%*d", cellWidth, to.Index)
		}
		t.Line("%s", head)
		for _, from := range r.Nodes {
			line := fmt.Sprintf("%6d", from.Index)
			for _, to := range block {
				path, found := cells[pair{from.Name, to.Name}]
				cell, paint := short(path.Outcome), t.Bad
				switch {
				case !found:
					cell, paint = "-", func(s string) string { return s }
				case path.Outcome == wire.OK && kind == verify.PathDenied:
					cell = "OPEN"
				case path.Outcome == wire.OK:
					cell, paint = rtt(path.RTTMicros), t.Good
				case path.Outcome == wire.NotTried, path.Outcome == wire.Unknown:
					paint = t.Warn
				case path.Good():
					paint = t.Good
				}
				line += strings.Repeat(" ", max(1, cellWidth-len(cell))) + paint(cell)
			}
			t.Line("%s", line)
		}
	}
}

func rtt(micros int64) string {
	if micros < 10_000 {
		return fmt.Sprintf("%.2fms", float64(micros)/1000)
	}
	return fmt.Sprintf("%.0fms", float64(micros)/1000)
}
