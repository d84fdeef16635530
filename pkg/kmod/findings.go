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

// findings are what is worth a warning besides the answers, the first ones if there are
// very many.
type findings []Finding

func (f *findings) full() bool { return len(*f) > maxListed }

func (f *findings) add(kind FindingKind, message string, evidence ...Evidence) {
	if !f.full() {
		*f = append(*f, Finding{Kind: kind, Evidence: evidence, Message: message})
	}
}

// unused adds a line that seems meant for the module and does nothing.
func (f *findings) unused(line source, why string) {
	e := line.evidence(CauseNone, "has no effect: "+why)
	f.add(FindingUnused, fmt.Sprintf("%s: \"%s\" %s", e.Place(), e.Text, e.Effect), e)
}

func (ev *evaluation) findings() (f findings) {
	ev.incomplete(&f)
	ev.conflicts(&f)
	ev.unusedDirectives(&f)
	ev.unusedRequests(&f)
	ev.unusedTokens(&f)
	return f
}

// incomplete lists what was skipped because of what it is, not because of who
// reads it.
func (ev *evaluation) incomplete(f *findings) {
	add := func(file string, err error) {
		if err == nil {
			return
		}
		why := hostroot.Bare(err).Error()
		message := file + " could not be read: " + why
		switch {
		case errors.Is(err, hostroot.ErrNotRegular):
			message = file + " is not a regular file and was not opened; modprobe and systemd would open it, and may block forever"
		case errors.Is(err, hostroot.ErrTooLarge):
			message = file + " is too large to be read"
		case errors.Is(err, errTooMuch):
			message = file + " was not read to the end: with the directories that add to it, it has more than any real configuration"
		}
		f.add(FindingIncomplete, message, Evidence{File: file, Effect: why, Cause: CauseUnreadable})
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
		f.add(FindingIncomplete, e.File+" "+e.Effect, e)
	}
}

// conflicts names the line that stops the module although another line asks
// for it.
func (ev *evaluation) conflicts(f *findings) {
	boot := ev.boot
	if boot.Requested != AnswerTrue || boot.Allowed == AnswerTrue {
		return
	}
	for _, stop := range boot.Evidence {
		// Without a line there is no file that could be edited.
		if stop.Line > 0 && slices.Contains([]Cause{CauseBlacklist, CauseInstall, CauseAlias, CauseDeniedByKernel}, stop.Cause) {
			ask := boot.RequestedBy[0]
			f.add(FindingConflict, fmt.Sprintf("%s (\"%s\") disables %s, although %s (\"%s\") asks for it at boot",
				stop.Place(), stop.Text, ev.mod.Name, ask.Place(), ask.Text), stop, ask)
			return
		}
	}
}

