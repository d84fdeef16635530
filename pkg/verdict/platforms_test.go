package verdict

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// TestPlatformOf: a platform is recognised by the fields of os-release, never by
// its pretty name.
func TestPlatformOf(t *testing.T) {
	for _, c := range []struct {
		story string
		host  kmod.Userland
		want  string
	}{
		{"OpenShift up to 4.18", kmod.Userland{ID: "rhcos", VariantID: "coreos", OpenShiftVersion: "4.18"}, "openshift"},
		{"OpenShift from 4.19 on", kmod.Userland{ID: "rhel", VariantID: "coreos", VersionID: "9.6"}, "openshift"},
		{"the same, with OpenShift's layer named", kmod.Userland{ID: "rhel", VersionID: "9.6", OpenShiftVersion: "4.20"}, "openshift"},
		{"OKD up to 4.18", kmod.Userland{ID: "scos"}, "openshift"},
		{"OKD from 4.19 on", kmod.Userland{ID: "centos", VariantID: "coreos"}, "openshift"},
		{"Fedora CoreOS", kmod.Userland{ID: "fedora", VariantID: "coreos"}, "fedora-coreos"},
		{"another variant of Fedora", kmod.Userland{ID: "fedora", VariantID: "server"}, "fedora"},
		{"RHEL in image mode", kmod.Userland{ID: "rhel", OSTree: true}, "rhel"},
		{"SL Micro", kmod.Userland{ID: "sl-micro"}, "sl-micro"},
		{"its predecessor has its own name, and the same row", kmod.Userland{ID: "sle-micro"}, "sle-micro"},
		{"openSUSE Leap", kmod.Userland{ID: "opensuse-leap"}, "opensuse-leap"},
		{"a distribution without a row", kmod.Userland{ID: "debian"}, "debian"},
		{"no os-release", kmod.Userland{}, ""},
	} {
		if got := PlatformOf(c.host).Name; got != c.want {
			t.Errorf("%s: %q, want %q", c.story, got, c.want)
		}
	}
}

