package kmod

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/fnmatch"
	"github.com/sctp-agent/sctp-agent/internal/hostroot"
	"github.com/sctp-agent/sctp-agent/internal/kernelarg"
)

// findings collects what is worth a warning besides the answers.
func (ev *evaluation) findings() []Finding {
	var list []Finding
	list = append(list, ev.incomplete()...)
	list = append(list, ev.conflicts()...)
	list = append(list, ev.unusedDirectives()...)
	list = append(list, ev.unusedRequests()...)
	list = append(list, ev.unusedTokens()...)
	return list
}

// incomplete lists what was skipped because of what it is, not because of who
// reads it.
func (ev *evaluation) incomplete() []Finding {
	var list []Finding
	add := func(file string, err error) {
		if err == nil || len(list) > maxListed {
			return
		}
		f := Finding{Kind: FindingIncomplete, Evidence: []Evidence{{File: file, Effect: hostroot.Bare(err).Error(), Cause: CauseUnreadable}}}
		switch {
		case errors.Is(err, hostroot.ErrNotRegular):
			f.Message = fmt.Sprintf("%s is not a regular file and was not opened; modprobe and systemd would open it, and may block forever", file)
		case errors.Is(err, hostroot.ErrTooLarge):
			f.Message = fmt.Sprintf("%s is too large to be read", file)
		case errors.Is(err, errTooMuch):
			f.Message = fmt.Sprintf("%s was not read to the end: with the directories that add to it, it has more than any real configuration", file)
		default:
			f.Message = fmt.Sprintf("%s could not be read: %s", file, hostroot.Bare(err).Error())
		}
		list = append(list, f)
	}
	for _, set := range []configSet{ev.modprobeSet, ev.loadSet} {
		for _, d := range set.dirErrs {
			add(d.dir, d.err)
		}
		for _, f := range set.files {
			add(f.path, f.err)
		}
	}
	for _, e := range ev.host.problems {
		list = append(list, Finding{Kind: FindingIncomplete, Evidence: []Evidence{e}, Message: e.File + " " + e.Effect})
	}
	return list
}

// conflicts names the line that stops the module although another line asks
// for it.
func (ev *evaluation) conflicts() []Finding {
	boot := ev.boot
	if boot.Requested != AnswerTrue || boot.Allowed == AnswerTrue {
		return nil
	}
	for _, stop := range boot.Evidence {
		if stop.Cause != CauseBlacklist && stop.Cause != CauseInstall && stop.Cause != CauseAlias && stop.Cause != CauseDeniedByKernel {
			continue
		}
		if stop.Line == 0 {
			continue // no line, so no file that could be edited
		}
		ask := boot.RequestedBy[0]
		return []Finding{{
			Kind:     FindingConflict,
			Evidence: []Evidence{stop, ask},
			Message: fmt.Sprintf("%s (\"%s\") disables %s, although %s (\"%s\") asks for it at boot",
				stop.Place(), stop.Text, ev.mod.Name, ask.Place(), ask.Text),
		}}
	}
	return nil
}

func unused(e Evidence, why string) Finding {
	e.Effect = "has no effect: " + why
	return Finding{Kind: FindingUnused, Evidence: []Evidence{e}, Message: fmt.Sprintf("%s: \"%s\" has no effect: %s", e.Place(), e.Text, why)}
}

// unusedDirectives looks for lines of modprobe.d that seem meant for the module
// and do nothing.
func (ev *evaluation) unusedDirectives() []Finding {
	var list []Finding
	for _, l := range ev.cfg.ignored {
		if why, ok := ev.whyIgnored(l.text); ok && len(list) <= maxListed {
			list = append(list, unused(l.evidence(CauseNone, ""), why))
		}
	}
	named := func(src source, name string) {
		if why, ok := ev.whyMissed(name); ok && len(list) <= maxListed {
			list = append(list, unused(src.evidence(CauseNone, ""), why))
		}
	}
	for _, b := range ev.cfg.blacklists {
		if b.file != procCmdline {
			named(b.source, b.name)
		}
	}
	for _, c := range ev.cfg.installs {
		named(c.source, c.pattern)
	}
	byPath := ev.modprobeSet.byPath()
	for _, f := range ev.modprobeSet.shadowed {
		if by := byPath[f.shadowedBy]; by != nil && len(list) <= maxListed {
			list = append(list, ev.shadowed(f, by)...)
		}
	}
	for _, f := range ev.modprobeSet.strays {
		if len(list) <= maxListed && straysFor(ev.mod.Name, f.name) {
			list = append(list, ev.unread(f, &policy{}, notConf)...)
		}
	}
	return list
}

