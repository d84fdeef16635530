// Package inguest has the tests of the probe that need a kernel with SCTP, root,
// and a host that may be broken: they run in the guests of test/probe.
package inguest
