package machineconfig

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"sort"
	"strings"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// Pool is what applies to the nodes of one machine config pool.
type Pool struct {
	// Role names the pool, "" for configurations without a role label.
	Role string
	// Configs in the order in which they are merged.
	Configs []Config
}

const (
	worker = "worker"
	master = "master"
)

// Pools sorts configurations by the pool they apply to. A custom pool's nodes
// are workers too: the machine-config-operator merges the worker pool's
// configurations into it. Within a pool the order is that of the names, and of
// several files with one path the last wins.
//
// There is a pool for each role that the configurations name, and for each of
// custom, which need not have configurations of its own.
func Pools(configs []Config, custom ...string) []Pool {
	byRole := map[string][]Config{}
	for _, role := range custom {
		if role != worker && role != master {
			byRole[role] = nil
		}
	}
	for _, c := range configs {
		byRole[c.Role] = append(byRole[c.Role], c)
	}
	var out []Pool
	for role, list := range byRole {
		list = append([]Config{}, list...)
		if role != "" && role != worker && role != master {
			list = append(list, byRole[worker]...)
		}
		sort.SliceStable(list, func(i, j int) bool { return list[i].Name < list[j].Name })
		if len(list) > 0 {
			out = append(out, Pool{Role: role, Configs: list})
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Role < out[j].Role })
	return out
}

// Host says under which rules a pool is judged. The zero value is a node of
// OpenShift on RHEL 9: kmod 28 and systemd 252.
type Host struct{ KmodVersion, SystemdVersion int }

// RHEL 9 ships these (OpenShift 4.13 and later).
const (
	rhel9Kmod    = 28
	rhel9Systemd = 252
)

// Effect is what the next boot of a pool's nodes will bring.
type Effect struct {
	Role string `json:"role"`
	// Configs are the names of the configurations judged.
	Configs []string `json:"configs"`
	// Enabled is True when the next boot loads the module, False when it
	// does not, Unknown when something that decides could not be read.
	Enabled kmod.Answer `json:"enabled"`
	// OnBoot tells "not at all" from "when the first program opens a socket".
	OnBoot verdict.OnBoot `json:"onBoot"`
	// Message is one sentence for people.
	Message string `json:"message"`
	// Evidence holds the lines that decide.
	Evidence []Evidence `json:"evidence"`
	// Notes are what else is worth knowing.
	Notes []string `json:"notes"`
}

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

// Judge says what a pool's configurations do, by putting their files on top of
// a host as RHCOS delivers it and asking package kmod. The host lives in a
// temporary directory, which is removed.
func Judge(ctx context.Context, pool Pool, host Host) (Effect, error) {
	if host.KmodVersion == 0 {
		host.KmodVersion = rhel9Kmod
	}
	if host.SystemdVersion == 0 {
		host.SystemdVersion = rhel9Systemd
	}
	e := Effect{Role: pool.Role, Configs: []string{}, Evidence: []Evidence{}, Notes: []string{}}
	dir, err := os.MkdirTemp("", "sctp-agent-machineconfig-")
	if err != nil {
		return e, fmt.Errorf("make a directory for the pool's host root: %w", err)
	}
	defer os.RemoveAll(dir)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return e, fmt.Errorf("open the pool's host root: %w", err)
	}
	defer root.Close()
	origin, unread, err := build(root, pool.Configs)
	if err != nil {
		return e, fmt.Errorf("build the pool's host root: %w", err)
	}
	inspection, err := kmod.Inspect(ctx, kmod.Options{
		Root: path.Join(dir, "host"), Proc: path.Join(dir, "proc"), Sys: path.Join(dir, "sys"),
		KernelRelease: deliveredRelease,
		KmodVersion:   host.KmodVersion, SystemdVersion: host.SystemdVersion,
	}, kmod.SCTP())
	if err != nil {
		return e, fmt.Errorf("inspect the pool's host root: %w", err)
	}
	report := verdict.Judge(verdict.Facts{Node: pool.Role, Inspection: inspection})

	e.OnBoot = report.OnBoot
	lines := report.Policy.ModulesLoad.Evidence
	if report.OnBoot == verdict.OnBootOnDemand {
		lines = append(lines, report.Policy.Autoload.Evidence...)
	}
	for _, line := range lines {
		e.Evidence = append(e.Evidence, Evidence{line, origin[line.File]})
	}
	for _, c := range pool.Configs {
		e.Configs = append(e.Configs, c.Name)
		e.Notes = append(e.Notes, unitNotes(c)...)
	}
	for _, w := range report.Warnings {
		if w.Reason != verdict.ReasonPendingReboot { // every pool judged is pending
			e.Notes = append(e.Notes, w.Message)
		}
	}
	e.conclude(unread)
	return e, nil
}

