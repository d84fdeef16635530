package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// ModuleEvents is the trigger of kernel modules that come and go: the kernel
// announces each by a uevent ("add@/module/sctp", lib/kobject_uevent.c) on
// netlink, to every network namespace of the initial user namespace. No
// privilege is needed.
//
// Kernels before 5.13 announce a module before its initialisation has run, later
// ones after it (kernel/module/main.c, do_init_module); the agent looks again
// while the module is in transition.
type ModuleEvents struct {
	// Modules by name; others are ignored.
	Modules []string
}

// Name of the trigger.
func (ModuleEvents) Name() string { return "uevent" }

// kernelGroup is the multicast group of the kernel's own uevents; udev relays
// them on another one.
const kernelGroup = 1

// Run fires until ctx ends.
func (t ModuleEvents) Run(ctx context.Context, fire func(string)) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return fmt.Errorf("opening a netlink socket for uevents: %w", err)
	}
	f := os.NewFile(uintptr(fd), "uevent")
	defer f.Close()
	if err := attachModuleFilter(fd); err != nil {
		return fmt.Errorf("filtering uevents: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: kernelGroup}); err != nil {
		return fmt.Errorf("subscribing to uevents: %w", err)
	}
	defer context.AfterFunc(ctx, func() { f.Close() })()
	// What happened before the subscription.
	fire("module watch started")
	conn, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("reading uevents: %w", err)
	}
	// UEVENT_BUFFER_SIZE of include/linux/kobject.h is 2048.
	buf := make([]byte, 4096)
	for {
		var n int
		var from unix.Sockaddr
		var rerr error
		err := conn.Read(func(fd uintptr) bool {
			n, from, rerr = unix.Recvfrom(int(fd), buf, 0)
			return rerr != unix.EAGAIN && rerr != unix.EINTR
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("reading uevents: %w", err)
		case errors.Is(rerr, unix.ENOBUFS):
			// netlink(7): the socket's buffer overflowed, something was
			// missed.
			fire("uevents lost")
			continue
		case rerr != nil:
			return fmt.Errorf("reading uevents: %w", rerr)
		}
		if sa, ok := from.(*unix.SockaddrNetlink); !ok || sa.Pid != 0 {
			continue // not from the kernel
		}
		if action, module, ok := parseModuleEvent(buf[:n]); ok && slices.Contains(t.Modules, module) {
			fire("module " + module + ": " + action)
		}
	}
}

// parseModuleEvent reads "ACTION@/module/NAME", which ends at the first NUL.
func parseModuleEvent(msg []byte) (action, module string, ok bool) {
	head, _, _ := bytes.Cut(msg, []byte{0})
	a, path, ok := bytes.Cut(head, []byte("@/module/"))
	if !ok || bytes.ContainsRune(path, '/') || len(path) == 0 {
		return "", "", false
	}
	return string(a), string(path), true
}

// attachModuleFilter passes only "add@/mod…" and "remove@/mod…" to the socket: a
// busy node has many uevents (every container's network device), which must not
// wake the agent.
func attachModuleFilter(fd int) error {
	word := func(s string) uint32 {
		return uint32(s[0])<<24 | uint32(s[1])<<16 | uint32(s[2])<<8 | uint32(s[3])
	}
	program, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: word("add@"), SkipTrue: 3},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: word("remo"), SkipTrue: 5},
		bpf.LoadAbsolute{Off: uint32(len("remove@")), Size: 4},
		bpf.Jump{Skip: 1},
		bpf.LoadAbsolute{Off: uint32(len("add@")), Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: word("/mod"), SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(program))
	for i, in := range program {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}
