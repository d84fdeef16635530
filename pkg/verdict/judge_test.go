package verdict

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

func allowed() kmod.Decision { return kmod.Decision{Allowed: kmod.AnswerTrue} }

// stoppedBy builds a decision that the given evidence stops.
func stoppedBy(evidence ...kmod.Evidence) kmod.Decision {
	d := kmod.Decision{Allowed: kmod.AnswerFalse, Evidence: evidence}
	for _, e := range evidence {
		if e.Cause.Before(d.Cause) {
			d.Cause = e.Cause
		}
	}
	return d
}

func unknownBy(e kmod.Evidence) kmod.Decision {
	return kmod.Decision{Allowed: kmod.AnswerUnknown, Cause: e.Cause, Evidence: []kmod.Evidence{e}}
}

func vendorBlacklist() kmod.Evidence {
	return kmod.Evidence{File: VendorBlacklist, Line: 6, Text: "blacklist sctp", Effect: "stops autoload and the load at boot", Cause: kmod.CauseBlacklist}
}

func installFalse() kmod.Evidence {
	return kmod.Evidence{File: "/etc/modprobe.d/sctp.conf", Line: 1, Text: "install sctp /bin/false", Effect: "fails instead of loading", Cause: kmod.CauseInstall}
}

func loadRequest() []kmod.Evidence {
	return []kmod.Evidence{{File: LoadRequest, Line: 1, Text: "sctp", Effect: "asks for sctp at boot"}}
}

// host is an inspection of a host where nothing stops and nothing asks.
func host(edit func(*kmod.Inspection)) *kmod.Inspection {
	i := &kmod.Inspection{
		Module:      "sctp",
		Kernel:      kmod.Kernel{Release: "5.14.0-570.el9.x86_64", BootID: "b", Machine: "x86_64", BootTime: time.Unix(1000, 0)},
		OS:          "Red Hat Enterprise Linux CoreOS 9.6",
		Userland:    kmod.Userland{ID: "rhcos", VariantID: "coreos", VersionID: "4.18", OpenShiftVersion: "4.18", OSTree: true, ModuleDirectory: kmod.AnswerTrue},
		KmodVersion: 28,
		State:       kmod.StateLoadable,
		ByName:      allowed(), Autoload: allowed(), AutoloadIPv6: allowed(),
		BootLoad: kmod.BootLoad{Requested: kmod.AnswerFalse, Decision: allowed()},
	}
	if edit != nil {
		edit(i)
	}
	return i
}

func everyCaller(i *kmod.Inspection, d kmod.Decision) {
	i.ByName, i.Autoload, i.AutoloadIPv6, i.BootLoad.Decision = d, d, d, d
}

func requested(i *kmod.Inspection) {
	i.BootLoad.Requested = kmod.AnswerTrue
	i.BootLoad.RequestedBy = loadRequest()
	i.BootLoad.RequestedSince = time.Unix(500, 0)
}

func passed() result.Result {
	return result.Result{Attempted: true, Suite: result.SuiteQuick, Checks: []result.Check{
		{Name: result.CheckIPv4Stream, Result: result.OutcomePass, Required: true},
		{Name: result.CheckIPv6Stream, Result: result.OutcomePass},
	}}
}

// broken is a probe whose required check stopped at a stage with an errno.
func broken(outcome result.Outcome, stage result.Stage, errno string) result.Result {
	return result.Result{Attempted: true, Suite: result.SuiteQuick, Checks: []result.Check{
		{Name: result.CheckIPv4Stream, Result: outcome, Required: true, Stage: stage, Errno: errno},
		{Name: result.CheckIPv6Stream, Result: result.OutcomeSkip},
	}}
}

// unbegun is a probe that could not begin.
func unbegun(errno, detail string) result.Result {
	return result.Result{Checks: []result.Check{{Name: result.CheckIPv4Stream, Result: result.OutcomeUnknown, Required: true, Errno: errno, Detail: detail}}}
}

// silent is a probe whose required check got no answer.
func silent(stage result.Stage) result.Result {
	r := broken(result.OutcomeFail, stage, "")
	r.Checks[0].TimedOut = true
	return r
}

