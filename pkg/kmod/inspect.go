package kmod

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Inspect finds out what the host's configuration, its module index and its
// kernel say about a module. It opens regular files only, inside the host's
// root, and changes nothing.
//
// What cannot be read makes the answers it could change [AnswerUnknown], with the
// file in their evidence. An error is returned only if there can be no answer: the
// host root cannot be opened, the module has no valid name, or ctx has ended.
// Inspect returns as soon as ctx ends, even if a file system does not answer (other
// than the directory opts.Root itself); the calls that wait for it end later by
// themselves; until then opts.FS is in use.
func Inspect(ctx context.Context, opts Options, m Module) (*Inspection, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if m.Name == "" || m.Name != moduleName(m.Name) || strings.ContainsAny(m.Name, "/ \t\r\n\x00") {
		return nil, fmt.Errorf("inspect module %q: %w", m.Name, ErrModuleName)
	}
	// The live roots are opened by the caller's thread, which may have a mount
	// namespace of its own.
	var files hostFiles
	if opts.FS == nil {
		var err error
		if files, err = opts.openLive(ctx); err != nil {
			return nil, err
		}
	}
	type result struct {
		*Inspection
		err error
	}
	done := make(chan result, 1)
	go func() {
		if opts.FS != nil {
			var err error
			if files, err = opts.openFS(ctx); err != nil {
				done <- result{nil, err}
				return
			}
		}
		defer files.Close()
		ins := inspect(ctx, files, opts, m)
		if opts.Looked != nil && ctx.Err() == nil {
			names, lists := files.Looked()
			opts.Looked(Looked{names, lists})
		}
		done <- result{ins, nil}
	}()
	select {
	case r := <-done:
		// It may have been cut short.
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return r.Inspection, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// inspect has three steps: gather what the host has, replay what its tools would
// do, and conclude.
func inspect(ctx context.Context, files hostFiles, opts Options, m Module) *Inspection {
	host := gather(ctx, files, opts, m)
	defer host.close()
	now := replay(host, m)
	ins := conclude(host, now)
	if !m.OnRequest {
		ins.Next = host.nextBoot(m, now)
	}
	now.last.notices(ins)
	return ins
}

// replayed is what the tools would do, merged over the versions in question.
type replayed struct {
	answers
	emptied []Evidence
	// last is the evaluation under the last version.
	last *evaluation
}

// replay evaluates under every version in question and merges: where they disagree,
// the answer is unknown.
func replay(h *host, m Module) replayed {
	var r replayed
	for i, kmod := range h.kmods {
		r.last = nil // one at a time: each holds all rules
		ev := h.evaluate(m, kmod)
		r.last = ev
		for j, systemd := range h.systemds {
			switch ev.evaluateBoot(systemd); {
			case j > 0:
				r.boot = mergeBoot(r.boot, ev.boot)
			case i > 0:
				r.answers = answers{
					merge(r.byName, ev.byName), merge(r.autoload, ev.autoload), merge(r.autoloadIPv6, ev.autoloadIPv6), mergeBoot(r.boot, ev.boot),
				}
			default:
				r.answers = ev.answers
			}
		}
		r.emptied = append(r.emptied, ev.explainEmptied()...)
	}
	return r
}

// conclude puts together what is reported.
func conclude(h *host, r replayed) *Inspection {
	ins := &Inspection{
		Module: h.target, Kernel: h.kern, OS: h.release.pretty, Userland: h.userland, KmodVersion: h.kmod, SystemdVersion: h.systemd, State: h.state,
		ByName: r.byName, Autoload: r.autoload, AutoloadIPv6: r.autoloadIPv6, BootLoad: r.boot, Emptied: r.emptied,
		Findings: slices.Concat(h.notes, r.last.findings(), r.boot.findings(h.target)),
	}
	ins.BootLoad.Taken = h.takenNames()
	if h.fileErr == nil {
		ins.Path = h.file
	}
	if ins.State == StateAbsent && len(h.problems) > 0 && !h.noModules {
		ins.State = StateUnknown
	}
	ins.bound()
	return ins
}

// takenNames are those of files in the directories of modules-load.d.
func (h *host) takenNames() (names []string) {
	for _, dir := range modulesLoadDirs(latestSystemdRules) {
		if d := h.modulesLoad.dirs[dir]; d != nil {
			for _, e := range d.entries[:min(len(d.entries), maxListed)] {
				names = append(names, printableName(e.name))
			}
		}
	}
	return names
}

func merge(a, b Decision) Decision {
	if a.Allowed == b.Allowed {
		// The later version's reasons are as good as the earlier one's.
		return decision(b.Allowed, b.Evidence, a.Evidence)
	}
	return Decision{Allowed: AnswerUnknown, Cause: CauseVersionsDiffer, Evidence: tidy(AnswerFalse, a.Evidence, b.Evidence)}
}

func mergeBoot(a, b BootLoad) BootLoad {
	out := b
	out.Decision = merge(a.Decision, b.Decision)
	out.LoadedBy = tidy(AnswerTrue, a.LoadedBy, b.LoadedBy)
	out.RequestedBy = tidy(AnswerTrue, a.RequestedBy, b.RequestedBy)
	if a.Requested != b.Requested {
		out.Requested = AnswerUnknown
	}
	if a.RequestedSince.Before(out.RequestedSince) {
		out.RequestedSince = a.RequestedSince
	}
	return out
}

// maxListed is how many lines are named as the reasons of one answer, and how
// many findings there are.
const maxListed = 100

// bound limits the size of an inspection, so that people can read it and it fits
// into an agent's memory, whatever is in the host's files.
func (ins *Inspection) bound() {
	cut := false
	for _, list := range []*[]Evidence{
		&ins.ByName.Evidence, &ins.Autoload.Evidence, &ins.AutoloadIPv6.Evidence,
		&ins.BootLoad.Evidence, &ins.BootLoad.RequestedBy, &ins.BootLoad.LoadedBy, &ins.Emptied,
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
