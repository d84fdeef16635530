package probe_test

import (
	"context"
	"flag"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/test/guest"
)

const inguest = "github.com/sctp-agent/sctp-agent/test/probe/inguest"

// hostname says to the tests in the guest that this is one.
const hostname = "probe-guest"

func boot(t *testing.T, cfg guest.Config) *guest.Guest {
	t.Helper()
	cfg.Name = hostname
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	g, err := guest.Boot(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	t.Logf("Linux %s booted in %v", g.Release, g.BootTime.Round(time.Millisecond))
	return g
}

// suites runs the tests of the package inguest, on a kernel without the module
// at first.
func suites(t *testing.T, g *guest.Guest, which ...string) {
	g.RunGoTest(t.Context(), t, inguest, "-test.run=^TestOnlyFresh$")
	g.RunGoTest(t.Context(), t, inguest, append(which, "-test.timeout=40m")...)
}

// kernels asks for every fault on each kernel.
var kernels = flag.Bool("kernels", false, "TestProbe has every fault on each kernel")

// TestProbe runs the suites and the tests of the sockets on each kernel, and every
// fault on one, or on each.
func TestProbe(t *testing.T) {
	t.Parallel()
	for _, kernel := range []guest.Kernel{guest.Linux510, guest.Linux61, guest.Linux612, guest.Linux612RT, guest.LinuxTesting} {
		t.Run(string(kernel), func(t *testing.T) {
			t.Parallel()
			g := boot(t, guest.Config{Kernel: kernel})
			if kernel != guest.Linux61 && !*kernels {
				suites(t, g, "-test.run=^Test(Quick|Full|WithoutPrivilege|Refused)$")
				t.Run("faults", func(t *testing.T) { t.Skip("only in make test-full") })
			} else {
				suites(t, g, "-test.skip=^TestOnly")
			}
			g.RunGoTest(t.Context(), t, "github.com/sctp-agent/sctp-agent/internal/sctp")
		})
	}
}

// arch asks for TestArch: an hour of emulation, and further emulators.
var arch = flag.Bool("arch", false, "run TestArch")

// TestArch runs the suites on other machines, one of them big-endian.
func TestArch(t *testing.T) {
	if !*arch {
		t.Skip("only in make test-full")
	}
	for _, kernel := range []guest.Kernel{guest.Linux510ARM64, guest.Linux612ARM64, guest.Linux61S390X} {
		t.Run(string(kernel), func(t *testing.T) {
			suites(t, boot(t, guest.Config{Kernel: kernel}), "-test.run=^Test(Quick|Full|WithoutPrivilege|Refused)$")
		})
	}
}

// TestBootedOtherwise are the faults that a host is booted with.
func TestBootedOtherwise(t *testing.T) {
	t.Parallel()
	for cmdline, name := range map[string]string{
		"ipv6.disable=1": "TestOnlyWithoutIPv6",
		"fips=1":         "TestOnlyFIPS",
	} {
		t.Run(cmdline, func(t *testing.T) {
			t.Parallel()
			boot(t, guest.Config{Cmdline: cmdline}).RunGoTest(t.Context(), t, inguest, "-test.run=^"+name+"$")
		})
	}
}

// TestGrowth and TestSteps are in the package, to reach what one probe consists of.
func TestGrowth(t *testing.T) {
	t.Parallel()
	args := []string{"-test.run=^TestGrowth$", "-test.timeout=30m"}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	boot(t, guest.Config{}).RunGoTest(t.Context(), t, "github.com/sctp-agent/sctp-agent/pkg/probe", args...)
}

// TestSteps are the checks' steps on a machine that comes too late to them.
func TestSteps(t *testing.T) {
	t.Parallel()
	boot(t, guest.Config{}).RunGoTest(t.Context(), t, "github.com/sctp-agent/sctp-agent/pkg/probe",
		"-test.run=^Test(InterleavingLate|DeadlineAnywhere|GivenUpBeforeItIsSent)$")
}