// TestJudge goes through the contract's table of reasons, one host each, as an
// administrator meets them.
func TestJudge(t *testing.T) {
	for _, c := range []struct {
		story    string
		facts    Facts
		ready    kmod.Answer
		reason   Reason
		onBoot   OnBoot
		warnings []Reason
		says     []string // parts of the message
		remedy   []string // parts of the remedy; none: there must be no remedy
	}{
		{
			story: "MachineConfig applied and rebooted: all is well",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) { i.State = kmod.StateLoaded; requested(i) }), Probe: passed()},
			ready: kmod.AnswerTrue, reason: ReasonProbePassed, onBoot: OnBootLoaded, says: []string{"2 of 2 checks passed"},
		},
		{
			story: "SCTP compiled in: nothing can stop it",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) { i.State = kmod.StateBuiltin }), Probe: passed()},
			ready: kmod.AnswerTrue, reason: ReasonProbePassed, onBoot: OnBootLoaded,
		},
		{
			story: "as RHCOS ships",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) {
				found := kmod.Evidence{File: "/lib/modules/x/modules.alias.bin", Text: "net-pf-2-proto-132", Effect: "leads to sctp"}
				i.Autoload, i.AutoloadIPv6, i.BootLoad.Decision = stoppedBy(vendorBlacklist(), found), stoppedBy(vendorBlacklist()), stoppedBy(vendorBlacklist())
			})},
			ready: kmod.AnswerFalse, reason: ReasonModuleBlacklisted, onBoot: OnBootBlocked,
			says:   []string{"/etc/modprobe.d/sctp-blacklist.conf:6: blacklist sctp"},
			remedy: []string{"empty " + VendorBlacklist, LoadRequest, "MachineConfig"},
		},
		{
			story: "half applied: the blacklist stays, modules-load.d asks; systemd skips it silently",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) {
				i.Autoload, i.BootLoad.Decision = stoppedBy(vendorBlacklist()), stoppedBy(vendorBlacklist())
				requested(i)
			})},
			ready: kmod.AnswerFalse, reason: ReasonModuleBlacklisted, onBoot: OnBootBlocked,
			says:   []string{"sctp-blacklist.conf:6: blacklist sctp, although " + LoadRequest + ":1 asks for it"},
			remedy: []string{"empty " + VendorBlacklist},
		},
		{
			story: "a hardening file replaces loading, and also blacklists: install comes first in the order of loading",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) {
				i.ByName = stoppedBy(installFalse())
				both := stoppedBy(installFalse(), kmod.Evidence{File: "/etc/modprobe.d/sctp.conf", Line: 2, Text: "blacklist sctp", Cause: kmod.CauseBlacklist})
				i.Autoload, i.BootLoad.Decision = both, both
				requested(i)
			})},
			ready: kmod.AnswerFalse, reason: ReasonModuleInstallOverridden, onBoot: OnBootBlocked,
			says:   []string{"/etc/modprobe.d/sctp.conf:1: install sctp /bin/false", "although"},
			remedy: []string{"empty /etc/modprobe.d/sctp.conf", "line 1 (install", "line 2 (blacklist"},
		},
		{
			story: "an install command of unknown effect",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) {
				everyCaller(i, unknownBy(kmod.Evidence{File: "/etc/modprobe.d/x.conf", Line: 3, Text: "install sctp /opt/x", Cause: kmod.CauseCustomInstall}))
			})},
			ready: kmod.AnswerFalse, reason: ReasonModuleInstallOverridden, onBoot: OnBootUnknown,
			says: []string{"unknown effect", "x.conf:3"}, remedy: []string{"x.conf"},
		},
		{
			story: "the protocol alias leads nowhere",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) {
				i.Autoload = stoppedBy(kmod.Evidence{File: "/etc/modprobe.d/a.conf", Line: 1, Text: "alias net-pf-2-proto-132 off", Cause: kmod.CauseAlias})
			})},
			ready: kmod.AnswerFalse, reason: ReasonModuleAliasDisabled, onBoot: OnBootBlocked, says: []string{"a.conf:1"}, remedy: []string{"empty /etc/modprobe.d/a.conf"},
		},
		{
			story: "module_blacklist= and a blacklist file: the kernel's word comes first",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) {
				token := kmod.Evidence{File: "/proc/cmdline", Line: 1, Text: "module_blacklist=sctp", Cause: kmod.CauseDeniedByKernel}
				everyCaller(i, stoppedBy(vendorBlacklist(), token))
			})},
			ready: kmod.AnswerFalse, reason: ReasonModuleDeniedByKernel, onBoot: OnBootBlocked,
			says: []string{"/proc/cmdline:1: module_blacklist=sctp"}, remedy: []string{"remove the kernel argument module_blacklist=sctp"},
		},
		{
			story: "modules_disabled by a sysctl, nothing asks at boot",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) {
				everyCaller(i, stoppedBy(kmod.Evidence{File: "/proc/sys/kernel/modules_disabled", Line: 1, Text: "1", Cause: kmod.CauseLoadingDisabled}))
			})},
			ready: kmod.AnswerFalse, reason: ReasonModuleLoadingDisabled, onBoot: OnBootBlocked, says: []string{"/proc/sys/kernel/modules_disabled:1"}, remedy: []string{"reboot"},
		},
		{
			story: "modules_disabled after the boot load: a hardened node that works, and will after the next boot",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) {
				i.State = kmod.StateLoaded
				everyCaller(i, stoppedBy(kmod.Evidence{File: "/proc/sys/kernel/modules_disabled", Line: 1, Text: "1", Cause: kmod.CauseLoadingDisabled}))
				requested(i)
			}), Probe: passed()},
			ready: kmod.AnswerTrue, reason: ReasonProbePassed, onBoot: OnBootLoaded,
		},
		{
			story: "nomodule: the boot load is stopped too",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) {
				everyCaller(i, stoppedBy(kmod.Evidence{File: "/proc/cmdline", Line: 1, Text: "nomodule", Cause: kmod.CauseLoadingDisabled}))
				requested(i)
			})},
			ready: kmod.AnswerFalse, reason: ReasonModuleLoadingDisabled, onBoot: OnBootBlocked, says: []string{"nomodule"}, remedy: []string{"remove the kernel argument nomodule", "reboot"},
		},
		{
			story: "no modprobe helper, and nothing requests it",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) {
				d := stoppedBy(kmod.Evidence{File: "/proc/sys/kernel/modprobe", Line: 1, Text: "", Effect: "no helper to load modules", Cause: kmod.CauseLoadingDisabled})
				i.Autoload, i.AutoloadIPv6 = d, d
			})},
			ready: kmod.AnswerFalse, reason: ReasonModuleLoadingDisabled, onBoot: OnBootBlocked, says: []string{"/proc/sys/kernel/modprobe"}, remedy: []string{LoadRequest},
		},
		{
			story: "kernel.modprobe names another program",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) {
				d := unknownBy(kmod.Evidence{File: "/proc/sys/kernel/modprobe", Line: 1, Text: "/usr/bin/load", Cause: kmod.CauseLoadingDisabled})
				i.Autoload, i.AutoloadIPv6 = d, d
			})},
			ready: kmod.AnswerFalse, reason: ReasonModuleLoadingDisabled, onBoot: OnBootUnknown, says: []string{"another program", "/usr/bin/load"}, remedy: []string{LoadRequest},
		},
		{
			story: "kernel-modules-extra is not installed",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) {
				i.State, i.OS = kmod.StateAbsent, "Red Hat Enterprise Linux 9.6 (Plow)"
				everyCaller(i, stoppedBy(kmod.Evidence{File: "/lib/modules/x/modules.dep.bin", Effect: "does not list sctp", Cause: kmod.CauseMissing}))
			})},
			ready: kmod.AnswerFalse, reason: ReasonModuleMissing, onBoot: OnBootBlocked, says: []string{"has no module sctp"}, remedy: []string{"kernel-modules-extra"},
		},
		{
			story: "the kernel's package was upgraded under the kernel that runs, with SCTP in use",
			facts: Facts{Probe: passed(), Inspection: host(func(i *kmod.Inspection) {
				i.State, i.Kernel.Replaced = kmod.StateLoaded, true
				requested(i)
				everyCaller(i, stoppedBy(kmod.Evidence{File: "/lib/modules/x", Effect: "is not there", Cause: kmod.CauseMissing}))
			})},
			ready: kmod.AnswerTrue, reason: ReasonProbePassed, onBoot: OnBootUnknown,
		},
		{
			story: "the same, and no kernel would take the module",
			facts: Facts{Probe: passed(), Inspection: host(func(i *kmod.Inspection) {
				i.State, i.Kernel.Replaced = kmod.StateLoaded, true
				d := stoppedBy(kmod.Evidence{File: "/lib/modules/x", Effect: "is not there", Cause: kmod.CauseMissing})
				d.Evidence = append(d.Evidence, kmod.Evidence{File: procCmdline, Line: 1, Text: "module_blacklist=sctp", Cause: kmod.CauseDeniedByKernel})
				everyCaller(i, d)
			})},
			ready: kmod.AnswerTrue, reason: ReasonProbePassed, onBoot: OnBootBlocked, warnings: []Reason{ReasonWillNotSurviveReboot}, remedy: []string{""},
		},
		{
			story: "loadable, never asked for",
			facts: Facts{Inspection: host(nil)},
			ready: kmod.AnswerFalse, reason: ReasonModuleNotLoaded, onBoot: OnBootOnDemand, says: []string{"nothing stops"}, remedy: []string{LoadRequest},
		},
		{
			story: "the files were written after this boot",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) { requested(i); i.BootLoad.RequestedSince = time.Unix(2000, 0) })},
			ready: kmod.AnswerFalse, reason: ReasonModuleNotLoaded, onBoot: OnBootLoaded, warnings: []Reason{ReasonPendingReboot}, says: []string{"not loaded yet"}, remedy: []string{"reboot"},
		},
		{
			story: "requested before this boot, nothing stops it, and yet not loaded",
			facts: Facts{Inspection: host(requested)},
			ready: kmod.AnswerFalse, reason: ReasonModuleLoadFailed, onBoot: OnBootLoaded, warnings: []Reason{ReasonPendingReboot}, says: []string{LoadRequest + ":1 asks"}, remedy: []string{"systemd-modules-load"},
		},
		{
			story: "nothing stops it, the probe was allowed to have it loaded, and modprobe failed",
			facts: Facts{Inspection: host(nil), Probe: broken(result.OutcomeFail, result.StageSocket, "EPROTONOSUPPORT")},
			ready: kmod.AnswerFalse, reason: ReasonModuleNotLoaded, onBoot: OnBootOnDemand, warnings: []Reason{ReasonIPv6Unavailable},
			says: []string{"the probe asked for it and stopped at socket with EPROTONOSUPPORT"}, remedy: []string{LoadRequest},
		},
		{
			story: "requested, not loaded, and when this boot began is not known",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) { requested(i); i.Kernel.BootTime = time.Time{} })},
			ready: kmod.AnswerFalse, reason: ReasonModuleLoadFailed, onBoot: OnBootLoaded, warnings: []Reason{ReasonPendingReboot}, remedy: []string{"modprobe sctp"},
		},
		{
			story: "not loaded, and neither would ss --sctp find its module: one thing at a time",
			facts: Facts{Inspection: host(nil), Diag: host(func(i *kmod.Inspection) {
				i.Autoload = stoppedBy(kmod.Evidence{File: "/etc/modprobe.d/sctp_diag-blacklist.conf", Line: 6, Text: "blacklist sctp_diag", Cause: kmod.CauseBlacklist})
			})},
			ready: kmod.AnswerFalse, reason: ReasonModuleNotLoaded, onBoot: OnBootOnDemand, remedy: []string{LoadRequest},
		},
		{
			story: "loaded by hand while blacklisted",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) {
				i.State = kmod.StateLoaded
				i.Autoload, i.BootLoad.Decision = stoppedBy(vendorBlacklist()), stoppedBy(vendorBlacklist())
			}), Probe: passed()},
			ready: kmod.AnswerTrue, reason: ReasonProbePassed, onBoot: OnBootBlocked, warnings: []Reason{ReasonWillNotSurviveReboot}, remedy: []string{"empty " + VendorBlacklist, LoadRequest},
		},
		{
			story: "loaded on demand, nothing asks at boot",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) { i.State = kmod.StateLoaded }), Probe: passed()},
			ready: kmod.AnswerTrue, reason: ReasonProbePassed, onBoot: OnBootOnDemand, warnings: []Reason{ReasonLoadedOnDemandOnly},
		},
		{
			story: "the module is there and handshakes fail",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) { i.State = kmod.StateLoaded; requested(i) }), Probe: broken(result.OutcomeFail, result.StageListen, "ENOSYS")},
			ready: kmod.AnswerFalse, reason: ReasonProbeFailed, onBoot: OnBootLoaded, warnings: []Reason{ReasonIPv6Unavailable}, says: []string{"listen", "ENOSYS"}, remedy: []string{"dmesg"},
		},
		{
			story: "a firewall rejects what acknowledges, and who waits for packets hears of it",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) { i.State = kmod.StateLoaded; requested(i) }), Probe: broken(result.OutcomeFail, result.StageReceive, "ECONNREFUSED")},
			ready: kmod.AnswerFalse, reason: ReasonProbeTimedOut, onBoot: OnBootLoaded, warnings: []Reason{ReasonIPv6Unavailable}, says: []string{"receive", "ECONNREFUSED"}, remedy: []string{"nft"},
		},
		{
			story: "a firewall drops SCTP on loopback",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) { i.State = kmod.StateLoaded; requested(i) }), Probe: silent(result.StageConnect)},
			ready: kmod.AnswerFalse, reason: ReasonProbeTimedOut, onBoot: OnBootLoaded, warnings: []Reason{ReasonIPv6Unavailable}, says: []string{"connect"}, remedy: []string{"nft"},
		},
		{
			story: "seccomp refuses the socket",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) { i.State = kmod.StateLoaded; requested(i) }), Probe: broken(result.OutcomeUnknown, result.StageSocket, "EPERM")},
			ready: kmod.AnswerUnknown, reason: ReasonPermissionDenied, onBoot: OnBootLoaded, warnings: []Reason{ReasonIPv6Unavailable}, says: []string{"EPERM at socket"}, remedy: []string{"seccomp"},
		},
		{
			story: "SELinux refuses the socket",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) { i.State = kmod.StateLoaded; requested(i) }), Probe: broken(result.OutcomeUnknown, result.StageSocket, "EACCES"), SELinuxType: "container_t"},
			ready: kmod.AnswerUnknown, reason: ReasonPermissionDenied, onBoot: OnBootLoaded, warnings: []Reason{ReasonIPv6Unavailable}, says: []string{"EACCES at socket", "container_t"}, remedy: []string{"spc_t", "class sctp_socket", "ausearch"},
		},
		{
			story: "SELinux does not confine the agent, and something refuses the socket",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) { i.State = kmod.StateLoaded; requested(i) }), Probe: broken(result.OutcomeUnknown, result.StageSocket, "EPERM"), SELinuxType: "spc_t"},
			ready: kmod.AnswerUnknown, reason: ReasonPermissionDenied, onBoot: OnBootLoaded, warnings: []Reason{ReasonIPv6Unavailable}, says: []string{"EPERM at socket"}, remedy: []string{"seccomp"},
		},
		{
			story: "out of file descriptors",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) { i.State = kmod.StateLoaded; requested(i) }), Probe: broken(result.OutcomeUnknown, result.StageSocket, "EMFILE")},
			ready: kmod.AnswerUnknown, reason: ReasonResourceExhausted, onBoot: OnBootLoaded, warnings: []Reason{ReasonIPv6Unavailable}, remedy: []string{"limits"},
		},
		{
			story: "a seccomp profile that knows no such call",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) { i.State = kmod.StateLoaded; requested(i) }), Probe: broken(result.OutcomeUnknown, result.StageSocket, "ENOSYS")},
			ready: kmod.AnswerUnknown, reason: ReasonPermissionDenied, onBoot: OnBootLoaded, warnings: []Reason{ReasonIPv6Unavailable}, says: []string{"ENOSYS at socket"}, remedy: []string{"seccomp"},
		},
		{
			story: "the agent's profile does not let it read /proc/net/protocols: no socket was refused",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) { i.State = kmod.StateLoaded; requested(i) }), Probe: unbegun("EACCES", "open /proc/net/protocols: permission denied")},
			ready: kmod.AnswerUnknown, reason: ReasonPermissionDenied, onBoot: OnBootLoaded, says: []string{"EACCES (check ipv4-stream): open /proc/net/protocols"}, remedy: []string{"allow the agent to open SCTP sockets"},
		},
		{
			story: "no further process is allowed",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) { i.State = kmod.StateLoaded; requested(i) }), Probe: unbegun("EAGAIN", "start the probe process: resource temporarily unavailable")},
			ready: kmod.AnswerUnknown, reason: ReasonResourceExhausted, onBoot: OnBootLoaded, says: []string{"EAGAIN (check ipv4-stream): start the probe process"}, remedy: []string{"processes"},
		},
		{
			story: "one check ran out of memory, another one failed: a failure is conclusive",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) { i.State = kmod.StateLoaded; requested(i) }), Probe: result.Result{Attempted: true, Checks: []result.Check{
				{Name: "a", Result: result.OutcomeUnknown, Required: true, Stage: result.StageSocket, Errno: "ENOMEM"},
				{Name: "b", Result: result.OutcomeFail, Required: true, Stage: result.StageListen, Errno: "ENOSYS"},
			}}},
			ready: kmod.AnswerFalse, reason: ReasonProbeFailed, onBoot: OnBootLoaded, says: []string{"check b"}, remedy: []string{"dmesg"},
		},
		{
			story: "over IPv6 the handshake works, and no more",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) { i.State = kmod.StateLoaded; requested(i) }), Probe: func() result.Result {
				p := passed()
				p.Checks = append(p.Checks, result.Check{Name: result.PrefixIPv6 + "fragmentation", Result: result.OutcomeFail})
				return p
			}()},
			ready: kmod.AnswerTrue, reason: ReasonProbePassed, onBoot: OnBootLoaded, warnings: []Reason{ReasonIPv6Unavailable},
		},
		{
			story: "RHEL's second file: sctp works, ss --sctp does not",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) { i.State = kmod.StateLoaded; requested(i) }), Probe: passed(), Diag: host(func(i *kmod.Inspection) {
				i.Autoload = stoppedBy(kmod.Evidence{File: "/etc/modprobe.d/sctp_diag-blacklist.conf", Line: 6, Text: "blacklist sctp_diag", Cause: kmod.CauseBlacklist})
			})},
			ready: kmod.AnswerTrue, reason: ReasonProbePassed, onBoot: OnBootLoaded, warnings: []Reason{ReasonSCTPDiagUnavailable},
		},
		{
			story: "sctp_diag is blacklisted, and loaded all the same",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) { i.State = kmod.StateLoaded; requested(i) }), Probe: passed(), Diag: host(func(i *kmod.Inspection) {
				i.State = kmod.StateLoaded
				i.Autoload = stoppedBy(kmod.Evidence{File: "/etc/modprobe.d/sctp_diag-blacklist.conf", Line: 6, Text: "blacklist sctp_diag", Cause: kmod.CauseBlacklist})
			})},
			ready: kmod.AnswerTrue, reason: ReasonProbePassed, onBoot: OnBootLoaded,
		},
		{
			story: "the unit failed, loopback is filtered, a file was skipped, a line has no effect, files disagree",
			facts: Facts{ModulesLoadUnit: "failed (exit-code)", Probe: func() result.Result { p := passed(); p.LoopbackFiltered = "no answer at connect"; return p }(),
				Inspection: host(func(i *kmod.Inspection) {
					i.State = kmod.StateLoaded
					requested(i)
					i.Findings = []kmod.Finding{
						{Kind: kmod.FindingIncomplete, Message: "too large"}, {Kind: kmod.FindingVersionUnknown, Message: "no version"},
						{Kind: kmod.FindingUnused, Message: "misspelt"}, {Kind: kmod.FindingConflict, Message: "two files"},
					}
				})},
			ready: kmod.AnswerTrue, reason: ReasonProbePassed, onBoot: OnBootLoaded,
			warnings: []Reason{ReasonModulesLoadUnitFailed, ReasonLoopbackFiltered, ReasonInspectionIncomplete, ReasonInspectionIncomplete, ReasonUnusedDirective, ReasonConflictingFiles},
		},
		{
			story: "modprobe.d may not be read",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) {
				d := unknownBy(kmod.Evidence{File: "/etc/modprobe.d", Effect: "permission denied", Cause: kmod.CauseUnreadable})
				i.Autoload, i.AutoloadIPv6, i.BootLoad.Decision, i.ByName = d, d, d, d
			})},
			ready: kmod.AnswerUnknown, reason: ReasonInspectionFailed, onBoot: OnBootUnknown, says: []string{"/etc/modprobe.d: permission denied"}, remedy: []string{"right to read /etc/modprobe.d"},
		},
		{
			story: "SELinux does not let the agent read modprobe.d",
			facts: Facts{SELinuxType: "container_t", Inspection: host(func(i *kmod.Inspection) {
				d := unknownBy(kmod.Evidence{File: "/etc/modprobe.d", Effect: "permission denied", Cause: kmod.CauseUnreadable})
				i.Autoload, i.AutoloadIPv6, i.BootLoad.Decision, i.ByName = d, d, d, d
			})},
			ready: kmod.AnswerUnknown, reason: ReasonInspectionFailed, onBoot: OnBootUnknown, says: []string{"/etc/modprobe.d: permission denied"}, remedy: []string{"right to read /etc/modprobe.d", "spc_t instead of container_t"},
		},
		{
			story: "the probe had no time to conclude on a starved node",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) { i.State = kmod.StateLoaded; requested(i) }), Probe: broken(result.OutcomeUnknown, result.StageConnect, "")},
			ready: kmod.AnswerUnknown, reason: ReasonInspectionFailed, onBoot: OnBootLoaded, warnings: []Reason{ReasonIPv6Unavailable}, says: []string{"could not conclude"}, remedy: []string{"--timeout"},
		},
		{
			story: "a FIFO among the files: modprobe itself would hang",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) {
				d := unknownBy(kmod.Evidence{File: "/etc/modprobe.d/f.conf", Effect: "could not be read: not a regular file", Cause: kmod.CauseUnreadable})
				i.Autoload, i.AutoloadIPv6, i.BootLoad.Decision, i.ByName = d, d, d, d
			})},
			ready: kmod.AnswerUnknown, reason: ReasonInspectionFailed, onBoot: OnBootUnknown, says: []string{"/etc/modprobe.d/f.conf"}, remedy: []string{"remove", "/etc/modprobe.d/f.conf"},
		},
		{
			story: "modprobe.d may not be read, and SCTP works all the same",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) {
				i.State = kmod.StateLoaded
				d := unknownBy(kmod.Evidence{File: "/etc/modprobe.d", Effect: "permission denied", Cause: kmod.CauseUnreadable})
				i.Autoload, i.AutoloadIPv6, i.BootLoad.Decision, i.ByName = d, d, d, d
			}), Probe: passed()},
			ready: kmod.AnswerTrue, reason: ReasonProbePassed, onBoot: OnBootUnknown,
		},
		{
			story: "kmod's version is not known, and matters here",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) {
				everyCaller(i, unknownBy(kmod.Evidence{File: "/usr/local/lib/modprobe.d/x.conf", Line: 1, Text: "blacklist sctp", Cause: kmod.CauseVersionsDiffer}))
			})},
			ready: kmod.AnswerUnknown, reason: ReasonInspectionFailed, onBoot: OnBootUnknown, says: []string{"--kmod-version"}, remedy: []string{"--kmod-version"},
		},
		{
			story: "loading right now",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) { i.State = kmod.StateLoading })},
			ready: kmod.AnswerUnknown, reason: ReasonModuleInTransition, onBoot: OnBootOnDemand, says: []string{"loading"}, remedy: []string{"moment"},
		},
		{
			story: "unloading right now, although the probe still passed",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) { i.State = kmod.StateUnloading }), Probe: passed()},
			ready: kmod.AnswerUnknown, reason: ReasonModuleInTransition, onBoot: OnBootOnDemand, remedy: []string{"moment"},
		},
		{
			story: "the state may not be read, and the probe opened no socket",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) { i.State = kmod.StateUnknown }), Probe: result.Result{Attempted: true}},
			ready: kmod.AnswerUnknown, reason: ReasonInspectionFailed, onBoot: OnBootOnDemand, remedy: []string{"right to read /proc"},
		},
		{
			story: "the state may not be read",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) { i.State = kmod.StateUnknown })},
			ready: kmod.AnswerUnknown, reason: ReasonInspectionFailed, onBoot: OnBootOnDemand, remedy: []string{"read"},
		},
		{
			story: "the state may not be read; that a line stops modprobe is not why",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) {
				i.State, i.ByName = kmod.StateUnknown, stoppedBy(kmod.Evidence{File: "/etc/modprobe.d/f.conf", Line: 1, Text: "install sctp /bin/false", Cause: kmod.CauseInstall})
			})},
			ready: kmod.AnswerUnknown, reason: ReasonInspectionFailed, onBoot: OnBootOnDemand,
			says: []string{"could not be read in /proc/modules and /sys/module"}, remedy: []string{"right to read /proc and /sys"},
		},
		{
			story: "the state may not be read, and the root is a container's",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) { i.State, i.Userland.Container = kmod.StateUnknown, "/.dockerenv" })},
			ready: kmod.AnswerUnknown, reason: ReasonInspectionFailed, onBoot: OnBootUnknown, warnings: []Reason{ReasonHostRootIncomplete},
			says: []string{"could not be read in /proc/modules"}, remedy: []string{"right to read /proc and /sys"},
		},
		{
			story: "no such root",
			facts: Facts{InspectionError: errors.New("open /nowhere: no such file or directory")},
			ready: kmod.AnswerUnknown, reason: ReasonInspectionFailed, onBoot: OnBootUnknown, says: []string{"/nowhere"}, remedy: []string{"--root"},
		},
		{
			story: "in the kernel, and no probe was made: nothing is proved",
			facts: Facts{Inspection: host(func(i *kmod.Inspection) { i.State = kmod.StateLoaded; requested(i) })},
			ready: kmod.AnswerUnknown, reason: ReasonInspectionFailed, onBoot: OnBootLoaded, says: []string{"not probed"}, remedy: []string{"read"},
		},
	} {
		t.Run(c.story, func(t *testing.T) {
			r := Judge(c.facts)
			if r.Ready != c.ready || r.Reason != c.reason || r.OnBoot != c.onBoot {
				t.Errorf("got ready=%s reason=%s onBoot=%s, want %s %s %s", r.Ready, r.Reason, r.OnBoot, c.ready, c.reason, c.onBoot)
			}
			var got []Reason
			for _, w := range r.Warnings {
				got = append(got, w.Reason)
			}
			if !reflect.DeepEqual(got, c.warnings) {
				t.Errorf("warnings %v, want %v", r.Warnings, c.warnings)
			}
			for _, part := range c.says {
				if !strings.Contains(r.Message, part) {
					t.Errorf("the message %q does not say %q", r.Message, part)
				}
			}
			for _, part := range c.remedy {
				if !strings.Contains(r.Remedy, part) {
					t.Errorf("the remedy %q does not say %q", r.Remedy, part)
				}
			}
			if e := r.Policy.ModulesLoad.Evidence; len(e) > 1 && e[0].Cause == kmod.CauseNone && r.Policy.ModulesLoad.Allowed != kmod.AnswerTrue {
				t.Errorf("the first line is not the one to act on: %+v", e)
			}
			if strings.Contains(r.Remedy, "modules.alias") {
				t.Errorf("the remedy %q takes away what stops nothing", r.Remedy)
			}
			if len(c.remedy) == 0 && r.Remedy != "" {
				t.Errorf("nothing is to be done, and the remedy is %q", r.Remedy)
			}
			checkReport(t, c.facts, r)
		})
	}
}

