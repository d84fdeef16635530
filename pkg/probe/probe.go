// Package probe proves that SCTP (RFC 9260) works on the running kernel, with
// real sockets on loopback: never more than a few milliseconds of work, never
// beyond its deadline, and nothing left behind.
//
// It knows nothing of modules' configuration: whether an SCTP socket may be
// opened at all is the caller's decision ([Options.AllowLoad]).
package probe

import "time"

// Suite names a set of checks.
type Suite string

const (
	// Quick decides whether SCTP is ready: the behaviours that every telco
	// workload relies on.
	Quick Suite = "quick"
	// Full adds the extensions (RFC 3758, 4895, 5061, 6525, 6951, 8260).
	Full Suite = "full"
)

// Outcome is the result of one check.
type Outcome string

const (
	Pass Outcome = "pass"
	Fail Outcome = "fail"
	// Skip: the check does not apply here, e.g. no IPv6.
	Skip Outcome = "skip"
	// Unknown: the check could not conclude, e.g. EPERM or EMFILE.
	Unknown Outcome = "unknown"
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

// Options of a run. The zero value is the quick suite under the default
// deadline, never causing a module load.
type Options struct {
	Suite Suite
	// Timeout bounds the whole run; 0 means [DefaultTimeout].
	Timeout time.Duration
	// AllowLoad lets the probe open an SCTP socket although the protocol is
	// not registered in the kernel, which makes the kernel load the module
	// where the host's configuration lets it.
	AllowLoad bool
	// Proc is where the kernel's view is read; "" means "/proc".
	Proc string
}

// DefaultTimeout bounds a run: a probe takes about a millisecond on an idle
// machine, and this much on one in trouble.
const DefaultTimeout = 2 * time.Second

// Names of the checks that others read by name.
const (
	CheckIPv4Stream  = "ipv4-stream"
	CheckIPv6Stream  = "ipv6-stream"
	CheckMultihoming = "multihoming"
)

// Check is the result of one check.
type Check struct {
	// Name is stable, as in the constants above.
	Name   string
	Result Outcome
	// Required says whether a failure means that SCTP is not ready.
	Required bool
	// Stage and Errno say where and why it stopped: a name such as
	// "EPROTONOSUPPORT", or "ETIMEDOUT" where a deadline passed.
	Stage    Stage
	Errno    string
	Duration time.Duration
	Detail   string
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
	Checks     []Check
	// LoopbackFiltered says, in words, how SCTP on loopback is filtered in the
	// namespace the caller runs in, "" when it is not or was not tried. It
	// decides nothing: the proof of the kernel is made apart from it.
	LoopbackFiltered string
}
