package hostdump

import (
	"cmp"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sctp-agent/sctp-agent/pkg/kmod"
)

// facts are what a sosreport's commands found out, and what else is in the copy
// that needs no rules.
type facts struct {
	sos               bool
	sosVersion        sosVersion
	ran               map[string]bool // sos's plugins
	release, machine  string
	hostname          string
	kmod, systemd     int
	sysctls           map[string]string
	sysctlsComplete   bool
	protocol          bool   // the kernel has SCTP: net.sctp is among its sysctls
	modules           string // /proc/modules; listed: it is known
	listed            bool
	ostree            bool
	kmodTools         bool            // the host's module tools are kmod's
	container         kmod.Answer     // the host is a container
	files             map[string]bool // of modules, as modinfo has them
	directoryReleases []string        // below lib/modules
}

// text is a file of the copy, through links that stay in it, "" if it cannot be
// read.
func text(files fs.FS, names ...string) string {
	for _, name := range names {
		for range 8 {
			info, err := fs.Lstat(files, name)
			if err != nil {
				break
			}
			if info.Mode()&fs.ModeSymlink != 0 {
				target, err := fs.ReadLink(files, name)
				if err != nil || path.IsAbs(target) {
					break
				}
				if name = path.Join(path.Dir(name), target); !fs.ValidPath(name) {
					break
				}
				continue
			}
			if !info.Mode().IsRegular() || info.Size() > maxFile {
				break
			}
			f, err := files.Open(name)
			if err != nil {
				break
			}
			data, err := io.ReadAll(io.LimitReader(f, maxFile))
			f.Close()
			if err == nil && len(data) > 0 {
				return string(data)
			}
			break
		}
	}
	return ""
}

// glob reads the first file of a directory whose name matches.
func glob(files fs.FS, dir, pattern string) string {
	list, _ := fs.ReadDir(files, dir)
	for _, e := range list {
		if ok, _ := path.Match(pattern, e.Name()); ok {
			if s := text(files, path.Join(dir, e.Name())); s != "" {
				return s
			}
		}
	}
	return ""
}

// sosVersion is a major and a minor version; zero where it is not known.
type sosVersion [2]int

// ofSos is the line of version.txt: "sosreport: 4.0" until 4.5.
var ofSos = regexp.MustCompile(`(?m)^sos ?report: (\d+)\.(\d+)`)

// Versions of packages as rpm and dpkg list them: NAME-VERSION-RELEASE, or
// "ii  NAME  EPOCH:VERSION".
var (
	rpmVersion  = regexp.MustCompile(`(?m)^(kmod|systemd)-(\d{1,3})[-.~]`)
	dpkgVersion = regexp.MustCompile(`(?m)^ii\s+(kmod|systemd)(?::\S+)?\s+(?:\d+:)?(\d{1,3})\b`)
	fileOf      = regexp.MustCompile(`(?m)^filename:\s+(/\S+)`)
)

// pluginSigns are what sos's plugins leave in every report, one of each.
var pluginSigns = map[string][]string{
	"kernel": {"sos_commands/kernel"}, "systemd": {"sos_commands/systemd"}, "grub2": {"boot/grub2", "boot/grub"},
}

// kmodLsmodHead is what kmod's lsmod prints first (tools/lsmod.c), or after errors,
// which sos keeps in one file with the output. BusyBox's adds
// whether the kernel is tainted (modutils/lsmod.c).
const kmodLsmodHead = "Module                  Size  Used by\n"

// containers are what systemd calls them (systemd-detect-virt(1)).
var containers = []string{"openvz", "lxc", "lxc-libvirt", "systemd-nspawn", "docker", "podman", "rkt", "wsl", "proot", "pouch", "container-other"}

// isContainer reads the output of "hostnamectl status", lines "KEY: VALUE".
func isContainer(output string) kmod.Answer {
	answer := kmod.AnswerUnknown
	for line := range strings.Lines(output) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch {
		case key == "Virtualization" && slices.Contains(containers, value), key == "Chassis" && strings.HasPrefix(value, "container"):
			return kmod.AnswerTrue
		case key == "Kernel":
			answer = kmod.AnswerFalse // it is printed to the end, or nearly
		}
	}
	return answer
}

