// Package result has the results of a probe as plain values: package probe makes
// them, and everything that judges, stores or prints them needs only these. It
// builds on every system and imports the standard library alone.
//
// The zero [Result] is that of a probe that was not made: nothing attempted, no
// checks. It means as little about SCTP as [OutcomeUnknown] does.
package result

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

// Outcome is the result of one check. The zero value is none: every check of a
// [Result] has one of these.
type Outcome string

const (
	// OutcomePass: the kernel did what the RFC demands, just now.
	OutcomePass Outcome = "pass"
	// OutcomeFail: the kernel refused, gave a wrong answer, or none although
	// this machine was able to deliver one.
	OutcomeFail Outcome = "fail"
	// OutcomeSkip: the check does not apply here, as without IPv6 or in a
	// kernel without the extension.
	OutcomeSkip Outcome = "skip"
	// OutcomeUnknown: the check could not conclude. The process was refused
	// (EPERM, EACCES), starved (EMFILE, ENOMEM) or out of time, or the machine
	// was too busy to answer. Neither that SCTP works nor that it does not
	// follows from it.
	OutcomeUnknown Outcome = "unknown"
)

// Stage is where in a check's life something stopped; the zero value is no
// stage.
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

// Names of the checks whose results decide more than themselves.
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

// Check is the result of one check.
type Check struct {
	// Name is stable, as in the constants above.
	Name   string
	Result Outcome
	// Required reports whether a failure means that SCTP is not ready.
	Required bool
	// RFC is the section whose behaviour the check proves.
	RFC string
	// Stage is where it stopped; "" for a check that passed, or that found a
	// wrong answer rather than no answer.
	Stage Stage
	// Errno is the symbolic name of the error number that the kernel gave,
	// such as "EPROTONOSUPPORT"; "" when it gave none.
	Errno string
	// TimedOut: the deadline of a step passed while it waited for packets. This is
	// not the kernel's ETIMEDOUT.
	TimedOut bool
	Duration time.Duration
	// Detail is what was seen, in words.
	Detail string
}

// Result of a run.
type Result struct {
	// Attempted reports whether any SCTP socket was opened, or tried to be.
	Attempted bool
	// CausedLoad: the protocol was registered only after the probe's first socket
	// call.
	CausedLoad bool
	Suite      Suite
	Duration   time.Duration
	// Isolated: Checks ran in a network namespace of their own, so they are about
	// the kernel, not about this host's addresses and firewall.
	Isolated bool
	Checks   []Check
	// Current is the core of the proof in the current network namespace, if Checks
	// did not run there: a failure means that something filters SCTP on this
	// loopback. It does not change the verdict.
	Current []Check
	// LoopbackFiltered is how, by Current, SCTP on loopback is filtered in the
	// current namespace, in words; "" if it is not, or was not tried.
	LoopbackFiltered string
	// Notes are observations that decide nothing (why there is no network
	// namespace of its own, what was not tried in the current one, …).
	Notes []string
}
