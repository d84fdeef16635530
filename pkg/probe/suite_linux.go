package probe

import "github.com/sctp-agent/sctp-agent/pkg/probe/result"

// checks is every check there is, in the order in which they are reported.
func checks() []check {
	return []check{
		{name: result.CheckIPv4Stream, rfc: "RFC 9260, sections 5.1, 6 and 9.2", suite: result.SuiteQuick, required: true, current: true, family: ipv4, prove: proveStream},
		{name: "ipv4-boundaries", rfc: "RFC 9260, section 6.10", suite: result.SuiteQuick, required: true, family: ipv4, prove: proveBoundaries},
		{name: "ipv4-streams", rfc: "RFC 9260, sections 6.5 and 6.6", suite: result.SuiteQuick, required: true, family: ipv4, prove: proveStreams},
		{name: "ipv4-ppid", rfc: "RFC 9260, section 3.3.1", suite: result.SuiteQuick, required: true, family: ipv4, prove: provePPID},
		{name: "ipv4-fragmentation", rfc: "RFC 9260, section 6.9", suite: result.SuiteQuick, required: true, family: ipv4, prove: proveFragmentation},

		{name: result.CheckIPv6Stream, rfc: "RFC 9260, sections 5.1, 6 and 9.2", suite: result.SuiteQuick, current: true, family: ipv6, prove: proveStream},
		{name: "ipv6-boundaries", rfc: "RFC 9260, section 6.10", suite: result.SuiteQuick, family: ipv6, prove: proveBoundaries},
		{name: "ipv6-streams", rfc: "RFC 9260, sections 6.5 and 6.6", suite: result.SuiteQuick, family: ipv6, prove: proveStreams},
		{name: "ipv6-ppid", rfc: "RFC 9260, section 3.3.1", suite: result.SuiteQuick, family: ipv6, prove: provePPID},
		{name: "ipv6-fragmentation", rfc: "RFC 9260, section 6.9", suite: result.SuiteQuick, family: ipv6, prove: proveFragmentation},

		{name: "seqpacket", rfc: "RFC 6458, section 3", suite: result.SuiteQuick, family: ipv4, prove: proveSeqpacket},
		{name: result.CheckMultihoming, rfc: "RFC 9260, sections 5.1.2, 5.4 and 8.3", suite: result.SuiteQuick, family: ipv4, prove: proveMultihoming},

		{name: "peel-off", rfc: "RFC 6458, section 9.2", suite: result.SuiteFull, family: ipv4, prove: provePeeloff},
		{name: "abort", rfc: "RFC 9260, section 9.1", suite: result.SuiteFull, family: ipv4, prove: proveAbort},
		{name: "large-message", rfc: "RFC 9260, section 6.9", suite: result.SuiteFull, family: ipv4, prove: proveLargeMessage},
		{name: "many-associations", rfc: "RFC 6458, section 3", suite: result.SuiteFull, family: ipv4, prove: proveManyAssociations},
		{name: "stream-reconfiguration", rfc: "RFC 6525, sections 5.1.2 and 5.1.5", suite: result.SuiteFull, family: ipv4, prove: proveReconfig},
		{name: "authentication", rfc: "RFC 4895, sections 6.2 and 6.3", suite: result.SuiteFull, family: ipv4, prove: proveAuth},
		{name: "address-reconfiguration", rfc: "RFC 5061, sections 4 and 5.1", suite: result.SuiteFull, family: ipv4, prove: proveAsconf},
		{name: "ecn", rfc: "RFC 9260, appendix A", suite: result.SuiteFull, family: ipv4, prove: proveECN},
		{name: "interleaving", rfc: "RFC 8260, section 2", suite: result.SuiteFull, private: true, family: ipv4, prove: proveInterleaving},
		{name: "udp-encapsulation", rfc: "RFC 6951, section 5", suite: result.SuiteFull, private: true, family: ipv4, prove: proveUDP},
		{name: "failover", rfc: "RFC 9260, sections 6.4.1 and 8.2", suite: result.SuiteFull, private: true, family: ipv4, prove: proveFailover},
		{name: "partial-reliability", rfc: "RFC 3758, sections 3.5 and 4.1", suite: result.SuiteFull, private: true, family: ipv4, prove: provePartialReliability},
	}
}

// selected is the part of the suite that runs in a namespace of the probe's own, or
// if isolated is false, in one that it shares: there, private checks are returned
// separately, to be reported as skipped.
func selected(suite result.Suite, isolated bool) (run, skipped []check) {
	for _, c := range checks() {
		switch {
		case c.suite != suite && suite != result.SuiteFull:
		case c.private && !isolated:
			skipped = append(skipped, c)
		default:
			run = append(run, c)
		}
	}
	return run, skipped
}

// forCurrent is the pass in the current namespace besides an isolated one.
func forCurrent() (run []check) {
	for _, c := range checks() {
		if c.current {
			run = append(run, c)
		}
	}
	return run
}
