package verdict_test

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/machineconfig"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// piledUp are lines of modprobe.d as profiles, packages and people leave them:
// some stop sctp, some nearly, some have nothing to do with it.
var piledUp = []string{
	"blacklist sctp", "blacklist sctp", "install sctp /bin/false", "install sctp /bin/true", "install sct* /bin/false", "install sctp \\\n  /bin/true",
	"alias net-pf-2-proto-132 off", "alias net-pf-*-proto-132 off", "alias net-pf-10-proto-132 off", "install net-pf-2-proto-132 /bin/false",
	"install libcrc32c /bin/false", "install floppy /bin/false",
	"blacklist floppy", "blacklist sctp_diag", "# blacklist sctp", "options sctp no_checksums=0", "", "install udf /bin/true", "blacklist usb-storage", "alias sctp off", "alias net-pf-2-proto-132 floppy", "install libcrc32c /bin/true", "install * /bin/false",
}

// loading are lines that keep others from taking part: a step that empties their file
// brings these to life.
var loading = []string{
	"install sctp /sbin/modprobe -i sctp", "alias sctp sctp", "alias net-pf-2-proto-132 sctp", "softdep sctp pre: floppy", "install libcrc32c /sbin/modprobe -i libcrc32c",
}

var piledUpFiles = []string{
	"etc/modprobe.d/sctp.conf", "etc/modprobe.d/sctp-blacklist.conf", "etc/modprobe.d/a.conf", "etc/modprobe.d/blacklist.conf", "etc/modprobe.d/zz.conf",
	"usr/lib/modprobe.d/dist.conf", "usr/lib/modprobe.d/a.conf", "usr/lib/modprobe.d/vendor.conf", "run/modprobe.d/initramfsblacklist.conf",
}

// TestStepsOnceOnPiledUpRoots: on roots made of such lines, all steps done once
// leave nothing in the way, neither at boot nor on demand, on hosts where files
// are edited and on those where a MachineConfig writes them.
func TestStepsOnceOnPiledUpRoots(t *testing.T) {
	const roots = 600
	rng := rand.New(rand.NewPCG(14, 4))
	stopped := 0
	for n := range roots {
		c := &hostcase.Case{
			Story: "piled up", Kmod: []int{28, 30, 34}[n%3], Systemd: 252,
			Modules: []hostcase.Module{
				{Name: "libcrc32c", File: "kernel/lib/libcrc32c.ko"}, {Name: "floppy", File: "kernel/drivers/floppy.ko"},
				{Name: "sctp", File: "kernel/net/sctp/sctp.ko", Needs: []string{"libcrc32c"}},
			},
			Aliases: []hostcase.Alias{{Pattern: "net_pf_2_proto_132", Name: "sctp"}, {Pattern: "net_pf_10_proto_132", Name: "sctp"}},
		}
		id := []string{"ID=rhel\nVERSION_ID=9.6\n", "ID=rhcos\nVERSION_ID=4.18\n"}[n%2]
		c.Entries = append(c.Entries, hostcase.Entry{Kind: hostcase.File, Path: "etc/os-release", Content: id},
			hostcase.Entry{Kind: hostcase.File, Path: "bin/false", Content: "#!stub"}, hostcase.Entry{Kind: hostcase.File, Path: "bin/true", Content: "#!stub"},
			hostcase.Entry{Kind: hostcase.File, Path: "opt/ask", Content: "#!stub"}, hostcase.Entry{Kind: hostcase.File, Path: "sbin/modprobe", Content: "#!stub"})
		if rng.IntN(3) == 0 {
			c.Live = []string{"libcrc32c"}
		}
		for _, i := range rng.Perm(len(piledUpFiles))[:1+rng.IntN(5)] {
			var content strings.Builder
			for range 1 + rng.IntN(5) {
				lines := piledUp
				if rng.IntN(4) == 0 && !strings.HasPrefix(piledUpFiles[i], "run/") && (n%2 == 0 || path.Base(piledUpFiles[i]) != "sctp-blacklist.conf") {
					lines = loading
				}
				content.WriteString(lines[rng.IntN(len(lines))] + "\n")
			}
			c.Entries = append(c.Entries, hostcase.Entry{Kind: hostcase.File, Path: piledUpFiles[i], Content: content.String()})
		}
		tree := c.FS()
		judge := func() verdict.Report { return judged(t, tree, c.Kmod, c.Systemd) }
		before := judge()
		if before.Policy.Autoload.Allowed != kmod.AnswerTrue || before.Policy.ModulesLoad.Allowed != kmod.AnswerTrue {
			stopped++
		}
		doSteps(t, tree, before)
		if after := judge(); after.OnBoot != verdict.OnBootLoaded || after.Policy.Autoload.Allowed != kmod.AnswerTrue || after.Policy.AutoloadIPv6.Allowed != kmod.AnswerTrue || after.Policy.ModulesLoad.Allowed != kmod.AnswerTrue {
			t.Errorf("root %d\n%s\nsteps\n%s\nleft\n%s", n, c.Format(), describe("before", before), describe("after", after))
		}
		if t.Failed() {
			return
		}
	}
	if t.Logf("%d roots, %d of them stop sctp", roots, stopped); stopped < roots/2 {
		t.Errorf("only %d of %d roots stop sctp", stopped, roots)
	}
}

