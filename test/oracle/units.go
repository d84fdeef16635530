package oracle

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
	"github.com/sctp-agent/sctp-agent/internal/hostroot"
	"github.com/sctp-agent/sctp-agent/internal/systemdunit"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

const modulesLoadUnit = "systemd-modules-load.service"

// GenerateUnits makes the nth random tree of systemd units of a seed: packages'
// units, and what administrators add to them.
func GenerateUnits(v Version, seed uint64, n int) *hostcase.Case {
	g := &unitGenerator{generator: generator{
		Rand: rand.New(rand.NewPCG(seed<<8|uint64(v.Systemd), uint64(n))),
		c:    &hostcase.Case{Story: fmt.Sprintf("Generated units: seed %d, number %d.", seed, n), Kmod: v.Kmod, Systemd: v.Systemd},
	}, taken: map[string]bool{}}
	g.shipped()
	for range 2 + g.IntN(10) {
		g.change()
	}
	return g.c
}

type unitGenerator struct {
	generator
	taken map[string]bool
}

const shippedUnits = "usr/lib/systemd/system"

var unitDirs = []string{
	"etc/systemd/system.control", "etc/systemd/system", "etc/systemd/system", "etc/systemd/system",
	"run/systemd/system", "usr/local/lib/systemd/system", shippedUnits,
}

// put adds an entry where none is.
func (g *unitGenerator) put(kind hostcase.EntryKind, name, content string) {
	for dir := name; dir != "."; dir = path.Dir(dir) {
		if g.taken[dir] {
			return
		}
	}
	for _, e := range g.c.Entries {
		if strings.HasPrefix(e.Path, name+"/") {
			return
		}
	}
	g.taken[name] = true
	g.c.Entries = append(g.c.Entries, hostcase.Entry{Kind: kind, Path: name, Content: content})
}

// shipped are the units that every host has, and some more.
func (g *unitGenerator) shipped() {
	ship := func(name, text string) { g.put(hostcase.File, path.Join(shippedUnits, name), text) }
	ship("sysinit.target", "[Unit]\n")
	ship("shutdown.target", "[Unit]\nDefaultDependencies=no\n")
	ship("basic.target", "[Unit]\nRequires=sysinit.target\nAfter=sysinit.target\n")
	ship("multi-user.target", "[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n")
	ship("graphical.target", "[Unit]\nRequires=multi-user.target\nAfter=multi-user.target\nWants=display-manager.service\nAllowIsolate=yes\n")
	g.put(hostcase.Link, path.Join(shippedUnits, "default.target"), pick(&g.generator, "graphical.target", "multi-user.target"))
	if g.chance(90) {
		ship(modulesLoadUnit, "[Unit]\nDefaultDependencies=no\nConflicts=shutdown.target\nBefore=sysinit.target shutdown.target\n"+
			"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/lib/systemd/systemd-modules-load\n")
		g.put(hostcase.Link, path.Join(shippedUnits, "sysinit.target.wants", modulesLoadUnit), "../"+modulesLoadUnit)
	}
	ship("modprobe@.service", "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=-/sbin/modprobe -abq %i\n")
	for _, name := range []string{"a.service", "b.service", "x-y.service", "x-y-z.service", "t@.service", "x-t@.service", "more.target", "w.service", "w.timer", "w.path", "w.socket"} {
		if g.chance(70) {
			ship(name, g.unit(name))
		}
		if g.chance(30) && !strings.Contains(name, "@") {
			g.put(hostcase.Link, path.Join(shippedUnits, pick(&g.generator, "multi-user.target.wants", "sysinit.target.wants", "basic.target.wants"), name), "../"+name)
		}
	}
}

// unitName is one that exists, or may.
func (g *unitGenerator) unitName() string {
	return g.weighted(map[string]int{
		"a.service": 12, "b.service": 10, "x-y.service": 4, "x-y-z.service": 4, "t@1.service": 5, "t@a-b.service": 3, "t@.service": 1, "x-t@1.service": 3, "more.target": 6,
		"w.service": 3, "w.timer": 3, "w.path": 2, "w.socket": 2,
		modulesLoadUnit: 8, "modprobe@sctp.service": 4, "alias.service": 4, "nowhere.service": 2, "nowhere.target": 1, "c.service": 4,
		"s.slice": 2, "s-t.slice": 2, "system-t.slice": 2, "m.mount": 1,
	})
}

