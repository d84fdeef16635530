package cluster

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/sctp-agent/sctp-agent/test/guest"
)

// applyIgnition has Ignition itself write the files of a configuration below
// /, as on a machine's first boot. Debian's was built to relabel what it has
// written; without SELinux there is nothing to relabel.
const applyIgnition = `set -e
mkdir -p /etc/selinux /usr/local/bin /run/ignition
printf 'SELINUX=disabled\nSELINUXTYPE=targeted\n' > /etc/selinux/config
printf '#!/bin/sh\ncat > /dev/null\n' > /usr/local/bin/setfiles
chmod +x /usr/local/bin/setfiles
cat > /run/config.ign
ignition-validate /run/config.ign
export PATH=/usr/local/bin:$PATH IGNITION_CONFIG_FILE=/run/config.ign
for stage in fetch files; do
	/usr/lib/dracut/modules.d/30ignition/ignition --platform=file --root=/ --log-to-stdout --stage=$stage
done`

// asDelivered puts the host's files back as RHCOS delivers them, with a mode
// that the configuration has to change.
const asDelivered = `set -e
cd /etc
rm -rf modules-load.d/sctp* modprobe.d/sctp*
echo 'blacklist sctp' > modprobe.d/sctp-blacklist.conf
echo 'blacklist sctp_diag' > modprobe.d/sctp_diag-blacklist.conf
chmod 0600 modprobe.d/*`

// host is what a boot has made of a host.
type host struct {
	Loaded, Ready bool
	OnBoot        string
	Files         string
	// Diag: "ss --sctp" has the kernel load sctp_diag.
	Diag bool
}

// The printed MachineConfig's files, written by Ignition on a host that RHCOS's
// blacklists keep from SCTP, do what the documented one's do at the next boot,
// by the real systemd-modules-load, modprobe and kernel.
func TestMachineConfigOnAHost(t *testing.T) {
	t.Parallel() // most of it is waiting
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	bin := program(t, "kubectl-sctp")
	agent, err := guest.Program("/usr/bin/sctp-agent", program(t, "sctp-agent"))
	if err != nil {
		t.Fatal(err)
	}
	g, err := guest.Boot(ctx, guest.Config{Files: []guest.File{agent}, Packages: []string{"ignition", "coreutils"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	do := func(c guest.Command) guest.Result {
		t.Helper()
		res, err := g.Run(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	sh := func(script string, stdin []byte) string {
		t.Helper()
		c := guest.Shell(script)
		c.Stdin = stdin
		res := do(c)
		if res.ExitCode != 0 {
			t.Fatalf("%s\nexit code %d\n%s%s", script, res.ExitCode, res.Stdout, res.Stderr)
		}
		return string(res.Stdout)
	}
	// boots has the host boot, and looks at it.
	boots := func(t *testing.T) (h host) {
		t.Helper()
		if err := g.Reboot(ctx); err != nil {
			t.Fatal(err)
		}
		h.Loaded = strings.Contains("\n"+sh("cat /proc/modules", nil), "\nsctp ")
		res := do(guest.Command{Path: "/usr/bin/sctp-agent", Args: []string{"check", "-o", "json", "--timeout=60s"}})
		var report struct{ OnBoot string }
		if err := json.Unmarshal(res.Stdout, &report); err != nil {
			t.Fatalf("check: %v\n%s%s", err, res.Stdout, res.Stderr)
		}
		h.Ready, h.OnBoot = res.ExitCode == 0, report.OnBoot
		h.Files = sh("cd /etc; for f in modprobe.d/sctp-blacklist.conf modules-load.d/sctp-load.conf; do stat -c '%a %u:%g %s %n' $f; cat $f; done 2>&1; true", nil)
		h.Diag = strings.Contains("\n"+sh("ss --sctp --all > /dev/null; cat /proc/modules", nil), "\nsctp_diag ")
		return h
	}
	delivered := func(t *testing.T) {
		t.Helper()
		sh(asDelivered, nil)
	}
	applied := func(t *testing.T, machineConfig string) host {
		t.Helper()
		delivered(t)
		var mc struct {
			Spec struct {
				Config json.RawMessage `json:"config"`
			} `json:"spec"`
		}
		if err := yaml.Unmarshal([]byte(machineConfig), &mc); err != nil {
			t.Fatal(err)
		}
		sh(applyIgnition, mc.Spec.Config)
		return boots(t)
	}
	printed := func(t *testing.T, args ...string) string {
		t.Helper()
		r := run(t, bin, append([]string{"machineconfig", "--role", "worker"}, args...)...)
		if r.code != 0 {
			t.Fatal(r.stderr)
		}
		return r.stdout
	}

	text, err := os.ReadFile("testdata/documented.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var want host
	t.Run("as delivered", func(t *testing.T) {
		delivered(t)
		h := boots(t)
		if h.Loaded || h.Ready || h.OnBoot != "blocked" || h.Diag {
			t.Fatalf("RHCOS's blacklists have no effect: %+v", h)
		}
	})
	t.Run("documented", func(t *testing.T) {
		want = applied(t, string(text))
		if !want.Loaded || !want.Ready || want.OnBoot != "loaded" || want.Diag {
			t.Fatalf("got %+v", want)
		}
	})
	t.Run("printed", func(t *testing.T) {
		if h := applied(t, printed(t)); h != want {
			t.Errorf("got  %+v\nwant %+v", h, want)
		}
	})
	t.Run("printed, with sctp_diag", func(t *testing.T) {
		want := want
		want.Diag = true
		if h := applied(t, printed(t, "--include-diag")); h != want {
			t.Errorf("got  %+v\nwant %+v", h, want)
		}
	})
	t.Run("printed as a script", func(t *testing.T) {
		delivered(t)
		sh(printed(t, "--format", "modprobe.d"), nil)
		h := boots(t)
		if !h.Loaded || !h.Ready || h.OnBoot != want.OnBoot {
			t.Errorf("got %+v", h)
		}
	})
}
