package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/sctp-agent/sctp-agent/internal/backoff"
	"github.com/sctp-agent/sctp-agent/internal/buildinfo"
	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/internal/httpserver"
	"github.com/sctp-agent/sctp-agent/internal/kubeconn"
	"github.com/sctp-agent/sctp-agent/internal/mesh"
	"github.com/sctp-agent/sctp-agent/internal/mesh/ask"
	"github.com/sctp-agent/sctp-agent/internal/mesh/conclusion"
	"github.com/sctp-agent/sctp-agent/internal/mesh/echo"
	"github.com/sctp-agent/sctp-agent/internal/mesh/kube"
	"github.com/sctp-agent/sctp-agent/internal/mesh/picture"
	"github.com/sctp-agent/sctp-agent/pkg/probe"
)

// registeredAgain is how often it is looked whether the kernel has SCTP, while
// it has not.
const registeredAgain = 10 * time.Second

type flags struct {
	identity   kube.Identity
	address    string
	service    string
	port       uint16
	listen     string
	kubeconfig string
	events     bool
	logFormat  string
	logLevel   slog.LevelVar
}

func newRootCommand() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "sctp-mesh",
		Short: "Probe SCTP from this node to others, all the time",
		Long: `sctp-mesh probes SCTP from this node to ten others, and to the rest in turn, with
new associations and with some that are kept. It asks others about those that
fail, and concludes what is broken: a node, the path to it, or this node; SCTP
alone, or everything.

It runs as a DaemonSet without privilege (manifests/components/mesh). Its peers
are the pods of a headless Service. It opens no SCTP socket before the kernel
has SCTP, and so never causes the module to be loaded.`,
		Example: `  sctp-mesh --listen :9477    # in a pod with NODE_NAME, POD_NAMESPACE, POD_NAME, POD_UID and POD_IP`,
		Version: buildinfo.Current().Version,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.ErrOrStderr())
		},
	}
	cmd.CompletionOptions.HiddenDefaultCmd = true
	set := cmd.Flags()
	set.StringVar(&f.identity.Node, "node-name", os.Getenv("NODE_NAME"), "name of this Node (environment NODE_NAME)")
	set.StringVar(&f.identity.Namespace, "namespace", os.Getenv("POD_NAMESPACE"), "namespace of the pod and the Service (environment POD_NAMESPACE)")
	set.StringVar(&f.identity.Pod, "pod-name", os.Getenv("POD_NAME"), "name of this pod (environment POD_NAME)")
	set.StringVar(&f.identity.UID, "pod-uid", os.Getenv("POD_UID"), "UID of this pod (environment POD_UID)")
	set.StringVar(&f.address, "pod-ip", os.Getenv("POD_IP"), "address of this pod, to probe from and to listen on (environment POD_IP)")
	set.StringVar(&f.identity.Account, "service-account", cmp.Or(os.Getenv("SERVICE_ACCOUNT"), "sctp-mesh"), "service account of all pods of the mesh (environment SERVICE_ACCOUNT)")
	set.StringVar(&f.service, "service", "sctp-mesh", "headless Service whose pods are the peers")
	set.Uint16Var(&f.port, "port", 9476, "port of the mesh: echoes over SCTP, and questions over TCP")
	set.StringVar(&f.listen, "listen", ":9477", "address of /mesh, /metrics and /healthz")
	set.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig file with a token or a client certificate (default: the pod's own service account)")
	set.BoolVar(&f.events, "events", true, "create one Event per change of a conclusion")
	set.StringVar(&f.logFormat, "log-format", "text", `"text" or "json"`)
	set.TextVar(&f.logLevel, "log-level", &f.logLevel, `"debug", "info", "warn" or "error"`)
	cmd.AddCommand(command.NewVersion("sctp-mesh"))
	return cmd
}

