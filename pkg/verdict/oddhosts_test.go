package verdict_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// strangeHost is a whole host with something odd about it. want is what may be said of
// it: the values of onBoot, or fields and what they are ("autoload=false"), have
// ("remedy~=reboot") or lack ("commands~!=modprobe"), between semicolons. Where the
// files do not tell, "unknown" is among the values.
type strangeHost struct {
	name string
	c    *hostcase.Case
	want string
}

// TestStrangeHosts: what administrators, packages and other distributions leave of a
// host is never judged wrongly with certainty. Each is what systemd.unit(5),
// systemd-system.conf(5), kernel-command-line(7), modprobe(8), grub-mkconfig and the
// kernel's kernel/module/kmod.c and umh.c make of it.
func TestStrangeHosts(t *testing.T) {
	for _, x := range strangeHosts() {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			facts := verdict.Facts{Node: "worker-0"}
			facts.Inspection, facts.InspectionError = kmod.Inspect(t.Context(), kmod.Options{
				FS: x.c.FS(), KernelRelease: x.c.Want["release"], KmodVersion: x.c.Kmod, SystemdVersion: x.c.Systemd,
			}, kmod.SCTP())
			if facts.InspectionError != nil {
				t.Fatal(facts.InspectionError)
			}
			if facts.Inspection.State.InKernel() {
				facts.Probe = result.Result{Attempted: true, Checks: []result.Check{{Name: result.CheckIPv4Stream, Result: result.OutcomePass, Required: true}}}
			}
			r := verdict.Judge(facts)
			is := map[string]string{
				"onboot": string(r.OnBoot), "autoload": string(r.Policy.Autoload.Allowed), "modprobe": string(r.Policy.Modprobe.Allowed),
				"boot": string(r.Policy.ModulesLoad.Allowed), "reason": string(r.Reason), "platform": r.Host.Platform, "remedy": r.Remedy,
			}
			for _, s := range r.Remedies {
				is["commands"] += s.Command + "\n"
			}
			for _, w := range r.Warnings {
				is["warnings"] += string(w.Reason) + ": " + w.Message + "\n"
			}
			for want := range strings.SplitSeq(x.want, ";") {
				key, value, ok := strings.Cut(want, "=")
				if !ok {
					key, value = "onboot", want
				}
				switch name, how, _ := strings.Cut(key, "~"); {
				case key == name:
					ok = slices.Contains(strings.Split(value, "|"), is[key])
				case how == "!":
					ok = !strings.Contains(is[name], value)
				default:
					ok = strings.Contains(is[name], value)
				}
				if !ok {
					t.Errorf("want %s; is %q\n%s", want, is, x.c.Format())
				}
			}
		})
	}
}

const elf = "\x7fELF stub "

func file(p, c string) hostcase.Entry {
	return hostcase.Entry{Kind: hostcase.File, Path: p, Content: c}
}
func link(p, c string) hostcase.Entry {
	return hostcase.Entry{Kind: hostcase.Link, Path: p, Content: c}
}
func dir(p string) hostcase.Entry { return hostcase.Entry{Kind: hostcase.Dir, Path: p} }

const release = hostcase.Release
const newer = "5.14.0-611.el9.x86_64"
const newest = "5.14.0-700.el9.x86_64"

const modulesLoadUnit = "[Unit]\nDescription=Load Kernel Modules\nDefaultDependencies=no\nConflicts=shutdown.target\nBefore=sysinit.target shutdown.target\nConditionCapability=CAP_SYS_MODULE\nConditionDirectoryNotEmpty=|/lib/modules-load.d\nConditionDirectoryNotEmpty=|/usr/lib/modules-load.d\nConditionDirectoryNotEmpty=|/usr/local/lib/modules-load.d\nConditionDirectoryNotEmpty=|/etc/modules-load.d\nConditionDirectoryNotEmpty=|/run/modules-load.d\nConditionKernelCommandLine=|modules-load\nConditionKernelCommandLine=|modules_load\nConditionKernelCommandLine=|rd.modules-load\nConditionKernelCommandLine=|rd.modules_load\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/lib/systemd/systemd-modules-load\nTimeoutSec=90s\n"

func kmodFiles() []hostcase.Entry {
	return []hostcase.Entry{
		link("sbin", "usr/sbin"), link("bin", "usr/bin"),
		file("usr/bin/kmod", elf+"kmod version 30\n"), link("usr/sbin/modprobe", "../bin/kmod"), link("usr/sbin/insmod", "../bin/kmod"),
		file("usr/bin/sh", elf), file("usr/bin/bash", elf), file("usr/bin/true", elf), file("usr/bin/false", elf), file("usr/bin/logger", elf), file("usr/bin/env", elf),
	}
}

func systemdFiles() []hostcase.Entry {
	const s = "usr/lib/systemd/system/"
	return []hostcase.Entry{
		file("usr/lib/systemd/systemd", elf), link("usr/sbin/init", "../lib/systemd/systemd"),
		file("usr/lib/systemd/systemd-modules-load", elf), file("usr/lib/systemd/systemd-journald", elf), file("usr/lib/systemd/systemd-sysctl", elf),
		file(s+"systemd-modules-load.service", modulesLoadUnit), link(s+"sysinit.target.wants/systemd-modules-load.service", "../systemd-modules-load.service"),
		file(s+"systemd-sysctl.service", "[Unit]\nDefaultDependencies=no\nConflicts=shutdown.target\nAfter=systemd-modules-load.service\nBefore=sysinit.target shutdown.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/lib/systemd/systemd-sysctl\n"),
		link(s+"sysinit.target.wants/systemd-sysctl.service", "../systemd-sysctl.service"),
		file(s+"sysinit.target", "[Unit]\nConflicts=emergency.service emergency.target\nWants=local-fs.target swap.target\nAfter=local-fs.target swap.target emergency.service emergency.target\n"),
		file(s+"local-fs.target", "[Unit]\nDefaultDependencies=no\nConflicts=shutdown.target\n"), file(s+"swap.target", "[Unit]\n"),
		file(s+"shutdown.target", "[Unit]\nDefaultDependencies=no\n"),
		file(s+"basic.target", "[Unit]\nRequires=sysinit.target\nAfter=sysinit.target sockets.target paths.target slices.target tmp.mount\nWants=sockets.target timers.target paths.target slices.target\n"),
		file(s+"sockets.target", "[Unit]\n"), file(s+"timers.target", "[Unit]\n"), file(s+"paths.target", "[Unit]\n"), file(s+"slices.target", "[Unit]\n"),
		file(s+"multi-user.target", "[Unit]\nRequires=basic.target\nConflicts=rescue.service rescue.target\nAfter=basic.target rescue.service rescue.target\nAllowIsolate=yes\n"),
		file(s+"graphical.target", "[Unit]\nRequires=multi-user.target\nWants=display-manager.service\nConflicts=rescue.service rescue.target\nAfter=multi-user.target rescue.service rescue.target display-manager.service\nAllowIsolate=yes\n"),
		file(s+"rescue.target", "[Unit]\nRequires=sysinit.target rescue.service\nAfter=sysinit.target rescue.service\nAllowIsolate=yes\n"),
		file(s+"rescue.service", "[Unit]\nDefaultDependencies=no\nConflicts=shutdown.target\nAfter=sysinit.target plymouth-start.service\nBefore=shutdown.target\n[Service]\nEnvironment=HOME=/root\nWorkingDirectory=-/root\nExecStart=-/usr/lib/systemd/systemd-sulogin-shell rescue\nType=idle\n"),
		file(s+"emergency.target", "[Unit]\nRequires=emergency.service\nAfter=emergency.service\nAllowIsolate=yes\n"),
		link(s+"default.target", "graphical.target"),
		file(s+"modprobe@.service", "[Unit]\nDescription=Load Kernel Module %i\nDefaultDependencies=no\nBefore=sysinit.target\nDocumentation=man:modprobe(8)\nConditionCapability=CAP_SYS_MODULE\nStartLimitIntervalSec=0\n\n[Service]\nType=oneshot\nExecStart=-/sbin/modprobe -abq %i\n"),
	}
}

func whole(extra ...hostcase.Entry) *hostcase.Case {
	c := &hostcase.Case{Kmod: 30, Systemd: 252, Want: map[string]string{}}
	c.Entries = slices.Concat(kmodFiles(), systemdFiles(), extra)
	c.Modules = []hostcase.Module{{Name: "libcrc32c", File: "kernel/lib/libcrc32c.ko"}, {Name: "sctp", File: "kernel/net/sctp/sctp.ko", Needs: []string{"libcrc32c"}}}
	c.Aliases = []hostcase.Alias{{Pattern: "net_pf_2_proto_132", Name: "sctp"}, {Pattern: "net_pf_10_proto_132", Name: "sctp"}}
	return c
}

var requested = file("etc/modules-load.d/sctp.conf", "sctp\n")
var blacklisted = file("etc/modprobe.d/b.conf", "blacklist sctp\n")

func with(c *hostcase.Case, change func(*hostcase.Case)) *hostcase.Case { change(c); return c }
func helper(h string, extra ...hostcase.Entry) *hostcase.Case {
	return with(whole(extra...), func(c *hostcase.Case) { c.Helper = h })
}
func cmdline(s string, extra ...hostcase.Entry) *hostcase.Case {
	return with(whole(extra...), func(c *hostcase.Case) {
		c.Cmdline = s + "\n"
		for _, w := range strings.Fields(s) {
			if v, ok := strings.CutPrefix(w, "module_blacklist="); ok {
				c.Denied = v
			}
			c.ModulesDisabled = c.ModulesDisabled || w == "nomodule" || w == "sysctl.kernel.modules_disabled=1"
		}
	})
}
func without(c *hostcase.Case, paths ...string) *hostcase.Case {
	c.Entries = slices.DeleteFunc(c.Entries, func(e hostcase.Entry) bool {
		return slices.ContainsFunc(paths, func(p string) bool { return e.Path == p || strings.HasPrefix(e.Path, p+"/") })
	})
	return c
}
func replace(c *hostcase.Case, e hostcase.Entry) *hostcase.Case {
	without(c, e.Path)
	c.Entries = append(c.Entries, e)
	return c
}
func unit(body string, extra ...hostcase.Entry) *hostcase.Case {
	return whole(append(extra, file("etc/systemd/system/load-sctp.service", body), link("etc/systemd/system/multi-user.target.wants/load-sctp.service", "/etc/systemd/system/load-sctp.service"))...)
}
func oneshot(exec string, extra ...hostcase.Entry) *hostcase.Case {
	return unit("[Unit]\nDescription=x\n[Service]\nType=oneshot\nRemainAfterExit=yes\n"+exec+"\n[Install]\nWantedBy=multi-user.target\n", extra...)
}
func dropin(text string, extra ...hostcase.Entry) *hostcase.Case {
	return whole(append(extra, requested, file("etc/systemd/system/systemd-modules-load.service.d/local.conf", text))...)
}

func strangeHosts() (list []strangeHost) {
	add := func(name string, c *hostcase.Case, want string) { list = append(list, strangeHost{name, c, want}) }
	loaded := func(c *hostcase.Case) *hostcase.Case { c.Live = []string{"libcrc32c", "sctp"}; return c }
	of := func(text string, extra ...hostcase.Entry) *hostcase.Case {
		return whole(append(extra, file("usr/lib/os-release", text), link("etc/os-release", "../usr/lib/os-release"))...)
	}
	noSCTP := func(c *hostcase.Case) *hostcase.Case { c.Modules = c.Modules[:1]; c.Aliases = nil; return c }

	add("helper: plain", whole(), "on-demand")
	add("helper: plain asks", whole(requested), "loaded")
	add("helper: disabled", helper("/disabled/modprobe"), "blocked;autoload=false;modprobe=true")
	add("helper: disabled asks", helper("/disabled/modprobe", requested), "loaded;autoload=false")
	add("helper: empty", with(whole(), func(c *hostcase.Case) { c.NoHelper = true }), "blocked;autoload=false")
	add("helper: false", helper("/bin/false"), "blocked;autoload=false")
	add("helper: true", helper("/bin/true"), "blocked;autoload=false")
	add("helper: with option", helper("/sbin/modprobe -b"), "blocked;autoload=false")
	add("helper: trailing blank", helper("/sbin/modprobe "), "blocked;autoload=false")
	add("helper: relative", helper("sbin/modprobe"), "onboot=on-demand|unknown")
	add("helper: usr sbin", helper("/usr/sbin/modprobe"), "on-demand")
	add("helper: kmod itself", helper("/usr/bin/kmod"), "onboot=blocked|unknown")
	add("helper: insmod", helper("/usr/sbin/insmod"), "onboot=blocked|unknown")
	add("helper: link to kmod elsewhere", helper("/opt/x/modprobe", link("opt/x/modprobe", "/usr/bin/kmod")), "on-demand")
	add("helper: copy of kmod elsewhere", helper("/opt/x/modprobe", file("opt/x/modprobe", elf+"kmod version 30\n")), "on-demand")
	add("helper: other program elsewhere", helper("/opt/x/modprobe", file("opt/x/modprobe", elf)), "unknown")
	add("helper: script elsewhere", helper("/opt/x/modprobe", file("opt/x/modprobe", "#!/bin/sh\nexit 0\n")), "onboot=blocked|unknown")
	add("helper: script that mentions kmod version", helper("/opt/x/modprobe", file("opt/x/modprobe", "#!/bin/sh\n# for kmod version 30\nexit 0\n")), "onboot=blocked|unknown")
	add("helper: other name", helper("/opt/x/mymodprobe", link("opt/x/mymodprobe", "/usr/bin/kmod")), "onboot=blocked|unknown")
	add("helper: loop", helper("/opt/x/modprobe", link("opt/x", "/opt/x")), "onboot=blocked|unknown")
	add("helper: through a file", helper("/etc/passwd/modprobe", file("etc/passwd", "x")), "blocked")
	add("helper: null", helper("/dev/null"), "blocked")
	add("helper: a directory", helper("/opt/modprobe", dir("opt/modprobe")), "blocked")
	add("helper: not executable", replace(whole(), file("usr/bin/kmod", "kmod version 30\n")), "blocked;autoload=false")
	add("helper: no interpreter", helper("/opt/x/modprobe", file("opt/x/modprobe", "#!/opt/none\n")), "onboot=blocked|unknown")
	add("helper: kmod gone", without(whole(), "usr/bin/kmod"), "blocked;autoload=false;modprobe=false")
	add("helper: kmod gone asks", without(whole(requested), "usr/bin/kmod"), "loaded;autoload=false")
	add("helper: modprobe gone", without(whole(), "usr/sbin/modprobe"), "blocked;autoload=false;modprobe=false")
	add("helper: only usr/bin modprobe", without(whole(link("usr/bin/modprobe", "kmod")), "usr/sbin/modprobe"), "blocked;autoload=false;modprobe=true")
	add("helper: split sbin", with(without(whole(dir("sbin")), "sbin"), func(c *hostcase.Case) { c.Entries = append(c.Entries, dir("sbin")) }), "onboot=blocked|unknown")
	add("helper: sysctl.d sets it right", with(whole(file("etc/sysctl.d/x.conf", "kernel.modprobe = /sbin/modprobe\n")), func(c *hostcase.Case) { c.Helper = "/nowhere" }), "on-demand")
	add("helper: sysctl.d names no modprobe", whole(file("etc/sysctl.d/99-hardening.conf", "kernel.modprobe = /disabled/modprobe\n")), "blocked")
	add("helper: sysctl.d empties it", whole(file("etc/sysctl.d/x.conf", "kernel.modprobe =\n")), "blocked")
	add("helper: sysctl.d names what is not there, asks", whole(requested, file("etc/sysctl.d/x.conf", "kernel.modprobe=/disabled\n")), "loaded")
	add("helper: sysctl.d names the same by a link", whole(file("etc/sysctl.d/x.conf", "kernel.modprobe=/usr/sbin/modprobe\n")), "on-demand")
	add("helper: sysctl masked", whole(file("etc/sysctl.d/x.conf", "kernel.modprobe=/disabled\n"), link("etc/systemd/system/systemd-sysctl.service", "/dev/null")), "onboot=on-demand|unknown")
	add("helper: modules_disabled in sysctl.d, sysctl masked", whole(file("etc/sysctl.d/x.conf", "kernel.modules_disabled=1\n"), link("etc/systemd/system/systemd-sysctl.service", "/dev/null")), "onboot=on-demand|unknown")
	add("helper: modules_disabled in sysctl.d, sysctl does not run", whole(file("etc/sysctl.d/x.conf", "kernel.modules_disabled=1\n"), file("etc/systemd/system/systemd-sysctl.service.d/x.conf", "[Unit]\nConditionPathExists=/etc/none\n")), "on-demand")
	add("helper: sysctl in run", whole(file("run/sysctl.d/x.conf", "kernel.modprobe=/disabled\n")), "onboot=on-demand|unknown")
	add("helper: modules_disabled in run, asks", whole(requested, file("run/sysctl.d/x.conf", "kernel.modules_disabled=1\n")), "loaded")
	add("helper: modules_disabled in run", whole(file("run/sysctl.d/x.conf", "kernel.modules_disabled=1\n")), "unknown")
	add("helper: modules_disabled in run, unit loads", oneshot("ExecStart=/sbin/modprobe sctp", file("run/sysctl.d/x.conf", "kernel.modules_disabled=1\n")), "unknown")
	add("helper: sysctl.conf alone", whole(file("etc/sysctl.conf", "kernel.modprobe=/disabled\n")), "on-demand")
	add("helper: sysctl.conf linked", whole(file("etc/sysctl.conf", "kernel.modprobe=/disabled\n"), link("etc/sysctl.d/99-sysctl.conf", "../sysctl.conf")), "blocked")
	add("helper: sysctl prefix dash", whole(file("etc/sysctl.d/x.conf", "-kernel.modprobe=/disabled\n")), "blocked")
	add("helper: sysctl modules_disabled", whole(file("etc/sysctl.d/x.conf", "kernel/modules_disabled=1\n")), "blocked")
	add("helper: sysctl modules_disabled asks", whole(requested, file("etc/sysctl.d/x.conf", "kernel/modules_disabled=1\n")), "loaded")
	add("helper: sysctl modules_disabled, unit loads", oneshot("ExecStart=/sbin/modprobe sctp", file("etc/sysctl.d/x.conf", "kernel.modules_disabled = 1\n")), "blocked")
	add("helper: sysctl modules_disabled, early unit loads", whole(file("etc/sysctl.d/x.conf", "kernel.modules_disabled = 1\n"),
		file("etc/systemd/system/early.service", "[Unit]\nDefaultDependencies=no\nBefore=sysinit.target\n[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n[Install]\nWantedBy=sysinit.target\n"),
		link("etc/systemd/system/sysinit.target.wants/early.service", "../early.service")), "unknown")
	add("helper: modules_disabled now, early unit loads", with(whole(file("etc/sysctl.d/x.conf", "kernel.modules_disabled = 1\n"),
		file("etc/systemd/system/early.service", "[Unit]\nDefaultDependencies=no\nBefore=sysinit.target systemd-sysctl.service\n[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n[Install]\nWantedBy=sysinit.target\n"),
		link("etc/systemd/system/sysinit.target.wants/early.service", "../early.service")), func(c *hostcase.Case) { c.ModulesDisabled = true }), "onboot=loaded|unknown")
	add("helper: modules_disabled now by hand, unit loads", with(oneshot("ExecStart=/sbin/modprobe sctp"), func(c *hostcase.Case) { c.ModulesDisabled = true }), "onboot=loaded|unknown")
	add("helper: modules_disabled now by hand", with(whole(), func(c *hostcase.Case) { c.ModulesDisabled = true }), "onboot=blocked|on-demand|unknown")

	// Programs that a part of a host does not have, as one without an init.
	part := func(extra ...hostcase.Entry) *hostcase.Case {
		c := whole(extra...)
		return without(c, "sbin", "bin", "usr/sbin", "usr/bin", "usr/lib/systemd/systemd", "usr/lib/systemd/systemd-modules-load", "usr/lib/systemd/systemd-journald", "usr/lib/systemd/systemd-sysctl")
	}
	for name, want := range map[string]string{"/sbin/modprobe": "true", "/usr/sbin/modprobe": "true", "/usr/bin/modprobe": "unknown", "/bin/modprobe": "unknown", "/usr/local/sbin/modprobe": "unknown", "/bin/false": "false"} {
		add("part: helper "+name, with(part(), func(c *hostcase.Case) { c.Helper = name }), "autoload="+want)
		next := map[string]string{"true": "on-demand", "unknown": "unknown", "false": "blocked"}[want]
		add("part: helper in sysctl.d "+name, part(file("etc/sysctl.d/x.conf", "kernel.modprobe="+name+"\n")), next)
		add("part: helper in the entry "+name, part(file("boot/loader/entries/a.conf", "linux /vmlinuz-"+release+"\noptions ro sysctl.kernel.modprobe="+name+"\n")), next)
		if name != "/usr/local/sbin/modprobe" {
			add("part: install "+name, part(file("etc/modprobe.d/x.conf", "install sctp "+name+" -i sctp\n")), "modprobe="+want)
		}
		add("part: none, helper "+name, without(with(whole(), func(c *hostcase.Case) { c.Helper = name }), "usr/sbin/modprobe", "usr/bin/kmod"), "autoload=false")
	}

	// BusyBox in place of kmod, and other programs of that name.
	busy := func(extra ...hostcase.Entry) *hostcase.Case {
		return replace(whole(append(extra, file("usr/bin/busybox", elf+"BusyBox v1.35.0 "))...), link("usr/sbin/modprobe", "/bin/busybox"))
	}
	add("BusyBox: busybox", busy(), "unknown;autoload=unknown;modprobe=unknown")
	add("BusyBox: busybox asks", busy(requested), "loaded;autoload=unknown")
	add("BusyBox: busybox install", busy(requested, file("etc/modprobe.d/x.conf", "install sctp /sbin/modprobe -i sctp\n")), "unknown")
	add("BusyBox: busybox install false asks", busy(requested, file("etc/modprobe.d/x.conf", "install sctp /bin/false\n")), "unknown")
	add("BusyBox: busybox denied", with(busy(requested), func(c *hostcase.Case) { c.Cmdline = "module_blacklist=sctp\n"; c.Denied = "sctp" }), "blocked;autoload=false")
	add("BusyBox: busybox static", replace(whole(file("usr/bin/busybox.static", elf+"BusyBox v1.35.0 ")), link("usr/sbin/modprobe", "../bin/busybox.static")), "unknown")
	add("BusyBox: kmod is busybox", replace(whole(file("usr/bin/busybox", elf+"BusyBox v1.35.0 ")), link("usr/bin/kmod", "busybox")), "unknown;autoload=unknown")
	add("BusyBox: copy of busybox", replace(whole(), file("usr/sbin/modprobe", elf+"BusyBox v1.35.0 ")), "unknown;autoload=unknown")
	add("BusyBox: wrapper script", replace(whole(), file("usr/sbin/modprobe", "#!/bin/sh\n# kmod version 30\nexec /bin/busybox modprobe \"$@\"\n")), "unknown;autoload=unknown")
	add("BusyBox: toybox", replace(whole(file("usr/bin/toybox", elf+"toybox 0.8")), link("usr/sbin/modprobe", "../bin/toybox")), "unknown")
	add("BusyBox: busybox unit", replace(oneshot("ExecStart=/sbin/modprobe sctp", file("usr/bin/busybox", elf+"BusyBox v1.35.0 ")), link("usr/sbin/modprobe", "/bin/busybox")), "unknown")
	add("BusyBox: unit with kmod's modprobe beside a busybox one", replace(oneshot("ExecStart=/usr/local/sbin/modprobe sctp", blacklisted, file("usr/bin/busybox", elf+"BusyBox v1.35.0 "), link("usr/local/sbin/modprobe", "/usr/bin/kmod")), link("usr/sbin/modprobe", "/bin/busybox")), "onboot=loaded|unknown")
	add("BusyBox: unit with a busybox modprobe beside kmod", oneshot("ExecStart=/usr/local/sbin/modprobe sctp", blacklisted, file("usr/bin/busybox", elf+"BusyBox v1.35.0 "), link("usr/local/sbin/modprobe", "/usr/bin/busybox")), "onboot=unknown")
	add("BusyBox: unit with a script modprobe", oneshot("ExecStart=/usr/local/sbin/modprobe sctp", blacklisted, file("usr/local/sbin/modprobe", "#!/bin/sh\nexit 0\n")), "onboot=unknown|blocked")
	add("BusyBox: unit with bare modprobe and a script in /usr/local", oneshot("ExecStart=modprobe sctp", blacklisted, file("usr/local/sbin/modprobe", "#!/bin/sh\nexit 0\n")), "onboot=unknown|blocked")
	add("BusyBox: unit with bare modprobe", oneshot("ExecStart=modprobe sctp", blacklisted), "onboot=loaded")
	add("BusyBox: unit with bare modprobe that is nowhere", without(oneshot("ExecStart=modprobe sctp"), "usr/sbin/modprobe"), "blocked")
	add("BusyBox: unit with modprobe that is not there", oneshot("ExecStart=/usr/bin/modprobe sctp", blacklisted), "blocked")
	add("BusyBox: unit with modprobe not executable", replace(oneshot("ExecStart=/sbin/modprobe sctp", blacklisted), file("usr/bin/kmod", "kmod version 30\n")), "blocked")
	add("BusyBox: insmod is busybox", replace(oneshot("ExecStart=/sbin/insmod /lib/modules/"+release+"/kernel/net/sctp/sctp.ko", blacklisted, file("usr/bin/busybox", elf+"BusyBox v1.35.0 ")), link("usr/sbin/insmod", "/bin/busybox")), "onboot=unknown|loaded")
	add("BusyBox: install of modprobe elsewhere", whole(requested, file("etc/modprobe.d/x.conf", "install sctp /opt/modprobe -i sctp\n"), file("opt/modprobe", "#!/bin/sh\nexit 0\n")), "unknown")

	// Other kernels.
	withKernels := func(c *hostcase.Case, ks ...hostcase.Kernel) *hostcase.Case {
		c.Kernels = append(c.Kernels, ks...)
		return c
	}
	kernel := func(r string, m ...string) hostcase.Kernel { return hostcase.Kernel{Release: r, Modules: m} }
	entry := func(id, release, options string) hostcase.Entry {
		return file("boot/loader/entries/"+id+".conf", "title x ("+release+")\nversion "+release+"\nlinux /vmlinuz-"+release+"\ninitrd /initramfs-"+release+".img\noptions "+options+"\n")
	}
	saved := func(id string) hostcase.Entry {
		return file("boot/grub2/grubenv", "# GRUB Environment Block\nsaved_entry="+id+"\n####\n")
	}
	add("next kernel: newer lacks", withKernels(whole(requested), kernel(newer, "dummy")), "onboot=unknown;warnings~="+newer)
	add("next kernel: newer lacks, loaded", loaded(withKernels(whole(requested), kernel(newer, "dummy"))), "onboot=unknown;warnings~="+newer)
	add("next kernel: newer lacks, older is the default", withKernels(whole(requested, entry("a", release, "ro"), entry("b", newer, "ro"), saved("a")), kernel(newer, "dummy")), "loaded")
	add("next kernel: newer lacks and is the default", withKernels(whole(requested, entry("a", release, "ro"), entry("b", newer, "ro"), saved("b")), kernel(newer, "dummy")), "onboot=unknown|blocked")
	add("next kernel: newer has it built in, text only", withKernels(whole(requested, file("usr/lib/modules/"+newer+"/modules.builtin", "kernel/net/sctp/sctp.ko\n")), kernel(newer, "dummy")), "loaded;warnings~!=NextKernel")
	add("next kernel: running lacks, newer has, asks", withKernels(noSCTP(whole(requested)), kernel(newer, "libcrc32c", "sctp")), "onboot=unknown|loaded")
	add("next kernel: running lacks, newer has", withKernels(noSCTP(whole()), kernel(newer, "libcrc32c", "sctp")), "onboot=unknown|on-demand")
	add("next kernel: running lacks, newer has and is the default", withKernels(noSCTP(whole(requested, entry("a", release, "ro"), entry("b", newer, "ro"), saved("b"))), kernel(newer, "libcrc32c", "sctp")), "onboot=unknown|loaded")
	add("next kernel: running lacks, newer has, running is default", withKernels(noSCTP(whole(requested, entry("a", release, "ro"), entry("b", newer, "ro"), saved("a"))), kernel(newer, "libcrc32c", "sctp")), "onboot=blocked")
	add("next kernel: running lacks, newer has, blacklisted", withKernels(noSCTP(whole(blacklisted)), kernel(newer, "libcrc32c", "sctp")), "onboot=unknown|blocked")
	add("next kernel: newest has, middle lacks", withKernels(whole(requested), kernel(newer, "dummy"), kernel(newest, "libcrc32c", "sctp")), "loaded")
	add("next kernel: newest has, default middle lacks", withKernels(whole(requested, entry("b", newer, "ro"), entry("c", newest, "ro"), saved("b")), kernel(newer, "dummy"), kernel(newest, "libcrc32c", "sctp")), "onboot=unknown|blocked")
	add("next kernel: other flavour", withKernels(whole(requested), kernel(newer+"+debug", "dummy")), "loaded")
	const uek, olderUEK = "6.12.0-100.el9uek.x86_64", "4.18.0-100.el9uek.x86_64"
	add("next kernel: one of another flavour, newer, lacks", withKernels(whole(requested, entry("a", release, "ro"), entry("b", uek, "ro")), kernel(uek, "dummy")), "unknown")
	add("next kernel: one of another flavour, newer, has", withKernels(whole(requested, entry("a", release, "ro"), entry("b", uek, "ro")), kernel(uek, "libcrc32c", "sctp")), "loaded")
	add("next kernel: one of another flavour, older, lacks", withKernels(whole(requested, entry("a", release, "ro"), entry("b", olderUEK, "ro")), kernel(olderUEK, "dummy")), "loaded")
	add("next kernel: one of another flavour, newer, lacks and is not the default", withKernels(whole(requested, entry("a", release, "ro"), entry("b", uek, "ro"), saved("a")), kernel(uek, "dummy")), "loaded")
	add("next kernel: default kernel has no module directory", whole(requested, entry("a", release, "ro"), entry("b", newer, "ro"), saved("b")), "onboot=unknown|blocked")
	add("next kernel: default kernel by next_entry", withKernels(whole(requested, entry("a", release, "ro"), entry("b", newer, "ro"), file("boot/grub2/grubenv", "saved_entry=a\nnext_entry=b\n")), kernel(newer, "dummy")), "onboot=unknown|blocked")
	transactional := file("usr/sbin/transactional-update", "#!/bin/bash\n")
	add("next snapshot: transactional-update has made one", whole(requested, transactional, file("run/reboot-needed", "reboot")), "unknown;warnings~=/run/reboot-needed")
	add("next snapshot: none", whole(requested, transactional), "loaded")
	add("next snapshot: no such system", whole(requested, file("run/reboot-needed", "")), "loaded")
	for _, sign := range []hostcase.Entry{
		file("run/composefs/staged-deployment", "{}"), file("run/update_engine_autoupdate_completed", ""), link("system-update", "/var/lib/system-update"), link("etc/system-update", "/var/lib/gone"),
		file("run/cache/thar-be-updates/status.json", `{"update_state":"Ready","active_partition":{"image":{},"next_to_boot":false}}`), file("var/lib/snapd/modeenv", "mode=run\nbase=core22_1.snap\ntry_base=core22_2.snap\nbase_status=try\n"), file("var/lib/snapd/modeenv", "current_kernels=pc-kernel_1.snap,pc-kernel_2.snap\n"),
	} {
		add("next root: "+sign.Path+" "+sign.Content, whole(requested, sign), "unknown;warnings~=/"+sign.Path)
		add("next root: stopped now, "+sign.Path+" "+sign.Content, whole(blacklisted, sign), "unknown;autoload=false")
	}
	for _, sign := range []hostcase.Entry{dir("run/composefs"), file("run/cache/thar-be-updates/status.json", `{"update_state":"Available"}`), file("var/lib/snapd/modeenv", "base=core22_1.snap\nbase_status=trying\ncurrent_kernels=pc-kernel_1.snap\n"), file("run/reboot-required", "")} {
		add("next root: the same, "+sign.Path+" "+sign.Content, whole(requested, sign), "loaded")
	}
	for _, x := range [][3]string{
		{"composefs=a", "composefs=b", "unknown"}, {"composefs=a", "composefs=a", "loaded"}, {"root=UUID=a", "root=UUID=b", "unknown"}, {"root=UUID=a", "root=UUID=a", "loaded"}, {"root=/dev/sda1", "root=UUID=a", "loaded"}, {"root=UUID=a", "root=LABEL=b", "loaded"},
		{"rootflags=subvol=@/.snapshots/1/snapshot", "rootflags=subvol=@/.snapshots/2/snapshot", "unknown"}, {"rootflags=subvol=@,noatime", "rootflags=subvol=@", "loaded"}, {"roothash=1", "roothash=2", "unknown"}, {"usrhash=1", "usrhash=2", "unknown"}, {"usrhash=1", "usrhash=1", "loaded"}, {"", "root=UUID=a", "loaded"},
	} {
		add("next root: "+x[0]+", then "+x[1], cmdline(strings.TrimSpace("ro "+x[0]), requested, entry("a", release, "ro "+x[1])), x[2])
		add("next root: "+x[0]+", then "+x[1]+" or the same", cmdline(strings.TrimSpace("ro "+x[0]), requested, entry("a", release, "ro "+x[1]), entry("b", release, "ro "+x[0])), map[bool]string{true: "unknown", false: "loaded"}[strings.HasPrefix(x[1], "composefs=b")])
	}
	// What the firmware adds for systemd, as systemd keeps it for this boot, and as it is now.
	const options = "SystemdOptions-8cf2644b-4b0b-428f-9387-6d876050dc67"
	kept := func(text string) hostcase.Entry { return file("run/systemd/efivars/"+options, text+"\n") }
	variable := func(text string) hostcase.Entry {
		data := []byte("\x07\x00\x00\x00") // attributes, then UTF-16
		for _, c := range utf16.Encode([]rune(text + "\x00")) {
			data = binary.LittleEndian.AppendUint16(data, c)
		}
		return file("sys/firmware/efi/efivars/"+options, string(data))
	}
	const masks = "systemd.mask=systemd-modules-load.service"
	add("firmware: asks for sctp, and modules-load.d for nothing", whole(kept("modules_load=sctp"), variable("modules_load=sctp"), file("etc/modules-load.d/x.conf", "dummy\n")), "loaded")
	add("firmware: asks for sctp, which is blacklisted", whole(file("etc/modprobe.d/x.conf", "blacklist sctp\n"), kept("modules_load=sctp"), file("etc/modules-load.d/x.conf", "dummy\n")), "blocked")
	add("firmware: masks modules-load", whole(requested, kept(masks)), "unknown;warnings~="+options)
	add("firmware: masks something else", whole(requested, kept("quiet systemd.mask=foo.service"), variable("quiet")), "loaded")
	add("firmware: starts another target", whole(requested, kept("systemd.unit=x.target")), "unknown;warnings~="+options)
	add("firmware: masks modules-load since this boot", whole(requested, variable(masks)), "unknown;warnings~="+options)
	add("firmware: asks for sctp since this boot", whole(variable("modules_load=sctp")), "unknown;warnings~="+options)
	add("firmware: asks for sctp since this boot, as modules-load.d does", whole(requested, variable("modules_load=sctp")), "loaded")
	add("firmware: masks modules-load, and the kernel takes no sctp", cmdline("ro module_blacklist=sctp", requested, kept(masks)), "blocked")
	add("firmware: says what this boot has", whole(requested, kept("debug"), variable("quiet debug")), "loaded")
	add("firmware: half a variable", whole(requested, file("sys/firmware/efi/efivars/"+options, "\x07\x00\x00\x00q")), "loaded")
	// Extensions of systemd-sysext(8) and systemd-confext, and which of them the boot merges.
	extended := func(es ...hostcase.Entry) *hostcase.Case {
		const units = "usr/lib/systemd/system/"
		c := whole(append(es, requested)...)
		for name, over := range map[string]string{"systemd-sysext.service": "/var/lib/extensions", "systemd-confext.service": "/var/lib/confexts"} {
			c.Entries = append(c.Entries, file(units+name, "[Unit]\nDefaultDependencies=no\nConditionDirectoryNotEmpty=|"+over+"\nBefore=sysinit.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart="+strings.TrimSuffix(name, ".service")+" refresh\n"),
				link("etc/systemd/system/sysinit.target.wants/"+name, "/"+units+name))
		}
		return c
	}
	const stopsIt = "install sctp /bin/false\n"
	for _, x := range [][3]string{
		{"var/lib/extensions/", "usr/lib/", "usr/.systemd-sysext/extensions"}, {"etc/extensions/", "usr/lib/", "usr/.systemd-sysext/extensions"}, {"usr/lib/confexts/", "etc/", "etc/.systemd-confext/extensions"}, {"var/lib/confexts/", "etc/", "etc/.systemd-confext/extensions"}, {"usr/local/lib/confexts/", "etc/", "etc/.systemd-confext/extensions"},
	} {
		in, over, now := x[0], x[1], func(names string) hostcase.Entry { return file(x[2], names) }
		add("extension: an image, "+in, extended(file(in+"a.raw", "x")), "unknown;warnings~=/"+in+"a.raw")
		add("extension: a link to an image, "+in, extended(link(in+"a.raw", "/opt/a-1.raw"), file("opt/a-1.raw", "x")), "unknown")
		add("extension: versions of an image, "+in, extended(file(in+"a.raw.v/a_1.raw", "x")), "unknown")
		add("extension: an image that is merged, "+in, extended(file(in+"a.raw", "x"), now("a\nb\n"), dir(in+"b")), "loaded")
		add("extension: an image that is gone, "+in, extended(now("a\n")), "unknown;warnings~="+x[2])
		add("extension: no image, "+in, extended(file(in+"a.img", "x"), dir(in+"b")), "loaded")
		add("extension: merged and not enabled, "+in, whole(requested, file(in+"a.raw", "x"), now("a\n")), "unknown")
		add("extension: not enabled, "+in, whole(requested, file(in+"a.raw", "x")), "loaded")
		add("extension: denied all the same, "+in, with(extended(file(in+"a.raw", "x")), func(c *hostcase.Case) { c.Cmdline, c.Denied = "ro module_blacklist=sctp\n", "sctp" }), "blocked")
		add("extension: no modules all the same, "+in, with(extended(file(in+"a.raw", "x")), func(c *hostcase.Case) { c.Cmdline, c.ModulesDisabled = "ro nomodule\n", true }), "blocked")
		add("extension: autoload is off, "+in, with(extended(file(in+"a.raw", "x")), func(c *hostcase.Case) { c.Cmdline, c.Helper = "ro sysctl.kernel.modprobe=/none\n", "/none" }), "unknown")
		for name, texts := range map[string][3]string{
			"modprobe.d/x.conf": {stopsIt, "", "unknown"}, "modprobe.d/y.conf": {"install dccp /bin/false\n# sctp\n", "", "loaded"}, "modprobe.d/z.conf": {"", "blacklist sctp\n", "unknown"}, "modprobe.d/same.conf": {"blacklist sctp_diag\n", "blacklist sctp_diag\n", "loaded"}, "modprobe.d/all.conf": {"install s*p /bin/false\n", "", "unknown"},
			"modprobe.d/needed.conf": {"install libcrc32c /bin/false\n", "", "unknown"}, "modules-load.d/k8s.conf": {"overlay\nbr_netfilter\n", "", "loaded"}, "sysctl.d/x.conf": {"kernel.modules_disabled=1\n", "", "unknown"}, "sysctl.d/y.conf": {"vm.swappiness=1\n", "", "loaded"},
			"systemd/system/x.service": {"[Service]\nExecStartPre=/sbin/modprobe sctp\n", "", "unknown"}, "systemd/system/y.service": {"[Service]\nExecStart=/usr/bin/y\n", "", "loaded"}, "systemd/system/systemd-modules-load.service": {"x", "", "unknown"}, "systemd/system/z.service.d/x.conf": {"[Service]\nExecStartPre=/sbin/modprobe sctp\n", "", "unknown"}, "bash/x": {"sctp", "", "loaded"},
		} {
			c := extended(file(in+"a/"+over+name, texts[0]))
			if texts[1] != "" {
				c.Entries = append(c.Entries, file(over+name, texts[1]))
			}
			add("extension: a directory, "+in+"a/"+over+name, c, texts[2])
			c = extended(file(in+"a/"+over+name, texts[0]), now("a\n"))
			add("extension: a directory that is merged, "+in+"a/"+over+name, c, "loaded")
		}
	}
	add("extension: modules", extended(dir("var/lib/extensions/a/usr/lib/modules")), "unknown")
	add("extension: in memory, gone", extended(file("run/extensions/a.raw", "x")), "loaded")
	add("extension: in memory, merged", extended(file("run/extensions/a.raw", "x"), file("usr/.systemd-sysext/extensions", "a\n")), "unknown")
	add("next kernel: the only one has no release in its name, running lacks, newer has", withKernels(noSCTP(whole(requested, file("boot/grub/grub.cfg", "menuentry 'Arch' {\n linux /vmlinuz-linux ro\n}\n"))), kernel(newer, "libcrc32c", "sctp")), "onboot=unknown|loaded")
	add("next kernel: a rescue kernel", whole(requested, entry("a", release, "ro"), entry("m-0-rescue", "0-rescue-m", "ro"), saved("m-0-rescue")), "unknown;warnings~=rescue")
	add("next kernel: the only one has no release in its name, newer lacks", withKernels(whole(requested, file("boot/grub/grub.cfg", "menuentry 'x' {\n linux /vmlinuz ro\n}\n")), kernel(newer, "dummy")), "onboot=unknown")
	deployment := func(modules ...string) *hostcase.Case {
		const dir = "sysroot/ostree/deploy/rhcos/deploy/abc.0"
		c := withKernels(whole(requested, file("run/ostree-booted", ""), link("ostree", "sysroot/ostree"), link("sysroot/ostree/boot.1", "boot.1.1"), link("sysroot/ostree/boot.1.1/rhcos/fff/0", "../../../deploy/rhcos/deploy/abc.0"),
			file("boot/loader/entries/ostree-1-rhcos.conf", "title x\nversion 1\nlinux /ostree/rhcos-eee/vmlinuz-"+release+"\noptions ro ostree=/ostree/boot.1/rhcos/eee/0\n"),
			file("boot/loader/entries/ostree-2-rhcos.conf", "title x\nversion 2\nlinux /ostree/rhcos-fff/vmlinuz-"+newer+"\noptions ro ostree=/ostree/boot.1/rhcos/fff/0\n")), kernel(newer, modules...))
		for _, e := range c.Tree() {
			if rest, ok := strings.CutPrefix(e.Path, "usr/lib/modules/"+newer); ok && len(modules) > 0 {
				e.Path = dir + "/usr/lib/modules/" + newer + rest
				c.Entries = append(c.Entries, e)
			}
		}
		c.Kernels = nil
		return c
	}
	add("next kernel: a deployment's, which has it", deployment("libcrc32c", "sctp"), "loaded")
	add("next kernel: a deployment's, which lacks it", deployment("dummy"), "onboot=unknown|blocked;warnings~="+newer)
	add("next kernel: a deployment's, which is not seen", deployment(), "onboot=unknown")
	add("next kernel: a staged deployment, running lacks", noSCTP(whole(requested, file("run/ostree/staged-deployment", "x"), file("run/ostree-booted", ""))), "onboot=unknown;reason=ModuleMissing")
	add("next kernel: a staged deployment, running has", whole(requested, file("run/ostree/staged-deployment", "x"), file("run/ostree-booted", "")), "unknown")
	sameRelease := func(now string) *hostcase.Case {
		c := noSCTP(deployment("libcrc32c", "sctp"))
		for i, e := range c.Entries {
			c.Entries[i].Path, c.Entries[i].Content = strings.ReplaceAll(e.Path, newer, release), strings.ReplaceAll(e.Content, newer, release)
		}
		c.Cmdline = "ro ostree=/ostree/boot.1/rhcos/" + now + "/0\n"
		return c
	}
	add("next kernel: the same one of another deployment, which has it", sameRelease("eee"), "onboot=unknown;reason=ModuleMissing")
	add("next kernel: the same one of this deployment", sameRelease("fff"), "blocked")
	rolledBack := func(now string, es ...hostcase.Entry) *hostcase.Case {
		return with(whole(append(es, file("run/ostree-booted", ""), link("ostree", "sysroot/ostree"), link("sysroot/ostree/boot.1", "boot.1.1"), dir("sysroot/ostree/deploy/rhcos/deploy"),
			link("sysroot/ostree/boot.1.1/rhcos/fff/0", "../../../deploy/rhcos/deploy/b.0"), link("sysroot/ostree/boot.1.1/rhcos/fff/1", "../../../deploy/rhcos/deploy/a.0"), link("sysroot/ostree/boot.1.1/rhcos/fff/2", "../../../deploy/rhcos/deploy/b.0"),
			file("boot/loader/entries/ostree-1-rhcos.conf", "version 1\nlinux /vmlinuz-"+release+"\noptions ro ostree=/ostree/boot.1/rhcos/fff/1\n"),
			file("boot/loader/entries/ostree-2-rhcos.conf", "version 2\nlinux /vmlinuz-"+release+"\noptions ro ostree=/ostree/boot.1/rhcos/fff/0\n"))...), func(c *hostcase.Case) { c.Cmdline = "ro ostree=/ostree/" + now + "\n" })
	}
	for now, wants := range map[string][2]string{"boot.1/rhcos/fff/0": {"loaded", "blocked"}, "boot.1/rhcos/fff/2": {"loaded", "blocked"}, "boot.0/rhcos/fff/0": {"loaded", "blocked"}, "boot.1/rhcos/fff/1": {"unknown", "unknown"}, "boot.0/rhcos/eee/0": {"unknown", "unknown"}} {
		add("next kernel: the default deployment is not "+now, rolledBack(now, requested), wants[0])
		add("next kernel: the default deployment is not "+now+", stopped", rolledBack(now, blacklisted), wants[1])
	}
	add("next kernel: indexed and gone", with(withKernels(whole(requested), kernel(newer, "libcrc32c", "sctp")), func(c *hostcase.Case) {}), "onboot=loaded|unknown")

	// What the next boot's arguments and sysctls are.
	const arg = "ro module_blacklist=sctp quiet"
	add("arguments: only entry has it", whole(requested, entry("a", release, arg)), "blocked")
	add("arguments: two entries have it", whole(requested, entry("a", release, arg), entry("b", release, arg+" x")), "onboot=blocked|unknown")
	add("arguments: this boot has it, entry does not", cmdline(arg, requested, entry("a", release, "ro quiet")), "loaded")
	add("arguments: this boot has modprobe.blacklist, entry does not", cmdline("modprobe.blacklist=sctp", requested, entry("a", release, "ro quiet")), "loaded")
	add("arguments: default/grub adds", whole(requested, file("etc/default/grub", "GRUB_CMDLINE_LINUX=\"rhgb module_blacklist=sctp\"\n")), "unknown")
	add("arguments: default/grub += ", whole(requested, file("etc/default/grub", "GRUB_CMDLINE_LINUX+=\" module_blacklist=sctp\"\n")), "unknown")
	add("arguments: default/grub export", whole(requested, file("etc/default/grub", "export GRUB_CMDLINE_LINUX=\"module_blacklist=sctp\"\n")), "unknown")
	add("arguments: default/grub with a comment", whole(requested, file("etc/default/grub", "GRUB_CMDLINE_LINUX=\"module_blacklist=sctp\" # no sctp\n")), "unknown")
	add("arguments: default/grub appended", whole(requested, file("etc/default/grub.d/50.cfg", "GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX module_blacklist=sctp\"\n")), "unknown")
	// Steps for what the next boot has, whether the module is loaded now or could be.
	for id, at := range map[string]string{"rhel": "module_blacklist=sctp from /etc/default/grub:1", "rhcos": "in the MachineConfig that sets it", "nixos": "in boot.kernelParams", "cos": "on the EFI partition"} {
		for _, change := range []func(*hostcase.Case) *hostcase.Case{loaded, func(c *hostcase.Case) *hostcase.Case { return c }} {
			add("arguments: a step, perhaps, "+id, change(of("ID="+id+"\n", requested, file("etc/default/grub", "GRUB_CMDLINE_LINUX=\"module_blacklist=sctp\"\n"))), "unknown;remedy~=remove the kernel argument module_blacklist=sctp;remedy~="+at+";remedy~!=reboot the node")
			add("arguments: a step, "+id, change(of("ID="+id+"\n", requested, entry("a", release, arg))), "blocked;remedy~=remove the kernel argument module_blacklist=sctp")
		}
	}
	add("arguments: default/grub over two lines", whole(requested, file("etc/default/grub", "GRUB_CMDLINE_LINUX=\"ro \\\n module_blacklist=sctp\"\n")), "unknown")
	both := func(options ...string) []hostcase.Entry {
		return []hostcase.Entry{requested, entry("a", release, options[0]), entry("b", newer, options[len(options)-1]), entry("x-0-rescue", "0-rescue-x", "ro")}
	}
	newerHasIt := kernel(newer, "libcrc32c", "sctp")
	add("arguments: all entries have it", withKernels(whole(both(arg)...), newerHasIt), "blocked")
	add("arguments: all entries have it in other words", withKernels(whole(both(arg, "ro module_blacklist=dccp,sctp")...), newerHasIt), "blocked")
	add("arguments: all entries are without it", withKernels(cmdline(arg, both("ro")...), newerHasIt), "loaded")
	add("arguments: all entries are without it, and default/grub is not", withKernels(whole(append(both("ro"), file("etc/default/grub", "GRUB_CMDLINE_LINUX=\""+arg+"\"\n"))...), newerHasIt), "loaded;warnings~=/etc/default/grub")
	add("arguments: one of the entries has it", withKernels(whole(both("ro", arg)...), newerHasIt), "unknown")
	add("arguments: all entries have it, and one cannot be followed", withKernels(whole(both(arg, "$kernelopts")...), newerHasIt), "unknown")
	add("arguments: default/grub assigned again", whole(requested, file("etc/default/grub", "GRUB_CMDLINE_LINUX=\"module_blacklist=sctp\"\nGRUB_CMDLINE_LINUX=ro\n")), "loaded")
	add("arguments: default/grub assigned again with itself", whole(requested, file("etc/default/grub", "GRUB_CMDLINE_LINUX=\"module_blacklist=sctp\"\nGRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX ro\"\n")), "unknown")
	add("arguments: default/grub assigned again under a condition", whole(requested, file("etc/default/grub", "GRUB_CMDLINE_LINUX=\"module_blacklist=sctp\"\nif false; then\n  GRUB_CMDLINE_LINUX=ro\nfi\n")), "unknown")
	add("arguments: default/grub overridden by a cloud image's file", whole(requested, file("etc/default/grub", "GRUB_CMDLINE_LINUX_DEFAULT=\"module_blacklist=sctp\"\n"), file("etc/default/grub.d/50-cloudimg-settings.cfg", "GRUB_CMDLINE_LINUX_DEFAULT=\"console=ttyS0\"\n")), "loaded")
	add("arguments: default/grub, the other variable assigned", whole(requested, file("etc/default/grub", "GRUB_CMDLINE_LINUX=\"module_blacklist=sctp\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"ro\"\n")), "unknown")
	for name, text := range map[string]string{
		"oem/grub.cfg": "set linux_append=\"$linux_append module_blacklist=sctp\"\n", "boot/extlinux/extlinux.conf": "LABEL x\n  LINUX /vmlinuz\n  APPEND ro module_blacklist=sctp\n",
		"efi/loader/entries/a.conf": "title x\noptions ro module_blacklist=sctp\n", "boot/efi/loader/entries/a.conf": "options\tro\noptions\tmodule_blacklist=sctp\n",
		"boot/armbianEnv.txt": "verbosity=1\nextraargs=cma=64M module_blacklist=sctp\n", "boot/uEnv.txt": "uname_r=6.1\ncmdline=coherent_pool=1M module_blacklist=sctp\n", "etc/cmdline.d/security.conf": "# why\nmodule_blacklist=sctp\n", "etc/kernel/uki.conf": "[UKI]\nCmdline=root=x module_blacklist=sctp\n",
		"etc/zipl.conf": "[linux]\n\tparameters = \"root=x module_blacklist=sctp\"\n", "etc/default/u-boot": "U_BOOT_PARAMETERS=\"ro module_blacklist=sctp\"\n", "etc/default/flash-kernel": "LINUX_KERNEL_CMDLINE=\"module_blacklist=sctp\"\n",
		"etc/tuned/bootcmdline": "# why\nTUNED_BOOT_CMDLINE=\"isolcpus=1 module_blacklist=sctp\"\n",
	} {
		add("arguments: "+name, whole(requested, file(name, text)), "unknown;warnings~="+name)
		add("arguments: "+name+" beside the entry", whole(requested, entry("a", release, "ro"), file(name, text)), "loaded;warnings~="+name)
		add("arguments: "+name+" without", whole(requested, file(name, strings.Replace(text, "module_blacklist=sctp", "quiet", 1))), "loaded;warnings~!="+name)
	}
	for name, text := range map[string]string{
		"boot/firmware/cmdline.txt": "console=serial0 root=x rootwait\n", "boot/extlinux/extlinux.conf": "LABEL x\n  APPEND ro\n", "oem/grub.cfg": "set linux_append=\"quiet\"\n", "efi/loader/entries/a.conf": "options ro\n", "boot/uEnv.txt": "cmdline=ro\n",
	} {
		add("arguments: gone from "+name, cmdline(arg, requested, file(name, text)), "unknown;warnings~="+name)
		add("arguments: gone from "+name+", and the entry has it", cmdline(arg, requested, file(name, text), entry("a", release, arg)), "blocked")
		add("arguments: of this boot and of "+name, cmdline(arg, requested, file(name, strings.Replace(strings.Replace(text, "ro\n", arg+"\n", 1), "quiet", arg, 1)), file("boot/cmdline.txt", arg+"\n")), "blocked")
	}
	grubMenu := file("boot/grub/grub.cfg", "set default=0\nmenuentry x {\n linux /vmlinuz-"+release+" ro\n}\n")
	add("arguments: a menu, and extlinux", whole(requested, grubMenu, file("boot/extlinux/extlinux.conf", "LABEL x\n APPEND ro "+arg+"\n")), "unknown")
	add("arguments: the same in a menu and in extlinux", whole(requested, grubMenu, file("boot/extlinux/extlinux.conf", "LABEL x\n APPEND ro\n")), "loaded")
	for _, other := range []string{"etc/kernel/proxmox-boot-uuids", "boot/efi/EFI/systemd/systemd-bootx64.efi", "efi/EFI/systemd/systemd-bootx64.efi", "boot/EFI/systemd/systemd-bootx64.efi"} {
		add("arguments: a menu, and "+other, whole(requested, grubMenu, file(other, "x"), file("etc/kernel/cmdline", arg+"\n")), "unknown")
		add("arguments: the same everywhere, and "+other, whole(requested, grubMenu, file(other, "x"), file("etc/kernel/cmdline", "ro\n")), "loaded")
	}
	// systemd-boot shows the entries of both partitions, and boots what loader.conf, or the firmware, names
	// (loader.conf(5), systemd-boot(7)): GRUB's environment is what is left of GRUB.
	loader := func(text string) hostcase.Entry { return file("boot/loader/loader.conf", text) }
	onESP := func(esp, options string) hostcase.Entry {
		return file(esp+"/loader/entries/b.conf", "title x\nlinux /vmlinuz-"+release+"\noptions "+options+"\n")
	}
	for _, sign := range []hostcase.Entry{loader("timeout 3\n"), file("efi/loader/loader.conf", ""), file("boot/EFI/systemd/systemd-bootx64.efi", "MZ"), file("boot/efi/EFI/systemd/systemd-bootx64.efi", "MZ")} {
		add("systemd-boot: one entry, "+sign.Path, whole(requested, sign, entry("a", release, arg)), "blocked")
		add("systemd-boot: one entry, and a rescue one, "+sign.Path, whole(requested, sign, entry("a", release, arg), entry("m-0-rescue", "0-rescue-m", "ro")), "blocked")
		add("systemd-boot: all entries agree, "+sign.Path, whole(requested, sign, entry("a+3", release, arg), entry("b+0-3", release, arg), saved("a")), "blocked")
		add("systemd-boot: what is left of GRUB, "+sign.Path, whole(requested, sign, entry("a", release, "ro"), entry("b", release, arg), saved("a")), "unknown")
		add("systemd-boot: OSTree, "+sign.Path, whole(requested, sign, entry("ostree-1-x", release, arg), entry("ostree-2-x", release, "ro")), "unknown")
		add("systemd-boot: an entry with and one without, "+sign.Path, whole(requested, sign, entry("a", release, "ro"), onESP("efi", arg)), "unknown")
		add("systemd-boot: the only one is on the EFI partition, "+sign.Path, whole(requested, link("efi", "boot/efi"), sign, onESP("boot/efi", arg)), "blocked")
		add("systemd-boot: none has it, "+sign.Path, cmdline(arg, requested, sign, entry("a", release, "ro"), onESP("boot/efi", "ro")), "loaded")
	}
	for text, want := range map[string]string{"default m-0-rescue.conf": "unknown", "default\t*rescue*": "unknown", "default m-0-rescue": "unknown", "default a.conf": "loaded", "#default m-0-rescue.conf": "loaded", "default @saved": "loaded"} {
		add("systemd-boot: a rescue entry and "+text, whole(requested, loader(text+"\n"), entry("a", release, "ro"), entry("m-0-rescue", "0-rescue-m", arg)), want)
	}
	// On Btrfs the rest of GRUB's environment is in blocks beside the file, which SUSE's and Fedora's GRUB write to.
	blocks := file("boot/grub2/grubenv", "# GRUB Environment Block\nenv_block=512+1\nsaved_entry=a\n####\n")
	const loadsBlocks = "load_env\nif [ \"${env_block}\" ] ; then\n  set env_block=\"(${root})${env_block}\"\n  export env_block\n  load_env -f \"${env_block}\"\nfi\n"
	two := func(a, b string) string {
		return "menuentry a {\n linux /vmlinuz-" + release + " " + a + "\n}\nmenuentry b {\n linux /vmlinuz-" + release + " " + b + "\n}\n"
	}
	add("env_block: a menu", whole(requested, blocks, file("boot/grub2/grub.cfg", loadsBlocks+"set default=\"${saved_entry}\"\n"+two("ro", arg))), "unknown")
	add("env_block: a menu with a default", whole(requested, blocks, file("boot/grub2/grub.cfg", loadsBlocks+"set default=0\n"+two("ro", arg))), "loaded")
	add("env_block: a menu that agrees", whole(requested, blocks, file("boot/grub2/grub.cfg", loadsBlocks+"set default=\"${saved_entry}\"\n"+two(arg, arg+" x"))), "blocked")
	add("env_block: entries", whole(requested, blocks, entry("a", release, "ro"), entry("b", release, arg), file("boot/grub2/grub.cfg", loadsBlocks+"set default=\"${saved_entry}\"\nblscfg\n")), "unknown")
	add("env_block: entries alone", whole(requested, blocks, entry("a", release, "ro"), entry("b", release, arg)), "unknown")
	add("env_block: one entry", whole(requested, blocks, entry("a", release, arg), file("boot/grub2/grub.cfg", loadsBlocks+"set default=\"${saved_entry}\"\nblscfg\n")), "blocked")
	add("arguments: entries, and a default under a condition", whole(requested, entry("a", release, "ro"), entry("b", release, arg), file("boot/grub2/grub.cfg", "set default=a\nif [ y ]; then\n set default=b\nfi\nblscfg\n")), "unknown")
	add("arguments: other files, commented", whole(requested, file("etc/cmdline.d/a.conf", "#module_blacklist=sctp\n"), file("etc/cmdline.d/a", "module_blacklist=sctp\n"), file("etc/default/u-boot", "#U_BOOT_PARAMETERS=\"module_blacklist=sctp\"\n"), file("etc/zipl.conf", "# parameters = module_blacklist=sctp\n")), "loaded")
	add("arguments: default/grub commented", whole(requested, file("etc/default/grub", "#GRUB_CMDLINE_LINUX=\"module_blacklist=sctp\"\n")), "loaded")
	add("arguments: default/grub single quotes", whole(requested, file("etc/default/grub", "GRUB_CMDLINE_LINUX_DEFAULT='quiet modprobe.blacklist=sctp'\n")), "unknown")
	add("arguments: kernel/cmdline", whole(requested, file("etc/kernel/cmdline", "root=x module_blacklist=sctp\n")), "unknown")
	add("arguments: usr/lib/kernel/cmdline", whole(requested, file("usr/lib/kernel/cmdline", "root=x module_blacklist=sctp\n")), "unknown")
	add("arguments: kargs.d", whole(requested, file("usr/lib/bootc/kargs.d/x.toml", "kargs = [\n  \"module_blacklist=sctp\",\n]\n")), "unknown")
	for machines, want := range map[string]string{`["aarch64", "s390x"]`: "loaded", `["x86_64"]`: "unknown"} {
		for _, text := range []string{"match-architectures = " + machines + "\nkargs = [\"module_blacklist=sctp\"]\n", "kargs = [\"module_blacklist=sctp\"]\nmatch-architectures = " + machines + "\n"} {
			add("arguments: kargs.d: "+text, whole(requested, file("proc/sys/kernel/arch", "x86_64\n"), file("usr/lib/bootc/kargs.d/x.toml", text)), want)
		}
	}
	add("arguments: quoted in entry", whole(requested, entry("a", release, `ro "module_blacklist=sctp" quiet`)), "blocked")
	add("arguments: kernelopts", whole(requested, entry("a", release, "$kernelopts"), file("boot/grub2/grubenv", "saved_entry=a\nkernelopts=ro module_blacklist=sctp\n")), "blocked")
	add("arguments: tuned_params", whole(requested, entry("a", release, "ro $tuned_params"), file("boot/grub2/grubenv", "saved_entry=a\ntuned_params=module_blacklist=sctp\n")), "onboot=blocked|unknown")
	for name, x := range map[string][3]string{
		"tuned_params of grub.cfg": {"ro $tuned_params", "", "set tuned_params=\"module_blacklist=sctp\""}, "grub.cfg empties it": {"ro $tuned_params", "tuned_params=module_blacklist=sctp", "set tuned_params=\"\""},
		"kernelopts of grub.cfg": {"$kernelopts", "", "  set kernelopts=\"root=x module_blacklist=sctp \""}, "kernelopts of both": {"$kernelopts", "kernelopts=ro", "set kernelopts=\"module_blacklist=sctp\""},
		"in a word": {"ro module_blacklist=$names", "names=dccp,sctp", ""}, "of the default": {"$none", "", "set default_kernelopts=\"ro module_blacklist=sctp\""}, "two in a word": {"$kernelopts$tuned_params", "kernelopts=ro\ntuned_params= module_blacklist=sctp", ""}, "of another name": {"ro $other", "", "set others=module_blacklist=sctp"}, "without set": {"ro $x", "", "x=\"module_blacklist=sctp\""}, "with a tab": {"ro $x", "", "set\tx=module_blacklist=sctp"}, "in a comment": {"ro $x", "", "# set x=module_blacklist=sctp"}, "as an argument": {"ro $x", "", "echo x=module_blacklist=sctp"},
	} {
		want := map[bool]string{true: "loaded", false: "blocked"}[slices.Contains([]string{"grub.cfg empties it", "kernelopts of both", "of another name", "in a comment", "as an argument"}, name)]
		add("arguments: a variable, "+name, whole(requested, entry("a", release, x[0]), file("boot/grub2/grubenv", "saved_entry=a\n"+x[1]+"\n"), file("boot/grub2/grub.cfg", x[2]+"\nset default=\"${saved_entry}\"\nset saved_entry=x\nblscfg\n")), want)
	}
	// Variables that are set nowhere: GRUB takes them away.
	for _, name := range []string{"$kernelopts", "$tuned_params", "ro $kernelopts quiet"} {
		blscfg := file("boot/grub2/grub.cfg", "set default=\"${saved_entry}\"\nblscfg\n")
		add("arguments: not set: "+name, cmdline(arg, requested, entry("a", release, name), saved("a"), blscfg), "loaded")
		add("arguments: not set, and this boot has none: "+name, whole(requested, entry("a", release, name), saved("a"), blscfg), "loaded")
		add("arguments: not set in a menu: "+name, cmdline(arg, requested, file("boot/grub2/grub.cfg", "menuentry x {\n  linux /vmlinuz-"+release+" "+name+"\n}\n")), "loaded")
	}
	// Variables of the files that Photon OS and CBL-Mariner load.
	loads := func(now, photon, systemd string, es ...hostcase.Entry) *hostcase.Case {
		c := cmdline(now, append(es, requested, file("boot/grub2/grub.cfg", "set default=0\nset bootprefix=/boot\nload_env -f $bootprefix/photon.cfg\nif [ -f $bootprefix/systemd.cfg ]; then\n    load_env --file \"${bootprefix}/systemd.cfg\"\nelse\n    set systemd_cmdline=net.ifnames=0\nfi\nset rootpartition=PARTUUID=x\n"+
			"menuentry \"Photon\" {\n    linux $bootprefix/$photon_linux root=$rootpartition $photon_cmdline $systemd_cmdline\n    if [ -f $bootprefix/$photon_initrd ]; then\n        initrd $bootprefix/$photon_initrd\n    fi\n}\n"))...)
		if photon != "" {
			c.Entries = append(c.Entries, file("boot/linux.cfg", "# GRUB Environment Block\nphoton_cmdline=ro "+photon+"\nphoton_linux=vmlinuz-"+release+"\n"), link("boot/photon.cfg", "linux.cfg"))
		}
		if systemd != "" {
			c.Entries = append(c.Entries, file("boot/systemd.cfg", "# GRUB Environment Block\nsystemd_cmdline=net.ifnames=0 "+systemd+"\n"))
		}
		return c
	}
	for _, x := range [][4]string{{"ro", "quiet", "", "loaded"}, {"ro", arg, "", "blocked"}, {"ro", "quiet", arg, "blocked"}, {arg, arg, "", "blocked"}, {arg, "quiet", "ro", "loaded"}, {"ro", "", "", "unknown"}} {
		add("arguments: load_env -f, "+strings.Join(x[:], ", "), loads(x[0], x[1], x[2]), x[3])
	}
	add("arguments: load_env -f beside the menu", loads("ro", "", "", file("boot/grub2/photon.cfg", "photon_cmdline="+arg+"\n")), "blocked")
	conditional := func(value string) hostcase.Entry {
		return file("boot/grub2/grub.cfg", "set x=\"\"\nif [ -f /x ]; then\n  set x=\""+value+"\"\nfi\nset default=\"${saved_entry}\"\nblscfg\n")
	}
	add("arguments: under a condition", whole(requested, entry("a", release, "ro $x"), saved("a"), conditional(arg)), "unknown;warnings~=under a condition")
	add("arguments: under a condition, of no concern", whole(requested, entry("a", release, "ro $x"), saved("a"), conditional("ignition.firstboot")), "loaded;warnings~!=under a condition")
	add("arguments: under a condition, in one line", whole(requested, entry("a", release, "ro $x"), saved("a"), file("boot/grub2/grub.cfg", "if [ -f /x ]; then set x=\""+arg+"\"; fi\nset default=\"${saved_entry}\"\nblscfg\n")), "unknown")
	add("arguments: under a condition, of no entry", whole(requested, entry("a", release, "ro"), saved("a"), conditional(arg)), "loaded")
	add("arguments: under a condition, all entries", withKernels(whole(requested, entry("a", release, "ro $x"), entry("b", newer, "ro $x"), conditional(arg)), newerHasIt), "unknown")
	add("arguments: kernelopts of a file that was not found", whole(requested, entry("a", release, "$kernelopts"), saved("a")), "unknown;warnings~=set in no file that was read")
	add("arguments: kernelopts of the EFI's file", whole(requested, entry("a", release, "$kernelopts"), saved("a"), file("boot/efi/EFI/redhat/grub.cfg", "set default=\"${saved_entry}\"\nset kernelopts=\""+arg+"\"\nblscfg\n")), "blocked")
	add("arguments: braces, which blscfg does not know", whole(requested, entry("a", release, "ro ${tuned_params}"), saved("a"), file("boot/grub2/grub.cfg", "set default=\"${saved_entry}\"\nblscfg\n")), "unknown")
	twice := strings.Replace(entry("a", release, "ro").Content, "options ro", "options ro\noptions "+arg, 1)
	for options, want := range map[string]string{"ro 'module_blacklist=sctp'": "blocked", "ro quiet; module_blacklist=sctp": "loaded"} {
		add("arguments: as GRUB reads them: "+options, whole(requested, entry("a", release, options), saved("a"), file("boot/grub2/grub.cfg", "set default=\"${saved_entry}\"\nblscfg\n")), want)
	}
	for text, want := range map[string]string{"linux /vmlinuz-" + release + "\n\noptions " + arg + "\n": "loaded", "linux /vmlinuz-" + release + "\n#\noptions " + arg + "\n\n": "blocked"} {
		add("arguments: an empty line, at which GRUB ends: "+text, whole(requested, file("boot/loader/entries/a.conf", text), saved("a"), file("boot/grub2/grub.cfg", "set default=\"${saved_entry}\"\nblscfg\n")), want)
		add("arguments: an empty line: "+text, whole(requested, file("boot/loader/entries/a.conf", text)), "blocked")
	}
	add("arguments: options twice, of which GRUB has the first", whole(requested, file("boot/loader/entries/a.conf", twice), saved("a"), file("boot/grub2/grub.cfg", "set default=\"${saved_entry}\"\nblscfg\n")), "loaded")
	add("arguments: options twice", whole(requested, file("boot/loader/entries/a.conf", twice)), "blocked")
	add("arguments: menu with a variable", whole(requested, file("boot/grub/grub.cfg", "set names=module_blacklist=sctp\nmenuentry x {\n  linux /vmlinuz-"+release+" ro $names\n}\n")), "blocked")
	add("arguments: menu with a comment", whole(requested, file("boot/grub/grub.cfg", "menuentry x {\n  linux /vmlinuz-"+release+" ro # module_blacklist=sctp\n}\n")), "loaded")
	for _, text := range []string{"readonly GRUB_CMDLINE_LINUX=\"module_blacklist=sctp\"", "if true; then GRUB_CMDLINE_LINUX=module_blacklist=sctp; fi", "GRUB_CMDLINE_LINUX=\"${GRUB_CMDLINE_LINUX:+$GRUB_CMDLINE_LINUX }module_blacklist=sctp\"",
		"GRUB_CMDLINE_LINUX=module_blacklist=sctp\nif false; then GRUB_CMDLINE_LINUX=ro; fi"} {
		add("arguments: default/grub: "+text, whole(requested, file("etc/default/grub", text+"\n")), "unknown")
	}
	add("arguments: default/grub, in a comment", whole(requested, file("etc/default/grub", "X=1 # GRUB_CMDLINE_LINUX=module_blacklist=sctp\n")), "loaded")
	add("arguments: entry disabled", whole(requested, file("boot/loader/entries/x.conf.off", "linux /vmlinuz-"+release+"\noptions module_blacklist=sctp\n"), entry("a", release, "ro")), "loaded")
	add("arguments: modules_load in the entry", whole(entry("a", release, "ro modules_load=sctp")), "loaded")
	add("arguments: modules-load in the entry", whole(entry("a", release, "ro modules-load=sctp")), "loaded")
	add("arguments: rd.modules_load in the entry", whole(entry("a", release, "ro rd.modules_load=sctp")), "onboot=on-demand|unknown")
	add("arguments: sysctl in the entry", whole(requested, entry("a", release, "ro sysctl.kernel.modules_disabled=1")), "blocked")
	add("arguments: nomodule in the entry", whole(requested, entry("a", release, "ro nomodule")), "blocked")
	add("arguments: init in the entry", whole(requested, entry("a", release, "ro init=/bin/sh")), "unknown")
	add("arguments: mask in the entry", whole(requested, entry("a", release, "ro systemd.mask=systemd-modules-load.service")), "on-demand")
	add("arguments: emergency in the entry", whole(requested, entry("a", release, "ro emergency")), "unknown")
	add("arguments: single in the entry, unit", oneshot("ExecStart=/sbin/modprobe sctp", blacklisted, entry("a", release, "ro single")), "onboot=blocked|unknown")
	add("arguments: rescue in the entry, unit", oneshot("ExecStart=/sbin/modprobe sctp", blacklisted, entry("a", release, "ro systemd.unit=rescue.target")), "onboot=blocked|unknown")
	add("arguments: rd.driver.blacklist in the entry", whole(requested, entry("a", release, "ro rd.driver.blacklist=sctp")), "unknown")
	add("arguments: rd.driver.blacklist in this boot and the entry", cmdline("ro rd.driver.blacklist=sctp", requested, entry("a", release, "ro rd.driver.blacklist=sctp")), "loaded")
	add("arguments: modprobe.blacklist in the entry", whole(requested, entry("a", release, "ro modprobe.blacklist=sctp")), "blocked")
	add("arguments: last one wins", whole(requested, entry("a", release, "ro module_blacklist=sctp module_blacklist=")), "loaded")
	add("arguments: after the dashes", whole(requested, entry("a", release, "ro -- module_blacklist=sctp")), "loaded")
	for condition, wants := range map[string][2]string{"ConditionKernelCommandLine=sctp": {"loaded", "blocked"}, "ConditionKernelCommandLine=!sctp": {"blocked", "loaded"}, "AssertKernelCommandLine=|a.b=1": {"blocked", "blocked"}} {
		asks := func(now, then string) *hostcase.Case {
			return with(unit("[Unit]\n"+condition+"\n[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n", blacklisted, entry("a", release, then)), func(c *hostcase.Case) { c.Cmdline = now + "\n" })
		}
		add("arguments: a unit's condition, from now on, "+condition, asks("ro", "ro sctp a.b=2"), wants[0])
		add("arguments: a unit's condition, no more, "+condition, asks("ro sctp a.b=2", "ro"), wants[1])
		add("arguments: a unit's condition, perhaps, "+condition, unit("[Unit]\n"+condition+"\n[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n", blacklisted, file("etc/default/grub", "GRUB_CMDLINE_LINUX=\"sctp a.b=1\"\n")), "unknown")
		add("arguments: another unit's condition, "+condition, unit("[Unit]\n"+condition+"\n[Service]\nType=oneshot\nExecStart=/sbin/modprobe dccp\n", requested, file("etc/default/grub", "GRUB_CMDLINE_LINUX=\"sctp a.b=1\"\n")), "loaded;warnings~!=PendingKernelArguments")
	}
	add("arguments: a condition in a drop-in", dropin("[Unit]\nConditionKernelCommandLine=!sctp\n", entry("a", release, "ro sctp")), "on-demand")
	for _, image := range []string{"boot/EFI/Linux/x.efi", "boot/efi/EFI/Linux/x.efi", "efi/EFI/Linux/x.efi"} {
		add("arguments: beside "+image, whole(requested, file(image, "MZ"), entry("a", release, arg)), "unknown")
		add("arguments: no more, beside "+image, cmdline(arg, requested, file(image, "MZ"), entry("a", release, "ro")), "unknown")
		add("arguments: the same beside "+image, whole(requested, file(image, "MZ"), entry("a", release, "ro")), "loaded")
	}
	for by, want := range map[string]string{"\"${saved_entry}\"": "loaded", "$saved_entry": "loaded", "\"0\"": "blocked", "1": "loaded", "b": "blocked", "\"x (" + release + ")\"": "loaded", "none": "blocked"} {
		add("arguments: the default is "+by, withKernels(whole(requested, entry("a", release, "ro"), entry("b", newer, arg), saved("a"), file("boot/grub2/grub.cfg", "if [ x ]; then\n set default=\"${next_entry}\"\nelse\n set default="+by+"\nfi\nblscfg\n")), newerHasIt), want)
	}
	conf := file("etc/modprobe.d/CIS.conf", "install sctp /bin/true\nblacklist sctp\n")
	add("arguments: a new root, without the module", with(noSCTP(of("ID=sl-micro\n")), func(c *hostcase.Case) { c.Cmdline = "ro cos-img/filename=/cOS/active.img\n" }), "reason=ModuleMissing;remedy~=add the package kernel-427.el9.x86_64 to the image;commands~!=transactional-update")
	for _, argument := range []string{"systemd.volatile", "systemd.volatile=overlay", "overlayroot=tmpfs:recurse=0", "boot=live", "boot=casper", "rd.live.image", "root=live:LABEL=x", "coreos.live.rootfs_url=http://x/y", "cos-img/filename=/cOS/active.img", "elemental-img/filename=/cOS/active.img", "elemental.mode=active elemental.image=active", "rd.immucore.uki"} {
		argument, more, _ := strings.Cut(argument, " ")
		add("arguments: a new root, "+argument, cmdline("ro "+argument+" "+more, requested), "unknown;autoload=true;warnings~="+argument)
		add("arguments: a new root, nothing asks, "+argument, cmdline("ro "+argument), "unknown;commands~!=/etc/;remedy~=at each boot")
		add("arguments: a new root, stopped, "+argument, cmdline("ro "+argument, blacklisted), "unknown;autoload=false;commands=modprobe sctp\n;remedy~=gone at the next boot ("+argument+")")
		add("arguments: a new root, replaced, "+argument, cmdline("ro "+argument, conf), "unknown;commands=modprobe --ignore-install sctp\n")
		add("arguments: a new root, denied, "+argument, cmdline(arg+" "+argument, requested), "blocked")
	}
	for _, argument := range []string{"systemd.volatile=no", "systemd.volatile=state", "overlayroot=disabled", "boot=local", "root=/dev/vda"} {
		add("arguments: the same root, "+argument, cmdline("ro "+argument, requested), "loaded")
	}
	add("arguments: initcall in the entry", whole(requested, entry("a", release, "ro initcall_blacklist=sctp_init")), "blocked")
	menu := func(a, b string) hostcase.Entry {
		return file("boot/grub/grub.cfg", "set default=\"0\"\nmenuentry 'Debian GNU/Linux' --class debian {\n\tlinux\t/boot/vmlinuz-"+release+" root=x "+a+"\n\tinitrd /boot/initrd.img-"+release+"\n}\nsubmenu 'Advanced' {\n\tmenuentry 'x' {\n\t\tlinux\t/boot/vmlinuz-"+release+" root=x "+a+"\n\t}\n\tmenuentry 'x (recovery mode)' {\n\t\tlinux\t/boot/vmlinuz-"+release+" root=x single "+b+"\n\t}\n}\n")
	}
	add("arguments: menu", whole(requested, menu("module_blacklist=sctp quiet", "")), "blocked")
	add("arguments: menu without", cmdline("module_blacklist=sctp", requested, menu("quiet", "")), "loaded")
	add("arguments: menu with xen", whole(requested, file("boot/grub/grub.cfg", "menuentry 'x' {\n\tmultiboot2 /boot/xen.gz\n\tmodule2 /boot/vmlinuz-"+release+" root=x module_blacklist=sctp\n\tmodule2 --nounzip /boot/initrd.img-"+release+"\n}\n")), "blocked")
	add("arguments: menu with xen and without", whole(requested, file("boot/grub/grub.cfg", "menuentry 'x' {\n\tmultiboot2 /boot/xen.gz\n\tmodule2 /boot/vmlinuz-"+release+" root=x module_blacklist=sctp\n}\nmenuentry 'y' {\n\tlinux /boot/vmlinuz-"+release+" root=x\n}\n")), "blocked")
	add("arguments: entries that GRUB does not read", whole(requested, entry("a", release, "ro module_blacklist=sctp"), saved("a"), file("boot/grub2/grub.cfg", "set default=\"${saved_entry}\"\nmenuentry 'x' {\n\tlinux /vmlinuz-"+release+" ro\n}\n")), "unknown")
	add("arguments: entries that GRUB reads, beside others", whole(requested, entry("a", release, "ro module_blacklist=sctp"), saved("a"), file("boot/grub2/grub.cfg", "set default=\"${saved_entry}\"\nblscfg\nmenuentry 'x' {\n\tlinux /vmlinuz-"+release+" ro\n}\n")), "blocked")
	add("install: loads it and removes it", whole(requested, file("etc/modprobe.d/i.conf", "install sctp /sbin/modprobe -i sctp && /sbin/modprobe -r sctp\n")), "unknown")
	add("install: loads it, and rmmod", whole(requested, link("usr/sbin/rmmod", "../bin/kmod"), file("etc/modprobe.d/i.conf", "install sctp /sbin/modprobe -i sctp; /sbin/rmmod sctp\n")), "unknown")
	add("arguments: menu of the EFI", whole(requested, file("boot/efi/EFI/debian/grub.cfg", "search.fs_uuid x root\nconfigfile /boot/grub/grub.cfg\n")), "loaded")
	add("arguments: saved entry by number", whole(requested, entry("a", release, "ro"), entry("b", release, arg), saved("1")), "unknown")
	add("arguments: saved entry by title", whole(requested, file("boot/loader/entries/a.conf", "title One\nlinux /vmlinuz-"+release+"\noptions ro\n"), file("boot/loader/entries/b.conf", "title Two\nlinux /vmlinuz-"+release+"\noptions "+arg+"\n"), saved("One")), "loaded")
	add("arguments: sysctl.d modules_disabled by a pattern", whole(file("etc/sysctl.d/x.conf", "kernel.modules_dis* = 1\n")), "blocked")
	add("arguments: sysctl.d in usr overridden by an empty one", whole(file("usr/lib/sysctl.d/x.conf", "kernel.modules_disabled = 1\n"), file("etc/sysctl.d/x.conf", "")), "on-demand")
	add("arguments: sysctl.d hex", whole(file("etc/sysctl.d/x.conf", "kernel.modules_disabled = 0x1\n")), "blocked")
	add("arguments: sysctl.d with a comment after", whole(file("etc/sysctl.d/x.conf", "kernel.modules_disabled = 1 # off\n")), "blocked")
	add("arguments: raspberry", whole(requested, file("boot/firmware/cmdline.txt", "root=x module_blacklist=sctp\n")), "unknown")

	// The unit's own conditions, which in systemd up to 247 do not know "modules_load".
	early := func(c *hostcase.Case, entries ...hostcase.Entry) *hostcase.Case {
		c.Systemd, c.Kmod = 239, 25
		c.Entries = append(c.Entries, append(entries, dir("run"), dir("etc/modules-load.d"), dir("usr/lib/modules-load.d"))...)
		return replace(c, file("usr/lib/systemd/system/systemd-modules-load.service", strings.ReplaceAll(modulesLoadUnit, "modules_load", "modules-load")))
	}
	br := file("usr/lib/modules-load.d/br.conf", "br_netfilter\n")
	backup := file("etc/modules-load.d/br.conf.rpmsave", "br_netfilter\n")
	add("condition: modules_load, nothing in modules-load.d", early(cmdline("ro modules_load=sctp")), "on-demand;boot=false;commands~=/etc/modules-load.d/sctp-load.conf")
	add("condition: modules_load, a backup in modules-load.d", early(cmdline("ro modules_load=sctp"), backup), "on-demand;boot=false")
	add("condition: modules_load in the entry, nothing in modules-load.d", early(whole(entry("a", release, "ro modules_load=sctp"))), "on-demand")
	add("condition: modules_load, another file", early(cmdline("ro modules_load=sctp"), br), "loaded")
	add("condition: modules_load, something in /run", early(cmdline("ro modules_load=sctp"), file("run/modules-load.d/br.conf", "br_netfilter\n")), "onboot=loaded|unknown")
	add("condition: modules-load", early(cmdline("ro modules-load=sctp")), "loaded")
	add("condition: modules_load, later unit", cmdline("ro modules_load=sctp", dir("run"), dir("etc/modules-load.d")), "loaded")
	add("condition: modules_load, /run not there", without(early(cmdline("ro modules_load=sctp")), "run"), "onboot=loaded|unknown")
	add("condition: nothing asks", early(whole()), "on-demand;boot=true")
	add("condition: nothing asks, blacklist", early(whole(blacklisted)), "blocked;remedy~!=systemd-modules-load")

	// Sysctls as arguments of the kernel, which not all kernels take.
	for _, argument := range []string{"sysctl.kernel.modules_disabled=1", "sysctl.kernel.modprobe=/nowhere", "sysctl/kernel/modprobe=/nowhere"} {
		for old, want := range map[string]string{"4.18.0-553.el8.x86_64": "unknown", "5.7.19": "unknown", "5.8.0": "blocked", "5.10.0-9-amd64": "blocked", release: "blocked"} {
			add("sysctl argument: "+old+" "+argument, withKernels(whole(entry("a", old, "ro "+argument)), kernel(old, "libcrc32c", "sctp")), want)
		}
	}
	add("sysctl argument: not taken by this kernel", with(cmdline("ro sysctl.kernel.modules_disabled=1", requested), func(c *hostcase.Case) { c.ModulesDisabled = false }), "loaded;autoload=true")

	// Arguments because of which the next boot takes signed modules only.
	const mark = "~Module signature appended~\n"
	signing := func(sctp string, entries ...hostcase.Entry) *hostcase.Case {
		const dir = "usr/lib/modules/" + release + "/"
		c := whole(append(entries, requested, file("sys/module/module/parameters/sig_enforce", "N\n"), file("sys/kernel/security/lockdown", "[none] integrity confidentiality\n"))...)
		c.Modules[0].Gone, c.Modules[1].Gone = true, true // written here
		c.Entries = append(c.Entries, file(dir+c.Modules[0].File, "x"+mark), file(dir+c.Modules[1].File, sctp))
		return c
	}
	compressed := func(taint string, entries ...hostcase.Entry) *hostcase.Case {
		c := signing(mark, entries...)
		if taint != "" {
			c.Entries = append(c.Entries, file("sys/module/sctp/taint", taint))
		}
		c.Modules[1].File += ".xz"
		c.Entries = append(c.Entries, file("usr/lib/modules/"+release+"/"+c.Modules[1].File, "xz"))
		return c
	}
	for _, argument := range []string{"module.sig_enforce", "module.sig_enforce=1", "module.sig-enforce=y", "lockdown=integrity", "lockdown=confidentiality"} {
		a := entry("a", release, "ro "+argument)
		add("signature: none, "+argument, signing("x", a), "blocked;warnings~="+argument)
		add("signature: there, "+argument, signing("x"+mark, a), "loaded;warnings~!="+argument)
		add("signature: what is needed has none, "+argument, replace(signing("x"+mark, a), file("usr/lib/modules/"+release+"/kernel/lib/libcrc32c.ko", "x")), "blocked")
		add("signature: not readable, "+argument, compressed("", a), "unknown;warnings~="+argument)
		add("signature: not readable, loaded with it, "+argument, loaded(compressed("\n", a)), "loaded")
		add("signature: not readable, loaded without it, "+argument, loaded(compressed("OE\n", a)), "blocked")
		add("signature: none, and not known to be minded, "+argument, without(signing("x", a), "sys/module/module", "sys/kernel"), "unknown")
		add("signature: none, perhaps "+argument, signing("x", file("etc/default/grub", "GRUB_CMDLINE_LINUX=\""+argument+"\"\n")), "unknown")
		now := cmdline("ro "+argument, requested, entry("a", release, "ro"))
		add("signature: none, no more "+argument, now, "unknown")
	}
	for _, argument := range []string{"module.sig_enforce=0", "lockdown", "lockdown=none", "sig_enforce=1"} {
		add("signature: none, "+argument, signing("x", entry("a", release, "ro "+argument)), "loaded")
	}

	// What the target needs is loaded now, and would not load again.
	live := func(c *hostcase.Case, names ...string) *hostcase.Case { c.Live = names; return c }
	noCRC := file("etc/modprobe.d/crc.conf", "install libcrc32c /bin/false\n")
	for _, names := range [][]string{{"libcrc32c"}, {"libcrc32c", "sctp"}} {
		add("needed: loaded, no install "+names[len(names)-1], live(whole(requested), names...), "loaded;warnings~!=PendingKernelArguments")
		add("needed: loaded, install stops it "+names[len(names)-1], live(whole(requested, noCRC), names...), "unknown;warnings~=install libcrc32c /bin/false")
		add("needed: loaded, install stops it, not requested "+names[len(names)-1], live(whole(noCRC), names...), "unknown")
		add("needed: loaded, install loads it "+names[len(names)-1], live(whole(requested, file("etc/modprobe.d/crc.conf", "install libcrc32c /sbin/modprobe -i libcrc32c\n")), names...), "loaded")
		add("needed: loaded, the entry denies it "+names[len(names)-1], live(whole(requested, entry("a", release, "ro module_blacklist=libcrc32c")), names...), "blocked")
		add("needed: loaded, its file is gone "+names[len(names)-1], live(with(whole(requested), func(c *hostcase.Case) { c.Modules[0].Gone = true }), names...), "unknown")
		add("needed: loaded, a softdep "+names[len(names)-1], live(whole(requested, noCRC, file("etc/modprobe.d/s.conf", "softdep sctp pre: libcrc32c\n")), names...), "unknown")
	}
	add("needed: not loaded, install stops it", whole(requested, noCRC), "blocked")

	// Roots that are not the machine's.
	for _, mark := range []string{"run/systemd/container", "run/.containerenv", ".dockerenv", "kind", "dev/.lxc/proc"} {
		add("container: loaded "+mark, loaded(whole(requested, file(mark, ""))), "unknown;warnings~=HostRootIncomplete")
		add("container: not loaded "+mark, whole(blacklisted, file(mark, "")), "unknown")
	}
	bare := func(extra ...hostcase.Entry) *hostcase.Case {
		return &hostcase.Case{Kmod: 30, Systemd: 252, Want: map[string]string{}, Entries: extra}
	}
	add("container: container-manager", loaded(whole(requested, file("run/host/container-manager", "systemd-nspawn\n"))), "unknown")
	add("container: no module directory, loaded", with(whole(requested), func(c *hostcase.Case) { c.Modules, c.Aliases = nil, nil; c.Live = []string{"sctp"} }), "unknown")
	add("container: an image without a host", bare(file("etc/passwd", "x")), "unknown")
	add("container: an image without a host, loaded", loaded(bare(file("etc/passwd", "x"))), "unknown")
	guix := func(c *hostcase.Case, es ...hostcase.Entry) *hostcase.Case {
		c.Helper = "/gnu/store/1-modprobe/bin/modprobe"
		c.Entries = append(c.Entries, append(es, file("etc/os-release", "ID=guix\nNAME=\"Guix System\"\n"), link("run/booted-system", "/gnu/store/1-system"), file("gnu/store/1-system/kernel/lib/modules/"+release+"/modules.dep.bin", "x"))...)
		return c
	}
	for _, es := range [][]hostcase.Entry{nil, {link("sbin/init", "/gnu/store/1-init")}, {dir("lib"), requested, blacklisted}} {
		add(fmt.Sprint("container: guix, ", es), guix(bare(), es...), "unknown;reason=ModuleNotLoaded;remedy~=kernel-module-loader-service-type;commands=guix system reconfigure FILE\n")
		add(fmt.Sprint("container: guix, loaded, ", es), loaded(guix(bare(), es...)), "unknown")
	}
	add("container: guix with an argument", with(guix(bare()), func(c *hostcase.Case) { c.Cmdline, c.Denied = "module_blacklist=sctp\n", "sctp" }), "blocked;remedy~=kernel-arguments of the operating-system declaration")
	add("container: guix", bare(file("etc/os-release", "ID=guix\nNAME=\"Guix System\"\n"), link("run/current-system", "/gnu/store/x-system"), link("run/booted-system", "/gnu/store/x-system")), "unknown")
	add("container: nixos", bare(file("etc/os-release", "ID=nixos\n"), link("run/booted-system", "/nix/store/x")), "unknown")
	add("container: monolithic host", with(whole(), func(c *hostcase.Case) { c.Modules, c.Aliases = nil, nil }), "onboot=blocked|unknown")
	// A kernel without an index of what is compiled into it.
	compiledIn := file("sys/module/sctp/parameters/no_checksums", "N\n")
	for name, c := range map[string]*hostcase.Case{"no modules": with(whole(compiledIn), func(c *hostcase.Case) { c.Modules, c.Aliases = nil, nil }), "blacklisted": whole(compiledIn, blacklisted), "no list of it": with(noSCTP(whole(compiledIn)), func(c *hostcase.Case) { c.Without = []string{"modules.builtin.bin"} })} {
		add("container: compiled in, "+name, c, "loaded;autoload=true;modprobe=true;reason=ProbePassed;commands=;warnings=")
	}
	add("container: compiled in, and refused", with(whole(compiledIn), func(c *hostcase.Case) { c.Cmdline = "initcall_blacklist=sctp_init\n" }), "blocked;autoload=false")
	add("container: container with nomodule", with(whole(requested, file(".dockerenv", "")), func(c *hostcase.Case) { c.Cmdline = "nomodule\n"; c.ModulesDisabled = true }), "onboot=blocked;remedy~=remove the kernel argument nomodule;commands~!=modprobe sctp")
	add("container: container with module_blacklist", cmdline("module_blacklist=sctp", requested, file(".dockerenv", "")), "onboot=blocked;remedy~=remove the kernel argument module_blacklist=sctp;commands~!=modprobe sctp")
	add("container: container with modules_disabled", with(whole(requested, file(".dockerenv", "")), func(c *hostcase.Case) { c.ModulesDisabled = true }), "onboot=unknown|blocked;remedy~=reboot;commands~!=modprobe sctp")
	add("container: host with nomodule", with(whole(requested), func(c *hostcase.Case) { c.Cmdline = "nomodule\n"; c.ModulesDisabled = true }), "onboot=blocked;remedy~=remove the kernel argument nomodule")
	add("container: talos with nomodule", with(of("ID=talos\n", requested), func(c *hostcase.Case) { c.Cmdline = "nomodule\n"; c.ModulesDisabled = true }), "onboot=blocked|unknown;remedy~=nomodule")
	add("container: cos with nomodule", with(of("ID=cos\n", requested), func(c *hostcase.Case) { c.Cmdline = "nomodule\n"; c.ModulesDisabled = true }), "onboot=blocked|unknown;remedy~=nomodule")

	// Platforms, and packages of modules that are missing.
	add("platform: fcos", of("NAME=\"Fedora Linux\"\nID=fedora\nVERSION_ID=40\nVARIANT_ID=coreos\nPRETTY_NAME=\"Fedora CoreOS 40.2024\"\n", blacklisted), "onboot=blocked;platform=fedora-coreos;commands~!=oc ")
	add("platform: fcos quoted", of("ID=\"fedora\"\nVARIANT_ID='coreos'\nPRETTY_NAME=\"Fedora CoreOS 40.2024\"\n", blacklisted), "onboot=blocked;platform=fedora-coreos;commands~!=oc ")
	add("platform: rhcos 4.19", of("ID=\"rhel\"\nVARIANT_ID=\"coreos\"\nVERSION_ID=\"9.6\"\nPRETTY_NAME=\"Red Hat Enterprise Linux CoreOS 9.6\"\n", blacklisted), "onboot=blocked;platform=openshift;commands~=oc apply")
	add("platform: scos", of("ID=centos\nVARIANT_ID=coreos\n", blacklisted), "onboot=blocked;platform=openshift")
	add("platform: silverblue", of("ID=fedora\nVARIANT_ID=silverblue\n", file("run/ostree-booted", ""), blacklisted), "onboot=blocked;platform=fedora")
	add("platform: cos blacklist in etc", of("ID=cos\n", blacklisted), "unknown")
	for name, host := range map[string]*hostcase.Case{"on cos": of("ID=cos\n"), "with a new root": cmdline("ro overlayroot=tmpfs")} {
		const line = "kernel.modules_disabled=1"
		host.Entries = append(host.Entries, file("usr/lib/sysctl.d/9.conf", line+"\n"))
		add("platform: no modules after a sysctl, "+name, host, "blocked|unknown;remedy~=keep /usr/lib/sysctl.d/9.conf:1 ("+line+") from being set at boot;commands=\nmodprobe sctp\n")
		now := *host
		now.ModulesDisabled = true
		add("platform: no modules any more, "+name, &now, "onboot=blocked|unknown;remedy~=keep /usr/lib/sysctl.d/9.conf:1;remedy~=then reboot;commands=\nmodprobe sctp\nsystemctl reboot\n")
	}
	for id, reboot := range map[string]string{"cos": "then reboot", "talos": "machine.kernel.modules"} {
		for _, argument := range []string{"module_blacklist=sctp", "nomodule"} {
			add("platform: refused by the kernel, "+id+", "+argument, cmdline("ro "+argument, file("etc/os-release", "ID="+id+"\n")), "blocked;remedy~=remove the kernel argument "+argument+";remedy~="+reboot)
			add("platform: refused at the next boot, loaded, "+id+", "+argument, loaded(of("ID="+id+"\n", entry("a", release, "ro "+argument))), "blocked;remedy~=remove the kernel argument "+argument)
		}
	}
	add("platform: cos loaded", loaded(of("ID=cos\n")), "unknown")
	add("platform: cos", of("ID=cos\n"), "onboot=on-demand|unknown")
	add("platform: talos", of("ID=talos\n"), "onboot=on-demand|unknown;remedy~=machine.kernel.modules")
	add("platform: talos, an argument", with(of("ID=talos\n"), func(c *hostcase.Case) { c.Cmdline, c.Denied = "talos.platform=metal module_blacklist=sctp\n", "sctp" }), "blocked;remedy~=image's schematic (then run talosctl upgrade)")
	add("platform: talos loaded", loaded(of("ID=talos\n")), "unknown;warnings~!=LoadedOnDemandOnly")
	add("platform: bottlerocket", of("ID=bottlerocket\n", file("etc/modprobe.d/sctp.conf", "install sctp /bin/true\n")), "onboot=blocked|unknown;commands~=apiclient set kernel.modules.sctp.allowed=true")
	for id, at := range map[string]string{"debian": "with the systemd-boot of Proxmox VE, in /etc/kernel/cmdline (then run proxmox-boot-tool refresh)", "raspbian": "on a Raspberry Pi in /boot/firmware/cmdline.txt", "ubuntu": "on a Raspberry Pi in /boot/firmware/cmdline.txt", "photon": "in the boot loader's configuration"} {
		denied := func(c *hostcase.Case) { c.Cmdline, c.Denied = "ro module_blacklist=sctp\n", "sctp" }
		add("platform: an argument, "+id, with(of("ID="+id+"\n"), denied), "blocked;platform="+id+";remedy~="+at)
		add("platform: an argument on OSTree, "+id, with(of("ID="+id+"\n", file("run/ostree-booted", "")), denied), "blocked;platform="+id)
	}
	lacks := func(id, release string, extra ...hostcase.Entry) *hostcase.Case {
		c := noSCTP(of(id, extra...))
		c.Want["release"] = release
		if release != "" {
			c.Modules, c.Aliases = nil, nil
			c.Kernels = append(c.Kernels, hostcase.Kernel{Release: release, Modules: []string{"dummy"}})
		}
		return c
	}
	packaged := func(name, id, release, pkg string, extra ...hostcase.Entry) {
		add("platform: "+name, lacks(id, release, extra...), "reason=ModuleMissing;remedy~="+pkg)
	}
	packaged("ubuntu aws", "ID=ubuntu\n", "6.8.0-1012-aws", "linux-modules-extra-6.8.0-1012-aws")
	packaged("ubuntu kvm", "ID=ubuntu\n", "5.15.0-1050-kvm", "linux-modules-extra-5.15.0-1050-kvm")
	packaged("ubuntu raspi", "ID=ubuntu\nVERSION_ID=24.04\n", "6.8.0-1004-raspi", "install the package linux-modules-6.8.0-1004-raspi")
	packaged("ubuntu 26.04", "ID=ubuntu\nVERSION_ID=\"26.04\"\n", "7.0.0-1006-aws", "install the package linux-modules-7.0.0-1006-aws")
	packaged("ubuntu azure fde", "ID=ubuntu\n", "6.8.0-1004-azure-fde", "linux-modules-extra-6.8.0-1004-azure-fde")
	packaged("rhel 9 rt", "ID=rhel\nVERSION_ID=9.4\n", "5.14.0-427.13.1.el9_4.x86_64+rt", "kernel-rt-modules-extra-5.14.0-427.13.1.el9_4.x86_64")
	packaged("rhel 9 rt debug", "ID=rhel\nVERSION_ID=9.4\n", "5.14.0-427.13.1.el9_4.x86_64+rt-debug", "kernel-rt-debug-modules-extra-5.14.0-427.13.1.el9_4.x86_64")
	packaged("rhel 9.2 rt", "ID=rhel\nVERSION_ID=9.2\n", "5.14.0-284.11.1.rt14.296.el9_2.x86_64", "kernel-rt-modules-extra-5.14.0-284.11.1.rt14.296.el9_2.x86_64")
	packaged("rhel 8 rt", "ID=rhel\nVERSION_ID=8.9\n", "4.18.0-513.5.1.rt7.307.el8_9.x86_64", "kernel-rt-modules-extra-4.18.0-513.5.1.rt7.307.el8_9.x86_64")
	packaged("rhel 8 rt debug", "ID=rhel\nVERSION_ID=8.9\n", "4.18.0-513.5.1.rt7.307.el8_9.x86_64+debug", "kernel-rt-debug-modules-extra-4.18.0-513.5.1.rt7.307.el8_9.x86_64")
	packaged("rhel 9 64k", "ID=rhel\nVERSION_ID=9.4\n", "5.14.0-427.13.1.el9_4.aarch64+64k", "kernel-64k-modules-extra-5.14.0-427.13.1.el9_4.aarch64")
	packaged("rocky", "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=9.4\n", "5.14.0-427.13.1.el9_4.x86_64", "kernel-modules-extra-5.14.0-427.13.1.el9_4.x86_64")
	packaged("ol uek", "ID=\"ol\"\nVERSION_ID=9.4\n", "5.15.0-205.149.5.1.el9uek.x86_64", "kernel-uek-modules-extra-5.15.0-205.149.5.1.el9uek.x86_64")
	packaged("ol rhck", "ID=\"ol\"\nVERSION_ID=9.4\n", "5.14.0-427.13.1.el9_4.x86_64", "kernel-modules-extra-5.14.0-427.13.1.el9_4.x86_64")
	packaged("fedora", "ID=fedora\nVERSION_ID=44\n", "7.1.4-202.fc44.x86_64", "kernel-modules-7.1.4-202.fc44.x86_64;commands~!=blacklist")
	packaged("fedora debug", "ID=fedora\nVERSION_ID=42\n", "6.14.0-63.fc42.x86_64+debug", "kernel-debug-modules-6.14.0-63.fc42.x86_64;commands~!=blacklist")
	packaged("fedora eln", "ID=fedora\nVERSION_ID=43\n", "6.10.0-0.rc4.39.eln137.x86_64", "kernel-modules-extra-6.10.0-0.rc4.39.eln137.x86_64;commands~=: > /etc/modprobe.d/sctp-blacklist.conf")
	// What Oracle's packages blacklist (uek-rpm/ol9/mod-extra.list, uek-rpm/ol10/denylist.txt.S).
	for release, file := range map[string]string{
		"5.14.0-427.13.1.el9_4.x86_64": "sctp-blacklist.conf", "5.15.0-205.149.5.1.el9uek.x86_64": "sctp-blacklist.conf",
		"6.12.0-103.40.4.4.el9uek.x86_64": "6.12.0-103.40.4.4.el9uek.x86_64-sctp-denylist.conf", "6.12.0-100.28.2.el10uek.aarch64.64k": "6.12.0-100.28.2.el10uek.aarch64.64k-sctp-denylist.conf",
	} {
		packaged("ol and its blacklist, "+release, "ID=\"ol\"\n", release, "empty /etc/modprobe.d/"+file+", which that package brings;commands~=: > /etc/modprobe.d/"+file)
	}
	for _, r := range []string{"6.12.0-103.40.4.4.el9uek.x86_64", "6.12.0-90.1.1.el9uek.x86_64"} {
		const each, name = "another such file: empty it, too, before the reboot", "platform: ol, a file of each kernel, "
		add(name+r, of("ID=ol\n", file("etc/modprobe.d/"+r+"-sctp-denylist.conf", "# why\nblacklist sctp\n")), "blocked;remedy~="+each)
		packaged("ol, a file of each kernel, to be installed, "+r, "ID=ol\n", r, each)
	}
	packaged("amzn 2023", "ID=\"amzn\"\nVERSION_ID=\"2023\"\n", "6.1.94-99.176.amzn2023.x86_64", "kernel-modules-extra-6.1.94-99.176.amzn2023.x86_64")
	packaged("amzn 2023 6.12", "ID=\"amzn\"\nVERSION_ID=\"2023\"\n", "6.12.20-23.97.amzn2023.x86_64", "kernel6.12-modules-extra-6.12.20-23.97.amzn2023.x86_64")
	packaged("image mode", "ID=rhel\nVERSION_ID=9.6\n", "5.14.0-570.el9.x86_64", "add the package kernel-modules-extra to the image", file("run/ostree-booted", ""))
	packaged("image mode rt", "ID=rhel\nVERSION_ID=9.6\n", "5.14.0-570.el9.x86_64+rt", "add the package kernel-rt-modules-extra to the image", file("run/ostree-booted", ""))
	packaged("sles", "ID=\"sles\"\nVERSION_ID=15.6\n", "6.4.0-150600.23.7-default", "kernel-default")
	packaged("sles for sap", "ID=\"sles_sap\"\nVERSION_ID=15.5\n", "5.14.21-150500.55.7-default", "install the package kernel-default")
	packaged("leap", "ID=\"opensuse-leap\"\nVERSION_ID=15.6\n", "6.4.0-150600.23.7-rt", "kernel-rt")
	for release, command := range map[string]string{"3.10.0-1160.119.1.el7.x86_64": "yum install kernel-3", "5.10.239-236.958.amzn2.x86_64": "yum install kernel-5", "5.14.0-427.13.1.el9_4.x86_64": "dnf install kernel-modules-extra-5"} {
		add("platform: "+command, lacks(map[bool]string{true: "ID=amzn\nVERSION_ID=2\n", false: "ID=rhel\n"}[strings.Contains(release, "amzn")], release), "reason=ModuleMissing;commands~="+command)
	}
	add("platform: fcos", lacks("ID=fedora\nVARIANT_ID=coreos\n", "6.8.5-301.fc40.x86_64", file("run/ostree-booted", "")), "reason=ModuleMissing;remedy~=kernel-modules);commands~!=rpm-ostree install")

	// Who writes a file.
	for _, note := range []string{
		"# Ansible managed", "# Ansible managed: /x/y.j2 modified on", "# This file is managed by Puppet. DO NOT EDIT.", "# Generated by Chef for host", "# File managed by Salt at x", "# This file is controlled by Puppet",
		"# DO NOT EDIT THIS FILE", "# Do not hand edit", "# written by cloud-init", "# CIS 3.2.4", "# Created by anaconda", "# Configured by cloud-init", "# Maintained by cfengine", "# This file was created by openscap", "# oscap remediation",
		"# BEGIN ANSIBLE MANAGED BLOCK", "# Deployed by our build server, changes will be overwritten", "# This file is under configuration management", "# Local changes will be lost", "## Managed with Terraform", "# THIS FILE IS AUTOMATICALLY MANAGED", "# kickstart: rule 1.1.2", "# This file is autogenerated", "# Installed by hardening script", "# Warning: changes to this file will be reverted",
		"# CFEngine policy", "# Managed via MaaS", "# Provisioned by Foreman", "# Rendered by machine-config-daemon", "# Do NOT touch", "# Auto generated", "# pushed by Satellite", "# MANAGED FILE", "# Not to be edited manually", "# Automatically added by tanzu",
	} {
		add("notice: "+note, whole(file("etc/modprobe.d/b.conf", note+"\nblacklist sctp\n")), "remedy~="+strings.TrimSpace(note))
	}
	add("notice: note later", whole(file("etc/modprobe.d/b.conf", strings.Repeat("blacklist x\n", 60)+"# BEGIN ANSIBLE MANAGED BLOCK\nblacklist sctp\n# END ANSIBLE MANAGED BLOCK\n")), "remedy~=ANSIBLE MANAGED BLOCK")

	// Other inits.
	openrc := func(extra ...hostcase.Entry) *hostcase.Case {
		return &hostcase.Case{Kmod: 30, Systemd: 252, Want: map[string]string{}, Entries: append(append(kmodFiles(), file("usr/bin/busybox", elf+"BusyBox v1.36.1 "), link("usr/sbin/init", "/bin/busybox"), file("usr/sbin/openrc", elf)), extra...),
			Modules: whole().Modules, Aliases: whole().Aliases}
	}
	add("init: alpine with kmod, /etc/modules", openrc(file("etc/modules", "af_packet\nsctp\n")), "unknown")
	add("init: alpine with kmod, nothing asks", openrc(), "unknown;reason=ModuleNotLoaded;commands~=echo sctp > /etc/modules-load.d/sctp-load.conf;remedy~!=fix or remove")
	add("init: alpine with kmod, modules-load.d", openrc(requested), "unknown;reason=ModuleNotLoaded;commands=modprobe sctp\n;remedy~=make sure that the next boot loads it: /sbin/init is not systemd")
	add("init: gentoo conf.d/modules", openrc(file("etc/conf.d/modules", "modules=\"sctp\"\n")), "unknown")
	add("init: gentoo conf.d/modules blacklist", openrc(file("etc/conf.d/modules", "modules=\"sctp\"\n"), blacklisted), "onboot=unknown|blocked")
	add("init: local.d", openrc(file("etc/local.d/sctp.start", "#!/bin/sh\nmodprobe sctp\n"), blacklisted), "unknown")
	add("init: init.d in a runlevel", openrc(file("etc/init.d/sctp", "#!/sbin/openrc-run\nstart() { modprobe sctp; }\n"), link("etc/runlevels/default/sctp", "/etc/init.d/sctp"), blacklisted), "unknown")
	add("init: denied", with(openrc(requested), func(c *hostcase.Case) { c.Cmdline = "module_blacklist=sctp\n"; c.Denied = "sctp" }), "blocked")
	add("init: builtin", with(openrc(), func(c *hostcase.Case) { c.Modules, c.Aliases = nil, nil; c.Builtin = []string{"sctp"} }), "loaded")
	add("init: no module", noSCTP(openrc(requested)), "blocked")
	add("init: openrc-init", replace(openrc(file("etc/modules", "sctp\n"), file("usr/sbin/openrc-init", elf)), link("usr/sbin/init", "openrc-init")), "unknown")
	add("init: runit", replace(openrc(file("etc/rc.local", "#!/bin/sh\nmodprobe sctp\n"), file("usr/bin/runit-init", elf)), link("usr/sbin/init", "../bin/runit-init")), "unknown")
	add("init: sysvinit", replace(openrc(file("etc/modules", "sctp\n")), file("usr/sbin/init", elf)), "unknown")
	add("init: sysvinit beside systemd", replace(whole(requested), file("usr/sbin/init", elf)), "unknown")
	add("init: sysvinit beside systemd, masked unit", replace(whole(requested, link("etc/systemd/system/systemd-modules-load.service", "/dev/null")), file("usr/sbin/init", elf)), "unknown")
	add("init: sysvinit beside systemd, nothing asks but rcS", replace(whole(file("etc/rcS.d/S20kmod", "#!/bin/sh\n"), file("etc/modules", "sctp\n")), file("usr/sbin/init", elf)), "unknown")
	add("init: openrc beside systemd", replace(whole(requested, file("usr/sbin/openrc-init", elf)), link("usr/sbin/init", "openrc-init")), "unknown")
	add("init: openrc beside systemd, init= systemd", with(replace(whole(requested, file("usr/sbin/openrc-init", elf)), link("usr/sbin/init", "openrc-init")), func(c *hostcase.Case) { c.Cmdline = "ro init=/usr/lib/systemd/systemd\n" }), "onboot=loaded|unknown")
	add("init: systemd with init= openrc", with(whole(requested, file("usr/sbin/openrc-init", elf)), func(c *hostcase.Case) { c.Cmdline = "ro init=/sbin/openrc-init\n" }), "unknown")
	add("init: systemd with init= openrc, nothing asks", with(whole(file("usr/sbin/openrc-init", elf)), func(c *hostcase.Case) { c.Cmdline = "ro init=/sbin/openrc-init\n" }), "unknown")
	add("init: no sbin/init, systemd there", without(whole(requested), "usr/sbin/init"), "loaded")
	add("init: etc/init", replace(whole(requested), link("usr/sbin/init", "/etc/alternatives/init")), "onboot=unknown|loaded")
	add("init: init by alternatives", replace(whole(requested, link("etc/alternatives/init", "/lib/systemd/systemd")), link("usr/sbin/init", "/etc/alternatives/init")), "loaded")
	add("init: finit", replace(openrc(file("etc/finit.conf", "module sctp\n"), file("usr/sbin/finit", elf)), link("usr/sbin/init", "finit")), "unknown")
	add("init: dinit, blacklist", replace(openrc(blacklisted, file("usr/sbin/dinit", elf)), link("usr/sbin/init", "dinit")), "onboot=unknown|blocked")

	// Units.
	modulesLoad := "/usr/lib/systemd/systemd-modules-load"
	// What a line of a unit file is to systemd; that of 239 (RHEL 8) differs.
	read := func(systemd int, text string, extra ...hostcase.Entry) *hostcase.Case {
		return with(unit(text, extra...), func(c *hostcase.Case) { c.Systemd = systemd })
	}
	const service = "[Service]\nType=oneshot\n"
	for line, want := range map[string]string{
		"ExecStart=--/sbin/modprobe sctp\n": "on-demand", "ExecStart=+!/sbin/modprobe sctp\n": "on-demand", "ExecStart=!!!/sbin/modprobe sctp\n": "on-demand", "ExecStart=!-!/sbin/modprobe sctp\n": "loaded",
		"ExecStart=/sbin/modprobe/ sctp\n": "on-demand", "\u00a0ExecStart=/sbin/modprobe sctp\n": "on-demand", "ExecStart=/sbin/modprobe sctp \xff\n": "on-demand|unknown",
		"ExecStartPre=-/bin/echo a\\\\\nUser=nobody\nExecStart=/sbin/modprobe sctp\n": "unknown", "ExecStart=/sbin/modprobe sctp\rUser=nobody\n": "unknown",
		"ExecStart=/sbin/modprobe sctp\x00User=nobody\n": "unknown", "# a \\\n# b\nExecStart=/sbin/modprobe sctp\n": "loaded", "# a \\\nExecStart=/sbin/modprobe sctp\n": "loaded", "junk\nExecStart=/sbin/modprobe sctp\n": "loaded",
	} {
		add(fmt.Sprintf("unit: the line %q", line), read(252, service+line), "onboot="+want)
	}
	add("unit: a description in Latin-1", read(252, "[Unit]\nDescription=caf\xe9\n"+service+"ExecStart=/sbin/modprobe sctp\n"), "onboot=on-demand|unknown")
	add("unit: a name in Wants=", read(252, "[Unit]\nWants=%N-2.service\n"+service+"ExecStart=/bin/true\n", file("etc/systemd/system/load-sctp-2.service", service+"ExecStart=/sbin/modprobe sctp\n")), "onboot=loaded|unknown")
	add("unit: 239 reads on in a comment", read(239, service+"# a \\\nExecStart=/sbin/modprobe sctp\n"), "onboot=on-demand|unknown")
	add("unit: 239 reads on in a comment alone", read(239, service+"# a \\\n# b\nExecStart=/sbin/modprobe sctp\n"), "loaded")
	add("unit: 239 needs an equals sign", read(239, service+"junk\nExecStart=/sbin/modprobe sctp\n"), "onboot=on-demand|unknown")
	add("unit: 239 includes a unit", read(239, ".include /usr/lib/x.service\n[Service]\nType=oneshot\n", file("usr/lib/x.service", service+"ExecStart=/sbin/modprobe sctp\n")), "onboot=loaded|unknown")
	add("unit: 239 includes the vendor's", with(whole(requested, file("etc/systemd/system/systemd-modules-load.service", ".include /usr/lib/systemd/system/systemd-modules-load.service\n[Service]\nTimeoutSec=5min\n")), func(c *hostcase.Case) { c.Systemd = 239 }), "onboot=loaded|unknown")

	// Without the module, what else is in its way is among the steps, whether its package is known or not.
	for text, wants := range map[string]string{
		"ID=debian\n": "comment out line 1 of /etc/modprobe.d/b.conf", "ID=flatcar\n": "comment out line 1 of /etc/modprobe.d/b.conf", "ID=ubuntu\n": "comment out line 1 of /etc/modprobe.d/b.conf",
		"ID=rhcos\nOPENSHIFT_VERSION=4.16\n": "as one MachineConfig", "ID=talos\n": "machine.kernel.modules", "ID=bottlerocket\n": "kernel.modules.sctp.autoload", "ID=cos\n": "modprobe sctp", "ID=nixos\n": "boot.blacklistedKernelModules",
	} {
		add("no module: and a blacklist, "+text, noSCTP(of(text, blacklisted)), "reason=ModuleMissing;remedy~="+wants+";remedy~!=modules.dep.bin from")
	}

	// sysctl(8) reads /etc/sysctl.conf, which systemd-sysctl reads where it is linked.
	locksModules := file("etc/sysctl.conf", "# kernel.modprobe=x\nkernel.modules_disabled = 1\n")
	program := file("usr/sbin/sysctl", elf)
	add("sysctl: nobody reads the file", oneshot("ExecStart=/sbin/sysctl -w vm.swappiness=1", locksModules, program), "on-demand")
	add("sysctl: -p", oneshot("ExecStart=/sbin/sysctl -p", locksModules, program), "unknown")
	add("sysctl: -qp in a shell", oneshot("ExecStart=/bin/sh -c 'sleep 1; sysctl -qp'", locksModules, program), "unknown")
	add("sysctl: --system in a script", oneshot("ExecStart=/opt/tune", locksModules, program, file("opt/tune", "#!/bin/sh\nsysctl --system\n")), "unknown")
	add("sysctl: another file", oneshot("ExecStart=/sbin/sysctl --load /etc/lock.conf", program, file("etc/lock.conf", "kernel.modprobe=/bin/false\n")), "unknown")
	add("sysctl: --system, of nothing about modules", oneshot("ExecStart=/sbin/sysctl --system", file("etc/sysctl.conf", "vm.swappiness=1\n"), program), "on-demand")
	add("sysctl: --system, of a file that is linked", oneshot("ExecStart=/sbin/sysctl --system", locksModules, program, link("etc/sysctl.d/99-sysctl.conf", "../sysctl.conf")), "blocked")

	// What stops a unit is run at boot where nothing of it remains.
	const removesIt = "ExecStop=/sbin/modprobe -r sctp"
	add("unit: oneshot, removed at once", oneshot("ExecStart=/sbin/modprobe sctp\nRemainAfterExit=no\n"+removesIt), "unknown")
	add("unit: oneshot, removed when it is stopped", oneshot("ExecStart=/sbin/modprobe sctp\n"+removesIt), "loaded")
	// systemd ignores a value that is none, and an empty one.
	for _, ignored := range []string{"maybe", ""} {
		add("unit: oneshot, removed when it is stopped, RemainAfterExit="+ignored, oneshot("ExecStart=/sbin/modprobe sctp\nRemainAfterExit="+ignored+"\n"+removesIt), "loaded")
		add("unit: oneshot, removed at once, RemainAfterExit="+ignored, oneshot("ExecStart=/sbin/modprobe sctp\nRemainAfterExit=no\nRemainAfterExit="+ignored+"\n"+removesIt), "unknown")
	}
	add("unit: oneshot, another one removed at once", oneshot("ExecStart=/sbin/modprobe sctp\nRemainAfterExit=no\nExecStop=/sbin/modprobe -r dccp"), "loaded")
	add("unit: simple, removed at once", unit("[Service]\nExecStart=/sbin/modprobe sctp\nExecStopPost=/sbin/modprobe -r sctp\n"), "unknown")
	add("unit: a daemon, removed when it is stopped", unit("[Service]\nExecStartPre=/sbin/modprobe sctp\nExecStart=/usr/bin/true --for-ever\n"+removesIt+"\n"), "loaded")
	add("unit: loaded by a condition", oneshot("ExecCondition=/sbin/modprobe sctp\nExecStart=/bin/true"), "onboot=loaded|unknown")
	add("unit: kmod insert", oneshot("ExecStart=/usr/bin/kmod insert sctp"), "onboot=loaded|unknown")

	add("unit: drop-in names what is not there", dropin("[Service]\nExecStart=\nExecStart=/usr/libexec/systemd-modules-load\n"), "onboot=on-demand;boot=false")
	add("unit: replaced names what is not there", whole(requested, file("etc/systemd/system/systemd-modules-load.service", strings.Replace(modulesLoadUnit, modulesLoad, "/opt/systemd-modules-load", 1))), "onboot=on-demand;boot=false")
	add("unit: drop-in names the other path", dropin("[Service]\nExecStart=\nExecStart=/lib/systemd/systemd-modules-load\n"), "loaded")
	add("unit: drop-in names a script of that name", dropin("[Service]\nExecStart=\nExecStart=/usr/local/bin/systemd-modules-load\n", file("usr/local/bin/systemd-modules-load", "#!/bin/sh\nexit 0\n")), "unknown")
	add("unit: drop-in names a link to it", dropin("[Service]\nExecStart=\nExecStart=/usr/local/bin/load-modules\n", link("usr/local/bin/load-modules", modulesLoad)), "onboot=loaded|unknown")
	add("unit: drop-in names it without a path", dropin("[Service]\nExecStart=\nExecStart=systemd-modules-load\n"), "onboot=on-demand|unknown")
	add("unit: drop-in with dash", dropin("[Service]\nExecStart=\nExecStart=-"+modulesLoad+"\n"), "loaded")
	add("unit: drop-in with argv0", dropin("[Service]\nExecStart=\nExecStart=@"+modulesLoad+" x\n"), "loaded")
	add("unit: drop-in with a file", dropin("[Service]\nExecStart=\nExecStart="+modulesLoad+" /etc/x.conf\n"), "unknown")
	add("unit: drop-in with sh", dropin("[Service]\nExecStart=\nExecStart=/bin/sh -c "+modulesLoad+"\n"), "onboot=loaded|unknown")
	add("unit: drop-in adds a second one that is not there", dropin("[Service]\nExecStart=/opt/none\n"), "onboot=loaded|unknown")
	add("unit: drop-in adds first one that is not there", dropin("[Service]\nExecStart=\nExecStart=/opt/none\nExecStart="+modulesLoad+"\n"), "onboot=on-demand|unknown")
	add("unit: vendor's program not there", without(whole(requested), "usr/lib/systemd/systemd-modules-load"), "onboot=on-demand|unknown")
	add("unit: program not executable", replace(whole(requested), file("usr/lib/systemd/systemd-modules-load", "x")), "onboot=on-demand|unknown")
	add("unit: program is a dangling link", dropin("[Service]\nExecStart=\nExecStart=/opt/systemd-modules-load\n", link("opt/systemd-modules-load", "/nowhere")), "on-demand")
	add("unit: mask relative link", whole(requested, link("etc/systemd/system/systemd-modules-load.service", "../../../dev/null")), "on-demand")
	add("unit: mask in control", whole(requested, link("etc/systemd/system.control/systemd-modules-load.service", "/dev/null")), "on-demand")
	add("unit: mask in usr/local", whole(requested, link("usr/local/lib/systemd/system/systemd-modules-load.service", "/dev/null")), "on-demand")
	add("unit: mask in usr/local, edited in etc", whole(requested, link("usr/local/lib/systemd/system/systemd-modules-load.service", "/dev/null"), file("etc/systemd/system/systemd-modules-load.service", modulesLoadUnit)), "loaded")
	add("unit: cmdline mask without suffix", cmdline("systemd.mask=systemd-modules-load", requested), "on-demand")
	add("unit: cmdline mask quoted", cmdline(`"systemd.mask=systemd-modules-load.service"`, requested), "on-demand")
	add("unit: cmdline rd mask", cmdline("rd.systemd.mask=systemd-modules-load.service", requested), "loaded")
	add("unit: cmdline masks the loading unit", with(oneshot("ExecStart=/sbin/modprobe sctp", blacklisted), func(c *hostcase.Case) { c.Cmdline = "systemd.mask=load-sctp.service\n" }), "blocked")
	add("unit: cmdline masks the loading unit, no suffix", with(oneshot("ExecStart=/sbin/modprobe sctp", blacklisted), func(c *hostcase.Case) { c.Cmdline = "systemd.mask=load-sctp\n" }), "blocked")
	add("unit: cmdline masks sysinit", cmdline("systemd.mask=sysinit.target", requested), "onboot=unknown|on-demand")
	add("unit: cmdline single", with(oneshot("ExecStart=/sbin/modprobe sctp", blacklisted), func(c *hostcase.Case) { c.Cmdline = "ro single\n" }), "onboot=blocked|unknown")
	add("unit: cmdline 1", with(oneshot("ExecStart=/sbin/modprobe sctp", blacklisted), func(c *hostcase.Case) { c.Cmdline = "ro 1\n" }), "onboot=blocked|unknown")
	add("unit: cmdline rescue", with(oneshot("ExecStart=/sbin/modprobe sctp", blacklisted), func(c *hostcase.Case) { c.Cmdline = "ro rescue\n" }), "onboot=blocked|unknown")
	add("unit: cmdline single asks", cmdline("ro single", requested), "loaded")
	add("unit: cmdline 3", with(oneshot("ExecStart=/sbin/modprobe sctp", blacklisted), func(c *hostcase.Case) { c.Cmdline = "ro 3\n" }), "loaded")
	add("unit: cmdline 3, unit of graphical", with(whole(blacklisted, file("etc/systemd/system/x.service", "[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n"), link("etc/systemd/system/graphical.target.wants/x.service", "../x.service")), func(c *hostcase.Case) { c.Cmdline = "ro 3\n" }), "onboot=blocked|unknown")
	add("unit: unit of graphical", whole(blacklisted, file("etc/systemd/system/x.service", "[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n"), link("etc/systemd/system/graphical.target.wants/x.service", "../x.service")), "loaded")
	add("unit: system.conf takes the capability", whole(requested, file("etc/systemd/system.conf", "[Manager]\nCapabilityBoundingSet=~CAP_SYS_MODULE\n")), "onboot=unknown|blocked")
	add("unit: system.conf.d takes the capability", whole(requested, file("etc/systemd/system.conf.d/x.conf", "[Manager]\nCapabilityBoundingSet=CAP_NET_ADMIN CAP_SYS_ADMIN\n")), "onboot=unknown|blocked")
	add("unit: system.conf commented", whole(requested, file("etc/systemd/system.conf", "[Manager]\n#CapabilityBoundingSet=\n")), "loaded")
	add("unit: system.conf takes the capability, nothing asks", whole(file("etc/systemd/system.conf", "[Manager]\nCapabilityBoundingSet=~CAP_SYS_MODULE\n")), "onboot=unknown|blocked")
	add("unit: modprobe -n", oneshot("ExecStart=/sbin/modprobe -n sctp", blacklisted), "onboot=blocked|unknown")
	add("unit: modprobe --first-time", oneshot("ExecStart=/sbin/modprobe --first-time sctp", blacklisted), "onboot=loaded|unknown")
	add("unit: modprobe path", oneshot("ExecStart=/sbin/modprobe /lib/modules/"+release+"/kernel/net/sctp/sctp.ko", blacklisted), "blocked")
	add("unit: modprobe path, later kmod", with(oneshot("ExecStart=/sbin/modprobe /lib/modules/"+release+"/kernel/net/sctp/sctp.ko", blacklisted), func(c *hostcase.Case) { c.Kmod = 34 }), "onboot=loaded|unknown")
	add("unit: modprobe sctp.ko", oneshot("ExecStart=/sbin/modprobe sctp.ko", blacklisted), "onboot=blocked")
	add("unit: modprobe with an option of the module", oneshot("ExecStart=/sbin/modprobe sctp max_burst=5", blacklisted), "onboot=loaded")
	add("unit: modprobe with params", oneshot("ExecStart=/sbin/modprobe -C /dev/null sctp", file("etc/modprobe.d/x.conf", "install sctp /bin/false\n")), "onboot=loaded|unknown")
	add("unit: env file", oneshot("EnvironmentFile=/etc/default/modprobe\nExecStart=/sbin/modprobe sctp", blacklisted), "onboot=loaded|unknown")
	add("unit: optional env file with MODPROBE_OPTIONS", oneshot("EnvironmentFile=-/etc/default/sctp\nExecStart=/sbin/modprobe sctp", blacklisted, file("etc/default/sctp", "MODPROBE_OPTIONS=-b\n")), "onboot=unknown|blocked")
	add("unit: optional env file missing", oneshot("EnvironmentFile=-/etc/default/sctp\nExecStart=/sbin/modprobe sctp", blacklisted), "onboot=loaded")
	add("unit: env MODPROBE_OPTIONS", oneshot("Environment=\"MODPROBE_OPTIONS=-b\"\nExecStart=/sbin/modprobe sctp", blacklisted), "onboot=unknown|blocked")
	add("unit: manager env MODPROBE_OPTIONS", oneshot("ExecStart=/sbin/modprobe sctp", blacklisted, file("etc/systemd/system.conf", "[Manager]\nDefaultEnvironment=MODPROBE_OPTIONS=-b\n")), "onboot=unknown|blocked")
	add("unit: cmdline setenv", with(oneshot("ExecStart=/sbin/modprobe sctp", blacklisted), func(c *hostcase.Case) { c.Cmdline = "systemd.setenv=MODPROBE_OPTIONS=-b\n" }), "onboot=unknown|blocked")
	add("unit: env program sets it", oneshot("ExecStart=/usr/bin/env MODPROBE_OPTIONS=-b modprobe sctp", blacklisted), "onboot=unknown|blocked")
	add("unit: sh sets it", oneshot("ExecStart=/bin/sh -c 'MODPROBE_OPTIONS=-b modprobe sctp'", blacklisted), "onboot=unknown|blocked")
	add("unit: kubelet drop-in", whole(blacklisted, file("usr/lib/systemd/system/kubelet.service", "[Unit]\nDescription=k\n[Service]\nExecStart=/usr/bin/kubelet\nRestart=always\n"), file("usr/bin/kubelet", elf), link("etc/systemd/system/multi-user.target.wants/kubelet.service", "/usr/lib/systemd/system/kubelet.service"),
		file("etc/systemd/system/kubelet.service.d/10.conf", "[Service]\nExecStartPre=/sbin/modprobe sctp\n")), "loaded")
	add("unit: its own log", oneshot("ExecStart=/sbin/modprobe sctp", blacklisted), "reason=ModuleLoadFailed;commands~=journalctl -b -u load-sctp\n")
	add("unit: a drop-in, and the unit's log", whole(blacklisted, file("usr/lib/systemd/system/kubelet.service", "[Service]\nExecStart=/bin/true\n"), link("etc/systemd/system/multi-user.target.wants/kubelet.service", "/usr/lib/systemd/system/kubelet.service"),
		file("etc/systemd/system/kubelet.service.d/10.conf", "[Service]\nExecStartPre=/sbin/modprobe sctp\n")), "reason=ModuleLoadFailed;commands~=journalctl -b -u kubelet\n")
	add("unit: an instance, and its log", whole(link("etc/systemd/system/multi-user.target.wants/modprobe@sctp.service", "/usr/lib/systemd/system/modprobe@.service")), "reason=ModuleLoadFailed;commands~=journalctl -b -u 'modprobe@*'\n")
	add("unit: the log of modules-load.d", whole(requested), "reason=ModuleLoadFailed;commands~=journalctl -b -u systemd-modules-load\n")
	add("unit: kubelet drop-in post", whole(blacklisted, file("usr/lib/systemd/system/kubelet.service", "[Unit]\nDescription=k\n[Service]\nExecStart=/usr/bin/kubelet\nRestart=always\n"), file("usr/bin/kubelet", elf), link("etc/systemd/system/multi-user.target.wants/kubelet.service", "/usr/lib/systemd/system/kubelet.service"),
		file("etc/systemd/system/kubelet.service.d/10.conf", "[Service]\nExecStartPost=/sbin/modprobe sctp\n")), "onboot=loaded|unknown")
	add("unit: unit in a condition that fails", unit("[Unit]\nConditionPathExists=/etc/none\n[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n", blacklisted), "blocked")
	add("unit: unit ConditionKernelModuleLoaded", unit("[Unit]\nConditionKernelModuleLoaded=sctp\n[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n", blacklisted), "onboot=unknown|blocked")
	add("unit: unit condition on version", unit("[Unit]\nConditionKernelVersion=>=5\n[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n", blacklisted), "onboot=unknown|loaded")
	for what, to := range map[string]string{"the null device": "/dev/null", "an empty file": "/usr/lib/empty"} {
		add("unit: its link resolves, by another, to "+what, whole(blacklisted, file("usr/lib/empty", ""), file("etc/systemd/system/load-sctp.service", "[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n"),
			link("usr/lib/systemd/system/load-sctp.service", to), link("usr/lib/systemd/system/multi-user.target.wants/load-sctp.service", "../load-sctp.service")), "blocked")
	}
	add("unit: unit wants link to nowhere", whole(blacklisted, link("etc/systemd/system/multi-user.target.wants/load-sctp.service", "/etc/systemd/system/load-sctp.service")), "blocked")
	add("unit: unit linked elsewhere only by wants", whole(blacklisted, file("opt/load-sctp.service", "[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n"), link("etc/systemd/system/multi-user.target.wants/load-sctp.service", "/opt/load-sctp.service")), "blocked")
	add("unit: default target rescue", oneshot("ExecStart=/sbin/modprobe sctp", blacklisted, link("etc/systemd/system/default.target", "/usr/lib/systemd/system/rescue.target")), "blocked")
	add("unit: crontab of root", whole(blacklisted, file("var/spool/cron/root", "@reboot /sbin/modprobe sctp\n")), "unknown")
	add("unit: crontab of root, Debian", whole(blacklisted, file("var/spool/cron/crontabs/root", "@reboot /sbin/modprobe sctp\n")), "unknown")
	add("unit: crontab not at boot", whole(blacklisted, file("etc/crontab", "# m h\n")), "blocked")
	add("unit: rcS.d", whole(blacklisted, file("etc/init.d/x", "#!/bin/sh\nmodprobe sctp\n"), link("etc/rcS.d/S01x", "../init.d/x")), "unknown")
	add("unit: interfaces", whole(blacklisted, file("etc/network/interfaces", "auto eth0\niface eth0 inet dhcp\n    pre-up modprobe sctp\n")), "unknown")
	add("unit: if-up.d", whole(blacklisted, file("etc/network/if-up.d/sctp", "#!/bin/sh\nmodprobe sctp\n")), "unknown")
	add("unit: networkd-dispatcher", whole(blacklisted, file("etc/networkd-dispatcher/routable.d/sctp", "#!/bin/sh\nmodprobe sctp\n")), "unknown")
	add("unit: udev in usr/lib", whole(blacklisted, file("usr/lib/udev/rules.d/99.rules", "ACTION==\"add\", RUN+=\"/sbin/modprobe sctp\"\n")), "unknown;warnings~=/usr/lib/udev/rules.d/99.rules:1")
	add("unit: tuned", whole(blacklisted, file("etc/tuned/ran/script.sh", "#!/bin/sh\nmodprobe sctp\n"), file("etc/tuned/active_profile", "ran\n")), "unknown")
	add("unit: tuned's new place", whole(blacklisted, file("etc/tuned/profiles/ran/load.sh", "#!/bin/sh\nmodprobe sctp\n"), file("etc/tuned/profiles/ran/tuned.conf", "[script]\nscript=load.sh\n")), "unknown")
	add("unit: rc.modules", whole(blacklisted, file("etc/rc.modules", "#!/bin/sh\nmodprobe sctp\n")), "unknown")
	// Variables in the commands of packages, as those of Debian's watchdog and dpdk.
	const watchdog = "[Service]\nType=oneshot\nEnvironmentFile=/etc/default/watchdog\nExecStartPre=/bin/sh -c '[ -z \"${watchdog_module}\" ] || [ \"${watchdog_module}\" = \"none\" ] || /sbin/modprobe $watchdog_module'\nExecStart=/bin/true\n"
	for _, x := range [][4]string{
		{"usr/lib", watchdog, "# not sctp\nwatchdog_module=\"none\"\n", "blocked"}, {"usr/lib", watchdog, "watchdog_module=\"sctp\"\n", "unknown"}, {"usr/lib", watchdog, "", "blocked"}, {"etc", watchdog, "watchdog_module=\"none\"\n", "unknown"}, {"usr/local/lib", watchdog, "", "unknown"},
		{"usr/lib", strings.Replace(watchdog, "/etc/default/watchdog", "/etc/default/%p", 1), "", "unknown"}, {"usr/lib", strings.Replace(watchdog, "/etc/default/watchdog", "/proc/cmdline", 1), "", "unknown"}, {"usr/lib", strings.Replace(watchdog, "EnvironmentFile=/etc/default/watchdog", "Environment=watchdog_module=sctp", 1), "", "unknown"},
		{"usr/lib", "[Service]\nType=oneshot\nExecStart=/lib/dpdk/dpdk-init start\n", "", "blocked"}, {"usr/lib", "[Service]\nType=oneshot\nExecStart=/usr/lib/dpdk/dpdk-init start\n", "", "blocked"}, {"usr/lib", "[Service]\nType=oneshot\nExecStart=/opt/dpdk-init start\n", "", "unknown"},
	} {
		load := file("usr/lib/dpdk/dpdk-init", "#!/bin/sh\nfor MOD in $MODS; do\n  modprobe -q \"$MOD\" || true\ndone\n")
		c := whole(blacklisted, load, file("opt/dpdk-init", load.Content), file(x[0]+"/systemd/system/x.service", x[1]), link("etc/systemd/system/multi-user.target.wants/x.service", "/"+x[0]+"/systemd/system/x.service"))
		if x[2] != "" {
			c.Entries = append(c.Entries, file("etc/default/watchdog", x[2]))
		}
		add("unit: a package's variable, "+strings.Join(x[:3], ", "), c, x[3])
	}
	// Lists of modules that a package's script, or the initial RAM disk, loads.
	lists := func(name, text, wants string) *hostcase.Case {
		return whole(blacklisted, file(name, "# sctp\n"+text+"\n"), file("usr/lib/systemd/system/iptables.service", "[Unit]\nBefore=network-pre.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/libexec/iptables/iptables.init start\n"),
			file("usr/libexec/iptables/iptables.init", "#!/bin/bash\n[ -f \"$IPTABLES_CONFIG\" ] && . \"$IPTABLES_CONFIG\"\nfor mod in $IPTABLES_MODULES; do\n  modprobe $mod > /dev/null 2>&1\ndone\n"), link("etc/systemd/system/"+wants+".wants/iptables.service", "/usr/lib/systemd/system/iptables.service"))
	}
	for _, x := range [][4]string{
		{"sysconfig/iptables-config", `IPTABLES_MODULES="nf_conntrack_ftp sctp"`, "multi-user.target", "unknown"}, {"sysconfig/iptables-config", `IPTABLES_MODULES="nf_conntrack_proto_sctp"`, "multi-user.target", "blocked"},
		{"sysconfig/iptables-config", `IPTABLES_MODULES_UNLOAD="sctp"`, "multi-user.target", "blocked"}, {"sysconfig/iptables-config", `IPTABLES_MODULES="sctp"`, "other.target", "blocked"},
		{"default/ufw", `IPT_MODULES="sctp"`, "multi-user.target", "blocked"}, {"initramfs-tools/modules", "sctp no_checksums=1", "", "unknown"}, {"initramfs-tools/modules", "dccp # sctp", "", "blocked"},
		{"dracut.conf.d/x.conf", `force_drivers+=" dccp sctp "`, "", "unknown"}, {"dracut.conf", `force_drivers+=" sctp "`, "", "unknown"}, {"dracut.conf.d/x.conf", `omit_drivers+=" sctp "`, "", "blocked"}, {"dracut.conf.d/x.conf", `add_drivers+=" sctp "`, "", "blocked"}, {"dracut.conf.d/x", `force_drivers+=" sctp "`, "", "blocked"},
		{"mkinitcpio.conf", "MODULES=(btrfs sctp)", "", "unknown"}, {"mkinitcpio.conf", "HOOKS=(sctp)", "", "blocked"},
	} {
		add("unit: a list, "+strings.Join(x[:3], ", "), lists("etc/"+x[0], x[1], x[2]), x[3])
	}
	add("unit: a list, of a service that sysinit.target starts", whole(blacklisted, file("etc/default/ufw", "IPT_MODULES=\"nf_nat_ftp sctp\"\n"), file("usr/lib/systemd/system/ufw.service", "[Unit]\nDefaultDependencies=no\nBefore=network-pre.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/lib/ufw/ufw-init start quiet\n"), link("etc/systemd/system/sysinit.target.wants/ufw.service", "/usr/lib/systemd/system/ufw.service")), "unknown;warnings~=etc/default/ufw")
	add("unit: a list, and modules-load.d", whole(requested, file("etc/dracut.conf.d/x.conf", "force_drivers+=\" sctp \"\n")), "loaded")
	add("unit: cloud-init per boot", whole(blacklisted, file("var/lib/cloud/scripts/per-boot/x.sh", "#!/bin/sh\nmodprobe sctp\n")), "unknown")
	add("unit: rc.local", whole(blacklisted, file("usr/lib/systemd/system/rc-local.service", "[Unit]\nConditionFileIsExecutable=/etc/rc.local\nAfter=network.target\n[Service]\nType=forking\nExecStart=/etc/rc.local start\nTimeoutSec=0\nRemainAfterExit=yes\n"), file("etc/rc.local", "#!/bin/sh\nmodprobe sctp\n")), "unknown")
	add("unit: rc.local not executable", whole(blacklisted, file("usr/lib/systemd/system/rc-local.service", "[Unit]\nConditionFileIsExecutable=/etc/rc.local\nAfter=network.target\n[Service]\nType=forking\nExecStart=/etc/rc.local start\nTimeoutSec=0\nRemainAfterExit=yes\n"), file("etc/rc.local", "modprobe sctp\n")), "blocked")
	// Commands in place of a module that are no program.
	for command, want := range map[string]string{"disabled": "false", "/etc/hosts": "false", "/bin//true": "false", "off; /sbin/modprobe -i sctp": "true", "exec /bin/false": "unknown|false", "gate=1": "unknown|false", ". /etc/none; modprobe -i sctp": "unknown", "eval modprobe -i sctp": "unknown", "gate": "unknown"} {
		add("install: "+command, whole(file("etc/hosts", "x"), file("usr/local/bin/gate", elf), file("etc/modprobe.d/x.conf", "install sctp "+command+"\n")), "autoload="+want+";modprobe="+want)
	}
	// Scripts that hardening packages have in place of modules (security-misc of Kicksecure),
	// and others.
	for text, want := range map[string]string{
		"#!/bin/bash\n\n## Alerts user that a module is disabled.\n\necho \"$0: ALERT: disabled by default. See /etc/modprobe.d/30.conf for details. | args: $@\" >&2\n\nexit 1\n": "false",
		"#!/bin/sh\nlogger -t modprobe \"blocked $MODPROBE_MODULE\"\n":                   "false",
		"#! /bin/sh\nexit 0\nmodprobe -i sctp\n":                                         "false",
		"#!/bin/sh\n/opt/gate 2>&1\n":                                                    "unknown", // itself
		"#!/bin/sh\n/sbin/modprobe --ignore-install sctp\n":                              "true",
		"#!/bin/sh\necho x &&\n/sbin/modprobe -i sctp\n":                                 "unknown",
		"#!/bin/sh\nif [ -f /etc/x ]; then\n  exit 1\nfi\nexec /sbin/modprobe -i sctp\n": "unknown",
		"#!/bin/sh\ntest -f /etc/x && exit 1\n":                                          "unknown",
		"#!/bin/sh\necho 'a\nexit 1\n'; modprobe -i sctp\n":                              "unknown",
		"#!/bin/sh\ncat <<X\nexit 1\nX\nmodprobe -i sctp\n":                              "unknown",
		"#!/bin/sh\nmodprobe() { exit 1; }\nmodprobe -i sctp\n":                          "unknown",
		"#!/bin/sh -e\nfalse\nmodprobe -i sctp\n":                                        "unknown",
		"#!/bin/sh\r\nexit 1\r\n":                                                        "unknown|false",
		"#!/opt/none/sh\nmodprobe -i sctp\n":                                             "unknown|false",
		"#!/usr/bin/python3\nexit 1\n":                                                   "unknown",
		"exit 1\n":                                                                       "unknown|false",
	} {
		add("install: a script: "+text, whole(file("opt/gate", text), file("etc/modprobe.d/x.conf", "install sctp /opt/gate\n")), "autoload="+want+";modprobe="+want)
	}
	// What NixOS' boot.extraModprobeConfig has of coreutils and util-linux.
	coreutils := "/nix/store/5xv0-coreutils-9.5/bin/"
	for command, want := range map[string]string{
		coreutils + "false": "false", coreutils + "true": "false", "/bin/sh -c '/run/current-system/sw/bin/logger -t modulejail \"blocked: sctp\" 2>/dev/null; exit 0'": "false",
		"/nix/store/5xv0-gate/bin/gate": "unknown", "/nix/store/5xv0-gate/lib/x/bin/true": "unknown", "/nix/store/gone-coreutils-9.5/bin/true": "false",
	} {
		add("install: "+command, whole(file("nix/store/5xv0-coreutils-9.5/bin/coreutils", elf), link("nix/store/5xv0-coreutils-9.5/bin/false", "coreutils"), link("nix/store/5xv0-coreutils-9.5/bin/true", "coreutils"),
			file("nix/store/5xv0-gate/bin/gate", elf), file("nix/store/5xv0-gate/lib/x/bin/true", elf), file("run/current-system/sw/bin/logger", elf), file("etc/modprobe.d/nixos.conf", "install sctp "+command+"\n")), "autoload="+want+";modprobe="+want)
	}
	const loadScript = "#!/bin/sh\nmodprobe sctp\n"
	// Roots without all of the host, and what only looks like a load.
	some := func(es ...hostcase.Entry) *hostcase.Case { c := whole(); c.Entries = es; return c }
	wanted := link("etc/systemd/system/multi-user.target.wants/l.service", "../l.service")
	for exec, want := range map[string]string{"/sbin/modprobe sctp": "loaded", "/bin/sh -c 'modprobe sctp'": "loaded", "/usr/local/bin/load": "blocked", "/sbin/modprobe -b sctp": "blocked"} {
		add("part: "+exec, some(blacklisted, file("etc/systemd/system/l.service", "[Service]\nType=oneshot\nExecStart="+exec+"\n"), wanted), want)
	}
	for install, want := range map[string]string{"/bin/true": "false", "/sbin/modprobe -i sctp": "true", "/opt/none": "false"} {
		add("part: install "+install, some(file("etc/modprobe.d/x.conf", "install sctp "+install+"\n")), "autoload="+want)
	}
	add("unit: a package's drop-in requires what nothing starts", whole(requested, file("usr/lib/systemd/system/systemd-modules-load.service.d/x.conf", "[Unit]\nRequisite=t.service\n"), file("usr/lib/systemd/system/t.service", "[Service]\nExecStart=/bin/true\n")), "onboot=unknown")
	add("part: drop-in", some(requested, file("etc/systemd/system/systemd-modules-load.service.d/x.conf", "[Unit]\nConditionPathExists=/etc/none\n")), "onboot=on-demand;boot=false")
	add("part: drop-in that holds", some(requested, file("etc/systemd/system/systemd-modules-load.service.d/x.conf", "[Unit]\nConditionPathExists=/etc/modules-load.d\n")), "loaded")
	add("part: link replaced", some(requested, link("etc/systemd/system/sysinit.target.wants/systemd-modules-load.service", "/dev/null")), "on-demand")
	loadsIt := file("etc/systemd/system/l.service", "[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n")
	for _, wanter := range []string{"default.target", "network-online.target", "local-fs.target", "kubelet.service"} {
		dir := "etc/systemd/system/" + wanter + ".wants/l.service"
		add("part: wanted by "+wanter, some(blacklisted, loadsIt, link(dir, "../l.service")), "unknown")
	}
	add("part: wanted by what a whole host has not", whole(blacklisted, loadsIt, link("etc/systemd/system/kubelet.service.wants/l.service", "../l.service")), "blocked")
	add("part: timer", some(blacklisted, loadsIt, file("etc/systemd/system/l.timer", "[Timer]\nOnBootSec=1\n"), link("etc/systemd/system/timers.target.wants/l.timer", "../l.timer")), "unknown")
	add("part: not wanted", some(blacklisted, loadsIt), "blocked")
	add("part: a drop-in of what is not there", some(blacklisted, file("etc/systemd/system/kubelet.service.d/x.conf", "[Service]\nExecStartPre=/sbin/modprobe sctp\n"), link("etc/systemd/system/multi-user.target.wants/kubelet.service", "/usr/lib/systemd/system/kubelet.service")), "unknown")
	add("part: systemd's own template", some(link("etc/systemd/system/multi-user.target.wants/modprobe@sctp.service", "/usr/lib/systemd/system/modprobe@.service")), "unknown")
	add("part: rc.local", some(blacklisted, file("etc/rc.local", loadScript)), "unknown")
	add("part: condition", some(blacklisted, file("etc/systemd/system/l.service", "[Unit]\nConditionFileIsExecutable=/sbin/modprobe\n[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n"), wanted), "unknown")
	add("unit: not loaded yet", unit("[Unit]\nConditionPathExists=!/sys/module/sctp\n[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n", blacklisted), "loaded")
	add("unit: only if loaded", unit("[Unit]\nConditionPathExists=/sys/module/sctp\n[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n", blacklisted), "unknown")
	add("unit: looks into modprobe.d", oneshot("ExecStart=/bin/grep sctp /etc/modprobe.d/b.conf", blacklisted), "blocked")
	add("unit: enabled until the next boot", whole(blacklisted, file("etc/systemd/system/l.service", "[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n"), link("run/systemd/system/multi-user.target.wants/l.service", "/etc/systemd/system/l.service")), "unknown")
	// Units that start others, apart from those that pull them in.
	for name, es := range map[string][]hostcase.Entry{
		"device": {link("etc/systemd/system/sys-subsystem-net-devices-eth0.device.wants/l.service", "../l.service")}, "mount": {link("etc/systemd/system/-.mount.requires/l.service", "../l.service")},
		"slice": {link("etc/systemd/system/system.slice.wants/l.service", "../l.service")}, "OnSuccess": {file("etc/systemd/system/k.service", "[Unit]\nOnSuccess=l.service\n[Service]\nType=oneshot\nExecStart=/bin/true\n")},
		"OnFailure": {file("etc/systemd/system/k.service.d/x.conf", "[Unit]\nOnFailure=l.service\n"), file("etc/systemd/system/k.service", "[Service]\nExecStart=/bin/false\n")},
		"systemctl": {file("etc/systemd/system/k.service", "[Service]\nExecStart=/bin/sh -c 'systemctl --no-block restart l'\n")},
	} {
		add("unit: started by "+name, whole(append(es, blacklisted, file("etc/systemd/system/l.service", "[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n"), link("etc/systemd/system/multi-user.target.wants/k.service", "../k.service"))...), "unknown")
	}
	for name, es := range map[string][]hostcase.Entry{
		"Wants= of a mount":                {file("etc/systemd/system/data.mount", "[Unit]\nWants=l.service\n[Mount]\nWhat=x\nWhere=/data\n"), link("etc/systemd/system/local-fs.target.wants/data.mount", "../data.mount")},
		"a drop-in of a mount in fstab":    {file("etc/systemd/system/data.mount.d/x.conf", "[Unit]\nRequires=l.service\n")},
		"a drop-in of the package's mount": {file("usr/lib/systemd/system/tmp.mount", "[Mount]\nWhat=tmpfs\nWhere=/tmp\n"), file("etc/systemd/system/tmp.mount.d/x.conf", "[Unit]\nBindsTo=l.service\n")},
		"a drop-in of all swaps":           {file("etc/systemd/system/swap.d/x.conf", "[Unit]\nWants=l.service\n")},
		"OnFailure= of a mount":            {file("etc/systemd/system/data.mount", "[Unit]\nOnFailure=l.service\n")},
		"Upholds= of a slice":              {file("usr/local/lib/systemd/system/my.slice", "[Unit]\nUpholds=l.service\n")},
		"Sockets=, a command": {file("etc/systemd/system/k.service", "[Service]\nType=oneshot\nExecStart=/bin/true\nSockets=other.socket\n"), file("etc/systemd/system/k.service.d/x.conf", "[Service]\nSockets=a.socket b.socket\n"),
			file("etc/systemd/system/b.socket", "[Socket]\nListenStream=/run/b\nExecStartPost=/sbin/modprobe sctp\n"), file("etc/systemd/system/b.service", "[Service]\nExecStart=/bin/true\n")},
	} {
		add("unit: brought along by "+name, whole(append(es, blacklisted, file("etc/systemd/system/l.service", "[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n"), link("etc/systemd/system/multi-user.target.wants/k.service", "../k.service"))...), "unknown")
	}
	add("unit: brought along by Sockets=, and what that wants", whole(blacklisted, file("etc/systemd/system/l.service", "[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n"),
		file("etc/systemd/system/k.service", "[Service]\nType=oneshot\nExecStart=/bin/true\nSockets=b.socket\n"), link("etc/systemd/system/multi-user.target.wants/k.service", "../k.service"),
		file("etc/systemd/system/b.socket", "[Unit]\nWants=l.service\n[Socket]\nListenStream=/run/b\nService=k.service\n")), "onboot=loaded")
	add("unit: Sockets= of the loading unit", oneshot("ExecStart=/sbin/modprobe sctp\nSockets=b.socket", blacklisted), "onboot=loaded")
	add("unit: a package's mount", whole(blacklisted, file("usr/lib/systemd/system/tmp.mount", "[Unit]\nDescription=x\n[Mount]\nWhat=tmpfs\n")), "blocked")
	socket := func(wanter string) *hostcase.Case {
		return whole(blacklisted, file("etc/systemd/system/l.socket", "[Socket]\nListenStream=/run/l\nExecStartPre=/sbin/modprobe sctp\n"), file("etc/systemd/system/l.service", "[Service]\nExecStart=/bin/true\n"),
			link("etc/systemd/system/"+wanter+".wants/l.socket", "../l.socket"))
	}
	add("unit: a socket's command", socket("sockets.target"), "unknown")
	add("unit: a socket's command, not started", socket("nothing.target"), "blocked")
	add("unit: a stopped unit's name", whole(blacklisted, file("etc/systemd/system/l.service", "[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n"), file("etc/systemd/system/k.service", "[Service]\nExecStart=/usr/bin/systemctl stop l\n"),
		link("etc/systemd/system/multi-user.target.wants/k.service", "../k.service")), "blocked")
	for exec, text := range map[string]string{
		"/bin/bash -e -u -x /opt/load": loadScript, "load": loadScript, "/usr/bin/timeout -k 5 30 /opt/load": loadScript, "/usr/bin/systemd-cat -t x /opt/load": loadScript,
		"/usr/bin/python3 -u /opt/load": "import subprocess\nsubprocess.run(['modprobe', 'sctp'])\n", "/bin/sh load": "modprobe sctp\n", "/bin/sh -c '/opt/load; exit 0'": loadScript, "/bin/sh -c '/opt/load; modprobe br_netfilter'": loadScript,
		"/opt/calls": loadScript, "/bin/sh /opt/sources": "load() { modprobe sctp; }\n", "/opt/load": "#!/bin/sh\nxargs -n1 modprobe < /etc/list\n",
	} {
		add("script: "+exec, oneshot("WorkingDirectory=/opt\nExecStart="+exec, blacklisted, file("opt/load", text), link("usr/local/bin/load", "/opt/load"),
			file("opt/calls", "#!/bin/sh\n/opt/load\n"), file("opt/sources", ". /opt/load\nload\n")), "unknown")
	}
	add("script: of other modules", oneshot("ExecStart=/opt/load", blacklisted, file("opt/load", "#!/bin/sh\n# not modprobe sctp\nmodprobe br_netfilter\n")), "blocked")
	add("script: that looks", oneshot("ExecStart=/opt/load", blacklisted, file("opt/load", "#!/bin/sh\ncat /proc/sys/kernel/modprobe; sysctl kernel.modprobe; modinfo sctp\n")), "blocked")
	add("script: commented call", oneshot("ExecStart=/opt/calls", blacklisted, file("opt/load", loadScript), file("opt/calls", "#!/bin/sh\n# /opt/load\n")), "blocked")
	const loop = "for m in sctp dccp; do\n  modprobe $m\ndone\n"
	for name, text := range map[string]string{
		"etc/rc.d/rc3.d/S99x": loop, "etc/sysconfig/modules/x.modules": loop, "etc/cron.d/x": "@reboot root /opt/load\n", "etc/network/if-up.d/x": "/opt/load\n", "etc/systemd/system-generators/x": loadScript, "sbin/ifup-local": loop,
		"etc/NetworkManager/dispatcher.d/pre-up.d/x": loadScript, "usr/lib/NetworkManager/dispatcher.d/x": loadScript, "etc/networkd-dispatcher/configured.d/x": loadScript,
		"etc/udev/rules.d/9.rules": "RUN{builtin}+=\"kmod load sctp\"\n", "usr/local/lib/udev/rules.d/9.rules": "RUN+=\"/sbin/modprobe sctp\"\n", "oem/90_custom.yaml": "stages:\n  boot:\n    - commands:\n      - modprobe sctp\n",
		"etc/cloud/cloud.cfg.d/9.cfg": "bootcmd:\n- - modprobe\n  - sctp\n", "etc/cloud/cloud.cfg": "bootcmd: [[modprobe, sctp]]\n", "var/lib/cloud/instance/user-data.txt": "#cloud-config\nruncmd:\n - x\nbootcmd:\n - modprobe sctp\n",
	} {
		add("mention: "+name, whole(blacklisted, file("opt/load", loadScript), file(name, text)), "unknown")
	}
	add("mention: a generator that masks", whole(requested, file("etc/systemd/system-generators/x", "#!/bin/sh\nln -s /dev/null $1/systemd-modules-load.service\n")), "unknown")
	add("mention: a generator that does not", whole(requested, file("etc/systemd/system-generators/x", "#!/bin/sh\n# systemd-modules-load.service\n")), "loaded")
	add("mention: a static pod", whole(blacklisted, file("etc/kubernetes/manifests/x.yaml", "kind: Pod\nspec:\n  containers:\n  - command: [modprobe, sctp]\n")), "unknown")
	add("mention: a static pod that loads another", whole(blacklisted, file("etc/kubernetes/manifests/x.yaml", "kind: Pod\nspec:\n  containers:\n  - command: [modprobe, ip_vs]\n")), "blocked")
	add("mention: a hook of CRI-O", whole(blacklisted, file("etc/containers/oci/hooks.d/x.json", `{"hook":{"path":"/usr/local/bin/x.sh"}}`), file("usr/local/bin/x.sh", "#!/bin/sh\nmodprobe sctp\n")), "unknown")
	add("mention: a container's unit", whole(blacklisted, file("etc/containers/systemd/x.container", "[Container]\nImage=x\n[Service]\nExecStartPre=/usr/sbin/modprobe sctp\n")), "unknown")
	// What leads to files that no boot leaves there.
	for _, memory := range []string{"run", "var/run", "tmp", "dev/shm"} {
		at := func(name string, es ...hostcase.Entry) *hostcase.Case {
			return whole(append(es, link("var/run", "/run"), file(strings.TrimPrefix(memory, "var/")+"/"+name, map[string]string{"l.service": "[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n", "sctp.conf": "sctp\n", "b.conf": "blacklist sctp\n"}[name]))...)
		}
		const gone = "unknown;warnings~=is gone at the next boot"
		add("memory: a request in "+memory, at("sctp.conf", link("etc/modules-load.d/sctp.conf", "/"+memory+"/sctp.conf")), gone)
		add("memory: all requests in "+memory, at("sctp.conf", link("etc/modules-load.d", "/"+memory)), gone)
		add("memory: a blacklist in "+memory, at("b.conf", link("etc/modprobe.d/b.conf", "/"+memory+"/b.conf")), gone)
		add("memory: a blacklist in "+memory+" beside another", at("b.conf", link("etc/modprobe.d/a.conf", "/"+memory+"/b.conf"), blacklisted), "blocked")
		add("memory: a unit in "+memory, at("l.service", blacklisted, link("etc/systemd/system/l.service", "/"+memory+"/l.service"), link("etc/systemd/system/multi-user.target.wants/l.service", "../l.service")), gone)
	}
	add("memory: a link that stays on disk", whole(file("etc/x/sctp.conf", "sctp\n"), link("etc/modules-load.d/sctp.conf", "../x/sctp.conf")), "loaded")
	// Modules that are loaded, and bring the target along.
	driver := func(c *hostcase.Case) *hostcase.Case {
		c.Modules, c.Live = append(c.Modules, hostcase.Module{Name: "virtio_net", File: "kernel/drivers/net/virtio_net.ko"}), append(c.Live, "virtio_net")
		return c
	}
	along := func(line string, es ...hostcase.Entry) *hostcase.Case {
		return whole(append(es, file("opt/x", elf), file("etc/modprobe.d/x.conf", line+"\n"))...)
	}
	for _, line := range []string{"softdep virtio_net pre: sctp", "softdep virtio-net post: sctp", "install virtio_net /sbin/modprobe -i virtio_net; /sbin/modprobe sctp", "install virtio-net /sbin/modprobe -i virtio_net && /opt/x && /sbin/modprobe sctp"} {
		add("along: "+line, driver(along(line, blacklisted)), "unknown;autoload=false")
		add("along: nothing stops it: "+line, driver(along(line)), "unknown;autoload=true")
		add("along: requested: "+line, driver(along(line, requested)), "loaded")
		add("along: install stops it: "+line, driver(along(line+"\ninstall sctp /bin/false")), map[bool]string{true: "unknown", false: "blocked"}[strings.Contains(line, "/opt/x")])
		add("along: the driver is not loaded: "+line, along(line, blacklisted), "blocked")
	}
	user := func(name string, es ...hostcase.Entry) *hostcase.Case {
		c := loaded(whole(es...))
		c.Modules, c.Live = append(c.Modules, hostcase.Module{Name: name, File: "kernel/fs/" + name + ".ko", Needs: []string{"sctp", "libcrc32c"}}), append(c.Live, name)
		return c
	}
	add("along: needed by what is loaded", user("dlm", blacklisted), "unknown;warnings~!=WillNotSurviveReboot")
	add("along: needed by what is loaded, and stopped", user("dlm", file("etc/modprobe.d/x.conf", "install sctp /bin/false\n")), "blocked")
	add("along: needed by what ss loads", user("sctp_diag", blacklisted), "blocked")
	for _, mask := range []string{"usr/local/lib/systemd/system/systemd-modules-load.service", "etc/systemd/system.control/systemd-modules-load.service"} {
		add("condition: "+mask, whole(requested, file(mask, "")), "on-demand;commands~=rm /"+mask)
	}
	add("mention: runcmd", whole(blacklisted, file("var/lib/cloud/instance/user-data.txt", "#cloud-config\nbootcmd:\n - x\nruncmd:\n - modprobe sctp\n")), "blocked")
	add("mention: none by Debian's own script of kmod, which systemd does not run", whole(blacklisted,
		file("etc/init.d/kmod", "#!/bin/sh -e\nload_module() {\n  modprobe $module $args || true\n}\nfiles=$(modules_files)\n"), link("etc/rcS.d/S01kmod", "../init.d/kmod")), "blocked")
	// Scripts and lines that name the target otherwise: by an alias, or by what brings it along.
	brings := func(line string, es ...hostcase.Entry) *hostcase.Case {
		return with(whole(append(es, blacklisted, file("etc/modprobe.d/a.conf", line+"\n"))...), func(c *hostcase.Case) {
			c.Modules = append(c.Modules, hostcase.Module{Name: "dlm", File: "kernel/fs/dlm/dlm.ko", Needs: []string{"sctp", "libcrc32c"}}, hostcase.Module{Name: "dummy", File: "kernel/dummy.ko"}, hostcase.Module{Name: "other_one", File: "kernel/other_one.ko"})
		})
	}
	script := func(text string) []hostcase.Entry {
		return []hostcase.Entry{file("etc/systemd/system/s.service", "[Service]\nType=oneshot\nExecStart=/opt/s\n"), link("etc/systemd/system/multi-user.target.wants/s.service", "../s.service"), file("opt/s", "#!/bin/sh\n"+text+"\n")}
	}
	for _, x := range [][3]string{
		{"", "dlm", "unknown"}, {"", "-a dummy dlm", "unknown"}, {"", "\"dlm\"", "unknown"}, {"softdep dummy pre: sctp", "dummy", "unknown"}, {"softdep other-one post: sctp", "other_one", "unknown"}, {"install du* /sbin/modprobe sctp; /sbin/modprobe -i $MODPROBE_MODULE", "dummy", "unknown"},
		{"alias own sctp", "own", "unknown"}, {"", "net-pf-10-proto-132", "unknown"}, {"", "net_pf_2_proto_132", "unknown"}, {"softdep dummy pre: sctp", "other_one", "blocked"}, {"# softdep dummy pre: sctp", "dummy", "blocked"}, {"", "dummy", "blocked"},
	} {
		add("mention: "+x[0]+", a script loads "+x[1], brings(x[0], script("modprobe "+x[1])...), x[2])
		add("mention: "+x[0]+", cron loads "+x[1], brings(x[0], file("etc/cron.d/x", "@reboot root /sbin/modprobe "+x[1]+"\n")), x[2])
	}
	for rule, want := range map[string]string{
		`RUN{builtin}+="kmod  load sctp"`: "unknown", "RUN{builtin}+=\"kmod\tload sctp\"": "unknown", `ENV{MODALIAS}="net-pf-2-proto-132", RUN{builtin}+="kmod load"`: "unknown", `RUN{builtin}+="kmod load dccp"`: "on-demand", `RUN{builtin}+="uaccess", ENV{X}="sctp"`: "on-demand",
		`ENV{SYSTEMD_WANTS}+="own.service"`: "unknown", `ENV{SYSTEMD_WANTS}="dccp.service own"`: "unknown", `ENV{SYSTEMD_WANTS}+="other.service"`: "on-demand", `ENV{SYSTEMD_WANTS}+="modprobe@sctp.service"`: "unknown",
	} {
		add("mention: udev: "+rule, whole(file("etc/udev/rules.d/9.rules", "ACTION==\"add\", "+rule+"\n"), file("etc/systemd/system/own.service", "[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n"), file("etc/systemd/system/other.service", "[Service]\nExecStart=/bin/true\n")), want)
	}
	for text, want := range map[string]string{"systemctl start own": "unknown", "systemctl --no-block restart own.service || true": "unknown", "systemctl enable --now own": "unknown", "systemctl status own": "blocked", "systemctl start other": "blocked", "systemctl start $1": "blocked"} {
		own := file("etc/systemd/system/own.service", "[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n")
		add("mention: a script: "+text, whole(append(script(text), blacklisted, own)...), want)
		add("mention: rc.local: "+text, whole(blacklisted, own, file("usr/lib/systemd/system/rc-local.service", "[Service]\nType=forking\nExecStart=/etc/rc.local start\n"), file("etc/rc.local", "#!/bin/sh\n"+text+"\n")), want)
	}
	for _, name := range []string{
		"etc/rc4.d/S01x", "etc/rc.d/rc4.d/S01x", "etc/cron.hourly/x", "etc/cron.daily/x", "etc/anacrontab", "etc/dhcp/dhclient-exit-hooks.d/x", "etc/ppp/ip-up.d/x", "etc/networkd-dispatcher/degraded.d/x", "etc/networkd-dispatcher/off.d/x", "etc/containers/systemd/app/x.container", "usr/share/containers/systemd/x.container",
		"usr/lib/systemd/system-generators/x", "etc/systemd/system-environment-generators/x", "run/systemd/generator/x.service", "run/systemd/generator.late/x.service", "var/lib/rancher/k3s/server/manifests/x.yaml", "var/lib/rancher/rke2/server/manifests/x.yaml",
	} {
		add("mention: "+name, whole(blacklisted, file(name, "#!/bin/sh\nmodprobe sctp\n")), "unknown;warnings~=/"+name)
		add("mention: another module, "+name, whole(blacklisted, file(name, "#!/bin/sh\nmodprobe dccp\n")), "blocked")
	}
	for source, want := range map[string]string{"source /etc/network/own/*": "unknown", "source own/x.cfg": "unknown", "source-directory /etc/network/own": "unknown", "source /etc/network/own/*.conf": "blocked", "# source /etc/network/own/*": "blocked"} {
		add("mention: interfaces: "+source, whole(blacklisted, file("etc/network/interfaces", source+"\n"), file("etc/network/own/x.cfg", "iface x inet dhcp\n  up modprobe sctp\n")), want)
	}
	for _, name := range []string{"run/systemd/generator/systemd-modules-load.service", "run/systemd/generator.early/systemd-modules-load.service"} {
		add("mask: generated, "+name, whole(requested, link(name, "/dev/null")), "unknown")
		add("mask: generated, "+name+".d", whole(requested, file(name+".d/x.conf", "[Unit]\nConditionPathExists=/none\n")), "unknown")
	}
	// What a boot's commands change of the configuration.
	for command, want := range map[string]string{
		"rm -f /etc/modprobe.d/b.conf": "unknown", "rm -f /etc/modprobe.d/*": "unknown", "sed -i /sctp/d /etc/modprobe.d/b.conf": "unknown", "mv /etc/modprobe.d/b.conf /root/": "unknown", "rm -f /etc/modprobe.d/other.conf": "blocked", "rm -rf /etc/modprobe.d/gone.conf /tmp/sctp": "blocked",
		"/bin/sh -c 'echo sctp > /etc/modules-load.d/own.conf'": "unknown", "/bin/sh -c 'echo overlay > /etc/modules-load.d/k8s.conf'": "blocked", "/bin/sh -c 'echo blacklist sctp > /etc/modprobe.d/b.conf'": "blocked", "/bin/sh -c 'echo install sctp /bin/true | tee /run/modprobe.d/x.conf'": "unknown", "cat /etc/modprobe.d/b.conf": "blocked", "cp /opt/sctp.conf /etc/modules-load.d/": "unknown",
	} {
		es := []hostcase.Entry{blacklisted, file("etc/modprobe.d/other.conf", "blacklist dccp\n")}
		add("changes: "+command, oneshot("ExecStart="+command, es...), want)
		if !strings.Contains(command, "sh -c") {
			add("changes: a script: "+command, whole(append(script(command), es...)...), want)
		}
		add("changes: denied all the same: "+command, with(oneshot("ExecStart="+command, es...), func(c *hostcase.Case) { c.Cmdline, c.Denied = "ro module_blacklist=sctp\n", "sctp" }), "blocked")
	}
	for command, want := range map[string]string{"rm /etc/modules-load.d/sctp.conf": "unknown", "rm /etc/modprobe.d/b.conf": "loaded", "/bin/sh -c 'echo sctp > /etc/modules-load.d/own.conf'": "loaded", "/bin/sh -c 'echo blacklist sctp > /etc/modprobe.d/own.conf'": "unknown"} {
		add("changes: requested, "+command, oneshot("ExecStart="+command, requested, file("etc/modprobe.d/b.conf", "install sctp /sbin/modprobe -i sctp\n")), want)
	}
	add("changes: what it has written is there", oneshot("ExecStart=/bin/sh -c 'echo sctp > /etc/modules-load.d/sctp.conf'", requested), "loaded")
	// What a program is given to read, other than a shell.
	for exec, text := range map[string]string{
		"/usr/bin/node /opt/x.js": "exec('modprobe sctp')\n", "/usr/bin/ansible-playbook -c local /opt/x.yml": "- modprobe:\n    name: sctp\n", "/usr/bin/podman kube play /opt/x.yaml": "command: [modprobe, sctp]\n", "/opt/puppetlabs/bin/puppet apply /opt/x.pp": "exec { 'modprobe sctp': }\n",
	} {
		name := exec[strings.LastIndex(exec, " ")+2:]
		add("mention: "+exec, oneshot("ExecStart="+exec, blacklisted, file(name, text)), "unknown;warnings~=load-sctp.service")
		add("mention: nothing in "+exec, oneshot("ExecStart="+exec, blacklisted, file(name, strings.Replace(text, "sctp", "dccp", 1))), "blocked")
	}
	// Units of other types that are started by hand.
	for _, command := range []string{"isolate own.target", "start own.target", "start own.timer", "restart own.path"} {
		es := []hostcase.Entry{blacklisted, file("etc/systemd/system/own.service", "[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n"), file("etc/systemd/system/own.timer", "[Timer]\nOnActiveSec=1\n"), file("etc/systemd/system/own.path", "[Path]\nPathExists=/etc\n"),
			file("etc/systemd/system/own.target", "[Unit]\nAllowIsolate=yes\n"), link("etc/systemd/system/own.target.wants/own.service", "../own.service")}
		add("mention: systemctl "+command, oneshot("ExecStart=/usr/bin/systemctl "+command, es...), "unknown")
		add("mention: a script: systemctl "+command, whole(append(script("systemctl "+command), es...)...), "unknown")
		add("mention: a script: systemctl stop, not "+command, whole(append(script("systemctl stop own.target"), es...)...), "blocked")
	}
	// A new /etc at each boot.
	for sign, x := range map[string][2]string{"run/ostree-booted": {"usr/lib/ostree/prepare-root.conf", "[composefs]\nenabled = true\n[etc]\ntransient = true\n"}, "run/composefs/x": {"usr/lib/composefs/setup-root-conf.toml", "[etc]\nmount = \"transient\"\n"}, "etc/x": {"etc/fstab", "# x\ntmpfs /etc tmpfs defaults 0 0\n"}, "etc/y": {"etc/fstab", "overlay /etc overlay lowerdir=/etc,upperdir=/run/up,workdir=/run/w 0 0\n"}} {
		add("new etc: "+x[1], whole(requested, file(sign, ""), file(x[0], x[1])), "unknown;autoload=true;warnings~="+x[0])
		add("new etc: stopped, "+x[1], whole(blacklisted, file(sign, ""), file(x[0], x[1])), "unknown;remedy~=at each boot;commands~!=/etc/")
		add("new etc: the same, "+x[1], whole(requested, file(sign, ""), file(x[0], strings.NewReplacer("true", "false", "[etc]\nmount", "[var]\nmount", "/etc tmpfs", "/mnt tmpfs", "/run/", "/var/").Replace(x[1]))), "loaded")
	}
	// Steps that would write into another file, or that nothing reads.
	add("step: a request's file that is linked away", whole(link("etc/modules-load.d/sctp-load.conf", "/dev/null")), "on-demand;commands~=echo sctp > /etc/modules-load.d/sctp-load-2.conf\n")
	add("step: a request's file of other modules", whole(file("etc/modules-load.d/sctp-load.conf", "overlay\n"), file("etc/modules-load.d/sctp-load-2.conf", "")), "on-demand;commands~=echo sctp > /etc/modules-load.d/sctp-load-3.conf\n")
	add("step: an argument after which there is a tab", with(whole(requested, file("etc/os-release", "ID=rhel\nVERSION_ID=8.10\n")), func(c *hostcase.Case) {
		c.Kmod, c.Systemd, c.Cmdline = 28, 239, "modprobe.blacklist=dummy\troot=UUID=1-2\tx=sctp\n"
	}), "blocked;commands~=modprobe.blacklist=dummy\n;commands~!=root")
	add("step: a line of the kernel's softdeps", whole(requested, file("usr/lib/modules/"+release+"/modules.softdep", "install sctp /bin/false\n")), "blocked;commands~=sed -i '1s/^/#/' /lib/modules/"+release+"/modules.softdep;commands~!=/etc/modprobe.d")
	add("step: a file in place of a directory", whole(requested, file("usr/lib/modprobe.d", "blacklist sctp\n")), "blocked;commands~!=/etc/modprobe.d")
	add("step: an alias file", with(whole(requested, file("usr/lib/modprobe.d/x.alias", "blacklist sctp\n")), func(c *hostcase.Case) { c.Kmod = 30 }), "blocked;commands~=/etc/modprobe.d/x.alias")
	add("mention: of other modules", whole(blacklisted, file("etc/rc.d/rc3.d/S99x", "modprobe br_netfilter\n# sctp\n")), "blocked")
	for args, want := range map[string]string{"": "unknown", " /opt/x.conf": "unknown"} {
		add("unit: a second systemd-modules-load"+args, whole(requested, link("etc/systemd/system/systemd-modules-load.service", "/dev/null"), file("etc/systemd/system/l.service", "[Service]\nType=oneshot\nExecStart="+modulesLoad+args+"\n"), link("etc/systemd/system/multi-user.target.wants/l.service", "../l.service")), want)
	}
	add("unit: dash", oneshot("ExecStart=-/sbin/modprobe -q sctp", blacklisted), "loaded")
	for exec, want := range map[string]string{"/sbin/modprobe %p": "unknown", "/sbin/insmod /lib/modules/%v/kernel/net/sctp/sctp.ko": "unknown", "/bin/sh -c '. /etc/none; modprobe sctp'": "unknown", "/sbin/modprobe dccp": "blocked"} {
		add("unit: "+exec, oneshot("ExecStart="+exec, blacklisted), want)
	}
	for _, options := range []string{"-qr", "-rv", "-ar", "--rem", "--remove"} {
		add("unit: modprobe "+options, oneshot("ExecStart=/sbin/modprobe "+options+" sctp", requested), "unknown")
	}
	for section, want := range map[string]string{"Environment=PATH=/opt": "unknown", "Environment=PATH=/usr/sbin:/usr/bin": "loaded", "Type=dbus": "unknown", "Type=dbus\nBusName=a.b": "loaded"} {
		add("unit: "+section, unit("[Service]\nType=oneshot\n"+section+"\nExecStart=/bin/sh -c 'modprobe sctp'\n", blacklisted), want)
	}
	for _, exec := range []string{"/sbin/modprobe sctp", "modprobe sctp", "/bin/sh -c '/sbin/modprobe sctp'"} {
		add("unit: PATH= that does not matter: "+exec, oneshot("Environment=PATH=/opt/bin:/usr/bin\nExecStart="+exec, blacklisted), "loaded")
	}
	for requires, want := range map[string]string{"BindsTo=dev-x.device": "unknown", "Requires=data.mount": "unknown", "Requires=system.slice -.mount": "loaded", "Wants=data.mount": "loaded"} {
		add("unit: "+requires, unit("[Unit]\n"+requires+"\n[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n", blacklisted), want)
		add("condition: "+requires, dropin("[Unit]\n"+requires+"\n"), want)
	}
	// What a unit requires, or is in, and what is masked: systemd 257 does not start it, 252 does,
	// but for units that systemd has by itself.
	for _, x := range [][3]string{
		{"Requires=foo.slice", "foo.slice", "unknown"}, {"Requires=foo-bar.slice", "foo.slice", "unknown"}, {"Slice=foo.slice", "foo.slice", "unknown"}, {"Slice=foo-bar.slice", "foo.slice", "unknown"},
		{"Slice=system-%p.slice", "system-load\\x2dsctp.slice", "loaded"}, {"Slice=foo--bar.slice", "x.slice", "unknown"}, {"Slice=foo.slice\nSlice=bar.slice\nSlice=\nSlice=x", "foo.slice", "loaded"},
		{"Slice=foo.slice", "foo-bar.slice", "loaded"}, {"Slice=foo-bar.slice", "system.slice", "loaded"}, {"Requires=-.mount", "-.mount", "loaded"}, {"Description=x", "system.slice", "loaded"},
	} {
		section, masked := "[Unit]\n", link("etc/systemd/system/"+x[1], "/dev/null")
		if strings.HasPrefix(x[0], "Slice=") {
			section = "[Service]\n"
		}
		add("unit: "+x[0]+", masked "+x[1], unit(section+x[0]+"\n[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n", blacklisted, masked), x[2])
		add("condition: "+x[0]+", masked "+x[1], dropin(section+x[0]+"\n", masked), x[2])
	}
	for masked, want := range map[string]string{"x.mount": "unknown", "x.swap": "unknown", "y.mount": "loaded"} {
		const units = "usr/lib/systemd/system/"
		add("unit: a package's requires x.mount and x.swap, masked "+masked, whole(requested, blacklisted, link("etc/systemd/system/"+masked, "/dev/null"), link("etc/systemd/system/multi-user.target.wants/l.service", "/"+units+"l.service"),
			file(units+"x.mount", "[Mount]\nWhat=x\nWhere=/x\n"), file(units+"x.swap", "[Swap]\nWhat=/x\n"), file(units+"l.service", "[Unit]\nRequires=x.mount x.swap\n[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n")), want)
	}
	for masked, want := range map[string]string{`system-modprobe.slice`: "unknown", "system-x.slice": "loaded"} {
		add("unit: an instance, masked "+masked, whole(link("etc/systemd/system/"+masked, "/dev/null"), link("etc/systemd/system/multi-user.target.wants/modprobe@sctp.service", "/usr/lib/systemd/system/modprobe@.service")), want)
	}
	// Directories of names cut after a "-", and of all units of a type.
	for dir, want := range map[string]string{"multi-.target.wants": "loaded", "target.wants": "unknown", "multi-user-.target.wants": "blocked", "-.target.wants": "blocked"} {
		add("unit: in "+dir, whole(blacklisted, file("etc/systemd/system/l.service", "[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n"), link("etc/systemd/system/"+dir+"/l.service", "../l.service")), want)
	}
	for dir, want := range map[string]string{"load-@sctp.service.d": "blocked", "load-@.service.d": "blocked", "load-.service.d": "blocked", "load-module@s-.service.d": "loaded", "load-module@.service.d": "blocked"} {
		add("unit: an instance, "+dir, whole(blacklisted, file("etc/systemd/system/load-module@.service", "[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n"), link("etc/systemd/system/multi-user.target.wants/load-module@s-ctp.service", "../load-module@.service"),
			file("etc/systemd/system/"+strings.Replace(dir, "@sctp", "@s-ctp", 1)+"/x.conf", "[Unit]\nConditionPathExists=/etc/none\n")), want)
	}
	// A unit that is required, and what systemd 252 made of it.
	for _, x := range [][3]string{
		{"Requires=f.service\nAfter=f.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n", "unknown"}, {"Requires=f.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n", "loaded"},
		{"Requires=f.service", "[Unit]\nBefore=systemd-modules-load.service load-sctp.service\n[Service]\nType=oneshot\nExecStart=/bin/false\n", "unknown"},
		{"Requires=f.service\nAfter=f.service", "[Service]\nType=oneshot\nExecStart=-/bin/false\nExecStart=/bin/true\n", "loaded"}, {"Requires=f.service\nAfter=f.service", "[Service]\nExecStart=/bin/none\n", "loaded"},
		{"Requires=f.service\nAfter=f.service", "[Service]\nExecStartPre=/bin/none\nExecStart=/bin/true\n", "unknown"}, {"Requires=f.service\nAfter=f.service", "[Unit]\nAssertPathExists=/etc/none\n[Service]\nExecStart=/bin/true\n", "unknown"},
		{"Requires=f.service\nAfter=f.service", "[Unit]\nConditionPathExists=/etc/none\n[Service]\nType=oneshot\nExecStart=/bin/false\n", "loaded"},
		{"BindsTo=f.service\nAfter=f.service", "[Unit]\nConditionPathExists=/etc/none\n[Service]\nExecStart=/bin/true\n", "unknown"}, {"BindsTo=f.service\nAfter=f.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n", "unknown"},
		{"Requires=f.service\nAfter=f.service", "[Service]\nType=oneshot\nExecStart=/etc/systemd/system/f.service\n", "unknown"}, {"Requires=f.service\nAfter=f.service", "[Service]\nType=oneshot\nExecStart=-/etc/systemd/system/f.service\n", "loaded"},
		{"Requires=f.service\nAfter=f.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'exit 1'\n", "unknown"}, {"Requires=f.service\nAfter=f.service", "[Service]\nExecStart=/etc/systemd/system/f.service\n", "loaded"},
		{"BindsTo=f.service\nAfter=f.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n", "loaded"}, {"Requires=sysinit.target -.mount\nAfter=sysinit.target", "[Unit]\n", "loaded"},
	} {
		f := file("etc/systemd/system/f.service", strings.Replace("[Unit]\nDefaultDependencies=no\n"+x[1], "no\n[Unit]", "no", 1))
		add("unit: "+x[0]+": "+x[1], unit("[Unit]\n"+x[0]+"\n[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n", blacklisted, f), x[2])
		if !strings.Contains(x[0], "sysinit") {
			add("condition: "+x[0]+": "+x[1], dropin("[Unit]\n"+x[0]+"\n", f), x[2])
		}
	}
	for _, argument := range []string{"emergency", "systemd.run=/bin/true"} {
		add("arguments: with a unit that loads, "+argument, with(oneshot("ExecStart=/sbin/modprobe sctp", blacklisted), func(c *hostcase.Case) { c.Cmdline = "ro " + argument + "\n" }), "unknown")
	}
	// What ends the loading of modules, or changes what loads them.
	const lock = "echo 1 > /proc/sys/kernel/modules_disabled"
	for _, exec := range []string{"/sbin/sysctl -w kernel.modules_disabled=1", "/bin/sh -c '" + lock + "'", "/sbin/sysctl -w kernel/modprobe=/disabled", "/bin/sh -c 'echo /disabled | tee /proc/sys/kernel/modprobe'", "/opt/lock"} {
		script := file("opt/lock", "#!/bin/sh\n"+lock+"\n")
		add("lock: nothing asks, "+exec, oneshot("ExecStart="+exec, script), "unknown;autoload=true;warnings~=may end the loading of modules")
		add("lock: modules-load.d asks, "+exec, oneshot("ExecStart="+exec, script, requested), "loaded;warnings~!=may end the loading")
		add("lock: blacklist, "+exec, oneshot("ExecStart="+exec, script, blacklisted), "blocked")
		add("lock: a unit loads, "+exec, oneshot("ExecStart="+exec, script, blacklisted, file("etc/systemd/system/a.service", "[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n"), link("etc/systemd/system/multi-user.target.wants/a.service", "../a.service")), "unknown")
	}
	add("lock: rc.local", whole(file("usr/lib/systemd/system/rc-local.service", "[Service]\nType=forking\nExecStart=/etc/rc.local start\n"), file("etc/rc.local", "#!/bin/sh\n"+lock+"\n")), "unknown")
	add("lock: cron", whole(file("etc/cron.d/x", "@reboot root sysctl kernel.modules_disabled=1\n")), "unknown")
	for _, exec := range []string{"/sbin/sysctl kernel.modules_disabled", "/bin/cat /proc/sys/kernel/modprobe", "/bin/sh -c 'test $$(cat /proc/sys/kernel/modules_disabled) = 1 > /dev/null'"} {
		add("lock: only looked at, "+exec, oneshot("ExecStart="+exec), "on-demand")
	}
	add("unit: a and more", oneshot("ExecStart=/sbin/modprobe -a dummy sctp", blacklisted), "loaded")
	add("unit: bash -lc", oneshot("ExecStart=/bin/bash -lc 'modprobe sctp'", blacklisted), "onboot=loaded|unknown")
	add("unit: bash -c or true", oneshot("ExecStart=/bin/bash -c 'modprobe sctp || true'", blacklisted), "onboot=loaded")
	add("unit: semicolon", oneshot("ExecStart=/bin/true ; /sbin/modprobe sctp", blacklisted), "onboot=loaded")
	add("unit: alias name", oneshot("ExecStart=/sbin/modprobe net-pf-2-proto-132", blacklisted), "onboot=blocked")
	add("unit: specifier", whole(blacklisted, file("etc/systemd/system/load@.service", "[Service]\nType=oneshot\nExecStart=/sbin/modprobe %i\n"), link("etc/systemd/system/multi-user.target.wants/load@sctp.service", "../load@.service")), "loaded")
	add("unit: modprobe@sctp with drop-in wants", whole(file("etc/systemd/system/sshd.service.d/x.conf", "[Unit]\nWants=modprobe@sctp.service\n"), file("usr/lib/systemd/system/sshd.service", "[Service]\nExecStart=/bin/true\n"), link("etc/systemd/system/multi-user.target.wants/sshd.service", "/usr/lib/systemd/system/sshd.service")), "loaded")
	add("unit: removed", whole(requested, file("etc/systemd/system/no-sctp.service", "[Service]\nType=oneshot\nExecStart=/sbin/rmmod sctp\n"), link("etc/systemd/system/multi-user.target.wants/no-sctp.service", "../no-sctp.service")), "unknown")
	add("unit: ExecStop removes", oneshot("ExecStart=/sbin/modprobe sctp\nExecStop=/sbin/modprobe -r sctp", blacklisted), "loaded")
	add("unit: two templates", oneshot("ExecStart=/sbin/modprobe dummy\nExecStart=/sbin/modprobe sctp", blacklisted), "onboot=unknown|blocked")
	// The capabilities of what the kernel runs.
	for value, want := range map[string]string{"4294901759 4294967295": "blocked", "0xfffeffff\t0": "blocked", "0 0": "blocked", "4294967295 255": "on-demand", "x": "on-demand"} {
		conf := file("etc/sysctl.d/x.conf", "kernel.usermodehelper.bset = "+value+"\n")
		add("helper: bset in sysctl.d: "+value, whole(conf), want+";autoload=true")
		add("helper: bset in sysctl.d, asks: "+value, whole(conf, requested), "loaded")
	}
	add("helper: bset in /run", whole(file("run/sysctl.d/x.conf", "kernel.usermodehelper.bset=0 0\n")), "unknown")
	add("helper: bset, sysctl does not run", whole(file("etc/sysctl.d/x.conf", "kernel.usermodehelper.bset=0 0\n"), file("etc/systemd/system/systemd-sysctl.service.d/x.conf", "[Unit]\nConditionPathExists=/etc/none\n")), "on-demand")
	for _, exec := range []string{"/sbin/sysctl -w 'kernel.usermodehelper.bset=0 0'", "/bin/sh -c 'echo 0 0 > /proc/sys/kernel/usermodehelper/bset'"} {
		add("lock: "+exec, oneshot("ExecStart="+exec), "unknown")
	}
	// Lines of grub.cfg that go on in the next one.
	for text, want := range map[string]string{
		"linux /vmlinuz-" + release + " ro \\\n  module_blacklist=sctp\n": "blocked", "linux \\\n/vmlinuz-" + release + " ro module_black\\\nlist=sctp\n": "blocked",
		"# x \\\nlinux /vmlinuz-" + release + " ro module_blacklist=sctp\n": "blocked", "set a=\"ro \\\nmodule_blacklist=sctp\"\nlinux /vmlinuz-" + release + " $a\n": "blocked",
		"linux /vmlinuz-" + release + " ro \\\\\n module_blacklist=sctp\n": "loaded",
		"linux /vmlinuz-" + release + " ro 'module_blacklist=sctp'\n":      "blocked", "linux /vmlinuz-" + release + " ro module_blacklist=sctp; initrd /x\n": "blocked",
		"if true; then linux /vmlinuz-" + release + " ro module_blacklist=sctp ; fi\n": "blocked", "linux /vmlinuz-" + release + " ro; echo module_blacklist=sctp\n": "loaded",
	} {
		add("arguments: menu: "+text, whole(requested, file("boot/grub/grub.cfg", "menuentry x {\n"+text+"}\n")), want)
	}
	// The entry that grub.cfg or its environment names.
	grubEntry := func(r string) string {
		return "  menuentry 'Ubuntu, with Linux " + r + "' --class x $menuentry_id_option 'gnulinux-" + r + "-advanced-x' {\n linux /boot/vmlinuz-" + r + " ro\n}\nmenuentry 'Ubuntu, with Linux " + r + " (recovery mode)' --id rec-" + r + " {\n linux /boot/vmlinuz-" + r + " ro recovery\n}\n"
	}
	pinned := func(def, saved string, more ...hostcase.Entry) *hostcase.Case {
		simple := "menuentry 'Ubuntu' $menuentry_id_option 'gnulinux-simple-x' {\n linux /boot/vmlinuz-" + newest + " ro\n}\n"
		return withKernels(whole(append(more, requested, file("boot/grub/grubenv", "# GRUB Environment Block\n"+saved+"\n"),
			file("boot/grub/grub.cfg", "if [ \"${next_entry}\" ] ; then\n   set default=\"${next_entry}\"\nelse\n   set default=\""+def+"\"\nfi\nfunction gfxmode {\n  set gfxpayload=\"${1}\"\n}\n"+simple+
				"submenu 'Advanced options for Ubuntu' $menuentry_id_option 'gnulinux-advanced-x' {\n"+grubEntry(newest)+grubEntry(newer)+grubEntry(release)+"}\n"+
				"if [ \"x$default\" = 'Ubuntu, with Linux "+newer+"' ]; then default='Advanced options for Ubuntu>Ubuntu, with Linux "+newer+"'; fi;\n"+
				"if [ \"$grub_platform\" = \"efi\" ]; then\n  menuentry 'UEFI' {\n    fwsetup\n  }\nfi\nif [ -f ${config_directory}/custom.cfg ]; then\n  source ${config_directory}/custom.cfg\nfi\n"))...), kernel(newer, "dummy"), kernel(newest, "libcrc32c", "sctp"))
	}
	old := func(r string) string { return "gnulinux-advanced-x>gnulinux-" + r + "-advanced-x" }
	const lacking = "onboot=unknown|blocked"
	for _, x := range [][3]string{
		{"${saved_entry}", "saved_entry=" + old(newer), lacking}, {"${saved_entry}", "saved_entry=" + old(release), "loaded"}, {"${saved_entry}", "saved_entry=" + old(release) + "\nnext_entry=" + old(newer), lacking},
		{"Advanced options for Ubuntu>Ubuntu, with Linux " + newer, "", lacking}, {"Advanced options for Ubuntu>Ubuntu, with Linux " + newest, "saved_entry=" + old(newer), "loaded"}, {"0", "saved_entry=" + old(newer), "loaded"}, {"0", "", "loaded"}, {"Ubuntu, with Linux " + newer, "", lacking},
		{"1>2", "", lacking}, {"1>4", "", "loaded"}, {"1>3", "", lacking}, {"1", "", "loaded"}, {"1>rec-" + newer, "", lacking}, {`"; set default=0 ; : "`, "", "loaded"}, {"7", "", "loaded"}, {"${saved_entry}", "saved_entry=1>4", "loaded"}, {"${saved_entry}", "saved_entry=1>2", lacking}, {"${saved_entry}", "saved_entry=0", "loaded"},
		{"${saved_entry}", "saved_entry=" + old(newer) + "\nnext_entry=0", "loaded"}, {"gnulinux-advanced-x>gone", "", "loaded"}, {"gone", "", "loaded"}, {"${saved_entry}", "", "loaded"},
	} {
		add("next kernel: the default is "+x[0]+", "+x[1], pinned(x[0], x[1]), x[2])
	}
	isNewer := func(c *hostcase.Case) *hostcase.Case { return withKernels(c, kernel(newer, "dummy")) }
	grubCfg := func(text string) hostcase.Entry { return file("boot/grub/grub.cfg", text) }
	one := func(title, r string) string { return "menuentry '" + title + "' {\n linux /vmlinuz-" + r + " ro\n}\n" }
	for text, want := range map[string]string{
		"set default=0\n" + one("a", release) + one("b", newer): "loaded", "set default=1\n" + one("a", release) + one("b", newer): lacking, one("a", release) + one("b", newer): "loaded", one("b", newer) + one("a", release): lacking,
		"set default=b\n" + one("a", release) + one("b", newer): lacking, "set default=1\nif [ x ]; then\n" + one("a", release) + "fi\n" + one("b", newer): "onboot=unknown", "set default=1\nmenuentry 'Windows' {\n chainloader +1\n}\n" + one("a", release) + one("b", newer): "loaded",
		"set default=0\nif [ y ]; then\n set default=1\nfi\n" + one("a", release) + one("b", newer): "onboot=unknown", "set default=a\\\nb\n" + one("a", release) + one("ab", newer): lacking, "set default='it'\\''s'\n" + one("a", release) + strings.Replace(one("b", newer), "'b'", `'it'\''s'`, 1): lacking,
		"set default=1\nmenuentry 'a' { linux /vmlinuz-" + release + " ro }\nmenuentry 'b' { linux /vmlinuz-" + newer + " ro }\n": lacking, "set default=1\n" + one("a", release) + "#" + one("x", "9") + one("b", newer): "onboot=unknown", "set default=\"c>>d\"\n" + one("a", release) + one("c>d", newer): lacking,
	} {
		add("next kernel: "+text, isNewer(whole(requested, grubCfg(text))), want)
	}
	counts := "if [ -n \"${boot_counter}\" -a \"${boot_success}\" = \"0\" ]; then\n if [ \"${boot_counter}\" = \"0\" -o \"${boot_counter}\" = \"-1\" ]; then\n  set default=1\n fi\nfi\n"
	add("next kernel: boots are not counted", isNewer(whole(requested, grubCfg("set default=0\n"+counts+one("a", release)+one("b", newer)))), "loaded")
	add("next kernel: boots are counted", isNewer(whole(requested, file("boot/grub/grubenv", "boot_counter=0\n"), grubCfg("set default=0\n"+counts+one("a", release)+one("b", newer)))), "onboot=unknown")
	add("next kernel: another file sets the default, differs", whole(requested, file("boot/grub/custom.cfg", "set default=1\n"), grubCfg("set default=0\nmenuentry a {\n linux /vmlinuz-"+release+" ro\n}\nmenuentry b {\n linux /vmlinuz-"+release+" "+arg+"\n}\nsource $prefix/custom.cfg\n")), "unknown")
	add("next kernel: another file, without a default", whole(requested, file("boot/grub/custom.cfg", "set x=1\n"), grubCfg("set default=0\nmenuentry a {\n linux /vmlinuz-"+release+" ro\n}\nmenuentry b {\n linux /vmlinuz-"+release+" "+arg+"\n}\nsource $prefix/custom.cfg\n")), "loaded")
	add("next kernel: the default may be in another file", withKernels(pinned("gone", "", file("boot/grub/custom.cfg", one("gone", newer)))), "onboot=unknown")
	// What a shell makes of /etc/default/grub.
	for text, want := range map[string]string{
		"GRUB_CMDLINE_LINUX=`echo module_blacklist=sctp`": "unknown", "GRUB_CMDLINE_LINUX=\"ro $(echo module_blacklist=sctp)\"": "unknown", "GRUB_CMDLINE_LINUX=$(echo \"module_blacklist=sctp\")": "unknown",
		"GRUB_CMDLINE_LINUX=module_blacklist=sctp\nGRUB_CMDLINE_LINUX=`echo $GRUB_CMDLINE_LINUX ro`": "unknown", "GRUB_CMDLINE_LINUX=ro; GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX module_blacklist=sctp\"": "unknown",
		"GRUB_CMDLINE_LINUX=ro GRUB_CMDLINE_LINUX+=' module_blacklist=sctp'": "unknown", "HARDEN=\"module_blacklist=sctp\"\nGRUB_CMDLINE_LINUX=\"ro $HARDEN\"": "unknown", "HARDEN='module_blacklist=sctp'\nGRUB_CMDLINE_LINUX+=\" ${HARDEN}\"": "unknown",
		"HARDEN=module_blacklist=sctp\nGRUB_CMDLINE_LINUX=ro": "loaded", "GRUB_DISTRIBUTOR=`( . /etc/os-release; echo ${NAME:-x} ) 2>/dev/null || echo Debian`\nGRUB_CMDLINE_LINUX=\"root=x b=1\"\n# module_blacklist=sctp": "loaded",
		"GRUB_CMDLINE_LINUX=\"a b=1\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"c \\\n d=1 \\\n module_blacklist=sctp\"": "unknown", "GRUB_CMDLINE_LINUX=\"a b=1\"\nX=\"module_blacklist=sctp\"": "loaded",
	} {
		add("arguments: default/grub: "+text, whole(requested, file("etc/default/grub", text+"\n")), want)
	}
	// The prefix "|" of a command, which systemd knows from 258 on.
	for systemd, want := range map[int]string{0: "unknown", 239: "blocked", 252: "blocked", 257: "blocked", 258: "loaded", 260: "loaded"} {
		for _, exec := range []string{"|/sbin/modprobe sctp", "|-/sbin/modprobe sctp", "-|/sbin/modprobe sctp"} {
			add(fmt.Sprint("unit: ", exec, ", systemd ", systemd), with(oneshot("ExecStart="+exec, blacklisted), func(c *hostcase.Case) { c.Systemd = systemd }), want)
		}
		add(fmt.Sprint("unit: modules-load in a shell, systemd ", systemd), with(dropin("[Service]\nExecStart=\nExecStart=|/usr/lib/systemd/systemd-modules-load\n"), func(c *hostcase.Case) { c.Systemd = systemd }), map[string]string{"blocked": "on-demand"}[want]+"|unknown|"+want)
	}
	// The prefix ":", which systemd knows from 244 on: 239 does not load the unit (src/core/load-fragment.c, config_parse_exec).
	for systemd, want := range map[int]string{0: "unknown", 239: "blocked", 247: "loaded", 252: "loaded"} {
		for _, exec := range []string{":/sbin/modprobe sctp", "-:/sbin/modprobe sctp", ":-/sbin/modprobe sctp"} {
			add(fmt.Sprint("unit: ", exec, ", systemd ", systemd), with(oneshot("ExecStart="+exec, blacklisted), func(c *hostcase.Case) { c.Systemd = systemd }), want)
		}
	}
	// Escapes in commands.
	for exec, want := range map[string]string{
		`/sbin/modprobe \x73ctp`: "loaded", `/sbin/modprobe\x20sctp`: "onboot=blocked|unknown", `/sbin/modprobe s\143tp`: "loaded", `/sbin/modprobe "sc\u0074p"`: "loaded", `/bin/sh -c "modprobe\x20sctp"`: "loaded", `/bin/sh -c modprobe\ssctp`: "loaded",
		`/bin/sh -c 'modprobe\tsctp'`: "loaded", `/sbin/modprobe sctp\x00`: "unknown", `/sbin/modprobe sctp\q`: "unknown", `/\x73bin/modprobe sctp`: "loaded", `/bin/true \; /sbin/modprobe sctp`: "onboot=blocked|unknown", `/bin/true ; /sbin/modprobe \x73\x63\x74\x70`: "loaded",
		`/sbin/modprobe 'sc\'tp'`: "blocked", `/bin/sh -c 'echo \x24; modprobe sctp'`: "unknown",
	} {
		add("unit: escapes: "+exec, oneshot("ExecStart="+exec, blacklisted), want)
	}
	for capability, want := range map[string]string{"CAP_SYS_MODULE": "loaded", "cap_net_admin": "loaded", "!CAP_SYS_MODULE": "blocked", "CAP_SYS_MODULES": "unknown"} {
		add("unit: ConditionCapability="+capability, unit("[Unit]\nConditionCapability="+capability+"\n[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n", blacklisted), want)
	}
	// What systemd 252 did not run, and what it did.
	for setting, want := range map[string]string{
		"User=n": "unknown", "User=0": "loaded", "User=root": "loaded", "LimitAS=1": "unknown", "LimitNOFILE=1024": "loaded", "LimitNOFILE=0": "unknown", "LimitNOFILE=3:1024": "unknown", "LimitNOFILE=infinity": "loaded",
		"LimitAS=0": "unknown", "LimitCORE=0": "loaded", "MemoryMax=0": "unknown", "MemoryMax=50%": "loaded", "MemoryMax=1G": "loaded", "CPUAffinity=999": "unknown", "TTYPath=/dev/nosuch": "unknown",
		"Group=nosuch": "unknown", "Group=wheel": "loaded", "Group=alt": "loaded", "Group=whee": "unknown", "Group=10": "loaded", "SupplementaryGroups=wheel nosuch": "unknown", "SupplementaryGroups=wheel alt": "loaded",
		"StandardOutput=file:/nowhere/x": "unknown", "StandardError=append:/etc/x": "loaded", "StandardOutput=truncate:/nowhere/x": "unknown", "StandardInput=file:/etc/x": "unknown", "StandardInput=file:/etc/group": "loaded",
		"RestartForceExitStatus=1": "unknown", "ExitType=cgroup": "unknown", "ExitType=main": "loaded", "Type=exec\nExitType=cgroup\nRestartForceExitStatus=1": "loaded", "Restart=on-failure": "loaded",
		"StandardOutput=bogus": "loaded", "StandardOutput=journal+console": "loaded", "StandardInput=socket": "unknown", "StandardInput=data": "loaded", "StandardInput=null": "loaded",
	} {
		add("unit: "+setting, oneshot("ExecStart=/sbin/modprobe sctp\n"+setting, blacklisted, file("etc/group", "root:x:0:\nwheel:x:10:a\n"), file("usr/lib/group", "alt:x:11:\n")), want)
	}
	// Commands with more rights than the others of their unit, as units of daemons with a user of
	// their own load what they need.
	for text, want := range map[string]string{
		"ExecStartPre=+/sbin/modprobe sctp\nUser=gnb": "loaded", "ExecStartPre=-+/sbin/modprobe sctp\nUser=gnb\nGroup=gnb": "loaded", "ExecStartPre=!/sbin/modprobe sctp\nUser=gnb": "loaded",
		"ExecStartPre=/sbin/modprobe sctp\nUser=gnb": "unknown", "ExecStartPre=!!/sbin/modprobe sctp\nUser=gnb": "unknown", "ExecStartPre=+/sbin/modprobe sctp\nUser=gone": "unknown",
		"ExecStartPre=+/sbin/modprobe sctp\nUser=gnb\nGroup=gone": "unknown", "ExecStartPre=+/sbin/modprobe sctp\nUser=gnb\nCapabilityBoundingSet=CAP_NET_RAW\nProtectKernelModules=yes\nPrivateDevices=yes": "loaded",
		"ExecStartPre=!/sbin/modprobe sctp\nUser=gnb\nProtectKernelModules=yes": "unknown", "ExecStartPre=+/sbin/modprobe sctp\nRootDirectory=/srv": "unknown", "ExecStartPre=+/bin/true\nExecStartPre=/sbin/modprobe sctp\nUser=gnb": "unknown",
		"ExecStartPre=+/bin/true ; /sbin/modprobe sctp\nUser=gnb": "unknown", "ExecStartPre=+/sbin/modprobe sctp\nSystemCallFilter=~@module\nUser=gnb": "loaded",
		"PermissionsStartOnly=true\nExecStartPre=/sbin/modprobe sctp\nUser=gnb\nGroup=gnb": "loaded", "PermissionsStartOnly=true\nExecStartPre=/sbin/modprobe sctp": "loaded", "PermissionsStartOnly=no\nExecStartPre=/sbin/modprobe sctp\nUser=gnb": "unknown", "PermissionsStartOnly=true\nPermissionsStartOnly=no\nExecStartPre=/sbin/modprobe sctp\nUser=gnb": "unknown",
	} {
		add("unit: rights: "+text, unit("[Service]\n"+text+"\nExecStart=/usr/bin/true --for-ever\n", blacklisted, file("etc/passwd", "root:x:0:0::/root:/bin/sh\ngnb:x:990:990::/:/sbin/nologin\n"), file("etc/group", "root:x:0:\ngnb:x:990:\n")), want)
	}
	// Settings that change nothing, and those of which that is not known.
	for setting, want := range map[string]string{"TimeoutStopFailureMode=abort": "loaded", "RestartMode=direct": "loaded", "StartupCPUWeight=10": "loaded", "PrivateMounts=yes": "loaded", "MountFlags=slave": "loaded", "PrivateIPC=yes": "loaded", "DelegateSubgroup=x": "loaded", "WorkingDirectory=/etc": "loaded", "WorkingDirectory=/nowhere": "unknown", "SecureBits=noroot": "unknown", "New=x": "unknown"} {
		add("unit: "+setting, oneshot("ExecStart=/sbin/modprobe sctp\n"+setting, blacklisted), want)
		add("unit: all have "+setting, oneshot("ExecStart=/sbin/modprobe sctp", blacklisted, file("usr/lib/systemd/system/service.d/10-x.conf", "[Service]\n"+setting+"\n")), want)
	}
	// What the initial RAM disk loads is loaded all the same; what it has not loaded is not in it.
	for _, argument := range []string{"rd.driver.pre=sctp", "rd.driver.post=dccp,sctp", "rdloaddriver=sctp", "rdinsmodpost=sctp", "rd.modules_load=sctp", "rd.modules-load=sctp"} {
		add("mention: "+argument, loaded(cmdline("ro "+argument, blacklisted)), "unknown;warnings~=/proc/cmdline:1;warnings~!=has no effect")
		add("mention: not loaded, "+argument, cmdline("ro "+argument, blacklisted), "blocked")
		add("mention: another module, "+argument, loaded(cmdline("ro "+strings.ReplaceAll(argument, "sctp", "rds"), blacklisted)), "blocked")
	}
	// Modules that a profile of tuned has loaded again (plugin_modules.py), which starts them.
	for line, want := range map[string]string{"sctp=+r": "unknown", "sctp = +r, no_checksums=1": "unknown", "sctp=no_checksums=1": "blocked", "rds=+r": "blocked", "#sctp=+r": "blocked"} {
		for _, dir := range []string{"etc/tuned/telco", "etc/tuned/profiles/telco"} {
			profile := file(dir+"/tuned.conf", "[main]\nsummary=x\n[modules]\n"+line+"\n")
			tuned := file("usr/lib/systemd/system/tuned.service", "[Service]\nType=dbus\nBusName=com.redhat.tuned\nExecStart=/usr/sbin/tuned -l -P\n")
			add("mention: tuned, "+dir+", "+line, whole(blacklisted, profile, tuned, link("etc/systemd/system/multi-user.target.wants/tuned.service", "/usr/lib/systemd/system/tuned.service")), want)
			add("mention: tuned is not started, "+dir+", "+line, whole(blacklisted, profile, tuned), "blocked")
		}
	}
	// The emergency target comes without what all other boots start.
	inSysinit := func(es ...hostcase.Entry) []hostcase.Entry {
		return append(es, file("etc/systemd/system/s.service", "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n"), link("etc/systemd/system/sysinit.target.wants/s.service", "../s.service"))
	}
	for target, want := range map[string]string{"emergency": "unknown", "rescue": "loaded", "multi-user": "loaded"} {
		byDefault := link("etc/systemd/system/default.target", "/usr/lib/systemd/system/"+target+".target")
		add("target: default, "+target, whole(requested, byDefault), want)
		add("target: default, a unit, "+target, whole(inSysinit(byDefault)...), want)
		add("target: by an argument, "+target, cmdline("ro systemd.unit="+target+".target", requested), want)
		add("target: by an argument, a unit, "+target, cmdline("ro systemd.unit="+target+".target", inSysinit()...), want)
	}
	// The advice about a mask is for where systemctl removes one.
	for dir, want := range map[string]string{
		"etc/systemd/system": "warnings~=(run \"systemctl unmask systemd-modules-load.service\")", "run/systemd/system": "warnings~=(run \"systemctl unmask --runtime systemd-modules-load.service\")",
		"usr/local/lib/systemd/system": "warnings~!=unmask;commands~=rm /usr/local/lib/systemd/system/systemd-modules-load.service", "etc/systemd/system.control": "warnings~!=unmask;commands~=rm /etc/systemd/system.control/systemd-modules-load.service",
	} {
		add("mask: in "+dir, whole(requested, link(dir+"/systemd-modules-load.service", "/dev/null")), "onboot=on-demand|unknown;"+want)
	}
	unlinked := link("etc/systemd/system/sysinit.target.wants/systemd-modules-load.service", "/dev/null")
	add("mask: of the link", whole(requested, unlinked), "onboot=on-demand")
	add("mask: of the link, and another unit wants it", whole(requested, unlinked, file("etc/systemd/system/x.service", "[Unit]\nWants=systemd-modules-load.service\n[Service]\nExecStart=/bin/true\n"),
		link("etc/systemd/system/multi-user.target.wants/x.service", "../x.service")), "unknown")
	add("mask: of the link, and all targets want it", whole(requested, unlinked,
		link("etc/systemd/system/target.wants/systemd-modules-load.service", "/usr/lib/systemd/system/systemd-modules-load.service")), "unknown")
	// A name of an instance may be a link to another instance, of which there is the template alone.
	add("unit: an alias of an instance", whole(blacklisted, file("usr/lib/systemd/system/load@.service", "[Service]\nType=oneshot\nExecStart=/sbin/modprobe %i\n"),
		link("etc/systemd/system/t@sctp.service", "load@sctp.service"), link("etc/systemd/system/multi-user.target.wants/t@sctp.service", "../t@sctp.service")), "loaded|unknown")
	// A boolean of SELinux.
	insmod := func(boolean, enforce string) []hostcase.Entry {
		return []hostcase.Entry{file("sys/fs/selinux/booleans/secure_mode_insmod", boolean), file("sys/fs/selinux/enforce", enforce)}
	}
	const boolean = "onboot=unknown;autoload=unknown;modprobe=unknown;boot=unknown"
	const off = "commands=setsebool -P secure_mode_insmod off\n"
	add("SELinux: lets nothing load modules", whole(append(insmod("1 1", "1"), requested)...), boolean+";"+off+"modprobe sctp\n")
	add("SELinux: lets nothing load modules, not requested", whole(insmod("1 1", "1")...), "onboot=unknown;autoload=unknown;"+off+"echo sctp > /etc/modules-load.d/sctp-load.conf\nmodprobe sctp\n")
	add("SELinux: lets nothing load modules, loaded", loaded(whole(append(insmod("1 1", "1"), requested)...)), boolean)
	add("SELinux: lets nothing load modules, a unit", oneshot("ExecStart=/sbin/modprobe sctp", insmod("1 1", "1")...), "unknown")
	add("SELinux: lets nothing load modules, a blacklist", whole(append(insmod("1 1", "1"), requested, blacklisted)...), "blocked;autoload=false;modprobe=unknown;"+off+"sed -i '1s/^/#/' /etc/modprobe.d/b.conf\nmodprobe sctp\n")
	add("SELinux: lets nothing load modules, compiled in", with(whole(insmod("1 1", "1")...), func(c *hostcase.Case) { c.Modules, c.Aliases = nil, nil; c.Builtin = []string{"sctp"} }), "loaded")
	add("SELinux: the boolean is off", whole(append(insmod("0 0", "1"), requested)...), "loaded;modprobe=true")
	add("SELinux: permissive", whole(append(insmod("1 1", "0"), requested)...), "loaded;modprobe=true")
	// Files of file systems that are mounted when units and modules-load.d have been read, as
	// /usr/local is on SUSE's Btrfs.
	fstab := func(lines string) hostcase.Entry { return file("etc/fstab", "UUID=1 / btrfs defaults 0 0\n"+lines) }
	inLocal, inOpt := file("usr/local/lib/modules-load.d/s.conf", "sctp\n"), file("opt/s.conf", "sctp\n")
	const mountsLocal, mountsOpt = "UUID=1 /usr/local btrfs subvol=/@/usr/local 0 0\n", "UUID=2 /opt xfs defaults 0 0\n"
	add("mounted later: the request", whole(fstab(mountsLocal), inLocal), "unknown;warnings~=/usr/local/lib/modules-load.d/s.conf is on a file system that /etc/fstab mounts after")
	add("mounted later: the request, with another", whole(fstab(mountsLocal), inLocal, requested), "loaded;warnings~!=fstab")
	add("mounted later: what a request leads to", whole(fstab(mountsOpt), inOpt, link("etc/modules-load.d/s.conf", "/opt/s.conf")), "unknown;warnings~=/etc/modules-load.d/s.conf")
	add("mounted later: a mask", whole(requested, fstab(mountsLocal), link("usr/local/lib/systemd/system/systemd-modules-load.service", "/dev/null")), "unknown")
	add("mounted later: a blacklist", whole(requested, fstab(mountsOpt), file("opt/b.conf", "blacklist sctp\n"), link("etc/modprobe.d/b.conf", "/opt/b.conf")), "unknown;autoload=false")
	ownUnit := func(lines string) *hostcase.Case {
		return whole(blacklisted, fstab(lines), file("opt/x/s.service", "[Service]\nType=oneshot\nExecStart=/sbin/modprobe sctp\n"), link("etc/systemd/system/s.service", "/opt/x/s.service"), link("etc/systemd/system/multi-user.target.wants/s.service", "/opt/x/s.service"))
	}
	add("mounted later: a unit", ownUnit(mountsOpt), "unknown;warnings~=/etc/systemd/system/s.service")
	add("mounted later: another directory", ownUnit(mountsLocal), "loaded")
	for _, line := range []string{"UUID=1 /home btrfs subvol=/@/home 0 0", "UUID=1 /usr/local btrfs x-initrd.mount 0 0", "#UUID=1 /usr/local btrfs defaults 0 0", "UUID=1 /usr ext4 defaults 0 0", "UUID=1 none swap sw 0 0", "/usr/local"} {
		add("mounted later: not, "+line, whole(fstab(line+"\n"), inLocal), "loaded")
	}
	// What is written to a log loads nothing.
	for _, command := range []string{"/bin/echo blocked > /dev/kmsg; /bin/false", "/bin/sh -c 'echo blocked >> /var/log/modprobe.log; exit 1'", "/bin/sh -c 'echo blocked >/dev/kmsg && exit 0'"} {
		add("install: "+command, whole(file("usr/bin/echo", elf), file("etc/modprobe.d/x.conf", "install sctp "+command+"\n")), "blocked;autoload=false;modprobe=false;reason=ModuleInstallOverridden")
	}
	// The file that asks for the module hides no other of its name.
	for _, dir := range []string{"etc", "usr/lib", "usr/local/lib"} {
		add("request: beside one in "+dir, whole(file(dir+"/modules-load.d/sctp-load.conf", "dummy\n")), "on-demand;commands~=echo sctp > /etc/modules-load.d/sctp-load-2.conf")
	}
	// Masks by an argument are the work of a generator.
	generators := func(es ...hostcase.Entry) *hostcase.Case {
		return cmdline("ro systemd.mask=systemd-modules-load.service", append(es, requested, file("usr/lib/systemd/system-generators/systemd-fstab-generator", elf))...)
	}
	debugGenerator := file("usr/lib/systemd/system-generators/systemd-debug-generator", elf)
	add("mask: by an argument", generators(debugGenerator), "on-demand")
	add("mask: by an argument, no generator", generators(), "loaded")
	add("mask: by an argument, the generator is masked", generators(debugGenerator, link("etc/systemd/system-generators/systemd-debug-generator", "/dev/null")), "loaded")
	add("mask: by an argument, the generator is replaced", generators(debugGenerator, file("etc/systemd/system-generators/systemd-debug-generator", elf)), "on-demand")
	return list
}
