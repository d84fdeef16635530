package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"
)

// Logind notices the node's shutdown through systemd-logind on the host's system
// bus (org.freedesktop.login1(5)): it holds a delay inhibitor, so that the
// shutdown waits for the agent, for at most logind's InhibitDelayMaxSec (5 s
// unless configured), and hears PrepareForShutdown.
//
// It has its own connection to the bus: go-systemd's login1 connects to the bus of
// its own process only, not to a socket below /host, and takes an inhibitor without
// a deadline.
type Logind struct {
	// Bus is the path of the system bus's socket, such as
	// /host/run/dbus/system_bus_socket.
	Bus string
}

// busTimeout bounds joining the bus, and each call on it.
const busTimeout = 5 * time.Second

const (
	login1     = "org.freedesktop.login1"
	login1Path = "/org/freedesktop/login1"
	login1Mgr  = "org.freedesktop.login1.Manager"
)

// Run notices shutdowns until ctx ends or the bus goes away.
func (l Logind) Run(ctx context.Context, notice func(Shutdown)) error {
	conn, err := dialBus(ctx, l.Bus)
	if err != nil {
		return err
	}
	defer conn.Close()
	manager := conn.Object(login1, login1Path)

	signals := make(chan *dbus.Signal, 4)
	conn.Signal(signals)
	call, cancel := context.WithTimeout(ctx, busTimeout)
	defer cancel()
	err = conn.AddMatchSignalContext(call, dbus.WithMatchInterface(login1Mgr), dbus.WithMatchMember("PrepareForShutdown"), dbus.WithMatchObjectPath(login1Path))
	if err != nil {
		return fmt.Errorf("subscribing to PrepareForShutdown: %w", err)
	}
	inhibit := func() (release func(), err error) {
		call, cancel := context.WithTimeout(ctx, busTimeout)
		defer cancel()
		var fd dbus.UnixFD
		err = manager.CallWithContext(call, login1Mgr+".Inhibit", 0,
			"shutdown", "sctp-agent", "set the label ready=false before the shutdown", "delay").Store(&fd)
		if err != nil {
			return nil, fmt.Errorf("taking a shutdown inhibitor: %w", err)
		}
		lock := os.NewFile(uintptr(fd), "inhibitor")
		return sync.OnceFunc(func() { lock.Close() }), nil
	}
	release, err := inhibit()
	if refused, ok := errors.AsType[dbus.Error](err); ok && refused.Name == login1+".OperationInProgress" {
		// The shutdown has begun already, and is not announced again: logind
		// gives no locks any more (logind-dbus.c, method_inhibit).
		release, err = func() {}, nil
		notice(Shutdown{Begins: true, Release: release})
	}
	if err != nil {
		return err
	}
	defer func() { release() }()
	// The connection ends with ctx, and may be seen to first.
	closed := func() error {
		if ctx.Err() != nil {
			return nil
		}
		return errors.New("the system bus closed the connection")
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-conn.Context().Done():
			return closed()
		case s, ok := <-signals:
			if !ok {
				return closed()
			}
			begins, ok := beginsShutdown(s)
			if !ok {
				continue
			}
			notice(Shutdown{Begins: begins, Release: release})
			if !begins {
				// Cancelled: the lock was released, the next shutdown needs a new
				// one.
				release()
				if release, err = inhibit(); err != nil {
					release = func() {}
					return err
				}
			}
		}
	}
}

func beginsShutdown(s *dbus.Signal) (begins, ok bool) {
	if s == nil || s.Name != login1Mgr+".PrepareForShutdown" || len(s.Body) != 1 {
		return false, false
	}
	begins, ok = s.Body[0].(bool)
	return begins, ok
}

func dialBus(ctx context.Context, socket string) (*dbus.Conn, error) {
	conn, err := dbus.Dial("unix:path="+socket, dbus.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("connecting to the system bus %s: %w", socket, err)
	}
	// For a bus that accepts and then does not answer.
	guard := time.AfterFunc(busTimeout, func() { conn.Close() })
	defer guard.Stop()
	if err := conn.Auth([]dbus.Auth{dbus.AuthExternal(fmt.Sprint(os.Getuid()))}); err != nil {
		conn.Close()
		return nil, fmt.Errorf("authenticating on the system bus %s: %w", socket, err)
	}
	if err := conn.Hello(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("joining the system bus %s: %w", socket, err)
	}
	return conn, nil
}

// ModulesLoadUnit describes how systemd-modules-load.service failed; "" if it did
// not, or that is not known. It is evidence only: the unit succeeds even if a
// blacklist stopped the module.
//
// go-systemd's dbus has these properties, too, by two connections and a
// subscription to all of systemd's jobs each time.
func ModulesLoadUnit(ctx context.Context, socket string) string {
	conn, err := dialBus(ctx, socket)
	if err != nil {
		return ""
	}
	defer conn.Close()
	var path dbus.ObjectPath
	err = conn.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1").
		CallWithContext(ctx, "org.freedesktop.systemd1.Manager.LoadUnit", 0, "systemd-modules-load.service").Store(&path)
	if err != nil {
		return ""
	}
	get := func(iface, name string) string {
		var v dbus.Variant
		err := conn.Object("org.freedesktop.systemd1", path).
			CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, "org.freedesktop.systemd1."+iface, name).Store(&v)
		if err != nil {
			return ""
		}
		s, _ := v.Value().(string)
		return s
	}
	if state := get("Unit", "ActiveState"); state != "failed" {
		return ""
	}
	return "failed, result " + get("Service", "Result")
}