// unusedDirectives looks for lines of modprobe.d that seem meant for the module
// and do nothing.
func (ev *evaluation) unusedDirectives(f *findings) {
	for _, line := range ev.cfg.ignored {
		if why, ok := ev.whyIgnored(line.text); ok {
			f.unused(line, why)
		}
	}
	named := func(line source, name string) {
		if why, ok := ev.whyMissed(name); ok {
			f.unused(line, why)
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
	for _, file := range ev.modprobeSet.shadowed {
		if by := byPath[file.shadowedBy]; by != nil {
			ev.shadowed(f, file, by)
		}
	}
	for _, file := range ev.modprobeSet.strays {
		if straysFor(ev.mod.Name, file.name) {
			ev.unread(f, file, &policy{}, notConf)
		}
	}
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
func (ev *evaluation) shadowed(f *findings, file configFile, by *configFile) {
	hiding := &policy{kmod: ev.cfg.kmod, target: ev.mod.Name}
	hiding.parseModprobeFile(file.shadowedBy, by.data)
	if len(hiding.blacklists)+len(hiding.installs)+len(hiding.aliases)+len(hiding.softdeps)+len(hiding.ignored)+hiding.others > 0 {
		ev.unread(f, file, hiding, file.shadowedBy+sameName)
	}
}

const (
	sameName = " has the same name and takes the whole file's place"
	notConf  = "files whose names do not end in .conf are not read"
)

// unread reports the directives for the module in a file that is not read, except
// those that the file read instead has, too.
func (ev *evaluation) unread(f *findings, file configFile, instead *policy, why string) {
	hidden := &policy{kmod: ev.cfg.kmod, target: ev.mod.Name}
	hidden.parseModprobeFile(file.path, file.data)
	for _, b := range hidden.blacklists {
		same := func(o blacklistRule) bool { return o.name == b.name }
		if b.name == ev.mod.Name && !f.full() && ev.host.spend(len(instead.blacklists)) && !slices.ContainsFunc(instead.blacklists, same) {
			f.unused(b.source, why)
		}
	}
	for _, c := range hidden.installs {
		same := func(o commandRule) bool { return o.pattern == c.pattern && o.command == c.command }
		if fnmatch.Match(c.pattern, ev.mod.Name) && !f.full() && ev.host.spend(len(instead.installs)) && !slices.ContainsFunc(instead.installs, same) {
			f.unused(c.source, why)
		}
	}
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
func (ev *evaluation) unusedRequests(f *findings) {
	target := ev.mod.Name
	for _, r := range ev.requests {
		words := strings.Fields(r.name)
		if r.file == procCmdline || len(words) == 0 || f.full() {
			continue
		}
		if _, ok := ev.asksFor(r.name); ok {
			continue
		}
		names, _, _ := strings.Cut(r.name, "#")
		each := strings.FieldsFunc(names, func(r rune) bool { return r == ',' || r <= ' ' })
		switch {
		case len(words) == 1 && bare(words[0]) == target && strings.Contains(words[0], "#"),
			len(words) > 1 && bare(words[0]) == target && strings.HasPrefix(words[1], "#"):
			f.unused(r.source, "a comment cannot follow a module's name here; the whole line is read as the name")
		case len(each) > 1 && slices.ContainsFunc(each, func(word string) bool { return bare(word) == target }):
			f.unused(r.source, "a line here is one module's name and nothing else")
		case len(words) == 1:
			if why, ok := ev.whyMissed(r.name); ok {
				f.unused(r.source, why)
			}
		}
	}
	asks := func(l logicalLine) bool {
		norm, ok := normalizeAlias(l.text)
		return ok && norm == target
	}
	byPath := ev.loadSet.byPath()
	for _, file := range ev.loadSet.shadowed {
		by := byPath[file.shadowedBy]
		if by == nil {
			continue
		}
		instead, lines := modulesLoadLines(by.data, ev.systemd), modulesLoadLines(file.data, ev.systemd)
		if at := slices.IndexFunc(lines, asks); at >= 0 && len(instead) > 0 && !slices.ContainsFunc(instead, asks) {
			f.unused(source{file: file.path, line: lines[at].number, text: lines[at].text}, file.shadowedBy+sameName)
		}
	}
	for _, file := range ev.loadSet.strays {
		if strings.Contains(file.name, target) && path.Ext(file.name) == "" {
			f.unused(source{file: file.path, text: file.name}, notConf)
		}
	}
}

// unusedTokens looks for words of the kernel command line that seem meant for
// the module and do nothing.
func (ev *evaluation) unusedTokens(f *findings) {
	target := ev.mod.Name
	for tok := range kernelarg.Tokens(ev.host.cmdline) {
		line := source{file: procCmdline, line: 1, text: tok}
		key, value, ok := strings.Cut(strings.Trim(tok, `"'`), "=")
		if !ok || !slices.ContainsFunc(strings.Split(value, ","), func(s string) bool { return bare(s) == target }) {
			continue
		}
		plain := strings.ReplaceAll(key, "-", "_")
		inForce := func(b blacklistRule) bool {
			return b.file == procCmdline && b.name == target && strings.Contains(tok, b.text)
		}
		switch {
		case key == "modprobe.blacklist":
			if !slices.ContainsFunc(ev.cfg.blacklists, inForce) {
				f.unused(line, "modprobe takes the names here literally, quotes and dashes included")
			}
		case plain == "module_blacklist":
			if !deniedByKernel(ev.host.denied, target) {
				f.unused(line, "the kernel's list in force does not name "+target)
			}
		case plain == "modprobe_blacklist", plain == "modules_blacklist", plain == "module.blacklist", plain == "blacklist", plain == "modprobe.black_list":
			f.unused(line, "no program knows this parameter; modprobe.blacklist= and module_blacklist= exist")
		case (plain == "rd.driver.blacklist" || plain == "rdblacklist") && ev.blacklistedInRun():
			// Newer dracut turns it into a file below /run, which outlives
			// the initial RAM disk.
		case plain == "rd.modules_load" && ev.host.initState(target) == StateLoaded: // perhaps by this
		case plain == "rd.modprobe.blacklist", plain == "rd.driver.blacklist", plain == "rdblacklist", plain == "rd.modules_load":
			f.unused(line, "it applies to the initial RAM disk only")
		}
	}
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
