// Package mesh_test has a mesh of sctp-mesh on a real kernel: one guest, a
// network namespace for each node, and faults by nftables.
package mesh_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/sctp-agent/sctp-agent/test/guest"
)

const inguest = "github.com/sctp-agent/sctp-agent/test/mesh/inguest"

// inguestArgs take precedence: -args -inguest "-faults=10 -seed=1".
var inguestArgs = flag.String("inguest", "", "further arguments of the tests in the guest (inguest/main_test.go)")

// boot a guest with the program as it ships. The guest's clock counts
// instructions, a nanosecond for each, and skips what nothing happens in: times
// are those of one processor of a thousand million instructions a second,
// whatever else runs on this machine, and hours pass in minutes.
func boot(t *testing.T) *guest.Guest {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	agent, err := guest.GoProgram(ctx, "/usr/local/bin/sctp-mesh", "github.com/sctp-agent/sctp-agent/cmd/sctp-mesh")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "floor")
	gcc := exec.CommandContext(ctx, "gcc", "-O2", "-static", "-o", path, "testdata/floor.c")
	if out, err := gcc.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", gcc, err, out)
	}
	floor, err := guest.Program("/usr/local/bin/floor", path)
	if err != nil {
		t.Fatal(err)
	}
	cfg := guest.Config{
		Name: "mesh-guest", Files: []guest.File{agent, floor}, MemoryMiB: 1536, Modules: []string{"nft_meta_bridge"},
		QEMU: []string{"-icount", "shift=0,sleep=off"},
	}
	if testing.Verbose() {
		cfg.Console = os.Stderr
	}
	g, err := guest.Boot(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	t.Logf("Linux %s booted in %v", g.Release, g.BootTime.Round(time.Millisecond))
	return g
}

// container is the agent's, in the DaemonSet.
func container(t *testing.T) corev1.Container {
	t.Helper()
	text, err := os.ReadFile("../../manifests/components/mesh/daemonset.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var ds appsv1.DaemonSet
	if err := yaml.UnmarshalStrict(text, &ds); err != nil {
		t.Fatal(err)
	}
	return ds.Spec.Template.Spec.Containers[0]
}

// environ is what it sets besides what it takes from the pod.
func environ(c corev1.Container) string {
	var list []string
	for _, e := range c.Env {
		if e.Value != "" {
			list = append(list, e.Name+"="+e.Value)
		}
	}
	return strings.Join(list, " ")
}

// TestMesh: faults and quiet, agents that come and go, attacks, and what it costs.
func TestMesh(t *testing.T) {
	container, g := container(t), boot(t)
	environ := environ(container)
	for _, c := range []struct{ name, test, short, full, environ string }{
		{"faults", "TestFaults", "-nodes=8 -faults=6", "-nodes=40 -faults=100", environ},
		{"quiet", "TestQuiet", "", "-nodes=40 -quiet=1h", environ},
		{"1 % loss", "TestQuiet", "-nodes=8 -quiet=2m -loss=1", "-nodes=40 -quiet=20m -loss=1", environ},
		{"5 % loss", "TestQuiet", "", "-nodes=40 -quiet=20m -loss=5", environ},
		{"coming and going", "TestComingAndGoing", "", "-nodes=40 -away=10m", environ},
		{"attacks", "TestAttacks", "", fmt.Sprint("-nodes=8 -memory=", container.Resources.Limits.Memory().Value()), environ},
		{"rest", "TestRest", "", "", environ},
		{"rest, without the DaemonSet's environment", "TestRest", "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := c.full
			if testing.Short() {
				if args = c.short; args == "" {
					t.Skip("only in make test-full")
				}
			}
			args += " " + *inguestArgs
			g.RunGoTest(t.Context(), t, inguest, append(strings.Fields(args), "-environ="+c.environ, "-test.run=^"+c.test+"$", "-test.timeout=24h")...)
		})
	}
}
