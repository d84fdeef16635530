package kmod

import "strings"

const (
	// efiVariable is one of the firmware with further arguments for systemd, not for the
	// kernel nor kmod (bootctl(1), systemd-efi-options).
	efiVariable = "SystemdOptions-8cf2644b-4b0b-428f-9387-6d876050dc67"
	// efiOptions is where systemd keeps it for the boot, if it uses it: not with Secure
	// Boot (src/shared/efi-loader.c, cache_efi_options_variable).
	efiOptions = "/run/systemd/efivars/" + efiVariable
	// noEFIOptions is a version of systemd that does not read it any more.
	noEFIOptions = 262
)

// efiArguments are those of the firmware for this boot: the first line counts.
func (h *host) efiArguments(systemd int) string {
	if systemd >= noEFIOptions {
		return ""
	}
	line := string(h.script(efiOptions, true))
	if end := strings.IndexAny(line, "\n\r\x00"); end >= 0 { // src/basic/fileio.c, read_line_full
		line = line[:end]
	}
	return line
}

// systemdModulesLoad collects the names of modules_load= from a kernel command
// line, of a file (systemd src/modules-load/modules-load.c and src/basic/proc-cmdline.c;
// kernel-command-line(7)): dash equals underscore in the key, both kinds of
// quotes are removed, "--" is nothing special, empty names are dropped. Keys
// with the prefix "rd." count in the initrd only. whole: it is read to its end, and what
// comes after it, too.
func systemdModulesLoad(file, line string, systemd int) (reqs []request, whole bool) {
	seen := map[string]bool{}
	line = cString(line)
	// Up to 247 it is the first line, later the whole file. A carriage return ends
	// a line since 240 (src/basic/fileio.c, read_line_full).
	ends := "\n\r"
	if systemd <= 239 {
		ends = "\n"
	}
	if end := strings.IndexAny(line, ends); end >= 0 && systemd <= 247 {
		line = line[:end]
	}
	for line != "" {
		var word, raw string
		word, raw, line = systemdWord(line, systemd)
		key, value, ok := strings.Cut(word, "=")
		if !ok || strings.ReplaceAll(key, "-", "_") != "modules_load" {
			continue
		}
		names, whole := systemdNames(value, systemd)
		if !whole {
			return reqs, false
		}
		for _, name := range names {
			if name == "" || seen[name] {
				continue
			}
			seen[name] = true
			reqs = append(reqs, request{
				source: source{file: file, line: 1, text: raw},
				name:   name,
			})
		}
	}
	return reqs, true
}

// systemdNames splits a list at its commas. A backslash quotes the next byte, or is
// an error at the end (src/basic/extract-word.c), in 247 and 257, not in 252.
func systemdNames(value string, systemd int) (names []string, ok bool) {
	if systemd <= 252 && systemd != 247 {
		return strings.Split(value, ","), true
	}
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\' && i+1 == len(value):
			return nil, false
		case c == '\\':
			i++
			b.WriteByte(value[i])
		case c == ',':
			names = append(names, b.String())
			b.Reset()
		default:
			b.WriteByte(c)
		}
	}
	return append(names, b.String()), true
}

// systemdWord takes one word as extract_first_word does with
// EXTRACT_UNQUOTE|EXTRACT_RELAX: blanks separate, quotes of both kinds are removed,
// an unbalanced one ends with the line. A backslash quotes the next byte in systemd
// up to 247, and is kept from 248 on (EXTRACT_RETAIN_ESCAPE).
func systemdWord(s string, systemd int) (word, raw, rest string) {
	s = strings.TrimLeft(s, " \t\n\r")
	if end := strings.IndexAny(s, "\\\"' \t\n\r"); end < 0 {
		return s, s, ""
	} else if c := s[end]; c != '\\' && c != '"' && c != '\'' {
		return s[:end], s[:end], s[end:]
	}
	var b strings.Builder
	var quote byte
	i := 0
	for ; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\':
			if systemd >= 248 {
				b.WriteByte(c)
			} else if i+1 < len(s) {
				i++
				b.WriteByte(s[i])
			}
		case quote != 0:
			if c == quote {
				quote = 0
			} else {
				b.WriteByte(c)
			}
		case c == '"' || c == '\'':
			quote = c
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			return b.String(), s[:i], s[i:]
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), s, ""
}