// change is one thing that somebody did.
func (g *unitGenerator) change() {
	dir := pick(&g.generator, unitDirs...)
	name := g.unitName()
	switch g.weighted(map[string]int{"unit": 20, "mask": 8, "empty": 3, "link": 6, "drop-in": 26, "pull": 30, "alias": 8, "odd": 2}) {
	case "unit":
		g.put(hostcase.File, path.Join(dir, name), g.unit(name))
	case "mask":
		if g.chance(40) {
			name = modulesLoadUnit
		}
		g.put(hostcase.Link, path.Join(dir, name), "/dev/null")
	case "empty":
		g.put(hostcase.File, path.Join(dir, name), pick(&g.generator, "", "", "\n", "# nothing\n"))
	case "link": // "systemctl link", or a copy elsewhere
		target := "opt/units/" + strings.ReplaceAll(path.Join(dir, name), "/", "_") + "/" + name
		g.put(hostcase.File, "usr/"+target, g.unit(name))
		g.put(hostcase.Link, path.Join(dir, name), "/usr/"+target)
	case "drop-in":
		of := name
		if g.chance(25) {
			of = pick(&g.generator, "service", "target", "x-.service", "x-y-.service", "t@.service", "x-t@.service", "x-@.service", "x-@1.service", "t@a-.service", "systemd-.service", "systemd-modules-.service", "-.service")
		}
		g.put(hostcase.File, path.Join(dir, of+".d", pick(&g.generator, "10.conf", "20.conf", "override.conf", "Z.conf", "x.cnf", ".h.conf")), g.dropIn())
	case "pull":
		by := pick(&g.generator, "multi-user.target", "multi-user.target", "multi-user.target", "graphical.target", "default.target", "sysinit.target", "basic.target", "more.target", "a.service", "b.service", "t@1.service", "t@.service", "alias.service", "multi-.target", "target", "x-.service", "x-@.service", "service")
		kind := g.weighted(map[string]int{".wants": 12, ".requires": 3, ".upholds": 1})
		link := path.Join(dir, by+kind, name)
		switch g.IntN(12) {
		case 0:
			g.put(hostcase.Link, link, "/dev/null")
		case 1:
			g.put(hostcase.File, link, "")
		case 2:
			g.put(hostcase.Link, link, "/etc/systemd/system/elsewhere.service")
		case 3:
			g.put(hostcase.Link, link, "/"+path.Join(dir, strings.Replace(name, "@1.", "@.", 1)))
		default:
			g.put(hostcase.Link, link, "/"+path.Join(shippedUnits, strings.Replace(strings.Replace(name, "@1.", "@.", 1), "@sctp.", "@.", 1)))
		}
	case "alias":
		alias := pick(&g.generator, "alias.service", "alias.service", "display-manager.service", "c.service", "t@1.service", "more.target", "a.service")
		if strings.Contains(alias, "@") == strings.Contains(name, "@") && path.Ext(alias) == path.Ext(name) {
			g.put(hostcase.Link, path.Join(dir, alias), pick(&g.generator, "/"+path.Join(shippedUnits, name), name, "../system/"+name))
		}
	case "odd":
		switch g.IntN(3) {
		case 0:
			g.put(hostcase.Link, path.Join(dir, name), pick(&g.generator, "/nowhere", name))
		case 1:
			g.put(hostcase.Dir, path.Join(dir, name), "")
		case 2:
			g.put(hostcase.Link, path.Join(dir, name+".d"), pick(&g.generator, "/nowhere", "/etc/systemd/system/a.service.d", "/dev/null"))
		}
	}
}

