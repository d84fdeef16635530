package machineconfig

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/memfs"
	"github.com/sctp-agent/sctp-agent/internal/pattern"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// Pool is what applies to the nodes of one machine config pool.
type Pool struct {
	// Role names the pool, "" for configurations without a role label.
	Role string
	// Configs in the order in which they are merged.
	Configs []Config
	// leftOut is a rendered configuration that has more than Configs, if all have.
	leftOut *Config
}

const worker = "worker"

// inherits reports whether a pool has the workers' configurations, too: all have
// that are not of the machine-config-operator itself (its function IsCustomPool).
func inherits(role string) bool {
	return !slices.Contains([]string{"", worker, "master", "arbiter"}, role)
}

// Pools sorts configurations by the pool they apply to. A custom pool's nodes
// are workers too: the machine-config-operator merges the worker pool's
// configurations into it, before its own (MergeMachineConfigs; until OpenShift
// 4.14 all of them by name). The order is otherwise that of the names, and of
// several files with one path the last wins.
//
// Rendered configurations are left out where the configurations that they are made
// from are there. Otherwise each is judged by itself: a pool may have several, one
// for each change.
//
// There is a pool for each role that the configurations name, and for each of
// custom, which need not have configurations of its own. Of a MachineConfigPool
// that is given, what it selects counts instead; a role of which there is none
// is no pool then, if it has no configurations or another one selects them.
func Pools(configs []Config, custom ...string) []Pool {
	given, roles := map[string]*selector{}, map[string]bool{}
	for _, c := range configs {
		if c.selects != nil {
			given[c.Name], roles[c.Name] = c.selects, true
		}
	}
	for _, role := range custom {
		if len(given) == 0 || given[role] != nil {
			roles[role] = true
		}
	}
	var own []Config
	rendered := map[string][]Config{}
	for _, c := range configs {
		switch {
		case c.selects != nil:
		case c.RenderedFor != "":
			rendered[c.RenderedFor] = append(rendered[c.RenderedFor], c)
			roles[c.RenderedFor] = true
		default:
			own = append(own, c)
			selected := slices.ContainsFunc(slices.Collect(maps.Values(given)), func(s *selector) bool { return s.takes(c) })
			if !selected || c.Role != "" && !inherits(c.Role) {
				roles[c.Role] = true
			}
		}
	}
	slices.SortStableFunc(own, func(a, b Config) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(own); i++ {
		a, b := own[i-1], own[i]
		if a.beside, b.beside = nil, nil; a.named && b.named && a.Name == b.Name && !reflect.DeepEqual(a, b) {
			for _, c := range []*Config{&own[i-1], &own[i]} {
				c.Unread = append(slices.Clip(c.Unread), Unread{Err: errTwice})
			}
		}
	}
	var out []Pool
	for _, role := range slices.Sorted(maps.Keys(roles)) {
		p := Pool{Role: role}
		for _, ofWorker := range []bool{true, false} {
			for _, c := range own {
				takes := c.Role == role || ofWorker && inherits(role)
				if s := given[role]; s != nil {
					takes = s.takes(c)
				}
				if takes && ofWorker == (c.Role == worker) {
					p.Configs = append(p.Configs, c)
				}
			}
		}
		if len(p.Configs) == 0 {
			for _, c := range rendered[role] {
				out = append(out, Pool{Role: role, Configs: []Config{c}})
			}
			continue
		}
		for i, c := range p.Configs {
			if of := rendered[role]; len(of) > 0 && !slices.ContainsFunc(of, func(r Config) bool { return !r.hasFirstBoot(c) }) {
				p.Configs[i].firstBoot = nil // nodes were installed with it
			}
		}
		if of := rendered[role]; len(of) > 0 && !slices.ContainsFunc(of, p.has) {
			p.leftOut = &of[len(of)-1]
		}
		out = append(out, p)
	}
	return out
}

var errTwice = errors.New("two that differ have this name: a cluster has one of them, that which was applied last")

// has reports whether the pool's configurations may be those that a rendered one is
// made from: they have the same files about modules, units and kernel arguments.
func (p *Pool) has(rendered Config) bool {
	all := map[string]bool{}
	for _, c := range p.Configs {
		maps.Copy(all, c.parts())
	}
	for name := range rendered.parts() {
		if !all[name] {
			return false
		}
	}
	return true
}

// hasFirstBoot reports whether a rendered configuration has what another one has for a
// first boot alone.
func (c *Config) hasFirstBoot(other Config) bool {
	return !slices.ContainsFunc(other.firstBoot, func(p firstBootPart) bool { return !slices.Contains(c.firstBoot, p) })
}

// parts names what the configuration has that may bear on a module.
func (c *Config) parts() map[string]bool {
	out := map[string]bool{}
	for _, f := range c.Files {
		if relevant(f.Path) {
			out[path.Clean(f.Path)] = true
		}
	}
	for _, l := range c.Links {
		if relevant(l.Path) {
			out[path.Clean(l.Path)] = true
		}
	}
	for _, u := range c.Units {
		out["unit "+u.Name] = true
	}
	for _, arg := range c.KernelArguments {
		out["argument "+arg] = true
	}
	return out
}

// Host is under which rules a pool is judged. The zero value is a node of OpenShift
// on RHEL 9 (4.13 and later): kmod 28. SystemdVersion 0 is that of the RHEL which
// ships this kmod.
type Host struct{ KmodVersion, SystemdVersion int }

const rhel9Kmod = 28

// systemdBeside is the systemd of the RHEL that ships a version of kmod: 8 has 25
// and 239, 9 has 28 and 252, 10 has 31 and 257.
func systemdBeside(kmod int) int {
	switch {
	case kmod < rhel9Kmod:
		return 239
	case kmod <= 30:
		return 252
	}
	return 257
}

// Effect is what the next boot of a pool's nodes will bring.
type Effect struct {
	Role string `json:"role"`
	// Configs are the names of the configurations judged.
	Configs []string `json:"configs"`
	// Enabled is True when the next boot loads the module, False when it
	// does not, Unknown when something that decides could not be read.
	Enabled kmod.Answer `json:"enabled"`
	// OnBoot distinguishes "not at all" from "when the first program opens a socket".
	OnBoot verdict.OnBoot `json:"onBoot"`
	// Message is one sentence for people.
	Message string `json:"message"`
	// Evidence holds the lines that decide.
	Evidence []Evidence `json:"evidence"`
	// Notes are what else is worth knowing.
	Notes []string `json:"notes"`
}

// Effects are those of several pools. Their JSON is public API.
type Effects struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Items      []Effect `json:"items"`
}