// TestModulePackage: which package has sctp.ko, for the running kernel.
func TestModulePackage(t *testing.T) {
	for _, c := range []struct{ id, version, release, want string }{
		{"rhel", "9.6", "5.14.0-570.el9.x86_64", "kernel-modules-extra-5.14.0-570.el9.x86_64"},
		{"rhel", "9.6", "5.14.0-570.el9.x86_64+rt", "kernel-rt-modules-extra-5.14.0-570.el9.x86_64"},
		{"rhel", "8.10", "4.18.0-553.rt7.342.el8_10.x86_64", "kernel-rt-modules-extra-4.18.0-553.rt7.342.el8_10.x86_64"},
		{"rhel", "9.6", "5.14.0-570.el9.aarch64+64k", "kernel-64k-modules-extra-5.14.0-570.el9.aarch64"},
		{"rocky", "9.4", "6.12.10-1.el9.elrepo.x86_64", "kernel-[lm][lt]-modules-extra-6.12.10-1.el9.elrepo.x86_64"},
		{"almalinux", "8.10", "5.4.290-1.el8.elrepo.x86_64", "kernel-[lm][lt]-modules-extra-5.4.290-1.el8.elrepo.x86_64"},
		{"centos", "7", "5.4.278-1.el7.elrepo.x86_64", "kernel-[lm][lt]-5.4.278-1.el7.elrepo.x86_64"},
		{"centos", "7", "3.10.0-1160.119.1.el7.x86_64", "kernel-3.10.0-1160.119.1.el7.x86_64"},
		{"rhel", "7.9", "3.10.0-1160.rt56.1131.el7.x86_64", "kernel-rt-3.10.0-1160.rt56.1131.el7.x86_64"},
		{"fedora", "42", "6.14.0-63.fc42.x86_64+debug", "kernel-debug-modules-6.14.0-63.fc42.x86_64"},
		{"ol", "9.5", "5.15.0-307.178.5.el9uek.x86_64", "kernel-uek-modules-extra-5.15.0-307.178.5.el9uek.x86_64"},
		{"ol", "8.10", "5.4.17-2136.338.4.2.el8uek.x86_64", "kernel-uek-5.4.17-2136.338.4.2.el8uek.x86_64"},
		{"ol", "9.5", "5.14.0-503.el9_5.x86_64", "kernel-modules-extra-5.14.0-503.el9_5.x86_64"},
		{"amzn", "2023", "6.1.141-155.222.amzn2023.x86_64", "kernel-modules-extra-6.1.141-155.222.amzn2023.x86_64"},
		{"amzn", "2023", "6.12.30-35.amzn2023.x86_64", "kernel6.12-modules-extra-6.12.30-35.amzn2023.x86_64"},
		{"amzn", "2", "5.10.239-236.958.amzn2.x86_64", "kernel-5.10.239-236.958.amzn2.x86_64"},
		{"ubuntu", "24.04", "6.8.0-1030-aws", "linux-modules-extra-6.8.0-1030-aws"},
		{"ubuntu", "24.04", "6.17.0-42-generic", "linux-modules-extra-6.17.0-42-generic"},
		{"ubuntu", "25.10", "6.17.0-8-generic", "linux-modules-6.17.0-8-generic"},
		{"ubuntu", "26.04", "7.0.0-1007-oracle", "linux-modules-7.0.0-1007-oracle"},
		{"ubuntu", "24.04", "7.0.0-1017-aws", "linux-modules-7.0.0-1017-aws"},
		{"ubuntu", "22.04", "5.15.0-1050-raspi", "linux-modules-extra-5.15.0-1050-raspi"},
		{"ubuntu", "24.04", "6.8.0-1004-raspi", "linux-modules-6.8.0-1004-raspi"},
		{"ubuntu", "24.04", "6.8.0-1008-nvidia-64k", "linux-modules-6.8.0-1008-nvidia-64k"},
		{"ubuntu", "22.04", "5.15.167.4-microsoft-standard-WSL2", ""},
		{"ubuntu", "22.04", "6.8.0-060800-generic", ""},
		{"ubuntu", "22.04", "5.10.104-tegra", ""},
		{"ubuntu", "22.04", "5.4.0-1103-aws-fips", "linux-modules-extra-5.4.0-1103-aws-fips"},
		{"rocky", "9.4", "6.6.30-custom", ""},
		{"amzn", "2023", "6.6.30-custom", ""},
		{"ol", "9.5", "6.12.0-100.28.2.el9uek.aarch64.64k", "kernel-uek64k-modules-extra-6.12.0-100.28.2.el9uek.aarch64"},
		{"opensuse-leap", "15.6", "6.4.0-150600.21-64kb", "kernel-64kb"},
		{"sles", "15.6", "6.4.0-150600.23", "kernel-default"},
		{"sles", "15.6", "6.4.0-150600.23-default", "kernel-default"},
		{"sles", "15.6", "6.4.0-150600.8-azure", "kernel-azure"},
		{"sl-micro", "6.0", "6.4.0-18-default", "kernel-default"},
	} {
		u := kmod.Userland{ID: c.id, VersionID: c.version}
		if got := PlatformOf(u).packages(u, c.release); got != c.want {
			t.Errorf("%s %s, kernel %s: %s, want %s", c.id, c.version, c.release, got, c.want)
		}
	}
}

// situations are what keeps a host from SCTP, one of each kind.
func situations() map[string]func(*kmod.Inspection) {
	socketsAndBoot := func(i *kmod.Inspection, d kmod.Decision) { i.Autoload, i.AutoloadIPv6, i.BootLoad.Decision = d, d, d }
	return map[string]func(*kmod.Inspection){
		"the vendor's blacklist": func(i *kmod.Inspection) { socketsAndBoot(i, stoppedBy(vendorBlacklist())) },
		"a hardening file with two lines": func(i *kmod.Inspection) {
			blacklist := kmod.Evidence{File: "/etc/modprobe.d/sctp.conf", Line: 2, Text: "blacklist sctp", Cause: kmod.CauseBlacklist}
			i.ByName = stoppedBy(installFalse())
			socketsAndBoot(i, stoppedBy(installFalse(), blacklist))
		},
		"a line of the image": func(i *kmod.Inspection) {
			socketsAndBoot(i, stoppedBy(kmod.Evidence{File: "/usr/lib/modprobe.d/dist.conf", Line: 3, Text: "blacklist sctp", Cause: kmod.CauseBlacklist}))
		},
		"a kernel argument": func(i *kmod.Inspection) {
			everyCaller(i, stoppedBy(kmod.Evidence{File: procCmdline, Line: 1, Text: "module_blacklist=sctp", Cause: kmod.CauseDeniedByKernel}))
		},
		"nothing asks": func(*kmod.Inspection) {},
		"no module": func(i *kmod.Inspection) {
			i.State = kmod.StateAbsent
			everyCaller(i, stoppedBy(kmod.Evidence{File: "/lib/modules/x/modules.dep.bin", Effect: "is not there", Cause: kmod.CauseMissing}))
		},
	}
}

