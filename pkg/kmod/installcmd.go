package kmod

import (
	"cmp"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
	"github.com/sctp-agent/sctp-agent/internal/pattern"
)

// commandEffect is what an install command does, as far as is known without running
// it.
type commandEffect int

const (
	// commandUnknown: it may load the module or not.
	commandUnknown commandEffect = iota
	// commandSucceeds, commandFails: it does nothing that loads a module, and
	// exits with zero or not.
	commandSucceeds
	commandFails
	// commandHarmless: it loads nothing; its exit status is not known.
	commandHarmless
)

// runInstall is what libkmod does with an install command: /bin/sh -c COMMAND
// (libkmod-module.c, command_do). Only commands that can be understood for
// certain are followed, among them the usual "/bin/true", "/bin/false" and
// "modprobe --ignore-install NAME"; any other makes the outcome unknown.
func (p *process) runInstall(m *module, rule *commandRule) error {
	p.unseen = ""
	effect := p.shell(rule.command)
	switch effect {
	case commandSucceeds, commandHarmless:
		if m.name == p.kern.target && !p.kern.inserted[m.name] {
			p.kern.stop(rule.evidence(CauseInstall, ""))
		}
		return nil
	case commandFails:
		if m.name == p.kern.target || m.required {
			p.kern.stop(rule.evidence(CauseInstall, ""))
		}
		return errCommand
	}
	if m.name == p.kern.target || m.required {
		why := "its effect is not known without running it"
		if p.unseen != "" {
			why = p.unseen
		}
		p.kern.unsure = append(p.kern.unsure, rule.evidence(CauseCustomInstall,
			"a command of its own replaces loading "+printable(m.name)+"; "+why))
		if removes().MatchString(rule.command) {
			delete(p.kern.inserted, m.name) // again
		}
	}
	if p.kern.commandsFail {
		return errCommand
	}
	return nil
}

// shellWord is one word of a command, one operator, or a redirection to nothing, or to a log,
// which may fail.
type shellWord struct {
	text                                string
	operator, quoted, redirect, mayFail bool
}

// shellWords splits a command of plain words, quotes, values of variables, ";", "&&",
// "||", parentheses, redirections to /dev/null or a log, and a comment. ok is false for anything else the
// shell would interpret.
func shellWords(s string) (words []shellWord, ok bool) {
	i := 0
	for i < len(s) {
		switch c := s[i]; {
		case c == ' ' || c == '\t':
			i++
		case c == '#':
			return words, true
		case strings.HasPrefix(s[i:], "(("):
			return nil, false // arithmetic to some shells
		case c == ';', c == '(', c == ')':
			words = append(words, shellWord{text: s[i : i+1], operator: true})
			i++
		case strings.HasPrefix(s[i:], "&&"), strings.HasPrefix(s[i:], "||"):
			words = append(words, shellWord{text: s[i : i+2], operator: true})
			i += 2
		case strings.IndexByte("{}!", c) >= 0 && (i+1 == len(s) || ends(s[i+1])):
			words = append(words, shellWord{text: s[i : i+1]})
			i++
		default:
			if n, redirect := nullRedirect(s[i:]); redirect {
				words = append(words, shellWord{text: s[i : i+n], redirect: true})
				i += n
				continue
			}
			if log := logRedirect().FindString(s[i:]); log != "" && (i+len(log) == len(s) || ends(s[i+len(log)])) {
				words = append(words, shellWord{text: log, redirect: true, mayFail: true})
				i += len(log)
				continue
			}
			word, n, ok := shellWordAt(s[i:])
			if !ok {
				return nil, false
			}
			words = append(words, shellWord{text: word, quoted: strings.ContainsAny(s[i:i+n], `'"`)})
			i += n
		}
	}
	return words, true
}

// ends reports whether a byte ends a word.
func ends(c byte) bool { return strings.IndexByte(" \t;&|)", c) >= 0 }

// nullRedirect recognises ">/dev/null", "2>/dev/null", "2>&1" and the like.
func nullRedirect(s string) (n int, ok bool) {
	for _, r := range []string{">/dev/null", "> /dev/null", "1>/dev/null", "1> /dev/null", "2>/dev/null", "2> /dev/null", "2>&1", ">&2", "1>&2"} {
		if rest, found := strings.CutPrefix(s, r); found && (rest == "" || ends(rest[0])) {
			return len(r), true
		}
	}
	return 0, false
}

