// Package probe proves that SCTP (RFC 9260) works on the running kernel, with
// real sockets on loopback: a few milliseconds of work, never beyond its
// deadline, and nothing left behind.
//
// It knows nothing of modules' configuration: whether an SCTP socket may be
// opened although the protocol is not in the kernel is the caller's decision
// ([Options.AllowLoad]).
//
// The checks run in a child process with a network namespace of its own where
// the caller provides the child ([Options.Child]) and privilege allows the
// namespace; otherwise in the current one. docs/probe.md lists the checks and
// says what a loopback cannot prove.
package probe

import "time"

// Suite names a set of checks.
type Suite string

const (
	// SuiteQuick decides whether SCTP is ready: the behaviours that every telco
	// workload relies on.
	SuiteQuick Suite = "quick"
	// SuiteFull adds the extensions (RFC 3758, 4895, 5061, 6525, 6951, 8260).
	SuiteFull Suite = "full"
)

// Outcome is the result of one check.
type Outcome string

const (
	OutcomePass Outcome = "pass"
	OutcomeFail Outcome = "fail"
	// OutcomeSkip: the check does not apply here, e.g. no IPv6.
	OutcomeSkip Outcome = "skip"
	// OutcomeUnknown: the check could not conclude, e.g. EPERM or EMFILE, or no
	// answer on a machine that is too busy to give one.
	OutcomeUnknown Outcome = "unknown"
)

// Stage is where in a check's life something stopped.
type Stage string

const (
	StageSocket   Stage = "socket"
	StageBind     Stage = "bind"
	StageListen   Stage = "listen"
	StageConnect  Stage = "connect"
	StageAccept   Stage = "accept"
	StageSend     Stage = "send"
	StageReceive  Stage = "receive"
	StageShutdown Stage = "shutdown"
)

// Names of the checks whose results stand for more than themselves.
const (
	// CheckIPv4Stream is the core of the proof: handshake, echo, shutdown.
	CheckIPv4Stream = "ipv4-stream"
	// PrefixIPv6 is how the names of the checks over IPv6 begin. They do not
	// decide whether SCTP is ready, only, together, whether it is so over IPv6.
	PrefixIPv6 = "ipv6-"
	// CheckIPv6Stream is the first of them.
	CheckIPv6Stream = PrefixIPv6 + "stream"
	// CheckMultihoming: two addresses on each side, the second path confirmed.
	CheckMultihoming = "multihoming"
)

// Options of a run. The zero value is the quick suite under the default
// deadline in the calling process, never causing a module load.
type Options struct {
	Suite Suite
	// Timeout bounds the whole run; 0 means [DefaultTimeout], or
	// [DefaultFullTimeout] for the full suite. Within less than 1.6 s no
	// silence is long enough to prove anything: a check that gets no answer is
	// then always [Unknown].
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

// Check is the result of one check.
type Check struct {
	// Name is stable, as in the constants above.
	Name   string
	Result Outcome
	// Required says whether a failure means that SCTP is not ready.
	Required bool
	// RFC is the section whose behaviour the check proves.
	RFC string
	// Stage is where it stopped; "" for a check that passed, or that found a
	// wrong answer rather than no answer.
	Stage Stage
	// Errno is the symbolic name of the error number that the kernel gave,
	// such as "EPROTONOSUPPORT"; "" when it gave none.
	Errno string
	// TimedOut says that the deadline of a step passed while it waited for
	// packets, which is not the kernel's ETIMEDOUT.
	TimedOut bool
	Duration time.Duration
	// Detail says in words what was seen.
	Detail string
}

// Result of a run.
type Result struct {
	// Attempted says whether any SCTP socket was opened, or tried to be.
	Attempted bool
	// CausedLoad says that the protocol was registered only after the
	// probe's first socket call.
	CausedLoad bool
	Suite      Suite
	Duration   time.Duration
	// Isolated says that Checks ran in a network namespace of their own:
	// they speak of the kernel, not of this host's addresses and firewall.
	Isolated bool
	Checks   []Check
	// Current is the core of the proof once more, in the current network
	// namespace, if Checks did not run there: a failure here means that
	// something filters SCTP on this loopback. It decides nothing.
	Current []Check
	// LoopbackFiltered says, in words, how SCTP on loopback is filtered in the
	// current namespace according to Current, "" when it is not or was not
	// tried.
	LoopbackFiltered string
	// Notes are observations that decide nothing (why there is no network
	// namespace of its own, what was not tried in the current one, …).
	Notes []string
}
