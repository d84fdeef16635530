// Command confine runs a program in an SELinux domain, as a container runtime
// starts a container's first process, and makes the kernel enforce its policy
// from that program's first instruction on.
//
//	confine CONTEXT UID ROOT PROGRAM [ARGUMENT...]
//
// It is started while the kernel is permissive. Runtimes have a policy that lets
// them change to a container's domain; a guest's first process has not. In the
// domain, and while nothing is denied yet, it takes ROOT for the root, drops what
// an unprivileged container drops if UID is not 0, and writes the switch.
// PROGRAM's output is ROOT/out, and its exit status the command's.
package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// inDomain is set in the environment of the command's second life.
const inDomain = "CONFINED"

func main() {
	log.SetFlags(0)
	log.SetPrefix("confine: ")
	if len(os.Args) < 5 {
		log.Fatal("usage: confine CONTEXT UID ROOT PROGRAM [ARGUMENT...]")
	}
	// Credentials and the next program's context are the thread's.
	runtime.LockOSThread()
	if os.Getenv(inDomain) == "" {
		log.Fatal(changeDomain(os.Args[1]))
	}
	uid, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(run(uid, os.Args[3], os.Args[4:]))
}

// changeDomain starts this program once more, in the context.
func changeDomain(context string) error {
	if err := os.WriteFile("/proc/thread-self/attr/exec", []byte(context), 0); err != nil {
		return fmt.Errorf("asking for the context: %w", err)
	}
	return unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), inDomain+"=1"))
}

func run(uid int, root string, argv []string) error {
	enforce, err := os.OpenFile("/sys/fs/selinux/enforce", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if err := unix.Chroot(root); err != nil {
		return fmt.Errorf("chroot %s: %w", root, err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	out, err := os.OpenFile("/out", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	for _, fd := range []int{1, 2} {
		if err := unix.Dup3(int(out.Fd()), fd, 0); err != nil {
			return err
		}
	}
	if uid != 0 {
		if err := drop(uid); err != nil {
			return fmt.Errorf("dropping privilege: %w", err)
		}
	}
	program, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	if _, err := enforce.WriteString("1"); err != nil {
		return fmt.Errorf("enforcing: %w", err)
	}
	return unix.Exec(program, argv, nil)
}

// drop is "capabilities: {drop: [ALL]}" and "allowPrivilegeEscalation: false".
func drop(uid int) error {
	for c := 0; c <= unix.CAP_LAST_CAP; c++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
			return err
		}
	}
	if err := unix.Setgroups(nil); err != nil {
		return err
	}
	if err := unix.Setresgid(uid, uid, uid); err != nil {
		return err
	}
	if err := unix.Setresuid(uid, uid, uid); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}
