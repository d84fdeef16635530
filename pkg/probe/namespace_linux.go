package probe

import (
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// raiseLoopback raises lo in a new network namespace, where it is down and has
// no address; the kernel then gives it 127.0.0.1 and ::1 by itself
// (net/ipv4/devinet.c, inetdev_event; net/ipv6/addrconf.c, init_loopback).
func raiseLoopback() error {
	routes, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("raise the loopback of the probe's network namespace: %w", err)
	}
	defer routes.Close()
	if err := routes.SetSocketTimeout(time.Second); err != nil {
		return fmt.Errorf("bound the wait for rtnetlink: %w", err)
	}
	lo, err := routes.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find the loopback of the probe's network namespace: %w", err)
	}
	if err := routes.LinkSetUp(lo); err != nil {
		return fmt.Errorf("raise the loopback of the probe's network namespace: %w", err)
	}
	return nil
}
