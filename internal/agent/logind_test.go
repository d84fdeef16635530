package agent

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// systemBus starts a message bus of its own.
func systemBus(t *testing.T) (socket string) {
	t.Helper()
	daemon, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("needs dbus-daemon (Debian package dbus-daemon)")
	}
	dir := t.TempDir()
	socket = filepath.Join(dir, "bus")
	conf := filepath.Join(dir, "bus.conf")
	err = os.WriteFile(conf, []byte(`<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path=`+socket+`</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/><allow user="*"/></policy></busconfig>`), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(daemon, "--config-file="+conf, "--nofork", "--print-address")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if !bufio.NewScanner(out).Scan() {
		t.Fatal("dbus-daemon does not start")
	}
	return socket
}

// fakeLogin1 stands in for systemd-logind: it gives out the writing end of a pipe,
// and the other end shows when that is closed everywhere.
type fakeLogin1 struct {
	locks chan lock
	err   *dbus.Error
}

// lock is an inhibitor that was handed out.
type lock struct {
	read *os.File
	// ours is the writing end, to be closed once the agent has its copy: until
	// the message is sent it is this one that it carries.
	ours *os.File
}

func (l *fakeLogin1) Inhibit(what, who, why, mode string) (dbus.UnixFD, *dbus.Error) {
	if l.err != nil {
		return 0, l.err
	}
	if what != "shutdown" || mode != "delay" || who == "" || why == "" {
		return 0, dbus.MakeFailedError(errors.New("bad arguments"))
	}
	r, w, err := os.Pipe()
	if err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	fd := dbus.UnixFD(w.Fd())
	l.locks <- lock{read: r, ours: w}
	return fd, nil
}

// start makes it the logind of a bus of its own.
func (l *fakeLogin1) start(t *testing.T) (socket string, conn *dbus.Conn) {
	t.Helper()
	socket = systemBus(t)
	conn, err := dialBus(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.Export(l, login1Path, login1Mgr); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName(login1, 0); err != nil {
		t.Fatal(err)
	}
	return socket, conn
}

// released waits until the lock is not held any more.
func (l lock) released(limit time.Duration) bool {
	_ = l.read.SetReadDeadline(time.Now().Add(limit))
	_, err := l.read.Read(make([]byte, 1))
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

func TestLogind(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	login := &fakeLogin1{locks: make(chan lock, 4)}
	socket, conn := login.start(t)
	notices := make(chan Shutdown)
	ended := make(chan error, 1)
	run, stop := context.WithCancel(ctx)
	go func() { ended <- Logind{Bus: socket}.Run(run, func(s Shutdown) { notices <- s }) }()

	prepare := func(begins bool) {
		t.Helper()
		if err := conn.Emit(login1Path, login1Mgr+".PrepareForShutdown", begins); err != nil {
			t.Fatal(err)
		}
	}
	// begun is the notice of a shutdown that begins, before which the agent has
	// got the lock.
	begun := func(l lock) Shutdown {
		t.Helper()
		prepare(true)
		s := <-notices
		l.ours.Close()
		if !s.Begins || l.released(200*time.Millisecond) {
			t.Fatal("the lock is not held, or was let go before the agent said so")
		}
		return s
	}
	const soon = time.Minute // a limit for a lock that is never released

	first := <-login.locks
	begun(first).Release()
	if !first.released(soon) {
		t.Fatal("the lock is still held after its release: the shutdown hangs")
	}
	prepare(false)
	if s := <-notices; s.Begins {
		t.Fatal("a shutdown that was called off looks like one that begins")
	}
	second := <-login.locks
	begun(second) // there is a new lock after the shutdown was called off
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !second.released(soon) {
		t.Error("the lock outlives the watch")
	}
}

// An agent that is started while the node shuts down learns that: it gets no lock
// any more, and a signal only if the shutdown is cancelled.
func TestLogindInTheMiddle(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	login := &fakeLogin1{locks: make(chan lock, 4), err: dbus.NewError("org.freedesktop.login1.OperationInProgress", []any{"The operation inhibition has been requested for is already running"})}
	socket, _ := login.start(t)
	notices := make(chan Shutdown, 1)
	ended := make(chan error, 1)
	run, stop := context.WithCancel(ctx)
	go func() { ended <- Logind{Bus: socket}.Run(run, func(s Shutdown) { notices <- s }) }()
	select {
	case s := <-notices:
		if !s.Begins {
			t.Error("a shutdown that has begun looks like one that was called off")
		}
		s.Release()
	case err := <-ended:
		t.Fatalf("not noticed: %v", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Without a bus, with a bus without logind, and with a logind that refuses,
// there is an error and no hang.
func TestLogindUnavailable(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := (Logind{Bus: filepath.Join(t.TempDir(), "none")}).Run(ctx, nil); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("no bus: %v", err)
	}
	socket := systemBus(t)
	if err := (Logind{Bus: socket}).Run(ctx, nil); err == nil {
		t.Error("no logind: no error")
	}
	if got := ModulesLoadUnit(ctx, socket); got != "" {
		t.Errorf("no systemd: %q", got)
	}
}
