package kmod

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
)

// Every parser takes any bytes, ends, and keeps to what its callers rely on.
// The seeds are the lines people write and the ones that broke something.

func seedTexts(f *testing.F, add func(text string)) {
	f.Helper()
	names, err := filepath.Glob("testdata/cases/*.case")
	if err != nil || len(names) == 0 {
		f.Fatalf("no cases: %v", err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		c, err := hostcase.Parse(bytes.NewReader(text))
		if err != nil {
			f.Fatal(err)
		}
		for _, e := range c.Entries {
			add(e.Content)
		}
		add(c.Cmdline)
	}
}

func FuzzModprobeFile(f *testing.F) {
	seedTexts(f, func(text string) { f.Add([]byte(text), 30) })
	f.Add([]byte("black\\\nlist sctp\n\\"), 28)
	f.Add([]byte("# comment \\\nblacklist sctp\x00x\r\n"), 34)
	f.Add([]byte("softdep sctp  pre: a post: b c\nalias [a- b\ninstall x\t\n"), 33)
	f.Fuzz(func(t *testing.T, data []byte, kmod int) {
		p := &policy{kmod: kmod}
		p.parseModprobeFile("/etc/modprobe.d/x.conf", data)
		lines := 1 + bytes.Count(data, []byte("\n"))
		check := func(s source) {
			if s.line < 1 || s.line > lines {
				t.Fatalf("line %d of %d", s.line, lines)
			}
			if len(printable(s.text)) > maxText+16 {
				t.Fatal("unbounded text")
			}
		}
		rules := len(p.blacklists) + len(p.installs) + len(p.removes) + len(p.aliases) + len(p.softdeps) + len(p.ignored) + p.others
		if rules > lines {
			t.Fatalf("%d rules from %d lines", rules, lines)
		}
		for _, b := range p.blacklists {
			check(b.source)
			if b.name == "" || strings.ContainsAny(b.name, " \t\n\x00") {
				t.Fatalf("name %q", b.name)
			}
		}
		for _, s := range p.softdeps {
			check(s.source)
			if slices.Contains(s.pre, "") || slices.Contains(s.post, "") {
				t.Fatal("an empty soft dependency")
			}
		}
		for _, i := range p.ignored {
			check(i)
		}
	})
}

func FuzzModulesLoadFile(f *testing.F) {
	seedTexts(f, func(text string) { f.Add([]byte(text), 252) })
	f.Add([]byte("sctp\r\n\r\x00;x\n # y\nz"), 247)
	f.Add(bytes.Repeat([]byte("x"), 5000), 239)
	f.Fuzz(func(t *testing.T, data []byte, systemd int) {
		last := 0
		for _, l := range modulesLoadLines(data, systemd) {
			if l.number < last || l.number > 1+bytes.Count(data, []byte("\n")) {
				t.Fatalf("line number %d after %d", l.number, last)
			}
			last = l.number
			if l.text == "" || strings.ContainsAny(l.text, "\n\x00") || strings.ContainsAny(l.text[:1], "#; \t") {
				t.Fatalf("%q is no name", l.text)
			}
		}
	})
}

func FuzzCmdline(f *testing.F) {
	seedTexts(f, func(text string) { f.Add(text) })
	f.Add(`"modprobe.blacklist=a,sctp,b" modules_load='sc'tp -- module_blacklist="sctp`)
	f.Add("modprobe.blacklist=x=sctp rd.modprobe.blacklist=sctp\tmodules-load=a\\,b")
	f.Fuzz(func(t *testing.T, line string) {
		for _, version := range []int{25, 28, 29, 34} {
			p := &policy{kmod: version}
			p.parseKmodCmdline(line)
			for _, b := range p.blacklists {
				if !strings.Contains(line, strings.Trim(b.name, `"`)) {
					t.Fatalf("kmod %d: %q is not in the line", version, b.name)
				}
			}
		}
		value, token := kernelBlacklist(line)
		if len(value) > maxCharp || !strings.Contains(line, token) {
			t.Fatalf("value %q, token %q", value, token)
		}
		for _, token := range []string{noModuleToken(line), initcallToken(line, "sctp_init")} {
			if !strings.Contains(line, token) {
				t.Fatalf("token %q", token)
			}
		}
		for _, version := range []int{239, 252} {
			requests, _ := systemdModulesLoad(procCmdline, line, version)
			for _, r := range requests {
				if r.name == "" || strings.Contains(r.name, ",") && !strings.Contains(line, `\`) {
					t.Fatalf("systemd %d: %q", version, r.name)
				}
			}
		}
	})
}

// FuzzDepline takes the values of modules.dep.bin.
func FuzzDepline(f *testing.F) {
	f.Add("kernel/net/sctp/sctp.ko.xz: kernel/lib/libcrc32c.ko.xz\tkernel/net/ipv4/udp_tunnel.ko")
	f.Add("/lib/modules/x/a-b.ko.zst:")
	f.Add(":: : /")
	f.Add("no colon")
	f.Fuzz(func(t *testing.T, line string) {
		h := &host{ctx: t.Context(), work: maxWork, moddir: "/lib/modules/x"}
		m := h.parseDepline(line)
		if (m.file == "") == strings.Contains(line, ":") {
			t.Fatalf("file %q", m.file)
		}
		if len(m.needs) > len(line) {
			t.Fatalf("%d files", len(m.needs))
		}
		for _, need := range m.needs {
			if !strings.HasPrefix(need.file, "/") || strings.ContainsAny(need.file, " \t") || strings.ContainsAny(need.name, "-.") {
				t.Fatalf("needs %+v", need)
			}
		}
	})
}

// FuzzKernelFiles takes /proc/modules and /proc/stat, which need not be the
// kernel's own (Options.Proc).
func FuzzKernelFiles(f *testing.F) {
	f.Add("libcrc32c 16384 2 sctp,nf_tables, Live 0x0000000000000000\nsctp 401408 2 - Live 0x0 (OE)\n")
	f.Add("sctp 401408 2 - Unloading\nsctp 1 2 3")
	f.Add("cpu 1 2 3\nbtime 1700000000\nprocesses 3\n")
	f.Add("btime -99999999999999999999\nbtime 7")
	f.Fuzz(func(t *testing.T, text string) {
		if s, _ := listedState(text, "sctp"); s != StateAbsent && !strings.Contains(text, "sctp") {
			t.Fatalf("state %s", s)
		}
		if at := bootTime(text); !at.IsZero() && !strings.Contains(text, "btime ") {
			t.Fatalf("booted %v", at)
		}
	})
}

func FuzzInstallCommand(f *testing.F) {
	for _, c := range []string{"/bin/true", "/bin/false # off", "exit 3", "modprobe -i sctp || true", "echo 'a b' >/dev/null 2>&1; false", "`x`", "a && ", ";", "'", "$CMDLINE_OPTS", "! { a; (b)>/dev/null } || exec c"} {
		f.Add(c)
	}
	f.Fuzz(func(t *testing.T, command string) {
		words, ok := shellWords(command)
		if !ok {
			return
		}
		parser := shellParser{words: words}
		if parser.list(""); !parser.bad && !parser.unknown && len(parser.words) > 0 {
			t.Fatalf("%q is not read to its end", command)
		}
		for _, w := range words {
			if !w.operator && strings.ContainsAny(w.text, "\n") && !strings.ContainsAny(command, `'"`) {
				t.Fatalf("%q has the word %q", command, w.text)
			}
		}
	})
}

func FuzzVersions(f *testing.F) {
	f.Add("ID=\"rhcos\"\nID_LIKE=\"rhel fedora\"\nVERSION_ID=\"4.16\"\nRHEL_VERSION=9.4\nPRETTY_NAME='x'\n")
	f.Fuzz(func(t *testing.T, text string) {
		os := parseOSRelease([]byte(text))
		if len(os.pretty) > maxText+16 {
			t.Fatal("unbounded name")
		}
		os.versionsByRelease()
	})
}
