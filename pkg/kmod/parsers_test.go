package kmod

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestKernelBlacklist holds the reading of the kernel command line to what the
// kernel does with it (lib/cmdline.c, kernel/params.c). It serves only where
// the kernel's own result may not be read.
func TestKernelBlacklist(t *testing.T) {
	long := strings.Repeat("x", 1100)
	for line, want := range map[string]string{
		"ro module_blacklist=sctp quiet":                 "sctp",
		"module-blacklist=sctp":                          "sctp",
		"module_blacklist=a,sctp module_blacklist=b":     "b",
		`module_blacklist="sctp"`:                        "sctp",
		`"module_blacklist=a,sctp"`:                      "a,sctp",
		"-- module_blacklist=sctp":                       "",
		"module_blacklist=a -- module_blacklist=sctp":    "a",
		"xmodule_blacklist=sctp":                         "",
		"module_blacklist=sctp\tro":                      "sctp",
		"module_blacklist=sctp module_blacklist=" + long: "sctp",
		"module_blacklist=sctp module_blacklist=":        "",
		"module_blacklist=sctp module_blacklist":         "sctp",
		"module_blacklist":                               "",
		`foo="a module_blacklist=sctp"`:                  "",
	} {
		if got, _ := kernelBlacklist(line); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
	for list, want := range map[string]bool{"sctp": true, "a,sctp": true, "sctp,b": true, "sctpx": false, "a,xsctp": false, "": false, "SCTP": false} {
		if got := deniedByKernel(list, "sctp"); got != want {
			t.Errorf("list %q: %v", list, got)
		}
	}
}

// TestInitcallToken: as init/main.c has it, all tokens count, and the names are
// those of functions.
func TestInitcallToken(t *testing.T) {
	for line, want := range map[string]string{
		"ro initcall_blacklist=sctp_init quiet":                 "initcall_blacklist=sctp_init",
		"initcall-blacklist=a,sctp_init":                        "initcall-blacklist=a,sctp_init",
		"initcall_blacklist=sctp_init initcall_blacklist=":      "initcall_blacklist=sctp_init",
		"initcall_blacklist=a initcall_blacklist=sctp_init,b":   "initcall_blacklist=sctp_init,b",
		`initcall_blacklist="sctp_init"`:                        `initcall_blacklist="sctp_init"`,
		"initcall_blacklist=sctp":                               "",
		"initcall_blacklist=sctp_init_x,xsctp_init":             "",
		"initcall_blacklist= sctp_init":                         "",
		"initcall_blacklist sctp_init":                          "",
		"-- initcall_blacklist=sctp_init":                       "",
		`foo="a initcall_blacklist=sctp_init"`:                  "",
		"sctp.initcall_blacklist=sctp_init rd.blacklist=a_init": "",
	} {
		if got := initcallToken(line, "sctp_init"); got != want {
			t.Errorf("%q: token %q, want %q", line, got, want)
		}
	}
	if got := initcallToken("initcall_blacklist=", ""); got != "" {
		t.Errorf("a module of which no function is known: token %q", got)
	}
}

// TestModulesLoadLines covers systemd 239 (RHEL 8), which no Debian release has
// for the oracle, besides the later reader.
func TestModulesLoadLines(t *testing.T) {
	long := strings.Repeat("x", 3000)
	for _, tc := range []struct {
		text   string
		v239   string
		v252   string
		reason string
	}{
		{"sctp\r\n", "1:sctp", "1:sctp", "blanks at the ends go"},
		{"a\rsctp\nb", "1:a\rsctp 2:b", "1:a 1:sctp 2:b", "only the later one ends lines at a carriage return"},
		{"a\x00sctp\nb", "1:a 2:b", "1:a 1:sctp 2:b", "a NUL hides the rest from fgets"},
		{"\n;x\n #y\n z ", "4:z", "4:z", "comments, also indented"},
		{long, "1:" + long[:2047] + " 1:" + long[2047:], "1:" + long, "fgets has a buffer of 2048"},
	} {
		for version, want := range map[int]string{239: tc.v239, 252: tc.v252} {
			var got []string
			for _, l := range modulesLoadLines([]byte(tc.text), version) {
				got = append(got, fmt.Sprintf("%d:%s", l.number, l.text))
			}
			if s := strings.Join(got, " "); s != want {
				t.Errorf("systemd %d, %q: got %q, want %q (%s)", version, tc.text, s, want, tc.reason)
			}
		}
	}
}

func TestShellWords(t *testing.T) {
	for command, want := range map[string]string{
		"/bin/true":                        "/bin/true",
		"/bin/true # why; not":             "/bin/true",
		"echo 'a b'; false":                "echo|a b|;|false",
		"a>/dev/null":                      "?", // a redirection sticks to the word before it
		"a >/dev/null 2>&1 && b || c":      "a|>/dev/null|2>&1|&&|b||||c",
		"a >/dev/kmsg; b 1>> /dev/console": "a|>/dev/kmsg|;|b|1>> /dev/console",
		"a >/dev/kmsg.x":                   "?",
		"a >/dev/sda":                      "?",
		"(a;b)>/dev/null":                  "(|a|;|b|)|>/dev/null",
		"! { a}; }":                        "?",
		"! { a; };":                        "!|{|a|;|}|;",
		"a | b":                            "?",
		"a & b":                            "?",
		"$(x)":                             "?",
		`"a$b" c$1`:                        "a\x00|c\x00",
		`"a$(b)"`:                          "?",
		"a\nb":                             "?",
		"/bin/true;/bin/false":             "/bin/true|;|/bin/false",
		"modprobe -i sctp x=\"1 2\" # ":    "modprobe|-i|sctp|x=1 2",
	} {
		words, ok := shellWords(command)
		got := "?"
		if ok {
			var texts []string
			for _, w := range words {
				texts = append(texts, w.text)
			}
			got = strings.Join(texts, "|")
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", command, got, want)
		}
	}
}

// TestPrintable: any bytes can be in a configuration, and none may spoil a terminal
// or a report.
func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"blacklist\tsctp\r": `blacklist sctp\r`,
		"\x1b[2J\x00\xff":   `\u001b[2J\u0000\ufffd`,
		"\ufeffblacklist":   `\ufeffblacklist`,
		"größe":             "größe",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	if got := printable(strings.Repeat("é", 1000)); len(got) > maxText+8 || !strings.HasSuffix(got, "…") {
		t.Errorf("%d bytes", len(got))
	}
}

