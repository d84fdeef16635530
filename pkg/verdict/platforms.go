package verdict

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// Platform is a kind of host: how SCTP is enabled there, where the module comes
// from, and what a reboot means. Everything that differs by platform is in
// [Platforms], and nowhere else.
type Platform struct {
	// Name is host.platform of the report.
	Name string
	// Source documents the row.
	Source string

	// matches reports whether a host is of this platform. The first matching row of
	// the table counts.
	matches func(kmod.Userland) bool
	// way is how configuration is made to last.
	way way
	// bootSource is what loads modules at boot and cannot be seen in the host's
	// root, "" where modules-load.d and the command line are all there is.
	bootSource string
	// declare is how the declaration of a system asks for a module, %[1]s, and rebuild the
	// command that applies it.
	declare, rebuild string
	// packages names the package that has the module for a kernel, "" where no
	// package is known.
	packages func(u kmod.Userland, release string) string
	// install is the command that installs a package; the name follows.
	install string
	// layer is where a package is put on a platform whose /usr is read-only, and
	// from which it takes effect with a reboot; "" where a package is installed
	// into the running system.
	layer string
	// blacklists is the file in which the package with the module blacklists it, for a
	// kernel; nil where it does not.
	blacklists func(release string) string
	// missing is what to do on a platform whose own kernel has the module, and
	// yet this one has none.
	missing string
	// argument is the command that removes a kernel argument; the argument
	// follows. "" where no single command does.
	argument string
	// argumentAt is where kernel arguments are set where no command removes
	// one.
	argumentAt string
	// reboot is the command that reboots, "" for the usual one.
	reboot string
}

// way is how the configuration of a platform is made to last.
type way int

const (
	// byFiles: files below /etc last, and are written by hand or by a tool.
	byFiles way = iota
	// byIgnition: files below /etc last; new hosts get them from Ignition.
	byIgnition
	// byMachineConfig: the Machine Config Operator writes files below /etc, and
	// undoes what others write.
	byMachineConfig
	// byTalosConfig: the machine configuration names the modules.
	byTalosConfig
	// byBottlerocketSettings: /etc is generated from the API's settings.
	byBottlerocketSettings
	// byStartup: /etc is empty memory at each boot; what starts then loads the
	// module.
	byStartup
	// byDeclaration: /etc is generated from a declaration of the whole system.
	byDeclaration
)

