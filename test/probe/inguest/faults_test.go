package inguest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/probe"
	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

// Rules of nftables, on what comes in over loopback. The chunk type is the
// 13th byte of the packet (RFC 9260, sections 3.1 and 3.2); "sctp chunk" is not
// in every kernel.
const (
	dropAll        = "meta l4proto sctp drop"
	dropInitAck    = "meta l4proto sctp @th,96,8 2 drop"
	dropCookieEcho = "meta l4proto sctp @th,96,8 10 drop"
	dropData       = "meta l4proto sctp @th,96,8 0 drop"
	dropShutdown   = "meta l4proto sctp @th,96,8 7 drop"
)

// filter installs one rule until the test ends.
func filter(t *testing.T, hook, rule string) {
	t.Helper()
	shell(t, fmt.Sprintf(`nft add table inet faults
nft add chain inet faults f '{ type filter hook %s priority 0; }'
nft add rule inet faults f %s`, hook, rule),
		"nft delete table inet faults")
}

// fault is something wrong with the host, and what the probe makes of it where
// it has only the host's network namespace.
type fault struct {
	name   string
	inject func(*testing.T)
	// check is the one that the fault is about; "" means ipv4-stream.
	check string
	// result, stage, errno and timedOut are how it ends.
	result   result.Outcome
	stage    result.Stage
	errno    string
	timedOut bool
	// reason is the verdict.
	reason verdict.Reason
}

// receiveOrShutdown is one of these stages, in time or not.
const receiveOrShutdown result.Stage = "receive or shutdown"

// as says whether a check ended as the fault would have it.
func (f fault) as(c result.Check) bool {
	how := c.Stage == f.stage && c.TimedOut == f.timedOut && c.Errno == f.errno
	switch {
	case f.stage == receiveOrShutdown:
		how = (c.Stage == result.StageReceive || c.Stage == result.StageShutdown) && c.Errno == f.errno
	case f.stage == result.StageShutdown && f.timedOut && !how:
		// On a busy machine, where the step has longer than the kernel waits.
		how = c.Stage == f.stage && c.Errno == "ETIMEDOUT"
	}
	return how && c.Result == f.result && c.Detail != ""
}

