// Package hostdump judges a host by a copy of its files: a sosreport, or an
// unpacked root. It reads nothing else of the machine that it runs on.
//
// A sosreport has what its plugins copy (sos, report/plugins/kernel.py and
// systemd.py) and nothing else. An answer that a missing file could change is
// "unknown", and names the file.
package hostdump

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
	"github.com/sctp-agent/sctp-agent/internal/tarball"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// errNotCollected is why a file cannot be read that the host may have.
var errNotCollected = errors.New("not in this copy of the host's files")

// Dump is a copy of a host's files.
type Dump struct {
	files fs.FS // the copy, from the host's root on; it reads links
	root  *os.Root
	facts facts
}

// Open opens a directory or an archive that holds the root of a host or a
// sosreport, in directories or not.
func Open(ctx context.Context, name string) (*Dump, error) {
	d, err := open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return d, nil
}

func open(ctx context.Context, name string) (*Dump, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, hostroot.Bare(err)
	}
	d := &Dump{}
	switch {
	case info.IsDir():
		if d.root, err = os.OpenRoot(name); err != nil {
			return nil, hostroot.Bare(err)
		}
		d.files = d.root.FS()
	case !info.Mode().IsRegular():
		return nil, tarball.ErrFormat // a pipe may never end
	default:
		f, err := os.Open(name)
		if err != nil {
			return nil, hostroot.Bare(err)
		}
		defer f.Close()
		if d.files, err = readArchive(ctx, f); err != nil {
			return nil, err
		}
	}
	if err := d.find(); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// New takes a file system, which must read links, for a copy.
func New(files fs.FS) (*Dump, error) {
	d := &Dump{files: files}
	return d, d.find()
}

// Close closes the directory.
func (d *Dump) Close() error {
	if d.root == nil {
		return nil
	}
	return d.root.Close()
}

// maxDepth is how many directories a host's root may be in: an archive has one, and
// support cases often have another for each archive.
const maxDepth = 3

// find goes to the host's root.
func (d *Dump) find() error {
	level, other := []string{"."}, "neither a sosreport (sos_commands) nor the root of a host (etc, and lib or usr)"
	for depth := 0; depth <= maxDepth; depth++ {
		var hosts, below []string
		for _, name := range level {
			sub, err := fs.Sub(d.files, name)
			if err == nil && isHost(sub) {
				hosts = append(hosts, name)
				continue
			}
			switch {
			case err != nil:
			case has(sub, "basic-environment.txt"): // of SUSE's supportutils
				other = "a supportconfig, which is not read: run \"sctp-agent check\" on the host, or give a sosreport"
			case has(sub, "cluster-scoped-resources"):
				other = "a must-gather, which \"kubectl sctp audit -f\" reads"
			}
			list, err := fs.ReadDir(d.files, name)
			if err != nil && depth == 0 {
				return hostroot.Bare(err)
			}
			for _, e := range list {
				if e.IsDir() {
					below = append(below, path.Join(name, e.Name()))
				} else if strings.HasPrefix(e.Name(), "sosreport-") && strings.Contains(e.Name(), ".tar") {
					other = "archives of sosreports (of sos collect): unpack it, and name one of them (" + e.Name() + ")"
				}
			}
		}
		switch len(hosts) {
		case 0:
			level = below
			continue
		case 1:
		default:
			return fmt.Errorf("holds %d hosts: name the directory of one (%s, …)", len(hosts), strings.Join(hosts[:2], ", "))
		}
		var err error
		if d.files, err = fs.Sub(d.files, hosts[0]); err != nil {
			return hostroot.Bare(err)
		}
		d.facts = readFacts(d.files)
		return nil
	}
	return errors.New("holds " + other)
}

// isHost reports whether a directory is a host's root or a sosreport's.
func isHost(files fs.FS) bool {
	return has(files, "sos_commands") || has(files, "etc") && (has(files, "lib") || has(files, "usr"))
}

func has(files fs.FS, name string) bool {
	_, err := fs.Lstat(files, name)
	return err == nil
}

// Options of an assessment. The zero value takes everything from the copy.
type Options struct {
	// KernelRelease whose modules are looked up.
	KernelRelease string
	// KmodVersion and SystemdVersion are the major versions whose rules apply.
	KmodVersion, SystemdVersion int
}

// Assess judges the host's policy and state. That SCTP works cannot be proved
// by files: where the module is in the kernel, the verdict is unknown.
func (d *Dump) Assess(ctx context.Context, opts Options) (verdict.Report, error) {
	release := cmp.Or(opts.KernelRelease, d.facts.release)
	if release == "" {
		return verdict.Report{}, errors.New("which kernel the host runs is not in the copy: name it with --kernel-release" + d.releases())
	}
	var (
		first, report verdict.Report
		missing       []string
	)
	for i, w := range d.worlds(release) {
		r, gaps, err := d.judge(ctx, w.files, release, opts)
		if err != nil {
			return verdict.Report{}, err
		}
		missing = append(missing, gaps...)
		if i == 0 {
			first, report = r, r
			report.Warnings = slices.Clone(r.Warnings)
		} else if merge(&report, first, r, w.unsure) {
			missing = append(missing, w.unsure.File)
		}
	}
	if report.OnBoot == verdict.OnBootUnknown {
		report.Warnings = slices.DeleteFunc(report.Warnings, func(w verdict.Warning) bool { return w.Reason == verdict.ReasonPendingReboot })
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		report.Warnings = append(report.Warnings, verdict.Warning{
			Reason:  verdict.ReasonInspectionIncomplete,
			Message: "not in this copy of the host's files: " + strings.Join(slices.Compact(missing), ", ") + "; the answers that they could change are unknown",
		})
	}
	if dep := path.Join("lib/modules", release, "modules.dep"); report.Reason == verdict.ReasonInspectionFailed && report.Module.State == kmod.StateUnknown && d.facts.withoutSCTP() && !has(d.files, dep) {
		report.Message = "the module sctp is not in the kernel (lsmod, sysctl -a); whether it is on disk is not known: /" + dep + " is not in this copy of the host's files"
	}
	if report.Reason == verdict.ReasonInspectionFailed && report.Module.State.InKernel() {
		report.Message = "the module sctp is in the kernel; that SCTP works cannot be proved from files"
	}
	if report.Reason == verdict.ReasonInspectionFailed && (report.Module.State.InKernel() || report.Module.State == kmod.StateUnknown || strings.Contains(report.Message, "in this copy")) {
		report.Remedy = "run \"sctp-agent check\" on the host"
		report.Remedies = []verdict.Remedy{{Action: verdict.ActionRetry, Text: report.Remedy, Command: "sctp-agent check"}}
	}
	return report, nil
}

