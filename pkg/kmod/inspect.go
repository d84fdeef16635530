package kmod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Inspect finds out what the host's configuration, its module index and its
// kernel say about a module. It opens regular files only, inside opts.Root,
// and changes nothing.
//
// What cannot be read makes the answers it could change [AnswerUnknown], with the
// file in their evidence. An error is returned only if nothing can be said at
// all: the host root cannot be opened, the module has no valid name, or ctx is
// done.
func Inspect(ctx context.Context, opts Options, m Module) (*Inspection, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if m.Name == "" || m.Name != moduleName(m.Name) || strings.ContainsAny(m.Name, "/ \t\r\n\x00") {
		return nil, fmt.Errorf("inspect module %q: %w", m.Name, ErrModuleName)
	}
	src, err := opts.open()
	if err != nil {
		return nil, err
	}
	root := src.hostFS
	h := &host{
		root:    root,
		src:     src,
		target:  m.Name,
		indexes: map[string]*hostIndex{}, loadSets: map[int]configSet{},
		modules: map[string]*indexedModule{},
		states:  map[string]State{},
		work:    maxWork,
	}
	h.builtinText = sync.OnceValues(h.readBuiltinText)
	defer h.Close()

	ins := &Inspection{Module: m.Name, Kernel: h.readKernel(opts)}
	if ins.Kernel.Release == "" {
		h.problem("/proc/sys/kernel/osrelease", errors.New("empty or unreadable, so the kernel's modules cannot be found"))
		h.moddir = "/lib/modules"
	} else {
		h.moddir = moduleDir(ins.Kernel.Release)
	}
	h.readKernelPolicy()
	release := readOSRelease(root)
	ins.OS = release.pretty
	ins.Userland = h.readUserland(release)
	kmods, systemds := ins.versions(h, opts, release)

	ev, err := ins.evaluateAll(ctx, h, m, kmods, systemds)
	if err != nil {
		return nil, err
	}
	ins.State = h.state()
	ins.Kernel.Replaced = h.replaced()
	if file, err := h.moduleFile(m.Name); file != "" && err == nil {
		ins.Path = file
	}
	ins.Findings = append(ins.Findings, ev.findings()...)
	ins.bound()
	ev.notices(ins)
	return ins, nil
}

// maxListed is how many lines are named as the reasons of one answer, and how
// many findings there are.
const maxListed = 100

// bound keeps an inspection of a size that somebody can read, and that fits
// into an agent's memory, whatever the host's files hold.
func (ins *Inspection) bound() {
	cut := false
	for _, list := range []*[]Evidence{
		&ins.ByName.Evidence, &ins.Autoload.Evidence, &ins.AutoloadIPv6.Evidence,
		&ins.BootLoad.Evidence, &ins.BootLoad.RequestedBy,
	} {
		if len(*list) > maxListed {
			*list, cut = slices.Clone((*list)[:maxListed]), true
		}
	}
	if len(ins.Findings) > maxListed {
		ins.Findings, cut = slices.Clone(ins.Findings[:maxListed]), true
	}
	if cut {
		ins.Findings = append(ins.Findings, Finding{Kind: FindingIncomplete, Message: fmt.Sprintf(
			"more lines concern %s than are listed: of each kind the first %d are", ins.Module, maxListed)})
	}
}