// checkReport holds for every report.
func checkReport(t *testing.T, f Facts, r Report) {
	t.Helper()
	if r.Ready != r.Reason.Ready() {
		t.Errorf("ready=%s does not belong to reason %s", r.Ready, r.Reason)
	}
	if r.Message == "" {
		t.Errorf("no message for %s", r.Reason)
	}
	proofs, failures := 0, 0
	for _, c := range f.Probe.Checks {
		if c.Required && c.Result == result.OutcomeFail {
			failures++
		}
		switch {
		case c.Required && c.Result == result.OutcomePass:
			proofs++
		case c.Required && c.Result != result.OutcomeSkip && r.Ready == kmod.AnswerTrue:
			t.Errorf("ready although %s: %s", c.Name, c.Result)
		}
	}
	if r.Ready == kmod.AnswerTrue && (!f.Probe.Attempted || proofs == 0) {
		t.Errorf("ready without a proof: %+v", f.Probe)
	}
	if r.Ready == kmod.AnswerFalse && r.Module.State.InKernel() && failures == 0 {
		t.Errorf("%s although the module is in the kernel and no check failed: %+v", r.Reason, f.Probe)
	}
	if r.Ready != kmod.AnswerTrue && r.Remedy == "" {
		t.Errorf("%s has no remedy", r.Reason)
	}
	text := r.Compact(MaxAnnotation)
	if len(text) > MaxAnnotation {
		t.Errorf("the annotation has %d bytes", len(text))
	}
	// Programs loop over lists: null is not one.
	if strings.Contains(string(text), ":null") {
		t.Errorf("null in %s", text)
	}
	var back Report
	if err := json.Unmarshal(text, &back); err != nil {
		t.Errorf("the annotation is not JSON: %v", err)
	} else if back.Ready != r.Ready || back.Reason != r.Reason || back.Kernel.BootID != r.Kernel.BootID {
		t.Errorf("the annotation lost the verdict: %s", text)
	}
}

