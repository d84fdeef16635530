// Package scenarios holds the product to its contract on real kernels: one
// guest for each state that an administrator finds a host in. What is expected
// of the verdict is typed from docs/contract.md; what the verdict says about
// loading is compared with what the real kmod, systemd-modules-load and kernel
// of the guest then do.
package scenarios_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/test/guest"
)

// report is the part of the report (contract, section 3) that is asserted
// here; spelled out, not imported, since the spelling is what is held.
type report struct {
	APIVersion, Kind               string
	Ready, Reason, Message, OnBoot string
	Remedy                         string
	Kernel                         struct{ Release string }
	Host                           struct{ Kmod string }
	Module                         struct{ State, Path string }
	Policy                         struct {
		Autoload, AutoloadIPv6, ModulesLoad, Modprobe decision
	}
	Probe struct {
		Attempted, CausedLoad bool
		Checks                []struct{ Name, Result, Stage, Errno string }
	}
	Warnings []struct{ Reason, Message string }
}

type decision struct {
	Requested, Allowed, Unit string
	Evidence                 []evidence
}

type evidence struct {
	File string
	Line int
	Text string
}

// The files of RHEL's kernel-modules-extra package, and those of OpenShift's
// documented MachineConfig.
const vendorBlacklist = `# Remove the blacklist by adding a comment # at the start of the line.
#
# This kernel module can be automatically loaded by non-root users. To
# enhance system security, the module is blacklisted by default to ensure
# system administrators make the module available for use as needed.
blacklist sctp
`

var (
	asShipped = []guest.File{
		guest.Text("/etc/modprobe.d/sctp-blacklist.conf", vendorBlacklist),
		guest.Text("/etc/modprobe.d/sctp_diag-blacklist.conf", strings.ReplaceAll(vendorBlacklist, "blacklist sctp", "blacklist sctp_diag")),
	}
	blacklistLine = evidence{"/etc/modprobe.d/sctp-blacklist.conf", 6, "blacklist sctp"}
	emptied       = guest.Text("/etc/modprobe.d/sctp-blacklist.conf", "")
	requested     = guest.Text("/etc/modules-load.d/sctp-load.conf", "sctp")
	requestLine   = evidence{"/etc/modules-load.d/sctp-load.conf", 1, "sctp"}
)

// scenario is a host and what must be said of it.
type scenario struct {
	name string
	// full: it is not in the slice, which has each verdict, each prospect and
	// each warning at least once (TestSlice).
	full bool
	// notOn is a kernel on which it ends otherwise, of those of TestKernels.
	notOn guest.Kernel
	cfg   guest.Config
	// unsigned is a module whose file has lost its signature.
	unsigned string
	// setup happens after the boot and before the check.
	setup string
	args  []string // of check

	ready, reason, onBoot string
	state                 string
	// evidence for the caller named: autoload, modulesLoad or modprobe.
	evidence map[string]evidence
	warnings []string
}

// machineConfig are the files of a node with the MachineConfig applied.
func machineConfig(more ...guest.File) []guest.File {
	return slices.Concat(asShipped, []guest.File{emptied, requested}, more)
}