// TestEveryPlatformInEverySituation: whatever the host and whatever stops it,
// there is a step, in the platform's own words and no other's.
func TestEveryPlatformInEverySituation(t *testing.T) {
	hosts := map[string]kmod.Userland{
		"openshift": {ID: "rhcos"}, "fedora-coreos": {ID: "fedora", VariantID: "coreos", OSTree: true}, "": {ID: "debian"},
	}
	words := map[string]string{"MachineConfig": "openshift", "talosctl": "talos", "apiclient": "bottlerocket", "DaemonSet": "cos", "nixos-rebuild": "nixos", "Butane": "fedora-coreos flatcar"}
	for _, p := range Platforms() {
		u, ok := hosts[p.Name]
		if !ok {
			u = kmod.Userland{ID: p.Name}
		}
		u.ModuleDirectory = kmod.AnswerTrue
		for story, edit := range situations() {
			r := Judge(Facts{Inspection: host(func(i *kmod.Inspection) { edit(i); i.Userland = u })})
			at := p.Name + ", " + story
			if len(r.Remedies) == 0 || r.Remedy != sentence(r.Remedies) {
				t.Errorf("%s: remedies %v, remedy %q", at, r.Remedies, r.Remedy)
			}
			all := ""
			for _, s := range r.Remedies {
				if s.Action == "" || s.Text == "" {
					t.Errorf("%s: step %+v", at, s)
				}
				all += s.Text + "\n" + s.Command + "\n"
			}
			for word, owner := range words {
				if strings.Contains(all, word) && !slices.Contains(strings.Fields(owner), p.Name) {
					t.Errorf("%s: %q belongs to %s:\n%s", at, word, owner, all)
				}
			}
			if p.way != byFiles && p.way != byIgnition && strings.Contains(all, "sed -i") {
				t.Errorf("%s: files are edited:\n%s", at, all)
			}
			if story == "a kernel argument" && !strings.Contains(all, "module_blacklist=sctp") {
				t.Errorf("%s: the argument is not named:\n%s", at, all)
			}
			if story == "a hardening file with two lines" && (p.way == byFiles || p.way == byIgnition || p.way == byMachineConfig) &&
				!(strings.Contains(all, "line 1") && strings.Contains(all, "line 2")) {
				t.Errorf("%s: not both lines are named:\n%s", at, all)
			}
		}
	}
}

// TestBootSource: where what loads modules at boot is not in the root, a loaded
// module is no evidence that nothing asks for it.
func TestBootSource(t *testing.T) {
	for _, p := range Platforms() {
		r := Judge(Facts{Probe: passed(), Inspection: host(func(i *kmod.Inspection) {
			i.State = kmod.StateLoaded
			i.Userland = kmod.Userland{ID: p.Name, ModuleDirectory: kmod.AnswerTrue}
		})})
		want, warnings := OnBootOnDemand, 1
		if p.bootSource != "" {
			want, warnings = OnBootUnknown, 0
		}
		if r.OnBoot != want || len(r.Warnings) != warnings {
			t.Errorf("%s: onBoot=%s, warnings %v", p.Name, r.OnBoot, r.Warnings)
		}
	}
}

