package kmod

import (
	"path"
	"slices"
	"strings"
)

// Reserved words where a command begins (POSIX, 2.4): those that begin a construct,
// and those that continue one, which alone are an error.
var (
	reservedFirst = []string{"if", "while", "until", "for", "case", "!", "{", "[[", "function", "select", "time", "coproc"}
	reservedNext  = []string{"then", "else", "elif", "fi", "do", "done", "esac", "}"}
)

// shellNode is a command: a simple one with its words, or one of a kind with its parts.
// Those of ";" and of "&&" are run in turn; operators are what is between the latter. mayFail: its
// redirection may, and then it is not run.
type shellNode struct {
	kind      string
	args      []string
	parts     []*shellNode
	operators []string
	mayFail   bool
}

// shellParser reads a command line to its end; a shell runs nothing of one with an error
// (POSIX, Shell Command Language, 2.8.1 and 2.10).
type shellParser struct {
	words []shellWord
	depth int
	// bad: no shell accepts it; unknown: shells differ, or it is not understood.
	bad, unknown bool
}

// next is the next word's text if it is an operator or a reserved word there.
func (s *shellParser) next(reserved bool) string {
	if len(s.words) == 0 || s.words[0].quoted || s.words[0].redirect || !s.words[0].operator && !reserved {
		return ""
	}
	return s.words[0].text
}

// list reads commands up to the word that closes them.
func (s *shellParser) list(closing string) *shellNode {
	list := &shellNode{kind: ";"}
	const maxDepth = 20
	s.depth++
	s.unknown = s.unknown || s.depth > maxDepth
	for !s.bad && !s.unknown {
		chain := &shellNode{kind: "&&"}
		for !s.bad && !s.unknown {
			chain.parts = append(chain.parts, s.one())
			op := s.next(false)
			if op != "&&" && op != "||" {
				break
			}
			s.words = s.words[1:]
			chain.operators = append(chain.operators, op)
		}
		list.parts = append(list.parts, chain)
		if s.next(false) == ";" {
			s.words = s.words[1:]
		} else if closing == "" || s.next(true) != closing {
			s.bad = s.bad || closing != "" || len(s.words) > 0
			break
		}
		if end := s.next(true); end != "" && end == closing {
			s.words = s.words[1:]
			break
		}
		if len(s.words) == 0 {
			s.bad = s.bad || closing != ""
			break
		}
	}
	s.depth--
	return list
}

// one reads one command.
func (s *shellParser) one() *shellNode {
	n := &shellNode{}
	switch word := s.next(true); {
	case len(s.words) == 0, s.words[0].operator && word != "(", slices.Contains(reservedNext, word):
		s.bad = true
		return n
	case word == "!":
		s.words = s.words[1:]
		// Shells differ in what else may follow.
		s.unknown = s.unknown || len(s.words) == 0 || s.words[0].redirect || s.words[0].operator && s.words[0].text != "(" || s.next(true) == "!"
		if !s.unknown {
			n.kind, n.parts = "!", []*shellNode{s.one()}
		}
		return n
	case word == "(", word == "{":
		s.words = s.words[1:]
		n.kind, n.parts = map[string]string{"(": "(", "{": ";"}[word], []*shellNode{s.list(map[string]string{"(": ")", "{": "}"}[word])}
		for len(s.words) > 0 && s.words[0].redirect {
			s.unknown = s.unknown || s.words[0].mayFail
			s.words = s.words[1:]
		}
		s.bad = s.bad || len(s.words) > 0 && s.next(true) != "}" && (!s.words[0].operator || s.words[0].text == "(") // a word after it
		return n
	case slices.Contains(reservedFirst, word):
		s.unknown = true
		return n
	}
	redirected := false
	for len(s.words) > 0 && !s.words[0].operator {
		switch w := s.words[0]; {
		case w.redirect:
			redirected, n.mayFail = true, n.mayFail || w.mayFail
		case redirected && len(n.args) == 0 && (slices.Contains(reservedFirst, w.text) || slices.Contains(reservedNext, w.text)):
			s.unknown = true
		default:
			n.args = append(n.args, w.text)
		}
		s.words = s.words[1:]
	}
	s.unknown = s.unknown || s.next(false) == "(" // a function
	return n
}

// isShell reports whether a program runs its argument after -c as a command line of
// POSIX.
func isShell(name string) bool {
	return slices.Contains([]string{"sh", "dash", "bash"}, path.Base(name))
}

// shellCommand follows "sh -c SCRIPT [NAME [ARGUMENT...]]". No script that is
// understood uses its arguments.
func (p *process) shellCommand(args []string) commandEffect {
	if len(args) < 2 || args[0] != "-c" || strings.HasPrefix(args[1], "-") || strings.HasPrefix(args[1], "+") {
		return commandUnknown
	}
	return p.shell(args[1])
}
