package scenarios_test

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/test/guest"
)

// labelledHost makes a host's root with the labels that its policy has for them
// (an initramfs cannot have any), and a container of each profile's volumes. The
// kernel is permissive, and its log keeps every denial.
const labelledHost = `set -e
echo 1000 > /proc/sys/kernel/printk_ratelimit_burst
load_policy -i
mkdir /host /privileged /hardened
mount -t tmpfs -o mode=755 tmpfs /host
cp -a /etc /usr /lib /host
mkdir /host/run
setfiles -r /host /etc/selinux/default/contexts/files/file_contexts /host
for c in /privileged /hardened; do
	mount -t tmpfs -o mode=755,rootcontext=system_u:object_r:container_file_t:s0 tmpfs $c
	mkdir -p $c/usr/bin $c/proc $c/sys $c/host
	cp ` + agent + ` $c/usr/bin
	mount -t proc proc $c/proc
	mount -t sysfs -o ro sysfs $c/sys
done
mount --bind -o ro /host /privileged/host
for d in etc usr lib run; do
	mkdir /hardened/host/$d
	mount --bind -o ro /host/$d /hardened/host/$d
done`

// TestSELinux: the agent in a container's domain, on a host whose files are
// labelled, under the reference policy as Debian builds it.
func TestSELinux(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	policy, err := guest.SELinuxPolicy(ctx, guest.Linux612)
	if err != nil {
		t.Fatal(err)
	}
	const confine = "/usr/lib/guest/confine"
	starter, err := guest.GoProgram(ctx, confine, "github.com/sctp-agent/sctp-agent/test/scenarios/internal/confine")
	if err != nil {
		t.Fatal(err)
	}
	const blocked = "/etc/modprobe.d/hardening.conf"
	g := boot(t, guest.Config{
		Kernel: guest.Linux612, Cmdline: "security=selinux selinux=1 enforcing=0 audit=1",
		Packages: []string{"policycoreutils"}, // load_policy, setfiles
		Files:    slices.Concat(policy, programs(t), []guest.File{starter, requested}),
	})
	run(t, g, guest.Shell(labelledHost))
	// From now on only a reading of this file says that a new load would fail.
	run(t, g, guest.Shell("echo install sctp /bin/false > "+blocked+" && cp "+blocked+" /host"+blocked+" && setfiles -r /host /etc/selinux/default/contexts/files/file_contexts /host"+blocked))

	for _, c := range []struct {
		profile, domain string
		uid             int

		ready, reason, onBoot string
		message, remedy       string
		// denied are patterns of the denials that matter.
		denied []string
	}{
		{
			profile: "privileged", domain: "spc_t",
			ready: "true", reason: "ProbePassed", onBoot: "blocked",
		},
		{
			profile: "hardened", domain: "container_t", uid: 65532,
			ready: "unknown", reason: "PermissionDenied", onBoot: "unknown",
			message: "EACCES at socket (check ipv4-stream), in the SELinux domain container_t",
			remedy:  "run the agent as the SELinux type spc_t instead of container_t",
			denied: []string{
				`{ read } .* name="modprobe.d" .*:modules_conf_t:.* tclass=dir`,
				`{ read } .* name="modprobe" .*:sysctl_modprobe_t:.* tclass=file`,
				`{ read } .* name="system" .*:systemd_unit_t:.* tclass=dir`,
				`{ create } .* tcontext=\S*:container_t:.* tclass=sctp_socket`,
			},
		},
		{
			// The remedy: a type, and no privilege.
			profile: "hardened", domain: "spc_t", uid: 65532,
			ready: "true", reason: "ProbePassed", onBoot: "blocked",
		},
	} {
		t.Run(fmt.Sprintf("%s as %s", c.profile, c.domain), func(t *testing.T) {
			log := run(t, g, guest.Shell("echo 0 > /sys/fs/selinux/enforce; dmesg | wc -l"))
			_, err := g.Run(ctx, guest.Command{Path: confine, Args: slices.Concat(
				[]string{"system_u:system_r:" + c.domain + ":s0", fmt.Sprint(c.uid), "/" + c.profile, agent}, checkJSON, []string{"--root=/host"})})
			if err != nil {
				t.Fatal(err)
			}
			if enforcing := run(t, g, guest.Shell("cat /sys/fs/selinux/enforce")); enforcing != "1" {
				t.Fatalf("the kernel does not enforce its policy (%s)", enforcing)
			}
			out := run(t, g, guest.Shell("cat /"+c.profile+"/out"))
			var r report
			if err := json.Unmarshal([]byte(out), &r); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if r.Ready != c.ready || r.Reason != c.reason || r.OnBoot != c.onBoot {
				t.Errorf("%s %s, on boot %s; want %s %s, %s", r.Ready, r.Reason, r.OnBoot, c.ready, c.reason, c.onBoot)
			}
			if !strings.Contains(r.Message, c.message) || !strings.Contains(r.Remedy, c.remedy) {
				t.Errorf("message %q, remedy %q; want %q, %q", r.Message, r.Remedy, c.message, c.remedy)
			}
			if t.Failed() {
				t.Log(out)
			}
			denials := denials(t, g, log, c.denied)
			t.Logf("denied:\n%s", strings.Join(denials, "\n"))
			if c.denied == nil && len(denials) > 0 {
				t.Error("want no denial")
			}
		})
	}
}

// denials are the lines that the kernel has logged of what it denied the agent
// since its log had so many lines, among them some that match each pattern: the
// kernel writes them a moment later.
func denials(t *testing.T, g *guest.Guest, since string, patterns []string) []string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Second / 5) {
		out := run(t, g, guest.Shell("dmesg | tail -n +"+since+" | sed -n 's/.*audit: type=1400.*: avc: /avc:/p'"))
		var lines []string
		for line := range strings.Lines(out) {
			if strings.Contains(line, "permissive=0") && !strings.Contains(line, `path="pipe:`) { // of the test's own
				lines = append(lines, strings.TrimSpace(line))
			}
		}
		missing := slices.DeleteFunc(slices.Clone(patterns), func(pattern string) bool {
			return slices.ContainsFunc(lines, regexp.MustCompile(pattern).MatchString)
		})
		if len(missing) == 0 {
			return slices.Compact(lines)
		}
		if time.Now().After(deadline) {
			t.Errorf("no denial matches %q", missing)
			return lines
		}
	}
}