// Steps have half of the whole time, 2 s: what waits for packets in vain
// ends then, and what is refused ends at once.
func faults() []fault {
	list := []fault{
		{name: "drop all on input", inject: func(t *testing.T) { filter(t, "input", dropAll) },
			result: result.OutcomeFail, stage: result.StageConnect, timedOut: true, reason: verdict.ReasonProbeTimedOut},
		{name: "drop all on output", inject: func(t *testing.T) { filter(t, "output", dropAll) },
			result: result.OutcomeFail, stage: result.StageConnect, timedOut: true, reason: verdict.ReasonProbeTimedOut},
		{name: "drop INIT-ACK", inject: func(t *testing.T) { filter(t, "input", dropInitAck) },
			result: result.OutcomeFail, stage: result.StageConnect, timedOut: true, reason: verdict.ReasonProbeTimedOut},
		{name: "drop COOKIE-ECHO", inject: func(t *testing.T) { filter(t, "input", dropCookieEcho) },
			result: result.OutcomeFail, stage: result.StageConnect, timedOut: true, reason: verdict.ReasonProbeTimedOut},
		{name: "drop DATA", inject: func(t *testing.T) { filter(t, "input", dropData) },
			result: result.OutcomeFail, stage: result.StageReceive, timedOut: true, reason: verdict.ReasonProbeTimedOut},
		{name: "drop SHUTDOWN", inject: func(t *testing.T) { filter(t, "input", dropShutdown) },
			result: result.OutcomeFail, stage: result.StageShutdown, timedOut: true, reason: verdict.ReasonProbeTimedOut},
		// Mostly the end of the association is waited for in vain; a call that
		// waits for packets when the error comes may hear of it before.
		{name: "reject SACK with an ICMP error", inject: func(t *testing.T) {
			filter(t, "input", "meta nfproto ipv4 meta l4proto sctp @th,96,8 3 reject with icmp type port-unreachable")
		}, result: result.OutcomeFail, stage: receiveOrShutdown, errno: "ECONNREFUSED", reason: verdict.ReasonProbeTimedOut},
		{name: "loopback down", inject: func(t *testing.T) {
			// ::1 goes with it, and comes back with it; 127.0.0.1 stays.
			shell(t, "ip link set lo down", "ip link set lo up")
		}, result: result.OutcomeFail, stage: result.StageConnect, timedOut: true, reason: verdict.ReasonProbeTimedOut},
		{name: "127.0.0.1 removed", inject: func(t *testing.T) {
			shell(t, "ip addr del 127.0.0.1/8 dev lo", "ip addr add 127.0.0.1/8 dev lo")
		}, result: result.OutcomeUnknown, stage: result.StageBind, errno: "EADDRNOTAVAIL", reason: verdict.ReasonInspectionFailed},
		{name: "::1 removed", inject: func(t *testing.T) {
			shell(t, "ip addr del ::1/128 dev lo", "ip addr add ::1/128 dev lo")
		}, check: result.CheckIPv6Stream, result: result.OutcomeSkip, reason: verdict.ReasonProbePassed},
		{name: "no port left", inject: func(t *testing.T) {
			shell(t, "sysctl -qw net.ipv4.ip_local_port_range='40000 40000'", "sysctl -qw net.ipv4.ip_local_port_range='32768 60999'")
			fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(fd) })
			if err := unix.Bind(fd, &unix.SockaddrInet6{Port: 40000}); err != nil {
				t.Fatal(err)
			}
		}, result: result.OutcomeUnknown, stage: result.StageBind, errno: "EADDRINUSE", reason: verdict.ReasonResourceExhausted},
	}
	// What each ICMP error becomes: net/ipv4/icmp.c, icmp_err_convert.
	for icmp, errno := range map[string]string{
		"net-unreachable": "ENETUNREACH", "host-unreachable": "EHOSTUNREACH", "prot-unreachable": "ENOPROTOOPT", "port-unreachable": "ECONNREFUSED",
		"net-prohibited": "ENETUNREACH", "host-prohibited": "EHOSTUNREACH", "admin-prohibited": "EHOSTUNREACH",
	} {
		list = append(list, fault{name: "reject with ICMP " + icmp, inject: func(t *testing.T) {
			filter(t, "input", "meta nfproto ipv4 meta l4proto sctp reject with icmp type "+icmp)
		}, result: result.OutcomeFail, stage: result.StageConnect, errno: errno, reason: verdict.ReasonProbeTimedOut})
	}
	// net/ipv6/icmp.c, tab_unreach. The proof over IPv4 stands.
	for icmp, errno := range map[string]string{
		"no-route": "ENETUNREACH", "admin-prohibited": "EACCES", "addr-unreachable": "EHOSTUNREACH",
		"port-unreachable": "ECONNREFUSED", "policy-fail": "EACCES", "reject-route": "EACCES",
	} {
		list = append(list, fault{name: "reject with ICMPv6 " + icmp, inject: func(t *testing.T) {
			filter(t, "input", "meta nfproto ipv6 meta l4proto sctp reject with icmpv6 type "+icmp)
		}, check: result.CheckIPv6Stream, result: result.OutcomeFail, stage: result.StageConnect, errno: errno, reason: verdict.ReasonProbePassed})
	}
	return list
}

func TestFaults(t *testing.T) {
	loaded(t)
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			f.inject(t)
			f.judge(t, conclusive(t, probe.Options{}))
		})
	}
}

// TestSmallBuffers: what a host gives a socket that asks for nothing decides
// nothing; nor does it if it gives no more to one that asks.
func TestSmallBuffers(t *testing.T) {
	loaded(t)
	for _, of := range []string{"rmem", "wmem"} {
		t.Run(of, func(t *testing.T) {
			shell(t, "sysctl -qw net.core."+of+"_default=8192", "sysctl -qw net.core."+of+"_default=212992")
			if got := judged(conclusive(t, probe.Options{})); got.Reason != verdict.ReasonProbePassed {
				t.Errorf("%s: %s", got.Reason, got.Message)
			}
		})
	}
	t.Run("wmem and no more", func(t *testing.T) {
		shell(t, "sysctl -qw net.core.wmem_default=8192 net.core.wmem_max=8192", "sysctl -qw net.core.wmem_default=212992 net.core.wmem_max=212992")
		r := conclusive(t, probe.Options{})
		if got := judged(r); got.Reason != verdict.ReasonProbePassed {
			t.Errorf("%s: %s", got.Reason, got.Message)
		}
		if c := find(t, r.Checks, "ipv4-fragmentation"); c.Result != result.OutcomeSkip || !strings.Contains(c.Detail, "net.core.wmem_max") {
			t.Errorf("%+v", c)
		}
	})
}

