package kmod_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// TestUnused goes through what people write in vain, and what looks like it and
// is not: an empty want means no finding. A want is FILE:LINE and a part of the
// reason.
func TestUnused(t *testing.T) {
	const conf, load = "etc/modprobe.d/x.conf", "etc/modules-load.d/x.conf"
	for name, tc := range map[string]struct {
		entries []hostcase.Entry
		cmdline string
		want    []string
	}{
		"misspelt keyword":           {entries: []hostcase.Entry{file(conf, "# why\nblackist sctp\n")}, want: []string{"/etc/modprobe.d/x.conf:2 \"blackist\" is not a directive"}},
		"keyword of another program": {entries: []hostcase.Entry{file(conf, "denylist sctp\n")}, want: []string{"/etc/modprobe.d/x.conf:1 \"denylist\" is not a directive"}},
		"capitals":                   {entries: []hostcase.Entry{file(conf, "Blacklist sctp\n")}, want: []string{"/etc/modprobe.d/x.conf:1 \"Blacklist\" is not a directive"}},
		"no directive":               {entries: []hostcase.Entry{file(conf, "sctp\n")}, want: []string{"/etc/modprobe.d/x.conf:1 it has no directive"}},
		"byte-order mark":            {entries: []hostcase.Entry{file(conf, "\ufeffblacklist sctp\n")}, want: []string{"/etc/modprobe.d/x.conf:1 byte-order mark"}},
		"incomplete":                 {entries: []hostcase.Entry{file(conf, "install sctp\n")}, want: []string{"/etc/modprobe.d/x.conf:1 incomplete"}},
		"missing blank":              {entries: []hostcase.Entry{file(conf, "install sctp/bin/false\n")}, want: []string{"/etc/modprobe.d/x.conf:1 a blank is missing"}},
		"DOS text":                   {entries: []hostcase.Entry{file(conf, "blacklist sctp\r\n")}, want: []string{"/etc/modprobe.d/x.conf:1 carriage return"}},
		"file name":                  {entries: []hostcase.Entry{file(conf, "blacklist sctp.ko\n")}, want: []string{"/etc/modprobe.d/x.conf:1 compared exactly"}},
		"quotes":                     {entries: []hostcase.Entry{file(conf, "blacklist \"sctp\"\n")}, want: []string{"/etc/modprobe.d/x.conf:1 compared exactly"}},
		"capital name":               {entries: []hostcase.Entry{file(conf, "install SCTP /bin/false\n")}, want: []string{"/etc/modprobe.d/x.conf:1 compared exactly"}},
		"comment without a blank":    {entries: []hostcase.Entry{file(conf, "blacklist sctp#off\n")}, want: []string{"/etc/modprobe.d/x.conf:1 compared exactly"}},
		"one letter wrong":           {entries: []hostcase.Entry{file(conf, "blacklist stcp\n")}, want: []string{"/etc/modprobe.d/x.conf:1 there is no module \"stcp\""}},
		"shadowed":                   {entries: []hostcase.Entry{file("lib/modprobe.d/x.conf", "blacklist sctp\n"), file(conf, "blacklist dummy\n")}, want: []string{"/lib/modprobe.d/x.conf:1 takes the whole file's place"}},
		"no suffix":                  {entries: []hostcase.Entry{file("etc/modprobe.d/sctp", "blacklist sctp\n")}, want: []string{"/etc/modprobe.d/sctp:1 do not end in .conf"}},

		"request with a comment":                  {entries: []hostcase.Entry{file(load, "sctp # for the core network\n")}, want: []string{"/etc/modules-load.d/x.conf:1 a comment cannot follow"}},
		"request glued to one":                    {entries: []hostcase.Entry{file(load, "sctp#x\n")}, want: []string{"/etc/modules-load.d/x.conf:1 a comment cannot follow"}},
		"request with options":                    {entries: []hostcase.Entry{file(load, "sctp rto_min=1\n")}, want: []string{"/etc/modules-load.d/x.conf:1 nothing else"}},
		"request of a command":                    {entries: []hostcase.Entry{file(load, "modprobe sctp\n")}, want: []string{"/etc/modules-load.d/x.conf:1 nothing else"}},
		"request among others on a line":          {entries: []hostcase.Entry{file(load, "overlay br_netfilter sctp\ndummy,sctp\ndummy # not sctp\ndummy x # sctp\n")}, want: []string{"/etc/modules-load.d/x.conf:1 nothing else", "/etc/modules-load.d/x.conf:2 nothing else"}},
		"request of a file":                       {entries: []hostcase.Entry{file(load, "sctp.ko\n")}, want: []string{"/etc/modules-load.d/x.conf:1 compared exactly"}},
		"request, shadowed":                       {entries: []hostcase.Entry{file("usr/lib/modules-load.d/x.conf", "sctp\n"), file(load, "dummy\n")}, want: []string{"/usr/lib/modules-load.d/x.conf:1 takes the whole file's place"}},
		"request without suffix":                  {entries: []hostcase.Entry{file("etc/modules-load.d/sctp", "sctp\n")}, want: []string{"/etc/modules-load.d/sctp:0 do not end in .conf"}},
		"argument of no program":                  {cmdline: "ro modprobe_blacklist=sctp", want: []string{"/proc/cmdline:1 no program knows this parameter"}},
		"argument of the initrd":                  {cmdline: "rd.driver.blacklist=sctp", want: []string{"/proc/cmdline:1 initial RAM disk only"}},
		"argument of the initrd that outlives it": {entries: []hostcase.Entry{file("run/modprobe.d/initramfsblacklist.conf", "blacklist sctp\n")}, cmdline: "rd.driver.blacklist=sctp"},
		"argument in quotes":                      {cmdline: `modprobe.blacklist="sctp"`, want: []string{"/proc/cmdline:1 literally"}},
		"argument after the end":                  {cmdline: "-- module_blacklist=sctp", want: []string{"/proc/cmdline:1 the kernel's list in force does not name sctp"}},
		"all of it has an effect":                 {entries: []hostcase.Entry{file(conf, "blacklist sctp # off\n"), file(load, "sctp\n")}, cmdline: "modprobe.blacklist=sctp module_blacklist=sctp"},
		"other modules' affairs":                  {entries: []hostcase.Entry{file(conf, "blackist dummy\nblacklist sctp_diag\nblacklist libcrc32c\n#blacklist sctp\n # sctp is off\n"), file(load, "dummy # x\n")}},
		"turned off on purpose":                   {entries: []hostcase.Entry{file("lib/modprobe.d/x.conf", "blacklist sctp\n"), file(conf, "# off\n"), file("etc/modprobe.d/sctp.conf.rpmsave", "blacklist sctp\n")}},
	} {
		t.Run(name, func(t *testing.T) {
			root, opts := host(t, tc.entries...)
			if err := os.WriteFile(filepath.Join(root, "proc/cmdline"), []byte(tc.cmdline+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			// As for a user who may not read it: the command line decides.
			if err := os.Remove(filepath.Join(root, "sys/module/kernel/parameters/module_blacklist")); err != nil {
				t.Fatal(err)
			}
			ins := inspect(t, opts)
			var got []string
			for _, f := range ins.Findings {
				if f.Kind == kmod.FindingUnused {
					e := f.Evidence[0]
					got = append(got, fmt.Sprintf("%s:%d %s", e.File, e.Line, e.Effect))
				}
			}
			if len(got) != len(tc.want) {
				t.Fatalf("findings %q", got)
			}
			for i, want := range tc.want {
				place, why, _ := strings.Cut(want, " ")
				if !strings.HasPrefix(got[i], place+" ") || !strings.Contains(got[i], why) {
					t.Errorf("got %q, want %q", got[i], want)
				}
			}
		})
	}
}

// TestConflict holds the sentence for the case that users meet most to the
// letter: the file and line that disable the module, and those that ask for it.
func TestConflict(t *testing.T) {
	shipped := file("etc/modprobe.d/sctp-blacklist.conf", "# This kernel module can be automatically loaded by non-root users.\n#\nblacklist sctp\n")
	asks := file("etc/modules-load.d/sctp-load.conf", "sctp")
	for name, tc := range map[string]struct {
		entries []hostcase.Entry
		cmdline string
		want    string
	}{
		"a blacklist": {entries: []hostcase.Entry{shipped, asks},
			want: `/etc/modprobe.d/sctp-blacklist.conf:3 ("blacklist sctp") disables sctp, although /etc/modules-load.d/sctp-load.conf:1 ("sctp") asks for it at boot`},
		"an install command": {entries: []hostcase.Entry{file("etc/modprobe.d/cis.conf", "\ninstall sctp /bin/false\n"), asks, file("bin/false", "")},
			want: `/etc/modprobe.d/cis.conf:2 ("install sctp /bin/false") disables sctp, although /etc/modules-load.d/sctp-load.conf:1 ("sctp") asks for it at boot`},
		"asked for by the command line": {entries: []hostcase.Entry{shipped}, cmdline: "ro modules_load=dummy,sctp",
			want: `/etc/modprobe.d/sctp-blacklist.conf:3 ("blacklist sctp") disables sctp, although /proc/cmdline:1 ("modules_load=dummy,sctp") asks for it at boot`},
		"stopped by the command line": {entries: []hostcase.Entry{asks}, cmdline: "modprobe.blacklist=dccp,sctp quiet",
			want: `/proc/cmdline:1 ("modprobe.blacklist=dccp,sctp") disables sctp, although /etc/modules-load.d/sctp-load.conf:1 ("sctp") asks for it at boot`},
		"nothing asks":  {entries: []hostcase.Entry{shipped}},
		"nothing stops": {entries: []hostcase.Entry{asks, file("etc/modprobe.d/sctp-blacklist.conf", "")}},
	} {
		t.Run(name, func(t *testing.T) {
			root, opts := host(t, tc.entries...)
			if err := os.WriteFile(filepath.Join(root, "proc/cmdline"), []byte(tc.cmdline+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, f := range inspect(t, opts).Findings {
				if f.Kind == kmod.FindingConflict {
					got += f.Message
				}
			}
			if got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// Evidence as in every output and log.
func TestEvidenceString(t *testing.T) {
	for want, e := range map[string]kmod.Evidence{
		"/etc/modprobe.d/x.conf:3: blacklist sctp":        {File: "/etc/modprobe.d/x.conf", Line: 3, Text: " blacklist sctp ", Effect: "stops loading"},
		"/proc/cmdline:1: module_blacklist=sctp":          {File: "/proc/cmdline", Line: 1, Text: "module_blacklist=sctp"},
		"/lib/modules/6.1.0: is not there":                {File: "/lib/modules/6.1.0", Effect: "is not there"},
		"/etc/modprobe.d/x.conf:1: is longer than a line": {File: "/etc/modprobe.d/x.conf", Line: 1, Effect: "is longer than a line"},
		"/proc/sys/kernel/modules_disabled":               {File: "/proc/sys/kernel/modules_disabled"},
	} {
		if got := e.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
