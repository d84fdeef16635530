package kmod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
)

// gather reads the host's files, for all callers, before any rule is applied.
func gather(ctx context.Context, files hostFiles, opts Options, m Module) *host {
	h := &host{
		hostFiles: files, ctx: ctx, target: m.Name, init: m.Init, onRequest: m.OnRequest, moddir: "/lib/modules",
		indexes: map[string]*hostIndex{}, modules: map[string]*indexedModule{}, states: map[string]State{},
		work: maxWork, requests: slices.Concat(m.Autoload, m.AutoloadIPv6),
	}
	h.kern = h.readKernel(opts)
	if h.kern.Release == "" {
		h.problem("/proc/sys/kernel/osrelease", errors.New("empty or unreadable, so the kernel's modules cannot be found"))
	} else {
		h.moddir = moduleDir(h.kern.Release)
	}
	// What is asked for on request only may be compiled in without a trace in /sys.
	h.noModules = !m.OnRequest && !files.takesModules()
	h.readKernelPolicy()
	h.release = readOSRelease(h.Tree)
	h.userland = h.readUserland()
	h.gatherVersions(opts)
	h.gatherConfigs()
	h.gatherBuiltin()
	h.file, h.fileErr = h.moduleFile(m.Name)
	if target := h.indexed(m.Name); target != nil {
		h.needs = target.needs
	}
	_, err := h.Stat(h.moddir)
	h.noModuleDir = hostroot.Absent(err)
	h.replaced = h.isReplaced()
	h.kern.Replaced = h.replaced
	if h.state = h.readState(); h.state == StateBuiltin && !h.builtin {
		h.builtin, h.builtinBy = true, Evidence{File: "/sys/module/" + h.target, Effect: "is there without a module's state: it is compiled into the kernel"}
	}
	h.gatherUnits()
	return h
}

// gatherConfigs reads the directories of every version in question.
func (h *host) gatherConfigs() {
	var dirs, extra []string
	for _, kmod := range h.kmods {
		dirs = append(dirs, modprobeDirs(kmod)...)
		extra = append(extra, h.softdepFiles(kmod)...)
	}
	h.modprobe = gatherConfig(h.Tree, inOrder(modprobeDirs(latestKmod), dirs), func(name string) bool {
		accept := func(kmod int) bool { return modprobeRule(kmod).accept(name) }
		return slices.ContainsFunc(h.kmods, accept) || straysFor(h.target, name)
	}, maxModprobeSet, inOrder(h.softdepFiles(latestKmod), extra)...)
	dirs = nil
	for _, systemd := range h.systemds {
		dirs = append(dirs, modulesLoadDirs(systemd)...)
	}
	h.modulesLoad = gatherConfig(h.Tree, inOrder(modulesLoadDirs(earliestSystemd), dirs), modulesLoadRule(earliestSystemd).accept, maxLoadSet)
}

// inOrder are those of all that are wanted.
func inOrder(all, wanted []string) []string {
	return slices.DeleteFunc(all, func(name string) bool { return !slices.Contains(wanted, name) })
}

// readKernel identifies the kernel.
func (h *host) readKernel(opts Options) Kernel {
	k := Kernel{Release: opts.KernelRelease}
	if k.Release == "" {
		k.Release, _ = kernelLine(h.proc, "sys/kernel/osrelease")
	}
	// A release is one path component.
	if k.Release == "." || k.Release == ".." || strings.ContainsAny(k.Release, "/\x00") {
		k.Release = ""
	}
	k.BootID, _ = kernelLine(h.proc, "sys/kernel/random/boot_id")
	k.Machine, _ = kernelLine(h.proc, "sys/kernel/arch") // since Linux 6.1
	if k.Machine == "" && opts.FS == nil {
		k.Machine = machine()
	}
	stat, _ := h.proc.ReadFile("stat")
	k.BootTime = bootTime(stat)
	return k
}

// bootTime finds the boot's time in the text of /proc/stat (btime of
// proc_stat(5)).
func bootTime(stat string) time.Time {
	for line := range strings.Lines(stat) {
		if rest, ok := strings.CutPrefix(line, "btime "); ok {
			if sec, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64); err == nil {
				return time.Unix(sec, 0)
			}
		}
	}
	return time.Time{}
}

// gatherVersions finds the versions whose rules apply; more than one if the host's
// own are not known.
func (h *host) gatherVersions(opts Options) {
	kmod, systemd := opts.KmodVersion, opts.SystemdVersion
	if kmod == 0 {
		kmod = detectKmod(h.Tree, h.kern.Machine)
	}
	if systemd == 0 {
		systemd = detectSystemd(h.Tree, h.kern.Machine)
	}
	usual, usualSystemd := h.release.versionsByRelease()
	note := func(program string, version int) {
		e := Evidence{File: "/etc/os-release", Text: printable(h.release.pretty)}
		f := Finding{Kind: FindingVersionUnknown, Evidence: []Evidence{e}}
		if version != 0 {
			f.Message = fmt.Sprintf("the version of %s was not found in the host root; the rules of %s %d apply, which this release ships", program, program, version)
		} else {
			f.Message = fmt.Sprintf("the version of %s was not found in the host root; where the versions differ, the answer is unknown", program)
		}
		h.notes = append(h.notes, f)
	}
	if kmod == 0 {
		kmod = usual
		note("kmod", kmod)
	}
	if systemd == 0 {
		systemd = usualSystemd
		note("systemd", systemd)
	}
	h.kmod, h.systemd = kmod, systemd
	h.kmods, h.systemds = []int{kmod}, []int{systemd}
	if kmod == 0 {
		h.kmods = kmodRuleChanges
	}
	if systemd == 0 {
		h.systemds = systemdRuleChanges
	}
}