// logRedirect is a redirection to the kernel's log, to the console or to a file of /var/log.
var logRedirect = pattern.MustCompile(`^[12]?>>?[ \t]*(?:/dev/(?:kmsg|console)|/var/log/[\w-]+(?:[./][\w-]+)*)`)

// expansion is a variable's or parameter's value, in whose place a word has expanded,
// which is in no word of a shell.
var expansion = pattern.MustCompile(`\$([A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-]|\{[A-Za-z_][A-Za-z0-9_]*\})`)

const expanded = "\x00"

func shellWordAt(s string) (word string, n int, ok bool) {
	var b strings.Builder
	for n < len(s) {
		switch c := s[n]; c {
		case ' ', '\t', ';', '&', '|', ')':
			if c == '&' && !strings.HasPrefix(s[n:], "&&") || c == '|' && !strings.HasPrefix(s[n:], "||") {
				return "", 0, false
			}
			return b.String(), n, true
		case '\'', '"':
			end := strings.IndexByte(s[n+1:], c)
			if end < 0 {
				return "", 0, false
			}
			quoted := s[n+1 : n+1+end]
			if c == '"' {
				if strings.ContainsAny(quoted, "`\\") {
					return "", 0, false
				}
				if quoted = expansion().ReplaceAllLiteralString(quoted, expanded); strings.Contains(quoted, "$") {
					return "", 0, false
				}
			}
			b.WriteString(quoted)
			n += end + 2
		case '$':
			variable := expansion().FindString(s[n:])
			if !strings.HasPrefix(s[n:], cmp.Or(variable, "none")) {
				return "", 0, false
			}
			b.WriteString(expanded)
			n += len(variable)
		case '`', '(', '{', '}', '<', '>', '*', '?', '[', '~', '!', '\\', '\n':
			return "", 0, false
		default:
			b.WriteByte(c)
			n++
		}
	}
	return b.String(), n, true
}

// shell follows a command line as sh(1) would.
func (p *process) shell(command string) commandEffect {
	// libkmod replaces this with the module's options.
	command = strings.ReplaceAll(command, "$CMDLINE_OPTS", "")
	if !p.host.spend(moduleCost * len(command)) {
		return commandUnknown
	}
	words, ok := shellWords(command)
	if !ok {
		return commandUnknown
	}
	if len(words) == 0 {
		return commandSucceeds
	}
	parser := shellParser{words: words}
	list := parser.list("")
	switch {
	case parser.unknown:
		return commandUnknown
	case parser.bad:
		return commandFails
	}
	effect, _ := p.run(list)
	return effect
}

// leaving says whether a command ends the shell that runs it.
type leaving int

const (
	stays leaving = iota
	mayLeave
	leaves
)

// run follows what a shell runs.
func (p *process) run(n *shellNode) (effect commandEffect, leave leaving) {
	switch n.kind {
	case "(":
		effect, _ = p.run(n.parts[0])
		return effect, stays
	case "!":
		effect, leave = p.run(n.parts[0])
		if inverse, ok := map[commandEffect]commandEffect{commandSucceeds: commandFails, commandFails: commandSucceeds}[effect]; ok && leave == stays {
			effect = inverse
		}
		return effect, leave
	case "":
		switch {
		case n.mayFail && len(n.args) > 0 && harmless(n.args[0]) && n.args[0] != ":" && n.args[0] != "exit":
			return commandHarmless, stays
		case n.mayFail:
			return commandUnknown, stays
		case len(n.args) == 0:
			return commandSucceeds, stays // a redirection alone
		}
		return p.command(n.args)
	}
	effect = commandSucceeds
	for i, part := range n.parts {
		var idle bool
		switch {
		case n.kind == ";" && leave == mayLeave, n.kind == "&&" && effect == commandHarmless && i > 0:
			// Either way: fine as long as what follows loads nothing.
			if idle, leave = part.idle(leave); !idle {
				return commandUnknown, leave
			}
			effect = commandHarmless
			continue
		case n.kind == "&&" && i > 0 && (effect == commandSucceeds) != (n.operators[i-1] == "&&"):
			continue
		}
		if effect, leave = p.run(part); effect == commandUnknown || leave == leaves {
			return effect, leave
		}
	}
	return effect, leave
}