// Platforms is the table, in the order in which a host is compared with it. The
// last row matches every host, and its name is the host's os-release ID.
func Platforms() []Platform {
	id := func(ids ...string) func(kmod.Userland) bool {
		return func(u kmod.Userland) bool { return slices.Contains(ids, u.ID) }
	}
	const grubby = "grubby --update-kernel=ALL --remove-args="
	const redHatArticle = "https://access.redhat.com/articles/3760101"
	// Of SUSE's systems with systemd-boot or GRUB's entries of its kind.
	const sdbootutil = ", or with sdbootutil in /etc/kernel/cmdline (then run sdbootutil update-all-entries)"
	const updateGrub = "/etc/default/grub or /etc/default/grub.d (then run update-grub), on a Raspberry Pi in /boot/firmware/cmdline.txt"
	redHat := func(name, source string) Platform {
		return Platform{
			Name: name, Source: source, matches: id(name),
			packages: redHatPackage, install: "dnf install", blacklists: usualBlacklist, argument: grubby,
		}
	}
	return []Platform{
		{
			// OPENSHIFT_VERSION and ID=rhcos up to 4.18; from 4.19 on a RHEL of
			// the variant coreos, below which OpenShift is a layer
			// (openshift/enhancements, rhcos/split-rhcos-into-layers.md).
			Name:   "openshift",
			Source: "https://docs.redhat.com/en/documentation/openshift_container_platform/4.22/html/advanced_networking/using-sctp",
			matches: func(u kmod.Userland) bool {
				return u.OpenShiftVersion != "" || u.ID == "rhcos" || u.ID == "scos" ||
					(u.ID == "rhel" || u.ID == "centos") && u.VariantID == "coreos"
			},
			way: byMachineConfig, argumentAt: "the MachineConfig that sets it (the Machine Config Operator then reboots the pool's nodes)",
			missing: "OpenShift's own kernel has the module: check with \"rpm-ostree status\" that the node runs the release's kernel with its kernel-modules-extra " +
				"(a real-time kernel comes with kernel-rt-modules-extra if a MachineConfig sets kernelType: realtime)",
		},
		{
			Name:    "fedora-coreos",
			Source:  "https://docs.fedoraproject.org/en-US/fedora-coreos/kernel-args/",
			matches: func(u kmod.Userland) bool { return u.ID == "fedora" && u.VariantID == "coreos" },
			way:     byIgnition, argument: "rpm-ostree kargs --delete=",
			missing: "Fedora CoreOS's own kernel has the module (package kernel-modules): check with \"rpm-ostree status\" that the node runs a release's kernel with it",
		},
		{
			Name: "flatcar", Source: "https://www.flatcar.org/docs/latest/setup/customization/other-settings/", matches: id("flatcar"),
			way: byIgnition, missing: "Flatcar's own kernel has the module: update to a current release", argumentAt: "/oem/grub.cfg",
		},
		{
			Name: "talos", Source: "https://www.talos.dev/latest/reference/configuration/v1alpha1/config/", matches: id("talos"),
			way: byTalosConfig, bootSource: "machine.kernel.modules of the machine configuration",
			missing: "upgrade to a Talos release whose kernel has the module, or add a system extension that brings it",
			// A unified kernel image has its arguments in it; both need an upgrade
			// (https://docs.siderolabs.com/talos/v1.11/platform-specific-installations).
			argumentAt: "machine.install.extraKernelArgs of the machine configuration where GRUB boots, else customization.extraKernelArgs of the image's schematic (then run talosctl upgrade)", reboot: "talosctl -n NODE reboot",
		},
		{
			Name: "bottlerocket", Source: "https://bottlerocket.dev/en/os/latest/api/settings/kernel/", matches: id("bottlerocket"),
			way: byBottlerocketSettings, missing: "Bottlerocket's own kernel has the module: update to a current release",
			argumentAt: "settings.boot.kernel-parameters", reboot: "apiclient reboot",
		},
		{
			Name: "cos", Source: "https://cloud.google.com/container-optimized-os/docs/concepts/disks-and-filesystem", matches: id("cos"),
			way: byStartup, bootSource: "a start-up script or DaemonSet that runs modprobe",
			missing:    "use an image of Container-Optimized OS, or of Ubuntu, whose kernel has the module",
			argumentAt: "the boot loader's configuration on the EFI partition",
		},
		{
			Name: "nixos", Source: "https://nixos.org/manual/nixos/stable/options#opt-boot.kernelModules", matches: id("nixos"),
			way: byDeclaration, missing: "use a kernel with CONFIG_IP_SCTP (boot.kernelPackages)", argumentAt: "boot.kernelParams", rebuild: "nixos-rebuild switch",
			declare: "set boot.kernelModules = [ \"%[1]s\" ] in configuration.nix, take %[1]s out of boot.blacklistedKernelModules and boot.extraModprobeConfig, and run \"nixos-rebuild switch\"",
		},
		{
			// Its modules are below /run/booted-system, which its modprobe is told by a
			// variable of the environment (gnu/services.scm, %modprobe-wrapper).
			Name: "guix", Source: "https://guix.gnu.org/manual/en/html_node/Linux-Services.html", matches: id("guix"),
			way: byDeclaration, missing: "use a kernel with CONFIG_IP_SCTP (the field kernel of the operating-system declaration)", rebuild: "guix system reconfigure FILE",
			argumentAt: "the field kernel-arguments of the operating-system declaration (then run guix system reconfigure)",
			declare:    "add \"%[1]s\" to kernel-module-loader-service-type among the services of the operating-system declaration, and run \"guix system reconfigure\" with its file",
		},
		redHat("rhel", redHatArticle), redHat("centos", redHatArticle), redHat("rocky", redHatArticle), redHat("almalinux", redHatArticle),
		{
			Name:     "ol",
			Source:   "https://docs.oracle.com/en/operating-systems/uek/8/relnotes8.0/uek8.0-ChangestoUEKContentDistributionandPackaging.html",
			matches:  id("ol"),
			packages: oraclePackage, install: "dnf install", blacklists: oracleBlacklist, argument: grubby,
		},
		{
			Name: "fedora", Source: "https://packages.fedoraproject.org/pkgs/kernel/kernel-modules/", matches: id("fedora"),
			packages: fedoraPackage, install: "dnf install", blacklists: usualBlacklist, argument: grubby,
		},
		{
			Name: "amzn", Source: "https://docs.aws.amazon.com/linux/al2023/ug/kernel.html", matches: id("amzn"),
			packages: amazonPackage, install: "dnf install", blacklists: usualBlacklist, argument: grubby,
		},
		{
			Name: "ubuntu", Source: "https://packages.ubuntu.com/noble/linux-modules-extra-aws", matches: id("ubuntu"),
			packages: ubuntuPackage,
			install:  "apt-get install", argumentAt: updateGrub,
		},
		{
			Name: "debian", Source: "https://manpages.debian.org/stable/grub2-common/update-grub.8.en.html",
			// Proxmox VE and Raspberry Pi OS call themselves so, too. On OSTree, arguments
			// are its own.
			matches:    func(u kmod.Userland) bool { return (u.ID == "debian" || u.ID == "raspbian") && !u.OSTree },
			argumentAt: updateGrub + "; with the systemd-boot of Proxmox VE, in /etc/kernel/cmdline (then run proxmox-boot-tool refresh)",
		},
		{
			Name: "sl-micro", Source: "https://documentation.suse.com/sle-micro/6.0/html/Micro-transactional-updates/index.html",
			matches: id("sl-micro", "sle-micro", "opensuse-microos", "opensuse-leap-micro"),
			// /usr is a read-only snapshot, the next one is prepared and booted.
			packages: susePackage, install: "transactional-update pkg install", layer: "into the next snapshot", argumentAt: "/etc/default/grub (then run transactional-update grub.cfg)" + sdbootutil,
		},
		{
			Name: "sles", Source: "https://documentation.suse.com/sles/15-SP6/html/SLES-all/cha-mod.html",
			matches: func(u kmod.Userland) bool {
				return strings.HasPrefix(u.ID, "sles") || strings.HasPrefix(u.ID, "opensuse")
			},
			packages: susePackage, install: "zypper install", argumentAt: "/etc/default/grub (then run grub2-mkconfig -o /boot/grub2/grub.cfg)" + sdbootutil,
		},
		{
			Source:     "https://www.freedesktop.org/software/systemd/man/latest/modules-load.d.html",
			matches:    func(kmod.Userland) bool { return true },
			argumentAt: "the boot loader's configuration",
		},
	}
}