// TestRootElsewhere: from a root in which this kernel's modprobe does not run, only
// what the kernel itself decides is concluded.
func TestRootElsewhere(t *testing.T) {
	kind := kmod.Userland{ID: "debian", Container: "/.dockerenv", ModuleDirectory: kmod.AnswerTrue}
	nixos := kmod.Userland{ID: "nixos", ModuleDirectory: kmod.AnswerFalse}
	other := kmod.Userland{ID: "debian", ModuleDirectory: kmod.AnswerFalse}
	missing := stoppedBy(kmod.Evidence{File: "/lib/modules/x/modules.dep.bin", Effect: "is not there", Cause: kmod.CauseMissing})
	for _, c := range []struct {
		story  string
		host   kmod.Userland
		edit   func(*kmod.Inspection)
		ready  kmod.Answer
		reason Reason
		onBoot OnBoot
		warns  bool
		remedy string
	}{
		{"kind, loaded, its own blacklist stops nothing", kind, func(i *kmod.Inspection) { i.State = kmod.StateLoaded; everyCaller(i, stoppedBy(vendorBlacklist())) },
			kmod.AnswerTrue, ReasonProbePassed, OnBootUnknown, true, ""},
		{"kind, not loaded", kind, nil, kmod.AnswerFalse, ReasonModuleNotLoaded, OnBootUnknown, true, "machine that runs this container"},
		{"LXC without modules, not loaded", kmod.Userland{ID: "debian", Container: "/run/systemd/container", ModuleDirectory: kmod.AnswerFalse},
			func(i *kmod.Inspection) { i.State = kmod.StateAbsent; everyCaller(i, missing) }, kmod.AnswerFalse, ReasonModuleNotLoaded, OnBootUnknown, true, "machine that runs this container"},
		{"kind on a kernel that refuses the module", kind, func(i *kmod.Inspection) {
			everyCaller(i, stoppedBy(kmod.Evidence{File: procCmdline, Line: 1, Text: "module_blacklist=sctp", Cause: kmod.CauseDeniedByKernel}, vendorBlacklist()))
		}, kmod.AnswerFalse, ReasonModuleDeniedByKernel, OnBootBlocked, true, "machine that runs this container"},
		{"kind with SCTP built in", kind, func(i *kmod.Inspection) { i.State = kmod.StateBuiltin }, kmod.AnswerTrue, ReasonProbePassed, OnBootLoaded, true, ""},
		{"NixOS, loaded", nixos, func(i *kmod.Inspection) { i.State = kmod.StateLoaded; everyCaller(i, missing) }, kmod.AnswerTrue, ReasonProbePassed, OnBootUnknown, true, ""},
		{"NixOS, not loaded", nixos, func(i *kmod.Inspection) { i.State = kmod.StateAbsent; everyCaller(i, missing) }, kmod.AnswerFalse, ReasonModuleNotLoaded, OnBootUnknown, true, "boot.kernelModules"},
		{"k3s in an unmarked container, loaded", other, func(i *kmod.Inspection) { i.State = kmod.StateLoaded; everyCaller(i, missing) }, kmod.AnswerTrue, ReasonProbePassed, OnBootUnknown, true, ""},
		{"a host without the module", other, func(i *kmod.Inspection) { i.State = kmod.StateAbsent; everyCaller(i, missing) }, kmod.AnswerFalse, ReasonModuleMissing, OnBootBlocked, false, "CONFIG_IP_SCTP"},
		{"the running kernel was replaced", other, func(i *kmod.Inspection) {
			i.State = kmod.StateLoaded
			i.Kernel.Replaced = true
			everyCaller(i, missing)
		},
			kmod.AnswerTrue, ReasonProbePassed, OnBootUnknown, false, ""},
	} {
		t.Run(c.story, func(t *testing.T) {
			f := Facts{Inspection: host(func(i *kmod.Inspection) {
				i.Userland = c.host
				if c.edit != nil {
					c.edit(i)
				}
			})}
			if f.Inspection.State.InKernel() {
				f.Probe = passed()
			}
			before := f.Inspection.Autoload
			r := Judge(f)
			if r.Ready != c.ready || r.Reason != c.reason || r.OnBoot != c.onBoot {
				t.Errorf("ready=%s reason=%s onBoot=%s, want %s %s %s", r.Ready, r.Reason, r.OnBoot, c.ready, c.reason, c.onBoot)
			}
			warned := slices.ContainsFunc(r.Warnings, func(w Warning) bool { return w.Reason == ReasonHostRootIncomplete })
			if warned != c.warns {
				t.Errorf("warnings %v", r.Warnings)
			}
			if !strings.Contains(r.Remedy, c.remedy) || c.remedy == "" && r.Remedy != "" || strings.Contains(r.Remedy, "/lib/modules") {
				t.Errorf("remedy %q", r.Remedy)
			}
			if c.warns && c.reason != ReasonModuleDeniedByKernel && r.Policy.Autoload.Allowed != kmod.AnswerUnknown {
				t.Errorf("the wrong root decides: %+v", r.Policy.Autoload)
			}
			f.Diag = host(func(i *kmod.Inspection) { i.Autoload = stoppedBy(vendorBlacklist()) })
			diag := slices.ContainsFunc(Judge(f).Warnings, func(w Warning) bool { return w.Reason == ReasonSCTPDiagUnavailable })
			if f.Diag = nil; diag == c.warns && f.Inspection.State.InKernel() {
				t.Errorf("ss --sctp is judged by the wrong root: %v", diag)
			}
			if f.Inspection.Autoload.Allowed != before.Allowed {
				t.Error("the inspection itself was changed")
			}
			checkReport(t, f, r)
		})
	}
}