func scenarios() []scenario {
	return []scenario{
		{
			name:  "absent: the package with the module is not installed",
			cfg:   guest.Config{WithoutModules: []string{"sctp", "sctp_diag"}, Files: []guest.File{requested}},
			ready: "false", reason: "ModuleMissing", onBoot: "blocked", state: "absent",
		},
		{
			name:  "module file missing for the running kernel",
			full:  true,
			cfg:   guest.Config{Remove: []string{"/usr/lib/modules/*/kernel/net/sctp/sctp.ko*"}, Files: []guest.File{requested}},
			ready: "false", reason: "ModuleMissing", onBoot: "blocked", state: "absent",
		},
		{
			name:  "blacklisted, as RHCOS ships",
			cfg:   guest.Config{Files: asShipped},
			ready: "false", reason: "ModuleBlacklisted", onBoot: "blocked", state: "loadable",
			evidence: map[string]evidence{"autoload": blacklistLine, "modulesLoad": blacklistLine},
		},
		{
			name:  "MachineConfig applied",
			cfg:   guest.Config{Files: machineConfig()},
			ready: "true", reason: "ProbePassed", onBoot: "loaded", state: "loaded",
			evidence: map[string]evidence{"modulesLoad": requestLine},
			warnings: []string{"SCTPDiagUnavailable"},
		},
		{
			name:  "MachineConfig half applied: the blacklist is kept",
			full:  true,
			cfg:   guest.Config{Files: slices.Concat(asShipped, []guest.File{requested})},
			ready: "false", reason: "ModuleBlacklisted", onBoot: "blocked", state: "loadable",
			evidence: map[string]evidence{"autoload": blacklistLine, "modulesLoad": blacklistLine},
			warnings: []string{"ConflictingFiles"},
		},
		{
			name: "MachineConfig applied, and not rebooted yet",
			cfg:  guest.Config{Files: asShipped},
			setup: `sleep 1; : > /etc/modprobe.d/sctp-blacklist.conf
				printf sctp > /etc/modules-load.d/sctp-load.conf`,
			ready: "false", reason: "ModuleNotLoaded", onBoot: "loaded", state: "loadable",
			evidence: map[string]evidence{"modulesLoad": requestLine},
			warnings: []string{"PendingReboot"},
		},
		{
			name:  "install /bin/true",
			full:  true,
			cfg:   guest.Config{Files: machineConfig(guest.Text("/etc/modprobe.d/sctp.conf", "# hardening\ninstall sctp /bin/true\n"))},
			ready: "false", reason: "ModuleInstallOverridden", onBoot: "blocked", state: "loadable",
			evidence: map[string]evidence{
				"autoload":    {"/etc/modprobe.d/sctp.conf", 2, "install sctp /bin/true"},
				"modulesLoad": {"/etc/modprobe.d/sctp.conf", 2, "install sctp /bin/true"},
				"modprobe":    {"/etc/modprobe.d/sctp.conf", 2, "install sctp /bin/true"},
			},
			warnings: []string{"ConflictingFiles"},
		},
		{
			name:  "install /bin/false and blacklist, as DISA's STIG has it",
			cfg:   guest.Config{Files: machineConfig(guest.Text("/etc/modprobe.d/sctp.conf", "install sctp /bin/false\nblacklist sctp\n"))},
			ready: "false", reason: "ModuleInstallOverridden", onBoot: "blocked", state: "loadable",
			evidence: map[string]evidence{
				"autoload":    {"/etc/modprobe.d/sctp.conf", 1, "install sctp /bin/false"},
				"modulesLoad": {"/etc/modprobe.d/sctp.conf", 1, "install sctp /bin/false"},
				"modprobe":    {"/etc/modprobe.d/sctp.conf", 1, "install sctp /bin/false"},
			},
			warnings: []string{"ConflictingFiles"},
		},
		{
			name:  "module_blacklist= on the command line",
			cfg:   guest.Config{Cmdline: "module_blacklist=sctp", Files: machineConfig()},
			ready: "false", reason: "ModuleDeniedByKernel", onBoot: "blocked", state: "loadable",
			evidence: map[string]evidence{
				"autoload":    {"/proc/cmdline", 1, "module_blacklist=sctp"},
				"modulesLoad": {"/proc/cmdline", 1, "module_blacklist=sctp"},
				"modprobe":    {"/proc/cmdline", 1, "module_blacklist=sctp"},
			},
		},
		{
			name:  "initcall_blacklist= on the command line",
			full:  true,
			cfg:   guest.Config{Cmdline: "initcall_blacklist=x_init,sctp_init", Files: machineConfig()},
			ready: "false", reason: "ModuleDeniedByKernel", onBoot: "blocked", state: "loadable",
			evidence: map[string]evidence{
				"autoload":    {"/proc/cmdline", 1, "initcall_blacklist=x_init,sctp_init"},
				"modulesLoad": {"/proc/cmdline", 1, "initcall_blacklist=x_init,sctp_init"},
				"modprobe":    {"/proc/cmdline", 1, "initcall_blacklist=x_init,sctp_init"},
			},
		},
		{
			name:  "module_blacklist= of a module that sctp needs", // since Linux 5.11
			full:  true,
			notOn: guest.Linux510,
			cfg:   guest.Config{Cmdline: "module_blacklist=udp_tunnel", Files: machineConfig()},
			ready: "false", reason: "ModuleDeniedByKernel", onBoot: "blocked", state: "loadable",
			evidence: map[string]evidence{"modprobe": {"/proc/cmdline", 1, "module_blacklist=udp_tunnel"}},
		},
		{
			name: "a module without a signature, where the kernel insists on one",
			full: true,
			cfg:  guest.Config{Cmdline: "module.sig_enforce=1", Files: machineConfig()}, unsigned: "sctp",
			ready: "false", reason: "ModuleDeniedByKernel", onBoot: "blocked", state: "loadable",
		},
		{
			name: "a module that sctp needs has no signature, and the kernel is locked down",
			full: true,
			cfg:  guest.Config{Cmdline: "lockdown=integrity", Files: machineConfig()}, unsigned: "udp_tunnel",
			ready: "false", reason: "ModuleDeniedByKernel", onBoot: "blocked", state: "loadable",
		},
		{
			name: "a module without a signature, where the kernel minds nothing",
			full: true,
			cfg:  guest.Config{Files: machineConfig()}, unsigned: "sctp",
			ready: "true", reason: "ProbePassed", onBoot: "loaded", state: "loaded",
		},
		{
			name:  "signatures are insisted on, and the distribution's modules have them",
			full:  true,
			cfg:   guest.Config{Cmdline: "module.sig_enforce=1", Files: machineConfig()},
			ready: "true", reason: "ProbePassed", onBoot: "loaded", state: "loaded",
		},
		{
			name:  "modprobe.blacklist= on the command line",
			full:  true,
			cfg:   guest.Config{Cmdline: "modprobe.blacklist=sctp", Files: machineConfig()},
			ready: "false", reason: "ModuleBlacklisted", onBoot: "blocked", state: "loadable",
			evidence: map[string]evidence{
				"autoload":    {"/proc/cmdline", 1, "modprobe.blacklist=sctp"},
				"modulesLoad": {"/proc/cmdline", 1, "modprobe.blacklist=sctp"},
			},
		},
		{
			name:  "modules_load= on the command line",
			full:  true,
			cfg:   guest.Config{Cmdline: "modules_load=sctp"},
			ready: "true", reason: "ProbePassed", onBoot: "loaded", state: "loaded",
			evidence: map[string]evidence{"modulesLoad": {"/proc/cmdline", 1, "modules_load=sctp"}},
		},
		{
			name:  "module loading switched off by sysctl.d, and nothing asks at boot",
			cfg:   guest.Config{Files: []guest.File{guest.Text("/etc/sysctl.d/99-hardening.conf", "kernel.modules_disabled = 1\n")}},
			ready: "false", reason: "ModuleLoadingDisabled", onBoot: "blocked", state: "loadable",
			evidence: map[string]evidence{
				"autoload": {"/proc/sys/kernel/modules_disabled", 1, "1"},
				"modprobe": {"/proc/sys/kernel/modules_disabled", 1, "1"},
			},
		},
		{
			name:  "module loading switched off by sysctl.d, after modules-load.d",
			full:  true,
			cfg:   guest.Config{Files: machineConfig(guest.Text("/etc/sysctl.d/99-hardening.conf", "kernel.modules_disabled = 1\n"))},
			ready: "true", reason: "ProbePassed", onBoot: "loaded", state: "loaded",
			evidence: map[string]evidence{"modprobe": {"/proc/sys/kernel/modules_disabled", 1, "1"}},
		},
		{
			name:  "no modprobe helper, and nothing asks at boot",
			full:  true,
			cfg:   guest.Config{Files: []guest.File{guest.Text("/etc/sysctl.d/99-hardening.conf", "kernel.modprobe =\n")}},
			ready: "false", reason: "ModuleLoadingDisabled", onBoot: "blocked", state: "loadable",
			evidence: map[string]evidence{"autoload": {"/proc/sys/kernel/modprobe", 1, ""}},
		},
		{
			name:  "loaded by hand while blacklisted",
			cfg:   guest.Config{Files: asShipped},
			setup: "/sbin/modprobe sctp",
			ready: "true", reason: "ProbePassed", onBoot: "blocked", state: "loaded",
			evidence: map[string]evidence{"autoload": blacklistLine},
			warnings: []string{"WillNotSurviveReboot"},
		},
		{
			name:  "loadable, and never asked for",
			ready: "false", reason: "ModuleNotLoaded", onBoot: "on-demand", state: "loadable",
		},
		{
			name:  "loadable, and the probe may load it",
			args:  []string{"--autoload=allow"},
			ready: "true", reason: "ProbePassed", onBoot: "on-demand", state: "loaded",
			warnings: []string{"LoadedOnDemandOnly"},
		},
		{
			name:  "blacklisted, and the probe may try to load it",
			cfg:   guest.Config{Files: asShipped},
			args:  []string{"--autoload=allow"},
			ready: "false", reason: "ModuleBlacklisted", onBoot: "blocked", state: "loadable",
			evidence: map[string]evidence{"autoload": blacklistLine},
		},
		{
			name: "the protocol's aliases are off",
			cfg: guest.Config{Files: []guest.File{guest.Text("/etc/modprobe.d/net.conf",
				"alias net-pf-2-proto-132 off\nalias net-pf-10-proto-132 off\n")}},
			ready: "false", reason: "ModuleAliasDisabled", onBoot: "blocked", state: "loadable",
			evidence: map[string]evidence{
				"autoload":     {"/etc/modprobe.d/net.conf", 1, "alias net-pf-2-proto-132 off"},
				"autoloadIPv6": {"/etc/modprobe.d/net.conf", 2, "alias net-pf-10-proto-132 off"},
			},
		},
		{
			name: "the vendor's file masked by a link to /dev/null",
			full: true,
			cfg: guest.Config{Files: []guest.File{
				guest.Text("/usr/lib/modprobe.d/sctp.conf", "install sctp /bin/false\n"),
				guest.Symlink("/etc/modprobe.d/sctp.conf", "/dev/null"),
				requested,
			}},
			ready: "true", reason: "ProbePassed", onBoot: "loaded", state: "loaded",
			evidence: map[string]evidence{"modulesLoad": requestLine},
		},
		{
			name: "kmod 28 does not read /usr/local/lib/modprobe.d",
			cfg: guest.Config{Kernel: guest.Linux510, Files: []guest.File{
				guest.Text("/usr/local/lib/modprobe.d/sctp.conf", "blacklist sctp\n"), requested,
			}},
			ready: "true", reason: "ProbePassed", onBoot: "loaded", state: "loaded",
		},
		{
			name:  "kmod 30 reads /usr/local/lib/modprobe.d",
			full:  true,
			notOn: guest.Linux510, // kmod 28
			cfg: guest.Config{Files: []guest.File{
				guest.Text("/usr/local/lib/modprobe.d/sctp.conf", "blacklist sctp\n"), requested,
			}},
			ready: "false", reason: "ModuleBlacklisted", onBoot: "blocked", state: "loadable",
			evidence: map[string]evidence{"autoload": {"/usr/local/lib/modprobe.d/sctp.conf", 1, "blacklist sctp"}},
		},
		{
			name:  "Linux 6.12, kmod 34: half applied",
			cfg:   guest.Config{Kernel: guest.Linux612, Files: slices.Concat(asShipped, []guest.File{requested})},
			ready: "false", reason: "ModuleBlacklisted", onBoot: "blocked", state: "loadable",
			evidence: map[string]evidence{"modulesLoad": blacklistLine},
			warnings: []string{"ConflictingFiles"},
		},
		{
			name:  "the kernel of Debian's testing suite, systemd 262 or later: half applied",
			cfg:   guest.Config{Kernel: guest.LinuxTesting, Files: slices.Concat(asShipped, []guest.File{requested})},
			ready: "false", reason: "ModuleBlacklisted", onBoot: "blocked", state: "loadable",
			evidence: map[string]evidence{"modulesLoad": blacklistLine},
			warnings: []string{"ConflictingFiles"},
		},
		{
			name:  "Linux 6.12, kmod 34: MachineConfig applied",
			full:  true,
			cfg:   guest.Config{Kernel: guest.Linux612, Files: machineConfig()},
			ready: "true", reason: "ProbePassed", onBoot: "loaded", state: "loaded",
			evidence: map[string]evidence{"modulesLoad": requestLine},
		},
	}
}