// TestTunedHosts: what administrators set for fast or failing links, and for
// what runs on them, makes no sound kernel look broken.
func TestTunedHosts(t *testing.T) {
	loaded(t)
	lacks := lacking(t)
	for name, settings := range map[string][]string{
		// In the new namespaces, too.
		"large buffers": {
			"net.core.rmem_max=134217728", "net.core.rmem_default=67108864",
			"net.core.wmem_max=134217728", "net.core.wmem_default=67108864",
		},
		"timers": {
			"net.sctp.rto_min=50", "net.sctp.rto_initial=100", "net.sctp.rto_max=400",
			"net.sctp.sack_timeout=200", "net.sctp.hb_interval=500", "net.sctp.valid_cookie_life=5000", "net.sctp.max_burst=1",
		},
		"extensions": {
			"net.sctp.addip_enable=1", "net.sctp.auth_enable=1", "net.sctp.default_auto_asconf=1",
			"net.sctp.intl_enable=1", "net.sctp.reconf_enable=1", "net.sctp.ps_retrans=2", "net.sctp.pf_expose=2",
			"net.sctp.cookie_hmac_alg=none", "net.sctp.cookie_preserve_enable=0",
		},
		"fewer extensions": {
			"net.sctp.prsctp_enable=0", "net.sctp.pf_enable=0",
			"net.sctp.sndbuf_policy=1", "net.sctp.rcvbuf_policy=1", "net.sctp.rwnd_update_shift=16",
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, setting := range settings {
				name, _, _ := strings.Cut(setting, "=")
				old, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
				if err != nil {
					t.Fatal(err)
				}
				shell(t, "sysctl -qw "+setting, "sysctl -qw "+name+"="+strings.TrimSpace(string(old)))
			}
			for _, child := range []string{probe.Self, ""} {
				r := conclusive(t, probe.Options{Child: child, Suite: result.SuiteFull})
				if got := judged(r); got.Reason != verdict.ReasonProbePassed {
					t.Errorf("child %q: %s: %s", child, got.Reason, got.Message)
				}
				for _, c := range r.Checks {
					_, skips := lacks[c.Name]
					if c.Result == result.OutcomeFail || c.Result == result.OutcomeSkip && child != "" && !skips && c.Name != "failover" {
						t.Errorf("child %q: %s: %s: %s", child, c.Name, c.Result, c.Detail)
					}
				}
			}
		})
	}
}

// TestKernelGivesUp before the step's deadline: its word counts as silence does,
// and proves nothing either after a wait too short for that.
func TestKernelGivesUp(t *testing.T) {
	loaded(t)
	filter(t, "input", dropAll)
	gaveUp := fault{result: result.OutcomeFail, stage: result.StageConnect, errno: "ETIMEDOUT", reason: verdict.ReasonProbeTimedOut}
	retransmit := func(n int) {
		shell(t, fmt.Sprintf("sysctl -qw net.sctp.max_init_retransmits=%d", n), "sysctl -qw net.sctp.max_init_retransmits=8")
	}
	retransmit(2) // 0.2, 0.4 and 0.8 s
	gaveUp.judge(t, conclude(t, probe.Options{}, func(opts probe.Options) result.Result {
		opts.Timeout += 4 * time.Second
		return run(t, opts)
	}))
	retransmit(1)
	gaveUp.result, gaveUp.reason = result.OutcomeUnknown, verdict.ReasonInspectionFailed
	gaveUp.judge(t, run(t, probe.Options{Timeout: 6 * time.Second}))
}

// TestKernelGivesUpAShutdown before the step's deadline, where that is long
// enough: that, too, is silence, and not the ABORT with which it does so.
func TestKernelGivesUpAShutdown(t *testing.T) {
	loaded(t)
	filter(t, "input", dropShutdown)
	gaveUp := fault{result: result.OutcomeFail, stage: result.StageShutdown, errno: "ETIMEDOUT", reason: verdict.ReasonProbeTimedOut}
	gaveUp.judge(t, conclude(t, probe.Options{}, func(opts probe.Options) result.Result {
		opts.Timeout += 18 * time.Second
		return run(t, opts)
	}))
}

// TestWrongAnswers: a kernel that delivers something else than was sent is found
// out, by the check whose matter it is. Here a filter changes what arrives;
// loopback's packets carry no checksum that would tell. In a DATA chunk that
// comes first, the flags are the packet's 14th byte, the stream is in bytes 21
// and 22, the payload protocol identifier in 25 to 28, and then comes what is
// sent (RFC 9260, section 3.3.1).
func TestWrongAnswers(t *testing.T) {
	loaded(t)
	const inData = "meta nfproto ipv4 meta l4proto sctp @th,96,8 0 "
	for name, tc := range map[string]struct {
		change string
		fail   []string // those over IPv4 that must
	}{
		"payload protocol identifier": {"@th,192,32 set 99", []string{"ipv4-ppid"}},
		"stream":                      {"@th,104,8 7 @th,160,16 set 1", []string{"ipv4-streams"}}, // of unordered ones: others would be out of order, too
		"unordered":                   {"@th,104,8 set 7", []string{"ipv4-streams"}},
		"content":                     {"@th,224,32 set 0", []string{result.CheckIPv4Stream, "ipv4-boundaries", "ipv4-fragmentation", "seqpacket", result.CheckMultihoming}},
	} {
		t.Run(name, func(t *testing.T) {
			filter(t, "input", inData+tc.change)
			r := conclusive(t, probe.Options{})
			for _, name := range tc.fail {
				if c := find(t, r.Checks, name); c.Result != result.OutcomeFail || c.Stage != "" || c.TimedOut || c.Detail == "" {
					t.Errorf("%+v, and should say what was wrong", c)
				}
			}
			if got := judged(r); got.Reason != verdict.ReasonProbeFailed {
				t.Errorf("%s: %s", got.Reason, got.Message)
			}
			if c := find(t, r.Checks, result.CheckIPv6Stream); c.Result != result.OutcomePass {
				t.Errorf("nothing is changed there: %+v", c)
			}
		})
	}
}

