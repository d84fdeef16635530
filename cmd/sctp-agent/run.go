package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/sctp-agent/sctp-agent/internal/agent"
	"github.com/sctp-agent/sctp-agent/internal/buildinfo"
	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/internal/httpserver"
	"github.com/sctp-agent/sctp-agent/internal/kubeconn"
	"github.com/sctp-agent/sctp-agent/internal/nodewriter"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/nodelabel"
	"github.com/sctp-agent/sctp-agent/pkg/probe"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// runFlags are those of run alone.
type runFlags struct {
	host       hostFlags
	kubeconfig string
	prefix     string
	resync     time.Duration
	listen     string
	condition  bool
	heartbeat  time.Duration
	events     bool
	taint      string
	bus        string
	nfdDir     string
	logFormat  string
	logLevel   slog.LevelVar
}

// leastHeartbeat: each heartbeat is a write to etcd, and an event for all that
// watch Nodes.
const leastHeartbeat = 10 * time.Second

func newRunCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Keep this Node's labels and annotations true (the DaemonSet)",
		Long: `run assesses this host whenever something happens that may change the verdict,
and writes the result to the Node: labels for schedulers, annotations for
people.

It writes by server-side apply as field manager "sctp-agent", only its own
keys, and only when something changed; the condition's heartbeat is the one
exception. While the API server is unreachable, it retries. What is "unknown"
never overwrites an earlier verdict of the same boot.

It needs NODE_NAME, and the right to get, watch and patch status of its own
Node (manifests/base/rbac.yaml).`,
		Example: `  NODE_NAME=worker-0 sctp-agent run --root /host
  sctp-agent run --node-name worker-0 --kubeconfig agent.kubeconfig`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.ErrOrStderr())
		},
	}
	f.host.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig file with a token or a client certificate (default: the pod's own service account)")
	flags.StringVar(&f.prefix, "prefix", nodelabel.DefaultPrefix, "prefix of the labels and annotations")
	flags.DurationVar(&f.resync, "resync", agent.DefaultResync, "mean time between assessments while nothing happens")
	flags.StringVar(&f.listen, "listen", "", `address of /metrics, /healthz and /readyz, such as ":9475" (default: none)`)
	flags.BoolVar(&f.condition, "condition", false, "also write the Node condition "+nodelabel.ConditionType)
	flags.DurationVar(&f.heartbeat, "condition-heartbeat", nodelabel.DefaultHeartbeat, "how often the condition's lastHeartbeatTime is renewed while nothing changes (0: never)")
	flags.BoolVar(&f.events, "events", true, "create one Event per transition")
	flags.StringVar(&f.taint, "startup-taint", "", `taint ("key" or "key:effect") to remove from the Node once SCTP is proved (default: none)`)
	flags.StringVar(&f.bus, "system-bus", "", "socket of the host's system bus, to set ready=false before the node shuts down (default: none)")
	flags.StringVar(&f.nfdDir, "nfd-features-dir", "", "directory in which node-feature-discovery looks for feature files (default: none)")
	flags.StringVar(&f.logFormat, "log-format", "text", `"text" or "json"`)
	flags.TextVar(&f.logLevel, "log-level", &f.logLevel, `"debug", "info", "warn" or "error"`)
	return cmd
}

func (f *runFlags) run(ctx context.Context, stderr io.Writer) error {
	log, err := command.Logger(stderr, f.logFormat, &f.logLevel)
	if err != nil {
		return err
	}
	opts, err := f.host.options()
	if err != nil {
		return err
	}
	if opts.Node == "" {
		return errors.New("the Node's name is missing: set NODE_NAME (in a pod: from spec.nodeName) or --node-name")
	}
	if f.resync < 0 {
		return fmt.Errorf("--resync %v: want more than 0, or 0 for the default (%v)", f.resync, agent.DefaultResync)
	}
	if f.heartbeat != 0 && f.heartbeat < leastHeartbeat {
		return fmt.Errorf("--condition-heartbeat %v: want 0 (never), or at least %v", f.heartbeat, leastHeartbeat)
	}
	keys, err := nodelabel.NewKeys(f.prefix)
	if err != nil {
		return fmt.Errorf("--prefix: %w", err)
	}
	build := buildinfo.Current()
	conn, err := kubeconn.Open(f.kubeconfig, "sctp-agent/"+build.Version+" ("+build.Platform+")")
	if err != nil {
		return err
	}
	var writer *nodewriter.Writer
	metrics := agent.NewMetrics(agent.MetricsOptions{
		Build:      build,
		Proc:       f.host.host.Proc,
		Contested:  func() bool { return writer != nil && writer.Fighting() },
		Unconfined: func() bool { return writer != nil && writer.Unconfined() },
	})
	writer, err = nodewriter.NewWriter(nodewriter.Config{
		Conn: conn, Node: opts.Node, Keys: keys,
		Condition: f.condition, Heartbeat: f.heartbeat.Truncate(time.Second), Events: f.events, StartupTaint: f.taint,
		Observe: metrics.Wrote, Log: log,
	})
	if err != nil {
		return err
	}
	var shutdown agent.ShutdownWatch
	if f.bus != "" {
		shutdown = agent.Logind{Bus: f.bus}
	}
	var outputs []func(verdict.Report) error
	if f.nfdDir != "" {
		outputs = append(outputs, agent.FeatureFile{Dir: f.nfdDir, Lifetime: 3 * f.resync}.Write)
	}
	watch := agent.NewHostWatch(opts.Host.Root)
	assessor := assessor{
		assessment: assessment{Options: opts, SystemBus: f.bus}, looked: watch.Looked,
		program: probe.Self, alone: make(chan struct{}, 1),
	}
	a := agent.New(agent.Config{
		Assess: assessor.assess,
		Writer: writer,
		// Modules that come and go, and files that decide and change.
		Triggers: []agent.Trigger{
			agent.ModuleEvents{Modules: []string{kmod.SCTP().Name, kmod.SCTPDiag().Name}},
			watch,
		},
		Shutdown: shutdown,
		Outputs:  outputs,
		Resync:   f.resync,
		// The probe may take up to its deadline, and the rest is quick.
		AssessTimeout: agent.DefaultAssessTimeout + opts.Probe.Timeout,
		// Else the heap would grow from assessment to assessment until the
		// collector finds it worth its while, to twice its size at rest.
		AtRest:  debug.FreeOSMemory,
		Metrics: metrics,
		Log:     log,
	})

	notified, stopNotify := context.WithCancel(ctx)
	defer stopNotify()
	go a.NotifySystemd(notified, writer.Concluded)

	if f.listen == "" {
		return a.Run(ctx)
	}
	return runServing(ctx, f.listen, a.Handler(writer.Concluded), a.Run)
}

// runServing runs something while it serves on an address; each ends the other.
func runServing(ctx context.Context, address string, h http.Handler, run func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() {
		defer cancel()
		served <- httpserver.Serve(ctx, address, h)
	}()
	err := run(ctx)
	cancel()
	return cmp.Or(err, <-served)
}
