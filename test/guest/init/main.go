// Command init is the first process of a guest. It does what a real host's
// init does as far as modules are concerned: mounts the kernel's file
// systems, then runs the real systemd-modules-load if the conditions of its
// unit hold, and systemd-sysctl. After that it serves requests from the machine
// that runs the guest. Where the guest has a real systemd, that does all this, and
// serving is a unit of it.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sctp-agent/sctp-agent/test/guest/internal/wire"
)

// serveArg makes this program the server instead of the first process: the
// first process has to wait for every orphan, which would take the server's
// children from it.
const serveArg = "serve"

func main() {
	log.SetFlags(0)
	log.SetPrefix("init: ")
	if len(os.Args) > 1 && os.Args[1] == serveArg {
		if err := serveMain(); err != nil {
			log.Fatal(err)
		}
		return
	}
	if os.Getpid() != 1 {
		log.Fatal("this is the first process of a guest, not a program to run")
	}
	if err := boot(); err != nil {
		log.Print(err)
	}
	// Powering off ends the guest; the console has told why.
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func boot() error {
	if err := prepareDisk(); err != nil {
		return err
	}
	if managed() {
		if err := insertOwn(); err != nil {
			return err
		}
		return fmt.Errorf("starting systemd: %w", unix.Exec("/usr/lib/systemd/systemd", []string{"/sbin/init"}, nil))
	}
	if err := mountAll(); err != nil {
		return err
	}
	os.Clearenv()
	os.Setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	os.Setenv("HOME", "/root")
	os.Setenv("LANG", "C")
	if name, err := os.ReadFile("/etc/hostname"); err == nil {
		if err := unix.Sethostname(bytes.TrimSpace(name)); err != nil {
			return fmt.Errorf("setting the host name: %w", err)
		}
	}
	server := exec.Command("/proc/self/exe", serveArg)
	server.Stdout, server.Stderr = os.Stdout, os.Stderr
	if err := server.Start(); err != nil {
		return fmt.Errorf("starting the server: %w", err)
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("waiting for children: %w", err)
		}
		if pid == server.Process.Pid {
			if status.ExitStatus() != 0 {
				return fmt.Errorf("the server ended with status %#x", status)
			}
			return nil
		}
	}
}

// managed says that systemd is to be the first process: it has the unit that
// serves.
func managed() bool {
	_, err := os.Stat("/usr/lib/systemd/system/guest.service")
	return err == nil
}

// guestDir has what the outside left for this program.
const guestDir = "/usr/lib/guest/"

// prepareDisk makes the root what the outside wants it to be beyond what an
// initramfs can say: directories as they were before a reboot, in place of
// the fresh ones, and files removed.
func prepareDisk() error {
	dirs, err := list(guestDir + "disk")
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		if err := os.Rename(guestDir+"saved"+dir, dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	paths, err := list(guestDir + "remove")
	if err != nil {
		return err
	}
	for _, pattern := range paths {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			return fmt.Errorf("%s: %w", pattern, err)
		}
		if len(matches) == 0 {
			return fmt.Errorf("no file to remove matches %s", pattern)
		}
		for _, path := range matches {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// list reads a file of one name a line; no file means no names.
func list(file string) ([]string, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' }), err
}

func mountAll() error {
	for _, m := range []struct{ fs, dir, data string }{
		{"proc", "/proc", ""},
		{"sysfs", "/sys", ""},
		{"devtmpfs", "/dev", ""},
		{"devpts", "/dev/pts", "ptmxmode=0666"},
		{"tmpfs", "/dev/shm", "mode=1777"},
		{"tmpfs", "/run", "mode=755"},
		{"tmpfs", "/tmp", "mode=1777"},
		{"securityfs", "/sys/kernel/security", ""},
		{"cgroup2", "/sys/fs/cgroup", ""},
	} {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return err
		}
		var flags uintptr = unix.MS_NOSUID | unix.MS_NODEV
		if m.fs == "devtmpfs" || m.fs == "devpts" {
			flags = unix.MS_NOSUID
		}
		if err := unix.Mount(m.fs, m.dir, m.fs, flags, m.data); err != nil {
			return fmt.Errorf("mounting %s: %w", m.dir, err)
		}
	}
	// As systemd does (src/shared/dev-setup.c); shells and scripts rely on them.
	for name, target := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, "/dev/"+name); err != nil {
			return err
		}
	}
	return nil
}

// insertOwn inserts the modules the guest itself needs (the port to the
// outside, the network card), in dependency order.
// Not by modprobe: what a test writes into modprobe.d must not cut the guest
// off.
func insertOwn() error {
	paths, err := list(guestDir + "modules")
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := insert(path); err != nil {
			return fmt.Errorf("inserting %s: %w", path, err)
		}
	}
	return nil
}

func insert(path string) error {
	image, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := unix.InitModule(image, ""); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

const modulesLoad = "/usr/lib/systemd/systemd-modules-load"

// runModulesLoad runs systemd-modules-load if the conditions of
// systemd-modules-load.service hold, as systemd 252 ships it.
func runModulesLoad() (wire.Boot, error) {
	wanted, err := modulesLoadWanted()
	if err != nil || !wanted {
		return wire.Boot{}, err
	}
	cmd := exec.Command(modulesLoad)
	cmd.Env = []string{"SYSTEMD_LOG_TARGET=console", "SYSTEMD_LOG_COLOR=0", "PATH=" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		return wire.Boot{}, fmt.Errorf("running systemd-modules-load: %w", err)
	}
	return wire.Boot{ModulesLoadRan: true, ModulesLoadExit: cmd.ProcessState.ExitCode(), ModulesLoadOutput: out}, nil
}

// runSysctl runs systemd-sysctl, which systemd orders after
// systemd-modules-load: a sysctl that forbids loading modules comes too late
// for what modules-load.d asks for.
func runSysctl() {
	if out, err := exec.Command("/usr/lib/systemd/systemd-sysctl").CombinedOutput(); err != nil {
		// As on a real host: the boot goes on.
		log.Printf("systemd-sysctl: %v\n%s", err, out)
	}
}

func modulesLoadWanted() (bool, error) {
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return false, err
	}
	for word := range strings.FieldsSeq(string(cmdline)) {
		key, _, _ := strings.Cut(word, "=")
		switch strings.ReplaceAll(key, "-", "_") {
		case "modules_load", "rd.modules_load":
			return true, nil
		}
	}
	for _, dir := range []string{"/lib", "/usr/lib", "/usr/local/lib", "/etc", "/run"} {
		entries, err := os.ReadDir(filepath.Join(dir, "modules-load.d"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		if len(entries) > 0 {
			return true, nil
		}
	}
	return false, nil
}

// configureNet brings up loopback, and the network card if there is one.
func configureNet() error {
	commands := [][]string{{"ip", "link", "set", "lo", "up"}}
	if _, err := os.Stat("/sys/class/net/eth0"); err == nil {
		// The addresses of QEMU's user-mode network.
		commands = append(commands,
			[]string{"ip", "addr", "add", "10.0.2.15/24", "dev", "eth0"},
			[]string{"ip", "link", "set", "eth0", "up"},
			[]string{"ip", "route", "add", "default", "via", "10.0.2.2"},
		)
	}
	for _, args := range commands {
		if out, err := exec.Command("/usr/bin/busybox", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

func serveMain() error {
	if managed() {
		return serve(wire.Boot{})
	}
	if err := insertOwn(); err != nil {
		return err
	}
	boot, err := runModulesLoad()
	if err != nil {
		return err
	}
	runSysctl()
	if err := configureNet(); err != nil {
		return err
	}
	return serve(boot)
}