// TestExtensionsThatDoNotArrive: without their chunks, the checks that are about
// them fail, and no other.
func TestExtensionsThatDoNotArrive(t *testing.T) {
	loaded(t)
	// ABORT, AUTH, RE-CONFIG, ASCONF, and the answer to a heartbeat.
	filter(t, "input", "meta l4proto sctp @th,96,8 { 6, 15, 130, 193, 5 } drop")
	r := conclusive(t, probe.Options{Suite: result.SuiteFull})
	about := []string{"abort", "authentication", "stream-reconfiguration", "address-reconfiguration", result.CheckMultihoming}
	for _, c := range r.Checks {
		want := result.OutcomePass
		if slices.Contains(about, c.Name) {
			want = result.OutcomeFail
		}
		if c.Result != want && c.Result != result.OutcomeSkip {
			t.Errorf("%+v\nwant %s", c, want)
		}
	}
	if got := judged(r); got.Reason != verdict.ReasonProbePassed {
		t.Errorf("%s: %s", got.Reason, got.Message)
	}
}

// TestCallersDeadline: a deadline of the caller's that comes before the probe's
// leaves each step its part of the time.
func TestCallersDeadline(t *testing.T) {
	loaded(t)
	filter(t, "input", dropAll)
	silent := fault{result: result.OutcomeFail, stage: result.StageConnect, timedOut: true, reason: verdict.ReasonProbeTimedOut}
	for _, child := range []string{"", probe.Self} {
		r := conclude(t, probe.Options{Child: child}, func(opts probe.Options) result.Result {
			ctx, cancel := context.WithTimeout(t.Context(), opts.Timeout)
			defer cancel()
			return probe.Run(ctx, probe.Options{Child: child, Timeout: time.Hour})
		})
		if child != "" {
			r = result.Result{Checks: r.Current} // the kernel is proved
		}
		silent.judge(t, r)
	}
}

// TestLostPacket: one packet that is lost, whatever it carries, is sent again
// and decides nothing.
func TestLostPacket(t *testing.T) {
	loaded(t)
	for chunk, number := range map[string]int{
		"DATA": 0, "INIT": 1, "INIT-ACK": 2, "SACK": 3, "HEARTBEAT": 4, "HEARTBEAT-ACK": 5,
		"SHUTDOWN": 7, "SHUTDOWN-ACK": 8, "COOKIE-ECHO": 10, "COOKIE-ACK": 11, "SHUTDOWN-COMPLETE": 14,
	} {
		t.Run(chunk, func(t *testing.T) {
			filter(t, "input", fmt.Sprintf("meta l4proto sctp @th,96,8 %d limit rate 1/day burst 1 packets counter drop", number))
			r := conclusive(t, probe.Options{})
			for _, c := range r.Checks {
				if c.Result != result.OutcomePass {
					t.Errorf("%+v", c)
				}
			}
			shell(t, "nft list table inet faults | grep -q 'counter packets 1 '")
		})
	}
}

// port is one that the kernel chose.
var port = regexp.MustCompile(`:[0-9]{4,5}\b`)

// conclusive runs the probe, under its usual deadline and then, on a machine
// too busy for that, under longer ones: a probe that had no time to conclude
// says so.
func conclusive(t *testing.T, opts probe.Options) result.Result {
	t.Helper()
	return conclude(t, opts, func(opts probe.Options) result.Result { return run(t, opts) })
}

// conclude is conclusive, by another way to run the probe.
func conclude(t *testing.T, opts probe.Options, run func(probe.Options) result.Result) result.Result {
	t.Helper()
	for opts.Timeout = probe.DefaultTimeout; ; opts.Timeout *= 2 {
		r := run(opts)
		again := unfinished(r)
		if again == "" || opts.Timeout > time.Minute {
			return r
		}
		t.Logf("again, no conclusion within %v: %s", opts.Timeout, again)
	}
}

