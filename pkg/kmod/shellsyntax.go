package kmod

import (
	"path"
	"slices"
	"strings"
)

// syntax is whether a shell accepts a command line: it reads a line to its end
// first, and runs nothing of one with an error (POSIX, Shell Command Language,
// 2.8.1).
type syntax int

const (
	syntaxGood syntax = iota
	syntaxBad
	syntaxUnknown
)

// Reserved words where a command begins (POSIX, 2.4): those that begin a construct,
// and those that continue one, which alone are an error.
var (
	reservedFirst = []string{"if", "while", "until", "for", "case", "!", "{", "[[", "function", "select", "time", "coproc"}
	reservedNext  = []string{"then", "else", "elif", "fi", "do", "done", "esac", "}"}
)

// shellSyntax checks the words of a command line.
func shellSyntax(command string, words []shellWord) syntax {
	doubt := strings.ContainsAny(command, `'"`)
	for i, w := range words {
		first := i == 0 || words[i-1].operator
		last := i == len(words)-1
		switch {
		case w.operator && first, w.operator && last && w.text != ";":
			// No command on one side of it, unless that is a redirection alone.
			if strings.Contains(command, ">") {
				return syntaxUnknown
			}
			return syntaxBad
		case w.operator || !first:
		case slices.Contains(reservedFirst, w.text):
			return syntaxUnknown
		case slices.Contains(reservedNext, w.text):
			if doubt {
				return syntaxUnknown // in quotes it is a command of that name
			}
			return syntaxBad
		}
	}
	return syntaxGood
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