// idle reports whether nothing in it loads anything, and whether it may end the shell.
func (n *shellNode) idle(before leaving) (idle bool, leave leaving) {
	idle, leave = n.kind != "" || len(n.args) == 0 || harmless(n.args[0]), before
	if n.kind == "" && len(n.args) > 0 && n.args[0] == "exit" {
		leave = mayLeave
	}
	for _, part := range n.parts {
		also, then := part.idle(leave)
		idle = idle && also
		if n.kind != "(" {
			leave = then
		}
	}
	return idle, leave
}

// programDirs is where systemd and its children look for programs (systemd.exec(5));
// what the kernel runs does without /usr/local (kernel/umh.c).
var programDirs = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// program is the file that a command's first word names. found is false where the
// host surely has none.
func (h *host) program(word string) (name string, found bool) {
	if path.IsAbs(word) {
		_, err := h.Stat(word)
		return word, err == nil || !hostroot.Absent(err) || h.MayHave(word)
	}
	for _, dir := range programDirs {
		name = path.Join(dir, word)
		if _, err := h.Stat(name); err == nil {
			return name, true
		}
		found = found || h.MayHave(name)
	}
	return name, found
}

// runnable says whether execve(2) takes a file for a program.
func runnable(st hostroot.Info) bool { return st.Mode.IsRegular() && st.Mode&0o111 != 0 }

// harmless reports whether a program, or what a shell has of that name, loads nothing.
func harmless(name string) bool {
	dir, base := path.Split(name)
	switch base {
	case ":", "exit":
		return dir == ""
	case "true", "false", "echo", "printf", "logger", "cat", "date", "touch":
		store, of := strings.CutPrefix(dir, "/nix/store/") // of which a package of NixOS has a directory
		return slices.Contains([]string{"", "/bin/", "/usr/bin/", "/run/current-system/sw/bin/"}, dir) || of && strings.HasSuffix(store, "/bin/") && strings.Count(store, "/") == 2
	}
	return false
}

// builtin reports whether a shell has more in a word than the name of a program: one
// of POSIX's or of a usual shell's own commands, a reserved word or an assignment.
func builtin(word string) bool {
	return strings.Contains(word, "=") || slices.Contains(reservedFirst, word) || slices.Contains(reservedNext, word) ||
		slices.Contains(strings.Fields(". [ alias bg bind break builtin caller cd chdir command compgen complete compopt continue declare dirs disown enable eval exec export fc fg "+
			"getopts hash help history jobs kill let local logout mapfile nohup popd pushd pwd read readarray readonly return set shift shopt sleep source suspend test times trap type "+
			"typeset ulimit umask unalias unset wait"), word)
}

// command is one simple command.
func (p *process) command(args []string) (effect commandEffect, leave leaving) {
	name := args[0]
	if !path.IsAbs(name) && strings.Contains(name, "/") {
		return commandUnknown, stays // what it is depends on where the caller is
	}
	if !harmless(path.Clean(name)) && slices.ContainsFunc(args, func(a string) bool { return strings.Contains(a, expanded) }) {
		return commandUnknown, stays
	}
	if name == "exec" {
		if len(args) == 1 {
			return commandSucceeds, stays
		}
		return p.programAlone(args[1:]), leaves
	}
	file, found := p.host.program(name)
	if path.IsAbs(name) {
		switch _, err := p.host.Stat(name); {
		case !found && (p.host.hasInit() || !packaged(name)):
			return commandFails, stays // 127, not found; all of the host may not be in the root
		case found && err != nil && !p.host.MayHave(name):
			p.unseen = printable(name) + " could not be looked at: " + hostroot.Bare(err).Error()
			return commandUnknown, stays
		}
	}
	switch path.Base(name) {
	case "modprobe":
		loader := p.host.byHand
		if found || path.IsAbs(name) {
			loader = p.host.loaderAt(file)
		}
		switch loader.isModprobe {
		case AnswerUnknown:
			return commandUnknown, stays // BusyBox, or another program of this name
		case AnswerFalse:
			return commandFails, stays
		}
		return p.nestedModprobe(args[1:]), stays
	case "env":
		rest := withoutEnv(args)
		changed := slices.ContainsFunc(args[:len(args)-len(rest)], func(a string) bool { return strings.HasPrefix(a, "PATH=") || strings.HasPrefix(a, "LD_") })
		if st, err := p.host.Stat(file); err == nil && runnable(st) && len(rest) < len(args) && !changed {
			return p.programAlone(rest), stays
		}
	}
	if isShell(name) {
		if path.Base(name) != "sh" && !found {
			return commandUnknown, stays // not each host has it
		}
		return p.shellCommand(args[1:]), stays
	}
	if !harmless(path.Clean(name)) {
		if st, err := p.host.Stat(file); !builtin(name) && (!found && p.host.hasInit() || err == nil && !runnable(st)) {
			return commandFails, stays // 127, 126
		}
		if path.IsAbs(name) {
			return p.script(name), stays
		}
		return commandUnknown, stays
	}
	switch path.Base(name) {
	case "true", ":", "echo":
		return commandSucceeds, stays
	case "false":
		return commandFails, stays
	case "exit":
		if len(args) == 1 {
			return commandHarmless, leaves
		}
		n, err := strconv.Atoi(args[1])
		switch {
		case err != nil || len(args) > 2 || n < 0:
			return commandUnknown, leaves
		case n%256 == 0:
			return commandSucceeds, leaves
		}
		return commandFails, leaves
	}
	return commandHarmless, stays
}

