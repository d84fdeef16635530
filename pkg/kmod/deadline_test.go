package kmod_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/sctp-agent/sctp-agent/internal/hostcase"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// slowFS takes its time for every look at a file, and does not care who waits.
type slowFS struct {
	fstest.MapFS
	look  time.Duration
	looks *atomic.Int64
}

func (s slowFS) Open(name string) (fs.File, error) {
	time.Sleep(s.look)
	return s.MapFS.Open(name)
}

// Stat, which MapFS has, would be the quick way to the root.
func (s slowFS) Stat(name string) (fs.FileInfo, error) {
	time.Sleep(s.look)
	return s.MapFS.Stat(name)
}

func (s slowFS) Lstat(name string) (fs.FileInfo, error) {
	s.looks.Add(1)
	time.Sleep(s.look)
	return s.MapFS.Lstat(name)
}

// TestDeadline: in virtual time, where nothing else takes any, an inspection of
// a file system that answers slowly or hangs ends when its context does, and what
// it leaves looks at no further name.
func TestDeadline(t *testing.T) {
	for name, look := range map[string]time.Duration{"slow": 30 * time.Millisecond, "hangs": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := hostcase.Case{Modules: []hostcase.Module{{Name: "sctp", File: "kernel/net/sctp/sctp.ko"}}}
				var looks atomic.Int64
				const deadline = 100 * time.Millisecond
				ctx, cancel := context.WithTimeout(t.Context(), deadline)
				defer cancel()
				start := time.Now()
				_, err := kmod.Inspect(ctx, kmod.Options{FS: slowFS{c.FS(), look, &looks}}, kmod.SCTP())
				if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != deadline {
					t.Errorf("after %v: %v", took, err)
				}
				synctest.Wait()
				before := looks.Load()
				time.Sleep(24 * time.Hour)
				if after := looks.Load(); after > before+10 { // the rest of one name, component by component
					t.Errorf("%d looks after the deadline", after-before)
				}
			})
		})
	}
}

// TestDeadlineOfMuchWork: an inspection that computes ends with its context, too:
// what is left of it takes far less than what it would have taken.
func TestDeadlineOfMuchWork(t *testing.T) {
	c := hostcase.Case{Modules: []hostcase.Module{{Name: "sctp", File: "kernel/net/sctp/sctp.ko"}}}
	c.Entries = []hostcase.Entry{
		file("etc/modules-load.d/x.conf", numbered("a%d\n", 30000)),
		file("etc/modprobe.d/x.conf", strings.Repeat("alias a1* sctp\n", 60000)),
	}
	opts := kmod.Options{FS: c.FS(), KmodVersion: 28, SystemdVersion: 252}
	// A machine that pauses spoils one try, not all of them.
	var last string
	for range 20 {
		start := time.Now()
		if _, err := kmod.Inspect(t.Context(), opts, kmod.SCTP()); err != nil {
			t.Fatal(err)
		}
		whole := time.Since(start)
		ctx, cancel := context.WithTimeout(t.Context(), whole/10)
		start = time.Now()
		_, err := kmod.Inspect(ctx, opts, kmod.SCTP())
		took := time.Since(start)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && took <= whole/2 {
			return
		}
		last = fmt.Sprintf("%v after %v of %v, with a deadline after a tenth", err, took, whole)
	}
	t.Error(last)
}