func (f *flags) run(ctx context.Context, stderr io.Writer) error {
	log, err := command.Logger(stderr, f.logFormat, &f.logLevel)
	if err != nil {
		return err
	}
	for _, needed := range [][2]string{
		{f.identity.Node, "NODE_NAME"}, {f.identity.Namespace, "POD_NAMESPACE"}, {f.identity.Pod, "POD_NAME"}, {f.identity.UID, "POD_UID"}, {f.address, "POD_IP"},
	} {
		if needed[0] == "" {
			return fmt.Errorf("%s is not set, and neither is its flag (in a pod: from the downward API)", needed[1])
		}
	}
	address, err := netip.ParseAddr(f.address)
	if err != nil {
		return fmt.Errorf("--pod-ip: %w", err)
	}
	build := buildinfo.Current()
	conn, err := kubeconn.Open(f.kubeconfig, "sctp-mesh/"+build.Version+" ("+build.Platform+")")
	if err != nil {
		return err
	}
	client := &kube.Client{Conn: conn, Identity: f.identity}
	peers := &kube.Peers{Client: client, Service: f.service, Family: address}
	events := kube.NewEvents(client, log)
	dialer := echo.Dialer{Local: address, Port: f.port}
	asker := ask.Client{Tokens: &kube.Tokens{Client: client}, Local: address}
	metrics := mesh.NewMetrics(build)
	a := mesh.New(mesh.Config{
		Node: f.identity.Node, Version: build.Version,
		New: dialer.New, TCP: dialer.TCP,
		Keep: func(to netip.Addr) mesh.Kept { return dialer.Keep(to) },
		Ask: func(ctx context.Context, asked mesh.Peer, about string, kind conclusion.Kind) (picture.State, error) {
			return asker.Ask(ctx, asked.Node, netip.AddrPortFrom(asked.Address, f.port), about, kind)
		},
		List: peers.List,
		Changed: func(c conclusion.Change) {
			if f.events {
				events.Changed(c)
			}
		},
		Metrics: metrics,
		Log:     log,
	})

	at := netip.AddrPortFrom(address, f.port)
	questions, err := net.Listen("tcp", at.String())
	if err != nil {
		return fmt.Errorf("listen for questions: %w", err)
	}
	server := &ask.Server{
		Node:     f.identity.Node,
		Reviewer: kube.Reviewer{Client: client},
		Asker: func(from netip.Addr) (ask.Asker, bool) {
			p, known := a.At(from)
			return ask.Asker{Node: p.Node, Pod: p.Pod, UID: p.UID}, known
		},
		Stranger: a.Stranger,
		Check:    a.Check,
		Answered: metrics.Answered,
	}
	listener := &echo.Listener{Known: a.Knows, Stranger: a.Stranger}
	return together(ctx,
		func(ctx context.Context) error { return httpserver.Serve(ctx, f.listen, a.Handler()) },
		func(ctx context.Context) error { return server.Serve(ctx, questions) },
		func(ctx context.Context) error { events.Run(ctx); return nil },
		func(ctx context.Context) error {
			// A list takes many times what is kept of it, and a heap of one megabyte
			// a third of all that this program has.
			for ctx.Err() == nil {
				backoff.Sleep(ctx, time.Minute)
				debug.FreeOSMemory()
			}
			return nil
		},
		func(ctx context.Context) error {
			for ctx.Err() == nil {
				found, err := probe.Registered("")
				switch {
				case err != nil:
					a.Await(err.Error())
				case !found:
					a.Await("the kernel has no SCTP (/proc/net/protocols)")
				default:
					return together(ctx,
						func(ctx context.Context) error { a.Run(ctx); return nil },
						func(ctx context.Context) error { return listener.Serve(ctx, at) })
				}
				backoff.Sleep(ctx, registeredAgain)
			}
			return nil
		})
}

// together runs all until ctx ends, or one fails.
func together(ctx context.Context, all ...func(context.Context) error) error {
	running, ctx := errgroup.WithContext(ctx)
	for _, run := range all {
		running.Go(func() error { return run(ctx) })
	}
	return running.Wait()
}
