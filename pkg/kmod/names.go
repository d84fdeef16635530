package kmod

import "strings"

// pathMax bounds every name in libkmod (PATH_MAX of limits.h).
const pathMax = 4096

// underscores turns dashes into underscores, except inside a bracket
// expression. ok is false for an unmatched bracket, which makes the whole line
// of a configuration bad, and for a missing word (libkmod shared/util.c,
// underscores).
func underscores(s string) (_ string, ok bool) {
	return normalize(s, len(s))
}

// normalizeAlias is what libkmod does to a name it is asked for
// (shared/util.c, alias_normalize). A stray bracket is an error (EINVAL).
func normalizeAlias(s string) (string, bool) {
	return normalize(cString(s), pathMax-1)
}

func normalize(s string, limit int) (string, bool) {
	if !strings.ContainsAny(s, "-[]") {
		return s[:min(len(s), limit)], true
	}
	b := []byte(s)
	for i := 0; i < len(b) && i < limit; i++ {
		switch b[i] {
		case '-':
			b[i] = '_'
		case ']':
			return "", false
		case '[':
			end := strings.IndexByte(s[i:], ']')
			if end < 0 {
				return "", false
			}
			i += end
		}
	}
	return string(b[:min(len(b), limit)]), true
}

// moduleName is the name of a module object made from a file name or a command
// (shared/util.c, modname_normalize): up to the first dot, dashes turned into
// underscores.
func moduleName(s string) string {
	s, _, _ = strings.Cut(s, ".")
	return strings.ReplaceAll(s[:min(len(s), pathMax-1)], "-", "_")
}

// cString cuts at the first NUL, where C would stop reading.
func cString(s string) string {
	s, _, _ = strings.Cut(s, "\x00")
	return s
}
