package scenarios_test

import (
	"slices"
	"testing"

	"github.com/sctp-agent/sctp-agent/test/guest"
)

// systemdBoot is what an administrator does to a host with a whole systemd, and
// what its next boot brings.
type systemdBoot struct {
	name string
	// full: it is not in the slice.
	full    bool
	kernel  guest.Kernel
	cmdline string
	files   []guest.File

	// onBoot is what the boot brings, and unit is policy.modulesLoad.unit.
	onBoot, unit string
	// unknown: the report's onBoot is "unknown", since no file shows what comes.
	unknown bool
	// gone: what was done is gone with the boot.
	gone bool
}

const (
	systemUnits     = "/etc/systemd/system/"
	modulesLoadUnit = "systemd-modules-load.service"
)

// enabled is a unit of one's own with its link, as "systemctl enable" makes it.
func enabled(service string) []guest.File {
	return []guest.File{
		guest.Text(systemUnits+"load-sctp.service", "[Unit]\nDescription=Load SCTP\n\n[Service]\nType=oneshot\n"+service+"\n\n[Install]\nWantedBy=multi-user.target\n"),
		guest.Symlink(systemUnits+"multi-user.target.wants/load-sctp.service", systemUnits+"load-sctp.service"),
	}
}

func dropIn(text string) guest.File {
	return guest.Text(systemUnits+modulesLoadUnit+".d/local.conf", text)
}

var (
	blacklisted = guest.Text("/etc/modprobe.d/hardening.conf", "blacklist sctp\n")
	masked      = guest.Symlink(systemUnits+modulesLoadUnit, "/dev/null")
)

