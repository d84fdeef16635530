package guest_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/test/guest"
)

func boot(t *testing.T, cfg guest.Config) *guest.Guest {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	g, err := guest.Boot(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	t.Logf("Linux %s booted in %v", g.Release, g.BootTime.Round(time.Millisecond))
	return g
}

func sh(t *testing.T, g *guest.Guest, script string) string {
	t.Helper()
	res, err := g.Run(t.Context(), guest.Shell(script))
	if err != nil {
		t.Fatal(err)
	}
	if res.ExitCode != 0 {
		t.Fatalf("%s: exit code %d\n%s%s", script, res.ExitCode, res.Stdout, res.Stderr)
	}
	return strings.TrimSpace(string(res.Stdout))
}

func TestRun(t *testing.T) {
	g := boot(t, guest.Config{Name: "worker-0"})
	ctx := t.Context()

	t.Run("identity", func(t *testing.T) {
		if got := sh(t, g, "hostname; id -u; uname -r"); got != "worker-0\n0\n"+g.Release {
			t.Errorf("got %q", got)
		}
	})
	t.Run("exit codes and both outputs", func(t *testing.T) {
		res, err := g.Run(ctx, guest.Shell("echo out; echo err >&2; exit 7"))
		if err != nil || res.ExitCode != 7 || string(res.Stdout) != "out\n" || string(res.Stderr) != "err\n" {
			t.Errorf("%+v, %v", res, err)
		}
		res, err = g.Run(ctx, guest.Shell("kill -9 $$"))
		if err != nil || res.ExitCode != 137 {
			t.Errorf("killed: %+v, %v", res, err)
		}
		if _, err = g.Run(ctx, guest.Command{Path: "/no/such/program"}); err == nil || !strings.Contains(err.Error(), "/no/such/program") {
			t.Errorf("no program: error %v", err)
		}
	})
	t.Run("bytes are exact", func(t *testing.T) {
		data := make([]byte, 3<<20)
		_, _ = rand.Read(data)
		res, err := g.Run(ctx, guest.Command{Path: "/usr/bin/cat", Stdin: data})
		if err != nil || !bytes.Equal(res.Stdout, data) {
			t.Errorf("cat of %d bytes gave %d, exit code %d, error %v", len(data), len(res.Stdout), res.ExitCode, err)
		}
	})
	t.Run("as another user", func(t *testing.T) {
		res, err := g.Run(ctx, guest.Command{Path: "/usr/bin/id", UID: 65534, GID: 65534})
		if err != nil || !strings.HasPrefix(string(res.Stdout), "uid=65534(nobody) gid=65534") {
			t.Errorf("%s%s %v", res.Stdout, res.Stderr, err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := g.Run(ctx, guest.Shell("exec sleep 1234")); err == nil {
			t.Error("no error")
		}
		if d := time.Since(start); d > time.Minute {
			t.Errorf("took %v", d)
		}
		if got := sh(t, g, "for i in 1 2 3 4 5 6 7 8 9 10; do pidof sleep || exit 0; usleep 300000; done"); strings.Count(got, "\n") > 8 {
			t.Errorf("the command still runs: %q", got)
		}
	})
	t.Run("concurrent", func(t *testing.T) {
		errs := make(chan error)
		for range 4 {
			go func() {
				res, err := g.Run(ctx, guest.Shell("sleep 1; echo done"))
				if err == nil && string(res.Stdout) != "done\n" {
					t.Errorf("%q", res.Stdout)
				}
				errs <- err
			}()
		}
		for range 4 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("files", func(t *testing.T) {
		f := guest.Text("/etc/modprobe.d/a.conf", "blacklist sctp\n")
		f.Mode, f.UID = 0o600, 12
		if err := g.PutFile(ctx, f); err != nil {
			t.Fatal(err)
		}
		if err := g.PutFile(ctx, guest.Symlink("/etc/modprobe.d/b.conf", "/dev/null")); err != nil {
			t.Fatal(err)
		}
		if got := sh(t, g, "stat -c '%a %u' /etc/modprobe.d/a.conf; cat /etc/modprobe.d/a.conf; readlink /etc/modprobe.d/b.conf"); got != "600 12\nblacklist sctp\n/dev/null" {
			t.Errorf("got %q", got)
		}
		got, err := g.GetFile(ctx, "/etc/modprobe.d/a.conf")
		if err != nil || string(got.Data) != "blacklist sctp\n" || got.Mode != 0o600 || got.UID != 12 {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err := g.GetFile(ctx, "/none"); err == nil {
			t.Error("a file that is not there: no error")
		}
	})
	t.Run("real kmod", func(t *testing.T) {
		if got := sh(t, g, "/sbin/modprobe --version | head -1"); got != "kmod version 30" {
			t.Errorf("got %q", got)
		}
		if got := sh(t, g, "/sbin/modprobe sctp_diag; cat /sys/module/sctp/initstate /sys/module/sctp_diag/initstate"); got != "live\nlive" {
			t.Errorf("got %q", got)
		}
	})
}

// The same configuration with each release's own kernel, kmod and
// systemd-modules-load: requested and not stopped, it is in the kernel when
// the guest answers.
func TestModulesLoadAtBoot(t *testing.T) {
	for _, kernel := range []guest.Kernel{guest.Linux510, guest.Linux61, guest.Linux612} {
		t.Run(string(kernel), func(t *testing.T) {
			g := boot(t, guest.Config{
				Kernel: kernel,
				Files:  []guest.File{guest.Text("/etc/modules-load.d/sctp-load.conf", "sctp")},
			})
			if !strings.HasPrefix(g.Release, string(kernel)+".") {
				t.Errorf("release %s", g.Release)
			}
			if ml := g.ModulesLoad(); !ml.ModulesLoadRan || ml.ModulesLoadExit != 0 {
				t.Errorf("systemd-modules-load: %+v\n%s", ml, ml.ModulesLoadOutput)
			}
			if got := sh(t, g, "cat /sys/module/sctp/initstate"); got != "live" {
				t.Errorf("sctp is %q", got)
			}
		})
	}
}

func TestReboot(t *testing.T) {
	g := boot(t, guest.Config{
		Cmdline: "module_blacklist=dummy",
		Files: []guest.File{
			guest.Text("/etc/modprobe.d/sctp-blacklist.conf", "blacklist sctp\n"),
			guest.Text("/etc/modules-load.d/sctp-load.conf", "sctp\n"),
			guest.Text("/usr/share/kept", "kept\n"),
		},
	})
	ml := g.ModulesLoad()
	if !ml.ModulesLoadRan || ml.ModulesLoadExit != 0 || !bytes.Contains(ml.ModulesLoadOutput, []byte("deny-listed")) {
		t.Errorf("a blacklisted module: %+v\n%s", ml, ml.ModulesLoadOutput)
	}
	if got := sh(t, g, "test -e /sys/module/sctp || echo absent"); got != "absent" {
		t.Errorf("sctp in the kernel although blacklisted")
	}
	before := sh(t, g, "cat /proc/sys/kernel/random/boot_id")
	sh(t, g, "rm /etc/modprobe.d/sctp-blacklist.conf; echo x > /run/x; mkfifo -m 600 /etc/fifo; chown 7:8 /etc/fifo; echo y > /var/y")
	if err := g.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := sh(t, g, "cat /proc/sys/kernel/random/boot_id"); after == before {
		t.Error("the boot ID is the same")
	}
	got := sh(t, g, "ls /etc/modprobe.d /etc/modules-load.d; test -e /run/x && echo run; stat -c '%F %a %u %g' /etc/fifo; cat /var/y /usr/share/kept /etc/hostname /sys/module/sctp/initstate; cat /sys/module/kernel/parameters/module_blacklist")
	want := "/etc/modprobe.d:\n\n/etc/modules-load.d:\nmodules.conf\nsctp-load.conf\nfifo 600 7 8\ny\nkept\nguest\nlive\ndummy"
	if got != want {
		t.Errorf("after the reboot: %q\nwant %q", got, want)
	}
}

func TestWithoutModule(t *testing.T) {
	g := boot(t, guest.Config{WithoutModules: []string{"sctp"}, Remove: []string{"/etc/hosts"}})
	res, err := g.Run(t.Context(), guest.Command{Path: "/sbin/modprobe", Args: []string{"sctp"}})
	if err != nil || res.ExitCode != 1 || !strings.Contains(string(res.Stderr), "Module sctp not found") {
		t.Errorf("%+v %s %v", res, res.Stderr, err)
	}
	if got := sh(t, g, "ls /etc/hosts 2>&1 || true"); !strings.Contains(got, "No such file") {
		t.Errorf("/etc/hosts: %q", got)
	}
}

func TestNetwork(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello from outside")
	}))
	defer server.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	g := boot(t, guest.Config{Net: true})
	if got := sh(t, g, "wget -q -O - http://"+guest.HostAddress+":"+port+"/"); got != "hello from outside" {
		t.Errorf("got %q", got)
	}
}

func TestBootFailureShowsTheConsole(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	g, err := guest.Boot(ctx, guest.Config{Cmdline: "rdinit=/usr/bin/false"})
	if err == nil {
		g.Close()
		t.Fatal("booted without its first process")
	}
	if !strings.Contains(err.Error(), "Attempted to kill init") {
		t.Errorf("the error does not show why: %v", err)
	}
}
