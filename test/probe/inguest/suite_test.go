package inguest

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/probe"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// judged is the verdict on a host whose module is loaded and whose probe gave
// this.
func judged(r result.Result) verdict.Report {
	return verdict.Judge(verdict.Facts{Inspection: &kmod.Inspection{Module: "sctp", State: kmod.StateLoaded}, Probe: r})
}

// TestOnlyFresh is for a guest that nothing has loaded the module in yet, and
// the module cannot be unloaded again (its control sockets hold it): a probe
// without leave does not load it, one with leave does, and says so once.
func TestOnlyFresh(t *testing.T) {
	registered := func() bool {
		t.Helper()
		is, err := probe.Registered("")
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	if registered() {
		t.Fatal("SCTP is in this kernel already: run this test by itself, in a guest just booted")
	}
	for name, child := range map[string]string{"in this process": "", "in a child": probe.Self} {
		r := run(t, probe.Options{Child: child})
		if r.Attempted || r.CausedLoad || len(r.Checks) != 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if registered() {
		t.Fatal("a probe without leave loaded the module")
	}
	if lines, err := os.ReadFile("/proc/modules"); err != nil || strings.Contains(string(lines), "sctp") {
		t.Errorf("modules: %v\n%s", err, lines)
	}

	r := run(t, probe.Options{Child: probe.Self, AllowLoad: true, LoadTimeout: 30 * time.Second, Timeout: 20 * time.Second})
	if !r.Attempted || !r.CausedLoad || !registered() {
		t.Errorf("with leave: attempted %v, caused load %v, registered %v", r.Attempted, r.CausedLoad, registered())
	}
	if got := judged(r); got.Reason != verdict.ReasonProbePassed {
		t.Errorf("with leave: %s: %s", got.Reason, got.Message)
	}
	if r := run(t, probe.Options{Child: probe.Self, AllowLoad: true, Timeout: 20 * time.Second}); r.CausedLoad || !r.Attempted {
		t.Errorf("the second run: attempted %v, caused load %v", r.Attempted, r.CausedLoad)
	}
}

func TestQuick(t *testing.T) {
	loaded(t)
	for name, child := range map[string]string{"in this process": "", "in a child": probe.Self} {
		t.Run(name, func(t *testing.T) {
			r := run(t, probe.Options{Child: child, Timeout: 20 * time.Second})
			if r.Isolated != (child != "") || len(r.Current) == 2 != r.Isolated || r.LoopbackFiltered != "" {
				t.Errorf("isolated %v, %d checks in the current namespace, filtered %q", r.Isolated, len(r.Current), r.LoopbackFiltered)
			}
			if len(r.Checks) != 12 {
				t.Errorf("%d checks", len(r.Checks))
			}
			required := 0
			for _, c := range append(slices.Clone(r.Checks), r.Current...) {
				if c.Required {
					required++
				}
				if c.Result != result.OutcomePass || c.RFC == "" || c.Duration < 0 || c.Duration > r.Duration {
					t.Errorf("%+v", c)
				}
			}
			if required < 5 {
				t.Errorf("%d checks are required", required)
			}
			if got := judged(r); got.Reason != verdict.ReasonProbePassed {
				t.Errorf("%s: %s", got.Reason, got.Message)
			}
			t.Logf("took %v", r.Duration)
		})
	}
}

// lacking are the checks that a kernel cannot pass, and why.
func lacking(t *testing.T) map[string]string {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	switch release := unix.ByteSliceToString(u.Release[:]); {
	case strings.HasPrefix(release, "5.10."):
		return map[string]string{"udp-encapsulation": "net/sctp/udp_port"} // Linux 5.11
	default:
		return nil
	}
}

func TestFull(t *testing.T) {
	loaded(t)
	// As on every node that runs containers.
	shell(t, "/sbin/modprobe veth", "/sbin/rmmod veth")
	r := run(t, probe.Options{Child: probe.Self, Suite: result.SuiteFull, Timeout: 40 * time.Second})
	lacks := lacking(t)
	if len(r.Checks) != 24 {
		t.Errorf("%d checks", len(r.Checks))
	}
	for _, c := range r.Checks {
		t.Logf("%-24s %-5s %v", c.Name, c.Result, c.Duration.Round(time.Millisecond))
		why, skips := lacks[c.Name]
		switch {
		case skips && (c.Result != result.OutcomeSkip || !strings.Contains(c.Detail, why)):
			t.Errorf("%s: %s (%s), and should be skipped for want of %s", c.Name, c.Result, c.Detail, why)
		case !skips && c.Result != result.OutcomePass:
			t.Errorf("%s: %s: %s", c.Name, c.Result, c.Detail)
		}
	}
	t.Run("without links", func(t *testing.T) {
		shell(t, "/sbin/rmmod veth", "/sbin/modprobe veth")
		r := run(t, probe.Options{Child: probe.Self, Suite: result.SuiteFull, Timeout: 40 * time.Second})
		if c := find(t, r.Checks, "failover"); c.Result != result.OutcomeSkip || !strings.Contains(c.Detail, "veth") {
			t.Errorf("%+v", c)
		}
		if _, err := os.Stat("/sys/module/veth"); !os.IsNotExist(err) {
			t.Errorf("the probe loaded veth (%v)", err)
		}
	})
	t.Run("in the current namespace", func(t *testing.T) {
		r := run(t, probe.Options{Suite: result.SuiteFull, Timeout: 40 * time.Second})
		for _, c := range r.Checks {
			private := c.Name == "interleaving" || c.Name == "udp-encapsulation" || c.Name == "failover" || c.Name == "partial-reliability"
			if (c.Result == result.OutcomeSkip) != private || c.Result != result.OutcomeSkip && c.Result != result.OutcomePass {
				t.Errorf("%s: %s: %s", c.Name, c.Result, c.Detail)
			}
		}
	})
}

// TestKernelLog: a probe leaves nothing in the kernel's log, whether it meets a
// filter (in this process) or passes (in the child's own namespace).
func TestKernelLog(t *testing.T) {
	loaded(t)
	filter(t, "input", dropAll)
	read := func() []string {
		t.Helper()
		text, err := exec.Command("dmesg").Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(string(text), "\n")
	}
	before := read()
	for _, child := range []string{"", probe.Self} {
		run(t, probe.Options{Child: child, Timeout: 20 * time.Second})
	}
	for _, line := range read() {
		// A slow machine has the kernel speak of its clocks and its scheduler
		// (the last one is of kernel/sched/clock.c).
		slow := slices.ContainsFunc([]string{
			"clocksource:", "tsc:", "hrtimer:", "rcu:", "sched:", "sched_clock:", "workqueue:", "random:", "TSC found unstable",
		}, func(says string) bool { return strings.Contains(line, says) })
		if !slow && !slices.Contains(before, line) {
			t.Errorf("the kernel logged: %s", line)
		}
	}
}

// TestWithoutPrivilege: a user without any capability gets the same proof, in
// the current namespace.
func TestWithoutPrivilege(t *testing.T) {
	loaded(t)
	r := crippled{Options: probe.Options{Child: probe.Self, Timeout: 20 * time.Second}, User: true}.run(t)
	if r.Isolated || len(r.Current) != 0 || len(r.Notes) == 0 {
		t.Errorf("isolated %v, %d checks apart, notes %q", r.Isolated, len(r.Current), r.Notes)
	}
	if got := judged(r); got.Reason != verdict.ReasonProbePassed || len(r.Checks) != 12 {
		t.Errorf("%d checks, %s: %s", len(r.Checks), got.Reason, got.Message)
	}
}

// TestWithoutNetAdmin: a namespace whose loopback may not be raised is of no
// use, and the current one serves.
func TestWithoutNetAdmin(t *testing.T) {
	loaded(t)
	r := crippled{Options: probe.Options{Child: probe.Self, Timeout: 20 * time.Second}, NoNetAdmin: true}.run(t)
	if notes := strings.Join(r.Notes, "\n"); r.Isolated || len(r.Current) != 0 || !strings.Contains(notes, "raise the loopback") {
		t.Errorf("isolated %v, %d checks apart, notes %q", r.Isolated, len(r.Current), r.Notes)
	}
	if got := judged(r); got.Reason != verdict.ReasonProbePassed || len(r.Checks) != 12 {
		t.Errorf("%d checks, %s: %s", len(r.Checks), got.Reason, got.Message)
	}
}