// unfinished is what a result says of a check that had no time to conclude, or
// less than its steps may take; "" if there is none.
func unfinished(r result.Result) string {
	var said []string
	for _, c := range append(slices.Clone(r.Checks), r.Current...) {
		if c.Result == result.OutcomeUnknown {
			said = append(said, c.Detail)
		}
	}
	for _, s := range append(said, r.Notes...) {
		for _, late := range []string{"inconclusive", "did not finish", "did not return", os.ErrDeadlineExceeded.Error(), context.DeadlineExceeded.Error()} {
			if strings.Contains(s, late) {
				return s
			}
		}
	}
	return ""
}

func (f fault) judge(t *testing.T, r result.Result) {
	t.Helper()
	for _, c := range r.Checks {
		if port.MatchString(c.Detail) || strings.Contains(c.Detail, "\n") {
			t.Errorf("%s: %q: want one line, and no port, which is another each time", c.Name, c.Detail)
		}
	}
	name := f.check
	if name == "" {
		name = result.CheckIPv4Stream
	}
	c := find(t, r.Checks, name)
	if !f.as(c) {
		for _, c := range r.Checks {
			t.Logf("%+v", c)
		}
		t.Errorf("%+v\nwant %s at %q, errno %q, timed out %v", c, f.result, f.stage, f.errno, f.timedOut)
	}
	if got := judged(r); got.Reason != f.reason {
		t.Errorf("%s: %s; want %s", got.Reason, got.Message, f.reason)
	}
}

// loaded has the module in the kernel, with the hash of the cookie: their first
// use is slow, and not what is measured.
func loaded(t *testing.T) {
	t.Helper()
	shell(t, "/sbin/modprobe sctp")
	run(t, probe.Options{Timeout: 20 * time.Second})
}

// TestFaultsDoNotReachTheProof: in a namespace of its own the probe proves the
// kernel whatever the host's loopback is like, and says what it saw there.
func TestFaultsDoNotReachTheProof(t *testing.T) {
	loaded(t)
	for name, tc := range map[string]struct {
		inject func(*testing.T)
		says   string // in LoopbackFiltered
		notes  string // or in the notes
	}{
		"drop all":          {func(t *testing.T) { filter(t, "input", dropAll) }, "ipv6-stream: connect", ""},
		"drop DATA":         {func(t *testing.T) { filter(t, "input", dropData) }, "ipv4-stream: receive", ""},
		"reject":            {func(t *testing.T) { filter(t, "input", "meta l4proto sctp reject") }, "connection refused", ""},
		"loopback down":     {func(t *testing.T) { shell(t, "ip link set lo down", "ip link set lo up") }, "ipv4-stream: connect", "ipv6-stream"},
		"127.0.0.1 removed": {func(t *testing.T) { shell(t, "ip addr del 127.0.0.1/8 dev lo", "ip addr add 127.0.0.1/8 dev lo") }, "", "cannot assign requested address"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.inject(t)
			r := conclusive(t, probe.Options{Child: probe.Self})
			for _, c := range r.Checks {
				if c.Result != result.OutcomePass {
					t.Errorf("%s: %s: %s", c.Name, c.Result, c.Detail)
				}
			}
			if got := judged(r); got.Reason != verdict.ReasonProbePassed || !r.Isolated {
				t.Errorf("isolated %v, %s: %s", r.Isolated, got.Reason, got.Message)
			}
			if (r.LoopbackFiltered == "") != (tc.says == "") || !strings.Contains(r.LoopbackFiltered, tc.says) {
				t.Errorf("filtered: %q, want %q", r.LoopbackFiltered, tc.says)
			}
			if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, tc.notes) {
				t.Errorf("notes: %q, want %q", notes, tc.notes)
			}
		})
	}
}

// TestNoNamespaceLeft: where no further network namespace may be made, the
// probe does without.
func TestNoNamespaceLeft(t *testing.T) {
	loaded(t)
	shell(t, "sysctl -qw user.max_net_namespaces=0", "sysctl -qw user.max_net_namespaces=10000")
	r := conclusive(t, probe.Options{Child: probe.Self})
	if notes := strings.Join(r.Notes, "\n"); r.Isolated || !strings.Contains(notes, "no space left") {
		t.Errorf("isolated %v, notes %q", r.Isolated, notes)
	}
	if got := judged(r); got.Reason != verdict.ReasonProbePassed {
		t.Errorf("%s: %s", got.Reason, got.Message)
	}
}

