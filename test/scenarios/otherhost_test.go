package scenarios_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/test/guest"
)

// aPod makes the root of a container that has a part of the host's, and a root that
// was unpacked on the host.
const aPod = `set -e
mkdir -p /unpacked/etc/modprobe.d /same /pod/usr/bin /pod/proc /pod/sys
echo blacklist sctp > /unpacked/etc/modprobe.d/a.conf
mount --bind / /same
cp ` + agent + ` /usr/bin/busybox /pod/usr/bin
mount -t proc proc /pod/proc
mount -t sysfs sysfs /pod/sys
for d in etc usr lib run; do
	mkdir -p /pod/host/$d
	mount --bind /$d /pod/host/$d
done`

// TestOtherHost: a root of another machine, unpacked on this one, is refused. This
// machine's is judged, by another name and in a container that has only a part of
// it, with the host's PIDs and without.
func TestOtherHost(t *testing.T) {
	t.Parallel()
	g := boot(t, guest.Config{Files: slices.Concat(asShipped, programs(t))})
	run(t, g, guest.Shell(aPod))
	want, _ := check(t, g)
	if want.Reason != "ModuleBlacklisted" {
		t.Fatalf("the host itself: %s", want.Reason)
	}
	const mountProc = "mount -t proc proc /proc && exec " + agent + ` "$@"`
	inPod := []string{"/usr/bin/chroot", "/pod", agent}
	for _, c := range []struct {
		name   string
		before []string
		root   string
		args   []string
		reason string // "" where it is refused
	}{
		{name: "an unpacked root", before: []string{agent}, root: "/unpacked"},
		{name: "an unpacked root, and a kernel release", before: []string{agent}, root: "/unpacked", args: []string{"--kernel-release", g.Release}, reason: "ModuleNotLoaded"},
		{name: "the host's root by another name", before: []string{agent}, root: "/same", reason: want.Reason},
		{name: "a pod with the host's PIDs", before: inPod, root: "/host", reason: want.Reason},
		{
			name: "a pod with PIDs of its own", root: "/host", reason: want.Reason,
			before: []string{"/usr/bin/unshare", "-m", "-p", "-f", "/usr/bin/chroot", "/pod", "/usr/bin/busybox", "sh", "-c", mountProc, "sh"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			res, err := g.Run(ctx, guest.Command{Path: c.before[0], Args: slices.Concat(c.before[1:], checkJSON, []string{"--root", c.root}, c.args)})
			if err != nil {
				t.Fatal(err)
			}
			if c.reason == "" {
				says := string(res.Stderr)
				if res.ExitCode != 2 || len(res.Stdout) > 0 || !strings.Contains(says, "(that is /)") || !strings.Contains(says, "kubectl sctp host "+c.root) {
					t.Errorf("exit code %d\n%s%s", res.ExitCode, res.Stdout, says)
				}
				return
			}
			var r report
			if err := json.Unmarshal(res.Stdout, &r); err != nil || r.Reason != c.reason || len(res.Stderr) > 0 {
				t.Errorf("exit code %d, %s, want %s: %v\n%s%s", res.ExitCode, r.Reason, c.reason, err, res.Stdout, res.Stderr)
			}
		})
	}
}
