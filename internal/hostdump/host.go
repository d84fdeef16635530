package hostdump

import (
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/kmodindex"
	"github.com/sctp-agent/sctp-agent/internal/memfs"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// world is one host that the copy may be of. unsure is what decides between it and
// the first one, and is not in the copy.
type world struct {
	files  fs.FS
	unsure kmod.Evidence
}

// collected is what sos's plugins copy where the host has it, and since which of
// its versions (4.0 stands for earlier ones, too).
var collected = map[string]map[string]sosVersion{
	"kernel": {
		"etc/modprobe.d": {}, "lib/modprobe.d": {4, 5}, "run/modprobe.d": {4, 5}, "usr/local/lib/modprobe.d": {4, 5},
		"etc/sysctl.d": {}, "lib/sysctl.d": {}, "run/sysctl.d": {4, 12}, "usr/local/lib/sysctl.d": {4, 12},
	},
	"systemd": {"etc/modules-load.d": {}, "etc/systemd": {}, "lib/systemd/system": {}, "run/systemd/system": {}, "run/systemd/generator.early": {}},
	"grub2":   {"boot/loader": {}, "boot/grub2": {}, "boot/grub": {}, "etc/default/grub": {}},
}

// alwaysThere are directories that exist although sos leaves out, or did not find,
// what is in them.
var alwaysThere = map[string]bool{
	"etc": true, "lib": true, "run": true, "usr": true, "usr/lib": true, "usr/local": true, "usr/local/lib": true,
	"bin": true, "sbin": true, "usr/bin": true, "usr/sbin": true,
	"etc/default": true, "lib/systemd": true, "usr/lib/systemd": true, "run/systemd": true,
	"proc": true, "proc/sys": true, "proc/sys/kernel": true, "proc/sys/kernel/random": true, "sys": true, "dev": true,
}

// programs are on every host, and are what install commands run. sos copies no
// program.
var programs = map[string]bool{
	"bin/true": true, "usr/bin/true": true, "bin/false": true, "usr/bin/false": true,
	"sbin/modprobe": true, "usr/sbin/modprobe": true, "bin/sh": true, "usr/bin/sh": true,
}

// worlds are the hosts that the copy may be of: one, where it is a host's whole
// root.
func (d *Dump) worlds(release string) []world {
	first := &hostFiles{base: d.files, facts: &d.facts, made: map[string]*memfs.Node{}, gone: map[string]bool{}}
	if !d.facts.sos {
		return []world{{files: first}}
	}
	first.makeKernel()
	if d.facts.container == kmod.AnswerTrue {
		first.make(containerSign, "")
	}
	lib := "lib"
	if target, err := fs.ReadLink(d.files, "lib"); err == nil && path.Clean(target) == "usr/lib" {
		lib = "usr/lib"
		first.merged = true
	}
	dir := path.Join(lib, "modules", release)
	needed := first.makeIndexes(dir)
	all := []world{{files: first}}

	// may adds a host that is like the first one, except for what it changes.
	may := func(file, effect string, change func(*hostFiles)) {
		other := first.clone()
		change(other)
		all = append(all, world{other, kmod.Evidence{
			File: "/" + file, Cause: kmod.CauseUnreadable, Effect: "is not in this copy of the host's files; " + effect,
		}})
	}
	modules := path.Join("lib/modules", release)
	if gone := first.unproved(needed); len(gone) > 0 {
		may(strings.TrimPrefix(gone[0], "usr/"), "modules.dep lists it, whether it is there is not known", func(h *hostFiles) {
			for _, name := range gone {
				h.gone[name] = true
			}
		})
		may(strings.TrimPrefix(gone[0], "usr/"), "whether it has a signature is not known", func(h *hostFiles) {
			for _, name := range gone {
				h.made[name] = memfs.File(name, 0o644, nil)
			}
		})
	}
	if len(needed) == 0 && first.hasDep && !d.facts.sysctlsComplete {
		may(path.Join(modules, "modules.builtin"), "modules.dep does not list sctp, this one could", func(h *hostFiles) { h.makeBuiltin(dir, true) })
	}
	may(path.Join(modules, "modules.softdep"), "with a soft dependency, modprobe ignores install commands", func(h *hostFiles) {
		h.makeSoftdeps(dir, needed)
	})
	may(path.Join(modules, "modules.alias"), "a pattern in it may match more names for sctp", func(h *hostFiles) { h.makeAliases(dir, "net_*") })
	may("sbin/modprobe", "an install command that runs it, or another program, fails without it", func(h *hostFiles) {
		maps.Copy(h.gone, programs)
	})
	if !d.facts.kmodTools {
		may("sbin/modprobe", "it may be another program than kmod's, with rules of its own", func(h *hostFiles) {
			for name := range programs {
				if path.Base(name) == "modprobe" {
					h.make(name, otherProgram)
					h.made[name].Mode = 0o755
				}
			}
		})
	}
	if d.facts.container == kmod.AnswerUnknown {
		may(containerSign, "if the host is a container, the machine that runs it decides", func(h *hostFiles) { h.make(containerSign, "") })
	}
	return all
}

// unproved are the modules' files that are known from modules.dep only.
func (h *hostFiles) unproved(files []string) (list []string) {
	for _, name := range files {
		if !h.facts.files["/"+name] && !h.facts.files["/"+strings.TrimPrefix(name, "usr/")] && !has(h.base, name) {
			list = append(list, name)
		}
	}
	return list
}

// makeSoftdeps gives modules a soft dependency, on any other one.
func (h *hostFiles) makeSoftdeps(dir string, files []string) {
	var b strings.Builder
	others := slices.DeleteFunc(slices.Sorted(maps.Keys(h.listed)), func(name string) bool { return slices.Contains(files, name) })
	for _, file := range files[:min(len(files), len(files)*len(others))] {
		b.WriteString("softdep " + moduleName(file) + " pre: " + moduleName(others[0]) + "\n")
	}
	h.make(path.Join(dir, "modules.softdep"), b.String())
}

// moduleName is the name of the module in a file.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// containerSign is what systemd writes where it runs in a container.
const containerSign = "run/systemd/container"

// otherProgram is a program that is not kmod.
const otherProgram = "\x7fELF"

// hostFiles are the copy's files and what is known besides. A name that is in
// neither does not exist on the host, or it was not copied: see missing.
type hostFiles struct {
	base  fs.FS
	facts *facts
	// made are files that the copy has in another form.
	made map[string]*memfs.Node
	// listed are the files of modules.dep, in listedDirs; those of gone are not
	// there.
	listed, listedDirs, gone map[string]bool
	// modules is the kernel's module directory; hasDep: it has modules.dep; merged:
	// lib is a link to usr/lib.
	modules string
	hasDep  bool
	merged  bool
}

func (h *hostFiles) clone() *hostFiles {
	out := *h
	out.made, out.gone = map[string]*memfs.Node{}, map[string]bool{}
	maps.Copy(out.made, h.made)
	return &out
}

// make enters a file where the copy has none.
func (h *hostFiles) make(name, content string) {
	if !has(h.base, name) {
		h.made[name] = memfs.File(name, 0o444, []byte(content))
	}
}

// makeKernel makes the kernel's files of what the commands printed.
func (h *hostFiles) makeKernel() {
	for _, key := range []string{"kernel.osrelease", "kernel.arch", "kernel.modprobe", "kernel.modules_disabled", "kernel.random.boot_id"} {
		if value, ok := h.facts.sysctls[key]; ok {
			h.make("proc/sys/"+strings.ReplaceAll(key, ".", "/"), value+"\n")
		}
	}
	if h.facts.listed {
		h.make("proc/modules", h.facts.modules)
	}
	if h.facts.ostree {
		h.make("run/ostree-booted", "")
	}
}

// signed is a module's file that the kernel accepts: its real content is not known,
// and must not be reported as a cause.
const signed = "~Module signature appended~\n"

// protocolAliases are the aliases of net/sctp/protocol.c and diag.c
// (MODULE_ALIAS), as depmod writes them.
var protocolAliases = map[string][]string{
	"sctp":      {"net_pf_2_proto_132", "net_pf_10_proto_132"},
	"sctp_diag": {"net_pf_16_proto_4_type_2_132"},
}

// makeIndexes makes the indexes of modules.dep, which has all of the loadable
// modules. It returns the files without which sctp cannot be loaded.
func (h *hostFiles) makeIndexes(dir string) (needed []string) {
	h.modules, h.listed, h.listedDirs = dir, map[string]bool{}, map[string]bool{}
	dep := text(h.base, path.Join(dir, "modules.dep"))
	h.hasDep = has(h.base, path.Join(dir, "modules.dep"))
	if !h.hasDep {
		if h.facts.sysctlsComplete { // sctp is in the kernel, or it is not
			h.makeBuiltin(dir, h.facts.compiledIn())
			h.listedDirs[dir], h.listedDirs[path.Dir(dir)] = true, true
		}
		return nil
	}
	var deps kmodindex.Builder
	absolute := func(file string) string {
		if path.IsAbs(file) {
			return path.Clean(file)[1:]
		}
		return path.Join(dir, file)
	}
	for line := range strings.Lines(dep) {
		line = strings.TrimRight(line, "\n")
		file, needs, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		name := moduleName(file)
		deps.Add(name, line, 0)
		h.listed[absolute(file)] = true
		for up := path.Dir(absolute(file)); strings.HasPrefix(up, dir+"/") && !h.listedDirs[up]; up = path.Dir(up) {
			h.listedDirs[up] = true
		}
		if name == "sctp" {
			needed = []string{absolute(file)}
			for _, need := range strings.Fields(needs) {
				needed = append(needed, absolute(need))
			}
		}
	}
	h.make(path.Join(dir, "modules.dep.bin"), string(deps.Bytes()))
	h.makeAliases(dir)
	h.make(path.Join(dir, "modules.symbols.bin"), string(new(kmodindex.Builder).Bytes()))
	h.makeBuiltin(dir, h.facts.compiledIn())
	return needed
}

// makeAliases makes the index of aliases, in which these are aliases of sctp, too.
func (h *hostFiles) makeAliases(dir string, more ...string) {
	var aliases kmodindex.Builder
	for file := range h.listed {
		name := moduleName(file)
		for _, alias := range protocolAliases[name] {
			aliases.Add(alias, name, 0)
		}
	}
	for _, alias := range more {
		aliases.Add(alias, "sctp", 1)
	}
	h.make(path.Join(dir, "modules.alias.bin"), string(aliases.Bytes()))
}

// makeBuiltin makes the list of what is compiled in, as far as it is about sctp.
func (h *hostFiles) makeBuiltin(dir string, builtin bool) {
	var names, aliases kmodindex.Builder
	if builtin {
		names.Add("sctp", "", 0)
		for _, alias := range protocolAliases["sctp"] {
			aliases.Add(alias, "sctp", 0)
		}
	}
	h.make(path.Join(dir, "modules.builtin.bin"), string(names.Bytes()))
	h.make(path.Join(dir, "modules.builtin.alias.bin"), string(aliases.Bytes()))
}

// missing is what it means that the copy has no file of this name.
func (h *hostFiles) missing(name string) error {
	in := func(dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }
	switch {
	case in("dev"):
		return fs.ErrNotExist
	case in("proc"):
		return errNotCollected
	case in("sys/module") && (h.facts.listed || has(h.base, "sys/module")):
		return fs.ErrNotExist
	case in("sys"):
		return errNotCollected
	case in("run/ostree") && h.facts.sos && !h.facts.ostree && has(h.base, "proc/cmdline"):
		return fs.ErrNotExist
	case name == containerSign && h.facts.container != kmod.AnswerUnknown:
		return fs.ErrNotExist
	case !h.facts.sos:
		return fs.ErrNotExist
	case h.modules != "" && in(h.modules) && h.hasDep:
		return fs.ErrNotExist
	}
	for plugin, dirs := range collected {
		for dir, since := range dirs {
			if h.merged {
				if rest, ok := strings.CutPrefix(dir, "lib/"); ok {
					dir = "usr/lib/" + rest
				}
			}
			if in(dir) && h.facts.ran[plugin] && slices.Compare(h.facts.sosVersion[:], since[:]) >= 0 {
				return fs.ErrNotExist
			}
		}
	}
	return errNotCollected
}

// find looks a name up without links: in the copy, or in what is made from other
// facts.
func (h *hostFiles) find(name string) (copied fs.FileInfo, made *memfs.Node, err error) {
	if n := h.made[name]; n != nil {
		return nil, n, nil
	}
	copied, err = fs.Lstat(h.base, name)
	switch {
	case !errors.Is(err, fs.ErrNotExist): // nil, or another
		return copied, nil, err
	case h.gone[name]:
		err = fs.ErrNotExist
	case h.listed[name]:
		return nil, memfs.File(name, 0o644, []byte(signed)), nil
	case h.facts.sos && programs[name]:
		return nil, memfs.File(name, 0o755, nil), nil
	case h.listedDirs[name], h.facts.sos && alwaysThere[name]:
		return nil, memfs.File(name, fs.ModeDir|0o755, nil), nil
	default:
		err = h.missing(name)
	}
	return nil, nil, &fs.PathError{Op: "lstat", Path: name, Err: err}
}

// Lstat describes a name without links in its directory.
func (h *hostFiles) Lstat(name string) (fs.FileInfo, error) {
	copied, made, err := h.find(name)
	if made != nil {
		return made.Info(), nil
	}
	return copied, err
}

// ReadLink reads a link of the copy.
func (h *hostFiles) ReadLink(name string) (string, error) { return fs.ReadLink(h.base, name) }

// Open opens a file or a directory by a name without links.
func (h *hostFiles) Open(name string) (fs.File, error) {
	_, made, err := h.find(name)
	switch {
	case err != nil:
		return nil, err
	case made == nil:
		return h.base.Open(name)
	case made.Mode.IsDir():
		return nil, &fs.PathError{Op: "open", Path: name, Err: errNotCollected}
	}
	return made.Open()
}