func (h *host) readKernel(opts Options) Kernel {
	k := Kernel{Release: opts.KernelRelease}
	if k.Release == "" {
		k.Release, _ = kernelLine(h.src.proc, "sys/kernel/osrelease")
	}
	// A release is one path component.
	if k.Release == "." || k.Release == ".." || strings.ContainsAny(k.Release, "/\x00") {
		k.Release = ""
	}
	k.BootID, _ = kernelLine(h.src.proc, "sys/kernel/random/boot_id")
	k.Machine, _ = kernelLine(h.src.proc, "sys/kernel/arch") // since Linux 6.1
	if k.Machine == "" && opts.FS == nil {
		k.Machine = machine()
	}
	stat, _ := h.src.proc.ReadFile("stat")
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

// versions settles whose rules apply. More than one version stands for "cannot
// be told".
func (ins *Inspection) versions(h *host, opts Options, release osRelease) (kmods, systemds []int) {
	kmod, systemd := opts.KmodVersion, opts.SystemdVersion
	if kmod == 0 {
		kmod = detectKmod(h.root, ins.Kernel.Machine)
	}
	if systemd == 0 {
		systemd = detectSystemd(h.root, ins.Kernel.Machine)
	}
	usual, usualSystemd := release.versionsByRelease()
	note := func(program string, version int) {
		e := Evidence{File: "/etc/os-release", Text: printable(release.pretty)}
		f := Finding{Kind: FindingVersionUnknown, Evidence: []Evidence{e}}
		if version != 0 {
			f.Message = fmt.Sprintf("the version of %s was not found in the host root; the rules of %s %d apply, which this release ships", program, program, version)
		} else {
			f.Message = fmt.Sprintf("the version of %s was not found in the host root; where the versions differ, the answer is unknown", program)
		}
		ins.Findings = append(ins.Findings, f)
	}
	if kmod == 0 {
		kmod = usual
		note("kmod", kmod)
	}
	if systemd == 0 {
		systemd = usualSystemd
		note("systemd", systemd)
	}
	ins.KmodVersion, ins.SystemdVersion = kmod, systemd
	kmods, systemds = []int{kmod}, []int{systemd}
	if kmod == 0 {
		kmods = kmodRuleChanges
	}
	if systemd == 0 {
		systemds = systemdRuleChanges
	}
	return kmods, systemds
}

// evaluateAll evaluates under every version in question and merges: where all
// agree the answer stands, where they do not it is unknown. It returns the
// evaluation under the last one, for the findings.
func (ins *Inspection) evaluateAll(ctx context.Context, h *host, m Module, kmods, systemds []int) (*evaluation, error) {
	var ev *evaluation
	for i, kmod := range kmods {
		// One at a time: each holds all rules.
		ev = nil
		var err error
		if ev, err = h.evaluate(ctx, m, kmod); err != nil {
			return nil, err
		}
		if i == 0 {
			ins.ByName, ins.Autoload, ins.AutoloadIPv6 = ev.byName, ev.autoload, ev.autoloadIPv6
		} else {
			ins.ByName = merge(ins.ByName, ev.byName)
			ins.Autoload = merge(ins.Autoload, ev.autoload)
			ins.AutoloadIPv6 = merge(ins.AutoloadIPv6, ev.autoloadIPv6)
		}
		for j, systemd := range systemds {
			if err := ev.evaluateBoot(ctx, systemd); err != nil {
				return nil, err
			}
			if i == 0 && j == 0 {
				ins.BootLoad = ev.boot
			} else {
				ins.BootLoad = mergeBoot(ins.BootLoad, ev.boot)
			}
		}
	}
	return ev, nil
}

func merge(a, b Decision) Decision {
	if a.Allowed == b.Allowed {
		// The later version's reasons are as good as the earlier one's.
		b.Evidence = tidy(append(slices.Clone(b.Evidence), a.Evidence...), b.Allowed)
		if len(b.Evidence) > 0 && b.Allowed != AnswerTrue {
			b.Cause = b.Evidence[0].Cause
		}
		return b
	}
	evidence := tidy(append(slices.Clone(a.Evidence), b.Evidence...), AnswerFalse)
	return Decision{Allowed: AnswerUnknown, Cause: CauseVersionsDiffer, Evidence: evidence}
}

func mergeBoot(a, b BootLoad) BootLoad {
	out := b
	out.Decision = merge(a.Decision, b.Decision)
	out.RequestedBy = tidy(append(slices.Clone(a.RequestedBy), b.RequestedBy...), AnswerTrue)
	if a.Requested != b.Requested {
		out.Requested = AnswerUnknown
	}
	if a.RequestedSince.Before(out.RequestedSince) {
		out.RequestedSince = a.RequestedSince
	}
	return out
}
