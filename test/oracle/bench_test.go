package oracle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/test/cache"
	"github.com/sctp-agent/sctp-agent/test/debian"
)

// The files of modprobe.d as an RHCOS node has them: one per module with a
// network alias from kernel-modules-extra, and those of other packages.
var extraModules = []string{
	"act_sample", "af_802154", "appletalk", "atm", "ax25", "batman-adv", "can-bcm", "can-gw", "dccp_ipv4", "dccp_ipv6", "ieee802154_6lowpan",
	"l2tp_eth", "l2tp_ip", "l2tp_netlink", "netrom", "rds", "rose", "sctp_diag", "sctp", "tipc", "tipc_diag", "xt_u32",
}

var otherFiles = map[string]string{
	"usr/lib/modprobe.d/dist-blacklist.conf":    "# watchdog drivers\nblacklist i8xx_tco\nblacklist iTCO_wdt\n# framebuffers\nblacklist aty128fb\nblacklist cirrusfb\nblacklist radeonfb\n# sound\nblacklist snd-pcsp\nblacklist pcspkr\n",
	"usr/lib/modprobe.d/systemd.conf":           "options bonding max_bonds=0\noptions dummy numdummies=0\n",
	"usr/lib/modprobe.d/mlx4.conf":              "install mlx4_core /sbin/modprobe --ignore-install mlx4_core $CMDLINE_OPTS\n",
	"usr/lib/modprobe.d/lockd.conf":             "# Set the TCP port that the NFS lock manager should use.\n#options lockd nlm_tcpport\n",
	"usr/lib/modprobe.d/kvm.conf":               "# Setting modprobe kvm_intel/kvm_amd nested = 1\n#options kvm_intel nested=1\n",
	"etc/modprobe.d/tuned.conf":                 "# This file specifies additional parameters to kernel modules added by Tuned.\n",
	"etc/modprobe.d/truescale.conf":             "install ib_qib modprobe -i ib_qib $CMDLINE_OPTS\n",
	"usr/lib/modprobe.d/firewalld-sysctls.conf": "install nf_conntrack /usr/sbin/modprobe --ignore-install nf_conntrack $CMDLINE_OPTS\n",
}

// What tells the host's versions, where RHCOS has it: kmod's by a link,
// systemd's by one name in a directory of many.
const (
	benchKmod, benchSystemd = 30, 252
	benchKmodLibrary        = "libkmod.so.2.4.0"
	benchSystemdPrograms    = 140
	benchOSRelease          = "NAME=\"Red Hat Enterprise Linux CoreOS\"\nID=\"rhcos\"\nID_LIKE=\"rhel fedora\"\nVERSION=\"418.94\"\nVERSION_ID=\"4.18\"\nPRETTY_NAME=\"Red Hat Enterprise Linux CoreOS 418.94\"\nRHEL_VERSION=9.4\n"
)

// writeVersions makes the host root tell its versions.
func writeVersions(root string) error {
	files := map[string]string{
		"usr/lib/os-release":            benchOSRelease,
		"usr/lib64/" + benchKmodLibrary: "",
		fmt.Sprintf("usr/lib/systemd/libsystemd-shared-%d.so", benchSystemd): "",
	}
	for i := range benchSystemdPrograms {
		files[fmt.Sprintf("usr/lib/systemd/systemd-program-%03d", i)] = ""
	}
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := os.Symlink("../usr/lib/os-release", filepath.Join(root, "etc/os-release")); err != nil {
		return err
	}
	return os.Symlink(benchKmodLibrary, filepath.Join(root, "usr/lib64/libkmod.so.2"))
}

// copyUnits adds the units, generators and programs of a real systemd: a boot starts
// dozens of them, and each could load the module.
func copyUnits(ctx context.Context, root string) error {
	tree, err := debian.Open(debian.Bookworm, "").TreeWithDepends(ctx, systemPackages...)
	if err != nil {
		return err
	}
	for from, to := range map[string]string{"lib/systemd": "usr/lib/systemd", "etc/systemd": "etc/systemd", "etc/init.d": "etc/init.d"} {
		if err := os.CopyFS(filepath.Join(root, to), os.DirFS(filepath.Join(tree, from))); err != nil {
			return err
		}
	}
	return os.Symlink("../usr/lib/systemd/systemd", filepath.Join(root, "sbin/init"))
}