// script follows a script in which each line is commands of its own, as hardening
// packages have in place of modules.
func (p *process) script(name string) commandEffect {
	first, text, _ := strings.Cut(string(p.host.script(name, false)), "\n")
	shell := strings.Trim(strings.TrimPrefix(first, "#!"), " \t")
	if _, found := p.host.program(shell); !found || !path.IsAbs(shell) || !isShell(shell) || p.nesting >= maxNesting || !p.host.spend(moduleCost*len(text)) {
		return commandUnknown
	}
	whole := &shellNode{kind: ";"}
	for line := range strings.Lines(text) {
		words, ok := shellWords(strings.TrimSuffix(line, "\n"))
		if !ok {
			return commandUnknown
		}
		if len(words) == 0 {
			continue
		}
		parser := shellParser{words: words}
		whole.parts = append(whole.parts, parser.list(""))
		if parser.bad || parser.unknown { // perhaps it goes on in the next line
			return commandUnknown
		}
	}
	p.nesting++
	effect, _ := p.run(whole)
	p.nesting--
	return effect
}

// programAlone is a command that runs a program, not what a shell has of that name.
func (p *process) programAlone(args []string) commandEffect {
	if strings.HasPrefix(args[0], "-") || !path.IsAbs(args[0]) && builtin(args[0]) || args[0] == ":" || args[0] == "exit" {
		return commandUnknown
	}
	effect, _ := p.command(args)
	return effect
}

// nestedModprobe follows "modprobe [-i] [-q] [-v] [-b] [-a] [--] NAME", and what
// only shows something.
func (p *process) nestedModprobe(args []string) commandEffect {
	var flags probeFlags
	var names []string
	all, dry, options := false, false, true
	for _, a := range args {
		switch {
		case options && a == "--":
			options = false
		case options && strings.HasPrefix(a, "--"):
			switch a {
			case "--ignore-install":
				flags.ignoreCommand = true
			case "--use-blacklist":
				flags.blacklist = true
			case "--all":
				all = true
			case "--dry-run", "--show", "--show-depends", "--resolve-alias":
				dry = true
			case "--quiet", "--verbose", "--syslog":
			default:
				return commandUnknown
			}
		case options && len(a) > 1 && a[0] == '-':
			for _, c := range a[1:] {
				switch c {
				case 'i':
					flags.ignoreCommand = true
				case 'b':
					flags.blacklist = true
				case 'a':
					all = true
				case 'n', 'D', 'R':
					dry = true
				case 'q', 'v', 's':
				default:
					return commandUnknown
				}
			}
		default:
			names = append(names, a)
		}
	}
	if len(names) == 0 || p.nesting >= maxNesting {
		return commandUnknown
	}
	if dry {
		return commandHarmless
	}
	if p.kmod >= 31 && slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, "/") || strings.HasPrefix(name, "./") }) {
		return commandUnknown // the file of a module, since then
	}
	if !all {
		names = names[:1] // the others are the module's options
	}
	child := &process{host: p.host, cfg: p.cfg, kmod: p.kmod, kern: p.kern, pool: map[string]*module{}, nesting: p.nesting + 1, budget: p.budget}
	unsure := len(p.kern.unsure)
	var failed error
	for _, name := range names {
		if err := child.modprobe(name, flags); err != nil {
			failed = err
		}
	}
	switch {
	case len(p.kern.unsure) > unsure, p.kern.noEnd:
		return commandUnknown
	case failed != nil:
		return commandFails
	}
	return commandSucceeds
}
