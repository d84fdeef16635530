// The tests that need a guest, a control plane or the real kmod, and the
// tooling that gives them these. Never imported by the product.
module github.com/sctp-agent/sctp-agent/test

go 1.26.0

require github.com/sctp-agent/sctp-agent v0.0.0

replace github.com/sctp-agent/sctp-agent => ../
