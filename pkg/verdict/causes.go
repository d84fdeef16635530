package verdict

import (
	"fmt"

	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// probeReason turns where and why a required check stopped into a reason: the
// one table from errno to verdict. A failed check without an entry here is
// ProbeFailed, an inconclusive one InspectionFailed.
//
// The errno values are those measured at each stage (docs/how-it-works/probe.md).
func probeReason(c result.Check) Reason {
	if c.Result == result.OutcomeFail && (c.TimedOut || c.Errno == "ETIMEDOUT") {
		// A dropped packet is silence: the step's deadline passed, or the
		// kernel gave up sending again before.
		return ReasonProbeTimedOut
	}
	if c.Result == result.OutcomeFail && rejected(c) {
		return ReasonProbeTimedOut
	}
	if c.Result == result.OutcomeUnknown && c.Errno == "ENOSYS" {
		// seccomp, where a profile's default is this.
		return ReasonPermissionDenied
	}
	switch c.Errno {
	case "EPERM", "EACCES":
		// seccomp (EPERM), SELinux class sctp_socket (EACCES, at socket() or
		// as late as recvmsg()), cgroup BPF sock_create (EPERM).
		return ReasonPermissionDenied
	case "EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "EAGAIN", "ENOSPC",
		"EADDRINUSE": // the kernel chooses the port: none was left
		return ReasonResourceExhausted
	}
	if c.Result == result.OutcomeUnknown {
		return ReasonInspectionFailed
	}
	return ReasonProbeFailed
}

// rejected reports whether packets were answered with an ICMP error on loopback,
// while the probe's own socket listens: a firewall's reject. Once there is an
// association, the call that gets the error depends on who holds the socket at that
// time (net/sctp/input.c, sctp_v4_err: sk_err or sk_err_soft). EACCES is ICMPv6's
// "prohibited" while connecting, and comes from a security policy later.
func rejected(c result.Check) bool {
	switch c.Errno {
	case "ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "ENOPROTOOPT":
		return c.Stage == result.StageConnect || c.Stage == result.StageReceive || c.Stage == result.StageShutdown
	case "EACCES":
		return c.Stage == result.StageConnect
	}
	return false
}

// probeMessage is what happened to a required check, for people.
func probeMessage(c result.Check) string {
	switch probeReason(c) {
	case ReasonPermissionDenied:
		return "the probe was refused by a security policy: " + refused(c)
	case ReasonResourceExhausted:
		return "the probe ran out of resources: " + refused(c)
	case ReasonProbeTimedOut:
		return fmt.Sprintf("the module is there, and packets do not arrive: check %s%s", c.Name, stopped(c))
	case ReasonInspectionFailed:
		return fmt.Sprintf("the probe could not conclude: check %s%s", c.Name, stopped(c))
	default:
		return fmt.Sprintf("the module is there, and SCTP does not work: check %s failed%s", c.Name, stopped(c))
	}
}

// refused is what a check was refused, as the end of a sentence. Without a
// stage it was no socket, but a file to read or a process to start.
func refused(c result.Check) string {
	if c.Stage == "" {
		return fmt.Sprintf("%s (check %s): %s", c.Errno, c.Name, c.Detail)
	}
	return fmt.Sprintf("%s at %s (check %s)", c.Errno, c.Stage, c.Name)
}

// stopped is where a check stopped, with its detail, as the end of a sentence.
func stopped(c result.Check) string {
	s := ""
	if c.Stage != "" {
		s += " at " + string(c.Stage)
	}
	switch {
	case c.Errno != "":
		s += " with " + c.Errno
	case c.TimedOut:
		s += " (no answer)"
	}
	if c.Detail != "" {
		s += ": " + c.Detail
	}
	return s
}
