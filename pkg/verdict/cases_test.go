package verdict_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// TestCases: named host roots of pkg/kmod, up to the verdict: what is reported of
// them, in what words, and with which warnings.
func TestCases(t *testing.T) {
	for name, want := range map[string]struct {
		onBoot   verdict.OnBoot
		reason   verdict.Reason
		says     string
		warnings []verdict.Reason
	}{
		"helper-not-there":            {verdict.OnBootBlocked, verdict.ReasonModuleLoadingDisabled, "/disabled/modprobe", nil},
		"helper-dangling":             {verdict.OnBootBlocked, verdict.ReasonModuleLoadingDisabled, "/usr/local/x/modprobe", nil},
		"helper-is-a-directory":       {verdict.OnBootBlocked, verdict.ReasonModuleLoadingDisabled, "/usr/local/x/modprobe", nil},
		"helper-not-executable":       {verdict.OnBootBlocked, verdict.ReasonModuleLoadingDisabled, "/usr/local/x/modprobe", nil},
		"helper-script":               {verdict.OnBootUnknown, verdict.ReasonModuleLoadingDisabled, "another program", nil},
		"modprobe-not-there":          {verdict.OnBootLoaded, verdict.ReasonModuleNotLoaded, "etc/modules-load.d/sctp.conf:1", []verdict.Reason{verdict.ReasonPendingReboot}},
		"busybox":                     {verdict.OnBootUnknown, verdict.ReasonModuleLoadingDisabled, "BusyBox", []verdict.Reason{verdict.ReasonConflictingFiles}},
		"busybox-copy":                {verdict.OnBootUnknown, verdict.ReasonModuleLoadingDisabled, "BusyBox", []verdict.Reason{verdict.ReasonConflictingFiles}},
		"unit-masked":                 {verdict.OnBootOnDemand, verdict.ReasonModuleNotLoaded, "systemctl unmask", []verdict.Reason{verdict.ReasonModulesLoadUnitMasked}},
		"unit-masked-run":             {verdict.OnBootUnknown, verdict.ReasonModuleNotLoaded, "/run/systemd/system/systemd-modules-load.service is gone at the next boot", []verdict.Reason{verdict.ReasonPendingKernelArguments, verdict.ReasonModulesLoadUnitMasked}},
		"unit-masked-empty":           {verdict.OnBootOnDemand, verdict.ReasonModuleNotLoaded, "/etc/systemd/system/systemd-modules-load.service", []verdict.Reason{verdict.ReasonModulesLoadUnitMasked}},
		"unit-masked-cmdline":         {verdict.OnBootOnDemand, verdict.ReasonModuleNotLoaded, "systemd.mask=systemd-modules-load.service", []verdict.Reason{verdict.ReasonModulesLoadUnitMasked}},
		"unit-absent":                 {verdict.OnBootOnDemand, verdict.ReasonModuleNotLoaded, "is not there", []verdict.Reason{verdict.ReasonModulesLoadUnitMasked}},
		"unit-edited":                 {verdict.OnBootLoaded, verdict.ReasonModuleNotLoaded, "etc/modules-load.d/sctp.conf:1", []verdict.Reason{verdict.ReasonPendingReboot}},
		"unit-dropin-condition":       {verdict.OnBootOnDemand, verdict.ReasonModuleNotLoaded, "systemd-.service.d/only.conf:2", []verdict.Reason{verdict.ReasonModulesLoadUnitMasked}},
		"unit-dropin-unclear":         {verdict.OnBootUnknown, verdict.ReasonModuleNotLoaded, "x.conf:2", []verdict.Reason{verdict.ReasonModulesLoadUnitMasked}},
		"unit-openrc":                 {verdict.OnBootUnknown, verdict.ReasonModuleNotLoaded, "not systemd", []verdict.Reason{verdict.ReasonModulesLoadUnitMasked}},
		"unit-loads":                  {verdict.OnBootLoaded, verdict.ReasonModuleNotLoaded, "sctp.service:5", []verdict.Reason{verdict.ReasonPendingReboot, verdict.ReasonLoadedByUnit}},
		"unit-loads-masked":           {verdict.OnBootLoaded, verdict.ReasonModuleNotLoaded, "sctp.service:2", []verdict.Reason{verdict.ReasonPendingReboot, verdict.ReasonModulesLoadUnitMasked, verdict.ReasonLoadedByUnit}},
		"unit-honours-blacklist":      {verdict.OnBootBlocked, verdict.ReasonModuleBlacklisted, "x.conf:1", nil},
		"unit-script":                 {verdict.OnBootUnknown, verdict.ReasonModuleBlacklisted, "sctp.service:2", []verdict.Reason{verdict.ReasonLoadedByUnit}},
		"next-kernel":                 {verdict.OnBootUnknown, verdict.ReasonProbePassed, "install the package kernel-modules-extra-5.14.0-611.el9.x86_64", []verdict.Reason{verdict.ReasonNextKernelWithoutModule}},
		"next-kernel-default":         {verdict.OnBootUnknown, verdict.ReasonProbePassed, "is the boot loader's default", []verdict.Reason{verdict.ReasonNextKernelWithoutModule}},
		"next-kernel-not-default":     {verdict.OnBootLoaded, verdict.ReasonProbePassed, "SCTP works", nil},
		"next-kernel-of-another-kind": {verdict.OnBootLoaded, verdict.ReasonProbePassed, "SCTP works", nil},
		"next-argument":               {verdict.OnBootBlocked, verdict.ReasonProbePassed, ".conf:5: \"module_blacklist=sctp\"", []verdict.Reason{verdict.ReasonWillNotSurviveReboot, verdict.ReasonPendingKernelArguments}},
		"next-argument-gone":          {verdict.OnBootLoaded, verdict.ReasonModuleDeniedByKernel, "does not have the argument module_blacklist=sctp", []verdict.Reason{verdict.ReasonPendingReboot, verdict.ReasonPendingKernelArguments, verdict.ReasonConflictingFiles}},
		"next-argument-of-one":        {verdict.OnBootUnknown, verdict.ReasonProbePassed, "may differ in what concerns sctp", []verdict.Reason{verdict.ReasonPendingKernelArguments}},
		"next-argument-saved":         {verdict.OnBootLoaded, verdict.ReasonProbePassed, "SCTP works", nil},
		"next-argument-staged":        {verdict.OnBootUnknown, verdict.ReasonProbePassed, "/run/ostree/staged-deployment", []verdict.Reason{verdict.ReasonPendingKernelArguments}},
		"next-argument-grub":          {verdict.OnBootUnknown, verdict.ReasonProbePassed, "/etc/default/grub:2", []verdict.Reason{verdict.ReasonPendingKernelArguments}},
		"next-argument-kargs":         {verdict.OnBootUnknown, verdict.ReasonProbePassed, "/usr/lib/bootc/kargs.d/10-cis.toml:3", []verdict.Reason{verdict.ReasonPendingKernelArguments}},
		"next-argument-other":         {verdict.OnBootLoaded, verdict.ReasonProbePassed, "SCTP works", nil},
		"next-sysctl-disabled":        {verdict.OnBootBlocked, verdict.ReasonProbePassed, "/etc/sysctl.d/99-hardening.conf:2", []verdict.Reason{verdict.ReasonWillNotSurviveReboot, verdict.ReasonPendingKernelArguments}},
		"next-sysctl-at-boot":         {verdict.OnBootLoaded, verdict.ReasonProbePassed, "/etc/sysctl.d/99-hardening.conf:1", []verdict.Reason{verdict.ReasonPendingKernelArguments}},
		"next-sysctl-helper":          {verdict.OnBootBlocked, verdict.ReasonProbePassed, "kernel.modprobe = /disabled", []verdict.Reason{verdict.ReasonWillNotSurviveReboot, verdict.ReasonPendingKernelArguments}},
		"next-sysctl-overridden":      {verdict.OnBootOnDemand, verdict.ReasonProbePassed, "SCTP works", []verdict.Reason{verdict.ReasonLoadedOnDemandOnly}},
	} {
		t.Run(name, func(t *testing.T) {
			r := assessCase(t, name)
			if r.OnBoot != want.onBoot || r.Reason != want.reason {
				t.Errorf("%s, on boot %s; want %s, %s", r.Reason, r.OnBoot, want.reason, want.onBoot)
			}
			texts := r.Message
			var warned []verdict.Reason
			for _, w := range r.Warnings {
				texts += "\n" + w.Message
				warned = append(warned, w.Reason)
			}
			if !strings.Contains(texts, want.says) {
				t.Errorf("%q is not in\n%s", want.says, texts)
			}
			if !slices.Equal(warned, want.warnings) {
				t.Errorf("warnings %v, want %v\n%s", warned, want.warnings, texts)
			}
		})
	}
}

