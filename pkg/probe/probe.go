// Package probe proves that SCTP (RFC 9260) works on the running kernel, with real
// sockets on loopback: in a few milliseconds, never beyond its deadline, and
// without leaving anything.
//
// [Run] has no error: what is wrong is in its [result.Result].
//
//   - Attempted is false: no socket was opened, because the protocol is not in
//     the kernel, or this is not Linux. Nothing is known of how it would work.
//     Where /proc could not be read, one check says so, with
//     [result.OutcomeUnknown].
//   - A check is [result.OutcomePass]: proved, in this kernel, at this moment.
//   - [result.OutcomeFail]: this kernel does not do it. Stage and Errno say where
//     and how.
//   - [result.OutcomeSkip]: not for this kernel or namespace; no fault.
//   - [result.OutcomeUnknown]: the probe was refused or starved. Probe again.
//
// The probe knows nothing of modules' configuration: whether an SCTP socket may
// be opened although the protocol is not in the kernel is the caller's decision
// ([Options.AllowLoad]).
//
// The checks run in a child process with a network namespace of its own where the
// caller provides the child ([Options.Child]) and privilege allows the namespace;
// otherwise in the current one. docs/how-it-works/probe.md lists the checks, and
// what a loopback cannot prove.
package probe

import (
	"time"

	"github.com/sctp-agent/sctp-agent/pkg/probe/result"
)

// Options of a run. The zero value is the quick suite under the default
// deadline in the calling process, never causing a module load.
type Options struct {
	Suite result.Suite
	// Timeout bounds the whole run; 0 means [DefaultTimeout], or
	// [DefaultFullTimeout] for the full suite. Within less than 1.6 s no
	// silence is long enough to prove anything: a check that gets no answer is
	// then always [result.OutcomeUnknown].
	Timeout time.Duration
	// Child is the program that runs the checks, one that calls [ChildMain]
	// first thing in its main function; [Self] is the running program. ""
	// runs the checks in the calling process and its network namespace: then
	// the host's addresses and firewall decide with the kernel, and a kernel
	// that hangs or kills the prober hangs a thread of the caller or kills it.
	Child string
	// AllowLoad lets the probe open an SCTP socket although the protocol is
	// not registered in the kernel, which makes the kernel load the module
	// where the host's configuration lets it.
	AllowLoad bool
	// LoadTimeout bounds that first socket call, before and apart from
	// Timeout: the kernel runs modprobe meanwhile, which takes from a tenth of
	// a second to several. 0 means [DefaultLoadTimeout].
	LoadTimeout time.Duration
	// Proc and Sys are where the kernel's view is read; "" means "/proc" and
	// "/sys".
	Proc, Sys string
}

// Self names the running program, even if its file has been replaced or
// removed since (proc_pid_exe(5)).
const Self = "/proc/self/exe"

const (
	// DefaultTimeout bounds a run of the quick suite: it takes a few
	// milliseconds on an idle machine, and this much on one in trouble.
	DefaultTimeout = 2 * time.Second
	// DefaultFullTimeout bounds a run of the full suite, some of whose checks
	// wait for the protocol's own timers.
	DefaultFullTimeout = 10 * time.Second
	// DefaultLoadTimeout bounds a module load that the probe was allowed to
	// cause.
	DefaultLoadTimeout = 10 * time.Second
)