// TestHardeningRules: who takes a line out has to cite the rule that asks for
// it; a line that only looks like it has none.
func TestHardeningRules(t *testing.T) {
	const cis = `CIS "Ensure sctp kernel module is not available"`
	for _, c := range []struct {
		host       kmod.Userland
		file, text string
		want       string
	}{
		{kmod.Userland{ID: "rhel", VersionID: "8.10"}, "/etc/modprobe.d/blacklist.conf", "blacklist sctp", "[hardening rule STIG RHEL 8 V-230496, CCE-80834-5, " + cis + "]"},
		{kmod.Userland{ID: "rhel", VersionID: "9.6"}, "/etc/modprobe.d/sctp.conf", "install  sctp\t/bin/false", "[hardening rule STIG RHEL 9 V-257807, CCE-84139-5, " + cis + "]"},
		{kmod.Userland{ID: "rocky", VersionID: "9"}, "/etc/modprobe.d/sctp.conf", "install sctp /bin/true", "[hardening rule STIG RHEL 9 V-257807, CCE-84139-5, " + cis + "]"},
		{kmod.Userland{ID: "rhcos"}, "/etc/modprobe.d/sctp.conf", "install sctp /bin/true", "[hardening rule CCE-82516-6]"},
		{kmod.Userland{ID: "sles", VersionID: "15.6"}, "/etc/modprobe.d/sctp.conf", "install sctp /bin/false", "[hardening rule CCE-91242-8, " + cis + "]"},
		{kmod.Userland{ID: "ubuntu", VersionID: "24.04"}, "/etc/modprobe.d/CIS.conf", "install sctp /bin/false", "[hardening rule " + cis + "]"},
		{kmod.Userland{ID: "rhel", VersionID: "9.6"}, "/etc/modprobe.d/my.conf", "install sctp /bin/false", ""},
		{kmod.Userland{ID: "rhel", VersionID: "9.6"}, "/usr/lib/modprobe.d/sctp.conf", "install sctp /bin/false", ""},
		{kmod.Userland{ID: "rhel", VersionID: "9.6"}, "/etc/modprobe.d/sctp.conf", "install sctp /usr/local/bin/ask", ""},
		{kmod.Userland{ID: "rhel", VersionID: "9.6"}, VendorBlacklist, "blacklist sctp", ""},
	} {
		r := Judge(Facts{Inspection: host(func(i *kmod.Inspection) {
			i.Userland = c.host
			i.Userland.ModuleDirectory = kmod.AnswerTrue
			everyCaller(i, stoppedBy(kmod.Evidence{File: c.file, Line: 4, Text: c.text, Cause: kmod.CauseInstall}))
		})})
		if got := strings.Contains(r.Remedies[0].Text, "[hardening rule"); got != (c.want != "") || !strings.Contains(r.Remedies[0].Text, c.want) {
			t.Errorf("%s %s: %s", c.host.ID, c.file, r.Remedies[0].Text)
		}
	}
}

// TestHardeningRuleOfOneLine: of several lines of one file that a MachineConfig
// empties, one is a rule's.
func TestHardeningRuleOfOneLine(t *testing.T) {
	rule, other := installFalse(), kmod.Evidence{File: "/etc/modprobe.d/sctp.conf", Line: 9, Text: "alias net-pf-2-proto-132 off", Cause: kmod.CauseAlias}
	for _, lines := range [][]kmod.Evidence{{rule, other}, {other, rule}} {
		r := Judge(Facts{Inspection: host(func(i *kmod.Inspection) { everyCaller(i, stoppedBy(lines...)) })})
		if !strings.Contains(r.Remedies[0].Text, "[hardening rule CCE-82516-6]") || len(r.Remedies) != 3 {
			t.Errorf("%+v", r.Remedies)
		}
	}
}

