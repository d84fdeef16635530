package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/sctp-agent/sctp-agent/internal/programtest"
	"github.com/sctp-agent/sctp-agent/internal/terminal"
	"github.com/sctp-agent/sctp-agent/internal/verify"
	"github.com/sctp-agent/sctp-agent/internal/verify/wire"
)

// A matrix of many nodes, with long names and everything that can go wrong, fits a
// terminal, shows each in its cell, and has no colour in a pipe.
func TestPrintVerify(t *testing.T) {
	r := &verify.Result{DurationMillis: 61_234, Policy: "not-enforced"}
	for i := range verify.AllPairsByDefault {
		r.Nodes = append(r.Nodes, verify.Node{Index: i, Name: fmt.Sprintf("ip-10-201-103-%d.eu-central-1.compute.internal", i)})
	}
	outcomes := []wire.Outcome{
		wire.OK, wire.Refused, wire.NoRoute, wire.Dropped, wire.OneWay, wire.NetworkDown, wire.Lost, wire.Corrupt, wire.ModuleMissing, wire.Denied, wire.Unknown, wire.Blocked,
	}
	n := 0
	for _, kind := range []verify.PathKind{verify.PathPod, verify.PathNodePort, verify.PathDenied} {
		for _, from := range r.Nodes {
			for _, to := range r.Nodes {
				p := verify.Path{Kind: kind, From: from.Name, To: to.Name, Family: "IPv4", Outcome: outcomes[n%len(outcomes)], RTTMicros: int64(n) * 137}
				if kind == verify.PathNodePort {
					p.Via = to.Name
				}
				n++
				r.Paths = append(r.Paths, p)
			}
		}
	}
	r.Nodes[3].Fault = wire.ModuleMissing
	r.Findings = []verify.Finding{{Kind: verify.FindingDropped, Message: strings.Repeat("words and ", 20), Evidence: make([]string, 30), Fix: "fix it"}}
	r.LoadBalancer = &verify.LoadBalancer{To: r.Nodes[0].Name, Addresses: []string{"198.51.100.7"}, Seconds: 42}
	r.Failovers = []verify.Failover{{
		Family: "IPv4", Address: "10.0.0.5:38412", Port: 40000, From: r.Nodes[0].Name, Deleted: r.Nodes[1].Name, To: r.Nodes[2].Name,
		Outcome: wire.NoRoute, Seconds: 60, OtherPortSeconds: 2.4,
	}}
	var b bytes.Buffer
	if err := printVerify(&b, terminal.NewPalette(&b), r); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	programtest.Fits(t, text)
	for _, want := range []string{"REFUSED", "NOROUTE", "DROPPED", "ONE-WAY", "DOWN", "LOST", "NOMOD", "DENIED", "?", "OPEN", "blocked", "no SCTP in the kernel", "… and 20 more", "SCTP does not work everywhere", "NetworkPolicy for SCTP: not-enforced", "61.2 s",
		"load balancer: 198.51.100.7 after 42.0 s", "no answer within 60 s", "(no-route),"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if strings.Contains(text, "IPv6") {
		t.Error("a matrix without paths is shown")
	}
}

// A thousand nodes in three zones fit a screen or two: zones, and rows by cause.
func TestPrintVerifyOfManyNodes(t *testing.T) {
	r := &verify.Result{Plan: verify.PlanRing}
	for i := range 1000 {
		r.Nodes = append(r.Nodes, verify.Node{Index: i, Name: fmt.Sprintf("worker-%d", i), Zone: fmt.Sprintf("eu-central-1%c", 'a'+i%3)})
	}
	for i, from := range r.Nodes {
		for k := range 10 {
			to := r.Nodes[(i+1+k)%1000]
			p := verify.Path{Kind: verify.PathPod, From: from.Name, To: to.Name, Family: "IPv4", Outcome: wire.OK, RTTMicros: 1234}
			if to.Index == 7 {
				p.Outcome = wire.Dropped
			}
			r.Paths = append(r.Paths, p)
			p.Kind, p.Via, p.Outcome = verify.PathNodePort, to.Name, wire.NotTried
			r.Paths = append(r.Paths, p)
		}
	}
	r.Findings = []verify.Finding{{Kind: verify.FindingDropped, Message: "SCTP packets are dropped", Evidence: []string{"to node worker-7: 10 of 10 paths"}, Fix: "look for a firewall"}}
	var b bytes.Buffer
	if err := printVerify(&b, terminal.Sized(terminal.Width), r); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	programtest.Fits(t, text)
	for _, want := range []string{
		"pod to pod, IPv4, round trip 1.23ms", "from zone      to eu-central-1a  to eu-central-1b  to eu-central-1c",
		"eu-central-1a  1006/1006         1328/1332         1002/1002\n", "to node worker-7", "9990 of 20000 paths are as expected", "ten on a ring",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	if lines := strings.Count(text, "\n"); lines > 40 {
		t.Errorf("%d lines", lines)
	}
	if t.Failed() {
		t.Log(text)
	}
}

// What cannot work is refused before anything is asked of a cluster.
func TestVerifyArguments(t *testing.T) {
	for want, args := range map[string][]string{
		"--timeout must be at least 10s":                               {"--timeout", "9s"},
		"--path-timeout 100ms":                                         {"--path-timeout", "500us"},
		`--network wants NAMESPACE/NAME, not "a/b/c"`:                  {"--network", "a/b/c"},
		`--network wants NAMESPACE/NAME, not "/b"`:                     {"--network", "/b"},
		`--image-pull-secret wants NAMESPACE/NAME, not "`:              {"--image-pull-secret", "regcred"},
		`unexpected argument "worker-0" (nodes are named with --node)`: {"worker-0"},
	} {
		if _, _, err := execute(t.Context(), append([]string{"verify", "--kubeconfig", "/does/not/exist"}, args...)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %s", args, err, want)
		}
	}
}
