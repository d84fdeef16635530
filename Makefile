# What the tests and the demo download or build is kept in
# $SCTP_AGENT_CACHE, by default ~/.cache/sctp-agent.

.PHONY: build demo test deps

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

# The system's programs that the tests and the demo need.
deps:
	@hack/deps