// benchRoot builds, once, a host root with the modules of a full distribution
// kernel, indexed by the real depmod, the units of a real systemd, and the real modprobe.
func benchRoot(b *testing.B) (root, release string) {
	b.Helper()
	if os.Geteuid() != 0 {
		b.Skip("the real modprobe runs in a chroot, which needs root")
	}
	ctx := b.Context()
	tree, release, err := debian.Open(debian.Bookworm, "amd64").Kernel(ctx, "linux-image-amd64")
	if err != nil {
		b.Fatal(err)
	}
	// The number changes with what is built here.
	root, err = cache.Once(ctx, "kmod-bench/4-"+release, func(ctx context.Context, dir string) error {
		if _, err := Prepare(ctx, Versions[1], dir); err != nil {
			return err
		}
		for _, d := range []string{"usr/lib/modules", "etc/modprobe.d", "etc/modules-load.d", "usr/lib/modprobe.d", "proc", "sys", "run"} {
			if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
				return err
			}
		}
		if err := os.Symlink("usr/lib", filepath.Join(dir, "lib")); err != nil {
			return err
		}
		if err := os.CopyFS(filepath.Join(dir, "usr/lib/modules", release), os.DirFS(filepath.Join(tree, "usr/lib/modules", release))); err != nil {
			return err
		}
		for _, m := range extraModules {
			text := "# This kernel module can be automatically loaded by non-root users. To\n# enhance system security, the module is blacklisted by default to ensure\n# system administrators make the module available for use as needed.\n# See https://access.redhat.com/articles/3760101 for more details.\n#\n# Remove the blacklist by adding a comment # at the start of the line.\nblacklist " + m + "\n"
			if err := os.WriteFile(filepath.Join(dir, "etc/modprobe.d", m+"-blacklist.conf"), []byte(text), 0o644); err != nil {
				return err
			}
		}
		for name, text := range otherFiles {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "etc/modules-load.d/sctp-load.conf"), []byte("sctp"), 0o644); err != nil {
			return err
		}
		if err := writeVersions(dir); err != nil {
			return err
		}
		if err := copyUnits(ctx, dir); err != nil {
			return err
		}
		// modprobe is a link to kmod, as distributions have it.
		if err := os.Rename(filepath.Join(dir, "sbin/modprobe"), filepath.Join(dir, "bin/kmod")); err != nil {
			return err
		}
		for _, name := range []string{"modprobe", "depmod"} {
			if err := os.Symlink("../bin/kmod", filepath.Join(dir, "sbin", name)); err != nil {
				return err
			}
		}
		if out, err := inRoot(ctx, dir, "/sbin/depmod", release).CombinedOutput(); err != nil {
			return fmt.Errorf("depmod: %w\n%s", err, out)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return root, release
}

func inRoot(ctx context.Context, root string, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = []string{"LD_LIBRARY_PATH=/tools/lib"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	return cmd
}

// BenchmarkRealModprobe is one dry run of the real program on the root of
// BenchmarkInspect: it answers for one caller.
func BenchmarkRealModprobe(b *testing.B) {
	root, release := benchRoot(b)
	for b.Loop() {
		out, err := inRoot(b.Context(), root, "/sbin/modprobe", "-n", "-v", "-S", release, "sctp").Output()
		if err != nil || !strings.Contains(string(out), "/sctp.ko") {
			b.Fatalf("modprobe: %v: %s", err, out)
		}
	}
}

// BenchmarkForkExec is a program that does nothing, in the same root: what any
// way of asking a program costs at least.
func BenchmarkForkExec(b *testing.B) {
	root, _ := benchRoot(b)
	for b.Loop() {
		if err := inRoot(b.Context(), root, "/bin/true").Run(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCheck is "sctp-agent check" as a whole process, from its start to its end,
// on the root of BenchmarkInspect.
func BenchmarkCheck(b *testing.B) {
	root, release := benchRoot(b)
	program := filepath.Join(b.TempDir(), "sctp-agent")
	build := exec.CommandContext(b.Context(), "hack/build", program)
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("hack/build: %v: %s", err, out)
	}
	for b.Loop() {
		out, err := exec.CommandContext(b.Context(), program, "check", "--root", root, "--kernel-release", release).Output()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "/etc/modprobe.d/sctp-blacklist.conf:7") {
			b.Fatalf("check: %v: %s", err, out)
		}
	}
}

// BenchmarkInspect is a whole inspection: every caller, with evidence,
// versions, state and findings.
func BenchmarkInspect(b *testing.B) {
	inspectBench(b, kmod.Options{})
}

// BenchmarkInspectGivenVersions spares the inspection the search for the host's
// versions, as --kmod-version does.
func BenchmarkInspectGivenVersions(b *testing.B) {
	inspectBench(b, kmod.Options{KmodVersion: benchKmod, SystemdVersion: benchSystemd})
}

func inspectBench(b *testing.B, opts kmod.Options) {
	opts.Root, opts.KernelRelease = benchRoot(b)
	var size int64
	files := 0
	indexes, err := filepath.Glob(filepath.Join(opts.Root, "usr/lib/modules", opts.KernelRelease, "*.bin"))
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range indexes {
		fi, err := os.Stat(name)
		if err != nil {
			b.Fatal(err)
		}
		size += fi.Size()
		files++
	}
	b.ReportAllocs()
	for b.Loop() {
		ins, err := kmod.Inspect(b.Context(), opts, kmod.SCTP())
		if err != nil {
			b.Fatal(err)
		}
		// The kernel is this machine's, and may take no modules (nomodule), or have none at all.
		byName := ins.ByName.Allowed == kmod.AnswerTrue || ins.ByName.Cause == kmod.CauseLoadingDisabled || ins.ByName.Cause == kmod.CauseMissing
		if ins.Path == "" || ins.Autoload.Allowed != kmod.AnswerFalse || !byName || ins.BootLoad.Requested != kmod.AnswerTrue ||
			ins.KmodVersion != benchKmod || ins.SystemdVersion != benchSystemd {
			b.Fatalf("wrong answer: %+v", ins)
		}
	}
	b.ReportMetric(float64(size)/1e6, "index-MB")
	b.ReportMetric(float64(files), "index-files")
}
