package inguest

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/probe"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// judged is the verdict on a host whose module is loaded and whose probe gave
// this.
func judged(r probe.Result) verdict.Report {
	return verdict.Judge(verdict.Facts{Inspection: &kmod.Inspection{Module: "sctp", State: kmod.Loaded}, Probe: r})
}

// TestUnloaded comes first, while nothing has loaded the module: a probe
// without leave does not.
func TestUnloaded(t *testing.T) {
	if registered, err := probe.Registered(""); err != nil || registered {
		t.Fatalf("SCTP is registered before anything asked for it (%v)", err)
	}
	for name, child := range map[string]string{"in this process": "", "in a child": probe.Self} {
		r := run(t, probe.Options{Child: child})
		if r.Attempted || r.CausedLoad || len(r.Checks) != 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if registered, err := probe.Registered(""); err != nil || registered {
		t.Fatalf("the probe loaded the module (%v)", err)
	}
	if lines, err := os.ReadFile("/proc/modules"); err != nil || strings.Contains(string(lines), "sctp") {
		t.Errorf("modules: %v\n%s", err, lines)
	}
}

// TestAllowLoad loads it.
func TestAllowLoad(t *testing.T) {
	r := run(t, probe.Options{Child: probe.Self, AllowLoad: true, LoadTimeout: 30 * time.Second, Timeout: 20 * time.Second})
	if !r.Attempted || !r.CausedLoad {
		t.Errorf("attempted %v, caused load %v", r.Attempted, r.CausedLoad)
	}
	if got := judged(r); got.Reason != verdict.ProbePassed {
		t.Errorf("%s: %s", got.Reason, got.Message)
	}
	if r := run(t, probe.Options{Child: probe.Self, AllowLoad: true, Timeout: 20 * time.Second}); r.CausedLoad {
		t.Error("the second run says that it caused the load")
	}
}

func TestQuick(t *testing.T) {
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
				if c.Result != probe.Pass || c.RFC == "" || c.Duration < 0 || c.Duration > r.Duration {
					t.Errorf("%+v", c)
				}
			}
			if required < 5 {
				t.Errorf("%d checks are required", required)
			}
			if got := judged(r); got.Reason != verdict.ProbePassed {
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
	r := run(t, probe.Options{Child: probe.Self, Suite: probe.Full, Timeout: 40 * time.Second})
	lacks := lacking(t)
	if len(r.Checks) != 24 {
		t.Errorf("%d checks", len(r.Checks))
	}
	for _, c := range r.Checks {
		t.Logf("%-24s %-5s %v", c.Name, c.Result, c.Duration.Round(time.Millisecond))
		why, skips := lacks[c.Name]
		switch {
		case skips && (c.Result != probe.Skip || !strings.Contains(c.Detail, why)):
			t.Errorf("%s: %s (%s), and should be skipped for want of %s", c.Name, c.Result, c.Detail, why)
		case !skips && c.Result != probe.Pass:
			t.Errorf("%s: %s: %s", c.Name, c.Result, c.Detail)
		}
	}
	t.Run("in the current namespace", func(t *testing.T) {
		r := run(t, probe.Options{Suite: probe.Full, Timeout: 40 * time.Second})
		for _, c := range r.Checks {
			private := c.Name == "interleaving" || c.Name == "udp-encapsulation" || c.Name == "failover" || c.Name == "partial-reliability"
			if (c.Result == probe.Skip) != private || c.Result != probe.Skip && c.Result != probe.Pass {
				t.Errorf("%s: %s: %s", c.Name, c.Result, c.Detail)
			}
		}
	})
}

// TestWithoutPrivilege: a user without any capability gets the same proof, in
// the current namespace.
func TestWithoutPrivilege(t *testing.T) {
	r := crippled{Options: probe.Options{Child: probe.Self, Timeout: 20 * time.Second}, User: true}.run(t)
	if r.Isolated || len(r.Current) != 0 || len(r.Notes) == 0 {
		t.Errorf("isolated %v, %d checks apart, notes %q", r.Isolated, len(r.Current), r.Notes)
	}
	if got := judged(r); got.Reason != verdict.ProbePassed || len(r.Checks) != 12 {
		t.Errorf("%d checks, %s: %s", len(r.Checks), got.Reason, got.Message)
	}
}