// TestStepsOnceOnStoppedUnits: all that keeps systemd-modules-load from running is
// named at once.
func TestStepsOnceOnStoppedUnits(t *testing.T) {
	const units, unit = "etc/systemd/system/", "systemd-modules-load.service"
	condition := func(name string) hostcase.Entry {
		return file(units+unit+".d/"+name, "[Unit]\nConditionPathExists=/etc/none\n")
	}
	for name, entries := range map[string][]hostcase.Entry{
		"two masks":                            {link(units+unit, "/dev/null"), file("run/systemd/system/"+unit, "")},
		"mask and drop-ins":                    {link(units+unit, "/dev/null"), condition("a.conf"), condition("b.conf")},
		"masks that systemctl does not remove": {file("usr/local/lib/systemd/system/"+unit, ""), file("usr/local/lib/systemd/system/"+unit+".d/a.conf", "[Unit]\nConditionPathExists=/etc/none\n"), link("etc/systemd/system.control/"+unit, "/dev/null")},
		"link and drop-in":                     {link(units+"sysinit.target.wants/"+unit, "/dev/null"), condition("a.conf")},
		"commands replaced":                    {file(units+unit+".d/a.conf", "[Service]\nExecStart=\nExecStart=/bin/true\n"), condition("b.conf")},
		"all services restricted":              {file(units+"service.d/a.conf", "[Service]\nProtectKernelModules=yes\n")},
		"restricted twice":                     {file(units+"service.d/a.conf", "[Service]\nProtectKernelModules=yes\n"), file(units+unit+".d/b.conf", "[Service]\nUser=nobody\n")},
		"restricted twice, masked":             {file(units+"service.d/a.conf", "[Service]\nCapabilityBoundingSet=~CAP_SYS_MODULE\n"), file(units+unit+".d/b.conf", "[Service]\nUser=nobody\n"), link("run/systemd/system/"+unit, "/dev/null")},
		"edited and drop-in":                   {file(units+unit, "[Service]\nType=oneshot\nExecStart=/bin/true\n"), condition("z.conf")},
	} {
		t.Run(name, func(t *testing.T) {
			for _, others := range [][]hostcase.Entry{{requested, blacklisted}, {requested}, {blacklisted}, nil} {
				tree := whole(slices.Concat(entries, others)...).FS()
				judge := func() verdict.Report { return judged(t, tree, 30, 252) }
				before := judge()
				doSteps(t, tree, before)
				if after := judge(); before.OnBoot == verdict.OnBootLoaded || after.OnBoot != verdict.OnBootLoaded {
					t.Errorf("%s\nleft\n%s", describe("before", before), describe("after", after))
				}
			}
		})
	}
}

// What stops the unit is named beside a package that has the module.
func TestMissingModuleAndMaskedUnit(t *testing.T) {
	c := whole(link("etc/systemd/system/systemd-modules-load.service", "/dev/null"), file("etc/os-release", "ID=rhel\nVERSION_ID=9.6\n"))
	c.Modules, c.Aliases = nil, nil
	r := judged(t, c.FS(), 30, 252)
	if r.Remedies[0].Action != verdict.ActionInstallModule || !slices.ContainsFunc(r.Remedies, func(s verdict.Remedy) bool { return s.Command == "systemctl unmask systemd-modules-load.service" }) {
		t.Errorf("%+v", r.Remedies)
	}
}

// TestStepsOnceOnArguments: all kernel arguments that stop the module are named at
// once; each round of them is a reboot.
func TestStepsOnceOnArguments(t *testing.T) {
	for _, line := range []string{
		"module_blacklist=sctp,dccp module_blacklist=sctp", "module_blacklist=sctp nomodule", "nomodule sysctl.kernel.modules_disabled=1",
		"initcall_blacklist=sctp_init initcall_blacklist=x,sctp_init", "module_blacklist=libcrc32c,sctp", "module_blacklist=libcrc32c module_blacklist=sctp", "module_blacklist=libcrc32c modprobe.blacklist=sctp modprobe.blacklist=dccp,sctp",
		"module_blacklist=sctp modprobe.blacklist=sctp systemd.mask=systemd-modules-load systemd.mask=systemd-modules-load.service",
	} {
		t.Run(line, func(t *testing.T) {
			judge := func(line string) verdict.Report { return judged(t, cmdline(line, requested).FS(), 30, 252) }
			before, left := judge(line), ""
			for token := range strings.FieldsSeq(line) {
				for _, step := range before.Remedies {
					if step.Action != verdict.ActionRemoveArgument || !strings.Contains(step.Text, "argument "+token+" ") {
						continue
					}
					key, list, _ := strings.Cut(token, "=")
					names := slices.DeleteFunc(strings.Split(list, ","), func(name string) bool {
						return strings.HasPrefix(name, "sctp") || name == "libcrc32c" && strings.Contains(step.Text, "those it needs")
					})
					if token = ""; len(names) > 0 && strings.Contains(step.Text, "out of") {
						token = key + "=" + strings.Join(names, ",")
					}
				}
				left += " " + token
			}
			if after := judge(left); before.OnBoot == verdict.OnBootLoaded || after.OnBoot != verdict.OnBootLoaded || after.Policy.Autoload.Allowed != kmod.AnswerTrue {
				t.Errorf("%s\nleft\n%s\n%s", describe("before", before), left, describe("after", after))
			}
		})
	}
}