func systemdBoots() []systemdBoot {
	return []systemdBoot{
		{
			name:  "the unit is masked",
			files: []guest.File{requested, masked}, onBoot: "on-demand", unit: "masked",
		},
		{
			name:  "an enabled unit runs modprobe beside a blacklist",
			files: slices.Concat([]guest.File{blacklisted}, enabled("ExecStart=/sbin/modprobe sctp")), onBoot: "loaded", unit: "active",
		},
		{
			name: "the unit runs, and nothing is changed", full: true,
			files: []guest.File{requested}, onBoot: "loaded", unit: "active",
		},
		{
			name: "the unit is an empty file", full: true,
			files: []guest.File{requested, guest.Text(systemUnits+modulesLoadUnit, "")}, onBoot: "on-demand", unit: "masked",
		},
		{
			name: "the kernel command line masks the unit", full: true, cmdline: "systemd.mask=" + modulesLoadUnit,
			files: []guest.File{requested}, onBoot: "on-demand", unit: "masked",
		},
		{
			name: "the link of sysinit.target is masked", full: true,
			files: []guest.File{requested, guest.Symlink(systemUnits+"sysinit.target.wants/"+modulesLoadUnit, "/dev/null")}, onBoot: "on-demand", unit: "masked",
		},
		{
			name: "the unit is masked until the next boot", full: true,
			files: []guest.File{requested, guest.Symlink("/run/systemd/system/"+modulesLoadUnit, "/dev/null")}, onBoot: "loaded", unit: "masked", unknown: true, gone: true,
		},
		{
			name: "a blacklist is in /run", full: true,
			files: []guest.File{requested, guest.Text("/run/modprobe.d/x.conf", "blacklist sctp\n")}, onBoot: "loaded", unit: "active", unknown: true, gone: true,
		},
		{
			name: "a drop-in has a condition that fails", full: true,
			files: []guest.File{requested, dropIn("[Unit]\nConditionPathExists=/etc/no-such-file\n")}, onBoot: "on-demand", unit: "condition-failed",
		},
		{
			name: "a drop-in has a condition about the command line that fails", full: true,
			files: []guest.File{requested, dropIn("[Unit]\nConditionKernelCommandLine=!quiet\n")}, onBoot: "on-demand", unit: "condition-failed",
		},
		{
			name: "a drop-in has a condition that holds", full: true,
			files: []guest.File{requested, dropIn("[Unit]\nConditionPathExists=/etc/modprobe.d\n")}, onBoot: "loaded", unit: "active",
		},
		{
			name: "a drop-in runs another program", full: true,
			files: []guest.File{requested, dropIn("[Service]\nExecStart=\nExecStart=/bin/true\n")}, onBoot: "on-demand", unit: "replaced",
		},
		{
			name: "a drop-in of a prefix of the unit's name has a condition that fails", full: true,
			files: []guest.File{requested, guest.Text(systemUnits+"systemd-.service.d/local.conf", "[Unit]\nConditionPathExists=/etc/no-such-file\n")}, onBoot: "on-demand", unit: "condition-failed",
		},
		{
			name: "a copy of the unit takes its place", full: true,
			files:  []guest.File{requested, guest.Text(systemUnits+modulesLoadUnit, "[Unit]\nDefaultDependencies=no\nBefore=sysinit.target\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/lib/systemd/systemd-modules-load\n")},
			onBoot: "loaded", unit: "replaced",
		},
		{
			name: "the unit is masked, and another loads the module", full: true,
			files: slices.Concat([]guest.File{requested, masked}, enabled("ExecStart=/sbin/modprobe sctp")), onBoot: "loaded", unit: "masked",
		},
		{
			name: "an enabled unit runs modprobe -b beside a blacklist", full: true,
			files: slices.Concat([]guest.File{blacklisted}, enabled("ExecStart=/sbin/modprobe -b sctp")), onBoot: "blocked", unit: "active",
		},
		{
			name: "modprobe@sctp.service is enabled beside a blacklist", full: true,
			files:  []guest.File{blacklisted, guest.Symlink(systemUnits+"multi-user.target.wants/modprobe@sctp.service", "/lib/systemd/system/modprobe@.service")},
			onBoot: "blocked", unit: "active",
		},
		{
			name: "modprobe@sctp.service is enabled", full: true,
			files:  []guest.File{guest.Symlink(systemUnits+"multi-user.target.wants/modprobe@sctp.service", "/lib/systemd/system/modprobe@.service")},
			onBoot: "loaded", unit: "active",
		},
		{
			name: "an enabled unit runs modprobe beside an install line", full: true,
			files:  slices.Concat([]guest.File{guest.Text("/etc/modprobe.d/hardening.conf", "install sctp /bin/false\n")}, enabled("ExecStart=/sbin/modprobe sctp")),
			onBoot: "blocked", unit: "active",
		},
		{
			name: "an enabled unit runs modprobe as an ordinary user", full: true,
			files: slices.Concat([]guest.File{blacklisted}, enabled("User=nobody\nExecStart=/sbin/modprobe sctp")), onBoot: "blocked", unit: "active", unknown: true,
		},
		{
			name: "the first command of an enabled unit fails", full: true,
			files: slices.Concat([]guest.File{blacklisted}, enabled("ExecStart=/bin/false\nExecStart=/sbin/modprobe sctp")), onBoot: "blocked", unit: "active", unknown: true,
		},
		{
			name: "the boot ends before the unit's target", full: true, cmdline: "systemd.unit=basic.target",
			files: slices.Concat([]guest.File{blacklisted}, enabled("ExecStart=/sbin/modprobe sctp")), onBoot: "blocked", unit: "active",
		},
		{
			name: "a unit is there and not enabled", full: true,
			files: slices.Concat([]guest.File{blacklisted}, enabled("ExecStart=/sbin/modprobe sctp")[:1]), onBoot: "blocked", unit: "active",
		},
		{
			name: "an enabled unit runs a script", full: true,
			files: slices.Concat([]guest.File{blacklisted, {Path: "/usr/local/sbin/load-sctp", Mode: 0o755, Data: []byte("#!/bin/sh\nfor m in sctp; do modprobe $m; done\n")}},
				enabled("ExecStart=/usr/local/sbin/load-sctp")),
			onBoot: "loaded", unit: "active", unknown: true,
		},
		{
			name: "the helper of an install line is not there", full: true,
			files: []guest.File{requested, guest.Text("/etc/modprobe.d/helper.conf", "install sctp /usr/local/sbin/no-such-helper\n")}, onBoot: "blocked", unit: "active",
		},
		{
			name: "the kernel's helper is not there", full: true,
			files: []guest.File{guest.Text("/etc/sysctl.d/99-hardening.conf", "kernel.modprobe = /disabled/modprobe\n")}, onBoot: "blocked", unit: "active",
		},
		{
			name: "the unit runs a program that is not there", full: true,
			files: []guest.File{requested, dropIn("[Service]\nExecStart=\nExecStart=/usr/libexec/systemd-modules-load\n")}, onBoot: "on-demand", unit: "replaced",
		},
		{
			name: "the kernel command line masks the unit that loads the module", full: true, cmdline: "systemd.mask=load-sctp.service",
			files: slices.Concat([]guest.File{blacklisted}, enabled("ExecStart=/sbin/modprobe sctp")), onBoot: "blocked", unit: "active",
		},
		{
			name: "system.conf takes the right to load modules from everything", full: true,
			files: []guest.File{requested, guest.Text("/etc/systemd/system.conf.d/x.conf", "[Manager]\nCapabilityBoundingSet=~CAP_SYS_MODULE\n")}, onBoot: "blocked", unit: "active", unknown: true,
		},
		{
			name: "systemd 257: the unit is masked", full: true, kernel: guest.Linux612,
			files: []guest.File{requested, masked}, onBoot: "on-demand", unit: "masked",
		},
		{
			name: "systemd 257: an enabled unit runs modprobe beside a blacklist", full: true, kernel: guest.Linux612,
			files: slices.Concat([]guest.File{blacklisted}, enabled("ExecStart=/sbin/modprobe sctp")), onBoot: "loaded", unit: "active",
		},
		{
			name: "systemd 247: a drop-in has a condition that fails", full: true, kernel: guest.Linux510,
			files: []guest.File{requested, dropIn("[Unit]\nConditionPathExists=/etc/no-such-file\n")}, onBoot: "on-demand", unit: "condition-failed",
		},
	}
}

