package kmod

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNotLookedAt: what docs/contract.md lists as not looked at for onBoot is not
// read by any code.
func TestNotLookedAt(t *testing.T) {
	contract, err := os.ReadFile("../../docs/contract.md")
	if err != nil {
		t.Fatal(err)
	}
	code := ""
	loader, err := filepath.Glob("../../internal/bootloader/*.go")
	if err != nil || len(loader) == 0 {
		t.Fatal(loader, err)
	}
	for _, file := range append(loader, "nextboot.go", "sysctld.go", "paths.go", "gather.go", "cmdline_systemd.go") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if !strings.HasPrefix(strings.TrimSpace(line), "//") {
				line, _, _ = strings.Cut(line, " // ")
				code += line
			}
		}
	}
	_, list, ok := strings.Cut(string(contract), "Not looked at for `onBoot`:")
	list, _, _ = strings.Cut(list, "\n\n")
	for _, name := range []string{"initramfs", "tmpfiles.d"} {
		if !ok || !strings.Contains(list, name) {
			t.Errorf("the contract does not list %s as not looked at", name)
		}
		if strings.Contains(code, name) {
			t.Errorf("the contract lists %s as not looked at, and the code has it", name)
		}
	}
}

// TestSysctl: lines of sysctl.d as systemd-sysctl reads them, and values as the
// kernel reads them.
func TestSysctl(t *testing.T) {
	for text, want := range map[string]bool{
		"kernel.modules_disabled = 1":                              true,
		"kernel/modules_disabled=1":                                true,
		"-kernel.modules_disabled=1":                               true,
		" - kernel.modules_disabled = 1 ":                          true,
		"# kernel.modules_disabled = 1":                            false,
		"; kernel.modules_disabled = 1":                            false,
		"kernel.modules_disabled = 1\nkernel.modules_disabled=0":   false,
		"kernel.modules_disabled":                                  false,
		"kernel.modules_disabled2=1":                               false,
		"net.ipv4.conf.a/b.x=1\nkernel.modules_disabled=1 # x":     true,
		"kernel.modules_disabled=1x":                               false,
		"kernel.modules_disabled=0x1":                              true,
		"kernel.modules_*=1":                                       true,
		"kernel.modules_*=1\nkernel.modules_disabled=0":            false,
		"kernel.modules_*=1\n-kernel.modules_disabled":             false,
		"kernel.*=1\r-kernel.x":                                    true,
		"*.modules_disabled=1":                                     true,
		"*=1":                                                      false,
		"kernel.modules\\_disabled=1":                              false,
		"kernel.modules_disabled=\\\n1":                            false,
		"kernel..modules_disabled=1":                               true,
		"kernel.modules_disabled=0\x00kernel.modules_disabled = 1": true,
	} {
		h := &host{ctx: t.Context(), work: maxWork}
		var last sysctlLine
		for _, s := range h.sysctlWrites(parseSysctl(nil, "/etc/sysctl.d/x.conf", []byte(text), 252), "kernel/modules_disabled") {
			last = s
		}
		if got := isOne(last.value); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func FuzzSysctl(f *testing.F) {
	f.Add([]byte("-kernel/modprobe = x\nkernel.modules_disabled=1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		lines := 1 + strings.Count(string(data), "\n")
		for _, s := range parseSysctl(nil, "x", data, 252) {
			if s.line < 1 || s.line > lines {
				t.Fatalf("line %d of %d", s.line, lines)
			}
		}
	})
}
