package probe

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// rtnetlink opens rtnetlink in the calling thread's network namespace, where
// no answer is waited for without end: the kernel has one lock for this, which
// the end of many namespaces holds for long. Only a probe's child comes here,
// and its deadline may be sooner.
func rtnetlink() (*netlink.Handle, error) {
	routes, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	if err := routes.SetSocketTimeout(10 * time.Second); err != nil {
		routes.Close()
		return nil, fmt.Errorf("bound the wait for rtnetlink: %w", err)
	}
	return routes, nil
}

// raiseLoopback raises lo in a new network namespace, where it is down and has no
// address; the kernel then adds 127.0.0.1 and ::1 (net/ipv4/devinet.c,
// inetdev_event; net/ipv6/addrconf.c, init_loopback).
func raiseLoopback() error {
	routes, err := rtnetlink()
	if err != nil {
		return fmt.Errorf("raise the loopback of the probe's network namespace: %w", err)
	}
	defer routes.Close()
	lo, err := routes.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find the loopback of the probe's network namespace: %w", err)
	}
	if err := routes.LinkSetUp(lo); err != nil {
		return fmt.Errorf("raise the loopback of the probe's network namespace: %w", err)
	}
	return nil
}

// newNamespace makes a network namespace that lasts as long as the file is
// open, or a socket in it.
func (e *env) newNamespace() (ns *os.File, err error) {
	err = apart(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a second network namespace: %w", err)
		}
		var err error
		ns, err = os.Open(filepath.Join(e.proc, "self/task", strconv.Itoa(unix.Gettid()), "ns/net"))
		return err
	})
	return ns, err
}

// within calls f in a thread that is in the network namespace.
func within(ns *os.File, f func() error) error {
	return apart(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the second network namespace: %w", err)
		}
		return f()
	})
}

// apart calls f in a thread of its own, which ends with it.
func apart(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: so the thread ends
		if unix.Gettid() != unix.Getpid() {
			done <- f()
			return
		}
		// The first thread does not end, and it is the one that /proc/self
		// speaks of. While this holds it, the next is another.
		defer runtime.UnlockOSThread()
		done <- apart(f)
	}()
	return <-done
}

// links are pairs of Ethernet devices (veth(4)) between the probe's network
// namespace and a second one, each pair a network of two hosts.
type links struct {
	ns          *os.File
	here, there *netlink.Handle
}

// newLinks makes n of them. The probe loads no module, so they must be in the
// kernel, as they are on every node that runs containers.
func (e *env) newLinks(n byte) (l *links, err error) {
	if _, err := os.Stat("/sys/module/veth"); err != nil {
		return nil, skip("needs links, whose module (veth) is not loaded, and the probe loads none")
	}
	l = &links{}
	defer func() {
		if err != nil {
			l.close()
			err = undecided("", err, "")
		}
	}()
	if l.ns, err = e.newNamespace(); err != nil {
		return l, err
	}
	if l.here, err = rtnetlink(); err != nil {
		return l, err
	}
	if err = within(l.ns, func() (err error) {
		l.there, err = rtnetlink()
		return err
	}); err != nil {
		return l, err
	}
	for i := range n {
		pair := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: linkName(i)},
			PeerName:  linkName(i), PeerNamespace: netlink.NsFd(l.ns.Fd()),
		}
		if err = l.here.LinkAdd(pair); err != nil {
			return l, fmt.Errorf("make a pair of links: %w", err)
		}
		if err = raise(l.here, i, 1); err != nil {
			return l, err
		}
		if err = raise(l.there, i, 2); err != nil {
			return l, err
		}
	}
	for i := range n {
		if err = e.carries(l.here, i); err != nil {
			return l, err
		}
		if err = e.carries(l.there, i); err != nil {
			return l, err
		}
	}
	return l, nil
}

func linkName(i byte) string { return fmt.Sprintf("sctpprobe%d", i) }

// linkAddress is the address of the end, 1 or 2, of pair i: in networks that
// are for examples (RFC 5737), of four addresses each.
func linkAddress(i, end byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, 4*i + end}) }

func raise(routes *netlink.Handle, i, end byte) error {
	link, err := routes.LinkByName(linkName(i))
	if err != nil {
		return fmt.Errorf("find %s: %w", linkName(i), err)
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: linkAddress(i, end).AsSlice(), Mask: net.CIDRMask(30, 32)}}
	if err := routes.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("give %s an address: %w", linkName(i), err)
	}
	if err := routes.LinkSetUp(link); err != nil {
		return fmt.Errorf("raise %s: %w", linkName(i), err)
	}
	return nil
}

// carries waits until the kernel lets packets out of a link: a moment after
// both its ends are up, in the background (net/core/link_watch.c).
func (e *env) carries(routes *netlink.Handle, i byte) error {
	for end := time.Now().Add(e.step); ; time.Sleep(time.Millisecond) {
		link, err := routes.LinkByName(linkName(i))
		if err != nil {
			return fmt.Errorf("find %s: %w", linkName(i), err)
		}
		if link.Attrs().OperState == netlink.OperUp {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s does not come up: it is %s", linkName(i), link.Attrs().OperState)
		}
	}
}

// cut takes the far end of a pair down.
func (l *links) cut(i byte) error {
	link, err := l.there.LinkByName(linkName(i))
	if err == nil {
		err = l.there.LinkSetDown(link)
	}
	if err != nil {
		return undecided("", err, "take %s down", linkName(i))
	}
	return nil
}

// close lets the kernel take the namespace down, and with it the links, as
// soon as no socket is in it.
func (l *links) close() {
	for _, routes := range []*netlink.Handle{l.here, l.there} {
		if routes != nil {
			routes.Close()
		}
	}
	if l.ns != nil {
		l.ns.Close()
	}
}