// TestNotice: the comment that names what writes a file is shown with the step.
func TestNotice(t *testing.T) {
	e := installFalse()
	e.Notice = "# Ansible managed: do not edit"
	for _, id := range []string{"rhel", "rhcos"} {
		r := Judge(Facts{Inspection: host(func(i *kmod.Inspection) {
			i.Userland = kmod.Userland{ID: id}
			everyCaller(i, stoppedBy(e))
		})})
		if want := `, and change what writes the file ("# Ansible managed: do not edit")`; !strings.Contains(r.Remedies[0].Text, want) {
			t.Errorf("%s: %s", id, r.Remedies[0].Text)
		}
	}
}

// TestCommandsEditFiles runs the commands of the steps that edit files, in a
// directory in place of the host's root: all at once they leave nothing of sctp,
// and everything else.
func TestCommandsEditFiles(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no shell: ", err)
	}
	root := t.TempDir()
	files := map[string]string{
		"/etc/modprobe.d/a 'b' $(x).conf": "blacklist floppy\ninstall sctp /bin/false\noptions x y=1\nblacklist sctp\n",
		"/etc/modprobe.d/c.conf":          "install sctp \\\n  /bin/true\nblacklist usb\n",
		"/usr/lib/modprobe.d/dist.conf":   "blacklist sctp\nblacklist nouveau\ninstall sctp /bin/false\n",
		VendorBlacklist:                   "# why\nblacklist sctp\n",
	}
	evidence := []kmod.Evidence{
		{File: "/etc/modprobe.d/a 'b' $(x).conf", Line: 2, Text: "install sctp /bin/false", Cause: kmod.CauseInstall},
		{File: "/etc/modprobe.d/c.conf", Line: 1, Text: "install sctp   /bin/true", Cause: kmod.CauseInstall},
		{File: "/usr/lib/modprobe.d/dist.conf", Line: 3, Text: "install sctp /bin/false", Cause: kmod.CauseInstall},
		{File: "/etc/modprobe.d/a 'b' $(x).conf", Line: 4, Text: "blacklist sctp", Cause: kmod.CauseBlacklist},
		{File: "/usr/lib/modprobe.d/dist.conf", Line: 1, Text: "blacklist sctp", Cause: kmod.CauseBlacklist},
		{File: VendorBlacklist, Line: 2, Text: "blacklist sctp", Cause: kmod.CauseBlacklist},
	}
	want := map[string]string{
		"/etc/modprobe.d/a 'b' $(x).conf": "blacklist floppy\n#install sctp /bin/false\noptions x y=1\n#blacklist sctp\n",
		// One logical line: the comment takes its continuation along
		// (libkmod, getline_wrapped).
		"/etc/modprobe.d/c.conf":        "#install sctp \\\n  /bin/true\nblacklist usb\n",
		"/etc/modprobe.d/dist.conf":     "#blacklist sctp\nblacklist nouveau\n#install sctp /bin/false\n",
		"/usr/lib/modprobe.d/dist.conf": files["/usr/lib/modprobe.d/dist.conf"],
		VendorBlacklist:                 "",
		LoadRequest:                     "sctp\n",
	}
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(root+name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(root+name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(root+LoadRequest), 0o755); err != nil {
		t.Fatal(err)
	}
	r := Judge(Facts{Inspection: host(func(i *kmod.Inspection) {
		i.Userland = kmod.Userland{ID: "rhel", VersionID: "9.6", ModuleDirectory: kmod.AnswerTrue}
		everyCaller(i, stoppedBy(evidence...))
	})})
	for _, step := range r.Remedies {
		if step.Action == ActionLoadModule {
			continue
		}
		if step.Command == "" {
			t.Errorf("no command for %s", step.Text)
		}
		command := step.Command
		for _, dir := range []string{"/etc/", "/usr/"} {
			for _, before := range []string{" ", "'"} {
				command = strings.ReplaceAll(command, before+dir, before+root+dir)
			}
		}
		if out, err := exec.Command(sh, "-c", command).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", command, err, out)
		}
	}
	for name, content := range want {
		got, err := os.ReadFile(root + name)
		if err != nil || string(got) != content {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, got, content)
		}
	}
}

