package kmod

import (
	"iter"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
)

// Userland is the kind of host: the distribution, and how it runs.
type Userland struct {
	// ID, VariantID, VersionID and OpenShiftVersion are the fields of
	// os-release(5), "" where they are not set.
	ID, VariantID, VersionID, OpenShiftVersion string
	// OSTree: /run/ostree-booted is there, so /usr is read-only and comes with
	// an image.
	OSTree bool
	// Container is the file that marks the root as a container's, "" if there
	// is none.
	Container string
	// Volatile is the kernel argument, or the line of a file, that gives each boot a new
	// root directory, or a new /etc, "" if there is none.
	Volatile string
	// Init says whether the root has an init: one without is not a whole host's.
	Init Answer
	// ModuleDirectory reports whether the root has the module directory of the
	// running kernel; "" is [AnswerUnknown].
	ModuleDirectory Answer
}

// containerFiles mark the root of a container: systemd writes the first one when
// it is told that it runs in one (systemd(1), $container), and its nspawn the second
// one (https://systemd.io/CONTAINER_INTERFACE); podman, docker, kind's node image and LXC, where
// it lets containers run in containers (nesting.conf), have the others.
var containerFiles = []string{"/run/systemd/container", "/run/host/container-manager", "/run/.containerenv", "/.dockerenv", "/kind", "/dev/.lxc"}

// readUserland finds out what kind of host it is.
func (h *host) readUserland() Userland {
	release := h.release
	u := Userland{
		ID: release.id, VariantID: release.variant, VersionID: release.versionID, OpenShiftVersion: release.openShift,
		OSTree:          h.has("/run/ostree-booted") == AnswerTrue,
		ModuleDirectory: h.has(h.moddir), Init: AnswerTrue,
	}
	if !h.hasInit() {
		u.Init = h.has(initPaths[0])
	}
	for _, w := range h.cmdlineWords() {
		if key, value, _ := strings.Cut(w, "="); volatileRoot(key, value) {
			u.Volatile = printable(w)
			break
		}
	}
	if h.newEtc = h.volatileEtc(); h.newEtc != nil && u.Volatile == "" {
		u.Volatile = h.newEtc.Place()
	}
	for _, name := range containerFiles {
		if h.has(name) == AnswerTrue {
			u.Container = name
			break
		}
	}
	return u
}

// has reports whether a name leads to anything in the root.
func (h *host) has(name string) Answer {
	switch _, err := h.Stat(name); {
	case err == nil:
		return AnswerTrue
	case hostroot.Absent(err) && !h.MayHave(name):
		return AnswerFalse
	default:
		return AnswerUnknown
	}
}

// volatileEtc is the line of a file by which each boot has a new /etc, or a new one of its
// directories for modules: ostree-prepare-root(1), bootc's, fstab(5).
func (h *host) volatileEtc() *Evidence {
	found := func(file string, number int, text string) *Evidence {
		return new(source{file: file, line: number, text: text}.evidence(CauseUnclear, "makes a new /etc at each boot, or a part of it: what is written to it is gone then"))
	}
	for _, conf := range []struct{ file, sign string }{
		{"/etc/ostree/prepare-root.conf", "/run/ostree-booted"}, {"/usr/lib/ostree/prepare-root.conf", "/run/ostree-booted"}, {"/usr/lib/composefs/setup-root-conf.toml", "/run/composefs"},
	} {
		if h.has(conf.sign) != AnswerTrue {
			continue
		}
		section := ""
		for number, text := range h.lines(conf.file) {
			switch key, value, _ := strings.Cut(strings.ReplaceAll(text, " ", ""), "="); {
			case strings.HasPrefix(text, "["):
				section = text
			case section == "[etc]" && (key == "transient" && (value == "true" || value == "1") || key == "mount" && strings.Trim(value, `"'`) == "transient"):
				return found(conf.file, number, text)
			}
		}
	}
	for number, text := range h.lines(fstab) {
		fields := strings.Fields(text)
		if len(fields) < 4 || fields[0][0] == '#' || fields[1] != "/etc" && !strings.HasPrefix(fields[1], "/etc/mod") {
			continue
		}
		_, upper, _ := strings.Cut(fields[3], "upperdir=")
		if fields[2] == "tmpfs" || fields[2] == "ramfs" || fields[2] == "overlay" && volatile(upper) {
			return found(fstab, number, text)
		}
	}
	return nil
}

// lines are those of a file, trimmed, with their numbers.
func (h *host) lines(name string) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		for i, text := range strings.Split(string(h.script(name, true)), "\n") {
			if !yield(i+1, strings.TrimSpace(text)) {
				return
			}
		}
	}
}