const (
	agent      = "/usr/bin/sctp-agent"
	openSocket = "/usr/lib/guest/opensocket"
)

// programs builds what every guest gets.
func programs(t *testing.T) []guest.File {
	t.Helper()
	var files []guest.File
	for to, pkg := range map[string]string{
		agent:      "github.com/sctp-agent/sctp-agent/cmd/sctp-agent",
		openSocket: "github.com/sctp-agent/sctp-agent/test/scenarios/internal/opensocket",
	} {
		f, err := guest.GoProgram(t.Context(), to, pkg)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return files
}

func boot(t *testing.T, cfg guest.Config) *guest.Guest {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	g, err := guest.Boot(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

// withoutSignature is the module's file as a build that signs nothing leaves
// it. What is cut off is told by its last field and mark (scripts/sign-file.c,
// struct module_signature).
func withoutSignature(t *testing.T, module string) guest.File {
	t.Helper()
	f, err := guest.ModuleFile(t.Context(), guest.Linux61, module)
	if err != nil {
		t.Fatal(err)
	}
	rest, signed := bytes.CutSuffix(f.Data, []byte("~Module signature appended~\n"))
	if !signed {
		t.Fatalf("%s has no signature to begin with", f.Path)
	}
	const trailer = 12 // bytes of struct module_signature, the last four of which are sig_len
	length := int(binary.BigEndian.Uint32(rest[len(rest)-4:]))
	f.Data = rest[:len(rest)-trailer-length]
	return f
}

// run runs a command that must succeed.
func run(t *testing.T, g *guest.Guest, c guest.Command) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	res, err := g.Run(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	if res.ExitCode != 0 {
		t.Fatalf("%s %q: exit code %d\n%s%s", c.Path, c.Args, res.ExitCode, res.Stdout, res.Stderr)
	}
	return strings.TrimSpace(string(res.Stdout))
}

// inKernel says whether the kernel has the module: initstate is "live".
func inKernel(t *testing.T, g *guest.Guest) bool {
	t.Helper()
	return run(t, g, guest.Shell("cat /sys/module/sctp/initstate 2>/dev/null || true")) == "live"
}

// checkJSON is the command under test. A guest under software emulation on a
// busy machine takes some seconds to load a module, and to run a probe that
// takes a millisecond elsewhere.
var checkJSON = []string{"check", "-o", "json", "--timeout=60s"}

// check runs "sctp-agent check -o json".
func check(t *testing.T, g *guest.Guest, args ...string) (report, guest.Result) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	res, err := g.Run(ctx, guest.Command{Path: agent, Args: append(slices.Clone(checkJSON), args...)})
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(res.Stdout, &r); err != nil {
		t.Fatalf("check: exit code %d, %v\n%s%s", res.ExitCode, err, res.Stdout, res.Stderr)
	}
	return r, res
}

func TestScenarios(t *testing.T) {
	files := programs(t)
	for _, sc := range scenarios() {
		t.Run(sc.name, func(t *testing.T) {
			if testing.Short() && sc.full {
				t.Skip("only in make test-full")
			}
			t.Parallel()
			sc.run(t, files)
		})
	}
}

// kernels asks for TestKernels: an hour of guests.
var kernels = flag.Bool("kernels", false, "run TestKernels")

// TestKernels runs the scenarios that name no kernel on further ones.
func TestKernels(t *testing.T) {
	if !*kernels {
		t.Skip("only in make test-full")
	}
	files := programs(t)
	for _, kernel := range []guest.Kernel{guest.Linux510, guest.Linux612, guest.Linux612RT, guest.LinuxTesting} {
		for _, sc := range scenarios() {
			if sc.cfg.Kernel != "" || sc.unsigned != "" || sc.notOn == kernel { // a compressed module has its signature inside
				continue
			}
			sc.cfg.Kernel = kernel
			t.Run(string(kernel)+"/"+sc.name, func(t *testing.T) {
				t.Parallel()
				sc.run(t, files)
			})
		}
	}
}

// run boots the guest, with the programs, and holds the report to the scenario and
// to the kernel.
func (sc scenario) run(t *testing.T, files []guest.File) {
	t.Helper()
	cfg := sc.cfg
	cfg.Files = slices.Concat(cfg.Files, files)
	if sc.unsigned != "" {
		cfg.Files = append(cfg.Files, withoutSignature(t, sc.unsigned))
	}
	g := boot(t, cfg)
	if sc.setup != "" {
		run(t, g, guest.Shell(sc.setup))
	}

	before := inKernel(t, g)
	r, res := check(t, g, sc.args...)
	sc.compare(t, g, r, res)
	after := inKernel(t, g)
	if slices.Contains(sc.args, "--autoload=allow") {
		if r.Probe.CausedLoad != (after && !before) {
			t.Errorf("probe.causedLoad = %v; in the kernel before: %v, after: %v", r.Probe.CausedLoad, before, after)
		}
		if err := g.Reboot(t.Context()); err != nil {
			t.Fatal(err)
		}
	} else if before != after || r.Probe.CausedLoad {
		t.Errorf("the check changed the host: in the kernel before: %v, after: %v; probe.causedLoad = %v", before, after, r.Probe.CausedLoad)
	}

	// What a real next boot brings. A guest that has only booted and been looked
	// at has just done it.
	if sc.setup != "" {
		if err := g.Reboot(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	compareWithKernel(t, g, r)
}

// TestSlice: what make test leaves out, it has seen in another scenario.
func TestSlice(t *testing.T) {
	seen := map[string]bool{}
	says := func(sc scenario) []string {
		return slices.Concat([]string{sc.ready + " " + sc.reason, sc.onBoot, sc.state}, sc.warnings)
	}
	for _, sc := range scenarios() {
		for _, word := range says(sc) {
			seen[word] = seen[word] || !sc.full
		}
	}
	for word, is := range seen {
		if !is {
			t.Errorf("%s: in no scenario of the slice", word)
		}
	}
}

// compare holds the report to the scenario.
func (sc scenario) compare(t *testing.T, g *guest.Guest, r report, res guest.Result) {
	t.Helper()
	if r.APIVersion != "sctp-agent/v1" || r.Kind != "Report" {
		t.Errorf("apiVersion %q, kind %q", r.APIVersion, r.Kind)
	}
	if r.Kernel.Release != g.Release {
		t.Errorf("kernel.release = %q, want %q", r.Kernel.Release, g.Release)
	}
	for _, f := range []struct{ field, got, want string }{
		{"ready", r.Ready, sc.ready},
		{"reason", r.Reason, sc.reason},
		{"onBoot", r.OnBoot, sc.onBoot},
		{"module.state", r.Module.State, sc.state},
	} {
		if f.got != f.want {
			t.Errorf("%s = %q, want %q", f.field, f.got, f.want)
		}
	}
	if want := map[string]int{"true": 0, "false": 1, "unknown": 2}[sc.ready]; res.ExitCode != want {
		t.Errorf("exit code %d, want %d", res.ExitCode, want)
	}
	for caller, want := range sc.evidence {
		d := map[string]decision{
			"autoload": r.Policy.Autoload, "autoloadIPv6": r.Policy.AutoloadIPv6,
			"modulesLoad": r.Policy.ModulesLoad, "modprobe": r.Policy.Modprobe,
		}[caller]
		if !slices.Contains(d.Evidence, want) {
			t.Errorf("policy.%s.evidence lacks %v", caller, want)
		}
	}
	var warnings []string
	for _, w := range r.Warnings {
		warnings = append(warnings, w.Reason)
	}
	for _, want := range sc.warnings {
		if !slices.Contains(warnings, want) {
			t.Errorf("warnings %v lack %s", warnings, want)
		}
	}
	if sc.ready == "true" {
		if !r.Probe.Attempted || len(r.Probe.Checks) == 0 {
			t.Error("ready without a probe")
		}
	} else if r.Remedy == "" {
		t.Error("not ready, and no remedy")
	}
	if t.Failed() {
		t.Logf("the report:\n%s%s", res.Stdout, res.Stderr)
	}
}

// compareWithKernel holds what the report says about loading to what the
// guest does, in a guest that has just booted: the boot itself, then a socket,
// systemd-modules-load and modprobe, until one of them loads the module (which
// cannot be unloaded again).
func compareWithKernel(t *testing.T, g *guest.Guest, r report) {
	t.Helper()
	onBoot := "blocked"
	if inKernel(t, g) {
		onBoot = "loaded"
	} else {
		allowed := r.Policy
		for _, attempt := range []struct {
			caller, allowed string
			command         guest.Command
		}{
			{"autoload", allowed.Autoload.Allowed, guest.Command{Path: openSocket, Args: []string{"4"}}},
			{"autoloadIPv6", allowed.AutoloadIPv6.Allowed, guest.Command{Path: openSocket, Args: []string{"6"}}},
			{"modulesLoad", allowed.ModulesLoad.Allowed, guest.Shell("echo sctp > /tmp/load.conf; /usr/lib/systemd/systemd-modules-load /tmp/load.conf || true")},
			{"modprobe", allowed.Modprobe.Allowed, guest.Shell("/sbin/modprobe sctp || true")},
		} {
			out := run(t, g, attempt.command)
			loaded := inKernel(t, g)
			if got := fmt.Sprint(loaded); got != attempt.allowed {
				t.Errorf("policy.%s.allowed = %q, but really: %v (%s)", attempt.caller, attempt.allowed, loaded, out)
			}
			if loaded {
				if strings.HasPrefix(attempt.caller, "autoload") {
					onBoot = "on-demand"
				}
				break
			}
		}
	}
	if r.OnBoot != onBoot {
		t.Errorf("onBoot = %q, but a real boot brings %q\n%s", r.OnBoot, onBoot, g.ModulesLoad().ModulesLoadOutput)
	}
}