// whyIgnored explains a line that libkmod calls bad, if it seems meant for the
// module.
func (ev *evaluation) whyIgnored(text string) (string, bool) {
	target := ev.mod.Name
	words := strings.Fields(text)
	if len(words) == 0 || strings.HasPrefix(words[0], "#") {
		return "", false
	}
	for i, w := range words {
		if strings.HasPrefix(w, "#") {
			break
		}
		if rest, ok := strings.CutPrefix(w, target+"/"); ok && words[0] == "install" {
			return fmt.Sprintf("a blank is missing between %s and /%s", target, rest), true
		}
		if bare(w) != target {
			continue
		}
		keyword := strings.Trim(words[0], "\ufeff")
		switch {
		case i == 0:
			return "it has no directive; a line here is \"blacklist " + target + "\" or another of modprobe.d(5)", true
		case keyword != words[0]:
			return "the file begins with a byte-order mark", true
		case words[0] == "install" || words[0] == "softdep" || words[0] == "options" || words[0] == "alias" || words[0] == "remove":
			return "the line is incomplete", true
		case words[0] != "blacklist":
			return fmt.Sprintf("%q is not a directive of modprobe.d(5)", printable(words[0])), true
		}
	}
	return "", false
}

// whyMissed explains a name in a good line that is almost the module's.
func (ev *evaluation) whyMissed(name string) (string, bool) {
	target := ev.mod.Name
	if name == target || strings.ContainsAny(name, "*?[") || bare(name) == target && fnmatch.Match(name, target) {
		return "", false
	}
	switch {
	case strings.TrimRight(name, "\r") == target:
		return "the line ends with a carriage return (a DOS text file), which becomes part of the name", true
	case bare(name) == target:
		return fmt.Sprintf("the name is compared exactly, and %q is not %q", printable(name), target), true
	}
	if nearly(name, target) {
		if ev.host.indexed(name) == nil {
			if _, known := ev.host.search(indexBuiltin, name); !known {
				return fmt.Sprintf("there is no module %q; is %q meant?", printable(name), target), true
			}
		}
	}
	return "", false
}

// bare strips what people add to a module's name by mistake.
func bare(word string) string {
	word, _, _ = strings.Cut(word, "#")
	word = strings.Trim(word, "\"'`,;\r\u00a0\u200b")
	word = path.Base(word)
	for _, suffix := range []string{".xz", ".gz", ".zst"} {
		word = strings.TrimSuffix(word, suffix)
	}
	word = strings.TrimSuffix(word, ".ko")
	return strings.ReplaceAll(strings.ToLower(word), "-", "_")
}

// nearly reports whether one letter is missing, superfluous, wrong or swapped.
func nearly(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if a == b || len(b)-len(a) > 1 || len(a) < 3 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) < len(b) {
		return a[i:] == b[i+1:]
	}
	if a[i+1:] == b[i+1:] {
		return true
	}
	return i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}

// shadowed reports directives for the module in a file that another file of the
// same name replaces. An empty file of the same name turns it off on purpose, and
// needs no warning.
func (ev *evaluation) shadowed(f configFile, by *configFile) []Finding {
	hiding := &policy{kmod: ev.cfg.kmod, target: ev.mod.Name}
	hiding.parseModprobeFile(f.shadowedBy, by.data)
	if len(hiding.blacklists)+len(hiding.installs)+len(hiding.aliases)+len(hiding.softdeps)+len(hiding.ignored)+hiding.others == 0 {
		return nil
	}
	return ev.unread(f, hiding, f.shadowedBy+sameName)
}

const (
	sameName = " has the same name and takes the whole file's place"
	notConf  = "files whose names do not end in .conf are not read"
)

// unread reports the directives for the module in a file that is not read, except
// those that the file read instead has, too.
func (ev *evaluation) unread(f configFile, instead *policy, why string) (list []Finding) {
	hidden := &policy{kmod: ev.cfg.kmod, target: ev.mod.Name}
	hidden.parseModprobeFile(f.path, f.data)
	for _, b := range hidden.blacklists {
		same := func(o blacklistRule) bool { return o.name == b.name }
		if b.name == ev.mod.Name && len(list) <= maxListed && ev.host.spend(len(instead.blacklists)) && !slices.ContainsFunc(instead.blacklists, same) {
			list = append(list, unused(b.evidence(CauseNone, ""), why))
		}
	}
	for _, c := range hidden.installs {
		same := func(o commandRule) bool { return o.pattern == c.pattern && o.command == c.command }
		if fnmatch.Match(c.pattern, ev.mod.Name) && len(list) <= maxListed && ev.host.spend(len(instead.installs)) && !slices.ContainsFunc(instead.installs, same) {
			list = append(list, unused(c.evidence(CauseNone, ""), why))
		}
	}
	return list
}

// straysFor reports whether a file in modprobe.d is named after the module, and is
// not read because of its suffix. Back-up copies are ignored.
func straysFor(target, name string) bool {
	if strings.HasPrefix(name, ".") || !strings.Contains(name, target) {
		return false
	}
	switch path.Ext(name) {
	case "", ".cfg", ".config", ".cnf", ".con", ".txt", ".alias":
		return true
	}
	return false
}

