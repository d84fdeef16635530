package probe

// checks is every check there is, in the order in which they are reported.
func checks() []check {
	return []check{
		{name: CheckIPv4Stream, rfc: "RFC 9260, sections 5.1, 6, 9.2", suite: Quick, required: true, current: true, family: ipv4, prove: proveStream},

		{name: CheckIPv6Stream, rfc: "RFC 9260, sections 5.1, 6, 9.2", suite: Quick, current: true, family: ipv6, prove: proveStream},
	}
}

// selected is the part of the suite that runs in a namespace of the probe's
// own, or if isolated is false, in one that it shares: private checks are told
// apart, to be reported as skipped.
func selected(suite Suite, isolated bool) (run, skipped []check) {
	for _, c := range checks() {
		switch {
		case c.suite == Full && suite != Full:
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
