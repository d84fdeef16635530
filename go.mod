module github.com/sctp-agent/sctp-agent

go 1.26.0
