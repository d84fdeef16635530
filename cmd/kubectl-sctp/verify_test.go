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

// A matrix of many nodes, with long names and everything that can go wrong,
// fits a terminal, says each in its cell, and has no colour in a pipe.
func TestPrintVerify(t *testing.T) {
	r := &verify.Result{DurationMillis: 61_234, Policy: "not-enforced"}
	for i := range 19 {
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
	r.Findings = []verify.Finding{{Kind: verify.FindingDropped, Message: strings.Repeat("words and ", 20), Evidence: make([]string, 30), Fix: "mend it"}}
	var b bytes.Buffer
	if err := printVerify(&b, terminal.NewPalette(&b), r); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	programtest.Fits(t, text)
	for _, want := range []string{"REFUSED", "NOROUTE", "DROPPED", "ONE-WAY", "DOWN", "LOST", "NOMOD", "DENIED", "?", "OPEN", "blocked", "no SCTP in the kernel", "… and 20 more", "SCTP does not work everywhere", "NetworkPolicy for SCTP: not-enforced", "61.2 s"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if strings.Contains(text, "IPv6") {
		t.Error("a matrix without paths is shown")
	}
}
