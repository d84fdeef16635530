package oracle

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/hostcase/sosreport"
	"github.com/sctp-agent/sctp-agent/internal/hostdump"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
	"github.com/sctp-agent/sctp-agent/test/debian"
)

// aHost makes of unpacked packages a root in which programs can run: the kernel's
// release is this machine's, its modules are Debian's, and what /proc says of
// modules is a file. Arguments: the root, the packages' tree, the kernel's tree.
const aHost = `set -e
root=$1
cp -a "$2/." "$root"
release=$(uname -r)
mkdir -p "$root/usr/lib/modules/$release/kernel" "$root/real" "$root/etc/modprobe.d" "$root/usr/lib/modprobe.d" "$root/etc/modules-load.d" "$root/var/tmp"
cp -a "$3"/usr/lib/modules/*/modules.builtin* "$3"/usr/lib/modules/*/modules.order "$root/usr/lib/modules/$release/"
cp -a "$3"/usr/lib/modules/*/kernel/net "$3"/usr/lib/modules/*/kernel/lib "$3"/usr/lib/modules/*/kernel/arch "$root/usr/lib/modules/$release/kernel/"
chroot "$root" /usr/sbin/depmod "$release"
ln -sf bash "$root/usr/bin/sh"
echo root:x:0:0:root:/root:/bin/bash > "$root/etc/passwd"
echo root:x:0: > "$root/etc/group"
hostname > "$root/etc/hostname"
# It asks a service, which does not run here.
rm "$root/usr/bin/hostnamectl"
printf '#!/bin/sh\necho " Static hostname: $(hostname)"\necho "         Chassis: vm"\necho "          Kernel: Linux $(uname -r)"\n' > "$root/usr/bin/hostnamectl"
chmod 755 "$root/usr/bin/hostnamectl"`

// inHost runs a command there. Argument: the root, then the command.
const inHost = `set -e
root=$1; shift
mount -t proc proc "$root/real"
mount -t tmpfs tmpfs "$root/proc"
mount -t tmpfs tmpfs "$root/dev"
for entry in $(ls "$root/real"); do
	case $entry in sys|modules|cmdline|[0-9]*) ;; *) ln -s "/real/$entry" "$root/proc/$entry" ;; esac
done
mkdir -p "$root/proc/sys/kernel/random" "$root/proc/sys/vm" "$root/sys/module/libcrc32c/holders"
cp "$root/real/sys/kernel/osrelease" "$root/real/sys/kernel/hostname" "$root/proc/sys/kernel/"
cp "$root/real/sys/kernel/random/boot_id" "$root/proc/sys/kernel/random/"
echo /sbin/modprobe > "$root/proc/sys/kernel/modprobe"
echo 0 > "$root/proc/sys/kernel/modules_disabled"
echo 60 > "$root/proc/sys/vm/swappiness"
echo BOOT_IMAGE=/vmlinuz root=/dev/vda1 ro > "$root/proc/cmdline"
echo 'libcrc32c 16384 0 - Live 0x0000000000000000' > "$root/proc/modules"
echo live > "$root/sys/module/libcrc32c/initstate"
for d in null zero urandom tty; do touch "$root/dev/$d"; mount --bind "/dev/$d" "$root/dev/$d"; done
exec env -i PATH=/usr/sbin:/usr/bin HOME=/root chroot "$root" /usr/bin/sh -c "$1"`

// TestSos: a sosreport that sos itself makes, in a root of Debian's packages, answers
// as that root itself, or does not know and names the file.
func TestSos(t *testing.T) {
	if testing.Short() {
		t.Skip("only in make test-full")
	}
	if os.Geteuid() != 0 {
		t.Skip("the real programs run in a chroot, which needs root")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	archive := debian.Open(debian.Bookworm, "amd64")
	tree, err := archive.TreeWithDepends(ctx, "sosreport", "kmod", "systemd", "procps", "base-files", "coreutils", "bash", "dpkg", "hostname", "tar", "xz-utils", "mount")
	if err != nil {
		t.Fatal(err)
	}
	kernel, _, err := archive.Kernel(ctx, "linux-image-cloud-amd64")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	run := func(script string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(ctx, "unshare", append([]string{"--mount", "sh", "-c", script, "sh", root}, args...)...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v\n%s%s", err, out, &stderr)
		}
		return string(out)
	}
	run(aHost, tree, kernel)
	build := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(root, "usr/bin/sctp-agent"), "./cmd/sctp-agent")
	build.Dir = "../.."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	all := 0
	for _, c := range []struct {
		name, file, text string
	}{
		{"a blacklist of the administrator's", "etc/modprobe.d/sctp.conf", "blacklist sctp\n"},
		{"an install command of the system's", "usr/lib/modprobe.d/sctp.conf", "install sctp /bin/false\n"},
		{"requested", "etc/modules-load.d/sctp.conf", "sctp\n"},
	} {
		file := filepath.Join(root, c.file)
		if err := os.WriteFile(file, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		var host verdict.Report
		if err := json.Unmarshal([]byte(run(inHost, "sctp-agent check -o json || true")), &host); err != nil {
			t.Fatal(err)
		}
		run(inHost, "rm -rf /var/tmp/sos*; sos report --batch --tmp-dir /var/tmp -o kernel,systemd,host,dpkg,grub2")
		reports, err := filepath.Glob(filepath.Join(root, "var/tmp/sosreport-*.tar.xz"))
		if err != nil || len(reports) != 1 {
			t.Fatal(reports, err)
		}
		d, err := hostdump.Open(ctx, reports[0])
		if err != nil {
			t.Fatal(err)
		}
		r, err := d.Assess(ctx, hostdump.Options{})
		if err != nil {
			t.Fatal(err)
		}
		known, unknown, wrong := sosreport.Compare(host, r)
		for _, w := range wrong {
			t.Errorf("%s: %s", c.name, w)
		}
		if r.Kernel.Release != host.Kernel.Release || r.Kernel.BootID != host.Kernel.BootID || r.Host.Kmod != host.Host.Kmod || r.Module.State != host.Module.State {
			t.Errorf("%s: %+v, %+v, %s; by its sosreport %+v, %+v, %s", c.name, host.Kernel, host.Host, host.Module.State, r.Kernel, r.Host, r.Module.State)
		}
		all += known
		t.Logf("%s: %s; %d answers as on the host, %d unknown", c.name, host.Reason, known, unknown)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	if all == 0 {
		t.Error("no answer is known")
	}
}
