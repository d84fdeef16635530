package bootloader

import (
	"slices"
	"strings"
)

// CompareReleases orders versions of kernels as rpm does (rpmvercmp), and except
// for unusual characters as "sort -V": runs of digits by their number, others by
// their bytes, a number after letters, and "~" before all, the end included.
func CompareReleases(a, b string) int {
	for {
		a, b = strings.TrimLeftFunc(a, separates), strings.TrimLeftFunc(b, separates)
		earlyA, earlyB := strings.HasPrefix(a, "~"), strings.HasPrefix(b, "~")
		switch {
		case earlyA && earlyB:
			a, b = a[1:], b[1:]
			continue
		case earlyA:
			return -1
		case earlyB:
			return 1
		}
		if a == "" || b == "" {
			return len(a) - len(b)
		}
		x, y := run(a), run(b)
		a, b = a[len(x):], b[len(y):]
		switch {
		case isDigit(x[0]) && !isDigit(y[0]):
			return 1
		case !isDigit(x[0]) && isDigit(y[0]):
			return -1
		case isDigit(x[0]):
			x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
			if len(x) != len(y) {
				return len(x) - len(y)
			}
		}
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func separates(r rune) bool { return r >= 0x80 || r != '~' && !isDigit(byte(r)) && !isLetter(byte(r)) }

// run is the digits, or the letters, that s begins with.
func run(s string) string {
	n := 1
	for n < len(s) && isDigit(s[n]) == isDigit(s[0]) && isLetter(s[n]) == isLetter(s[0]) {
		n++
	}
	return s[:n]
}

// Flavour is the kind of a kernel (-generic, -cloud-amd64, +debug): the words of its
// release, in whatever order (RHEL 9 has had .rt14 and +rt), but those that count, as
// numbers do: of candidates, Debian's backports, service packs.
func Flavour(release string) string {
	words := strings.FieldsFunc(release, func(r rune) bool { return r >= 0x80 || !isLetter(byte(r)) })
	words = slices.DeleteFunc(words, func(w string) bool { return slices.Contains([]string{"rc", "bpo", "deb", "sp"}, w) })
	slices.Sort(words)
	return strings.Join(words, " ")
}

// IsRelease tells a kernel's release from other names of a kernel's file.
func IsRelease(name string) bool {
	major, minor, _ := strings.Cut(name, ".")
	return strings.Trim(major, "0123456789") == "" && minor != "" && isDigit(minor[0])
}
