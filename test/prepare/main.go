// Command prepare fetches and builds what the tests need before they need it:
// the programs of the control plane, the guests' kernels and user space. It
// shows progress, and ends at once when nothing is missing.
//
//	prepare controlplane guests node
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sctp-agent/sctp-agent/test/controlplane"
	"github.com/sctp-agent/sctp-agent/test/guest"
	"github.com/sctp-agent/sctp-agent/test/node"
)

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) < 2 {
		log.Fatal("usage: prepare controlplane|guests|node ...")
	}
	for _, what := range os.Args[1:] {
		if err := prepare(ctx, what); err != nil {
			log.Fatalf("prepare: %v", err)
		}
	}
}

func prepare(ctx context.Context, what string) error {
	switch what {
	case "controlplane":
		_, err := controlplane.Build(ctx, func(p controlplane.Progress) { fmt.Println(p) }, controlplane.Etcd, controlplane.APIServer)
		return err
	case "node":
		_, err := controlplane.Build(ctx, func(p controlplane.Progress) { fmt.Println(p) },
			controlplane.ControllerManager, controlplane.Scheduler, controlplane.Kubectl, controlplane.Kubelet, controlplane.KubeProxy)
		if err != nil {
			return err
		}
		start := time.Now()
		if _, err := node.BuildImage(ctx); err != nil {
			return err
		}
		fmt.Printf("a node's disk: ready in %v\n", time.Since(start).Round(time.Second))
		return nil
	case "guests":
		for _, kernel := range []guest.Kernel{guest.Linux61, guest.Linux510, guest.Linux612, guest.Linux612RT, guest.LinuxTesting} {
			start := time.Now()
			if err := guest.Prepare(ctx, guest.Config{Kernel: kernel}); err != nil {
				return err
			}
			fmt.Printf("Linux %s and its user space: ready in %v\n", kernel, time.Since(start).Round(time.Second))
		}
		return nil
	}
	return fmt.Errorf("nothing is called %q", what)
}