// EffectsKind is the kind of [Effects]; the version is that of reports.
const EffectsKind = "MachineConfigEffectList"

// Evidence is a line, and the configuration that wrote its file.
type Evidence struct {
	kmod.Evidence
	// Config is the name of the configuration; "" for a file that the
	// operating system delivers.
	Config string `json:"config"`
}

// delivered is a host as RHCOS delivers it, as far as it bears on sctp: the
// kernel package's two blacklists, an index of the module and its dependencies
// made by depmod(8), and the programs that install commands usually run. The
// modules and programs themselves are empty files.
//
//go:embed delivered
var delivered embed.FS

// deliveredRelease is the kernel release of that host.
const deliveredRelease = "delivered"

// Judge reports what a pool's configurations do: it adds their files to a host as
// RHCOS delivers it, in memory, and inspects that with package kmod.
func Judge(ctx context.Context, pool Pool, host Host) (Effect, error) {
	if host.KmodVersion == 0 {
		host.KmodVersion = rhel9Kmod
	}
	if host.SystemdVersion == 0 {
		host.SystemdVersion = systemdBeside(host.KmodVersion)
	}
	e := Effect{Role: pool.Role, Configs: []string{}, Evidence: []Evidence{}, Notes: []string{}}
	root, origin, unread := build(pool.Configs)
	judge := func() (*kmod.Inspection, verdict.Report, error) {
		inspection, err := kmod.Inspect(ctx, kmod.Options{
			FS: root, KernelRelease: deliveredRelease,
			KmodVersion: host.KmodVersion, SystemdVersion: host.SystemdVersion,
		}, kmod.SCTP())
		if err != nil {
			return nil, verdict.Report{}, fmt.Errorf("inspect the pool's host root: %w", err)
		}
		return inspection, verdict.Judge(verdict.Facts{Node: pool.Role, Inspection: inspection}), nil
	}
	inspection, report, err := judge()
	if err != nil {
		return e, err
	}
	if line := alongWith(pool.Configs); line != "" && report.OnBoot != verdict.OnBootLoaded {
		unread = append(unread, "whether the boot loads the other module of this line is not known: "+clip(line))
	}
	if !slices.ContainsFunc(report.Policy.Modprobe.Evidence, func(line kmod.Evidence) bool { return line.Cause == kmod.CauseDeniedByKernel }) {
		unread = append(unread, root.unseenCommands(pool.Configs, report.OnBoot)...)
	}
	if names := root.addConditions(pool.Configs); len(names) > 0 {
		_, other, err := judge()
		if err != nil {
			return e, err
		}
		if other.OnBoot != report.OnBoot {
			unread = append(unread, "a unit's condition is about what only the host may have: "+strings.Join(names, ", "))
		}
	}
	if arg := initramfsBlacklist(pool.Configs); arg != "" {
		root.mustPut("/run/modprobe.d/initramfsblacklist.conf", []byte("blacklist "+kmod.SCTP().Name+"\n"))
		_, other, err := judge()
		if err != nil {
			return e, err
		}
		if other.OnBoot != report.OnBoot {
			report = other
			unread = append(unread, "newer versions of dracut make a blacklist of it that stays in force, and those of the nodes may: the kernel argument "+clip(arg))
		}
	}

	e.OnBoot = report.OnBoot
	lines := report.Policy.ModulesLoad.Evidence
	if report.OnBoot == verdict.OnBootOnDemand {
		lines = append(lines, report.Policy.Autoload.Evidence...)
	}
	for _, line := range lines {
		if from := (Evidence{line, origin(line)}); !slices.Contains(e.Evidence, from) {
			e.Evidence = append(e.Evidence, from)
		}
	}
	for _, c := range pool.Configs {
		if noRole := "it has no label " + RoleLabel + ": no pool takes it that selects by role, as OpenShift's do"; pool.Role == "" && c.ofOperator {
			if e.Notes = append(e.Notes, fmt.Sprintf("%s %s: %s", Kind, c.Name, noRole)); report.OnBoot == verdict.OnBootLoaded {
				unread = append(unread, e.Notes[len(e.Notes)-1])
			}
		}
		e.Configs = append(e.Configs, c.Name)
		e.Notes = append(e.Notes, unitNotes(c, inspection.BootLoad.LoadedBy)...)
		for _, note := range c.Notes {
			e.Notes = append(e.Notes, fmt.Sprintf("%s %s: %s", Kind, c.Name, note))
		}
		e.Notes = append(e.Notes, c.beside...)
	}
	if pool.leftOut != nil {
		unread = append(unread, fmt.Sprintf("%s %s was left out, and has what the other MachineConfigs of the pool do not have: give all of the pool's, or %[2]s alone", Kind, pool.leftOut.Name))
	}
	for _, w := range report.Warnings {
		if w.Reason != verdict.ReasonPendingReboot { // every pool judged is pending
			e.Notes = append(e.Notes, w.Message)
		}
	}
	e.conclude(unread)
	if rest, why := pool.withoutFirstBoot(); len(why) > 0 && e.Enabled != kmod.AnswerUnknown {
		other, err := Judge(ctx, rest, host)
		if err != nil {
			return e, err
		}
		if other.OnBoot != e.OnBoot {
			e.conclude(why)
			e.Message = "new nodes and nodes that exist differ"
		}
	}
	return e, nil
}

