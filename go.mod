module github.com/sctp-agent/sctp-agent

go 1.26.0

require (
	github.com/cyphar/filepath-securejoin v0.7.0
	github.com/ishidawataru/sctp v0.0.0-20251114114122-19ddcbc6aae2
	github.com/vishvananda/netlink v1.3.1
	golang.org/x/sys v0.49.0
)

require (
	cyphar.com/go-pathrs v0.2.5 // indirect
	github.com/vishvananda/netns v0.0.5 // indirect
)
