package kmod

import (
	"path"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/pattern"
)

const changeEffect = "may change files of modprobe.d or modules-load.d at boot"

var (
	// configWrites and configRemovals are commands that write, or remove, a file of these directories.
	configWrites   = pattern.MustCompile(`(?:>|\b(?:tee|cp|ln|install|dd|rsync)\b)[^\n;|&]*?` + configName)
	configRemovals = pattern.MustCompile(`\b(?:rm|unlink|mv|truncate|shred|sed)\b[^\n;|&]*?` + configName)
)

const configName = `(/(?:etc|run|usr/lib|usr/local/lib|lib)/(?:modprobe|modules-load)\.d(?:/[\w.*?@-]*)?)`

// changesConfig notes a command or script, by, that removes what modprobe.d or modules-load.d
// has about the target, or writes there what is not there yet: what it has written, it
// writes again.
func (h *host) changesConfig(text string, by Evidence) {
	if !strings.Contains(text, "modprobe.d") && !strings.Contains(text, "modules-load.d") {
		return
	}
	about := func(name string) bool {
		list := []string{name}
		if base := path.Base(name); strings.ContainsAny(base, "*?") || strings.HasSuffix(base, ".d") {
			dir := strings.TrimSuffix(name, "/")
			if !strings.HasSuffix(base, ".d") {
				dir = path.Dir(name)
			}
			entries, _ := h.ReadDir(dir)
			for list = nil; len(entries) > 0 && len(list) < maxListed; entries = entries[1:] {
				list = append(list, path.Join(dir, entries[0].Name))
			}
		}
		return slices.ContainsFunc(list, func(name string) bool { return strings.Contains(withoutComments(h.script(name, true)), h.target) })
	}
	for _, m := range configRemovals().FindAllStringSubmatch(text, maxScripts) {
		if about(m[1]) {
			h.mayChange(by, strings.Contains(m[1], "modprobe.d"))
		}
	}
	for _, m := range configWrites().FindAllStringSubmatch(text, maxScripts) {
		if strings.Contains(text, h.target) && !about(m[1]) {
			h.mayChange(by, strings.Contains(m[1], "modules-load.d"))
		}
	}
}

// mayChange keeps what is first by its name. helps: it does not keep the target from being
// loaded.
func (h *host) mayChange(e Evidence, helps bool) {
	first := &h.changes
	if helps {
		first = &h.helps
	}
	if *first == nil || e.File < (*first).File {
		*first = &e
	}
}
