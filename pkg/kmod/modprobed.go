package kmod

import (
	"slices"
	"strings"
)

// source is the file and line of a rule.
type source struct {
	file string // as the host names it
	line int    // first physical line, from 1
	text string // the logical line, raw
}

func (s source) evidence(cause Cause, effect string) Evidence {
	return Evidence{File: s.file, Line: s.line, Text: printable(s.text), Effect: effect, Cause: cause}
}

// in reports whether the line, or its whole file, is in a set.
func (s source) in(set map[source]bool) bool {
	if s.file == procCmdline {
		return set[source{s.file, s.line, printable(s.text)}]
	}
	return set[source{file: s.file}] || set[source{file: s.file, line: s.line}]
}

// source is the line of the evidence; of the kernel's command line, the argument.
func (e Evidence) source() source {
	if e.File == procCmdline {
		return source{e.File, e.Line, e.Text}
	}
	return source{file: e.File, line: e.Line}
}

type (
	// blacklistRule is "blacklist NAME" or one piece of modprobe.blacklist=.
	blacklistRule struct {
		source
		name string
	}
	// commandRule is "install PATTERN COMMAND" or "remove PATTERN COMMAND".
	commandRule struct {
		source
		pattern, command string
	}
	// aliasRule is "alias PATTERN TARGET".
	aliasRule struct {
		source
		pattern, target string
	}
	// softdepRule is "softdep PATTERN pre: NAMES post: NAMES".
	softdepRule struct {
		source
		pattern   string
		pre, post []string
	}
)

// policy is the whole configuration in the order in which libkmod holds it:
// files by name, then the kernel command line.
type policy struct {
	kmod       int    // whose rules were applied
	target     string // of bad lines, those that name it are kept
	blacklists []blacklistRule
	installs   []commandRule
	removes    []commandRule
	aliases    []aliasRule
	softdeps   []softdepRule
	ignored    []source // lines that libkmod reports as bad and skips
	others     int      // lines of which nothing is kept
}

// without is the policy without some lines and files.
func (p *policy) without(gone map[source]bool) *policy {
	out := *p
	out.blacklists, out.installs, out.removes = outside(p.blacklists, gone), outside(p.installs, gone), outside(p.removes, gone)
	out.aliases, out.softdeps = outside(p.aliases, gone), outside(p.softdeps, gone)
	return &out
}

// changes is how many rules there are that change what a name leads to.
func (p *policy) changes() int {
	return len(p.installs) + len(p.removes) + len(p.aliases) + len(p.softdeps)
}

func outside[R interface{ in(map[source]bool) bool }](rules []R, gone map[source]bool) []R {
	return slices.DeleteFunc(slices.Clone(rules), func(r R) bool { return r.in(gone) })
}

// parseModprobeFile adds the rules of one file (modprobe.d(5); libkmod
// libkmod-config.c, kmod_config_parse). Bytes of any kind are input; what
// libkmod does not understand it skips, and so do we.
func (p *policy) parseModprobeFile(file string, data []byte) {
	for line := range logicalLines(data, p.kmod) {
		if line.text == "" || line.text[0] == '#' {
			continue
		}
		src := source{file: file, line: line.number, text: line.text}
		keyword, rest, ok := nextWord(line.text)
		if !ok {
			continue
		}
		if !p.parseDirective(src, keyword, rest) {
			if mentions(line.text, p.target) {
				p.ignored = append(p.ignored, src)
			} else {
				p.others++
			}
		}
	}
}

// mentions reports whether a line may have the module's name in it, in any spelling
// (see bare).
func mentions(text, target string) bool {
	return strings.Contains(strings.ReplaceAll(strings.ToLower(text), "-", "_"), target)
}

func (p *policy) parseDirective(src source, keyword, rest string) bool {
	switch keyword {
	case "alias", "blacklist", "options", "install", "remove", "softdep":
	case "weakdep": // since 33; it never loads anything
		if p.kmod < 33 {
			return false
		}
	default: // "include" and "config", too: libkmod logs it and continues
		return false
	}
	name, rest, ok := nextWord(rest)
	if !ok {
		return false
	}
	name, ok = underscores(name)
	if !ok {
		return false
	}
	switch keyword {
	case "blacklist":
		p.blacklists = append(p.blacklists, blacklistRule{src, name})
		return true
	case "alias":
		target, _, ok := nextWord(rest)
		if !ok {
			return false
		}
		if target, ok = underscores(target); !ok {
			return false
		}
		p.aliases = append(p.aliases, aliasRule{src, name, target})
		return true
	}
	// The others take the rest of the line, leading blanks included.
	if rest == "" {
		return false
	}
	switch keyword {
	case "install":
		p.installs = append(p.installs, commandRule{src, name, rest})
	case "remove":
		p.removes = append(p.removes, commandRule{src, name, rest})
	case "softdep":
		pre, post := parseSoftdep(rest)
		p.softdeps = append(p.softdeps, softdepRule{src, name, pre, post})
	case "options":
		p.others++
	}
	return true
}

// parseSoftdep splits the rest of a softdep line (libkmod-config.c,
// kmod_config_add_softdep). Words before "pre:" or "post:" are dropped. It
// keeps an oddity of the original: after two separators in a row at the very
// start, the first word is taken with its leading blank, so that
// "softdep sctp  pre: x" has no effect.
func parseSoftdep(line string) (pre, post []string) {
	var list *[]string
	start, wasSpace := 0, false
	for i := 0; ; i++ {
		end := i == len(line)
		if !end {
			if !isSpace(line[i]) {
				wasSpace = false
				continue
			}
			if wasSpace {
				start = i + 1
				continue
			}
			wasSpace = true
			if start >= i {
				continue
			}
		}
		word := ""
		if start < i {
			word = line[start:i]
		}
		switch {
		case word == "pre:":
			list = &pre
		case word == "post:":
			list = &post
		case list != nil && (!end || !wasSpace):
			*list = append(*list, word)
		}
		start = i + 1
		if end {
			return pre, post
		}
	}
}

// isSpace is isspace(3) in the C locale.
func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }
