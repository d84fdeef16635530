// Package sosreport makes sosreports of the hosts of package hostcase, and compares
// the verdict about a host with the one about its sosreport.
package sosreport

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing/fstest"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// Of is what sos would copy of a case's host: of its files those of the
// plugins kernel, systemd and grub2, and what their commands print there.
func Of(c *hostcase.Case, state kmod.State) fstest.MapFS {
	host, out := c.FS(), fstest.MapFS{}
	lib := "usr/lib/"
	if c.Split {
		lib = "lib/"
	} else {
		out["lib"] = host["lib"]
	}
	copied := func(name string) bool {
		for _, dir := range []string{"etc/modprobe.d", lib + "modprobe.d", "run/modprobe.d", "usr/local/lib/modprobe.d", "etc/modules-load.d", "etc/systemd/system", lib + "systemd/system", "run/systemd/system", "run/systemd/generator.early", "etc/sysctl.d", lib + "sysctl.d", "run/sysctl.d", "usr/local/lib/sysctl.d", "boot/loader", "boot/grub2", "boot/grub", "etc/default/grub"} {
			if name == dir || strings.HasPrefix(name, dir+"/") {
				return true
			}
		}
		initstate, _ := path.Match("sys/module/*/initstate", name)
		parameter, _ := path.Match("sys/module/*/parameters/*", name)
		return initstate || parameter || slices.Contains([]string{"proc/modules", "proc/cmdline", "proc/sys/kernel/random/boot_id", "etc/os-release"}, name)
	}
	for name, f := range host {
		if copied(name) {
			out[name] = f
			if target := string(f.Data); f.Mode.Type() == fs.ModeSymlink {
				if !path.IsAbs(target) {
					target = path.Join("/", path.Dir(name), target)
				}
				// And what it leads to.
				if to := host[path.Clean(target)[1:]]; to != nil && to.Mode.IsRegular() {
					out[path.Clean(target)[1:]] = to
				}
			}
		}
	}
	print := func(name, text string) { out[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644} }
	files, modinfo := map[string]string{}, ""
	for _, m := range c.Modules {
		files[m.Name] = m.File
		if slices.Contains(c.Live, m.Name) && !m.Gone {
			modinfo += "filename:       /" + lib + "modules/" + hostcase.Release + "/" + m.File + "\n"
		}
	}
	print("sos_commands/kernel/modinfo_ALL_MODULES", modinfo)
	dep := ""
	for _, m := range c.Modules {
		dep += m.File + ":"
		for _, need := range m.Needs {
			dep += " " + files[need]
		}
		dep += "\n"
	}
	if len(c.Modules) > 0 && !slices.Contains(c.Without, "modules.dep.bin") {
		print(lib+"modules/"+hostcase.Release+"/modules.dep", dep)
	}
	print("version.txt", "sos report: 4.12.0\nkernel: unversioned\n")
	print("sos_commands/kernel/uname_-a", "Linux worker-1 "+hostcase.Release+" #1 SMP PREEMPT_DYNAMIC Fri Feb 23 01:51:18 EST 2024 x86_64 x86_64 x86_64 GNU/Linux\n")
	sysctls := ""
	for _, key := range []string{"modprobe", "modules_disabled"} {
		sysctls += "kernel." + key + " = " + string(host["proc/sys/kernel/"+key].Data)
	}
	if state.InKernel() {
		sysctls += "net.sctp.addip_enable = 0\n"
	}
	print("sos_commands/kernel/sysctl_-a", sysctls+"vm.swappiness = 60\n")
	lsmod := "Module                  Size  Used by"
	if modprobe := host["sbin/modprobe"]; modprobe != nil && bytes.Contains(bytes.ToLower(modprobe.Data), []byte("busybox")) {
		lsmod += "    Not tainted"
	}
	print("sos_commands/kernel/lsmod", lsmod+"\n")
	hostnamectl := " Static hostname: worker-1\n       Icon name: computer-vm\n         Chassis: vm\n"
	for _, sign := range []string{"run/systemd/container", "run/.containerenv", ".dockerenv", "kind", "kind/version"} {
		if host[sign] != nil {
			hostnamectl = " Static hostname: worker-1\n       Icon name: computer-container\n         Chassis: container\n  Virtualization: docker\n"
		}
	}
	print("sos_commands/host/hostnamectl_status", hostnamectl+"          Kernel: Linux "+hostcase.Release+"\n    Architecture: x86-64\n")
	print("sos_commands/systemd/systemctl_list-units", "  UNIT LOAD ACTIVE SUB DESCRIPTION\n")
	if out["boot/grub2/grub.cfg"] == nil && out["boot/grub/grub.cfg"] == nil {
		print("boot/grub2/custom.cfg", "set timeout=5\n")
	}
	print("installed-rpms", fmt.Sprintf("kmod-%d-9.el9.x86_64   Mon Nov  2 10:00:00 2026\nsystemd-%d-32.el9_4.x86_64   Mon Nov  2 10:00:00 2026\n", c.Kmod, c.Systemd))
	return out
}

// Compare lists where a copy's report contradicts the host's, or calls an answer
// unknown and does not name what is missing. It counts the answers that are known,
// and those that are not.
func Compare(host, copy verdict.Report) (known, unknown int, wrong []string) {
	one := func(name string, host, copy kmod.Answer, evidence []kmod.Evidence) {
		switch {
		case copy == host:
			known++
		case copy != kmod.AnswerUnknown:
			wrong = append(wrong, fmt.Sprintf("%s: %s on the host, %s by its copy (%v)", name, host, copy, evidence))
		default:
			unknown++
			if !slices.ContainsFunc(evidence, func(e kmod.Evidence) bool {
				return (e.Cause == kmod.CauseUnreadable || e.Cause == kmod.CauseUnclear) && e.File != "" || strings.Contains(e.Effect, "not in this copy")
			}) {
				wrong = append(wrong, fmt.Sprintf("%s: unknown by its copy, and no missing file is named: %v", name, evidence))
			}
		}
	}
	h, c := host.Policy, copy.Policy
	one("socket", h.Autoload.Allowed, c.Autoload.Allowed, c.Autoload.Evidence)
	one("socket v6", h.AutoloadIPv6.Allowed, c.AutoloadIPv6.Allowed, c.AutoloadIPv6.Evidence)
	one("modprobe", h.Modprobe.Allowed, c.Modprobe.Allowed, c.Modprobe.Evidence)
	one("at boot", h.ModulesLoad.Allowed, c.ModulesLoad.Allowed, c.ModulesLoad.Evidence)
	one("requested", h.ModulesLoad.Requested, c.ModulesLoad.Requested, c.ModulesLoad.Evidence)
	for _, x := range [][2]string{{string(host.Ready), string(copy.Ready)}, {string(host.OnBoot), string(copy.OnBoot)}} {
		if x[1] != x[0] && x[1] != string(kmod.AnswerUnknown) {
			wrong = append(wrong, fmt.Sprintf("%s on the host, %s by its copy: %s", x[0], x[1], copy.Message))
		}
	}
	return known, unknown, wrong
}