// withoutFirstBoot is the pool as nodes have it that were installed before those of its
// configurations of which only a first boot applies something, and why. A rendered
// configuration is one that the nodes have, or can take.
func (p *Pool) withoutFirstBoot() (rest Pool, why []string) {
	rest.Role = p.Role
	for _, c := range p.Configs {
		if len(c.firstBoot) == 0 || c.RenderedFor != "" {
			rest.Configs = append(rest.Configs, c)
		} else {
			why = append(why, fmt.Sprintf("%s %s: %s", Kind, c.Name, c.refusedLater()))
		}
	}
	return rest, why
}

// bringsAlong is a line of modprobe.d by which another module brings sctp along, or of a
// unit that loads another one first.
var bringsAlong = pattern.MustCompile(`(?m)^[ \t]*(?:softdep|install)[ \t]+([^\s]+)[ \t].*\bsctp\b.*|^.*modprobe[ \t]+(?:-\w+[ \t]+)*([^\s;&|]+).*&&.*\bsctp\b.*`)

// alongWith is such a line about a module that is not in the delivered index, "" if there
// is none.
func alongWith(configs []Config) string {
	for _, c := range configs {
		var texts []string
		for _, f := range c.Files {
			if strings.Contains(f.Path, "/modprobe.d/") {
				texts = append(texts, string(f.Contents))
			}
		}
		for _, u := range c.Units {
			if u.Enabled != nil && *u.Enabled || len(u.DropIns) > 0 {
				texts = append(texts, u.texts()...)
			}
		}
		for _, text := range texts {
			for _, m := range bringsAlong().FindAllStringSubmatch(text, -1) {
				if name := m[1] + m[2]; !strings.HasPrefix(name, "sctp") && !strings.HasPrefix(name, "net-pf-") && name != "libcrc32c" {
					return m[0]
				}
			}
		}
	}
	return ""
}