// TestNoCommandForAHiddenName: what is copied into a shell is what is read.
func TestNoCommandForAHiddenName(t *testing.T) {
	for _, name := range []string{"/etc/modprobe.d/a\nrm -rf x.conf", "/etc/modprobe.d/\x1b[1m.conf", "/etc/modprobe.d/\u202e.conf", "/etc/modprobe.d/\xff.conf", `/etc/modprobe.d/\u000a.conf`} {
		for _, id := range []string{"rhel", "rhcos"} {
			r := Judge(Facts{Inspection: host(func(i *kmod.Inspection) {
				i.Userland = kmod.Userland{ID: id}
				everyCaller(i, stoppedBy(kmod.Evidence{File: name, Line: 1, Text: "blacklist sctp", Cause: kmod.CauseBlacklist}))
			})})
			if step := r.Remedies[0]; step.Command != "" {
				t.Errorf("%q: %q", name, step.Command)
			}
			for _, step := range r.Remedies {
				if strings.ContainsAny(step.Command, "\n\x1b\u202e\uFFFD") {
					t.Errorf("%q: %q", name, step.Command)
				}
			}
		}
	}
}

// TestDocumentedPlatforms: docs/enable-sctp.md has every row, with its source.
func TestDocumentedPlatforms(t *testing.T) {
	text, err := os.ReadFile("../../docs/enable-sctp.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range Platforms() {
		if p.Source == "" || !strings.Contains(string(text), "("+p.Source+")") || p.Name != "" && !strings.Contains(string(text), "`"+p.Name+"`") {
			t.Errorf("docs/enable-sctp.md does not have %q (%s)", p.Name, p.Source)
		}
	}
}

// TestRootElsewhereEveryCombination: whatever is in a container's files, no
// verdict, no next boot and no step comes from them.
func TestRootElsewhereEveryCombination(t *testing.T) {
	decide := func(c kmod.Cause) kmod.Decision {
		e := kmod.Evidence{File: "/etc/modprobe.d/x.conf", Line: 1, Text: "t", Cause: c}
		switch {
		case c == kmod.CauseNone:
			return allowed()
		case !c.Before(kmod.CauseCustomInstall):
			return unknownBy(e)
		default:
			return stoppedBy(e)
		}
	}
	for _, state := range []kmod.State{kmod.StateLoaded, kmod.StateBuiltin, kmod.StateLoading, kmod.StateUnloading, kmod.StateLoadable, kmod.StateAbsent, kmod.StateUnknown} {
		for _, auto := range append(kmod.Causes(), kmod.CauseNone) {
			for _, boot := range append(kmod.Causes(), kmod.CauseNone) {
				for _, asked := range []kmod.Answer{kmod.AnswerTrue, kmod.AnswerFalse, kmod.AnswerUnknown} {
					f := Facts{Inspection: host(func(i *kmod.Inspection) {
						i.State = state
						i.Userland = kmod.Userland{ID: "debian", Container: "/.dockerenv"}
						i.Autoload, i.AutoloadIPv6, i.ByName, i.BootLoad.Decision = decide(auto), decide(auto), decide(auto), decide(boot)
						i.BootLoad.Requested = asked
					})}
					if state.InKernel() {
						f.Probe = passed()
					}
					r := Judge(f)
					checkReport(t, f, r)
					at := fmt.Sprintf("state=%s autoload=%s boot=%s requested=%s", state, auto, boot, asked)
					if want := map[bool]OnBoot{true: OnBootLoaded, false: OnBootUnknown}[state == kmod.StateBuiltin]; r.OnBoot != want {
						t.Errorf("%s: onBoot=%s, want %s", at, r.OnBoot, want)
					}
					switch r.Reason {
					case ReasonProbePassed, ReasonModuleNotLoaded, ReasonModuleInTransition, ReasonInspectionFailed:
					default:
						t.Errorf("%s: reason %s comes from the container's files", at, r.Reason)
					}
					for _, s := range r.Remedies {
						if strings.HasPrefix(s.File, "/etc/") || strings.HasPrefix(s.File, "/lib/") {
							t.Errorf("%s: step %+v", at, s)
						}
					}
				}
			}
		}
	}
}