// TestSystemdBoots: a host is changed, asked for its next boot, and rebooted.
// What the boot brings is read from the kernel.
func TestSystemdBoots(t *testing.T) {
	agents := programs(t)
	for _, b := range systemdBoots() {
		t.Run(b.name, func(t *testing.T) {
			if testing.Short() && b.full {
				t.Skip("only in make test-full")
			}
			t.Parallel()
			g := boot(t, guest.Config{Kernel: b.kernel, Systemd: true, Cmdline: b.cmdline, Files: agents})
			for _, f := range b.files {
				if err := g.PutFile(t.Context(), f); err != nil {
					t.Fatal(err)
				}
			}
			want := b.onBoot
			if b.unknown {
				want = "unknown"
			}
			asked := func(when string) {
				t.Helper()
				if r, res := check(t, g); r.OnBoot != want || r.Policy.ModulesLoad.Unit != b.unit {
					t.Errorf("%s the boot: onBoot = %q, unit %q; want %q, %q\n%s", when, r.OnBoot, r.Policy.ModulesLoad.Unit, want, b.unit, res.Stdout)
				}
			}
			asked("before")
			if err := g.Reboot(t.Context()); err != nil {
				t.Fatal(err)
			}
			state := run(t, g, guest.Shell("systemctl is-system-running --wait || true"))
			if !b.gone {
				asked("after")
			}
			brought := "blocked"
			if inKernel(t, g) {
				brought = "loaded"
			} else if run(t, g, guest.Command{Path: openSocket, Args: []string{"4"}}); inKernel(t, g) {
				brought = "on-demand"
			}
			t.Logf("Linux %s, systemd is %s after %v: %s", g.Release, state, g.BootTime, brought)
			if brought != b.onBoot {
				t.Errorf("the boot brought %q, want %q\n%s", brought, b.onBoot, run(t, g, guest.Shell("systemctl --failed --no-legend; journalctl -b --no-pager | grep -i -e modules-load -e sctp | tail -20")))
			}
		})
	}
}
