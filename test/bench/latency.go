package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
	"github.com/sctp-agent/sctp-agent/test/controlplane"
)

// changes of a file that are timed.
const changes = 50

// latency times what lies between a blacklist file that is written or removed
// and the changed Node, on a host root of its own. From a guest's kernel and
// files, it is TestChangeToLabel that is timed.
func latency(ctx context.Context, cp *controlplane.ControlPlane, dir string, s *subject) error {
	root := filepath.Join(dir, "root")
	host := hostcase.Case{
		Kmod: 30, Systemd: 252,
		Entries: []hostcase.Entry{{Kind: hostcase.Dir, Path: "etc/modprobe.d"}},
		Modules: []hostcase.Module{{Name: "sctp", File: "kernel/net/sctp/sctp.ko"}},
		Aliases: []hostcase.Alias{{Pattern: "net_pf_2_proto_132", Name: "sctp"}, {Pattern: "net_pf_10_proto_132", Name: "sctp"}},
	}
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	if err := host.Build(root); err != nil {
		return fmt.Errorf("making a host root: %w", err)
	}
	client, err := cp.Client()
	if err != nil {
		return err
	}
	watch, err := client.CoreV1().Nodes().Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + s.node})
	if err != nil {
		return err
	}
	defer watch.Stop()
	await := func(want verdict.Reason) error {
		limit := time.After(30 * time.Second)
		for {
			select {
			case e, ok := <-watch.ResultChan():
				if !ok {
					return fmt.Errorf("the watch on %s ended", s.node)
				}
				if n, ok := e.Object.(metav1.Object); ok && n.GetAnnotations()["sctp-agent/reason"] == string(want) {
					return nil
				}
			case <-limit:
				return fmt.Errorf("the Node does not say %s", want)
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	cmd, err := s.start(ctx, "--root", root, "--proc", filepath.Join(root, "proc"), "--sys", filepath.Join(root, "sys"), "--kernel-release", hostcase.Release, "--kmod-version", "30", "--systemd-version", "252", "--log-level", "warn")
	if err != nil {
		return err
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if err := await(verdict.ReasonModuleNotLoaded); err != nil {
		return err
	}
	file := filepath.Join(root, "etc/modprobe.d/sctp.conf")
	var took []time.Duration
	for i := range changes {
		want := verdict.ReasonModuleNotLoaded
		start := time.Now()
		if i%2 == 0 {
			want, err = verdict.ReasonModuleBlacklisted, os.WriteFile(file, []byte("blacklist sctp\n"), 0o644)
		} else {
			err = os.Remove(file)
		}
		if err != nil {
			return err
		}
		if err := await(want); err != nil {
			return err
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	at := func(percent int) time.Duration { return took[(changes*percent+99)/100-1].Round(100 * time.Microsecond) }
	fmt.Printf("file to Node, %d changes: fastest %s, median %s, p90 %s, p99 %s\n\n", changes, at(1), at(50), at(90), at(99))
	return nil
}
