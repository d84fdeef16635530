package inguest

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// hostname of the guest that these tests are for.
const hostname = "mesh-guest"

var (
	nodes   = flag.Int("nodes", 8, "nodes of the mesh")
	faults  = flag.Int("faults", 6, "faults one after the other")
	quiet   = flag.Duration("quiet", 5*time.Minute, "how long nothing happens")
	loss    = flag.Float64("loss", 0, "how much is lost meanwhile, in percent")
	away    = flag.Duration("away", time.Minute, "how long the API server is away")
	memory  = flag.Int64("memory", 48<<20, "limit of an agent's memory, in bytes")
	environ = flag.String("environ", "", "environment of the agents, beside who they are")
	seed    = flag.Uint64("seed", 0, "seed of what happens by chance (default: a fresh one)")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if name, err := os.Hostname(); err != nil || name != hostname {
		fmt.Printf("not in a guest of test/mesh: on %s nothing is run\n", name)
		return
	}
	// The agents never cause it to be loaded.
	if out, err := exec.Command("modprobe", "sctp").CombinedOutput(); err != nil {
		fmt.Printf("modprobe sctp: %v\n%s", err, out)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// chance prints its seed.
func chance(t *testing.T) *rand.Rand {
	t.Helper()
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("seed %d (-seed repeats the choices, not the kernel's)", s)
	return rand.New(rand.NewPCG(s, 0))
}

// run a program of the guest, which may read its standard input.
func run(t *testing.T, input, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s\n%s", cmd, err, out, input)
	}
	return string(out)
}
