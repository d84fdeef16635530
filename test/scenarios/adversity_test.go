package scenarios_test

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/test/guest"
)

// Check where it is not welcome: as an ordinary user, with files that it may
// not read, on a root that is not there, with nobody reading its output. An
// answer or a clear error, the right exit code, never a stack trace, and never
// a module loaded.
func TestCheckInAdversity(t *testing.T) {
	g := boot(t, guest.Config{Files: slices.Concat(asShipped, programs(t))})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	nobody := func(c guest.Command) guest.Command {
		c.UID, c.GID = 65534, 65534
		return c
	}
	command := func(args ...string) guest.Command {
		return guest.Command{Path: agent, Args: append(slices.Clone(checkJSON), args...)}
	}
	exec := func(t *testing.T, c guest.Command) guest.Result {
		t.Helper()
		res, err := g.Run(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		if trace := string(res.Stderr); strings.Contains(trace, "goroutine ") || strings.Contains(trace, "panic:") {
			t.Errorf("a stack trace:\n%s", trace)
		}
		if inKernel(t, g) {
			t.Error("sctp is in the kernel")
		}
		return res
	}
	parse := func(t *testing.T, res guest.Result) report {
		t.Helper()
		var r report
		if err := json.Unmarshal(res.Stdout, &r); err != nil {
			t.Fatalf("exit code %d, %v\n%s%s", res.ExitCode, err, res.Stdout, res.Stderr)
		}
		return r
	}
	unknown := func(t *testing.T, res guest.Result, mention string) {
		t.Helper()
		r := parse(t, res)
		if res.ExitCode != 2 || r.Ready != "unknown" || r.Reason != "InspectionFailed" || !strings.Contains(r.Message, mention) {
			t.Errorf("exit code %d, ready %q, reason %q, message %q; want 2, unknown, InspectionFailed and a message that names %s",
				res.ExitCode, r.Ready, r.Reason, r.Message, mention)
		}
	}

	t.Run("an ordinary user gets root's answer", func(t *testing.T) {
		asRoot, asNobody := exec(t, command()), exec(t, nobody(command()))
		root, user := parse(t, asRoot), parse(t, asNobody)
		if asNobody.ExitCode != 1 || user.Reason != "ModuleBlacklisted" || user.Reason != root.Reason || user.OnBoot != root.OnBoot {
			t.Errorf("exit code %d, %s, %s; as root %d, %s, %s", asNobody.ExitCode, user.Reason, user.OnBoot, asRoot.ExitCode, root.Reason, root.OnBoot)
		}
	})
	t.Run("an unreadable directory", func(t *testing.T) {
		run(t, g, guest.Shell("chmod 700 /etc/modprobe.d"))
		defer run(t, g, guest.Shell("chmod 755 /etc/modprobe.d"))
		unknown(t, exec(t, nobody(command())), "/etc/modprobe.d")
		if r := parse(t, exec(t, command())); r.Reason != "ModuleBlacklisted" {
			t.Errorf("as root: %s", r.Reason)
		}
	})
	t.Run("an unreadable file, which may say anything", func(t *testing.T) {
		run(t, g, guest.Shell("echo 'install sctp /bin/false' > /etc/modprobe.d/secret.conf; chmod 600 /etc/modprobe.d/secret.conf; mv /etc/modprobe.d/sctp-blacklist.conf /root"))
		defer run(t, g, guest.Shell("rm /etc/modprobe.d/secret.conf; mv /root/sctp-blacklist.conf /etc/modprobe.d/"))
		unknown(t, exec(t, nobody(command())), "/etc/modprobe.d/secret.conf")
		if r := parse(t, exec(t, command())); r.Reason != "ModuleInstallOverridden" {
			t.Errorf("as root: %s", r.Reason)
		}
	})
	t.Run("a root that does not exist", func(t *testing.T) {
		res := exec(t, command("--root=/no/such/root"))
		if out := string(res.Stdout) + string(res.Stderr); res.ExitCode != 2 || !strings.Contains(out, "/no/such/root") {
			t.Errorf("exit code %d:\n%s", res.ExitCode, out)
		}
	})
	t.Run("a FIFO and a device among the files", func(t *testing.T) {
		run(t, g, guest.Shell("mkfifo /etc/modprobe.d/fifo.conf; ln -s /dev/zero /etc/modprobe.d/zero.conf"))
		defer run(t, g, guest.Shell("rm /etc/modprobe.d/fifo.conf /etc/modprobe.d/zero.conf"))
		res := exec(t, command())
		r := parse(t, res)
		var warned bool
		for _, w := range r.Warnings {
			warned = warned || w.Reason == "InspectionIncomplete"
		}
		if r.Ready == "true" || !warned {
			t.Errorf("ready %q, reason %q, warnings %v; want InspectionIncomplete", r.Ready, r.Reason, r.Warnings)
		}
	})
	t.Run("nobody reads the output", func(t *testing.T) {
		// By the time it writes, the reading end is closed.
		run(t, g, guest.Shell("{ sleep 1; "+agent+" check -o json; echo $? > /tmp/code; } 2> /tmp/err | true; while ! test -s /tmp/code; do usleep 100000; done"))
		code, err := strconv.Atoi(run(t, g, guest.Shell("cat /tmp/code")))
		stderr := run(t, g, guest.Shell("cat /tmp/err"))
		// 128 + SIGPIPE is what any filter ends with; 2 is our own.
		if err != nil || (code != 2 && code != 141) {
			t.Errorf("exit code %d, %v", code, err)
		}
		if strings.Contains(stderr, "goroutine ") || strings.Count(stderr, "\n") > 1 {
			t.Errorf("standard error:\n%s", stderr)
		}
	})
	t.Run("for people", func(t *testing.T) {
		res := exec(t, guest.Command{Path: agent, Args: []string{"check"}})
		out := string(res.Stdout)
		first, _, _ := strings.Cut(out, "\n")
		verdict := strings.Index(out, "NOT READY (ModuleBlacklisted)")
		evidence := strings.Index(out, "/etc/modprobe.d/sctp-blacklist.conf:6: blacklist sctp")
		if res.ExitCode != 1 || !strings.Contains(first, "NOT READY (ModuleBlacklisted)") || evidence < verdict {
			t.Errorf("exit code %d; want the verdict on the first line, and the evidence as file:line: text:\n%s", res.ExitCode, out)
		}
	})
}

// A kernel without SCTP is told plainly, and at once.
func TestCheckWithoutTheModuleIsQuick(t *testing.T) {
	g := boot(t, guest.Config{WithoutModules: []string{"sctp", "sctp_diag"}, Files: programs(t)})
	// Well under a second on a real machine. Here it is compared with a start that
	// inspects nothing, in the same moment; what waits for a probe or for modprobe
	// has a minute (checkJSON). A machine may stand still, not each time.
	const most, tries = 20, 3
	for try := 1; ; try++ {
		start := time.Now()
		run(t, g, guest.Command{Path: agent, Args: []string{"version"}})
		plain := time.Since(start)
		start = time.Now()
		r, res := check(t, g)
		took := time.Since(start)
		if res.ExitCode != 1 || r.Reason != "ModuleMissing" || !strings.Contains(r.Message, g.Release) {
			t.Errorf("exit code %d, reason %q, message %q", res.ExitCode, r.Reason, r.Message)
		}
		t.Logf("took %v; a start alone %v", took, plain)
		if took <= most*plain {
			break
		}
		if try == tries {
			t.Fatalf("%d times more than %d times as long as a start alone", tries, most)
		}
	}
}