// unit is the text of a unit of this name.
func (g *unitGenerator) unit(name string) string {
	var b strings.Builder
	eol := "\n"
	if g.chance(4) {
		eol = "\r\n"
	}
	line := func(format string, args ...any) {
		fmt.Fprintf(&b, format, args...)
		b.WriteString(eol)
	}
	if g.chance(3) {
		b.WriteString("\ufeff")
	}
	line("[Unit]")
	for range g.IntN(3) {
		line("%s", g.unitSetting())
	}
	switch path.Ext(name) {
	case ".service":
		line("[Service]")
		if g.chance(85) {
			line("Type=%s", pick(&g.generator, "oneshot", "oneshot", "oneshot", "simple", "notify", "bogus"))
		}
		if g.chance(95) {
			line("ExecStart=%s", g.execStart())
		}
		if g.chance(10) {
			line("ExecStart=%s", g.execStart())
		}
		if g.chance(10) {
			line("%s", g.serviceSetting())
		}
	case ".timer":
		line("[Timer]")
		line("%s", pick(&g.generator, "OnBootSec=1min", "OnCalendar=daily", "OnBootSec=1min\nUnit=a.service"))
	case ".path":
		line("[Path]")
		line("%s", pick(&g.generator, "PathExists=/etc", "PathExists=/etc\nUnit=b.service"))
	case ".socket":
		line("[Socket]")
		line("%s", pick(&g.generator, "ListenStream=/run/w", "ListenStream=/run/w\nService=a.service"))
	}
	if g.chance(30) {
		line("[Install]")
		line("WantedBy=multi-user.target")
	}
	return b.String()
}

func (g *unitGenerator) unitSetting() string {
	names := g.unitName()
	if g.chance(20) {
		names += pick(&g.generator, " ", "  ", "\t", " \\\n ", ",") + g.unitName()
	}
	switch g.weighted(map[string]int{"pull": 30, "after": 3, "conflicts": 3, "requisite": 2, "harmless": 20, "odd": 5}) {
	case "pull":
		return pick(&g.generator, "Wants", "Wants", "Wants", "Requires", "BindsTo", "Upholds", " Wants", "Wants ") + "=" + pick(&g.generator, "", "", " ") + names
	case "after":
		return pick(&g.generator, "After", "Before", "PartOf") + "=" + names
	case "conflicts":
		return "Conflicts=" + names
	case "requisite":
		return "Requisite=" + names
	case "odd":
		return pick(&g.generator, "Wants=", "wants="+names, "Wants: "+names, "Wants=\""+names+"\"", "Wants=%n", "Wants=%p.target", "Wants=t@%i.service",
			"#Wants="+names, "; Wants="+names, " # Wants="+names, "[Unit", "=x", "Wants=a.service # b.service", "X-Wants="+names, "[Service]\n[Unit]\nWants="+names, "\\\nWants="+names,
			"Description=x \\\\\nWants="+names, "Description=caf\xe9\nWants="+names, "\u00a0Wants="+names, "Wants="+names+"\rAfter=x", "Wants=%n-%p.service %N.target")
	}
	return pick(&g.generator, "Description=x", "Documentation=man:x(1)", "DefaultDependencies=no", "OnFailure="+names, "StopWhenUnneeded=no", "Unknown=x")
}

func (g *unitGenerator) serviceSetting() string {
	return pick(&g.generator, "Type=bogus", "User=nobody", "Environment=A=b", "ExecStartPre=/bin/true", "RemainAfterExit=yes", "ExecStart=", "Restart=always", "Type=simple", "TimeoutSec=x",
		"Slice="+pick(&g.generator, "s.slice", "s-t.slice", "s-t-u.slice", "system-t.slice", "system-%p.slice", "a.service", "s", ""))
}

func (g *unitGenerator) execStart() string {
	args := []string{pick(&g.generator, "/bin/one", "/bin/two", "/usr/bin/three", "-/bin/four", "+/bin/five", "!!/bin/six", ":/bin/seven", "/sbin/modprobe", "modprobe", "@/bin/eight nine", "bin/x", "- /bin/x",
		"--/bin/x", "+!/bin/x", "!-!/bin/nine", "!!!/bin/x", "/bin/x/", "'-/bin/ten'", "/bin/x\x0by")}
	for range g.IntN(3) {
		args = append(args, pick(&g.generator, "a", "-b", "sctp", "'a b'", "\"c d\"", "e\\x20f", "%i", "%I", "%%", "%n", "$X", "${Y}", "a;b", "\\\n", "x'y z'", "\\;", "%p", "$$"))
	}
	if g.chance(8) {
		args = append(args, ";", "/bin/ten")
	}
	return strings.Join(args, " ")
}

