package kmod

import (
	"bytes"
	"path"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
	"github.com/sctp-agent/sctp-agent/internal/systemdunit"
)

// extensionKind is one of systemd-sysext(8), which lays trees over /usr, and over /etc as
// systemd-confext: the unit that does so at boot, where it finds them (image_search_path
// in src/shared/discover-image.c), the directory that they are laid over, and the list
// of those that are there now.
type extensionKind struct {
	unit   string
	dirs   []string
	over   string
	merged string
}

var extensionKinds = []extensionKind{
	{"systemd-sysext.service", []string{"/etc/extensions", "/run/extensions", "/var/lib/extensions", "/usr/local/lib/extensions", "/usr/lib/extensions"}, "usr", "/usr/.systemd-sysext/extensions"},
	{"systemd-confext.service", []string{"/run/confexts", "/var/lib/confexts", "/usr/local/lib/confexts", "/usr/lib/confexts"}, "etc", "/etc/.systemd-confext/extensions"},
}

// extensionFiles are the directories of an extension in which something decides about a module.
var extensionFiles = []string{"modprobe.d", "modules-load.d", "sysctl.d", "systemd/system", "modules"}

// maxExtensions are looked at, of each kind, and maxExtensionFiles of each.
const (
	maxExtensions     = 64
	maxExtensionFiles = 256
)

// gatherExtensions looks for extensions that the next boot has and this one has not, or
// the reverse: what they have about the target is not in the root, or is gone then.
func (h *host) gatherExtensions(services []*systemdunit.Unit) {
	for _, kind := range extensionKinds {
		merged := strings.Fields(string(h.script(kind.merged, true)))
		started := slices.ContainsFunc(services, func(u *systemdunit.Unit) bool { return u.Name == kind.unit })
		found := map[string]string{}
		for _, dir := range kind.dirs {
			entries, err := h.ReadDir(dir)
			if err != nil && !hostroot.Absent(err) && started {
				h.mayChange(unreadable(dir, err), false)
			}
			for _, e := range entries[:min(len(entries), maxExtensions)] {
				name, image := strings.CutSuffix(e.Name, ".raw")
				for _, suffix := range []string{".sysext", ".confext", ".v"} {
					name = strings.TrimSuffix(name, suffix)
				}
				if file := path.Join(dir, e.Name); found[name] == "" && (image || h.isDir(file)) {
					found[name] = file
				}
			}
		}
		for name, file := range found {
			if now, then := slices.Contains(merged, name), started && !volatile(file); now != then && h.extends(file, kind.over) {
				effect := "is an extension that the next boot lays over /" + kind.over + ", and this one has not"
				if now {
					effect = "is an extension that is laid over /" + kind.over + " now, and may not be at the next boot"
				}
				h.mayChange(Evidence{File: printableName(file), Effect: effect}, false)
			}
		}
		for _, name := range merged {
			if found[name] == "" {
				h.mayChange(Evidence{File: kind.merged, Effect: "names the extension " + printable(name) + ", which is no longer there"}, false)
			}
		}
	}
}

func (h *host) isDir(name string) bool {
	st, err := h.Stat(name)
	return err == nil && st.Mode.IsDir()
}

// extends reports whether an extension may have something about the target: an image is
// not looked into, and of a directory each file counts that names it, or is in place of
// one that does.
func (h *host) extends(file, over string) bool {
	if !h.isDir(file) || strings.HasSuffix(file, ".v") {
		return true
	}
	if over == "usr" {
		over = "usr/lib"
	}
	left := maxExtensionFiles
	var within func(dir string, depth int) bool
	within = func(dir string, depth int) bool {
		entries, err := h.ReadDir(path.Join(file, dir))
		if err != nil {
			return !hostroot.Absent(err)
		}
		for _, e := range entries {
			if left--; left < 0 || depth == 0 {
				return true
			}
			name := path.Join(dir, e.Name)
			if e.Mode.IsDir() {
				if within(name, depth-1) {
					return true
				}
				continue
			}
			own, usual := h.script(path.Join(file, name), true), h.script(path.Join("/", name), true)
			if path.Base(name) == modulesLoadUnit || !bytes.Equal(own, usual) && (h.mayConcern(own) || h.mayConcern(usual)) {
				return true
			}
		}
		return false
	}
	return slices.ContainsFunc(extensionFiles, func(dir string) bool {
		if dir = path.Join(over, dir); path.Base(dir) == "modules" {
			return over == "usr/lib" && h.isDir(path.Join(file, dir))
		}
		return within(dir, 3)
	})
}

// mayConcern reports whether the text of a configuration file may be about the target, what it
// needs, or what loads modules.
func (h *host) mayConcern(data []byte) bool {
	text := withoutComments(data)
	named := func(name string) bool { return strings.Contains(strings.ReplaceAll(text, "-", "_"), name) }
	return named(h.target) || named("net_pf_") || named("modules_disabled") || named("kernel.modprobe") || named("kernel/modprobe") || named("usermodehelper") || strings.ContainsAny(text, "*?[") && named("install") ||
		slices.ContainsFunc(h.needs, func(n neededModule) bool { return named(n.name) })
}