// TestRefused: a policy that refuses the socket call decides nothing about
// SCTP, and the kernel is not even asked for the module.
func TestRefused(t *testing.T) {
	loaded(t)
	for _, errno := range []syscall.Errno{unix.EPERM, unix.EACCES, unix.ENOSYS, unix.ENOMEM, unix.ENOBUFS, unix.ENFILE, unix.EAGAIN, unix.ENOSPC} {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			want := fault{result: result.OutcomeUnknown, stage: result.StageSocket, errno: unix.ErrnoName(errno), reason: verdict.ReasonResourceExhausted}
			if errno == unix.EPERM || errno == unix.EACCES || errno == unix.ENOSYS {
				want.reason = verdict.ReasonPermissionDenied
			}
			for _, child := range []string{"", probe.Self} {
				want.judge(t, conclude(t, probe.Options{Child: child}, func(opts probe.Options) result.Result {
					return crippled{Refuse: errno, Options: opts}.run(t)
				}))
			}
		})
	}
	for _, errno := range []syscall.Errno{unix.EPROTONOSUPPORT, unix.ESOCKTNOSUPPORT, unix.EAFNOSUPPORT} {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			fault{result: result.OutcomeFail, stage: result.StageSocket, errno: unix.ErrnoName(errno), reason: verdict.ReasonProbeFailed}.
				judge(t, crippled{Refuse: errno}.run(t))
		})
	}
}

// TestDescriptors: whatever number of them is left, the probe passes or says
// that they ran out.
func TestDescriptors(t *testing.T) {
	loaded(t)
	reasons := map[verdict.Reason]int{}
	for _, child := range []string{"", probe.Self} {
		for n := uint64(6); n < 64; n += 1 + n/6 {
			r := crippled{Files: n, Options: probe.Options{Child: child, Timeout: 10 * time.Second}}.run(t)
			got := judged(r)
			reasons[got.Reason]++
			if got.Reason != verdict.ReasonResourceExhausted && got.Reason != verdict.ReasonProbePassed {
				t.Errorf("with %d descriptors, child %q: %s: %s", n, child, got.Reason, got.Message)
			}
		}
	}
	if reasons[verdict.ReasonResourceExhausted] == 0 || reasons[verdict.ReasonProbePassed] == 0 {
		t.Errorf("verdicts: %v", reasons)
	}
	t.Logf("verdicts: %v", reasons)
}

