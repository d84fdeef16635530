package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/audit"
	"github.com/sctp-agent/sctp-agent/internal/command"
)

// --watch prints when something has changed, not because time has passed, and
// outlives an API server that is away; but not one that never was there.
func TestWatchAudit(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	looks := 0
	once := func(context.Context) (audit.Result, error) {
		looks++
		r := audit.Result{Time: time.Unix(int64(looks), 0)}
		switch looks {
		case 1, 2:
		case 3:
			return r, errors.New("the API server is away")
		case 4:
			r.Summary.Nodes = 1
		default:
			cancel()
			r.Summary.Nodes = 1
		}
		return r, nil
	}
	var shown []int
	show := func(r audit.Result) error { shown = append(shown, r.Summary.Nodes); return nil }
	var stderr bytes.Buffer
	if err := watchAudit(ctx, time.Millisecond, once, show, &stderr); err != nil {
		t.Error(err)
	}
	if len(shown) != 2 || shown[0] != 0 || shown[1] != 1 {
		t.Errorf("shown %v", shown)
	}
	if !strings.Contains(stderr.String(), "the API server is away; retrying") {
		t.Errorf("stderr %q", stderr.String())
	}

	err := watchAudit(t.Context(), time.Millisecond, func(context.Context) (audit.Result, error) {
		return audit.Result{}, errors.New("no such host")
	}, show, &stderr)
	if err == nil {
		t.Error("an API server that never answered is waited for")
	}
}

func TestAuditExit(t *testing.T) {
	critical := audit.Result{Summary: audit.Summary{Critical: 1}}
	info := audit.Result{Summary: audit.Summary{Infos: 1}}
	blind := audit.Result{Unseen: []audit.Unseen{{}}}
	for _, c := range []struct {
		r    audit.Result
		fail audit.Severity
		want error
	}{
		{audit.Result{}, audit.Warning, nil},
		{critical, audit.Critical, command.Exit(command.ExitNo)},
		{critical, "", nil},
		{info, audit.Warning, nil},
		{info, audit.Info, command.Exit(command.ExitNo)},
		{blind, audit.Warning, command.Exit(command.ExitUnknown)},
		{blind, "", nil},
		{audit.Result{Summary: critical.Summary, Unseen: blind.Unseen}, audit.Warning, command.Exit(command.ExitNo)},
	} {
		if got := auditExit(c.r, c.fail); got != c.want {
			t.Errorf("%+v, fail on %q: %v, want %v", c.r.Summary, c.fail, got, c.want)
		}
	}
}

// Only a plain yes is one; the end of input, and Ctrl-C, are not.
func TestAsk(t *testing.T) {
	for answer, want := range map[string]bool{"y\n": true, "YES\n": true, "\n": false, "": false, "n\n": false, "yes, please\n": false} {
		var out bytes.Buffer
		got, err := ask(t.Context(), strings.NewReader(answer), &out, "Remove?")
		if err != nil || got != want || out.String() != "Remove? [y/N] " {
			t.Errorf("%q: %v, %v, %q", answer, got, err, out.String())
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := ask(ctx, blocked{}, &bytes.Buffer{}, "Remove?"); got || err == nil {
		t.Errorf("interrupted: %v, %v", got, err)
	}
}

// blocked is a terminal without input.
type blocked struct{}

func (blocked) Read([]byte) (int, error) { select {} }