// initramfsBlacklist is a kernel argument by which dracut keeps the module from being
// loaded in the initial RAM disk (dracut.cmdline(7)), "" if there is none.
func initramfsBlacklist(configs []Config) string {
	for _, c := range configs {
		for _, arg := range strings.Fields(strings.Join(c.KernelArguments, " ")) {
			key, value, _ := strings.Cut(strings.Trim(arg, `"`), "=")
			if (key == "rd.driver.blacklist" || key == "rdblacklist") && slices.Contains(strings.Split(value, ","), kmod.SCTP().Name) {
				return arg
			}
		}
	}
	return ""
}

// conclude fills in Enabled and Message.
func (e *Effect) conclude(unread []string) {
	if len(unread) > 0 {
		// What was not read may have any effect.
		e.Enabled, e.OnBoot = kmod.AnswerUnknown, verdict.OnBootUnknown
		e.Message = "not all of it could be read"
		e.Notes = append(slices.Clip(unread), slices.DeleteFunc(e.Notes, func(note string) bool { return slices.Contains(unread, note) })...)
		return
	}
	switch e.OnBoot {
	case verdict.OnBootLoaded:
		e.Enabled, e.Message = kmod.AnswerTrue, "the next boot loads sctp"
	case verdict.OnBootOnDemand:
		e.Enabled, e.Message = kmod.AnswerFalse, "nothing requests sctp at boot; the first SCTP socket loads it"
	case verdict.OnBootBlocked:
		e.Enabled, e.Message = kmod.AnswerFalse, "the next boot does not load sctp, and an SCTP socket does not either"
	default:
		e.Enabled, e.Message = kmod.AnswerUnknown, "what the next boot brings is not known"
	}
}

// Why is the message with the line that decides.
func (e *Effect) Why() string {
	if e.Enabled == kmod.AnswerUnknown && len(e.Notes) > 0 {
		return e.Message + ": " + e.Notes[0]
	}
	if len(e.Evidence) > 0 {
		return e.Message + ": " + e.Evidence[0].String()
	}
	return e.Message
}

// String is the evidence as people read it, with where it comes from.
func (e Evidence) String() string {
	from := "part of the operating system"
	if e.Config != "" {
		from = Kind + " " + e.Config
	}
	return e.Evidence.String() + " (" + from + ")"
}

// namesModule finds a command that loads, unloads or forbids the module.
var namesModule = pattern.MustCompile(`\b(modprobe|insmod|rmmod|modules_disabled|kernel\.modprobe)\b.*`)