// doSteps does what the steps mean to a tree in memory, once and in their order.
func doSteps(t *testing.T, tree fstest.MapFS, r verdict.Report) {
	t.Helper()
	write := func(name, content string) {
		tree[strings.TrimPrefix(name, "/")] = &fstest.MapFile{Data: []byte(content), Mode: 0o644}
	}
	if files := machineconfig.FilesOf(r); files != nil {
		for _, f := range files {
			write(f.Path, f.Contents)
		}
		return
	}
	read := func(name string) string {
		if rest, ok := strings.CutPrefix(name, "/lib/"); ok {
			name = "/usr/lib/" + rest
		}
		f := tree[strings.TrimPrefix(name, "/")]
		if f == nil {
			t.Fatalf("a step is about %s, which is not there", name)
		}
		return string(f.Data)
	}
	commentOut := func(content string, line int) string {
		lines := strings.SplitAfter(content, "\n")
		if line < 1 || line > len(lines) {
			t.Fatalf("a step is about line %d of %d", line, len(lines))
		}
		return strings.Join(slices.Concat(lines[:line-1], []string{"#" + lines[line-1]}, lines[line:]), "")
	}
	for _, step := range r.Remedies {
		switch step.Action {
		case verdict.ActionCommentOut:
			write(step.File, commentOut(read(step.File), step.Line))
		case verdict.ActionOverrideFile:
			target := path.Join("/etc/modprobe.d", path.Base(step.File))
			source := target
			if tree[strings.TrimPrefix(target, "/")] == nil {
				source = step.File
			}
			write(target, commentOut(read(source), step.Line))
		case verdict.ActionEmptyFile:
			write(step.File, "")
		case verdict.ActionRestoreFile:
			delete(tree, strings.TrimPrefix(step.File, "/"))
		case verdict.ActionWriteFile:
			write(step.File, "sctp\n")
		case verdict.ActionLoadModule, verdict.ActionReboot:
		default:
			t.Fatalf("no file can do this step: %s", fmt.Sprint(step))
		}
	}
}

// TestStepsOnceOnHiddenLines: what a step, or the next boot, uncovers is named at once:
// lines that stop nothing as long as the kernel package's file, or one in /run, has
// another.
func TestStepsOnceOnHiddenLines(t *testing.T) {
	const permits = "install sctp /sbin/modprobe -i sctp\n"
	stops := file("etc/modprobe.d/zz.conf", "install sctp /bin/false\n")
	for name, entries := range map[string][]hostcase.Entry{
		"the package's file":             {file("etc/modprobe.d/sctp-blacklist.conf", permits), stops},
		"the package's file, blacklist":  {file("etc/modprobe.d/sctp-blacklist.conf", permits+"blacklist sctp\n"), stops},
		"a file in /run":                 {file("run/modprobe.d/a.conf", permits), stops},
		"a file in /run, blacklist":      {file("run/modprobe.d/a.conf", permits), stops, blacklisted},
		"an empty file in /run":          {file("run/modprobe.d/sctp.conf", ""), file("usr/lib/modprobe.d/sctp.conf", "blacklist sctp\n")},
		"a file in /run, all are copies": {file("run/modprobe.d/sctp.conf", "blacklist sctp\n"), file("usr/lib/modprobe.d/sctp.conf", "install sctp /bin/true\n")},
	} {
		for _, id := range []string{"ID=rhel\nVERSION_ID=9.6\n", "ID=rhcos\nVERSION_ID=4.18\n"} {
			t.Run(name+" "+id, func(t *testing.T) {
				tree := whole(append(slices.Clone(entries), file("etc/os-release", id))...).FS()
				judge := func() verdict.Report { return judged(t, tree, 30, 252) }
				before := judge()
				doSteps(t, tree, before)
				for file := range tree { // the next boot
					if strings.HasPrefix(file, "run/") {
						delete(tree, file)
					}
				}
				if after := judge(); after.OnBoot != verdict.OnBootLoaded {
					t.Errorf("%s\nleft\n%s", describe("before", before), describe("after", after))
				}
			})
		}
	}
}

// judged is the report about a host that has these versions of kmod and systemd.
func judged(t *testing.T, tree fs.FS, kmodVersion, systemdVersion int) verdict.Report {
	t.Helper()
	i, err := kmod.Inspect(t.Context(), kmod.Options{FS: tree, KmodVersion: kmodVersion, SystemdVersion: systemdVersion}, kmod.SCTP())
	if err != nil {
		t.Fatal(err)
	}
	return verdict.Judge(verdict.Facts{Inspection: i})
}
