package agent

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// serviceManager listens as systemd does for sd_notify(3).
func serviceManager(t *testing.T) *net.UnixConn {
	t.Helper()
	// Not t.TempDir: a socket's path has 108 bytes.
	dir, err := os.MkdirTemp("", "notify-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "socket")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return conn
}

// told is the next message to the service manager, "" if there is none in time.
func told(t *testing.T, conn *net.UnixConn, limit time.Duration) string {
	t.Helper()
	buf := make([]byte, 4096)
	_ = conn.SetReadDeadline(time.Now().Add(limit))
	n, err := conn.Read(buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// As a systemd service, the agent is ready once the Node has a conclusive report,
// not before, and announces when it stops.
func TestNotifyReadiness(t *testing.T) {
	conn := serviceManager(t)
	var concluded atomic.Bool
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		New(Config{}).NotifySystemd(ctx, concluded.Load)
	}()
	if got := told(t, conn, time.Minute); !strings.HasPrefix(got, "STATUS=") {
		t.Fatalf("first words: %q", got)
	}
	if got := told(t, conn, 1500*time.Millisecond); got != "" {
		t.Fatalf("%q before anything was concluded", got)
	}
	concluded.Store(true)
	if got := told(t, conn, time.Minute); !strings.HasPrefix(got, "READY=1\n") {
		t.Fatalf("after the first conclusion: %q", got)
	}
	// No watchdog is configured: there are no further messages.
	<-done
	if got := told(t, conn, 50*time.Millisecond); got != "" {
		t.Errorf("%q without a watchdog", got)
	}
	stop()
}

// The watchdog is fed while the loop makes progress, and starves when it does
// not.
func TestNotifyWatchdog(t *testing.T) {
	conn := serviceManager(t)
	t.Setenv("WATCHDOG_USEC", "300000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	a := New(Config{})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.NotifySystemd(ctx, func() bool { return true })
	}()
	fed := 0
	for fed < 3 {
		got := told(t, conn, time.Minute)
		if got == "" {
			t.Fatalf("fed %d times", fed)
		}
		if got == "WATCHDOG=1" {
			fed++
		}
	}
	// As if it had last come round long ago.
	a.progress.Store(-int64(24 * time.Hour))
	for told(t, conn, time.Second) != "" {
	}
	a.alive()
	if got := told(t, conn, time.Minute); got != "WATCHDOG=1" {
		t.Errorf("%q after the loop came round again", got)
	}
	stop()
	// It is fed until it has seen that: what is not read keeps it waiting, once
	// there are ten messages (net.unix.max_dgram_qlen).
	last := ""
	for last != "STOPPING=1" {
		got := told(t, conn, time.Minute)
		if got == "" {
			t.Fatalf("last words: %q", last)
		}
		last = got
	}
	<-done
	if got := told(t, conn, 50*time.Millisecond); got != "" {
		t.Errorf("%q after the last words", got)
	}
}

// fakeSystemd stands in for systemd's manager and its unit
// (org.freedesktop.systemd1(5)).
type fakeSystemd struct{ asked chan string }

const fakeUnit = dbus.ObjectPath("/org/freedesktop/systemd1/unit/systemd_2dmodules_2dload_2eservice")

func (s fakeSystemd) LoadUnit(name string) (dbus.ObjectPath, *dbus.Error) {
	s.asked <- name
	return fakeUnit, nil
}

// fakeProperties are a unit's, as org.freedesktop.DBus.Properties gives them.
type fakeProperties map[string]string

func (p fakeProperties) Get(iface, name string) (dbus.Variant, *dbus.Error) {
	value, ok := p[iface+"."+name]
	if !ok {
		return dbus.Variant{}, dbus.NewError("org.freedesktop.DBus.Error.UnknownProperty", nil)
	}
	return dbus.MakeVariant(value), nil
}

// systemd's state of systemd-modules-load.service is reported when the unit failed,
// and only then.
func TestModulesLoadUnit(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for _, c := range []struct {
		name       string
		properties fakeProperties
		want       string
	}{
		{"failed", fakeProperties{
			"org.freedesktop.systemd1.Unit.ActiveState": "failed", "org.freedesktop.systemd1.Service.Result": "exit-code",
		}, "failed, result exit-code"},
		{"active", fakeProperties{
			"org.freedesktop.systemd1.Unit.ActiveState": "active", "org.freedesktop.systemd1.Service.Result": "success",
		}, ""},
		{"condition not met", fakeProperties{
			"org.freedesktop.systemd1.Unit.ActiveState": "inactive", "org.freedesktop.systemd1.Service.Result": "success",
		}, ""},
		{"no such property", fakeProperties{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			socket := systemBus(t)
			conn, err := dialBus(ctx, socket)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			systemd := fakeSystemd{asked: make(chan string, 1)}
			if err := conn.Export(systemd, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"); err != nil {
				t.Fatal(err)
			}
			if err := conn.Export(c.properties, fakeUnit, "org.freedesktop.DBus.Properties"); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.RequestName("org.freedesktop.systemd1", 0); err != nil {
				t.Fatal(err)
			}
			if got := ModulesLoadUnit(ctx, socket); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			if unit := <-systemd.asked; unit != "systemd-modules-load.service" {
				t.Errorf("asked about %s", unit)
			}
		})
	}
}