// TestMemory: with however little memory the child must do, it proves SCTP or
// decides nothing.
func TestMemory(t *testing.T) {
	loaded(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[verdict.Reason]int{}
	for mib := 1; mib <= 4096; mib *= 2 {
		child := filepath.Join(t.TempDir(), "child")
		script := fmt.Sprintf("#!/bin/sh\nulimit -v %d\nexec %s \"$@\"\n", mib<<10, self)
		if err := os.WriteFile(child, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		r := run(t, probe.Options{Child: child, Timeout: 10 * time.Second})
		got := judged(r)
		reasons[got.Reason]++
		switch c := find(t, r.Checks, result.CheckIPv4Stream); {
		case got.Reason == verdict.ReasonProbePassed:
		case got.Reason != verdict.ReasonInspectionFailed && got.Reason != verdict.ReasonResourceExhausted, c.Result != result.OutcomeUnknown, c.Detail == "":
			t.Errorf("with %d MiB: %s: %s; %+v", mib, got.Reason, got.Message, c)
		}
	}
	if reasons[verdict.ReasonInspectionFailed] == 0 || reasons[verdict.ReasonProbePassed] == 0 {
		t.Errorf("verdicts: %v", reasons)
	}
	t.Logf("verdicts: %v", reasons)
}

// TestOnlyWithoutIPv6 is for a guest booted with ipv6.disable=1: the IPv6
// checks do not apply, and finding that out makes the kernel run nothing.
func TestOnlyWithoutIPv6(t *testing.T) {
	loaded(t)
	shell(t, `printf '#!/bin/sh\necho "$@" >>/tmp/modprobe.log\n' >/tmp/modprobe
chmod +x /tmp/modprobe
echo /tmp/modprobe >/proc/sys/kernel/modprobe`)
	without := fault{check: result.CheckIPv6Stream, result: result.OutcomeSkip, reason: verdict.ReasonProbePassed}
	without.judge(t, conclusive(t, probe.Options{}))
	if asked, err := os.ReadFile("/tmp/modprobe.log"); !os.IsNotExist(err) {
		t.Errorf("the kernel ran modprobe (%v):\n%s", err, asked)
	}
	// A new network namespace is another matter: sctp itself asks for IPv6 in
	// each (net/sctp/protocol.c, sctp_ctl_sock_init), a container's too.
	without.judge(t, conclusive(t, probe.Options{Child: probe.Self}))
	// So would it have been seen.
	if _, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM, 0); err != unix.EAFNOSUPPORT {
		t.Errorf("a socket of IPv6: %v", err)
	}
	if _, err := os.Stat("/tmp/modprobe.log"); err != nil {
		t.Errorf("a call of modprobe would not have been seen: %v", err)
	}
}

// TestOnlyFIPS is for a guest booted with fips=1: a host set to MD5 cookies
// cannot listen, which is its namespace's fault and not the kernel's.
func TestOnlyFIPS(t *testing.T) {
	loaded(t)
	shell(t, "[ $(cat /proc/sys/crypto/fips_enabled) = 1 ]; sysctl -qw net.sctp.cookie_hmac_alg=md5")
	fault{result: result.OutcomeFail, stage: result.StageListen, errno: "ENOSYS", reason: verdict.ReasonProbeFailed}.judge(t, conclusive(t, probe.Options{}))
	r := conclusive(t, probe.Options{Child: probe.Self})
	if got := judged(r); got.Reason != verdict.ReasonProbePassed || !strings.Contains(r.LoopbackFiltered, "listen") {
		t.Errorf("%s: %s; filtered %q", got.Reason, got.Message, r.LoopbackFiltered)
	}
}

// TestChildKilledOrStopped while it waits for packets that a filter drops: the
// answer is there at the deadline, decides nothing and hides nothing.
func TestChildKilledOrStopped(t *testing.T) {
	loaded(t)
	filter(t, "input", dropAll)
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGSEGV} {
		t.Run(unix.SignalName(signal), func(t *testing.T) {
			const timeout = 8 * time.Second
			r := inTime(t, func() (result.Result, error) {
				// Without privilege there is one child, in this namespace.
				wait := crippled{Options: probe.Options{Child: probe.Self, Suite: result.SuiteFull, Timeout: timeout}, User: true}.begin(t)
				for began := time.Now(); ; time.Sleep(time.Millisecond) {
					child := grandchild(t)
					if child != 0 && lines(t, "/proc/net/sctp/eps") > 3 { // it is under way
						if err := unix.Kill(child, signal); err != nil {
							// Its checks had their time, and this process did not run meanwhile.
							r, _ := wait()
							return r, fmt.Errorf("the probe's child had ended: %w", err)
						}
						break
					}
					if time.Since(began) > timeout {
						r, _ := wait()
						return r, errors.New("the probe's child did not get under way")
					}
				}
				r, late := wait()
				if late == nil && signal != syscall.SIGSTOP && r.Duration >= timeout {
					late = fmt.Errorf("took %v although the child was dead", r.Duration)
				}
				return r, late
			})
			fault{result: result.OutcomeUnknown, reason: verdict.ReasonInspectionFailed}.judge(t, r)
			if c := find(t, r.Checks, result.CheckIPv4Stream); !strings.Contains(c.Detail, "the probe process") {
				t.Errorf("%+v", c)
			}
		})
	}
}

// grandchild is a child of a child, 0 if there is none.
func grandchild(t *testing.T) int {
	t.Helper()
	for _, parent := range childrenOf(t, os.Getpid()) {
		for _, child := range childrenOf(t, parent) {
			return child
		}
	}
	return 0
}

// TestNamespaces: fifty probes in children, each with a network namespace,
// leave none.
func TestNamespaces(t *testing.T) {
	loaded(t)
	before := leftovers(t)
	for range 50 {
		if r := probe.Run(t.Context(), probe.Options{Child: probe.Self, Timeout: 20 * time.Second}); !r.Isolated || judged(r).Ready != kmod.AnswerTrue {
			t.Fatalf("%+v", r)
		}
	}
	before.mustBeBack(t)
}

// TestParallel: 200 probes at once, in this process and in children. However
// slow that makes the machine, none finds anything broken, and nothing is left.
func TestParallel(t *testing.T) {
	loaded(t)
	for _, tc := range []struct {
		name    string
		options probe.Options
		passes  bool
		// backlog is how many packets the kernel keeps until it comes to them;
		// 0 leaves it.
		backlog int
	}{
		{"in this process, with enough time", probe.Options{Timeout: 4 * time.Minute}, true, 0},
		{"in this process", probe.Options{}, false, 0},
		{"in this process, and packets are lost", probe.Options{}, false, 1},
		{"in children", probe.Options{Child: probe.Self}, false, 0},
		{"in children, and packets are lost", probe.Options{Child: probe.Self}, false, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.backlog > 0 {
				shell(t, fmt.Sprintf("sysctl -qw net.core.netdev_max_backlog=%d", tc.backlog), "sysctl -qw net.core.netdev_max_backlog=1000")
			}
			before := leftovers(t)
			results := make([]result.Result, 200)
			var all sync.WaitGroup
			began := time.Now()
			for i := range results {
				all.Go(func() { results[i] = probe.Run(t.Context(), tc.options) })
			}
			all.Wait()
			took := time.Since(began)
			reasons, doubts := map[verdict.Reason]int{}, map[string]int{}
			for _, r := range results {
				got := judged(r)
				reasons[got.Reason]++
				if got.Ready == kmod.AnswerFalse || tc.passes && got.Ready != kmod.AnswerTrue {
					t.Errorf("%s: %s", got.Reason, got.Message)
				}
				for _, c := range append(slices.Clone(r.Checks), r.Current...) {
					if c.Result == result.OutcomeFail {
						t.Errorf("%+v", c)
					}
					for _, why := range []string{"it ran the probe", "it delivered packets", "queue of packets ran over"} {
						if strings.Contains(c.Detail, why) {
							doubts[why]++
						}
					}
				}
			}
			t.Logf("took %v: %v, checks in doubt: %v", took.Round(time.Millisecond), reasons, doubts)
			before.mustBeBack(t)
		})
	}
}

