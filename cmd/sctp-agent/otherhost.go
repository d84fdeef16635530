package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/sctp-agent/sctp-agent/internal/hostroot"
	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// refuseOtherHost is an error if the root is not that of the machine whose kernel
// would be used, unless a kernel release is given: then that is intended.
func refuseOtherHost(host kmod.Options) error {
	if host.KernelRelease != "" {
		return nil
	}
	if why := otherHost(host); why != "" {
		return fmt.Errorf("--root %s is not the root of this machine (%s), so its files do not belong to this machine's kernel: judge it by its files with \"kubectl sctp host %s\", "+
			"or give --kernel-release to check it with this machine's /proc and /sys", host.Root, why, host.Root)
	}
	return nil
}

// initialPIDs is the PID namespace of the machine itself, in which nearly no
// container is (PROC_PID_INIT_INO in the kernel's include/linux/proc_ns.h).
const initialPIDs = "pid:[4026531836]"

// otherHost is why a root is not this machine's, "" if nothing shows that.
func otherHost(host kmod.Options) string {
	theirs, err := os.Stat(host.Root)
	if err != nil || !theirs.IsDir() {
		return "" // the report has this error
	}
	if sameFile("/", host.Root) {
		return ""
	}
	root, err := hostroot.Open(host.Root)
	if err != nil {
		return ""
	}
	defer root.Close()
	if _, err := root.Stat("/sos_commands"); err == nil {
		return "it is a sosreport"
	}
	const bootID = "/proc/sys/kernel/random/boot_id"
	ours, err := os.ReadFile(filepath.Join(host.Proc, "sys/kernel/random/boot_id"))
	if f, openErr := root.Open(bootID); err == nil && openErr == nil {
		defer f.Close()
		if theirs, err := f.ReadAll(256); err == nil {
			if string(theirs) == string(ours) {
				return "" // the machine's root, mounted into a container with what is mounted in it
			}
			return "its " + bootID + " is of another boot"
		}
	}
	// In a container, with the host's PID namespace or without, only some of a
	// host's root may be mounted; and only root may read init's.
	if pids, err := os.Readlink("/proc/self/ns/pid"); err != nil || pids != initialPIDs || !sameFile("/", "/proc/1/root") {
		return ""
	}
	return "that is /"
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
