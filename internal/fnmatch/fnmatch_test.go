package fnmatch

import (
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		pattern, s string
		want       bool
	}{
		{"sctp", "sctp", true}, {"sctp", "sctpx", false}, {"s*p", "sctp", true}, {"*", "", true}, {"?", "", false},
		{"s[a-d]tp", "sctp", true}, {"s[!a]tp", "sctp", true}, {"s[^c]tp", "sctp", false}, {"s[]c]tp", "sctp", true},
		{"s[a-]tp", "s-tp", true}, {"[[:alpha:]]ctp", "sctp", true}, {`s\ctp`, "sctp", true}, {`\*`, "*", true}, {`\*`, "x", false},
		{`sctp\`, "sctp", false}, {"*a*b", "xaxb", true}, {"*a*b", "xaxbx", false}, {"net_pf_*_proto_13[1-3]", "net_pf_2_proto_132", true},
		{"a*/b", "a/x/b", true}, {"*", ".hidden", true}, {"[", "[", true}, {"s\xff", "s\xff", true},
	} {
		if got := Match(tc.pattern, tc.s); got != tc.want {
			t.Errorf("Match(%q, %q) = %v", tc.pattern, tc.s, got)
		}
	}
}

func FuzzFnmatch(f *testing.F) {
	for _, p := range []string{"sctp", "net-pf-*-proto-132", "s[a-d]tp", "s[!a]tp", "[", "\\", "*?*", "[]a]", "[[:alpha:]]*", "[a-"} {
		f.Add(p, "sctp")
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if Match(pattern, s) && !Match(pattern+"*", s) {
			t.Fatalf("%q matches %q, but not with a star after it", pattern, s)
		}
		// A pattern without specials matches itself and nothing else.
		if !strings.ContainsAny(pattern, `*?[\`) && Match(pattern, s) != (pattern == s) {
			t.Fatalf("%q against %q", pattern, s)
		}
		if !Match("*", s) || !Match(strings.Repeat("?", len(s)), s) {
			t.Fatalf("wildcards do not match %q", s)
		}
		quoted := regexpMeta.Replace(s)
		if !Match(quoted, s) {
			t.Fatalf("%q does not match %q", quoted, s)
		}
	})
}

var regexpMeta = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)