func (g *unitGenerator) dropIn() string {
	switch g.IntN(5) {
	case 0:
		return "[Unit]\n" + g.unitSetting() + "\n"
	case 1:
		return "[Service]\nExecStart=\nExecStart=" + g.execStart() + "\n"
	case 2:
		return "[Service]\nExecStart=" + g.execStart() + "\n"
	case 3:
		return "[Service]\n" + g.serviceSetting() + "\n"
	}
	return pick(&g.generator, "", "# nothing\n", "[Unit]\nDescription=x\n", "junk\n", "[Unit]\n"+g.unitSetting()+"\n"+g.unitSetting()+"\n")
}

// Booted is what a boot into the default target starts.
type Booted struct {
	// State is the load state of systemd-modules-load.service, "" if nothing leads
	// to it.
	State string
	// Started are the units with a job to start them, with the commands of
	// services.
	Started map[string][]string
	// Cycle: units are to be started one after the other in a circle, which
	// systemd breaks by not starting one of them.
	Cycle bool
}

// errNoBoot: systemd would start its emergency shell.
var errNoBoot = errors.New("there is no default target to boot into")

// withSystemd runs systemd's own test mode, as an ordinary user.
const withSystemd = `set -e
root=$1; shift
mkdir -p "$root/sys/fs/cgroup" "$root/run/systemd" "$root/tmp"
chmod 777 "$root/run" "$root/run/systemd" "$root/tmp"
mount -t proc proc "$root/proc"
mount -t cgroup2 cgroup "$root/sys/fs/cgroup"
exec env -i PATH="$PATH:/usr/sbin" LD_LIBRARY_PATH=/tools/lib chroot --userspec=65534:65534 "$root" /bin/env "$@"`

// askSystemd asks the real systemd which units it starts (systemd(1), --test).
func (r *Root) askSystemd(ctx context.Context) (*Booted, error) {
	out, log, err := r.unshared(ctx, withSystemd,
		[]string{"SYSTEMD_PROC_CMDLINE=quiet"}, "/tools/systemd", "--test", "--system")
	if err != nil {
		return nil, err
	}
	if !strings.Contains(out, "-> By jobs:") {
		if strings.Contains(out+log, "Deactivated successfully") || strings.Contains(out+log, "Failed to isolate default target") {
			return nil, errNoBoot
		}
		return nil, fmt.Errorf("systemd --test: %s\n%s", out, log)
	}
	b := parseBooted(out)
	if _, ok := b.Started["multi-user.target"]; !ok {
		return nil, errNoBoot
	}
	b.Cycle = strings.Contains(log, "ordering cycle")
	return b, nil
}

func parseBooted(text string) *Booted {
	b := &Booted{Started: map[string][]string{}}
	commands := map[string][]string{}
	unit, exec := "", false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(strings.Replace(line, "→", "->", 1), "\n")
		word := strings.TrimLeft(line, "\t")
		depth := len(line) - len(word)
		if name, ok := strings.CutPrefix(word, "-> Unit "); ok {
			unit = strings.TrimSuffix(name, ":")
		}
		if depth == 2 {
			exec = word == "-> ExecStart:"
		}
		if state, ok := strings.CutPrefix(word, "Unit Load State: "); ok && unit == modulesLoadUnit {
			b.State = state
		}
		if command, ok := strings.CutPrefix(word, "Command Line: "); ok && exec {
			commands[unit] = append(commands[unit], command)
		}
		if action, ok := strings.CutPrefix(word, "Action: "); ok {
			if name, ok := strings.CutSuffix(action, " -> start"); ok {
				b.Started[name] = commands[name]
			}
		}
	}
	return b
}

// UnitReport is the outcome of many trees of units of one version.
type UnitReport struct {
	Version
	Roots int
	// States counts the load states of systemd-modules-load.service, trees with
	// units that wait for each other, and those that do not boot.
	States map[string]int
	// Services are those that systemd starts, Sure those of which we are sure.
	Services, Sure int
	Wrong          []string
}

