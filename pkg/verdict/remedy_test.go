package verdict

import (
	"strings"
	"testing"
	"time"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// TestRemedy holds remedies to the letter, for the hosts on which a careless one
// would send an administrator the wrong way. What differs by platform is in
// TestPlatforms.
func TestRemedy(t *testing.T) {
	const (
		request = `put "sctp" into ` + LoadRequest
		apply   = "; apply this as one MachineConfig for the node's pool, which drains and reboots its nodes one after another"
	)
	rhel := kmod.Userland{ID: "rhel", VersionID: "9.6", ModuleDirectory: kmod.AnswerTrue}
	rhcos := kmod.Userland{ID: "rhcos", OpenShiftVersion: "4.18", ModuleDirectory: kmod.AnswerTrue}
	blacklist := func(file string) kmod.Decision {
		return stoppedBy(kmod.Evidence{File: file, Line: 2, Text: "blacklist sctp", Cause: kmod.CauseBlacklist})
	}
	socketsAndBoot := func(i *kmod.Inspection, d kmod.Decision) { i.Autoload, i.AutoloadIPv6, i.BootLoad.Decision = d, d, d }
	argument := func(text string, cause kmod.Cause) kmod.Decision {
		return stoppedBy(kmod.Evidence{File: "/proc/cmdline", Line: 1, Text: text, Cause: cause})
	}
	disabled := kmod.Evidence{File: "/proc/sys/kernel/modules_disabled", Line: 1, Text: "1", Cause: kmod.CauseLoadingDisabled}
	noHelper := stoppedBy(kmod.Evidence{File: "/proc/sys/kernel/modprobe", Line: 1, Cause: kmod.CauseLoadingDisabled})
	for name, tc := range map[string]struct {
		host kmod.Userland
		edit func(*kmod.Inspection)
		want string
	}{
		"as RHCOS ships": {rhcos, func(i *kmod.Inspection) { socketsAndBoot(i, stoppedBy(vendorBlacklist())) },
			"empty " + VendorBlacklist + "; " + request + apply},
		"two lines in the vendor's file": {rhcos, func(i *kmod.Inspection) {
			install := kmod.Evidence{File: VendorBlacklist, Line: 7, Text: "install sctp /bin/false", Cause: kmod.CauseInstall}
			everyCaller(i, stoppedBy(install, vendorBlacklist()))
			requested(i)
		}, "empty " + VendorBlacklist + apply},
		"a hardening file on RHCOS: the same MachineConfig empties it, too": {rhcos, func(i *kmod.Inspection) { everyCaller(i, stoppedBy(installFalse())) },
			"empty /etc/modprobe.d/sctp.conf, or write it without line 1 (install sctp /bin/false) [hardening rule CCE-82516-6]; " + request + apply},
		"the image's own file on RHCOS, which is read-only": {rhcos, func(i *kmod.Inspection) { socketsAndBoot(i, blacklist("/lib/modprobe.d/dist.conf")) },
			"write an empty /etc/modprobe.d/dist.conf, which replaces /lib/modprobe.d/dist.conf, or a copy without line 2 (blacklist sctp); " + request + apply},
		"a package's file": {rhel, func(i *kmod.Inspection) { socketsAndBoot(i, blacklist("/usr/lib/modprobe.d/dist.conf")) },
			"put a copy of /usr/lib/modprobe.d/dist.conf without its line 2 (blacklist sctp) into /etc/modprobe.d, which replaces it; " + request + `; then reboot, or run "modprobe sctp"`},
		"a file that is written anew at every boot": {rhel, func(i *kmod.Inspection) { socketsAndBoot(i, blacklist("/run/modprobe.d/initramfsblacklist.conf")) },
			"put a copy of /run/modprobe.d/initramfsblacklist.conf without its line 2 (blacklist sctp) into /etc/modprobe.d, which replaces it (the file is written at each boot, often for the kernel argument rd.driver.blacklist=); " + request + `; then reboot, or run "modprobe sctp"`},
		"an argument that names other modules, too": {rhel, func(i *kmod.Inspection) {
			socketsAndBoot(i, argument("modprobe.blacklist=floppy,sctp", kmod.CauseBlacklist))
		},
			"take the module out of the kernel argument modprobe.blacklist=floppy,sctp; " + request + `; then reboot, or run "modprobe sctp"`},
		"an argument that stops modprobe, too": {rhel, func(i *kmod.Inspection) { everyCaller(i, argument("module_blacklist=sctp", kmod.CauseDeniedByKernel)) },
			"remove the kernel argument module_blacklist=sctp; " + request + "; then reboot"},
		"whether anything asks could not be read": {rhel, func(i *kmod.Inspection) {
			socketsAndBoot(i, stoppedBy(vendorBlacklist()))
			i.BootLoad.Requested = kmod.AnswerUnknown
		}, "empty " + VendorBlacklist + "; " + request + `; then reboot, or run "modprobe sctp"`},
		"loaded by hand: only the next boot is at stake": {rhel, func(i *kmod.Inspection) {
			i.State = kmod.StateLoaded
			socketsAndBoot(i, stoppedBy(vendorBlacklist()))
		}, "empty " + VendorBlacklist + "; " + request},
		"a module without a signature": {rhel, func(i *kmod.Inspection) {
			everyCaller(i, stoppedBy(kmod.Evidence{File: "/lib/modules/x/sctp.ko", Effect: "has no signature", Cause: kmod.CauseDeniedByKernel}))
			requested(i)
		}, `install the kernel's own, signed /lib/modules/x/sctp.ko; then reboot, or run "modprobe sctp"`},
		"a file that a module needs is gone": {rhel, func(i *kmod.Inspection) {
			i.State = kmod.StateLoaded
			everyCaller(i, stoppedBy(kmod.Evidence{File: "/lib/modules/x/libcrc32c.ko", Effect: "is not there", Cause: kmod.CauseMissing}))
			requested(i)
		}, "restore /lib/modules/x/libcrc32c.ko from its package"},
		"nomodule": {rhel, func(i *kmod.Inspection) {
			everyCaller(i, argument("nomodule", kmod.CauseLoadingDisabled))
			requested(i)
		},
			"remove the kernel argument nomodule; then reboot"},
		"modules_disabled, nothing asks": {rhel, func(i *kmod.Inspection) { everyCaller(i, stoppedBy(disabled)) },
			request + "; then reboot: this boot loads no module any more, and the next one loads what is asked for at boot before the sysctl is set"},
		"modules_disabled, and asked for since": {rhel, func(i *kmod.Inspection) { everyCaller(i, stoppedBy(disabled)); requested(i) },
			"reboot the node"},
		"modules_disabled, and the blacklist would stop the next boot": {rhel, func(i *kmod.Inspection) {
			i.ByName = stoppedBy(disabled)
			socketsAndBoot(i, stoppedBy(disabled, vendorBlacklist()))
			requested(i)
		}, "empty " + VendorBlacklist + "; then reboot: this boot loads no module any more, and the next one loads what is asked for at boot before the sysctl is set"},
		"no modprobe helper: modprobe works": {rhel, func(i *kmod.Inspection) { i.Autoload, i.AutoloadIPv6 = noHelper, noHelper },
			request + `; then reboot, or run "modprobe sctp"`},
		"no modprobe helper, on RHCOS": {rhcos, func(i *kmod.Inspection) { i.Autoload, i.AutoloadIPv6 = noHelper, noHelper },
			request + apply},
		"not installed, or not indexed": {rhel, func(i *kmod.Inspection) {
			i.State = kmod.StateAbsent
			everyCaller(i, stoppedBy(kmod.Evidence{File: "/lib/modules/x/modules.dep.bin", Effect: "is not there", Cause: kmod.CauseMissing}))
		}, `install the package kernel-modules-extra-5.14.0-570.el9.x86_64 (or reboot, if a kernel with the module is installed, or run "depmod 5.14.0-570.el9.x86_64", if sctp.ko is there already); empty /etc/modprobe.d/sctp-blacklist.conf, which that package brings; ` + request + `; then reboot, or run "modprobe sctp"`},
		"the blacklist was taken away since this boot": {rhel, requested,
			`run "modprobe sctp": it loads the module, if what stopped it was taken away since this boot, or shows the error; see also "journalctl -b -u systemd-modules-load" and "dmesg | grep -i sctp"`},
	} {
		t.Run(name, func(t *testing.T) {
			f := Facts{Inspection: host(func(i *kmod.Inspection) { i.Userland = tc.host; tc.edit(i) })}
			if f.Inspection.State.InKernel() {
				f.Probe = passed()
			}
			r := Judge(f)
			if r.Remedy != tc.want {
				t.Errorf("got  %s\nwant %s", r.Remedy, tc.want)
			}
		})
	}
}

// TestPendingReboot: a load that failed in this boot is not known to succeed in the
// next.
func TestPendingReboot(t *testing.T) {
	for want, since := range map[string]time.Time{
		"sctp is not loaded; the next boot will load it (" + LoadRequest + ":1)":   time.Unix(2000, 0),
		"sctp is not loaded; the next boot will try again (" + LoadRequest + ":1)": time.Unix(500, 0),
	} {
		r := Judge(Facts{Inspection: host(func(i *kmod.Inspection) { requested(i); i.BootLoad.RequestedSince = since })})
		if len(r.Warnings) != 1 || r.Warnings[0] != (Warning{ReasonPendingReboot, want}) {
			t.Errorf("warnings %q, want %q", r.Warnings, want)
		}
	}
}

// TestWillNotSurviveReboot names what stops the boot where something asks for
// the module then, else what stops sockets.
func TestWillNotSurviveReboot(t *testing.T) {
	for asked, want := range map[kmod.Answer]string{kmod.AnswerTrue: "install sctp /bin/false", kmod.AnswerFalse: "blacklist sctp"} {
		r := Judge(Facts{Probe: passed(), Inspection: host(func(i *kmod.Inspection) {
			i.State = kmod.StateLoaded
			i.Autoload, i.BootLoad.Decision = stoppedBy(vendorBlacklist()), stoppedBy(installFalse())
			i.BootLoad.Requested = asked
		})})
		if len(r.Warnings) != 1 || !strings.HasSuffix(r.Warnings[0].Message, ": "+want) {
			t.Errorf("requested %s: warnings %q, want %q", asked, r.Warnings, want)
		}
	}
}