// conclude fills in Enabled and Message.
func (e *Effect) conclude(unread []string) {
	if len(unread) > 0 {
		// What was not read may say anything.
		e.Enabled, e.OnBoot = kmod.AnswerUnknown, verdict.OnBootUnknown
		e.Message = "not all of it could be read"
		e.Notes = append(unread, e.Notes...)
		return
	}
	switch e.OnBoot {
	case verdict.OnBootLoaded:
		e.Enabled, e.Message = kmod.AnswerTrue, "the next boot loads sctp"
	case verdict.OnBootOnDemand:
		e.Enabled, e.Message = kmod.AnswerFalse, "nothing asks for sctp at boot; the first SCTP socket loads it"
	case verdict.OnBootBlocked:
		e.Enabled, e.Message = kmod.AnswerFalse, "the next boot does not load sctp, and no program can"
	default:
		e.Enabled, e.Message = kmod.AnswerUnknown, "what the next boot brings cannot be told"
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
	from := "delivered with the operating system"
	if e.Config != "" {
		from = Kind + " " + e.Config
	}
	return e.Evidence.String() + " (" + from + ")"
}

// namesModule finds a command that loads, unloads or forbids the module.
var namesModule = regexp.MustCompile(`\b(modprobe|insmod|rmmod|modules_disabled|kernel\.modprobe)\b.*`)

// unitNotes point at systemd units that touch modules: what they do at run
// time is not judged.
func unitNotes(c Config) []string {
	var out []string
	for name, text := range c.Units {
		for _, line := range namesModule.FindAllString(text, -1) {
			if strings.Contains(line, "sctp") || strings.Contains(line, "modules_disabled") {
				out = append(out, fmt.Sprintf("unit %s of %s %s runs a command that is not judged: %s", name, Kind, c.Name, clip(line)))
			}
		}
	}
	sort.Strings(out)
	return out
}

// build makes the host below root, and says which configuration each path
// comes from, and what could not be built.
func build(root *os.Root, configs []Config) (origin map[string]string, unread []string, err error) {
	err = fs.WalkDir(delivered, "delivered", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := "host" + strings.TrimPrefix(p, "delivered")
		if d.IsDir() {
			return root.MkdirAll(to, 0o755)
		}
		data, err := delivered.ReadFile(p)
		if err != nil {
			return err
		}
		return root.WriteFile(to, data, 0o644)
	})
	if err != nil {
		return nil, nil, err
	}
	// An embedded tree has no links.
	for _, dir := range []string{"bin", "sbin"} {
		if err := root.Symlink("usr/"+dir, "host/"+dir); err != nil {
			return nil, nil, err
		}
	}

	origin = map[string]string{}
	kernelArgs := "BOOT_IMAGE=/vmlinuz"
	cannot := func(c Config, p string, err error) {
		what := Kind + " " + c.Name
		if p != "" {
			what += ": " + clip(p)
		}
		unread = append(unread, fmt.Sprintf("%s: %v", what, err))
	}
	// A later configuration's file replaces an earlier one's that was not read.
	last := map[string]int{}
	for i, c := range configs {
		for _, f := range c.Files {
			last[path.Clean(f.Path)] = i
		}
		for _, l := range c.Links {
			last[path.Clean(l.Path)] = i
		}
		for _, u := range c.Unread {
			last[path.Clean(u.Path)] = i
		}
		for _, arg := range c.KernelArguments {
			kernelArgs += " " + arg
		}
	}
	for i, c := range configs {
		for _, u := range c.Unread {
			if u.Path == "" || last[path.Clean(u.Path)] == i {
				cannot(c, u.Path, u.Err)
			}
		}
		for _, f := range c.Files {
			p := path.Clean(f.Path)
			if err := place(root, p, func(at string) error { return root.WriteFile(at, f.Contents, 0o644) }); err != nil {
				cannot(c, p, err)
				continue
			}
			origin[p] = c.Name
		}
		for _, l := range c.Links {
			p := path.Clean(l.Path)
			if err := place(root, p, func(at string) error { return root.Symlink(l.Target, at) }); err != nil {
				cannot(c, p, err)
				continue
			}
			origin[p] = c.Name
		}
	}

	// The kernel's view of a host that boots with these arguments and has not
	// loaded anything yet.
	for name, text := range map[string]string{
		"proc/cmdline":                       kernelArgs + "\n",
		"proc/modules":                       "",
		"proc/net/protocols":                 "protocol  size sockets  memory press maxhdr  slab module\n",
		"proc/sys/kernel/modprobe":           "/sbin/modprobe\n",
		"proc/sys/kernel/modules_disabled":   "0\n",
		"proc/sys/kernel/osrelease":          deliveredRelease + "\n",
		"sys/module/kernel/parameters/.keep": "",
	} {
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return nil, nil, err
		}
		if err := root.WriteFile(name, []byte(text), 0o644); err != nil {
			return nil, nil, err
		}
	}
	return origin, unread, nil
}

// place makes the directory of a host path, and puts something there in place
// of what is there. The root keeps every path and link inside itself.
func place(root *os.Root, p string, put func(at string) error) error {
	if !path.IsAbs(p) {
		return fmt.Errorf("not an absolute path")
	}
	at := "host" + p
	if err := root.MkdirAll(path.Dir(at), 0o755); err != nil {
		return err
	}
	if err := root.RemoveAll(at); err != nil {
		return err
	}
	return put(at)
}
