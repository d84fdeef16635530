package kmod

import (
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
	// Volatile is the kernel argument that gives each boot a new root directory, or a new
	// /etc, "" if there is none.
	Volatile string
	// Init says whether the root has an init: one without is not a whole host's.
	Init Answer
	// ModuleDirectory reports whether the root has the module directory of the
	// running kernel; "" is [AnswerUnknown].
	ModuleDirectory Answer
}

// containerFiles mark the root of a container: systemd writes the first one when
// it is told that it runs in one (systemd(1), $container), and its nspawn the second
// one (https://systemd.io/CONTAINER_INTERFACE); podman, docker and kind's node image
// have the others.
var containerFiles = []string{"/run/systemd/container", "/run/host/container-manager", "/run/.containerenv", "/.dockerenv", "/kind"}

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