// judge judges one of the hosts that the copy may be of. missing are the files that
// could change it and are not in the copy.
func (d *Dump) judge(ctx context.Context, files fs.FS, release string, opts Options) (r verdict.Report, missing []string, err error) {
	host := kmod.Options{
		FS: files, KernelRelease: release,
		KmodVersion: cmp.Or(opts.KmodVersion, d.facts.kmod), SystemdVersion: cmp.Or(opts.SystemdVersion, d.facts.systemd),
	}
	facts := verdict.Facts{Node: d.facts.hostname}
	if facts.Inspection, err = kmod.Inspect(ctx, host, kmod.SCTP()); err != nil {
		return r, nil, err
	}
	if facts.Diag, err = kmod.Inspect(ctx, host, kmod.SCTPDiag()); err != nil {
		return r, nil, err
	}
	if facts.Inspection.Kernel.Machine == "" {
		facts.Inspection.Kernel.Machine = d.facts.machine
	}
	facts.Inspection.Findings = slices.DeleteFunc(facts.Inspection.Findings, func(f kmod.Finding) bool {
		notCopied := f.Kind == kmod.FindingIncomplete && len(f.Evidence) > 0 && strings.Contains(f.Evidence[0].Effect, errNotCollected.Error())
		if notCopied {
			missing = append(missing, f.Evidence[0].File)
		}
		return notCopied
	})
	r = verdict.Judge(facts)
	if r.Reason == verdict.ReasonModuleLoadFailed {
		// A copy does not have the time at which a file was put in its place.
		r.Reason, r.Message = verdict.ReasonModuleNotLoaded, r.Message+": that failed, or is newer than this boot"
	}
	if unseen := facts.Inspection.Next.Unseen; len(unseen) > 0 && r.OnBoot != verdict.OnBootUnknown && r.Module.State != kmod.StateBuiltin {
		r.OnBoot, missing = verdict.OnBootUnknown, append(missing, unseen...)
	}
	return r, missing, nil
}

// merge removes from a report what another report of the same copy contradicts, and
// returns whether there was anything. first is the report as judged: the host is as
// in this or as in the other, which the files do not decide.
func merge(report *verdict.Report, first, other verdict.Report, unsure kmod.Evidence) (changed bool) {
	answer := func(a *kmod.Answer, first, other kmod.Answer, evidence *[]kmod.Evidence) bool {
		if first == other {
			return false
		}
		*a, *evidence, changed = kmod.AnswerUnknown, append([]kmod.Evidence{unsure}, *evidence...), true
		return true
	}
	p, f, o := &report.Policy, first.Policy, other.Policy
	socket := answer(&p.Autoload.Allowed, f.Autoload.Allowed, o.Autoload.Allowed, &p.Autoload.Evidence)
	boot := answer(&p.ModulesLoad.Allowed, f.ModulesLoad.Allowed, o.ModulesLoad.Allowed, &p.ModulesLoad.Evidence)
	answer(&p.AutoloadIPv6.Allowed, f.AutoloadIPv6.Allowed, o.AutoloadIPv6.Allowed, &p.AutoloadIPv6.Evidence)
	answer(&p.Modprobe.Allowed, f.Modprobe.Allowed, o.Modprobe.Allowed, &p.Modprobe.Evidence)
	answer(&p.ModulesLoad.Requested, f.ModulesLoad.Requested, o.ModulesLoad.Requested, &p.ModulesLoad.Evidence)
	if first.OnBoot != other.OnBoot {
		report.OnBoot, changed = verdict.OnBootUnknown, true
	}
	if first.Module.State != other.Module.State && other.Module.State.InKernel() {
		report.Module.State, changed = kmod.StateUnknown, true
	}
	switch {
	case report.Ready == kmod.AnswerUnknown:
	case first.Ready != other.Ready:
		report.Ready, report.Reason, changed = kmod.AnswerUnknown, verdict.ReasonInspectionFailed, true
		report.Message = "what decides whether SCTP can work is not in this copy: " + unsure.String()
		report.Remedy, report.Remedies = "", []verdict.Remedy{}
	case first.Reason != other.Reason && (socket || boot):
		report.Message += " (but " + unsure.Place() + " " + unsure.Effect + ")"
	}
	report.Warnings = slices.DeleteFunc(report.Warnings, func(w verdict.Warning) bool {
		return !slices.ContainsFunc(other.Warnings, func(o verdict.Warning) bool { return o.Reason == w.Reason })
	})
	return changed
}