// TestRuleChanges: every version at which a rule changes is tried when the version
// is not known.
func TestRuleChanges(t *testing.T) {
	for v := 26; v <= latestKmod+2; v++ {
		if !slices.Equal(modprobeDirs(v), modprobeDirs(v-1)) && !slices.Contains(kmodRuleChanges, v) {
			t.Errorf("kmod %d reads other directories and is not tried", v)
		}
	}
	for v := earliestSystemd + 1; v < 270; v++ {
		now, before := modulesLoadRule(v), modulesLoadRule(v-1)
		same := slices.Equal(modulesLoadDirs(v), modulesLoadDirs(v-1)) && now.dirMasks == before.dirMasks && now.danglingMasks == before.danglingMasks
		if !same && !slices.Contains(systemdRuleChanges, v) {
			t.Errorf("systemd %d has other rules and is not tried", v)
		}
	}
}

// TestDirectories: the lists by version, as the tags of kmod and systemd have
// them (docs/how-it-works/kmod.md).
func TestDirectories(t *testing.T) {
	for kmod, want := range map[int]string{
		25: "/etc /run /lib", 28: "/etc /run /lib",
		29: "/etc /run /usr/local/lib /lib", 31: "/etc /run /usr/local/lib /lib",
		32: "/etc /run /usr/local/lib /usr/lib /lib", 34: "/etc /run /usr/local/lib /usr/lib /lib",
	} {
		if got := strings.ReplaceAll(strings.Join(modprobeDirs(kmod), " "), "/modprobe.d", ""); got != want {
			t.Errorf("kmod %d: %s, want %s", kmod, got, want)
		}
	}
	for systemd, want := range map[int]string{
		239: "/etc /run /usr/local/lib /usr/lib /lib", 252: "/etc /run /usr/local/lib /usr/lib /lib",
		253: "/etc /run /usr/local/lib /usr/lib",
	} {
		if got := strings.ReplaceAll(strings.Join(modulesLoadDirs(systemd), " "), "/modules-load.d", ""); got != want {
			t.Errorf("systemd %d: %s, want %s", systemd, got, want)
		}
	}
}
