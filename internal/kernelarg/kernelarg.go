// Package kernelarg takes a kernel's command line apart, as the kernel does
// (lib/cmdline.c, next_arg).
package kernelarg

import (
	"iter"
	"strings"
)

// Tokens splits at blanks that are not inside double quotes, up to a NUL byte.
func Tokens(line string) iter.Seq[string] {
	return func(yield func(string) bool) {
		line, _, _ := strings.Cut(line, "\x00")
		start, quoted := -1, false
		for i := 0; i <= len(line); i++ {
			end := i == len(line)
			if end || isSpace(line[i]) && !quoted {
				if start >= 0 && !yield(line[start:i]) {
					return
				}
				start = -1
				continue
			}
			if start < 0 {
				start = i
			}
			if line[i] == '"' {
				quoted = !quoted
			}
		}
	}
}

// isSpace is isspace(3) in the C locale.
func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

// Split takes one token apart, without the quotes around its value or all of it.
func Split(token string) (param, value string) {
	whole := strings.HasPrefix(token, `"`)
	if whole {
		token = token[1:]
	}
	param, value, found := strings.Cut(token, "=")
	if !found {
		return strings.TrimSuffix(param, `"`), ""
	}
	if strings.HasPrefix(value, `"`) {
		value = strings.TrimSuffix(value[1:], `"`)
	} else if whole {
		value = strings.TrimSuffix(value, `"`)
	}
	return param, value
}

// Value is the value of the first token of a parameter, "" if there is none.
func Value(line, param string) string {
	for token := range Tokens(line) {
		if p, value := Split(token); p == param {
			return value
		}
	}
	return ""
}
