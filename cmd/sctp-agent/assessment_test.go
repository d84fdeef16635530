package main

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/assess"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
	"github.com/sctp-agent/sctp-agent/pkg/probe"
	"github.com/sctp-agent/sctp-agent/pkg/verdict"
)

func newAssessor(program string) *assessor {
	return &assessor{
		assessment: assessment{Options: assess.Options{
			Node: "n", Host: kmod.Options{Root: "/", KernelRelease: "1.2.3-other", KmodVersion: 30}, Probe: probe.Options{Suite: "full"},
		}},
		looked: func(kmod.Looked) {}, program: program, alone: make(chan struct{}, 1),
	}
}

// withProcess makes an assessment that may take a minute.
func (a *assessor) withProcess(t *testing.T) verdict.Report {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return a.assess(ctx)
}

// An assessment in a process of its own has the options of run, and its report is the
// one that this process would make.
func TestAssessInProcess(t *testing.T) {
	root := hostTree(t, map[string]string{
		"etc/os-release":                     "ID=debian\nVERSION_ID=12\n",
		"etc/modprobe.d/sctp-blacklist.conf": "blacklist sctp\ninstall sctp /bin/false\n",
		"etc/modules-load.d/sctp-load.conf":  "sctp",
	})
	a := newAssessor(program.Path)
	a.Options.Host.Root = root
	var looked, wantLooked kmod.Looked
	a.looked = func(at kmod.Looked) { looked = at }
	got := a.withProcess(t)
	a.Options.Host.Looked = func(at kmod.Looked) { wantLooked = at }
	want := assess.Assess(t.Context(), a.Options)
	for _, r := range []*verdict.Report{&got, &want} {
		r.Probe.DurationMicros = 0
		for i := range r.Probe.Checks {
			r.Probe.Checks[i].DurationMicros = 0
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("by the process:\n%+v\nby this one:\n%+v", got, want)
	}
	if !reflect.DeepEqual(looked, wantLooked) || len(looked.Lists) == 0 {
		t.Errorf("looked at %+v, want %+v", looked, wantLooked)
	}
	if got.Node != "n" || got.Kernel.Release != "1.2.3-other" || got.Host.Kmod != "30" || got.Probe.Suite != "full" || len(got.Policy.Autoload.Evidence) == 0 {
		t.Errorf("%+v", got)
	}
}

// A process that fails makes the answer unknown, with the reason, and the next one is
// asked as if nothing had been.
func TestAssessProcessFails(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"ends", "exit 3", "exit status 3"},
		{"killed half-way", `echo '{"Report":'; kill -9 $$`, "signal: killed"},
		{"nonsense", "echo nonsense", "invalid character"},
		{"silent", "cat", "EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			script := filepath.Join(t.TempDir(), "program")
			a := newAssessor(script)
			for range 2 {
				if err := os.WriteFile(script, []byte("#!/bin/sh\ncat >/dev/null; "+c.script+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
				r := a.withProcess(t)
				if r.Ready != kmod.AnswerUnknown || r.Reason != verdict.ReasonInspectionFailed || r.Node != "n" || !strings.Contains(r.Message, c.want) {
					t.Errorf("%s %s: %s", r.Ready, r.Reason, r.Message)
				}
			}
			a.program = program.Path
			if r := a.withProcess(t); r.Reason == verdict.ReasonInspectionFailed {
				t.Errorf("afterwards: %s", r.Message)
			}
		})
	}
	if r := newAssessor("/does/not/exist").withProcess(t); !strings.Contains(r.Message, "no such file") {
		t.Errorf("%s: %s", r.Reason, r.Message)
	}
}

// A process that does not end is killed, and none is started beside one that has not
// ended yet.
func TestAssessProcessHangs(t *testing.T) {
	started := filepath.Join(t.TempDir(), "started")
	script := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n: >"+started+"; exec sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	a := newAssessor(script)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for {
			if _, err := os.Stat(started); err == nil {
				cancel()
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if r := a.assess(ctx); r.Ready != kmod.AnswerUnknown || !strings.Contains(r.Message, "does not end") {
		t.Errorf("%s: %s", r.Ready, r.Message)
	}
	a.alone <- struct{}{} // the process was killed, and has ended
	if r := a.assess(ctx); r.Ready != kmod.AnswerUnknown || !strings.Contains(r.Message, "the one before has not ended") {
		t.Errorf("%s: %s", r.Ready, r.Message)
	}
	<-a.alone
	a.program = program.Path
	if r := a.withProcess(t); r.Reason == verdict.ReasonInspectionFailed {
		t.Errorf("afterwards: %s", r.Message)
	}
}

// A process whose thread hangs in the kernel has given its answer, although its end of
// the pipe stays open.
func TestAssessAnswersBeforeItEnds(t *testing.T) {
	script := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"+program.Path+" \"$@\"\nexec sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if r := newAssessor(script).withProcess(t); r.Reason == verdict.ReasonInspectionFailed {
		t.Errorf("%s", r.Message)
	}
}