// installer is the command that installs a package; RHEL 7 and Amazon Linux 2 have no dnf.
func (p Platform) installer(release string) string {
	if strings.Contains(release, ".el7") || strings.Contains(release, ".amzn2.") {
		return strings.Replace(p.install, "dnf", "yum", 1)
	}
	return p.install
}

// PlatformOf is the row of the table for a host. Distributions that share a row
// keep their own os-release ID as the name.
func PlatformOf(u kmod.Userland) Platform {
	for _, p := range Platforms() {
		if !p.matches(u) {
			continue
		}
		if slices.Contains([]string{"", "sles", "sl-micro", "debian"}, p.Name) {
			p.Name = u.ID
		}
		return p
	}
	return Platform{}
}

// packageOf names the package that has the module for a kernel, "" where none is known.
func (p Platform) packageOf(u kmod.Userland, release string) string {
	if p.packages == nil {
		return ""
	}
	return p.packages(u, release)
}

// ubuntuPackage: Ubuntu's own kernels have a number of their ABI and a flavour
// ("6.8.0-1030-aws"); mainline builds, whose number begins with 0, and others have no
// package of this name.
//
// Since Linux 7.0, and in 25.10 and later releases, linux-modules has all modules (for the
// Raspberry Pi since 24.04, https://bugs.launchpad.net/bugs/2048862, as NVIDIA's).
func ubuntuPackage(u kmod.Userland, release string) string {
	version, rest, _ := strings.Cut(release, "-")
	abi, flavour, _ := strings.Cut(rest, "-")
	if n, err := strconv.Atoi(abi); err != nil || n == 0 || abi[0] == '0' || flavour == "" || strings.Count(version, ".") != 2 {
		return ""
	}
	early := strings.HasPrefix(flavour, "raspi") || strings.HasPrefix(flavour, "nvidia")
	if !olderThan(release, 7, 0) || u.VersionID >= "25.10" || early && !olderThan(release, 6, 8) {
		return "linux-modules-" + release
	}
	return "linux-modules-extra-" + release
}