func readFacts(files fs.FS) facts {
	f := facts{
		sos: has(files, "sos_commands"), ran: map[string]bool{}, container: kmod.AnswerUnknown,
		sysctls: map[string]string{}, files: map[string]bool{},
	}
	if m := ofSos.FindStringSubmatch(text(files, "version.txt")); m != nil {
		f.sosVersion[0], _ = strconv.Atoi(m[1])
		f.sosVersion[1], _ = strconv.Atoi(m[2])
	}
	for plugin, signs := range pluginSigns {
		f.ran[plugin] = slices.ContainsFunc(signs, func(name string) bool { return has(files, name) })
	}
	// uname -a: Linux HOST RELEASE #1 SMP … MACHINE … GNU/Linux
	uname := strings.Fields(text(files, "sos_commands/kernel/uname_-a", "uname"))
	if len(uname) > 3 && uname[0] == "Linux" {
		f.hostname, f.release = uname[1], uname[2]
		for _, word := range uname[3:] {
			switch word {
			case "x86_64", "aarch64", "ppc64le", "s390x", "i686", "riscv64", "armv7l", "loongarch64":
				f.machine = word
			}
		}
	}
	// /proc/version: Linux version RELEASE (…)
	if version := strings.Fields(text(files, "proc/version")); f.release == "" && len(version) > 2 {
		f.release = version[2]
	}
	f.readSysctls(text(files, "sos_commands/kernel/sysctl_-a"))
	f.release = cmp.Or(f.release, f.sysctls["kernel.osrelease"], strings.TrimSpace(text(files, "proc/sys/kernel/osrelease")))
	for _, dir := range []string{"lib/modules", "usr/lib/modules"} {
		list, _ := fs.ReadDir(files, dir)
		for _, e := range list {
			if e.IsDir() {
				f.directoryReleases = append(f.directoryReleases, e.Name())
			}
		}
		if len(list) > 0 {
			break
		}
	}
	if f.release == "" && len(f.directoryReleases) == 1 {
		f.release = f.directoryReleases[0]
	}
	if name := strings.Fields(text(files, "etc/hostname", "sos_commands/host/hostname", "hostname")); f.hostname == "" && len(name) > 0 {
		f.hostname = name[0]
	}
	f.modules = text(files, "proc/modules")
	f.listed = has(files, "proc/modules")
	lsmod := text(files, "sos_commands/kernel/lsmod", "lsmod")
	if !f.listed {
		f.readLsmod(lsmod)
	}
	f.ostree = strings.Contains(text(files, "proc/cmdline"), "ostree=")
	if f.sos {
		packages := text(files, "installed-rpms", "installed-debs") + glob(files, "sos_commands/rpm", "*rpm*-qa*") + glob(files, "sos_commands/dpkg", "dpkg_-l*")
		for _, m := range append(rpmVersion.FindAllStringSubmatch(packages, -1), dpkgVersion.FindAllStringSubmatch(packages, -1)...) {
			if v, _ := strconv.Atoi(m[2]); m[1] == "kmod" {
				f.kmod = v
			} else {
				f.systemd = v
			}
		}
		f.kmodTools = f.kmod > 0 && strings.Contains("\n"+lsmod, "\n"+kmodLsmodHead)
		f.container = isContainer(text(files, "sos_commands/host/hostnamectl_status"))
		for _, m := range fileOf.FindAllStringSubmatch(glob(files, "sos_commands/kernel", "modinfo*"), -1) {
			f.files[m[1]] = true
		}
	}
	return f
}

// readSysctls reads the output of sysctl -a, "KEY = VALUE". It lists keys in
// their order, so the last group, vm, shows that it was not cut short.
func (f *facts) readSysctls(output string) {
	for line := range strings.Lines(output) {
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		key = strings.TrimSpace(key)
		// One blank is sysctl's; any other is the value's, and counts in a path.
		f.sysctls[key] = strings.TrimPrefix(strings.TrimRight(value, "\r\n"), " ")
		f.protocol = f.protocol || strings.HasPrefix(key, "net.sctp.")
		f.sysctlsComplete = f.sysctlsComplete || strings.HasPrefix(key, "vm.")
	}
}

// readLsmod makes /proc/modules of the output of lsmod: NAME SIZE USED BY, after a
// head line.
func (f *facts) readLsmod(output string) {
	var b strings.Builder
	for line := range strings.Lines(output) {
		fields := strings.Fields(line)
		if len(fields) >= 3 && fields[0] != "Module" {
			b.WriteString(fields[0] + " " + fields[1] + " " + fields[2] + " - Live 0x0000000000000000\n")
		}
	}
	f.modules, f.listed = b.String(), b.Len() > 0
}

// lists reports whether a module is among those in the kernel.
func (f *facts) lists(module string) bool {
	for line := range strings.Lines(f.modules) {
		if name, _, _ := strings.Cut(line, " "); name == module {
			return true
		}
	}
	return false
}

// compiledIn reports whether sctp is a part of the kernel's own image.
func (f *facts) compiledIn() bool {
	return f.sysctlsComplete && f.protocol && f.listed && !f.lists("sctp")
}

// withoutSCTP reports whether the kernel had no SCTP.
func (f *facts) withoutSCTP() bool {
	return f.sos && f.sysctlsComplete && !f.protocol && f.listed && !f.lists("sctp")
}

// releases names those whose modules are there, for a message.
func (d *Dump) releases() string {
	if len(d.facts.directoryReleases) == 0 {
		return ""
	}
	return " (there are modules of " + strings.Join(d.facts.directoryReleases, ", ") + ")"
}
