# What the tests and the demo download or build is kept in
# $SCTP_AGENT_CACHE, by default ~/.cache/sctp-agent.

.PHONY: build demo test oracle bench deps

build:
	CGO_ENABLED=0 go build -trimpath -o bin/sctp-agent ./cmd/sctp-agent

# The main job on a machine without a cluster: a real API server, and three
# virtual machines as its nodes.
demo: deps
	@cd test && exec go run ./demo

# Everything: checks of the sources, unit tests, tests against the real API
# server, tests with real kernels.
test: deps
	@hack/test

# pkg/kmod against the real modprobe and systemd-modules-load of three Debian
# releases, in generated host roots; needs root. ORACLE="-roots 500 -kmod 30"
# asks for less.
oracle:
	@cd test && exec go run ./oracle/kmod-oracle $(ORACLE)

# A whole inspection of a host against one dry run of the real modprobe.
bench:
	@cd test && go test -run '^$$' -bench . -benchmem ./oracle

# The system's programs that the tests and the demo need.
deps:
	@hack/deps