// TestJudgeEveryCombination holds the rules that no combination of facts may
// break: ready only with a proof, the first cause in the order of loading.
func TestJudgeEveryCombination(t *testing.T) {
	causes := []kmod.Cause{kmod.CauseNone, kmod.CauseMissing, kmod.CauseDeniedByKernel, kmod.CauseLoadingDisabled, kmod.CauseInstall, kmod.CauseAlias,
		kmod.CauseBlacklist, kmod.CauseCustomInstall, kmod.CauseUnreadable, kmod.CauseUnclear, kmod.CauseVersionsDiffer}
	reasons := map[kmod.Cause]Reason{
		kmod.CauseMissing: ReasonModuleMissing, kmod.CauseDeniedByKernel: ReasonModuleDeniedByKernel, kmod.CauseLoadingDisabled: ReasonModuleLoadingDisabled,
		kmod.CauseInstall: ReasonModuleInstallOverridden, kmod.CauseAlias: ReasonModuleAliasDisabled, kmod.CauseBlacklist: ReasonModuleBlacklisted,
		kmod.CauseCustomInstall: ReasonModuleInstallOverridden, kmod.CauseUnreadable: ReasonInspectionFailed, kmod.CauseUnclear: ReasonInspectionFailed, kmod.CauseVersionsDiffer: ReasonInspectionFailed,
		kmod.CauseNone: ReasonModuleNotLoaded,
	}
	decide := func(c kmod.Cause) kmod.Decision {
		e := kmod.Evidence{File: "/f", Line: 1, Text: "t", Cause: c}
		switch {
		case c == kmod.CauseNone:
			return allowed()
		case !c.Before(kmod.CauseCustomInstall):
			return unknownBy(e)
		default:
			return stoppedBy(e)
		}
	}
	probes := []result.Result{{}, passed(), broken(result.OutcomeFail, result.StageConnect, "ECONNREFUSED"), broken(result.OutcomeUnknown, result.StageSocket, "EPERM"),
		broken(result.OutcomeUnknown, result.StageConnect, "ETIMEDOUT"), // the machine was too busy for that to mean anything
		{Attempted: true}, {Attempted: true, Checks: []result.Check{{Name: "x", Result: result.OutcomeSkip, Required: true}}}}
	n := 0
	for _, state := range []kmod.State{kmod.StateLoaded, kmod.StateBuiltin, kmod.StateLoading, kmod.StateUnloading, kmod.StateLoadable, kmod.StateAbsent, kmod.StateUnknown} {
		for _, auto := range causes {
			for _, boot := range causes {
				for _, asked := range []kmod.Answer{kmod.AnswerTrue, kmod.AnswerFalse, kmod.AnswerUnknown} {
					for p, result := range probes {
						n++
						f := Facts{Probe: result, Inspection: host(func(i *kmod.Inspection) {
							i.State = state
							i.Autoload, i.BootLoad.Decision = decide(auto), decide(boot)
							i.BootLoad.Requested = asked
						})}
						r := Judge(f)
						checkReport(t, f, r)
						at := fmt.Sprintf("state=%s autoload=%s boot=%s requested=%s probe=%d", state, auto, boot, asked, p)
						if state == kmod.StateLoadable && p == 0 {
							first := auto
							if asked != kmod.AnswerFalse && boot.Before(first) {
								first = boot
							}
							want := reasons[first]
							if auto == kmod.CauseNone && boot == kmod.CauseUnclear {
								want = ReasonModuleNotLoaded // a doubt about the next boot
							}
							if asked == kmod.AnswerTrue && boot == kmod.CauseNone {
								want = ReasonModuleLoadFailed
							}
							if r.Reason != want {
								t.Errorf("%s: reason %s, want %s", at, r.Reason, want)
							}
						}
						if (r.OnBoot == OnBootLoaded) && state != kmod.StateBuiltin &&
							(asked != kmod.AnswerTrue || (boot != kmod.CauseNone && boot != kmod.CauseLoadingDisabled)) {
							t.Errorf("%s: onBoot=loaded", at)
						}
						if r.OnBoot == OnBootOnDemand && auto != kmod.CauseNone {
							t.Errorf("%s: onBoot=on-demand", at)
						}
						// Either who asks or what they get is not known.
						stopped := decide(boot).Allowed == kmod.AnswerFalse && boot != kmod.CauseLoadingDisabled
						sure := asked == kmod.AnswerFalse || stopped || asked == kmod.AnswerTrue && (boot == kmod.CauseNone || boot.Before(kmod.CauseCustomInstall))
						if !sure && state != kmod.StateBuiltin && r.OnBoot != OnBootUnknown {
							t.Errorf("%s: onBoot=%s", at, r.OnBoot)
						}
					}
				}
			}
		}
	}
	if n < 10000 {
		t.Errorf("only %d combinations", n)
	}
}

// TestReasons: every reason of the table is listed once.
func TestReasons(t *testing.T) {
	seen := map[Reason]bool{}
	for _, r := range Reasons() {
		if seen[r] {
			t.Errorf("%s is listed twice", r)
		}
		seen[r] = true
	}
	if len(seen) != 16 {
		t.Errorf("%d reasons, the contract has 16", len(seen))
	}
}

func TestRebooting(t *testing.T) {
	r := Rebooting(Judge(Facts{Inspection: host(func(i *kmod.Inspection) { i.State = kmod.StateLoaded; requested(i) }), Probe: passed()}))
	if r.Ready != kmod.AnswerFalse || r.Reason != ReasonNodeRebooting || r.OnBoot != OnBootLoaded {
		t.Errorf("got %s %s %s", r.Ready, r.Reason, r.OnBoot)
	}
}