func assessCase(t *testing.T, name string) verdict.Report {
	t.Helper()
	c, root := built(t, filepath.Join("../kmod/testdata/cases", name+".case"))
	return assess(t, root, c)
}

// TestSeenLoad: the probe's socket had the module loaded, so that autoload works
// is seen, and what was computed from files does not count.
func TestSeenLoad(t *testing.T) {
	for _, caused := range []bool{true, false} {
		i := &kmod.Inspection{Module: "sctp", State: kmod.StateLoaded, BootLoad: kmod.BootLoad{Requested: kmod.AnswerFalse}}
		i.Autoload = kmod.Decision{Allowed: kmod.AnswerUnknown, Cause: kmod.CauseLoadingDisabled, Evidence: []kmod.Evidence{{
			File: "/sbin/modprobe", Effect: "is BusyBox", Cause: kmod.CauseLoadingDisabled,
		}}}
		passed := result.Result{Attempted: true, CausedLoad: caused, Checks: []result.Check{{Name: result.CheckIPv4Stream, Result: result.OutcomePass, Required: true}}}
		r := verdict.Judge(verdict.Facts{Inspection: i, Probe: passed})
		allowed, onBoot := kmod.AnswerUnknown, verdict.OnBootUnknown
		if caused {
			allowed, onBoot = kmod.AnswerTrue, verdict.OnBootOnDemand
		}
		if r.Policy.Autoload.Allowed != allowed || r.OnBoot != onBoot {
			t.Errorf("load caused %v: autoload %s, on boot %s", caused, r.Policy.Autoload.Allowed, r.OnBoot)
		}
	}
}