// unitNotes point at commands of systemd units that bear on the module and that
// nothing starts at boot, or whose effect is not judged. judged are those that are
// in the evidence.
func unitNotes(c Config, judged []kmod.Evidence) []string {
	var out []string
	for _, u := range c.Units {
		if slices.ContainsFunc(judged, func(e kmod.Evidence) bool { return strings.Contains(e.File, "/"+u.Name) }) {
			continue
		}
		for _, text := range u.texts() {
			for _, line := range namesModule().FindAllString(text, -1) {
				// Neither a file's name nor that of systemd's own unit is a command.
				for strings.HasPrefix(line, "modprobe.d") || strings.HasPrefix(line, "modprobe@") {
					line = namesModule().FindString(line[len("modprobe"):])
				}
				switch {
				case strings.Contains(line, "modules_disabled"), strings.Contains(line, "kernel.modprobe"):
					out = append(out, fmt.Sprintf("unit %s of %s %s runs a command that is not judged: %s", u.Name, Kind, c.Name, clip(line)))
				case strings.Contains(line, "sctp"):
					out = append(out, fmt.Sprintf("unit %s of %s %s has a command that the boot does not run, or that does not load the module: %s", u.Name, Kind, c.Name, clip(line)))
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

// build makes the host, and returns which configurations a line comes from, and
// what could not be built.
func build(configs []Config) (root tree, origin func(kmod.Evidence) string, unread []string) {
	root = deliveredTree()
	cannot := func(c Config, p string, err error) {
		what := Kind + " " + c.Name
		if p != "" {
			what += ": " + clip(p)
		}
		if what = fmt.Sprintf("%s: %v", what, err); !slices.Contains(unread, what) {
			unread = append(unread, what)
		}
	}
	// A later configuration's file replaces an earlier one's that was not read.
	last := map[string]int{}
	kernelArgs := []string{"BOOT_IMAGE=/vmlinuz"}
	for i, c := range configs {
		for _, f := range c.Files {
			if !f.Keeps {
				last[path.Clean(f.Path)] = i
			}
		}
		for _, l := range c.Links {
			last[path.Clean(l.Path)] = i
		}
		for _, u := range c.Unread {
			last[path.Clean(u.Path)] = i
		}
		kernelArgs = append(kernelArgs, c.KernelArguments...)
	}
	from := map[string]string{} // configurations by the files they write
	for i, c := range configs {
		for _, u := range c.Unread {
			if u.Path == "" || last[path.Clean(u.Path)] == i {
				cannot(c, u.Path, u.Err)
			}
		}
		place := func(p string, n *memfs.Node) {
			if at := root.parents(p); strings.HasPrefix(at, "usr/") && !strings.HasPrefix(at, "usr/local/") {
				cannot(c, p, errors.New("/usr is read-only on these nodes: the machine-config-operator and Ignition fail"))
				return
			}
			at, err := root.put(p, n)
			if err != nil {
				cannot(c, p, err)
				return
			}
			from[at] = c.Name
		}
		for _, f := range c.Files {
			switch _, written := last[path.Clean(f.Path)]; {
			case !f.Keeps:
				n := regular(f.Contents)
				n.Err = f.Err
				place(f.Path, n)
			case !written && relevant(f.Path):
				cannot(c, f.Path, errors.New("it has no contents: Ignition keeps what the host has, and the machine-config-operator refuses it"))
			}
		}
		for _, l := range c.Links {
			at := root.parents(l.Path)
			if n := root.FS[at]; n != nil && from[at] == "" && !l.overwrite && (n.Mode&fs.ModeSymlink == 0 || string(n.Data) != l.Target) {
				cannot(c, l.Path, errors.New("a new node has it, and overwrite is not true: Ignition fails"))
			}
			place(l.Path, symlink(l.Target))
		}
	}
	for _, err := range root.putUnits(configs, from) {
		unread = append(unread, err.Error())
	}
	// The kernel's view of a host that boots with these arguments and has not
	// loaded anything yet.
	root.mustPut("/proc/cmdline", []byte(strings.Join(kernelArgs, " ")+"\n"))
	origin = func(e kmod.Evidence) string {
		if e.File == "/proc/cmdline" {
			return argumentOf(configs, e.Text)
		}
		return from[root.parents(e.File)]
	}
	return root, origin, unread
}

// argumentOf names the configurations that have a token of the command line,
// which may be cut and made printable.
func argumentOf(configs []Config, token string) string {
	begin, cut := strings.CutSuffix(token, "…")
	is := func(arg string) bool { return arg == token || cut && strings.HasPrefix(arg, begin) }
	var names []string
	for _, c := range configs {
		if slices.ContainsFunc(c.KernelArguments, func(arg string) bool { return is(arg) || slices.ContainsFunc(strings.Fields(arg), is) }) {
			names = append(names, c.Name)
		}
	}
	return strings.Join(names, ", ")
}
