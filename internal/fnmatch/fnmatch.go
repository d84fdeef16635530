// Package fnmatch is fnmatch(3) as modprobe(8) and systemd-modules-load(8) run
// it.
package fnmatch

import "math"

// Match is fnmatch(3) with no flags in the C locale, as modprobe and
// systemd-modules-load run it: '*' matches any bytes, slashes and leading dots
// too, and a backslash quotes. Bytes, not characters.
//
// libkmod's own checks make nested brackets impossible in configuration files
// (shared/util.c, underscores), so character classes are matched for completeness of the
// indexes only.
func Match(pattern, s string) bool {
	work := math.MaxInt
	return Within(pattern, s, &work)
}

// Within is Match that takes the bytes it looks at from work; nothing matches once that
// is below zero.
func Within(pattern, s string, work *int) bool {
	// One backtracking point is enough: a later '*' makes an earlier one
	// irrelevant. That keeps the match quadratic at worst.
	var star, mark = -1, 0
	p, i := 0, 0
	for i < len(s) {
		if *work--; *work < 0 {
			return false
		}
		if p < len(pattern) {
			switch c := pattern[p]; c {
			case '*':
				star, mark = p, i
				p++
				continue
			case '?':
				p++
				i++
				continue
			case '[':
				ok, next, closed := matchBracket(pattern[p:], s[i])
				*work -= next
				if closed {
					if ok {
						p += next
						i++
						continue
					}
				} else if s[i] == '[' {
					// Unterminated: an ordinary character.
					p++
					i++
					continue
				}
			case '\\':
				// A trailing backslash matches nothing.
				if p+1 < len(pattern) && pattern[p+1] == s[i] {
					p += 2
					i++
					continue
				}
			default:
				if c == s[i] {
					p++
					i++
					continue
				}
			}
		}
		if star < 0 {
			return false
		}
		mark++
		p, i = star+1, mark
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchBracket matches one byte against the bracket expression at the start of
// p. next is the length of the expression; closed is false if it has no end, and
// then it is the rest of the pattern.
func matchBracket(p string, c byte) (ok bool, next int, closed bool) {
	i := 1
	negate := i < len(p) && (p[i] == '!' || p[i] == '^')
	if negate {
		i++
	}
	for first := true; ; first = false {
		if i >= len(p) {
			return false, len(p), false
		}
		if p[i] == ']' && !first {
			return ok != negate, i + 1, true
		}
		if p[i] == '[' && i+1 < len(p) && p[i+1] == ':' {
			if name, n := className(p[i:]); n > 0 {
				ok = ok || inClass(name, c)
				i += n
				continue
			}
		}
		lo := p[i]
		if lo == '\\' {
			i++
			if i >= len(p) {
				return false, len(p), false
			}
			lo = p[i]
		}
		i++
		hi := lo
		if i+1 < len(p) && p[i] == '-' && p[i+1] != ']' {
			i++
			hi = p[i]
			if hi == '\\' {
				i++
				if i >= len(p) {
					return false, len(p), false
				}
				hi = p[i]
			}
			i++
		}
		ok = ok || lo <= c && c <= hi
	}
}

// className reads "[:name:]"; n is 0 if there is none.
func className(p string) (name string, n int) {
	for i := 2; i+1 < len(p); i++ {
		if p[i] == ':' && p[i+1] == ']' {
			return p[2:i], i + 2
		}
		if p[i] < 'a' || p[i] > 'z' {
			break
		}
	}
	return "", 0
}

func inClass(name string, c byte) bool {
	lower, upper, digit := 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9'
	switch name {
	case "lower":
		return lower
	case "upper":
		return upper
	case "digit":
		return digit
	case "alpha":
		return lower || upper
	case "alnum":
		return lower || upper || digit
	case "xdigit":
		return digit || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
	case "blank":
		return c == ' ' || c == '\t'
	case "space":
		return c == ' ' || '\t' <= c && c <= '\r'
	case "cntrl":
		return c < ' ' || c == 0x7f
	case "print":
		return ' ' <= c && c < 0x7f
	case "graph":
		return ' ' < c && c < 0x7f
	case "punct":
		return ' ' < c && c < 0x7f && !(lower || upper || digit)
	}
	return false
}
