package node_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/test/controlplane"
	"github.com/sctp-agent/sctp-agent/test/node"
)

// A node is Ready, and what a test changes in it outlives a reboot.
func TestNode(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	cp, err := controlplane.Start(ctx, controlplane.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cp.Stop)
	n, err := node.Boot(ctx, node.Config{
		Name: "worker-0", ControlPlane: cp, Logf: t.Logf,
		Files: []node.File{{Path: "/etc/modprobe.d/sctp-blacklist.conf", Content: "blacklist sctp\n"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	if err := n.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	if err := n.WriteFile(ctx, node.File{Path: "/etc/modprobe.d/sctp-blacklist.conf"}); err != nil {
		t.Fatal(err)
	}
	if err := n.WriteFile(ctx, node.File{Path: "/etc/modules-load.d/sctp-load.conf", Content: "sctp\n"}); err != nil {
		t.Fatal(err)
	}
	if out, err := n.Run(ctx, "cat", "/proc/modules"); err != nil || strings.Contains(out, "\nsctp ") {
		t.Fatalf("before the reboot: %v\n%s", err, out)
	}
	if err := n.Reboot(ctx); err != nil {
		t.Fatal(err)
	}
	if out, err := n.Run(ctx, "cat", "/proc/modules"); err != nil || !strings.Contains(out, "sctp ") {
		t.Fatalf("after the reboot: %v\n%s", err, out)
	}
	if err := n.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
}
