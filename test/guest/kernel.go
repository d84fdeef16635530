package guest

import (
	"fmt"

	"github.com/sctp-agent/sctp-agent/test/debian"
)

// Kernel names a kernel with the user space of the Debian release that it
// comes from: its kmod and its systemd-modules-load.
type Kernel string

const (
	Linux510 Kernel = "5.10" // kmod 28, systemd 247
	Linux61  Kernel = "6.1"  // kmod 30, systemd 252
	Linux612 Kernel = "6.12" // kmod 34, systemd 257
	// Linux612RT is 6.12 with PREEMPT_RT.
	Linux612RT Kernel = "6.12-rt"
	// LinuxTesting is the kernel of Debian's testing suite: 7.2, with kmod 34 and
	// systemd 262, in November 2026.
	LinuxTesting Kernel = "testing"

	Linux510ARM64 Kernel = "5.10-arm64"
	Linux612ARM64 Kernel = "6.12-arm64"
	Linux61S390X  Kernel = "6.1-s390x"
)

// machine is what a kernel needs around it.
type machine struct {
	suite   debian.Suite
	arch    string // Debian's and Go's name
	triplet string // directory of shared libraries
	image   string // package of the kernel
	// modulesLoad is the package of systemd-modules-load.
	modulesLoad string
	qemu        []string
	console     string
	// cmdline is what the kernel needs to be told.
	cmdline string
	// bus is the suffix of QEMU's virtio devices.
	bus string
	// own are the modules that the guest itself needs.
	own []string
}

func (k Kernel) machine() (machine, error) {
	suites := map[Kernel]debian.Suite{
		Linux510: debian.Bullseye, Linux510ARM64: debian.Bullseye,
		Linux61: debian.Bookworm, Linux61S390X: debian.Bookworm,
		Linux612: debian.Trixie, Linux612RT: debian.Trixie, Linux612ARM64: debian.Trixie,
		LinuxTesting: debian.Forky,
	}
	suite, ok := suites[k]
	if !ok {
		return machine{}, fmt.Errorf("no such kernel: %q", string(k))
	}
	m := machine{suite: suite, modulesLoad: "systemd"}
	if suite == debian.Forky {
		m.modulesLoad = "udev"
	}
	switch k {
	case Linux510ARM64, Linux612ARM64:
		m.arch, m.triplet, m.image = "arm64", "aarch64-linux-gnu", "linux-image-cloud-arm64"
		m.qemu = []string{"qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a57"}
		m.console, m.bus = "ttyAMA0", "pci"
		m.own = []string{"virtio_pci", "virtio_console", "virtio_net"}
	case Linux61S390X:
		m.arch, m.triplet, m.image = "s390x", "s390x-linux-gnu", "linux-image-s390x"
		m.qemu = []string{"qemu-system-s390x", "-machine", "s390-ccw-virtio"}
		m.console, m.bus = "ttysclp0", "ccw"
		m.own = []string{"virtio_console", "virtio_net"} // virtio_ccw is built in, and no module could be it
	default:
		m.arch, m.triplet, m.image = "amd64", "x86_64-linux-gnu", "linux-image-cloud-amd64"
		m.qemu = []string{"qemu-system-x86_64", "-machine", "q35", "-cpu", "qemu64"}
		m.console, m.bus = "ttyS0", "pci"
		// An emulated timer on a busy machine is late; the kernel would call
		// it broken and panic (arch/x86/kernel/apic/io_apic.c, check_timer).
		m.cmdline = "no_timer_check"
		m.own = []string{"virtio_pci", "virtio_console", "virtio_net"}
		if k == Linux612RT {
			m.image = "linux-image-rt-amd64"
		}
	}
	return m, nil
}