// CompareUnits runs n generated trees of units of one version, one at a time.
func CompareUnits(ctx context.Context, v Version, seed uint64, first, n int, dir string) (*UnitReport, error) {
	tools, err := Prepare(ctx, v, filepath.Join(dir, "programs"))
	if err != nil {
		return nil, err
	}
	root, err := tools.NewRoot(filepath.Join(dir, "root"))
	if err != nil {
		return nil, err
	}
	r := &UnitReport{Version: v, States: map[string]int{}}
	for i := first; i < first+n; i++ {
		c := GenerateUnits(v, seed, i)
		wrong, real, sure, err := root.compareUnits(ctx, c)
		r.Roots++
		switch {
		case errors.Is(err, errNoBoot):
			r.States["no boot"]++
			continue
		case err != nil:
			return r, fmt.Errorf("tree %d of seed %d: %w\n%s", i, seed, err, c.Format())
		case len(wrong) > 0:
			r.Wrong = append(r.Wrong, strings.Join(wrong, "\n")+"\n"+c.Format())
		}
		r.States[real.State]++
		if real.Cycle {
			r.States["cycle"]++
		}
		r.Sure += sure
		for name := range real.Started {
			if strings.HasSuffix(name, ".service") {
				r.Services++
			}
		}
	}
	return r, nil
}

func (r *UnitReport) String() string {
	return fmt.Sprintf("%s: %d trees of units, %d wrong; %v; %d services started, sure of %d\n", r.Version, r.Roots, len(r.Wrong), r.States, r.Services, r.Sure)
}

// compareUnits builds a tree of units, and says in which points what is read of it
// is surely wrong. sure is how many services are surely started.
func (r *Root) compareUnits(ctx context.Context, c *hostcase.Case) (wrong []string, real *Booted, sure int, err error) {
	defer func() { err = errors.Join(err, r.clear()) }()
	r.Log.Reset()
	own := *c
	own.Entries = append(slices.Clone(c.Entries), hostcase.Entry{Kind: hostcase.File, Path: "usr/lib/systemd/systemd", Content: "#!stub"},
		hostcase.Entry{Kind: hostcase.File, Path: "usr/lib/systemd/systemd-executor", Content: "#!stub"})
	if err := own.Build(r.dir); err != nil {
		return nil, nil, 0, fmt.Errorf("build case: %w", err)
	}
	ins, err := kmod.Inspect(ctx, kmod.Options{
		Root: r.dir, Proc: filepath.Join(r.dir, "proc"), Sys: filepath.Join(r.dir, "sys"), KmodVersion: c.Kmod, SystemdVersion: c.Systemd,
	}, kmod.SCTP())
	if err != nil {
		return nil, nil, 0, err
	}
	tree, err := hostroot.FromFS(own.FS())
	if err != nil {
		return nil, nil, 0, err
	}
	set := systemdunit.Read(tree, c.Systemd)
	ours := map[string]*systemdunit.Unit{}
	for _, u := range set.Started("") {
		ours[u.Name] = u
	}
	if real, err = r.askSystemd(ctx); err != nil {
		return nil, nil, 0, err
	}
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }

	_, started := real.Started[modulesLoadUnit]
	switch unit := ins.BootLoad.Unit; {
	case started && (unit == kmod.UnitMasked || unit == kmod.UnitAbsent || unit == kmod.UnitConditionFailed),
		!started && (unit == kmod.UnitActive || unit == kmod.UnitReplaced) && ins.BootLoad.NotRun == nil && set.Err == nil,
		real.State == "masked" && unit != kmod.UnitMasked && unit != kmod.UnitUnknown, real.State == "not-found" && unit != kmod.UnitAbsent && unit != kmod.UnitUnknown:
		say("%s is %s, started: %v; we say %s", modulesLoadUnit, real.State, started, unit)
	}
	for name := range real.Started {
		if u := ours[name]; u == nil && strings.HasSuffix(name, ".service") && set.Err == nil {
			say("%s is started, and we do not see it", name)
		}
	}
	for name, u := range ours {
		if _, hindered := set.Hindrance(u); hindered || u.Perhaps != "" || u.Err != nil {
			continue
		}
		var commands []string
		known := true
		for _, v := range u.Values("Service", "ExecStart") {
			list, ok := u.Commands(v.Value)
			known = known && ok && !strings.Contains(v.Value, "@/")
			for _, args := range list {
				commands = append(commands, strings.Join(args, " "))
			}
		}
		is, started := real.Started[name]
		switch {
		case !started && len(commands) > 0 && known && !real.Cycle:
			say("%s is not started, and we say that it runs %q", name, commands)
		case started && known:
			sure++
			for i := range is {
				is[i] = strings.NewReplacer(`"`, "", "'", "").Replace(is[i])
			}
			if !slices.Equal(commands, is) {
				say("%s runs %q; we say %q", name, is, commands)
			}
		}
	}
	slices.Sort(wrong)
	return wrong, real, sure, nil
}