// TestFilterOnABusyMachine: that the processor has other things to do as well
// hides no filter.
func TestFilterOnABusyMachine(t *testing.T) {
	loaded(t)
	filter(t, "input", dropAll)
	for range 2 {
		busy := exec.Command("/bin/sh", "-c", "while :; do :; done")
		if err := busy.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			busy.Process.Kill()
			busy.Wait()
		})
	}
	fault{result: result.OutcomeFail, stage: result.StageConnect, timedOut: true, reason: verdict.ReasonProbeTimedOut}.judge(t, conclusive(t, probe.Options{}))
}

// TestKilledInItsNamespace: the associations of a child that is killed end with
// it even where no packet passes, and so does its network namespace.
func TestKilledInItsNamespace(t *testing.T) {
	loaded(t)
	for _, suite := range []result.Suite{result.SuiteQuick, result.SuiteFull} {
		t.Run(string(suite), func(t *testing.T) {
			before := leftovers(t)
			here, err := os.Readlink("/proc/self/ns/net")
			if err != nil {
				t.Fatal(err)
			}
			var answer chan result.Result
			start := func() {
				answer = make(chan result.Result, 1)
				go func() {
					answer <- probe.Run(t.Context(), probe.Options{Child: probe.Self, Suite: suite, Timeout: 20 * time.Second})
				}()
			}
			start()
			var child int
			var ns *os.File
			for deadline := time.Now().Add(time.Minute); ns == nil; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("no child was seen with an association in a namespace of its own")
				}
				for _, child = range childrenOf(t, os.Getpid()) {
					if ns = inTheMiddle(child, here); ns != nil {
						break
					}
				}
				if ns == nil && len(answer) > 0 {
					start() // it was over too soon
				}
			}
			defer ns.Close()
			within(t, ns, func() error { return exec.Command("ip", "link", "set", "lo", "down").Run() })
			if err := unix.Kill(child, unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			// What it had proved by then stands.
			if got := judged(<-answer); got.Ready == kmod.AnswerFalse {
				t.Errorf("%s: %s", got.Reason, got.Message)
			}
			within(t, ns, func() error {
				for _, table := range []string{"assocs", "eps"} {
					text, err := os.ReadFile("/proc/thread-self/net/sctp/" + table)
					if err != nil {
						return err
					}
					if strings.Count(string(text), "\n") > 1 {
						t.Errorf("left in the namespace:\n%s", text)
					}
				}
				return nil
			})
			ns.Close()
			before.mustBeBack(t)
		})
	}
}

// inTheMiddle stops a process if it is in another network namespace than here
// and has associations there, and returns that namespace; otherwise it goes on.
func inTheMiddle(pid int, here string) *os.File {
	name := fmt.Sprintf("/proc/%d/ns/net", pid)
	if there, err := os.Readlink(name); err != nil || there == here {
		return nil // an error: it has ended
	}
	if unix.Kill(pid, unix.SIGSTOP) != nil {
		return nil
	}
	awaitStopped(pid)
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/sctp/assocs", pid))
	if err == nil && strings.Count(string(table), "\n") > 1 { // its heading
		if ns, err := os.Open(name); err == nil {
			return ns
		}
	}
	unix.Kill(pid, unix.SIGCONT)
	return nil
}

// awaitStopped waits until no thread of a process goes on. kill(2) only queues
// SIGSTOP, for one thread, which tells the others when it runs (kernel/signal.c,
// do_signal_stop): until then the process can finish.
func awaitStopped(pid int) {
	for {
		going := false
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		for _, task := range tasks {
			state, _ := stateOf(task)
			going = going || state != "" && !strings.Contains("TZX", state) // proc_pid_stat(5)
		}
		if !going {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// within calls f in a thread that is in the network namespace.
func within(t *testing.T, ns *os.File, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: so the thread ends
		err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