// redHatPackage: sctp is in kernel-modules-extra, which has a variant for each
// variant of the kernel. The variant is at the end of the release
// ("5.14.0-570.el9.x86_64+rt", +64k, +debug), or in RHEL 8's real-time kernel in
// its middle ("4.18.0-513.rt7.295.el8.x86_64").
//
// RHEL 7 has it in the kernel's own package. ELRepo names its packages after their
// branch, mainline or long-term, which the release does not tell. A kernel without the
// mark of a distribution is in no package of one.
func redHatPackage(_ kmod.Userland, release string) string {
	if !strings.Contains(release, ".el") && !strings.Contains(release, ".fc") {
		return ""
	}
	if strings.Contains(release, ".elrepo.") {
		name := "kernel-[lm][lt]-" // what dnf and yum take for kernel-lt and kernel-ml
		if !strings.Contains(release, ".el7.") {
			name += "modules-extra-"
		}
		return name + release
	}
	if strings.Contains(release, ".el7.") {
		return map[bool]string{true: "kernel-rt-", false: "kernel-"}[strings.Contains(release, ".rt")] + release
	}
	base, variant, _ := strings.Cut(release, "+")
	if strings.Contains(base, ".rt") {
		variant = strings.TrimSuffix("rt-"+variant, "-")
	}
	if variant != "" {
		variant = "-" + variant
	}
	return "kernel" + variant + "-modules-extra-" + base
}

// fedoraPackage: Fedora has the module in kernel-modules, without a blacklist: what its
// list of packages (redhat/fedora/def_variants.yaml.fedora of kernel-ark, before that
// mod-extra.list.fedora) does not name is there. Its cloud images do without it. ELN's
// kernels are built as RHEL's.
func fedoraPackage(u kmod.Userland, release string) string {
	name := redHatPackage(u, release)
	if strings.Contains(release, ".fc") {
		name = strings.Replace(name, "-modules-extra-", "-modules-", 1)
	}
	return name
}

// usualBlacklist is the file that Red Hat's kernels brought into use.
func usualBlacklist(string) string { return VendorBlacklist }

// denylist ends the name of the file that a kernel of UEK 8 brings.
const denylist = "-sctp-denylist.conf"

// oracleBlacklist: from UEK 8 (Linux 6.12) on, each kernel's package brings a file of its
// own (uek-rpm/tools/filter-modules.py).
func oracleBlacklist(release string) string {
	if strings.Contains(release, "uek") && !olderThan(release, 6, 0) {
		return path.Join(modprobeDir, release+denylist)
	}
	return VendorBlacklist
}

// oraclePackage: UEK 7 (Linux 5.15) put the module into a package of its own;
// before, it is in the kernel's. The kernel with pages of 64 KiB has ".64k" at the end
// of its release, and packages of its own.
func oraclePackage(u kmod.Userland, release string) string {
	base, large := strings.CutSuffix(release, ".64k")
	switch {
	case !strings.Contains(release, "uek"):
		return redHatPackage(u, release)
	case olderThan(release, 5, 15):
		return "kernel-uek-" + release
	case large:
		return "kernel-uek64k-modules-extra-" + base
	default:
		return "kernel-uek-modules-extra-" + release
	}
}

// amazonPackage: Amazon Linux 2 has the module in the kernel's own package. Amazon
// Linux 2023 names its packages after the kernel's series, except for the first,
// 6.1.
func amazonPackage(u kmod.Userland, release string) string {
	switch {
	case !strings.Contains(release, ".amzn"):
		return ""
	case u.VersionID == "2":
		return "kernel-" + release
	}
	series := ""
	if !strings.HasPrefix(release, "6.1.") {
		if parts := strings.SplitN(release, ".", 3); len(parts) == 3 {
			series = parts[0] + "." + parts[1]
		}
	}
	return "kernel" + series + "-modules-extra-" + release
}

// susePackage: the flavour is at the end of the release ("6.4.0-150600.23-default"),
// and the package NAME-base, made for small images, lacks the module.
func susePackage(_ kmod.Userland, release string) string {
	if at := strings.LastIndexByte(release, '-'); at >= 0 {
		if flavour := release[at+1:]; strings.Trim(flavour, "0123456789.") != "" {
			return "kernel-" + flavour
		}
	}
	return "kernel-default"
}

// olderThan compares the first two numbers of a kernel's release.
func olderThan(release string, major, minor int) bool {
	first, rest, _ := strings.Cut(release, ".")
	second, _, _ := strings.Cut(rest, ".")
	a, errA := strconv.Atoi(first)
	b, errB := strconv.Atoi(second)
	return errA == nil && errB == nil && (a < major || a == major && b < minor)
}
