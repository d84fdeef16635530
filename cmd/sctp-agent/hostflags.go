package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sctp-agent/sctp-agent/internal/assess"
	"github.com/sctp-agent/sctp-agent/internal/command"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/probe"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// hostFlags are which host is assessed, and how; check and run share them.
type hostFlags struct {
	node     string
	host     kmod.Options
	autoload string
	suite    string
	timeout  time.Duration
}

func (f *hostFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.node, "node-name", os.Getenv("NODE_NAME"), "name of this node (environment NODE_NAME)")
	flags.StringVar(&f.host.Root, "root", "/", "root of the inspected host; every path and link is resolved inside it")
	flags.StringVar(&f.host.Proc, "proc", "/proc", "the kernel's /proc")
	flags.StringVar(&f.host.Sys, "sys", "/sys", "the kernel's /sys")
	flags.StringVar(&f.host.KernelRelease, "kernel-release", "", "kernel release whose modules are looked up (default: the running kernel's)")
	flags.IntVar(&f.host.KmodVersion, "kmod-version", 0, "version of kmod whose rules apply (default: detected in the host's root)")
	flags.IntVar(&f.host.SystemdVersion, "systemd-version", 0, "version of systemd whose rules apply (default: detected in the host's root)")
	flags.StringVar(&f.autoload, "autoload", "never", `whether the probe may cause the module to be loaded: "never" or "allow"`)
	flags.StringVar(&f.suite, "suite", string(result.SuiteQuick), `checks of the probe: "quick" or "full"`)
	flags.DurationVar(&f.timeout, "timeout", 0, fmt.Sprintf("deadline of the whole probe (default: %v, %v for the full suite)", probe.DefaultTimeout, probe.DefaultFullTimeout))
}

// options checks the flags' values; an error names the flag.
func (f *hostFlags) options() (assess.Options, error) {
	opts := assess.Options{
		Node: f.node,
		Host: f.host,
		Probe: probe.Options{
			Suite:   result.Suite(f.suite),
			Timeout: f.timeout,
			Proc:    f.host.Proc,
			Sys:     f.host.Sys,
			Child:   probe.Self,
		},
	}
	switch f.autoload {
	case "never":
	case "allow":
		opts.Probe.AllowLoad = true
	default:
		return opts, fmt.Errorf(`--autoload %q: want "never" or "allow"`, f.autoload)
	}
	switch opts.Probe.Suite {
	case result.SuiteQuick, result.SuiteFull:
	default:
		return opts, fmt.Errorf(`--suite %q: want "quick" or "full"`, f.suite)
	}
	if f.timeout < 0 {
		return opts, fmt.Errorf("--timeout %v: want more than 0, or 0 for the default", f.timeout)
	}
	if err := command.KernelRelease(f.host.KernelRelease); err != nil {
		return opts, err
	}
	return opts, command.RuleVersions(f.host.KmodVersion, f.host.SystemdVersion)
}