// unusedRequests looks for lines of modules-load.d that seem meant for the
// module and ask for something that does not exist.
func (ev *evaluation) unusedRequests() []Finding {
	var list []Finding
	target := ev.mod.Name
	for _, r := range ev.requests {
		if r.file == procCmdline || len(list) > maxListed {
			continue
		}
		if _, ok := ev.asksFor(r.name); ok {
			continue
		}
		words := strings.Fields(r.name)
		if len(words) == 0 {
			continue
		}
		names, _, _ := strings.Cut(r.name, "#")
		each := strings.FieldsFunc(names, func(r rune) bool { return r == ',' || r <= ' ' })
		switch {
		case len(words) == 1 && bare(words[0]) == target && strings.Contains(words[0], "#"),
			len(words) > 1 && bare(words[0]) == target && strings.HasPrefix(words[1], "#"):
			list = append(list, unused(r.evidence(CauseNone, ""), "a comment cannot follow a module's name here; the whole line is read as the name"))
		case len(each) > 1 && slices.ContainsFunc(each, func(word string) bool { return bare(word) == target }):
			list = append(list, unused(r.evidence(CauseNone, ""), "a line here is one module's name and nothing else"))
		case len(words) == 1:
			if why, ok := ev.whyMissed(r.name); ok {
				list = append(list, unused(r.evidence(CauseNone, ""), why))
			}
		}
	}
	byPath := ev.loadSet.byPath()
	for _, f := range ev.loadSet.shadowed {
		by := byPath[f.shadowedBy]
		if by == nil || len(modulesLoadLines(by.data, ev.systemd)) == 0 {
			continue
		}
		has := func(data []byte) (logicalLine, bool) {
			for _, l := range modulesLoadLines(data, ev.systemd) {
				if norm, ok := normalizeAlias(l.text); ok && norm == target {
					return l, true
				}
			}
			return logicalLine{}, false
		}
		if _, ok := has(by.data); ok {
			continue
		}
		if l, ok := has(f.data); ok {
			e := Evidence{File: f.path, Line: l.number, Text: printable(l.text)}
			list = append(list, unused(e, f.shadowedBy+sameName))
		}
	}
	for _, f := range ev.loadSet.strays {
		if strings.Contains(f.name, target) && path.Ext(f.name) == "" {
			list = append(list, unused(Evidence{File: f.path, Text: printable(f.name)}, notConf))
		}
	}
	return list
}

// unusedTokens looks for words of the kernel command line that seem meant for
// the module and do nothing.
func (ev *evaluation) unusedTokens() []Finding {
	target := ev.mod.Name
	var list []Finding
	for tok := range kernelarg.Tokens(ev.host.cmdline) {
		e := Evidence{File: procCmdline, Line: 1, Text: printable(tok)}
		key, value, ok := strings.Cut(strings.Trim(tok, `"'`), "=")
		if !ok || !slices.ContainsFunc(strings.Split(value, ","), func(s string) bool { return bare(s) == target }) {
			continue
		}
		plain := strings.ReplaceAll(key, "-", "_")
		effective := func() bool {
			for _, b := range ev.cfg.blacklists {
				if b.file == procCmdline && b.name == target && strings.Contains(tok, b.text) {
					return true
				}
			}
			return false
		}
		switch {
		case key == "modprobe.blacklist":
			if !effective() {
				list = append(list, unused(e, "modprobe takes the names here literally, quotes and dashes included"))
			}
		case plain == "module_blacklist":
			if !deniedByKernel(ev.host.denied, target) {
				list = append(list, unused(e, "the kernel's list in force does not name "+target))
			}
		case plain == "modprobe_blacklist", plain == "modules_blacklist", plain == "module.blacklist", plain == "blacklist", plain == "modprobe.black_list":
			list = append(list, unused(e, "no program knows this parameter; modprobe.blacklist= and module_blacklist= exist"))
		case (plain == "rd.driver.blacklist" || plain == "rdblacklist") && ev.blacklistedInRun():
			// Newer dracut turns it into a file below /run, which outlives
			// the initial RAM disk.
		case plain == "rd.modprobe.blacklist", plain == "rd.driver.blacklist", plain == "rdblacklist", plain == "rd.modules_load":
			list = append(list, unused(e, "it applies to the initial RAM disk only"))
		}
	}
	return list
}

func (ev *evaluation) blacklistedInRun() bool {
	return slices.ContainsFunc(ev.cfg.blacklists, func(b blacklistRule) bool {
		return b.name == ev.mod.Name && strings.HasPrefix(b.file, "/run/")
	})
}

// unreadable is the evidence that a file could not be read.
func unreadable(file string, err error) Evidence {
	return Evidence{File: file, Effect: "could not be read: " + hostroot.Bare(err).Error(), Cause: CauseUnreadable}
}
