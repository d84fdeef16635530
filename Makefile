# What the tests and the demo download or build is kept in
# $SCTP_AGENT_CACHE, by default ~/.cache/sctp-agent.

.PHONY: help build demo test test-full test-node test-long test-timing test-versions test-arch test-kernels test-mesh oracle bench deps

# The programs, as they ship, in bin/.
build:
	@hack/build bin/sctp-agent
	@hack/build bin/kubectl-sctp ./cmd/kubectl-sctp
	@hack/build bin/sctp-mesh ./cmd/sctp-mesh

# The agent and the audit on a machine without a cluster: a real API server, and
# three virtual machines as its nodes.
demo: deps
	@cd test && exec go run ./demo

# A slice of every claim: checks of the sources, unit tests, tests against the
# real API server, tests with real kernels, the DaemonSet on a full node. Its last
# lines name what it left out.
test: deps
	@hack/test

# Everything, run before a release: hours.
test-full: deps
	@hack/deps qemu-system-arm=qemu-system-aarch64 qemu-system-misc=qemu-system-s390x
	@hack/test -full

# Full nodes with kubelet and a container runtime: the DaemonSet on one, from
# installation to removal, and "kubectl sctp verify" on two. About an hour on two
# processors.
test-node: deps
	@hack/test -full node nodes

# 50 changes of a guest's files, and its module loaded in 50 guests, timed until
# the Node shows it.
test-long: deps
	@hack/test -full long

# The tests that wait for a clock, twenty times, beside eight busy loops.
test-timing: deps
	@hack/test -full timing

# The tests against the API server with older versions of Kubernetes, built from
# their Go modules: ten minutes for each the first time. VERSIONS="v1.34" runs one.
test-versions: deps
	@hack/test -full versions

# pkg/kmod against the real modprobe, systemd-modules-load and systemd of four Debian
# releases, and three versions of BusyBox, in generated host roots; needs root.
# ORACLE="-roots 500 -kmod 30" runs fewer.
oracle: deps
	@hack/test -full oracle

# The probe on arm64 and s390x (big-endian), emulated.
test-arch: deps
	@hack/deps qemu-system-arm=qemu-system-aarch64 qemu-system-misc=qemu-system-s390x
	@hack/test -full arch

# The probe with every fault, and each scenario, on all kernels: 5.10, 6.1, 6.12,
# 6.12 with PREEMPT_RT, and 7.2 or later of Debian's testing suite.
test-kernels: deps
	@hack/test -full kernels

# Forty agents of the mesh in one guest: a hundred faults, an hour of quiet, what
# an agent costs. Hours.
test-mesh: deps
	@hack/test -full mesh

# Figures: the inspection of a host compared with a dry run of the real modprobe,
# the probe with a minimal C program, one agent at rest and at work with a minimal
# client, and a simulated cluster on one API server. BENCH="-rest 1h -nodes 5000
# -away 5m" is the long form, BENCH=-peers compares with nfd-worker, BENCH="-mesh
# 5000 -rest 12m" measures the mesh's agents on one API server instead.
bench: deps
	@cd test && go test -run '^$$' -bench . -benchmem ./oracle
	@cd test && go test -run '^$$' -bench . -benchtime 1x ./probe
	@cd test && exec go run ./bench $(BENCH)

# The system's programs that the tests and the demo need.
deps:
	@hack/deps

# The targets, each with the first sentence of its comment.
help:
	@awk '/^# /{text = text substr($$0, 2); next} \
		/^[a-z-]+:/{sub(/:.*/, ""); sub(/\.( .*|$$)/, ".", text); if (text) printf "make %-15s%s\n", $$0, text} \
		{text = ""}' $(firstword $(MAKEFILE_LIST))
